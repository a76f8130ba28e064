"""Datasets of photon lists that somebody else has cut: a Parquet table, one row a source in an observation.

| column | type | unit | |
|---|---|---|---|
| `name` | string, or integer | | of the source: splits go by it |
| `event_time` | list of numbers | s, any zero | arrival times, in any order |
| `gti_start`, `gti_stop` | lists of numbers | s, the same zero | good times, disjoint |
| `event_energy` | list of numbers, as long as the times | keV | may be missing: as a column, or null in a row |
| `energy_lo`, `energy_hi` | numbers | keV | the band of photons that have no energies; told in `events_note` |
| `exposure` (or `livetime`) | number | s, dead time taken off | missing: the sum of the good times |
| `tstart` | number | s, mission elapsed time | of the zero of the times |
| `obsid` | integer, or one as a string | | missing: the number of the row |
| `obi`, `region_id` | the same | | missing: 0, and a negative number made of the name |
| `ra`, `dec` | numbers | deg, ICRS | |

Any other column that the dataset's catalogue has (`data/schema.py`: `theta`, `hard_hs`, `nh_gal`, `source_class`, ...)
is taken as it is, and what is null in it is measured as it is for files. Further columns are left out.

Of rows that can be used and have one key (name, obsid, obi, region_id), or the same photons, the first is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from chandraclip.catalog.measure import fill_measured
from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.data.list_checks import (
    NUM_SAME_PHOTONS,
    ListTable,
    Reasons,
    check_rows,
    integers_of,
    is_of_integers,
    names_of,
)
from chandraclip.data.names import healpix_cell
from chandraclip.data.packaging import BuildResult, build_dataset
from chandraclip.data.row_checks import usable_columns
from chandraclip.data.rows import region_id_of
from chandraclip.data.schema import CATALOG_FIELDS, SOURCE_CLASSES, TABLE_SCHEMA, TEXT_FIELDS, build_table
from chandraclip.data.shards import Chunk
from chandraclip.data.splits import assign_splits
from chandraclip.errors import InputFileError
from chandraclip.files import sha256_of
from chandraclip.ranks import WHOLE, Share

logger = logging.getLogger(__name__)

ROWS_PER_CHUNK = 500
LISTS = ("event_time", "event_energy", "gti_start", "gti_stop")
NEEDED = ("name", "event_time", "gti_start", "gti_stop")
KEYS = ("name", "obsid", "obi", "region_id")
BAND = ("energy_lo", "energy_hi")
_MADE_HERE = {"split", "healpix", "events_note", "event_time", "event_energy", "gti_start", "gti_stop", "bibcodes"}
TAKEN = [field.name for field in (*CATALOG_FIELDS, *TEXT_FIELDS) if field.name not in _MADE_HERE]


def build_from_lists(
    table: str | Path,
    output: str | Path,
    num_processes: int = 1,
    overwrite: bool = False,
    license_id: str = "unknown",
    progress: bool = True,
    share: Share = WHOLE,
) -> BuildResult:
    """Packages a table of photon lists as a dataset; a row that cannot be used is listed with its reason.

    Args:
        table: Parquet file, with the columns of this module's table.
        output, num_processes, overwrite, progress, share: see `packaging.build_dataset`.
        license_id: for the card, an identifier of the Hub.

    Raises:
        InputFileError: not a Parquet file, a column is missing or of another type, no row can be used, or `output`
            holds another build.
    """
    table = Path(table)
    try:
        file = pq.ParquetFile(table)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputFileError(table, f"not a readable Parquet file ({error})") from error
    _check_columns(table, file.schema_arrow)
    parameters = {
        "source": "lists",
        "input": table.name,
        "num_items": file.metadata.num_rows,
        "chunk_size": ROWS_PER_CHUNK,
        "input_sha256": sha256_of(table),
        "license": license_id,
    }
    repeated = _repeated(table, file, progress)
    tasks, first = [], 0
    for group in range(file.num_row_groups):
        size = file.metadata.row_group(group).num_rows
        for begin in range(0, size, ROWS_PER_CHUNK):
            stop = min(begin + ROWS_PER_CHUNK, size)
            own = {row - first: why for row, why in repeated.items() if first + begin <= row < first + stop}
            tasks.append(partial(_read_rows, table, group, first, begin, stop, own))
        first += size
    return build_dataset(
        output, parameters, tasks, license_id, num_processes, overwrite, progress, work="read lists", share=share
    )


def _check_columns(path: Path, schema: pa.Schema) -> None:
    """Types, before anything is read; the log names what is left out."""
    known = {name: TABLE_SCHEMA.field(name).type for name in (*LISTS, *KEYS, *TAKEN)}
    known |= {"exposure": pa.float32(), **dict.fromkeys(BAND, pa.float32()), "tstart": pa.float64()}
    optional = set(known) - set(NEEDED)
    for name in ("name", "obsid", "obi", "region_id"):  # integers and texts may stand for each other
        if name in schema.names and is_of_integers(schema.field(name).type):
            known.pop(name)
    if "source_class" in schema.names and pa.types.is_string(schema.field("source_class").type):
        known.pop("source_class")  # names of classes, as in plain Parquet (docs/your_data.md)
    usable_columns(str(path), schema, {"a table of photon lists": list(known)}, optional)
    for name in ("obsid", "obi", "region_id"):
        if name in schema.names and not is_of_integers(schema.field(name).type):
            raise InputFileError(path, f"the column holds {schema.field(name).type}; it needs integers", name)
    unused = [name for name in schema.names if name not in known and name != "source_class"]
    if unused:
        logger.info("%s: these columns are left out: %s", path, ", ".join(unused))


def _repeated(path: Path, file: pq.ParquetFile, progress: bool) -> dict[int, str]:
    """Row -> which kept row before it has its key or its photons; of rows that can be used."""
    names = set(file.schema_arrow.names) & {*NEEDED, *LISTS, *KEYS, "exposure", "livetime", "ra", "dec"}
    parts, first = [], 0
    for group in tqdm(range(file.num_row_groups), desc="compare lists", unit="group", disable=not progress):
        rows = _read(path, file, group, sorted(names))
        reasons = Reasons(len(rows))
        time = check_rows(rows, reasons).event_time
        total = np.bincount(row_index(time), time.values, minlength=len(time))
        start = np.append(time.values, 0.0)[time.offsets[:-1]]
        facts = {"length": np.diff(time.offsets), "start": start, "total": total}
        part = pd.DataFrame({**_keys(rows, first + np.arange(len(rows))), **facts}, index=first + np.arange(len(rows)))
        parts.append(part[reasons.good])
        first += len(rows)
    rows = pd.concat(parts) if parts else pd.DataFrame(columns=[*KEYS, "length", "start", "total"])
    # A handful of photons may fall into the same frames of two observations.
    same_photons = rows[rows["length"] >= NUM_SAME_PHOTONS].groupby(["length", "start", "total"], sort=False).ngroup()
    same_key = rows.groupby(list(KEYS), sort=False).ngroup()
    checks = (("the same photons as row {}", same_photons), ("the same source and observation as row {}", same_key))
    shared = {why: group[group.duplicated(keep=False)].to_dict() for why, group in checks}
    found: dict[int, str] = {}
    kept: dict[tuple[str, int], int] = {}  # what is taken already -> by which row
    for row in sorted({row for group in shared.values() for row in group}):
        own = [(why, group[row]) for why, group in shared.items() if row in group]
        taken = next((one for one in own if one in kept), None)
        if taken is None:
            kept |= dict.fromkeys(own, row)
        else:
            found[row] = taken[0].format(kept[taken])
    return found


def _keys(rows: pa.Table, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """The key columns of rows of these numbers in the file, with what stands in where one is null or missing."""
    names = names_of(rows)
    regions = {name: region_id_of(name) for name in set(names.tolist())}
    columns = {"name": names}
    stand_ins = {"obsid": numbers, "obi": np.zeros(len(rows)), "region_id": np.array([regions[name] for name in names])}
    for name, stand_in in stand_ins.items():
        given, known = integers_of(rows, name)
        columns[name] = np.where(known, given, stand_in).astype(np.int64)
    return columns


def _read(path: Path, file: pq.ParquetFile, group: int, columns: list[str]) -> pa.Table:
    try:
        return file.read_row_group(group, columns=columns)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputFileError(path, f"row group {group} cannot be read ({error})") from error


@lru_cache(maxsize=1)
def _group(path: Path, group: int, changed: int) -> pa.Table:
    """A row group, which the chunks of it share; of a file that was `changed` then, in ns."""
    file = pq.ParquetFile(path)
    wanted = {*NEEDED, *LISTS, *KEYS, *TAKEN, "exposure", *BAND, "tstart"}
    return _read(path, file, group, [name for name in file.schema_arrow.names if name in wanted])


def _read_rows(path: Path, group: int, first: int, begin: int, stop: int, repeated: Mapping[int, str]) -> Chunk:
    """Rows `begin` to `stop` of a row group, whose first row is number `first` of the file."""
    rows = _group(path, group, path.stat().st_mtime_ns).slice(begin, stop - begin)
    numbers = first + np.arange(begin, stop)
    reasons = Reasons(len(rows))
    for row, why in repeated.items():
        reasons.flag(np.arange(begin, stop) == row, why)
    lists = check_rows(rows, reasons)
    kept = np.flatnonzero(reasons.good)
    names = names_of(rows)
    skipped = [
        {"file": f"{path.name}, row {numbers[row]} ({names[row]})", "reason": str(reasons.values[row])}
        for row in np.flatnonzero(~reasons.good)
    ]
    table = build_table(_columns(rows.take(pa.array(kept)), lists.take(kept), numbers[kept]))
    return Chunk(fill_measured(table, {}), skipped=skipped)


def _columns(rows: pa.Table, lists: ListTable, numbers: np.ndarray) -> dict[str, Any]:
    """Columns of the dataset of rows that are good."""
    present = set(rows.column_names)

    def scalar(name: str) -> np.ndarray:
        if name not in present:
            return np.full(len(rows), np.nan)
        return rows[name].cast(pa.float64()).fill_null(np.nan).to_numpy()

    keys = _keys(rows, numbers)
    names = keys["name"].tolist()
    columns: dict[str, Any] = {name: rows[name].to_pylist() for name in TAKEN if name in present}
    if "source_class" in present and pa.types.is_string(rows["source_class"].type):
        classes = pa.array(SOURCE_CLASSES, rows["source_class"].type)
        columns["source_class"] = pc.index_in(rows["source_class"], value_set=classes).to_pylist()
    columns |= {**keys, "name": names, "split": assign_splits(names)}
    good_time = np.bincount(
        row_index(lists.gti_start), lists.gti_stop.values - lists.gti_start.values, minlength=len(rows)
    )
    exposure = np.where(np.isnan(scalar("livetime")), scalar("exposure"), scalar("livetime"))
    columns["livetime"] = np.where(np.isnan(exposure), good_time, exposure)
    ra, dec = scalar("ra"), scalar("dec")
    placed = np.isfinite(ra) & np.isfinite(dec)
    cell = np.ma.masked_array(np.zeros(len(rows), np.int64), mask=~placed)
    cell[placed] = healpix_cell(ra[placed], dec[placed])
    columns["healpix"] = cell
    # The dataset's zero is the start of the good time.
    origin = lists.gti_start.values[lists.gti_start.offsets[:-1]] if len(rows) else np.zeros(0)
    zero = scalar("tstart")
    columns["tstart"] = np.where(np.isnan(zero), np.where(origin == 0, np.nan, origin), zero + origin)
    for name in ("event_time", "gti_start", "gti_stop"):
        column: Ragged = getattr(lists, name)
        columns[name] = Ragged(column.values - origin[row_index(column)], column.offsets)
    columns["event_energy"] = lists.event_energy
    columns["events_note"] = _notes(lists, scalar("energy_lo"), scalar("energy_hi"))
    return columns


def _notes(lists: ListTable, low: np.ndarray, high: np.ndarray) -> list[str | None]:
    """What is to be known of each list, None where there is nothing."""
    without = lists.without_energy
    notes: list[str | None] = []
    for lacks, outside, *band in zip(without.tolist(), lists.num_outside.tolist(), low.tolist(), high.tolist()):
        said = []
        if lacks:
            known = f", which are of {band[0]:g}-{band[1]:g} keV" if np.isfinite(band).all() else ""
            said.append(f"no energies of the photons{known}")
        if outside:
            said.append(f"{outside} photons outside the good times left out")
        notes.append("; ".join(said) or None)
    return notes
