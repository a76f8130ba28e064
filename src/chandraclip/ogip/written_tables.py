"""The extensions that the writer puts into its files: spectrum, area, matrix, photons, good times and region.

Numbers lose no bit: a column is float32 only where that holds all its values, and a keyword has all its digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
from astropy.io import fits

from chandraclip.ogip.event_energy import pi_scale
from chandraclip.ogip.events import EventList
from chandraclip.ogip.facts import date_of
from chandraclip.ogip.header import ObservationHeader
from chandraclip.ogip.quality import turned_groups
from chandraclip.ogip.regions import Region, Shape
from chandraclip.ogip.response import Response
from chandraclip.ogip.sky import SkyCoordinates

CREATOR = "chandraclip"
# Of a shape's numbers: how many go to R, and how many to ROTANG, where those left out are 0.
_RADII = {
    **{"circle": 1, "elliptannulus": 4, "boxannulus": 4, "epanda": 4, "bpanda": 4},
    **dict.fromkeys(("annulus", "ellipse", "box", "rotbox", "diamond", "pie"), 2),
}
_ANGLES = {
    **dict.fromkeys(("ellipse", "box", "rotbox", "diamond", "rectangle"), 1),
    **{"sector": 2, "pie": 2, "elliptannulus": 2, "boxannulus": 2, "epanda": 3, "bpanda": 3},
}


@dataclass(frozen=True, eq=False)
class ChannelGroups:
    """A redistribution matrix as runs of neighbouring channels (CAL/GEN/92-002, section 4), in the detector's order.

    Attributes:
        number: (E,) int, N_GRP.
        starts: (E, largest N_GRP) int, first channel of each run counted from 0, padded with 0.
        sizes: the same for N_CHAN.
        matrix: (E, C) CSR, whose values are the runs end to end.
        channel_energy_lo, channel_energy_hi: (C,) keV.
    """

    number: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    matrix: sparse.csr_array
    channel_energy_lo: np.ndarray
    channel_energy_hi: np.ndarray


def channel_groups(response: Response, descending: bool = False) -> ChannelGroups:
    """A response's matrix in runs of channels; `descending`: they run down in energy, as a grating's do."""
    matrix, low, high = response.matrix, response.channel_energy_lo, response.channel_energy_hi
    if descending:
        matrix, low, high = matrix[:, ::-1].tocsr(), low[::-1], high[::-1]
    matrix = matrix.sorted_indices()
    indices = np.asarray(matrix.indices, np.int64)
    begins = np.append(True, np.diff(indices) != 1)[: indices.size]
    begins[matrix.indptr[:-1][np.diff(matrix.indptr) > 0]] = True  # a run ends with its row
    places = np.flatnonzero(begins)
    row = np.searchsorted(matrix.indptr, places, side="right") - 1
    number = np.bincount(row, minlength=matrix.shape[0])
    within = np.arange(row.size) - (np.cumsum(number) - number)[row]
    starts = np.zeros((matrix.shape[0], max(1, number.max(initial=0))), np.int64)
    sizes = np.zeros_like(starts)
    starts[row, within] = indices[places]
    sizes[row, within] = np.diff(np.append(places, indices.size))
    return ChannelGroups(number, starts, sizes, matrix, low, high)


def in_file_order(channel: np.ndarray) -> tuple[np.ndarray, slice]:
    """Channels as the detector counts them, and what turns a `Spectrum`'s arrays that way: a grating's run down."""
    descending = channel.size > 1 and channel[0] > channel[-1]
    turn = slice(None, None, -1) if descending else slice(None)
    return channel[turn], turn


def groups_in_file_order(grouping: np.ndarray | None, turn: slice) -> np.ndarray | None:
    """GROUPING turned as `in_file_order` says."""
    return grouping if turn.step is None else turned_groups(grouping)


def spectrum_table(
    counts: np.ndarray,
    channel: np.ndarray,
    header: ObservationHeader,
    *,
    exposure: float,
    backscal: float | np.ndarray,
    areascal: float | np.ndarray = 1.0,
    grouping: np.ndarray | None = None,
    quality: np.ndarray | None = None,
    is_background: bool = False,
    companions: dict[str, str] | None = None,
) -> fits.BinTableHDU:
    """A type I SPECTRUM of C channels (OGIP/92-007 and 92-007a).

    Args:
        companions: RESPFILE, ANCRFILE and BACKFILE where there is one.
    """
    columns = [fits.Column("CHANNEL", "J", array=channel), _counts_column(counts)]
    facts: dict[str, Any] = {
        "HDUCLASS": "OGIP",
        "HDUCLAS1": "SPECTRUM",
        "HDUVERS": "1.2.1",
        "HDUCLAS2": "BKG" if is_background else "TOTAL",
        "HDUCLAS3": "COUNT",
        "CHANTYPE": "PI",
        "DETCHANS": channel.size,
        "EXPOSURE": exposure,
        "POISSERR": True,
        "SYS_ERR": 0,
        "CORRSCAL": 1.0,
        **{name: (companions or {}).get(name, "none") for name in ("RESPFILE", "ANCRFILE", "BACKFILE", "CORRFILE")},
    }
    for name, value in (("BACKSCAL", backscal), ("AREASCAL", areascal)):
        if isinstance(value, np.ndarray):
            columns.append(fits.Column(name, "D", array=value))
        else:
            facts[name] = value
    for name, flags in (("GROUPING", grouping), ("QUALITY", quality)):
        if flags is None:
            facts[name] = 0
        else:
            columns.append(fits.Column(name, "I", array=flags))
    limits = {"TLMIN1": channel.min(), "TLMAX1": channel.max()}
    return _table("SPECTRUM", columns, facts | limits | _facts(header))


def area_table(response: Response, header: ObservationHeader) -> fits.BinTableHDU:
    """The SPECRESP of an ARF (CAL/GEN/92-002)."""
    columns = [*_energy_columns(response), _real_column("SPECRESP", response.arf, "cm**2")]
    facts = {"HDUCLASS": "OGIP", "HDUCLAS1": "RESPONSE", "HDUCLAS2": "SPECRESP", "HDUVERS": "1.1.0"}
    return _table("SPECRESP", columns, facts | _facts(header))


def matrix_tables(response: Response, header: ObservationHeader, descending: bool) -> list[fits.BinTableHDU]:
    """The MATRIX and EBOUNDS of an RMF (CAL/GEN/92-002, with its addendum): each row's runs of channels, compressed.

    Args:
        descending: the detector's channels run down in energy, as a grating's do.
    """
    groups = channel_groups(response, descending)
    matrix, sizes = groups.matrix, groups.sizes
    num_energies, num_channels = matrix.shape
    first = response.first_channel
    channel_format = "I" if first + num_channels < 2**15 else "J"
    rows = np.split(matrix.data, matrix.indptr[1:-1])
    letter = _real_letter(matrix.data)
    values = np.empty(num_energies, dtype=object)
    values[:] = [row.astype(np.float32 if letter == "E" else np.float64) for row in rows]
    width = sizes.shape[1]
    columns = [
        *_energy_columns(response),
        fits.Column("N_GRP", "I", array=groups.number),
        fits.Column("F_CHAN", f"{width}{channel_format}", array=groups.starts + first * (sizes > 0)),
        fits.Column("N_CHAN", f"{width}{channel_format}", array=sizes),
        fits.Column("MATRIX", f"P{letter}()", array=values),
    ]
    facts = {"HDUCLASS": "OGIP", "HDUCLAS1": "RESPONSE", "CHANTYPE": "PI", "DETCHANS": num_channels}
    facts |= {"RMFVERSN": "1992a"} | _facts(header)
    limits = {"TLMIN4": first, "TLMAX4": first + num_channels - 1}
    sums = {"NUMGRP": groups.number.sum(), "NUMELT": matrix.nnz, "LO_THRES": 0.0}
    classes = {"HDUCLAS2": "RSP_MATRIX", "HDUCLAS3": "REDIST", "HDUVERS": "1.3.0"}
    bounds = [
        fits.Column("CHANNEL", "J", array=np.arange(num_channels) + first),
        _real_column("E_MIN", groups.channel_energy_lo, "keV"),
        _real_column("E_MAX", groups.channel_energy_hi, "keV"),
    ]
    bounds_limits = {"TLMIN1": first, "TLMAX1": first + num_channels - 1}
    return [
        _table("MATRIX", columns, facts | classes | limits | sums),
        _table("EBOUNDS", bounds, facts | {"HDUCLAS2": "EBOUNDS", "HDUVERS": "1.2.0"} | bounds_limits),
    ]


def event_tables(events: EventList) -> list[fits.BinTableHDU]:
    """The EVENTS and GTI of a photon list (OGIP 93-003), in mission elapsed time."""
    columns = [fits.Column("TIME", "D", unit="s", array=events.time + events.tstart)]
    scale = pi_scale(events.header.telescope, events.header.instrument)
    if scale is not None:
        zero, step, lowest, highest = scale
        channel = np.clip(np.round((events.energy.astype(np.float64) - zero) / step), lowest, highest)
        columns.append(fits.Column("PI", "J", unit="chan", array=channel.astype(np.int64)))
    columns.append(fits.Column("ENERGY", "E", unit="keV", array=events.energy))
    sky: dict[str, Any] = {}
    if events.x is not None and events.y is not None:
        first = len(columns) + 1
        columns += [_real_column("X", events.x, "pixel"), _real_column("Y", events.y, "pixel")]
        sky = {} if events.sky is None else _sky_keywords(events.sky, first)
    start, stop = (events.gti + events.tstart).T
    facts: dict[str, Any] = {"HDUCLASS": "OGIP", "TIMEZERO": 0.0, "TIMEUNIT": "s"}
    facts |= {"TSTART": start[0], "TSTOP": stop[-1]} if start.size else {}
    facts |= {"ONTIME": float((events.gti[:, 1] - events.gti[:, 0]).sum())}
    facts |= {"EXPOSURE": events.exposure, "LIVETIME": events.exposure} | _facts(events.header)
    intervals = [fits.Column("START", "D", unit="s", array=start), fits.Column("STOP", "D", unit="s", array=stop)]
    return [
        _table("EVENTS", columns, facts | {"HDUCLAS1": "EVENTS", "HDUCLAS2": "ACCEPTED"} | sky),
        _table("GTI", intervals, facts | {"HDUCLAS1": "GTI", "HDUCLAS2": "STANDARD"}),
    ]


def region_table(region: Region, sky: SkyCoordinates | None, header: ObservationHeader) -> fits.BinTableHDU:
    """A REGION (ASC-FITS-REGION), a row a shape: sky pixels, degrees counterclockwise; ``!`` before an excluded one."""
    parts = enumerate(region.components, 1)
    shapes = [(shape, number) for number, part in parts for shape in part if isinstance(shape, Shape)]
    cells = [_region_cells(shape) for shape, _ in shapes]
    columns = [fits.Column("SHAPE", "16A", array=[_shape_name(shape) for shape, _ in shapes])]
    for name, unit in (("X", "pixel"), ("Y", "pixel"), ("R", "pixel"), ("ROTANG", "deg")):
        width = max(1, *(len(cell[name]) for cell in cells))
        fill = np.nan if name in "XY" else 0.0  # beyond a polygon's last vertex
        padded = np.array([[*cell[name], *[fill] * (width - len(cell[name]))] for cell in cells])
        columns.append(fits.Column(name, f"{width}D", unit=unit, array=padded if width > 1 else padded[:, 0]))
    columns.append(fits.Column("COMPONENT", "I", array=[number for _, number in shapes]))
    facts = {"HDUCLASS": "ASC", "HDUCLAS1": "REGION", "HDUCLAS2": "STANDARD", "HDUVERS": "1.2.0"}
    keywords = {} if sky is None else _sky_keywords(sky, 2)
    return _table("REGION", columns, facts | keywords | _facts(header))


def _shape_name(shape: Shape) -> str:
    name = "RotRectangle" if shape.name == "rectangle" else shape.name.capitalize()
    return name if shape.include else f"!{name}"


def _region_cells(shape: Shape) -> dict[str, Sequence[float]]:
    """What a shape has in X, Y, R and ROTANG."""
    numbers = shape.numbers
    corners = {"polygon": len(numbers), "rectangle": 4, "field": 0}.get(shape.name, 2)
    radii = corners + _RADII.get(shape.name, 0)
    angles = numbers[radii:]
    if len(angles) == 1 and shape.name in ("elliptannulus", "boxannulus"):
        angles = angles * 2  # the outer outline is turned as the inner one
    angles = (*angles, *[0.0] * (_ANGLES.get(shape.name, 0) - len(angles)))
    return {"X": numbers[0:corners:2], "Y": numbers[1:corners:2], "R": numbers[corners:radii], "ROTANG": angles}


def _table(name: str, columns: list[fits.Column], facts: dict[str, Any]) -> fits.BinTableHDU:
    """A table with keywords, None for none."""
    table = fits.BinTableHDU.from_columns(columns, name=name)
    for keyword, value in facts.items():
        if value is not None:
            table.header.append(_card(keyword, value), end=True)
    table.header["CREATOR"] = CREATOR
    return table


def _card(keyword: str, value: Any) -> fits.Card:
    """A keyword with all digits of its number: astropy cuts it at 20 characters."""
    if isinstance(value, (float, np.floating)):
        return fits.Card.fromstring(f"{keyword:<8}= {float(value)!r:>20}".replace("e", "E"))
    return fits.Card(keyword, int(value) if isinstance(value, np.integer) else value)


def _facts(header: ObservationHeader) -> dict[str, Any]:
    date = None if header.mjd_obs is None else date_of(header.mjd_obs, "%Y-%m-%dT%H:%M:%S") or None
    return {
        "TELESCOP": header.telescope or "none",
        "INSTRUME": header.instrument or "none",
        "FILTER": "none",
        "DETNAM": header.detector or None,
        "OBS_ID": header.obs_id or None,
        "OBI_NUM": header.obi,
        "OBJECT": header.object_name,
        "DATE-OBS": date,
        "MJD-OBS": header.mjd_obs,
        "MJDREF": header.mjd_reference,
        "RA_PNT": header.ra_pointing,
        "DEC_PNT": header.dec_pointing,
        "RADECSYS": "ICRS",
    }


def _sky_keywords(sky: SkyCoordinates, first: int) -> dict[str, Any]:
    """The projection of columns `first` (X) and `first` + 1 (Y) (FITS standard 4.0, table 22)."""
    wcs = sky.wcs.wcs
    facts: dict[str, Any] = {}
    for axis in (0, 1):
        number = first + axis
        facts |= {f"TCTYP{number}": wcs.ctype[axis], f"TCUNI{number}": str(wcs.cunit[axis])}
        facts |= {f"TCRPX{number}": wcs.crpix[axis], f"TCRVL{number}": wcs.crval[axis]}
        facts |= {f"TCDLT{number}": wcs.cdelt[axis]}
        if wcs.has_crota():
            facts[f"TCROT{number}"] = wcs.crota[axis]
        facts |= _frame_keywords(getattr(sky, "frame", None), number)
    kind, matrix = ("TC", wcs.cd) if wcs.has_cd() else ("TP", None if wcs.has_crota() else wcs.pc)
    if matrix is not None and not np.array_equal(matrix, np.eye(2)):
        facts |= {f"{kind}{first + i}_{first + j}": matrix[i, j] for i in (0, 1) for j in (0, 1)}
    return facts


def _frame_keywords(frame: Any, number: int) -> dict[str, Any]:
    """RADESYS and EQUINOX of a column of right ascension or declination; none for other longitudes."""
    systems = {"icrs": "ICRS", "fk5": "FK5", "fk4": "FK4", "fk4noeterms": "FK4-NO-E"}
    if frame is None or frame.name not in systems:
        return {}
    equinox = getattr(frame, "equinox", None)
    year = None if equinox is None else float(equinox.jyear if frame.name == "fk5" else equinox.byear)
    return {f"RADE{number}": systems[frame.name], f"EQUI{number}": year}


def _counts_column(counts: np.ndarray) -> fits.Column:
    if counts.dtype.kind not in "iu":
        return fits.Column("COUNTS", "D", unit="count", array=counts)
    small = counts.max(initial=0) < 2**31
    return fits.Column("COUNTS", "J" if small else "K", unit="count", array=counts)


def _energy_columns(response: Response) -> list[fits.Column]:
    return [_real_column("ENERG_LO", response.energy_lo, "keV"), _real_column("ENERG_HI", response.energy_hi, "keV")]


def _real_column(name: str, values: np.ndarray, unit: str) -> fits.Column:
    return fits.Column(name, _real_letter(values), unit=unit, array=values)


def _real_letter(values: np.ndarray) -> str:
    """E where float32 holds the values to the last bit, else D."""
    values = np.asarray(values)
    return "E" if np.array_equal(values.astype(np.float32), values, equal_nan=True) else "D"
