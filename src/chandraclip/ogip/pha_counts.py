"""Counts of a spectrum from its columns: COUNTS, or RATE x EXPOSURE, and which of the two a column holds.

Name, TUNIT and HDUCLAS3 each say whether a column holds counts or a rate (OGIP/92-007a, section 3). Where they
contradict each other the numbers decide, if counts are whole in one reading only; else the spectrum is refused.
"""

from __future__ import annotations

import re

import numpy as np

from chandraclip.ogip.pha_cells import SpectrumCells

# A rate x EXPOSURE may miss a whole number by this share of it (RATE is often float32, EXPOSURE rounded), yet by no
# more than this; and counts stored as reals by what float32 costs. Nothing but 0 is 0 counts.
_RATE_RELATIVE, _RATE_TOLERANCE, _FLOAT32_RELATIVE = 1e-4, 1e-3, 1e-6
# Beyond it a double cannot tell neighbouring whole numbers.
MAX_COUNTS = 2.0**53
_PER_SECOND = re.compile(r"(/\s*s(ec(onds?)?)?|\bs(ec)?\s*(\*\*|\^)?\s*\(?-1\)?)\s*$", re.IGNORECASE)
_COUNT = re.compile(r"\s*(ct|cts|counts?|photons?|ph)\s*", re.IGNORECASE)
_DENSITY = re.compile(r"ev|cm|ang|erg|jy|\bm\b|um|nm", re.IGNORECASE)
# Counts in another time than a second, or thousandths or thousands of them: as counts/s they would be wrong in silence.
_OTHER_TIME = re.compile(
    r"(/|\bper\b)\s*\(?\s*\d*\s*([kmu]s|ksec|msec|min|hr?|hours?|d|days?|yr?|years?|frames?|orbits?)\b"
    r"|\b([kmu]s|ksec|min|hr?|hours?|d|days?|yr?)\s*(\*\*|\^)?\s*\(?-1",
    re.IGNORECASE,
)
_SCALED = re.compile(
    r"\b(m|milli|k|kilo|mega)(ct|cts|counts?|ph|photons?)\b|10\s*(\*\*|\^)|\de[+-]?\d|%", re.IGNORECASE
)


def source_column(cells: SpectrumCells) -> str:
    """The column of the spectrum, COUNTS or RATE."""
    return "COUNTS" if cells.table.has("COUNTS") else "RATE"


def read_counts(cells: SpectrumCells, name: str, channel: np.ndarray, exposure: float) -> np.ndarray:
    """(n,) float64 counts of a column, finite and not negative, whole or not.

    Args:
        cells: of one spectrum.
        name: COUNTS, RATE, BACKGROUND_UP or BACKGROUND_DOWN.
        channel: (n,) numbers of the channels, for errors.
        exposure: s.

    Raises:
        InputFileError: a count is negative or no number, the unit is neither counts nor counts/s, it cannot be told
            which of the two it is, or there are more counts than a double can count.
    """
    table = cells.table
    values = cells.array(name)
    if values.size != channel.size:
        raise table.error(f"{channel.size} channels and {values.size} counts")
    _refuse(cells, ~np.isfinite(values), "counts are not a number", values, channel)
    with np.errstate(over="ignore"):  # what overflows is refused below
        counts = values * exposure if _is_rate(cells, name, values, exposure) else values
    _refuse(cells, counts < 0, f"{_quantity(name)} is negative", counts, channel)
    _refuse(cells, counts > MAX_COUNTS, f"{_quantity(name)} is more than can be counted", counts, channel)
    if counts.sum() > MAX_COUNTS:
        raise table.error(f"{_quantity(name)} adds up to {counts.sum():g}, more than can be counted")
    return counts


def whole_counts(cells: SpectrumCells, counts: np.ndarray, channel: np.ndarray, exposure: float) -> np.ndarray:
    """Counts as (n,) int64.

    Raises:
        InputFileError: some are not whole, as after a subtraction or a weighting: such numbers follow no Poisson
            distribution, and rounded they are wrong.
    """
    off = ~_near_whole(counts)
    if off.any():
        table = cells.table
        causes = []
        if table.hduclas(2) == "NET":
            causes.append("HDUCLAS2 NET: the background has been subtracted")
        if table.key("POISSERR") is False:
            causes.append("POISSERR F: its errors are not those of counts")
        if source_column(cells) == "RATE":
            causes.append(f"EXPOSURE, {exposure:g} s, may not be that of the rates")
        reason = "; ".join(causes) or "background-subtracted or weighted spectrum?"
        quantity = _quantity(source_column(cells))
        _refuse(cells, off, f"{quantity} is not a whole number of counts ({reason})", counts, channel)
    return np.round(counts).astype(np.int64)


def integers_where_whole(counts: np.ndarray) -> np.ndarray:
    """Counts as int64 where all are whole, else as they are, float64."""
    return np.round(counts).astype(np.int64) if _near_whole(counts, 0.0).all() else counts


def _near_whole(counts: np.ndarray, relative: float = _RATE_RELATIVE) -> np.ndarray:
    size = np.abs(counts)
    tolerance = np.minimum(relative * size, _RATE_TOLERANCE) + _FLOAT32_RELATIVE * size
    return np.abs(counts - np.round(counts)) <= np.minimum(tolerance, 0.1)


def _quantity(name: str) -> str:
    return f"{name} x EXPOSURE" if name == "RATE" else name


def _refuse(cells: SpectrumCells, bad: np.ndarray, what: str, values: np.ndarray, channel: np.ndarray) -> None:
    if bad.any():
        index = int(np.argmax(bad))
        raise cells.table.error(f"{what} in channel {channel[index]} ({values[index]:g})")


def _is_rate(cells: SpectrumCells, name: str, values: np.ndarray, exposure: float) -> bool:
    """Whether a column holds counts/s, by its name, TUNIT, HDUCLAS3 and TFORM, else by the numbers."""
    table = cells.table
    unit = table.unit(name)
    if any(pattern.search(unit) for pattern in (_DENSITY, _OTHER_TIME, _SCALED)):
        raise table.error(f"{name} is in {unit}, neither counts nor counts/s")
    by_unit = True if _PER_SECOND.search(unit) else False if _COUNT.fullmatch(unit) else None
    by_class = {"RATE": True, "COUNT": False, "COUNTS": False}.get(table.hduclas(3))
    by_name = {"RATE": True, "COUNTS": False}.get(name)
    integers = cells.stored_as_integers(name)
    if by_name is None:  # BACKGROUND_UP and _DOWN are in the unit of the spectrum unless they have their own
        if by_unit is not None or integers:
            return bool(by_unit)
        source = source_column(cells)
        return _is_rate(cells, source, cells.array(source), exposure)
    if by_name is False and integers and not by_unit:
        return False  # no rate is stored in integers, whatever HDUCLAS3 was copied from
    said = {value for value in (by_name, by_unit, by_class) if value is not None}
    if len(said) == 1:
        return by_name
    as_counts, as_rate = _near_whole(values, 0.0).all(), _near_whole(values * exposure).all()
    if as_counts == as_rate and values.any():
        claims = [f"column {name}"]
        claims += [f"TUNIT {unit}"] if by_unit is not None else []
        claims += [f"HDUCLAS3 {table.hduclas(3)}"] if by_class is not None else []
        raise table.error(f"{', '.join(claims)}: counts or a rate? The numbers do not tell")
    return bool(as_rate and not as_counts)
