"""The simulated dataset that the other stages read."""

from __future__ import annotations

import os
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gpu_stages.job import Job, Unavailable, row


def simulate(job: Job) -> list[dict[str, Any]]:
    """Build it, with all cores; where packages for that are missing, the bare rows, which most stages do with."""
    num_detections, cores = job.how_much.num_detections, len(os.sched_getaffinity(0))
    size, note = f"{num_detections:,} detections", f"on {cores} cores"
    begin = perf_counter()
    if find_spec("datasets") is None:
        _simulate_rows(job, cores)
        measure, note = "simulate", f"{note}; not packaged, which needs datasets"
    else:
        from chandraclip.simulate.dataset import build_from_simulation

        measure = "simulate and package"
        if build_from_simulation(job.dataset, num_detections, num_processes=cores, progress=False).already_built:
            return [row(measure, size, note="found, not built")]
    seconds = perf_counter() - begin
    return [row(measure, size, seconds=seconds, throughput=num_detections / seconds, unit="detections/s", note=note)]


def _simulate_rows(job: Job, cores: int) -> None:
    """The rows of the dataset as Parquet, a file a chunk, without card, splits and manifest."""
    from chandraclip.processes import task_runner
    from chandraclip.simulate.dataset import SIMULATED_ROWS_PER_CHUNK

    num_detections = job.how_much.num_detections
    folder = job.bare_rows
    folder.mkdir(parents=True, exist_ok=True)
    size = SIMULATED_ROWS_PER_CHUNK
    tasks = [
        partial(_write_chunk, index, min(size, num_detections - start), folder / f"train-{index:05d}.parquet")
        for index, start in enumerate(range(0, num_detections, size))
    ]
    with task_runner(cores) as run:  # one thread a process
        for _ in run(tasks):
            pass


def _write_chunk(index: int, num_rows: int, file: Path) -> None:
    from chandraclip.simulate import simulate_chunk

    pq.write_table(simulate_chunk(0, index, num_rows), file)


def training_rows(job: Job, num_rows: int) -> pa.Table:
    """The first rows of the training split that have everything, as the dataset's columns.

    Raises:
        Unavailable: the dataset was not built.
    """
    folders = (job.dataset / "data", job.bare_rows)
    files = next((names for folder in folders if (names := sorted(folder.glob("train-*.parquet")))), [])
    if not files:
        raise Unavailable("needs the dataset, which was not built")
    tables, found = [], 0
    for file in files:
        table = pq.read_table(file)
        for column in ("spectrum_counts", "event_time", "summary"):
            table = table.filter(table[column].is_valid())
        tables.append(table.slice(0, num_rows - found))
        found += tables[-1].num_rows
        if found == num_rows:
            break
    return pa.concat_tables(tables)
