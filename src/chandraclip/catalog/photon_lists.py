"""Photon lists of many rows in an energy band, in order of time, as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chandraclip.catalog.ragged import Ragged, row_index


@dataclass(frozen=True)
class PhotonLists:
    """Photons of B lists end to end, in order of row, time and, where times are equal, energy.

    Attributes:
        rows: (T,) int64, the list of each.
        time: (T,) float64, s.
        energy: (T,) float64, keV.
        counts: (B,) int64, photons a list.
    """

    rows: np.ndarray
    time: np.ndarray
    energy: np.ndarray
    counts: np.ndarray

    @property
    def offsets(self) -> np.ndarray:
        """(B + 1,) int64, list i is offsets[i] to offsets[i + 1]."""
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)

    def take(self, keep: np.ndarray) -> PhotonLists:
        """The photons of a (T,) mask, of the same B lists."""
        rows = self.rows[keep]
        counts = np.bincount(rows, minlength=len(self.counts))
        return PhotonLists(rows, self.time[keep], self.energy[keep], counts)


def photons_in_band(
    time: Ragged, energy: Ragged, energy_min: float, energy_max: float
) -> tuple[PhotonLists, np.ndarray]:
    """The photons of a band, in order, and which lists have what it takes.

    Args:
        time, energy: s and keV, a list a row.
        energy_min, energy_max: keV, of the photons that are kept, both included. A photon whose time or energy is not
            finite is left out.

    Returns:
        The photons, and (B,) bool: False where one of the lists is null, or no energy of the row's photons is known. An
        empty list is known to be empty: True.

    Raises:
        ValueError: lists of different lengths in a row that has both.
    """
    if len(time) != len(energy):
        raise ValueError(f"{len(time)} lists of times and {len(energy)} of energies")
    lengths, of_energy = np.diff(time.offsets), np.diff(energy.offsets)
    usable = np.ones(len(time), dtype=bool)
    for column in (time, energy):
        usable &= True if column.valid is None else np.asarray(column.valid, dtype=bool)
    wrong = np.flatnonzero(usable & (lengths != of_energy))
    if wrong.size:
        row = wrong[0]
        raise ValueError(f"row {row}: {lengths[row]} values of event_time and {of_energy[row]} of event_energy")
    rows = row_index(time)
    times = np.asarray(time.values, dtype=np.float64)
    energies = np.asarray(energy.values, dtype=np.float64)
    if not usable.all():  # a row with one list of two has no photon
        of_photon = usable[rows]
        rows, times = rows[of_photon], times[of_photon]
        energies = energies[usable[row_index(energy)]]
    known = np.isfinite(energies)
    if not known.all():
        num_known = np.bincount(rows[known], minlength=len(time))
        usable &= (num_known > 0) | (lengths == 0)
    keep = (energies >= energy_min) & (energies <= energy_max) & np.isfinite(times)
    if not keep.all():
        rows, times, energies = rows[keep], times[keep], energies[keep]
    if np.any((np.diff(times) <= 0) & (np.diff(rows) == 0)):  # ties too: their order must not depend on the file's
        order = np.lexsort((energies, times, rows))
        times, energies = times[order], energies[order]
    return PhotonLists(rows, times, energies, np.bincount(rows, minlength=len(time))), usable
