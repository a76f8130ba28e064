"""Photons on the clock of good time: what tests of a constant rate compare with a straight line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chandraclip.catalog.ragged import Ragged


@dataclass(frozen=True)
class GoodPhotons:
    """The photons of N lists that lie in good time, list by list.

    Attributes:
        row: (T,) int64, non-decreasing, the list of each.
        time: (T,) s since the first start of its list's good time, on the wall's clock.
        elapsed: (T,) s of good time before it, increasing within a list where the times are.
        num_photons: (N,) int64. good_time: (N,) s. span: (N,) s, from the first start to the last stop.
        index: (T,) int64, which one of all the photons that were given each is.
    """

    row: np.ndarray
    time: np.ndarray
    elapsed: np.ndarray
    num_photons: np.ndarray
    good_time: np.ndarray
    span: np.ndarray
    index: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """(N,) the first photon of each list."""
        return np.cumsum(self.num_photons) - self.num_photons


def good_photons(
    times: Ragged, gti_start: Ragged, gti_stop: Ragged, kept: np.ndarray | None = None, frame: float | np.ndarray = 0.0
) -> GoodPhotons:
    """Photons inside the good-time intervals, sorted.

    Args:
        times: N lists of photon times, s, in any order. Photons outside the intervals, and those whose time is not
            finite, are left out.
        gti_start, gti_stop: N lists of good-time intervals, s, sorted and disjoint.
        kept: (total photons,) bool, which photons count; None: all.
        frame: s, scalar or (N,): times are known to no more than that, so a photon whose frame reaches into an
            interval is in it, at the interval's edge.

    Raises:
        ValueError: the columns differ in length, or intervals overlap, end before they start or are not finite.
    """
    num_rows = len(times)
    if len(gti_start) != num_rows or not np.array_equal(gti_start.offsets, gti_stop.offsets):
        raise ValueError("photon times, starts and stops of the good time are of different rows")
    row = np.repeat(np.arange(num_rows), np.diff(times.offsets))
    time = np.asarray(times.values, dtype=np.float64)[times.offsets[0] : times.offsets[-1]]
    # First of all, since a time that is no number has no place in any order.
    usable = np.isfinite(time) if kept is None else np.isfinite(time) & kept
    index = np.flatnonzero(usable)
    row, time = row[index], time[index]
    begin, end = (
        np.asarray(lists.values, np.float64)[lists.offsets[0] : lists.offsets[-1]] for lists in (gti_start, gti_stop)
    )
    interval_row = np.repeat(np.arange(num_rows), np.diff(gti_start.offsets))
    good_time = np.bincount(interval_row, end - begin, minlength=num_rows)
    if not np.isfinite(end - begin).all():
        raise ValueError("good-time intervals are not finite")
    if begin.size and ((end < begin).any() or ((begin[1:] < end[:-1]) & (interval_row[1:] == interval_row[:-1])).any()):
        raise ValueError("good-time intervals overlap, are out of order, or end before they start")
    starts, stops = np.full(num_rows, np.inf), np.full(num_rows, -np.inf)
    np.minimum.at(starts, interval_row, begin)
    np.maximum.at(stops, interval_row, end)
    span = np.where(np.isfinite(starts), stops - starts, 0.0)
    if not (time.size and begin.size):
        nothing = np.zeros(0)
        none = nothing.astype(np.int64)
        return GoodPhotons(none, nothing, nothing, np.zeros(num_rows, np.int64), good_time, span, none)
    order = np.lexsort((time, row)) if (np.diff(time)[row[1:] == row[:-1]] < 0).any() else slice(None)
    row, time, index = row[order], time[order], index[order]

    # One increasing axis for all rows, so that one search finds the interval of every photon.
    half = 0.5 * np.broadcast_to(np.asarray(frame, np.float64), (num_rows,))
    origin = min(float(begin.min()), float(time.min()))
    width = 2.0 * (max(float(end.max()), float(time.max())) - origin + float(half.max())) + 1.0
    key, place = begin - origin + width * interval_row, time - origin + width * row
    interval = np.searchsorted(key, place + half[row], side="right") - 1
    valid = (interval >= 0) & (interval_row[np.maximum(interval, 0)] == row)
    interval = np.maximum(interval, 0)
    # Of two intervals that a frame reaches into, the one that the time lies in.
    before = valid & (time < begin[interval]) & (interval > 0)
    earlier = np.maximum(interval - 1, 0)
    inside = before & (interval_row[earlier] == row) & (time <= end[earlier])
    interval = np.where(inside, earlier, interval)
    valid &= time - half[row] <= end[interval]
    row, time, index, interval = row[valid], time[valid], index[valid], interval[valid]
    time = np.clip(time, begin[interval], end[interval])
    before_interval = np.concatenate([[0.0], np.cumsum(end - begin)])
    elapsed = before_interval[interval] - before_interval[gti_start.offsets[row] - gti_start.offsets[0]]
    elapsed = elapsed + time - begin[interval]
    number = np.bincount(row, minlength=num_rows)
    return GoodPhotons(row, time - starts[row], elapsed, number, good_time, span, index)


def clock_time(elapsed: np.ndarray, gti_start: np.ndarray, gti_stop: np.ndarray, ends: bool = False) -> np.ndarray:
    """The time on the wall's clock at which so much good time of one list has gone by.

    Args:
        elapsed: (M,) s of good time.
        gti_start, gti_stop: (k,) s.
        ends: of the two sides of a gap, the one before it: where something ends, not begins.
    """
    before = np.concatenate([[0.0], np.cumsum(gti_stop - gti_start)])
    slack = -1e-9 if ends else 1e-9
    interval = np.searchsorted(before, np.asarray(elapsed) + slack, side="left" if ends else "right") - 1
    interval = np.clip(interval, 0, len(gti_start) - 1)
    return np.clip(gti_start[interval] + elapsed - before[interval], gti_start[interval], gti_stop[interval])
