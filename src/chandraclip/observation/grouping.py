"""Channels grouped for the eye: neighbours joined until they hold enough. Fits never see this."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.stats import poisson_conf_interval

from chandraclip.ogip.response import Response
from chandraclip.ogip.spectrum import Spectrum


@dataclass(frozen=True, eq=False)
class GroupedSpectrum:
    """Sums over n groups of neighbouring channels, in increasing energy.

    Attributes:
        energy_lo, energy_hi: (n,) keV, from the first channel of the group to the last.
        width: (n,) keV of the channels that count: those of good QUALITY.
        counts: (n,) photons, background included.
        background: (n,) counts expected from the background.
        net_low, net_high: (n,) counts, limits of 68.3 % of counts less background: the exact Poisson interval of the
            counts (Gehrels 1986, ApJ 303, 336), the background's own error added in quadrature.
    """

    energy_lo: np.ndarray
    energy_hi: np.ndarray
    width: np.ndarray
    counts: np.ndarray
    background: np.ndarray
    net_low: np.ndarray
    net_high: np.ndarray
    _first: np.ndarray
    _channels: np.ndarray

    @property
    def net(self) -> np.ndarray:
        """(n,) counts less background."""
        return self.counts - self.background

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(n,) sums over each group of what each channel has, (C,)."""
        return np.add.reduceat(values[self._channels], self._first)


def group_spectrum(
    spectrum: Spectrum,
    energy: tuple[float, float],
    min_significance: float | None = None,
    min_counts: int | None = None,
    oversample: float | None = None,
) -> GroupedSpectrum:
    """Joins channels of good QUALITY whose middle lies in a band.

    Args:
        spectrum: with a response.
        energy: keV.
        min_significance: a group is whole when its net counts are so many times their error, the root of counts +
            scale^2 background; what is left at the end is a group of its own.
        min_counts: a group is whole when it holds so many counts.
        oversample: a group is whole when it is as wide as the resolution (FWHM) over this. Of several limits a group
            needs all; without any, every channel is a group.

    Raises:
        ValueError: no response; no good channel in the band; a limit that is not positive.
    """
    edges = spectrum.channel_energy_edges
    if edges is None:
        raise ValueError(f"{spectrum.path} has no response: {spectrum.response_problem}")
    limits = {"min_significance": min_significance, "min_counts": min_counts, "oversample": oversample}
    for name, limit in limits.items():
        if limit is not None and not limit > 0:
            raise ValueError(f"{name} is {limit}, and must be positive")
    centre = (edges[1:] + edges[:-1]) / 2
    chosen = (centre >= energy[0]) & (centre <= energy[1])
    chosen &= spectrum.good_channels
    channels = np.flatnonzero(chosen)
    if not channels.size:
        raise ValueError(f"{spectrum.path} has no good channel in {energy[0]:g}-{energy[1]:g} keV")
    counts = spectrum.counts[channels].astype(np.float64)
    expected = spectrum.expected_background[channels]
    scale = np.broadcast_to(spectrum.background_scale, spectrum.counts.shape)[channels]
    width = np.diff(edges)[channels]
    wanted = np.zeros(channels.size)
    if oversample is not None and spectrum.response is not None:
        wanted = resolution(spectrum.response, centre[channels]) / oversample * (1 - 1e-6)
    # What a group has so far, and what it must have: each a row.
    has = np.stack([counts, expected, scale * expected, width])
    first = _first_channels(has, min_significance, min_counts, wanted)

    def total(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, first)

    last = np.append(first[1:], channels.size) - 1
    low, high = poisson_conf_interval(total(counts), interval="frequentist-confidence")
    background, variance = total(expected), total(scale * expected)
    net = total(counts) - background
    return GroupedSpectrum(
        energy_lo=edges[channels[first]],
        energy_hi=edges[channels[last] + 1],
        width=total(width),
        counts=total(counts),
        background=background,
        net_low=net - np.hypot(total(counts) - low, np.sqrt(variance)),
        net_high=net + np.hypot(high - total(counts), np.sqrt(variance)),
        _first=first,
        _channels=channels,
    )


def resolution(response: Response, energy: np.ndarray) -> np.ndarray:
    """Full width at half maximum of the response to photons of each energy, keV.

    Args:
        energy: (n,) keV.

    Returns:
        (n,) keV: the channels that hold at least half of the most probable one's share, a keV of channel each.
    """
    matrix, width = response.matrix, response.channel_energy_hi - response.channel_energy_lo
    rows = np.flatnonzero(np.diff(matrix.indptr) > 0)
    density = matrix.data / np.maximum(width[matrix.indices], 1e-12)
    starts = matrix.indptr[rows]
    highest = np.maximum.reduceat(density, starts)
    high = density >= 0.5 * np.repeat(highest, np.diff(matrix.indptr)[rows])
    full_width = np.add.reduceat(np.where(high, width[matrix.indices], 0.0), starts)
    return np.interp(energy, (response.energy_lo + response.energy_hi)[rows] / 2, full_width)


def _first_channels(
    has: np.ndarray, min_significance: float | None, min_counts: int | None, min_width: np.ndarray
) -> np.ndarray:
    """Where each group begins.

    Args:
        has: (4, C) counts, expected background, its variance, and width in keV.
        min_width: (C,) keV of a group that begins there.
    """
    if min_significance is None and min_counts is None and not min_width.any():
        return np.arange(has.shape[1])
    before = np.zeros((len(has), has.shape[1] + 1))
    np.cumsum(has, axis=1, out=before[:, 1:])
    first = [0]
    while True:  # over groups
        total, expected, variance, width = before[:, first[-1] + 1 :] - before[:, first[-1], None]
        whole = width >= min_width[first[-1]]
        if min_counts is not None:
            whole &= total >= min_counts
        if min_significance is not None:
            whole &= total - expected >= min_significance * np.sqrt(np.maximum(total + variance, 1e-300))
        if not whole.any() or first[-1] + whole.argmax() + 1 >= has.shape[1]:
            return np.array(first)
        first.append(first[-1] + int(whole.argmax()) + 1)
