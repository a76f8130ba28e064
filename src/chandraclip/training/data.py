"""From row numbers to tensors: Arrow rows of the dataset, the model's processor, and a thread that works ahead."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from accelerate import Accelerator
from torch import Tensor

from chandraclip.data.sampler import BatchSampler
from chandraclip.errors import InputFileError
from chandraclip.training.distributed import on_main_process
from chandraclip.training.plan import StagedSampler

if TYPE_CHECKING:
    import datasets

logger = logging.getLogger(__name__)

Processor = Callable[[pa.Table], Mapping[str, Any]]
DATA_FOLDER = Path("data") / "default"


class LoadedRows(NamedTuple):
    """Rows to train, validate and test on.

    Attributes:
        splits: split -> rows in Arrow format, with `name` and the columns of the modalities.
        dataset_id: what the dataset is, a hash.
        bad_rows: split -> "column: reason" -> rows left out for it.
    """

    splits: dict[str, datasets.Dataset]
    dataset_id: str
    bad_rows: dict[str, dict[str, int]]


def default_dataset(num_detections: int, seed: int, accelerator: Accelerator, beside: str = "outputs/run") -> str:
    """The simulated dataset `data/default` beside an output folder, built by the main process if it is not there."""
    folder = Path(beside).parent / DATA_FOLDER
    from chandraclip.simulate.dataset import build_from_simulation

    num_processes = len(os.sched_getaffinity(0))
    on_main_process(accelerator, lambda: build_from_simulation(folder, num_detections, seed, num_processes))
    return str(folder)


def load_rows(
    dataset: str,
    columns: Mapping[str, Sequence[str]],
    accelerator: Accelerator,
    at_least: int = 1,
    config: str | None = None,
    optional: Collection[str] = (),
    context: Sequence[str] = (),
) -> LoadedRows:
    """The rows that have `at_least` of the modalities, without those that cannot be used; the log names the first.

    Args:
        dataset: folder or Hub id, see `data.loading.load_splits`.
        columns: modality -> columns that are read for it, as its feature extractor names them; the first says whether a
            row has the modality.
        accelerator: of the loop.
        at_least: modalities a row must have.
        config: of the dataset; None: `pairs` where it has that, else its only or default one.
        optional: columns that the dataset may lack.
        context: columns of the observation, which any row and the dataset may lack.

    Raises:
        InputFileError: the dataset does not load, lacks a column or has one of another type, or has no such row to
            train on or to validate with.
    """
    from chandraclip.data.loading import dataset_id, load_splits
    from chandraclip.data.row_checks import find_bad_rows, usable_columns

    with accelerator.main_process_first():  # which writes the Arrow cache the others map
        splits = load_splits(dataset, "pairs", config)
    first_columns = [names[0] for names in columns.values()]
    read, may_lack = {**columns, "the observation context": context}, {*optional, *context}
    kept, bad_rows = {}, {}
    for name, rows in splits.items():
        present = usable_columns(dataset, rows.features.arrow_schema, read, may_lack)
        found = find_bad_rows(rows.select_columns(["name", *present]), list(columns))
        if found.counts:
            bad_rows[name] = found.counts
            if accelerator.is_main_process:
                logger.warning(
                    "%s, split %s: %d rows cannot be used and are left out: %s, the first: %s",
                    *(dataset, name, int(found.mask.sum()), found.counts, "; ".join(found.examples)),
                )
        kept[name] = rows_with(rows.select_columns(["name", *present]), first_columns, at_least, found.mask)
    for name in ("train", "validation"):
        if name not in kept or not len(kept[name]):
            reason = f"split {name!r} has no row with {at_least} of {list(columns)}"
            raise InputFileError(dataset, f"{reason}, bad ones aside: {bad_rows[name]}" if name in bad_rows else reason)
    if accelerator.is_main_process:
        shares = ", ".join(f"{len(kept[name])} of {len(rows)} {name}" for name, rows in splits.items())
        logger.info("%s: %s rows have %d or more of %s", dataset, shares, at_least, list(columns))
        if "exposure" in columns.get("spectrum", ()):
            _log_unknown_exposures(dataset, kept["train"])
    return LoadedRows(kept, dataset_id(dataset, splits), bad_rows)


def _log_unknown_exposures(dataset: str, rows: datasets.Dataset) -> None:
    table = rows.select_columns([name for name in rows.column_names if name in ("spectrum_counts", "exposure")])[:]
    unknown = table["spectrum_counts"].is_valid()
    if "exposure" in table.column_names:
        unknown = pc.and_(unknown, table["exposure"].is_null())
    number = pc.sum(unknown).as_py()
    if number:
        logger.info("%s: %d spectra of train have no exposure: their count rate is read as average", dataset, number)


def batch_sampler(dataset: str, groups: np.ndarray, batch_size: int, seed: int) -> BatchSampler:
    """The sampler of a run, see `BatchSampler`.

    Raises:
        InputFileError: the dataset does not fill one batch.
    """
    try:
        return BatchSampler(groups, batch_size, seed)
    except ValueError as error:
        raise InputFileError(dataset, str(error)) from error


def to_tensors(processed: Mapping[str, Any], device: torch.device) -> dict[str, Tensor]:
    """The tensors of a processor's output, on the device."""
    return {name: value.to(device, non_blocking=True) for name, value in processed.items() if isinstance(value, Tensor)}


