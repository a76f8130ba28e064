"""The loops as programs: outputs that load back, resuming after a kill, several processes, other text towers."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from chandraclip.errors import InputFileError

pytestmark = pytest.mark.slow


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        if path.exists():
            return
        assert process.poll() is None, "the run ended before it wrote a checkpoint"
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear within a minute")


def test_pretraining_writes_a_model_that_loads_back(towers):
    import transformers

    import chandraclip.models  # noqa: F401

    for name in ("spectrum", "events"):
        folder = towers / name
        model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32)
        metrics = json.loads((folder / "metrics.json").read_text())
        best = load_file(folder / "checkpoints" / f"step-{metrics['best_step']:08d}" / "model.safetensors")
        assert all(torch.equal(value, best[key]) for key, value in model.state_dict().items())
        assert model.config.latent_size == 8
        transformers.AutoFeatureExtractor.from_pretrained(folder)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if "train/loss" in line] == [1, 2, 3, 4, 5, 6]
        validated = {line["step"]: line["validation/loss"] for line in lines if "validation/loss" in line}
        assert set(validated) == {3, 6}
        assert metrics["best_step"] == min(validated, key=validated.get)
        assert metrics["validation"]["loss"] == pytest.approx(min(validated.values()), rel=1e-6)
        if name == "spectrum":  # a batch of photon lists has its own planted events and weights, and so its own loss
            assert metrics["validation"]["loss"] < lines[0]["train/loss"]
        assert "pipeline_tag: feature-extraction" in (folder / "README.md").read_text()
        assert list((folder / "tensorboard").iterdir())


def test_align_writes_a_model_its_processor_and_the_record_of_the_run(
    towers, tmp_path, run_loop, dataset, capsys, caplog
):
    import datasets
    import transformers

    import chandraclip.models  # noqa: F401

    output = tmp_path / "align"
    options = ["--config", towers / "align.yaml", "--output_dir", output]
    run_loop("align", *options)
    assert "spectrum -> text" in capsys.readouterr().out
    model = transformers.AutoModel.from_pretrained(output, dtype=torch.float32).eval()
    processor = transformers.AutoProcessor.from_pretrained(output)
    rows = datasets.load_dataset(str(dataset), "pairs", split="test").with_format("arrow")[:20]
    embeds = model(**processor(rows))
    for name in ("spectrum", "event", "text"):
        lengths = getattr(embeds, f"{name}_embeds").norm(dim=1)
        assert torch.all((lengths - 1).abs().lt(1e-5) | lengths.eq(0))
    assert yaml.safe_load((output / "train_config.yaml").read_text())["batch_size"] == 16
    metrics = json.loads((output / "metrics.json").read_text())
    assert 0 <= metrics["test"]["spectrum_text/recall@5%"] <= 1
    card = (output / "README.md").read_text()
    for needed in ("library_name: transformers", "pipeline_tag: feature-extraction", "test", "recall@1%", "simulated"):
        assert needed in card

    with caplog.at_level(logging.INFO):
        run_loop("align", *options)
    assert "finished already" in caplog.text
    assert "spectrum -> text" in capsys.readouterr().out
    with pytest.raises(InputFileError, match="another run \\(seed: 0 -> 1\\)"):
        run_loop("align", *options, "--seed", 1)
    run_loop("align", *options, "--seed", 1, "--max_steps", 2, "--overwrite_output_dir")
    assert json.loads((output / "metrics.json").read_text())["max_steps"] == 2


def test_a_killed_run_goes_on_to_the_same_weights_bit_for_bit(
    towers, tmp_path, run_loop, loop_command, environment, caplog
):
    options = ["--config", str(towers / "align.yaml"), "--max_steps", "8"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_loop("align", *options, "--output_dir", whole)

    command = [*loop_command("align"), *options, "--output_dir", str(killed)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(killed / "checkpoints" / "step-00000002", process)
        os.kill(process.pid, signal.SIGKILL)
    assert not (killed / "metrics.json").exists()
    with caplog.at_level(logging.INFO):
        run_loop("align", *options, "--output_dir", killed)
    assert "goes on from" in caplog.text

    for file in ("model.safetensors", "checkpoints/step-00000008/optimizer.safetensors"):
        expected, found = load_file(whole / file), load_file(killed / file)
        assert expected.keys() == found.keys()
        assert all(torch.equal(value, found[name]) for name, value in expected.items()), file
    assert (whole / "metrics.json").read_text() == (killed / "metrics.json").read_text()
    steps = [json.loads(line)["step"] for line in (killed / "metrics.jsonl").read_text().splitlines()]
    assert sorted(set(steps)) == list(range(1, 9))
    assert len(steps) == len((whole / "metrics.jsonl").read_text().splitlines())


def test_two_processes_with_micro_batches_and_one_without_give_the_same_loss_and_gradients(
    towers, tmp_path, environment
):
    script = str(Path(__file__).with_name("align_gradients.py"))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    found = {}
    for name, launcher, parts in (("one", [], "1"), ("two", torchrun, "2")):
        file = tmp_path / f"{name}.safetensors"
        options = ["--config", str(towers / "align.yaml"), "--output_dir", str(tmp_path / name), "--text_dropout", "0",
                   "--model_options", '{"projection_hidden_size": 16, "projection_dropout": 0.0, "joint_dropout": 0.0, '
                   '"context_dropout": 0.0}', "--max_steps", "1",
                   "--max_grad_norm", "1e9", "--gamma", "0.5", "--gradient_accumulation_steps", parts]  # fmt: skip
        command = [sys.executable, *launcher, script, str(file), *options]
        subprocess.run(command, check=True, timeout=200, env=environment)
        found[name] = load_file(file)
    one, two = found["one"], found["two"]
    assert one.keys() == two.keys()
    assert (one.pop("rows").tolist(), two.pop("rows").tolist()) == ([16], [4, 4])
    assert one["loss"] > 1
    assert all(gradient.dtype == torch.float64 for name, gradient in one.items() if name != "loss")
    torch.testing.assert_close(one.pop("loss"), two.pop("loss"), rtol=1e-6, atol=0)
    for name, gradient in one.items():
        # A key's bias shifts all scores of a query alike, which softmax does not see.
        assert gradient.abs().sum() > 0 or "k_proj.bias" in name or "key.bias" in name, name
    whole = torch.cat([gradient.double().flatten() for gradient in one.values()])
    difference = whole - torch.cat([gradient.double().flatten() for gradient in two.values()])
    assert difference.norm() <= 1e-6 * whole.norm()
    assert difference.abs().max() <= 1e-6 * whole.abs().max()


@pytest.mark.parametrize("training", ["auto", "lora", "full"])
def test_any_encoder_can_be_the_text_tower(towers, tmp_path, run_loop, text_encoder, training):
    import transformers

    import chandraclip.models  # noqa: F401

    output = tmp_path / training
    run_loop("align", "--config", towers / "align.yaml", "--output_dir", output, "--max_steps", 3,
             "--text_model_name_or_path", text_encoder, "--text_training", training)  # fmt: skip
    model = transformers.AutoModel.from_pretrained(output, dtype=torch.float32)
    before = transformers.AutoModel.from_pretrained(text_encoder, add_pooling_layer=False).state_dict()
    after = model.text_encoder.state_dict()
    assert before.keys() == after.keys()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    if training == "auto":
        assert not changed
        assert (output / "checkpoints" / "text_features.safetensors").exists()
    elif training == "lora":
        assert changed == {name for name, value in before.items() if name.startswith("encoder") and value.dim() == 2}
    else:
        assert len(changed) > 10
    tokenizer = transformers.AutoProcessor.from_pretrained(output).tokenizer
    assert tokenizer.get_vocab() == transformers.AutoTokenizer.from_pretrained(text_encoder).get_vocab()


def test_photons_are_thinned_while_training_and_never_after(towers, tmp_path, run_loop):
    import transformers

    import chandraclip.models  # noqa: F401

    weights = {}
    for most in ("none", "3"):
        output = tmp_path / most
        options = [] if most == "none" else ["--max_train_events", most]
        run_loop("align", "--config", towers / "align.yaml", "--output_dir", output, "--max_steps", 2, *options)
        assert transformers.AutoProcessor.from_pretrained(output).event_feature_extractor.max_events is None
        weights[most] = load_file(output / "model.safetensors")["event_encoder.latent_projection.weight"]
    assert not torch.equal(weights["none"], weights["3"])


def test_two_modalities_are_enough(towers, tmp_path, run_loop, capsys):
    run_loop("align", "--config", towers / "align.yaml", "--output_dir", tmp_path / "align", "--max_steps", 2,
             "--modalities", "spectrum", "event")  # fmt: skip
    table = capsys.readouterr().out
    assert "spectrum -> event" in table
    assert "-> text" not in table


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "{tmp}/absent"], "absent"),
        (["--text_model_name_or_path", "{tmp}/absent"], "no text encoder"),
        (["--batch_size", "200"], "batch_size 200"),
        (["--output_dir", "{tmp}"], "holds no run"),
        (["--resume_from_checkpoint", "{tmp}"], "whole checkpoint"),
    ],
)
def test_what_cannot_be_run_is_said(towers, tmp_path, run_loop, options, message):
    (tmp_path / "thesis.txt").write_text("not a run")
    options = [text.format(tmp=tmp_path) for text in options]
    with pytest.raises((InputFileError, ValueError), match=message):
        run_loop("align", "--config", towers / "align.yaml", "--output_dir", tmp_path / "new", *options)
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--modalities", "spectrum"], "two or more"),
        (
            ["--modalities", "spectrum", "event", "--metric_for_best_model", "event_text/recall@1%"],
            "pair that is aligned",
        ),
        (["--text_training", "frozen"], "text_model_name_or_path"),
    ],
)
def test_options_that_make_no_sense_end_the_program(towers, run_loop, capsys, options, message):
    with pytest.raises(SystemExit):
        run_loop("align", "--config", towers / "align.yaml", *options)
    assert message in capsys.readouterr().err
