"""`EventList`: the photons of one source in one observation, and its reader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chandraclip.ogip.fits import FitsFile, FitsTable
from chandraclip.ogip.gti import good_times
from chandraclip.ogip.header import SECONDS_PER_DAY, ObservationHeader, observation_header
from chandraclip.ogip.region_reader import read_region
from chandraclip.ogip.regions import Region
from chandraclip.ogip.sky import SkyCoordinates, sky_coordinates

_KEV_PER_UNIT = {"ev": 1e-3, "kev": 1.0}
# keV of PI channel 0 and keV a channel, for missions whose PI is a calibrated energy: (telescope, instrument) prefixes.
# Chandra ACIS: channel n covers 14.6 (n - 1) to 14.6 n eV, so its middle is 14.6 (n - 0.5).
_PI_SCALES: dict[tuple[str, str], tuple[float, float]] = {
    ("CHANDRA", "ACIS"): (-0.0073, 0.0146),
    ("XMM", "E"): (0.0, 0.001),  # EPN, EMOS1, EMOS2, EPIC: eV
    ("NICER", ""): (0.0, 0.010),
    ("NUSTAR", ""): (1.6, 0.040),
    ("SWIFT", "XRT"): (0.0, 0.010),
    ("SUZAKU", "XIS"): (0.0, 0.00365),
    ("IXPE", ""): (0.0, 0.040),
    ("EROSITA", ""): (0.0, 0.001),
    ("XRISM", "RESOLVE"): (0.00025, 0.0005),
    ("XRISM", "XTEND"): (0.0, 0.006),
}


@dataclass(frozen=True, eq=False)
class EventList:
    """Photons in time order.

    Attributes:
        time: (N,) float64, s since `tstart`, increasing.
        energy: (N,) float32, keV, > 0.
        gti: (n, 2) float64, s since `tstart`: start and stop of each good time interval, in order, disjoint.
        exposure: s, the intervals' sum less dead time.
        tstart: s, mission elapsed time of the first interval's start.
        header: observation facts.
        path: the file.
        sky: projection of the file's sky pixels, or None.
        region: the region that was applied, or None.
        num_outside_gti, num_outside_region, num_without_energy: photons of the file that were left out, and why.
    """

    time: np.ndarray
    energy: np.ndarray
    gti: np.ndarray
    exposure: float
    tstart: float
    header: ObservationHeader
    path: Path
    sky: SkyCoordinates | None = None
    region: Region | None = None
    num_outside_gti: int = 0
    num_outside_region: int = 0
    num_without_energy: int = 0

    def __len__(self) -> int:
        return self.time.size

    @property
    def mjd_obs(self) -> float | None:
        """MJD of `tstart`, in the file's time system; None without MJDREF."""
        if self.header.mjd_reference is None:
            return self.header.mjd_obs
        return self.header.mjd_reference + self.tstart / SECONDS_PER_DAY


def read_events(path: str | Path, region: str | Path | Region | None = None) -> EventList:
    """Photons with times and energies, inside the good times.

    Args:
        path: event FITS file (OGIP 93-003); the extension is found by HDUCLAS1 EVENTS, then by name.
        region: keep photons inside it: a `Region`, a region file (CSC reg3, CIAO or ds9), or CIAO text.

    Raises:
        InputFileError: missing, damaged or not FITS; no TIME (the error names the columns found); no energy that can be
            calibrated (PHA only, HRC); NaN times; no good time; a region and no sky coordinates.
    """
    file = FitsFile(path)
    table = event_table(file)
    if table is None:
        raise file.error(f"no event list (HDUCLAS1 EVENTS) in it; extensions: {file.describe()}")
    if not table.has("TIME"):
        raise table.error(f"no column TIME; it has {', '.join(table.names) or 'none'}")
    # TIMEZERO is added to times as stored (OGIP 93-003).
    time = np.asarray(table.column("TIME"), np.float64) + (table.number("TIMEZERO") or 0.0)
    if not np.isfinite(time).all():
        row = int(np.argmin(np.isfinite(time)))
        raise table.error(f"TIME is not a number in row {row + 1}")
    energy = _energies(table)
    sky = sky_coordinates(table)
    shape = region if isinstance(region, Region) or region is None else read_region(region, sky=sky)

    keep = np.isfinite(energy) & (energy > 0)
    num_without_energy = int(time.size - keep.sum())
    num_outside_region = 0
    if shape is not None:
        if not table.has("X", "Y"):
            raise table.error(f"a region was given, and there are no columns X and Y; it has {', '.join(table.names)}")
        inside = shape.contains(table.column("X"), table.column("Y"))
        num_outside_region = int((keep & ~inside).sum())
        keep &= inside
    good = good_times(file, table, time)
    inside = good.contains(time)
    num_outside_gti = int((keep & ~inside).sum())
    keep &= inside
    if not good.intervals.size:
        raise table.error("no good time: the GTI extensions are empty")

    order = np.argsort(time[keep], kind="stable")
    tstart = float(good.intervals[0, 0])
    return EventList(
        time=time[keep][order] - tstart,
        energy=energy[keep][order].astype(np.float32),
        gti=good.intervals - tstart,
        exposure=_exposure(table, good.intervals),
        tstart=tstart,
        header=observation_header(table),
        path=file.path,
        sky=sky,
        region=shape,
        num_outside_gti=num_outside_gti,
        num_outside_region=num_outside_region,
        num_without_energy=num_without_energy,
    )


