"""Embeddings and dataset rows whose classes are planted where a test wants them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.schema import build_table
from chandraclip.data.splits import assign_splits
from chandraclip.evaluation.classes import EIGHT, Task, class_task
from chandraclip.evaluation.compared import Compared, Representation
from chandraclip.evaluation.embeddings import EMBEDDINGS_SCHEMA, KEY, EmbeddingTable


def class_table(vectors: np.ndarray, source: np.ndarray, source_class: np.ndarray) -> pa.Table:
    """Embeddings with spectrum latents alone; a class below 0 is unknown."""
    names = [f"2CXO J{number:06d}" for number in source]
    columns = {
        "name": pa.array(names),
        "obsid": pa.array(np.arange(len(source))),
        "obi": pa.array(np.zeros(len(source), int)),
        "region_id": pa.array(np.ones(len(source), int)),
        "split": pa.array(assign_splits(names)),
        "source_class": pa.array([None if number < 0 else int(number) for number in source_class], pa.int64()),
        "spectrum_latents": Ragged.from_rows(list(vectors.astype(np.float32))).to_arrow(pa.list_(pa.float32())),
    }
    schema = pa.schema([field for field in EMBEDDINGS_SCHEMA if field.name in columns])
    return pa.table(columns).select(schema.names).cast(schema)


def planted(
    num_sources: int = 900, detections: int = 2, num_classes: int = 8, distance: float = 12.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(vectors, source, class): a class is a blob in 8 dimensions, centres `distance` apart in units of its scatter."""
    rng = np.random.default_rng(seed)
    source = np.repeat(np.arange(num_sources), detections)
    label = rng.integers(0, num_classes, num_sources)[source]
    centres = distance / np.sqrt(2.0) * np.eye(8)[:num_classes]
    return centres[label] + rng.normal(size=(len(source), 8)), source, label


def compared_of(vectors: np.ndarray, source: np.ndarray, source_class: np.ndarray) -> Compared:
    """One representation, `latents`, without baselines."""
    table = EmbeddingTable.from_table(class_table(vectors, source, source_class), Path("planted.parquet"))
    values = vectors.astype(np.float32)
    return Compared(table, {"latents": Representation(values, np.ones(len(values), bool))}, {})


def task_of(
    compared: Compared, title: str = EIGHT, num_folds: int = 0, usable: np.ndarray | None = None
) -> Task | None:
    """The task of all rows, or of those that are usable."""
    table = compared.table
    usable = np.ones(len(table), bool) if usable is None else usable
    return class_task(title, table.class_names, table.split, table.name, usable, num_folds)


def dataset_rows(table: pa.Table, **columns: np.ndarray) -> pa.Table:
    """Dataset rows of the same detections: line spectra by class, counts, hardness that says nothing."""
    rng = np.random.default_rng(1)
    size = table.num_rows
    label = table["source_class"].fill_null(9).to_numpy()
    expected = 0.05 + 20.0 * (np.abs(np.arange(1024) - 60 - 40 * label[:, None]) < 3)
    rows: dict = {name: table[name].to_pylist() for name in (*KEY, "split", "source_class")}
    rows["spectrum_counts"] = Ragged.from_rows(list(rng.poisson(expected)))
    rows["exposure"] = np.full(size, 1e4)
    rows["src_cnts_aper_b"] = 10.0 ** rng.uniform(0.2, 3.5, size)
    rows["hard_hm"] = rng.normal(size=size)
    rows["theta"] = rng.uniform(0, 10, size)
    return build_table(rows | columns)
