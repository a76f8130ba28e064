"""What Axia's encoder reads of photon lists, of all lists at once.

Source: the repository AstroMind-Inc/axia (MIT, June 2026), `source_to_xray_tensors`. Its documentation calls the
histogram logarithmic and the periodogram Lomb-Scargle; its code has equal bins of energy, whose counts are taken the
logarithm of, and Rayleigh powers. These are the code's.
"""

from __future__ import annotations

import numpy as np

from chandraclip.catalog.event_cubes import uniform_bins
from chandraclip.catalog.photon_lists import PhotonLists
from chandraclip.catalog.ragged import ranks_in_rows

SPECTRUM_BAND = 0.5, 7.0  # keV
SOFT_LIMIT = 2.0  # keV, between the soft and the hard photons of the hardness
FREQUENCY_RANGE = 1e-4, 0.25  # Hz
ABSOLUTE_TIME_SCALE = 1e-4  # a second
LOG_ENERGY_MEAN, LOG_ENERGY_STD = 3.263709927970281, 0.26947376549240537  # of log10(1 + energy in eV)
MIN_DURATION = 1.0  # s; Axia's 1e-8 makes a rate of 1e11 a ks of a single photon


def from_first_photon(photons: PhotonLists) -> np.ndarray:
    """(T,) float64, s since the first photon of the list."""
    filled = photons.counts[photons.counts > 0]
    return photons.time - np.repeat(photons.time[np.cumsum(filled) - filled], filled)


def durations(photons: PhotonLists) -> np.ndarray:
    """(B,) float64, s from the first photon to the last, at least `MIN_DURATION`."""
    result = np.zeros(len(photons.counts))
    np.maximum.at(result, photons.rows, from_first_photon(photons))
    return np.maximum(result, MIN_DURATION)


def photon_values(photons: PhotonLists) -> np.ndarray:
    """(T, 5) float64: relative time, time x 1e-4, log(1 + s since the photon before), standardised log energy, rank.

    The rank of the energy is that among the photons of the list, from 1 / N to 1, ties sharing their mean.
    """
    elapsed = from_first_photon(photons)
    interval = np.diff(elapsed, prepend=0.0)
    interval[np.diff(photons.rows, prepend=-1) > 0] = 0.0
    log_energy = np.log10(1000.0 * photons.energy + 1.0)
    return np.stack(
        [
            elapsed / durations(photons)[photons.rows],
            elapsed * ABSOLUTE_TIME_SCALE,
            np.log1p(interval),
            (log_energy - LOG_ENERGY_MEAN) / LOG_ENERGY_STD,
            ranks_in_rows(photons.energy, photons.rows) / photons.counts[photons.rows],
        ],
        axis=1,
    )


def log_histogram(photons: PhotonLists, num_bins: int) -> np.ndarray:
    """(B, num_bins) log(1 + photons a ks) in equal bins of 0.5-7 keV."""
    low, high = SPECTRUM_BAND
    inside = photons.energy <= high
    cell = photons.rows[inside] * num_bins + uniform_bins(photons.energy[inside], low, high, num_bins)
    counts = np.bincount(cell, minlength=len(photons.counts) * num_bins).reshape(-1, num_bins)
    return np.log1p(counts / (durations(photons)[:, None] / 1000.0))


def frequencies(num_frequencies: int) -> np.ndarray:
    """(num_frequencies,) Hz, equal steps of the logarithm over 1e-4 to 0.25 Hz."""
    return np.geomspace(*FREQUENCY_RANGE, num_frequencies)


def log_periodogram(photons: PhotonLists, num_frequencies: int) -> np.ndarray:
    """(B, num_frequencies) log(1 + 2 / N |sum of exp(2 pi i f t)|^2), 0 for an empty list.

    Sums over the photons themselves, exact at any frequency; Leahy et al. 1983 (ApJ 272, 256): exponential with mean 2
    for a constant source, at frequencies well above one over the duration.
    """
    power = np.zeros((len(photons.counts), num_frequencies))
    filled = np.flatnonzero(photons.counts)
    if not filled.size:
        return power
    elapsed, start = from_first_photon(photons), photons.offsets[filled]
    for place, frequency in enumerate(frequencies(num_frequencies)):
        # Turns are counted in float64 (thousands of them); what is left of one needs float32, which is much faster.
        turn = elapsed * frequency
        angle = ((turn - np.floor(turn)) * (2.0 * np.pi)).astype(np.float32)
        squares = (np.add.reduceat(part, start, dtype=np.float64) ** 2 for part in (np.sin(angle), np.cos(angle)))
        power[filled, place] = 2.0 / photons.counts[filled] * sum(squares)
    return np.log1p(power)


def meta_values(photons: PhotonLists) -> np.ndarray:
    """(B, 3): log10(1 + s from first to last photon), photons a ks, (hard - soft) / (hard + soft), 0 where neither is.

    Soft is below 2 keV, hard 2-7 keV.
    """
    duration = durations(photons)
    kinds = np.digitize(photons.energy, (SOFT_LIMIT, SPECTRUM_BAND[1]))
    soft, hard = (np.bincount(photons.rows[kinds == kind], minlength=len(duration)) for kind in (0, 1))
    hardness = (hard - soft) / np.maximum(hard + soft, 1)
    return np.stack([np.log10(duration + 1.0), photons.counts / duration * 1000.0, hardness], axis=1)
