"""Sky pixels to right ascension and declination: what columns X and Y of an event list say of themselves."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass, field
from typing import Any

import astropy.units as u
import numpy as np
from astropy.coordinates import (
    FK4,
    FK5,
    ICRS,
    BarycentricMeanEcliptic,
    BaseCoordinateFrame,
    FK4NoETerms,
    Galactic,
    SkyCoord,
)
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from chandraclip.ogip.fits import FitsTable, quiet

logger = logging.getLogger(__name__)

_PIXEL_RANGE = 1e-12, 90.0  # deg, of a side; beyond, TCDLT is damaged
# Keywords of a column beside those of an image's axis (FITS standard 4.0, table 22).
_NUMBERS = {"TCRPX": "CRPIX", "TCRVL": "CRVAL", "TCDLT": "CDELT"}
_OTHERS = {"TCTYP": "CTYPE", "TCUNI": "CUNIT", "TCROT": "CROTA"}
_POLE = {"LONP": "LONPOLE", "LATP": "LATPOLE"}
_PLAIN = {f"{name}{axis}" for name in ("CTYPE", "CRPIX", "CRVAL", "CDELT", "CUNIT") for axis in (1, 2)}
_MATRIX_KEYWORD = re.compile(r"(TP|TC)(\d+)_(\d+)")
# What a text region or a RADESYS may call its coordinates; equinoxes as the names imply them.
FRAMES: dict[str, BaseCoordinateFrame] = {
    "icrs": ICRS(),
    "fk5": FK5(),
    "j2000": FK5(),
    "fk4": FK4(equinox="B1950"),
    "b1950": FK4(equinox="B1950"),
    "galactic": Galactic(),
    "ecliptic": BarycentricMeanEcliptic(),
}


@dataclass(frozen=True, eq=False)
class SkyCoordinates:
    """The projection of a pair of sky pixel columns, whichever it is.

    Attributes:
        wcs: axis 1 is X and longitude, axis 2 is Y and latitude.
        frame: of the longitude and latitude: RADESYS and EQUINOX, or galactic or ecliptic.
        keywords: that `wcs` was made of, as an image has them.
    """

    wcs: WCS
    frame: BaseCoordinateFrame = field(default_factory=ICRS)
    keywords: dict[str, Any] = field(default_factory=dict)

    @property
    def degrees_per_pixel(self) -> float:
        return float(proj_plane_pixel_scales(self.wcs)[1])

    def to_celestial(self, x: np.ndarray | float, y: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """(ra, dec) deg, ICRS, of sky pixels."""
        longitude, latitude = self.wcs.wcs_pix2world(x, y, 1)
        return _transformed(longitude, latitude, self.frame, ICRS())

    def to_pixels(
        self, ra: np.ndarray | float, dec: np.ndarray | float, frame: BaseCoordinateFrame | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(x, y) sky pixels.

        Args:
            ra, dec: deg, longitude and latitude in `frame`.
            frame: ICRS by default.

        Raises:
            ValueError: a position that the projection does not reach.
        """
        longitude, latitude = _transformed(ra, dec, ICRS() if frame is None else frame, self.frame)
        x, y = self.wcs.wcs_world2pix(longitude, latitude, 1)
        if not np.isfinite(x).all() or not np.isfinite(y).all():
            raise ValueError("a position more than 90 degrees from the pointing")
        return x, y

    def axis(self, frame: BaseCoordinateFrame | None = None) -> tuple[float, bool]:
        """How a frame lies on the pixels, at the projection's reference point.

        Returns:
            (direction of its west in deg counterclockwise from +X, whether the sky is mirrored: east on the right when
            north is up). Angles of regions in a frame count from its west towards its north (ds9).
        """
        frame = ICRS() if frame is None else frame
        longitude, latitude = _transformed(self.wcs.wcs.crval[0], self.wcs.wcs.crval[1], self.frame, frame)
        # 3.6 arcsec: far above rounding, and small enough that a meridian is straight.
        step = 1e-3 if latitude < 89 else -1e-3
        x0, y0 = self.wcs.wcs.crpix
        x1, y1 = self.to_pixels(longitude, latitude + step, frame)
        x2, y2 = self.to_pixels(longitude - 1e-3 / max(np.cos(np.radians(latitude)), 1e-3), latitude, frame)
        north = np.array([float(x1) - x0, float(y1) - y0]) * np.sign(step)
        west = np.array([float(x2) - x0, float(y2) - y0])
        mirrored = bool(west[0] * north[1] - west[1] * north[0] < 0)
        direction = float(np.degrees(np.arctan2(north[1], north[0]))) + (90.0 if mirrored else -90.0)
        direction = (direction + 180.0) % 360.0 - 180.0
        return (0.0 if abs(direction) < 1e-6 else direction), mirrored


