"""What a position gives: a name, and a cell of the sky."""

from __future__ import annotations

import re

import astropy.units as u
import numpy as np
from astropy_healpix import HEALPix

_POSITION = re.compile(r"J(\d{2})(\d{2})(\d{2}\.\d)([+-])(\d{2})(\d{2})(\d{2})")
_CELLS = HEALPix(nside=2**4, order="nested")  # 3072 cells of 13.4 square degrees (Gorski et al. 2005, ApJ 622, 759)


def healpix_cell(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """The column `healpix`, by which rows are sorted: HEALPix of order 4, nested.

    Args:
        ra, dec: (...) deg, ICRS.

    Returns:
        (...) int64 in 0 to 3071.

    Raises:
        ValueError: a position that is not finite, or |dec| above 90.
    """
    if not np.isfinite(ra).all() or not (np.abs(dec) <= 90.0).all():  # NaN fails the second
        raise ValueError("positions must be finite, with |dec| <= 90 degrees")
    return _CELLS.lonlat_to_healpix(u.Quantity(ra, u.deg), u.Quantity(dec, u.deg))


def iau_name(ra: float, dec: float, prefix: str = "CXO") -> str:
    """``"CXO J004242.3+411608"``: right ascension to 0.1 s and declination to 1", cut off, not rounded (IAU).

    Args:
        ra, dec: deg, ICRS.
        prefix: the catalogue; ``"2CXO"`` is CSC 2's own and only CSC gives it.

    Raises:
        ValueError: not a position.
    """
    if not (np.isfinite(ra) and np.isfinite(dec) and abs(dec) <= 90):
        raise ValueError(f"no such position: {ra}, {dec}")
    # A billionth added: 0.3 / 0.1 is below 3 in binary.
    tenths = int(ra % 360.0 / 15.0 * 36000.0 + 1e-9) % 864000
    seconds = int(abs(dec) * 3600.0 + 1e-9)
    right = f"{tenths // 36000:02d}{tenths // 600 % 60:02d}{tenths // 10 % 60:02d}.{tenths % 10}"
    down = f"{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}"
    return f"{prefix} J{right}{'-' if dec < 0 else '+'}{down}"


def position_of_name(name: str) -> tuple[float, float]:
    """Right ascension and declination, deg, that a name of `iau_name`'s form gives: to 0.1 s and 1".

    Raises:
        ValueError: no position in the name.
    """
    found = _POSITION.search(name)
    if found is None:
        raise ValueError(f"no position in the name {name!r}")
    hours, minutes, seconds, sign, degrees, arcminutes, arcseconds = found.groups()
    ra = 15.0 * (int(hours) + int(minutes) / 60.0 + float(seconds) / 3600.0)
    dec = int(degrees) + int(arcminutes) / 60.0 + int(arcseconds) / 3600.0
    return ra, -dec if sign == "-" else dec
