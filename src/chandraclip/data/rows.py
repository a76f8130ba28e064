"""One row of the dataset from a spectrum and an event list."""

from __future__ import annotations

import functools
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.coordinates import angular_separation

from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH, ACIS_NUM_CHANNELS
from chandraclip.catalog.measure import effective_areas
from chandraclip.catalog.photometry import CSC_PSF_SHARE
from chandraclip.data.names import healpix_cell, iau_name
from chandraclip.data.schema import TABLE_SCHEMA
from chandraclip.data.splits import split_of
from chandraclip.errors import InputFileError
from chandraclip.ogip.csc import csc_key
from chandraclip.ogip.events import EventList
from chandraclip.ogip.header import ObservationHeader
from chandraclip.ogip.spectrum import Spectrum

_EDGE_TOLERANCE = 1e-4  # keV; EBOUNDS are float32
NO_OBSID = -1


def detection_columns(
    spectrum: Spectrum | None = None,
    events: EventList | None = None,
    *,
    name: str | None = None,
    obsid: int | None = None,
    obi: int | None = None,
    region_id: int | None = None,
    position: tuple[float, float] | None = None,
    nh_gal: float | None = None,
) -> dict[str, Any]:
    """A row: schema column -> value, numpy arrays for list columns, None for what is not known.

    Args:
        spectrum, events: of one detection; at least one.
        name: of the source. Default: from the position (``CXO J...``), else OBJECT, else the file's name.
        obsid: default OBS_ID where it is one number, else -1 (merged observations, ids that are no int32).
        obi: default OBI_NUM, else 0.
        region_id: default a negative number made from the file's name, so that the key stays unique.
        position: ra, dec in deg, ICRS; default the centre of the region that cut the events.
        nh_gal: 1e20 cm-2, the Galactic column of the position, where it is known.

    Raises:
        InputFileError: the spectrum has neither a response nor ACIS's 1024 channels, so no energies; or AREASCAL
            differs between channels, for which the table has no column.
        ValueError: neither a spectrum nor events.
    """
    first = spectrum if spectrum is not None else events
    if first is None:
        raise ValueError("a detection needs a spectrum or events")
    path = first.path
    header = first.header if events is None else first.header.filled(events.header)
    position = position or _region_position(events)
    if name is None:
        name = iau_name(*position) if position else header.object_name or path.name
    if obsid is None:
        obsid = header.obsid_number if header.obsid_number is not None else NO_OBSID
    mjd_obs = header.mjd_obs if events is None or events.mjd_obs is None else events.mjd_obs
    row: dict[str, Any] = {
        "name": name,
        "obsid": obsid,
        "obi": obi if obi is not None else header.obi or 0,
        "region_id": region_id if region_id is not None else region_id_of(path.name),
        "split": split_of(name),
        "mjd_obs": mjd_obs,
        "livetime": first.exposure,
        "instrument": header.instrument or None,
    }
    if position is not None:
        row |= _position_columns(position, header)
    if spectrum is not None:
        row |= _spectrum_columns(spectrum)
    if events is not None:
        row |= {
            "event_time": events.time,
            "event_energy": events.energy,
            "gti_start": events.gti[:, 0],
            "gti_stop": events.gti[:, 1],
            "tstart": events.tstart,
            "events_note": "; ".join(events.aperture_notes) or None,
        }
    if nh_gal is not None:
        row["nh_gal"] = nh_gal
    _check_values(path, row)
    return row


def region_id_of(label: str) -> int:
    """A stable negative int32 for a file that has no CSC region number."""
    return -1 - (zlib.crc32(label.encode()) & 0x7FFFFFFF)


def _region_position(events: EventList | None) -> tuple[float, float] | None:
    """deg of the centre of the region that cut the events, where sky coordinates are known."""
    if events is None or events.region is None:
        return None
    region = events.region
    if region.ra is not None and region.dec is not None:
        return region.ra, region.dec
    if events.sky is None or region.centre is None:
        return None
    ra, dec = events.sky.to_celestial(*region.centre)
    return float(ra), float(dec)


