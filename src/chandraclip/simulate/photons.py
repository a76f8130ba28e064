"""Photons drawn one by one: incident energies from spectra, channels from a redistribution matrix."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from chandraclip.data.response import Response


def draw_energies(
    rng: np.random.Generator, detected: np.ndarray, row: np.ndarray, energy_lo: np.ndarray, energy_hi: np.ndarray
) -> np.ndarray:
    """Incident energies, by the inverse of each spectrum's cumulative distribution; uniform within a bin.

    Args:
        detected: (N, E) photon spectra times the effective area, in any scale.
        row: (T,) int, the spectrum of each photon, non-decreasing for speed.
        energy_lo, energy_hi: (E,) keV.

    Returns:
        (T,) keV.
    """
    cumulative = np.cumsum(detected, axis=1)
    cumulative /= np.maximum(cumulative[:, -1:], 1e-300)
    cumulative += 2.0 * np.arange(len(detected))[:, None]  # one increasing axis for all spectra
    found = np.searchsorted(cumulative.ravel(), 2.0 * row + rng.random(row.size), side="right")
    index = np.clip(found - row * energy_lo.size, 0, energy_lo.size - 1)
    return energy_lo[index] + (energy_hi - energy_lo)[index] * rng.random(row.size)


def draw_channels(rng: np.random.Generator, response: Response, energy: np.ndarray) -> np.ndarray:
    """Channel of each photon, by the rows of the redistribution matrix.

    Args:
        energy: (T,) keV.

    Returns:
        (T,) int, channel from 0; -1 where the energy is off the response's grid, or the matrix, whose rows may sum to
        less than 1, loses the photon. Rows that sum to more, as rounding leaves some, are scaled to 1.
    """
    axis, first, ends, indices = _cumulative_rows(response.response_id, response)
    edges = np.append(response.energy_lo, response.energy_hi[-1])
    bin_number = np.searchsorted(edges, energy, side="right") - 1
    inside = (bin_number >= 0) & (bin_number < response.energy_lo.size)
    bin_number = np.clip(bin_number, 0, response.energy_lo.size - 1)
    found = np.searchsorted(axis, 2.0 * bin_number + rng.random(energy.size), side="right")
    inside &= (found >= first[bin_number]) & (found < ends[bin_number])
    return np.where(inside, indices[np.minimum(found, indices.size - 1)], -1)


@lru_cache(maxsize=4)
def _cumulative_rows(response_id: str, response: Response) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The matrix rows' cumulative sums on one increasing axis, the rows' ends in it, and the channels."""
    matrix = response.matrix
    total = np.concatenate([[0.0], np.cumsum(matrix.data, dtype=np.float64)])
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    within = total[1:] - total[matrix.indptr[row]]
    within /= np.maximum(total[matrix.indptr[row + 1]] - total[matrix.indptr[row]], 1.0)
    return 2.0 * row + within, np.asarray(matrix.indptr[:-1]), np.asarray(matrix.indptr[1:]), np.asarray(matrix.indices)
