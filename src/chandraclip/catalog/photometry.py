"""Counts of a source aperture and their significance, as CSC 2 measures them.

The posterior of the source's counts has flat priors on source and background, the background integrated out (Primini &
Kashyap 2014, ApJ 796, 24). CSC 2 draws it by MCMC and takes value and limits from an Epanechnikov kernel density
estimate of the draws whose bandwidth is their *standard deviation* (the programs that the paper's first author
published, github.com/fprimini/XAP), on a grid of about a sixteenth of it, adding points alternately below and above the
mode until the integral between them reaches 68 %; where that reaches 0 first, the value is 0 and the limit an upper
one. The kernel widens the interval by (1 + 1/5)^(1/2): half of it is 1.09 standard deviations whatever the counts,
where a 68 % interval would have .99.

The catalogue agrees: below and above the value, limits are at equal distances, or at such in the ratio of 17 to 18 or
18 to 19; a lower limit of 0 goes with an upper one of twice the value; no significance lies between 0 and .9; and value
over half-width is the square root of the counts times .83 (aper90) from 5 to 10^4 counts, near the axis.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import convolve1d
from scipy.special import ndtr

from chandraclip.catalog.background_quadrature import background_nodes, gamma_quantile, node_groups

# Share of the PSF in CSC's source apertures, nominally (the catalogue has psf_frac_aper_b of each). CSC's ARFs do not
# hold it, its counts and fluxes are divided by it, and its significances show it: near the axis, at large counts, they
# are .86 of the square root of the counts, where an aperture with all of the PSF would give .91.
CSC_PSF_SHARE = 0.9

CREDIBLE_MASS = 0.68
NUM_MOMENT_POINTS = 128  # of the grid that gives mean and standard deviation
STEPS_A_SIGMA = 16  # of the grid that value and limits are taken from
SIGMA_BELOW, NUM_POINTS = 4, 9 * STEPS_A_SIGMA  # the grid begins so far below the mean, or at 0
TAIL_SIGMA = 5.2
ROWS_PER_BLOCK = 256
# Half an interval of `aperture_photometry`, in standard deviations of a normal cut off at 0: a value must exceed it.
LIMIT_SIGMA = 1.05
_OFFSET = np.arange(-STEPS_A_SIGMA + 1, STEPS_A_SIGMA) / STEPS_A_SIGMA
_KERNEL = (1.0 - _OFFSET**2) / (1.0 - _OFFSET**2).sum()  # Epanechnikov, of one standard deviation on either side


class AperturePhotometry(NamedTuple):
    """(N,) float64 each, NaN where an input is not finite.

    Attributes:
        net_counts: the posterior's mode, source counts in the aperture, not negative.
        lolim, hilim: the interval about it; where net_counts is 0, 0 and the upper limit.
        significance: net_counts over half of the interval; 0 where the mode is 0.
    """

    net_counts: np.ndarray
    lolim: np.ndarray
    hilim: np.ndarray
    significance: np.ndarray


def aperture_photometry(
    counts: np.ndarray, background_counts: np.ndarray | None, background_scale: np.ndarray | float
) -> AperturePhotometry:
    """Source counts of many detections, with limits and significance.

    Args:
        counts: (N,) in the source aperture.
        background_counts: (N,) in the background aperture; None for no background.
        background_scale: (N,) source / background aperture, area x exposure.

    Raises:
        ValueError: shapes disagree, or a count or scale is negative.
    """
    counts = np.asarray(counts, dtype=np.float64)
    background = np.zeros_like(counts) if background_counts is None else np.asarray(background_counts, np.float64)
    if counts.ndim != 1 or background.shape != counts.shape:
        raise ValueError(f"counts must be (N,), and background_counts too; got {counts.shape} and {background.shape}")
    scale = np.array(np.broadcast_to(np.asarray(background_scale, dtype=np.float64), counts.shape))
    if background_counts is None:
        scale[:] = 0.0
    if (counts < 0).any() or (background < 0).any() or (scale < 0).any():
        raise ValueError("counts, background counts and background_scale must not be negative")
    usable = np.isfinite(counts) & np.isfinite(background) & np.isfinite(scale)
    counts, background, scale = (np.where(usable, values, 0.0) for values in (counts, background, scale))

    result = np.full((3, counts.size), np.nan)
    for num_nodes, members in node_groups(counts[:, None], background[:, None], scale):
        for begin in range(0, members.size, ROWS_PER_BLOCK):
            rows = members[begin : begin + ROWS_PER_BLOCK]
            with np.errstate(invalid="ignore", divide="ignore"):
                posterior = _smoothed_posterior(counts[rows], background[rows], scale[rows], num_nodes)
                result[:, rows] = _summarize(*posterior)
    result[:, ~usable] = np.nan
    net, low, high = result
    return AperturePhotometry(net, low, high, 2.0 * net / (high - low))


def is_upper_limit(counts: np.ndarray, background_counts: np.ndarray, background_scale: np.ndarray) -> np.ndarray:
    """Whether the value of `aperture_photometry` is 0, told from the counts alone: for the bands, at no cost.

    The posterior is taken for a normal cut off at 0. Of 20,000 detections of 0.3 to 100 counts over backgrounds of 0.03
    to 100 it tells 97 % (background_scale .02) to 99 % (.2 and more) right.

    Args:
        counts, background_counts, background_scale: arrays that broadcast; as for `aperture_photometry`.

    Returns:
        bool.
    """
    net = counts - background_scale * background_counts
    sigma = np.sqrt(counts + 0.5 + background_scale**2 * (background_counts + 1.0))
    ratio = net / sigma
    hazard = np.exp(-0.5 * ratio**2) / (np.sqrt(2.0 * np.pi) * np.maximum(ndtr(ratio), 1e-300))
    width = sigma * np.sqrt(np.maximum(1.0 - ratio * hazard - hazard**2, 0.0))
    return net <= LIMIT_SIGMA * width


def _smoothed_posterior(
    counts: np.ndarray, background: np.ndarray, scale: np.ndarray, num_nodes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The estimated density (R, NUM_POINTS), a unit of sigma, on uniform grids; their first points and steps (R,)."""
    expected, weight = background_nodes(background + 1.0, num_nodes)
    expected = expected * scale[:, None]
    highest, lowest = (scale * gamma_quantile(background + 1.0, sigma) for sigma in (TAIL_SIGMA, -TAIL_SIGMA))
    start = np.maximum(gamma_quantile(counts + 1.0, -TAIL_SIGMA) - highest, 0.0)
    # + 16: a posterior whose peak is at zero falls as exp(-rate), to 1e-7 there.
    stop = np.maximum(gamma_quantile(counts + 1.0, TAIL_SIGMA) - lowest, 0.0) + 16.0
    mean, sigma = _moments(counts, expected, weight, start, (stop - start) / (NUM_MOMENT_POINTS - 1))
    # Once more, where the first grid was coarse beside a posterior cut off at 0.
    start, stop = np.maximum(mean - 8.0 * sigma, 0.0), mean + 12.0 * sigma
    mean, sigma = _moments(counts, expected, weight, start, (stop - start) / (NUM_MOMENT_POINTS - 1))

    first, step = np.maximum(mean - SIGMA_BELOW * sigma, 0.0), sigma / STEPS_A_SIGMA
    density = _density(counts, expected, weight, first, step, NUM_POINTS)
    density = convolve1d(density, _KERNEL, axis=1, mode="constant")
    return density * (STEPS_A_SIGMA / density.sum(axis=1, keepdims=True)), first, step


