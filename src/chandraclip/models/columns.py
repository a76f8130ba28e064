"""Dataset columns as flat arrays, whatever they come as: Arrow, `datasets` slices, lists of arrays, tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from chandraclip.catalog.ragged import Ragged


def column_names(batch: Mapping[str, Any] | pa.Table) -> list[str]:
    """Columns that a batch has."""
    return batch.column_names if isinstance(batch, pa.Table | pa.RecordBatch) else list(batch)


def num_rows(batch: Mapping[str, Any] | pa.Table, column: str) -> int:
    """Rows of a batch, by one of its columns."""
    return len(batch[column])


def list_column(batch: Mapping[str, Any] | pa.Table, name: str, dtype: Any) -> Ragged | None:
    """A column of lists as one flat array, or None where the batch has no such column.

    Args:
        batch: columns as an Arrow table, or name -> `Ragged`, Arrow array, (B, n) array, or one list, array, tensor or
            None a row.
        name: of the column.
        dtype: numpy dtype of the values.

    Returns:
        `Ragged` with `valid` set; a null row is empty and not valid.
    """
    if name not in column_names(batch):
        return None
    column = batch[name]
    if isinstance(column, Ragged):
        ragged = column
    elif isinstance(column, pa.Array | pa.ChunkedArray):
        ragged = Ragged.from_arrow(column)
    elif getattr(column, "ndim", 0) == 2:  # numpy or torch, lists of one length
        values = np.asarray(column)
        ragged = Ragged(values.reshape(-1), np.arange(len(values) + 1) * values.shape[1])
    else:
        column = list(column)
        if any(isinstance(row, list) for row in column):  # Python numbers: Arrow converts them many times faster
            rows = pa.array(column, pa.list_(pa.from_numpy_dtype(np.dtype(dtype))), from_pandas=False)
            ragged = Ragged.from_arrow(rows)
        else:
            ragged = Ragged.from_rows([None if row is None else np.asarray(row) for row in column])
    valid = np.ones(len(ragged), dtype=bool) if ragged.valid is None else np.asarray(ragged.valid, dtype=bool)
    return Ragged(np.asarray(ragged.values, dtype=dtype), np.asarray(ragged.offsets, dtype=np.int64), valid)


def scalar_column(batch: Mapping[str, Any] | pa.Table, name: str) -> np.ndarray | None:
    """A column of numbers as (B,) float64 with NaN for null, or None where the batch has no such column."""
    if name not in column_names(batch):
        return None
    column = batch[name]
    if isinstance(column, pa.Array | pa.ChunkedArray):
        column = column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    return np.asarray(column, dtype=np.float64)


def is_null(batch: Mapping[str, Any] | pa.Table, name: str) -> np.ndarray:
    """(B,) bool, True where a column of scalars is null or None (a NaN is neither)."""
    column = batch[name]
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return np.asarray(column.is_null())
    return np.asarray(np.asarray(column, dtype=object) == None)  # noqa: E711, an element each


def row_index(ragged: Ragged) -> np.ndarray:
    """(total,) the row that each value belongs to."""
    return np.repeat(np.arange(len(ragged)), np.diff(ragged.offsets))


def interpolate_rows(
    knot_rows: np.ndarray,
    knots: np.ndarray,
    values: np.ndarray,
    query_rows: np.ndarray,
    query: np.ndarray,
    limits: tuple[float, float],
) -> np.ndarray:
    """Linear interpolation in every row's own table, all rows in one call; constant beyond a row's outermost knots.

    Args:
        knot_rows: (K,) non-decreasing row of each knot; every row of `query_rows` has one.
        knots, values: (K,) abscissae, non-decreasing within a row, and ordinates.
        query_rows, query: row and abscissa of each point wanted, shapes that broadcast.
        limits: all knots and queries lie within.

    Returns:
        Interpolated values, the shape of the queries.
    """
    # One increasing axis: a row is shifted past the one before, its outermost values repeated at its borders, so that
    # no row is interpolated with its neighbour.
    low, high = limits
    stride = 2.0 * (high - low)
    first = np.flatnonzero(np.diff(knot_rows, prepend=-1))
    last = np.append(first[1:], len(knot_rows)) - 1
    # A row's end and the next row's begin fall on one place, where insertion keeps this order: ends first.
    places = np.concatenate([last + 1, first])
    border = stride * knot_rows[first]
    x = np.insert(knots - low + stride * knot_rows, places, np.concatenate([border + (high - low), border]))
    y = np.insert(values, places, np.concatenate([values[last], values[first]]))
    return np.interp(query - low + stride * query_rows, x, y)
