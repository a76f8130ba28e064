"""Times of a table as seconds after one zero: units, TIMEZERO, MJDREF, and where in a frame a time stamp lies.

Source: OGIP 93-003 (The OGIP format for time and photon data); TIMEPIXR and TIMEDEL also FITS standard 4.0, section 9.
"""

from __future__ import annotations

import numpy as np

from chandraclip.ogip.fits import FitsTable
from chandraclip.ogip.header import SECONDS_PER_DAY

_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "usec", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("ns", "nsec", "nanosecond", "nanoseconds"), 1e-9),
    "ks": 1e3,
    **dict.fromkeys(("min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), SECONDS_PER_DAY),
}
# MJDREF in one keyword is rounded to 0.6 us and often written with fewer digits; good times do not need more than this.
_MJDREF_TOLERANCE = 1e-3  # s
# Scales that run together to 2 ms; UTC differs from them by leap seconds, over a minute.
_TERRESTRIAL = {"TT", "TDT", "TDB", "ET", "TCG", "TCB"}


def seconds(table: FitsTable, column: str) -> np.ndarray:
    """A column of times.

    Returns:
        (rows,) float64, s after MJDREF: the column in its unit (TUNIT, else TIMEUNIT, else s), TIMEZERO added.

    Raises:
        InputFileError: the column is not one number a row, not finite, or in a unit that is not one of time; TIMEZERO
            is not a number.
    """
    values = np.asarray(table.numbers(column), np.float64)
    unit = table.unit(column)
    scale = _unit_seconds(table, unit, f"column {column}") if unit else keyword_unit(table)
    with np.errstate(over="ignore", invalid="ignore"):
        result = values * scale + time_zero(table)
    finite = np.isfinite(result)
    if not finite.all():
        raise table.error(f"{column} is not a number in row {int(np.argmin(finite)) + 1}")
    return result


def time_zero(table: FitsTable) -> float:
    """s to add to the times of a table as stored: TIMEZERO, or TIMEZERI + TIMEZERF."""
    whole = table.number("TIMEZERI")
    zero = table.number("TIMEZERO") if whole is None else whole + (table.number("TIMEZERF") or 0.0)
    return (zero or 0.0) * keyword_unit(table)


def keyword_unit(table: FitsTable) -> float:
    """s in the unit of the time keywords (TSTART, TIMEZERO, TIMEDEL): TIMEUNIT, else the time column's, else s."""
    unit = str(table.key("TIMEUNIT") or "").strip()
    if unit:
        return _unit_seconds(table, unit, "TIMEUNIT")
    column = next((name for name in ("TIME", "START") if table.has(name)), None)
    unit = "" if column is None else table.unit(column)
    return _unit_seconds(table, unit, f"column {column}") if unit else 1.0


def frame_shift(table: FitsTable) -> float:
    """s from a time stamp to the middle of its frame: (0.5 - TIMEPIXR) TIMEDEL.

    TIMEPIXR tells where in a frame of TIMEDEL the stamp lies: 0 its start (NICER, Suzaku XIS), 0.5 its middle (Chandra,
    the default), 1 its end.

    Raises:
        InputFileError: TIMEPIXR is not in 0 to 1, or TIMEDEL is negative.
    """
    place, length = table.number("TIMEPIXR"), time_step(table)
    if place is not None and not 0 <= place <= 1:
        raise table.error(f"TIMEPIXR is {place}, and must be in 0 to 1")
    if place is None or length is None:
        return 0.0
    return (0.5 - place) * length


def time_step(table: FitsTable) -> float | None:
    """s, TIMEDEL, the length of what one time stamp stands for; None where it is absent or 0.

    Raises:
        InputFileError: TIMEDEL is negative or not finite.
    """
    length = table.number("TIMEDEL")
    if length is not None and not 0 <= length < np.inf:
        raise table.error(f"TIMEDEL is {length}, and must not be negative")
    return length * keyword_unit(table) if length else None


def reference_shift(table: FitsTable, events: FitsTable) -> float:
    """s to add to a table's times so that they count from the MJDREF of the events.

    A table without an MJDREF of its own counts as the events do.
    """
    own = _reference(table, own=True)
    reference = _reference(events)
    if own is None or reference is None:
        return 0.0
    # Whole days and fractions apart: their sum would round to 0.6 us.
    shift = ((own[0] - reference[0]) + (own[1] - reference[1])) * SECONDS_PER_DAY
    return shift if abs(shift) > _MJDREF_TOLERANCE else 0.0


def clock_difference(table: FitsTable, events: FitsTable) -> str | None:
    """Why a table's times cannot be compared with the events' as they stand; None where nothing says so.

    Barycentric corrections move times by up to 500 s, leap seconds by more than 60 s.
    """

    def barycentred(which: FitsTable) -> bool:
        return _text(which, "TIMEREF") in ("SOLARSYSTEM", "BARYCENTER", "BARYCENTRE", "HELIOCENTRIC")

    if barycentred(events) != barycentred(table):
        moved, other = (events, table) if barycentred(events) else (table, events)
        return f"the times of {moved.label} are barycentred (TIMEREF), those of {other.label} are not"
    first, second = _text(events, "TIMESYS"), _text(table, "TIMESYS")
    if {first, second} & {"UTC"} and {first, second} & _TERRESTRIAL:
        return f"the times of {events.label} are {first}, those of {table.label} {second} (TIMESYS)"
    return None


def _reference(table: FitsTable, own: bool = False) -> tuple[float, float] | None:
    """MJDREF as whole days and fraction."""
    if own and all(table.own_key(name) is None for name in ("MJDREF", "MJDREFI")):
        return None
    whole = table.number("MJDREFI")
    if whole is not None:
        return whole, table.number("MJDREFF") or 0.0
    reference = table.number("MJDREF")
    return None if reference is None else (reference, 0.0)


def _text(table: FitsTable, name: str) -> str:
    return str(table.key(name) or "").strip().upper()


def _unit_seconds(table: FitsTable, unit: str, where: str) -> float:
    scale = _SECONDS.get(unit.strip().lower())
    if scale is None:
        raise table.error(f"{where} is in {unit!r}, which is no unit of time")
    return scale
