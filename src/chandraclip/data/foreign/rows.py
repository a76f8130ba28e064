"""Rows of the dataset from a part of somebody else's table."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from chandraclip.catalog.bands import ACIS_NUM_CHANNELS
from chandraclip.catalog.measure import EVENT_QUANTITIES, SPECTRUM_QUANTITIES, fill_measured
from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.data.build_from_files import load_texts
from chandraclip.data.foreign.columns import flag_bad_scalars, read_columns, read_names, with_keys
from chandraclip.data.foreign.files import LINE, Part
from chandraclip.data.foreign.mapping import FIRST_TO_LAST_PHOTON, FROM_PHOTONS, ColumnMapping, flux_unit
from chandraclip.data.foreign.paths import column_at, root_of
from chandraclip.data.foreign.photons import count_spectra, read_photons
from chandraclip.data.list_checks import Reasons
from chandraclip.data.problems import reason_of
from chandraclip.data.row_checks import spectrum_problems
from chandraclip.data.schema import MODALITY_COLUMNS, TABLE_SCHEMA, build_table
from chandraclip.data.shards import Chunk
from chandraclip.data.splits import assign_splits

logger = logging.getLogger(__name__)

FLUX_LISTS = ("flux_energy_lo", "flux_energy_hi", "flux_density", "flux_error")
TEXT_COLUMNS = ("summary", "summary_model", "prompt_version")


def read_part(part: Part, mapping: ColumnMapping, texts: Path | None, repeated: Mapping[int, str]) -> Chunk:
    """The rows of a part; those that cannot be used are listed, whatever goes wrong with them.

    Args:
        part: of a table that the mapping was checked against.
        texts: see `build_from_files.load_texts`.
        repeated: number of a row in the file -> why it is one too many.
    """
    table = part.read(roots(mapping))
    if LINE in table.column_names:
        numbers = np.asarray(table[LINE])
    else:
        numbers = part.first + np.arange(len(table))
    read = partial(_chunk, label=part.label, mapping=mapping, texts=texts, repeated=repeated)
    try:
        return read(table, numbers)
    except Exception:  # one of the rows: which?
        chunks = []
        for row in range(len(table)):
            try:
                chunks.append(read(table.slice(row, 1), numbers[row : row + 1]))
            except Exception as error:
                place = f"{part.label}, row {numbers[row]}"
                skipped = [{"file": place, "reason": reason_of(error, part.label, place)[0]}]
                chunks.append(Chunk(TABLE_SCHEMA.empty_table(), skipped=skipped))
        if all(not len(chunk.table) for chunk in chunks):
            raise  # it is none of them
        skipped = [one for chunk in chunks for one in chunk.skipped]
        notes = [one for chunk in chunks for one in chunk.notes]
        return Chunk(pa.concat_tables([chunk.table for chunk in chunks]), skipped=skipped, notes=notes)


def roots(mapping: ColumnMapping) -> list[str]:
    """The table's columns that are read."""
    return list(dict.fromkeys([*mapping.references, *map(root_of, mapping.references), LINE]))


