"""Photons of 0.5-7 keV in the good times of many rows: what is counted, tested and asked for, wherever it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from chandraclip.catalog.bands import BANDS
from chandraclip.catalog.measure import in_band_b
from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.data.list_checks import float_lists, inside_good_time
from chandraclip.data.schema import MODALITY_COLUMNS

RATE_BANDS = ("s", "m", "h")
NO_BAND = -1  # of a photon without an energy
_SHORTEST = 1e-3  # s, of a good time that is made up


@dataclass(frozen=True, eq=False)
class GoodLists:
    """Photons of 0.5-7 keV in the good times of N rows, in order of time.

    Attributes:
        time: s, as in the dataset.
        energy: keV, in the offsets of `time`; NaN where a list has no energies.
        gti_start, gti_stop: s; where a row has none, from 0 to its last photon.
        mask: (N,) bool, rows that have a photon list.
    """

    time: Ragged
    energy: np.ndarray
    gti_start: Ragged
    gti_stop: Ragged
    mask: np.ndarray

    @classmethod
    def of(cls, rows: pa.Table) -> GoodLists:
        """Of dataset columns event_time, and event_energy, gti_start and gti_stop where there are any."""
        time, energy, start, stop = (float_lists(rows, name) for name in MODALITY_COLUMNS["event"])
        number, row = len(rows), row_index(time)
        has_energy = np.diff(energy.offsets) > 0
        energies = np.full(len(time.values), np.nan)
        kept = in_band_b(time, energy)
        energies[has_energy[row]] = energy.values
        order = np.lexsort((energies, time.values, row))
        order = order[kept[order]]
        row, times, energies = row[order], time.values[order], energies[order]

        start, stop = _with_good_times(time, start, stop)
        inside = inside_good_time(row, times, start, stop)
        lengths = np.bincount(row[inside], minlength=number)
        found = Ragged(times[inside], np.concatenate([[0], np.cumsum(lengths)]))
        return cls(found, energies[inside], start, stop, np.asarray(time.valid) & (lengths > 0))

    @property
    def band(self) -> np.ndarray:
        """(photons,) int8: 0, 1, 2 for s, m and h, -1 where there is no energy."""
        edges = [BANDS[name][0] for name in RATE_BANDS]
        found = np.searchsorted(edges, self.energy, side="right") - 1
        return np.where(np.isnan(self.energy), NO_BAND, found).astype(np.int8)

    def select(self, kept: np.ndarray) -> GoodLists:
        """The lists with some of their photons, (photons,) bool; good times and rows stay."""
        lengths = np.bincount(row_index(self.time)[kept], minlength=len(self.time))
        time = Ragged(self.time.values[kept], np.concatenate([[0], np.cumsum(lengths)]))
        return GoodLists(time, self.energy[kept], self.gti_start, self.gti_stop, self.mask)

    def columns(self) -> pa.Table:
        """As columns of the dataset; a list without energies has null."""
        offsets, valid = self.time.offsets, self.mask
        row = row_index(self.time)
        has = ~np.isnan(self.energy)
        lacks = np.bincount(row, ~has, minlength=len(self.time)) > 0
        kept = np.bincount(row[has & ~lacks[row]], minlength=len(self.time))
        energy = Ragged(self.energy[has & ~lacks[row]], np.concatenate([[0], np.cumsum(kept)]), valid & ~lacks)
        doubles, floats = pa.list_(pa.float64()), pa.list_(pa.float32())
        return pa.table(
            {
                "event_time": Ragged(self.time.values, offsets, valid).to_arrow(doubles),
                "event_energy": energy.to_arrow(floats),
                "gti_start": self.gti_start.to_arrow(doubles),
                "gti_stop": self.gti_stop.to_arrow(doubles),
            }
        )


def _with_good_times(time: Ragged, start: Ragged, stop: Ragged) -> tuple[Ragged, Ragged]:
    """Good times of every row, in order; of a row that has none, whatever others have, from 0 to its last photon."""
    without = np.flatnonzero(np.diff(start.offsets) == 0)
    last = np.zeros(len(time))
    np.fmax.at(last, row_index(time), time.values)  # passes NaN over
    rows = np.concatenate([row_index(start), without])
    starts = np.concatenate([start.values, np.zeros(len(without))])
    stops = np.concatenate([stop.values, np.maximum(last[without], _SHORTEST)])
    order = np.lexsort((starts, rows))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(time)))])
    return Ragged(starts[order], offsets), Ragged(stops[order], offsets)
