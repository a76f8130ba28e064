"""From the simulator, a catalogue or a folder of mission files to a dataset folder: Parquet shards, card and manifest.

The chunks of a build are independent and numbered, so they may be made by any number of processes, and again after a
kill, with the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from chandraclip.catalog.ragged import Ragged
from chandraclip.data import shards
from chandraclip.data.card import render_card
from chandraclip.data.schema import SCHEMA_VERSION, TABLE_SCHEMA, build_table
from chandraclip.data.shards import STAGING, Chunk
from chandraclip.data.splits import SPLITS, assign_splits
from chandraclip.errors import InputFileError
from chandraclip.files import sha256_of, write_json

SIMULATED_ROWS_PER_CHUNK = 2_000
FILES_PER_CHUNK = 100
TEXT_COLUMNS = ("summary", "bibcodes", "summary_model", "prompt_version")


@dataclass(frozen=True)
class BuildResult:
    """Where the dataset is, its manifest, and whether it was there already."""

    output: Path
    manifest: dict[str, Any]
    already_built: bool


def build_from_simulation(
    output: str | Path,
    num_detections: int,
    seed: int = 0,
    num_processes: int = 1,
    overwrite: bool = False,
    progress: bool = True,
    selection: str = "all",
    arf: str | Path | None = None,
    rmf: str | Path | None = None,
    pileup: bool = True,
) -> BuildResult:
    """Simulates detections and writes them as a dataset.

    Args:
        output: the dataset's folder. Goes on where a killed build of the same parameters stopped.
        num_detections: rows in all.
        seed: of the simulator; with `num_detections` it sets every byte of the rows.
        num_processes: chunks are made and shards written by as many; the bytes do not depend on it.
        overwrite: replace what another build left in `output`.
        progress: show a progress bar.
        selection: the cuts of a published sample, one of `simulate.selection.SELECTIONS`.
        arf, rmf: a real response to observe with; the built-in ACIS without them.
        pileup: photons of one readout frame and cell are read as one event.

    Raises:
        ValueError: num_detections < 1, only one of arf and rmf is given, or there is no such selection.
        InputFileError: `output` holds a build with other parameters, or files of another origin.
    """
    if num_detections < 1:
        raise ValueError(f"num_detections must be at least 1, not {num_detections}")
    if (arf is None) != (rmf is None):
        raise ValueError("a real response takes both an ARF and an RMF")
    parameters: dict[str, Any] = {
        "source": "simulation",
        "num_detections": num_detections,
        "seed": seed,
        "chunk_size": SIMULATED_ROWS_PER_CHUNK,
        "selection": selection,
        "arf_sha256": None if arf is None else sha256_of(Path(arf)),
        "rmf_sha256": None if rmf is None else sha256_of(Path(rmf)),
        "pileup": pileup,
    }
    sizes = [SIMULATED_ROWS_PER_CHUNK] * (num_detections // SIMULATED_ROWS_PER_CHUNK)
    if num_detections % SIMULATED_ROWS_PER_CHUNK:
        sizes.append(num_detections % SIMULATED_ROWS_PER_CHUNK)
    tasks = [partial(_simulate, seed, index, size, selection, arf, rmf, pileup) for index, size in enumerate(sizes)]
    return _build(Path(output), parameters, tasks, "cc-by-4.0", num_processes, overwrite, progress)


def build_from_catalog(
    output: str | Path,
    detections: str | Path,
    sources: str | Path | None = None,
    seed: int = 0,
    num_processes: int = 1,
    overwrite: bool = False,
    progress: bool = True,
    pileup: bool = True,
) -> BuildResult:
    """Simulates a mock of a catalogue, one detection for each of its rows, and writes it as a dataset.

    Args:
        detections, sources: tables of CSC, see `simulate.catalog_rows.read_catalog_rows`.
        output, seed, num_processes, overwrite, progress, pileup: see `build_from_simulation`.

    Raises:
        InputFileError: a table cannot be used, or `output` holds another build.
    """
    from chandraclip.simulate.catalog import ROWS_PER_CHUNK
    from chandraclip.simulate.catalog_rows import read_catalog_rows

    detections, sources = Path(detections), None if sources is None else Path(sources)
    catalog = read_catalog_rows(detections, sources)
    parameters = {
        "source": "catalog",
        "detections": detections.name,
        "sources": None if sources is None else sources.name,
        "num_detections": len(catalog.detections),
        "seed": seed,
        "chunk_size": ROWS_PER_CHUNK,
        "detections_sha256": sha256_of(detections),
        "sources_sha256": None if sources is None else sha256_of(sources),
        "pileup": pileup,
    }
    bounds = catalog.chunk_bounds(ROWS_PER_CHUNK)
    tasks = [partial(_simulate_catalog, detections, sources, seed, first, last, pileup) for first, last in bounds]
    return _build(Path(output), parameters, tasks, "cc-by-4.0", num_processes, overwrite, progress)


def build_from_files(
    input_dir: str | Path,
    output: str | Path,
    num_processes: int = 1,
    overwrite: bool = False,
    texts: str | Path | None = None,
    license_id: str = "unknown",
    progress: bool = True,
) -> BuildResult:
    """Packages the mission files under a folder as a dataset; a file that cannot be used is listed with its reason.

    Args:
        input_dir: searched for spectra, responses and event lists (`files.find_detections`).
        output, num_processes, overwrite, progress: see `build_from_simulation`.
        texts: JSON lines with `summary` and optionally bibcodes, summary_model and prompt_version, for the `name`, or
            else all detections of the `obsid`, that the line gives.
        license_id: for the card, an identifier of the Hub.

    Raises:
        InputFileError: nothing usable is found, `texts` is malformed, or `output` holds another build.
    """
    from chandraclip.data.files import find_detections

    input_dir = Path(input_dir)
    if not input_dir.is_dir():
        raise InputFileError(input_dir, "not a folder")
    if Path(output).resolve().is_relative_to(input_dir.resolve()):
        raise InputFileError(output, f"lies in the input folder {input_dir}, which it would change")
    items = sorted(find_detections(input_dir), key=lambda item: item.label)
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
    return _build(Path(output), parameters, tasks, license_id, num_processes, overwrite, progress)


@lru_cache(maxsize=1)
def load_texts(path: Path) -> dict[str | int, dict[str, Any]]:
    """name, or obsid -> text columns, from JSON lines.

    Raises:
        InputFileError: a line is not a JSON object, or lacks `summary` or both `name` and `obsid`.
    """
    result: dict[str | int, dict[str, Any]] = {}
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


def _simulate(
    seed: int,
    index: int,
    num_detections: int,
    selection: str,
    arf: str | Path | None,
    rmf: str | Path | None,
    pileup: bool,
) -> Chunk:
    from chandraclip.simulate import simulate_chunk
    from chandraclip.simulate.instrument.response import builtin_instrument, instrument_from_files

    instrument = builtin_instrument() if arf is None or rmf is None else instrument_from_files(arf, rmf)
    table = simulate_chunk(seed, index, num_detections, selection=selection, instrument=instrument, pileup=pileup)
    return Chunk(table, [instrument.response])


def _simulate_catalog(detections: Path, sources: Path | None, seed: int, first: int, last: int, pileup: bool) -> Chunk:
    from chandraclip.simulate.catalog import simulate_catalog_chunk
    from chandraclip.simulate.instrument.response import builtin_instrument

    table = simulate_catalog_chunk(detections, sources, seed, first, last, pileup)
    return Chunk(table, [builtin_instrument().response])


def _read_files(input_dir: Path, items: Sequence[Any], text_path: Path | None) -> Chunk:
    from chandraclip.catalog.measure import fill_measured
    from chandraclip.data.files import read_detection

    rows, responses, skipped = [], {}, []
    for item in items:
        try:
            row, response = read_detection(item)
        except InputFileError as error:
            place = Path(error.path)
            file = place.relative_to(input_dir).as_posix() if place.is_relative_to(input_dir) else place.name
            # The manifest is published: no folder of this machine in it.
            entry = {"file": file, "reason": error.reason.replace(f"{input_dir}{os.sep}", "")}
            if error.extension is not None:
                entry["extension"] = str(error.extension)
            skipped.append(entry)
            continue
        rows.append(row)
        if response is not None:
            responses[response.response_id] = response
    table = rows_to_table(rows, {} if text_path is None else load_texts(text_path))
    return Chunk(fill_measured(table, responses), list(responses.values()), skipped)


def rows_to_table(rows: Sequence[dict[str, Any]], texts: dict[str | int, dict[str, Any]]) -> Any:
    """A table of the dataset's schema from one dict a detection, with the texts of its name or obsid, and its split."""
    import pyarrow as pa

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


