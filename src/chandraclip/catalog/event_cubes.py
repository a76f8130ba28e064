"""E-t maps and E-t-dt cubes: photon lists as histograms of one shape, all lists at once.

Source: Dillmann et al. 2025, MNRAS 537, 931 (arXiv:2412.01150), sect. 3. Time is scaled to [0, 1] between a list's own
first and last photon, so a map knows neither duration nor rate, and no good time: a gap looks like a lull.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from chandraclip.catalog.bands import BANDS
from chandraclip.catalog.photon_lists import PhotonLists, photons_in_band
from chandraclip.catalog.ragged import Ragged

NUM_TIME_BINS, NUM_ENERGY_BINS, NUM_INTERVAL_BINS = 24, 16, 16
_BLOCK = 1 << 16  # photons handled together: their arrays stay in the cache


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
        (B, num_time_bins, num_energy_bins) int32 counts, what numpy.histogram2d gives of each list, edges included.
        Where all photons have one time, which the published scaling divides 0 by 0 for, they are in the first bin.

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
        (B, num_time_bins, num_energy_bins, num_interval_bins) int32 counts, what numpy.histogramdd gives of each list,
        edges included. Equal times are in the first bin of time, equal intervals in the first of intervals.

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
    size = int(np.prod(num_bins))
    counts = np.zeros((len(photons.counts), size), dtype=np.int32)
    offsets = photons.offsets
    # Whole lists, as many as make up a block; one longer than that is a block of its own.
    block = offsets[:-1] // _BLOCK
    first = np.flatnonzero(np.diff(block, prepend=-1))
    for start, stop in pairwise([*first.tolist(), len(photons.counts)]):
        part = slice(offsets[start], offsets[stop])
        own = PhotonLists(photons.rows[part], photons.time[part], photons.energy[part], photons.counts[start:stop])
        if len(own.rows):
            _count(own, num_bins, energy_range, counts, start)
    return counts.reshape(-1, *num_bins)


def _count(
    photons: PhotonLists, num_bins: tuple[int, ...], energy_range: tuple[float, float], counts: np.ndarray, start: int
) -> None:
    rows, time, energy = photons.rows, photons.time, photons.energy
    lengths = photons.counts
    if len(num_bins) == 3:
        last = np.zeros(len(rows), dtype=bool)
        last[np.cumsum(lengths[lengths > 0]) - 1] = True
        keep = np.flatnonzero(~last)
        interval = np.diff(time)[keep]
        rows, time, energy = rows[keep], time[keep], energy[keep]
        lengths = np.maximum(lengths - 1, 0)
        if not len(rows):
            return
    low, high = np.log10([1000.0 * edge for edge in energy_range])  # of eV, as published
    cell = rows.astype(np.int64)
    cell *= num_bins[0]
    cell += uniform_bins(_scaled(time, lengths, is_sorted=True), 0.0, 1.0, num_bins[0])
    cell *= num_bins[1]
    cell += uniform_bins(np.log10(1000.0 * energy), low, high, num_bins[1])
    if len(num_bins) == 3:
        cell *= num_bins[2]
        cell += uniform_bins(_scaled(interval, lengths), 0.0, 1.0, num_bins[2])
    np.add.at(counts.reshape(-1), cell, 1)


def _scaled(values: np.ndarray, lengths: np.ndarray, is_sorted: bool = False) -> np.ndarray:
    """(T,) values from 0 to 1 between the least and largest of their list; 0 where all are equal."""
    filled = lengths[lengths > 0]
    stop = np.cumsum(filled)
    start = stop - filled
    if is_sorted:
        least, span = values[start], values[stop - 1] - values[start]
    else:
        least = np.minimum.reduceat(values, start)
        span = np.maximum.reduceat(values, start) - least
    span = np.where(span > 0, span, 1.0)
    return (values - np.repeat(least, filled)) / np.repeat(span, filled)


def uniform_bins(values: np.ndarray, low: float, high: float, num_bins: int) -> np.ndarray:
    """(T,) int32, the bin of each value from `low` to `high`, by the edges and rules of numpy.histogramdd.

    A bin has its lower edge and not its upper one, but for the last, which has both. The first guess is off by one at
    most, where rounding decides; a comparison with the edges themselves settles it, faster than a search.
    """
    edges = np.linspace(low, high, num_bins + 1)
    bins = ((values - low) * (num_bins / (high - low))).astype(np.int32)
    np.clip(bins, 0, num_bins - 1, out=bins)
    bins += values >= edges[bins + 1]
    np.minimum(bins, num_bins - 1, out=bins)
    bins -= values < edges[bins]
    return np.maximum(bins, 0, out=bins)


def min_max(counts: np.ndarray) -> np.ndarray:
    """(B, ...) counts to [0, 1] between the least and largest cell of each list, float32; 0 where all are equal.

    Source: as published, for autoencoders; principal components are of the counts themselves.
    """
    flat = counts.reshape(len(counts), int(np.prod(counts.shape[1:]))).astype(np.float32)
    least = flat.min(axis=1, keepdims=True)
    span = flat.max(axis=1, keepdims=True) - least
    return ((flat - least) / np.where(span > 0, span, 1.0)).reshape(counts.shape)
