"""Which channels of the spectra of a table may be used."""

from __future__ import annotations

import numpy as np

from chandraclip.catalog.ragged import Ragged
from chandraclip.ogip.quality import is_good


def good_channels(counts: Ragged, quality: Ragged | None, grouping: Ragged | None = None) -> np.ndarray | None:
    """The channels that fits and features use, by OGIP's QUALITY and GROUPING (`ogip.quality.is_good`).

    Args:
        counts: spectrum_counts.
        quality, grouping: spectrum_quality and spectrum_grouping; a row that has none is good throughout, or ungrouped.

    Returns:
        (total,) bool, one for each of ``counts.values``; None where no row says anything.

    Raises:
        ValueError: a row of counts has flags of another length.
    """
    if quality is None or not len(quality.values):
        return None
    lengths = np.diff(counts.offsets)
    rows = np.repeat(np.arange(lengths.size), lengths)
    flagged = _rows_with(quality, lengths, "spectrum_quality")
    grouped = np.zeros(lengths.size, dtype=bool)
    if grouping is not None and len(grouping.values):
        _rows_with(grouping, lengths, "spectrum_grouping")
        continues = np.flatnonzero(np.asarray(grouping.values) == -1)
        grouped[np.searchsorted(grouping.offsets, continues, side="right") - 1] = True
    good = np.ones(rows.size, dtype=bool)
    inside = flagged[rows]
    # A row of flags without counts is nobody's.
    flags = np.asarray(quality.values)[np.repeat(flagged, np.diff(quality.offsets))]
    good[inside] = is_good(flags, grouped[rows[inside]])
    return good


def _rows_with(flags: Ragged, lengths: np.ndarray, name: str) -> np.ndarray:
    """(N,) bool, the rows of counts that have flags."""
    given = np.diff(flags.offsets)
    has = (given > 0) & (lengths > 0)
    wrong = np.flatnonzero(has & (given != lengths))
    if wrong.size:
        raise ValueError(f"row {wrong[0]}: {lengths[wrong[0]]} channels, and {name} has {given[wrong[0]]}")
    return has
