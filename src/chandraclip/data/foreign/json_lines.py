"""JSON lines to Parquet, once: a gzip file has no way to its middle, and chunks are made by several processes.

Only columns that a mapping reads are kept. A line that is no JSON object, or holds another type, is left out and
listed.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from chandraclip.data.foreign.files import LINE
from chandraclip.data.foreign.mapping import ColumnMapping
from chandraclip.data.foreign.paths import root_of
from chandraclip.data.schema import TABLE_SCHEMA
from chandraclip.errors import InputFileError
from chandraclip.files import atomic_path

BLOCK_BYTES = 32 * 2**20
LINES_LOOKED_AT = 200  # for what a column of objects holds
_EVERYTHING = pj.ReadOptions(use_threads=False, block_size=2**31 - 1)


def first_rows(path: Path) -> pa.Schema:
    """The columns of a file's first lines, for the choice of a mapping.

    Raises:
        InputFileError: none of them is a JSON object.
    """
    rows = [row for row in (_object(line) for line in _head(path)) if row is not None]
    if not rows:
        raise InputFileError(path, f"none of its first {LINES_LOOKED_AT} lines is a JSON object")
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.schema([(name, _type_of([row.get(name) for row in rows])) for name in names])


def to_parquet(path: Path, target: Path, mapping: ColumnMapping) -> list[dict[str, str]]:
    """Write what a mapping reads of a file as Parquet, a row group a block; what was left out, with reasons.

    Raises:
        InputFileError: the file cannot be unpacked.
    """
    schema = _schema(mapping, first_rows(path))
    skipped: list[dict[str, str]] = []
    with atomic_path(target) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for first, block in _blocks(path):
            table, problems = _read_block(block, first, schema)
            skipped += [{"file": f"{path.name}, line {line + 1}", "reason": reason} for line, reason in problems]
            if len(table):
                writer.write_table(table)
    return skipped


def _schema(mapping: ColumnMapping, found: pa.Schema) -> pa.Schema:
    """Types for what the mapping reads, of which the first lines may have had no example."""
    fields: dict[str, pa.DataType] = {}
    targets = [(reference, name) for name, source in mapping.columns.items() for reference in source.columns]
    for reference, name in [*targets, *([(mapping.thinned, "")] if mapping.thinned else [])]:
        assert reference is not None
        root = root_of(reference)
        if root not in found.names and reference not in found.names:
            continue
        if reference.split(".")[-1].isdigit():
            fields[root] = pa.list_(pa.list_(pa.float64()))
        elif "." in reference:
            fields[root] = found.field(root).type
        elif not name:
            fields[root] = pa.bool_()
        else:
            wanted = TABLE_SCHEMA.field(name).type
            is_text = pa.types.is_string(wanted) or pa.types.is_string(found.field(root).type)
            number = pa.list_(pa.float64()) if pa.types.is_list(wanted) else pa.float64()
            fields[root] = pa.string() if is_text else number
    return pa.schema([*fields.items(), (LINE, pa.int64())])


def _type_of(values: Sequence[Any]) -> pa.DataType:
    """Of what Python's JSON gave; numbers are all float64, so that later lines fit."""
    values = [value for value in values if value is not None]
    if not values:
        return pa.null()
    first = values[0]
    if isinstance(first, bool):
        return pa.bool_()
    if isinstance(first, int | float):
        return pa.float64()
    if isinstance(first, dict):
        names = list(dict.fromkeys(name for value in values if isinstance(value, dict) for name in value))
        return pa.struct([(name, _type_of([value.get(name) for value in values])) for name in names])
    if isinstance(first, list):
        return pa.list_(_type_of([one for value in values if isinstance(value, list) for one in value[:2]]))
    return pa.string()


def _read_block(block: list[bytes], first: int, schema: pa.Schema) -> tuple[pa.Table, list[tuple[int, str]]]:
    """Whole lines as a table; line by line where one of them is bad."""
    numbers = [first + index for index, line in enumerate(block) if line.strip()]
    lines = [line for line in block if line.strip()]
    try:
        return _parse(lines, numbers, schema), []
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        good, problems = [], []
        for number, line in zip(numbers, lines):
            try:
                good.append(_parse([line], [number], schema))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                try:  # NaN is no JSON, but Python writes it
                    good.append(_parse([_without_nan(line)], [number], schema))
                except (ValueError, pa.ArrowNotImplementedError):
                    problems.append((number, f"no such JSON object ({str(error).splitlines()[0]})"))
        return pa.concat_tables(good) if good else schema.empty_table(), problems


def _parse(lines: list[bytes], numbers: list[int], schema: pa.Schema) -> pa.Table:
    if not lines:
        return schema.empty_table()
    wanted = pa.schema([item for item in schema if item.name != LINE])
    options = pj.ParseOptions(explicit_schema=wanted, unexpected_field_behavior="ignore")
    content = b"\n".join(line.strip() for line in lines) + b"\n"
    table = pj.read_json(io.BytesIO(content), read_options=_EVERYTHING, parse_options=options)
    if len(table) != len(lines):
        raise pa.ArrowInvalid(f"{len(table)} objects in {len(lines)} lines")
    return table.select(wanted.names).append_column(LINE, pa.array(numbers, pa.int64())).cast(schema)


def _without_nan(line: bytes) -> bytes:
    return json.dumps(json.loads(line, parse_constant=lambda _: None)).encode()


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(line, parse_constant=lambda _: None)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _head(path: Path) -> list[bytes]:
    return next((block[:LINES_LOOKED_AT] for _, block in _blocks(path, LINES_LOOKED_AT)), [])


def _blocks(path: Path, max_lines: int | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """Number of the first line, and lines of `BLOCK_BYTES` together, or so many."""
    first, lines, size = 0, [], 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            for line in stream:
                lines.append(line)
                size += len(line)
                if size >= BLOCK_BYTES or len(lines) == max_lines:
                    yield first, lines
                    first, lines, size = first + len(lines), [], 0
    except (OSError, EOFError, zlib.error) as error:
        raise InputFileError(path, f"cannot be unpacked: {error}") from error
    if lines:
        yield first, lines
