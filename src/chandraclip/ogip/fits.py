"""Opening FITS files: gzip by content, extensions by HDUCLAS, columns as arrays, every fault an `InputFileError`."""

from __future__ import annotations

import gzip
import io
import re
import warnings
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from chandraclip.errors import InputFileError

FITS_BLOCK = 2880
GZIP_MAGIC = b"\x1f\x8b"
# FITS binary table element codes (FITS standard 4.0, table 18) that a variable-length column may hold.
_ELEMENT_TYPES = {"B": ">u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
# How OGIP and CIAO files write "no such file".
_NO_NAME = {"", "none", "n/a", "null", "undef", "%", "unknown"}


def read_bytes(path: Path) -> bytes:
    """A file's content, gunzipped where its first bytes say that it is gzip (a name's ``.gz`` proves nothing).

    Raises:
        InputFileError: missing, unreadable, empty, or a gzip stream that is cut off or damaged.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputFileError(path, "no such file") from None
    except OSError as error:
        raise InputFileError(path, f"cannot be read: {error.strerror or error}") from error
    if content.startswith(GZIP_MAGIC):
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise InputFileError(path, f"gzip stream is cut off or damaged: {error}") from error
    if not content:
        raise InputFileError(path, "the file is empty")
    return content


def looks_like_fits(path: Path) -> bool:
    """Whether the first card is SIMPLE, looking through gzip; reads a few bytes only."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(9)
        if start.startswith(GZIP_MAGIC):
            with gzip.open(path) as stream:
                start = stream.read(9)
    except (OSError, EOFError, zlib.error):
        return False
    return start == b"SIMPLE  ="


class FitsTable:
    """One binary table extension of an open file.

    Attributes:
        path: the file.
        label: the extension's name and number, as errors give it, e.g. ``"SPECTRUM,1"``.
        header: the extension's header.
        num_rows: rows.
        names: column names as written.
    """

    def __init__(self, file: FitsFile, hdu: fits.BinTableHDU, index: int):
        self._file = file
        self._hdu = hdu
        self.path = file.path
        self.header = hdu.header
        self.label = f"{hdu.name},{index}" if hdu.name else str(index)
        self.num_rows = int(hdu.header["NAXIS2"])

    @cached_property
    def names(self) -> list[str]:
        try:
            with quiet():
                return [name or "" for name in self._hdu.columns.names]
        except Exception as error:  # astropy raises many types for damaged column keywords
            raise self.error(f"damaged column keywords: {error}") from error

    @cached_property
    def _by_upper(self) -> dict[str, str]:
        return {name.upper(): name for name in reversed(self.names)}

    def error(self, reason: str) -> InputFileError:
        return InputFileError(self.path, reason, self.label)

    @property
    def extname(self) -> str:
        return self._hdu.name.strip().upper()

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

    def _value(self, header: fits.Header, name: str) -> Any:
        """A keyword's value; None where it is absent or has none."""
        try:
            value = header.get(name)
        except fits.VerifyError:
            raise self.error(f"keyword {name} is damaged") from None
        return None if isinstance(value, fits.card.Undefined) else value

    def number(self, *names: str) -> float | None:
        """`key` as a float.

        Raises:
            InputFileError: the keyword holds something that is not a number.
        """
        value = self.key(*names)
        if value is None or (isinstance(value, str) and not value):
            return None
        try:
            return float(value)
        except (TypeError, ValueError):
            raise self.error(f"{'/'.join(names)} is {value!r}, not a number") from None

    def column_key(self, keyword: str, column: str) -> Any:
        """A keyword indexed by a column's number, e.g. TLMIN of F_CHAN; None where absent."""
        return self.own_key(f"{keyword}{self.column_number(column)}")

    def column_number(self, column: str) -> int:
        """Counted from 1, as keywords count it."""
        return self.names.index(self._by_upper[column.upper()]) + 1

    def unit(self, column: str) -> str:
        return str(self.column_key("TUNIT", column) or "").strip()

    def require(self, *names: str) -> None:
        """Raises InputFileError, naming the columns found, unless all are there."""
        missing = [name for name in names if not self.has(name)]
        if missing:
            raise self.error(f"no column {', '.join(missing)}; it has {', '.join(self.names) or 'none'}")

    def column(self, name: str) -> np.ndarray:
        """A column in native byte order, scaled by TSCAL/TZERO.

        Raises:
            InputFileError: no such column, or its data cannot be decoded.
        """
        self.require(name)
        try:
            with quiet():
                values = np.asarray(self._hdu.data[self._by_upper[name.upper()]])
        except (ValueError, TypeError, IndexError, OSError, KeyError) as error:
            raise self.error(f"column {name} cannot be decoded: {error}") from error
        return values.astype(values.dtype.newbyteorder("="), copy=False) if values.dtype.kind in "iufc" else values

    def numbers(self, name: str) -> np.ndarray:
        """A column of one number a row.

        Returns:
            (rows,) integers or reals; NaN for TNULL.

        Raises:
            InputFileError: no such column, or it holds text, logical values, complex numbers or arrays.
        """
        values = self.column(name)
        if values.dtype.kind not in "iuf" or values.shape != (self.num_rows,):
            kind = self.column_key("TFORM", name)
            raise self.error(f"column {name} holds {str(kind).strip()}; one number a row is expected")
        null = self.column_key("TNULL", name)
        return values if null is None or values.dtype.kind == "f" else np.where(values == null, np.nan, values)

    def ragged(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A column of arrays as (lengths (rows,), values end to end), whether stored at fixed or variable length.

        Variable-length rows are gathered from the heap in one step: astropy reads them one row at a time.

        Raises:
            InputFileError: no such column, or a row points outside the heap.
        """
        self.require(name)
        column = self._hdu.columns[self._by_upper[name.upper()]]
        match = re.fullmatch(r"\s*[01]?([PQ])([A-Z])(\(\d*\))?\s*", str(column.format))
        if match is None:
            values = self.column(name).reshape(self.num_rows, -1)
            return np.full(self.num_rows, values.shape[1]), values.ravel()
        if match[2] not in _ELEMENT_TYPES:
            raise self.error(f"column {name} has format {column.format}, which cannot be read as numbers")
        row_bytes = int(self.header["NAXIS1"])
        data = self._file.data_of(self._hdu)
        offset = self._hdu.columns.dtype.fields[column.name][1]
        kind = np.dtype(">i4" if match[1] == "P" else ">i8")
        rows = data[: row_bytes * self.num_rows].reshape(self.num_rows, row_bytes)
        pointers = np.ascontiguousarray(rows[:, offset : offset + 2 * kind.itemsize]).view(kind).astype(np.int64)
        lengths, starts = pointers[:, 0], pointers[:, 1]
        element = np.dtype(_ELEMENT_TYPES[match[2]])
        heap = data[int(self.number("THEAP") or row_bytes * self.num_rows) :]
        used = lengths > 0
        if (lengths < 0).any() or (starts[used] < 0).any():
            raise self.error(f"column {name} has a negative length or offset")
        if used.any() and (starts + lengths * element.itemsize)[used].max() > heap.size:
            raise self.error(f"column {name} points outside the heap: the file is cut off or damaged")
        raw = np.zeros(0, element)
        if used.any():
            # Element k of row e is at starts[e] + k * itemsize; cumulative lengths turn that into one ramp.
            ends = np.cumsum(lengths)
            origin = starts - (ends - lengths) * element.itemsize
            if (origin[used] == origin[used][0]).all():  # the rows lie end to end
                raw = np.frombuffer(heap, element, count=int(ends[-1]), offset=int(origin[used][0]))
            else:
                places = np.repeat(origin, lengths) + np.arange(0, ends[-1] * element.itemsize, element.itemsize)
                windows = np.lib.stride_tricks.sliding_window_view(heap, element.itemsize)
                raw = np.ascontiguousarray(windows[places]).view(element).reshape(-1)
        values = raw.astype(element.newbyteorder("="))
        scale, zero = column.bscale, column.bzero
        if scale not in (None, "", 1) or zero not in (None, "", 0):
            values = values * (scale or 1) + (zero or 0)
        return lengths, values


class FitsFile:
    """A FITS file in memory: the primary header and the binary tables.

    Args:
        path: the file; gzip or not, whatever its name.

    Raises:
        InputFileError: missing, empty, not FITS, damaged, or shorter than its headers promise.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._content = read_bytes(self.path)
        if not self._content.startswith(b"SIMPLE  ="):
            begins = self._content[:20].decode("latin-1")
            raise InputFileError(self.path, f"not a FITS file: it begins with {begins!r}, not with SIMPLE")
        try:
            with quiet():
                hdus = list(fits.open(io.BytesIO(self._content), memmap=False, lazy_load_hdus=False))
                self.primary: fits.Header = hdus[0].header
                places = [(hdu.fileinfo(), hdu.size) for hdu in hdus]
                self.tables = [
                    FitsTable(self, hdu, index) for index, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU)
                ]
        except Exception as error:  # astropy raises many types for a damaged header
            raise InputFileError(self.path, f"damaged FITS headers: {error}") from error
        end = 0
        for index, (place, size) in enumerate(places):
            needed = place["datLoc"] + size
            if needed > len(self._content):
                raise InputFileError(
                    self.path, f"the file is cut off: {len(self._content)} bytes of at least {needed}", index
                )
            end = max(end, place["datLoc"] + place["datSpan"])
        # A header cut off in the middle is dropped by astropy with a warning only.
        rest = self._content[end : end + 8]
        if rest and b"XTENSION".startswith(rest):
            raise InputFileError(self.path, "the file is cut off inside a header", len(places))

    def __iter__(self) -> Iterator[FitsTable]:
        return iter(self.tables)

    def data_of(self, hdu: fits.BinTableHDU) -> np.ndarray:
        """The bytes of an HDU's data, heap included, uint8."""
        return np.frombuffer(self._content, np.uint8, count=hdu.size, offset=hdu.fileinfo()["datLoc"])

    def error(self, reason: str) -> InputFileError:
        return InputFileError(self.path, reason)

    def describe(self) -> str:
        """The extensions' names, for an error message."""
        return ", ".join(table.extname or "(no name)" for table in self.tables) or "no table"


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
