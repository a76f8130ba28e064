"""Arithmetic of time intervals: union, intersection, membership."""

from __future__ import annotations

import numpy as np

EVERYTHING = np.array([[-np.inf, np.inf]])


def merge_intervals(intervals: np.ndarray) -> np.ndarray:
    """Union of intervals.

    Args:
        intervals: (n, 2) in any order, overlapping or not; empty ones are dropped.

    Returns:
        (m, 2) in order, disjoint; intervals that touch are joined.
    """
    intervals = intervals[intervals[:, 1] > intervals[:, 0]]
    intervals = intervals[np.argsort(intervals[:, 0], kind="stable")]
    if len(intervals) < 2:
        return intervals
    reach = np.maximum.accumulate(intervals[:, 1])
    begins = np.append(True, intervals[1:, 0] > reach[:-1])
    ends = np.append(np.flatnonzero(begins)[1:] - 1, len(intervals) - 1)
    return np.column_stack([intervals[begins, 0], reach[ends]])


def intersect_intervals(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """What two sets of intervals have in common.

    Args:
        first, second: (n, 2) and (m, 2), each in order and disjoint, as `merge_intervals` gives them; edges may be
            infinite.

    Returns:
        (k, 2) in order, disjoint.
    """
    if not len(first) or not len(second):
        return np.zeros((0, 2))
    edges = np.unique(np.concatenate([first.ravel(), second.ravel()]))
    pieces = np.column_stack([edges[:-1], edges[1:]])  # no interval begins or ends inside one
    inside = np.ones(len(pieces), dtype=bool)
    for intervals in (first, second):
        before = np.searchsorted(intervals[:, 0], pieces[:, 0], side="right") - 1
        inside &= (before >= 0) & (pieces[:, 1] <= intervals[np.maximum(before, 0), 1])
    return merge_intervals(pieces[inside])


def inside_intervals(time: np.ndarray, intervals: np.ndarray) -> np.ndarray:
    """(N,) bool: whether each time lies in one of the (n, 2) disjoint, ordered intervals, edges included."""
    if not len(intervals):
        return np.zeros(np.shape(time), dtype=bool)
    before = np.searchsorted(intervals[:, 0], time, side="right") - 1
    return (before >= 0) & (time <= intervals[np.maximum(before, 0), 1])


def total_time(intervals: np.ndarray) -> float:
    """The sum of (n, 2) disjoint intervals."""
    return float((intervals[:, 1] - intervals[:, 0]).sum())
