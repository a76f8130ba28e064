"""Photons drawn one by one: incident energies from spectra, channels from a redistribution matrix."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from chandraclip.ogip.response import Response

GUIDE_CELLS = 512  # of each matrix row's cumulative sum: most hold no step, and need no search


def draw_energies(
    rng: np.random.Generator, detected: np.ndarray, number: np.ndarray, energy_lo: np.ndarray, energy_hi: np.ndarray
) -> np.ndarray:
    """Incident energies: how many photons fall into each bin, then where in it, uniformly.

    They come spectrum by spectrum, bin by bin: pair them with times that are in no order.

    Args:
        detected: (N, E) photon spectra times the effective area, in any scale.
        number: (N,) int, photons of each spectrum; T in all.
        energy_lo, energy_hi: (E,) keV.

    Returns:
        (T,) keV.
    """
    share = np.maximum(detected, 0.0).astype(np.float64)
    total = share.sum(axis=1, keepdims=True)
    share /= np.maximum(total, 1e-300)
    share[total[:, 0] <= 0, 0] = 1.0  # of no photons
    bins = rng.multinomial(number, share)
    index = np.repeat(np.tile(np.arange(energy_lo.size), len(detected)), bins.ravel())
    return energy_lo[index] + (energy_hi - energy_lo)[index] * rng.random(index.size)


def draw_channels(rng: np.random.Generator, response: Response, energy: np.ndarray) -> np.ndarray:
    """Channel of each photon, by the rows of the redistribution matrix.

    Args:
        energy: (T,) keV.

    Returns:
        (T,) int, channel from 0; -1 where the energy is off the response's grid, or the matrix, whose rows may sum to
        less than 1, loses the photon. Rows that sum to more, as rounding leaves some, are scaled to 1.
    """
    axis, first, ends, indices, guide = _cumulative_rows(response.response_id, response)
    edges = np.append(response.energy_lo, response.energy_hi[-1])
    bin_number = np.searchsorted(edges, energy, side="right") - 1
    inside = (bin_number >= 0) & (bin_number < response.energy_lo.size)
    bin_number = np.clip(bin_number, 0, response.energy_lo.size - 1)
    share = rng.random(energy.size)
    cell = bin_number * (GUIDE_CELLS + 1) + (share * GUIDE_CELLS).astype(np.int64)
    found = guide[cell]
    steps = np.flatnonzero(guide[cell + 1] != found)
    found[steps] = np.searchsorted(axis, 2.0 * bin_number[steps] + share[steps], side="right")
    inside &= (found >= first[bin_number]) & (found < ends[bin_number])
    return np.where(inside, indices[np.minimum(found, indices.size - 1)], -1)


@lru_cache(maxsize=4)
def _cumulative_rows(response_id: str, response: Response) -> tuple[np.ndarray, ...]:
    """The matrix rows' cumulative sums on one increasing axis, the rows' first and last place in it, the channels.

    Last, where on that axis each of `GUIDE_CELLS` equal parts of each row begins and ends.
    """
    matrix = response.matrix
    # No photon is drawn into the negative elements that some real matrices have.
    total = np.concatenate([[0.0], np.cumsum(np.maximum(matrix.data, 0.0), dtype=np.float64)])
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    within = total[1:] - total[matrix.indptr[row]]
    within /= np.maximum(total[matrix.indptr[row + 1]] - total[matrix.indptr[row]], 1.0)
    axis = 2.0 * row + within
    parts = 2.0 * np.arange(matrix.shape[0])[:, None] + np.arange(GUIDE_CELLS + 1) / GUIDE_CELLS
    guide = np.searchsorted(axis, parts.ravel(), side="right")
    return axis, np.asarray(matrix.indptr[:-1]), np.asarray(matrix.indptr[1:]), np.asarray(matrix.indices), guide
