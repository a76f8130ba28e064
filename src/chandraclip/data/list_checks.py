"""Photon lists of a table that somebody else made: which rows can be used, and why the others cannot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.data.schema import TABLE_SCHEMA

NUM_SAME_PHOTONS = 10  # two lists of as many or more that are equal are one list
_LARGEST = str(np.iinfo(np.int64).max)
EXPOSURE_TOLERANCE = 1e-3  # of the good time: exposures are float32, and sums of frames


class Reasons:
    """Why each of N rows cannot be used; the first reason that is found counts.

    Attributes:
        values: (N,) object, None where a row is good.
    """

    def __init__(self, num_rows: int):
        self.values = np.full(num_rows, None, dtype=object)

    @property
    def good(self) -> np.ndarray:
        """(N,) bool."""
        return np.asarray(pd.isna(self.values))

    def flag(self, bad: np.ndarray, reason: str) -> None:
        self.values[bad & self.good] = reason


@dataclass(frozen=True)
class ListTable:
    """Photon lists of N rows: times in order and inside the good times, which are in order and disjoint.

    Attributes:
        event_time, gti_start, gti_stop: float64 s, the zero of the table.
        event_energy: keV; null where a row has none.
        num_outside: (N,) photons outside the good times, which were left out.
    """

    event_time: Ragged
    event_energy: Ragged
    gti_start: Ragged
    gti_stop: Ragged
    num_outside: np.ndarray

    @staticmethod
    def times(rows: pa.Table) -> Ragged:
        return float_lists(rows, "event_time")

    @property
    def without_energy(self) -> np.ndarray:
        """(N,) bool."""
        assert self.event_energy.valid is not None
        return ~self.event_energy.valid

    def take(self, rows: np.ndarray) -> ListTable:
        """The rows of indices."""
        return ListTable(
            self.event_time.take(rows),
            self.event_energy.take(rows),
            self.gti_start.take(rows),
            self.gti_stop.take(rows),
            self.num_outside[rows],
        )


def check_rows(rows: pa.Table, reasons: Reasons) -> ListTable:
    """The lists of a table's rows; what is wrong with a row goes to `reasons`, and its lists then mean nothing.

    Args:
        rows: with event_time, gti_start, gti_stop, and event_energy, exposure, livetime, ra and dec where it has them.
        reasons: of as many rows.
    """
    reasons.flag(names_of(rows) == "", "no name")
    time, energy = ListTable.times(rows), float_lists(rows, "event_energy")
    start, stop = float_lists(rows, "gti_start"), float_lists(rows, "gti_stop")
    reasons.flag(np.diff(time.offsets) == 0, "no photon")
    for name, column in {"event_time": time, "event_energy": energy, "gti_start": start, "gti_stop": stop}.items():
        reasons.flag(_any(column, ~np.isfinite(column.values)), f"{name} has a value that is not finite")
    lacks = ~np.asarray(energy.valid) | (np.diff(energy.offsets) == 0)
    reasons.flag(
        ~lacks & (np.diff(energy.offsets) != np.diff(time.offsets)), "event_energy is not as long as event_time"
    )
    reasons.flag(_any(energy, ~(energy.values > 0)), "event_energy has a value that is not positive")
    reasons.flag(np.diff(start.offsets) == 0, "no good times (gti_start, gti_stop)")
    reasons.flag(np.diff(start.offsets) != np.diff(stop.offsets), "gti_start and gti_stop differ in length")
    good = reasons.good
    # From here on lists that belong together have one length; those of bad rows are emptied.
    time, start, stop = (_emptied(column, ~good) for column in (time, start, stop))
    energy = _emptied(energy, ~good | lacks)
    reasons.flag(_any(start, stop.values < start.values), "a good time ends before it begins (gti_stop < gti_start)")
    order = np.lexsort((start.values, row_index(start)))
    start, stop = (Ragged(column.values[order], column.offsets) for column in (start, stop))
    inner = np.diff(row_index(start), append=-1) == 0
    overlap = inner & (stop.values > np.append(start.values[1:], np.inf)[: len(inner)])
    reasons.flag(_any(start, overlap), "good times overlap (gti_start, gti_stop)")
    good_time = np.bincount(row_index(start), stop.values - start.values, minlength=len(rows))
    reasons.flag(good & (good_time <= 0), "the good times have no length")
    for name in ("exposure", "livetime"):
        if name in rows.column_names:
            seconds = rows[name].cast(pa.float64()).to_numpy(zero_copy_only=False)
            given = np.asarray(rows[name].is_valid())
            reasons.flag(given & ~(np.isfinite(seconds) & (seconds > 0)), f"{name} is not positive and finite")
            long = given & (seconds > good_time * (1 + EXPOSURE_TOLERANCE))
            reasons.flag(long, f"{name} is longer than the good times")
    _check_scalars(rows, reasons)

    good = reasons.good
    time, start, stop = (_emptied(column, ~good) for column in (time, start, stop))
    energy = _emptied(energy, ~good)
    row = row_index(time)
    of_photon = np.full(len(time.values), 0.0)
    of_photon[~lacks[row]] = energy.values
    order = np.lexsort((of_photon, time.values, row))  # times and energies in whatever order the table has them
    times, energies = time.values[order], of_photon[order]
    inside = inside_good_time(row, times, start, stop)
    number = np.bincount(row, inside, minlength=len(rows)).astype(np.int64)
    reasons.flag(good & (number == 0), "no photon lies in the good times")
    with_energy = ~lacks & good
    offsets = np.concatenate([[0], np.cumsum(number)])
    kept_energy = inside & with_energy[row]
    energy_offsets = np.concatenate([[0], np.cumsum(np.where(with_energy, number, 0))])
    return ListTable(
        Ragged(times[inside], offsets),
        Ragged(energies[kept_energy], energy_offsets, with_energy),
        start,
        stop,
        np.diff(time.offsets) - number,
    )


def _check_scalars(rows: pa.Table, reasons: Reasons) -> None:
    """Numbers that are none, and integers that the dataset's types cannot hold."""
    for name, limit in {"ra": 360.0, "dec": 90.0}.items():
        if name in rows.column_names:
            value, given = rows[name].cast(pa.float64()).to_numpy(zero_copy_only=False), rows[name].is_valid()
            low = 0.0 if name == "ra" else -limit
            reasons.flag(
                np.asarray(given) & ~((value >= low) & (value <= limit)), f"{name} is not in {low:g} to {limit:g}"
            )
    for name in ("obsid", "obi", "region_id"):
        if name in rows.column_names:
            limits = np.iinfo(TABLE_SCHEMA.field(name).type.to_pandas_dtype())
            value, known = integers_of(rows, name)
            reasons.flag(~known & np.asarray(rows[name].is_valid()), f"{name} is no integer")
            reasons.flag(
                (value < limits.min) | (value > limits.max), f"{name} does not fit the dataset's {limits.dtype}"
            )


