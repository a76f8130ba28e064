"""Datasets that get their texts later: the rows of one that there is, with the summaries of their sources."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chandraclip.data.build_from_files import TEXT_COLUMNS, load_texts
from chandraclip.data.packaging import BuildResult, build_dataset
from chandraclip.data.provenance import read_manifest
from chandraclip.data.response_table import read_responses
from chandraclip.data.schema import TABLE_SCHEMA
from chandraclip.data.shards import Chunk
from chandraclip.errors import InputFileError
from chandraclip.files import sha256_of
from chandraclip.ogip.response import Response
from chandraclip.ranks import WHOLE, Share

ROWS_PER_CHUNK = 5000


def build_from_texts(
    dataset: str | Path,
    texts: str | Path,
    output: str | Path,
    num_processes: int = 1,
    overwrite: bool = False,
    progress: bool = True,
    share: Share = WHOLE,
) -> BuildResult:
    """Writes a dataset again, with texts; rows of sources that these do not have keep what they had.

    Args:
        dataset: folder of one that this package built.
        texts: as `build_from_files.load_texts` takes them.
        output, num_processes, overwrite, progress, share: see `packaging.build_dataset`.

    Raises:
        InputFileError: `dataset` is none or not complete, no text is of a source of it, or `output` holds another
            build.
    """
    dataset, texts = Path(dataset), Path(texts)
    manifest = read_manifest(str(dataset))
    if manifest is None or not (dataset / "data").is_dir():
        raise InputFileError(dataset, "is no dataset that scripts/build_dataset.py wrote")
    if manifest.get("failed"):
        raise InputFileError(dataset, "is not complete: run the command that builds it again first")
    known = load_texts(texts)
    files = sorted((dataset / "data").glob("*.parquet"))
    if not any(_has_any(file, known) for file in files):
        raise InputFileError(texts, f"has no text for any source of {dataset.name}: names and obsids are compared")
    # What the rows were built from, and then the texts.
    parameters = {**manifest["parameters"], "texts_sha256": sha256_of(texts), "rows_of": _digests(manifest)}
    tasks: list[Callable[[], Chunk]] = []
    facts: tuple[list[dict[str, str]], list[dict[str, str]]] = (manifest["skipped"], manifest.get("notes", []))
    for file in files:
        num_rows = pq.ParquetFile(file).metadata.num_rows
        for begin in range(0, num_rows, ROWS_PER_CHUNK):
            # What was skipped and noted belongs to the whole: the first chunk tells it.
            tasks.append(partial(_with_texts, file, begin, texts, *(([], []) if tasks else facts)))
    return build_dataset(
        output,
        parameters,
        tasks,
        manifest["license"],
        num_processes,
        overwrite,
        progress,
        work="add texts",
        share=share,
    )


def _digests(manifest: dict[str, Any]) -> list[str]:
    return [entry["sha256"] for entry in manifest["shards"]]


def _has_any(file: Path, known: dict[str | int, dict[str, Any]]) -> bool:
    keys = pq.read_table(file, columns=["name", "obsid"]).to_pydict()
    return any(name in known or obsid in known for name, obsid in zip(keys["name"], keys["obsid"]))


def _with_texts(
    file: Path, begin: int, texts: Path, skipped: list[dict[str, str]], notes: list[dict[str, str]]
) -> Chunk:
    table = _read(file).slice(begin, ROWS_PER_CHUNK)
    known = load_texts(texts)
    keys = table.select(["name", "obsid"]).to_pydict()
    found = [known.get(name) or known.get(obsid) for name, obsid in zip(keys["name"], keys["obsid"])]
    for column in TEXT_COLUMNS:
        index = TABLE_SCHEMA.get_field_index(column)
        own = table[column].to_pylist()
        values = [before if text is None else text[column] for before, text in zip(own, found)]
        table = table.set_column(index, TABLE_SCHEMA.field(index), pa.array(values, TABLE_SCHEMA.field(index).type))
    return Chunk(table.cast(TABLE_SCHEMA), _responses_of(file.parents[1], table), skipped, notes)


@lru_cache(maxsize=1)
def _read(file: Path) -> pa.Table:
    """A file's rows, with the columns that datasets have now; those of an earlier schema lack some."""
    table = pq.read_table(file)
    for index, item in enumerate(TABLE_SCHEMA):
        if item.name not in table.column_names:
            table = table.add_column(index, item, pa.nulls(table.num_rows, item.type))
    return table.select(TABLE_SCHEMA.names).cast(TABLE_SCHEMA)


def _responses_of(dataset: Path, table: pa.Table) -> list[Response]:
    names = [name for name in dict.fromkeys(table["response_id"].to_pylist()) if name is not None]
    if not names:
        return []
    responses = _responses(dataset)
    return [responses[name] for name in names]


@lru_cache(maxsize=1)
def _responses(dataset: Path) -> dict[str, Response]:
    return read_responses(dataset)
