"""The tables in the `results` of a metrics.json: found by their shape, so that an evaluation only has to write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chandraclip.evaluation.results import number

Row = dict[str, Any]
Place = tuple[str, ...]
_SHORT_LIST = 8  # values; longer lists are curves, which the pictures show
_WIDE = 8  # plain values that still stand side by side
_NAME = ""  # heading of the column that names the rows


def results_tables(results: Any) -> list[tuple[str, list[dict[str, str]]]]:
    """Every table among some results, with its place ("directions: metrics") as title.

    - A list of objects is a table.
    - Objects of like objects are one: a row for each, or, where these hold tables, a first column that says whose.
    - Plain values beside others are a row, or two columns where they are many.
    - A number and its interval stand in one cell: ``mae``, ``mae_low``, ``mae_high``, or ``auc`` followed by ``low``
      and ``high``.

    Args:
        results: of JSON.

    Returns:
        (title, rows), cells as text, "-" where a row has no such value; tables without any value are left out.
    """
    tables = (
        (": ".join(part.replace("_", " ") for part in place), _shown(rows)) for place, rows in _tables(results).items()
    )
    return [(title, rows) for title, rows in tables if rows]


def with_intervals(rows: Iterable[Row]) -> list[dict[str, str]]:
    """The rows of a table with a number and its interval in one cell, as text; nothing of no rows."""
    return _shown([_flat(row) for row in rows])


def _tables(value: Any) -> dict[Place, list[Row]]:
    if isinstance(value, list):
        return {(): [_flat(item) for item in value]} if value and all(isinstance(one, dict) for one in value) else {}
    if not isinstance(value, dict):
        return {}
    parts = {name: item for name, item in value.items() if not _is_cell(item)}
    if len(parts) > 1 and len(parts) == len(value) and _are_alike(list(parts.values())):
        return _joined(parts)
    facts = {name: item for name, item in value.items() if name not in parts}
    wide = len(facts) <= _WIDE
    tables: dict[Place, list[Row]] = {}
    if facts:
        tables[()] = [facts] if wide else [{_NAME: name, "value": item} for name, item in facts.items()]
    for name, item in parts.items():
        tables |= {(str(name), *place): rows for place, rows in _tables(item).items()}
    return tables


def _joined(parts: Mapping[str, Any]) -> dict[Place, list[Row]]:
    """The tables of several like objects, with a first column that says whose a row is."""
    joined: dict[Place, list[Row]] = {}
    for name, item in parts.items():
        own = {(): [_flat(item)]} if all(map(_is_cell, item.values())) else _tables(item)
        for place, rows in own.items():
            # A row that has a name already has it under the name of nothing: it becomes the second column.
            named = [
                {_NAME: name, **{(" " + key if key == _NAME else key): cell for key, cell in row.items()}}
                for row in rows
            ]
            joined.setdefault(place, []).extend(named)
    return joined


def _are_alike(parts: list[Any]) -> bool:
    """Objects of plain values, whatever their names, or objects with the same names."""
    if not all(isinstance(part, dict) and part for part in parts):
        return False
    return all(all(map(_is_cell, part.values())) for part in parts) or len({frozenset(part) for part in parts}) == 1


def _shown(rows: list[Row]) -> list[dict[str, str]]:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    columns = [name for name in columns if not name.strip() or any(row.get(name) is not None for row in rows)]
    bounds = {name: _bounds(name, columns) for name in columns}
    inside = {bound for pair in bounds.values() if pair for bound in pair}
    if not any(name.strip() for name in columns):
        return []
    return [{name: _cell(row, name, bounds[name]) for name in columns if name not in inside} for row in rows]


def _bounds(name: str, columns: list[str]) -> tuple[str, str] | None:
    """The columns of a number's interval: those that its name leads to, or low and high that follow it."""
    if name.rpartition(".")[2] in ("", "low", "high"):
        return None
    place, stem = columns.index(name), name[: name.rfind(".") + 1]
    for pair in ((f"{name}_low", f"{name}_high"), (f"{stem}low", f"{stem}high")):
        if pair == tuple(columns[place + 1 : place + 3]) or (pair[0].startswith(name) and set(pair) <= set(columns)):
            return pair
    return None


def _cell(row: Row, name: str, bounds: tuple[str, str] | None) -> str:
    text = as_text(row.get(name))
    low, high = (row.get(bound) for bound in bounds) if bounds else (None, None)
    return text if low is None and high is None else f"{text} [{as_text(low)}, {as_text(high)}]"


def as_text(value: Any) -> str:
    """A plain value of JSON as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    return ", ".join(map(as_text, value)) if isinstance(value, list) else str(value)


def _flat(row: Row, before: str = "") -> Row:
    """The cells of a row; of an object in it, each under its own name."""
    cells: Row = {}
    for name, value in row.items():
        if isinstance(value, dict):
            cells |= _flat(value, f"{before}{name}.")
        elif _is_cell(value):
            cells[before + str(name)] = value
    return cells


def _is_cell(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= _SHORT_LIST and not any(isinstance(item, list | dict) for item in value)
    return not isinstance(value, dict)