def _chunk(
    table: pa.Table,
    numbers: np.ndarray,
    label: str,
    mapping: ColumnMapping,
    texts: Path | None,
    repeated: Mapping[int, str],
) -> Chunk:
    reasons = Reasons(len(table))
    found, stands_in = read_names(table, mapping)
    names = [name or "" for name in found]
    reasons.flag(np.array([not name for name in names], dtype=bool), "no name of the source, and no position")
    for row, number in enumerate(numbers.tolist()):
        if number in repeated:
            reasons.flag(np.arange(len(table)) == row, repeated[number])
    columns = read_columns(table, mapping)
    flag_bad_scalars(columns, reasons)
    measurable = np.ones(len(table), dtype=bool)
    if "event_time" in columns:
        thinned = np.zeros(len(table), dtype=bool)
        if mapping.thinned is not None:
            thinned = np.asarray(column_at(table, mapping.thinned).cast(pa.bool_()).fill_null(False))
        inferred = mapping.good_time == FIRST_TO_LAST_PHOTON
        photons, known = read_photons(columns, names, inferred, thinned, reasons)
        columns |= photons
        has = np.diff(photons["event_time"].offsets) > 0
        measurable = known | ~has
        if mapping.spectrum == FROM_PHOTONS:
            _count_photons(columns)
    _check_spectra(columns, len(table), reasons)
    _check_flux_spectra(columns, flux_unit(mapping), reasons)
    modalities = [columns[name] for name in ("event_time", "spectrum_counts", "flux_density") if name in columns]
    empty = np.all([np.diff(column.offsets) == 0 for column in modalities], axis=0)
    reasons.flag(empty, "neither photons nor a spectrum")

    kept = np.flatnonzero(reasons.good)
    skipped = []
    for row in np.flatnonzero(~reasons.good).tolist():
        place = f"{label}, row {numbers[row]}" + (f" ({names[row]})" if names[row] else "")
        skipped.append({"file": place, "reason": str(reasons.values[row])})
    rows = {name: _take(column, kept) for name, column in columns.items()}
    rows = with_keys(rows, [names[row] for row in kept], numbers[kept])
    rows["split"] = assign_splits(rows["name"])
    if texts is not None:
        _add_texts(rows, load_texts(texts))
    built = build_table({name: _narrow(name, column) for name, column in rows.items()})
    notes = []
    if stands_in.any():
        notes.append({"file": label, "note": f"{int(stands_in.sum())} rows of {len(table)} have no name of the source; "
                      "a position or another column stands in, which may put a source into two splits"})  # fmt: skip
    return Chunk(_measured(built, measurable[kept], set(mapping.columns)), skipped=skipped, notes=notes)


def _measured(table: pa.Table, measurable: np.ndarray, given: set[str]) -> pa.Table:
    """The table with what can be measured of its photons and spectra: not what the other table gives, which is its
    alone and null where that has none, and not of lists that are not whole."""
    mask = pa.array(np.arange(len(table)), mask=~measurable)
    hidden = table
    for name in (*MODALITY_COLUMNS["spectrum"], *MODALITY_COLUMNS["event"]):
        hidden = hidden.set_column(hidden.column_names.index(name), hidden.schema.field(name), hidden[name].take(mask))
    measured = fill_measured(hidden, {})
    for name in (*SPECTRUM_QUANTITIES, *EVENT_QUANTITIES):
        if name not in given:
            table = table.set_column(table.column_names.index(name), table.schema.field(name), measured[name])
    return table


def _count_photons(columns: dict[str, Any]) -> None:
    """Spectra of the photons themselves where there are no others; their exposure stays unknown."""
    counted = count_spectra(columns["event_time"], columns["event_energy"])
    if "spectrum_counts" not in columns:
        columns["spectrum_counts"] = counted


def _check_spectra(columns: dict[str, Any], num_rows: int, reasons: Reasons) -> None:
    if "spectrum_counts" not in columns:
        return
    names = [name for name in MODALITY_COLUMNS["spectrum"] if name in columns]
    table = pa.table({name: _arrow(columns[name]) for name in names})
    for bad, reason in spectrum_problems(table):
        reasons.flag(bad, reason)
    counts = columns["spectrum_counts"]
    has_edges = np.zeros(num_rows, dtype=bool)
    if "channel_energy_edges" in columns:
        has_edges = np.diff(columns["channel_energy_edges"].offsets) > 0
    number = np.diff(counts.offsets)
    unknown = (number > 0) & (number != ACIS_NUM_CHANNELS) & ~has_edges
    reasons.flag(unknown, "spectrum_counts has no channel_energy_edges, and is not ACIS's")
    reasons.flag(_any(counts, counts.values >= 2**31), "spectrum_counts does not fit the dataset's int32")


