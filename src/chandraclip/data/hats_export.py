"""A dataset as a HATS collection: Parquet in files by HEALPix cell, sorted by position, which lsdb joins by the sky.

    OUT/collection.properties   names the catalogue and its margin
    OUT/NAME/dataset/Norder=K/Dir=D/Npix=N.parquet   the dataset's columns, all of them, behind `_healpix_29`
    OUT/NAME_Narcs/             rows just outside each cell, so that neighbours across its edge are found
    OUT/responses/, OUT/manifest.json   as they are in the dataset

Made by hats-import, the importer of the format's own authors; its dask workers are processes of this machine.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chandraclip.errors import InputFileError, OptionError
from chandraclip.lock import locked

# Shown by lsdb where no columns are asked for; `name` tells the source, as HATS wants a survey's identifier to.
DEFAULT_COLUMNS = ("name", "obsid", "obi", "region_id", "ra", "dec", "instrument", "src_cnts_aper_b", "source_class")


@dataclass(frozen=True)
class HatsOptions:
    """How a catalogue is cut into files.

    Attributes:
        rows_per_file: a cell with more is cut in four, down to `highest_order`.
        highest_order: of the HEALPix cells, 10 being 3.4 arcmin.
        margin: arcsec around each cell; 0: no margin.
        num_processes: dask workers.
    """

    rows_per_file: int = 20_000
    highest_order: int = 10
    margin: float = 10.0
    num_processes: int = 1


class PositionedRows:
    """Reads a shard by row group, without the rows that have no position; what hats-import asks of a reader."""

    def read(self, input_file: Any, read_columns: list[str] | None = None) -> Iterator[pa.Table]:
        file = pq.ParquetFile(str(input_file))
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=read_columns).replace_schema_metadata()
            yield table.filter(has_position(table))


def has_position(table: pa.Table) -> pa.Array:
    """Whether a row has both coordinates, finite."""
    ra, dec = (table[name].to_numpy().astype(np.float64) for name in ("ra", "dec"))
    return pa.array(np.isfinite(ra) & (np.abs(dec) <= 90.0))


def export_hats(dataset: str | Path, output: str | Path, options: HatsOptions | None = None) -> dict[str, int]:
    """Write a dataset as a HATS collection.

    Args:
        dataset: folder of a dataset that this package has built.
        output: the collection's folder; its name is the catalogue's.
        options: how it is cut.

    Returns:
        ``rows``, ``without_position`` (left out: HATS has no place for them), ``files``.

    Raises:
        InputFileError: no dataset, none of whose rows has a position, or `output` is there already; hats-import is
            not installed.
        OptionError: options out of range.
    """
    dataset, output, options = Path(dataset), Path(output), options or HatsOptions()
    shards = sorted((dataset / "data").glob("*.parquet"))
    if not shards:
        raise InputFileError(dataset, "there is no data/*.parquet: build the dataset first")
    if output.exists():
        raise InputFileError(output, "is there already: choose another folder, or remove it")
    if options.rows_per_file < 1 or options.num_processes < 1 or not options.margin >= 0.0:
        raise OptionError("rows a file and processes must be at least 1, and the margin not negative")
    if not 0 <= options.highest_order <= 12:
        raise OptionError(f"the highest order is 0 to 12, not {options.highest_order}")
    if not {"ra", "dec"} <= set(pq.read_schema(shards[0]).names):
        raise InputFileError(shards[0], "has no columns ra and dec")
    positions = [has_position(pq.read_table(shard, columns=["ra", "dec"])) for shard in shards]
    rows = sum(part.true_count for part in positions)
    if not rows:
        raise InputFileError(dataset, "no row has a position")
    staging = output.with_name(f".{output.name}.building")
    with locked(staging):
        work = staging / "work"
        shutil.rmtree(work, ignore_errors=True)  # of an export that was killed
        work.mkdir()
        try:
            _import(shards, work, output.name, rows, options)
            for name in ("responses", "manifest.json"):
                _copy(dataset / name, work / output.name / name)
            os.rename(work / output.name, output)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    files = len(list((output / output.name / "dataset").glob("Norder=*/**/*.parquet")))
    return {"rows": rows, "without_position": sum(map(len, positions)) - rows, "files": files}


def _import(shards: list[Path], staging: Path, name: str, rows: int, options: HatsOptions) -> None:
    try:
        from dask.distributed import Client
        from hats_import import pipeline_with_client
        from hats_import.collection.arguments import CollectionArguments
    except ImportError as error:
        raise InputFileError("hats-import", "is not installed: pip install 'chandraclip[hats]'") from error
    columns = pq.read_schema(shards[0]).names
    common = {"tmp_dir": str(staging / "tmp"), "dask_tmp": str(staging / "dask"), "progress_bar": False}
    for folder in ("tmp", "dask"):
        (staging / folder).mkdir()
    properties = {"hats_cols_default": ",".join(column for column in DEFAULT_COLUMNS if column in columns)}
    if "name" in columns:
        properties["hats_cols_survey_id"] = "name"
    arguments = CollectionArguments(output_path=str(staging), output_artifact_name=name, **common).catalog(
        catalog_type="source" if "obsid" in columns else "object",
        input_file_list=[str(shard) for shard in shards],
        file_reader=PositionedRows(),
        ra_column="ra",
        dec_column="dec",
        sort_columns=",".join(key for key in ("name", "obsid", "obi", "region_id") if key in columns),
        expected_total_rows=rows,
        pixel_threshold=options.rows_per_file,
        highest_healpix_order=options.highest_order,
        addl_hats_properties=properties,
    )
    if options.margin:
        arguments = arguments.add_margin(margin_threshold=options.margin, is_default=True)
    # One worker is a thread of this process, which saves starting another.
    with Client(
        n_workers=options.num_processes,
        threads_per_worker=1,
        processes=options.num_processes > 1,
        dashboard_address=None,
        local_directory=common["dask_tmp"],
    ) as client:
        pipeline_with_client(arguments, client)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        shutil.copyfile(source, target)
