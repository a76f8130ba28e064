"""What the Cash statistic of a true model is on average, against draws and the limits that are known."""

import numpy as np
import pytest

from chandraclip.catalog.statistics import cash, expected_cash


@pytest.mark.parametrize("expected", [0.01, 0.3, 1.0, 7.5, 200.0, 4000.0])
def test_moments_are_those_of_draws(expected):
    draws = cash(np.random.default_rng(0).poisson(expected, 400_000), expected)
    mean, variance = expected_cash(expected)
    assert mean == pytest.approx(draws.mean(), rel=0.02)
    assert variance == pytest.approx(draws.var(), rel=0.03)


def test_limits():
    mean, variance = expected_cash(np.array([0.0, 1e-9, 1e-6, 1e7]))
    assert (mean[0], variance[0]) == (0.0, 0.0)
    assert mean[1] == pytest.approx(-2e-9 * np.log(1e-9), rel=1e-6)
    assert mean[2] == pytest.approx(-2e-6 * np.log(1e-6), rel=1e-3)
    assert mean[3] == pytest.approx(1.0)
    assert variance[3] == pytest.approx(2.0)
    # Nothing jumps where one way of computing ends and the next begins.
    for border in (1e-6, 1e3):
        below, above = (expected_cash(border * factor) for factor in (0.9999, 1.0001))
        np.testing.assert_allclose(below, above, rtol=1e-3)
