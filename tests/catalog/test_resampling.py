"""Spectra resampled: groups, the edges of channels, what is left out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chandraclip.catalog.ragged import Ragged
from chandraclip.catalog.resampling import group_starts, min_max, net_channels, resample


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=12), min_size=1, max_size=5), st.integers(0, 8))
def test_groups_are_sequential(rows: list[list[int]], group_counts: int) -> None:
    starts, position = [], 0
    for row in rows:
        running, begin = 0, True
        for count in row:
            if begin:
                starts.append(position)
                running = 0
            running += count
            begin = running >= group_counts
            position += 1
    flat = np.concatenate(rows).astype(float)
    index = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    np.testing.assert_array_equal(group_starts(flat, index, group_counts), starts)


def test_edges_count_whether_or_not_rows_say_that_they_are_valid() -> None:
    """A `Ragged` without a mask has every row."""
    counts = Ragged(np.full(8, 10.0), np.array([0, 4, 8]))
    edges = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    every_row = Ragged(np.tile(edges, 2), np.array([0, 5, 10]))
    one_row = Ragged.from_rows([edges, None])
    energies = np.geomspace(1.5, 4.5, 7)
    both = net_channels(counts, every_row)
    assert both.low.tolist() == [1, 2, 3, 4, 1, 2, 3, 4]
    np.testing.assert_allclose(resample(both, np.array([1.0, 2.0]), energies), [[10.0] * 7, [5.0] * 7])
    # The row without edges is on the ACIS grid, of which four channels lie below 0.5 keV.
    assert net_channels(counts, one_row).mask.tolist() == [True, False]
    assert resample(net_channels(counts), np.ones(2), energies).shape == (0, 7)


def test_background_and_lengths() -> None:
    counts, edges = Ragged.from_rows([np.full(4, 10.0)]), Ragged.from_rows([np.arange(1.0, 6.0)])
    background = Ragged.from_rows([np.full(4, 3.0)])
    found = net_channels(counts, edges, background, np.array([0.5]))
    assert found.background.tolist() == [1.5] * 4
    assert net_channels(counts, edges, background, np.array([np.nan])).background.tolist() == [0.0] * 4
    with pytest.raises(ValueError, match="row 0: 4 source and 3 background"):
        net_channels(counts, edges, Ragged.from_rows([np.full(3, 3.0)]), np.array([0.5]))
    with pytest.raises(ValueError, match="4 channels need 5 energy edges"):
        net_channels(counts, Ragged.from_rows([np.arange(1.0, 4.0)]))


def test_min_max_of_a_flat_row_is_zero() -> None:
    np.testing.assert_array_equal(min_max(np.array([[2.0, 2.0], [1.0, 5.0]])), [[0.0, 0.0], [0.0, 1.0]])
