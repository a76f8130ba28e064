from __future__ import annotations

import numpy as np
import pytest

from chandraclip.evaluation import bootstrap
from chandraclip.evaluation.bootstrap import interval, resampled_medians, resampled_sums


def test_mean_interval_has_the_textbook_width():
    values = np.random.default_rng(0).normal(size=400)
    sums = resampled_sums(np.stack([values, np.ones(400)], axis=1), np.arange(400), 4000)
    low, high = interval(sums[:, 0] / sums[:, 1])
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.06)
    assert low < values.mean() < high


def test_rows_of_a_source_are_drawn_together():
    groups = np.array(["a", "a", "b"])
    sums = resampled_sums(np.array([[1.0, 0], [1, 0], [0, 1]]), groups, 200)
    assert set(map(tuple, sums.tolist())) == {(4.0, 0.0), (2.0, 1.0), (0.0, 2.0)}


def test_medians_equal_numpy_on_the_drawn_rows():
    generator = np.random.default_rng(1)
    values, groups = generator.normal(size=31), np.arange(31)
    medians = resampled_medians(values, groups, 300, seed=5)
    counts = np.random.default_rng(5).multinomial(31, np.full(31, 1 / 31), size=300)
    expected = [np.median(np.repeat(values, count)) for count in counts]  # 31 draws: no tie in the middle
    np.testing.assert_allclose(medians, expected)


def test_block_size_changes_nothing(monkeypatch):
    values, groups = np.random.default_rng(2).normal(size=50), np.arange(50) % 20
    sums, medians = resampled_sums(values[:, None], groups), resampled_medians(values, groups)
    monkeypatch.setattr(bootstrap, "_BLOCK_ELEMENTS", 70)
    np.testing.assert_allclose(resampled_sums(values[:, None], groups), sums)
    np.testing.assert_allclose(resampled_medians(values, groups), medians)


def test_no_rows():
    with pytest.raises(ValueError, match="0 rows"):
        resampled_sums(np.zeros((0, 1)), np.zeros(0))
