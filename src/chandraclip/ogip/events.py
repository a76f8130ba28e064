"""`EventList`: the photons of one source in one observation, and its reader."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chandraclip.ogip.agreement import choose_aperture
from chandraclip.ogip.event_energy import photon_energies
from chandraclip.ogip.facts import Described, duration, header_facts, range_of
from chandraclip.ogip.fits import FitsFile, FitsTable
from chandraclip.ogip.gti import GoodTimes, good_times
from chandraclip.ogip.header import SECONDS_PER_DAY, ObservationHeader, observation_header
from chandraclip.ogip.intervals import total_time
from chandraclip.ogip.live_time import live_time
from chandraclip.ogip.region_reader import read_region
from chandraclip.ogip.regions import Region
from chandraclip.ogip.sky import SkyCoordinates, sky_coordinates
from chandraclip.ogip.times import frame_shift, seconds, time_step

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, repr=False)
class EventList(Described):
    """Photons in time order.

    Attributes:
        time: (N,) float64, s since `tstart`, increasing: the middle of each photon's frame, wherever in it the file's
            stamp lies (TIMEPIXR, TIMEDEL).
        energy: (N,) float32, keV, > 0.
        gti: (n, 2) float64, s since `tstart`: start and stop of each good time interval, in order, disjoint.
        exposure: s, the intervals' sum less dead time.
        tstart: s, mission elapsed time of the first interval's start.
        header: observation facts.
        path: the file.
        sky: projection of the file's sky pixels, or None.
        region: the region that was applied, or None.
        x, y: (N,) sky pixels as the file has them, or None.
        time_step: s, TIMEDEL: the readout frame, or the tick of the clock; None where the file does not say.
        num_outside_gti, num_outside_region, num_without_energy: photons of the file that were left out, and why.
        aperture_notes: what was assumed about the region, and why the photons are not those of the given spectrum.
        notes: which tables gave the good time, what was left out and what is doubtful, one sentence each.
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
    aperture_notes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    x: np.ndarray | None = None
    y: np.ndarray | None = None
    time_step: float | None = None

    def __len__(self) -> int:
        return self.time.size

    @property
    def title(self) -> str:
        return f"EventList {self.path.name}"

    @property
    def facts(self) -> dict[str, str]:
        facts = header_facts(self.header)
        energies = range_of(self.energy.min(), self.energy.max(), "keV") if len(self) else ""
        facts["photons"] = f"{len(self)}{', ' if energies else ''}{energies}"
        intervals = f"{len(self.gti)} interval{'' if len(self.gti) == 1 else 's'}"
        good = float((self.gti[:, 1] - self.gti[:, 0]).sum())
        facts["good time"] = f"{duration(good)} in {intervals} over {duration(float(np.ptp(self.gti)))}"
        facts["live time"] = duration(self.exposure)
        if self.region is not None:
            facts["region"] = self.region.summary
        left_out = {
            "outside the good times": self.num_outside_gti,
            "outside the region": self.num_outside_region,
            "without an energy": self.num_without_energy,
        }
        if any(left_out.values()):
            facts["left out"] = ", ".join(f"{number} {why}" for why, number in left_out.items() if number)
        if self.notes:
            facts["notes"] = f"{len(self.notes)} (see .notes)"
        return facts

    @property
    def mjd_obs(self) -> float | None:
        """MJD of `tstart`, in the file's time system; None without MJDREF."""
        if self.header.mjd_reference is None:
            return self.header.mjd_obs
        return self.header.mjd_reference + self.tstart / SECONDS_PER_DAY


