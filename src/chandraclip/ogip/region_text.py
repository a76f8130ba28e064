"""Regions as text: CIAO's and ds9's files, and the expressions of data subspaces (DSVALn)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from astropy.coordinates import Angle, BaseCoordinateFrame

from chandraclip.errors import InputFileError
from chandraclip.ogip.regions import LAYOUTS, Mask, Region, Shape, allowed_counts, united
from chandraclip.ogip.sky import FRAMES, SkyCoordinates

SHAPE_NAMES = {
    "rotrectangle": "rectangle",
    "rhombus": "diamond",
    "rotdiamond": "diamond",
    "rotrhombus": "diamond",
    "fieldshape": "field",
}
_PIXELS = {"physical", "image"}
_OTHER_SYSTEMS = {"detector", "amplifier", "linear", *(f"wcs{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")}
# How SAS writes a shape: ((X,Y) IN circle(26188,22816,300)), joined by && and ||.
_SAS_SHAPE = re.compile(r"\(\s*\(?\s*X\s*,\s*Y\s*\)?\s*IN\s+(\w+\s*\([^()]*\))\s*\)", re.IGNORECASE)
_NO_AREA = {"point", "line", "vector", "projection", "segment", "text", "ruler", "compass", "composite"}
_DRAWN = re.compile(r"\s*(vector|projection|segment|text|ruler|compass)\s*\(", re.IGNORECASE)
_PANDAS = {"panda": "pie", "epanda": "epanda", "bpanda": "bpanda"}
# A value in braces or quotes after an equals sign: text={a;b}, font="helvetica 10".
_QUOTED = re.compile(r"=\s*(\{[^}]*\}|\"[^\"]*\"|'[^']*')")
_SHAPE = re.compile(
    r"(?P<operator>[-+*&|!\s]*)((?P<name>[a-z]\w*)\s*\((?P<body>[^()]*)\)|(?P<mask>mask\d*)(?![\w(]))", re.IGNORECASE
)
_BARE_SHAPE = re.compile(r"(?P<operator>[-+!]?)\s*(?P<name>[a-z]\w*)\s+(?P<body>[-+.\d][^()]*)", re.IGNORECASE)
_UNIT = re.compile(r"(?P<number>[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?)(?P<unit>[\"'drpi]?)", re.IGNORECASE)
_SEXAGESIMAL = re.compile(r"[-+]?\d+(:\d+){1,2}(\.\d*)?|[-+]?\d+[hd]\d+m(\d+\.?\d*s)?", re.IGNORECASE)
_DEGREES = {"": 1.0, "d": 1.0, "'": 1 / 60, '"': 1 / 3600, "r": math.degrees(1.0)}


def parse_region(
    path: Path, text: str, sky: SkyCoordinates | None = None, masks: Mapping[str, Mask] | None = None
) -> Region:
    """A region from text.

    Lines add shapes; within a line CIAO's operators: ``+`` or ``|`` adds, ``-`` or ``&!`` takes away, ``*`` or ``&``
    intersects. A line that begins with ``-`` or ``!`` takes away from the whole, wherever it stands. ds9's properties
    after ``#`` are passed over, but for ``background`` or ``source=0``, which mark a shape that is not the source's,
    and ``include=0``, which takes it away. SAS's ``((X,Y) IN circle(...))`` is read as its shapes are. Shapes without
    an area (points, lines, texts) are left out, and named in `notes`.

    Args:
        path: for messages.
        sky: the event list's coordinates, needed for right ascension and declination and for sizes in arcsec.
        masks: what ``MASK``, ``MASK2``, ... stand for in the data subspace of a file that holds them.

    Raises:
        InputFileError: shapes or coordinates that are not known, or no shape; it names the line.
    """
    system = "physical"
    components: list[tuple[Shape | Mask, ...]] = []
    excluded: list[Shape | Mask] = []
    background: list[tuple[Shape | Mask, ...]] = []
    notes: list[str] = []
    left_out: list[str] = []
    for number, statement, properties in _statements(text):
        word = statement.lower().rstrip()
        if word in FRAMES or word in _PIXELS or word == "wcs":
            system = word
            if word == "image":
                notes.append("image coordinates were taken as sky pixels")
            continue
        if word in _OTHER_SYSTEMS:
            raise InputFileError(path, f"coordinates {word!r} are not supported", f"line {number}")
        try:
            added, taken, ignored = _line(statement, system, sky, masks or {})
        except ValueError as error:
            raise InputFileError(path, f"{error}: {statement}", f"line {number}") from None
        left_out += ignored
        if re.search(r"(?<![\w=])background(?![\w=])|(?<!\w)source\s*=\s*0", properties):
            background += added
            continue
        if re.search(r"(?<!\w)include\s*=\s*0", properties):
            excluded += [replace(shape, include=False) for shapes in added for shape in shapes]
            continue
        components += added
        excluded += taken
    if left_out:
        notes.append(f"left out, since it has no area: {', '.join(dict.fromkeys(left_out))}")
    if background and components:
        notes.append(f"{len(background)} shape(s) marked as background left out")
    components = components or background
    if not components and not excluded:
        why = f" with an area ({', '.join(dict.fromkeys(left_out))})" if left_out else ""
        raise InputFileError(path, f"the region has no shapes{why}")
    if not components:
        return Region(united(excluded).components, source=str(path), notes=tuple(notes))
    return Region(tuple((*shapes, *excluded) for shapes in components), source=str(path), notes=tuple(notes))


def _statements(text: str) -> Iterator[tuple[int, str, str]]:
    """(line number, statement, its properties): no comments or global properties, ``;`` taken as a line's end."""
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        rest = _QUOTED.sub(lambda match: "=" + "_" * (len(match[0]) - 1), line)
        while rest:
            end = min((place for place in (rest.find(";"), rest.find("#")) if place >= 0), default=len(rest))
            statement, properties, mark = rest[:end].strip(), "", rest[end : end + 1]
            rest = rest[end + 1 :]
            if mark == "#":
                properties, rest = _properties(rest)
            if not statement and (drawn := _DRAWN.match(properties)):
                statement = f"{drawn[1]}()"  # ds9 writes what has no area as a comment
            statement = re.sub(r"\|\|\s*$", "", statement).strip()  # ds9: a part of a composite region
            if statement and not statement.lower().startswith("global"):
                yield number, statement, properties


