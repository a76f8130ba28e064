"""The energy of each photon: column ENERGY, or PI where the mission's PI is a calibrated energy."""

from __future__ import annotations

import numpy as np

from chandraclip.ogip.fits import FitsTable

_KEV_PER_UNIT = {"ev": 1e-3, "kev": 1.0}
# (telescope, instrument) prefixes -> keV of PI channel 0, keV a channel, first and last channel of calibrated energy:
# what lies beyond is a mark or an overflow. Chandra ACIS: channel n covers 14.6 (n - 1) to 14.6 n eV, so its middle is
# 14.6 (n - 0.5).
_PI_SCALES: dict[tuple[str, str], tuple[float, float, int, int]] = {
    ("CHANDRA", "ACIS"): (-0.0073, 0.0146, 1, 1024),
    ("XMM", "E"): (0.0, 0.001, 0, 32767),  # EPN, EMOS1, EMOS2, EPIC: eV
    ("NICER", ""): (0.0, 0.010, 0, 1500),
    ("NUSTAR", ""): (1.6, 0.040, 0, 4095),
    ("SWIFT", "XRT"): (0.0, 0.010, 0, 1023),
    ("SUZAKU", "XIS"): (0.0, 0.00365, 0, 4095),
    ("IXPE", ""): (0.0, 0.040, 0, 374),
    ("EROSITA", ""): (0.0, 0.001, 0, 32767),
    ("SRG", "EROSITA"): (0.0, 0.001, 0, 32767),
    ("XRISM", "RESOLVE"): (0.00025, 0.0005, 0, 59999),
    ("XRISM", "XTEND"): (0.0, 0.006, 0, 4095),
    ("ROSAT", "PSPC"): (0.0, 0.010, 1, 256),
}


def pi_scale(telescope: str, instrument: str) -> tuple[float, float, int, int] | None:
    """keV of PI channel 0, keV a channel, first and last channel; None where PI of an instrument is no energy."""
    for (wanted_telescope, wanted_instrument), scale in _PI_SCALES.items():
        if telescope.startswith(wanted_telescope) and instrument.startswith(wanted_instrument):
            return scale
    return None


def photon_energies(table: FitsTable) -> np.ndarray:
    """(N,) float64, keV; NaN where the file has none: null, outside TLMIN to TLMAX, or a PI of no calibrated energy.

    Raises:
        InputFileError: no ENERGY in a known unit and no PI of a known scale; the column is not one number a row; TLMIN
            or TLMAX is not a number.
    """
    telescope = str(table.key("TELESCOP") or "").strip().upper()
    instrument = str(table.key("INSTRUME") or "").strip().upper()
    if table.has("ENERGY"):
        unit = table.unit("ENERGY").lower() or ("ev" if telescope == "CHANDRA" else "")
        if unit in _KEV_PER_UNIT:
            return _legal(table, "ENERGY") * _KEV_PER_UNIT[unit]
        if unit or not table.has("PI"):  # PI tells what an ENERGY without a unit leaves open
            raise table.error(f"column ENERGY is in {unit!r}; eV or keV is needed")
    name = f"{telescope or 'unknown telescope'} {instrument}".strip()
    if not table.has("PI"):
        found = ", ".join(table.names)
        if table.has("PHA"):
            raise table.error(f"no column ENERGY or PI, and PHA is not calibrated energy; it has {found}")
        raise table.error(f"no column ENERGY or PI; it has {found}")
    scale = pi_scale(telescope, instrument)
    if scale is not None:
        zero, step, first, last = scale
        pi = _legal(table, "PI")
        return np.where((pi >= first) & (pi <= last), zero + step * pi, np.nan)
    raise table.error(f"no column ENERGY with a unit, and the energy of PI is not known for {name}")


def _legal(table: FitsTable, column: str) -> np.ndarray:
    """(N,) float64; NaN outside TLMIN to TLMAX, the legal values (FITS standard 4.0, section 7.3.2)."""
    values = np.asarray(table.numbers(column), np.float64)
    for keyword, outside in (("TLMIN", np.less), ("TLMAX", np.greater)):
        limit = table.number(f"{keyword}{table.column_number(column)}")
        if limit is not None:
            values = np.where(outside(values, limit), np.nan, values)
    return values
