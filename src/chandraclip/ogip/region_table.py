"""Regions as FITS tables (ASC-FITS-REGION-1.2): CSC reg3, CIAO, XMM."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from astropy.coordinates import BaseCoordinateFrame

from chandraclip.errors import InputFileError
from chandraclip.ogip.fits import FitsTable
from chandraclip.ogip.region_text import SHAPE_NAMES
from chandraclip.ogip.regions import LAYOUTS, Region, Shape, united
from chandraclip.ogip.sky import SkyCoordinates, celestial_frame, sky_coordinates

_PIXEL_UNITS = {"", "pixel", "pixels", "pix"}
_DEGREES = {"deg": 1.0, "degree": 1.0, "degrees": 1.0, "arcmin": 1 / 60, "arcsec": 1 / 3600, "rad": 180 / np.pi}
_SAME_PIXEL = 0.01  # how far two projections may disagree on a position and be one


def read_region_table(table: FitsTable, sky: SkyCoordinates | None = None) -> Region:
    """A region from a table of shapes (ASC-FITS-REGION-1.2): rows of one COMPONENT intersect, components add up.

    Args:
        sky: the event list's coordinates: needed for right ascension and declination; a table with another projection
            is transformed to it.

    Raises:
        InputFileError: columns are missing, a row is not a shape, or its coordinates are none of the sky that can be
            used.
    """
    table.require("SHAPE")
    celestial = table.has("RA", "DEC") and not table.has("X", "Y")
    columns = ("RA", "DEC") if celestial else ("X", "Y")
    table.require(*columns)
    _check_system(table, columns)
    names = [_text(value) for value in table.column("SHAPE")]
    if not any(names):
        raise table.error("the region has no shapes")
    cells = {name: _cells(table, name) for name in (*columns, "R", "ROTANG") if table.has(name)}
    component = table.column("COMPONENT") if table.has("COMPONENT") else np.arange(1, table.num_rows + 1)
    transform = _Transform(table, columns, sky)
    groups: dict[int, list[Shape]] = {}
    num_points = 0
    for row, name in enumerate(names):  # over shapes: a handful
        if not name:
            continue  # padding
        num_points += name.lstrip("!+ ").lower() == "point"
        try:
            x, y = (cells[column][row] for column in columns)
            radii, angles = (cells[column][row] if column in cells else np.zeros(0) for column in ("R", "ROTANG"))
            shape = transform(_table_shape(name, x, y, radii, angles, table.unit("ROTANG") if angles.size else ""))
        except ValueError as error:
            if isinstance(error, InputFileError):
                raise
            raise InputFileError(table.path, f"row {row + 1}: {error}", table.label) from None
        groups.setdefault(int(np.ravel(component[row])[0]), []).append(shape)
    if all(shape.name == "point" for shapes in groups.values() for shape in shapes):
        raise table.error("the region has no shapes with an area (point)")
    # A component of excluded shapes alone would be the whole sky but them: it is meant to be taken from the others.
    lone = [shape for shapes in groups.values() if not any(one.include for one in shapes) for shape in shapes]
    parts = [shapes for shapes in groups.values() if any(one.include for one in shapes)]
    source = f"{table.path.name}[{table.label}]"
    region = Region(tuple((*shapes, *lone) for shapes in parts), source=source) if parts else united(lone, source)
    if num_points:
        region = replace(region, notes=(f"{num_points} point(s) in it hold nothing, since they have no area",))
    used = transform.pixels
    if used is None or region.centre is None:
        return region
    ra, dec = used.to_celestial(*region.centre)
    return replace(region, ra=float(ra), dec=float(dec))


def _text(value: object) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return text.replace("\0", " ").strip()


def _check_system(table: FitsTable, columns: tuple[str, str]) -> None:
    """Refuses detector and chip coordinates: MTYPEn names the system of the columns that MFORMn lists."""
    for number in range(1, 20):
        form = str(table.own_key(f"MFORM{number}") or "").upper().replace(" ", "")
        kind = str(table.own_key(f"MTYPE{number}") or "").strip()
        if form == ",".join(columns) and re.search("det|chip|raw|ccd", kind, re.IGNORECASE):
            raise table.error(f"regions in {kind} coordinates (MTYPE{number}) are not supported")


def _cells(table: FitsTable, name: str) -> list[np.ndarray]:
    lengths, values = table.ragged(name)
    try:
        return np.split(np.asarray(values, np.float64), np.cumsum(lengths)[:-1])
    except (ValueError, TypeError):
        raise table.error(f"column {name} is not numbers") from None


class _Transform:
    """Shapes in a table's units and projection to sky pixels of the event list (of the table, where no list is given).

    Attributes:
        pixels: the projection of the pixels that come out, or None.
    """

    def __init__(self, table: FitsTable, columns: tuple[str, str], sky: SkyCoordinates | None):
        unit, size_unit = table.unit(columns[0]).lower(), table.unit("R").lower() if table.has("R") else ""
        celestial = columns == ("RA", "DEC") or unit in _DEGREES
        if not celestial and unit not in _PIXEL_UNITS:
            raise table.error(f"column {columns[0]} is in {unit!r}; pixel or deg is needed")
        if size_unit not in _PIXEL_UNITS and size_unit not in _DEGREES:
            raise table.error(f"column R is in {size_unit!r}; pixel, deg, arcmin or arcsec is needed")
        own = None if celestial else sky_coordinates(table, like=sky)
        self.pixels = sky or own
        self._own = own
        self._frame: BaseCoordinateFrame | None = None
        size_degrees = _DEGREES.get(size_unit)
        if celestial:
            self._frame = celestial_frame(table)
            if sky is None:
                raise table.error("right ascension and declination need an event list with sky coordinates")
            if self._frame is None:
                raise table.error("the system of its right ascension and declination is not known")
            self._degrees = _DEGREES.get(unit, 1.0)
            scale = self._degrees if size_degrees is None else size_degrees
            self._scale = scale / sky.degrees_per_pixel
            if size_unit in ("pixel", "pixels", "pix"):
                self._scale = 1.0
        elif size_degrees is not None:
            if self.pixels is None:
                raise table.error(f"column R is in {size_unit}, and there are no sky coordinates")
            self._scale = size_degrees / (own or self.pixels).degrees_per_pixel
        else:
            self._scale = 1.0

    def __call__(self, shape: Shape) -> Shape:
        sky = self.pixels
        if self._frame is not None and sky is not None:
            frame, degrees = self._frame, self._degrees
            axis, mirrored = sky.axis(frame)

            def place(ra: float, dec: float) -> tuple[float, float]:
                x, y = sky.to_pixels(ra * degrees, dec * degrees, frame)
                return float(x), float(y)

            return shape.mapped(place, self._scale, axis, mirrored)
        if self._scale != 1.0:
            shape = shape.mapped(lambda x, y: (x, y), self._scale, 0.0)
        if sky is None or self._own is None or self._own is sky:
            return shape
        return _reprojected(shape, self._own, sky)


def _reprojected(shape: Shape, source: SkyCoordinates, target: SkyCoordinates) -> Shape:
    """A shape on another projection's pixels; the shape itself where both are one."""

    def place(x: float, y: float) -> tuple[float, float]:
        there = target.to_pixels(*source.to_celestial(x, y))
        return float(there[0]), float(there[1])

    scale = source.degrees_per_pixel / target.degrees_per_pixel
    points = [shape.numbers[i : i + 2] for i, kind in enumerate(shape.kinds) if kind == "x"]
    moved = max((np.hypot(*np.subtract(place(*point), point)) for point in points), default=0.0)
    (axis_here, mirrored_here), (axis, mirrored) = source.axis(), target.axis()
    turned = abs((axis - axis_here + 180) % 360 - 180)
    if moved < _SAME_PIXEL and abs(scale - 1) < 1e-5 and turned < 1e-3 and mirrored == mirrored_here:
        return shape
    other_hand = mirrored != mirrored_here
    direction = axis + axis_here if other_hand else axis - axis_here
    return shape.mapped(place, scale, direction, other_hand)


