"""From rates to recorded events: arrival times, pile-up in the readout frame, channels, and what the detector loses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chandraclip.catalog.ragged import Ragged
from chandraclip.simulate.instrument.detector import (
    EVENT_BAND,
    FOCUSED_SHARE,
    GRADE_MIGRATION,
    BadColumns,
    GoodTime,
    background_shape,
    pileup_cells,
)
from chandraclip.simulate.instrument.photons import draw_channels, draw_energies
from chandraclip.simulate.instrument.pileup import pile_up_photons
from chandraclip.simulate.instrument.response import Instrument
from chandraclip.simulate.variability.kinds import Variable

CROWDED_RATE = 1e-2  # photons a frame above which all photons are passed on; of no effect but on speed


@dataclass(frozen=True)
class Rates:
    """What arrives, of D detections; spectra are photons/s/bin behind the effective area.

    Attributes:
        steady: (D, E), of the detections that are constant; the others' rows are not read.
        variable: light curves of the V that vary.
        first, second: (V, E), the two spectra at rate 1 of `variable`'s light curves.
        background: (D,) counts/s in 0.5-7 keV in the source aperture.
    """

    steady: np.ndarray
    variable: Variable
    first: np.ndarray
    second: np.ndarray
    background: np.ndarray


@dataclass(frozen=True)
class Recorded:
    """Events of D detections, by detection, in order of time.

    Attributes:
        time: s since the first GTI start, the middle of the frame. energy: keV, uniform within the channel.
        counts: (D, C) int32, events a channel: the histogram of the list.
        pileup_fraction: (D,) share of the source's events that are of more than one photon.
    """

    time: Ragged
    energy: Ragged
    counts: np.ndarray
    pileup_fraction: np.ndarray


def record(
    rng: np.random.Generator,
    rates: Rates,
    instrument: Instrument,
    number: np.ndarray,
    good_time: GoodTime,
    theta: np.ndarray,
    bad_columns: BadColumns,
    pileup: bool = True,
) -> Recorded:
    """The events of D detections: a Poisson process in time and energy, photon by photon.

    Photons arrive over the whole observation and are kept in good time; so are those lost to dead time, bad columns and
    grades left out one by one. No detection is normalised to an expected number.

    Args:
        number: (D,) int, index into `instrument.names`.
        theta: (D,) arcmin; how many cells of the detector the PSF covers.
        pileup: photons of one frame and cell are read as one event (Davis 2001).
    """
    num_rows = len(theta)
    row, time, energy = _source_photons(rng, rates, instrument, good_time)
    kept = good_time.contains(row, time) & ~bad_columns.lost(rng, row, time)
    row, time, energy = row[kept], time[kept], energy[kept]
    frame = np.floor(time / good_time.frame_time[row]).astype(np.int64)
    num_photons = np.ones(row.size, dtype=np.int64)
    if pileup:
        row, frame, energy, num_photons = _pile_up(rng, row, frame, energy, theta, good_time)
    channel = np.full(energy.size, -1)
    for index, response in enumerate(instrument.responses):
        of_it = np.flatnonzero(number[row] == index)
        channel[of_it] = draw_channels(rng, response, energy[of_it])
    channel_energy = instrument.channel_energy
    in_band = (channel_energy >= EVENT_BAND[0]) & (channel_energy < EVENT_BAND[1])
    kept = (channel >= 0) & in_band[channel]
    row, frame, channel, num_photons = row[kept], frame[kept], channel[kept], num_photons[kept]
    recorded = np.bincount(row, minlength=num_rows)
    piled = np.bincount(row[num_photons > 1], minlength=num_rows) / np.maximum(recorded, 1)

    other_row, other_frame, other_channel = _background_events(
        rng, rates.background, instrument, good_time, bad_columns
    )
    row = np.concatenate([row, other_row])
    frame = np.concatenate([frame, other_frame])
    channel = np.concatenate([channel, other_channel])
    order = np.argsort(row * (int(frame.max(initial=0)) + 1) + frame, kind="stable")
    row, frame, channel = row[order], frame[order], channel[order]
    time = (frame + 0.5) * good_time.frame_time[row]
    edges = instrument.response.channel_energy_edges
    # 0.02 to 0.98 of the channel: float32 keeps it inside
    energy = edges[channel] + (0.02 + 0.96 * rng.random(channel.size)) * (edges[channel + 1] - edges[channel])
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=num_rows))])
    num_channels = channel_energy.size
    counts = np.bincount(row * num_channels + channel, minlength=num_rows * num_channels)
    return Recorded(
        time=Ragged(time, offsets),
        energy=Ragged(energy.astype(np.float32), offsets),
        counts=counts.reshape(num_rows, num_channels).astype(np.int32),
        pileup_fraction=piled,
    )


def _source_photons(
    rng: np.random.Generator, rates: Rates, instrument: Instrument, good_time: GoodTime
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Detection, time and incident energy of the photons that arrive while the detector is live."""
    lo, hi = instrument.response.energy_lo, instrument.response.energy_hi
    steady = np.ones(len(rates.steady), dtype=bool)
    steady[rates.variable.row] = False
    constant = np.flatnonzero(steady)
    expected = rates.steady[constant].sum(axis=1) * (good_time.live_share * good_time.duration)[constant]
    number = rng.poisson(expected)
    row = np.repeat(constant, number)
    energy = draw_energies(rng, rates.steady[constant], number, lo, hi)
    parts = [(row, good_time.duration[row] * rng.random(row.size), energy)]
    live = good_time.live_share[rates.variable.row]
    for curves, spectra in ((rates.variable.first, rates.first), (rates.variable.second, rates.second)):
        expected = spectra.sum(axis=1) * curves.cumulative()[:, -1] * (1.0 + curves.amplitude) * live
        which, time = curves.draw(rng, rng.poisson(expected))
        number = np.bincount(which, minlength=len(spectra))
        parts.append((rates.variable.row[which], time, draw_energies(rng, spectra, number, lo, hi)))
    row, time, energy = (np.concatenate(column) for column in zip(*parts))
    return row, time, energy


