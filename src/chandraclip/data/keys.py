"""The key of a row, for datasets that have none: by it embeddings join with the dataset they are of."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chandraclip.data.schema import SOURCE_CLASSES, TABLE_SCHEMA
from chandraclip.errors import InputFileError

KEY = ("name", "obsid", "obi", "region_id")
KEY_COLUMNS = (*KEY, "split", "source_class")


def with_keys(dataset: str, table: pa.Table, split: str, first_row: int = 0) -> pa.Table:
    """Rows of a split with the key columns, the split and the class, of the schema's types.

    A missing or null `obsid` or `region_id` is the number of the row in the split, `obi` is 0: unique, and the same
    whenever the dataset is loaded. A missing class is null; names of `SOURCE_CLASSES` become their numbers.

    Args:
        dataset: folder or Hub id, for the message.
        table: consecutive rows of the split, with `name`.
        split: where they are.
        first_row: number of the first of them in the split.

    Raises:
        InputFileError: a key column is no integer, or too large for the schema's type.
    """
    numbers = pa.array(np.arange(first_row, first_row + len(table)))
    fillers = {"obsid": numbers, "region_id": numbers, "obi": pa.array(np.zeros(len(table), dtype=np.int64))}
    columns = {name: table[name] for name in table.column_names if name not in KEY_COLUMNS}
    columns["name"] = table["name"].cast(pa.string())
    for name, filler in fillers.items():
        kind = TABLE_SCHEMA.field(name).type
        column = table[name] if name in table.column_names else pa.nulls(len(table), pa.int64())
        try:
            if not (pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
                raise pa.ArrowInvalid(f"it holds {column.type}")
            columns[name] = pc.coalesce(column.cast(pa.int64()), filler).cast(kind)
        except pa.ArrowInvalid as error:
            reason = f"the column must hold {kind} ({error}); rename it, and the number of the row stands in"
            raise InputFileError(dataset, reason, name) from error
    columns["split"] = pa.array([split] * len(table), pa.string())
    columns["source_class"] = _classes(table)
    return pa.table(columns)


def _classes(table: pa.Table) -> pa.Array | pa.ChunkedArray:
    column = table["source_class"] if "source_class" in table.column_names else pa.nulls(len(table))
    if pa.types.is_integer(column.type):
        return column.cast(pa.int64())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return pc.index_in(column, value_set=pa.array(SOURCE_CLASSES, column.type)).cast(pa.int64())
    return pa.nulls(len(table), pa.int64())
