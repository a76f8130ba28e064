#!/usr/bin/env python
"""The similarity graph at cosine .9 of 200,000 x 64, against faiss' exact range search (FlatIP), each in its own
process.

Vectors lie about centres, one for 20 rows, so that the number of edges grows as the rows. The two must give the same
edges but for cosines within 1e-5 of the threshold. Then the peak memory at several numbers of rows (--memory_rows):
what one more row takes must not grow. A million rows take the square of the time: 1.3 million about half an hour on two
free cores.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from result_files import write_result

DIMENSION, THRESHOLD, ROWS_A_CENTRE, SPREAD, TOLERANCE = 64, 0.9, 20, 0.25, 1e-5


def vectors_of(num_rows: int, seed: int = 0) -> np.ndarray:
    """(N, 64) float32 unit vectors about N / 20 centres."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((max(num_rows // ROWS_A_CENTRE, 1), DIMENSION), dtype=np.float32)
    vectors = SPREAD * generator.standard_normal((num_rows, DIMENSION), dtype=np.float32)
    vectors += centres[generator.integers(len(centres), size=num_rows)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def ours(vectors: np.ndarray, num_threads: int) -> tuple[float, float, np.ndarray]:
    """Wall and CPU seconds, and (M, 2) edges with the lower row first."""
    import torch

    from chandraclip.graphs.similarity import similarity_graph

    torch.set_num_threads(num_threads)
    similarity_graph(vectors[:2000], THRESHOLD)
    begin, cpu = perf_counter(), process_time()
    graph = similarity_graph(vectors, THRESHOLD)
    seconds = perf_counter() - begin, process_time() - cpu
    return *seconds, _edges(graph.indptr, graph.indices)


def theirs(vectors: np.ndarray, num_threads: int) -> tuple[float, float, np.ndarray]:
    """As `ours`, by faiss."""
    import faiss

    faiss.omp_set_num_threads(num_threads)
    index = faiss.IndexFlatIP(DIMENSION)
    index.add(vectors)
    index.range_search(vectors[:100], THRESHOLD)
    begin, cpu = perf_counter(), process_time()
    offsets, _, found = index.range_search(vectors, THRESHOLD)
    seconds = perf_counter() - begin, process_time() - cpu
    return *seconds, _edges(offsets.astype(np.int64), found)


def _edges(offsets: np.ndarray, columns: np.ndarray) -> np.ndarray:
    row = np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets))
    once = row < columns
    edges = np.stack([row[once], columns[once]], axis=1)
    return edges[np.lexsort((edges[:, 1], edges[:, 0]))]


def run_alone(side: str, num_rows: int, num_threads: int, edges: Path | None = None) -> dict[str, float]:
    """One side in a process of its own: ``seconds``, ``cpu_seconds``, ``num_edges``, ``peak_mib``."""
    command = [sys.executable, __file__, "--side", side, "--num_rows", str(num_rows), "--num_threads", str(num_threads)]
    command += [] if edges is None else ["--edges", str(edges)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def same_edges(vectors: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[bool, int]:
    """Whether two lists of edges are the same but for cosines at the threshold, and how many are in one alone."""
    codes = [edges[:, 0] * len(vectors) + edges[:, 1] for edges in (first, second)]
    alone = np.setxor1d(*codes)
    row, column = np.divmod(alone, len(vectors))
    cosine = (vectors[row].astype(np.float64) * vectors[column]).sum(axis=1)
    return bool((abs(cosine - THRESHOLD) < TOLERANCE).all()), len(alone)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_rows", type=int, default=200_000)
    parser.add_argument("--num_threads", type=int, default=2, help="of each side (default: %(default)s)")
    parser.add_argument("--memory_rows", type=int, nargs="*", default=[50_000, 100_000])
    parser.add_argument("--side", choices=("ours", "theirs"), help="run one side alone and print it as JSON")
    parser.add_argument("--edges", type=Path, help="with --side: where to save its edges")
    options = parser.parse_args()
    if options.side:
        seconds, cpu, edges = {"ours": ours, "theirs": theirs}[options.side](
            vectors_of(options.num_rows), options.num_threads
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if options.edges:
            np.save(options.edges, edges)
        print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "num_edges": len(edges), "peak_mib": peak}))
        return
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        files = {side: Path(folder) / f"{side}.npy" for side in ("ours", "theirs")}
        runs = {side: run_alone(side, options.num_rows, options.num_threads, file) for side, file in files.items()}
        equal, alone = same_edges(vectors_of(options.num_rows), *(np.load(file) for file in files.values()))
    memory = {rows: run_alone("ours", rows, options.num_threads)["peak_mib"] for rows in sorted(options.memory_rows)}
    memory = dict(sorted({**memory, options.num_rows: runs["ours"]["peak_mib"]}.items()))
    rows = np.array(list(memory), dtype=float)
    a_row = np.diff(list(memory.values())) / np.diff(rows) * 1024 if len(memory) > 1 else np.array([np.nan])
    result = {
        "ratio": runs["theirs"]["seconds"] / runs["ours"]["seconds"],
        "equal": equal,
        "against": "faiss-cpu, IndexFlatIP.range_search",
        "num_threads": options.num_threads,
        "num_rows": options.num_rows,
        "num_edges": int(runs["ours"]["num_edges"]),
        "edges_in_one_alone": alone,
        "ours_s": runs["ours"]["seconds"],
        "faiss_s": runs["theirs"]["seconds"],
        "ours_cpu_s": runs["ours"]["cpu_seconds"],
        "faiss_cpu_s": runs["theirs"]["cpu_seconds"],
        "ours_peak_mib": runs["ours"]["peak_mib"],
        "faiss_peak_mib": runs["theirs"]["peak_mib"],
        "peak_mib_by_rows": ", ".join(f"{int(number):,}: {value:.0f}" for number, value in memory.items()),
        "kib_a_row_first": float(a_row[0]),
        "kib_a_row_last": float(a_row[-1]),
    }
    write_result(__file__, result, lines=True)


if __name__ == "__main__":
    main()