def _properties(rest: str) -> tuple[str, str]:
    """What follows a ``#``, up to a ``;`` with a new statement behind it; and that statement."""
    for match in re.finditer(";", rest):
        after = rest[match.end() :].strip()
        word = re.split(r"[;#]", after)[0].strip().lower()
        if word in FRAMES or word in _PIXELS | _OTHER_SYSTEMS | {"wcs"} or _SHAPE.match(after):
            return rest[: match.start()], rest[match.end() :]
    return rest, ""


def _line(
    statement: str, system: str, sky: SkyCoordinates | None, masks: Mapping[str, Mask]
) -> tuple[list[tuple[Shape | Mask, ...]], list[Shape | Mask], list[str]]:
    """Components of a line, shapes that it takes from the whole, and names of what has no area."""
    added: list[tuple[Shape | Mask, ...]] = []
    taken: list[Shape | Mask] = []
    ignored: list[str] = []
    statement = _SAS_SHAPE.sub(r"\1", statement).replace("&&", "&")
    position = 0
    matches = list(_SHAPE.finditer(statement)) or [m for m in [_BARE_SHAPE.fullmatch(statement)] if m]
    for match in matches:
        if statement[position : match.start()].strip():
            break
        position = match.end()
        groups = match.groupdict()
        name = (groups["name"] or groups["mask"] or "").lower()
        if name in _NO_AREA:
            ignored.append(name)
            continue
        operator = "".join(match["operator"].split())
        include = "-" not in operator and "!" not in operator
        shape: Shape | Mask
        if groups.get("mask"):
            if name not in masks:
                raise ValueError(f"no pixel mask {name!r}")
            shape = replace(masks[name], include=include)
        else:
            shape = _shape(name, match["body"], system, sky, include)
        if not added and not include:
            taken.append(shape)
        elif added and (not include or operator in ("*", "&")):
            added[-1] = (*added[-1], shape)
        elif taken and operator in ("*", "&"):  # !A&B|C: A is taken from B alone
            added.append((*taken, shape))
            taken.clear()
        else:
            added.append((shape,))
    rest = statement[position:].strip()
    if rest:
        raise ValueError(f"not understood: {rest!r}")
    return added, taken, ignored


