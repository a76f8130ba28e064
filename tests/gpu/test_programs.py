"""Alignment with resume, embedding and the neighbour search on CUDA."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chandraclip.embedding.embedder import EmbedConfig, Embedder
from chandraclip.evaluation.neighbours import nearest
from chandraclip.training.randomness import seed_step
from registered_models import build, detections, processor

TRAINING = Path(__file__).resolve().parents[2] / "training"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small model of each family that the alignment takes, and one of it."""
    folder = tmp_path_factory.mktemp("models")
    parts = {
        "spectrum_autoencoder": processor().spectrum_feature_extractor,
        "event_transformer": processor().event_feature_extractor,
        "chandraclip": processor(),
    }
    for name, extractor in parts.items():
        build(name).save_pretrained(folder / name)
        extractor.save_pretrained(folder / name)
    return folder


def test_the_embedder_gives_what_it_gives_on_the_cpu(models: Path) -> None:
    pytest.importorskip("transformers")
    table = detections()
    here, there = (
        Embedder(EmbedConfig(str(models / "chandraclip"), "", batch_size=7, device=device))(table)
        for device in ("cpu", "cuda")
    )
    assert here.schema == there.schema
    for name in ("spectrum_embedding", "event_embedding", "text_embedding", "event_latents"):
        assert here[name].null_count == there[name].null_count > 0
        left, right = (np.stack(column[name].drop_null().to_numpy(zero_copy_only=False)) for column in (here, there))
        np.testing.assert_allclose(right, left, rtol=1e-3, atol=1e-4)


def test_neighbours_are_those_of_the_cpu() -> None:
    vectors = np.random.default_rng(0).normal(size=(5_003, 64)).astype(np.float32)
    (here, near), (there, far) = (nearest(vectors[:300], vectors, 11, device=device) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(far, near, atol=1e-5)
    assert (here == there).mean() > 0.999
    assert (there[:, 0] == np.arange(300)).all()


def test_a_step_draws_the_same_numbers_on_the_device_whenever_it_is_run() -> None:
    drawn = []
    for step in (3, 4, 3):
        seed_step(0, step)
        drawn.append(torch.rand(8, device="cuda"))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


@pytest.fixture
def align(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Runs the alignment of small models for a few steps, with further options, into a folder."""
    pytest.importorskip("datasets")
    pytest.importorskip("tensorboard")
    from chandraclip.simulate.dataset import build_from_simulation

    build_from_simulation(tmp_path / "data", 250, progress=False)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(sys, "path", [str(TRAINING), *sys.path])
    program = importlib.import_module("align")
    options: dict[str, Any] = {
        "dataset": tmp_path / "data",
        "spectrum_model_name_or_path": models / "spectrum_autoencoder",
        "event_model_name_or_path": models / "event_transformer",
        "batch_size": 16,
        "max_steps": 4,
        "warmup_steps": 1,
        "eval_steps": 4,
        "save_steps": 2,
        "logging_steps": 1,
    }

    def run(folder: Path, **further: Any) -> Path:
        arguments = [text for name, value in {**options, **further}.items() for text in (f"--{name}", str(value))]
        program.main([*arguments, "--output_dir", str(folder)])
        return folder

    return run


def test_an_alignment_goes_on_from_its_checkpoint(align: Callable[..., Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    whole, resumed = align(tmp_path / "whole"), tmp_path / "resumed"
    shutil.copytree(whole, resumed)
    shutil.rmtree(resumed / "checkpoints" / "step-00000004")
    for name in ("metrics.json", "model.safetensors"):
        (resumed / name).unlink()
    align(resumed)
    expected, found = load_file(whole / "model.safetensors"), load_file(resumed / "model.safetensors")
    start = load_file(whole / "checkpoints" / "step-00000002" / "model.safetensors")
    # Sums over photons are not ordered on a GPU, so equal to rounding, and much nearer than two steps apart.
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=2e-4, msg=name)
    assert max(float((start[name] - value).abs().max()) for name, value in expected.items()) > 1e-3


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_mixed_precision_trains(
    align: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(True)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", precision)
    folder = align(tmp_path / "align", max_steps=24, gradient_accumulation_steps=2)
    AcceleratorState._reset_state(True)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    losses = [line["train/loss"] for line in lines if "train/loss" in line]
    assert sum(losses[-6:]) < sum(losses[:6])
    (state, *_) = sorted((folder / "checkpoints").glob("step-*/state.json"), reverse=True)
    scaler = json.loads(state.read_text()).get("grad_scaler")
    assert scaler["scale"] > 0 if precision == "fp16" else not scaler
