"""Which extensions of a file are its good time intervals, where the event list names none."""

from __future__ import annotations

import re
from dataclasses import dataclass

from chandraclip.ogip.fits import FitsFile, FitsTable

_PLAIN_NAME = re.compile(r"(STD)?GTI[_-]?(\d*)")
_SAS_FILTER = re.compile(r"GTI\d{5}")  # what evselect has applied, whatever its HDUCLAS2
# Tables of other times: rejected (ROSAT), candidates that were not applied (eROSITA's FLAREGTI), lost to telemetry.
_OTHER_TIMES = re.compile(r"BAD|REJ|LOST|FLARE|OTH|NO[_-]?GTI")
_RANKS = {"": 0, "STANDARD": 0, "ACCEPTED": 0, "ALL": 2}  # of HDUCLAS2; 4 for others
_CCD_KEYWORDS = ("CCD_ID", "CCDID", "CCDNR", "TM_NR")


@dataclass(frozen=True)
class GtiTable:
    """A table of good times.

    Attributes:
        table: with START and STOP.
        ccd: the CCD it is for; None for all.
        standard: made by the pipeline's screening (STDGTI), which a further filter (GTI) cuts.
    """

    table: FitsTable
    ccd: int | None
    standard: bool


def select_tables(file: FitsFile, events: FitsTable) -> tuple[list[GtiTable], list[str]]:
    """The file's tables of good times, best kind only, and the labels of those with GTI in name or class left out.

    HDUCLAS2 STANDARD (or none) goes before ALL, which is before screening, and that before what else it may say; then
    a table named GTI or STDGTI, with or without a number, before one that HDUCLAS1 alone calls GTI. Never used:
    rejected, lost, flare and other times by their name or HDUCLAS2, and names that merely hold GTI.
    """
    ranked: list[tuple[int, FitsTable]] = []
    left_out = []
    for table in file:
        name, first, second = table.extname, table.hduclas(1), table.hduclas(2)
        if not (first == "GTI" or "GTI" in name) or not table.has("START", "STOP"):
            continue
        plain = _PLAIN_NAME.fullmatch(name) is not None
        used = first == "GTI" or (first == "" and plain)
        if not used or _OTHER_TIMES.search(name) or _OTHER_TIMES.search(second):
            left_out.append(table.label)
        else:
            rank = 0 if _SAS_FILTER.fullmatch(name) else _RANKS.get(second, 4) + (not plain)
            ranked.append((rank, table))
    best = min((rank for rank, _ in ranked), default=0)
    left_out += [table.label for rank, table in ranked if rank > best]
    return [_described(table, events) for rank, table in ranked if rank == best], left_out


def _described(table: FitsTable, events: FitsTable) -> GtiTable:
    name = str(table.own_key("HDUNAME") or "").strip().upper()
    match = _PLAIN_NAME.fullmatch(name) or _PLAIN_NAME.fullmatch(table.extname)
    standard = match is not None and match[1] is not None
    stated = [table.own_key(keyword) for keyword in _CCD_KEYWORDS]
    ccd = next((value for value in stated if isinstance(value, int) and not isinstance(value, bool)), None)
    if ccd is None and match is not None and 0 < len(match[2]) <= 2:  # GTI00103 is SAS's table of component 1
        ccd = int(match[2])
    chandra = str(events.key("TELESCOP") or "").strip().upper() == "CHANDRA"
    version = table.own_key("EXTVER")
    if ccd is None and chandra and table.extname == "GTI" and isinstance(version, int):
        ccd = version
    return GtiTable(table, ccd, standard)
