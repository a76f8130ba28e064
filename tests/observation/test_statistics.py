from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from chandraclip.catalog.statistics import cash
from chandraclip.observation.statistics import Cash, WStatistic

COUNTS = np.array([0, 0, 3, 3, 3, 8, 1, 40])
OUTSIDE = np.array([0, 5, 0, 7, 2.5, 0, 0, 300])  # counts of a background region; a real number is allowed
SCALE = np.array([0.1, 0.5, 0.05, 1.0, 0.3, 2.0, 0.7, 0.1])


def test_w_is_cash_of_both_regions_at_the_most_likely_background():
    statistic = WStatistic(COUNTS, OUTSIDE, SCALE)
    for source in (0.01, 0.5, 2.0, 30.0):
        expected = 0.0
        for n, outside, scale in zip(COUNTS, OUTSIDE, SCALE):
            found = minimize_scalar(
                lambda b: cash(n, source + b) + cash(outside, b / scale),  # noqa: B023
                bounds=(1e-12, 200.0),
                method="bounded",
                options={"xatol": 1e-10},
            )
            expected += found.fun
        assert statistic.value(np.full(8, source)) == pytest.approx(expected, abs=1e-5)


def test_without_a_background_region_w_is_cash():
    source = np.linspace(0.5, 9, 8)
    uncovered = WStatistic(COUNTS, OUTSIDE, np.zeros(8))
    assert uncovered.value(source) == pytest.approx(Cash(COUNTS).value(source))
    np.testing.assert_allclose(uncovered.background(source), 0.0)


@pytest.mark.parametrize("statistic", [Cash(COUNTS, 0.3 * OUTSIDE), WStatistic(COUNTS, OUTSIDE, SCALE)])
def test_derivatives(statistic):
    source, step = np.array([0.2, 0.7, 1.1, 2.0, 5.0, 3.0, 0.4, 25.0]), 1e-5
    above = np.array([statistic.value(source + step * row) for row in np.eye(8)])
    below = np.array([statistic.value(source - step * row) for row in np.eye(8)])
    np.testing.assert_allclose(statistic.slope(source), (above - below) / (2 * step), atol=1e-6)
    change = (statistic.slope(source + step) - statistic.slope(source - step)) / (2 * step)
    np.testing.assert_allclose(statistic.curvature(source), change, atol=1e-5)


def test_counts_where_none_can_come_make_a_fit_poor_not_impossible():
    value = Cash(np.array([2, 0])).value(np.zeros(2))
    assert np.isfinite(value)
    assert value > 200
    assert np.isfinite(WStatistic(np.array([2]), np.array([0]), np.array([0.0])).value(np.array([-1e-9])))
