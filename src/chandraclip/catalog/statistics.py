"""Statistics of counts that more than one part uses."""

from __future__ import annotations

import functools

import numpy as np
from scipy.special import xlogy
from scipy.stats import poisson


def cash(counts: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Cash statistic a bin, normalised to be 0 where the expectation equals the counts (XSPEC's C-statistic).

    Cash 1979, ApJ 228, 939: ``2 (m - d + d ln(d / m))``.

    Args:
        counts: (...) d, observed counts, >= 0.
        expected: (...) m, expected counts, >= 0.

    Returns:
        (...) float64 >= 0; inf where counts were observed and none expected. Sum over bins for a fit's statistic.
    """
    counts = np.asarray(counts, dtype=np.float64)
    expected = np.asarray(expected, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return 2.0 * (expected - counts + xlogy(counts, counts) - xlogy(counts, expected))


def expected_cash(expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of `cash` a bin where counts are drawn from the expectation: what a perfect model scores.

    Kaastra 2017, A&A 605, A51. About 1 and 2 for many counts, as chi-squared, and far below for few: by summing over
    the counts up to 1,000 expected, interpolated on a fine grid (to 1e-4), by the leading terms beyond.

    Args:
        expected: (...) m, expected counts, >= 0.

    Returns:
        (...) float64 each.
    """
    expected = np.asarray(expected, dtype=np.float64)
    grid, mean, variance = _cash_moments()
    inside = np.clip(expected, grid[0], grid[-1])
    result = [np.exp(np.interp(np.log(inside), np.log(grid), np.log(values))) for values in (mean, variance)]
    few, many = expected < grid[0], expected > grid[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        # One photon at most: 2 m without it, with it 2 (m - 1 - ln m).
        first = -2.0 * np.nan_to_num(xlogy(expected, expected))
        result[0] = np.where(few, first, np.where(many, 1.0 + 1.0 / (6.0 * expected), result[0]))
        second = np.where(expected > 0, 4.0 * expected * (1.0 + np.log(expected)) ** 2, 0.0)
        result[1] = np.where(few, second, np.where(many, 2.0, result[1]))
    return result[0], result[1]


@functools.cache
def _cash_moments() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    grid = np.geomspace(1e-6, 1e3, 600)
    moments = []
    for expected in grid:
        counts = np.arange(int(expected + 12.0 * np.sqrt(expected) + 30.0))
        share = poisson.pmf(counts, expected)
        values = cash(counts, expected)
        mean = (share * values).sum()
        moments.append((mean, (share * (values - mean) ** 2).sum()))
    return grid, *np.array(moments).T
