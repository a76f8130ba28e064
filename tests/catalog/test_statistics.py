from __future__ import annotations

import numpy as np
import pytest

from chandraclip.catalog.statistics import cash


def test_cash():
    counts, expected = np.array([0, 3, 5, 0, 2]), np.array([1.5, 3.0, 2.0, 0.0, 0.0])
    value = cash(counts, expected)
    np.testing.assert_allclose(value[:4], [3.0, 0.0, 2 * (2 - 5 + 5 * np.log(2.5)), 0.0], atol=1e-12)
    assert value[4] == np.inf
    grid = np.linspace(0.5, 12, 200)
    assert (cash(np.full(200, 4), grid) >= 0).all()
    assert grid[cash(np.full(200, 4), grid).argmin()] == pytest.approx(4, abs=0.06)
