"""Checkpoints without pickle: tensors in safetensors, numbers in JSON, a folder renamed into place when whole.

checkpoints/step-00000400/model.safetensors       weights and buffers
                          optimizer.safetensors   "<parameter>/<exp_avg | exp_avg_sq | step>"
                          state.json              step, best validation so far, fp16's loss scale, sha256 of both files
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import nn

from chandraclip.errors import InputFileError
from chandraclip.files import sha256_of

logger = logging.getLogger(__name__)

MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"


@dataclass
class TrainingState:
    """All that a run is, beside its tensors: the batch order, learning rate and dropout follow from the step.

    Attributes:
        step: steps done.
        best_step: step of the best validation so far, None before the first.
        best_value: its value, higher is better.
        plateau: state of a learning rate on a plateau schedule (`training.plateau`), numbers by name; else empty.
        grad_scaler: state of fp16's `torch.amp.GradScaler`, numbers by name; None in other precisions.
    """

    step: int = 0
    best_step: int | None = None
    best_value: float | None = None
    grad_scaler: dict[str, float] | None = None
    plateau: dict[str, float] = field(default_factory=dict)

    def improves(self, value: float) -> bool:
        """Whether a validation beats the best so far (a NaN does not)."""
        return value == value and (self.best_value is None or value > self.best_value)


def checkpoint_path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


def save_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState, keep: int
) -> Path:
    """Write a checkpoint, then remove all but the `keep` newest and the best one.

    Args:
        folder: of the run's checkpoints.
        model: unwrapped.
        optimizer: over parameters of `model`.
        state: with `state.step` steps done.
        keep: at least 1.
    """
    path = checkpoint_path(folder, state.step)
    temporary = folder / f".{path.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        save_model(model, str(temporary / MODEL))
        save_file(_optimizer_tensors(model, optimizer), temporary / OPTIMIZER)
        content = {**asdict(state), "sha256": {name: sha256_of(temporary / name) for name in (MODEL, OPTIMIZER)}}
        (temporary / STATE).write_text(json.dumps(content, indent=2) + "\n")
        if path.exists():
            shutil.rmtree(path)  # of a run that went back to an earlier step
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # where the disk is full, it must not stay so
    newest = sorted(folder.glob("step-*"))[-keep:]
    for other in folder.glob("step-*"):
        if other not in newest and (state.best_step is None or other != checkpoint_path(folder, state.best_step)):
            shutil.rmtree(other)
    return path


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> TrainingState:
    """Read a checkpoint into a model built with the same configuration, and into its optimizer.

    Raises:
        InputFileError: a file is missing or corrupt, or belongs to another model.
    """
    state = read_state(path)
    try:
        load_model(model, path / MODEL)
        if optimizer is not None:
            _restore_optimizer(load_file(path / OPTIMIZER), model, optimizer)
    except (SafetensorError, RuntimeError, KeyError) as error:
        raise InputFileError(path, f"is no checkpoint of this model: {error}") from error
    return state


def read_state(path: Path) -> TrainingState:
    """The numbers of a checkpoint whose files are whole.

    Raises:
        InputFileError: a file is missing, unreadable, or not what its checksum says.
    """
    try:
        content: dict[str, Any] = json.loads((path / STATE).read_text())
        for name, expected in content.pop("sha256").items():
            if sha256_of(path / name) != expected:
                raise InputFileError(path, f"{name} is corrupt: its checksum is not the one written beside it")
        return TrainingState(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputFileError):
            raise
        raise InputFileError(path, f"is not a whole checkpoint: {error!r}") from error


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole; broken ones are passed over with a warning."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            read_state(path)
        except InputFileError as error:
            logger.warning("checkpoint ignored: %s", error)
        else:
            return path
    return None


def _parameter_names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Names in the order in which the optimizer numbers its parameters."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    names, state = _parameter_names(model, optimizer), optimizer.state_dict()["state"]
    return {
        f"{names[index]}/{key}": torch.as_tensor(value).contiguous()
        for index, entries in state.items()
        for key, value in entries.items()
    }


def _restore_optimizer(tensors: dict[str, torch.Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    index = {name: number for number, name in enumerate(_parameter_names(model, optimizer))}
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        parameter, key = name.rsplit("/", 1)
        state.setdefault(index[parameter], {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
