"""Datasets of the Chandra Source Catalog's archive: a query's detections, fetched 50 at a time and packaged.

    OUT/.archive/<hash>.parquet           what the query gave; kept until all is fetched
    OUT/.building/downloads/000012/       files of a chunk that is on its way, or of which some failed

What is fetched, in which order, and what went wrong on the way leaves no trace in the rows.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from chandraclip.acquire import csccli, fetching, tables
from chandraclip.acquire.csccli import ArchiveClient, Detection
from chandraclip.acquire.http import Manners, check_base_url, shown
from chandraclip.data import files
from chandraclip.data.build_from_files import read_items
from chandraclip.data.names import healpix_cell
from chandraclip.data.packaging import BuildResult, build_dataset
from chandraclip.data.provenance import read_manifest
from chandraclip.data.schema import SCHEMA_VERSION, TABLE_SCHEMA
from chandraclip.data.shards import STAGING, Chunk
from chandraclip.errors import InputFileError, OptionError
from chandraclip.files import atomic_path, sha256_of
from chandraclip.lock import locked, shared
from chandraclip.ranks import WHOLE, Share
from chandraclip.versions import installed_versions

logger = logging.getLogger(__name__)

TABLES = ".archive"
_PATIENCE = 120.0  # s, until a worker of a build that was killed has let go of its chunk


@dataclass(frozen=True)
class ArchiveOptions:
    """How the archive is asked; none of it changes a byte of the dataset.

    Attributes:
        base_url: of the archive or of a mirror.
        table_service: one of `tables.SERVICES`.
        requests_per_second: of all processes together, at most.
        keep_files: a folder for the files, a folder a detection; what is there is not fetched again. None: they go when
            their rows are on the disk.
        manners: `seconds_between` follows from the rate.
    """

    base_url: str = csccli.BASE_URL
    table_service: str = "tap"
    requests_per_second: float = 2.0
    keep_files: Path | None = None
    manners: Manners = field(default_factory=Manners)

    def shared_by(self, num_processes: int) -> ArchiveOptions:
        """The same for each of so many processes."""
        spacing = max(num_processes, 1) / self.requests_per_second
        return replace(self, manners=replace(self.manners, seconds_between=spacing))


def build_from_archive(
    output: str | Path,
    query: str,
    products: Sequence[str] = csccli.ROW_PRODUCTS,
    options: ArchiveOptions | None = None,
    num_processes: int = 1,
    overwrite: bool = False,
    limit: int | None = None,
    license_id: str = "unknown",
    progress: bool = True,
    share: Share = WHOLE,
) -> BuildResult:
    """Fetches the detections of a query and writes them as a dataset.

    Goes on where a killed build of the same stopped. Detections that failed after all attempts are listed in the
    manifest (``failed``), and tried anew when the same is built again; then the dataset is the one that it would have
    been. Columns that the query gives are the catalogue's alone: where it has no value, none is measured here.

    Args:
        output, num_processes, overwrite, progress, share: see `data.packaging.build_dataset`; each process asks by
            itself, and those of all ranks keep to one rate together.
        query: ADQL, see `tables.fetch_table`.
        products: of `csccli.PRODUCTS`. What makes no rows (`ROW_PRODUCTS`) goes to `options.keep_files` alone.
        options: how the archive is asked.
        limit: the first so many detections, by name.
        license_id: for the card, an identifier of the Hub.

    Raises:
        InputFileError: the archive does not answer or refuses the query, or `output` holds another build.
        OptionError: products that make no row, or have no place to go; a limit or rate that is not positive.
    """
    output, options = Path(output), options or ArchiveOptions()
    wanted = _check(products, options, limit, output)
    parameters: dict[str, Any] = {
        "source": "csc",
        "release": csccli.VERSION,
        "query": query,
        "products": [product.filetype for product in wanted],
        "limit": limit,
        "chunk_size": csccli.MAX_DETECTIONS,
        "license": license_id,
    }
    table_path = output / TABLES / f"{_digest(query, options.table_service)}.parquet"
    finished = _finished(output, parameters)
    if finished is not None:
        shutil.rmtree(table_path.parent, ignore_errors=True)  # killed before the last line of this function
        return BuildResult(output, finished, already_built=True)

    def fetch_table() -> None:
        if not table_path.exists():
            client = ArchiveClient(options.base_url, options.shared_by(1).manners)
            _write(table_path, tables.fetch_table(client, query, options.table_service))

    with _held(output, options.keep_files, share, fetch_table):
        table = _read(table_path, limit)
        parameters["num_detections"] = table.num_rows
        parameters["catalog_columns"] = [name for name in table.column_names if name in TABLE_SCHEMA.names]
        parameters["table_sha256"] = sha256_of(table_path)
        staging = output / STAGING
        tasks = [
            partial(
                _fetch_chunk,
                options.shared_by(num_processes * share.num_ranks),
                parameters["products"],
                table_path,
                limit,
                staging,
                index,
            )
            for index in range(-(-table.num_rows // csccli.MAX_DETECTIONS))
        ]
        try:
            result = build_dataset(
                output, parameters, tasks, license_id, num_processes, overwrite, progress, work="fetch", share=share
            )
        except fetching.ArchiveAwayError as error:
            reason = f"the archive does not answer: {error}; run the same command again, it goes on from here"
            raise InputFileError(shown(options.base_url), reason) from None
        if result.num_staged is None and not result.manifest.get("failed"):
            shutil.rmtree(table_path.parent, ignore_errors=True)
    return result


@contextmanager
def _held(output: Path, keep_files: Path | None, share: Share, prepare: Callable[[], None]) -> Iterator[None]:
    """The folders that a build writes, held by it, or by its ranks together."""
    with ExitStack() as stack:
        if share.is_rank:
            if keep_files is not None:
                job = hashlib.sha256(str(output.resolve()).encode()).hexdigest()[:16]
                stack.enter_context(shared(keep_files, job, share.name, lambda: None))
            stack.enter_context(shared(output, "build", share.name, prepare))
        else:
            stack.enter_context(locked(output))
            if keep_files is not None:
                stack.enter_context(locked(keep_files))
            prepare()
        yield


def _check(products: Sequence[str], options: ArchiveOptions, limit: int | None, output: Path) -> list[csccli.Product]:
    """The products in the archive's order, each once."""
    check_base_url(options.base_url)
    unknown = [name for name in products if name not in csccli.PRODUCTS]
    if unknown or not products:
        raise OptionError(f"products {unknown or 'none'}: there are {', '.join(csccli.PRODUCTS)}")
    if not {"spectrum", "regevt3"} & set(products):
        raise OptionError("--products needs spectrum or regevt3: without them there are no rows")
    extra = [name for name in products if name not in csccli.ROW_PRODUCTS]
    if extra and options.keep_files is None:
        raise OptionError(f"the dataset has no place for {', '.join(extra)}: add --keep_files FOLDER")
    if options.keep_files is not None and options.keep_files.resolve().is_relative_to(output.resolve()):
        raise OptionError(f"--keep_files {options.keep_files} lies in the dataset's folder")
    if limit is not None and limit < 1:
        raise OptionError(f"--limit must be at least 1, got {limit}")
    if not 0.0 < options.requests_per_second <= 1e6:
        raise OptionError(f"--requests_per_second must be positive, got {options.requests_per_second}")
    if options.manners.attempts < 1 or options.manners.read_timeout <= 0:
        raise OptionError("--attempts must be at least 1, and --read_timeout positive")
    return [product for name, product in csccli.PRODUCTS.items() if name in products]


