"""Statistics of counts that more than one part uses."""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy


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
