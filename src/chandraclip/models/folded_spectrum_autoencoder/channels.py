"""Expected counts in a spectrum's own channels, where reconstructions of all models are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.models.columns import background_columns, list_column
from chandraclip.models.feature_extraction import RESPONSE_COLUMN
from chandraclip.models.folded_spectrum_autoencoder.detector_bins import DetectorBins


def expected_in_channels(
    columns: Mapping[str, Any],
    log_energy: np.ndarray,
    log_flux: np.ndarray,
    background: np.ndarray,
    area: np.ndarray,
    mask: np.ndarray,
    bins: DetectorBins,
) -> Ragged:
    """Source and background counts in every channel.

    Args:
        columns: B rows, with the `Response` of each in the column `response`.
        log_energy: (G,) natural log of keV, increasing.
        log_flux: (B, G) of photons/cm2/s/keV at those energies; a power law between them.
        background: (B, D) counts in detector bins, which are shared out evenly to the channels of each.
        area: (B, E) cm2 s.
        mask: (B,) rows to fill; the others are empty.
        bins: the D detector bins.

    Returns:
        Float64, of the lengths of `spectrum_counts`; outside the good bins the background is the scaled counts.
    """
    counts = list_column(columns, "spectrum_counts", np.float64)
    assert counts is not None
    lengths = np.where(mask, np.diff(counts.offsets), 0)
    result = Ragged(np.zeros(lengths.sum()), np.concatenate([[0], np.cumsum(lengths)]), np.asarray(mask))
    _add_scaled_background(columns, result)
    identity = np.array([id(response) if used else 0 for response, used in zip(columns[RESPONSE_COLUMN], mask)])
    for name in np.unique(identity[identity > 0]):
        rows = np.flatnonzero(identity == name)
        response = columns[RESPONSE_COLUMN][rows[0]]
        low, high = (np.asarray(edge, np.float64) for edge in (response.energy_lo, response.energy_hi))
        position = np.interp(np.log(0.5 * (low + high)), log_energy, np.arange(log_energy.size))
        left = np.minimum(position.astype(int), log_energy.size - 2)
        right_share = position - left
        density = np.exp(log_flux[rows][:, left] * (1 - right_share) + log_flux[rows][:, left + 1] * right_share)
        source = (density * (high - low) * area[rows, : low.size]) @ response.matrix
        place = bins.of_channels(response.channel_energy_lo, response.channel_energy_hi)
        inside = place >= 0
        channels = np.bincount(place[inside], minlength=bins.num_bins)
        cells = result.offsets[rows][:, None] + np.arange(response.num_channels)
        shared = background[rows][:, place[inside]] / channels[place[inside]]
        # A bin that is not good has none here, and its good channels keep the scaled counts.
        result.values[cells[:, inside]] = np.where(shared > 0, shared, result.values[cells[:, inside]])
        result.values[cells] += source
    return result


def _add_scaled_background(columns: Mapping[str, Any], result: Ragged) -> None:
    background, scale = background_columns(columns)
    if background is None or scale is None:
        return
    used = np.diff(result.offsets) > 0
    used &= (np.diff(background.offsets) == np.diff(result.offsets)) & np.isfinite(scale)
    scaled = background.values * np.nan_to_num(scale)[row_index(background)]
    result.values[used[row_index(result)]] = scaled[used[row_index(background)]]
