"""Finds the detections in a folder of mission files, and reads one into a dataset row. (Signatures; body follows.)"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chandraclip.data.response import Response


@dataclass(frozen=True, order=True)
class DetectionFiles:
    """The files of one detection; either the spectrum or the events may be missing, not both.

    Attributes:
        label: path of the main file relative to the folder searched; stable, unique and sortable.
        spectrum: PHA file, or None.
        arf, rmf: responses, where matched by name (CSC); None: the PHA's header says.
        events: event list, or None.
        region: region file that cuts the events, or None.
    """

    label: str
    spectrum: Path | None = None
    arf: Path | None = None
    rmf: Path | None = None
    events: Path | None = None
    region: Path | None = None


def find_detections(input_dir: Path) -> list[DetectionFiles]:
    raise NotImplementedError


def read_detection(item: DetectionFiles) -> tuple[dict[str, Any], Response | None]:
    raise NotImplementedError
