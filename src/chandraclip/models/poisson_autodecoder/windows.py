"""The training set of PPAD: photon lists cut in windows of 8 h, and its subset of bright ones.

Source: Song et al. 2025 (arXiv:2502.01627) and its code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from chandraclip.catalog.ragged import Ragged, row_index


@dataclass(frozen=True)
class Windows:
    """Windows of photon lists.

    Attributes:
        row: (W,) int64, the list each was cut from.
        number: (W,) int64, its place in the list, from 0.
        photon: (T,) int64, which of the lists' photons they hold, window by window.
        time: (T,) s since the window's first photon.
        offsets: (W + 1,) int64, window i is photons offsets[i] to offsets[i + 1].
        start: (W,) s, the time of the list that is 0 in the window.
    """

    row: np.ndarray
    number: np.ndarray
    photon: np.ndarray
    time: np.ndarray
    offsets: np.ndarray
    start: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """(W,) photons."""
        return np.diff(self.offsets)


def cut_windows(
    time: Ragged,
    length: float = 28_800.0,
    duration: tuple[float, float] = (28_800.0, 200_000.0),
    num_photons: tuple[int, int] = (10, 10_000),
    more_than: int = 10,
) -> Windows:
    """Cut lists in consecutive windows: each begins at the first photon after the one before, which becomes time 0.

    Args:
        time: s, in order, of the photons of 0.5-7 keV.
        length: s, of a window.
        duration: s from the first photon to the last; other lists are left out.
        num_photons: the same for the number of photons.
        more_than: photons that a window must exceed.

    Returns:
        Windows, list by list and in order of time.
    """
    rows, times, counts = row_index(time), np.asarray(time.values), np.diff(time.offsets)
    some = np.flatnonzero(counts)
    lasts = np.zeros(len(counts))
    lasts[some] = times[time.offsets[1:][some] - 1] - times[time.offsets[:-1][some]]
    kept = (counts >= num_photons[0]) & (counts <= num_photons[1]) & (counts > 0)
    kept &= (lasts >= duration[0]) & (lasts <= duration[1])
    window = np.full(len(times), -1)
    start = np.zeros(len(times))
    # One pass a window of the longest list, all lists at once.
    first, left, number = time.offsets[:-1].copy(), kept.copy(), 0
    while left.any():
        begin = np.where(left, times[np.minimum(first, max(len(times) - 1, 0))], np.inf)
        inside = (window < 0) & left[rows] & (times <= begin[rows] + length)
        window[inside], start[inside] = number, begin[rows[inside]]
        first = first + np.bincount(rows[inside], minlength=len(counts))
        left &= first < time.offsets[1:]
        number += 1
    photon = np.flatnonzero(window >= 0)
    # In order already, as the photons are.
    place, begins, sizes = np.unique(
        rows[photon] * max(number, 1) + window[photon], return_index=True, return_counts=True
    )
    large = sizes > more_than
    starts = start[photon[begins]][large]
    photon, place, sizes = photon[np.repeat(large, sizes)], place[large], sizes[large]
    return Windows(
        row=place // max(number, 1),
        number=place % max(number, 1),
        photon=photon,
        time=times[photon] - np.repeat(starts, sizes),
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        start=starts,
    )


def shift_windows(windows: Windows, generator: np.random.Generator) -> Windows:
    """Windows that begin up to an interval before their first photon, whose time would be 0 in all of them.

    The shift is uniform between 0 and the time from the first photon to the second; photons that it moves past the
    last one's old place are left out, as published.

    Args:
        windows: of two photons or more each.
        generator: of the shifts.
    """
    first = windows.offsets[:-1]
    shift = generator.random(len(first)) * (windows.time[first + 1] - windows.time[first])
    rows = np.repeat(np.arange(len(first)), windows.counts)
    time = windows.time + shift[rows]
    kept = time <= windows.time[windows.offsets[1:] - 1][rows]
    sizes = np.bincount(rows[kept], minlength=len(first))
    return replace(
        windows,
        photon=windows.photon[kept],
        time=time[kept],
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        start=windows.start - shift,
    )


def bright_probability(counts: np.ndarray, location: float = 900.0, power: float = 0.01) -> np.ndarray:
    """The share of windows of so many photons that the filtered set keeps; 1/2 at `location`.

    .. math:: 1 - 1 / (1 + \\exp(c^{1 - p} N^p - c))

    The published notebook has c = 900, p = 0.01 for a set of 1,001; those of its set of 14,891 are not known.
    """
    return 1.0 / (1.0 + np.exp(location - location ** (1.0 - power) * np.asarray(counts, dtype=np.float64) ** power))
