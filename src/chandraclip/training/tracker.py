"""Where numbers go: metrics.jsonl, tensorboard, and a progress bar with loss and throughput."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from chandraclip.files import write_text

logger = logging.getLogger(__name__)

LOG_FILE = "metrics.jsonl"


class Tracker:
    """Logs of one run; does nothing in processes other than the main one. A context manager.

    Args:
        folder: of the run; a resumed run goes on with its files, less what lies past `step`.
        step: steps done already.
        max_steps: for the bar.
        enabled: False in the other processes.
    """

    def __init__(self, folder: Path, step: int, max_steps: int, enabled: bool = True):
        self.enabled = enabled
        if not enabled:
            return
        from torch.utils.tensorboard import SummaryWriter

        self._file = folder / LOG_FILE
        _keep_steps(self._file, step)
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)
        self._bar = tqdm(
            total=max_steps, initial=step, unit="step", desc=folder.name, dynamic_ncols=True, mininterval=1
        )
        self._redirect = logging_redirect_tqdm()
        self._shown: dict[str, str] = {}
        self._last = time.perf_counter(), step

    def __enter__(self) -> Tracker:
        if self.enabled:
            self._redirect.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.enabled:
            self._redirect.__exit__(kind, error, traceback)
            self._bar.close()
            with contextlib.suppress(OSError) if error is not None else contextlib.nullcontext():
                self._writer.close()  # writes what it still has: on a full disk in vain

    def advance(self) -> None:
        """One step done."""
        if self.enabled:
            self._bar.update()

    def log(self, step: int, values: Mapping[str, float], rows: int | None = None) -> None:
        """Write scalars.

        Args:
            step: steps done.
            values: tag -> number, e.g. ``train/loss``.
            rows: rows a step, to add ``train/rows_per_second`` since the last call that gave it.
        """
        if not self.enabled:
            return
        values = dict(values)
        if rows is not None:
            now, (then, before) = time.perf_counter(), self._last
            values["train/rows_per_second"] = rows * (step - before) / max(now - then, 1e-9)
            self._last = now, step
        with self._file.open("a") as stream:
            finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
            stream.write(json.dumps({"step": step, **finite}) + "\n")
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._shown |= {name.split("/")[-1]: f"{value:.3g}" for name, value in values.items() if name in _SHOWN}
        self._bar.set_postfix(self._shown, refresh=False)


_SHOWN = ("train/loss", "train/rows_per_second", "validation/loss", "validation/spectrum_text/recall@1%")


def _keep_steps(file: Path, step: int) -> None:
    """Drop the lines past `step`, which a resumed run writes again, and a line cut short by a kill."""
    if not file.exists():
        return
    kept = []
    for line in file.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            logger.warning("%s: a line that is not whole was dropped", file)
    write_text(file, "".join(kept))
