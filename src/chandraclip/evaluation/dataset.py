"""Columns of the dataset joined to embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from chandraclip.data.keys import KEY, with_keys
from chandraclip.data.loading import load_splits
from chandraclip.errors import InputFileError
from chandraclip.evaluation.embeddings import EmbeddingTable
from chandraclip.evaluation.rate_tables import RateTable
from chandraclip.evaluation.reconstructions import ReconstructionTable

# What rows of the dataset are looked up for.
Detections = EmbeddingTable | ReconstructionTable | RateTable


def join_columns(dataset: str, config: str, columns: Sequence[str], table: Detections) -> dict[str, np.ndarray]:
    """Dataset columns for the rows of an embeddings table, matched by key.

    Args:
        dataset: folder or Hub id.
        config: e.g. ``"catalog"`` or ``"texts"``, where the dataset has it; else the one that was embedded.
        columns: wanted; those the dataset lacks are left out.
        table: N embeddings, reconstructions or rates.

    Returns:
        column -> (N,): float columns as float64 with NaN for null, others as objects with None for null.

    Raises:
        InputFileError: the dataset does not load, repeats a key, or lacks a detection of the table.
    """
    splits = load_splits(dataset, config, table.provenance.get("dataset_config"))
    available = next(iter(splits.values())).column_names
    wanted = [name for name in columns if name in available]
    read = list(dict.fromkeys(name for name in (*KEY, *wanted) if name in available))
    parts = {name: rows.select_columns(read)[:] for name, rows in splits.items() if len(rows)}
    whole = pa.concat_tables([with_keys(dataset, rows, name) for name, rows in parts.items()])
    index = _key_index({name: whole[name].to_numpy() for name in KEY})
    if not index.is_unique:
        raise InputFileError(dataset, "two rows have the same key")
    position = index.get_indexer(_key_index(table.keys))
    _refuse_lost(dataset, table, position < 0)
    return {name: _values(whole[name])[position] for name in wanted}


def column_batches(
    dataset: str,
    config: str,
    columns: Sequence[str],
    table: Detections,
    batch_rows: int = 4096,
) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """Dataset columns for the rows of an embeddings table, some rows at a time, where memory has no room for all.

    Args:
        dataset, config, columns, table: as for `join_columns`; the table of any kind.
        batch_rows: rows of the dataset that are read at a time.

    Yields:
        Which rows of the table, and a table of the columns of just these; in the order of the dataset.

    Raises:
        InputFileError: as `join_columns`; of a detection that is lacking, after the last batch.
    """
    splits = load_splits(dataset, config, table.provenance.get("dataset_config"))
    available = next(iter(splits.values())).column_names
    wanted = [name for name in columns if name in available]
    read = list(dict.fromkeys(name for name in (*KEY, *wanted) if name in available))
    index = _key_index(table.keys)
    found = np.zeros(len(table), dtype=np.int64)
    for split, rows in splits.items():
        chosen = rows.select_columns(read)
        for start in range(0, len(chosen), batch_rows):
            part = with_keys(dataset, chosen[start : start + batch_rows], split, start)
            position = index.get_indexer(_key_index({name: part[name].to_numpy() for name in KEY}))
            np.add.at(found, position[position >= 0], 1)
            if (position >= 0).any():
                yield position[position >= 0], part.select(wanted).filter(pa.array(position >= 0))
    if (found > 1).any():
        raise InputFileError(dataset, "two rows have the same key")
    _refuse_lost(dataset, table, found == 0)


def _refuse_lost(dataset: str, table: Detections, lost: np.ndarray) -> None:
    if lost.any():
        reason = f"{lost.sum()} of {len(table)} embedded detections are not in it, the first of {table.name[lost][0]!r}"
        raise InputFileError(dataset, reason)


def _key_index(keys: dict[str, np.ndarray]) -> pd.MultiIndex:
    frame = {name: keys[name].astype(str) if name == "name" else keys[name].astype(np.int64) for name in KEY}
    return pd.MultiIndex.from_frame(pd.DataFrame(frame))


def _values(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_floating(column.type):
        return column.cast(pa.float64()).fill_null(np.nan).to_numpy()
    values = np.empty(len(column), dtype=object)
    values[:] = column.to_pylist()
    return values
