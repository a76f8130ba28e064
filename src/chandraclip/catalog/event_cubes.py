"""E-t maps and E-t-dt cubes: photon lists as histograms of one shape, all lists at once.

Source: Dillmann et al. 2025, MNRAS 537, 931 (arXiv:2412.01150), sect. 3. Time is scaled to [0, 1] between a list's own
first and last photon, so a map knows neither duration nor rate, and no good time: a gap looks like a lull.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from chandraclip.catalog.bands import BANDS
from chandraclip.catalog.photon_lists import PhotonLists, photons_in_band
from chandraclip.catalog.ragged import Ragged

NUM_TIME_BINS, NUM_ENERGY_BINS, NUM_INTERVAL_BINS = 24, 16, 16
_BLOCK = 1 << 15  # photons handled together: their arrays stay in the cache


def energy_time_maps(
    time: Ragged,
    energy: Ragged,
    num_time_bins: int = NUM_TIME_BINS,
    num_energy_bins: int = NUM_ENERGY_BINS,
    energy_range: tuple[float, float] = BANDS["b"],
) -> np.ndarray:
    """Photons in bins of time and logarithm of energy.

    Args:
        time, energy: s and keV, a list a row.
        num_time_bins: between the first and last photon of a list.
        num_energy_bins: logarithmic, over `energy_range`.
        energy_range: keV; other photons are left out, before anything else.

    Returns:
        (B, num_time_bins, num_energy_bins) counts, what numpy.histogram2d gives of each list, edges included: uint16,
        or uint32 where a list has more photons than that holds. Where all photons have one time, which the published
        scaling divides 0 by 0 for, they are in the first bin.

    Raises:
        ValueError: lists of different lengths in a row.
    """
    photons, _ = photons_in_band(time, energy, *energy_range)
    return histograms(photons, (num_time_bins, num_energy_bins), energy_range)


def energy_time_interval_cubes(
    time: Ragged,
    energy: Ragged,
    num_time_bins: int = NUM_TIME_BINS,
    num_energy_bins: int = NUM_ENERGY_BINS,
    num_interval_bins: int = NUM_INTERVAL_BINS,
    energy_range: tuple[float, float] = BANDS["b"],
) -> np.ndarray:
    """Photons in bins of time, logarithm of energy and the interval until the next photon.

    The last photon, which has no next, is left out, before times are scaled. Intervals are scaled to [0, 1] between the
    shortest and the longest of a list.

    Args:
        time, energy, num_time_bins, num_energy_bins, energy_range: as `energy_time_maps`.
        num_interval_bins: between the shortest and the longest interval of a list.

    Returns:
        (B, num_time_bins, num_energy_bins, num_interval_bins) counts, of the type of `energy_time_maps`, what
        numpy.histogramdd gives of each list, edges included. Equal times are in the first bin of time, equal intervals
        in the first of intervals.

    Raises:
        ValueError: lists of different lengths in a row.
    """
    photons, _ = photons_in_band(time, energy, *energy_range)
    return histograms(photons, (num_time_bins, num_energy_bins, num_interval_bins), energy_range)


def histograms(photons: PhotonLists, num_bins: tuple[int, ...], energy_range: tuple[float, float]) -> np.ndarray:
    """Maps where two numbers of bins are given, cubes where there are three; see above.

    Args:
        photons: of the band.
        num_bins: of time, energy and, of a cube, intervals.
        energy_range: keV, of the photons.
    """
    num_lists = len(photons.counts)
    longest = int(photons.counts.max(initial=0))
    # Most of the time goes into memory that is touched for the first time: 12 KiB a cube, not 48.
    counts = np.zeros((num_lists, *num_bins), dtype=np.uint16 if longest < 1 << 16 else np.uint32)
    offsets = photons.offsets
    # Whole lists, as many as make up a block; one longer than that is a block of its own.
    first = np.flatnonzero(np.diff(offsets[:-1] // _BLOCK, prepend=-1))
    for start, stop in pairwise([*first.tolist(), num_lists]):
        part = slice(offsets[start], offsets[stop])
        own = photons.counts[start:stop]
        if part.start < part.stop:
            cells = _cells(photons.time[part], photons.energy[part], own, num_bins, energy_range)
            np.add.at(counts[start:stop].reshape(-1), cells, counts.dtype.type(1))
    return counts


def _cells(
    time: np.ndarray, energy: np.ndarray, lengths: np.ndarray, num_bins: tuple[int, ...], energy_range: tuple
) -> np.ndarray:
    """(T,) int64 place of each photon among the cells of all lists of a block."""
    low, high = np.log10([1000.0 * edge for edge in energy_range])  # of eV, as published
    filled = np.flatnonzero(lengths)
    number = lengths[filled]
    interval = None
    if len(num_bins) == 3:
        interval = np.diff(time)
        keep = np.ones(len(time), dtype=bool)
        keep[np.cumsum(number) - 1] = False  # the last photon has no interval
        time, energy, interval = time[keep], energy[keep], interval[keep[:-1]]
        filled, number = filled[number > 1], number[number > 1] - 1
    stop = np.cumsum(number)
    start = stop - number
    if not len(time):
        return np.zeros(0, dtype=np.int64)
    place = np.repeat(filled * num_bins[0], number)
    place += _scaled_bins(time, number, time[start], time[stop - 1], num_bins[0])
    place *= num_bins[1]
    place += _log_energy_bins(energy, low, high, num_bins[1])
    if interval is not None:
        place *= num_bins[2]
        extremes = np.minimum.reduceat(interval, start), np.maximum.reduceat(interval, start)
        place += _scaled_bins(interval, number, *extremes, num_bins[2])
    return place


def _scaled_bins(
    values: np.ndarray, number: np.ndarray, least: np.ndarray, largest: np.ndarray, num_bins: int
) -> np.ndarray:
    """(T,) int32 bin of each value between the least and the largest of its list; 0 where they are equal.

    Args:
        values: (T,).
        number: values a list, 1 or more. least, largest: of each list.
    """
    span = largest - least
    span[span == 0] = 1.0
    guess = values - np.repeat(least, number)
    guess *= np.repeat(num_bins / span, number)

    def exactly(index: np.ndarray) -> np.ndarray:
        row = np.searchsorted(np.cumsum(number), index, "right")
        return (values[index] - least[row]) / span[row]

    return _settled(guess, 1e-6, exactly, np.linspace(0.0, 1.0, num_bins + 1))


def _log_energy_bins(energy: np.ndarray, low: float, high: float, num_bins: int) -> np.ndarray:
    """(T,) int32 bin of the logarithm of each energy in keV, between `low` and `high`, of eV."""
    # Single precision decides all but the few near an edge, in a tenth of the time.
    scale = num_bins / (high - low)
    guess = np.log(energy, dtype=np.float32)
    guess *= np.float32(scale / np.log(10.0))
    guess += np.float32((3.0 - low) * scale)
    return _settled(guess, 1e-3, lambda index: np.log10(1000.0 * energy[index]), np.linspace(low, high, num_bins + 1))


def _settled(
    guess: np.ndarray, tolerance: float, exactly: Callable[[np.ndarray], np.ndarray], edges: np.ndarray
) -> np.ndarray:
    """(T,) int32 bins by the edges and rules of numpy.histogramdd: the lower edge is in, and of the last bin both.

    Args:
        guess: (T,) place in units of bins, off by less than the tolerance.
        tolerance: how near an edge the exact values decide.
        exactly: (K,) indices to exact values.
        edges: (bins + 1,).
    """
    bins = guess.astype(np.int32)
    guess -= bins  # between 0 and 1, but for rounding
    guess -= 0.5
    near = np.flatnonzero(np.abs(guess, out=guess) > 0.5 - tolerance)
    bins[near] = np.clip(np.searchsorted(edges, exactly(near), "right") - 1, 0, len(edges) - 2)
    return bins


def uniform_bins(values: np.ndarray, low: float, high: float, num_bins: int) -> np.ndarray:
    """(T,) int32 bin of values from `low` to `high`, as numpy.histogram has them."""
    guess = (values - low) * (num_bins / (high - low))
    return _settled(guess, 1e-6, lambda index: values[index], np.linspace(low, high, num_bins + 1))


def min_max(counts: np.ndarray) -> np.ndarray:
    """(B, ...) counts to [0, 1] between the least and largest cell of each list, float32; 0 where all are equal.

    Source: as published, for autoencoders; principal components are of the counts themselves.
    """
    flat = counts.reshape(len(counts), int(np.prod(counts.shape[1:]))).astype(np.float32)
    least = flat.min(axis=1, keepdims=True)
    span = flat.max(axis=1, keepdims=True) - least
    return ((flat - least) / np.where(span > 0, span, 1.0)).reshape(counts.shape)
