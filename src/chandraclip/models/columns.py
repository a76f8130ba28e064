"""Dataset columns as flat arrays, whatever they come as: Arrow, `datasets` slices, lists of arrays, tensors."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import pyarrow as pa

from chandraclip.catalog.ragged import Ragged


def column_names(batch: Mapping[str, Any] | pa.Table) -> list[str]:
    """Columns that a batch has."""
    return batch.column_names if isinstance(batch, pa.Table | pa.RecordBatch) else list(batch)


def list_column(batch: Mapping[str, Any] | pa.Table, name: str, dtype: Any) -> Ragged | None:
    """A column of lists as one flat array, or None where the batch has no such column.

    Args:
        batch: columns as an Arrow table, or name -> `Ragged`, Arrow array, (B, n) array, or one list, array, tensor or
            None a row.
        name: of the column.
        dtype: numpy dtype of the values.

    Returns:
        `Ragged` with `valid` set; a null row is empty and not valid.

    Raises:
        ValueError: an entry is no list of numbers.
    """
    if name not in column_names(batch):
        return None
    column = batch[name]
    try:
        ragged = _ragged(column, dtype)
        valid = np.ones(len(ragged), dtype=bool) if ragged.valid is None else np.asarray(ragged.valid, dtype=bool)
        if ragged.values.dtype.kind not in "biuf" or ragged.values.ndim != 1:
            raise TypeError(f"{ragged.values.ndim}-d values of type {ragged.values.dtype}")
        return Ragged(np.asarray(ragged.values, dtype=dtype), np.asarray(ragged.offsets, dtype=np.int64), valid)
    except (TypeError, ValueError, AttributeError, pa.ArrowException) as error:
        raise ValueError(f"column {name!r}: {_wrong_list(column)}; it holds one list of numbers a row") from error


def _ragged(column: Any, dtype: Any) -> Ragged:
    if isinstance(column, Ragged):
        return column
    if isinstance(column, pa.Array | pa.ChunkedArray):
        if pa.types.is_null(column.type):
            return Ragged.from_rows([None] * len(column))
        return Ragged.from_arrow(column)
    if getattr(column, "ndim", 0) == 2:  # numpy or torch, lists of one length
        values = np.asarray(column)
        return Ragged(values.reshape(-1), np.arange(len(values) + 1) * values.shape[1])
    column = list(column)
    if any(isinstance(row, list) for row in column):  # Python numbers: Arrow converts them many times faster
        rows = pa.array(column, pa.list_(pa.from_numpy_dtype(np.dtype(dtype))), from_pandas=False)
        return Ragged.from_arrow(rows)
    return Ragged.from_rows([None if row is None else np.asarray(row) for row in column])


def _wrong_list(column: Any) -> str:
    """The first entry of a column that is no list of numbers, in words."""
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return f"its type is {column.type}"
    for number, row in enumerate(column):
        if row is None:
            continue
        try:
            values = np.asarray(row)
        except (TypeError, ValueError):  # lists of several lengths in one
            return f"row {number} is no flat list"
        if values.ndim != 1:
            return f"row {number} is a {type(row).__name__}" if values.ndim == 0 else f"row {number} is no flat list"
        if values.dtype.kind not in "biuf":
            wrong = next(value for value in row if not isinstance(value, Real))
            return f"row {number} holds {'null' if wrong is None else f'a {type(wrong).__name__}'}"
    return "its entries are not alike"


def scalar_column(batch: Mapping[str, Any] | pa.Table, name: str) -> np.ndarray | None:
    """A column of numbers as (B,) float64 with NaN for null, or None where the batch has no such column.

    Raises:
        ValueError: an entry is no number.
    """
    if name not in column_names(batch):
        return None
    column = batch[name]
    if isinstance(column, pa.Array | pa.ChunkedArray):
        if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
            raise ValueError(f"column {name!r}: its type is {column.type}; it holds one number a row")
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    try:
        values = np.asarray(column)
        is_objects = values.dtype == object and all(map(_is_number, column))  # None among them
        if values.ndim == 1 and (values.dtype.kind in "biuf" or is_objects):
            return values.astype(np.float64)
    except (TypeError, ValueError):
        pass
    wrong = next((number for number, value in enumerate(column) if not _is_number(value)), 0)
    raise ValueError(f"column {name!r}: row {wrong} is a {type(column[wrong]).__name__}; it holds one number a row")


def background_columns(batch: Mapping[str, Any] | pa.Table) -> tuple[Ragged | None, np.ndarray | None]:
    """spectrum_background and background_scale, as `catalog.resampling` takes them."""
    return list_column(batch, "spectrum_background", np.float64), scalar_column(batch, "background_scale")


def exposure_column(batch: Mapping[str, Any] | pa.Table, counts: Ragged) -> np.ndarray:
    """(B,) s, NaN where not known.

    Raises:
        ValueError: a row with counts has an exposure that is given and not positive.
    """
    exposure = scalar_column(batch, "exposure")
    if exposure is None:
        return np.full(len(counts), np.nan)
    wrong = np.flatnonzero((np.diff(counts.offsets) > 0) & ~(exposure > 0) & ~is_null(batch, "exposure"))
    if wrong.size:
        raise ValueError(
            f"row {wrong[0]}: a spectrum needs a positive exposure, this is {exposure[wrong[0]]} s "
            "(null or None where it is not known)"
        )
    return exposure


def text_column(column: Any, name: str) -> list[str]:
    """A column of texts; null ones are empty.

    Args:
        column: strings (numpy's too) or None, or an Arrow column of them.
        name: that errors give it.

    Raises:
        ValueError: an entry is no text.
    """
    texts = column.to_pylist() if isinstance(column, pa.Array | pa.ChunkedArray) else column
    try:
        texts = list(texts)
    except TypeError as error:
        raise ValueError(f"column {name!r} is a {type(column).__name__}; it holds one text a row") from error
    wrong = next((number for number, text in enumerate(texts) if not isinstance(text, str | None)), None)
    if wrong is not None:
        raise ValueError(f"column {name!r}: row {wrong} is a {type(texts[wrong]).__name__}; it holds one text a row")
    return [str(text or "") for text in texts]


def _is_number(value: Any) -> bool:
    return value is None or (not isinstance(value, str | bytes) and np.ndim(value) == 0)


def is_null(batch: Mapping[str, Any] | pa.Table, name: str) -> np.ndarray:
    """(B,) bool, True where a column of scalars is null or None (a NaN is neither)."""
    column = batch[name]
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return np.asarray(column.is_null())
    return np.asarray(np.asarray(column, dtype=object) == None)  # noqa: E711, an element each
