"""The output folder of a run: new, to be continued, or finished.

OUT/train_config.yaml     the resolved options, written first; another run does not go on with them
OUT/checkpoints/run.json  the dataset's and models' identities, the versions, and where the run was lengthened
OUT/checkpoints/step-*, metrics.jsonl, tensorboard/
OUT/{config.json,model.safetensors,...,README.md}   the best model, when the run is over
OUT/metrics.json          written last: a folder that has it is finished

The same options with a larger max_steps lengthen a run, finished or not: it goes on from its newest checkpoint.
"""

from __future__ import annotations

import json
import logging
import math
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from chandraclip.data.sampler import BatchSampler
from chandraclip.errors import InputFileError
from chandraclip.files import write_json, write_text
from chandraclip.lock import LOCK_FILE, acquire, release
from chandraclip.program import goes_on_from
from chandraclip.training.arguments import CONFIG_FILE, METRICS_FILE, RunArguments, as_yaml, differences, read_yaml
from chandraclip.training.checkpoint import (
    TrainingState,
    checkpoint_path,
    load_checkpoint,
    newest_checkpoint,
    read_state,
    save_checkpoint,
)
from chandraclip.training.distributed import on_main_process
from chandraclip.training.lengthening import Lengthening, find_lengthening, record_lengthening
from chandraclip.training.plan import StagedSampler
from chandraclip.training.tracker import Tracker
from chandraclip.versions import installed_versions

logger = logging.getLogger(__name__)

RUN_FILE, CHECKPOINTS = "checkpoints/run.json", "checkpoints"
PACKAGES = ("chandraclip", "torch", "transformers", "datasets", "accelerate", "numpy", "pyarrow")


