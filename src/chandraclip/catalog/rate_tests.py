"""The classical tests of a constant rate, all on the same lists: what a learned search for transients stands beside."""

from __future__ import annotations

import numpy as np

from chandraclip.catalog.good_photons import good_photons
from chandraclip.catalog.kuiper import kolmogorov_smirnov, kuiper
from chandraclip.catalog.periodicity import periodicity
from chandraclip.catalog.ragged import Ragged
from chandraclip.catalog.scan import scan
from chandraclip.catalog.variability import gregory_loredo

GREGORY_LOREDO, KOLMOGOROV, KUIPER, SCAN, H_TEST, Z2 = (
    "gregory_loredo",
    "kolmogorov_smirnov",
    "kuiper",
    "scan",
    "h_test",
    "z2",
)
RATE_TESTS = (GREGORY_LOREDO, KOLMOGOROV, KUIPER, SCAN, H_TEST, Z2)


def rate_tests(times: Ragged, gti_start: Ragged, gti_stop: Ragged, frame: float | np.ndarray) -> dict[str, np.ndarray]:
    """Name of `RATE_TESTS` -> (N,) scores, larger the less constant, NaN where a test needs more photons.

    Gregory-Loredo's is log10 of the odds for variability; those of the others minus log10 of the chance that a constant
    rate looks as variable, after the trials of each test.

    Args:
        times: N lists of photon times, s. gti_start, gti_stop: N lists of good-time intervals, s, sorted and disjoint.
        frame: s, scalar or (N,), the readout frame.
    """
    photons = good_photons(times, gti_start, gti_stop)
    pulses = periodicity(photons, gti_start, gti_stop, frame)
    return {
        GREGORY_LOREDO: gregory_loredo(times, gti_start, gti_stop).odds_log10,
        KOLMOGOROV: -kolmogorov_smirnov(photons).log10_chance,
        KUIPER: -kuiper(photons).log10_chance,
        SCAN: -scan(photons, frame).log10_chance,
        H_TEST: -pulses.h_log10_chance,
        Z2: -pulses.z2_log10_chance,
    }
