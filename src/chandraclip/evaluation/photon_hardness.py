"""Hardness of photon lists against the hardness that their catalogue gives: do photons and columns belong together?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from chandraclip.catalog.bands import BANDS
from chandraclip.catalog.hardness import hardness_ratios
from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.errors import InputFileError

RATIOS = ("hard_hs", "hard_hm", "hard_ms")
BAND_NAMES = ("s", "m", "h")
SIGMA_OF_MAD = 1.4826  # of a normal distribution
ROWS_A_PASS = 4096


def photon_counts(dataset: str, splits: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The rows with photon energies.

    Args:
        dataset: folder or Hub id, for the message.
        splits: split -> rows in Arrow format (`data.loading.load_splits`).

    Returns:
        name (N,) object; obsid; theta (arcmin), mjd_obs (d) and `RATIOS` as the catalogue has them, NaN where null;
        counts (N, 3), photons of the list in the bands `BAND_NAMES`, its background with them.

    Raises:
        InputFileError: no row has photon energies.
    """
    names = ("name", "obsid", "theta", "mjd_obs", *RATIOS)
    found: list[dict[str, np.ndarray]] = []
    for rows in splits.values():
        if "event_energy" not in rows.column_names:
            continue
        view = rows.select_columns([name for name in (*names, "event_energy") if name in rows.column_names])
        for begin in range(0, len(rows), ROWS_A_PASS):
            table: pa.Table = view[begin : begin + ROWS_A_PASS]
            energy = Ragged.from_arrow(table["event_energy"])
            kept = np.diff(energy.offsets) > 0
            part = {name: _column(table, name)[kept] for name in names}
            found.append({**part, "counts": band_counts(energy)[kept]})
    if not any(len(part["name"]) for part in found):
        raise InputFileError(dataset, "no row has photons with energies", "event_energy")
    return {name: np.concatenate([part[name] for part in found]) for name in (*names, "counts")}


def band_counts(energy: Ragged) -> np.ndarray:
    """(N, 3) photons of N lists, keV, in the bands s, m and h."""
    row = row_index(energy)
    inside = [(energy.values >= low) & (energy.values < high) for low, high in (BANDS[name] for name in BAND_NAMES)]
    return np.stack([np.bincount(row, band, minlength=len(energy)) for band in inside], axis=1)


def hardness_of(counts: np.ndarray, area: np.ndarray) -> dict[str, np.ndarray]:
    """`RATIOS` of counts without a background.

    Args:
        counts: (N, 3), bands s, m, h.
        area: (N, 3) cm2 at the bands' effective energies; the exposure is the same in all and falls out.
    """
    ratios = hardness_ratios(counts, None, 0.0, area)
    return {"hard_hs": ratios.hard_hs, "hard_hm": ratios.hard_hm, "hard_ms": ratios.hard_ms}


def differences(measured: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Ratio -> rows that have both, median of measured less catalogue, its scatter (1.4826 x the median distance from
    the median) and the largest distance."""
    result = {}
    for name in RATIOS:
        difference = measured[name] - columns[name]
        difference = difference[np.isfinite(difference)]
        median = float(np.median(difference)) if difference.size else float("nan")
        scatter = SIGMA_OF_MAD * float(np.median(np.abs(difference - median))) if difference.size else float("nan")
        largest = float(np.abs(difference).max()) if difference.size else float("nan")
        result[name] = {"num_rows": int(difference.size), "median": median, "scatter": scatter, "largest": largest}
    return result


def _column(table: pa.Table, name: str) -> np.ndarray:
    if name not in table.column_names:
        return np.full(len(table), np.nan)
    if name == "name":
        return np.array(table[name].to_pylist(), dtype=object)
    return table[name].cast(pa.float64()).fill_null(np.nan).to_numpy()
