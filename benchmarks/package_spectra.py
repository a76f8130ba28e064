#!/usr/bin/env python
"""From spectra and photon lists in memory to a Parquet file: flat arrays (`build_table`) against a dict a row.

The obvious way is `datasets.Dataset.from_generator` (or `from_list`) of one dict a detection and `to_parquet`. All
files must hold the same rows.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import datasets
import numpy as np
import pyarrow.parquet as pq

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.schema import TABLE_SCHEMA, build_table, features
from chandraclip.data.shards import write_parquet
from result_files import write_result


def simulate(num_detections: int, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(num_detections):
        photons = int(rng.lognormal(4.0, 1.2)) + 1
        row = {"name": f"source {number}", "obsid": number, "obi": 0, "region_id": 1, "split": "train"}
        row |= {"ra": rng.uniform(0, 360), "exposure": np.float32(3e4), "response_id": "acis"}
        row |= {
            "spectrum_counts": rng.poisson(photons / 1024, 1024).astype(np.int32),
            "spectrum_background": rng.poisson(0.1, 1024).astype(np.int32),
            "arf": rng.uniform(100, 600, 900).astype(np.float32),
            "event_time": np.sort(rng.uniform(0, 3e4, photons)),
            "event_energy": rng.uniform(0.5, 7, photons).astype(np.float32),
            "gti_start": np.zeros(1),
            "gti_stop": np.full(1, 3e4),
        }
        rows.append(row)
    return rows


def ours(rows: list[dict[str, Any]], path: Path) -> None:
    columns = {
        name: Ragged.from_rows([row[name] for row in rows])
        if isinstance(rows[0][name], np.ndarray)
        else [row[name] for row in rows]
        for name in rows[0]
    }
    write_parquet(path, build_table(columns), row_group_size=1000)


def row_by_row(rows: list[dict[str, Any]], path: Path, cache: str) -> None:
    empty = dict.fromkeys(TABLE_SCHEMA.names)

    def generate() -> Iterator[dict[str, Any]]:
        for row in rows:
            yield {**empty, **row}

    dataset = datasets.Dataset.from_generator(generate, features=features("pairs"), cache_dir=cache)
    dataset.to_parquet(path)


def from_list(rows: list[dict[str, Any]], path: Path) -> None:
    empty = dict.fromkeys(TABLE_SCHEMA.names)
    datasets.Dataset.from_list([{**empty, **row} for row in rows], features=features("pairs")).to_parquet(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num_detections", type=int, default=4_000)
    options = parser.parse_args()
    datasets.disable_progress_bars()
    rows = simulate(options.num_detections, seed=0)
    seconds, files = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        ways = {
            "build_table": lambda path: ours(rows, path),
            "Dataset.from_list": lambda path: from_list(rows, path),
            "Dataset.from_generator": lambda path: row_by_row(rows, path, folder),
        }
        tables = []
        for name, way in ways.items():
            path = Path(folder) / f"{name}.parquet"
            begin = perf_counter()
            way(path)
            seconds[name], files[name] = perf_counter() - begin, path.stat().st_size
            tables.append(pq.read_table(path).cast(TABLE_SCHEMA).replace_schema_metadata())
        equal = all(table.equals(tables[0]) for table in tables[1:])
    others = {name: value for name, value in seconds.items() if name != "build_table"}
    fastest = min(others, key=lambda name: others[name])
    print(f"{options.num_detections} detections")
    print(f"{'':<26}{'seconds':>10}{'detections/s':>15}{'file MB':>10}")
    for name, value in seconds.items():
        print(f"{name:<26}{value:>10.2f}{options.num_detections / value:>15,.0f}{files[name] / 1e6:>10.1f}")
    result = {
        "ratio": seconds[fastest] / seconds["build_table"],
        "equal": equal,
        "against": f"{fastest} + to_parquet (the faster of from_list and from_generator)",
        "ours_s": seconds["build_table"],
        "peer_s": seconds[fastest],
        "num_detections": options.num_detections,
        "file_size_ratio": files[fastest] / files["build_table"],
    }
    print(f"ratio {result['ratio']:.1f}, equal: {equal}")
    write_result(__file__, result, "the files differ")


if __name__ == "__main__":
    main()