class Run:
    """One training run and its folder.

    Attributes:
        state: steps done and the best validation; changed as the run goes on.
        finished: the folder holds this very run, complete.
    """

    def __init__(
        self,
        arguments: RunArguments,
        inputs: dict[str, str],
        accelerator: Accelerator,
        metric_for_best_model: str,
        greater_is_better: bool,
    ):
        """Claim the folder.

        Args:
            arguments: the resolved options.
            inputs: what the dataset and the models it starts from are, e.g. hashes.
            accelerator: of the loop.
            metric_for_best_model: which number of a validation says which model is best.
            greater_is_better: or smaller.

        Raises:
            InputFileError: the folder holds another run, a longer one, or files of another origin, and
                overwrite_output_dir is off; or another process trains into it.
        """
        self.arguments, self.accelerator = arguments, accelerator
        self.metric_for_best_model, self.sign = metric_for_best_model, 1 if greater_is_better else -1
        self.folder = Path(arguments.output_dir)
        self.state = TrainingState()
        on_main_process(accelerator, lambda: self._claim(inputs))
        self.finished = (self.folder / METRICS_FILE).exists()
        accelerator.wait_for_everyone()

    def _claim(self, inputs: dict[str, str]) -> None:
        """In the main process: hold the folder, and see or write whose it is."""
        overwrite = self.arguments.overwrite_output_dir
        finished = (self.folder / METRICS_FILE).exists() and (self.folder / CONFIG_FILE).exists() and not overwrite
        if finished and self._check_same(inputs) is None:
            return  # nothing is written, so the folder may be read-only
        acquire(self.folder)
        try:
            known, lengthened = (self.folder / CONFIG_FILE).exists(), None
            if known and overwrite:
                _forget(self.folder)
            elif known:
                lengthened = self._check_same(inputs)
            elif any(path.name not in (CHECKPOINTS, LOCK_FILE) for path in self.folder.iterdir()):
                raise InputFileError(self.folder, "is not empty and holds no run; choose another output_dir")
            if overwrite or not known:
                packages = installed_versions(*PACKAGES)
                facts = {"inputs": inputs, "python": platform.python_version(), **packages}
                write_json(self.folder / RUN_FILE, facts)
                write_text(self.folder / CONFIG_FILE, as_yaml(self.arguments))
            elif lengthened is not None:
                # First, or it would be a finished one of max_steps.
                (self.folder / METRICS_FILE).unlink(missing_ok=True)
                record_lengthening(lengthened, self.folder / RUN_FILE, self.arguments)
                write_text(self.folder / CONFIG_FILE, as_yaml(self.arguments))
        except BaseException:
            release(self.folder)
            raise

    def _check_same(self, inputs: dict[str, str]) -> Lengthening | None:
        """Refuse another run; whether this one is lengthened."""
        advice = "choose another output_dir, or --overwrite_output_dir"
        config = read_yaml(self.folder / CONFIG_FILE)
        changed = differences(self.arguments, config, but=["max_steps"])
        if changed:
            raise InputFileError(self.folder, f"holds another run ({'; '.join(changed)}); {advice}")
        before, now = int(config.get("max_steps", 0)), self.arguments.max_steps
        if now < before:
            reason = f"holds a run of {before} steps, which cannot be shortened to max_steps {now}"
            raise InputFileError(self.folder, f"{reason}; {advice}")
        try:
            saved = json.loads((self.folder / RUN_FILE).read_text())["inputs"]
            other = [name for name in {**saved, **inputs} if saved.get(name) != inputs.get(name)]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputFileError(self.folder / RUN_FILE, f"cannot be read: {error!r}; {advice}") from error
        if other:
            raise InputFileError(self.folder, f"holds a run from another {' and another '.join(other)}; {advice}")
        finished = (self.folder / METRICS_FILE).exists()
        return find_lengthening(self.folder / CHECKPOINTS, self.arguments, before, finished)

    def resume(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Go on from the checkpoint asked for, or the newest whole one of the folder; from the start if there is none.

        Args:
            model, optimizer: unwrapped, freshly made.
        """
        path = self._resumed_checkpoint()
        if path is None:
            return
        self.state = load_checkpoint(path, model, optimizer)
        if self.state.step > self.arguments.max_steps:
            raise InputFileError(path, f"is at step {self.state.step}, past max_steps {self.arguments.max_steps}")
        if self.accelerator.scaler is not None and self.state.grad_scaler is not None:
            self.accelerator.scaler.load_state_dict(self.state.grad_scaler)
        if self.accelerator.is_main_process:
            logger.info("goes on from %s", path)

    def describe(self, model: nn.Module, sampler: BatchSampler | StagedSampler) -> None:
        """Log what is trained on what, and what is left out."""
        if self.accelerator.is_main_process:
            trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
            epochs = self.arguments.max_steps / sampler.num_batches
            logger.info(
                "%s: %s trainable parameters; %d steps of %d rows, %.1f epochs of %d steps; each epoch leaves out %d "
                "of %d rows (other ones every time); %d process(es) on %s, %d micro-batch(es) each, precision %s",
                *(self.folder, f"{trainable:,}", self.arguments.max_steps, sampler.batch_size, epochs),
                *(sampler.num_batches, sampler.num_dropped, len(sampler.groups)),
                *(self.accelerator.num_processes, self.accelerator.device),
                *(self.arguments.num_micro_batches, self.accelerator.mixed_precision),
            )

    @contextmanager
    def tracker(self) -> Iterator[Tracker]:
        """The logs, which go on where `state.step` is; an early end of the block says where the run goes on."""
        tracker = Tracker(self.folder, self.state.step, self.arguments.max_steps, self.accelerator.is_main_process)
        with goes_on_from(self.folder, self._resumed_step), tracker:
            yield tracker

    def _resumed_checkpoint(self) -> Path | None:
        """Where the same command begins, None at the start."""
        asked = self.arguments.resume_from_checkpoint
        return Path(asked) if asked else newest_checkpoint(self.folder / CHECKPOINTS)

    def _resumed_step(self) -> str:
        # From the disk: a stop can come when a checkpoint is in its place and the process doesn't know it yet.
        path, remark = self._resumed_checkpoint(), ""
        if path is not None and not path.exists():  # asked for, and since then too old to keep
            path, remark = newest_checkpoint(self.folder / CHECKPOINTS), " without --resume_from_checkpoint"
        return f"step {0 if path is None else read_state(path).step}{remark}"

    def is_due(self, step: int, every: int) -> bool:
        """Whether, with `step` (from 0) done, the steps done are a multiple of `every`, or all."""
        return (step + 1) % every == 0 or step + 1 == self.arguments.max_steps

    def end_step(
        self,
        step: int,
        tracker: Tracker,
        values: dict[str, float],
        validation: dict[str, float] | None,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Log, and save a checkpoint if it is time or the validation is the best so far.

        Args:
            step: from 0.
            tracker: of the run.
            values: of `train_step`.
            validation: numbers of a validation, None where there was none.
            model, optimizer: unwrapped.
        """
        options, self.state.step = self.arguments, step + 1
        tracker.advance()
        if self.is_due(step, options.logging_steps):
            tracker.log(step + 1, {f"train/{name}": value for name, value in values.items()}, options.batch_size)
        best = False
        if validation is not None:
            tracker.log(step + 1, {f"validation/{name}": value for name, value in validation.items()})
            value = self.sign * validation.get(self.metric_for_best_model, math.nan)
            if best := self.state.improves(value):
                self.state.best_step, self.state.best_value = step + 1, value
        if best or self.is_due(step, options.save_steps):
            scaler = self.accelerator.scaler
            self.state.grad_scaler = None if scaler is None else scaler.state_dict()
            if self.accelerator.is_main_process:
                save_checkpoint(self.folder / CHECKPOINTS, model, optimizer, self.state, options.keep_checkpoints)
            self.accelerator.wait_for_everyone()

    def load_best(self, model: nn.Module) -> None:
        """The weights of the best validation into the (unwrapped) model.

        Raises:
            FloatingPointError: no validation gave the metric.
        """
        if self.state.best_step is None:
            raise FloatingPointError(f"no validation of the run gave {self.metric_for_best_model!r}")
        load_checkpoint(checkpoint_path(self.folder / CHECKPOINTS, self.state.best_step), model)

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Write metrics.json, by which the run is known to be complete."""
        if self.accelerator.is_main_process:
            facts = {"best_step": self.state.best_step, "max_steps": self.arguments.max_steps, **metrics}
            write_json(self.folder / METRICS_FILE, facts)
            release(self.folder)
        self.accelerator.wait_for_everyone()
        self.finished = True


def _forget(folder: Path) -> None:
    """Remove what a run wrote into its folder, the model too: a stale one must not pass for that of the next run."""
    for name in (CHECKPOINTS, "tensorboard"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for pattern in ("*.safetensors", "*.json", "*.jsonl", "README.md", CONFIG_FILE):
        for file in folder.glob(pattern):
            file.unlink()
