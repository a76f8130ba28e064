"""From row numbers to tensors: Arrow rows of the dataset, the model's processor, and a thread that works ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from chandraclip.data.sampler import BatchSampler

if TYPE_CHECKING:
    import datasets

Processor = Callable[[pa.Table], Mapping[str, Any]]


def to_tensors(processed: Mapping[str, Any], device: torch.device) -> dict[str, Tensor]:
    """The tensors of a processor's output, on the device."""
    return {name: value.to(device, non_blocking=True) for name, value in processed.items() if isinstance(value, Tensor)}


def rows_with(rows: datasets.Dataset, any_of: list[str]) -> datasets.Dataset:
    """The rows that have at least one of the columns (list columns: a list that is not empty).

    Args:
        rows: in Arrow format.
        any_of: column names, lists or strings.
    """
    present = np.zeros(len(rows), dtype=bool)
    for name in any_of:
        column = rows.with_format("arrow").select_columns([name])[:][name]
        is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        length = pc.utf8_length(pc.utf8_trim_whitespace(column)) if is_text else pc.list_value_length(column)
        present |= np.asarray(pc.fill_null(pc.greater(length, 0), False))
    return rows if present.all() else rows.select(np.flatnonzero(present))


class BatchLoader:
    """The batch of each step for one process, always the same for the same step.

    Args:
        rows: of the training split, in Arrow format.
        sampler: gives the row numbers of a step.
        processor: Arrow rows to tensors.
        device: where the tensors go.
        process, num_processes: this process' rank, and how many share a batch.
        prefetch: batches prepared ahead by a thread; 0 prepares each when it is asked for.
    """

    def __init__(
        self,
        rows: datasets.Dataset,
        sampler: BatchSampler,
        processor: Processor,
        device: torch.device,
        process: int = 0,
        num_processes: int = 1,
        prefetch: int = 2,
    ):
        self.rows, self.sampler, self.processor = rows, sampler, processor
        self.device, self.prefetch = device, prefetch
        self.process, self.num_processes = process, num_processes

    def batch(self, step: int) -> dict[str, Tensor]:
        """Tensors of one step."""
        indices = self.sampler.batch(step, self.process, self.num_processes)
        return to_tensors(self.processor(self.rows[indices.tolist()]), torch.device("cpu"))

    def steps(self, start: int, stop: int) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """(step, tensors on the device) for start <= step < stop."""
        for step, batch in self._prepared(start, stop):
            yield step, to_tensors(batch, self.device)

    def _prepared(self, start: int, stop: int) -> Iterator[tuple[int, dict[str, Tensor]]]:
        if self.prefetch == 0:
            yield from ((step, self.batch(step)) for step in range(start, stop))
            return
        ready: queue.Queue[Any] = queue.Queue(self.prefetch)
        closed = threading.Event()

        def put(item: Any) -> None:
            while not closed.is_set():
                try:
                    return ready.put(item, timeout=0.2)
                except queue.Full:
                    continue

        def work() -> None:
            try:
                for step in range(start, stop):
                    if closed.is_set():
                        return
                    put((step, self.batch(step)))
            except BaseException as error:
                put(error)

        worker = threading.Thread(target=work, name="batches", daemon=True)
        worker.start()
        try:
            for _ in range(start, stop):
                item = ready.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            closed.set()
            worker.join()


def validation_rows(rows: datasets.Dataset, max_rows: int, seed: int = 0) -> datasets.Dataset:
    """A fixed random subset, in the order of the split."""
    if len(rows) <= max_rows:
        return rows
    return rows.select(np.sort(np.random.default_rng(seed).permutation(len(rows))[:max_rows]))


def validation_batches(
    rows: datasets.Dataset,
    processor: Processor,
    device: torch.device,
    batch_size: int,
    process: int = 0,
    num_processes: int = 1,
) -> Iterator[tuple[slice, dict[str, Tensor]]]:
    """Every num_processes-th batch of all rows in order, with the slice of rows it holds. No row is left out."""
    for start in range(process * batch_size, len(rows), num_processes * batch_size):
        share = slice(start, min(start + batch_size, len(rows)))
        yield share, to_tensors(processor(rows[share]), device)
