"""Bins of detected energy that all instruments share, and a response's channels in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sparse

from chandraclip.ogip.response import Response

_LOWEST_ENERGY = 1e-4  # keV; a grid may begin with a bin of no width at 0
REFERENCE_INDEX = 1.7  # of the power law that says how well an instrument would see each bin


@dataclass(frozen=True)
class DetectorBins:
    """Bins evenly spaced in the root of the energy, as the width of a CCD's line grows.

    Attributes:
        energy_min, energy_max: keV, of detected energy (EBOUNDS).
        num_bins: D.
    """

    energy_min: float
    energy_max: float
    num_bins: int

    @property
    def edges(self) -> np.ndarray:
        """(D + 1,) keV."""
        return np.linspace(np.sqrt(self.energy_min), np.sqrt(self.energy_max), self.num_bins + 1) ** 2

    def of_channels(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """The bin that the middle of each channel lies in; -1 outside the band."""
        middle = 0.5 * (np.asarray(low, np.float64) + high)
        place = np.searchsorted(self.edges, middle, side="right") - 1
        place[middle == self.energy_max] = self.num_bins - 1
        return np.where((place >= 0) & (place < self.num_bins), place, -1)


@dataclass(frozen=True, eq=False)
class BinnedResponse:
    """A response with its channels added up to detector bins; an exact sum, since counts of channels add.

    Attributes:
        energy: (E,) keV, middle of the photon-energy bins. width: (E,) keV.
        bin_of_channel: (C,) detector bin, -1 outside the band.
        matrix: (E, D) CSR float32, probability that a photon lands in each bin.
    """

    energy: np.ndarray
    width: np.ndarray
    bin_of_channel: np.ndarray
    matrix: sparse.csr_array

    @classmethod
    def of(cls, response: Response, bins: DetectorBins) -> BinnedResponse:
        low, high = (np.asarray(edge, np.float64) for edge in (response.energy_lo, response.energy_hi))
        place = bins.of_channels(response.channel_energy_lo, response.channel_energy_hi)
        inside = np.flatnonzero(place >= 0)
        pick = sparse.csr_array(
            (np.ones(inside.size), (inside, place[inside])), shape=(response.num_channels, bins.num_bins)
        )
        matrix = sparse.csr_array(response.matrix.astype(np.float64) @ pick).astype(np.float32)
        matrix.sort_indices()
        return cls(np.maximum(0.5 * (low + high), _LOWEST_ENERGY), high - low, place, matrix)

    @cached_property
    def transposed(self) -> sparse.csr_array:
        """(D, E) CSR."""
        result = sparse.csr_array(self.matrix.T.tocsr())
        result.sort_indices()
        return result

    @cached_property
    def reference(self) -> np.ndarray:
        """(E,) photons/cm2/s of each bin, for a power law of 1 photon/cm2/s/keV at 1 keV."""
        return self.energy**-REFERENCE_INDEX * self.width

    def tensors(self) -> dict[str, Any]:
        """Both orders of the matrix as arrays; `folding.Responses` puts those of several responses together."""
        return {
            "indptr": self.matrix.indptr,
            "indices": self.matrix.indices,
            "data": self.matrix.data,
            "transposed_indptr": self.transposed.indptr,
            "transposed_indices": self.transposed.indices,
            "transposed_data": self.transposed.data,
        }
