"""Columns within columns: ``spectrum.flux`` of structs, ``event_list.1`` of pairs, for Arrow types and arrays alike.

| reference | of a column of | gives |
|---|---|---|
| ``a`` | anything | the column |
| ``a.b`` | structs | the field |
| ``a.b`` | lists of structs | lists of the field |
| ``a.1`` | lists of lists, e.g. ``[[time, energy], ...]`` | lists of the second number of each |
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def root_of(reference: str) -> str:
    """The column of the table that a reference is in."""
    return reference.split(".", 1)[0]


def type_at(schema: pa.Schema, reference: str) -> pa.DataType | None:
    """What a reference gives; None where the schema has no such thing."""
    # A name of the table's own may have dots in it.
    if reference in schema.names:
        return schema.field(reference).type
    root, *steps = reference.split(".")
    if root not in schema.names:
        return None
    kind = schema.field(root).type
    for step in steps:
        if pa.types.is_null(kind):
            return kind
        below = _below(kind, step)
        if below is None:
            return None
        kind = below
    return kind


def column_at(table: pa.Table, reference: str) -> pa.Array:
    """(rows,) what a reference gives; `type_at` says whether there is such a thing."""
    name = reference if reference in table.column_names else root_of(reference)
    column = table[name].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    for step in [] if name == reference else reference.split(".")[1:]:
        if pa.types.is_null(column.type):
            return column
        column = _step(column, step)
    return column


def is_list(kind: pa.DataType) -> bool:
    return any(check(kind) for check in _LISTS)


def _below(kind: pa.DataType, step: str) -> pa.DataType | None:
    if pa.types.is_struct(kind):
        return kind.field(step).type if step in {item.name for item in kind} else None
    if not is_list(kind):
        return None
    inner = kind.value_type
    if pa.types.is_struct(inner):
        found = _below(inner, step)
        return None if found is None else pa.list_(found)
    return pa.list_(inner.value_type) if step.isdigit() and is_list(inner) else None


def _step(column: pa.Array, step: str) -> pa.Array:
    if pa.types.is_struct(column.type):
        return pc.struct_field(column, step)
    flat = column.flatten()  # without what lies under null rows
    values = pc.struct_field(flat, step) if pa.types.is_struct(flat.type) else _elements(flat, int(step))
    lengths = np.asarray(pc.list_value_length(column).fill_null(0), dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    if offsets[-1] >= 2**31:
        return pa.LargeListArray.from_arrays(offsets, values, mask=pc.is_null(column))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=pc.is_null(column))


def _elements(lists: pa.Array, position: int) -> pa.Array:
    """Number `position` of each list; null where a list is null or shorter."""
    lengths = np.asarray(pc.list_value_length(lists).fill_null(0), dtype=np.int64)
    begin = np.concatenate([[0], np.cumsum(lengths)])[:-1]
    has = lengths > position
    return lists.flatten().take(pa.array(np.where(has, begin + position, 0), mask=~has))
