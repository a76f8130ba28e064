"""Opening FITS files: gzip by content, extensions by HDUCLAS, columns as arrays, every fault an `InputFileError`."""

from __future__ import annotations

import gzip
import math
import os
import stat
import warnings
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from chandraclip.errors import InputFileError
from chandraclip.ogip.cards import Cards, DamagedCard
from chandraclip.ogip.checksums import check_sums
from chandraclip.ogip.columns import Column, decode, read_columns, scaled
from chandraclip.ogip.hdus import Hdu, find_hdus

GZIP_MAGIC = b"\x1f\x8b"
# A file is read whole. No event list or response of one observation comes near; what does is refused, not tried.
MAX_FILE_BYTES = 4 << 30
# What shrinks to less than 1 % is no table of measurements: beyond this size it is taken for a gzip bomb.
MAX_BOMB_BYTES, MAX_GZIP_RATIO = 128 << 20, 100
# Rows of variable length may share their values; together they may claim the heap once over, or this much.
MAX_SHARED_BYTES = 32 << 20
# How OGIP and CIAO files write "no such file".
_NO_NAME = {"", "none", "n/a", "null", "undef", "%", "unknown"}


def read_bytes(path: Path) -> bytes:
    """A file's content, gunzipped where its first bytes say that it is gzip (a name's ``.gz`` proves nothing).

    Raises:
        InputFileError: missing, unreadable, empty, not a file; a gzip stream that is cut off or damaged; more than
            `MAX_FILE_BYTES`, or more than `MAX_BOMB_BYTES` out of a hundredth of that.
    """
    try:
        facts = os.stat(path)
        if not stat.S_ISREG(facts.st_mode):
            raise InputFileError(path, "cannot be read: a folder" if stat.S_ISDIR(facts.st_mode) else "not a file")
        if facts.st_size > MAX_FILE_BYTES:
            raise InputFileError(path, f"{facts.st_size} bytes are more than the {MAX_FILE_BYTES} that are read")
        content = Path(path).read_bytes()
        if content.startswith(GZIP_MAGIC):
            content = _gunzip(path, content)
    except FileNotFoundError:
        raise InputFileError(path, "no such file") from None
    except OSError as error:
        raise InputFileError(path, f"cannot be read: {error.strerror or error}") from error
    except MemoryError:
        raise InputFileError(path, "does not fit in memory") from None
    except ValueError as error:  # a name that no file can have
        if isinstance(error, InputFileError):
            raise
        raise InputFileError(path, f"no such file: {error}") from None
    if not content:
        raise InputFileError(path, "the file is empty")
    return content


