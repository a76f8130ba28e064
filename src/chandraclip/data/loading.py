"""Loading a dataset, ours or a stranger's plain Parquet, from a folder or the Hub, and naming it by content."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chandraclip.data.splits import SPLITS, assign_splits
from chandraclip.errors import InputFileError
from chandraclip.files import content_hash

if TYPE_CHECKING:
    import datasets

logger = logging.getLogger(__name__)

_SPLIT_NAMES = {"training": "train", "val": "validation", "valid": "validation", "dev": "validation", "testing": "test"}
_SAVED_TO_DISK = ("dataset_dict.json", "state.json")
NAME_REMEDY = (
    "a dataset needs it: the name of the source as a string, by which detections of one source stay in one split and "
    "out of each other's batches; rename your column of source names to `name`, or write one name a row"
)


def load_splits(dataset: str, view: str, config: str | None = None) -> dict[str, datasets.Dataset]:
    """Split -> memory-mapped table of a dataset, in the order train, validation, test. Every row has a name.

    A dataset without train and validation splits is split here, by its column `split` if that holds only our names,
    else by hash of `name` (see `data.splits`); a split `test` is kept. The log says so.

    Args:
        dataset: folder or Hub id that `datasets.load_dataset` takes, or a folder of `save_to_disk`.
        view: config to read where the dataset has one of this name, e.g. ``"pairs"``; else its only or default one.
        config: the one to read instead.

    Raises:
        InputFileError: nothing loads from there, there are several configs to choose from, or the column `name` is
            missing or holds no strings.
    """
    loaded = {name: rows.with_format("arrow") for name, rows in _load(dataset, view, config).items() if len(rows)}
    if not loaded:
        raise InputFileError(dataset, "there is no row in it")
    for rows in loaded.values():
        if "name" not in rows.column_names:
            raise InputFileError(dataset, f"this column is missing; {NAME_REMEDY}", "name")
        name_type = rows.features.arrow_schema.field("name").type
        if not (pa.types.is_string(name_type) or pa.types.is_large_string(name_type)):
            raise InputFileError(dataset, f"the column holds {name_type}; {NAME_REMEDY}", "name")
    named = {name: _with_names(rows, f"{dataset}, split {name}") for name, rows in loaded.items()}
    if not any(len(rows) for rows in named.values()):
        raise InputFileError(dataset, f"no row has a name; {NAME_REMEDY}", "name")
    splits = {_SPLIT_NAMES.get(name, name) if _SPLIT_NAMES.get(name) not in named else name: rows
              for name, rows in named.items()}  # fmt: skip
    if not {"train", "validation"} <= set(splits) and set(splits) != {"test"}:
        splits = _split(dataset, splits)
    elif unused := sorted(set(splits) - set(SPLITS)):
        logger.warning("%s: the splits %s are not used, only %s", dataset, unused, list(SPLITS))
    _warn_of_sources_in_two_splits(dataset, splits)
    return {name: splits[name] for name in SPLITS if name in splits}


def dataset_id(dataset: str, splits: dict[str, datasets.Dataset]) -> str:
    """What the dataset is: the hash of its manifest (which holds that of every shard), else of its fingerprints."""
    manifest = Path(dataset) / "manifest.json"
    if manifest.is_file():
        return content_hash([manifest], manifest.parent)
    return json.dumps({name: rows._fingerprint for name, rows in splits.items()})


def _load(dataset: str, view: str, config: str | None) -> dict[str, datasets.Dataset]:
    import datasets

    try:
        if any((Path(dataset) / file).is_file() for file in _SAVED_TO_DISK):
            saved = datasets.load_from_disk(dataset)
            return dict(saved) if isinstance(saved, dict) else {"train": saved}
        names = datasets.get_dataset_config_names(dataset)
        if config is None:
            config = _choose_config(dataset, names, view)
        elif config not in names:
            raise InputFileError(dataset, f"there is no config {config!r}, only {names}; choose with --dataset_config")
        return dict(datasets.load_dataset(dataset, config))
    except InputFileError:
        raise
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = f"{error}: {error.__cause__}" if error.__cause__ else error
        raise InputFileError(dataset, f"no dataset loads from here ({reason})") from error


def _choose_config(dataset: str, names: list[str], view: str) -> str:
    for name in (view, "default"):
        if name in names:
            return name
    if len(names) == 1:
        return names[0]
    raise InputFileError(dataset, f"there are several configs, {names}; choose with --dataset_config")


def _column(rows: datasets.Dataset, name: str) -> pa.ChunkedArray:
    return rows.select_columns([name])[:][name]


def _with_names(rows: datasets.Dataset, place: str) -> datasets.Dataset:
    """The rows whose name is neither null nor blank."""
    length = pc.utf8_length(pc.utf8_trim_whitespace(_column(rows, "name")))
    named = np.asarray(pc.fill_null(pc.greater(length, 0), False))
    if named.all():
        return rows
    nameless = np.flatnonzero(~named)
    logger.warning("%s: %d rows without a name are left out, the first is row %d", place, len(nameless), nameless[0])
    return rows.select(np.flatnonzero(named))


def _split(dataset: str, parts: dict[str, datasets.Dataset]) -> dict[str, datasets.Dataset]:
    """Train, validation and test of a dataset that has no train and validation; its own test split stays."""
    import datasets

    test = parts.get("test")
    pool = datasets.concatenate_datasets([rows for name, rows in parts.items() if name != "test"]).with_format("arrow")
    own = _column(pool, "split").to_pylist() if "split" in pool.column_names else [None]
    if set(own) <= set(SPLITS):
        of_row, rule = np.array(own), "its column `split`"
    else:
        of_row, rule = np.array(assign_splits(_column(pool, "name").to_pylist())), "hash of `name`, 70 / 15 / 15 %"
    if test is not None:
        of_row = np.where(of_row == "test", "train", of_row)
    result = {name: pool.select(np.flatnonzero(of_row == name)) for name in SPLITS}
    if test is not None:
        result["test"] = test
    result = {name: rows for name, rows in result.items() if len(rows)}
    sizes = {name: len(rows) for name, rows in result.items()}
    if sizes != {name: len(rows) for name, rows in parts.items()}:
        kept = "" if test is None else "; its split 'test' is kept"
        logger.info("%s has the splits %s: rows go by %s%s: %s", dataset, list(parts), rule, kept, sizes)
    return result


def _warn_of_sources_in_two_splits(dataset: str, splits: dict[str, datasets.Dataset]) -> None:
    names = [pc.unique(_column(rows, "name")).cast(pa.string()) for rows in splits.values()]
    together = pa.concat_arrays(names)
    repeated = len(together) - len(pc.unique(together))
    if repeated:
        logger.warning("%s: %d sources are in more than one split; results on test leak", dataset, repeated)
