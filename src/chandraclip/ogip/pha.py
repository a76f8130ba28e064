"""One SPECTRUM extension (PHA type I, or one row of a type II) as arrays on the full channel grid (OGIP/92-007)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chandraclip.ogip.fits import FitsFile, FitsTable, file_name
from chandraclip.ogip.header import ObservationHeader, observation_header

# RATE x EXPOSURE, and float COUNTS, may miss a whole number by this: RATE is often float32.
_COUNT_TOLERANCE, _COUNT_RELATIVE = 0.01, 1e-6
_MAX_CHANNELS = 1 << 20


@dataclass(frozen=True, eq=False)
class PhaRecord:
    """One spectrum as its extension gives it.

    Attributes:
        counts: (C,) int64, one a detector channel; channels that a sparse file leaves out hold 0.
        first_channel: the number of the first of the C channels.
        exposure: s.
        backscal, areascal: float, or (C,) where given a channel.
        grouping, quality: (C,) int16 or None; never applied.
        listed: (C,) bool, channels that the file has a row for.
        arf_name, rmf_name, background_name: ANCRFILE, RESPFILE, BACKFILE; None where absent, '' where "none".
        inline_background: (counts (C,), backscal) of the BACKGROUND_UP/DOWN columns of a CIAO grating file, or None.
        header: observation facts.
        spec_num: SPEC_NUM of a type II row, else None.
        extension: label of the extension.
    """

    counts: np.ndarray
    first_channel: int
    exposure: float
    backscal: float | np.ndarray
    areascal: float | np.ndarray
    grouping: np.ndarray | None
    quality: np.ndarray | None
    listed: np.ndarray
    arf_name: str | None
    rmf_name: str | None
    background_name: str | None
    inline_background: tuple[np.ndarray, float] | None
    header: ObservationHeader
    spec_num: int | None
    extension: str


def spectrum_tables(file: FitsFile) -> tuple[list[FitsTable], list[FitsTable]]:
    """The source and the background SPECTRUM extensions, by HDUCLAS1/HDUCLAS2, then by name.

    A file whose spectra all are backgrounds (a BACKFILE) has no source ones.
    """
    tables = [table for table in file if table.hduclas(1) == "SPECTRUM"]
    if not tables:
        tables = [table for table in file if table.extname == "SPECTRUM" and table.has("CHANNEL")]
    background = [table for table in tables if table.hduclas(2) in ("BKG", "BACKGROUND")]
    return [table for table in tables if table not in background], background


def spec_numbers(table: FitsTable) -> list[int] | None:
    """SPEC_NUM of each row of a type II table (1, 2, ... where the column is absent); None for a type I."""
    if not is_type_two(table):
        return None
    if table.has("SPEC_NUM"):
        numbers = table.numbers("SPEC_NUM")
        if not np.isin(numbers, np.arange(-(2**15), 2**15)).all():
            raise table.error("SPEC_NUM is not a whole number in each row")
        return [int(number) for number in numbers]
    return list(range(1, table.num_rows + 1))


def is_type_two(table: FitsTable) -> bool:
    """Whether each row is a spectrum: COUNTS (or RATE) holds arrays."""
    name = "COUNTS" if table.has("COUNTS") else "RATE"
    if not table.has(name):
        raise table.error(f"no column COUNTS or RATE; it has {', '.join(table.names) or 'none'}")
    if not table.num_rows:
        raise table.error("the spectrum has no rows")
    lengths, _ = table.ragged(name)
    return bool((lengths > 1).any())


def read_pha(table: FitsTable, spec_num: int | None = None) -> PhaRecord:
    """A spectrum of an extension.

    Args:
        table: a SPECTRUM extension.
        spec_num: which row of a type II file, by SPEC_NUM; may be left out where there is one.

    Raises:
        InputFileError: columns or keywords missing; counts negative, NaN or not whole; exposure not positive;
            channels repeated or outside the grid; a type II file of several spectra and no `spec_num`.
    """
    numbers = spec_numbers(table)
    row: int | None = None
    if numbers is not None:
        row, spec_num = _choose_row(table, numbers, spec_num)
    elif spec_num is not None:
        raise table.error(f"spec_num={spec_num} was asked for, and this is a type I file: one spectrum")
    reader = _Reader(table, row)

    exposure = reader.number("EXPOSURE")
    if exposure is None:
        raise table.error("no EXPOSURE")
    if not (np.isfinite(exposure) and exposure > 0):
        raise table.error(f"EXPOSURE is {exposure}, and must be positive")
    table.require("CHANNEL")
    channel = reader.integers("CHANNEL")
    values = reader.array("COUNTS") if table.has("COUNTS") else reader.array("RATE") * exposure
    if values.size != channel.size:
        raise table.error(f"{channel.size} channels and {values.size} counts")
    counts = _whole_counts(table, values, channel)
    first, size = _channel_grid(table, channel)
    place = channel - first

    def on_grid(values: np.ndarray, fill: Any) -> np.ndarray:
        grid = np.full(size, fill, dtype=values.dtype)
        grid[place] = values
        return grid

    def scaling(name: str) -> float | np.ndarray:
        value = reader.cell(name)
        if not isinstance(value, np.ndarray):
            value = 1.0 if value is None or value == "" else table.as_number(name, value)
        scale = np.atleast_1d(np.asarray(value, dtype=np.float64))
        if not np.isfinite(scale).all() or (scale < 0).any():
            raise table.error(f"{name} is negative or not a number")
        if scale.size == 1 or np.ptp(scale) == 0:
            return float(scale.flat[0])
        if scale.size != channel.size:
            raise table.error(f"{name} has {scale.size} values for {channel.size} channels")
        return on_grid(scale.ravel(), 0.0)

    def flags(name: str) -> np.ndarray | None:
        if not table.has(name):
            return None
        return on_grid(reader.integers(name).astype(np.int16), 0)

    return PhaRecord(
        counts=on_grid(counts, 0),
        first_channel=first,
        exposure=exposure,
        backscal=scaling("BACKSCAL"),
        areascal=scaling("AREASCAL"),
        grouping=flags("GROUPING"),
        quality=flags("QUALITY"),
        listed=on_grid(np.ones(channel.size, dtype=bool), False),
        arf_name=file_name(reader.cell("ANCRFILE")),
        rmf_name=file_name(reader.cell("RESPFILE")),
        background_name=file_name(reader.cell("BACKFILE")),
        inline_background=_inline_background(table, reader, channel, on_grid),
        header=observation_header(table),
        spec_num=spec_num if row is not None else None,
        extension=table.label,
    )


class _Reader:
    """Columns and keywords of one spectrum: a type I table's columns, or the cells of one type II row."""

    def __init__(self, table: FitsTable, row: int | None):
        self.table = table
        self.row = row

    def array(self, name: str) -> np.ndarray:
        """(n,) float64 of a column."""
        lengths, values = self.table.ragged(name)
        if self.row is not None:
            start = int(lengths[: self.row].sum())
            values = values[start : start + int(lengths[self.row])]
        elif not (lengths == 1).all():
            raise self.table.error(f"column {name} holds arrays in a type I spectrum")
        return np.asarray(values, dtype=np.float64)

    def integers(self, name: str) -> np.ndarray:
        values = self.array(name)
        if not np.isfinite(values).all() or (values != np.round(values)).any():
            raise self.table.error(f"column {name} is not whole numbers")
        return values.astype(np.int64)

    def cell(self, name: str) -> Any:
        """A quantity given as a column or as a keyword; None where it is neither."""
        if not self.table.has(name):
            return self.table.key(name)
        column = self.table.column(name)
        if self.row is None:
            return column.ravel() if column.dtype.kind in "iuf" else str(column[0])
        value = column[self.row]
        return value.ravel() if isinstance(value, np.ndarray) else value

    def number(self, name: str) -> float | None:
        value = self.cell(name)
        if value is None:
            return None
        try:
            numbers = np.unique(np.asarray(value, dtype=np.float64))
        except (TypeError, ValueError):
            raise self.table.error(f"{name} is {value!r}, not a number") from None
        if numbers.size != 1:
            raise self.table.error(f"{name} differs between channels")
        return float(numbers[0])