def _table_shape(
    name: str, x: np.ndarray, y: np.ndarray, radii: np.ndarray, angles: np.ndarray, angle_unit: str
) -> Shape:
    include = not name.startswith("!")
    word = name.lstrip("!+ ").lower()
    word = SHAPE_NAMES.get(word, word)
    if angle_unit.lower() in ("rad", "radian", "radians"):
        angles = np.degrees(angles)
    elif angle_unit.lower() not in ("", "deg", "degree", "degrees"):
        raise ValueError(f"ROTANG is in {angle_unit!r}; deg is needed")
    if word == "polygon":
        return Shape(word, _vertices(x, y), include)
    if word == "pie" and not np.any(radii[np.isfinite(radii)]):
        word = "sector"  # as older files have it
    elif word == "sector" and radii.size > 1 and radii[1] > 0:
        word = "pie"
    if word not in LAYOUTS:
        raise ValueError(f"unknown shape {word!r}")
    layout = LAYOUTS[word]
    positions, sizes, turns = layout.count("P"), layout.count("r"), layout.count("a")
    if min(x.size, y.size) < positions:
        raise ValueError(f"{word} needs {positions} positions in X and Y")
    if radii.size < sizes:
        raise ValueError(f"{word} needs {sizes} in R, and has {radii.size}")
    needed = turns - layout.count("[")
    if angles.size < needed:
        raise ValueError(f"{word} needs {needed} in ROTANG, and has {angles.size}")
    points = np.column_stack([x[:positions], y[:positions]]).ravel()
    given = angles[:turns]
    return Shape(word, tuple(map(float, (*points, *radii[:sizes], *given[np.isfinite(given)]))), include)


def _vertices(x: np.ndarray, y: np.ndarray) -> tuple[float, ...]:
    """A polygon's corners. What follows the last is padding: NaN, the first or the last again, or zeros."""
    size = min(x.size, y.size)
    points = np.column_stack([x[:size], y[:size]])
    bad = ~np.isfinite(points).all(axis=1)
    if bad.any():
        points = points[: int(np.argmax(bad))]
    if len(points) and points[0].any():
        while len(points) and not points[-1].any():
            points = points[:-1]
    closes = (points[3:] == points[:1]).all(axis=1)
    if closes.any():
        points = points[: 3 + int(np.argmax(closes))]
    points = points[np.append(True, (np.diff(points, axis=0) != 0).any(axis=1))] if len(points) else points
    return tuple(map(float, points.ravel()))
