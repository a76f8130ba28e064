"""One SPECTRUM extension (PHA type I, or one row of a type II) as arrays on the full channel grid (OGIP/92-007)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chandraclip.ogip.fits import FitsFile, FitsTable, file_name
from chandraclip.ogip.header import ObservationHeader, observation_header
from chandraclip.ogip.pha_cells import SpectrumCells
from chandraclip.ogip.pha_counts import integers_where_whole, read_counts, source_column, whole_counts

_MAX_CHANNELS = 1 << 20
_EXPOSURE_RANGE = 1e-6, 1e11  # s; beyond 3,000 years it is no exposure
_SCALE_RANGE = 1e-20, 1e20  # of BACKSCAL (the archives have 1e-9 to 1e9, in any unit) and AREASCAL


@dataclass(frozen=True, eq=False)
class PhaRecord:
    """One spectrum as its extension gives it.

    Attributes:
        counts: (C,) int64, one a detector channel; channels that a sparse file leaves out hold 0. A background's are
            float64 where they are not whole.
        first_channel: the number of the first of the C channels.
        exposure: s.
        backscal, areascal: float, or (C,) where given a channel.
        grouping, quality: (C,) int16 or None; never applied.
        listed: (C,) bool, channels that the file has a row for.
        arf_name, rmf_name, background_name: ANCRFILE, RESPFILE, BACKFILE; None where absent, '' where "none".
        net: HDUCLAS2 NET, the background has been subtracted.
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
    net: bool
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


def choose_table(file: FitsFile, extension: int | str | None = None, spec_num: int | None = None) -> FitsTable:
    """The extension of a spectrum.

    Args:
        file: with spectra in it.
        extension: its number in the file, its EXTNAME, or both as errors give them (``"SPECTRUM,2"``). None: the only
            source spectrum; the only one that has `spec_num`; in a file of backgrounds the only background.
        spec_num: SPEC_NUM of a type II file.

    Raises:
        InputFileError: there is no spectrum, no such extension, or there are several to choose from.
    """
    sources, backgrounds = spectrum_tables(file)
    tables = sources or backgrounds
    if not tables:
        raise file.error(f"no spectrum (HDUCLAS1 SPECTRUM) in it; extensions: {file.describe()}")
    if extension is not None:
        tables = [*sources, *backgrounds]
        wanted = extension.upper() if isinstance(extension, str) else extension
        chosen = [table for table in tables if wanted in (table.index, table.extname, table.label.upper())]
    elif spec_num is not None and len(tables) > 1:
        chosen = [table for table in tables if spec_num in (spec_numbers(table) or ())]
    else:
        chosen = tables
    if len(chosen) == 1:
        return chosen[0]
    known = ", ".join(table.label for table in tables)
    if not chosen:
        sought = f"extension {extension}" if extension is not None else f"SPEC_NUM {spec_num}"
        raise file.error(f"no spectrum is {sought}; the spectra are {known}")
    raise file.error(f"{len(chosen)} spectra are in it, {known}: choose one by its extension")


def spec_numbers(table: FitsTable) -> list[int] | None:
    """SPEC_NUM of each row of a type II table (1, 2, ... where the column is absent); None for a type I.

    Raises:
        InputFileError: SPEC_NUM is not a whole number in each row, or one of them names two rows.
    """
    if not is_type_two(table):
        return None
    if not table.has("SPEC_NUM"):
        return list(range(1, table.num_rows + 1))
    numbers = SpectrumCells(table, None).integers("SPEC_NUM").tolist()
    if len(set(numbers)) < len(numbers):
        raise table.error("SPEC_NUM gives one number to several rows")
    return numbers


def is_type_two(table: FitsTable) -> bool:
    """Whether each row is a spectrum: COUNTS (or RATE) holds arrays."""
    name = "COUNTS" if table.has("COUNTS") else "RATE"
    if not table.has(name):
        raise table.error(f"no column COUNTS or RATE; it has {', '.join(table.names) or 'none'}")
    if not table.num_rows:
        raise table.error("the spectrum has no rows")
    lengths, _ = table.ragged(name)
    return bool((lengths > 1).any())