def _transformed(
    longitude: np.ndarray | float,
    latitude: np.ndarray | float,
    source: BaseCoordinateFrame,
    target: BaseCoordinateFrame,
) -> tuple[np.ndarray, np.ndarray]:
    """deg in one frame to deg in another."""
    if source.is_equivalent_frame(target):
        return np.asarray(longitude), np.asarray(latitude)
    there = SkyCoord(longitude, latitude, unit=u.deg, frame=source).transform_to(target).spherical
    return there.lon.deg, there.lat.deg


def celestial_frame(table: FitsTable, column: int | None = None) -> BaseCoordinateFrame | None:
    """The frame of equatorial coordinates by RADESYS (or RADECSYS) and EQUINOX (or EPOCH), FITS standard 4.0, 8.3.

    Without RADESYS an EQUINOX before 1984 means FK4, a later one FK5, and none ICRS.

    Args:
        column: its RADEn and EQUIn come first.

    Returns:
        None for a system that is not known (said on the log).
    """
    own = () if column is None else (f"RADE{column}",)
    system = str(table.key(*own, "RADESYS", "RADECSYS") or "").strip().upper()
    year = _year(table.key(*(() if column is None else (f"EQUI{column}",)), "EQUINOX", "EPOCH"))
    if not system:
        system = "ICRS" if year is None else "FK4" if year < 1984 else "FK5"
    if system == "ICRS":
        return ICRS()
    if system == "FK5":
        return FK5(equinox=Time(2000.0 if year is None else year, format="jyear"))
    if system in ("FK4", "FK4-NO-E"):
        equinox = Time(1950.0 if year is None else year, format="byear")
        return FK4(equinox=equinox) if system == "FK4" else FK4NoETerms(equinox=equinox)
    logger.warning("%s[%s]: sky coordinates in %s are not used", table.path, table.label, system)
    return None


def _year(value: object) -> float | None:
    """Of ``2000.0``, ``'2000'`` or ``'J2000.0'``; None for what is no year (seen as 0 where a file does not say)."""
    try:
        year = float(str(value).strip().lstrip("BJbj"))
    except ValueError:
        return None
    return year if 1800 < year < 2200 else None


def icrs_position(table: FitsTable, ra: float | None, dec: float | None) -> tuple[float | None, float | None]:
    """(ra, dec) deg, ICRS, of a position in a header's keywords, which may be FK4 (0.6 deg from ICRS)."""
    if ra is None or dec is None:
        return ra, dec
    frame = celestial_frame(table)
    if not isinstance(frame, (FK4, FK4NoETerms)):
        return ra, dec
    try:
        there = _transformed(ra, dec, frame, ICRS())
    except ValueError:  # a declination beyond 90 degrees
        return None, None
    return float(there[0]), float(there[1])


def sky_coordinates(table: FitsTable, like: SkyCoordinates | None = None) -> SkyCoordinates | None:
    """The projection in the keywords of columns X and Y; None where there is none, or none that can be used.

    Args:
        like: given back where the keywords are the same: making a projection takes longer than reading most tables.

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
            if keyword in _NUMBERS and not _is_number(value):
                return None  # wcslib would take its default
            if value is not None and not (_is_number if keyword == "TCROT" or keyword in _NUMBERS else _is_text)(value):
                raise table.error(f"{keyword}{number} is {value!r}, which is no projection's")
            if value is not None:
                header[f"{image_keyword}{axis}"] = value
        for keyword, image_keyword in _POLE.items():
            value = table.own_key(f"{keyword}{number}")
            if _is_number(value):
                header[image_keyword] = value
    for keyword in table.header:
        match = _MATRIX_KEYWORD.fullmatch(keyword)
        if match is not None and int(match[2]) in axis_of and int(match[3]) in axis_of:
            kind, value = "PC" if match[1] == "TP" else "CD", table.own_key(keyword)
            if not _is_number(value):
                raise table.error(f"{keyword} is {value!r}, not a number")
            header[f"{kind}{axis_of[int(match[2])]}_{axis_of[int(match[3])]}"] = value
    header.setdefault("CTYPE1", "RA---TAN")  # where a file does not say: the plane that most have
    header.setdefault("CTYPE2", "DEC--TAN")
    kind = str(header["CTYPE1"]).strip().upper()
    frame: BaseCoordinateFrame | None
    if kind.startswith("RA"):
        frame = celestial_frame(table, table.column_number("X"))
    elif kind.startswith("GLON"):
        frame = Galactic()
    elif kind.startswith("ELON"):
        frame = BarycentricMeanEcliptic()
    else:
        return None
    if frame is None:
        return None
    if like is not None and like.keywords == header and like.frame.is_equivalent_frame(frame):
        return like
    try:
        with quiet():
            wcs = _projection(header)
            scales = proj_plane_pixel_scales(wcs)
    except (ValueError, TypeError, ArithmeticError):  # wcslib's errors are ValueErrors
        return None
    if not ((scales > _PIXEL_RANGE[0]) & (scales < _PIXEL_RANGE[1])).all():
        return None
    return SkyCoordinates(wcs, frame, header)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


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
