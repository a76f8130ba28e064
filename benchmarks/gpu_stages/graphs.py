"""The similarity graph of every vector with all others, and its core, at the size of the catalogue."""

from __future__ import annotations

import resource
from time import perf_counter
from typing import Any

import numpy as np

from gpu_stages.job import Job, peak_memory_gib, reset_peak_memory, row, synchronize
from gpu_stages.search import float64_similarity

DIMENSION, THRESHOLD, ROWS_A_CENTRE, SPREAD, CHECKED, TOLERANCE = 64, 0.9, 20, 0.25, 100, 1e-5


def similarity(job: Job) -> list[dict[str, Any]]:
    """Edges at cosine .9, checked in float64 for some rows; then structure and core, on the CPU."""
    from chandraclip.graphs.similarity import similarity_graph

    generator = np.random.default_rng(0)
    num_rows = job.how_much.neighbour_rows
    centres = generator.standard_normal((num_rows // ROWS_A_CENTRE, DIMENSION), dtype=np.float32)
    vectors = SPREAD * generator.standard_normal((num_rows, DIMENSION), dtype=np.float32)
    vectors += centres[generator.integers(len(centres), size=num_rows)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    small = similarity_graph(vectors[:2000], THRESHOLD, job.device)
    reset_peak_memory(job)
    synchronize(job)
    begin = perf_counter()
    graph = similarity_graph(vectors, THRESHOLD, job.device)
    synchronize(job)
    seconds = perf_counter() - begin

    asked = np.sort(generator.choice(num_rows, min(CHECKED, num_rows), replace=False))
    exact = float64_similarity(vectors[asked], vectors)
    exact[np.arange(len(asked)), asked] = -1
    found = graph[asked].toarray() != 0
    equal = bool(((exact >= THRESHOLD) == found)[abs(exact - THRESHOLD) > TOLERANCE].all())
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    flops = num_rows**2 * DIMENSION  # of the upper triangle
    rows = [
        row(
            f"similarity graph, cosine at least {THRESHOLD}",
            f"{num_rows:,} x {DIMENSION}, {graph.nnz // 2:,} edges",
            dtype="fp32",
            seconds=seconds,
            throughput=num_rows / seconds,
            unit="rows/s",
            flops=float(flops),
            peak_memory_gib=peak_memory_gib(job),
            equal=equal,
            note=f"{flops / seconds / 1e12:.3g} TFLOP/s; checked in float64 for {len(asked)} rows; "
            f"host memory at most {host:.3g} GiB",
        )
    ]
    return rows + _analysis(graph, small)


def _analysis(graph: Any, small: Any) -> list[dict[str, Any]]:
    """What the extra ``graphs`` is needed for, where it is installed."""
    size = f"{graph.shape[0]:,} nodes, {graph.nnz // 2:,} edges"
    rows = []
    for measure, module, function in (
        ("k-cores, clustering, components, on the CPU", "structure", "structure_of"),
        ("core and periphery by label switching, on the CPU", "label_switching", "label_switching"),
    ):
        try:
            made = getattr(__import__(f"chandraclip.graphs.{module}", fromlist=[function]), function)
            made(small)
            begin = perf_counter()
            made(graph)
            rows.append(row(measure, size, seconds=perf_counter() - begin))
        except ValueError as error:  # a library is missing: said, and the rest goes on
            rows.append(row(measure, size, note=f"not here: {error}"[:160]))
    return rows
