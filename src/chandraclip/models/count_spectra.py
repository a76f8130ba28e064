"""What is expected in the channels of count spectra, many rows at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.catalog.resampling import group_starts, scaled_background
from chandraclip.models.columns import list_column, scalar_column

# Counts of the background region a step of its smoothed spectrum: a scatter of 22 % a step, as wide as it takes.
SMOOTHED_COUNTS = 20


def background_in_source(batch: Mapping[str, Any] | pa.Table, counts: Ragged) -> np.ndarray:
    """(total,) background counts expected in the source region; 0 where there is no background.

    Args:
        batch: dataset columns, with spectrum_background and background_scale if they are known.
        counts: spectrum_counts.

    Raises:
        ValueError: a row whose background has another length than its counts.
    """
    background = list_column(batch, "spectrum_background", np.float64)
    return scaled_background(counts, background, scalar_column(batch, "background_scale"))


def smoothed_background(
    batch: Mapping[str, Any] | pa.Table, counts: Ragged, width: np.ndarray, good: np.ndarray | None = None
) -> np.ndarray:
    """(total,) background counts expected in the source region, without the noise of single channels.

    The counts of the background region are spread evenly in energy over groups of neighbouring channels, a group of at
    least 20 of them each, so that an expectation of total counts is nowhere zero where there is a background. A row's
    sum over good channels stays.

    Args:
        batch, counts: as `background_in_source`.
        width: (total,) keV of each channel.
        good: (total,) bool, channels that count; the others are 0. None for all.

    Raises:
        ValueError: as `background_in_source`.
    """
    rows = row_index(counts)
    scale = scalar_column(batch, "background_scale")
    scaled = background_in_source(batch, counts)
    if scale is None or not scaled.any():
        return scaled
    keep = np.arange(len(scaled)) if good is None else np.flatnonzero(good)
    smooth = np.zeros(len(scaled))
    raw = np.divide(scaled, scale[rows], out=np.zeros(len(scaled)), where=scaled > 0)
    starts = group_starts(raw[keep], rows[keep], SMOOTHED_COUNTS)
    lengths = np.diff(np.append(starts, len(keep)))
    density = np.add.reduceat(scaled[keep], starts) / np.add.reduceat(width[keep], starts)
    smooth[keep] = np.repeat(density, lengths) * width[keep]
    return smooth
