#!/usr/bin/env python
"""The 10 nearest neighbours of all of 200,000 x 64 unit vectors, exact, against faiss' flat index on the same threads,
each in its own process.

Both sides must find the same similarities. faiss is timed on a part of the queries, since its time grows with their
number (`--num_peer_queries 200000` for all); so are we with `--num_queries`, where a machine is busy. Memory is the
peak of fresh processes, once with few queries and many references and once the other way round, for 200,000 to
1,300,000 rows: it must grow as a straight line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from result_files import write_result

THREADS = len(os.sched_getaffinity(0))
DIMENSION, NEIGHBOURS, FEW = 64, 10, 512
MEMORY_ROWS = (200_000, 600_000, 1_300_000)
# Run in a process of its own: what it and its libraries take at most, MiB.
MEASURE = """
import resource, sys
import numpy as np, torch
from chandraclip.evaluation.neighbours import nearest
torch.set_num_threads(1)
queries, references = int(sys.argv[1]), int(sys.argv[2])
vectors = np.random.default_rng(0).standard_normal((max(queries, references), 64), np.float32)
nearest(vectors[:queries], vectors[:references], 11)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


# One side, with nothing of the other's imported: in one process whichever comes second has the first's OpenMP, and is
# several times slower.
SIDES = {
    "ours": """
import torch
from chandraclip.evaluation.neighbours import nearest
torch.set_num_threads(threads)
search = lambda queries: nearest(queries, vectors, k)
""",
    "faiss": """
import faiss
faiss.omp_set_num_threads(threads)
index = faiss.IndexFlatIP(vectors.shape[1])
index.add(vectors)
search = lambda queries: index.search(queries, k)[::-1]
""",
}
TIME = """
import json, sys
from time import perf_counter, process_time
import numpy as np
folder, num_queries, threads, k = sys.argv[1], *map(int, sys.argv[2:])
vectors = np.load(folder + "/vectors.npy")
{side}
search(vectors[:512])
begin, begin_cpu = perf_counter(), process_time()
indices, similarity = search(vectors[:num_queries])
print(json.dumps({{"seconds": perf_counter() - begin, "cpu_seconds": process_time() - begin_cpu}}))
np.savez(folder + "/found.npz", indices=indices, similarity=similarity)
"""


def search_alone(side: str, num_queries: int, threads: int, folder: str) -> dict[str, Any]:
    """``seconds``, ``cpu_seconds``, ``indices`` and ``similarity`` of one side, in a process of its own."""
    code = TIME.format(side=SIDES[side])
    # One more than the neighbours: the nearest is the vector itself.
    command = [sys.executable, "-c", code, folder, str(num_queries), str(threads), str(NEIGHBOURS + 1)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    with np.load(Path(folder) / "found.npz") as found:
        return {**json.loads(done.stdout), **found}


def draw_unit_vectors(num_rows: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((num_rows, DIMENSION), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def peak_mib(queries: int, references: int) -> float:
    """The peak memory of such a search in a process of its own."""
    command = [sys.executable, "-c", MEASURE, str(queries), str(references)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_rows", type=int, default=200_000, help="(default: %(default)s)")
    parser.add_argument(
        "--num_peer_queries", type=int, default=20_000, help="that faiss answers (default: %(default)s)"
    )
    parser.add_argument("--num_queries", type=int, help="that we answer (default: all rows)")
    parser.add_argument("--threads", type=int, default=THREADS, help="of each side (default: %(default)s)")
    parser.add_argument("--memory_rows", type=int, nargs="+", default=MEMORY_ROWS, help="(default: %(default)s)")
    options = parser.parse_args()

    vectors = draw_unit_vectors(options.num_rows)
    num_queries = {"ours": options.num_queries or options.num_rows}
    num_queries["faiss"] = min(options.num_peer_queries, num_queries["ours"])
    with TemporaryDirectory() as folder:
        np.save(Path(folder) / "vectors.npy", vectors)
        sides = {side: search_alone(side, number, options.threads, folder) for side, number in num_queries.items()}
    scale = {side: options.num_rows / number for side, number in num_queries.items()}
    ours_s, ours_cpu_s = (scale["ours"] * sides["ours"][name] for name in ("seconds", "cpu_seconds"))
    peer_s, peer_cpu_s = (scale["faiss"] * sides["faiss"][name] for name in ("seconds", "cpu_seconds"))
    asked = vectors[: num_queries["faiss"]]
    largest = float(np.abs(sides["ours"]["similarity"][: len(asked)] - sides["faiss"]["similarity"]).max())
    same = float((sides["ours"]["indices"][: len(asked)] == sides["faiss"]["indices"]).mean())

    import faiss

    from chandraclip.evaluation.indexes import build_index

    faiss.omp_set_num_threads(options.threads)
    begin = perf_counter()
    inverted = build_index(vectors, "ivf")
    build_s, begin = perf_counter() - begin, perf_counter()
    inverted.search(asked, NEIGHBOURS + 1)
    inverted_s = scale["faiss"] * (perf_counter() - begin)

    memory = {
        "references": [peak_mib(FEW, number) for number in options.memory_rows],
        "queries": [peak_mib(number, FEW) for number in options.memory_rows],
    }
    straight, slopes = True, {}
    for name, peaks in memory.items():
        slope, base = np.polyfit(options.memory_rows, peaks, 1)
        straight &= bool(np.abs(np.polyval([slope, base], options.memory_rows) - peaks).max() < 0.05 * max(peaks))
        slopes[name] = slope * 2**20
    all_of_rows = peak_mib(FEW, options.num_rows) + slopes["queries"] * options.num_rows / 2**20
    result = {
        "ratio": peer_s / ours_s,
        "equal": largest < 1e-5 and same > 0.999 and straight,
        "against": f"faiss-cpu {faiss.__version__} IndexFlatIP, threads each: {options.threads}",
        "num_rows": options.num_rows,
        "ours_s": ours_s,
        "faiss_flat_s": peer_s,
        "ratio_of_cpu_time": peer_cpu_s / ours_cpu_s,
        "ours_cpu_s": ours_cpu_s,
        "num_queries": num_queries["ours"],
        "num_faiss_queries": num_queries["faiss"],
        "same_neighbours": same,
        "largest_difference": largest,
        "faiss_ivf_s": inverted_s,
        "faiss_ivf_build_s": build_s,
        "faiss_ivf_recall": inverted.recall(NEIGHBOURS),
        "peak_mib_of_all": all_of_rows,
        "bytes_a_reference": slopes["references"],
        "bytes_a_query": slopes["queries"],
        "peak_mib_most_references": memory["references"][-1],
        "most_references": max(options.memory_rows),
    }
    print(f"{'':<24}{'s':>10}{'CPU s':>10}")
    for name, seconds, cpu in (("ours, exact", ours_s, ours_cpu_s), ("faiss, flat", peer_s, peer_cpu_s)):
        print(f"{name:<24}{seconds:>10.1f}{cpu:>10.1f}")
    print(f"{'faiss, ivf':<24}{inverted_s:>10.1f} recall {result['faiss_ivf_recall']:.3f}, made in {build_s:.1f} s")
    for name, peaks in memory.items():
        print(f"peak MiB with {[f'{number:,}' for number in options.memory_rows]} {name}: {[round(p) for p in peaks]}")
    print(f"ratio {result['ratio']:.1f} ({result['ratio_of_cpu_time']:.1f} of CPU time), equal: {result['equal']}")
    write_result(__file__, result, "the two sides differ, or memory does not grow as a straight line")


if __name__ == "__main__":
    main()
