"""Every command and every piece of code of README.md, CONTRIBUTING.md, docs/ and data_cards/ does what the page says.

Python blocks are executed as pasted. Commands go through the real parsers of make, accelerate, torchrun and our
scripts, and then run, tiny, unless `NOT_RUN` says why not.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import runpy
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from ogip_files import OgipFiles

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", *(f"{name}/*.md" for name in ("docs", "data_cards"))]
_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>bash|python)\n(?P<body>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL
)
# Stands in a command -> why it does not run here, beyond its parser.
NOT_RUN = {
    "make ": "the targets are made of commands that run here, or of the tests themselves",
    "git clone": "needs the network",
    "cd ": "goes with git clone",
    "pip install": "changes the environment",
    "astromindinc/": "asks the Hub; tests/acquire/test_hub.py has it on loopback",
    "MultimodalUniverse/": "asks the Hub; tests/data/test_foreign.py has its forms",
    "columns.yaml": "needs the reader's own file; tests/data/test_foreign.py has one",
    "build_dataset.py csc": "asks the archive; tests/acquire has it on loopback",
    "scripts/literature.py": "asks SIMBAD and ADS; tests/summaries has it on loopback",
    "scripts/summarize.py": "needs a chat model; tests/summaries has it on loopback",
    "build_dataset.py texts": "needs the summaries that such a model wrote; tests/summaries has it",
    "pre-commit install": "changes the checkout's hooks",
    "-m pytest": "is how this is run",
    "--from_catalog": "needs tables of the catalogue, which are no part of the repository",
    "validate_simulator.py": "needs tables of the catalogue, which are no part of the repository",
    "csc_mock": "is made of tables of the catalogue, which are no part of the repository",
    "validate_instruments.py": "needs the response of a third instrument; tests/embedding has it",
    "scripts/explore.py": "serves until it is stopped; tests/explorer has it",
    "torchrun": "tests/training starts two processes",
    "PHOTON_LISTS.parquet": "needs the reader's own table; tests/data/test_photon_lists.py has it",
    "compare_event_models.py": "trains five families; tests/test_event_comparison.py has its steps",
    "compare_photons_read.py": "embeds four times; tests/test_event_comparison.py has its steps",
    "--key ": "needs a detection of the reader's own dataset",
    "--executor slurm": "needs a cluster; tests/test_run_ranks.py has stand-ins for its programs",
    "export_hats.py": "needs the extra hats; tests/data/test_hats_export.py has it",
    "scripts/push.py": "needs the Hub; tests/training/test_push.py has one on loopback",
    "--name ": "needs a source of the reader's own dataset",
}
NOT_EXECUTED = {"import pyvo": "asks the archive's server, with a package that is no dependency"}
# What makes commands short.
SHORTER = {
    "--num_detections 100000": "--num_detections 250",
    "--num_ranks 8": "--num_ranks 2",
    "--planted 20000": "--planted 150 --shares flare=0.3 transient=0.3 --counts 10 60",
    "outputs/results/transients": "outputs/results/transients --num_resamples 20 --classifiers linear",
    "path/or/repo_id": "DATASET",
    "outputs/results/reconstruction": "outputs/results/reconstruction --num_fits 1",
    "outputs/results/align/symbolic": "outputs/results/align/symbolic --max_evaluations 1000 --latents 0",
    "outputs/results/align/classification": "outputs/results/align/classification --num_resamples 20",
    "outputs/results/align/clustering": "outputs/results/align/clustering --sizes 2 4 --num_resamples 20",
    "outputs/results/rates": "outputs/results/rates --min_photons 2 --num_resamples 20",
    "outputs/results/event_tasks": "outputs/results/event_tasks --num_resamples 20",
    "outputs/results/unusual_lists": "outputs/results/unusual_lists --num_resamples 20 --num_listed 4",
    "outputs/results/star_agn": "outputs/results/star_agn --num_spectra 1000 --max_epochs 5",
    "outputs/results/align/maps": "outputs/results/align/maps --num_resamples 20",
    "outputs/results/align/graph": "outputs/results/align/graph --num_nulls 2 --views events",
    "outputs/data/default --output outputs/results/align/trajectories": "outputs/data/default --num_draws 39 "
    "--output outputs/results/align/trajectories",
    "outputs/results/align/trajectories_validation": "outputs/results/align/trajectories_validation --kinds states "
    "--num_sources 3 --num_observations 2 --num_draws 39",
    # 400 steps of 2,049 points for each list that is embedded.
    "events_ppad_small.yaml": "events_ppad_small.yaml --feature_extractor_options '{\"mesh_size\": 16}' "
    '--model_options \'{"decoder_hidden_size": 8, "num_fit_steps": 2, "mesh_size": 16}\'',
    "--model outputs/spectrum_vae": "--model outputs/spectrum_vae --split all",  # few are bright
    "configs/events_axia.yaml": "configs/events_axia.yaml --feature_extractor_options '{\"max_events\": 8}' "
    '--model_options \'{"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "fused_size": 16}\'',
    "--output outputs/attention": "--output outputs/attention --split train --num_steps 2 --min_counts 20",
    "outputs/data/default": "DATASET",
    # One word for three things, told apart by the option before it.
    "--text_model_name_or_path FOLDER_OR_HUB_ID": "--text_model_name_or_path TEXT_MODEL",
    "--model_name_or_path FOLDER_OR_HUB_ID": "--model_name_or_path outputs/align",
    "FOLDER_OR_HUB_ID": "DATASET",
}
TINY_RUN = ["--max_steps", "2", "--batch_size", "16", "--warmup_steps", "1", "--eval_steps", "2", "--save_steps", "2"]
TINY_TOWER = '{"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "latent_size": 8}'
# Where a command does not say: what the training scripts would make at full size.
TINY_DEFAULTS = {
    "training/pretrain.py": {"--dataset": "DATASET"},
    "training/align.py": {
        "--dataset": "DATASET",
        "--spectrum_model_name_or_path": "outputs/spectrum",
        "--event_model_name_or_path": "outputs/events",
        "--output_dir": "outputs/aligned",
    },
}


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    body: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """One a line, continuations joined, without comments."""
        lines = re.sub(r"\\\n\s*", " ", self.body).splitlines()
        return [shlex.join(words) for line in lines if (words := shlex.split(line, comments=True))]


def blocks(language: str) -> list[Block]:
    found = []
    for pattern in PAGES:
        for path in sorted(REPOSITORY.glob(pattern)):
            text = path.read_text()
            for match in _BLOCK.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                page = str(path.relative_to(REPOSITORY))
                found.append(Block(page, line, match["language"], textwrap.dedent(match["body"])))
    return [block for block in found if block.language == language]


def reason_against(command: str, reasons: dict[str, str]) -> str | None:
    return next((reason for part, reason in reasons.items() if part in command), None)


class Parsed(BaseException):
    """A script has understood its command line."""


def run_script(script: str, options: list[str], patch: pytest.MonkeyPatch, only_parse: bool = False) -> None:
    """A script of the repository as the interpreter runs it, here."""
    path = REPOSITORY / script
    assert path.exists(), f"there is no {script}"
    with patch.context() as inner:
        if only_parse:
            from transformers import HfArgumentParser

            parsers = ((argparse.ArgumentParser, "parse_args"), (HfArgumentParser, "parse_args_into_dataclasses"))
            for kind, name in parsers:
                real = getattr(kind, name)

                def parse(*arguments: Any, real: Any = real, **named: Any) -> None:
                    real(*arguments, **named)
                    raise Parsed

                inner.setattr(kind, name, parse)
        inner.setattr(sys, "argv", [str(path), *options])
        inner.syspath_prepend(str(path.parent))
        try:
            runpy.run_path(str(path), run_name="__main__")
        except Parsed:
            return
        except SystemExit as stop:
            if stop.code not in (None, 0):
                pytest.fail(f"{script} ended with {stop.code}")
        assert not only_parse, f"{script} reads no command line"


def script_of(command: str) -> tuple[str, list[str]]:
    """The script and its options, after the launcher's own parser has read its part."""
    program, *words = shlex.split(command.removesuffix(" ..."))
    if Path(program).name in ("python", "python3"):
        return words[0], words[1:]
    if program == "torchrun":
        from torch.distributed.run import get_args_parser

        options = get_args_parser().parse_args(words)
    else:
        from accelerate.commands.launch import launch_command_parser

        assert (program, words[0]) == ("accelerate", "launch"), f"who runs this? {command}"
        options = launch_command_parser().parse_args(words[1:])
    return options.training_script, options.training_script_args