def _build(
    output: Path,
    parameters: dict[str, Any],
    tasks: Sequence[Callable[[], Chunk]],
    license_id: str,
    num_processes: int,
    overwrite: bool,
    progress: bool,
) -> BuildResult:
    parameters = {**parameters, "schema_version": SCHEMA_VERSION, "chandraclip": version("chandraclip")}
    staging = output / STAGING
    finished = _open(output, staging, parameters, overwrite)
    if finished is not None:
        return BuildResult(output, finished, already_built=True)

    with _executor(num_processes) as run:
        missing = [index for index in range(len(tasks)) if shards.read_record(staging, index) is None]
        with tqdm(total=len(tasks), initial=len(tasks) - len(missing), desc="chunks", disable=not progress) as bar:
            for _ in run([partial(shards.stage_chunk, staging, index, tasks[index]) for index in missing]):
                bar.update()
        records = [record for index in range(len(tasks)) if (record := shards.read_record(staging, index))]
        skipped = [entry for record in records for entry in record.skipped]
        plans = shards.plan_shards(records)
        if not plans:
            raise InputFileError(output, f"no detection to write; {len(skipped)} files were skipped: {skipped[:3]}")
        for stale in ("data", "responses"):
            shutil.rmtree(staging / stale, ignore_errors=True)
        entries = {}
        with tqdm(total=len(plans), desc="shards", disable=not progress) as bar:
            for entry in run([partial(shards.write_shard, staging, plan) for plan in plans]):
                entries[entry["path"]] = entry
                bar.update()
    shard_entries = [entries[f"data/{plan.filename}"] for plan in plans]
    manifest = {
        "parameters": parameters,
        "license": license_id,
        "num_rows": {
            split: rows
            for split in SPLITS
            if (rows := sum(entry["num_rows"] for entry in shard_entries if entry["split"] == split))
        },
        "shards": shard_entries,
        "responses": shards.write_responses(staging, len(tasks)),
        "skipped": skipped,
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("chandraclip", "numpy", "pyarrow", "scipy", "astropy")},
    }
    shards.publish(output, staging, manifest, render_card(manifest))
    return BuildResult(output, manifest, already_built=False)