def read_pha(table: FitsTable, spec_num: int | None = None, *, as_background: bool = False) -> PhaRecord:
    """A spectrum of an extension.

    Args:
        table: a SPECTRUM extension.
        spec_num: which row of a type II file, by SPEC_NUM; may be left out where there is one.
        as_background: real-valued counts are kept. A source's must be whole: what is not is no Poisson count.

    Raises:
        InputFileError: columns or keywords missing, or of a wrong type; counts negative, NaN, too many, not whole, or
            perhaps rates; exposure not positive; channels repeated or outside the grid; a type II file of several
            spectra and no `spec_num`.
    """
    numbers = spec_numbers(table)
    row: int | None = None
    if numbers is not None:
        row, spec_num = _choose_row(table, numbers, spec_num)
    elif spec_num is not None:
        raise table.error(f"spec_num={spec_num} was asked for, and this is a type I file: one spectrum")
    cells = SpectrumCells(table, row)

    exposure = _exposure(cells)
    channel = _channels(cells)
    counts = read_counts(cells, source_column(cells), channel, exposure)
    counts = integers_where_whole(counts) if as_background else whole_counts(cells, counts, channel, exposure)
    first, size = _channel_grid(cells, channel)

    def on_grid(values: np.ndarray, fill: Any = 0) -> np.ndarray:
        return _on_grid(values, channel - first, size, fill)

    def scaling(name: str) -> float | np.ndarray:
        scale = cells.numbers(name)
        if scale is None:
            return 1.0
        if (scale < 0).any():
            raise table.error(f"{name} is negative")
        used = scale[scale > 0]
        if used.size and not _SCALE_RANGE[0] <= used.min() <= used.max() <= _SCALE_RANGE[1]:
            raise table.error(f"{name} goes from {used.min():g} to {used.max():g}, which no region has")
        if (scale == scale[0]).all():
            if not scale[0]:
                raise table.error(f"{name} is 0")
            return float(scale[0])
        if scale.size != channel.size:
            raise table.error(f"{name} has {scale.size} values for {channel.size} channels")
        return on_grid(scale)

    def flags(name: str, lowest: int, highest: int) -> np.ndarray | None:
        if table.has(name):
            values = cells.integers(name)
        elif value := table.own_key(name):  # one value for all channels, as a keyword; 0 is the default
            values = np.array([cells.whole(name, value)])
        else:
            return None
        if values.size not in (1, channel.size):
            raise table.error(f"{name} has {values.size} values for {channel.size} channels")
        bad = (values < lowest) | (values > highest)
        if bad.any():
            raise table.error(f"{name} is {values[bad][0]}, and goes from {lowest} to {highest}")
        return on_grid(np.broadcast_to(values.astype(np.int16), channel.shape))

    return PhaRecord(
        counts=on_grid(counts),
        first_channel=first,
        exposure=exposure,
        backscal=scaling("BACKSCAL"),
        areascal=scaling("AREASCAL"),
        grouping=flags("GROUPING", -1, 1),
        quality=flags("QUALITY", -(2**15), 2**15 - 1),
        listed=on_grid(np.ones(channel.size, dtype=bool), False),
        arf_name=file_name(cells.cell("ANCRFILE")),
        rmf_name=file_name(cells.cell("RESPFILE")),
        background_name=file_name(cells.cell("BACKFILE")),
        net=table.hduclas(2) == "NET",
        header=observation_header(table),
        spec_num=spec_num if row is not None else None,
        extension=table.label,
    )


