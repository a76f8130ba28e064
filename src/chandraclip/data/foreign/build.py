"""Datasets of other people's tables: a file or folder, and a mapping of its columns.

OUT/.foreign/<sum>.parquet   JSON lines in a form that can be read in parts; until the dataset is there
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from chandraclip.data.build_from_files import load_texts
from chandraclip.data.foreign import json_lines
from chandraclip.data.foreign.columns import KEYS, read_columns, read_names
from chandraclip.data.foreign.files import (
    LINE,
    ROWS_PER_PART,
    ParquetPart,
    Part,
    find_tables,
    hdf5_parts,
    label_of,
    parquet_parts,
    readme_header,
    table_schema,
)
from chandraclip.data.foreign.mapping import ColumnMapping, find_mapping, load_mapping
from chandraclip.data.foreign.rows import read_part, roots
from chandraclip.data.foreign.sums import check_sums
from chandraclip.data.packaging import BuildResult, build_dataset
from chandraclip.data.provenance import read_manifest
from chandraclip.data.schema import SCHEMA_VERSION, TABLE_SCHEMA
from chandraclip.data.shards import STAGING, Chunk
from chandraclip.errors import InputFileError, OptionError
from chandraclip.files import sha256_of, write_json
from chandraclip.lock import locked
from chandraclip.versions import installed_versions

logger = logging.getLogger(__name__)

SPOOL = ".foreign"


def build_from_tables(
    dataset: str | Path,
    output: str | Path,
    mapping: str | Path | None = None,
    num_processes: int = 1,
    overwrite: bool = False,
    *,
    dataset_id: str | None = None,
    revision: str | None = None,
    config: str | None = None,
    texts: str | Path | None = None,
    limit: int | None = None,
    license_id: str | None = None,
    progress: bool = True,
) -> BuildResult:
    """Packages a data set that somebody else made; a row that cannot be used is listed with its reason.

    Args:
        dataset: a file or folder, see `files.find_tables`.
        output, num_processes, overwrite, progress: see `packaging.build_dataset`.
        mapping: a YAML file, see `mapping`; None: the one that `mapping.find_mapping` finds.
        dataset_id, revision: of the Hub, where it came from there.
        config: of the data set's README.md.
        texts: see `build_from_files`.
        limit: the first so many rows.
        license_id: for the card; None: what the data set's card says, else the mapping.

    Raises:
        InputFileError: no table is found, a sum is not the published one, the mapping does not fit, no row can be used,
            or `output` holds another build.
    """
    dataset, output = Path(dataset), Path(output)
    if limit is not None and limit < 1:
        raise OptionError(f"--limit must be at least 1, got {limit}")
    if output.resolve() == dataset.resolve() or output.resolve().is_relative_to(dataset.resolve()):
        raise InputFileError(output, f"lies in the data set {dataset}, which it would change")
    kind, paths = find_tables(dataset, config)
    folder = dataset if dataset.is_dir() else dataset.parent
    sums = check_sums(folder, paths)
    text_path = None if texts is None else Path(texts)
    if text_path is not None:
        load_texts(text_path)  # so that a malformed file stops the build before it starts
    schema = json_lines.first_rows(paths[0]) if kind == "JSON lines" else table_schema(_parts(kind, paths[:1], folder))
    found = load_mapping(mapping) if mapping is not None else find_mapping(dataset_id or str(dataset), schema)
    known = found.check(paths[0], schema)
    for name in sorted(set(found.columns) - set(known.columns)):
        logger.info("%s: there is no %s; it is null", dataset, " or ".join(found.columns[name].columns))
    header = readme_header(folder)
    stated = header.get("license") if isinstance(header.get("license"), str) else None
    license_id = license_id or stated or known.license or "unknown"
    parameters: dict[str, Any] = {
        "source": "hub",
        "input": dataset_id or dataset.resolve().name,
        "revision": revision,
        "config": config,
        "files_sha256": {label_of(path, folder): sums[path] for path in paths},
        "mapping": _as_json(known),
        "texts_sha256": None if text_path is None else sha256_of(text_path),
        "limit": limit,
        "chunk_size": ROWS_PER_PART,
        "license": license_id,
    }
    finished = _finished(output, parameters)
    if finished is not None:
        return BuildResult(output, finished, already_built=True)
    with locked(output):
        spool = output / SPOOL
        try:
            parts, skipped = _all_parts(kind, paths, folder, known, sums, spool, progress)
            parts = _first_rows(parts, limit)
            repeated = _repeated(parts, known, progress)
            tasks: list[Any] = [
                partial(read_part, part, known, text_path, again) for part, again in zip(parts, repeated)
            ]
            if skipped:
                tasks.append(partial(Chunk, TABLE_SCHEMA.empty_table(), skipped=skipped))
            parameters["num_items"] = sum(part.num_rows for part in parts) + len(skipped)
            result = build_dataset(
                output, parameters, tasks, license_id, num_processes, overwrite, progress, work="read rows"
            )
        except InputFileError:
            shutil.rmtree(spool, ignore_errors=True)
            raise
        shutil.rmtree(spool, ignore_errors=True)
    return result


def _finished(output: Path, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """The manifest of the very dataset, where it is there already: then nothing is unpacked again."""
    manifest = read_manifest(str(output))
    if manifest is None or not (output / "data").exists() or (output / STAGING).exists():
        return None
    wanted = {**parameters, "schema_version": SCHEMA_VERSION, **installed_versions("chandraclip")}
    return manifest if {name: manifest["parameters"].get(name) for name in wanted} == wanted else None


def _parts(kind: str, paths: Sequence[Path], folder: Path) -> Sequence[Part]:
    if kind == "HDF5":
        return hdf5_parts(paths, folder)
    return parquet_parts(paths, folder)


def _all_parts(
    kind: str,
    paths: Sequence[Path],
    folder: Path,
    mapping: ColumnMapping,
    sums: Mapping[Path, str],
    spool: Path,
    progress: bool,
) -> tuple[Sequence[Part], list[dict[str, str]]]:
    """The parts of all files, and the lines of JSON that are none."""
    if kind != "JSON lines":
        return _parts(kind, paths, folder), []
    parts: list[Part] = []
    skipped: list[dict[str, str]] = []
    for path in tqdm(paths, desc="unpack", unit="file", disable=not progress):
        target = spool / f"{sums[path][:16]}.parquet"
        record = target.with_suffix(".json")
        wanted = {"sha256": sums[path], "mapping": _as_json(mapping)}
        done = json.loads(record.read_text()) if record.exists() else {}
        if done.get("of") != wanted or not target.exists():
            done = {"of": wanted, "skipped": json_lines.to_parquet(path, target, mapping)}
            write_json(record, done)
        skipped += done["skipped"]
        label = label_of(path, folder)
        parts += [
            ParquetPart(part.path, label, part.group, part.begin, part.first, part.num_rows)
            for part in parquet_parts([target], folder)
        ]
    return parts, skipped


def _first_rows(parts: Sequence[Part], limit: int | None) -> list[Part]:
    if limit is None:
        return list(parts)
    kept: list[Part] = []
    left = limit
    for part in parts:
        if left > 0:
            kept.append(type(part)(**{**vars(part), "num_rows": min(part.num_rows, left)}))
            left -= part.num_rows
    return kept


def _repeated(parts: Sequence[Part], mapping: ColumnMapping, progress: bool) -> list[dict[int, str]]:
    """For each part: number of a row in its file -> which row before it is the same detection, where keys are given."""
    keys = [name for name in KEYS if name in mapping.columns]
    found: list[dict[int, str]] = [{} for _ in parts]
    if "obsid" not in keys:
        return found
    wanted = {*keys, "ra", "dec"} & set(mapping.columns)
    own = ColumnMapping(mapping.label, {name: mapping.columns[name] for name in mapping.columns if name in wanted})
    frames = []
    for at, part in enumerate(tqdm(parts, desc="read keys", unit="part", disable=not progress)):
        table = part.read(roots(own))
        names, _ = read_names(table, own)
        columns = read_columns(table, own)
        numbers = np.asarray(table[LINE]) if LINE in table.column_names else part.first + np.arange(len(table))
        frame = {name: columns[name] for name in keys if name != "name"}
        frames.append(pd.DataFrame({"name": names, **frame, "part": at, "row": numbers, "label": part.label}))
    rows = pd.concat(frames, ignore_index=True)
    by = ["name", *(name for name in keys if name != "name")]
    rows = rows[rows[by].notna().all(axis=1)]
    first = rows.assign(place=rows.index).groupby(by, sort=False)["place"].transform("first")
    again = first[first != first.index]
    for index, of in again.items():
        before = rows.loc[of]
        reason = f"the same source and observation as row {before['row']} of {before['label']}"
        found[int(rows.at[index, "part"])][int(rows.at[index, "row"])] = reason
    return found


def _as_json(mapping: ColumnMapping) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(mapping)))
