"""HEALPix pixel numbers in the nested scheme, for sorting by sky (Gorski et al. 2005, ApJ 622, 759)."""

from __future__ import annotations

import numpy as np

CATALOG_ORDER = 4  # the order of the column `healpix`: 3072 pixels of 13.4 square degrees


def healpix_nested(ra: np.ndarray, dec: np.ndarray, order: int = CATALOG_ORDER) -> np.ndarray:
    """Nested pixel of each position.

    Args:
        ra, dec: (...) degrees.
        order: 0 to 24; there are ``12 * 4**order`` pixels.

    Returns:
        (...) int64.

    Raises:
        ValueError: an order outside 0 to 24, a position that is not finite, or |dec| above 90.
    """
    if not 0 <= order <= 24:
        raise ValueError(f"order must be 0 to 24, not {order}")
    ra, dec = np.broadcast_arrays(np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64))
    if not np.isfinite(ra).all() or not (np.abs(dec) <= 90.0).all():  # NaN fails the second
        raise ValueError("positions must be finite, with |dec| <= 90 degrees")
    nside = 1 << order
    z = np.sin(np.radians(dec))
    quarter = (ra % 360.0) / 90.0  # in 0 to 4

    # Equatorial belt, |z| <= 2/3: lines of constant northward and southward diagonal index.
    ascending = np.floor(nside * (0.5 + quarter - 0.75 * z)).astype(np.int64)
    descending = np.floor(nside * (0.5 + quarter + 0.75 * z)).astype(np.int64)
    face_up, face_down = ascending >> order, descending >> order
    belt_face = np.where(
        face_up == face_down, (face_up & 3) + 4, np.where(face_up < face_down, face_up & 3, (face_down & 3) + 8)
    )
    belt_x = descending & (nside - 1)
    belt_y = nside - 1 - (ascending & (nside - 1))

    # Polar caps. 1 - |z| from the colatitude: no cancellation at the poles.
    face_quarter = np.minimum(quarter.astype(np.int64), 3)
    within = quarter - face_quarter
    radius = nside * np.sqrt(3.0) * np.sqrt(2.0) * np.sin(0.5 * np.radians(90.0 - np.abs(dec)))
    rise = np.minimum((within * radius).astype(np.int64), nside - 1)
    fall = np.minimum(((1.0 - within) * radius).astype(np.int64), nside - 1)
    north = dec >= 0.0
    cap_face = np.where(north, face_quarter, face_quarter + 8)
    cap_x = np.where(north, nside - 1 - fall, rise)
    cap_y = np.where(north, nside - 1 - rise, fall)

    in_belt = np.abs(z) <= 2.0 / 3.0
    face = np.where(in_belt, belt_face, cap_face)
    x, y = np.where(in_belt, belt_x, cap_x), np.where(in_belt, belt_y, cap_y)
    return (face << (2 * order)) + _spread_bits(x) + (_spread_bits(y) << 1)


def _spread_bits(value: np.ndarray) -> np.ndarray:
    """Put bit i of a number below 2**24 at bit 2 i."""
    value = value.astype(np.int64)
    for shift, mask in ((16, 0x0000FFFF0000FFFF), (8, 0x00FF00FF00FF00FF), (4, 0x0F0F0F0F0F0F0F0F)):
        value = (value | (value << shift)) & mask
    for shift, mask in ((2, 0x3333333333333333), (1, 0x5555555555555555)):
        value = (value | (value << shift)) & mask
    return value