def background_columns(table: FitsTable, source: PhaRecord) -> PhaRecord | None:
    """The background that a CIAO grating file has beside the counts: BACKGROUND_UP and _DOWN, each counts or a rate,
    their areas BACKSCUP and BACKSCDN. None where there are no such columns.

    Args:
        table: the extension that `source` was read from.
        source: its spectrum.

    Raises:
        InputFileError: counts as in `read_counts`, or an area that is not positive.
    """
    sides = [(name, key) for name, key in _SIDES if table.has(name)]
    if not sides:
        return None
    numbers = spec_numbers(table)
    cells = SpectrumCells(table, None if numbers is None else numbers.index(source.spec_num or numbers[0]))
    channel = _channels(cells)
    counts = sum(read_counts(cells, name, channel, source.exposure) for name, _ in sides)
    areas = [cells.number(key) or 0.0 for _, key in sides]
    if min(areas) <= 0:
        raise table.error("BACKGROUND_UP/DOWN without a positive BACKSCUP/BACKSCDN")
    on_grid = _on_grid(
        integers_where_whole(np.asarray(counts)), channel - source.first_channel, source.counts.size, fill=0
    )
    return replace(source, counts=on_grid, backscal=sum(areas))


_SIDES = (("BACKGROUND_UP", "BACKSCUP"), ("BACKGROUND_DOWN", "BACKSCDN"))


def _choose_row(table: FitsTable, numbers: list[int], spec_num: int | None) -> tuple[int, int]:
    if spec_num is None:
        if len(numbers) > 1:
            known = ", ".join(map(str, numbers))
            raise table.error(f"a type II file of {len(numbers)} spectra: choose one by spec_num (it has {known})")
        return 0, numbers[0]
    if spec_num not in numbers:
        raise table.error(f"no spectrum with SPEC_NUM {spec_num}; it has {', '.join(map(str, numbers))}")
    return numbers.index(spec_num), spec_num


def _exposure(cells: SpectrumCells) -> float:
    exposure = cells.number("EXPOSURE")
    if exposure is None:
        raise cells.table.error("no EXPOSURE")
    if not exposure > 0:
        raise cells.table.error(f"EXPOSURE is {exposure}, and must be positive")
    if not _EXPOSURE_RANGE[0] <= exposure <= _EXPOSURE_RANGE[1]:
        raise cells.table.error(f"EXPOSURE is {exposure:g} s, which no observation has")
    return exposure


def _channels(cells: SpectrumCells) -> np.ndarray:
    """(n,) int64, the channels listed, each once."""
    cells.table.require("CHANNEL")
    channel = cells.integers("CHANNEL")
    if not channel.size:
        raise cells.table.error("the spectrum has no channels")
    if (np.diff(channel) != 1).any() and np.unique(channel).size != channel.size:
        raise cells.table.error("a channel is listed twice")
    return channel


def _on_grid(values: np.ndarray, place: np.ndarray, size: int, fill: Any) -> np.ndarray:
    grid = np.full(size, fill, dtype=values.dtype)
    grid[place] = values
    return grid


def _channel_grid(cells: SpectrumCells, channel: np.ndarray) -> tuple[int, int]:
    """First channel and number of channels: TLMIN of CHANNEL and DETCHANS or TLMAX, else from the channels listed."""
    table = cells.table
    lowest, highest = int(channel.min()), int(channel.max())
    number, lower = cells.number("DETCHANS"), table.column_key("TLMIN", "CHANNEL")
    declared = None if number is None else cells.whole("DETCHANS", number)
    limit = None if lower is None else cells.whole(f"TLMIN{table.column_number('CHANNEL')}", lower)
    if declared == channel.size and highest - lowest + 1 == channel.size:
        return lowest, channel.size  # every channel is there, so the numbers speak for themselves
    first = limit if limit is not None and limit <= lowest else min(lowest, 1)
    upper = table.column_key("TLMAX", "CHANNEL") if declared is None and limit == first else None
    if upper is not None:
        highest = max(highest, cells.whole(f"TLMAX{table.column_number('CHANNEL')}", upper))
    size = declared if declared is not None else highest - first + 1
    if not 0 < size <= _MAX_CHANNELS:
        raise table.error(f"DETCHANS is {size}" if declared is not None else f"channels from {first} to {highest}")
    if lowest < first or highest >= first + size:
        raise table.error(f"channels {lowest} to {highest} lie outside the {size} that DETCHANS gives, from {first}")
    return first, size
