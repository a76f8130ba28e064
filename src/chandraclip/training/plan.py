"""The stages of a family's pre-training, as a function of the step."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from chandraclip.data.sampler import BatchSampler
from chandraclip.errors import InputFileError

if TYPE_CHECKING:
    from chandraclip.models.contract import TrainingPlan, TrainingStage


class Place(NamedTuple):
    """Where a step is: its stage, whether it is the first of it, whether an epoch of the stage ends with it."""

    stage: TrainingStage
    begins: bool
    ends_epoch: bool


class StagedSampler:
    """The batch of every step of a plan's stages, one after the other. Its whole state is the step.

    Args:
        dataset: named in errors.
        plan: of the family.
        batch_size: rows a step, over all processes.
        seed: of the run.

    Attributes:
        groups, num_batches, num_dropped: of the last stage, as `BatchSampler` has them.

    Raises:
        InputFileError: the rows of a stage do not fill one batch.
    """

    def __init__(self, dataset: str, plan: TrainingPlan, batch_size: int, seed: int):
        self.batch_size = batch_size
        self.stages = plan.stages
        everything = np.arange(len(plan.rows))
        self._rows = [everything if stage.rows is None else np.asarray(stage.rows) for stage in self.stages]
        try:
            # Any two rows may share a batch: nothing is contrasted.
            self._samplers = [BatchSampler(np.arange(len(rows)), batch_size, seed) for rows in self._rows]
        except ValueError as error:
            raise InputFileError(dataset, str(error)) from error
        lengths = [stage.num_steps or 0 for stage in self.stages[:-1]]
        self._begins = np.concatenate([[0], np.cumsum(lengths)]).astype(int).tolist()
        last = self._samplers[-1]
        self.groups, self.num_batches, self.num_dropped = last.groups, last.num_batches, last.num_dropped

    def _stage(self, step: int) -> tuple[int, int]:
        """Number of the step's stage, and its step in it."""
        number = int(np.searchsorted(self._begins, step, "right")) - 1
        return number, step - self._begins[number]

    def place(self, step: int) -> Place:
        number, step = self._stage(step)
        ends = (step + 1) % self._samplers[number].num_batches == 0
        return Place(self.stages[number], step == 0, ends)

    def batch(self, step: int, process: int = 0, num_processes: int = 1) -> np.ndarray:
        """Row numbers of a step, see `BatchSampler.batch`."""
        number, step = self._stage(step)
        return self._rows[number][self._samplers[number].batch(step, process, num_processes)]
