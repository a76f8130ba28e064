"""The tables of a data set's folder, in parts that are read one by one: Parquet (HATS too), JSON lines, HDF5.

A folder holds tables of one kind. Which files count: those of a HATS catalogue where there is one (``hats.properties``,
or ``collection.properties`` that names it), else those of a config that README.md names, else all of the kind.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from chandraclip.errors import InputFileError

ROWS_PER_PART = 500
KINDS = {
    "Parquet": (".parquet", ".parq"),
    "JSON lines": (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz"),
    "HDF5": (".hdf5", ".h5", ".hdf"),
}
LINE = "__line__"  # of a row of JSON lines, in what they were turned into


class Part(Protocol):
    """Some rows of one file."""

    @property
    def label(self) -> str:
        """The file, as messages call it."""

    @property
    def first(self) -> int:
        """Number of the first row in the file."""

    @property
    def num_rows(self) -> int:
        """How many."""

    def read(self, columns: Sequence[str]) -> pa.Table:
        """The columns that there are of those."""


@dataclass(frozen=True)
class ParquetPart:
    """Rows `begin` to `begin + num_rows` of a row group."""

    path: Path
    label: str
    group: int
    begin: int
    first: int
    num_rows: int

    def read(self, columns: Sequence[str]) -> pa.Table:
        return _row_group(self.path, self.group, tuple(columns)).slice(self.begin, self.num_rows)


@dataclass(frozen=True)
class Hdf5Part:
    """Rows of a file whose data sets are columns, as version 1 of the Multimodal Universe has them."""

    path: Path
    label: str
    first: int
    num_rows: int

    def read(self, columns: Sequence[str]) -> pa.Table:
        with open_hdf5(self.path) as file:
            rows = slice(self.first, self.first + self.num_rows)
            return pa.table({name: _hdf5_column(file[name][rows]) for name in columns if name in file})


def find_tables(dataset: str | Path, config: str | None = None) -> tuple[str, list[Path]]:
    """The kind of a data set's tables (`KINDS`), and its files, in order.

    Args:
        dataset: a file, or a folder.
        config: of README.md; None: its only or default one, where README.md has any.

    Raises:
        InputFileError: there is none, or there are several kinds of them.
    """
    dataset = Path(dataset)
    if dataset.is_file():
        kind = _kind(dataset)
        if kind is None:
            raise InputFileError(dataset, f"is none of {', '.join(name for names in KINDS.values() for name in names)}")
        return kind, [dataset]
    if not dataset.is_dir():
        raise InputFileError(dataset, "there is no such file or folder")
    inside = hats_tables(dataset)
    candidates = inside if inside is not None else _of_config(dataset, config)
    found: dict[str, list[Path]] = {}
    for path in candidates:
        if (kind := _kind(path)) is not None:
            found.setdefault(kind, []).append(path)
    if len(found) != 1:
        kinds = " and ".join(f"{len(paths)} of {kind}" for kind, paths in sorted(found.items()))
        reason = f"holds {kinds}: name one file, or a folder of one kind" if found else "holds no table"
        raise InputFileError(dataset, f"{reason} ({', '.join(KINDS)})")
    return next((kind, sorted(paths)) for kind, paths in found.items())


def hats_tables(folder: Path) -> list[Path] | None:
    """The Parquet files of a HATS catalogue, or of a collection's primary one; None where the folder is neither."""
    collection = _properties(folder / "collection.properties")
    if collection is not None:
        primary = collection.get("hats_primary_table_url")
        if not primary:
            raise InputFileError(folder / "collection.properties", "names no hats_primary_table_url")
        inside = (folder / primary).resolve()
        if not inside.is_relative_to(folder.resolve()) or not inside.is_dir():
            raise InputFileError(folder, f"the primary catalogue {primary} is not a folder in it")
        folder = folder / primary
    if (
        not ((folder / "hats.properties").exists() or (folder / "properties").exists())
        or not (folder / "dataset").is_dir()
    ):
        if collection is not None:
            raise InputFileError(folder, "is no HATS catalogue: it lacks hats.properties or dataset/")
        return None
    return [
        path
        for path in _files_under(folder / "dataset")
        if any(part.startswith("Npix=") for part in path.relative_to(folder).parts)
    ]


def parquet_parts(paths: Sequence[Path], root: Path) -> list[ParquetPart]:
    """Parts of at most `ROWS_PER_PART` rows.

    Raises:
        InputFileError: a file is no Parquet.
    """
    parts = []
    for path in paths:
        file, first = _open_parquet(path), 0
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            for begin in range(0, size, ROWS_PER_PART):
                rows = min(ROWS_PER_PART, size - begin)
                parts.append(ParquetPart(path, label_of(path, root), group, begin, first + begin, rows))
            first += size
    return parts