def _position_columns(position: tuple[float, float], header: ObservationHeader) -> dict[str, Any]:
    ra, dec = position
    theta = None
    if header.ra_pointing is not None and header.dec_pointing is not None:
        positions = np.radians([ra, dec, header.ra_pointing, header.dec_pointing])
        theta = 60.0 * float(np.degrees(angular_separation(*positions)))
    return {"ra": ra, "dec": dec, "theta": theta, "healpix": int(healpix_cell(np.asarray(ra), np.asarray(dec)))}


def _spectrum_columns(spectrum: Spectrum) -> dict[str, Any]:
    if isinstance(spectrum.area_scale, np.ndarray):
        raise InputFileError(spectrum.path, "AREASCAL differs between channels, and a row has no place for that")
    _check_int32(spectrum.path, spectrum.counts)
    psf_share = CSC_PSF_SHARE if csc_key(spectrum.path) is not None else None  # of others the ARF may hold it, or not
    row: dict[str, Any] = {
        "spectrum_counts": spectrum.counts.astype(np.int32),
        "exposure": spectrum.exposure,
        "channel_energy_edges": _edges_column(spectrum),
        "psf_frac_aper_b": psf_share,
    }
    if spectrum.quality is not None:
        row["spectrum_quality"] = spectrum.quality
    if spectrum.grouping is not None:
        row["spectrum_grouping"] = spectrum.grouping
    if spectrum.background_counts is not None:
        row["spectrum_background"] = spectrum.background_counts.astype(np.float64)
        row["background_scale"] = _mean_scale(spectrum.background_scale, spectrum.background_counts)
    if spectrum.response is not None:
        row["arf"] = (spectrum.response.arf * spectrum.area_scale).astype(np.float32)
        row["response_id"] = spectrum.response.response_id
        row |= effective_areas(row["arf"], spectrum.response, psf_share)
    return row


def _check_values(path: Path, row: dict[str, Any]) -> None:
    """Numbers that the table's types cannot hold, e.g. an OBI_NUM of eleven digits, and those that are none."""
    for name, value in row.items():
        if value is None or name not in _limits():
            continue
        values = np.asarray(value)
        if not values.size:
            continue
        kind, smallest, largest = _limits()[name]
        low, high = values.min(), values.max()  # NaN where any is
        if not (smallest <= low and high <= largest):
            raise InputFileError(path, f"{low if low < smallest else high} does not fit the table's {kind} {name}")


@functools.cache
def _limits() -> dict[str, tuple[pa.DataType, Any, Any]]:
    """Type, smallest and largest value of each column of numbers, or of lists of them."""
    found = {}
    for field in TABLE_SCHEMA:
        kind = field.type.value_type if pa.types.is_list(field.type) else field.type
        if pa.types.is_primitive(kind):
            limits = (np.iinfo if pa.types.is_integer(kind) else np.finfo)(kind.to_pandas_dtype())
            found[field.name] = kind, limits.min, limits.max
    return found


def _check_int32(path: Path, counts: np.ndarray) -> None:
    if counts.size and counts.max() >= 2**31:
        raise InputFileError(path, f"{counts.max()} counts in one channel do not fit the table's int32")


def _mean_scale(scale: float | np.ndarray, background: np.ndarray) -> float:
    """One scale where the file gives one a channel: the one that keeps the expected background's total."""
    if not isinstance(scale, np.ndarray):
        return scale
    total = background.sum()
    return float((scale * background).sum() / total) if total else float(scale.mean())


def _edges_column(spectrum: Spectrum) -> np.ndarray | None:
    """None for the ACIS grid, which readers of the table assume."""
    edges = spectrum.channel_energy_edges
    if edges is None:
        if spectrum.header.instrument == "ACIS" and spectrum.counts.size == ACIS_NUM_CHANNELS:
            return None
        raise InputFileError(spectrum.path, f"the energies of its channels are not known: {spectrum.response_problem}")
    off_grid = np.abs(edges - ACIS_CHANNEL_WIDTH * np.arange(edges.size))[1:]  # the first is 1.46 or 7.3 eV, not 0
    if edges.size == ACIS_NUM_CHANNELS + 1 and off_grid.max() < _EDGE_TOLERANCE:
        return None
    return edges.astype(np.float32)