def rows_with(
    rows: datasets.Dataset, columns: Sequence[str], at_least: int = 1, without: np.ndarray | None = None
) -> datasets.Dataset:
    """The rows in which `at_least` of the columns are present: a list that is not empty, a text that is not blank.

    Args:
        rows: in Arrow format.
        columns: names of list or string columns.
        at_least: 1 for rows with any of them.
        without: (rows,) bool, rows that are left out whatever they have.
    """
    present = np.zeros(len(rows), dtype=np.int64)
    for name in columns:
        column = rows.select_columns([name])[:][name]
        is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        length = pc.utf8_length(pc.utf8_trim_whitespace(column)) if is_text else pc.list_value_length(column)
        present += np.asarray(pc.fill_null(pc.greater(length, 0), False))
    enough = present >= at_least
    if without is not None:
        enough &= ~without
    return rows if enough.all() else rows.select(np.flatnonzero(enough))


class ContextScale(NamedTuple):
    """Columns of the context that rows have, with the mean and standard deviation of each."""

    names: list[str]
    mean: list[float]
    std: list[float]


def context_scale(rows: datasets.Dataset, names: Sequence[str]) -> ContextScale:
    """The columns of `names` that differ between the rows, and their scale as `context_values` gives them.

    Args:
        rows: of the training split, in Arrow format.
        names: of `CONTEXT_COLUMNS`; the log says which of them are left out.
    """
    from chandraclip.models.chandraclip.observation_context import context_values

    present = [name for name in rows.column_names if name in names]
    table = rows.select_columns(present)[:] if present else {}
    values = context_values(table, names, len(rows)).astype(np.float64)
    known = (~np.isnan(values)).sum(axis=0)
    mean = np.divide(np.nansum(values, axis=0), known, out=np.zeros(len(names)), where=known > 0)
    variance = np.divide(np.nansum((values - mean) ** 2, axis=0), known, out=np.zeros(len(names)), where=known > 0)
    std = np.sqrt(variance)
    kept = std > 1e-6 * np.maximum(np.abs(mean), 1.0)
    if left_out := [name for name, is_kept in zip(names, kept) if not is_kept]:
        logger.info("the context goes without %s: null or the same in all training rows", ", ".join(left_out))
    chosen = np.flatnonzero(kept).tolist()
    return ContextScale([names[place] for place in chosen], mean[chosen].tolist(), std[chosen].tolist())


class BatchLoader:
    """The batch of each step for one process, always the same for the same step.

    Args:
        rows: of the training split, in Arrow format.
        sampler: gives the row numbers of a step.
        processor: Arrow rows to tensors.
        accelerator: says which process this is, how many share a batch, and on which device.
        prefetch: batches prepared ahead by a thread; 0 prepares each when it is asked for.
        micro_batches: equal parts that the processor gets this process' rows of a batch in.
        row_numbers: whether a batch has its row numbers, as `row_index`.
    """

    def __init__(
        self,
        rows: datasets.Dataset,
        sampler: BatchSampler | StagedSampler,
        processor: Processor,
        accelerator: Accelerator,
        prefetch: int = 2,
        micro_batches: int = 1,
        row_numbers: bool = False,
    ):
        self.rows, self.sampler, self.processor = rows, sampler, processor
        self.accelerator, self.prefetch, self.micro_batches = accelerator, prefetch, micro_batches
        self.row_numbers = row_numbers

    def batch(self, step: int) -> list[dict[str, Tensor]]:
        """Tensors of each micro-batch of one step, on the CPU.

        Raises:
            ValueError: the rows of a process do not divide into equal micro-batches.
        """
        indices = self.sampler.batch(step, self.accelerator.process_index, self.accelerator.num_processes)
        parts = np.split(indices, self.micro_batches)  # which refuses unequal ones
        batches = [to_tensors(self.processor(self.rows[part.tolist()]), torch.device("cpu")) for part in parts]
        numbers = [{"row_index": torch.from_numpy(part)} if self.row_numbers else {} for part in parts]
        return [{**batch, **number} for batch, number in zip(batches, numbers)]

    def steps(self, start: int, stop: int) -> Iterator[tuple[int, list[dict[str, Tensor]]]]:
        """(step, tensors of its micro-batches on the device) for start <= step < stop."""
        for step, parts in self._prepared(start, stop):
            yield step, [to_tensors(part, self.accelerator.device) for part in parts]

    def _prepared(self, start: int, stop: int) -> Iterator[tuple[int, list[dict[str, Tensor]]]]:
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
    rows: datasets.Dataset, processor: Processor, accelerator: Accelerator, batch_size: int
) -> Iterator[tuple[slice, dict[str, Tensor]]]:
    """This process' share of the batches of all rows, in order, with the slice of rows each holds. None is left out."""
    for start in range(accelerator.process_index * batch_size, len(rows), accelerator.num_processes * batch_size):
        share = slice(start, min(start + batch_size, len(rows)))
        yield share, to_tensors(processor(rows[share]), accelerator.device)