def _choose_row(table: FitsTable, numbers: list[int], spec_num: int | None) -> tuple[int, int]:
    if spec_num is None:
        if len(numbers) > 1:
            known = ", ".join(map(str, numbers))
            raise table.error(f"a type II file of {len(numbers)} spectra: choose one by spec_num (it has {known})")
        return 0, numbers[0]
    if spec_num not in numbers:
        raise table.error(f"no spectrum with SPEC_NUM {spec_num}; it has {', '.join(map(str, numbers))}")
    return numbers.index(spec_num), spec_num


def _whole_counts(table: FitsTable, values: np.ndarray, channel: np.ndarray) -> np.ndarray:
    """Counts as int64, or an error naming the channel at fault."""

    def fault(bad: np.ndarray, what: str) -> None:
        if bad.any():
            index = int(np.argmax(bad))
            raise table.error(f"{what} in channel {channel[index]} ({values[index]:g})")

    fault(~np.isfinite(values), "counts are not a number")
    fault(np.abs(values) > 2.0**53, "more counts than can be counted")
    whole = np.round(values)
    off = np.abs(values - whole) > _COUNT_TOLERANCE + _COUNT_RELATIVE * np.abs(values)
    quantity = "COUNTS" if table.has("COUNTS") else "RATE x EXPOSURE"
    fault(off, f"{quantity} is not a whole number of counts (background-subtracted or weighted spectrum?)")
    fault(whole < 0, f"{quantity} is negative")
    return whole.astype(np.int64)


