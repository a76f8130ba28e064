"""Good time intervals: which tables hold for an event list, and when each CCD's photons are good."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np

from chandraclip.ogip.data_subspace import Filter, data_subspace, parse_ranges, referenced_tables
from chandraclip.ogip.fits import FitsFile, FitsTable
from chandraclip.ogip.gti_tables import GtiTable, select_tables
from chandraclip.ogip.intervals import EVERYTHING, inside_intervals, intersect_intervals, merge_intervals
from chandraclip.ogip.times import clock_difference, keyword_unit, reference_shift, seconds, time_zero

CCD_COLUMNS = ("CCD_ID", "CCDNR", "TM_NR")  # Chandra ACIS, XMM EPIC, eROSITA's telescope modules
MAX_CCDS = 64
# s, three million years: such a START or STOP stands for "no limit".
_NO_LIMIT = 1e14
# A CCD with fewer of the source's photons does not lengthen its good time: a constant source would seem to fade while
# only that CCD is good.
_MINOR_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class GoodTimes:
    """Good times of the photons' CCDs.

    Attributes:
        intervals: (n, 2) s after the events' MJDREF: union over the CCDs that the source lies on, in order, disjoint.
        by_ccd: intervals of each CCD that has its own, or empty.
        ccd: (N,) CCD of each photon, or None.
        shares: CCD -> share of the source's photons, of those the source lies on; empty without a column for it.
        notes: which tables were used and which not, one sentence each.
        problems: what is doubtful about them.
    """

    intervals: np.ndarray
    by_ccd: dict[int, np.ndarray]
    ccd: np.ndarray | None
    shares: dict[int, float]
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def contains(self, time: np.ndarray) -> np.ndarray:
        """(N,) bool: whether each photon lies in the good times of the list and of its own CCD, edges included."""
        inside = inside_intervals(time, self.intervals)
        if self.ccd is not None:
            for number, intervals in self.by_ccd.items():
                mine = self.ccd == number
                inside[mine] &= inside_intervals(time[mine], intervals)
        return inside


def good_times(file: FitsFile, events: FitsTable, time: np.ndarray, chosen: np.ndarray | None = None) -> GoodTimes:
    """The good times that go with an event list.

    The tables that the list's data subspace names (DSREFn) hold, by its rules: filters of a component together,
    components as alternatives, each for its CCDs. Without, the file's own GTI tables (`select_tables`): those of a CCD
    for its photons, the others for all; standard tables and further filters (XMM's STDGTI04 and GTI00003) together.
    Without any, TSTART to TSTOP serves, else the photons' own span.

    A source on several CCDs is good while any CCD with a twentieth of its photons or more is.

    Args:
        time: (N,) s of the photons, as `times.seconds` gives them.
        chosen: (N,) bool, the source's photons: their CCDs count. Default, or where none is: all.

    Raises:
        InputFileError: START or STOP is missing or not a number, a STOP comes before its START, the CCD of a photon is
            not a number, or DSREFn names a file that cannot be read.
    """
    reader = _Reader(file, events)
    ccd = _ccd_of_photons(events)
    chosen = None if chosen is None or not chosen.any() else chosen
    shares = {} if ccd is None else _shares(ccd, chosen)
    by_ccd: dict[int, np.ndarray] = {}
    for number in [] if ccd is None else np.unique(ccd if chosen is None else ccd[chosen]).tolist():
        intervals = reader.intervals(number)
        if intervals is not None:
            by_ccd[number] = intervals
    major = [by_ccd[number] for number in shares if number in by_ccd]
    if major:
        intervals = merge_intervals(np.concatenate(major))
    else:  # no CCDs, or no table that names theirs: trust the tables over the numbers
        found = reader.intervals(None)
        intervals = _span(events, time, reader) if found is None else found
    if not np.isfinite(intervals).all():
        intervals = intersect_intervals(intervals, _span(events, time, reader))
    return GoodTimes(
        intervals, by_ccd, ccd, shares, tuple(dict.fromkeys(reader.notes)), tuple(dict.fromkeys(reader.problems))
    )


class _Component(NamedTuple):
    """What a component of the data subspace says of CCDs and time.

    Attributes:
        ccds: (n, 2) ranges of CCD numbers; None: all.
        times: (n, 2) s after the events' MJDREF; None: not restricted.
        from_table: whether a table gave the times: ranges alone cut the good times, tables are the good times.
    """

    ccds: np.ndarray | None
    times: np.ndarray | None
    from_table: bool

    def takes(self, ccd: int | None) -> bool:
        """Whether it is for a CCD; any is for None."""
        if ccd is None or self.ccds is None:
            return True
        return bool(((self.ccds[:, 0] <= ccd) & (ccd <= self.ccds[:, 1])).any())


class _Reader:
    """Finds and reads the tables, each once.

    Attributes:
        notes, problems: see `GoodTimes`.
    """

    def __init__(self, file: FitsFile, events: FitsTable):
        self._events = events
        self._read: dict[tuple[str, str], np.ndarray] = {}
        self._zero = time_zero(events)
        self.notes: list[str] = []
        self.problems: list[str] = []
        found = [self._component(file, filters) for filters in data_subspace(events)]
        subspace = [component for component in found if component is not None]
        # Without a single filter in time the subspace says nothing of it.
        self._components = subspace if any(component.times is not None for component in subspace) else []
        self._names_table = any(component.from_table for component in self._components)
        self._tables: list[GtiTable] = []
        if not self._names_table:
            self._tables, left_out = select_tables(file, events)
            if left_out:
                self.problems.append(f"not good time by their name or HDUCLAS2: {', '.join(left_out)}")
        if self._tables:
            self.notes.append(f"good time: {', '.join(table.table.label for table in self._tables)}")

    def intervals(self, ccd: int | None) -> np.ndarray | None:
        """Good times of a CCD (None: of all); None where no table is for it."""
        ranges = self._of_subspace(ccd) if self._components else None
        if self._names_table:
            return ranges
        named = self._of_names(ccd)
        if ranges is None or named is None:
            return ranges if named is None else named
        return intersect_intervals(named, ranges)

    def _of_subspace(self, ccd: int | None) -> np.ndarray:
        """Union of the components that take the CCD; of all where none does."""
        matching = [component for component in self._components if component.takes(ccd)]
        if not matching:
            problem = f"no component of the data subspace is for CCD {ccd}: the good times of all are taken"
            self.problems.append(problem)
        times = [EVERYTHING if each.times is None else each.times for each in matching or self._components]
        return merge_intervals(np.concatenate(times))

    def _of_names(self, ccd: int | None) -> np.ndarray | None:
        """The CCD's own tables and those for all, standard ones and further filters, together."""
        single = len(self._tables) == 1
        parts = []
        for standard in (True, False):
            group = [table for table in self._tables if table.standard == standard]
            own = [t for t in group if t.ccd is not None and (single or ccd is None or t.ccd == ccd)]
            common = [t for t in group if t.ccd is None]
            parts += [self._union(t.table for t in tables) for tables in (own, common) if tables]
        return reduce(intersect_intervals, parts) if parts else None

    def _component(self, file: FitsFile, filters: tuple[Filter, ...]) -> _Component | None:
        """A component read; None where its table of times is missing."""
        ccds: np.ndarray | None = None
        times: np.ndarray | None = None
        from_table = False
        for item in filters:
            if item.axis in CCD_COLUMNS and not item.is_table:
                ccds = parse_ranges(item.value)
            if item.axis != "TIME":
                continue
            if item.is_table:
                tables = referenced_tables(file, item.reference)
                if not tables:
                    problem = f"the good time table {item.reference or '(no DSREF)'} of the data subspace is missing"
                    self.problems.append(problem)
                    return None
                self.notes.append(f"good time: {', '.join(table.label for table in tables)} ({item.reference})")
                from_table = True
                found = self._union(tables)
            else:
                ranges = parse_ranges(item.value)
                if ranges is None:
                    self.problems.append(f"the time filter {item.value!r} of the data subspace cannot be read")
                    continue
                found = merge_intervals(ranges * keyword_unit(self._events) + self._zero)
            times = found if times is None else intersect_intervals(times, found)
        return _Component(ccds, times, from_table)

    def _union(self, tables: Iterable[FitsTable]) -> np.ndarray:
        return merge_intervals(np.concatenate([self._intervals(table) for table in tables]))

    def _intervals(self, table: FitsTable) -> np.ndarray:
        """(n, 2) s after the events' MJDREF."""
        key = str(table.path), table.label
        if key not in self._read:
            start, stop = seconds(table, "START"), seconds(table, "STOP")
            if (stop < start).any():
                raise table.error(f"STOP comes before START in row {int(np.argmax(stop < start)) + 1}")
            difference = clock_difference(table, self._events)
            if difference is not None:
                self.problems.append(difference)
            edges = np.column_stack([start, stop])
            open_ended = np.abs(edges) > _NO_LIMIT
            edges[open_ended] = np.copysign(np.inf, edges[open_ended])
            self._read[key] = edges + reference_shift(table, self._events)
        return self._read[key]


def _ccd_of_photons(events: FitsTable) -> np.ndarray | None:
    column = next((name for name in CCD_COLUMNS if events.has(name)), None)
    if column is None:
        return None
    values = events.numbers(column)
    whole = np.isfinite(values) & (values == np.rint(values)) & (np.abs(values) < 2**31)
    if not whole.all():
        raise events.error(f"{column} is not a whole number in row {int(np.argmin(whole)) + 1}")
    numbers = np.unique(values).size
    if numbers > MAX_CCDS:
        raise events.error(f"{column} has {numbers} different values; no detector has more than {MAX_CCDS} CCDs")
    return values.astype(np.int64)


def _shares(ccd: np.ndarray, chosen: np.ndarray | None) -> dict[int, float]:
    """CCD -> share of the chosen photons, without CCDs of a minor share."""
    numbers, counts = np.unique(ccd if chosen is None else ccd[chosen], return_counts=True)
    total = counts.sum()
    return {int(n): float(count / total) for n, count in zip(numbers, counts) if count >= _MINOR_SHARE * total}


def _span(events: FitsTable, time: np.ndarray, reader: _Reader) -> np.ndarray:
    """TSTART to TSTOP, else the photons' span."""
    start, stop = events.number("TSTART"), events.number("TSTOP")
    if start is not None and stop is not None and stop > start:
        reader.problems.append("no table of good times for it: TSTART to TSTOP is taken")
        return np.array([[start, stop]]) * keyword_unit(events) + time_zero(events)
    if not time.size or time.min() == time.max():
        return np.zeros((0, 2))
    reader.problems.append("no table of good times for it, and no TSTART and TSTOP: the photons' span is taken")
    return np.array([[time.min(), time.max()]])