def event_table(file: FitsFile) -> FitsTable | None:
    """The event extension: by HDUCLAS1 (EVENTS; EVENT in old RXTE files), then by name, then by its columns.

    XMM and LAXPC lists are seen without HDUCLAS1 under names of their own; a table with times and a photon energy in
    any form is none of the other kinds of extension (a light curve has rates, a GTI has START and STOP).
    """
    for test in (
        lambda table: table.hduclas(1) in ("EVENTS", "EVENT"),
        lambda table: table.extname in ("EVENTS", "EVENT", "STDEVT", "XTE_SE"),
        lambda table: not table.hduclas(1) and table.has("TIME") and any(map(table.has, ("ENERGY", "PI", "PHA"))),
    ):
        found = [table for table in file if test(table)]
        if found:
            return found[0]
    return None


def _energies(table: FitsTable) -> np.ndarray:
    """(N,) keV, NaN where the file has no value: column ENERGY, else PI by the mission's scale."""
    telescope = str(table.key("TELESCOP") or "").strip().upper()
    instrument = str(table.key("INSTRUME") or "").strip().upper()
    if table.has("ENERGY"):
        unit = table.unit("ENERGY").lower() or ("ev" if telescope == "CHANDRA" else "")
        if unit in _KEV_PER_UNIT:
            return np.asarray(table.column("ENERGY"), np.float64) * _KEV_PER_UNIT[unit]
        if unit or not table.has("PI"):  # PI tells what an ENERGY without a unit leaves open
            raise table.error(f"column ENERGY is in {unit!r}; eV or keV is needed")
    name = f"{telescope or 'unknown telescope'} {instrument}".strip()
    if not table.has("PI"):
        found = ", ".join(table.names)
        if table.has("PHA"):
            raise table.error(f"no column ENERGY or PI, and PHA is not calibrated energy; it has {found}")
        raise table.error(f"no column ENERGY or PI; it has {found}")
    for (wanted_telescope, wanted_instrument), (zero, step) in _PI_SCALES.items():
        if telescope.startswith(wanted_telescope) and instrument.startswith(wanted_instrument):
            pi = np.asarray(table.column("PI"), np.float64)
            null = table.column_key("TNULL", "PI")
            return np.where(pi == null, np.nan, zero + step * pi) if null is not None else zero + step * pi
    raise table.error(f"no column ENERGY with a unit, and the energy of PI is not known for {name}")


def _exposure(table: FitsTable, intervals: np.ndarray) -> float:
    """Live time of the intervals, s.

    EXPOSURE or LIVETIME holds where it fits them; a file cut in time keeps the whole observation's, so there the
    intervals' sum times DTCOR (dead time correction) is used.

    Raises:
        InputFileError: EXPOSURE is not positive, or DTCOR is not in 0 to 1.
    """
    good = float((intervals[:, 1] - intervals[:, 0]).sum())
    stated = table.number("EXPOSURE", "LIVETIME")
    if stated is not None and not (np.isfinite(stated) and stated > 0):
        raise table.error(f"EXPOSURE is {stated}, and must be positive")
    if stated is not None and stated <= good * 1.001 + 1.0:
        return stated
    correction = table.number("DTCOR")
    if correction is not None and not 0 < correction <= 1:
        raise table.error(f"DTCOR is {correction}, and must be in 0 to 1")
    return good * (correction or 1.0)
