"""Checkpoints give weights and optimizer back bit for bit; broken ones are passed over."""

from __future__ import annotations

import json
import logging

import pytest
import torch

from chandraclip.errors import InputFileError
from chandraclip.training.checkpoint import (
    TrainingState,
    checkpoint_path,
    load_checkpoint,
    newest_checkpoint,
    read_state,
    save_checkpoint,
)
from chandraclip.training.optimizer import build_optimizer


def make(seed: int = 0, width: int = 4):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.BatchNorm1d(width), torch.nn.Linear(width, 1))
    return model, build_optimizer(model, 1e-2, 0.1)


def train(model, optimizer, steps, start=0):
    for step in range(start, start + steps):
        torch.manual_seed(step)
        optimizer.zero_grad()
        model(torch.randn(8, 3)).square().mean().backward()
        optimizer.step()


def test_a_restored_run_equals_the_uninterrupted_one(tmp_path):
    model, optimizer = make()
    train(model, optimizer, 5)
    save_checkpoint(tmp_path, model, optimizer, TrainingState(5, 3, 0.5), keep=1)
    train(model, optimizer, 4, start=5)

    other, other_optimizer = make(seed=1)
    state = load_checkpoint(newest_checkpoint(tmp_path), other, other_optimizer)
    assert state == TrainingState(5, 3, 0.5)
    train(other, other_optimizer, 4, start=5)
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_keeps_the_newest_and_the_best(tmp_path):
    model, optimizer = make()
    for step in range(1, 7):
        save_checkpoint(tmp_path, model, optimizer, TrainingState(step, min(step, 2), 1.0), keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000005", "step-00000006"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "no state", "bad state"])
def test_broken_checkpoints_are_passed_over_with_a_message(tmp_path, caplog, damage):
    model, optimizer = make()
    for step in (1, 2):
        save_checkpoint(tmp_path, model, optimizer, TrainingState(step), keep=2)
    (tmp_path / ".step-00000003.tmp").mkdir()  # a write that was killed
    newest = checkpoint_path(tmp_path, 2)
    file = newest / "model.safetensors"
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-4])
    elif damage == "flipped":
        file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1]))
    elif damage == "missing":
        (newest / "optimizer.safetensors").unlink()
    elif damage == "no state":
        (newest / "state.json").unlink()
    else:
        (newest / "state.json").write_text("[]")
    with pytest.raises(InputFileError, match="step-00000002"):
        read_state(newest)
    with caplog.at_level(logging.WARNING):
        assert newest_checkpoint(tmp_path) == checkpoint_path(tmp_path, 1)
    assert "step-00000002" in caplog.text
    assert newest_checkpoint(tmp_path / "absent") is None


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    model, optimizer = make()
    train(model, optimizer, 1)
    path = save_checkpoint(tmp_path, model, optimizer, TrainingState(1), keep=1)
    with pytest.raises(InputFileError, match="no checkpoint of this model"):
        load_checkpoint(path, *make(width=5))
    assert json.loads((path / "state.json").read_text())["step"] == 1


def test_a_nan_is_never_best():
    state = TrainingState()
    assert not state.improves(float("nan"))
    assert state.improves(-3.0)
    assert not TrainingState(best_step=1, best_value=0.5).improves(0.5)
