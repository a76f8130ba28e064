"""Columns of another type and rows that cannot be used, found before a run and not hours into it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.schema import MODALITY_COLUMNS, TABLE_SCHEMA
from chandraclip.errors import InputFileError

if TYPE_CHECKING:
    import datasets

ROWS_A_PASS = 4096  # so that photon lists of a whole archive are not in memory at once
WHOLE_TOLERANCE = 1e-6  # of counts in float32
MAX_TIME_WITHOUT_GTI = 1e7  # s, four months: no observation is that long
# Column, the bad rows of a table, and what is wrong with them.
Finding = tuple[str, np.ndarray, str]


@dataclass
class BadRows:
    """The rows of one split that cannot be used.

    Attributes:
        mask: (rows,) bool.
        counts: "column: reason" -> rows it holds for; a row may have several.
        examples: one line a row for the first few: row number, name, column and reason.
    """

    mask: np.ndarray
    counts: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)


def usable_columns(
    dataset: str, schema: pa.Schema, columns: Mapping[str, Sequence[str]], optional: Collection[str] = ()
) -> list[str]:
    """Those of the columns that a dataset has, all of usable types.

    Args:
        dataset: folder or Hub id, for the message.
        schema: of the dataset; a column of type null counts as missing.
        columns: modality -> columns that are read for it.
        optional: those that may be missing.

    Raises:
        InputFileError: a column is missing, or is of another type than the dataset's schema, e.g. strings in place of
            lists.
    """
    present = []
    for modality, names in columns.items():
        for name in names:
            found = schema.field(name).type if name in schema.names else pa.null()
            wanted = TABLE_SCHEMA.field(name).type if name in TABLE_SCHEMA.names else None
            in_words = f", {_in_words(wanted)}" if wanted else ""
            if not pa.types.is_null(found):
                if wanted and not _fits(found, wanted):
                    reason = f"the column holds {found}; {modality} needs {_in_words(wanted)}: convert or rename it"
                    raise InputFileError(dataset, reason, name)
                present.append(name)
            elif name not in optional:
                reason = f"this column is missing; {modality} needs it{in_words}"
                remedy = f"rename yours, one of {schema.names}, or choose other modalities"
                raise InputFileError(dataset, f"{reason}: {remedy}", name)
    return list(dict.fromkeys(present))


def find_bad_rows(rows: datasets.Dataset, modalities: Sequence[str], max_examples: int = 3) -> BadRows:
    """The rows of a split whose values no model can train on, in one pass over the columns of the modalities.

    What is null or empty is missing, not bad. A row is bad if a spectrum has negative or fractional counts (those of a
    background may be fractional) or an exposure that is not positive, lists that belong together differ in length,
    channel edges are out of order, a good time ends before it begins, photons without good times are not counted from
    the start of the observation, or any number is not finite.

    Args:
        rows: in Arrow format, columns checked by `usable_columns`.
        modalities: of spectrum, event and text.
        max_examples: rows named.
    """
    names = {"name", *(name for kind in modalities for name in MODALITY_COLUMNS[kind])}
    view = rows.select_columns([name for name in rows.column_names if name in names])
    found = BadRows(np.zeros(len(rows), dtype=bool))
    for start in range(0, len(rows), ROWS_A_PASS):
        table = view[start : start + ROWS_A_PASS]
        for column, bad, reason in (finding for kind in modalities for finding in _findings(table, kind)):
            numbers = np.flatnonzero(bad)
            if not numbers.size:
                continue
            key = f"{column}: {reason}"
            found.counts[key] = found.counts.get(key, 0) + len(numbers)
            found.mask[start + numbers] = True
            for number in numbers[: max(0, max_examples - len(found.examples))].tolist():
                found.examples.append(f"row {start + number} ({table['name'][number].as_py()}): {key}")
    return found


def spectrum_problems(table: pa.Table) -> Iterator[tuple[np.ndarray, str]]:
    """(rows,) bool, and what is wrong with the spectra of those rows."""
    for column, bad, reason in _findings(table, "spectrum"):
        yield bad, f"{column}: {reason}"


def without_bad_modalities(table: pa.Table) -> pa.Table:
    """The table with a modality null in the rows where it is bad; the other modalities of the row stay."""
    for kind in MODALITY_COLUMNS:
        bad = np.zeros(len(table), dtype=bool)
        for _, rows, _ in _findings(table, kind):
            bad |= rows
        if not bad.any():
            continue
        kept = pa.array(np.arange(len(table)), mask=bad)
        for name in MODALITY_COLUMNS[kind]:
            if name in table.column_names:
                table = table.set_column(table.column_names.index(name), name, table[name].take(kept))
    return table


def _fits(found: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_list(wanted):
        is_list = pa.types.is_list(found) or pa.types.is_large_list(found) or pa.types.is_fixed_size_list(found)
        return is_list and (_is_number(found.value_type) or pa.types.is_null(found.value_type))
    return _is_number(found) if _is_number(wanted) else pa.types.is_string(found) or pa.types.is_large_string(found)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _in_words(wanted: pa.DataType) -> str:
    if pa.types.is_list(wanted):
        return f"a list of numbers a row, e.g. {wanted}"
    return f"a number a row, e.g. {wanted}" if _is_number(wanted) else "a text a row"


def _findings(table: pa.Table, kind: str) -> Iterator[Finding]:
    if MODALITY_COLUMNS[kind][0] not in table.column_names or kind == "text":
        return iter(())
    return _spectrum_findings(table) if kind == "spectrum" else _event_findings(table)


def _spectrum_findings(table: pa.Table) -> Iterator[Finding]:
    counts = _Lists.of(table, "spectrum_counts")
    has = counts.lengths > 0
    background = _Lists.of(table, "spectrum_background")
    for name, column in (("spectrum_counts", counts), ("spectrum_background", background)):
        yield name, has & column.where(~np.isfinite(column.values)), "not finite"
        yield name, has & column.where(column.values < 0), "negative"
    with np.errstate(invalid="ignore"):  # the infinite are named above
        fraction = np.abs(counts.values - np.round(counts.values))
    reason = "not whole numbers of counts (background-subtracted, or a rate)"
    yield "spectrum_counts", has & counts.where(fraction > WHOLE_TOLERANCE * np.abs(counts.values)), reason
    for name in ("spectrum_quality", "spectrum_grouping"):
        flags = _Lists.of(table, name)
        wrong = has & (flags.lengths > 0) & (flags.lengths != counts.lengths)
        yield name, wrong, "not of the length of spectrum_counts"
        yield name, has & flags.where(~np.isfinite(flags.values)), "not finite"
    with_background = has & (background.lengths > 0)
    wrong = with_background & (background.lengths != counts.lengths)
    yield "spectrum_background", wrong, "not of the length of spectrum_counts"
    scale, has_scale = _numbers(table, "background_scale")
    yield (
        "background_scale",
        with_background & has_scale & ~(np.isfinite(scale) & (scale >= 0)),
        "negative or not finite",
    )
    exposure, has_exposure = _numbers(table, "exposure")
    wrong = has & has_exposure & ~(np.isfinite(exposure) & (exposure > 0))
    yield "exposure", wrong, "not positive or not finite (null: not known)"
    edges = _Lists.of(table, "channel_energy_edges")
    has_edges = has & (edges.lengths > 0)
    wrong = has_edges & (edges.lengths != counts.lengths + 1)
    yield "channel_energy_edges", wrong, "not one more than the channels of spectrum_counts"
    yield "channel_energy_edges", has & edges.where(~np.isfinite(edges.values)), "not finite"
    yield "channel_energy_edges", has_edges & edges.out_of_order(), "neither increasing nor decreasing"


def _event_findings(table: pa.Table) -> Iterator[Finding]:
    time, energy = _Lists.of(table, "event_time"), _Lists.of(table, "event_energy")
    start, stop = _Lists.of(table, "gti_start"), _Lists.of(table, "gti_stop")
    has = np.asarray(table["event_time"].is_valid())
    for name, column in (("event_time", time), ("event_energy", energy), ("gti_start", start), ("gti_stop", stop)):
        yield name, has & column.where(~np.isfinite(column.values)), "not finite"
    given = energy.lengths > 0  # a list may lack energies
    yield "event_energy", has & given & (energy.lengths != time.lengths), "not of the length of event_time"
    same = start.lengths == stop.lengths
    yield "gti_stop", has & ~same, "not of the length of gti_start"
    if same.all():
        yield "gti_stop", has & start.where(stop.values < start.values), "before gti_start"
    outside = time.where((time.values < 0) | (time.values > MAX_TIME_WITHOUT_GTI))
    reason = "not in s since the start of the observation, and there are no good times (gti_start, gti_stop)"
    yield "event_time", has & (start.lengths == 0) & outside, reason


@dataclass(frozen=True)
class _Lists:
    """A list column: flat (total,) values, (rows + 1,) offsets, (rows,) lengths; all empty where there is none."""

    values: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, table: pa.Table, name: str) -> _Lists:
        if name not in table.column_names or pa.types.is_null(table[name].type):
            return cls(np.zeros(0), np.zeros(len(table) + 1, dtype=np.int64))
        ragged = Ragged.from_arrow(table[name])
        values = np.asarray(ragged.values)
        return cls(values.astype(np.float64) if values.dtype == object else values, np.asarray(ragged.offsets))

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    def where(self, bad: np.ndarray) -> np.ndarray:
        """(rows,) bool: a value of the row is among the bad, (total,) bool."""
        result = np.zeros(len(self.offsets) - 1, dtype=bool)
        result[np.searchsorted(self.offsets, np.flatnonzero(bad), side="right") - 1] = True
        return result

    def out_of_order(self) -> np.ndarray:
        """(rows,) bool: the row neither increases nor decreases strictly."""
        if not len(self.values):
            return np.zeros(len(self.offsets) - 1, dtype=bool)
        step = np.diff(self.values, append=self.values[-1:])
        inside = np.ones(len(step), dtype=bool)
        inside[self.offsets[1:][self.offsets[1:] > 0] - 1] = False  # a row's last value has no step
        return self.where(inside & ~(step > 0)) & self.where(inside & ~(step < 0))


def _numbers(table: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) float64 and (rows,) bool, False where null or where there is no such column."""
    if name not in table.column_names or pa.types.is_null(table[name].type):
        return np.zeros(len(table)), np.zeros(len(table), dtype=bool)
    return table[name].cast(pa.float64()).fill_null(0.0).to_numpy(), np.asarray(table[name].is_valid())