def hdf5_parts(paths: Sequence[Path], root: Path) -> list[Hdf5Part]:
    """Parts of at most `ROWS_PER_PART` rows.

    Raises:
        InputFileError: a file is no HDF5, its data sets differ in length, or h5py is missing.
    """
    parts = []
    for path in paths:
        with open_hdf5(path) as file:
            lengths = {name: len(file[name]) for name in hdf5_columns(file)}
        if len(set(lengths.values())) != 1:
            raise InputFileError(path, f"its data sets are no columns of one length: {lengths}")
        total = next(iter(lengths.values()))
        for first in range(0, total, ROWS_PER_PART):
            parts.append(Hdf5Part(path, label_of(path, root), first, min(ROWS_PER_PART, total - first)))
    return parts


def hdf5_columns(file: Any) -> list[str]:
    """Names of the data sets with rows."""
    return [name for name in file if getattr(file[name], "shape", ())]


def open_hdf5(path: Path) -> Any:
    try:
        import h5py
    except ImportError:
        raise InputFileError(path, "is read with h5py: pip install 'chandraclip[hdf5]'") from None
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputFileError(path, f"not a readable HDF5 file ({error})") from error


def table_schema(parts: Sequence[Part]) -> pa.Schema:
    """The columns of the first part's file."""
    first = parts[0]
    if isinstance(first, ParquetPart):
        return _open_parquet(first.path).schema_arrow
    assert isinstance(first, Hdf5Part)
    with open_hdf5(first.path) as file:
        names = hdf5_columns(file)
    return Hdf5Part(first.path, first.label, 0, min(first.num_rows, 10)).read(names).schema


def label_of(path: Path, root: Path) -> str:
    """A file as messages and the manifest call it: no folder of this machine in it."""
    return path.relative_to(root).as_posix() if root.is_dir() and path.is_relative_to(root) else path.name


@lru_cache(maxsize=1)
def _row_group(path: Path, group: int, columns: tuple[str, ...]) -> pa.Table:
    """A row group, which the parts of it share."""
    file = _open_parquet(path)
    present = [name for name in file.schema_arrow.names if name in columns]
    try:
        return file.read_row_group(group, columns=present)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputFileError(path, f"row group {group} cannot be read ({error})") from error


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputFileError(path, f"not a readable Parquet file ({error})") from error


def _hdf5_column(values: np.ndarray) -> pa.Array:
    if values.dtype.kind == "S":
        return pa.array(np.char.decode(values, "utf-8", "replace").tolist(), pa.string())
    if values.dtype.kind == "O":
        as_text = [one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in values]
        return pa.array([None if one is None else one for one in as_text])
    if values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1])
    return pa.array(values)


def _kind(path: Path) -> str | None:
    name = path.name.lower()
    return next((kind for kind, endings in KINDS.items() if name.endswith(endings)), None)


def _files_under(folder: Path) -> list[Path]:
    """All files but hidden ones and a writer's own (``_metadata``)."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        found += [Path(place, name) for name in sorted(names) if not name.startswith((".", "_"))]
    return found


def _of_config(folder: Path, config: str | None) -> list[Path]:
    """The files of a config of README.md, or all."""
    everything = _files_under(folder)
    configs = {str(entry.get("config_name")): entry for entry in readme_header(folder).get("configs", [])}
    configs = {name: entry for name, entry in configs.items() if entry.get("data_files")}
    if config is None:
        default = [name for name, entry in configs.items() if entry.get("default") or name == "default"]
        config = next(iter(default), next(iter(configs)) if len(configs) == 1 else None)
        if config is None and configs:
            raise InputFileError(folder, f"has the configs {', '.join(configs)}: choose with --dataset_config")
    elif config not in configs:
        raise InputFileError(folder, f"has no config {config!r}; README.md names {', '.join(configs) or 'none'}")
    if config is None:
        return everything
    patterns = list(_patterns(configs[config]["data_files"]))
    return [
        path
        for path in everything
        if any(fnmatch.fnmatch(path.relative_to(folder).as_posix(), pattern) for pattern in patterns)
    ]


def _patterns(data_files: Any) -> list[str]:
    if isinstance(data_files, str):
        return [data_files]
    if isinstance(data_files, dict):
        return _patterns(data_files.get("path", []))
    return [pattern for entry in data_files for pattern in _patterns(entry)]


def readme_header(folder: Path) -> dict[str, Any]:
    """The YAML of a data set's card; empty where there is none."""
    try:
        text = (folder / "README.md").read_text()
    except (OSError, UnicodeDecodeError):
        return {}
    parts = text.split("---", 2)
    try:
        header = yaml.safe_load(parts[1]) if text.startswith("---") and len(parts) == 3 else {}
    except yaml.YAMLError:
        return {}
    return header if isinstance(header, dict) else {}


def _properties(path: Path) -> dict[str, str] | None:
    """A file of Java properties, as HATS has them."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs}
