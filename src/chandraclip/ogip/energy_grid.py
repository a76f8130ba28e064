"""Energy bins of responses: read in keV, put in increasing order, and two files' bins compared (CAL/GEN/92-002)."""

from __future__ import annotations

import numpy as np

from chandraclip.ogip.fits import FitsTable

KEV = {"": 1.0, "kev": 1.0, "ev": 1e-3, "mev": 1e3, "gev": 1e6}  # MeV: the case is lost, and nobody writes milli-eV
CM2 = {"": 1.0, "cm2": 1.0, "cm**2": 1.0, "cm^2": 1.0, "m2": 1e4, "m**2": 1e4, "m^2": 1e4}
# Two files describe one energy grid where edges differ by less than this share of a bin (float32 rounding is 1e-4).
_GRID_TOLERANCE = 0.05
# An area below this share of the largest is no area: what a file says of energies there does not matter.
_NO_AREA = 1e-6
# Energies without a unit are keV, unless that would make them gamma rays: then they may as well be eV.
_LARGEST_WITHOUT_UNIT = 500.0


def in_units(table: FitsTable, name: str, factors: dict[str, float]) -> np.ndarray:
    """(rows,) float64, a column times the factor of its TUNIT.

    Raises:
        InputFileError: no such column, another unit, no numbers, or arrays.
    """
    unit = table.unit(name) if table.has(name) else ""
    factor = factors.get(unit.lower().replace(" ", ""))
    if factor is None:
        raise table.error(f"column {name} is in {unit!r}; known units: {', '.join(filter(None, factors))}")
    values = table.column(name)
    if values.dtype.kind not in "iuf":
        raise table.error(f"column {name} does not hold numbers")
    if values.size != table.num_rows:
        raise table.error(f"column {name} holds arrays; one number a row is expected")
    values = values.reshape(-1).astype(np.float64) * factor
    if factors is KEV and not unit and values.max(initial=0.0) > _LARGEST_WITHOUT_UNIT:
        raise table.error(f"column {name} goes to {values.max():g} and has no unit: keV and eV cannot be told apart")
    return values


def photon_energies(table: FitsTable) -> tuple[np.ndarray, np.ndarray, slice]:
    """ENERG_LO and ENERG_HI (E,) in keV, increasing, and the slice that puts rows in that order.

    Bins of zero width are kept (real PSPC matrices have one): no photon is in them.

    Raises:
        InputFileError: no rows; energies negative, not numbers, not monotonic, or in two bins at once.
    """
    low, high = in_units(table, "ENERG_LO", KEV), in_units(table, "ENERG_HI", KEV)
    if not low.size:
        raise table.error("no rows")
    order = slice(None, None, -1) if low[0] > low[-1] else slice(None)
    low, high = low[order], high[order]
    if not (np.isfinite(low).all() and np.isfinite(high).all()) or (low < 0).any():
        raise table.error("energies are negative or not numbers")
    if (high < low).any() or (np.diff(low) < 0).any() or (np.diff(high) < 0).any():
        raise table.error("energy bins are not monotonic")
    overlap = high[:-1] - low[1:]
    allowed = _GRID_TOLERANCE * np.minimum(high[:-1] - low[:-1], high[1:] - low[1:])
    # Two bins of zero width at one energy, and float32 edges, are no overlap.
    bad = overlap > np.maximum(allowed, 1e-6 * high[:-1])
    if bad.any():
        row = int(np.argmax(bad))
        raise table.error(f"energy bins overlap: {low[row]:g}-{high[row]:g} and {low[row + 1]:g}-{high[row + 1]:g} keV")
    return low, high, order


def common_grid(
    rmf: tuple[np.ndarray, np.ndarray], arf: tuple[np.ndarray, np.ndarray], area: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | int:
    """The bins (E,), (E,) keV of an RMF and an ARF of as many bins, or the first that differs.

    They are the RMF's, and need agree only where there is area. The outermost edges may differ (0.001 and 0.05 keV in
    EPIC files): the first or last bin is then where both files have it.
    """
    (low, high), (arf_low, arf_high) = rmf, arf
    width = np.maximum(high - low, 1e-6 * high)
    bad_low = np.abs(arf_low - low) > _GRID_TOLERANCE * width
    bad_high = np.abs(arf_high - high) > _GRID_TOLERANCE * width
    with_area = area > _NO_AREA * area.max()
    first_low, last_high = max(low[0], arf_low[0]), min(high[-1], arf_high[-1])
    low, high = low.copy(), high.copy()
    if bad_low[0] and with_area[0] and first_low < high[0]:
        low[0], bad_low[0] = first_low, False
    if bad_high[-1] and with_area[-1] and last_high > low[-1]:
        high[-1], bad_high[-1] = last_high, False
    bad = (bad_low | bad_high) & with_area
    return int(np.argmax(bad)) if bad.any() else (low, high)


def same_edges(one: np.ndarray, other: np.ndarray, width: np.ndarray) -> bool:
    """Whether two files' edges (E,) keV of bins of `width` are one grid."""
    return one.shape == other.shape and bool((np.abs(one - other) <= _GRID_TOLERANCE * width + 1e-6 * one).all())
