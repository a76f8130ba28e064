"""Runs that go on: lengthened ones, and aligned models that are fine-tuned with other weights of pairs."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from contextlib import contextmanager

import pytest
import torch
import yaml
from accelerate import Accelerator
from safetensors.torch import load_file

from chandraclip.errors import InputFileError, OptionError
from chandraclip.lock import release
from chandraclip.training.align_arguments import AlignArguments
from chandraclip.training.arguments import RunArguments, parse_arguments
from chandraclip.training.optimizer import build_optimizer, learning_rate_at
from chandraclip.training.run import Run


@pytest.fixture
def go(tmp_path, monkeypatch):
    """Run steps of a one-weight model to max_steps or, killed, to a step; gives the learning rates of the steps."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")

    def start(max_steps, killed_at=None, **options):
        arguments = RunArguments(
            output_dir=str(tmp_path / "run"), max_steps=max_steps, warmup_steps=4, save_steps=2, eval_steps=3, **options
        )
        model = torch.nn.Linear(1, 1)
        optimizer = build_optimizer(model, 0.1, 0.0)
        run = Run(arguments, {"dataset": "d"}, Accelerator(), "loss", False)
        rates = {}
        if run.finished:
            return rates
        run.resume(model, optimizer)
        with run.tracker() as tracker:
            for step in range(run.state.step, max_steps):
                if step == killed_at:
                    return rates
                rates[step] = learning_rate_at(step, 1.0, arguments.warmup_steps, max_steps)
                optimizer.zero_grad()
                model(torch.ones(1, 1)).sum().backward()
                optimizer.step()
                validation = {"loss": 9.0 - step} if run.is_due(step, 3) else None
                run.end_step(step, tracker, {"loss": 1.0}, validation, model, optimizer)
        run.finish({})
        return rates

    return start


def test_a_finished_run_is_lengthened_without_a_second_warm_up(go, tmp_path, caplog):
    folder = tmp_path / "run"
    go(6)
    assert json.loads((folder / "metrics.json").read_text())["max_steps"] == 6
    with caplog.at_level(logging.INFO):
        rates = go(12)
    assert list(rates) == list(range(6, 12))
    assert rates[6] == max(rates.values()) == learning_rate_at(6, 1.0, 4, 12) > learning_rate_at(5, 1.0, 4, 6)
    assert "lengthened from 6 to 12 steps: from step 6 on the learning rate" in caplog.text
    assert "not be those of 12 steps from scratch" in caplog.text
    assert json.loads((folder / "metrics.json").read_text())["max_steps"] == 12
    assert yaml.safe_load((folder / "train_config.yaml").read_text())["max_steps"] == 12
    facts = json.loads((folder / "checkpoints/run.json").read_text())
    assert facts["lengthened"] == [{"at_step": 6, "from_max_steps": 6, "to_max_steps": 12}]
    assert facts["inputs"] == {"dataset": "d"}
    assert go(12) == {}
    with pytest.raises(InputFileError, match="holds a run of 12 steps, which cannot be shortened to max_steps 6"):
        go(6)
    with pytest.raises(InputFileError, match="another run \\(seed: 0 -> 1\\)"):
        go(20, seed=1)
    assert (folder / "metrics.json").exists()


def test_a_killed_run_is_lengthened_too(go, tmp_path):
    go(6, killed_at=3)  # the checkpoint of step 3, the best validation
    assert list(go(8, killed_at=5)) == [3, 4]
    assert not (tmp_path / "run/metrics.json").exists()
    assert list(go(8)) == [4, 5, 6, 7]
    assert json.loads((tmp_path / "run/metrics.json").read_text())["max_steps"] == 8


def test_a_finished_run_without_checkpoints_stays_as_it_is(go, tmp_path):
    go(6)
    for path in (tmp_path / "run/checkpoints").glob("step-*"):
        shutil.rmtree(path)
    with pytest.raises(InputFileError, match="no whole checkpoint"):
        go(12)
    assert go(6) == {}


@pytest.fixture(scope="module")
def aligned(towers, tmp_path_factory, run_loop):
    """A model aligned by its own options: 24 dimensions, and a text tower along."""
    folder = tmp_path_factory.mktemp("aligned") / "model"
    run_loop("align", "--config", towers / "align.yaml", "--output_dir", folder, "--projection_dim", 24)
    return folder


