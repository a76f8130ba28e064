"""What every stage is given, what it gives back, and how time and arithmetic are measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

REPOSITORY = Path(__file__).resolve().parents[2]

# Dense bf16 FLOP/s of the cards by their data sheets; the first name that the card's contains counts.
PEAK_BF16 = {
    "B200": 2250e12,
    "GH200": 989e12,
    "H200": 989e12,
    "H100 NVL": 835e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "RTX 4090": 165e12,
    "A10G": 70e12,
    "L4": 121e12,
}


@dataclass(frozen=True)
class Size:
    """How much of everything.

    Attributes:
        num_detections: rows simulated.
        spectrum_batch, event_batch, align_batch: rows a step.
        spectrum_steps, event_steps, align_steps: steps of each training run.
        repeats: timed repetitions, of which the median counts.
        attention_lists: photon lists of the attention's batch.
        embedding_rows: detections embedded.
        neighbour_rows: vectors, each of which searches all.
    """

    num_detections: int
    spectrum_batch: int
    event_batch: int
    align_batch: int
    spectrum_steps: int
    event_steps: int
    align_steps: int
    repeats: int
    attention_lists: int
    embedding_rows: int
    neighbour_rows: int


SIZES = {
    "full": Size(40_000, 4096, 2048, 4096, 60, 60, 30, 20, 4096, 20_000, 1_300_000),
    "tiny": Size(300, 32, 16, 32, 6, 6, 6, 2, 16, 60, 5_000),
}


@dataclass(frozen=True)
class Job:
    """
    Attributes:
        device: "cuda" or "cpu".
        size: key of `SIZES`.
        work: folder for the dataset, models and logs; a stage finds there what those before it left.
    """

    device: str
    size: str
    work: Path

    @property
    def how_much(self) -> Size:
        return SIZES[self.size]

    @property
    def patience(self) -> int:
        """Factor of every time limit: a rehearsal may share its cores with other work, a GPU is lent by the minute."""
        return 1 if self.device == "cuda" else 4

    @property
    def dataset(self) -> Path:
        return self.work / "data"

    @property
    def bare_rows(self) -> Path:
        """Rows that could not be packaged."""
        return self.work / "rows"

    def model(self, name: str) -> Path:
        """Where a stage saves a model: "events", "align", "spectrum" for the default tower, other families by name."""
        return self.work / "models" / name

    def flops(self, name: str) -> float | None:
        """FLOPs a step of a model, once its step has been measured."""
        file = self.work / f"flops-{name}.json"
        return json.loads(file.read_text()) if file.is_file() else None

    def keep_flops(self, name: str, flops: float) -> None:
        (self.work / f"flops-{name}.json").write_text(json.dumps(flops))


class Unavailable(Exception):
    """The stage cannot run here: a package, a file of an earlier stage, or a kernel is missing."""


def row(measure: str, size: str = "", **values: Any) -> dict[str, Any]:
    """One line of the table.

    Args:
        measure: what was measured.
        size: rows, steps, parameters.
        values: any of dtype, seconds (of one step or call), throughput with its unit, flops (of the same), mfu,
            peak_memory_gib, equal, note.
    """
    return {"measure": measure, "size": size, **{name: value for name, value in values.items() if value is not None}}


def peak_flops(device_name: str) -> float | None:
    """Dense bf16 FLOP/s of a card, None for one that is not in the table."""
    return next((peak for name, peak in PEAK_BF16.items() if name in device_name), None)


def mfu(flops: float | None, seconds: float, job: Job) -> float | None:
    """FLOPs over what the card could do in the time; None where either is not known."""
    import torch

    peak = peak_flops(torch.cuda.get_device_name()) if job.device == "cuda" else None
    return flops / seconds / peak if flops and peak else None


def synchronize(job: Job) -> None:
    import torch

    if job.device == "cuda":
        torch.cuda.synchronize()


def median_seconds(function: Callable[[], Any], job: Job, warm_up: int = 3) -> float:
    """Median wall time of a call, the device idle before and after each."""
    for _ in range(warm_up if job.device == "cuda" else 1):
        function()
    seconds = []
    for _ in range(job.how_much.repeats):
        synchronize(job)
        begin = perf_counter()
        function()
        synchronize(job)
        seconds.append(perf_counter() - begin)
    return median(seconds)


def reset_peak_memory(job: Job) -> None:
    import torch

    if job.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_memory_gib(job: Job) -> float | None:
    """Largest memory that tensors took on the device since the reset."""
    import torch

    return torch.cuda.max_memory_allocated() / 2**30 if job.device == "cuda" else None


def autocast(job: Job, dtype: torch.dtype | None) -> Any:
    """Autocast to a half precision, or nothing for None."""
    import torch

    return nullcontext() if dtype is None else torch.autocast(job.device, dtype=dtype)
