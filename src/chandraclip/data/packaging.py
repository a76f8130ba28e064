"""From chunks of rows to a dataset folder: Parquet shards, card and manifest. Whose rows they are, it does not know.

The chunks of a build are independent and numbered, so they may be made by any number of processes, and again after a
kill, with the same bytes.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from chandraclip.data import shards
from chandraclip.data.card import render_card
from chandraclip.data.schema import SCHEMA_VERSION
from chandraclip.data.shards import STAGING, Chunk
from chandraclip.data.splits import SPLITS
from chandraclip.errors import InputFileError
from chandraclip.files import write_json
from chandraclip.versions import installed_versions


@dataclass(frozen=True)
class BuildResult:
    """Where the dataset is, its manifest, and whether it was there already."""

    output: Path
    manifest: dict[str, Any]
    already_built: bool


def build_dataset(
    output: str | Path,
    parameters: dict[str, Any],
    tasks: Sequence[Callable[[], Chunk]],
    license_id: str,
    num_processes: int = 1,
    overwrite: bool = False,
    progress: bool = True,
) -> BuildResult:
    """Writes what the tasks give as a dataset.

    Args:
        output: the dataset's folder. Goes on where a killed build of the same parameters stopped.
        parameters: JSON values that set every byte of the rows; they go into the manifest, and a build of others in the
            same folder is refused.
        tasks: one a chunk; picklable, independent, and the same bytes each time.
        license_id: for the card, an identifier of the Hub.
        num_processes: chunks are made and shards written by as many; the bytes do not depend on it.
        overwrite: replace what another build left in `output`.
        progress: show progress bars.

    Raises:
        InputFileError: `output` holds a build with other parameters, or files of another origin; no task gave a row.
    """
    output = Path(output)
    parameters = {**parameters, "schema_version": SCHEMA_VERSION, **installed_versions("chandraclip")}
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
        | installed_versions("chandraclip", "numpy", "pyarrow", "scipy", "astropy"),
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
