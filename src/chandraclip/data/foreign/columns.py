"""Columns of somebody else's table as the dataset has them: other names, types and units; what is not there is null."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.foreign.mapping import ColumnMapping, Source
from chandraclip.data.foreign.paths import column_at
from chandraclip.data.list_checks import Reasons
from chandraclip.data.names import healpix_cell, iau_name
from chandraclip.data.rows import region_id_of
from chandraclip.data.schema import SOURCE_CLASSES, TABLE_SCHEMA

KEYS = ("name", "obsid", "obi", "region_id")


def read_columns(table: pa.Table, mapping: ColumnMapping) -> dict[str, Any]:
    """The mapped columns: float64 with NaN for numbers, `Ragged` for lists, lists of str or None for texts.

    Args:
        table: with the columns that the mapping names; it was checked (`ColumnMapping.check`).
    """
    others = {name: source for name, source in mapping.columns.items() if name != "name"}
    return {
        name: _classes(table, source) if name == "source_class" else _column(table, name, source)
        for name, source in others.items()
    }


def read_names(table: pa.Table, mapping: ColumnMapping) -> tuple[list[str | None], np.ndarray]:
    """The name of each row's source, and whether it stands in for one that the row does not have.

    A row without its first name is named by its position; without that by the next columns that are mapped.
    """
    source = mapping.columns.get("name", Source())
    found: list[str | None] = [None] * len(table)
    if source.columns:
        found = _texts(column_at(table, source.columns[0]))
    stands_in = np.array([name is None for name in found], dtype=bool)
    if not stands_in.any():
        return found, stands_in
    ra, dec = positions(table, mapping)
    missing = np.flatnonzero(stands_in & np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90.0))
    by_position = {place: iau_name(*place) for place in set(zip(ra[missing].tolist(), dec[missing].tolist()))}
    for row in missing.tolist():
        found[row] = by_position[(float(ra[row]), float(dec[row]))]
    for reference in source.columns[1:]:
        others = _texts(column_at(table, reference))
        found = [other if name is None else name for name, other in zip(found, others)]
    return found, stands_in


def positions(table: pa.Table, mapping: ColumnMapping) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) deg, NaN where not known."""
    pair = [mapping.columns.get(name) for name in ("ra", "dec")]
    if None in pair:
        return np.full(len(table), np.nan), np.full(len(table), np.nan)
    ra, dec = (_column(table, name, source) for name, source in zip(("ra", "dec"), pair) if source is not None)
    return ra, dec


def with_keys(columns: dict[str, Any], names: list[str], numbers: np.ndarray) -> dict[str, Any]:
    """The columns with name, obsid, obi, region_id and healpix; what stands in for a key is as for photon lists."""
    regions = {name: region_id_of(name) for name in set(names)}
    stand_ins = {"obsid": numbers, "obi": np.zeros(len(names)), "region_id": np.array([regions[n] for n in names])}
    result: dict[str, Any] = {**columns, "name": names}
    for name, stand_in in stand_ins.items():
        given = columns.get(name, np.full(len(names), np.nan))
        result[name] = np.where(np.isnan(given), stand_in, given).astype(np.int64)
    ra, dec = (columns.get(name, np.full(len(names), np.nan)) for name in ("ra", "dec"))
    placed = np.isfinite(ra) & np.isfinite(dec)
    cell = np.ma.masked_array(np.zeros(len(names), np.int64), mask=~placed)
    cell[placed] = healpix_cell(ra[placed], dec[placed])
    result["healpix"] = cell
    return result


