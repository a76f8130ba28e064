"""Good time of many lists at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.catalog.resampling import interpolate_rows


@dataclass(frozen=True)
class GoodTime:
    """Good time that has passed since each list's first interval began, as a table a row.

    Attributes:
        start: (B,) s, of the first interval; 0 where a row has none.
        span: (B,) s, to the end of the last one; 0 where a row has none.
        given: (B,) bool, rows that have an interval.
        knot_rows, knots, passed: (K,) row, place in the span from 0 to 1, and s of good time before it.
    """

    start: np.ndarray
    span: np.ndarray
    given: np.ndarray
    knot_rows: np.ndarray
    knots: np.ndarray
    passed: np.ndarray

    @classmethod
    def from_intervals(cls, gti_start: Ragged, gti_stop: Ragged) -> GoodTime:
        """Of the union of each row's intervals, s; empty and backward ones are left out."""
        num_rows, rows = len(gti_start), row_index(gti_start)
        keep = gti_stop.values > gti_start.values  # False for NaN
        rows, start, stop = rows[keep], gti_start.values[keep], gti_stop.values[keep]
        given = np.bincount(rows, minlength=num_rows) > 0
        first, last = np.full(num_rows, np.inf), np.full(num_rows, -np.inf)
        np.minimum.at(first, rows, start)
        np.maximum.at(last, rows, stop)
        origin, span = np.where(given, first, 0.0), np.where(given, last - first, 0.0)
        # A row without intervals has the one knot that interpolation needs.
        without = np.flatnonzero(~given)
        rows = np.concatenate([rows, without])
        start, stop = (np.concatenate([edge, np.zeros(len(without))]) for edge in (start, stop))
        order = np.lexsort((start, rows))
        rows, start, stop = rows[order], start[order], stop[order]
        scale = np.where(span > 0, span, 1.0)[rows]
        low, high = (start - origin[rows]) / scale, (stop - origin[rows]) / scale
        # Where intervals overlap, one begins where those before it end.
        reached = np.maximum.accumulate(high + 2.0 * rows) - 2.0 * rows
        begins = np.diff(rows, prepend=-1) > 0
        low = np.maximum(low, np.where(begins, 0.0, np.concatenate([[0.0], reached])[: len(low)]))
        high = np.maximum(low, high)
        length = (high - low) * scale
        passed = np.cumsum(length)
        before = np.maximum.accumulate(np.where(begins, passed - length, 0.0))
        passed = passed - before
        knots = np.stack([low, high], axis=1).reshape(-1)
        return cls(
            origin, span, given, np.repeat(rows, 2), knots, np.stack([passed - length, passed], axis=1).reshape(-1)
        )

    def before(self, time: np.ndarray) -> np.ndarray:
        """(B, K) s of good time before (B, K) times, in s since `start`."""
        if not len(self.start):
            return np.zeros_like(time)
        place = np.clip(time / np.where(self.span > 0, self.span, 1.0)[:, None], 0.0, 1.0)
        rows = np.arange(len(self.start))[:, None]
        return interpolate_rows(self.knot_rows, self.knots, self.passed, rows, place, (0.0, 1.0))
