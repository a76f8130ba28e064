"""The observation: good time, background, and photons as the detector records them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from chandraclip.data.schema import ACIS_CHANNEL_WIDTH, ACIS_NUM_CHANNELS, Ragged

from .response import CHANNEL_EDGES
from .variability import RateShape, arrival_times

FRAME_TIME = 3.24104  # s: 3.2 s of exposure and 0.04104 s of transfer, ACIS timed exposure with all rows
LIVE_SHARE = 3.2 / FRAME_TIME
MAX_INTERVALS = 4
MJD_REFERENCE = 50814.0  # d, zero of Chandra's mission elapsed time

# Counts are kept in 0.3 to 10 keV, where ACIS is calibrated.
FIRST_CHANNEL = int(np.ceil(0.3 / ACIS_CHANNEL_WIDTH))
LAST_CHANNEL = int(10.0 / ACIS_CHANNEL_WIDTH)

# counts/s/arcsec2 in 0.5 to 7 keV of a quiet field, ACIS-I and ACIS-S: order of magnitude, not calibrated.
BACKGROUND_RATE = np.array([3.0e-7, 6.0e-7])
# Fluorescence lines of the particle background (Al, Si, Au M, Ni K, Au L): keV, and rough counts per 0.5-7 keV count.
BACKGROUND_LINES = np.array([[1.487, 0.02], [1.740, 0.05], [2.14, 0.06], [7.47, 0.06], [9.67, 0.12]])


@dataclass(frozen=True)
class GoodTime:
    """Good-time intervals of D detections.

    Attributes:
        start, stop: (D, MAX_INTERVALS) s since the first start, whole frames, in order; unused: start = stop.
        livetime: (D,) s, their sum less dead time.
    """

    start: np.ndarray
    stop: np.ndarray
    livetime: np.ndarray

    def ragged(self) -> tuple[Ragged, Ragged]:
        """Starts and stops as list columns, the unused left out."""
        used = self.stop > self.start
        offsets = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
        return Ragged(self.start[used], offsets), Ragged(self.stop[used], offsets)


def draw_good_time(rng: np.random.Generator, exposure: np.ndarray) -> GoodTime:
    """Seven in ten observations run through; the others lose 0.3 to 5 ks (background flares) one to three times.

    Args:
        exposure: (D,) s of good time to split into intervals.
    """
    num_rows = len(exposure)
    frames = np.maximum(np.round(exposure / FRAME_TIME), 2 * MAX_INTERVALS).astype(np.int64)
    num_intervals = np.where(rng.random(num_rows) < 0.7, 1, rng.integers(2, MAX_INTERVALS + 1, num_rows))
    cuts = np.sort(rng.random((num_rows, MAX_INTERVALS - 1)), axis=1)
    cuts = np.where(np.arange(1, MAX_INTERVALS) < num_intervals[:, None], cuts, 1.0)
    cuts.sort(axis=1)
    # Good time, in frames, before each interval ends; each used one has a frame at least.
    ends = np.concatenate([np.ceil(cuts * frames[:, None]).astype(np.int64), frames[:, None]], axis=1)
    begins = np.concatenate([np.zeros((num_rows, 1), np.int64), ends[:, :-1]], axis=1)
    gap = np.ceil(10.0 ** rng.uniform(np.log10(300.0), np.log10(5000.0), (num_rows, MAX_INTERVALS)) / FRAME_TIME)
    gap[:, 0] = 0.0
    used = ends > begins
    shift = np.cumsum(np.where(used, gap, 0.0), axis=1)
    return GoodTime(
        start=(begins + shift) * FRAME_TIME,
        stop=(ends + shift) * FRAME_TIME,
        livetime=frames * FRAME_TIME * LIVE_SHARE,
    )


def aperture_area(theta: np.ndarray) -> np.ndarray:
    """Source aperture, arcsec2: a circle of the 90 % encircled-energy radius, about 1 + 0.1 theta^2 arcsec."""
    return np.pi * (1.0 + 0.1 * np.asarray(theta) ** 2) ** 2


@cache
def background_shape() -> np.ndarray:
    """(1024,) background counts a channel per count in 0.5-7 keV: flat, rising outwards, instrumental lines."""
    energy = 0.5 * (CHANNEL_EDGES[1:] + CHANNEL_EDGES[:-1])
    continuum = 1.0 + 1.5 * (energy / 0.5) ** -2.0 + 0.6 * (energy / 7.0) ** 6
    lines = np.exp(-0.5 * ((energy[:, None] - BACKGROUND_LINES[:, 0]) / 0.06) ** 2)
    in_band = (energy >= 0.5) & (energy < 7.0)
    continuum /= continuum[in_band].sum()
    shape = continuum + (lines / lines.sum(axis=0)) @ BACKGROUND_LINES[:, 1]
    shape[: FIRST_CHANNEL - 1] = 0.0
    shape[LAST_CHANNEL:] = 0.0
    return shape / shape[in_band].sum()


def draw_background(
    rng: np.random.Generator, instrument: np.ndarray, theta: np.ndarray, livetime: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Expected 0.5-7 keV background counts in the source aperture (D,) and the source / background area ratio (D,).

    Fields differ by a factor of two; the background region is 5 to 50 times the aperture and at least 30 arcsec2.
    """
    num_rows = len(theta)
    area = aperture_area(theta)
    expected = BACKGROUND_RATE[instrument] * area * livetime * 2.0 ** rng.standard_normal(num_rows)
    region = np.maximum(area * 5.0 * 10.0 ** rng.random(num_rows), 30.0)
    return expected, area / region


def record_events(
    rng: np.random.Generator, counts: np.ndarray, shape: RateShape, background_share: np.ndarray, good_time: GoodTime
) -> tuple[Ragged, Ragged]:
    """Photon lists whose histogram over channels is exactly `counts`.

    A photon's time is that of its frame's middle (ACIS resolves nothing within a frame), its energy uniform in its
    channel.

    Args:
        counts: (D, 1024) int, photons a channel in the source aperture.
        shape: the source's rate; background photons arrive at a constant rate.
        background_share: (D, 1024) probability that a photon of that channel is background.
        good_time: the intervals.

    Returns:
        event_time (s since the first GTI start, sorted) and event_energy (keV).
    """
    cell = np.repeat(np.arange(counts.size), counts.ravel())
    row, channel = np.divmod(cell, ACIS_NUM_CHANNELS)
    is_background = rng.random(cell.size) < background_share.ravel()[cell]
    time = arrival_times(rng, row, shape, good_time.start, good_time.stop, steady=is_background)
    # One sort for all lists: the row, then the time as a share of the row's span.
    order = np.argsort(row + time / (1.0 + good_time.stop[row, -1]))
    # 0.02 to 0.98 of the channel: float32 keeps it inside
    energy = ACIS_CHANNEL_WIDTH * (channel[order] + 0.02 + 0.96 * rng.random(cell.size))
    frame_middle = (np.floor(time[order] / FRAME_TIME) + 0.5) * FRAME_TIME
    offsets = np.concatenate([[0], np.cumsum(counts.sum(axis=1, dtype=np.int64))])
    return Ragged(frame_middle, offsets), Ragged(energy.astype(np.float32), offsets)
