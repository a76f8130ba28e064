"""Good time intervals: one table, or one a CCD."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from chandraclip.ogip.fits import FitsFile, FitsTable

_CCD_COLUMNS = ("CCD_ID", "CCDNR")  # Chandra ACIS, XMM EPIC


@dataclass(frozen=True, eq=False)
class GoodTimes:
    """Good times of the photons' CCDs.

    Attributes:
        intervals: (n, 2) s MET: union over the CCDs present, in order, disjoint.
        by_ccd: intervals of each CCD that has its own, or empty.
        ccd: (N,) CCD of each photon, or None.
    """

    intervals: np.ndarray
    by_ccd: dict[int, np.ndarray]
    ccd: np.ndarray | None

    def contains(self, time: np.ndarray) -> np.ndarray:
        """(N,) bool: whether each photon lies in the good times of its own CCD, edges included."""
        if self.ccd is None or not self.by_ccd:
            return inside_intervals(time, self.intervals)
        inside = np.zeros(time.size, dtype=bool)
        for number in np.unique(self.ccd):  # ten CCDs at most
            mine = self.ccd == number
            inside[mine] = inside_intervals(time[mine], self.by_ccd.get(int(number), self.intervals))
        return inside


def good_times(file: FitsFile, events: FitsTable, time: np.ndarray) -> GoodTimes:
    """The good times that go with an event list.

    GTI tables are those of HDUCLAS1 GTI, or whose name holds GTI, with START and STOP. Tables that name a CCD (GTI7,
    STDGTI04, or EXTVER of a Chandra GTI) count where that CCD has photons; the others count always. Without any, TSTART
    to TSTOP serves, else the photons' own span.

    Args:
        time: (N,) s MET of the photons.

    Raises:
        InputFileError: START or STOP is missing or not a number, or a STOP comes before its START.
    """
    tables = [table for table in file if _is_gti(table)]
    column = next((name for name in _CCD_COLUMNS if events.has(name)), None)
    ccd = None if column is None else np.asarray(events.column(column), np.int64)
    present = None if ccd is None else {int(number) for number in np.unique(ccd)}
    by_ccd: dict[int, list[np.ndarray]] = {}
    common: list[np.ndarray] = []
    for table in tables:
        number = _ccd_number(table, events)
        if present is not None and number is not None and len(tables) > 1:
            if number in present:
                by_ccd.setdefault(number, []).append(_intervals(table))
        else:
            common.append(_intervals(table))
    if tables:
        every = [*common, *(part for parts in by_ccd.values() for part in parts)]
        if not every:  # no table names a CCD that has photons: trust the tables over the numbers
            every = [_intervals(table) for table in tables]
        merged = {number: merge_intervals(np.concatenate(parts)) for number, parts in by_ccd.items()}
        return GoodTimes(merge_intervals(np.concatenate(every)), merged, ccd)
    start, stop = events.number("TSTART"), events.number("TSTOP")
    if start is None or stop is None or not stop > start:
        if not time.size:
            return GoodTimes(np.zeros((0, 2)), {}, None)
        start, stop = float(time.min()), float(time.max())
    else:
        zero = events.number("TIMEZERO") or 0.0
        start, stop = start + zero, stop + zero
    return GoodTimes(np.array([[start, stop]]), {}, None)


def merge_intervals(intervals: np.ndarray) -> np.ndarray:
    """Union of intervals.

    Args:
        intervals: (n, 2) in any order, overlapping or not; empty ones are dropped.

    Returns:
        (m, 2) in order, disjoint; intervals that touch are joined.
    """
    intervals = intervals[intervals[:, 1] > intervals[:, 0]]
    intervals = intervals[np.argsort(intervals[:, 0], kind="stable")]
    if len(intervals) < 2:
        return intervals
    reach = np.maximum.accumulate(intervals[:, 1])
    begins = np.append(True, intervals[1:, 0] > reach[:-1])
    ends = np.append(np.flatnonzero(begins)[1:] - 1, len(intervals) - 1)
    return np.column_stack([intervals[begins, 0], reach[ends]])


def inside_intervals(time: np.ndarray, intervals: np.ndarray) -> np.ndarray:
    """(N,) bool: whether each time lies in one of the (n, 2) disjoint, ordered intervals, edges included."""
    if not len(intervals):
        return np.zeros(np.shape(time), dtype=bool)
    before = np.searchsorted(intervals[:, 0], time, side="right") - 1
    return (before >= 0) & (time <= intervals[np.maximum(before, 0), 1])


def _is_gti(table: FitsTable) -> bool:
    named = table.hduclas(1) == "GTI" or "GTI" in table.extname
    return named and table.has("START", "STOP")


def _ccd_number(table: FitsTable, events: FitsTable) -> int | None:
    """The CCD that a GTI table is for: ACIS GTI7 (name, HDUNAME or EXTVER), XMM STDGTI04 and GTI00004."""
    for name in (table.extname, str(table.own_key("HDUNAME") or "").strip().upper()):
        match = re.fullmatch(r"(?:STD)?GTI(\d+)", name)
        if match:
            return int(match[1]) % 100
    chandra = str(events.key("TELESCOP") or "").strip().upper() == "CHANDRA"
    version = table.own_key("EXTVER")
    return version if chandra and isinstance(version, int) and table.extname == "GTI" else None


def _intervals(table: FitsTable) -> np.ndarray:
    """(n, 2) s MET, TIMEZERO added."""
    start, stop = (np.asarray(table.column(name), np.float64) for name in ("START", "STOP"))
    if not (np.isfinite(start).all() and np.isfinite(stop).all()):
        raise table.error("START or STOP is not a number")
    if (stop < start).any():
        raise table.error(f"STOP comes before START in row {int(np.argmax(stop < start)) + 1}")
    return np.column_stack([start, stop]) + _time_zero(table)


def _time_zero(table: FitsTable) -> float:
    return table.number("TIMEZERO") or 0.0
