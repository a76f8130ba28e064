"""Sky pixels to right ascension and declination: the tangent plane that X and Y of an event list carry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chandraclip.ogip.fits import FitsTable


@dataclass(frozen=True)
class SkyCoordinates:
    """A gnomonic (TAN) projection without rotation (Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3).

    Attributes:
        x_reference, y_reference: pixel of the tangent point (TCRPX).
        ra, dec: tangent point, deg (TCRVL).
        x_step, y_step: deg a pixel (TCDLT; X's is negative: east is left).
    """

    x_reference: float
    y_reference: float
    ra: float
    dec: float
    x_step: float
    y_step: float

    @property
    def degrees_per_pixel(self) -> float:
        return abs(self.y_step)

    def to_celestial(self, x: np.ndarray | float, y: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """(ra, dec) deg of sky pixels."""
        xi = np.radians((np.asarray(x, np.float64) - self.x_reference) * self.x_step)
        eta = np.radians((np.asarray(y, np.float64) - self.y_reference) * self.y_step)
        dec0 = np.radians(self.dec)
        denominator = np.cos(dec0) - eta * np.sin(dec0)
        ra = np.degrees(np.arctan2(xi, denominator)) + self.ra
        dec = np.degrees(np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, denominator)))
        return ra % 360.0, dec

    def to_pixels(self, ra: np.ndarray | float, dec: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """(x, y) sky pixels of ra, dec in deg."""
        delta = np.radians(np.asarray(ra, np.float64) - self.ra)
        dec_rad, dec0 = np.radians(np.asarray(dec, np.float64)), np.radians(self.dec)
        cosine = np.sin(dec_rad) * np.sin(dec0) + np.cos(dec_rad) * np.cos(dec0) * np.cos(delta)
        if np.any(cosine <= 0):
            raise ValueError("a position more than 90 degrees from the pointing")
        xi = np.cos(dec_rad) * np.sin(delta) / cosine
        eta = (np.sin(dec_rad) * np.cos(dec0) - np.cos(dec_rad) * np.sin(dec0) * np.cos(delta)) / cosine
        return self.x_reference + np.degrees(xi) / self.x_step, self.y_reference + np.degrees(eta) / self.y_step


def sky_coordinates(table: FitsTable) -> SkyCoordinates | None:
    """The projection in the keywords of columns X and Y; None where there is none."""
    if not table.has("X", "Y"):
        return None
    values = []
    for keyword in ("TCRPX", "TCRVL", "TCDLT"):
        for column in ("X", "Y"):
            value = table.column_key(keyword, column)
            if not isinstance(value, (int, float)):
                return None
            values.append(float(value))
    kind = str(table.column_key("TCTYP", "X") or "RA---TAN").upper()
    if not kind.startswith("RA") or values[4] == 0 or values[5] == 0:
        return None
    return SkyCoordinates(values[0], values[1], values[2], values[3], values[4], values[5])


def angular_distance(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    """Degrees between two positions in degrees (haversine, exact for small angles)."""
    ra1, dec1, ra2, dec2 = np.radians([ra1, dec1, ra2, dec2])
    half = np.sin((dec2 - dec1) / 2) ** 2 + np.cos(dec1) * np.cos(dec2) * np.sin((ra2 - ra1) / 2) ** 2
    return float(np.degrees(2 * np.arcsin(np.sqrt(half))))
