"""The aperture of a spectrum: what the data subspace of its header says of the photons that were counted.

CIAO and SAS write a filter as DSTYPn (what was filtered), DSVALn (the values: a range, a region, or TABLE with the
extension in DSREFn); 2DSVALn, 3DSVALn, ... are further components of the subspace, which add up (McDowell, ASC Data
Model, "Data subspace"; SAS, "Data subspace"). A region may be cut by a pixel mask, an image in the same file, as CSC
2.1 has it: ``MASK&Ellipse(...)`` (CIAO, "ahelp dmmasks"). With it an event list gives a CSC 2 spectrum, channel by
channel.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from astropy.io import fits

from chandraclip.errors import InputFileError
from chandraclip.ogip.fits import FitsFile, FitsTable, quiet, read_bytes
from chandraclip.ogip.pha import is_type_two, spectrum_tables
from chandraclip.ogip.region_table import read_region_table
from chandraclip.ogip.region_text import parse_region
from chandraclip.ogip.regions import Mask, Region, Shape
from chandraclip.ogip.sky import SkyCoordinates

_SKY_NAMES = {"sky", "pos", "position", "sky(x,y)", "pos(x,y)", "position(x,y)", "(x,y)", "x,y"}
_RANGE = re.compile(r"\(?\s*(?P<low>[-+.\deE]*)\s*:\s*(?P<high>[-+.\deE]*)\s*\)?")
_ROUNDING = 0.01  # pixels: bounds are written with six digits, and often are those of the region beside them
_PHYSICAL = ("CRVAL", "CRPIX", "CDELT")  # with P at the end: an image's sky pixels
_FAR = 1e9  # pixels: beyond any sky


def read_aperture(file: FitsFile, sky: SkyCoordinates | None = None) -> Region | None:
    """The aperture of a file's source spectrum; None where it has no spectrum, or none whose header tells it.

    Args:
        file: a PHA file; the background in the same file (CSC pha3) has another aperture, which is never taken.
        sky: the event list's coordinates, as in `read_region_table`.

    Raises:
        InputFileError: the header has an aperture that cannot be read; it names the keyword.
    """
    sources, _ = spectrum_tables(file)
    if not sources or is_type_two(sources[0]):
        return None
    return aperture_of(file, sources[0], sky)


def aperture_of(file: FitsFile, table: FitsTable, sky: SkyCoordinates | None = None) -> Region | None:
    """The aperture of one spectrum extension; None where its data subspace has no region of the sky.

    Returns:
        The union over the components of the data subspace. Filters that are no place on the sky (CCD, time, energy,
        grade) are not in it. Its `ra` and `dec` are those of the file's own region table, where there is one.

    Raises:
        InputFileError: as `read_aperture`.
    """
    filters = [(number, kind) for number, kind in _filters(table) if kind in _SKY_NAMES or kind in ("x", "y")]
    if not any(kind in _SKY_NAMES for _, kind in filters):
        return None  # bounds in x and y alone are the box around an aperture that is not told (CIAO dmextract)
    parts: list[tuple[tuple[Shape | Mask, ...], ...]] = []
    place: Region | None = None
    notes: tuple[str, ...] = ()
    for component in range(1, _num_components(table, filters) + 1):
        shapes: tuple[tuple[Shape | Mask, ...], ...] = ((),)
        for number, kind in filters:
            value = _value(table, "DSVAL", number, component)
            if value is None or not str(value).strip():
                if kind in _SKY_NAMES:
                    return None
                continue
            text = str(value).strip()
            if kind in ("x", "y"):
                boxes = _bounds(table, f"DSVAL{number}", text, kind)
                shapes = tuple((*one, box) for one in shapes for box in boxes)
                continue
            if _RANGE.fullmatch(text.split(",")[0]):
                return None  # seen where a tool has taken a region apart: a box at most
            region = _region(file, table, text, number, component, sky)
            place = place or region
            notes += tuple(note for note in region.notes if note not in notes)
            shapes = tuple((*one, *other) for one in shapes for other in region.components)
        if shapes not in parts:
            parts.append(shapes)
    components = tuple(dict.fromkeys(one for part in parts for one in part))
    if place is None or not components:
        return None
    source = f"the aperture of {file.path.name}[{table.label}]"
    return replace(place, components=components, source=source, notes=notes)


def _filters(table: FitsTable) -> Iterator[tuple[int, str]]:
    for keyword in table.header:
        match = re.fullmatch(r"DSTYP(\d+)", keyword)
        if match:
            yield int(match[1]), re.sub(r"\s", "", str(table.own_key(keyword) or "")).lower()


def _num_components(table: FitsTable, filters: list[tuple[int, str]]) -> int:
    wanted = {number for number, _ in filters}
    found = [re.fullmatch(r"(\d*)DS(?:VAL|REF)(\d+)", keyword) for keyword in table.header]
    return max((int(match[1] or 1) for match in found if match and int(match[2]) in wanted), default=1)


def _value(table: FitsTable, name: str, number: int, component: int) -> object:
    """nDSVALm; a component that does not repeat it has the first one's."""
    value = table.own_key(f"{component}{name}{number}") if component > 1 else None
    return value if value is not None else table.own_key(f"{name}{number}")


