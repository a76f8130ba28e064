"""Which grating order a spectrum or a response is of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chandraclip.ogip.fits import FitsTable

_ARMS = {"HEG": 1, "MEG": 2, "LEG": 3}  # TG_PART
# Responses of TGCat and CIAO: meg_-1.arf, heg_p1.rmf, acisf00459_HEG_m1.garf.
_NAME = re.compile(r"(?<![a-z])(?P<arm>heg|meg|leg)_?(?P<sign>[mp+-]?)(?P<order>[1-9]\d?)(?!\d)", re.IGNORECASE)


@dataclass(frozen=True)
class DispersedOrder:
    """TG_M (RFLORDER of an RGS) and TG_PART (1 HEG, 2 MEG, 3 LEG; None where not said)."""

    order: int
    arm: int | None = None

    @property
    def is_dispersed(self) -> bool:
        return self.order != 0

    def __str__(self) -> str:
        return f"TG_M {self.order}" + ("" if self.arm is None else f", TG_PART {self.arm}")


def order_of(table: FitsTable, row: int | None = None) -> DispersedOrder | None:
    """The order that a table's keywords say, or a row's columns; None where they say none."""
    order = next((n for name in ("TG_M", "RFLORDER", "ORDER") if (n := _whole(table, name, row)) is not None), None)
    arm = _whole(table, "TG_PART", row)
    if arm is None:
        arm = _ARMS.get(str(table.own_key("GRATTYPE") or table.own_key("TG_ARM") or "").strip().upper())
    return None if order is None else DispersedOrder(order, arm)


def order_in_name(path: Path) -> DispersedOrder | None:
    """The order that a file's name says: ``meg_-1.arf``; None for other names."""
    match = _NAME.search(path.name)
    if match is None:
        return None
    sign = -1 if match["sign"] in ("-", "m", "M") else 1
    return DispersedOrder(sign * int(match["order"]), _ARMS[match["arm"].upper()])


def belongs(spectrum: DispersedOrder | None, response: DispersedOrder | None) -> bool:
    """Whether a response may be a spectrum's: a dispersed one's says the same order and arm, another's says none."""
    if spectrum is None or not spectrum.is_dispersed:
        return response is None or not response.is_dispersed
    if response is None or response.order != spectrum.order:
        return False
    return spectrum.arm is None or response.arm is None or spectrum.arm == response.arm


def _whole(table: FitsTable, name: str, row: int | None) -> int | None:
    value: Any = table.own_key(name)
    if row is not None and table.has(name):
        values = table.column(name)
        value = values.reshape(len(values), -1)[row, 0]
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() and abs(number) < 1000 else None
