"""The output folder of a run: new, to be continued, or finished.

OUT/train_config.yaml     the resolved options, written first; another run does not go on with them
OUT/run.json              the dataset's identity and the versions
OUT/checkpoints/, metrics.jsonl, tensorboard/
OUT/{config.json,model.safetensors,...,README.md}   the best model, when the run is over
OUT/metrics.json          written last: a folder that has it is finished
"""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from chandraclip.errors import InputFileError
from chandraclip.evaluation.files import write_json
from chandraclip.training.arguments import CONFIG_FILE, RunArguments, as_yaml, differences, read_yaml
from chandraclip.training.checkpoint import (
    TrainingState,
    checkpoint_path,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from chandraclip.training.optimizer import learning_rate_at, set_learning_rate
from chandraclip.training.randomness import seed_step

logger = logging.getLogger(__name__)

METRICS_FILE, RUN_FILE, CHECKPOINTS = "metrics.json", "run.json", "checkpoints"
PACKAGES = ("chandraclip", "torch", "transformers", "datasets", "accelerate", "numpy", "pyarrow")


class Run:
    """One training run and its folder.

    Attributes:
        state: steps done and the best validation; changed as the run goes on.
        finished: the folder holds this very run, complete.
    """

    def __init__(self, arguments: RunArguments, dataset_id: str, accelerator: Accelerator):
        """Claim the folder.

        Args:
            arguments: the resolved options.
            dataset_id: what the dataset is, e.g. a hash.
            accelerator: of the loop.

        Raises:
            InputFileError: the folder holds another run, or files of another origin, and overwrite_output_dir is off.
        """
        self.arguments, self.accelerator = arguments, accelerator
        self.folder = Path(arguments.output_dir)
        self.state = TrainingState()
        if arguments.overwrite_output_dir:
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                _forget(self.folder)
            accelerator.wait_for_everyone()
        known = (self.folder / CONFIG_FILE).exists()
        if known:
            self._check_same(dataset_id)
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise InputFileError(self.folder, "is not empty and holds no run; choose another output_dir")
        self.finished = (self.folder / METRICS_FILE).exists()
        accelerator.wait_for_everyone()  # all have looked before one writes
        if accelerator.is_main_process and not known:
            self.folder.mkdir(parents=True, exist_ok=True)
            packages = {name: version(name) for name in PACKAGES}
            facts = {"dataset_id": dataset_id, "python": platform.python_version(), **packages}
            write_json(self.folder / RUN_FILE, facts)
            temporary = self.folder / f".{CONFIG_FILE}.tmp"
            temporary.write_text(as_yaml(arguments))
            os.replace(temporary, self.folder / CONFIG_FILE)
        accelerator.wait_for_everyone()

    def _check_same(self, dataset_id: str) -> None:
        advice = "choose another output_dir, or --overwrite_output_dir"
        changed = differences(self.arguments, read_yaml(self.folder / CONFIG_FILE))
        if changed:
            raise InputFileError(self.folder, f"holds another run ({'; '.join(changed)}); {advice}")
        try:
            saved = json.loads((self.folder / RUN_FILE).read_text())["dataset_id"]
        except (OSError, ValueError, KeyError) as error:
            raise InputFileError(self.folder / RUN_FILE, f"cannot be read: {error!r}; {advice}") from error
        if saved != dataset_id:
            raise InputFileError(self.folder, f"holds a run on another version of {self.arguments.dataset}; {advice}")

    def resume(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Go on from the checkpoint asked for, or the newest whole one of the folder; from the start if there is none.

        Args:
            model, optimizer: unwrapped, freshly made.
        """
        asked = self.arguments.resume_from_checkpoint
        path = Path(asked) if asked else newest_checkpoint(self.folder / CHECKPOINTS)
        if path is None:
            return
        self.state = load_checkpoint(path, model, optimizer)
        if self.state.step > self.arguments.max_steps:
            raise InputFileError(path, f"is at step {self.state.step}, past max_steps {self.arguments.max_steps}")
        if self.accelerator.is_main_process:
            logger.info("goes on from %s", path)

    def train_step(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, batch: dict[str, torch.Tensor], step: int
    ) -> dict[str, torch.Tensor]:
        """Forward, backward and update of one step (from 0): the middle of every loop.

        Args:
            model: prepared by the accelerator; its output has `loss`.
            optimizer: prepared by the accelerator.
            batch: this process' share.
            step: seeds dropout and sets the learning rate.

        Returns:
            `loss` (this process' share of it: the mean over processes is the loss of the batch) and `grad_norm`.

        Raises:
            FloatingPointError: the gradient is not finite; the weights are left as they were.
        """
        options = self.arguments
        seed_step(options.seed, step, self.accelerator.process_index)
        rate = learning_rate_at(step, options.learning_rate, options.warmup_steps, options.max_steps)
        set_learning_rate(optimizer, rate)
        model.train()
        optimizer.zero_grad()
        loss = model(**batch).loss
        self.accelerator.backward(loss)
        grad_norm = self.accelerator.clip_grad_norm_(model.parameters(), options.max_grad_norm)
        if grad_norm is None or not torch.isfinite(grad_norm):
            raise FloatingPointError(f"the gradient of step {step} is not finite (loss {loss.item()})")
        optimizer.step()
        return {"loss": loss.detach(), "grad_norm": grad_norm.detach()}

    def is_due(self, every: int) -> bool:
        """Whether the steps done are a multiple of `every`, or all."""
        return self.state.step % every == 0 or self.state.step == self.arguments.max_steps

    def record(self, model: nn.Module, optimizer: torch.optim.Optimizer, value: float | None) -> None:
        """Save a checkpoint if it is time, or if the validation `value` (higher is better) is the best so far."""
        best = value is not None and self.state.improves(value)
        if best:
            self.state.best_step, self.state.best_value = self.state.step, value
        if best or self.is_due(self.arguments.save_steps):
            if self.accelerator.is_main_process:
                folder = self.folder / CHECKPOINTS
                unwrapped = self.accelerator.unwrap_model(model)
                save_checkpoint(folder, unwrapped, optimizer, self.state, self.arguments.keep_checkpoints)
            self.accelerator.wait_for_everyone()

    def load_best(self, model: nn.Module) -> None:
        """The weights of the best validation into the (unwrapped) model.

        Raises:
            FloatingPointError: no validation gave a number.
        """
        if self.state.best_step is None:
            raise FloatingPointError("no validation of the run gave a number")
        load_checkpoint(checkpoint_path(self.folder / CHECKPOINTS, self.state.best_step), model)

    def finish(self, metrics: dict[str, Any]) -> None:
        """Write metrics.json, by which the run is known to be complete."""
        if self.accelerator.is_main_process:
            facts = {"best_step": self.state.best_step, "max_steps": self.arguments.max_steps, **metrics}
            write_json(self.folder / METRICS_FILE, facts)
        self.accelerator.wait_for_everyone()
        self.finished = True


def _forget(folder: Path) -> None:
    """Remove what a run wrote, and nothing else; does nothing in a folder without a run."""
    if not (folder / CONFIG_FILE).exists():
        return
    for name in (CHECKPOINTS, "tensorboard"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (METRICS_FILE, "metrics.jsonl", RUN_FILE, CONFIG_FILE):
        (folder / name).unlink(missing_ok=True)
