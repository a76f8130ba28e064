"""`make real` and `make results` again and again, with other data and other models, from paths with spaces."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ogip_files import OgipFiles

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed"),
]


def run_program_file(path: Path, options: list[str]) -> None:
    """A program, in this process."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(options)


@pytest.fixture
def checkout(repository, tmp_path):
    """A folder that looks like a checkout, whose "virtual environment" is this one: `make` may run in it."""
    folder = tmp_path / "check out"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "scripts", "eval", "training"):
        (folder / name).symlink_to(repository / name)
    (folder / ".venv" / "bin").mkdir(parents=True)
    python = folder / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (folder / ".venv" / ".installed").touch()
    return folder


@pytest.fixture
def make(checkout, tmp_path):
    def run(*arguments: str) -> str:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "",
                       "HF_DATASETS_CACHE": str(tmp_path / "cache")}  # fmt: skip
        done = subprocess.run(["make", *arguments], cwd=checkout, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def save_model(folder: Path, seed: int) -> None:
    """A small aligned model with random weights."""
    import torch
    from transformers import AutoModel

    from chandraclip.models import (
        ChandraClipModel,
        ChandraClipProcessor,
        EventFeatureExtractor,
        EventTransformerConfig,
        EventTransformerModel,
        SpectrumAutoencoderConfig,
        SpectrumAutoencoderModel,
        SpectrumFeatureExtractor,
        small_text_config,
        train_tokenizer,
    )

    torch.manual_seed(seed)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "latent_size": 8}
    tokenizer = train_tokenizer(["a bright quasar", "a flaring star"], 200, 96)
    text = AutoModel.from_config(
        small_text_config(len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1)
    )
    events = EventTransformerConfig(**size, num_queries=2, decoder_hidden_size=8, num_decoder_blocks=1)
    model = ChandraClipModel.from_pretrained_towers(
        SpectrumAutoencoderModel(SpectrumAutoencoderConfig(**size)),
        EventTransformerModel(events),
        text,
        projection_dim=8,
    )
    model.save_pretrained(folder)
    ChandraClipProcessor(SpectrumFeatureExtractor(), EventFeatureExtractor(), tokenizer).save_pretrained(folder)


def write_events(folder: Path, obs_id: int) -> None:
    """An event list of 30 photons, which is a detection by itself."""
    files = OgipFiles(folder)
    files.events(f"events{obs_id}.fits", time=np.linspace(10.5, 29.5, 30), OBS_ID=str(obs_id))


def test_real_works_again_with_other_data_and_another_model(make, checkout, tmp_path, repository, capsys, monkeypatch):
    from chandraclip.simulate.dataset import build_from_simulation

    build_from_simulation(checkout / "outputs" / "data" / "default", 60, seed=3, progress=False)
    data = {name: tmp_path / "mission data" / name for name in ("first", "second set")}
    model, folder = "another model", data["second set"]
    save_model(checkout / "outputs" / model, 1)
    write_events(folder, 1)
    assert "written" in make("real", f"DATA={folder}", f"MODEL=outputs/{model}")
    found = checkout / "outputs" / "results" / model / f"neighbours_real_{folder.name}" / "neighbours.json"
    content = json.loads(found.read_text())
    assert content["embeddings"]["model"] == f"outputs/{model}"
    assert len(content["queries"]) == 1

    # Packaging alone: other data and another model, the same files again, the same folder with one file more.
    def package(name: str) -> str:
        recipe = make("-n", "real", f"DATA={data[name]}", "MODEL=outputs/one")
        (command,) = (line for line in recipe.splitlines() if "build_dataset.py" in line)
        run_program_file(repository / "scripts" / "build_dataset.py", shlex.split(command)[2:])
        return capsys.readouterr().out

    monkeypatch.chdir(checkout)
    assert "already built" in package("second set")
    write_events(data["first"], 7)
    assert "written" in package("first")
    write_events(data["first"], 8)
    assert "written" in package("first")
    assert "already built" in package("first")
    assert "already built" in package("second set")


def test_results_of_two_models_stand_side_by_side(make):
    commands = {}
    for model in ("one", "another model"):
        lines = make("-n", "results", f"MODEL=outputs/{model}").splitlines()
        commands[model] = [shlex.split(line)[1:] for line in lines if line.startswith(".venv/bin/python")]
        assert [command[0] for command in commands[model]] == [
            *("scripts/embed.py", "eval/regression.py", "eval/retrieval.py"),
            *("scripts/embed.py", "eval/retrieval.py"),  # without context
        ]
        assert commands[model][0][1] == f"outputs/{model}"
        assert commands[model][0][3] == commands[model][1][1] == commands[model][2][1]
        assert commands[model][3][3] == commands[model][4][1] != commands[model][0][3]
        assert "--without_context" in commands[model][3]
    outputs = {command[3] if "embed" in command[0] else command[-1] for model in commands.values() for command in model}
    assert len(outputs) == 10


def test_discovery_asks_the_embeddings_that_results_made(make, repository):
    lines = make("-n", "discovery", "MODEL=outputs/another model").splitlines()
    commands = [shlex.split(line)[1:] for line in lines if line.startswith(".venv/bin/python")]
    names = ["neighbours", "anomaly", "graph", "maps", "trajectories"]
    assert [command[0] for command in commands] == [f"eval/{name}.py" for name in names]
    assert {command[1] for command in commands} == {"outputs/embeddings/another model/default"}
    assert len({command[-1] for command in commands}) == len(names)
    for command in commands:  # options that the programs do not have would be found after a quarter of an hour
        help_text = subprocess.run(
            [sys.executable, command[0], "--help"], cwd=repository, capture_output=True, text=True, check=True
        ).stdout
        assert all(option in help_text for option in command if option.startswith("--"))
