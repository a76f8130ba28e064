"""Photons of a batch of lists, the good time around them, and the frame they were read out in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.catalog.resampling import interpolate_rows

OUT_OF_BAND, UNKNOWN_BAND = -1, -2  # of `event_band`
MAX_FRAMES_PER_INTERVAL = 16  # the shortest interval of a faint list may be several frames
FRAMES_COMPARED = 50  # times that were rounded drift out of step with the frame later on
COHERENCE = 0.8  # mean resultant length of the intervals' phases in the frame, 1 where all are multiples of it


@dataclass
class Photons:
    """Photons that are kept, in order of row and time: rows, time (s), energy (keV) are (T,), counts is (B,)."""

    rows: np.ndarray
    time: np.ndarray
    energy: np.ndarray
    counts: np.ndarray


@dataclass
class GoodTime:
    """Good time of every row as a piecewise linear table over [0, 1], the span of its GTIs.

    `start`, `duration` and `exposure` are (B,) in s; `given` (B,) bool is False where the row had no GTI; `knots` and
    `shares` (K,), two or more a row, are places and the share of the good time elapsed there.
    """

    start: np.ndarray
    duration: np.ndarray
    exposure: np.ndarray
    given: np.ndarray
    knot_rows: np.ndarray
    knots: np.ndarray
    shares: np.ndarray

    @classmethod
    def from_columns(cls, gti_start: Ragged, gti_stop: Ragged, photons: Photons, num_rows: int) -> GoodTime:
        rows = row_index(gti_start)
        keep = gti_stop.values > gti_start.values
        rows, start, stop = rows[keep], gti_start.values[keep], gti_stop.values[keep]
        given = np.bincount(rows, minlength=num_rows) > 0
        last_time = np.zeros(num_rows)
        np.maximum.at(last_time, photons.rows, photons.time)
        without = np.flatnonzero(~given)
        rows = np.concatenate([rows, without])
        start = np.concatenate([start, np.zeros(len(without))])
        stop = np.concatenate([stop, np.where(last_time > 0, last_time, 1.0)[without]])
        order = np.lexsort((start, rows))
        rows, start, stop = rows[order], start[order], stop[order]

        first = np.flatnonzero(np.diff(rows, prepend=-1))
        origin = start[first]
        duration = np.maximum.reduceat(stop, first) - origin if num_rows else np.zeros(0)
        low, high = ((edge - origin[rows]) / duration[rows] for edge in (start, stop))
        # The union of the intervals, should some overlap: one begins where those before it end.
        reached = np.maximum.accumulate(high + 2.0 * rows) - 2.0 * rows
        low = np.maximum(low, np.where(np.diff(rows, prepend=-1) > 0, 0.0, np.append(0.0, reached[:-1])[: len(low)]))
        high = np.maximum(high, low)
        length = high - low
        share = np.bincount(rows, length, minlength=num_rows)
        elapsed = np.cumsum(length)
        elapsed -= (elapsed[first] - length[first])[rows] if num_rows else 0.0
        return cls(
            start=origin,
            duration=duration,
            exposure=share * duration,
            given=given,
            knot_rows=np.repeat(rows, 2),
            knots=np.stack([low, high], axis=1).reshape(-1),
            shares=np.stack([elapsed - length, elapsed], axis=1).reshape(-1) / np.repeat(share[rows], 2),
        )

    def position(self, rows: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Place of `time` (s) in [0, 1]."""
        return np.clip((time - self.start[rows]) / self.duration[rows], 0.0, 1.0)

    def elapsed(self, rows: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Share of the good time that lies before `position`."""
        if not len(self.start):
            return np.zeros_like(position)
        return interpolate_rows(self.knot_rows, self.knots, self.shares, rows, position, (0.0, 1.0))

    def cell_shares(self, num_cells: int) -> np.ndarray:
        """(B, num_cells) good-time share of equal cells of [0, 1]."""
        edges = np.linspace(0.0, 1.0, num_cells + 1)
        elapsed = self.elapsed(
            np.arange(len(self.start))[:, None], np.broadcast_to(edges, (len(self.start), len(edges)))
        )
        share = np.divide(self.exposure, self.duration)
        return np.clip(np.diff(elapsed, axis=1) * num_cells * share[:, None], 0.0, 1.0)


def frame_times(photons: Photons, num_rows: int) -> np.ndarray:
    """(B,) s, the readout frame that the times of each list are multiples of; 0 where they are of none.

    The longest frame, from the shortest interval between photons down to a sixteenth of it, that intervals up to 50 of
    the shortest are multiples of; the shortest interval itself where no frame fits and some photons have equal times.
    """
    interval = np.diff(photons.time)
    row = photons.rows[1:]
    same = row == photons.rows[:-1]
    tied = np.bincount(row[same & (interval == 0)], minlength=num_rows) > 0
    use = same & (interval > 0)
    interval, row = interval[use], row[use]
    shortest = np.full(num_rows, np.inf)
    np.minimum.at(shortest, row, interval)
    near = interval <= FRAMES_COMPARED * shortest[row]
    interval, row = interval[near] / shortest[row[near]], row[near]
    number = np.bincount(row, minlength=num_rows)
    frame = np.where(tied & (number > 0), shortest, 0.0)
    found = number < 2 * ~tied + 2  # too few to tell: two pairs, or four where no two photons have equal times
    for parts in range(1, MAX_FRAMES_PER_INTERVAL + 1):
        phase = 2.0 * np.pi * parts * interval
        cosine, sine = (np.bincount(row, part, minlength=num_rows) for part in (np.cos(phase), np.sin(phase)))
        fits = ~found & (np.hypot(cosine, sine) >= COHERENCE * number) & (cosine > 0)
        frame[fits] = shortest[fits] / parts
        found |= fits
    return frame
