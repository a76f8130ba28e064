"""Columns and keywords of one spectrum, whether the table is one spectrum (type I) or each row is one (type II)."""

from __future__ import annotations

from typing import Any

import numpy as np

from chandraclip.ogip.fits import FitsTable

_MAX_INTEGER = 2**31 - 1


class SpectrumCells:
    """What an extension holds of one spectrum, its types checked.

    Args:
        table: a SPECTRUM extension.
        row: of a type II table; None: the table is one spectrum, a row a channel.
    """

    def __init__(self, table: FitsTable, row: int | None):
        self.table = table
        self.row = row

    def array(self, name: str) -> np.ndarray:
        """(n,) float64 of a column, n the channels listed; NaN where TNULL says that there is no value.

        Raises:
            InputFileError: no such column, it holds no real numbers, or arrays in a type I spectrum.
        """
        lengths, values = self.table.ragged(name)
        if values.dtype.kind not in "iuf":
            raise self.table.error(f"column {name} holds {self._kind(name)}, not real numbers")
        if self.row is not None:
            start = int(lengths[: self.row].sum())
            values = values[start : start + int(lengths[self.row])]
        elif not (lengths == 1).all():
            raise self.table.error(f"column {name} holds arrays in a type I spectrum")
        return values.astype(np.float64)

    def integers(self, name: str) -> np.ndarray:
        """(n,) int64 of a column.

        Raises:
            InputFileError: as `array`; a value is not whole, or no int32.
        """
        values = self.array(name)
        if not np.isfinite(values).all() or (values != np.round(values)).any():
            raise self.table.error(f"column {name} is not whole numbers")
        if values.size and np.abs(values).max() > _MAX_INTEGER:
            raise self.table.error(
                f"column {name} holds {values[np.abs(values).argmax()]:g}, out of the range of int32"
            )
        return values.astype(np.int64)

    def stored_as_integers(self, name: str) -> bool:
        """Whether a column's TFORM is that of integers."""
        return self._kind(name).rstrip("0123456789()").endswith(("B", "I", "J", "K"))

    def cell(self, name: str) -> Any:
        """A quantity given as a column or as a keyword: an array, a number or a text; None where it is neither."""
        if not self.table.has(name):
            return self.table.key(name)
        if not self._kind(name).endswith("A"):
            return self.array(name)
        return str(self.table.column(name)[self.row or 0])

    def number(self, name: str) -> float | None:
        """A quantity that is one number for the whole spectrum; None where it is absent.

        Raises:
            InputFileError: it is no finite real number, or differs between channels.
        """
        values = self.numbers(name)
        if values is None:
            return None
        if (values != values[0]).any():
            raise self.table.error(f"{name} differs between channels")
        return float(values[0])

    def numbers(self, name: str) -> np.ndarray | None:
        """(1,) or (n,) float64: a quantity given once or a channel; None where it is absent.

        Raises:
            InputFileError: not finite real numbers.
        """
        if self.table.has(name):
            values = self.array(name)
            if not values.size:
                raise self.table.error(f"column {name} is empty")
            if not np.isfinite(values).all():
                raise self.table.error(f"column {name} is not a finite number everywhere")
            return values
        value = self.table.number(name)
        return None if value is None else np.array([value])

    def whole(self, name: str, value: Any) -> int:
        """A keyword's value as an int32.

        Raises:
            InputFileError: it is no whole number, or not of that range.
        """
        number = self.table.as_number(name, value)
        if number != round(number) or abs(number) > _MAX_INTEGER:
            raise self.table.error(f"{name} is {value}, not a whole number of a size that it can be")
        return int(number)

    def _kind(self, name: str) -> str:
        """TFORM of a column."""
        return str(self.table.column_key("TFORM", name) or "").strip()
