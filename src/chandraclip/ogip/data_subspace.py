"""The data subspace keywords: which filters an event list has been through, as CIAO and SAS write them.

``DSTYPi``, ``DSVALi`` and ``DSREFi`` are one filter: axis, ranges (``"7:7"``, ``"20:60,80:"``) or ``TABLE``, and the
table. All filters of a component hold at once; ``2DSVALi``, ``2DSREFi`` ... are further components, of which any may
hold, and take what they do not say from the first. Sources: CXC data model, "ahelp subspace"; SAS dsslib; Fermi "Data
SubSpace keywords".
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import numpy as np

from chandraclip.ogip.fits import FitsFile, FitsTable

_KEYWORD = re.compile(r"(\d*)DS(TYP|VAL|REF)(\d+)")


@dataclass(frozen=True)
class Filter:
    """One filter.

    Attributes:
        axis: the column, in capitals.
        value: ranges as text, or ``"TABLE"``.
        reference: the table that holds the ranges, e.g. ``":GTI00003"``; '' where value has them.
    """

    axis: str
    value: str
    reference: str

    @property
    def is_table(self) -> bool:
        return self.value.upper() == "TABLE"


def data_subspace(table: FitsTable) -> list[tuple[Filter, ...]]:
    """The components of a table's data subspace, each a tuple of filters; none where it has no such keywords."""
    written: dict[int, dict[int, dict[str, str]]] = {}
    for keyword in table.header:
        match = _KEYWORD.fullmatch(keyword)
        value = None if match is None else table.own_key(keyword)
        if match is not None and value is not None:
            component, kind, axis = int(match[1] or 1), match[2], int(match[3])
            written.setdefault(component, {}).setdefault(axis, {})[kind] = str(value).strip()
    first = written.get(1, {})
    components = []
    for _, own in sorted(written.items()):
        filters = []
        for axis in sorted({*first, *own}):
            parts, mine = first.get(axis, {}), own.get(axis, {})
            reference = mine.get("REF", parts.get("REF", ""))
            # A component that names a table of its own need not say TABLE again.
            value = mine.get("VAL") or ("TABLE" if "REF" in mine else parts.get("VAL", "TABLE" if reference else ""))
            name = mine.get("TYP", parts.get("TYP", "")).upper()
            if name and value:
                filters.append(Filter(name, value, reference if value.upper() == "TABLE" else ""))
        components.append(tuple(filters))
    return components


def parse_ranges(text: str) -> np.ndarray | None:
    """(n, 2) of ``"a:b,c:d"``: ``"7"`` is 7 to 7, an end left out is infinite; None where it is not that."""
    ranges = []
    for part in text.split(","):
        low, colon, high = part.strip().partition(":")
        try:
            begin = float(low) if low.strip() else -np.inf
            end = (float(high) if high.strip() else np.inf) if colon else begin
        except ValueError:
            return None
        if not colon and not low.strip():
            return None
        ranges.append((begin, end))
    result = np.array(ranges)
    return None if np.isnan(result).any() or (result[:, 1] < result[:, 0]).any() else result


def referenced_tables(file: FitsFile, reference: str) -> list[FitsTable]:
    """The extensions that a DSREF names: ``":GTI7"``, ``"file.fits[GTI]"``, ``":GTI,7"``, ``"file.fits[2]"``.

    A file is looked for beside this one, whatever folder is written; if it is not there, this file may hold a copy of
    the table. CIAO calls an extension by HDUNAME, else by EXTNAME and EXTVER together: GTI7 is GTI, version 7.

    Raises:
        InputFileError: the other file cannot be read.
    """
    match = re.fullmatch(r"([^\[:]*)(?:\[([^\]]+)\]|:(.+))", reference.strip())
    if match is None:
        return []
    name = (match[2] or match[3] or "").strip().upper()
    other = match[1].strip().replace("\\", "/").rsplit("/", 1)[-1]
    if other and other != file.path.name:
        places = [file.path.parent / other, file.path.parent / f"{other}.gz"]
        place = next((place for place in places if os.path.isfile(place)), None)  # no error for names no file can have
        if place is not None:
            return _named(FitsFile(place), name)
    return _named(file, name)


def _named(file: FitsFile, name: str) -> list[FitsTable]:
    base, _, version = name.partition(",")
    found = [table for table in file if _text(table, "HDUNAME") == name]
    found = found or [table for table in file if table.extname == name]
    found = found or [
        table
        for table in file
        if (version.strip() and table.extname == base.strip() and _text(table, "EXTVER") == version.strip())
        or f"{table.extname}{_text(table, 'EXTVER')}" == name
    ]
    return found or [table for table in file if table.label.rpartition(",")[2] == name]


def _text(table: FitsTable, keyword: str) -> str:
    value = table.own_key(keyword)
    return "" if value is None else str(value).strip().upper()