def read_events(
    path: str | Path,
    region: str | Path | Region | None = None,
    spectrum: str | Path | None = None,
    spec_num: int | None = None,
) -> EventList:
    """Photons with times and energies, inside the good times.

    Photons without a calibrated energy, outside the region and outside the good times are left out, counted, and told
    in the log and in `notes`; so is what is doubtful about the good times. `good_times` says which tables hold. The
    list is taken as screened: STATUS, FLAG, GRADE and PATTERN are not looked at.

    Args:
        path: event FITS file (OGIP 93-003); the extension is found by HDUCLAS1 EVENTS, then by name.
        region: keep photons inside it: a `Region`, a region file (CSC reg3, CIAO or ds9), or CIAO text.
        spectrum, spec_num: keep the photons that this PHA file (row of a type II) counts: in the aperture that its
            header tells, or in `region` where that gives its counts and the header does not. Where neither gives them
            channel by channel, `aperture_notes` and the log say so.

    Raises:
        InputFileError: missing, damaged or not FITS; no TIME (the error names the columns found); no energy that can be
            calibrated (PHA only, HRC); NaN times; a column that is not one number a row; no good time, or none of the
            file's photons in it; a time keyword, EXPOSURE or DTCOR that makes no sense; a region and no sky
            coordinates.
    """
    file = FitsFile(path)
    tables = event_tables(file)
    if not tables:
        raise file.error(f"no event list (HDUCLAS1 EVENTS) in it; extensions: {file.describe()}")
    table = tables[0]
    if not table.has("TIME"):
        raise table.error(f"no column TIME; it has {', '.join(table.names) or 'none'}")
    time = seconds(table, "TIME") + frame_shift(table)
    energy = photon_energies(table)
    sky = sky_coordinates(table)
    shape, aperture_notes = _region(file, table, time, energy, region, spectrum, spec_num, sky)

    with np.errstate(over="ignore", under="ignore"):
        energy = energy.astype(np.float32)  # first: what is 0 or infinite then has no energy
    keep = np.isfinite(energy) & (energy > 0)
    num_without_energy = int(time.size - keep.sum())
    num_outside_region = 0
    if shape is not None:
        if not table.has("X", "Y"):
            raise table.error(f"a region was given, and there are no columns X and Y; it has {', '.join(table.names)}")
        inside = shape.contains(table.numbers("X"), table.numbers("Y"))
        num_outside_region = int((keep & ~inside).sum())
        keep &= inside
    good = good_times(file, table, time, keep)
    if not good.intervals.size:
        found = "; ".join([*good.notes, *good.problems]) or "no table of it, no TSTART and TSTOP"
        raise table.error(f"no good time: its intervals are empty or have none in common ({found})")
    inside = good.contains(time)
    if time.size and not inside.any():
        raise table.error(_why_none_is_left(table, time, good))
    num_outside_gti = int((keep & ~inside).sum())
    keep &= inside

    notes, doubts = list(good.notes), list(good.problems)
    if len(tables) > 1:
        others = ", ".join(f"{other.label} ({other.num_rows} rows)" for other in tables[1:])
        doubts.append(f"{table.label} was read; the file has other event lists: {others}")
    for number, reason in (
        (num_without_energy, "without a calibrated energy"),
        (num_outside_gti, "outside the good times"),
    ):
        if number:
            doubts.append(f"{number} of {time.size} photons left out: {reason}")
    if num_outside_region:
        notes.append(f"{num_outside_region} of {time.size} photons left out: outside the region")
    if time.size and not keep.any():
        doubts.append(f"none of the {time.size} photons is left")
    exposure = live_time(table, total_time(good.intervals), good.shares, doubts)
    for doubt in doubts:
        logger.warning("%s: %s", file.path, doubt)
    order = np.argsort(time[keep], kind="stable")
    x, y = (table.column(name)[keep][order] if table.has("X", "Y") else None for name in ("X", "Y"))
    tstart = float(good.intervals[0, 0])
    if not (np.diff(good.intervals - tstart, axis=1) > 0).all():
        raise table.error(f"the good times begin at {tstart:g} s: too far away to tell times apart")
    return EventList(
        time=time[keep][order] - tstart,
        energy=energy[keep][order],
        gti=good.intervals - tstart,
        exposure=exposure,
        tstart=tstart,
        header=observation_header(table),
        path=file.path,
        sky=sky,
        region=shape,
        num_outside_gti=num_outside_gti,
        num_outside_region=num_outside_region,
        num_without_energy=num_without_energy,
        aperture_notes=aperture_notes,
        notes=(*notes, *doubts),
        x=x,
        y=y,
        time_step=time_step(table),
    )


def _region(
    file: FitsFile,
    table: FitsTable,
    time: np.ndarray,
    energy: np.ndarray,
    region: str | Path | Region | None,
    spectrum: str | Path | None,
    spec_num: int | None,
    sky: SkyCoordinates | None,
) -> tuple[Region | None, tuple[str, ...]]:
    """The region that cuts the list, and what is to be said of it."""
    if spectrum is not None:
        usable = np.isfinite(energy) & (energy > 0)
        usable &= good_times(file, table, time, usable).contains(time)
        return choose_aperture(table, usable, region, Path(spectrum), spec_num, sky)
    if region is None or isinstance(region, Region):
        return region, ()
    shape = read_region(region, sky=sky)
    return shape, shape.notes


def event_table(file: FitsFile) -> FitsTable | None:
    """The first of `event_tables`, or None."""
    return next(iter(event_tables(file)), None)


def event_tables(file: FitsFile) -> list[FitsTable]:
    """The event extensions: by HDUCLAS1 (EVENTS; EVENT in old RXTE files), else by name, else by their columns.

    XMM and LAXPC lists are seen without HDUCLAS1 under names of their own; a table with times and a photon energy in
    any form is none of the other kinds of extension (a light curve has rates, a GTI has START and STOP).
    """
    for test in (
        lambda table: table.hduclas(1) in ("EVENTS", "EVENT"),
        lambda table: table.extname in ("EVENTS", "EVENT", "STDEVT", "XTE_SE"),
        lambda table: not table.hduclas(1) and table.has("TIME") and any(map(table.has, ("ENERGY", "PI", "PHA"))),
    ):
        # ROSAT and RXTE files hold rejected events too.
        found = [table for table in file if test(table) and table.hduclas(2) != "REJECTED"]
        if found:
            return found
    return []


def _why_none_is_left(table: FitsTable, time: np.ndarray, good: GoodTimes) -> str:
    """The reason why no photon of a file lies in its good times, with both spans in s after MJDREF."""
    spans = f"photons {time.min():.10g} to {time.max():.10g} s, good time {good.intervals.min():.10g} to "
    hints = [*good.problems, *good.notes]
    clock = ", ".join(
        f"{name} {table.key(name)}" for name in ("TIMESYS", "TIMEREF", "MJDREF", "MJDREFI") if table.key(name)
    )
    return (
        f"none of its {time.size} photons lies in the good times: {spans}{good.intervals.max():.10g} s"
        f" ({'; '.join([*hints, clock] if clock else hints)})"
    )