def names_of(rows: pa.Table) -> np.ndarray:
    """(N,) object, the names of the sources, as texts where they are numbers; "" where one is null."""
    return np.asarray(rows["name"].cast(pa.string()).fill_null("").to_numpy(zero_copy_only=False), dtype=object)


def is_of_integers(kind: pa.DataType) -> bool:
    """Whether a column may hold integers: they are, or texts of them; or it has nothing but nulls."""
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return is_text or pa.types.is_integer(kind) or pa.types.is_null(kind)


def integers_of(rows: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(N,) int64 of a column of integers, or of texts that are integers, and (N,) bool, where there is one; else 0.

    One that int64 does not hold is its largest.
    """
    if name not in rows.column_names:
        return np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=bool)
    column = rows[name]
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.utf8_trim_whitespace(column)
        is_integer = pc.match_substring_regex(column, r"^[+-]?[0-9]+$")
        is_long = pc.greater(pc.utf8_length(column), len(_LARGEST) - 1)
        column = pc.if_else(is_integer, pc.utf8_ltrim(column, "+"), pa.scalar(None, column.type))
        column = pc.if_else(pc.and_(is_integer, is_long), pa.scalar(_LARGEST, column.type), column)
    elif pa.types.is_uint64(column.type):
        column = pc.min_element_wise(column, pa.scalar(int(_LARGEST), column.type), skip_nulls=False)
    column = column.cast(pa.int64())
    return column.fill_null(0).to_numpy(), np.asarray(column.is_valid())


def inside_good_time(row: np.ndarray, time: np.ndarray, start: Ragged, stop: Ragged) -> np.ndarray:
    """(T,) bool, photons in a good time of their row.

    Args:
        row: (T,) in order; time: (T,) s, in order within each row.
        start, stop: s, intervals of every row, in order and disjoint.
    """
    if not len(start.values) or not len(time):
        return np.zeros(len(time), dtype=bool)
    # One search for all rows, in ranks of (row, time); a photon at a start comes after it.
    is_photon = np.repeat([False, True], [len(start.values), len(time)])
    both = np.lexsort((is_photon, np.concatenate([start.values, time]), np.concatenate([row_index(start), row])))
    begun = np.cumsum(~is_photon[both])[is_photon[both]] - 1
    own = (begun >= 0) & (row_index(start)[np.maximum(begun, 0)] == row)
    return np.asarray(own & (time <= stop.values[np.maximum(begun, 0)]))


def _any(column: Ragged, bad: np.ndarray) -> np.ndarray:
    """(N,) bool, rows with a bad value."""
    return np.bincount(row_index(column), bad, minlength=len(column)) > 0


def _emptied(column: Ragged, rows: np.ndarray) -> Ragged:
    """The column with the lists of some rows empty."""
    lengths = np.where(rows, 0, np.diff(column.offsets))
    return Ragged(column.values[~rows[row_index(column)]], np.concatenate([[0], np.cumsum(lengths)]), column.valid)


def float_lists(rows: pa.Table, name: str) -> Ragged:
    """A list column as float64, null in every row where there is none."""
    if name not in rows.column_names or pa.types.is_null(rows[name].type):
        return Ragged(np.zeros(0), np.zeros(len(rows) + 1, dtype=np.int64), np.zeros(len(rows), dtype=bool))
    ragged = Ragged.from_arrow(rows[name])
    values = ragged.values
    if values.dtype == object:  # nulls among the values
        values = np.array([np.nan if value is None else value for value in values])
    return Ragged(values.astype(np.float64), ragged.offsets, ragged.valid)
