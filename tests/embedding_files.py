"""Synthetic embeddings of which the truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.schema import CONFIGS, build_table
from chandraclip.data.splits import SPLITS, assign_splits
from chandraclip.evaluation.embeddings import EMBEDDINGS, EMBEDDINGS_SCHEMA, KEY, LATENTS, EmbeddingTable


def make_table(num_sources: int = 400, detections: int = 2, seed: int = 0, **missing: np.ndarray) -> pa.Table:
    """Embeddings whose first coordinates carry a hidden physical vector; `missing` maps a column to null rows."""
    generator = np.random.default_rng(seed)
    num_rows = num_sources * detections
    source = np.repeat(np.arange(num_sources), detections)
    hidden = generator.normal(size=(num_sources, 6))[source]
    columns: dict[str, pa.Array] = {
        "name": pa.array([f"2CXO J{number:06d}" for number in source]),
        "obsid": pa.array(np.arange(num_rows), pa.int32()),
        "obi": pa.array(np.zeros(num_rows), pa.int16()),
        "region_id": pa.array(np.ones(num_rows), pa.int32()),
        "source_class": pa.array(source % 4, pa.int64()),
        "text_id": pa.array([f"text{number}" for number in source]),
    }
    columns["split"] = pa.array(assign_splits(columns["name"].to_pylist()))
    projection = np.linalg.qr(generator.normal(size=(16, 6)))[0]
    for name in (*EMBEDDINGS, *LATENTS):
        noise = 0.0 if name == "text_embedding" else 0.2
        values = (hidden + noise * generator.normal(size=hidden.shape)) @ projection.T
        if name == "text_features":
            values = generator.normal(size=values.shape)  # tells nothing
        if name in EMBEDDINGS:
            values /= np.linalg.norm(values, axis=1, keepdims=True)
        rows = list(values.astype(np.float32))
        columns[name] = Ragged.from_rows(
            [None if name in missing and missing[name][i] else row for i, row in enumerate(rows)]
        ).to_arrow(pa.list_(pa.float32()))
    return pa.table(columns).select(EMBEDDINGS_SCHEMA.names).cast(EMBEDDINGS_SCHEMA)


@pytest.fixture
def embeddings_table() -> pa.Table:
    return make_table()


@pytest.fixture
def make_embeddings():
    """`make_table` as an `EmbeddingTable`."""

    def make(*args, **kwargs) -> EmbeddingTable:
        return EmbeddingTable.from_table(make_table(*args, **kwargs), Path("synthetic.parquet"))

    return make


def write_dataset(folder: Path, table: pa.Table) -> Path:
    """Rows of the dataset's schema as a dataset folder with the configs that evaluations read."""
    (folder / "data").mkdir(parents=True)
    present = [split for split in SPLITS if split in set(table["split"].to_pylist())]
    for split in present:
        rows = table.filter(pc.equal(table["split"], split))
        pq.write_table(rows, folder / "data" / f"{split}-00000-of-00001.parquet", row_group_size=100)
    card: dict = {"configs": []}
    for config in ("pairs", "catalog", "texts"):
        files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in present]
        columns = [field.name for field in CONFIGS[config]]
        card["configs"].append({"config_name": config, "data_files": files, "columns": columns})
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n")
    return folder


def make_dataset_table(embeddings: pa.Table) -> pa.Table:
    """Dataset rows of the same detections: a variable that the spectrum latents know, one that nothing knows, texts."""
    latents = np.stack([np.asarray(row) for row in embeddings["spectrum_latents"].to_pylist()])
    generator = np.random.default_rng(7)
    num_rows = embeddings.num_rows
    columns: dict = {name: embeddings[name].to_pylist() for name in (*KEY, "split", "source_class")}
    columns["hard_hs"] = latents @ generator.normal(size=latents.shape[1])
    columns["powlaw_gamma"] = np.where(np.arange(num_rows) % 4 == 0, np.nan, generator.normal(size=num_rows))
    columns["flux_aper_b"] = 10.0 ** (-13 + 0.3 * latents[:, 0])
    columns["theta"] = generator.uniform(0, 10, num_rows)
    columns["livetime"] = generator.uniform(1e3, 1e5, num_rows)
    columns["true_spectrum"] = ["powerlaw"] * num_rows
    columns["spectrum_counts"] = Ragged.from_rows(list(generator.integers(0, 5, (num_rows, 8))))
    columns["summary"] = [f"A text about {name}." for name in columns["name"]]
    return build_table(columns)


@pytest.fixture
def dataset(tmp_path, monkeypatch, embeddings_table) -> Path:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return write_dataset(tmp_path / "dataset", make_dataset_table(embeddings_table))


@pytest.fixture(name="write_dataset")
def write_dataset_fixture():
    return write_dataset