def _shape(name: str, body: str, system: str, sky: SkyCoordinates | None, include: bool) -> Shape:
    word = SHAPE_NAMES.get(name, name)
    parts = [part for part in re.split(r"[,\s]+", body.strip()) if part and "=" not in part]
    if word in _PANDAS:
        word, parts = _PANDAS[word], _panda(word, parts)
    elif word == "pie" and len(parts) == 4:
        word = "sector"
    elif word in ("annulus", "ellipse", "box", "rotbox"):
        word, parts = _annuli(word, parts)
    if word != "polygon" and word not in LAYOUTS:
        raise ValueError(f"unknown shape {name!r}")
    kinds = "xy" * (len(parts) // 2) if word == "polygon" else _kinds(word, len(parts))
    positions = [part for kind, part in zip(kinds, parts) if kind in "xy"]
    frame = _frame(system, positions, sky)
    if frame is None:
        scale = None if sky is None else sky.degrees_per_pixel
        numbers = [_angle(part) if kind == "a" else _pixels(part, kind, scale) for kind, part in zip(kinds, parts)]
        return Shape(word, tuple(numbers), include)
    if sky is None:
        raise ValueError("right ascension and declination need an event list with sky coordinates")
    hours = "hourangle" if system not in ("galactic", "ecliptic") else "deg"
    numbers = []
    for kind, part in zip(kinds, parts):
        if kind == "a":
            numbers.append(_angle(part))
        elif kind == "r":
            numbers.append(_size(part, sky.degrees_per_pixel))
        else:
            numbers.append(_position(part, hours if kind == "x" else "deg"))
    scale = 1 / sky.degrees_per_pixel
    axis, mirrored = sky.axis(frame)

    def place(longitude: float, latitude: float) -> tuple[float, float]:
        x, y = sky.to_pixels(longitude, latitude, frame)
        return float(x), float(y)

    return Shape(word, tuple(numbers), include).mapped(place, scale, axis, mirrored)


def _kinds(word: str, count: int) -> str:
    counts = allowed_counts(word)
    if count not in counts:
        raise ValueError(f"{word} needs {' or '.join(map(str, counts))} numbers, and has {count}")
    return re.sub(r"[][]", "", LAYOUTS[word]).replace("P", "xy")[:count]


def _panda(word: str, parts: list[str]) -> list[str]:
    """ds9's x, y, angle1, angle2, how many, sizes..., how many, angle, in our order."""
    sizes = 2 if word == "panda" else 4
    if len(parts) not in (6 + sizes, 7 + sizes) or (word == "panda" and len(parts) != 8):
        raise ValueError(f"{word} needs {6 + sizes} numbers, and has {len(parts)}")
    return [*parts[:2], *parts[5 : 5 + sizes], *parts[2:4], *parts[6 + sizes :]]


def _annuli(word: str, parts: list[str]) -> tuple[str, list[str]]:
    """ds9's annuli of several rings: the innermost and the outermost size."""
    if word == "annulus":
        return word, [*parts[:3], parts[-1]] if len(parts) > 4 else parts
    if len(parts) < 6:
        return word, parts
    sizes = parts[2 : len(parts) - len(parts) % 2]
    angle = parts[2 + len(sizes) :]
    return ("elliptannulus" if word == "ellipse" else "boxannulus"), [*parts[:2], *sizes[:2], *sizes[-2:], *angle]


def _frame(system: str, positions: list[str], sky: SkyCoordinates | None) -> BaseCoordinateFrame | None:
    """The celestial frame of a shape's positions; None for sky pixels."""
    if positions and all(re.fullmatch(r".*\d[pi]", part, re.IGNORECASE) for part in positions):
        return None
    if system == "wcs":
        if sky is None:
            raise ValueError("right ascension and declination need an event list with sky coordinates")
        return sky.frame
    if system in FRAMES:
        return FRAMES[system]
    # CIAO: sexagesimal or with a unit of angle is right ascension and declination whatever was said before.
    return FRAMES["icrs"] if any(_is_celestial(part) for part in positions) else None


def _is_celestial(part: str) -> bool:
    return bool(_SEXAGESIMAL.fullmatch(part)) or part[-1:].lower() in ("d", "r")


def _number(part: str) -> tuple[float, str]:
    match = _UNIT.fullmatch(part)
    if match is None:
        raise ValueError(f"{part!r} is not a number")
    return float(match["number"]), match["unit"].lower()


def _pixels(part: str, kind: str, degrees_per_pixel: float | None) -> float:
    number, unit = _number(part)
    if unit in ("", "p", "i"):
        return number
    if kind != "r":
        raise ValueError(f"{part!r} is not a number of pixels")
    if degrees_per_pixel is None:
        raise ValueError(f"{part!r} is not a number of pixels, and there are no sky coordinates")
    return number * _DEGREES[unit] / degrees_per_pixel


def _size(part: str, degrees_per_pixel: float) -> float:
    """deg."""
    number, unit = _number(part)
    return number * degrees_per_pixel if unit in ("p", "i") else number * _DEGREES[unit]


def _angle(part: str) -> float:
    number, unit = _number(part)
    if unit not in ("", "d", "r"):
        raise ValueError(f"{part!r} is not an angle")
    return number * _DEGREES[unit]


def _position(part: str, unit: str) -> float:
    """deg, from degrees or sexagesimal, which counts in `unit`."""
    if _SEXAGESIMAL.fullmatch(part):
        try:
            return float(Angle(part, None if re.search("[hd]", part, re.IGNORECASE) else unit).deg)
        except ValueError as error:
            raise ValueError(f"{part!r} is not a position: {error}") from None
    number, suffix = _number(part)
    if suffix not in ("", "d", "r"):
        raise ValueError(f"{part!r} is not a position")
    return number * _DEGREES[suffix]
