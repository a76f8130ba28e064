"""The embeddings file: one row a detection, one column a representation. What every evaluation reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.keys import KEY
from chandraclip.data.schema import KEY_FIELDS, SOURCE_CLASSES
from chandraclip.errors import InputFileError

EMBEDDINGS_FILE = "embeddings.parquet"
PROVENANCE_FILE = "embeddings.json"
# Unit vectors in the shared space, then what the towers give before alignment.
EMBEDDINGS = ("spectrum_embedding", "event_embedding", "xray_embedding", "text_embedding")
LATENTS = ("spectrum_latents", "event_latents", "text_features")
EMBEDDINGS_SCHEMA = pa.schema(
    [
        *KEY_FIELDS,
        pa.field("source_class", pa.int64()),
        pa.field("text_id", pa.string()),  # content hash of the summary: equal texts have equal ids
        *(pa.field(name, pa.list_(pa.float32())) for name in (*EMBEDDINGS, *LATENTS)),
    ]
)
_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class EmbeddingTable:
    """Embeddings of N detections.

    Attributes:
        keys: key column -> (N,): ``name``, ``obsid``, ``obi``, ``region_id``.
        split: (N,) str.
        source_class: (N,) int64, -1 where unknown.
        text_id: (N,) str, empty where the detection has no text.
        arrays: representation -> (N, D) float32, zeros where missing. Only representations that some row has.
        masks: representation -> (N,) bool, True where the row has it.
        provenance: what `embeddings.json` says, empty without one.
        path: where it came from.
    """

    keys: dict[str, np.ndarray]
    split: np.ndarray
    source_class: np.ndarray
    text_id: np.ndarray
    arrays: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]
    provenance: dict[str, Any] = field(default_factory=dict)
    path: Path = Path()

    def __len__(self) -> int:
        return len(self.split)

    @property
    def class_names(self) -> np.ndarray:
        """(N,) object: the known class of each detection's source, None where there is none."""
        names = np.array([*SOURCE_CLASSES, None], dtype=object)
        known = (self.source_class >= 0) & (self.source_class < len(SOURCE_CLASSES))
        return names[np.where(known, self.source_class, -1)]

    def classes(self, facts: Mapping[str, np.ndarray]) -> np.ndarray:
        """(N,) object: the simulated class (`true_class` of the facts), else the known one, None where neither is."""
        true = facts.get("true_class")
        return self.class_names if true is None else np.where(pd.isna(true), self.class_names, true)

    @property
    def name(self) -> np.ndarray:
        """(N,) source names."""
        return self.keys["name"]

    @classmethod
    def load(cls, path: str | Path) -> EmbeddingTable:
        """Read and check a folder written by `scripts/embed.py`, or a Parquet file of the same columns.

        Raises:
            InputFileError: no such file, a key column missing or repeated, no row, a list of another length or a value
                that is not finite, an embedding that is not a unit vector, or a source in two splits.
        """
        path = Path(path)
        file = path / EMBEDDINGS_FILE if path.is_dir() else path
        if not file.is_file():
            raise InputFileError(path, f"no embeddings here: expected {EMBEDDINGS_FILE}, as scripts/embed.py writes it")
        try:
            wanted = set(EMBEDDINGS_SCHEMA.names)
            table = pq.read_table(file, columns=[name for name in pq.read_schema(file).names if name in wanted])
        except (pa.ArrowInvalid, OSError) as error:
            raise InputFileError(file, f"not a readable Parquet file ({error})") from error
        provenance = file.with_name(PROVENANCE_FILE)
        facts = json.loads(provenance.read_text()) if provenance.is_file() else {}
        return cls.from_table(table, file, facts)

    @classmethod
    def from_table(cls, table: pa.Table, path: Path, provenance: dict[str, Any] | None = None) -> EmbeddingTable:
        """From an Arrow table of `EMBEDDINGS_SCHEMA`; checks and errors as `load`."""
        for name in (*KEY, "split"):
            if name not in table.column_names:
                raise InputFileError(path, "this key column is missing", name)
        if table.num_rows == 0:
            raise InputFileError(path, "there is no row")
        keys = {name: table[name].to_numpy() for name in KEY}
        distinct = table.select(KEY).group_by(list(KEY)).aggregate([])
        if distinct.num_rows < table.num_rows:
            repeated = table.num_rows - distinct.num_rows
            raise InputFileError(path, f"{repeated} rows repeat the key ({', '.join(KEY)}) of another")
        pairs = table.select(["name", "split"]).group_by(["name", "split"]).aggregate([])
        if pairs.num_rows > table.select(["name"]).group_by(["name"]).aggregate([]).num_rows:
            raise InputFileError(path, "a source is in two splits: results would leak", "split")

        arrays, masks = {}, {}
        for name in (*EMBEDDINGS, *LATENTS):
            if name in table.column_names and table[name].null_count < table.num_rows:
                arrays[name], masks[name] = _dense(table[name], path, name)
        return cls(
            keys={name: value.astype(str) if name == "name" else value for name, value in keys.items()},
            split=table["split"].to_numpy().astype(str),
            source_class=_filled(table, "source_class", -1),
            text_id=_filled(table, "text_id", "").astype(str),
            arrays=arrays,
            masks=masks,
            provenance=provenance or {},
            path=path,
        )

    def select(self, rows: np.ndarray) -> EmbeddingTable:
        """The rows of a boolean mask or of indices."""
        return EmbeddingTable(
            keys={name: value[rows] for name, value in self.keys.items()},
            split=self.split[rows],
            source_class=self.source_class[rows],
            text_id=self.text_id[rows],
            arrays={name: value[rows] for name, value in self.arrays.items()},
            masks={name: value[rows] for name, value in self.masks.items()},
            provenance=self.provenance,
            path=self.path,
        )

    def in_split(self, split: str) -> EmbeddingTable:
        """The rows of one split, or every row for ``"all"``.

        Raises:
            InputFileError: the split has no row.
        """
        rows = np.ones(len(self), dtype=bool) if split == "all" else self.split == split
        if not rows.any():
            counts = dict(zip(*(part.tolist() for part in np.unique(self.split, return_counts=True))))
            raise InputFileError(self.path, f"no row of split {split!r}; there are {counts}", "split")
        return self.select(rows)

    def joint(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Representations side by side: (N, sum of D) values and (N,) bool, True where the row has every one.

        Raises:
            KeyError: a representation that no row has.
        """
        mask = np.logical_and.reduce([self.masks[name] for name in names])
        return np.concatenate([self.arrays[name] for name in names], axis=1), mask


def _filled(table: pa.Table, name: str, empty: Any) -> np.ndarray:
    if name not in table.column_names:
        return np.full(table.num_rows, empty)
    column = table[name]
    return column.cast(pa.string() if isinstance(empty, str) else pa.int64()).fill_null(empty).to_numpy()


def _dense(column: pa.ChunkedArray, path: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A list column as (N, D) float32 with zeros where null, and the mask; D is the one length of its lists."""
    ragged = Ragged.from_arrow(column)
    assert ragged.valid is not None
    lengths = np.diff(ragged.offsets)[ragged.valid]
    if lengths.min() != lengths.max() or lengths.min() == 0:
        reason = f"lists of {lengths.min()} to {lengths.max()} values; all must have one length"
        raise InputFileError(path, reason, name)
    values = np.asarray(ragged.values, dtype=np.float32).reshape(-1, lengths[0])
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(ragged.valid)[~np.isfinite(values).all(axis=1)][0])
        raise InputFileError(path, f"row {row} has a value that is not finite", name)
    if name in EMBEDDINGS and (np.abs(np.linalg.norm(values, axis=1) - 1) > _UNIT_TOLERANCE).any():
        raise InputFileError(path, "an embedding is not a unit vector", name)
    dense = np.zeros((len(ragged), lengths[0]), dtype=np.float32)
    dense[ragged.valid] = values
    return dense, ragged.valid