def _open(output: Path, staging: Path, parameters: dict[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """Makes the staging folder ready; the manifest where this very build is finished already."""
    if overwrite and output.exists():
        shards.discard(output, ["data", STAGING, "responses"])  # `data` first: without it nothing loads
        for name in ("manifest.json", "README.md"):
            (output / name).unlink(missing_ok=True)
    manifest_path = output / "manifest.json"
    if (output / "data").exists():
        if not manifest_path.exists():
            raise InputFileError(output, "holds a dataset without a manifest; choose another folder or --overwrite")
        manifest = json.loads(manifest_path.read_text())
        _refuse_others(output, manifest["parameters"], parameters)
        shutil.rmtree(staging, ignore_errors=True)  # killed after the last rename
        return manifest
    record = staging / "parameters.json"
    if record.exists() and any((staging / "chunks").glob("*.json")):  # nothing is lost where no chunk was finished
        _refuse_others(output, json.loads(record.read_text()), parameters)
    staging.mkdir(parents=True, exist_ok=True)
    write_json(record, parameters)
    return None


def _refuse_others(output: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    different = [name for name in sorted(found | wanted) if found.get(name) != wanted.get(name)]
    if different:
        details = ", ".join(f"{name} {found.get(name)} (now {wanted.get(name)})" for name in different)
        raise InputFileError(
            output, f"was built with other parameters: {details}; choose another folder or --overwrite"
        )


@contextmanager
def _executor(num_processes: int) -> Iterator[Callable[[Sequence[Callable[[], Any]]], Iterator[Any]]]:
    """A function that calls each task and yields the results as they come, here or in `num_processes` processes."""
    if num_processes <= 1:
        yield lambda tasks: (task() for task in tasks)
        return
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # before the children import numpy: their threads would fight for the cores
    try:
        with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn")) as pool:

            def run(tasks: Sequence[Callable[[], Any]]) -> Iterator[Any]:
                futures = [pool.submit(task) for task in tasks]
                try:
                    for future in as_completed(futures):
                        yield future.result()
                finally:
                    for future in futures:
                        future.cancel()

            yield run
    finally:
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = threads
