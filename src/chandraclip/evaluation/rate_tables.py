"""The rates file: one row a photon list, its photons dealt to two halves and the rates that a model gives them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.data.schema import KEY_FIELDS
from chandraclip.errors import InputFileError
from chandraclip.evaluation.model_tables import keys_of, label_of, read_rows, side_by_side

RATES_FILE = "rates.parquet"
RATES_PROVENANCE = "rates.json"
NUM_CURVE_CELLS = 512  # of the good time of a list
INTEGRAL_TOLERANCE = 0.1  # of the middle list: a decoder may be sharper than the cells in some
_TIMES, _BANDS, _LOGS = pa.list_(pa.float64()), pa.list_(pa.int8()), pa.list_(pa.float32())
RATES_SCHEMA = pa.schema(
    [
        *KEY_FIELDS,
        # Photons of 0.5-7 keV in the good time, dealt to two halves at random; s, with the zero of the dataset. The
        # band is 0, 1, 2 for s, m and h, and -1 in a list without energies.
        pa.field("seen_time", _TIMES),
        pa.field("seen_band", _BANDS),
        pa.field("held_out_time", _TIMES),
        pa.field("held_out_band", _BANDS),
        pa.field("gti_start", _TIMES),
        pa.field("gti_stop", _TIMES),
        # ln of photons/s in the photon's band (in all three where there is none), by the latents of the seen half.
        pa.field("held_out_log_rate", _LOGS),
        pa.field("held_out_expected", _TIMES),  # photons of either half, a band
        # The same of all photons by the latents of all, the seen ones first: what an autodecoder optimises.
        pa.field("own_log_rate", _LOGS),
        pa.field("own_expected", _TIMES),
        # Of all bands by the latents of all photons, in the middle of equal cells of the good time.
        pa.field("curve_time", _TIMES),
        pa.field("curve_log_rate", _LOGS),
    ]
)
_LISTS = RATES_SCHEMA.names[len(KEY_FIELDS) :]
# Lists that are as long as another.
_ALIKE = {"seen_band": "seen_time", "held_out_band": "held_out_time", "held_out_log_rate": "held_out_time",
          "gti_stop": "gti_start", "curve_log_rate": "curve_time"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class RateTable:
    """Rates of N photon lists.

    Attributes:
        keys: key column -> (N,).
        split: (N,) str.
        lists: column of `RATES_SCHEMA` -> lists.
        provenance: what `rates.json` says.
        path: where it came from.
    """

    keys: dict[str, np.ndarray]
    split: np.ndarray
    lists: dict[str, Ragged]
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
        background = ", known background" if self.provenance.get("known_background") else ""
        return label_of(self.provenance, self.path) + background

    @property
    def num_photons(self) -> np.ndarray:
        """(N,) of both halves."""
        return sum((np.diff(self.lists[name].offsets) for name in ("seen_time", "held_out_time")), np.zeros(len(self)))

    def check_integrals(self) -> dict[str, float]:
        """Whether the photons that the model expects are the integral of its rate, as a likelihood needs.

        Returns:
            Of the photons expected over the integral on the cells of the curve: ``median`` of the lists, and
            ``share_outside`` of them that are off by more than the tolerance: a rate may be sharper than the cells.

        Raises:
            InputFileError: the median is off.
        """
        good_time = self.lists["gti_stop"].values - self.lists["gti_start"].values
        total = np.bincount(row_index(self.lists["gti_start"]), good_time, minlength=len(self))
        curve = self.lists["curve_log_rate"]
        rate = np.bincount(row_index(curve), np.exp(curve.values.astype(np.float64)), minlength=len(self))
        integral = total * rate / np.maximum(np.diff(curve.offsets), 1)
        expected = self.lists["own_expected"].values.reshape(-1, 3).sum(axis=1)
        ratio = expected / np.maximum(integral, 1e-300)
        median = float(np.median(ratio))
        if not abs(median - 1.0) <= INTEGRAL_TOLERANCE:
            reason = f"the photons that the model expects are {median:.3g} times the integral of its rate (median)"
            raise InputFileError(self.path, f"{reason}: its likelihoods mean nothing")
        return {"median": median, "share_outside": float(np.mean(~(np.abs(ratio - 1.0) <= INTEGRAL_TOLERANCE)))}

    def select(self, rows: np.ndarray) -> RateTable:
        """The rows of indices."""
        return replace(
            self,
            keys={name: values[rows] for name, values in self.keys.items()},
            split=self.split[rows],
            lists={name: values.take(rows) for name, values in self.lists.items()},
        )

    @classmethod
    def load(cls, path: str | Path, split: str = "all") -> RateTable:
        """Read and check a folder that `scripts/reconstruct.py` wrote of a model of photon lists.

        Args:
            path: the folder.
            split: rows to read.

        Raises:
            InputFileError: no such file, a column is missing, a key is repeated, no row of the split has photons, lists
                of one row differ in length, or a rate is not finite.
        """
        file = Path(path) / RATES_FILE
        if not file.is_file():
            reason = f"no rates here: expected {RATES_FILE}, as scripts/reconstruct.py writes it of an event model"
            raise InputFileError(path, reason)
        return cls.of_file(file, split)

    @classmethod
    def of_file(cls, file: Path, split: str = "all", path: Path | None = None) -> RateTable:
        """As `load`, of a file that is to be that of the folder `path`; None: it is in it already."""
        path = file.parent if path is None else path
        table = read_rows(file, RATES_SCHEMA, split, "seen_time", "has photons that the model can read")
        lists = {name: Ragged.from_arrow(table[name]) for name in _LISTS}
        for name, other in _ALIKE.items():
            if not np.array_equal(lists[name].offsets, lists[other].offsets):
                raise InputFileError(file, f"lists of another length than {other}", name)
        both = lists["seen_time"].offsets + lists["held_out_time"].offsets
        if not np.array_equal(lists["own_log_rate"].offsets, both):
            raise InputFileError(file, "lists of another length than both halves", "own_log_rate")
        for name in ("held_out_expected", "own_expected"):
            if not (np.diff(lists[name].offsets) == 3).all() or not (lists[name].values >= 0).all():
                raise InputFileError(file, "needs three numbers a row, none of them negative", name)
        for name in ("held_out_log_rate", "own_log_rate", "held_out_expected", "own_expected"):
            if not np.isfinite(lists[name].values).all():
                row = int(row_index(lists[name])[~np.isfinite(lists[name].values)][0])
                raise InputFileError(file, f"row {row} has a rate that is not finite", name)
        provenance = path / RATES_PROVENANCE
        return cls(
            keys=keys_of(table),
            split=table["split"].to_numpy().astype(str),
            lists=lists,
            provenance=json.loads(provenance.read_text()) if provenance.is_file() else {},
            path=path,
        )


def load_rate_tables(paths: Sequence[str | Path], split: str = "all") -> dict[str, RateTable]:
    """Label -> rates by several models, of the photon lists that all have and in one order.

    Args:
        paths: folders written by `scripts/reconstruct.py`; models of one label are told apart by their folder.
        split: rows to read.

    Raises:
        InputFileError: as `RateTable.load` and `RateTable.check_integrals`; no detection is in all, or their halves are
            different ones.
    """
    tables = [RateTable.load(path, split) for path in paths]
    for table in tables:
        table.check_integrals()
    return side_by_side(tables, [table.lists["held_out_time"] for table in tables], paths)