def _pile_up(
    rng: np.random.Generator,
    row: np.ndarray,
    frame: np.ndarray,
    energy: np.ndarray,
    theta: np.ndarray,
    good_time: GoodTime,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The events that are left of the photons, and how many photons each has; who has a frame alone stays."""
    num_rows = len(theta)
    num_frames = (good_time.stop - good_time.start).sum(axis=1) / good_time.frame_time
    # Of detections with few photons, most are alone: only those that share a frame are looked at further.
    looked_at = (np.bincount(row, minlength=num_rows) > CROWDED_RATE * num_frames)[row]
    sparse = np.flatnonzero(~looked_at)
    _, which, number = np.unique(
        row[sparse] * (frame.max(initial=0) + 1) + frame[sparse], return_inverse=True, return_counts=True
    )
    looked_at[sparse] = number[which] > 1
    chosen, others = np.flatnonzero(looked_at), np.flatnonzero(~looked_at)
    chosen = chosen[np.argsort(row[chosen], kind="stable")]  # the two streams of a varying source come together
    piled = pile_up_photons(
        rng,
        row[chosen],
        frame[chosen],
        energy[chosen],
        np.full(num_rows, GRADE_MIGRATION),
        np.full(num_rows, FOCUSED_SHARE),
        pileup_cells(theta),
    )
    left = chosen[piled.kept]
    index = np.concatenate([left, others])
    energy = np.concatenate([piled.energy[piled.kept], energy[others]])
    num_photons = np.concatenate([piled.num_photons[piled.kept], np.ones(others.size, dtype=np.int64)])
    return row[index], frame[index], energy, num_photons


def _background_events(
    rng: np.random.Generator, rate: np.ndarray, instrument: Instrument, good_time: GoodTime, bad_columns: BadColumns
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Detection, frame and channel of background events: steady, of one spectrum."""
    shape = background_shape(instrument.response.channel_energy_edges)
    cumulative = np.cumsum(shape)
    expected = rate * cumulative[-1] * good_time.live_share * good_time.duration
    row = np.repeat(np.arange(len(rate)), rng.poisson(expected))
    time = good_time.duration[row] * rng.random(row.size)
    channel = np.searchsorted(cumulative, cumulative[-1] * rng.random(row.size), side="right")
    kept = good_time.contains(row, time) & ~bad_columns.lost(rng, row, time)
    row, time, channel = row[kept], time[kept], np.minimum(channel[kept], shape.size - 1)
    return row, np.floor(time / good_time.frame_time[row]).astype(np.int64), channel
