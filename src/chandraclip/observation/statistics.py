"""Fit statistics of counts: Cash, and W where a background region was observed too.

A statistic here is a function of the source's expected counts, summed over channels, with its first two derivatives.
Where no source counts are expected and some were observed, 1e-25 counts are taken for none, as Sherpa does: a channel
that the response does not reach makes a fit poor, not impossible.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from chandraclip.catalog.statistics import cash

SMALLEST_EXPECTED = 1e-25  # counts a channel


class Statistic(Protocol):
    """What a fit needs of a statistic. Source counts expected are (..., N), N channels; `counts` (N,) observed."""

    name: str
    counts: np.ndarray

    def background(self, source: np.ndarray) -> np.ndarray:
        """Expected background counts (..., N) in the source region."""

    def value(self, source: np.ndarray) -> np.ndarray:
        """(...) the statistic, summed over channels: 0 for a perfect fit."""

    def slope(self, source: np.ndarray) -> np.ndarray:
        """(..., N) its derivative in each channel's source counts."""

    def curvature(self, source: np.ndarray) -> np.ndarray:
        """(..., N) the second one, >= 0."""

    def slope_and_curvature(self, source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both, for little more than one of them."""


class Cash:
    """``2 sum (m - n + n ln(n / m))`` (Cash 1979, ApJ 228, 939; XSPEC's and Sherpa's `cstat`).

    Args:
        counts: (..., N) observed counts n.
        known_background: (N,) expected background counts, part of m; None for none.
    """

    name = "cash"

    def __init__(self, counts: np.ndarray, known_background: np.ndarray | None = None):
        self.counts = np.asarray(counts, dtype=np.float64)
        self.known_background = np.zeros(self.counts.shape) if known_background is None else known_background

    def background(self, source: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self.known_background, source.shape)

    def _expected(self, source: np.ndarray) -> np.ndarray:
        return np.maximum(source + self.known_background, SMALLEST_EXPECTED)

    def value(self, source: np.ndarray) -> np.ndarray:
        return cash(self.counts, self._expected(source)).sum(axis=-1)

    def slope(self, source: np.ndarray) -> np.ndarray:
        return self.slope_and_curvature(source)[0]

    def curvature(self, source: np.ndarray) -> np.ndarray:
        return self.slope_and_curvature(source)[1]

    def slope_and_curvature(self, source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        expected = self._expected(source)
        ratio = 2.0 * self.counts / expected
        return 2.0 - ratio, ratio / expected


class WStatistic:
    """The W statistic: Poisson source and background, each channel's background the most likely one for the model.

    XSPEC manual, appendix B, "Poisson data with Poisson background"; Sherpa's `wstat`. With n counts in the source
    region, n_b in the background's and m expected of the source, the background b in the source region solves
    ``(1 + 1/r) b^2 + ((1 + 1/r) m - n - n_b) b - n_b m = 0``, and W is Cash's statistic of both regions at it.

    Args:
        counts: (..., N) n.
        background_counts: (..., N) n_b; real numbers are allowed.
        scale: (N,) r, source over background of area x exposure; where it is 0 there is no background.
    """

    name = "wstat"

    def __init__(self, counts: np.ndarray, background_counts: np.ndarray, scale: np.ndarray):
        self.counts = np.asarray(counts, dtype=np.float64)
        self.raw_scale = np.asarray(scale, dtype=np.float64)
        self.covered = self.raw_scale > 0
        self.scale = np.where(self.covered, self.raw_scale, 1.0)
        self.background_counts = np.where(self.covered, background_counts, 0.0).astype(np.float64)
        self._both = 1.0 + 1.0 / self.scale

    def _solve(self, source: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Source counts above 0, the background, and the root of the discriminant; (..., N) each."""
        source = np.maximum(source, SMALLEST_EXPECTED)
        linear = self.counts + self.background_counts - self._both * source
        root = np.sqrt(linear**2 + 4.0 * self._both * self.background_counts * source)
        # The positive solution, in the form of the two that does not cancel.
        with np.errstate(divide="ignore", invalid="ignore"):
            small = 2.0 * self.background_counts * source / (root - linear)
        background = np.where(linear >= 0, (linear + root) / (2.0 * self._both), small)
        return source, np.where(self.covered, background, 0.0), root

    def background(self, source: np.ndarray) -> np.ndarray:
        return self._solve(source)[1]

    def value(self, source: np.ndarray) -> np.ndarray:
        source, background, _ = self._solve(source)
        both = cash(self.counts, source + background)
        return (both + cash(self.background_counts, background / self.scale)).sum(axis=-1)

    def slope(self, source: np.ndarray) -> np.ndarray:
        return self.slope_and_curvature(source)[0]

    def curvature(self, source: np.ndarray) -> np.ndarray:
        return self.slope_and_curvature(source)[1]

    def slope_and_curvature(self, source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        source, background, root = self._solve(source)
        with np.errstate(divide="ignore", invalid="ignore"):
            change = -(self._both * background - self.background_counts) / root
        change = np.where(self.covered & (root > 0), np.clip(change, -1.0, 0.0), 0.0)
        expected = source + background
        ratio = 2.0 * self.counts / expected
        return 2.0 - ratio, ratio / expected * (1.0 + change)
