"""Intervals by the profile of the likelihood: how far a quantity may go, all other parameters fitted anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2

MAX_DOUBLINGS = 60
NEW_MINIMUM = 1e-3  # a statistic lower than the best by more than this means that the best was none


class Point(NamedTuple):
    """A place in the space of parameters. `position` is (2,): shape (ln kT for a temperature) and nH."""

    position: np.ndarray
    norm: float
    statistic: float


class BetterMinimum(Exception):
    """A profile went below the best fit: it holds the point from which to fit again."""

    def __init__(self, point: Point):
        super().__init__("a better fit was found")
        self.point = point


def statistic_rise(confidence: float) -> float:
    """The rise of the statistic at the ends of an interval of one quantity: 1 for 0.68 ("one sigma"), 2.71 for 0.9.

    Raises:
        ValueError: a confidence that is not between 0 and 1.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence {confidence}: must be between 0 and 1")
    return 1.0 if confidence == 0.68 else float(chi2.ppf(confidence, 1))


def profile_limits(
    refit: Callable[[float, np.ndarray], Point],
    best: Point,
    value: float,
    step: float,
    bounds: tuple[float, float],
    rise: float,
) -> tuple[float | None, float | None]:
    """Where the profile of one quantity has risen by `rise` on either side of its best value.

    Args:
        refit: of a value of the quantity and a position to begin at: the best point with it.
        best: the best fit.
        value: of the quantity there.
        step: about its standard error.
        bounds: of the quantity; -inf and inf where it has none.
        rise: of the statistic.

    Returns:
        (low, high); None where the profile does not rise as much before the bound: the interval is open on that side.

    Raises:
        BetterMinimum: the profile goes below the best fit.
    """
    limits = [_limit(refit, best, value, direction * step, bounds, rise) for direction in (-1.0, 1.0)]
    return limits[0], limits[1]


def _limit(
    refit: Callable[[float, np.ndarray], Point],
    best: Point,
    value: float,
    step: float,
    bounds: tuple[float, float],
    rise: float,
) -> float | None:
    position = best.position
    known = {value: -float(np.sqrt(rise))}

    def excess(at: float) -> float:
        """Standard errors from the best fit, less those wanted: nearly linear, unlike the statistic."""
        nonlocal position
        if at in known:
            return known[at]
        point = refit(at, position)
        if point.statistic < best.statistic - NEW_MINIMUM:
            raise BetterMinimum(point)
        position = point.position
        known[at] = float(np.sqrt(max(point.statistic - best.statistic, 0.0)) - np.sqrt(rise))
        return known[at]

    inside, at, bound = value, value, bounds[1] if step > 0 else bounds[0]
    for _ in range(MAX_DOUBLINGS):
        at = min(value + step, bound) if step > 0 else max(value + step, bound)
        if at == inside:
            return None
        at_excess = excess(at)
        if at_excess >= 0:
            return float(brentq(excess, inside, at, xtol=2e-3 * abs(at - inside), rtol=1e-6))
        inside, step = at, 2.0 * step
    return None