COMMANDS = [(block, command) for block in blocks("bash") for command in block.commands]


@pytest.mark.parametrize("block, command", [pytest.param(*pair, id=f"{pair[0]}-{pair[1]}") for pair in COMMANDS])
def test_a_command_is_one_that_there_is(block, command, monkeypatch, tmp_path):
    program, *words = shlex.split(command)
    if program == "make":
        result = subprocess.run(
            ["make", "-n", f"VENV={tmp_path}", *words], cwd=REPOSITORY, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
    elif "-m pytest" in command:
        files = [word.split("::")[0] for word in words if word.startswith("tests/")]
        assert all((REPOSITORY / file).exists() for file in files), command
    elif program in ("git", "cd", "pip", ".venv/bin/pre-commit"):
        assert reason_against(command, NOT_RUN)
    else:
        script, options = script_of(command)
        monkeypatch.chdir(REPOSITORY)  # configs are named from there
        run_script(script, options, monkeypatch, only_parse=True)


def test_what_is_not_run_stands_somewhere():
    text = "\n".join(command for _, command in COMMANDS)
    assert [part for part in NOT_RUN if part not in text] == []
    code = "\n".join(block.body for block in blocks("python"))
    assert [part for part in NOT_EXECUTED if part not in code] == []
    assert [
        part for part in SHORTER if part not in text + code
    ] == []  # a page that changes makes its commands long again
    assert len(COMMANDS) > 15
    assert len(blocks("python")) > 3


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_photons(files: OgipFiles, stem: str) -> None:
    """The event list and the region of a catalogue detection."""
    time, place = np.linspace(10.5, 29.5, 40), np.full(40, 10.0)
    columns = [*files.sky_columns(place, place), fits.Column("PI", "J", array=np.arange(60, 180, 3))]
    files.events(f"{stem}_regevt3.fits", time=time, columns=columns)
    files.write(f"{stem}_reg3.fits", files.region_table("SRCREG", [("Ellipse", 10, 10, (5, 4), 0, 1)]))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that holds what the pages speak of, tiny: files, a dataset, a trained model, a text model."""
    from transformers import BertConfig, BertModel

    from chandraclip.embedding.dataset import embed_dataset
    from chandraclip.embedding.embedder import EmbedConfig
    from chandraclip.models import train_tokenizer
    from chandraclip.simulate.dataset import build_from_simulation

    folder = tmp_path_factory.mktemp("workplace")
    for name in ("scripts", "eval", "training", "accelerate_config.yaml"):
        (folder / name).symlink_to(REPOSITORY / name)
    texts = ["a quasar at redshift 2.1", "an X-ray binary, absorbed", "0 1 2 3 4 5 6 7 8 9"]
    load(REPOSITORY / "scripts" / "smoke_wheel.py").make_model(folder / "outputs" / "align", texts)
    for files, spectrum in (
        (OgipFiles(folder), "acisf04938_000N002_r0043_pha3.fits"),
        (OgipFiles(folder / "INPUT_DIR"), "a.pi"),
    ):
        files.arf(), files.rmf()
        files.pha(spectrum, ANCRFILE="source.arf", RESPFILE="source.rmf", counts=(30, 20, 50, 10))
    write_photons(OgipFiles(folder), "acisf04938_000N002_r0043")
    build_from_simulation(folder / "DATASET", 250, seed=1, progress=False)  # what README.md builds, SHORTER
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        embed_dataset(EmbedConfig("outputs/align", "DATASET"), Path("outputs/embeddings/align/default"))
    tokenizer = train_tokenizer(texts, vocab_size=100)
    BertModel(
        BertConfig(
            vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
    ).save_pretrained(folder / "TEXT_MODEL")
    tokenizer.save_pretrained(folder / "TEXT_MODEL")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ACCELERATE_USE_CPU", "true")
        patch.setenv("HF_HUB_OFFLINE", "1")
        for family, output in (("spectrum_autoencoder", "outputs/spectrum"), ("events_transformer", "outputs/events")):
            options = [
                "--config",
                f"training/configs/{family}.yaml",
                "--output_dir",
                output,
                "--model_options",
                TINY_TOWER,
            ]
            run_script("training/pretrain.py", tiny("training/pretrain.py", options), patch)
        yield folder


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_code_runs_as_pasted(block, workplace):
    if reason := reason_against(block.body, NOT_EXECUTED):
        compile(block.body, str(block), "exec")
        pytest.skip(reason)
    code = block.body
    for long, short in SHORTER.items():
        code = code.replace(long, short)
    exec(compile(code, str(block), "exec"), {"__name__": "__main__"})


def tiny(script: str, options: list[str]) -> list[str]:
    """The options with what makes a training small, where they do not say otherwise."""
    if script not in TINY_DEFAULTS:
        return options
    defaults = {name: value for name, value in TINY_DEFAULTS[script].items() if name not in options}
    if "--num_detections" in options:
        defaults.pop("--dataset")
    if "--model_name_or_path" in options:  # an aligned model has its towers
        defaults = {"--dataset": "DATASET"}
    return [*options, *(word for pair in defaults.items() for word in pair), *TINY_RUN]


RUNNABLE = sorted({block.page for block, command in COMMANDS if not reason_against(command, NOT_RUN)})


@pytest.mark.parametrize("page", RUNNABLE)
def test_the_commands_of_a_page_run_tiny_one_after_the_other(page, workplace, monkeypatch):
    for block, command in COMMANDS:
        if block.page != page or reason_against(command, NOT_RUN):
            continue
        for long, short in SHORTER.items():
            command = command.replace(long, short)
        script, options = script_of(command)
        run_script(script, tiny(script, options), monkeypatch)