def _gunzip(path: Path, packed: bytes) -> bytes:
    """All members of a gzip file; stops where they grow beyond the limits."""
    limit = min(MAX_FILE_BYTES, max(MAX_BOMB_BYTES, MAX_GZIP_RATIO * len(packed)))
    parts: list[bytes] = []
    size = 0
    rest = packed
    try:
        while rest.startswith(GZIP_MAGIC):
            stream = zlib.decompressobj(wbits=31)
            data = stream.decompress(rest, limit + 1 - size)
            parts.append(data)
            size += len(data)
            if size > limit:
                raise InputFileError(path, f"{len(packed)} bytes of gzip grow beyond {limit}: not unpacked any further")
            if not stream.eof:
                raise InputFileError(path, "gzip stream is cut off or damaged: it ends before its end mark")
            rest = stream.unused_data.lstrip(b"\0")  # zeros may follow, as gzip itself allows
    except zlib.error as error:
        raise InputFileError(path, f"gzip stream is cut off or damaged: {error}") from error
    if rest:
        raise InputFileError(path, "gzip stream is cut off or damaged: something else follows it")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def looks_like_fits(path: Path) -> bool:
    """Whether the first card is SIMPLE, looking through gzip; reads a few bytes only."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as stream:
            start = stream.read(9)
        if start.startswith(GZIP_MAGIC):
            with gzip.open(path) as stream:
                start = stream.read(9)
    except (OSError, EOFError, ValueError, zlib.error):
        return False
    return start == b"SIMPLE  ="


class FitsTable:
    """One binary table extension of an open file.

    Attributes:
        path: the file.
        label: the extension's name and number, as errors give it, e.g. ``"SPECTRUM,1"``.
        header: the extension's header.
        num_rows: rows.
    """

    def __init__(self, file: FitsFile, hdu: Hdu):
        self._file = file
        self._hdu = hdu
        self.path = file.path
        self.header = hdu.cards
        self.label = hdu.label
        self.num_rows = int(hdu.cards.get("NAXIS2"))
        self._row_bytes = int(hdu.cards.get("NAXIS1"))

    @cached_property
    def columns(self) -> list[Column]:
        """The columns in the file's order.

        Raises:
            InputFileError: damaged column keywords, or a compressed table.
        """
        if self.own_key("ZTABLE") is True:
            raise self.error("a compressed table (ZTABLE): unpack it with funpack first")
        return read_columns(self.own_key, self.error, int(self.header.get("TFIELDS")), self._row_bytes)

    @cached_property
    def names(self) -> list[str]:
        """Column names as written."""
        return [column.name for column in self.columns]

    @cached_property
    def _by_upper(self) -> dict[str, list[Column]]:
        found: dict[str, list[Column]] = {}
        for column in self.columns:
            found.setdefault(column.name.upper(), []).append(column)
        return found

    def error(self, reason: str) -> InputFileError:
        return InputFileError(self.path, reason, self.label)

    @property
    def extname(self) -> str:
        return self._hdu.name.upper()

    @property
    def index(self) -> int:
        """The extension's number in the file, the primary HDU being 0."""
        return self._hdu.index

    def hduclas(self, level: int) -> str:
        """HDUCLASn in capitals, or ''."""
        return str(self.own_key(f"HDUCLAS{level}") or "").strip().upper()

    def has(self, *names: str) -> bool:
        return all(name.upper() in self._by_upper for name in names)

    def key(self, *names: str) -> Any:
        """The first of the keywords present here, else in the primary header; None where none is."""
        for header in (self.header, self._file.primary):
            for name in names:
                value = self._value(header, name)
                if value is not None:
                    return value.strip() if isinstance(value, str) else value
        return None

    def own_key(self, name: str) -> Any:
        """A keyword of this extension alone; None where absent."""
        return self._value(self.header, name)

    def _value(self, header: Cards, name: str) -> Any:
        """A keyword's value; None where it is absent or has none."""
        try:
            return header.get(name)
        except DamagedCard as error:
            raise self.error(f"keyword {name} is damaged: it {error}") from None

    def number(self, *names: str) -> float | None:
        """`key` as a float; None where absent or blank.

        Raises:
            InputFileError: the keyword holds text, a logical, a complex or an infinite number (FITS standard 4.0,
                section 4.2: a number stands without quotes, so quotes say that whoever wrote it had none).
        """
        value = self.key(*names)
        if value is None or (isinstance(value, str) and not value):
            return None
        return self.as_number("/".join(names), value)

    def as_number(self, name: str, value: Any) -> float:
        """A keyword's or a cell's value as a float.

        Raises:
            InputFileError: it is no finite real number; the reason names it.
        """
        if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
            raise self.error(f"{name} is {value!r}, not a number")
        if not math.isfinite(value):
            raise self.error(f"{name} is {value}, not a finite number")
        return float(value)

    def column_key(self, keyword: str, column: str) -> Any:
        """A keyword indexed by a column's number, e.g. TLMIN of F_CHAN; None where absent."""
        return self.own_key(f"{keyword}{self.column_number(column)}")

    def column_number(self, column: str) -> int:
        """Counted from 1, as keywords count it."""
        return self._column(column).number

    def unit(self, column: str) -> str:
        return str(self.column_key("TUNIT", column) or "").strip()

    def require(self, *names: str) -> None:
        """Raises InputFileError, naming the columns found, unless all are there."""
        missing = [name for name in names if not self.has(name)]
        if missing:
            raise self.error(f"no column {', '.join(missing)}; it has {', '.join(self.names) or 'none'}")

    def _column(self, name: str) -> Column:
        self.require(name)
        found = self._by_upper[name.upper()]
        if len(found) > 1:
            raise self.error(f"{len(found)} columns are named {name}")
        return found[0]

    def column(self, name: str) -> np.ndarray:
        """A column as `columns.decode` gives it: numbers scaled, in native byte order, NaN for TNULL.

        Raises:
            InputFileError: no such column or several, or one of arrays of variable length (see `ragged`).
        """
        column = self._column(name)
        if column.pointer:
            raise self.error(f"column {name} holds {column.kind}; one value a row, or arrays of one size, are expected")
        try:
            return decode(column, self._file.content, self._hdu.data_start, self.num_rows, self._row_bytes)
        except MemoryError:
            raise self.error(f"column {name} does not fit in memory") from None

    def numbers(self, name: str) -> np.ndarray:
        """A column of one number a row.

        Returns:
            (rows,) integers or reals; NaN for TNULL.

        Raises:
            InputFileError: no such column or several, or it holds text, logical values, complex numbers or arrays.
        """
        column = self._column(name)
        if column.pointer or not column.is_number or column.repeat != 1:
            raise self.error(f"column {name} holds {column.kind}; one number a row is expected")
        return self.column(name)

    def ragged(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A column of numbers or arrays as (lengths (rows,), values end to end), stored at fixed or variable length.

        Variable-length rows are gathered from the heap in one step.

        Raises:
            InputFileError: no such column, or not of numbers; a row points outside the heap, or the rows together claim
                far more than it holds.
        """
        column = self._column(name)
        if not column.is_number:
            raise self.error(f"column {name} holds {column.kind}, which cannot be read as numbers")
        try:
            if not column.pointer:
                values = self.column(name).reshape(self.num_rows, column.repeat)
                return np.full(self.num_rows, column.repeat), values.ravel()
            lengths, raw = self._gathered(column)
            return lengths, scaled(column, raw)
        except MemoryError:
            raise self.error(f"column {name} does not fit in memory") from None

    def _gathered(self, column: Column) -> tuple[np.ndarray, np.ndarray]:
        """Lengths of the rows and their values as stored, end to end."""
        heap, element = self._heap(), column.element
        kind = np.dtype(">i4" if column.pointer == "P" else ">i8")
        place, strides = self._hdu.data_start + column.offset, (self._row_bytes, kind.itemsize)
        shape = (self.num_rows, 2)
        if not self.num_rows or not column.width:
            return np.zeros(self.num_rows, np.int64), np.zeros(0, element)
        pointers = np.ndarray(shape, kind, self._file.content, place, strides).astype(np.int64)
        lengths, starts = pointers[:, 0], pointers[:, 1]
        used = lengths > 0
        if (lengths < 0).any() or (starts[used] < 0).any():
            raise self.error(f"column {column.name} has a negative length or offset")
        if not used.any():
            return lengths, np.zeros(0, element)
        # Lengths first: their bytes could overflow an int64.
        outside = lengths.max() > heap.size // element.itemsize or starts[used].max() > heap.size
        if outside or (starts + lengths * element.itemsize)[used].max() > heap.size:
            raise self.error(f"column {column.name} points outside the heap: the file is cut off or damaged")
        total = int(lengths.sum()) * element.itemsize  # below 2**63: rows times the heap, both in memory
        if total > max(heap.size, MAX_SHARED_BYTES):
            reason = f"the rows of column {column.name} claim {total} bytes of a heap of {heap.size}"
            raise self.error(reason)
        # Element k of row e is at starts[e] + k * itemsize; cumulative lengths turn that into one ramp.
        ends = np.cumsum(lengths)
        origin = starts - (ends - lengths) * element.itemsize
        if (origin[used] == origin[used][0]).all():  # the rows lie end to end
            return lengths, np.frombuffer(heap, element, count=int(ends[-1]), offset=int(origin[used][0]))
        places = np.repeat(origin, lengths) + np.arange(0, ends[-1] * element.itemsize, element.itemsize)
        windows = np.lib.stride_tricks.sliding_window_view(heap, element.itemsize)
        return lengths, np.ascontiguousarray(windows[places]).view(element).reshape(-1)

    def _heap(self) -> np.ndarray:
        """Bytes from the heap's begin (THEAP) to the end of the data."""
        table_bytes = self._row_bytes * self.num_rows
        begin = self.own_key("THEAP")
        begin = table_bytes if begin is None else begin
        if not isinstance(begin, int) or isinstance(begin, bool) or not table_bytes <= begin <= self._hdu.data_size:
            raise self.error(f"THEAP is {begin!r}, outside the table's {self._hdu.data_size} bytes after its rows")
        place, size = self._hdu.data_start + begin, self._hdu.data_size - begin
        return np.frombuffer(self._file.content, np.uint8, size, place) if size else np.zeros(0, np.uint8)


class FitsFile:
    """A FITS file in memory.

    Attributes:
        path: the file.
        content: its bytes, unpacked.
        primary: the primary header.
        tables: the binary tables, in the file's order.

    Args:
        path: the file; gzip or not, whatever its name.

    Raises:
        InputFileError: missing, empty, not FITS, damaged, cut off, or not what its DATASUM says.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.content = read_bytes(self.path)
        self._hdus = find_hdus(self.path, self.content)
        for hdu in self._hdus:
            check_sums(self.path, hdu, self.content)
        self.primary = self._hdus[0].cards
        self.tables = [FitsTable(self, hdu) for hdu in self._hdus if hdu.is_table]

    def __iter__(self) -> Iterator[FitsTable]:
        return iter(self.tables)

    def error(self, reason: str) -> InputFileError:
        return InputFileError(self.path, reason)

    def describe(self) -> str:
        """The extensions' names, for an error message; those that are no binary tables with their kind."""
        others = {hdu.index: f"{hdu.name or '(no name)'} ({hdu.kind})" for hdu in self._hdus[1:] if not hdu.is_table}
        named = {table.label: table.extname or "(no name)" for table in self.tables}
        return ", ".join([others.get(hdu.index) or named[hdu.label] for hdu in self._hdus[1:]]) or "no table"


def file_name(value: Any) -> str | None:
    """What a BACKFILE, ANCRFILE or RESPFILE names: None where absent, '' where it says that there is none."""
    if value is None:
        return None
    text = str(value).strip()
    return "" if text.lower() in _NO_NAME else text


class quiet(warnings.catch_warnings):
    """Silences astropy's remarks about keywords: what matters here is raised, not warned of."""

    def __enter__(self) -> Any:
        result = super().__enter__()
        warnings.simplefilter("ignore")
        return result
