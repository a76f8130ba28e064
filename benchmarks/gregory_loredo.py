#!/usr/bin/env python
"""Gregory-Loredo odds of many detections at once, against the formula written out for one detection after another.

Both sides see the same photon lists (half of the observations have a gap) and must agree on log10 of the odds to 1e-6.
"""

from __future__ import annotations

import argparse
import math
import os
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.special import gammaln, logsumexp

from chandraclip.catalog.ragged import Ragged
from chandraclip.catalog.variability import COARSE_BINS, gregory_loredo
from result_files import write_result

EXPOSURE = 30_000.0  # s
GAP = (12_000.0, 18_000.0)


def simulate(num_detections: int, median_counts: int, seed: int) -> tuple[Ragged, Ragged, Ragged]:
    rng = np.random.default_rng(seed)
    counts = np.maximum(rng.lognormal(np.log(median_counts), 1.0, num_detections).astype(int), 1)
    times, starts, stops = [], [], []
    for number, count in enumerate(counts):
        time = EXPOSURE * (rng.beta(2, 2, count) if number % 5 == 0 else rng.random(count))
        gaps = np.array(GAP if number % 2 else ())
        if gaps.size:
            time = time[(time < GAP[0]) | (time > GAP[1])]
        times.append(np.sort(time))
        starts.append(np.concatenate([[0.0], gaps[1:]]))
        stops.append(np.concatenate([gaps[:1], [EXPOSURE]]))
    return Ragged.from_rows(times), Ragged.from_rows(starts), Ragged.from_rows(stops)


def direct_log10_odds(time: np.ndarray, start: np.ndarray, stop: np.ndarray, max_bins: int) -> float:
    """The definition for one detection: for each m the bins, their good time, and the odds; numpy over the bins."""
    knots = np.stack([start, stop], axis=1).ravel()
    good = np.concatenate([[0.0], np.repeat(np.cumsum(stop - start), 2)])[:-1]
    terms = []
    for num_bins in range(2, max_bins + 1):
        edges = np.linspace(start[0], stop[-1], num_bins + 1)
        counts, _ = np.histogram(time, bins=edges)
        share = np.diff(np.interp(edges, knots, good)) / good[-1]
        counts, share = counts[share > 1e-9], share[share > 1e-9]
        log_odds = math.lgamma(share.size) - math.lgamma(counts.sum() + share.size)
        terms.append(log_odds + np.sum(gammaln(counts + 1)) - np.sum(counts * np.log(share)))
    means = [float(logsumexp(terms[: number + 1])) - math.log(number + 1) for number in range(len(terms))]
    chosen = [mean for mean in means if mean > max(means) - 0.5][
        -1
    ]  # glvary: the last mean above the highest / sqrt(e)
    return chosen / math.log(10.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num_detections", type=int, default=5_000)
    parser.add_argument("--median_counts", type=int, default=47, help="before the gaps are cut out")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    times, start, stop = simulate(options.num_detections, options.median_counts, options.seed)

    ours_s = math.inf
    for _ in range(3):
        begin = perf_counter()
        ours = gregory_loredo(times, start, stop, max_bins=COARSE_BINS).odds_log10
        ours_s = min(ours_s, perf_counter() - begin)
    rows = [
        [lists.values[lists.offsets[row] : lists.offsets[row + 1]] for lists in (times, start, stop)]
        for row in range(options.num_detections)
    ]
    begin = perf_counter()
    direct = np.array([direct_log10_odds(time, first, last, COARSE_BINS) for time, first, last in rows])
    direct_s = perf_counter() - begin

    difference = float(np.nanmax(np.abs(ours - direct)))
    same_gaps = np.array_equal(np.isnan(ours), np.diff(times.offsets) == 0)
    result = {
        "ratio": direct_s / ours_s,
        "equal": bool(difference < 1e-6 and same_gaps),
        "against": "the formula, one detection after another (numpy over its bins)",
        "ours_s": ours_s,
        "direct_s": direct_s,
        "largest_difference_log10_odds": difference,
        "num_detections": options.num_detections,
        "median_counts": float(np.median(np.diff(times.offsets))),
        "num_photons": int(times.offsets[-1]),
        "max_bins": COARSE_BINS,
    }
    print(f"{options.num_detections} detections, {times.offsets[-1]} photons, 2 to {COARSE_BINS} bins")
    print(f"{'':<28}{'seconds':>10}{'detections/s':>15}")
    for name, seconds in (("one after another", direct_s), ("gregory_loredo", ours_s)):
        print(f"{name:<28}{seconds:>10.3f}{options.num_detections / seconds:>15,.0f}")
    print(f"ratio {result['ratio']:.0f}, largest difference of log10 odds {difference:.1e}, equal: {result['equal']}")
    write_result(__file__, result)


if __name__ == "__main__":
    main()
