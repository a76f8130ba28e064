"""`to_ogip`: a detection as the standard files that other programs read."""

from __future__ import annotations

import gzip
import io
import logging
import re
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from astropy.io import fits

from chandraclip.errors import InputFileError
from chandraclip.files import atomic_path
from chandraclip.ogip.events import EventList
from chandraclip.ogip.fits import FitsFile
from chandraclip.ogip.regions import Region, Shape
from chandraclip.ogip.spectrum import Spectrum
from chandraclip.ogip.written_tables import (
    CREATOR,
    area_table,
    event_tables,
    groups_in_file_order,
    in_file_order,
    matrix_tables,
    region_table,
    spectrum_table,
)

logger = logging.getLogger(__name__)

SUFFIXES = {
    "spectrum": "_pha.fits",
    "background": "_bkg.fits",
    "arf": "_arf.fits",
    "rmf": "_rmf.fits",
    "events": "_evt.fits",
    "region": "_reg.fits",
}
_NAME = re.compile(rf"(.+)({'|'.join(map(re.escape, SUFFIXES.values()))})(\.gz)?")
_BACKGROUND_BACKSCALS = np.arange(1.0, 64.0, 2.0)
_ULPS = np.concatenate([[0], np.repeat(np.arange(1, 9), 2) * np.tile([1, -1], 8)])


