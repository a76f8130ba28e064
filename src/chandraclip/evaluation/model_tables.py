"""Tables that `scripts/reconstruct.py` writes, one a model: reading their rows, and putting several side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.keys import KEY
from chandraclip.errors import InputFileError


class ModelTable(Protocol):
    """N detections and what a model says of each."""

    @property
    def keys(self) -> dict[str, np.ndarray]: ...

    @property
    def label(self) -> str: ...

    def select(self, rows: np.ndarray) -> Self: ...


Table = TypeVar("Table", bound=ModelTable)


def read_rows(file: Path, schema: pa.Schema, split: str, needed: str, missing: str) -> pa.Table:
    """The rows of a split in which a column is not null.

    Args:
        file: a Parquet file.
        schema: columns that it must have, `KEY` and `split` among them.
        split: rows to read; ``"all"`` for all.
        needed: the column.
        missing: what is wrong where no row is left.

    Raises:
        InputFileError: not a Parquet file, a column is missing, a key is repeated, or no row is left.
    """
    try:
        table = pq.read_table(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputFileError(file, f"not a readable Parquet file ({error})") from error
    for name in schema.names:
        if name not in table.column_names:
            raise InputFileError(file, "this column is missing", name)
    if table.select(KEY).group_by(list(KEY)).aggregate([]).num_rows < table.num_rows:
        raise InputFileError(file, f"rows repeat the key ({', '.join(KEY)}) of another")
    of_split = np.full(table.num_rows, split == "all") | (table["split"].to_numpy() == split)
    table = table.filter(pa.array(of_split & table[needed].is_valid().to_numpy()))
    if not table.num_rows:
        raise InputFileError(file, f"no row {'' if split == 'all' else f'of {split!r} '}{missing}")
    return table


def keys_of(table: pa.Table) -> dict[str, np.ndarray]:
    """Key column -> (N,) str or int64."""
    return {name: table[name].to_numpy().astype(str if name == "name" else np.int64) for name in KEY}


def label_of(provenance: Mapping[str, Any], path: Path) -> str:
    """The model in a word or two: its family and latents."""
    family, latents = (provenance.get(name) for name in ("model_type", "num_latents"))
    return f"{family} {latents}" if family else str(path)


def side_by_side(tables: Sequence[Table], held_out: Sequence[Ragged], paths: Sequence[str | Path]) -> dict[str, Table]:
    """Label -> table of the detections that all have, in one order; models of one label are told apart by their folder.

    Args:
        tables: one a model.
        held_out: of each table, what the model was not shown of its rows.
        paths: as the user gave them.

    Raises:
        InputFileError: no detection is in all, or what was not shown differs.
    """
    labels = [table.label for table in tables]
    for names in ([Path(path).name for path in paths], paths):
        if len(set(labels)) < len(labels):
            labels = [f"{label} ({name})" for label, name in zip(labels, names)]
    indexes = [pd.MultiIndex.from_arrays([table.keys[name] for name in KEY]) for table in tables]
    common = indexes[0][np.logical_and.reduce([indexes[0].isin(index) for index in indexes])]
    if not len(common):
        raise InputFileError(paths[-1], f"no detection is also in {paths[0]}")
    rows = [index.get_indexer(common) for index in indexes]
    first = held_out[0].take(rows[0])
    for path, lists, chosen in zip(paths, held_out, rows):
        own = lists.take(chosen)
        if not (np.array_equal(own.offsets, first.offsets) and np.array_equal(own.values, first.values)):
            raise InputFileError(path, f"its halves are others than in {paths[0]}: write both with one --seed")
    return {label: table.select(chosen) for label, table, chosen in zip(labels, tables, rows)}
