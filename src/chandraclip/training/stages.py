"""The stages of a job that makes what it needs first, announced one by one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

logger = logging.getLogger(__name__)


class Stages:
    """Says "stage 2 of 4: pre-train the spectrum tower -> outputs/spectrum" as each begins.

    Args:
        stages: (what is done, the folder it goes to), in order.
        enabled: False in processes other than the main one.
    """

    def __init__(self, stages: Sequence[tuple[str, str | Path]], enabled: bool = True):
        self.stages, self.enabled = stages, enabled
        self.begun = 0

    def begin(self, folder: str | Path) -> None:
        """Announce the stage that writes to `folder`; nothing happens where none does, since it is not ours to do."""
        for number, (what, output) in enumerate(self.stages, start=1):
            if self.enabled and Path(output) == Path(folder):
                logger.info("stage %d of %d: %s -> %s", number, len(self.stages), what, output)
