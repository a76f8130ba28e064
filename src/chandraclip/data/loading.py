"""Loading a dataset, from a folder or the Hub, and naming it by content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from chandraclip.data.splits import SPLITS
from chandraclip.errors import InputFileError
from chandraclip.files import content_hash

if TYPE_CHECKING:
    import datasets


def load_splits(dataset: str, config: str) -> dict[str, datasets.Dataset]:
    """Split -> memory-mapped table of a dataset folder or Hub id, in the order train, validation, test.

    Raises:
        InputFileError: nothing loads from there.
    """
    import datasets

    try:
        loaded = datasets.load_dataset(dataset, config)
    except (FileNotFoundError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise InputFileError(dataset, f"no dataset with a config {config!r} loads from here ({error})") from error
    splits = {name: loaded[name].with_format("arrow") for name in SPLITS if name in loaded}
    if not any(len(rows) for rows in splits.values()):
        raise InputFileError(dataset, f"the splits {list(loaded)} hold no row of {list(SPLITS)}")
    return splits


def dataset_id(dataset: str, splits: dict[str, datasets.Dataset]) -> str:
    """What the dataset is: the hash of its manifest (which holds that of every shard), else of its fingerprints."""
    manifest = Path(dataset) / "manifest.json"
    if manifest.is_file():
        return content_hash([manifest], manifest.parent)
    return json.dumps({name: rows._fingerprint for name, rows in splits.items()})
