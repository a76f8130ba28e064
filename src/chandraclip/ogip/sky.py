"""Sky pixels to right ascension and declination: what columns X and Y of an event list say of themselves."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from chandraclip.ogip.fits import FitsTable, quiet

# Keywords of a column beside those of an image's axis (FITS standard 4.0, table 22).
_NUMBERS = {"TCRPX": "CRPIX", "TCRVL": "CRVAL", "TCDLT": "CDELT"}
_OTHERS = {"TCTYP": "CTYPE", "TCUNI": "CUNIT", "TCROT": "CROTA"}
_PLAIN = {f"{name}{axis}" for name in ("CTYPE", "CRPIX", "CRVAL", "CDELT", "CUNIT") for axis in (1, 2)}
_MATRIX_KEYWORD = re.compile(r"(TP|TC)(\d+)_(\d+)")


@dataclass(frozen=True, eq=False)
class SkyCoordinates:
    """The projection of a pair of sky pixel columns, whichever it is.

    Attributes:
        wcs: axis 1 is X and right ascension, axis 2 is Y and declination.
    """

    wcs: WCS

    @property
    def degrees_per_pixel(self) -> float:
        return float(proj_plane_pixel_scales(self.wcs)[1])

    def to_celestial(self, x: np.ndarray | float, y: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """(ra, dec) deg of sky pixels."""
        ra, dec = self.wcs.wcs_pix2world(x, y, 1)
        return ra, dec

    def to_pixels(self, ra: np.ndarray | float, dec: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """(x, y) sky pixels of ra, dec in deg.

        Raises:
            ValueError: a position that the projection does not reach.
        """
        x, y = self.wcs.wcs_world2pix(ra, dec, 1)
        if not np.isfinite(x).all() or not np.isfinite(y).all():
            raise ValueError("a position more than 90 degrees from the pointing")
        return x, y


def sky_coordinates(table: FitsTable) -> SkyCoordinates | None:
    """The projection in the keywords of columns X and Y; None where there is none, or none that can be used.

    Raises:
        InputFileError: a keyword of the projection is of the wrong type.
    """
    if not table.has("X", "Y"):
        return None
    header: dict[str, Any] = {}
    axis_of = {table.column_number(column): axis for axis, column in ((1, "X"), (2, "Y"))}
    for number, axis in axis_of.items():
        for keyword, image_keyword in (_NUMBERS | _OTHERS).items():
            value = table.own_key(f"{keyword}{number}")
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            if keyword in _NUMBERS and not is_number:
                return None  # wcslib would take its default
            if value is not None and not (is_number if keyword == "TCROT" or keyword in _NUMBERS else _is_text(value)):
                raise table.error(f"{keyword}{number} is {value!r}, which is no projection's")
            if value is not None:
                header[f"{image_keyword}{axis}"] = value
    for keyword in table.header:
        match = _MATRIX_KEYWORD.fullmatch(keyword)
        if match is not None and int(match[2]) in axis_of and int(match[3]) in axis_of:
            kind = "PC" if match[1] == "TP" else "CD"
            value = table.as_number(keyword, table.own_key(keyword))
            header[f"{kind}{axis_of[int(match[2])]}_{axis_of[int(match[3])]}"] = value
    header.setdefault("CTYPE1", "RA---TAN")  # where a file does not say: the plane that most have
    header.setdefault("CTYPE2", "DEC--TAN")
    if not str(header["CTYPE1"]).upper().startswith("RA"):
        return None
    try:
        with quiet():
            wcs = _projection(header)
    except (ValueError, TypeError, ArithmeticError):  # wcslib's errors are ValueErrors
        return None
    return SkyCoordinates(wcs)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable()


def _projection(header: dict[str, Any]) -> WCS:
    """The same as ``WCS(fits.Header(header))``, which looks for every kind of distortion and takes 20 times as long."""
    if not set(header) <= _PLAIN:
        wcs = WCS(fits.Header(header))
    else:
        wcs = WCS(naxis=2)
        for name, default in (("ctype", None), ("crpix", None), ("crval", None), ("cdelt", None), ("cunit", "")):
            setattr(wcs.wcs, name, [header.get(f"{name.upper()}{axis}", default) for axis in (1, 2)])
    wcs.wcs.set()
    return wcs
