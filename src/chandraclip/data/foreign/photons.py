"""Photon lists of somebody else's table: when they were good, whether they are whole, and the spectrum they count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH, ACIS_NUM_CHANNELS, BANDS
from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.data.list_checks import ListTable, Reasons, check_rows

LEAST_SHARE = 0.5  # of the counts that the catalogue has, in a list that is whole
LISTS = ("event_time", "event_energy", "gti_start", "gti_stop")


def read_photons(
    columns: dict[str, Any], names: list[str], inferred: bool, thinned: np.ndarray, reasons: Reasons
) -> tuple[dict[str, Any], np.ndarray]:
    """The photon columns of the dataset, times since the start of the good time.

    Args:
        columns: event_time (s, any zero), and event_energy (keV), gti_start, gti_stop (s), tstart (s), livetime (s),
            src_cnts_aper_b where there are any.
        names: of N rows.
        inferred: rows without good times are good from the first photon to the last; else it is not known when.
        thinned: (N,) bool, lists that are not whole, as their publisher says. When they were good is not known.
        reasons: of N rows; gets what is wrong with them.

    Returns:
        event_time, event_energy, gti_start, gti_stop, tstart, events_note; and (N,) bool, rows whose good time is
        known.
    """
    time: Ragged = columns["event_time"]
    num_rows = len(names)
    has = np.diff(time.offsets) > 0
    has_good_time = np.zeros(num_rows, dtype=bool)
    if "gti_start" in columns and "gti_stop" in columns:
        has_good_time = np.diff(columns["gti_start"].offsets) > 0
    span = _spans(time)
    assumed = {
        f"gti_{side}": _where(has_good_time, columns.get(f"gti_{side}"), values)
        for side, values in zip(("start", "stop"), span)
    }
    lists = _checked(columns, assumed, names, has, has_good_time, reasons)
    whole = ~thinned & ~_falls_short(lists, columns)
    known = has & whole & (has_good_time | (inferred & (span[1] > span[0])))
    origin = np.zeros(num_rows)
    full = np.diff(lists.gti_start.offsets) > 0
    origin[full] = lists.gti_start.values[lists.gti_start.offsets[:-1][full]]
    zero = columns.get("tstart", np.full(num_rows, np.nan))
    result: dict[str, Any] = {
        name: _as_of(getattr(lists, name), origin, has if name == "event_time" else known)
        for name in ("event_time", "gti_start", "gti_stop")
    }
    result["event_energy"] = lists.event_energy
    start = np.where(np.isnan(zero), np.where(origin == 0, np.nan, origin), zero + origin)
    result["tstart"] = np.where(has, start, np.nan)
    result["events_note"] = _notes(lists, columns, has, known, has_good_time, thinned, whole)
    return result, known


def count_spectra(time: Ragged, energy: Ragged) -> Ragged:
    """Photons in ACIS's channels, PI = floor(energy / 14.6 eV) + 1, the last taking all above; null without energies.

    Args:
        time, energy: N photon lists, keV.

    Returns:
        N spectra of 1024 channels, int32.
    """
    lengths = np.diff(energy.offsets)
    has = lengths > 0
    place = np.cumsum(has) - 1
    channel = np.clip((energy.values / ACIS_CHANNEL_WIDTH).astype(np.int64), 0, ACIS_NUM_CHANNELS - 1)
    number = int(has.sum())
    counts = np.bincount(place[row_index(energy)] * ACIS_NUM_CHANNELS + channel, minlength=number * ACIS_NUM_CHANNELS)
    offsets = np.concatenate([[0], np.cumsum(np.where(has, ACIS_NUM_CHANNELS, 0))])
    return Ragged(counts.astype(np.int32), offsets, has)


def _spans(time: Ragged) -> tuple[np.ndarray, np.ndarray]:
    """(N,) first and last photon, 0 where there is none."""
    lengths = np.diff(time.offsets)
    has = lengths > 0
    first, last = np.zeros(len(time)), np.zeros(len(time))
    if has.any():
        begins = time.offsets[:-1][has]
        first[has], last[has] = np.minimum.reduceat(time.values, begins), np.maximum.reduceat(time.values, begins)
    return first, last


def _where(given: np.ndarray, lists: Ragged | None, values: np.ndarray) -> Ragged:
    """The lists where they are given, else a list of the one value."""
    ones = Ragged(values, np.arange(len(values) + 1))
    if lists is None:
        return ones
    offsets = np.concatenate([lists.offsets, lists.offsets[-1] + ones.offsets[1:]])
    both = Ragged(np.concatenate([lists.values, ones.values]), offsets)
    return both.take(np.where(given, np.arange(len(values)), len(values) + np.arange(len(values))))


def _checked(
    columns: dict[str, Any],
    assumed: dict[str, Ragged],
    names: list[str],
    has: np.ndarray,
    has_good_time: np.ndarray,
    reasons: Reasons,
) -> ListTable:
    """`check_rows` of the rows with photons; those without pass, with empty lists."""
    rows = np.flatnonzero(has)
    # A single photon, or photons of one frame, have no length of time: the check is not of that.
    start, stop = assumed["gti_start"], assumed["gti_stop"]
    values = stop.values.copy()
    alone = np.flatnonzero(~has_good_time)
    alone = alone[values[stop.offsets[alone]] == start.values[start.offsets[alone]]]
    values[stop.offsets[alone]] += 1.0
    lists: dict[str, Ragged] = {name: columns[name] for name in LISTS[:2] if name in columns}
    lists |= assumed
    lists["gti_stop"] = Ragged(values, stop.offsets)
    table: dict[str, Any] = {name: _to_arrow(column.take(rows)) for name, column in lists.items()}
    table["name"] = pa.array([names[row] for row in rows])
    if "livetime" in columns:
        table["livetime"] = pa.array(np.where(has_good_time, columns["livetime"], np.nan)[rows], from_pandas=True)
    own = Reasons(len(rows))
    checked = check_rows(pa.table(table), own)
    for reason in {value for value in own.values if value is not None}:
        of_reason = np.zeros(len(has), dtype=bool)
        of_reason[rows[own.values == reason]] = True
        reasons.flag(of_reason, reason)
    place = np.where(has, np.cumsum(has) - 1, len(rows))
    outside = np.zeros(len(has), dtype=np.int64)
    outside[rows] = checked.num_outside
    time, energy, start, stop = (_spread(getattr(checked, name), place) for name in LISTS)
    return ListTable(time, energy, start, stop, outside)


def _to_arrow(column: Ragged) -> pa.Array:
    mask = None if column.valid is None else pa.array(~column.valid)
    return pa.LargeListArray.from_arrays(pa.array(column.offsets, pa.int64()), pa.array(column.values), mask=mask)


def _spread(column: Ragged, place: np.ndarray) -> Ragged:
    """Rows of indices, of which one past the end stands for an empty, null row."""
    number = len(column)
    valid = np.ones(number, dtype=bool) if column.valid is None else column.valid
    longer = Ragged(column.values, np.append(column.offsets, column.offsets[-1]), np.append(valid, False))
    return longer.take(place)


def _falls_short(lists: ListTable, columns: dict[str, Any]) -> np.ndarray:
    """(N,) bool, lists with far fewer photons in 0.5-7 keV than the catalogue counts."""
    counts = columns.get("src_cnts_aper_b")
    if counts is None:
        return np.zeros(len(lists.event_time), dtype=bool)
    with np.errstate(invalid="ignore"):
        return ~lists.without_energy & (_in_band(lists) < LEAST_SHARE * counts)


def _in_band(lists: ListTable) -> np.ndarray:
    low, high = BANDS["b"]
    inside = (lists.event_energy.values >= low) & (lists.event_energy.values < high)
    return np.bincount(row_index(lists.event_energy), inside, minlength=len(lists.event_energy)).astype(np.int64)


def _as_of(column: Ragged, origin: np.ndarray, kept: np.ndarray) -> Ragged:
    """Since the origin of each row; null where not kept."""
    values = column.values - origin[row_index(column)]
    lengths = np.where(kept, np.diff(column.offsets), 0)
    return Ragged(values[kept[row_index(column)]], np.concatenate([[0], np.cumsum(lengths)]), kept)


def _notes(
    lists: ListTable,
    columns: dict[str, Any],
    has: np.ndarray,
    known: np.ndarray,
    given: np.ndarray,
    thinned: np.ndarray,
    whole: np.ndarray,
) -> list[str | None]:
    """What is to be known of each list, None where there is nothing."""
    counts = columns.get("src_cnts_aper_b", np.full(len(has), np.nan))
    number, lengths = _in_band(lists), np.diff(lists.event_time.offsets)
    notes: list[str | None] = []
    for row in range(len(has)):
        said = []
        if has[row] and lists.without_energy[row]:
            said.append("no energies of the photons")
        if lists.num_outside[row]:
            said.append(f"{lists.num_outside[row]} photons outside the good times left out")
        if has[row] and thinned[row]:
            list_of = f"{lengths[row]} photons of a longer list, thinned where it was published"
            said.append(f"{list_of}: rate and good time unknown")
        elif has[row] and not whole[row]:
            share = f"{number[row]} photons in 0.5-7 keV, where the catalogue has {counts[row]:.0f} counts"
            said.append(f"{share}: the list is not whole, its rate and good time unknown")
        elif has[row] and not known[row]:
            said.append("good time unknown")
        elif has[row] and not given[row]:
            said.append("good time not given: from the first photon to the last")
        notes.append("; ".join(said) or None)
    return notes
