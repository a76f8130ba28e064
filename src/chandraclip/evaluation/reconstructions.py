"""The reconstructions file: one row a detection, what a model expects its detector to have counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.schema import KEY_FIELDS
from chandraclip.errors import InputFileError
from chandraclip.evaluation.model_tables import keys_of, label_of, read_rows, side_by_side

RECONSTRUCTIONS_FILE = "reconstructions.parquet"
RECONSTRUCTIONS_PROVENANCE = "reconstructions.json"
TRAIN_POINTS_FILE = "train_points.npz"
_COUNTS, _POINTS = pa.list_(pa.float32()), pa.list_(pa.float32())
RECONSTRUCTIONS_SCHEMA = pa.schema(
    [
        *KEY_FIELDS,
        pa.field("expected_counts", _COUNTS),  # source and background, every channel of spectrum_counts
        # The spectrum thinned to two halves: what the model, shown the first, expects of either, and the second.
        pa.field("half_expected_counts", _COUNTS),
        pa.field("held_out_counts", pa.list_(pa.int32())),
        # The published features (400 points, min-max) of the spectrum, and the reconstruction on their scale.
        pa.field("points", _POINTS),
        pa.field("reconstruction", _POINTS),
    ]
)


@dataclass(frozen=True, eq=False)
class ReconstructionTable:
    """Reconstructions of N detections that have a spectrum.

    Attributes:
        keys: key column -> (N,): ``name``, ``obsid``, ``obi``, ``region_id``.
        split: (N,) str.
        expected, half_expected: expected counts a channel, of the spectrum and of a half of it.
        held_out: counts a channel of the other half.
        points, reconstruction: (N, P) float32, on the min-max scale.
        train_points: mean (P,) and covariance (P, P) of the points of train; None where that has too few rows.
        provenance: what `reconstructions.json` says.
        path: where it came from.
    """

    keys: dict[str, np.ndarray]
    split: np.ndarray
    expected: Ragged
    half_expected: Ragged
    held_out: Ragged
    points: np.ndarray
    reconstruction: np.ndarray
    train_points: tuple[np.ndarray, np.ndarray] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    path: Path = Path()

    def __len__(self) -> int:
        return len(self.split)

    @property
    def name(self) -> np.ndarray:
        """(N,) source names."""
        return self.keys["name"]

    @property
    def label(self) -> str:
        """The model in a word or two: its family and latents."""
        return label_of(self.provenance, self.path)

    def select(self, rows: np.ndarray) -> ReconstructionTable:
        """The rows of indices."""
        return replace(
            self,
            expected=self.expected.take(rows),
            half_expected=self.half_expected.take(rows),
            held_out=self.held_out.take(rows),
            keys={name: values[rows] for name, values in self.keys.items()},
            split=self.split[rows],
            points=self.points[rows],
            reconstruction=self.reconstruction[rows],
        )

    @classmethod
    def load(cls, path: str | Path, split: str = "all") -> ReconstructionTable:
        """Read and check a folder written by `scripts/reconstruct.py`; rows without a spectrum are left out.

        Args:
            path: the folder.
            split: rows to read.

        Raises:
            InputFileError: no such file, a column is missing, a key is repeated, no row of the split has a spectrum,
                lists of one row differ in length, or an expectation is negative or not finite.
        """
        file = Path(path) / RECONSTRUCTIONS_FILE
        if not file.is_file():
            reason = f"no reconstructions here: expected {RECONSTRUCTIONS_FILE}, as scripts/reconstruct.py writes it"
            raise InputFileError(path, reason)
        table = read_rows(file, RECONSTRUCTIONS_SCHEMA, split, "expected_counts", "has a spectrum")
        lists = {name: Ragged.from_arrow(table[name]) for name in RECONSTRUCTIONS_SCHEMA.names[len(KEY_FIELDS) :]}
        for name in ("expected_counts", "half_expected_counts"):
            if not (np.isfinite(lists[name].values).all() and (lists[name].values >= 0).all()):
                raise InputFileError(file, "an expected count is negative or not finite", name)
            if not np.array_equal(lists[name].offsets, lists["held_out_counts"].offsets):
                raise InputFileError(file, "lists of another length than held_out_counts", name)
        num_points = np.unique(np.diff([*lists["points"].offsets]))
        if num_points.size != 1 or not np.array_equal(lists["points"].offsets, lists["reconstruction"].offsets):
            raise InputFileError(file, "points and reconstruction have several lengths", "points")
        provenance = Path(path) / RECONSTRUCTIONS_PROVENANCE
        train = Path(path) / TRAIN_POINTS_FILE
        statistics = None
        if train.is_file():
            with np.load(train, allow_pickle=False) as stored:
                statistics = stored["mean"], stored["covariance"]
        return cls(
            keys=keys_of(table),
            split=table["split"].to_numpy().astype(str),
            expected=lists["expected_counts"],
            half_expected=lists["half_expected_counts"],
            held_out=lists["held_out_counts"],
            points=lists["points"].values.reshape(-1, num_points[0]),
            reconstruction=lists["reconstruction"].values.reshape(-1, num_points[0]),
            train_points=statistics,
            provenance=json.loads(provenance.read_text()) if provenance.is_file() else {},
            path=Path(path),
        )


def load_tables(paths: Sequence[str | Path], split: str = "all") -> dict[str, ReconstructionTable]:
    """Label -> reconstructions by several models, of the detections that all have and in one order.

    Args:
        paths: folders written by `scripts/reconstruct.py`; models of one label are told apart by their folder.
        split: rows to read.

    Raises:
        InputFileError: as `ReconstructionTable.load`; no detection is in all, or their halves are different ones.
    """
    tables = [ReconstructionTable.load(path, split) for path in paths]
    return side_by_side(tables, [table.held_out for table in tables], paths)