def _region(
    file: FitsFile, table: FitsTable, text: str, number: int, component: int, sky: SkyCoordinates | None
) -> Region:
    if text.upper() == "TABLE":
        reference = str(_value(table, "DSREF", number, component) or "").strip()
        name = reference.rpartition(":")[2].strip("[] ").upper()
        tables = list(file)
        place = tables.index(table)
        after = tables[place:] + tables[:place]  # of several of one name (source and background) the next
        found = [other for other in after if other.extname == name and other.has("SHAPE")]
        if not found:
            raise table.error(f"DSREF{number} names {reference!r}, and no such region table is in the file")
        return read_region_table(found[0], sky)
    masks = _masks(table) if re.search("mask", text, re.IGNORECASE) else {}
    try:
        return parse_region(file.path, _plain(text), sky, masks)
    except InputFileError as error:
        raise table.error(f"DSVAL{number} is not a region: {error.reason}") from None


def _masks(table: FitsTable) -> dict[str, Mask]:
    """The pixel masks of a file, by their block names (HDUNAME, or EXTNAME and EXTVER from 2 on), in lower case."""
    masks = {}
    try:
        with quiet(), fits.open(io.BytesIO(read_bytes(table.path)), memmap=False) as hdus:
            for hdu in hdus:
                if not isinstance(hdu, (fits.ImageHDU, fits.CompImageHDU)) or hdu.header.get("NAXIS") != 2:
                    continue
                version = hdu.header.get("EXTVER", 1)
                name = str(hdu.header.get("HDUNAME") or f"{hdu.name}{version if version != 1 else ''}").strip().lower()
                if not name.startswith("mask"):
                    continue
                image = np.asarray(hdu.data) != 0
                places = [[float(hdu.header[f"{key}{axis}P"]) for key in _PHYSICAL] for axis in (1, 2)]
                if not all(step > 0 for _, _, step in places):
                    raise table.error(f"{name}: CDELT1P and CDELT2P must be positive")
                corner = tuple(value - (pixel - 0.5) * step for value, pixel, step in places)
                masks[name] = Mask(image, (corner[0], corner[1]), (places[0][2], places[1][2]))
    except InputFileError:
        raise
    except (KeyError, ValueError, TypeError, OSError, IndexError, fits.VerifyError) as error:
        raise table.error(f"the pixel mask of its data subspace cannot be read: {error}") from error
    return masks


def _plain(text: str) -> str:
    """Without the ``region(...)`` that some tools put around an expression."""
    match = re.fullmatch(r"region\((.*)\)", text, re.IGNORECASE | re.DOTALL)
    return match[1] if match else text


def _bounds(table: FitsTable, keyword: str, text: str, axis: str) -> list[Shape]:
    """Strips of the sky, one a range of x or y."""
    strips = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        try:
            low, high = (float(match["low"] or -_FAR), float(match["high"] or _FAR)) if match else (math.nan, math.nan)
        except ValueError:
            low = high = math.nan
        if not (math.isfinite(low) and math.isfinite(high)):
            raise table.error(f"{keyword} is not a range: {text!r}")
        low, high = low - _ROUNDING, high + _ROUNDING
        numbers = (low, -_FAR, high, _FAR) if axis == "x" else (-_FAR, low, _FAR, high)
        strips.append(Shape("rectangle", numbers))
    return strips
