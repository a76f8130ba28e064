"""Datasets of mission files: what lies under a folder, read file by file and handed to the packaging."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chandraclip.catalog.measure import fill_measured
from chandraclip.catalog.ragged import Ragged
from chandraclip.data import files
from chandraclip.data.packaging import BuildResult, build_dataset
from chandraclip.data.problems import reason_of
from chandraclip.data.schema import CATALOG_COLUMNS, TABLE_SCHEMA, build_table
from chandraclip.data.shards import Chunk
from chandraclip.data.splits import assign_splits
from chandraclip.errors import InputFileError
from chandraclip.files import sha256_of
from chandraclip.ogip.response import Response
from chandraclip.ranks import WHOLE, Share

FILES_PER_CHUNK = 100
TEXT_COLUMNS = ("summary", "bibcodes", "summary_model", "prompt_version")


def build_from_files(
    input_dir: str | Path,
    output: str | Path,
    num_processes: int = 1,
    overwrite: bool = False,
    texts: str | Path | None = None,
    license_id: str = "unknown",
    progress: bool = True,
    share: Share = WHOLE,
) -> BuildResult:
    """Packages the mission files under a folder as a dataset; a file that cannot be used is listed with its reason.

    Args:
        input_dir: searched for spectra, responses and event lists (`files.find_detections`).
        output, num_processes, overwrite, progress, share: see `packaging.build_dataset`.
        texts: JSON lines with `summary` and optionally bibcodes, summary_model and prompt_version, for the `name`, or
            else all detections of the `obsid`, that the line gives.
        license_id: for the card, an identifier of the Hub.

    Raises:
        InputFileError: nothing usable is found, `texts` is malformed, or `output` holds another build.
    """
    input_dir = Path(input_dir)
    if not input_dir.is_dir():
        raise InputFileError(input_dir, "not a folder")
    if Path(output).resolve().is_relative_to(input_dir.resolve()):
        raise InputFileError(output, f"lies in the input folder {input_dir}, which it would change")
    items = sorted(files.find_detections(input_dir), key=lambda item: item.label)
    if not items:
        raise InputFileError(input_dir, "no spectrum and no event list is under this folder")
    text_path = None if texts is None else Path(texts)
    if text_path is not None:
        load_texts(text_path)  # so that a malformed file stops the build before it starts
    parameters = {
        "source": "files",
        "input": input_dir.resolve().name,
        "num_items": len(items),
        "chunk_size": FILES_PER_CHUNK,
        "files_sha256": _digest_of_files(input_dir),
        "texts_sha256": None if text_path is None else sha256_of(text_path),
        "license": license_id,
    }
    groups = [items[begin : begin + FILES_PER_CHUNK] for begin in range(0, len(items), FILES_PER_CHUNK)]
    tasks = [partial(_read_files, input_dir, group, text_path) for group in groups]
    return build_dataset(
        output, parameters, tasks, license_id, num_processes, overwrite, progress, work="read files", share=share
    )


@lru_cache(maxsize=1)
def load_texts(path: Path) -> dict[str | int, dict[str, Any]]:
    """name, or obsid -> text columns, from JSON lines, or from the table that scripts/summarize.py writes.

    Raises:
        InputFileError: a line is not a JSON object, or lacks `summary` or both `name` and `obsid`.
    """
    result: dict[str | int, dict[str, Any]] = {}
    if path.suffix == ".parquet":
        return _load_summaries(path)
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(path, f"cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputFileError(path, f"line {number} is not JSON: {error}") from error
        if not isinstance(entry, dict) or not isinstance(entry.get("summary"), str):
            raise InputFileError(path, f"line {number} has no summary")
        key = entry.get("name") or entry.get("obsid")
        if key is None:
            raise InputFileError(path, f"line {number} has neither a name nor an obsid")
        try:
            result[key if entry.get("name") else int(key)] = {name: entry.get(name) for name in TEXT_COLUMNS}
        except ValueError as error:
            raise InputFileError(path, f"line {number}: the obsid {key!r} is not a number") from error
    return result


def _load_summaries(path: Path) -> dict[str | int, dict[str, Any]]:
    """name -> text columns of a table's rows that have a summary."""
    try:
        rows = pq.read_table(path, columns=["name", *TEXT_COLUMNS]).to_pylist()
    except (OSError, pa.ArrowException) as error:
        reason = f"is no table of summaries ({' '.join(str(error).split())})"
        raise InputFileError(path, reason) from error
    return {row.pop("name"): row for row in rows if row["summary"]}


