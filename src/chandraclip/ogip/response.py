"""An instrument's response: effective area (ARF) times redistribution (RMF)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sparse

from chandraclip.ogip.facts import Described, range_of


@dataclass(frozen=True, eq=False, repr=False)
class Response(Described):
    """ARF and RMF on one photon-energy grid.

    Attributes:
        energy_lo, energy_hi: (E,) keV, edges of the photon-energy bins, increasing.
        arf: (E,) cm2, effective area.
        matrix: (E, C) CSR, dimensionless; row e is the probability that a photon of bin e lands in each channel.
        channel_energy_lo, channel_energy_hi: (C,) keV, nominal channel edges (EBOUNDS), increasing.
        first_channel: the number of the first channel (TLMIN of F_CHAN: 0 or 1).
    """

    energy_lo: np.ndarray
    energy_hi: np.ndarray
    arf: np.ndarray
    matrix: sparse.csr_array
    channel_energy_lo: np.ndarray
    channel_energy_hi: np.ndarray
    first_channel: int = 1

    def __post_init__(self) -> None:
        num_energies, num_channels = self.matrix.shape
        shapes = {
            "energy_lo": (self.energy_lo, num_energies),
            "energy_hi": (self.energy_hi, num_energies),
            "arf": (self.arf, num_energies),
            "channel_energy_lo": (self.channel_energy_lo, num_channels),
            "channel_energy_hi": (self.channel_energy_hi, num_channels),
        }
        for name, (array, size) in shapes.items():
            if np.shape(array) != (size,):
                raise ValueError(f"{name} has shape {np.shape(array)}, the matrix {self.matrix.shape} needs ({size},)")

    @property
    def num_channels(self) -> int:
        return self.matrix.shape[1]

    @property
    def channel_energy_edges(self) -> np.ndarray:
        """(C + 1,) keV: channel edges as one increasing array."""
        return np.append(self.channel_energy_lo, self.channel_energy_hi[-1])

    @property
    def title(self) -> str:
        return "Response"

    @property
    def facts(self) -> dict[str, str]:
        best = int(np.argmax(self.arf))
        middle = (self.energy_lo[best] + self.energy_hi[best]) / 2
        channels = range_of(self.channel_energy_lo[0], self.channel_energy_hi[-1], "keV")
        return {
            "area": f"up to {self.arf[best]:.4g} cm2 at {middle:.3g} keV",
            "energies": f"{self.arf.size} bins, {range_of(self.energy_lo[0], self.energy_hi[-1], 'keV')}",
            "channels": f"{self.num_channels}, {channels}",
        }

    @property
    def summary(self) -> str:
        """The facts in one line."""
        return "; ".join(f"{name} {value}" for name, value in self.facts.items())

    @cached_property
    def response_id(self) -> str:
        """Content hash of the RMF (not the ARF): detections that share a matrix share the id."""
        digest = hashlib.sha256()
        for array in (self.energy_lo, self.energy_hi, self.channel_energy_lo, self.channel_energy_hi):
            digest.update(np.ascontiguousarray(array, np.float32).data)
        matrix = self.matrix.sorted_indices() if not self.matrix.has_sorted_indices else self.matrix
        digest.update(np.ascontiguousarray(matrix.indptr, np.int64).data)
        digest.update(np.ascontiguousarray(matrix.indices, np.int64).data)
        digest.update(np.ascontiguousarray(matrix.data, np.float32).data)
        digest.update(str(self.first_channel).encode())
        return digest.hexdigest()[:16]

    def fold(self, photon_flux: np.ndarray) -> np.ndarray:
        """Expected count rate a channel.

        Args:
            photon_flux: (..., E) photons/cm2/s, integrated over each photon-energy bin (not per keV).

        Returns:
            (..., C) counts/s: ``sum_e photon_flux[e] * arf[e] * matrix[e, c]``. Times the exposure: expected counts.

        Raises:
            ValueError: the last axis is not the E bins of this response.
        """
        photon_flux = np.asarray(photon_flux, dtype=np.float64)
        if photon_flux.shape[-1:] != self.arf.shape:
            raise ValueError(f"photon_flux has shape {photon_flux.shape}; the last axis must be {self.arf.size} bins")
        detected = photon_flux * self.arf
        return (detected.reshape(-1, self.arf.size) @ self.matrix).reshape(*detected.shape[:-1], self.num_channels)
