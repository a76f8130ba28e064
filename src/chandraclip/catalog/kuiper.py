"""Kuiper's and Kolmogorov-Smirnov tests of a constant rate, for many detections at once; CSC's kp_prob and ks_prob.

Statistics are of the photon times against the share of good time elapsed: V = D+ + D- and D = max(D+, D-). Their
chances are the asymptotic series with Stephens' (1970, J. R. Stat. Soc. B 32, 115) corrections for few photons,
lambda = (sqrt(N) + 0.155 + 0.24 / sqrt(N)) V and (sqrt(N) + 0.12 + 0.11 / sqrt(N)) D:

    Kuiper:             Q = 2 sum_j (4 j^2 lambda^2 - 1) exp(-2 j^2 lambda^2)
    Kolmogorov-Smirnov: Q = 2 sum_j (-1)^(j-1) exp(-2 j^2 lambda^2)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import kolmogorov

from chandraclip.catalog.good_photons import GoodPhotons, good_photons
from chandraclip.catalog.ragged import Ragged

MIN_PHOTONS = 10  # as for var_prob_b, so that both are missing in the same rows
NUM_TERMS = 40


class RateTest(NamedTuple):
    """A test of a constant rate; (N,) each, NaN with fewer than `MIN_PHOTONS`.

    Attributes:
        statistic: larger the less constant.
        log10_chance: log10 of the chance that a constant rate gives as large a one; no underflow.
    """

    statistic: np.ndarray
    log10_chance: np.ndarray


def kuiper_probability(times: Ragged, gti_start: Ragged, gti_stop: Ragged, kept: np.ndarray) -> np.ndarray:
    """Probability 1 - Q that the rate was not constant.

    Args:
        times: N lists of photon times, s, sorted. Photons outside the good-time intervals are left out.
        gti_start, gti_stop: N lists of good-time intervals, s, sorted and disjoint.
        kept: (total photons,) bool, which photons count.

    Returns:
        (N,) float64; NaN where fewer than `MIN_PHOTONS` are left.
    """
    return 1.0 - 10.0 ** kuiper(good_photons(times, gti_start, gti_stop, kept)).log10_chance


def kuiper(photons: GoodPhotons) -> RateTest:
    """Kuiper's test; it sees a rate that is higher or lower anywhere in the observation alike."""
    above, below = _deviations(photons)
    root = np.sqrt(np.maximum(photons.num_photons, 1))
    scaled = (root + 0.155 + 0.24 / root) * (above + below)
    # Below 0.4 the series has not converged and the chance of so small a V is 1 (Numerical Recipes, 14.3).
    known = np.maximum(scaled, 0.4)
    number = np.arange(1, NUM_TERMS + 1)[:, None]
    terms = 2.0 * (4.0 * (number * known) ** 2 - 1.0) * np.exp(-2.0 * (number**2 - 1.0) * known**2)
    log_chance = -2.0 * known**2 + np.log(terms.sum(axis=0))
    log_chance = np.where(scaled < 0.4, 0.0, np.minimum(log_chance, 0.0))
    return _result(photons, above + below, log_chance)


def kolmogorov_smirnov(photons: GoodPhotons) -> RateTest:
    """The Kolmogorov-Smirnov test; it sees best a rate that differs between the halves of an observation."""
    statistic = np.maximum(*_deviations(photons))
    root = np.sqrt(np.maximum(photons.num_photons, 1))
    scaled = (root + 0.12 + 0.11 / root) * statistic
    far = np.maximum(scaled, 1.0)
    number = np.arange(1, NUM_TERMS + 1)[:, None]
    terms = 2.0 * (-1.0) ** (number - 1) * np.exp(-2.0 * (number**2 - 1.0) * far**2)
    log_chance = np.where(
        scaled > 1.0, -2.0 * far**2 + np.log(terms.sum(axis=0)), np.log(kolmogorov(np.minimum(scaled, 1.0)))
    )
    return _result(photons, statistic, log_chance)


def _deviations(photons: GoodPhotons) -> tuple[np.ndarray, np.ndarray]:
    """(N,) D+ and D-: how far the photons' distribution is above that of the good time, and below."""
    row, num_rows = photons.row, len(photons.num_photons)
    share = photons.elapsed / np.maximum(photons.good_time, 1e-300)[row]
    rank = np.arange(row.size) - photons.first[row]
    above, below = np.zeros(num_rows), np.zeros(num_rows)
    np.maximum.at(above, row, (rank + 1) / photons.num_photons[row] - share)
    np.maximum.at(below, row, share - rank / photons.num_photons[row])
    return above, below


def _result(photons: GoodPhotons, statistic: np.ndarray, log_chance: np.ndarray) -> RateTest:
    enough = photons.num_photons >= MIN_PHOTONS
    return RateTest(np.where(enough, statistic, np.nan), np.where(enough, log_chance / np.log(10.0), np.nan))
