"""From chunks of rows to a dataset folder: Parquet shards, card and manifest. Whose rows they are, it does not know.

The chunks of a build are independent and numbered, so they may be made by any number of processes, and again after a
kill, with the same bytes.
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from tqdm.auto import tqdm

from chandraclip.data import shards
from chandraclip.data.card import render_card
from chandraclip.data.schema import SCHEMA_VERSION
from chandraclip.data.shards import STAGING, Chunk
from chandraclip.data.splits import SPLITS
from chandraclip.errors import InputFileError
from chandraclip.files import write_json
from chandraclip.lock import locked, refuse_others, shared
from chandraclip.processes import Tasks, task_runner
from chandraclip.program import goes_on_from
from chandraclip.ranks import WHOLE, Share
from chandraclip.versions import installed_versions


@dataclass(frozen=True)
class BuildResult:
    """Where the dataset is, its manifest, and whether it was there already.

    Attributes:
        num_staged: of a rank (`ranks.Share`), which gives no manifest: how many of its chunks are done, of how many.
    """

    output: Path
    manifest: dict[str, Any]
    already_built: bool
    num_staged: tuple[int, int] | None = None


def build_dataset(
    output: str | Path,
    parameters: dict[str, Any],
    tasks: Sequence[Callable[[], Chunk]],
    license_id: str,
    num_processes: int = 1,
    overwrite: bool = False,
    progress: bool = True,
    work: str = "make",
    share: Share = WHOLE,
) -> BuildResult:
    """Writes what the tasks give as a dataset.

    Args:
        output: the dataset's folder. Goes on where a killed build of the same parameters stopped, and tries anew what
            failed in one that is finished.
        parameters: JSON values that set every byte of the rows; they go into the manifest, and a build of others in the
            same folder is refused.
        tasks: one a chunk; picklable, independent, and the same bytes each time.
        license_id: for the card, an identifier of the Hub.
        num_processes: chunks are made and shards written by as many; the bytes do not depend on it.
        overwrite: replace what another build left in `output`; this very build is kept, and goes on.
        progress: show progress bars.
        work: what the tasks do, for the bar.
        share: a rank makes its chunks and leaves them in `output`; merging makes none, and writes the dataset of those
            that ranks have made.

    Raises:
        InputFileError: `output` holds a build with other parameters, or files of another origin, or another process
            writes there; no task gave a row; ranks have not made all the chunks that are to be merged.
    """
    output = Path(output)
    parameters = {**parameters, "schema_version": SCHEMA_VERSION, **installed_versions("chandraclip")}
    staging = output / STAGING
    manifest = _manifest(output) if (output / "data").exists() and not staging.exists() else None
    if manifest is not None and manifest["parameters"] == parameters:
        return BuildResult(output, manifest, already_built=True)  # nothing is written, so the folder may be read-only
    if share.is_rank:
        return _build_share(output, staging, parameters, tasks, share, num_processes, overwrite, progress, work)
    with locked(output):
        finished = _open(output, staging, parameters, overwrite)
        if finished is not None:
            return BuildResult(output, finished, already_built=True)

        def place() -> str:
            return f"chunk {min(_num_staged(staging, range(len(tasks))) + 1, len(tasks))} of {len(tasks)}"

        with goes_on_from(output, place):
            if share.only_merge:
                _check_all_made(output, staging, len(tasks))
            manifest = _build(
                output, staging, parameters, tasks, license_id, num_processes, progress, work, share.only_merge
            )
    return BuildResult(output, manifest, already_built=False)


def _build_share(
    output: Path,
    staging: Path,
    parameters: dict[str, Any],
    tasks: Sequence[Callable[[], Chunk]],
    share: Share,
    num_processes: int,
    overwrite: bool,
    progress: bool,
    work: str,
) -> BuildResult:
    """Makes the chunks of a rank, and leaves them in the staging folder."""
    own = share.of(len(tasks))

    def prepare() -> dict[str, Any] | None:
        return _open(output, staging, parameters, overwrite)

    def place() -> str:
        return f"chunk {min(_num_staged(staging, own) + 1, len(own))} of the {len(own)} of rank {share.rank}"

    with shared(output, "build", share.name, prepare) as finished:
        if finished is not None:
            return BuildResult(output, finished, already_built=True)
        with goes_on_from(output, place), task_runner(num_processes) as run:
            _make_missing(staging, tasks, own, run, progress, work)
        return BuildResult(output, {}, already_built=False, num_staged=(_num_staged(staging, own), len(own)))


def _num_staged(staging: Path, indices: range) -> int:
    return sum((record := shards.read_record(staging, i)) is not None and not record.failed for i in indices)


def _is_missing(staging: Path, index: int) -> bool:
    record = shards.read_record(staging, index)
    return record is None or not shards.is_whole(staging, index, record)


def _check_all_made(output: Path, staging: Path, num_tasks: int) -> None:
    missing = [index for index in range(num_tasks) if _is_missing(staging, index)]
    if missing:
        listed = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        reason = (
            f"{len(missing)} of {num_tasks} chunks are missing or damaged ({listed}; number I is rank I modulo N's)"
        )
        raise InputFileError(output, f"{reason}: run their ranks again, or this command without --merge")


def _make_missing(
    staging: Path,
    tasks: Sequence[Callable[[], Chunk]],
    indices: range,
    run: Callable[[Tasks], Iterator[Any]],
    progress: bool,
    work: str,
) -> None:
    # Those with a record that says so failed in an earlier run; in this one each is tried once.
    missing = [
        index
        for index in indices
        if _is_missing(staging, index) or ((record := shards.read_record(staging, index)) and record.failed)
    ]
    done = len(indices) - len(missing)
    with tqdm(total=len(indices), initial=done, desc=work, unit="chunk", disable=not progress) as bar:
        for _ in run([partial(shards.stage_chunk, staging, index, tasks[index]) for index in missing]):
            bar.update()


def _build(
    output: Path,
    staging: Path,
    parameters: dict[str, Any],
    tasks: Sequence[Callable[[], Chunk]],
    license_id: str,
    num_processes: int,
    progress: bool,
    work: str,
    only_merge: bool,
) -> dict[str, Any]:
    """Makes the chunks that are missing, unless it is only to merge, writes the shards and publishes them."""
    with task_runner(num_processes) as run:
        if not only_merge:
            _make_missing(staging, tasks, range(len(tasks)), run, progress, work)
        records = [record for index in range(len(tasks)) if (record := shards.read_record(staging, index))]
        skipped = [entry for record in records for entry in record.skipped]
        failed = [entry for record in records for entry in record.failed]
        plans = shards.plan_shards(records)
        if not plans and failed:
            reason = f"{failed[0]['file']}: {failed[0]['reason']}"
            raise InputFileError(output, f"no detection to write; {len(failed)} failed, the first is {reason}")
        if not plans:
            raise InputFileError(output, f"no detection to write; {len(skipped)} files were skipped: {skipped[:3]}")
        for stale in ("data", "responses"):
            shutil.rmtree(staging / stale, ignore_errors=True)
        entries = {}
        with tqdm(total=len(plans), desc="write", unit="shard", disable=not progress) as bar:
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
        "notes": [entry for record in records for entry in record.notes],
        **({"failed": failed} if failed else {}),
        "versions": {"python": platform.python_version()}
        | installed_versions("chandraclip", "numpy", "pyarrow", "scipy", "astropy"),
    }
    shards.publish(output, staging, manifest, render_card(manifest))
    return manifest


def _open(output: Path, staging: Path, parameters: dict[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """Makes the staging folder ready; the manifest where this very build is finished already."""
    manifest, record = _manifest(output), staging / "parameters.json"
    found: dict[str, Any] | None = None
    if (output / "data").exists():
        found = {} if manifest is None else manifest["parameters"]
    elif record.exists() and any((staging / "chunks").glob("*.json")):  # nothing is lost where no chunk was finished
        found = json.loads(record.read_text())
    if found is not None and found != parameters:
        if not overwrite:
            _refuse(output, found, parameters)
        refuse_others(output)  # their chunks go
        shards.discard(output, ["data", STAGING, "responses"])  # `data` first: without it nothing loads
        for name in ("manifest.json", "README.md"):
            (output / name).unlink(missing_ok=True)
    elif manifest is not None and (output / "data").exists() and not (manifest.get("failed") and record.exists()):
        shutil.rmtree(staging, ignore_errors=True)  # killed after the last rename
        return manifest
    if not (record.exists() and json.loads(record.read_text()) == parameters):
        refuse_others(output)  # they make chunks of something else
        staging.mkdir(parents=True, exist_ok=True)
        write_json(record, parameters)
    return None


def _manifest(output: Path) -> dict[str, Any] | None:
    """What a finished dataset says of itself; None where there is none."""
    path = output / "manifest.json"
    return json.loads(path.read_text()) if path.exists() else None


def _refuse(output: Path, found: dict[str, Any], wanted: dict[str, Any]) -> NoReturn:
    advice = "choose another folder or --overwrite"
    if not found:
        raise InputFileError(output, f"holds a dataset without a manifest; {advice}")
    different = [name for name in sorted(found | wanted) if found.get(name) != wanted.get(name)]
    details = ", ".join(f"{name} {found.get(name)} (now {wanted.get(name)})" for name in different)
    raise InputFileError(output, f"was built with other parameters: {details}; {advice}")
