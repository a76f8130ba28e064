"""`Ragged`: a column of lists without a Python object a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Ragged:
    """A column of lists as one flat array: row i is ``values[offsets[i]:offsets[i + 1]]``, null where not `valid`.

    Attributes:
        values: (total,) every list, end to end.
        offsets: (rows + 1,) int.
        valid: (rows,) bool, or None where every row is present.
    """

    values: np.ndarray
    offsets: np.ndarray
    valid: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def from_rows(cls, rows: Sequence[np.ndarray | None]) -> Ragged:
        """From one array (or None) a row."""
        lengths = [0 if row is None else len(row) for row in rows]
        present = [np.asarray(row) for row in rows if row is not None]
        return cls(
            values=np.concatenate(present) if present else np.zeros(0),
            offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
            valid=np.array([row is not None for row in rows]),
        )

    @classmethod
    def from_arrow(cls, column: pa.ChunkedArray | pa.Array) -> Ragged:
        """From an Arrow list column, sliced or chunked; without a Python object a row."""
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if isinstance(array, pa.ChunkedArray):  # no chunk at all
            array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
        # flatten() drops what lies under null rows, so offsets come from the lengths, not from the buffer.
        lengths = np.asarray(array.value_lengths().fill_null(0))
        return cls(
            values=np.asarray(array.flatten()),
            offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
            valid=np.asarray(array.is_valid()),
        )

    def take(self, rows: np.ndarray) -> Ragged:
        """The rows of indices, in their order."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return Ragged(self.values[places], offsets, None if self.valid is None else self.valid[rows])

    def to_arrow(self, list_type: pa.DataType) -> pa.Array:
        """As an Arrow list array of `list_type`."""
        mask = None if self.valid is None else pa.array(~np.asarray(self.valid, dtype=bool))
        values = pa.array(np.asarray(self.values), from_pandas=False)
        return pa.ListArray.from_arrays(
            pa.array(self.offsets, pa.int32()), values.cast(list_type.value_type), type=list_type, mask=mask
        )


def row_index(ragged: Ragged) -> np.ndarray:
    """(total,) the row that each value belongs to."""
    return np.repeat(np.arange(len(ragged)), np.diff(ragged.offsets))


def ranks_in_rows(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(total,) float64, the place of each value among those of its row, from 1; equal ones share the mean of theirs.

    Args:
        values: (total,).
        rows: (total,) int, not decreasing, see `row_index`.
    """
    order = np.lexsort((values, rows))
    value, row = values[order], rows[order]
    is_new_row = np.diff(row, prepend=-1) > 0
    starts = np.flatnonzero(is_new_row | (np.diff(value, prepend=np.nan) != 0))
    number = np.diff(np.append(starts, len(order)))
    in_row = np.arange(len(order)) - np.maximum.accumulate(np.where(is_new_row, np.arange(len(order)), 0))
    result = np.empty(len(order))
    result[order] = np.repeat(in_row[starts] + 0.5 * (number + 1), number)
    return result
