"""Bootstrap intervals by resampling sources: detections of one source are not independent, so rows are never drawn.

Every mean-like metric (recall, MAE, R2) is a function of sums over rows, so a resample of sources is one row of a
small matrix product and no row is visited twice.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

NUM_RESAMPLES = 1000
_BLOCK_ELEMENTS = 2**24  # 128 MiB of float64 at a time


def _draw_counts(
    num_groups: int, num_resamples: int, seed: int, elements_per_resample: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Blocks of (which resamples, how often each group was drawn (b, num_groups)), whatever the block size."""
    generator = np.random.default_rng(seed)
    shares = np.full(num_groups, 1.0 / num_groups)
    block = max(1, _BLOCK_ELEMENTS // max(elements_per_resample, 1))
    for start in range(0, num_resamples, block):
        stop = min(start + block, num_resamples)
        yield slice(start, stop), generator.multinomial(num_groups, shares, size=stop - start)


def _group_ids(groups: np.ndarray, num_rows: int) -> tuple[np.ndarray, int]:
    if len(groups) != num_rows or num_rows == 0:
        raise ValueError(f"the bootstrap needs one source name a row, and a row: {len(groups)} names, {num_rows} rows")
    names, ids = np.unique(groups, return_inverse=True)
    return ids, len(names)


def resampled_sums(
    values: np.ndarray, groups: np.ndarray, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Column sums over the rows of resampled sources.

    Args:
        values: (N, K) what is summed; add a column of ones for the number of rows.
        groups: (N,) source name of each row.
        num_resamples: B.
        seed: of the draws. Equal seed and groups give equal draws, so two calls are paired.

    Returns:
        (B, K) sums.

    Raises:
        ValueError: no rows, or not one name a row.
    """
    values = np.asarray(values, dtype=np.float64)
    ids, num_groups = _group_ids(groups, len(values))
    totals = np.stack([np.bincount(ids, column, minlength=num_groups) for column in values.T], axis=1)
    sums = np.empty((num_resamples, values.shape[1]))
    for rows, counts in _draw_counts(num_groups, num_resamples, seed, num_groups):
        sums[rows] = counts @ totals
    return sums


def resampled_medians(
    values: np.ndarray, groups: np.ndarray, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Medians over the rows of resampled sources; arguments as `resampled_sums` with `values` (N,), returns (B,).

    The lower median: the smallest value that at least half of the drawn rows do not exceed.
    """
    values = np.asarray(values, dtype=np.float64)
    ids, num_groups = _group_ids(groups, len(values))
    order = np.argsort(values, kind="stable")
    ordered, ids = values[order], ids[order]
    medians = np.empty(num_resamples)
    for rows, counts in _draw_counts(num_groups, num_resamples, seed, max(num_groups, len(values))):
        weight = np.cumsum(counts[:, ids], axis=1)
        medians[rows] = ordered[np.argmax(weight >= 0.5 * weight[:, -1:], axis=1)]
    return medians


def resampled_auc(
    score: np.ndarray, positive: np.ndarray, groups: np.ndarray, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Areas under the ROC curve of resampled sources, a tie counting half; other arguments as `resampled_sums`.

    Args:
        score: (N,), positive: (N,) bool.

    Returns:
        (B,), NaN where a resample has no positive or no negative row.
    """
    ids, num_groups = _group_ids(groups, len(score))
    order = np.argsort(score, kind="stable")
    first = np.flatnonzero(np.diff(np.asarray(score, np.float64)[order], prepend=-np.inf) > 0)  # of each value
    positive, ids = np.asarray(positive, bool)[order], ids[order]
    areas = np.empty(num_resamples)
    for rows, counts in _draw_counts(num_groups, num_resamples, seed, max(num_groups, len(score))):
        weight = counts[:, ids]
        positives = np.add.reduceat(np.where(positive, weight, 0), first, axis=1)
        negatives = np.add.reduceat(np.where(positive, 0, weight), first, axis=1)
        below = np.cumsum(negatives, axis=1) - 0.5 * negatives
        with np.errstate(invalid="ignore"):
            areas[rows] = (positives * below).sum(axis=1) / (positives.sum(axis=1) * negatives.sum(axis=1))
    return areas


def interval(samples: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The central percentile interval of bootstrap samples (B,), e.g. from 2.5 to 97.5 %."""
    low, high = np.nanquantile(samples, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)
