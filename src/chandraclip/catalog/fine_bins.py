"""The likelihood of very many time bins: what `variability` needs of 31 to 3000 of them, for every number of bins.

Where there are more bins than photons, few photons are close enough to share one: their pairs are looked at. Of sorted
photons, those of one bin are a run with the same ``floor(m phase)``, so that empty bins cost nothing. Where bins are
crowded, the photons before each edge are looked up.

Of a bright list most numbers of bins have odds of e^-50 and below, and add nothing to the mean. So a few of each run of
numbers are tried first (`stages`, `negligible`), and the rest only where they may matter.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.special import gammaln, pdtr

PHOTONS_PER_TILE = 2**17
PHOTONS_OF_ROW = 200  # that a row is as much work as, besides its own
CELLS_PER_STEP = 2**19  # photons x numbers of bins: what stays in the cache
STEP_RATIO = 1.4  # of the last and first number of bins of a run that is probed together
PAIRS = 1.0  # of photons that may share a bin, a photon, below which it is pairs that are looked at
CROWDED = 6.0  # photons a bin, from which those before each edge are looked up
NUM_PROBES = 8  # numbers of bins of a run that are tried before the rest
GAINS = (4.0, 2.0, None)  # after three of them, and after all eight, see `highest_odds`
HOPELESS, STILL_HOPELESS = -9.0, -5.0  # ln odds against the mean of fewer bins: as tried, and `highest_odds`
# Of the observation, which moves a photon on an edge into the bin that begins there: rounding of times may not.
EDGE_ROUNDING = 1e-11
# A bin with less of the good time than this touches a good-time interval only by rounding.
SMALLEST_SHARE = 1e-9


def tiles(num_photons: np.ndarray) -> list[np.ndarray]:
    """Rows that are treated together: of about as many photons each, and not too many in all."""
    order = np.argsort(num_photons, kind="stable")
    total = np.cumsum(num_photons[order] + PHOTONS_OF_ROW) // PHOTONS_PER_TILE
    return np.split(order, np.flatnonzero(np.diff(total) > 0) + 1)


@cache
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
    key = 2.0 * row + phase
    first = np.flatnonzero(np.diff(key) < 1.0 / numbers[0])
    following = np.searchsorted(key, key[first] + 1.0 / numbers[0]) - first - 1
    if following.sum() <= PAIRS * row.size:
        return _paired(row, phase, first, following, num_rows, numbers)
    result = np.zeros((num_rows, numbers.size))
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    at_once = max(CELLS_PER_STEP // row.size, 1)
    for begin in range(0, numbers.size, at_once):
        some = slice(begin, begin + at_once)
        result[row[starts], some] = _counted(phase, starts, numbers[some])
    return result


def _paired(
    row: np.ndarray, phase: np.ndarray, first: np.ndarray, following: np.ndarray, num_rows: int, numbers: np.ndarray
) -> np.ndarray:
    """`log_arrangements` from pairs: sum_j ln n_j! is the sum of ln((k + 1) / k) over pairs k photons apart in a bin.

    Args:
        first, following: (F,) places of photons, and how many after each can be in one bin with it.
    """
    result = np.zeros((num_rows, numbers.size))
    if not first.size:
        return result
    place, which = ranges(first + 1, following)
    one = first[which]
    weight, own = np.log1p(1.0 / (place - one)), row[one]
    earlier, later = phase[one], phase[place]
    starts = np.flatnonzero(np.diff(own, prepend=-1))
    at_once = max(CELLS_PER_STEP // one.size, 1)
    for begin in range(0, numbers.size, at_once):
        some = slice(begin, begin + at_once)
        bins, others = (np.empty((numbers[some].size, one.size), dtype=np.int16) for _ in range(2))
        np.multiply(numbers[some, None], earlier, out=bins, casting="unsafe")
        np.multiply(numbers[some, None], later, out=others, casting="unsafe")
        result[own[starts], some] = np.add.reduceat((bins == others) * weight, starts, axis=1).T
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
    terms = _log_factorial(int(counts.max()))[counts]
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
    return np.add.reduceat(_log_factorial(int(counts.max()))[counts], first, axis=1)


def _log_factorial(most: int) -> np.ndarray:
    return gammaln(np.arange(most + 1) + 1.0)


def on_edges(phase: np.ndarray) -> np.ndarray:
    """Phases of [0, 1] in [0, 1), those within rounding of an edge on its later side."""
    return np.minimum(phase + EDGE_ROUNDING, 1.0 - EDGE_ROUNDING)


def empty_bins(begin: np.ndarray, end: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """(G, M) bins of each number that lie in each gap, whose phases are `begin` and `end` (G,)."""
    first = np.ceil(begin[:, None] * numbers - 1e-6)
    return np.maximum(np.floor(end[:, None] * numbers + 1e-6) - first, 0.0)


@cache
def stages(size: int) -> list[np.ndarray]:
    """Places in a run of so many numbers of bins: three that are tried first, five more, and the rest."""
    probes = np.unique(np.linspace(0, size - 1, NUM_PROBES).astype(np.int64))
    return [probes[1::3], np.delete(probes, slice(1, None, 3)), np.setdiff1d(np.arange(size), probes)]


def highest_odds(odds: np.ndarray, expected: np.ndarray, gain: float) -> np.ndarray:
    """(R,) about the highest ln O_m of a run of numbers of bins, by those tried.

    A rate that changes gains ln odds against what photons at a constant rate are expected to have, and how much depends
    on where the edges of bins fall, the more so for recurring events, whose edges fall alike for some numbers of bins.
    Among eight numbers the best gain is more than half of the highest, among three more than a quarter.

    Args:
        odds: (R, P) ln O_m. expected: (R, P) `expected_log_odds`.
        gain: what the gain is taken times.
    """
    return (gain * np.maximum(odds - expected, 0.0) + expected).max(axis=1)


def negligible(tried: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """Whether the other numbers of bins of a run can be left out; (R,) bool.

    The mean odds are off by e^-9 at most for what is left out, by e^-5 for what none that was tried tells of.

    Args:
        tried, highest: (R,) highest ln O_m of those tried, and `highest_odds`; over the mean of fewer bins.
    """
    return (tried < HOPELESS) & (highest < STILL_HOPELESS)


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


def ranges(first: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places first ... first + length - 1 of each range, one range after another, and the range of each."""
    own = np.repeat(np.arange(len(length)), length)
    return np.arange(own.size) + np.repeat(first - np.cumsum(length) + length, length), own
