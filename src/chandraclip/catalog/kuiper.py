"""Kuiper's test of a constant rate within an observation, for many detections at once; CSC's kp_prob.

The statistic is V = D+ + D- of the photon times against the share of good time elapsed, its probability the
asymptotic series with Stephens' (1970, J. R. Stat. Soc. B 32, 115) correction for few photons:
lambda = (sqrt(N) + 0.155 + 0.24 / sqrt(N)) V, Q = 2 sum_j (4 j^2 lambda^2 - 1) exp(-2 j^2 lambda^2).
"""

from __future__ import annotations

import numpy as np

from chandraclip.catalog.ragged import Ragged

MIN_PHOTONS = 10  # as for var_prob_b, so that both are missing in the same rows
NUM_TERMS = 40


def kuiper_probability(times: Ragged, gti_start: Ragged, gti_stop: Ragged, kept: np.ndarray) -> np.ndarray:
    """Probability 1 - Q that the rate was not constant.

    Args:
        times: N lists of photon times, s, sorted. Photons outside the good-time intervals are left out.
        gti_start, gti_stop: N lists of good-time intervals, s, sorted and disjoint.
        kept: (total photons,) bool, which photons count.

    Returns:
        (N,) float64; NaN where fewer than `MIN_PHOTONS` are left.
    """
    num_rows = len(times)
    row = np.repeat(np.arange(num_rows), np.diff(times.offsets))[kept]
    time = np.asarray(times.values, dtype=np.float64)[kept]
    start, stop = (np.asarray(lists.values, dtype=np.float64) for lists in (gti_start, gti_stop))
    interval_row = np.repeat(np.arange(num_rows), np.diff(gti_start.offsets))
    if time.size == 0 or start.size == 0:
        return np.full(num_rows, np.nan)

    # One increasing axis for all rows, so that one search finds the interval of every photon.
    origin = min(float(start.min()), float(time.min()))
    width = 2.0 * (max(float(stop.max()), float(time.max())) - origin) + 1.0
    interval = np.searchsorted(start - origin + width * interval_row, time - origin + width * row, side="right") - 1
    valid = (interval >= 0) & (interval_row[np.maximum(interval, 0)] == row)
    valid[valid] &= time[valid] <= stop[interval[valid]]
    row, time, interval = row[valid], time[valid], interval[valid]

    elapsed_before = np.concatenate([[0.0], np.cumsum(stop - start)])
    good_time = np.bincount(interval_row, stop - start, minlength=num_rows)
    first = elapsed_before[gti_start.offsets[row]]
    share = (elapsed_before[interval] - first + time - start[interval]) / good_time[row]

    num_photons = np.bincount(row, minlength=num_rows)
    rank = np.arange(row.size) - (np.cumsum(num_photons) - num_photons)[row]
    above, below = np.zeros(num_rows), np.zeros(num_rows)
    np.maximum.at(above, row, (rank + 1) / num_photons[row] - share)
    np.maximum.at(below, row, share - rank / num_photons[row])
    root = np.sqrt(np.maximum(num_photons, 1))
    scaled = (root + 0.155 + 0.24 / root) * (above + below)
    terms = (2.0 * (np.arange(1, NUM_TERMS + 1)[:, None] * scaled) ** 2).astype(np.float64)
    chance = 2.0 * ((2.0 * terms - 1.0) * np.exp(-terms)).sum(axis=0)
    # Below 0.4 the series has not converged and the probability of so small a V is 1 (Numerical Recipes, 14.3).
    chance = np.where(scaled < 0.4, 1.0, np.clip(chance, 0.0, 1.0))
    return np.where(num_photons >= MIN_PHOTONS, 1.0 - chance, np.nan)