def to_ogip(
    folder: str | Path,
    spectrum: Spectrum | None = None,
    events: EventList | None = None,
    region: Region | None = None,
    *,
    name: str | None = None,
    compress: bool = False,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Write a detection as OGIP files: what is written reads back equal, bit for bit.

    Times alone may not: they are written in mission elapsed time, as all missions do, which float64 resolves to 0.1 us.
    Those read from a file are of that kind.

    ``NAME_pha.fits`` (type I, OGIP/92-007, with AREASCAL, BACKSCAL, QUALITY and GROUPING), ``NAME_bkg.fits``,
    ``NAME_arf.fits`` and ``NAME_rmf.fits`` (CAL/GEN/92-002), ``NAME_evt.fits`` (photons and good times, OGIP 93-003)
    and ``NAME_reg.fits`` (ASC-FITS-REGION), those of which there is something to write, each extension with DATASUM
    and CHECKSUM. The spectrum names its companions. All are written before the first takes its place, and equal input
    gives equal bytes.

    The background's exposure and area are not known to a `Spectrum`, only the scale they give: its file has the
    source's EXPOSURE, AREASCAL 1 and a BACKSCAL of 1, or a small odd number where rounding needs it.

    Args:
        folder: made if need be.
        spectrum, events: at least one.
        region: in sky pixels; default the one that cut the events.
        name: how the files' names begin; default the spectrum's or the event list's own, up to the first dot.
        compress: gzip them (``.gz``).
        overwrite: replace files that are there.

    Returns:
        ``"spectrum"``, ``"background"``, ``"arf"``, ``"rmf"``, ``"events"``, ``"region"`` -> the file written.

    Raises:
        FileExistsError: a file is there, and `overwrite` was not given; nothing is written then.
        ValueError: neither a spectrum nor events; a region that is given and has a mask of pixels, or photons without
            sky pixels; a name with a folder.
    """
    first = spectrum if spectrum is not None else events
    if first is None:
        raise ValueError("nothing to write: neither a spectrum nor events")
    if region is None and events is not None and events.region is not None:
        region = events.region if _is_of_shapes(events.region) else None
        if region is None:
            logger.warning("%s: a region with a mask of pixels is no table of shapes, and is not written", events.path)
    elif region is not None and not _is_of_shapes(region):
        raise ValueError("a region with a mask of pixels cannot be written: it is no table of shapes")
    if region is not None and events is not None and (events.x is None or events.y is None):
        raise ValueError("a region in sky pixels cannot be written beside photons that have none (events.x, events.y)")
    name = first.path.name.split(".")[0] if name is None else name
    if not name or Path(name).name != name:
        raise ValueError(f"name begins the files' names, and cannot be {name!r}")
    ending = ".gz" if compress else ""
    places = {kind: Path(folder) / f"{name}{suffix}{ending}" for kind, suffix in SUFFIXES.items()}
    tables: dict[str, list[fits.BinTableHDU]] = {}
    if spectrum is not None:
        tables |= _spectrum_files(spectrum, {kind: path.name for kind, path in places.items()})
    if events is not None:
        tables["events"] = event_tables(events)
    if region is not None:
        tables["region"] = [region_table(region, None if events is None else events.sky, first.header)]
    written = {kind: places[kind] for kind in places if kind in tables}
    there = [path for path in written.values() if path.exists()]
    if there and not overwrite:
        raise FileExistsError(f"{there[0]} is there already; overwrite=True replaces it")
    with ExitStack() as stack:
        for kind, path in written.items():
            stack.enter_context(atomic_path(path)).write_bytes(_bytes(tables[kind], compress))
    return written


def written_beside(path: Path) -> dict[str, Path]:
    """What one call of `to_ogip` wrote, by kind, from any of its files; empty for a file that it did not write."""
    match = _NAME.fullmatch(path.name)
    if match is None or not _is_ours(path):
        return {}
    places = {kind: path.with_name(f"{match[1]}{suffix}{match[3] or ''}") for kind, suffix in SUFFIXES.items()}
    return {kind: place for kind, place in places.items() if place == path or _is_ours(place)}


def _is_of_shapes(region: Region) -> bool:
    return all(isinstance(shape, Shape) for part in region.components for shape in part)


def _is_ours(path: Path) -> bool:
    try:
        return path.is_file() and any(table.own_key("CREATOR") == CREATOR for table in FitsFile(path))
    except InputFileError:  # whoever reads it says so
        return False


def _bytes(tables: list[fits.BinTableHDU], compress: bool) -> bytes:
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(stream)
    result = io.BytesIO()
    with fits.open(io.BytesIO(stream.getvalue())) as hdus:  # headers are final once they are written
        for hdu in hdus:
            hdu.add_checksum(when="of this extension")  # astropy would tell the time: equal input has equal bytes
        hdus.writeto(result)
    content = result.getvalue()
    return gzip.compress(content, mtime=0) if compress else content


def _spectrum_files(spectrum: Spectrum, names: dict[str, str]) -> dict[str, list[fits.BinTableHDU]]:
    tables: dict[str, list[fits.BinTableHDU]] = {}
    channel, turn = in_file_order(spectrum.channel)

    companions: dict[str, str] = {}
    if spectrum.response is not None:
        companions |= {"ANCRFILE": names["arf"], "RESPFILE": names["rmf"]}
        tables["arf"] = [area_table(spectrum.response, spectrum.header)]
        tables["rmf"] = matrix_tables(spectrum.response, spectrum.header, turn.step is not None)
    area_scale = spectrum.area_scale[turn] if isinstance(spectrum.area_scale, np.ndarray) else spectrum.area_scale
    backscal: float | np.ndarray = 1.0
    if spectrum.background_counts is not None:
        companions["BACKFILE"] = names["background"]
        scale = spectrum.background_scale
        scale = scale[turn] if isinstance(scale, np.ndarray) else scale
        backscal, background_backscal = backscals(scale, area_scale, spectrum.exposure)
        tables["background"] = [
            spectrum_table(
                spectrum.background_counts[turn],
                channel,
                spectrum.header,
                exposure=spectrum.exposure,
                backscal=background_backscal,
                is_background=True,
                companions={kind: name for kind, name in companions.items() if kind != "BACKFILE"},
            )
        ]
    tables["spectrum"] = [
        spectrum_table(
            spectrum.counts[turn],
            channel,
            spectrum.header,
            exposure=spectrum.exposure,
            backscal=backscal,
            areascal=area_scale,
            grouping=groups_in_file_order(spectrum.grouping, turn),
            quality=None if spectrum.quality is None else spectrum.quality[turn],
            companions=companions,
        )
    ]
    return tables


def backscals(
    scale: float | np.ndarray, area_scale: float | np.ndarray, exposure: float
) -> tuple[float | np.ndarray, float | np.ndarray]:
    """BACKSCAL of the source and of the background that give their scale to the last bit.

    A reader multiplies and divides by AREASCAL and the exposure, and each rounds. Of the background's BACKSCAL 1, 3, 5
    ... and numbers next to the source's, the first are taken that come out right.
    """
    scale, area = np.broadcast_arrays(np.asarray(scale, np.float64), np.asarray(area_scale, np.float64))
    background = _BACKGROUND_BACKSCALS.reshape(-1, 1, *[1] * scale.ndim)
    nearest = np.divide(scale, area, out=np.zeros(scale.shape), where=area > 0) * background
    source = nearest + _ULPS.reshape(-1, *[1] * scale.ndim) * np.spacing(nearest)
    source, background = (values.reshape(-1, *scale.shape) for values in np.broadcast_arrays(source, background))
    right = source * area * exposure / (background * exposure) == scale
    first = right.argmax(axis=0)[None]

    def chosen(values: np.ndarray) -> float | np.ndarray:
        found = np.take_along_axis(values, first, axis=0)[0]
        return float(found.flat[0]) if np.ptp(found) == 0 else found

    return chosen(source), chosen(background)