def _channel_grid(table: FitsTable, channel: np.ndarray) -> tuple[int, int]:
    """First channel and number of channels: TLMIN of CHANNEL and DETCHANS, else from the channels listed."""
    if np.unique(channel).size != channel.size:
        raise table.error("a channel is listed twice")
    lowest, highest = int(channel.min()), int(channel.max())
    declared = table.number("DETCHANS")
    limit = table.column_key("TLMIN", "CHANNEL")
    if declared is not None and int(declared) == channel.size and highest - lowest + 1 == channel.size:
        return lowest, channel.size  # every channel is there, so the numbers speak for themselves
    first = int(limit) if limit is not None and int(limit) <= lowest else min(lowest, 1)
    size = int(declared) if declared is not None else highest - first + 1
    if not 0 < size <= _MAX_CHANNELS:
        raise table.error(f"DETCHANS is {size}")
    if lowest < first or highest >= first + size:
        raise table.error(f"channels {lowest} to {highest} lie outside the {size} that DETCHANS gives, from {first}")
    return first, size


def _inline_background(
    table: FitsTable, reader: _Reader, channel: np.ndarray, on_grid: Any
) -> tuple[np.ndarray, float] | None:
    """CIAO grating spectra: BACKGROUND_UP and _DOWN beside the counts, their areas in BACKSCUP and BACKSCDN."""
    sides = [
        (name, key) for name, key in (("BACKGROUND_UP", "BACKSCUP"), ("BACKGROUND_DOWN", "BACKSCDN")) if table.has(name)
    ]
    if not sides:
        return None
    counts = sum(_whole_counts(table, reader.array(name), channel) for name, _ in sides)
    areas = [reader.number(key) for _, key in sides]
    if any(area is None or not area > 0 for area in areas):
        raise table.error("BACKGROUND_UP/DOWN without a positive BACKSCUP/BACKSCDN")
    return on_grid(np.asarray(counts, dtype=np.int64), 0), float(sum(area for area in areas if area is not None))
