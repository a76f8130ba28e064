"""Incident spectra through the ARF and RMF of each row of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chandraclip.catalog.quality import good_channels
from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.catalog.resampling import channel_edges, scaled_background, smoothed_background
from chandraclip.models.columns import background_columns, list_column
from chandraclip.models.feature_extraction import RESPONSE_COLUMN
from chandraclip.ogip.response import Response

# keV: in it an expected spectrum has the net counts of the row.
RESCALED_BAND = 0.5, 7.0


def fold_rows(
    columns: Mapping[str, Any], counts: Ragged, spectrum: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Counts/s in every channel of every row, by the row's own ARF and RMF.

    Args:
        columns: of `ResponseFeatureExtractor.resolve`; read are arf, cm2, and response.
        counts: spectrum_counts.
        spectrum: called once an RMF with the numbers of its rows (n,) and its energy edges (E + 1,) keV; returns
            photons/cm2/s in each energy bin, (n, E) or (E,).

    Returns:
        (total,) counts/s end to end, NaN in rows without ARF or RMF.

    Raises:
        ValueError: an ARF or a spectrum of another length than the RMF.
    """
    result = np.full(len(counts.values), np.nan)
    arf = list_column(columns, "arf", np.float64)
    if arf is None:
        return result
    lengths, num_energies = np.diff(counts.offsets), np.diff(arf.offsets)
    rows_of: dict[int, list[int]] = {}
    responses: dict[int, Response] = {}
    for row, response in enumerate(columns[RESPONSE_COLUMN]):
        if response is not None and lengths[row] and num_energies[row]:
            rows_of.setdefault(id(response), []).append(row)
            responses[id(response)] = response
    for place, response in responses.items():
        rows = np.array(rows_of[place])
        wanted = (("arf", num_energies, response.energy_lo.size), ("spectrum_counts", lengths, response.num_channels))
        for name, found, expected in wanted:
            wrong = rows[found[rows] != expected]
            if wrong.size:
                raise ValueError(f"row {wrong[0]}: {name} has {found[wrong[0]]} entries, its RMF {expected}")
        edges = np.append(response.energy_lo, response.energy_hi[-1]).astype(np.float64)
        area = arf.values[arf.offsets[rows][:, None] + np.arange(response.energy_lo.size)]
        folded = (area * spectrum(rows, edges)) @ response.matrix
        result[counts.offsets[rows][:, None] + np.arange(response.num_channels)] = folded
    return result


def rebin(photons: np.ndarray, edges: np.ndarray, new_edges: np.ndarray) -> np.ndarray:
    """Photons in other bins, spread evenly in energy within each; none beyond the outermost.

    Args:
        photons: (..., N) in each bin.
        edges: (N + 1,) increasing.
        new_edges: (M + 1,) increasing.

    Returns:
        (..., M).
    """
    overlap = np.minimum(edges[1:, None], new_edges[None, 1:]) - np.maximum(edges[:-1, None], new_edges[None, :-1])
    return photons @ (np.maximum(overlap, 0.0) / np.diff(edges)[:, None])


def expected_counts(columns: Mapping[str, Any], photons: np.ndarray, edges: np.ndarray) -> Ragged:
    """Total counts that each row's detector is expected to have of an incident spectrum of a given shape.

    The shape is folded through the row's ARF and RMF, and multiplied so that its counts in the good channels of
    0.5-7 keV are the row's own net counts there (none where those are negative); the smoothed background is added
    (`catalog.resampling.smoothed_background`).

    Args:
        columns: of `ResponseFeatureExtractor.resolve`.
        photons: (B, N) in each energy bin, in any unit.
        edges: (N + 1,) keV.

    Returns:
        float64, as long as spectrum_counts; empty in rows without counts, ARF or RMF.
    """
    counts = list_column(columns, "spectrum_counts", np.float64)
    if counts is None:
        raise KeyError("expected counts need the column spectrum_counts")
    rows = row_index(counts)
    shape = fold_rows(columns, counts, lambda own, energies: rebin(photons[own], edges, energies))
    low, high = channel_edges(counts, list_column(columns, "channel_energy_edges", np.float64))
    quality, grouping = (list_column(columns, f"spectrum_{name}", np.int64) for name in ("quality", "grouping"))
    good = good_channels(counts, quality, grouping)
    background = background_columns(columns)
    middle = 0.5 * (low + high)
    inside = (middle >= RESCALED_BAND[0]) & (middle <= RESCALED_BAND[1]) & (True if good is None else good)
    net, folded = (
        np.bincount(rows[inside], values[inside], minlength=len(counts))
        for values in (counts.values - scaled_background(counts, *background), shape)
    )
    factor = np.divide(np.maximum(net, 0.0), folded, out=np.zeros(len(counts)), where=folded > 0)
    total = shape * factor[rows] + smoothed_background(counts, *background, high - low, good)
    known = np.isfinite(shape)
    lengths = np.bincount(rows[known], minlength=len(counts))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Ragged(np.maximum(total[known], 0.0), offsets, lengths > 0)
