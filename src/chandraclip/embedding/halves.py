"""Photon lists dealt to two halves, and lists cut short: what of its photons a model is shown.

Each photon of a Poisson process goes to one of two halves by the toss of a coin: the halves are independent, of equal
expected rate, and a model that copies the noise of the first gains nothing in the second. The coin is a hash of the
detection's key and the photon's place in time, so that all models are shown the same half, in whatever batches.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.data.keys import KEY
from chandraclip.data.list_checks import float_lists
from chandraclip.data.schema import MODALITY_COLUMNS
from chandraclip.models.draws import UNSIGNED_GOLDEN, mix_array

SECONDS_PER_HOUR = 3600.0


def seen_half(keys: pa.Table, time: Ragged, seed: int = 0) -> np.ndarray:
    """(photons,) bool: the half of each list that a model is shown.

    Args:
        keys: with the key columns of N rows.
        time: their photons, in order of time.
        seed: of the coin.
    """
    frame = pd.DataFrame({name: keys[name].to_numpy(zero_copy_only=False) for name in KEY})
    frame = frame.astype({name: np.int64 for name in KEY if name != "name"})
    code = pd.util.hash_pandas_object(frame, index=False).to_numpy(np.uint64)
    place = np.arange(len(time.values)) - np.repeat(time.offsets[:-1], np.diff(time.offsets)) + 1
    with np.errstate(over="ignore"):  # splitmix64 (Steele et al. 2014), which counts modulo 2^64
        state = code[row_index(time)] ^ (UNSIGNED_GOLDEN * np.uint64(seed + 1))
        state = state + UNSIGNED_GOLDEN * place.astype(np.uint64)
    return mix_array(state) >> np.uint64(63) == 1


def cut_short(rows: pa.Table, max_photons: int | None = None, max_hours: float | None = None) -> pa.Table:
    """Rows whose photon lists end early: what a model would have read of them.

    The good time ends with the list, so that a list cut short is one of a shorter observation and no fading source.

    Args:
        rows: with the columns of photon lists.
        max_photons: the first so many of each list are kept, of all energies; the good time ends at the last of them.
        max_hours: of the time from the start of the first good time.
    """
    if max_photons is None and max_hours is None:
        return rows
    time, energy, start, stop = (float_lists(rows, name) for name in MODALITY_COLUMNS["event"])
    row, number = row_index(time), len(rows)
    lengths = np.diff(time.offsets)
    end = np.full(number, np.inf)
    first = np.zeros(number)
    given = np.diff(start.offsets) > 0
    np.minimum.at(lowest := np.full(number, np.inf), row_index(start), start.values)
    first[given] = lowest[given]
    if max_hours is not None:
        end = first + max_hours * SECONDS_PER_HOUR
    order = np.lexsort((time.values, row))
    place = np.arange(len(order)) - np.repeat(time.offsets[:-1], lengths)
    kept = np.ones(len(order), dtype=bool)
    if max_photons is not None:
        kept[order] = place < max_photons
        long = lengths > max_photons
        last = time.values[order][time.offsets[:-1][long] + max_photons - 1]
        end[long] = np.minimum(end[long], last)
    kept &= time.values <= end[row]
    changed = {"event_time": time, "gti_start": start, "gti_stop": stop}
    photons = {"event_time": _kept(time, kept)}
    has_energy = np.diff(energy.offsets) > 0
    photons["event_energy"] = _kept(energy, kept[has_energy[row]])
    interval = row_index(start)
    begun = start.values < end[interval]
    changed["gti_start"] = _kept(start, begun)
    changed["gti_stop"] = _kept(Ragged(np.minimum(stop.values, end[interval]), stop.offsets, stop.valid), begun)
    for name, column in {**changed, **photons}.items():
        if name in rows.column_names and not pa.types.is_null(rows[name].type):
            kind = rows[name].type
            rows = rows.set_column(rows.column_names.index(name), name, column.to_arrow(pa.list_(kind.value_type)))
    return rows


def _kept(lists: Ragged, kept: np.ndarray) -> Ragged:
    lengths = np.bincount(row_index(lists)[kept], minlength=len(lists))
    return Ragged(lists.values[kept], np.concatenate([[0], np.cumsum(lengths)]), lists.valid)
