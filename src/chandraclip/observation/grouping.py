"""Channels grouped for the eye: neighbours joined until they hold enough. Fits never see this."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.stats import poisson_conf_interval

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
) -> GroupedSpectrum:
    """Joins channels of good QUALITY whose middle lies in a band.

    Args:
        spectrum: with a response.
        energy: keV.
        min_significance: a group is whole when its net counts are so many times their error, the root of counts +
            scale^2 background; what is left at the end is a group of its own.
        min_counts: a group is whole when it holds so many counts. With both, it needs both; with neither, every channel
            is a group.

    Raises:
        ValueError: no response; no good channel in the band; a limit that is not positive.
    """
    edges = spectrum.channel_energy_edges
    if edges is None:
        raise ValueError(f"{spectrum.path} has no response: {spectrum.response_problem}")
    for name, limit in (("min_significance", min_significance), ("min_counts", min_counts)):
        if limit is not None and not limit > 0:
            raise ValueError(f"{name} is {limit}, and must be positive")
    centre = (edges[1:] + edges[:-1]) / 2
    chosen = (centre >= energy[0]) & (centre <= energy[1])
    if spectrum.quality is not None:
        chosen &= spectrum.quality == 0
    channels = np.flatnonzero(chosen)
    if not channels.size:
        raise ValueError(f"{spectrum.path} has no good channel in {energy[0]:g}-{energy[1]:g} keV")
    counts = spectrum.counts[channels].astype(np.float64)
    expected = spectrum.expected_background[channels]
    scale = np.broadcast_to(spectrum.background_scale, spectrum.counts.shape)[channels]
    first = _first_channels(counts, expected, scale * expected, min_significance, min_counts)

    def total(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, first)

    last = np.append(first[1:], channels.size) - 1
    low, high = poisson_conf_interval(total(counts), interval="frequentist-confidence")
    background, variance = total(expected), total(scale * expected)
    net = total(counts) - background
    return GroupedSpectrum(
        energy_lo=edges[channels[first]],
        energy_hi=edges[channels[last] + 1],
        width=total(np.diff(edges)[channels]),
        counts=total(counts),
        background=background,
        net_low=net - np.hypot(total(counts) - low, np.sqrt(variance)),
        net_high=net + np.hypot(high - total(counts), np.sqrt(variance)),
        _first=first,
        _channels=channels,
    )


def _first_channels(
    counts: np.ndarray,
    background: np.ndarray,
    variance: np.ndarray,
    min_significance: float | None,
    min_counts: int | None,
) -> np.ndarray:
    """Where each group begins. `variance` is the background's, a channel."""
    if min_significance is None and min_counts is None:
        return np.arange(counts.size)
    before = np.zeros((3, counts.size + 1))
    np.cumsum([counts, background, variance], axis=1, out=before[:, 1:])
    first = [0]
    while True:  # over groups
        total, expected, error = before[:, first[-1] + 1 :] - before[:, first[-1], None]
        whole = np.ones(total.size, dtype=bool)
        if min_counts is not None:
            whole &= total >= min_counts
        if min_significance is not None:
            whole &= total - expected >= min_significance * np.sqrt(np.maximum(total + error, 1e-300))
        if not whole.any() or first[-1] + whole.argmax() + 1 >= counts.size:
            return np.array(first)
        first.append(first[-1] + int(whole.argmax()) + 1)
