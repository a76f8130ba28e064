"""The observation: good time, readout frames, bad columns, background, and the photons that are recorded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtr

from chandraclip.catalog.ragged import Ragged

FRAME_TIME = 3.24104  # s, TIMEDEL of ACIS timed exposure with all rows: EXPTIME 3.2 s and 0.04104 s of transfer
TRANSFER_TIME = 0.04104  # s
# s, of a 1/8 sub-array on ACIS-I and ACIS-S with one chip on (Proposers' Observatory Guide, "Choosing the frame time").
SUBARRAY_FRAME_TIME = np.array([0.5, 0.4])
MAX_INTERVALS = 4
MJD_REFERENCE = 50814.0  # d, zero of Chandra's mission elapsed time

# Events are kept in 0.3 to 10 keV, where ACIS is calibrated.
EVENT_BAND = (0.3, 10.0)

# counts/s/arcsec2 in 0.5 to 7 keV, mean of the solar cycle, on front-illuminated chips and on S3. Background spectra of
# 2001 to 2005, when it was lowest, have 5.8e-7 to 1.0e-6, and 2.0e-6, 2.8e-6, 3.6e-6, 4.2e-6, some of it diffuse light.
# Significances near and far from the axis are then the catalogue's (docs/simulator.md).
FRONT_ILLUMINATED_RATE, S3_RATE = 8.0e-7, 2.7e-6
BACKGROUND_SCATTER = 0.12  # dex, from field to field: the sky, and what is left of flares
# Particles are held off by the solar wind: most came in 2009.5, least 5.5 years before and after.
SOLAR_MINIMUM, SOLAR_CYCLE, SOLAR_AMPLITUDE = 55000.0, 4018.0, 0.25  # MJD, d, share of the mean
# Share of sources on a back-illuminated chip, by arcmin from the aim point. The focal plane (from memory; the azimuths
# of the catalogue's rows bear it out): the chips of ACIS-I end at 12.8', and from 10.7' on S2 and S3 lie beside them;
# about ACIS-S's aim point S3 gives way to S2, S4, I2 and I3, and from 10.8' on to S1 on one side. How often a chip far
# out was on: the shares of the rows at its azimuths.
BACK_ILLUMINATED_THETA = np.array([3.0, 9.0, 10.7, 12.8])
BACK_ILLUMINATED_SHARE = np.array([[0.0, 0.0, 0.0, 0.35], [1.0, 0.25, 0.25, 0.4]])  # ACIS-I, ACIS-S
# Rows on S2 in ACIS-I's fields have somewhat more than those on the chips about the axis; rows of stars in star-forming
# regions have more the larger their apertures are: nebulae, and neighbours.
S2_THETA, S2_FACTOR = (10.7, 12.8), 1.3
YOUNG_THETA, YOUNG_FACTOR = (9.0, 12.0), 1.8
# CSC's source apertures are 1.06 to 2.5 times the circle of 90 % in area; their spectra's up to 4.1 times. That circle
# is too large at 2 to 10': background counts that the significances of faint rows tell of, over those of the circle.
APERTURE_FACTOR = (1.06, 2.5)
APERTURE_THETA = (0.0, 2.5, 4.5, 7.5, 10.0, 12.0)
APERTURE_SHARE = (1.0, 0.8, 0.6, 0.7, 0.85, 1.0)
# Fluorescence lines of the particle background (Al, Si, Au M, Ni K, Au L): keV, and rough counts per 0.5-7 keV count.
BACKGROUND_LINES = np.array([[1.487, 0.02], [1.740, 0.05], [2.14, 0.06], [7.47, 0.06], [9.67, 0.12]])
BACKGROUND_PARTICLE_SHARE = 0.7  # of the 0.5-7 keV background: flat in channels; the rest is the X-ray sky

PIXEL = 0.492  # arcsec
CELL_AREA = (3 * PIXEL) ** 2  # arcsec2, the 3 x 3 pixels of an event
DITHER_PIXELS = 16.3  # half the 16 arcsec pattern
DITHER_PERIODS = (1000.0, 707.1)  # s, in one and in the other chip direction
BAD_COLUMN_SHARE = 0.04  # of detections: those that a bad column crosses in the dither pattern
BAD_COLUMN_WIDTH = 2.0  # pixels
FOCUSED_SHARE = 0.95  # of the PSF: where photons meet in one cell (Davis 2001, f)
GRADE_MIGRATION = 0.5  # Davis 2001, alpha


@dataclass(frozen=True)
class GoodTime:
    """Good-time intervals of D detections.

    Attributes:
        start, stop: (D, MAX_INTERVALS) s since the first start, whole frames, in order; unused: start = stop.
        frame_time: (D,) s from readout to readout.
    """

    start: np.ndarray
    stop: np.ndarray
    frame_time: np.ndarray

    @property
    def live_share(self) -> np.ndarray:
        """(D,) share of a frame in which photons count: all but the transfer."""
        return 1.0 - TRANSFER_TIME / self.frame_time

    @property
    def livetime(self) -> np.ndarray:
        """(D,) s, good time less dead time."""
        return (self.stop - self.start).sum(axis=1) * self.live_share

    @property
    def duration(self) -> np.ndarray:
        """(D,) s, from the first start to the last stop."""
        return self.stop[:, -1]

    def contains(self, row: np.ndarray, time: np.ndarray) -> np.ndarray:
        """(T,) bool, whether each time is in the good time of its row."""
        inside = np.ones(row.size, dtype=bool)
        gaps = self.start[:, 1:] > self.stop[:, :-1]
        broken = np.any(gaps, axis=1)[row]
        chosen = np.flatnonzero(broken)
        if chosen.size:
            of, at = row[chosen], time[chosen]
            good = np.zeros(chosen.size, dtype=bool)
            for interval in range(self.start.shape[1]):
                good |= (at >= self.start[of, interval]) & (at < self.stop[of, interval])
            inside[chosen] = good
        return inside

    def ragged(self) -> tuple[Ragged, Ragged]:
        """Starts and stops as list columns, the unused left out."""
        used = self.stop > self.start
        offsets = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
        return Ragged(self.start[used], offsets), Ragged(self.stop[used], offsets)


def draw_good_time(
    rng: np.random.Generator, exposure: np.ndarray, subarray: np.ndarray, instrument: np.ndarray
) -> GoodTime:
    """Seven in ten observations run through; the others lose 0.3 to 5 ks (background flares) one to three times.

    Args:
        exposure: (D,) s of good time to split into intervals.
        subarray: (D,) bool, read out with an eighth of the rows.
        instrument: (D,) 0 ACIS-I, 1 ACIS-S.
    """
    num_rows = len(exposure)
    frame_time = np.where(subarray, SUBARRAY_FRAME_TIME[instrument], FRAME_TIME)
    frames = np.maximum(np.round(exposure / frame_time), 2 * MAX_INTERVALS).astype(np.int64)
    num_intervals = np.where(rng.random(num_rows) < 0.7, 1, rng.integers(2, MAX_INTERVALS + 1, num_rows))
    cuts = np.sort(rng.random((num_rows, MAX_INTERVALS - 1)), axis=1)
    cuts = np.where(np.arange(1, MAX_INTERVALS) < num_intervals[:, None], cuts, 1.0)
    cuts.sort(axis=1)
    # Good time, in frames, before each interval ends; each used one has a frame at least.
    ends = np.concatenate([np.ceil(cuts * frames[:, None]).astype(np.int64), frames[:, None]], axis=1)
    begins = np.concatenate([np.zeros((num_rows, 1), np.int64), ends[:, :-1]], axis=1)
    lost = 10.0 ** rng.uniform(np.log10(300.0), np.log10(5000.0), (num_rows, MAX_INTERVALS))
    gap = np.ceil(lost / frame_time[:, None])
    gap[:, 0] = 0.0
    used = ends > begins
    shift = np.cumsum(np.where(used, gap, 0.0), axis=1)
    return GoodTime(
        start=(begins + shift) * frame_time[:, None],
        stop=(ends + shift) * frame_time[:, None],
        frame_time=frame_time,
    )


def psf_area(theta: np.ndarray) -> np.ndarray:
    """arcsec2 of the circle of the 90 % encircled-energy radius, about 1 + 0.1 theta^2 arcsec."""
    return np.pi * (1.0 + 0.1 * np.asarray(theta) ** 2) ** 2


@dataclass(frozen=True)
class BadColumns:
    """Bad columns under the dither patterns of D detections; switched off, so that photons on them are lost.

    Attributes:
        offset: (D,) pixels from the middle of the pattern; NaN where there is none.
        blur: (D,) pixels, PSF sigma. period: (D,) s. phase: (D,) radians, of the dither.
    """

    offset: np.ndarray
    blur: np.ndarray
    period: np.ndarray
    phase: np.ndarray

    def exposed_share(self) -> np.ndarray:
        """(D,) share of photons that land on good pixels, over the pattern: what the exposure map takes off the ARF."""
        share = np.ones(len(self.offset))
        rows = np.flatnonzero(np.isfinite(self.offset))
        centre = DITHER_PIXELS * np.sin(2.0 * np.pi * np.arange(64) / 64)
        distance = self.offset[rows, None] - centre
        half, blur = 0.5 * BAD_COLUMN_WIDTH, self.blur[rows, None]
        share[rows] = 1.0 - (ndtr((distance + half) / blur) - ndtr((distance - half) / blur)).mean(axis=1)
        return share

    def lost(self, rng: np.random.Generator, row: np.ndarray, time: np.ndarray) -> np.ndarray:
        """(T,) bool, photons that land on a bad column."""
        result = np.zeros(row.size, dtype=bool)
        chosen = np.flatnonzero(np.isfinite(self.offset)[row])
        of = row[chosen]
        position = DITHER_PIXELS * np.sin(2.0 * np.pi * time[chosen] / self.period[of] + self.phase[of])
        position += self.blur[of] * rng.standard_normal(chosen.size)
        result[chosen] = np.abs(position - self.offset[of]) < 0.5 * BAD_COLUMN_WIDTH
        return result


def draw_bad_columns(rng: np.random.Generator, theta: np.ndarray) -> BadColumns:
    """One in 25 detections has a bad column under its dither pattern."""
    num_rows = len(theta)
    there = rng.random(num_rows) < BAD_COLUMN_SHARE
    reach = DITHER_PIXELS + 4.0
    radius = 1.0 + 0.1 * np.asarray(theta) ** 2  # arcsec, of 90 % of the energy: 2.15 sigma of a Gaussian
    return BadColumns(
        offset=np.where(there, rng.uniform(-reach, reach, num_rows), np.nan),
        blur=radius / 2.15 / PIXEL,
        period=np.where(rng.random(num_rows) < 0.5, *DITHER_PERIODS),
        phase=rng.uniform(0.0, 2.0 * np.pi, num_rows),
    )


def pileup_cells(theta: np.ndarray) -> np.ndarray:
    """(D,) independent 3 x 3 pixel cells under the core of the PSF (Davis 2001, n): 1 on axis, more off axis."""
    return np.maximum(np.round(0.7 * psf_area(theta) / CELL_AREA), 1.0)


@lru_cache(maxsize=4)
def _background_shape(channel_edges: bytes) -> np.ndarray:
    edges = np.frombuffer(channel_edges)
    energy, width = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
    in_band = (energy >= 0.5) & (energy < 7.0)
    particles = (1.0 + 0.4 * (energy / 7.0) ** 6) * width
    sky = (energy / 0.5) ** -2.0 * width
    lines = np.exp(-0.5 * ((energy[:, None] - BACKGROUND_LINES[:, 0]) / 0.06) ** 2) * width[:, None]
    shape = BACKGROUND_PARTICLE_SHARE * particles / particles[in_band].sum()
    shape += (1.0 - BACKGROUND_PARTICLE_SHARE) * sky / sky[in_band].sum()
    shape += (lines / lines.sum(axis=0)) @ BACKGROUND_LINES[:, 1]
    shape[(energy < EVENT_BAND[0]) | (energy >= EVENT_BAND[1])] = 0.0
    return shape / shape[in_band].sum()


def background_shape(channel_edges: np.ndarray) -> np.ndarray:
    """(C,) background counts a channel per count in 0.5-7 keV: particles and their lines, and the soft X-ray sky.

    Args:
        channel_edges: (C + 1,) keV.
    """
    return _background_shape(np.asarray(channel_edges, dtype=np.float64).tobytes())


def draw_background(
    rng: np.random.Generator,
    instrument: np.ndarray,
    theta: np.ndarray,
    mjd: np.ndarray,
    livetime: np.ndarray,
    young: np.ndarray | bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Expected 0.5-7 keV background counts in the source aperture (D,) and the source / background area ratio (D,).

    The level is that of the chip and of the epoch in the solar cycle, with a scatter from field to field; the
    background region is 5 to 50 times the aperture and at least 30 arcsec2.

    Args:
        young: (D,) bool, of a star-forming region.
    """
    num_rows = len(theta)
    area = psf_area(theta) * np.interp(theta, APERTURE_THETA, APERTURE_SHARE)
    area *= 10.0 ** rng.uniform(np.log10(APERTURE_FACTOR[0]), np.log10(APERTURE_FACTOR[1]), num_rows)
    shares = [np.interp(theta, BACK_ILLUMINATED_THETA, share) for share in BACK_ILLUMINATED_SHARE]
    back_illuminated = rng.random(num_rows) < np.where(instrument == 1, shares[1], shares[0])
    on_s2 = np.where(instrument == 0, np.interp(theta, S2_THETA, (1.0, S2_FACTOR)), 1.0)
    rate = np.where(back_illuminated, S3_RATE, FRONT_ILLUMINATED_RATE * on_s2)
    rate = rate * np.where(young, np.interp(theta, YOUNG_THETA, (1.0, YOUNG_FACTOR)), 1.0)
    cycle = 1.0 + SOLAR_AMPLITUDE * np.cos(2.0 * np.pi * (mjd - SOLAR_MINIMUM) / SOLAR_CYCLE)
    rate = rate * (BACKGROUND_PARTICLE_SHARE * cycle + (1.0 - BACKGROUND_PARTICLE_SHARE))
    expected = rate * area * livetime * 10.0 ** (BACKGROUND_SCATTER * rng.standard_normal(num_rows))
    region = np.maximum(area * 5.0 * 10.0 ** rng.random(num_rows), 30.0)
    return expected, area / region