def _check_flux_spectra(columns: dict[str, Any], unit: str | None, reasons: Reasons) -> None:
    """Bins of no width at the end of a list are padding, and go; the rest is kept as it is, or the row is not used."""
    if "flux_density" not in columns:
        return
    density: Ragged = columns["flux_density"]
    number = np.diff(density.offsets)
    for name in FLUX_LISTS:
        if name in columns:
            other = np.diff(columns[name].offsets)
            reasons.flag((number > 0) & (other != number) & (other > 0), f"{name} is not as long as flux_density")
    for name in ("flux_energy_lo", "flux_energy_hi"):
        lacks = np.diff(columns[name].offsets) == 0 if name in columns else np.ones(len(number), dtype=bool)
        reasons.flag((number > 0) & lacks, f"flux_density has no {name}")
    good = reasons.good & (number > 0)
    for name in FLUX_LISTS:
        if name in columns:
            columns[name] = _emptied(columns[name], ~good)
    low, high = columns["flux_energy_lo"], columns["flux_energy_hi"]
    real = ~((high.values == 0) & (low.values == 0))
    for name in FLUX_LISTS:
        column = columns.get(name)
        if column is not None and len(column.values) == len(real):
            columns[name] = _filtered(column, real)
    for name in FLUX_LISTS:
        if name in columns:
            infinite = ~np.isfinite(columns[name].values)
            reasons.flag(_any(columns[name], infinite), f"{name} has a value that is not finite")
    low, high = columns["flux_energy_lo"], columns["flux_energy_hi"]
    reasons.flag(_any(low, ~(high.values > low.values)), "flux_energy_hi is not above flux_energy_lo")
    columns["flux_unit"] = [unit if has else None for has in good.tolist()]


def _add_texts(rows: dict[str, Any], texts: Mapping[str | int, Mapping[str, Any]]) -> None:
    found = [texts.get(name) or texts.get(int(obsid)) or {} for name, obsid in zip(rows["name"], rows["obsid"])]
    for name in (*TEXT_COLUMNS, "bibcodes"):
        own = rows.get(name, [None] * len(found))
        rows[name] = [text.get(name) or had for text, had in zip(found, own)]


def _take(column: Any, kept: np.ndarray) -> Any:
    return column.take(kept) if isinstance(column, Ragged) else (
        column[kept] if isinstance(column, np.ndarray) else [column[row] for row in kept]
    )  # fmt: skip


def _narrow(name: str, column: Any) -> Any:
    """Whole numbers as integers, which Arrow wants to be told."""
    kind = TABLE_SCHEMA.field(name).type
    if isinstance(column, Ragged) and pa.types.is_integer(kind.value_type):
        return Ragged(column.values.astype(np.int64), column.offsets, column.valid)
    if isinstance(column, np.ndarray) and column.dtype.kind == "f" and pa.types.is_integer(kind):
        return np.ma.masked_array(np.nan_to_num(column).astype(np.int64), mask=np.isnan(column))
    return column


def _arrow(column: Any) -> pa.Array:
    if isinstance(column, Ragged):
        return column.to_arrow(pa.list_(pa.float64()))
    return pa.array(column, from_pandas=True)


def _any(column: Ragged, bad: np.ndarray) -> np.ndarray:
    return np.bincount(row_index(column), bad, minlength=len(column)) > 0


def _emptied(column: Ragged, rows: np.ndarray) -> Ragged:
    lengths = np.where(rows, 0, np.diff(column.offsets))
    return Ragged(column.values[~rows[row_index(column)]], np.concatenate([[0], np.cumsum(lengths)]), ~rows)


def _filtered(column: Ragged, kept: np.ndarray) -> Ragged:
    lengths = np.bincount(row_index(column)[kept], minlength=len(column))
    return Ragged(column.values[kept], np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), column.valid)