def _read_files(input_dir: Path, items: Sequence[files.DetectionFiles], text_path: Path | None) -> Chunk:
    """The rows of some detections; those that cannot be used are listed, whatever goes wrong with them."""
    return read_items(input_dir, items, {} if text_path is None else load_texts(text_path))


def read_items(
    root: Path,
    items: Sequence[files.DetectionFiles],
    texts: dict[str | int, dict[str, Any]],
    catalog: Mapping[str, Mapping[str, Any]] | None = None,
) -> Chunk:
    """The rows of some detections; those that cannot be used are listed, whatever goes wrong with them.

    Args:
        root: the folder that reasons are told without.
        items: their files.
        texts: as `load_texts` gives them.
        catalog: label -> columns as a catalogue has them, the same for every label. They take the place of what the
            files say, and where the catalogue has nothing there is nothing: who reads such a column knows whose it is.
    """
    catalog = catalog or {}
    given = [name for name in next(iter(catalog.values()), {}) if name in CATALOG_COLUMNS]
    read: list[tuple[files.DetectionFiles, dict[str, Any], Response | None]] = []
    skipped: list[dict[str, str]] = []

    def skip(item: files.DetectionFiles, error: Exception) -> None:
        path = item.spectrum or item.events or Path(item.label)
        reason, extension = reason_of(error, path, item.label)
        # The manifest is published: no folder of this machine in it.
        entry = {"file": item.label, "reason": reason.replace(f"{root}{os.sep}", "")}
        skipped.append(entry if extension is None else {**entry, "extension": extension})

    def measured_rows(part: Sequence[tuple[files.DetectionFiles, dict[str, Any], Response | None]]) -> Chunk:
        responses = {response.response_id: response for _, _, response in part if response is not None}
        table = rows_to_table([{**row, **catalog.get(item.label, {})} for item, row, _ in part], texts)
        notes = [{"file": item.label, "note": row["events_note"]} for item, row, _ in part if row.get("events_note")]
        measured = fill_measured(table, responses)
        for name in given:
            measured = measured.set_column(TABLE_SCHEMA.get_field_index(name), TABLE_SCHEMA.field(name), table[name])
        return Chunk(measured, list(responses.values()), skipped, notes)

    for item in items:
        try:
            read.append((item, *files.read_detection(item)))
        except Exception as error:  # one bad file never ends a build; `reason_of` tells what was foreseen
            skip(item, error)
    try:
        return measured_rows(read)
    except Exception:  # one of the rows does not fit the table, or cannot be measured: which?
        good = []
        for entry in read:
            try:
                measured_rows([entry])
            except Exception as error:
                skip(entry[0], error)
            else:
                good.append(entry)
        if len(good) == len(read):
            raise  # it is not one of the rows
        return measured_rows(good)


def rows_to_table(rows: Sequence[dict[str, Any]], texts: dict[str | int, dict[str, Any]]) -> pa.Table:
    """A table of the dataset's schema from one dict a detection, with the texts of its name or obsid, and its split."""
    if not rows:
        return TABLE_SCHEMA.empty_table()
    names = [row["name"] for row in rows]
    for row in rows:
        text = texts.get(row["name"]) or texts.get(row["obsid"])
        if text:
            row.update(text)
    columns: dict[str, Any] = {}
    for item in TABLE_SCHEMA:
        values = [row.get(item.name) for row in rows]
        if item.name == "split":
            columns["split"] = assign_splits(names)
        elif pa.types.is_list(item.type) and not pa.types.is_string(item.type.value_type):
            columns[item.name] = Ragged.from_rows(values)
        else:
            columns[item.name] = values
    return build_table(columns)


def _digest_of_files(input_dir: Path) -> str:
    """Of the names and sizes of all files, responses and backgrounds too: another set of files is another build."""
    digest = hashlib.sha256()
    for folder, subfolders, names in os.walk(input_dir):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for path in (Path(folder, name) for name in sorted(names) if not name.startswith(".")):
            if path.is_file():
                digest.update(json.dumps([path.relative_to(input_dir).as_posix(), path.stat().st_size]).encode())
    return digest.hexdigest()
