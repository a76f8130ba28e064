"""The columns of a binary table as arrays (FITS standard 4.0, section 7.3)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# Element codes (table 18): bytes, and the type of those that are numbers or text.
_BYTES = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
_TYPES = {"B": ">u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8", "C": ">c8", "M": ">c16"}
_KINDS = {"L": "logical values", "X": "bits", "A": "text", "C": "complex numbers", "M": "complex numbers"}
_INTEGERS = "BIJK"
_FORM = re.compile(r"\s*(\d*)([LXBIJKAEDCMPQ])(.*?)\s*", re.DOTALL)
_ELEMENT = re.compile(r"([LXBIJKAEDCM])(\(\d*\))?", re.DOTALL)
_UNSIGNED: dict[tuple[str, float], type[np.integer[Any]]] = {
    ("I", 2**15): np.uint16,
    ("J", 2**31): np.uint32,
    ("K", 2**63): np.uint64,
    ("B", -(2**7)): np.int8,
}


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: TTYPE, or ''.
        number: counted from 1, as keywords count it.
        code: of an element; of a column of variable-length arrays that of the arrays' elements.
        repeat: elements a row; of variable-length arrays 1 (or 0: none).
        pointer: ``"P"`` or ``"Q"`` of variable-length arrays, else ''.
        offset, width: bytes in a row.
        scale, zero: TSCAL, TZERO.
        null: TNULL, the integer that stands for "no value", as stored; or None.
    """

    name: str
    number: int
    code: str
    repeat: int
    pointer: str
    offset: int
    width: int
    scale: float
    zero: float
    null: int | None

    @property
    def is_number(self) -> bool:
        return self.code not in _KINDS

    @property
    def kind(self) -> str:
        """What the column holds, in words."""
        what = _KINDS.get(self.code, "numbers")
        if self.pointer:
            return f"arrays of variable length of {what}"
        return what if self.repeat == 1 or self.code in "AX" else f"arrays of {self.repeat} {what}"

    @property
    def element(self) -> np.dtype[Any]:
        """Big-endian type of a number as stored."""
        return np.dtype(_TYPES[self.code])


def read_columns(
    value: Callable[[str], Any], error: Callable[[str], Exception], num_fields: int, row_bytes: int
) -> list[Column]:
    """The columns that a header describes.

    Args:
        value: a keyword's value, None where absent.
        error: makes the error to raise from a reason.
        num_fields: TFIELDS.
        row_bytes: NAXIS1.

    Raises:
        what `error` makes: a TFORM that is none, or widths that do not add up to `row_bytes`.
    """
    found: list[Column] = []
    offset = 0
    for number in range(1, num_fields + 1):
        name = value(f"TTYPE{number}")
        name = "" if name is None else str(name).strip()
        written = value(f"TFORM{number}")
        match = _FORM.fullmatch(written) if isinstance(written, str) else None
        if match is None or len(match[1]) > 12:
            raise error(f"TFORM{number} (column {name}) is {written!r}, which is no column format")
        repeat, code, rest = int(match[1] or 1), match[2], match[3]
        width = -(-repeat // 8) if code == "X" else repeat * _BYTES[code]
        pointer = ""
        if code in "PQ":
            element = _ELEMENT.match(rest)
            if element is None or repeat > 1:
                raise error(f"TFORM{number} (column {name}) is {written!r}, which is no column format")
            pointer, code = code, element[1]
        scale, zero = _factor(value, error, f"TSCAL{number}", 1), _factor(value, error, f"TZERO{number}", 0)
        if scale == 0:
            raise error(f"TSCAL{number} (column {name}) is 0")
        null = value(f"TNULL{number}") if code in _INTEGERS else None
        if null is not None and (not isinstance(null, int) or isinstance(null, bool)):
            raise error(f"TNULL{number} (column {name}) is {null!r}, not a whole number")
        found.append(Column(name, number, code, repeat, pointer, offset, width, scale, zero, null))
        offset += width
    if offset != row_bytes:
        raise error(f"its columns take {offset} bytes a row, and NAXIS1 says {row_bytes}")
    return found


def _factor(value: Callable[[str], Any], error: Callable[[str], Exception], keyword: str, default: float) -> float:
    number = value(keyword)
    if number is None:
        return default
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not np.isfinite(float(number)):
        raise error(f"{keyword} is {number!r}, not a finite number")
    return number


def decode(column: Column, content: bytes, start: int, num_rows: int, row_bytes: int) -> np.ndarray:
    """A column of fixed width.

    Args:
        content, start: the file, and where the table's rows begin in it.
        num_rows, row_bytes: NAXIS2, NAXIS1.

    Returns:
        (rows,) or, where the repeat count is not 1, (rows, repeat): numbers in native byte order and scaled (see
        `scaled`), logical values and bits as bool; text as (rows,) str without trailing blanks.
    """
    place = start + column.offset

    def view(kind: str, items: int, size: int) -> np.ndarray:
        return np.ndarray((num_rows, items), kind, content, place, (row_bytes, size))

    if column.width == 0 or not num_rows:
        kind = "U1" if column.code == "A" else "f8" if column.is_number else "?"
        shape = (num_rows,) if column.code == "A" or column.repeat == 1 else (num_rows, column.repeat)
        return np.zeros(shape, kind)
    if column.code == "A":
        characters = np.ascontiguousarray(view("u1", column.repeat, 1))
        if not characters.all():  # a NUL ends a string, and what follows it means nothing (section 7.3.3.1)
            characters = np.where(np.logical_and.accumulate(characters != 0, axis=1), characters, np.uint8(0))
        text = characters.view(f"S{column.repeat}")[:, 0]
        return np.char.rstrip(np.char.decode(text, "latin-1"))
    if column.code == "X":
        return np.unpackbits(view("u1", column.width, 1), axis=1)[:, : column.repeat].astype(bool)
    if column.code == "L":
        values = view("S1", column.repeat, 1) == b"T"
    else:
        stored = view(_TYPES[column.code], column.repeat, _BYTES[column.code])
        values = scaled(column, stored)
    return values[:, 0] if column.repeat == 1 else values


def scaled(column: Column, stored: np.ndarray) -> np.ndarray:
    """Stored numbers, in any byte order, as what they stand for: ``TZERO + TSCAL * stored``, native byte order.

    Integers stay integers where nothing else is said, and where TZERO is the standard's way to write unsigned ones
    (table 19). TNULL becomes NaN, and the column real numbers with it.
    """
    values = stored.astype(stored.dtype.newbyteorder("="))
    empty = values == column.null if column.null is not None else None
    unsigned = _UNSIGNED.get((column.code, column.zero)) if column.scale == 1 else None
    if unsigned is not None:
        # Adding half the range flips the first bit.
        flip = values.dtype.type(np.iinfo(values.dtype).min) if column.code != "B" else np.uint8(128)
        values = (values ^ flip).view(unsigned)
    elif column.scale != 1 or column.zero != 0:
        kind = np.complex128 if values.dtype.kind == "c" else np.float64
        with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is refused where it is used
            values = values.astype(kind) * float(column.scale) + float(column.zero)
    if empty is not None and empty.any():
        values = np.where(empty, np.nan, values.astype(np.float64))
    return values
