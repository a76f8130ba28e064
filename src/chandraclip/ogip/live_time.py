"""Live time: good time less the detector's dead time."""

from __future__ import annotations

import numpy as np

from chandraclip.ogip.fits import FitsTable

_ROUNDING = 1.001  # headers round to a second, or to float32
# Keywords of one CCD: its live and its good time (XMM EPIC, Chandra ACIS).
_CCD_KEYWORDS = (("LIVETI{:02d}", "ONTIME{:02d}"), ("EXPOSUR{:d}", "ONTIME{:d}"), ("LIVTIME{:d}", "ONTIME{:d}"))


def live_time(table: FitsTable, good: float, shares: dict[int, float], notes: list[str]) -> float:
    """Live time of the good time that was applied, s.

    Good time times the live fraction, never more than the header's own live time: a file cut in time keeps the whole
    observation's EXPOSURE, and one whose EXPOSURE is less than that product had more taken off than dead time.

    Args:
        table: the event list.
        good: s, the sum of the good time intervals.
        shares: CCD -> share of the photons, which weighs the CCDs' live fractions; empty where there are no CCDs.
        notes: gets a sentence where EXPOSURE tells of much less than the good time.

    Raises:
        InputFileError: EXPOSURE or LIVETIME is not positive, or DTCOR or DEADC is not in 0 to 1.
    """
    name = next((name for name in ("EXPOSURE", "LIVETIME") if table.number(name) is not None), "EXPOSURE")
    stated = table.number(name)
    if stated is not None and not 0 < stated < np.inf:
        raise table.error(f"{name} is {stated}, and must be positive")
    expected = good * _live_fraction(table, stated, shares)
    if len(shares) == 1:  # EXPOSURE may be another CCD's
        own = [table.number(live.format(ccd)) for ccd in shares for live, _ in _CCD_KEYWORDS]
        stated = next((value for value in own if value is not None and 0 < value < np.inf), stated)
    if stated is None or stated > expected * _ROUNDING:
        return expected
    if stated < 0.5 * expected:
        notes.append(f"{name} is {stated:g} s, less than half of the {expected:g} s of good time less dead time")
    return stated


def _live_fraction(table: FitsTable, stated: float | None, shares: dict[int, float]) -> float:
    """DTCOR or DEADC, else the CCDs' live over good time, else EXPOSURE over ONTIME, else 1."""
    for name in ("DTCOR", "DEADC"):
        fraction = table.number(name)
        if fraction is not None:
            if not 0 < fraction <= 1:
                raise table.error(f"{name} is {fraction}, and must be in 0 to 1")
            return fraction
    known: list[tuple[float, float]] = []
    for ccd, share in shares.items():
        for live, on in _CCD_KEYWORDS:
            ratio = _ratio(table.number(live.format(ccd)), table.number(on.format(ccd)))
            if ratio is not None:
                known.append((share, ratio))
                break
    if known:
        return float(np.average([ratio for _, ratio in known], weights=[share for share, _ in known]))
    return _ratio(stated, table.number("ONTIME")) or 1.0


def _ratio(live: float | None, on: float | None) -> float | None:
    """Live over good time where both make sense."""
    if live is None or on is None or not 0 < live < np.inf or not 0 < on < np.inf or live > on * _ROUNDING:
        return None
    return min(live / on, 1.0)
