from __future__ import annotations

import numpy as np
import pytest

from chandraclip.catalog.quality import good_channels
from chandraclip.catalog.ragged import Ragged
from chandraclip.ogip.quality import is_good, is_grouped


def test_flags_of_many_rows_as_row_by_row():
    rng = np.random.default_rng(0)
    sizes = [5, 0, 3, 1, 4, 7]
    counts = Ragged.from_rows([np.zeros(size, int) if size else None for size in sizes])
    # The row without counts has flags, which are nobody's.
    quality = [None if row == 2 else rng.choice([-1, 0, 0, 1, 2, 5], size or 2) for row, size in enumerate(sizes)]
    grouping = [None if row == 3 else rng.choice([1, -1] if row % 2 else [1], size) for row, size in enumerate(sizes)]
    expected = []
    for size, flags, groups in zip(sizes, quality, grouping):
        if size:
            expected += [True] * size if flags is None else is_good(flags, is_grouped(groups)).tolist()
    found = good_channels(counts, Ragged.from_rows(quality), Ragged.from_rows(grouping))
    assert found.tolist() == expected
    assert not all(expected)


def test_rows_without_flags_say_nothing_and_flags_must_fit():
    counts = Ragged.from_rows([np.ones(3), np.ones(2)])
    assert good_channels(counts, None) is None
    assert good_channels(counts, Ragged.from_rows([None, None])) is None
    with pytest.raises(ValueError, match="row 1: 2 channels, and spectrum_quality has 3"):
        good_channels(counts, Ragged.from_rows([np.zeros(3), np.zeros(3)]))
    with pytest.raises(ValueError, match="row 0: 3 channels, and spectrum_grouping has 1"):
        good_channels(counts, Ragged.from_rows([np.zeros(3), np.zeros(2)]), Ragged.from_rows([np.ones(1), None]))
