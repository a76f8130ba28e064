"""How a source changes from one observation to the next: flux and spectrum of each epoch.

kind       flux                                          spectrum
steady     the same, within the calibration              the same
red_noise  a damped random walk in log flux              softer when brighter
states     two states, left with a rate (X-ray binaries) low and hard, high and soft
flares     quiescent, now and then far above             hotter when bright
decay      (1 + t / t0)^-5/3 from a peak (TDEs)          kT falls as flux^1/4
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LONG_TERM_KINDS = ("steady", "red_noise", "states", "flares", "decay")
STEADY, RED_NOISE, STATES, FLARES, DECAY = range(len(LONG_TERM_KINDS))

CALIBRATION_SCATTER = 0.02  # dex from one observation to another, of any source
DAMPING_TIME = 200.0  # d; AGN and young stars decorrelate in weeks to years
STATE_LIFETIME = 150.0  # d, e-folding time of staying in a state
FLARE_SHARE = 0.12  # of epochs that catch a flare of a flaring source
SOFTENING = (
    0.6  # photon index between the low and the high state of an X-ray binary (Remillard & McClintock 2006: 1.7 and 2.4)
)


@dataclass(frozen=True)
class Epochs:
    """D observations relative to their source's typical state; (D,) each.

    Attributes:
        log_flux: log10 of the flux factor.
        gamma_shift: added to the photon index.
        kt_factor: of the temperature.
    """

    log_flux: np.ndarray
    gamma_shift: np.ndarray
    kt_factor: np.ndarray


def draw_epochs(
    rng: np.random.Generator, source: np.ndarray, mjd: np.ndarray, kind: np.ndarray, amplitude: np.ndarray
) -> Epochs:
    """Flux and spectrum of each observation.

    Args:
        source: (D,) int, non-decreasing: the source of each observation.
        mjd: (D,) d, increasing within a source.
        kind: (D,) int, index into `LONG_TERM_KINDS`, one a source.
        amplitude: (D,) dex: scatter of the walk, ratio of the states, typical flare, and the decay's time scale
            (t0 = 100 d x amplitude).
    """
    num_rows = len(source)
    first = np.append(True, source[1:] != source[:-1]) if num_rows else np.zeros(0, bool)
    gap = np.where(first, np.inf, np.diff(mjd, prepend=mjd[:1]))
    walk = _damped_walk(rng, first, gap)
    high = _two_states(rng, first, gap)
    spikes = np.where(rng.random(num_rows) < FLARE_SHARE, rng.exponential(1.0, num_rows), 0.0)
    # The peak lies up to a year before the first look: transients are found late.
    start = np.maximum.accumulate(np.where(first, np.arange(num_rows), 0))
    since_peak = mjd - mjd[start] + (rng.uniform(5.0, 365.0, num_rows))[start]
    decay = -5.0 / 3.0 * np.log10(1.0 + since_peak / (100.0 * np.maximum(amplitude, 0.1)))
    log_flux = np.select(
        [kind == RED_NOISE, kind == STATES, kind == FLARES, kind == DECAY],
        [amplitude * walk, amplitude * (high - 0.5), amplitude * spikes, decay],
        0.0,
    )
    return epochs_of_flux(log_flux + CALIBRATION_SCATTER * rng.standard_normal(num_rows), kind)


def epochs_of_flux(log_flux: np.ndarray, kind: np.ndarray) -> Epochs:
    """The spectra that go with given fluxes.

    Args:
        log_flux: (D,) dex against the source's typical flux.
        kind: (D,) int, index into `LONG_TERM_KINDS`.
    """
    gamma_shift = np.select(
        [kind == RED_NOISE, kind == STATES],
        [np.clip(0.4 * log_flux, -0.4, 0.4), SOFTENING * np.clip(log_flux, -0.5, 0.5)],
        0.0,
    )
    kt_factor = np.select([kind == FLARES, kind == DECAY], [10.0 ** (0.3 * log_flux), 10.0 ** (0.25 * log_flux)], 1.0)
    return Epochs(log_flux, gamma_shift, np.clip(kt_factor, 0.3, 4.0))


def _damped_walk(rng: np.random.Generator, first: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """An Ornstein-Uhlenbeck process of unit variance at each epoch (Kelly et al. 2009, ApJ 698, 895)."""
    memory = np.exp(-gap / DAMPING_TIME)
    kicks = np.sqrt(1.0 - memory**2) * rng.standard_normal(len(gap))
    return _chain(first, lambda previous, now: memory[now] * previous + kicks[now], kicks)


def _two_states(rng: np.random.Generator, first: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """0 (low) or 1 (high) at each epoch: a Markov chain, both states as likely."""
    change = 0.5 * (1.0 - np.exp(-2.0 * gap / STATE_LIFETIME))
    flips = rng.random(len(gap)) < change
    start = (rng.random(len(gap)) < 0.5).astype(np.float64)
    return _chain(first, lambda previous, now: np.where(flips[now], 1.0 - previous, previous), start)


def _chain(first: np.ndarray, advance: Callable[[np.ndarray, np.ndarray], np.ndarray], start: np.ndarray) -> np.ndarray:
    """A process over each source's epochs: all sources at once, one epoch after another."""
    value = start.copy()
    order = np.arange(len(first)) - np.maximum.accumulate(np.where(first, np.arange(len(first)), 0))
    for number in range(1, int(order.max(initial=0)) + 1):
        now = np.flatnonzero(order == number)
        value[now] = advance(value[now - 1], now)
    return value
