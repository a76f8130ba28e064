"""The likelihood of very many time bins: what `variability` needs of 31 to 3000 of them, for every number of bins.

A photon that is farther from its neighbours than a bin is long shares none: where there are more bins than photons,
most are left out. Of sorted photons, those of one bin are a run with the same ``floor(m phase)``, so that empty bins
cost nothing.

Of a bright list most numbers of bins have odds of e^-50 and below, and add nothing to the mean. So a few of each run of
numbers are tried first (`negligible`), and the rest only where they may matter.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.special import gammaln, pdtr

PHOTONS_PER_TILE = 2**14
CELLS_PER_STEP = 2**19  # photons x numbers of bins: what stays in the cache
STEP_RATIO = 1.4  # of the last and first number of bins of a run that is probed together
SPARSE = 2.0  # photons a bin, below which some stand alone
CROWDED = 16.0  # photons a bin, from which those before each edge are looked up
NUM_PROBES = 8  # numbers of bins of a run that are tried before the rest
HOPELESS, STILL_HOPELESS = -9.0, -5.0  # ln odds against the highest mean: as probed, and with twice the gain
# Of the observation, which moves a photon on an edge into the bin that begins there: rounding of times may not.
EDGE_ROUNDING = 1e-11
# A bin with less of the good time than this touches a good-time interval only by rounding.
SMALLEST_SHARE = 1e-9


def tiles(num_photons: np.ndarray, max_bins: np.ndarray) -> list[np.ndarray]:
    """Rows that are treated together: about as many photons each, and to about as many bins."""
    bucket = np.ceil(4.0 * np.log2(max_bins)).astype(np.int64)
    order = np.lexsort([num_photons, bucket])
    total = np.cumsum(num_photons[order]) // PHOTONS_PER_TILE
    changes = np.flatnonzero((np.diff(total) > 0) | (np.diff(bucket[order]) > 0)) + 1
    return np.split(order, changes)


def steps(first: int, last: int) -> list[np.ndarray]:
    """Numbers of bins `first` to `last` in runs, as float64."""
    result = []
    while first <= last:
        size = max(int((STEP_RATIO - 1.0) * first), 1)
        result.append(np.arange(first, min(first + size, last + 1), dtype=np.float64))
        first += size
    return result


def log_arrangements(row: np.ndarray, phase: np.ndarray, num_rows: int, numbers: np.ndarray) -> np.ndarray:
    """sum_j ln n_j! of R photon lists in each of M numbers of bins.

    Args:
        row: (T,) int, 0 to R - 1, not decreasing.
        phase: (T,) in [0, 1), not decreasing within a row; photons on an edge as `on_edges` leaves them.
        num_rows: R.
        numbers: (M,) float64, increasing whole numbers.

    Returns:
        (R, M).
    """
    if row.size >= CROWDED * num_rows * numbers[-1]:
        return _looked_up(row, phase, num_rows, numbers)
    if row.size < SPARSE * num_rows * numbers[0]:
        close = (np.diff(phase) < 1.0 / numbers[0]) & (row[1:] == row[:-1])
        kept = np.zeros(row.size, dtype=bool)
        kept[:-1] |= close
        kept[1:] |= close
        row, phase = row[kept], phase[kept]
    result = np.zeros((num_rows, numbers.size))
    if row.size:
        starts = np.flatnonzero(np.diff(row, prepend=-1))
        at_once = max(CELLS_PER_STEP // row.size, 1)
        for begin in range(0, numbers.size, at_once):
            some = slice(begin, begin + at_once)
            result[row[starts], some] = _counted(phase, starts, numbers[some])
    return result


def _counted(phase: np.ndarray, starts: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """(len(starts), M) sum_j ln n_j! of lists that begin at those photons, from the lengths of the runs of each bin."""
    bins = np.empty((numbers.size, phase.size), dtype=np.int16)
    np.multiply(numbers[:, None], phase, out=bins, casting="unsafe")
    begins = np.empty(bins.shape, dtype=bool)
    np.not_equal(bins[:, 1:], bins[:, :-1], out=begins[:, 1:])
    begins[:, starts] = True
    run = np.flatnonzero(begins)
    counts = np.diff(run, append=begins.size)
    terms = gammaln(np.arange(int(counts.max()) + 1) + 1.0)[counts]
    first = np.searchsorted(run, np.arange(numbers.size)[:, None] * phase.size + starts)
    return np.add.reduceat(terms, first.ravel()).reshape(first.shape).T


def _looked_up(row: np.ndarray, phase: np.ndarray, num_rows: int, numbers: np.ndarray) -> np.ndarray:
    """`log_arrangements`, from the photons before each edge."""
    width = numbers.astype(np.int64)
    first = np.cumsum(width + 1) - width - 1
    number = np.repeat(numbers, width + 1)
    edges = (np.arange(number.size) - np.repeat(first, width + 1)) / number
    before = np.searchsorted(2.0 * row + phase, 2.0 * np.arange(num_rows)[:, None] + edges)
    counts = np.diff(before, axis=1, append=before[:, -1:])
    counts[:, first + width] = 0  # from the last edge of a number to the first of the next
    return np.add.reduceat(gammaln(counts + 1.0), first, axis=1)


def on_edges(phase: np.ndarray) -> np.ndarray:
    """Phases of [0, 1] in [0, 1), those within rounding of an edge on its later side."""
    return np.minimum(phase + EDGE_ROUNDING, 1.0 - EDGE_ROUNDING)


def exposed_bins(
    row: np.ndarray, start: np.ndarray, stop: np.ndarray, num_rows: int, numbers: np.ndarray
) -> np.ndarray:
    """(R, M) bins of each number that any good time falls in, at least 1.

    Args:
        row: (G,) int, not decreasing, of each good-time interval; start, stop: (G,) phase.
    """
    first = np.floor(start[:, None] * numbers + 1e-6)
    last = np.ceil(stop[:, None] * numbers - 1e-6) - 1.0
    number = np.maximum(last - first + 1.0, 0.0)
    number[:-1] -= (row[1:] == row[:-1])[:, None] & (first[1:] <= last[:-1])
    total = np.cumsum(np.concatenate([np.zeros((1, numbers.size)), number]), axis=0)
    bounds = np.searchsorted(row, np.arange(num_rows + 1))
    return np.maximum(total[bounds[1:]] - total[bounds[:-1]], 1.0)


def negligible(probed: np.ndarray, expected: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """Whether the numbers of bins between those probed can be left out; (R,) bool.

    A rate that changes gains ln odds against what photons at a constant rate are expected to have, and how much depends
    on where the edges of bins fall, the more so for recurring events, whose edges fall alike for some numbers of bins.
    Among eight numbers the best gain is more than half of the highest; so, twice of it must leave the odds hopeless.
    The mean odds are off by e^-9 at most for what is left out, by e^-5 for what no probe tells of.

    Args:
        probed: (R, P) ln O_m.
        expected: (R, P) `expected_log_odds`.
        highest: (R,) ln of the highest mean odds of fewer bins.
    """
    worst = (probed - highest[:, None]).max(axis=1)
    doubled = (2.0 * np.maximum(probed - expected, 0.0) + expected - highest[:, None]).max(axis=1)
    return (worst < HOPELESS) & (doubled < STILL_HOPELESS)


def expected_log_odds(
    num_photons: np.ndarray, full: np.ndarray, exposed: np.ndarray, numbers: np.ndarray
) -> np.ndarray:
    """(R, M) ln O_m of photons at a constant rate, on average.

    Args:
        num_photons, full: (R,) photons, and the good share of the time.
        exposed: (R, M) bins with good time. numbers: (M,) of bins.
    """
    bins = full[:, None] * numbers
    mean = num_photons[:, None] / bins
    arrangements = bins * (gammaln(mean + 1.0) + np.interp(np.log(mean), *_scatter_of_log_factorial()))
    odds = arrangements + num_photons[:, None] * np.log(bins)
    return odds + gammaln(exposed) - gammaln(num_photons[:, None] + exposed)


@cache
def _scatter_of_log_factorial() -> tuple[np.ndarray, np.ndarray]:
    """ln of a Poisson mean, and E ln n! - ln mean!, where E ln n! is sum_k ln k P(n >= k); near 1/2 beyond 1000."""
    log_mean = np.linspace(np.log(1e-4), np.log(1e3), 400)
    number = np.arange(2.0, 2000.0)
    mean = np.exp(log_mean)
    exact = (np.log(number) * (1.0 - pdtr(number - 1.0, mean[:, None]))).sum(axis=1)
    return log_mean, exact - gammaln(mean + 1.0)