@pytest.mark.slow
def test_fine_tuning_starts_from_the_whole_model(towers, aligned, dataset, tmp_path, run_loop, monkeypatch):
    import transformers

    from chandraclip.training import optimizer

    started = {}
    build = optimizer.build_optimizer
    monkeypatch.setattr(
        optimizer,
        "build_optimizer",
        lambda model, *rest: (
            started.update({name: value.clone() for name, value in model.state_dict().items()}),
            build(model, *rest),
        )[1],
    )
    output = tmp_path / "tuned"
    config = tmp_path / "config.yaml"
    content = {"dataset": str(dataset), "batch_size": 16, "max_steps": 3, "warmup_steps": 1, "eval_steps": 3,
               "pair_weights": {"spectrum_event": 0.3, "event_text": 1}}  # fmt: skip
    config.write_text(yaml.safe_dump(content))
    options = ["--config", config, "--model_name_or_path", aligned, "--output_dir", output]
    run_loop("align", *options)
    before = load_file(aligned / "model.safetensors")
    assert started.keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in started.items())
    assert not torch.equal(load_file(output / "model.safetensors")["logit_scale"], before["logit_scale"])

    model = transformers.AutoModel.from_pretrained(output)
    assert (model.config.projection_dim, model.config.pair_weights) == (24, {"spectrum_event": 0.3})
    assert model.config.neighbourhood_weights == {"event": 1.0}  # of every alignment with texts
    tokenizers = [transformers.AutoProcessor.from_pretrained(path).tokenizer for path in (aligned, output)]
    assert tokenizers[0].get_vocab() == tokenizers[1].get_vocab()
    assert transformers.AutoProcessor.from_pretrained(output).max_text_length == 96
    assert "started from the aligned model model" in " ".join((output / "README.md").read_text().split())
    assert set(json.loads((output / "checkpoints/run.json").read_text())["inputs"]) == {"dataset", "model"}

    again = parse_arguments(AlignArguments, None, ["--config", str(output / "train_config.yaml")])
    assert again.pair_weights == ["spectrum_event=0.3"]
    changed = tmp_path / "model"
    shutil.copytree(aligned, changed)
    (changed / "config.json").write_text((aligned / "config.json").read_text() + "\n")
    moved = ["--config", config, "--model_name_or_path", changed, "--output_dir", output]
    with pytest.raises(InputFileError, match="model_name_or_path"):
        run_loop("align", *moved)
    shutil.copy(changed / "config.json", aligned / "config.json")
    with pytest.raises(InputFileError, match="from another model"):
        run_loop("align", *options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (["--projection_dim", "64"], OptionError, "projection_dim 64 is asked for, the model has 24"),
        (
            ["--max_text_length", "50", "--text_pooling", "cls"],
            OptionError,
            "text_pooling cls .* mean; max_text_length 50",
        ),
        (["--model_options", '{"projection_hidden_size": 3}'], OptionError, "projection_hidden_size 3"),
        (["--spectrum_model_name_or_path", "x"], SystemExit, "leave out spectrum_model_name_or_path"),
        (["--text_model_name_or_path", "x"], SystemExit, "leave out text_model_name_or_path"),
        (["--output_dir", "{aligned}"], SystemExit, "is the model to start from"),
        (["--model_name_or_path", "{towers}/spectrum"], InputFileError, "is a spectrum_autoencoder"),
        (["--model_name_or_path", "{towers}/absent"], InputFileError, "no aligned model"),
    ],
)
def test_fine_tuning_another_model_than_it_is_is_refused(
    towers, aligned, dataset, tmp_path, run_loop, capsys, options, error, message
):
    options = [text.replace("{aligned}", str(aligned)).replace("{towers}", str(towers)) for text in options]
    with pytest.raises(error) as raised:
        run_loop("align", "--dataset", dataset, "--batch_size", 16, "--output_dir", tmp_path / "new",
                 "--model_name_or_path", aligned, *options)  # fmt: skip
    assert re.search(message, f"{raised.value} {capsys.readouterr().err}")
    assert (aligned / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [("spectrum_text", "name=number"), ("spectrum_text=x", "name=number"), ("spectrum=1", "names spectrum;")],
)
def test_weights_of_pairs_are_checked_at_the_start(run_loop, capsys, text, message):
    with pytest.raises(SystemExit):
        run_loop("align", "--pair_weights", "event_text=1", text)
    assert message in capsys.readouterr().err


@contextmanager
def stopped_at(step, when):
    """Ctrl-C, before or after the folder of a step's checkpoint has its name."""
    rename = os.replace

    def replace(source, target):
        stops = str(target).endswith(f"step-{step:08d}")
        if not stops or when == "after":
            rename(source, target)
        if stops:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt) as stopped:
            yield stopped


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_stop_while_a_checkpoint_is_written_says_where_the_next_run_begins(go, tmp_path, when):
    """What the process knows of its steps is the same in both."""
    with stopped_at(4, when) as stopped:
        go(8)
    begins = 3 if when == "before" else 4
    assert stopped.value.__notes__[0].endswith(f"run goes on from step {begins}")
    release(tmp_path / "run")  # as run_program does
    assert min(go(8)) == begins


def test_a_stop_after_the_checkpoint_asked_for_made_room_says_what_is_left(go, tmp_path):
    go(12, killed_at=3)
    asked = tmp_path / "run" / "checkpoints" / "step-00000002"
    with stopped_at(8, "after") as stopped:
        go(12, resume_from_checkpoint=str(asked))
    assert not asked.exists()
    assert stopped.value.__notes__[0].endswith("run goes on from step 8 without --resume_from_checkpoint")
    release(tmp_path / "run")
    assert min(go(12)) == 8
