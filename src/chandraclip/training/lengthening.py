"""A run that goes on to a larger max_steps.

The learning rate is a function of the step and of max_steps, and is so recomputed: the run continues on the longer
schedule, at the step where it is, past its warm-up. It is not the run that max_steps would have given from scratch.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from chandraclip.errors import InputFileError
from chandraclip.files import write_json
from chandraclip.training.arguments import RunArguments
from chandraclip.training.checkpoint import newest_checkpoint, read_state
from chandraclip.training.optimizer import learning_rate_at

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lengthening:
    """Steps done when it happens, and the steps of the run before and after."""

    at_step: int
    from_max_steps: int
    to_max_steps: int


def find_lengthening(checkpoints: Path, arguments: RunArguments, max_steps: int, finished: bool) -> Lengthening | None:
    """
    Args:
        checkpoints: folder of the run's.
        arguments: of now.
        max_steps: of the run so far.
        finished: whether it did them all.

    Returns:
        None where the run is as long as it was.

    Raises:
        InputFileError: there is no checkpoint to go on from.
    """
    if arguments.max_steps <= max_steps:
        return None
    asked = arguments.resume_from_checkpoint
    path = Path(asked) if asked else newest_checkpoint(checkpoints)
    if path is None and finished:
        raise InputFileError(checkpoints, "holds no whole checkpoint, from which the finished run could be lengthened")
    return Lengthening(read_state(path).step if path else 0, max_steps, arguments.max_steps)


def record_lengthening(lengthening: Lengthening, run_file: Path, arguments: RunArguments) -> None:
    """Add it to the run's facts, and say what becomes of the learning rate."""
    facts = json.loads(run_file.read_text())
    write_json(run_file, {**facts, "lengthened": [*facts.get("lengthened", []), asdict(lengthening)]})
    step, before, now = lengthening.at_step, lengthening.from_max_steps, lengthening.to_max_steps
    old, new = (learning_rate_at(step, arguments.learning_rate, arguments.warmup_steps, end) for end in (before, now))
    logger.info(
        "%s is lengthened from %d to %d steps: from step %d on the learning rate follows the longer schedule, %.3g "
        "there (%.3g on the old one), 0 at the end; the weights will not be those of %d steps from scratch",
        *(arguments.output_dir, before, now, step, new, old, now),
    )
