"""The simulated dataset that the other stages read."""

from __future__ import annotations

import os
from time import perf_counter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gpu_stages.job import Job, Unavailable, row


def simulate(job: Job) -> list[dict[str, Any]]:
    """Build it, with all cores."""
    from chandraclip.simulate.dataset import build_from_simulation

    num_detections, cores = job.how_much.num_detections, len(os.sched_getaffinity(0))
    begin = perf_counter()
    result = build_from_simulation(job.dataset, num_detections, num_processes=cores, progress=False, overwrite=True)
    seconds = perf_counter() - begin
    note = "found, not built" if result.already_built else f"on {cores} cores"
    size = f"{num_detections:,} detections"
    if result.already_built:
        return [row("simulate and package", size, note=note)]
    return [
        row(
            "simulate and package",
            size,
            seconds=seconds,
            throughput=num_detections / seconds,
            unit="detections/s",
            note=note,
        )
    ]


def training_rows(job: Job, num_rows: int) -> pa.Table:
    """The first rows of the training split that have everything, as the dataset's columns.

    Raises:
        Unavailable: the dataset was not built.
    """
    files = sorted((job.dataset / "data").glob("train-*.parquet"))
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