def flag_bad_scalars(columns: dict[str, Any], reasons: Reasons) -> None:
    """Positions that are none, and numbers that the dataset's types cannot hold."""
    for name, values in columns.items():
        if isinstance(values, Ragged) or not isinstance(values, np.ndarray):
            continue
        kind = TABLE_SCHEMA.field(name).type
        known = np.isfinite(values)
        if pa.types.is_integer(kind):
            limits = np.iinfo(kind.to_pandas_dtype())
            reasons.flag(known & (values != np.round(values)), f"{name} is no whole number")
            reasons.flag(
                known & ((values < limits.min) | (values > limits.max)), f"{name} does not fit the dataset's {kind}"
            )
        elif kind == pa.float32():
            large = np.abs(values) > np.finfo(np.float32).max
            reasons.flag(known & large, f"{name} does not fit the dataset's {kind}")
    for name, low, high in (("ra", 0.0, 360.0), ("dec", -90.0, 90.0)):
        if name in columns:
            inside = (columns[name] >= low) & (columns[name] <= high)
            reasons.flag(np.isfinite(columns[name]) & ~inside, f"{name} is not in {low:g} to {high:g}")


def _column(table: pa.Table, name: str, source: Source) -> Any:
    kind = TABLE_SCHEMA.field(name).type
    if not source.columns:
        return _constant(len(table), kind, source.value)
    columns = [column_at(table, reference) for reference in source.columns]
    if pa.types.is_list(kind):
        lists = [_ragged(column, source.factor) for column in columns]
        return _first_given(lists)
    if pa.types.is_string(kind):
        texts = [_texts(column) for column in columns]
        found = [next((text for text in row if text is not None), None) for row in zip(*texts)]
        return found if source.values is None else [source.values.get(text) for text in found]
    numbers = [_numbers(column) for column in columns]
    result = numbers[0]
    for other in numbers[1:]:
        result = np.where(np.isnan(result), other, result)
    return result * source.factor


def _constant(num_rows: int, kind: pa.DataType, value: Any) -> Any:
    if pa.types.is_string(kind):
        return [None if value is None else str(value)] * num_rows
    return np.full(num_rows, np.nan if value is None else float(value))


def _numbers(column: pa.Array) -> np.ndarray:
    """float64, NaN where null or not finite."""
    values = column.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values), values, np.nan)


def _ragged(column: pa.Array, factor: float) -> Ragged:
    """float64; nulls among the values are NaN."""
    if pa.types.is_null(column.type):
        return Ragged(np.zeros(0), np.zeros(len(column) + 1, np.int64), np.zeros(len(column), bool))
    if pa.types.is_fixed_size_list(column.type):
        column = column.cast(pa.list_(column.type.value_type))
    flat = column.flatten().cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    lengths = np.asarray(pc.list_value_length(column).fill_null(0), dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Ragged(flat * factor if factor != 1.0 else flat, offsets, np.asarray(column.is_valid()))


def _first_given(lists: list[Ragged]) -> Ragged:
    """Row by row the first that is not null."""
    result = lists[0]
    for other in lists[1:]:
        assert result.valid is not None
        assert other.valid is not None
        number = len(result)
        both = Ragged(
            np.concatenate([result.values, other.values]),
            np.concatenate([result.offsets, result.offsets[-1] + other.offsets[1:]]),
            np.concatenate([result.valid, other.valid]),
        )
        result = both.take(np.where(result.valid, np.arange(number), number + np.arange(number)))
    return result


def _texts(column: pa.Array) -> list[str | None]:
    """Stripped, blanks as one; None where there is nothing."""
    if pa.types.is_null(column.type):
        return [None] * len(column)
    texts = column.cast(pa.string()).to_pylist()
    return [None if text is None else " ".join(text.split()) or None for text in texts]


def _classes(table: pa.Table, source: Source) -> np.ndarray:
    """Numbers of `SOURCE_CLASSES`; NaN where the table has another class or none."""
    numbers = {name: float(number) for number, name in enumerate(SOURCE_CLASSES)}
    result = np.full(len(table), np.nan)
    for reference in source.columns:
        column = column_at(table, reference)
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            found = _numbers(column)
        else:
            named = _texts(column)
            named = named if source.values is None else [source.values.get(name) for name in named]
            found = np.array([numbers.get(name or "", np.nan) for name in named])
        result = np.where(np.isnan(result), found, result)
    return np.where((result >= 0) & (result < len(SOURCE_CLASSES)), result, np.nan)