def _moments(
    counts: np.ndarray, expected: np.ndarray, weight: np.ndarray, start: np.ndarray, step: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (R,) of the posterior, by the trapezoid rule."""
    density = _density(counts, expected, weight, start, step, NUM_MOMENT_POINTS)
    density[:, [0, -1]] *= 0.5
    density /= density.sum(axis=1, keepdims=True)
    index = np.arange(NUM_MOMENT_POINTS)
    mean = density @ index
    variance = density @ index**2 - mean**2
    return start + step * mean, step * np.sqrt(variance)


def _density(
    counts: np.ndarray, expected: np.ndarray, weight: np.ndarray, start: np.ndarray, step: np.ndarray, num_points: int
) -> np.ndarray:
    """(R, num_points) posterior, 1 near its peak; expected background and its weight (R, Q), the rest (R,)."""
    rate = start[:, None] + step[:, None] * np.arange(num_points)
    counts = counts[:, None]
    # Relative to the likelihood at its peak, the least background where that is above the counts: nothing overflows,
    # and exp() underflows only in the tails.
    peak = np.maximum(np.maximum(counts, 1.0), expected.min(axis=1, keepdims=True))
    density = np.zeros_like(rate)
    for node in range(weight.shape[1]):
        total = rate + expected[:, node, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            log_likelihood = np.where(counts > 0, counts * np.log(total / peak), 0.0) - (total - peak)
        density += np.exp(log_likelihood) * weight[:, node, None]
    return density


def _summarize(density: np.ndarray, first: np.ndarray, step: np.ndarray) -> np.ndarray:
    """(3, R): mode and limits."""
    rows = np.arange(len(density))
    best = density.argmax(axis=1)
    within = np.zeros_like(density)  # the integral from the first point, by the trapezoid rule
    within[:, 1:] = np.cumsum(0.5 * (density[:, 1:] + density[:, :-1]), axis=1) / STEPS_A_SIGMA
    # Out from the mode, alternately a point below and a point above.
    taken = np.arange(1, 2 * NUM_POINTS)
    low, high = best[:, None] - (taken + 1) // 2, best[:, None] + taken // 2
    inside = (low >= 0) & (high < NUM_POINTS)
    mass = within[rows[:, None], np.where(inside, high, 0)] - within[rows[:, None], np.where(inside, low, 0)]
    enough = inside & (mass >= CREDIBLE_MASS)
    number = enough.argmax(axis=1)
    low, high = low[rows, number], high[rows, number]

    # The mode: the vertex of the parabola through the highest point and its neighbours.
    inner = np.clip(best, 1, NUM_POINTS - 2)
    before, at, after = (density[rows, inner + shift] for shift in (-1, 0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = 0.5 * (before - after) / (before - 2.0 * at + after)
    mode = best + np.where((best == inner) & np.isfinite(shift), np.clip(shift, -0.5, 0.5), 0.0)
    result = first + step * np.stack([mode, low, high])
    # No interval about the mode is wide enough before it reaches 0: an upper limit.
    limit = ~enough.any(axis=1)
    result[:2, limit] = 0.0
    result[2, limit] = (first + step * (within < CREDIBLE_MASS).sum(axis=1))[limit]
    return result
