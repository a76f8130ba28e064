"""What the detections of a dataset are: observed or simulated, and by which command."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chandraclip.data.card import SIMULATED, build_command

if TYPE_CHECKING:
    import datasets

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Provenance:
    """Of the rows of one split.

    Attributes:
        num_rows: all of them.
        num_simulated: those that were simulated.
        is_packaged: this package built the dataset, so that the rest is known to be observed.
        command: that builds it again, where that is known.
        license: of the data, where that is known.
    """

    num_rows: int
    num_simulated: int
    is_packaged: bool = False
    command: str | None = None
    license: str | None = None

    @property
    def sentence(self) -> str:
        """What they are, in words, with counts."""
        num_real = self.num_rows - self.num_simulated
        rows, simulated, real = (f"{number:,}" for number in (self.num_rows, self.num_simulated, num_real))
        if self.num_simulated == self.num_rows:
            return f"**Simulated data**: all {rows} detections were simulated; nothing was observed."
        if self.num_simulated:
            return f"**Mixed data**: {simulated} of the {rows} detections were simulated, {real} are real."
        if self.is_packaged:
            return f"**Real data**: all {rows} detections were observed; they were packaged from mission files."
        return f"**Real data**, as far as the dataset tells: none of the {rows} detections says that it was simulated."


def num_simulated(rows: datasets.Dataset) -> int:
    """Rows that carry the simulator's truth: published figures are of real detections."""
    if "true_spectrum" not in rows.column_names:
        return 0
    column = rows.select_columns(["true_spectrum"]).with_format("arrow")[:]["true_spectrum"]
    return len(column) - column.null_count


def provenance_of(dataset: str, rows: datasets.Dataset) -> Provenance:
    """What the rows of a split are, by the dataset's manifest where there is one, else by the rows themselves.

    Args:
        dataset: folder or Hub id.
        rows: one split of it.
    """
    manifest = read_manifest(dataset)
    if manifest is None:
        return Provenance(len(rows), num_simulated(rows))
    is_simulated = manifest["parameters"]["source"] in SIMULATED
    return Provenance(
        len(rows),
        len(rows) if is_simulated else num_simulated(rows),
        is_packaged=True,
        command=build_command(manifest),
        license=manifest["license"],
    )


def read_manifest(dataset: str) -> dict[str, Any] | None:
    """The manifest of a dataset folder that this package built; None elsewhere."""
    path = Path(dataset) / MANIFEST
    try:
        manifest = json.loads(path.read_text())
        return manifest if {"parameters", "license"} <= set(manifest) else None
    except (OSError, ValueError, TypeError):
        return None
