"""Reading regions: FITS tables (CSC reg3, CIAO, XMM), the aperture of a spectrum, and text (CIAO, ds9)."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from chandraclip.errors import InputFileError
from chandraclip.ogip.aperture import read_aperture
from chandraclip.ogip.csc import spectrum_beside
from chandraclip.ogip.fits import FitsFile, read_bytes
from chandraclip.ogip.region_table import read_region_table
from chandraclip.ogip.region_text import parse_region
from chandraclip.ogip.regions import Region
from chandraclip.ogip.sky import SkyCoordinates

logger = logging.getLogger(__name__)

SOURCE_EXTENSION, BACKGROUND_EXTENSION = "SRCREG", "BKGREG"  # of a CSC 1 reg3 file
# Of a CSC 2 reg3: the 90 % PSF ellipses of the bands, none of which is the aperture; the broad band's comes nearest.
BAND_EXTENSIONS = ("ECF90REGB", "ECF90REGW", "ECF90REGM", "ECF90REGS", "ECF90REGH", "ECF90REGU")


def read_region(region: str | Path, extension: str | None = None, sky: SkyCoordinates | None = None) -> Region:
    """A region from a file, or from text such as ``"circle(4096.5,4100,20)-circle(4100,4100,3)"``.

    Args:
        region: FITS region table, a spectrum whose header tells its aperture (see `aperture`), or text file; a str with
            parentheses that is no file is taken as text itself.
        extension: of a FITS file. Default: SRCREG (CSC 1). A CSC 2 reg3 has none, but the 90 % PSF ellipses of the
            bands: there the aperture of the pha3 beside it, which has the neighbours cut out, else ECF90REGB, with a
            warning in the log and in `notes`. Else the first region table that is no background's.
        sky: the event list's coordinates, needed where the region is given in right ascension and declination. A
            table with another projection than this is transformed to it.

    Raises:
        InputFileError: missing, unknown shapes or coordinates, or sky coordinates and no `sky`.
    """
    result = load_region(region, extension, sky)
    for note in result.notes:
        logger.warning("%s: %s", result.source, note)
    return result


def load_region(
    region: str | Path, extension: str | None = None, sky: SkyCoordinates | None = None, beside: bool = True
) -> Region:
    """`read_region` without a word on the log.

    Args:
        beside: whether the pha3 beside a CSC 2 reg3 is looked for.
    """
    if isinstance(region, str) and "(" in region and not _is_file(region):
        return parse_region(Path("region text"), region, sky)
    path = Path(region)
    content = read_bytes(path)
    if content.startswith(b"SIMPLE"):
        return _read_file(FitsFile(path), extension, sky, beside)
    if b"\0" in content:
        raise InputFileError(path, "neither a FITS file nor text")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # an old comment
    return parse_region(path, text, sky)


def _is_file(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # longer than a name may be
        return False


def _read_file(file: FitsFile, extension: str | None, sky: SkyCoordinates | None, beside: bool) -> Region:
    tables = [table for table in file if table.has("SHAPE")]
    named = {table.extname: table for table in reversed(tables)}
    name = SOURCE_EXTENSION if extension is None else extension.upper()
    if name in named:
        return read_region_table(named[name], sky)
    if extension is not None:
        raise file.error(f"no region table {extension} (a column SHAPE); extensions: {file.describe()}")
    aperture = read_aperture(file, sky)
    if aperture is not None:
        return aperture
    tables = [table for table in tables if table.extname != BACKGROUND_EXTENSION]
    if not tables:
        raise file.error(f"no region table of a source (a column SHAPE); extensions: {file.describe()}")
    bands = [band for band in BAND_EXTENSIONS if band in named]
    region = read_region_table(named[bands[0]] if bands else tables[0], sky)
    if not bands:
        others = ", ".join(table.label for table in tables[1:])
        note = f"{tables[0].label} was taken; the file also has the regions {others}"
        return replace(region, notes=(*region.notes, note)) if others else region
    why = "the spectrum's aperture is not known"
    spectrum = spectrum_beside(file.path) if beside else None
    if spectrum is not None:
        try:
            aperture = read_aperture(FitsFile(spectrum), sky)
        except InputFileError as error:
            why = f"the aperture of {spectrum.name} cannot be used ({error.reason})"
        if aperture is not None:
            return replace(aperture, ra=region.ra, dec=region.dec)  # DSVALn has six digits, the table has all
    note = f"no {SOURCE_EXTENSION} in it (a CSC 2 reg3), and {why}: {bands[0]}, the 90 % PSF ellipse, was taken"
    return replace(region, notes=(*region.notes, note))
