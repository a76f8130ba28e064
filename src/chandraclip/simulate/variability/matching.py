"""Light curves as variable as an observed one: of many drawn, the one that tells most nearly as much.

What a light curve tells against a constant rate is, a photon, the mean of r ln r of its rate r over the mean rate
(nats, the Kullback-Leibler divergence from a constant); N photons have that much more log-likelihood. Gregory-Loredo
asks a price for its bins, which `ODDS` has from simulated light curves of all kinds. So odds and photons give the
information wanted of a photon, and relative scatter and extremes, where measured, the shape. All are of what is in the
aperture: the background, which does not vary, has its part in rate and photons.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from chandraclip.simulate.variability.kinds import (
    CONSTANT,
    DIP,
    PULSATION,
    RED_NOISE,
    Variable,
    draw_variability,
)
from chandraclip.simulate.variability.light_curves import LightCurves

NUM_CANDIDATES = 16
STRENGTH_RANGE = (-0.7, 1.0)  # dex of the source's own, over the candidates
SHORTEST_SEEN = 100.0  # s: a pulse that Gregory-Loredo, with bins of 50 s, can see
# ln odds, and the nats of a light curve that is found above them half of the time (low odds) to nine times in ten.
ODDS = (0.0, 1.0, 2.2, 5.0, 10.0, 30.0, 100.0)
NATS = (6.0, 9.0, 18.0, 26.0, 36.0, 62.0, 140.0)
PULSE_PRICE = 3.0  # times as many: bins fit one event better than many that recur
MOST_CYCLES = 50.0  # in an observation; faster pulses average out in most bins
DIP_LIGHT = 0.5  # of the photons of a source that come through the gas of a dip
# Of ln information and of ln relative scatter, peak and trough: a smoothed light curve shows less than there was.
INFORMATION_WIDTH, SHAPE_WIDTH = 0.15, 0.7
FLOOR = 1e-3  # below which none of these tells anything


@dataclass(frozen=True)
class Observed:
    """How D detections varied; (D,) each. NaN where nothing is wanted or known.

    Attributes:
        information: nats a photon, see `information_of_odds`; NaN: the source's own variability.
        source_share: of the photons, those of the source; the rest is background.
        scatter: standard deviation of the rate over its mean. peak, trough: highest and lowest over the mean.
    """

    information: np.ndarray
    source_share: np.ndarray
    scatter: np.ndarray
    peak: np.ndarray
    trough: np.ndarray


def information_of_odds(log_odds: np.ndarray, num_photons: np.ndarray) -> np.ndarray:
    """Nats a photon of light curves that Gregory-Loredo gives such ln odds, on average, from so many photons."""
    return np.interp(log_odds, ODDS, NATS) / np.maximum(num_photons, 1.0)


def information_of_scatter(scatter: np.ndarray) -> np.ndarray:
    """Nats a photon of a log-normal rate of that standard deviation over its mean."""
    return 0.5 * np.log1p(scatter**2)


def draw_matching_variability(
    rng: np.random.Generator,
    kind: np.ndarray,
    strength: np.ndarray,
    period: np.ndarray,
    duration: np.ndarray,
    observed: Observed,
) -> tuple[np.ndarray, Variable]:
    """`draw_variability`, but as variable as observed where that is known.

    A kind that cannot have been seen (constant, or pulses too fast or too slow) gives way to red noise.

    Returns:
        (D,) kind, and the `Variable` ones.
    """
    matched = np.isfinite(observed.information)
    out_of_sight = (period < np.maximum(SHORTEST_SEEN, duration / MOST_CYCLES)) | (period > duration)
    unseen = (kind == CONSTANT) | ((kind == PULSATION) & out_of_sight)
    strength = np.where(matched & (kind == CONSTANT), 0.3, strength)  # the middle of the candidates' range
    kind = np.where(matched & unseen, RED_NOISE, kind)
    row = np.flatnonzero(matched)
    factor = 10.0 ** np.linspace(*STRENGTH_RANGE, NUM_CANDIDATES)
    others = np.flatnonzero(~matched & (kind != CONSTANT))
    index = np.concatenate([np.repeat(row, NUM_CANDIDATES), others])
    factors = np.concatenate([np.tile(factor, row.size), np.ones(others.size)])
    drawn = draw_variability(rng, kind[index], strength[index] * factors, period[index], duration[index])
    second_light = np.where(drawn.kind == DIP, DIP_LIGHT, 1.0)
    wanted = Observed(*(getattr(observed, field.name)[index] for field in fields(Observed)))
    total, weight = _total_rate(drawn.first, drawn.second, second_light)
    total = 1.0 + wanted.source_share[:, None] * (total - 1.0)
    dear = np.where(drawn.kind == PULSATION, PULSE_PRICE, 1.0)
    misfit = _misfit(total, weight, replace(wanted, information=wanted.information * dear))
    best = misfit[: row.size * NUM_CANDIDATES].reshape(row.size, NUM_CANDIDATES).argmin(axis=1)
    chosen = np.concatenate(
        [np.arange(row.size) * NUM_CANDIDATES + best, np.arange(row.size * NUM_CANDIDATES, index.size)]
    )
    chosen = chosen[np.argsort(index[chosen], kind="stable")]
    return kind, Variable(index[chosen], drawn.kind[chosen], drawn.first.take(chosen), drawn.second.take(chosen))


def _total_rate(first: LightCurves, second: LightCurves, second_light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(V, K) rate of both spectra over its mean, at the nodes, and the share of time that each stands for.

    Args:
        second_light: (V,) photons of the second spectrum for one of the first, at the same rate.
    """
    phase = 2.0 * np.pi * (second.time - second.epoch[:, None]) / second.period[:, None]
    modulation = 1.0 + second.amplitude[:, None] * np.cos(phase)
    rate = first.rate + second_light[:, None] * second.rate * modulation
    weight = np.gradient(first.time, axis=1)
    weight = weight / weight.sum(axis=1, keepdims=True)
    return rate / np.maximum((weight * rate).sum(axis=1, keepdims=True), 1e-300), weight


def _misfit(rate: np.ndarray, weight: np.ndarray, observed: Observed) -> np.ndarray:
    """(V,) squared distances from what was observed, in units of the widths; of what is not known, none."""
    information = (weight * rate * np.log(np.maximum(rate, 1e-12))).sum(axis=1)
    scatter = np.sqrt((weight * (rate - 1.0) ** 2).sum(axis=1))
    peak, trough = rate.max(axis=1), rate.min(axis=1)
    result = np.zeros(len(rate))
    for found, wanted, width in (
        (information, observed.information, INFORMATION_WIDTH),
        (scatter, observed.scatter, SHAPE_WIDTH),
        (peak, observed.peak, SHAPE_WIDTH),
        (0.1 + trough, 0.1 + observed.trough, SHAPE_WIDTH),  # an eclipse to 1 % is one to 3 %
    ):
        distance = np.log(np.maximum(found, FLOOR)) - np.log(np.maximum(wanted, FLOOR))
        result += np.where(np.isfinite(wanted), (distance / width) ** 2, 0.0)
    return result