def _digest(query: str, service: str) -> str:
    return hashlib.sha256(json.dumps([csccli.VERSION, query, service]).encode()).hexdigest()[:16]


def _finished(output: Path, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """The manifest of the very dataset, complete or past retrying: then the archive is not asked at all."""
    manifest = read_manifest(str(output))
    if manifest is None or not (output / "data").exists() or (output / STAGING).exists():
        return None
    versions = {"schema_version": SCHEMA_VERSION, **installed_versions("chandraclip")}
    built = manifest["parameters"]
    return (
        manifest
        if {name: built.get(name) for name in {**parameters, **versions}} == {**parameters, **versions}
        else None
    )


def _write(path: Path, table: pa.Table) -> None:
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _read(path: Path, limit: int | None) -> pa.Table:
    table = pq.read_table(path)
    return table if limit is None else table.slice(0, limit)


@lru_cache(maxsize=1)
def _client(base_url: str, manners: Manners) -> ArchiveClient:
    """One a process, so that its requests keep their distance from chunk to chunk."""
    return ArchiveClient(base_url, manners)


def _fetch_chunk(
    options: ArchiveOptions, products: Sequence[str], table_path: Path, limit: int | None, staging: Path, index: int
) -> Chunk:
    """Rows `index` x 50 and on of the table, fetched and read."""
    part = _read(table_path, limit).slice(index * csccli.MAX_DETECTIONS, csccli.MAX_DETECTIONS)
    downloads = staging / "downloads" / f"{index:06d}"
    root = options.keep_files or downloads
    root.mkdir(parents=True, exist_ok=True)
    client = _client(options.base_url, options.manners)
    fetcher = fetching.Fetcher(client, [csccli.PRODUCTS[name] for name in products], root)
    downloads.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(downloads.with_suffix(".lock"), timeout=_PATIENCE):
            chunk = _read_chunk(fetcher, part)
    except Timeout:
        raise InputFileError(staging, f"chunk {index} is still held by another process") from None
    if options.keep_files is None and not chunk.failed:
        chunk.when_staged = partial(shutil.rmtree, downloads, ignore_errors=True)
    return chunk


def _read_chunk(fetcher: fetching.Fetcher, part: pa.Table) -> Chunk:
    columns = {name: part[name].to_pylist() for name in part.column_names}
    keys = [Detection(*key) for key in zip(columns["obsid"], columns["obi"], columns["region_id"])]
    ambiguous = {key for key, is_so in zip(keys, columns["ambiguous"]) if is_so}
    fetched = fetcher.fetch(key for key in keys if key not in ambiguous)
    given = _catalog_columns(part)
    items: list[files.DetectionFiles] = []
    catalog: dict[str, dict[str, Any]] = {}
    skipped, notes, failed = [], [], []
    for number, key in enumerate(keys):
        if key in ambiguous:
            reason = (
                f"belongs to several sources, {columns['name'][number]} is one (a.match_type = 'u' leaves them out)"
            )
            skipped.append({"file": str(key), "reason": reason})
            continue
        one = fetched[key]
        if one.failed is not None:
            failed.append({"file": str(key), "reason": one.failed})
            continue
        found = files.find_detections(one.folder) if one.folder.is_dir() else []
        skipped += [{"file": item.label, "reason": item.problem} for item in found if item.problem is not None]
        found = [item for item in found if item.problem is None]
        if not found:
            skipped.append({"file": str(key), "reason": "the archive has neither a spectrum nor photons of it"})
            continue
        if one.absent:
            notes.append({"file": str(key), "note": f"the archive has no {', '.join(one.absent)} of it"})
        items += found
        catalog |= {item.label: given[number] for item in found}
    chunk = read_items(fetcher.root, items, {}, catalog)
    chunk.skipped[:0], chunk.notes[:0], chunk.failed = skipped, notes, failed
    return chunk


def _catalog_columns(part: pa.Table) -> list[dict[str, Any]]:
    """One dict a row: the schema's columns that the table gives, None where it has no value, and the sky's cell."""
    keys = ("obsid", "obi", "region_id")
    names = [name for name in part.column_names if name in TABLE_SCHEMA.names and name not in keys]
    rows = part.select(names).to_pylist()
    if "ra" in names:
        ra, dec = (np.asarray(part[name], dtype=np.float64) for name in ("ra", "dec"))
        for row, cell in zip(rows, healpix_cell(ra, dec).tolist()):
            row["healpix"] = cell
    # A pointing's angle is measured where the catalogue gives none: it is no quantity of the photons.
    return [{name: value for name, value in row.items() if name != "theta" or value is not None} for row in rows]
