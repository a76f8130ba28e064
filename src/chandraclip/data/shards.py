"""Writes the files of a dataset: chunks are staged one by one, and published all at once.

    OUT/.building/parameters.json          what is being built; another build does not go on with it
    OUT/.building/chunks/000012-train.arrow  rows of a finished chunk, and 000012.json, its record, written last
    OUT/.building/{data,responses}/        the shards, until the last is written
    OUT/{README.md,manifest.json,responses,data}

A chunk without a record is made again. `data` is renamed into place as the last act, so that a folder that has it is
complete, and one that lacks it does not load. Where something `failed` that may be had later, `.building` stays, and
the next build of the same makes those chunks anew.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chandraclip.data.response_table import responses_to_table
from chandraclip.data.schema import CONFIGS, RESPONSE_SCHEMA, TABLE_SCHEMA
from chandraclip.data.splits import SPLITS
from chandraclip.files import atomic_path, sha256_of, write_json, write_text
from chandraclip.ogip.response import Response

STAGING = ".building"
SHARD_BYTES = 256 * 2**20  # of Arrow memory; a process that writes one holds about two and a half times that
ROW_GROUP_BYTES = 16 * 2**20
SORT_KEYS = [(name, "ascending") for name in ("healpix", "name", "obsid", "obi", "region_id")]


@dataclass
class Chunk:
    """Rows to write, the responses they name, what was skipped, `{"file": ..., "reason": ...}`, and what is to be said
    of rows, `{"file": ..., "note": ...}`; what `failed` as skipped files are, but may be had by trying again; and what
    to do when all that is on the disk."""

    table: pa.Table
    responses: Sequence[Response] = ()
    skipped: list[dict[str, str]] = field(default_factory=list)
    notes: list[dict[str, str]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    when_staged: Callable[[], None] | None = None


@dataclass(frozen=True)
class ChunkRecord:
    """What a finished chunk holds: rows and Arrow bytes a split, and responses (None: not recorded)."""

    num_rows: dict[str, int]
    num_bytes: dict[str, int]
    skipped: list[dict[str, str]]
    notes: list[dict[str, str]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    num_responses: int | None = None


@dataclass(frozen=True)
class ShardPlan:
    """One file of `data/` and the chunks whose rows it takes."""

    split: str
    filename: str
    chunks: tuple[int, ...]


def read_record(staging: Path, index: int) -> ChunkRecord | None:
    """The record of a finished chunk; None where it still has to be made."""
    path = staging / "chunks" / f"{index:06d}.json"
    return ChunkRecord(**json.loads(path.read_text())) if path.exists() else None


def is_whole(staging: Path, index: int, record: ChunkRecord) -> bool:
    """Whether the files of a finished chunk hold what its record says; a lost disk or copy may have left less."""
    wanted = {split: rows for split, rows in record.num_rows.items() if rows}
    if record.num_responses:
        wanted["responses"] = record.num_responses
    try:
        return all(
            _count_rows(staging / "chunks" / f"{index:06d}-{part}.arrow") == rows for part, rows in wanted.items()
        )
    except (OSError, pa.ArrowInvalid):
        return False


def stage_chunk(staging: Path, index: int, make_chunk: Callable[[], Chunk]) -> ChunkRecord:
    """Makes a chunk and writes it: rows by split, responses, and the record last."""
    folder = staging / "chunks"
    folder.mkdir(parents=True, exist_ok=True)
    chunk = make_chunk()
    if chunk.table.schema != TABLE_SCHEMA:
        raise ValueError(f"chunk {index} does not have the dataset's schema:\n{chunk.table.schema}")
    num_rows, num_bytes = {}, {}
    for split in SPLITS:
        part = chunk.table.filter(pc.equal(chunk.table["split"], split))
        num_rows[split], num_bytes[split] = part.num_rows, part.nbytes
        if part.num_rows:
            _write_ipc(folder / f"{index:06d}-{split}.arrow", part)
    if sum(num_rows.values()) != chunk.table.num_rows:
        raise ValueError(f"chunk {index} has rows whose split is none of {', '.join(SPLITS)}")
    if chunk.responses:
        _write_ipc(folder / f"{index:06d}-responses.arrow", responses_to_table(chunk.responses))
    record = ChunkRecord(num_rows, num_bytes, chunk.skipped, chunk.notes, chunk.failed, len(chunk.responses))
    write_json(folder / f"{index:06d}.json", asdict(record))
    if chunk.when_staged is not None:
        chunk.when_staged()
    return record


def plan_shards(records: Sequence[ChunkRecord], shard_bytes: int = SHARD_BYTES) -> list[ShardPlan]:
    """Neighbouring chunks joined to shards of at most `shard_bytes` (or one chunk), split by split."""
    plans = []
    for split in SPLITS:
        groups: list[list[int]] = []
        size = 0
        for index, record in enumerate(records):
            if not record.num_rows[split]:
                continue
            if not groups or size + record.num_bytes[split] > shard_bytes:
                groups.append([])
                size = 0
            groups[-1].append(index)
            size += record.num_bytes[split]
        plans += [
            ShardPlan(split, f"{split}-{number:05d}-of-{len(groups):05d}.parquet", tuple(chunks))
            for number, chunks in enumerate(groups)
        ]
    return plans


def write_shard(staging: Path, plan: ShardPlan) -> dict[str, Any]:
    """Writes one file of `data/`, sorted by sky, and says what is in it (a row of the manifest's `shards`)."""
    folder = staging / "chunks"
    parts = [_read_ipc(folder / f"{index:06d}-{plan.split}.arrow") for index in plan.chunks]
    table = pa.concat_tables(parts).sort_by(SORT_KEYS)
    # Taken from the rows just written, so that the sizes in the card are those of each config.
    num_bytes = {name: sum(table[item.name].nbytes for item in fields) for name, fields in CONFIGS.items()}
    path = staging / "data" / plan.filename
    path.parent.mkdir(parents=True, exist_ok=True)
    row_group_size = max(1, int(ROW_GROUP_BYTES * table.num_rows / max(table.nbytes, 1)))
    write_parquet(path, table, row_group_size)
    return {
        "path": f"data/{plan.filename}",
        "split": plan.split,
        "num_rows": table.num_rows,
        "num_bytes": num_bytes,
        "file_size": path.stat().st_size,
        "sha256": sha256_of(path),
    }


def write_responses(staging: Path, num_chunks: int) -> list[dict[str, Any]]:
    """Writes `responses/`, each RMF once, in the order in which the chunks name them; rows for the manifest."""
    folder = staging / "responses"
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    groups: list[list[pa.Table]] = []
    size = 0
    written: list[Path] = []
    rows: list[int] = []

    def flush() -> None:
        table = pa.concat_tables(groups.pop()) if groups else RESPONSE_SCHEMA.empty_table()
        written.append(folder / f"responses-{len(written):05d}.parquet")
        rows.append(table.num_rows)
        write_parquet(written[-1], table, max(1, int(ROW_GROUP_BYTES * table.num_rows / max(table.nbytes, 1))))

    for index in range(num_chunks):
        path = staging / "chunks" / f"{index:06d}-responses.arrow"
        if not path.exists():
            continue
        table = _read_ipc(path)
        keep = []
        for position, name in enumerate(table["response_id"].to_pylist()):
            if name not in seen:
                seen.add(name)
                keep.append(position)
        table = table.take(pa.array(keep, pa.int64()))
        if not table.num_rows:
            continue
        if groups and size + table.nbytes > SHARD_BYTES:
            flush()
            size = 0
        if not groups:
            groups.append([])
        groups[-1].append(table)
        size += table.nbytes
    if groups:
        flush()
    result = []
    for number, path in enumerate(written):
        final = folder / f"responses-{number:05d}-of-{len(written):05d}.parquet"
        os.replace(path, final)
        entry = {"path": f"responses/{final.name}", "num_rows": rows[number]}
        result.append({**entry, "file_size": final.stat().st_size, "sha256": sha256_of(final)})
    return result


def discard(output: Path, names: Sequence[str]) -> None:
    """Removes folders of a dataset; renamed first, so that one that is half removed does not load."""
    trash = output / f"{STAGING}.discarded"
    shutil.rmtree(trash, ignore_errors=True)
    for name in names:
        if (output / name).exists():
            os.rename(output / name, trash)
            shutil.rmtree(trash)


def publish(output: Path, staging: Path, manifest: dict[str, Any], card: str) -> None:
    """Moves a finished dataset into place, `data` last, and removes the staging folder, unless more is to come."""
    # Of a build that was killed between the next lines, or of the one that this completes.
    discard(output, ["data", "responses"])
    write_text(output / "README.md", card)
    write_json(output / "manifest.json", manifest)
    if manifest["responses"]:
        os.rename(staging / "responses", output / "responses")
    os.rename(staging / "data", output / "data")
    if not manifest.get("failed"):
        shutil.rmtree(staging)


def _write_ipc(path: Path, table: pa.Table) -> None:
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, table.schema, options=options) as writer,
    ):
        writer.write_table(table)


def _read_ipc(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def _count_rows(path: Path) -> int:
    """By the metadata of its batches, which are found from the file's end: a file that was cut off has none."""
    with pa.memory_map(str(path)) as source:
        return int(pa.ipc.open_file(source).count_rows())


def write_parquet(path: Path, table: pa.Table, row_group_size: int) -> None:
    """Writes a table as the dataset's files are: zstd, the bytes of floats split, atomically."""
    leaves = {}
    for item in table.schema:
        nested = pa.types.is_list(item.type)
        leaves[f"{item.name}.list.element" if nested else item.name] = item.type.value_type if nested else item.type
    # Bytes of floats compress better apart; counts and names repeat, so a dictionary suits them.
    floats = [name for name, kind in leaves.items() if pa.types.is_floating(kind)]
    with atomic_path(path) as temporary:
        pq.write_table(
            table,
            temporary,
            row_group_size=row_group_size,
            compression="zstd",
            use_dictionary=[name for name in leaves if name not in floats],
            use_byte_stream_split=floats,
            write_page_index=True,
        )
