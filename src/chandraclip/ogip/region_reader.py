"""Reading regions: FITS tables (CSC reg3, CIAO, XMM) and text (CIAO, ds9)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from astropy.coordinates import Angle

from chandraclip.errors import InputFileError
from chandraclip.ogip.fits import FitsFile, FitsTable, read_bytes
from chandraclip.ogip.regions import Region, Shape, united
from chandraclip.ogip.sky import SkyCoordinates, sky_coordinates

SOURCE_EXTENSION, BACKGROUND_EXTENSION = "SRCREG", "BKGREG"  # of a CSC reg3 file
_SHAPE_NAMES = {"pie": "sector", "fieldshape": "field", "rotrectangle": "rectangle"}
_CELESTIAL = {"fk5", "icrs", "j2000", "wcs"}
_PIXELS = {"physical", "image"}
_UNITS = "\"'d"  # arcsec, arcmin, degrees
_SHAPE_TEXT = re.compile(r"(?P<operator>[-+*&|!\s]*)(?P<name>[a-z]+)\s*\((?P<body>[^()]*)\)", re.IGNORECASE)


def read_region(region: str | Path, extension: str | None = None, sky: SkyCoordinates | None = None) -> Region:
    """A region from a file, or from text such as ``"circle(4096.5,4100,20)-circle(4100,4100,3)"``.

    Args:
        region: FITS region table or text file; a str with parentheses that is no file is taken as text itself.
        extension: of a FITS file; default SRCREG (CSC), else the first region table.
        sky: the event list's coordinates, needed where the region is given in right ascension and declination.

    Raises:
        InputFileError: missing, unknown shapes or coordinates, or sky coordinates and no `sky`.
    """
    if isinstance(region, str) and "(" in region and not Path(region).exists():
        return _parse_text(Path("region text"), region, sky)
    path = Path(region)
    content = read_bytes(path)
    if content.startswith(b"SIMPLE"):
        return _read_table(FitsFile(path), extension)
    try:
        return _parse_text(path, content.decode(), sky)
    except UnicodeDecodeError:
        raise InputFileError(path, "neither a FITS file nor text") from None


def _read_table(file: FitsFile, extension: str | None) -> Region:
    tables = [table for table in file if table.has("SHAPE")]
    if extension is not None:
        tables = [table for table in tables if table.extname == extension.upper()]
    tables.sort(key=lambda table: table.extname != SOURCE_EXTENSION)  # stable: the file's order otherwise
    if not tables:
        raise file.error(f"no region table {extension or ''}(a column SHAPE); extensions: {file.describe()}")
    table = tables[0]
    table.require("SHAPE", "X", "Y")
    if not table.num_rows:
        raise table.error("the region has no shapes")
    names = [str(value).strip() for value in table.column("SHAPE")]
    columns = {name: _cells(table, name) for name in ("X", "Y", "R", "ROTANG") if table.has(name)}
    component = table.column("COMPONENT") if table.has("COMPONENT") else np.arange(1, table.num_rows + 1)
    groups: dict[int, list[Shape]] = {}
    for row, name in enumerate(names):  # over shapes: a handful
        cells = {column: values[row] for column, values in columns.items()}
        try:
            shape = _table_shape(name, cells)
        except ValueError as error:
            raise InputFileError(file.path, f"row {row + 1}: {error}", table.label) from None
        groups.setdefault(int(component[row]), []).append(shape)
    # A component of excluded shapes alone would be the whole sky but them: it is meant to be taken from the others.
    lone = [shape for shapes in groups.values() if not any(one.include for one in shapes) for shape in shapes]
    parts = [shapes for shapes in groups.values() if any(one.include for one in shapes)]
    source = f"{file.path.name}[{table.label}]"
    region = Region(tuple((*shapes, *lone) for shapes in parts), source=source) if parts else united(lone, source)
    sky = sky_coordinates(table)
    if sky is None or region.centre is None:
        return region
    ra, dec = sky.to_celestial(*region.centre)
    return Region(region.components, float(ra), float(dec), region.source)


def _cells(table: FitsTable, name: str) -> list[np.ndarray]:
    lengths, values = table.ragged(name)
    return np.split(np.asarray(values, np.float64), np.cumsum(lengths)[:-1])


def _table_shape(name: str, cells: dict[str, np.ndarray]) -> Shape:
    include = not name.startswith("!")
    word = name.lstrip("!").lower()
    word = _SHAPE_NAMES.get(word, word)
    x, y = cells["X"], cells["Y"]
    radii = cells.get("R", np.zeros(0))
    angles = cells.get("ROTANG", np.zeros(0))
    if word == "polygon":
        # Vertices beyond the last are padding: NaN, or the first point again.
        good = np.isfinite(x) & np.isfinite(y)
        points = np.column_stack([x[good], y[good]])
        points = points[np.append(True, (np.diff(points, axis=0) != 0).any(axis=1))]
        return Shape(word, tuple(map(float, points.ravel())), include)
    if word == "field":
        return Shape(word, (), include)
    if word == "rectangle":
        numbers = [x[0], y[0], x[1], y[1], *angles[:1]]
    elif word == "sector":
        numbers = [x[0], y[0], *angles[:2]]
    else:
        count = {"circle": 1, "annulus": 2, "ellipse": 2, "box": 2, "rotbox": 2, "point": 0}.get(word)
        if count is None:
            raise ValueError(f"unknown shape {word!r}")
        if radii.size < count:
            raise ValueError(f"{word} needs {count} in R, and has {radii.size}")
        turn = (angles[0] if angles.size else 0.0,) if word in ("ellipse", "box", "rotbox") else ()
        numbers = [x[0], y[0], *radii[:count], *turn]
    return Shape(word, tuple(map(float, numbers)), include)


def _parse_text(path: Path, text: str, sky: SkyCoordinates | None) -> Region:
    """Lines add shapes; within a line CIAO's operators: ``+`` or ``|`` adds, ``-`` or ``&!`` takes away, ``*`` or ``&``
    intersects. A line that begins with ``-`` or ``!`` takes away from the whole."""
    system = "physical"
    components: list[tuple[Shape, ...]] = []
    excluded: list[Shape] = []
    for number, raw in enumerate(re.split(r"[\n;]", text), 1):
        line = raw.split("#")[0].strip()
        if not line or line.lower().startswith("global"):
            continue
        if line.lower() in _CELESTIAL | _PIXELS:
            system = line.lower()
            continue
        position = 0
        added: list[tuple[Shape, ...]] = []
        for match in _SHAPE_TEXT.finditer(line):
            if line[position : match.start()].strip():
                break
            operator = "".join(match["operator"].split())
            try:
                include = "-" not in operator and "!" not in operator
                shape = _text_shape(match["name"], match["body"], system, sky, include)
            except ValueError as error:
                raise InputFileError(path, f"{error}: {line}", f"line {number}") from None
            if not added and not shape.include:
                excluded.append(shape)
            elif operator in ("-", "&!", "*!", "*", "&"):
                added[-1] = (*added[-1], shape)
            else:
                added.append((shape,))
            position = match.end()
        if line[position:].strip():
            raise InputFileError(path, f"not understood: {line[position:].strip()!r}", f"line {number}")
        components += added
    if not components and not excluded:
        raise InputFileError(path, "the region has no shapes")
    if not components:
        return united(excluded, str(path))
    return Region(tuple((*shapes, *excluded) for shapes in components), source=str(path))


def _text_shape(name: str, body: str, system: str, sky: SkyCoordinates | None, include: bool) -> Shape:
    word = _SHAPE_NAMES.get(name.lower(), name.lower())
    parts = [part for part in re.split(r"[,\s]+", body.strip()) if part]
    celestial = system in _CELESTIAL or any(":" in part for part in parts)
    if not celestial:
        numbers = []
        for part in parts:
            match = re.fullmatch(r"([-+.\deE]+)([pi]?)", part)
            if match is None and sky is not None and part[-1] in _UNITS:  # a radius in arcsec
                numbers.append(_degrees(part) / sky.degrees_per_pixel)
                continue
            if match is None:
                raise ValueError(f"{part!r} is not a number of pixels")
            numbers.append(float(match[1]))
        return Shape(word, tuple(numbers), include)
    if sky is None:
        raise ValueError("right ascension and declination need an event list with sky coordinates")
    corners = len(parts) // 2 if word == "polygon" else 2 if word == "rectangle" else 1
    numbers = []
    for index in range(corners):
        ra, dec = parts[2 * index : 2 * index + 2]
        x, y = sky.to_pixels(_degrees(ra, "hourangle"), _degrees(dec))
        numbers += [float(x), float(y)]
    rest = parts[2 * corners :]
    sizes = {"circle": 1, "annulus": 2, "ellipse": 2, "box": 2, "rotbox": 2}.get(word, 0)
    numbers += [_degrees(part) / sky.degrees_per_pixel for part in rest[:sizes]]
    numbers += [float(part) for part in rest[sizes:]]
    return Shape(word, tuple(numbers), include)


def _degrees(part: str, unit: str = "deg") -> float:
    """From degrees, ``2.5"``, ``0.3'``, ``0.01d``, or ``10:40:58.7`` in `unit`."""
    try:
        return float(part)  # Angle does not read 1e-3
    except ValueError:
        return float(Angle(part, unit).deg)
