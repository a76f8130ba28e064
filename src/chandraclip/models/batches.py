"""What a user hands to a processor, as dataset columns: one row, a list of rows, a slice, a table, a `Dataset`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.schema import TABLE_SCHEMA

FORMS = "one row (a dict), a list of rows, dataset[:8] (a dict of columns), a datasets.Dataset or an Arrow table"
# A column whose entries are lists; the other columns of the schema hold one number or text a row.
_LIST_COLUMNS = {field.name for field in TABLE_SCHEMA if pa.types.is_list(field.type)}
_COLUMNS = set(TABLE_SCHEMA.names)


def as_columns(batch: Any) -> Mapping[str, Any] | pa.Table:
    """Columns, one entry a row, of whatever holds detections. Columns are given back as they are.

    A dict is one row where `spectrum_counts`, `event_time` and the like are flat lists of numbers, and `exposure`,
    `summary` and the like are single values; it is columns where each holds one entry a row.

    Args:
        batch: one row, a list of rows (a key that a row lacks is null there), name -> column, an Arrow table or record
            batch, or a `datasets.Dataset`.

    Raises:
        TypeError: something else.
        ValueError: some columns hold one row and others many, or columns differ in length.
    """
    if isinstance(batch, pa.Table | pa.RecordBatch):
        return batch
    if isinstance(batch, Mapping):
        if batch and all(hasattr(value, "with_format") for value in batch.values()):
            raise TypeError(f"this is a DatasetDict: choose one of its splits, {list(batch)}")
        return _row_or_columns(batch)
    if hasattr(batch, "with_format"):  # of `datasets`, which need not be imported
        if not hasattr(batch, "__len__"):
            raise TypeError("an IterableDataset has no rows at hand: take some, e.g. list(dataset.take(8))")
        return batch.with_format("arrow")[:]
    if isinstance(batch, Sequence) and not isinstance(batch, str | bytes):
        return _rows_to_columns(batch)
    advice = "; texts are given as text=" if isinstance(batch, str) else ""
    raise TypeError(f"a batch is {FORMS}; this is a {type(batch).__name__}{advice}")


def _rows_to_columns(rows: Sequence[Any]) -> dict[str, list[Any]]:
    wrong = next((number for number, row in enumerate(rows) if not isinstance(row, Mapping)), None)
    if wrong is not None:
        advice = "; texts are given as text=" if isinstance(rows[wrong], str) else ""
        raise TypeError(f"item {wrong} of the list is no row (a dict) but a {type(rows[wrong]).__name__}{advice}")
    if not rows:
        raise ValueError("the list of rows is empty")
    names = dict.fromkeys(chain.from_iterable(rows))
    columns = {name: [row.get(name) for row in rows] for name in names}
    for name in _COLUMNS.intersection(names):
        many = next((number for number, value in enumerate(columns[name]) if _is_one_row(name, value) is False), None)
        if many is not None:
            raise ValueError(f"column {name!r}: item {many} of the list of rows holds many rows, not one")
    return columns


def _row_or_columns(batch: Mapping[str, Any]) -> Mapping[str, Any]:
    evidence = {name: _is_one_row(name, batch[name]) for name in batch if name in _COLUMNS}
    single = [name for name, one_row in evidence.items() if one_row is True]
    many = [name for name, one_row in evidence.items() if one_row is False]
    if single and many:
        raise ValueError(
            f"column {single[0]!r} holds the value of one row and {many[0]!r} one entry for each of several rows: give "
            "all columns one entry a row, or give one row"
        )
    if single:
        return {name: [value] for name, value in batch.items()}
    lengths = {name: len(batch[name]) for name in evidence if _is_sized(batch[name])}
    if not lengths:  # nothing but nulls, or columns that are not ours
        return {name: [value] for name, value in batch.items()}
    first, expected = next(iter(lengths.items()))
    for name in evidence:
        if batch[name] is not None and lengths.get(name) != expected:
            found = f"has {lengths[name]} rows" if name in lengths else f"is a {type(batch[name]).__name__}"
            raise ValueError(f"column {name!r} {found}, and {first!r} has {expected} rows")
    return {name: batch[name] for name in batch if batch[name] is not None}  # null in all rows: as if it were not there


def _is_one_row(name: str, value: Any) -> bool | None:
    """True where it is the value of one row, False where it holds one entry a row, None where it can be either."""
    if name not in _LIST_COLUMNS:
        return None if value is None else not _is_sized(value)
    if value is None or isinstance(value, Ragged) or not _is_sized(value):
        return False if isinstance(value, Ragged) else None
    if isinstance(value, pa.Array | pa.ChunkedArray):
        return not pa.types.is_nested(value.type)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.ndim == 1 if value.size or value.ndim > 1 else None
    if len(value) == 0:
        return None
    first = next((item for item in value if item is not None), ())  # a list of nulls holds null rows
    return not _is_sized(first)


def _is_sized(value: Any) -> bool:
    """Whether it holds entries: a list, an array, a tensor of one or more axes, an Arrow array; no text, no number."""
    if isinstance(value, str | bytes | Mapping | pa.Scalar):
        return False
    return getattr(value, "ndim", 1) > 0 and hasattr(value, "__len__")
