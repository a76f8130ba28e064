"""Hardness ratios as CSC 2.1 defines them: from the posteriors of the photon flux in two bands.

In each band, counts ~ Poisson(flux * exposure_area + background) and background_counts ~ Poisson(background /
background_scale), with flat priors on flux and background (Primini & Kashyap 2014, ApJ 796, 24). The background is
integrated out by quadrature. In u = ln(flux), H = (F_x - F_y) / (F_x + F_y) = tanh((u_x - u_y) / 2), so the posterior
of H, P(H) = int P_x((1 + H) F / 2) P_y((1 - H) F / 2) F / 2 dF (CSC 2.1, "Spectral properties"), is a correlation of
two densities, done for many detections by FFT.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import gammainccinv, gammaincinv, gammaln

NUM_BACKGROUND_NODES = 16
NUM_COARSE_POINTS = 48
NUM_TABLE_POINTS = 96  # of a band's posterior, over its own support
NUM_GRID_POINTS = 256  # of the posterior of u_x - u_y
TAIL_PROBABILITY = 1e-7
SMALLEST_RATE = 1e-6  # counts; where the log grid of a posterior that reaches zero starts
CREDIBLE_MASS = 0.68
ROWS_PER_BLOCK = 256  # 3 bands x 96 x 16 doubles a row: 9 MB a temporary


class HardnessRatios(NamedTuple):
    """(N,) float64 each, in [-1, 1]: posterior mode and 68 % highest-density limits; NaN where undefined."""

    hard_hm: np.ndarray
    hard_hm_lolim: np.ndarray
    hard_hm_hilim: np.ndarray
    hard_hs: np.ndarray
    hard_hs_lolim: np.ndarray
    hard_hs_hilim: np.ndarray
    hard_ms: np.ndarray
    hard_ms_lolim: np.ndarray
    hard_ms_hilim: np.ndarray


def hardness_ratios(
    counts: np.ndarray,
    background_counts: np.ndarray | None,
    background_scale: np.ndarray | float,
    exposure_area: np.ndarray,
) -> HardnessRatios:
    """Hardness ratios of many detections.

    Args:
        counts: (N, 3) counts in the source aperture, bands soft, medium, hard (`schema.BANDS`).
        background_counts: (N, 3) counts in the background aperture; None for no background.
        background_scale: (N,) source / background aperture, area x exposure.
        exposure_area: (N, 3) cm2 s, effective area averaged over the band times exposure, for photon flux.

    Returns:
        `HardnessRatios`. A ratio is NaN where neither band has a count, where an exposure_area is not positive, or
        where an input is not finite.

    Raises:
        ValueError: shapes disagree, or a count or scale is negative.
    """
    counts = np.asarray(counts, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[1] != 3:
        raise ValueError(f"counts must be (N, 3): soft, medium, hard; got {counts.shape}")
    num_rows = len(counts)
    background = np.zeros_like(counts) if background_counts is None else np.asarray(background_counts, np.float64)
    area = np.asarray(exposure_area, dtype=np.float64)
    if background.shape != counts.shape or area.shape != counts.shape:
        raise ValueError(f"counts {counts.shape}, background {background.shape} and exposure_area {area.shape} differ")
    scale = np.array(np.broadcast_to(np.asarray(background_scale, dtype=np.float64), (num_rows,)))
    if background_counts is None:
        scale[:] = 0.0
    if (counts < 0).any() or (background < 0).any() or (scale < 0).any():
        raise ValueError("counts, background counts and background_scale must not be negative")

    usable = (
        np.isfinite(counts) & np.isfinite(background) & np.isfinite(scale)[:, None] & np.isfinite(area) & (area > 0)
    )
    counts, background = np.where(usable, counts, 0.0), np.where(usable, background, 0.0)
    scale, area = np.where(np.isfinite(scale), scale, 0.0), np.where(usable, area, 1.0)
    result = np.full((num_rows, 3, 3), np.nan)  # row, ratio, (mode, lolim, hilim)
    for begin in range(0, num_rows, ROWS_PER_BLOCK):
        rows = slice(begin, begin + ROWS_PER_BLOCK)
        table, start, step = _log_rate_posterior(counts[rows], background[rows], scale[rows])
        for ratio, (x, y) in enumerate(((2, 1), (2, 0), (1, 0))):
            log_area_ratio = np.log(area[rows, x]) - np.log(area[rows, y])
            bands = [(table[:, band], start[:, band], step[:, band]) for band in (x, y)]
            result[rows, ratio] = _summarize(*_correlate(*bands), log_area_ratio)
    for ratio, (x, y) in enumerate(((2, 1), (2, 0), (1, 0))):
        undefined = (counts[:, x] + counts[:, y] == 0) | ~usable[:, x] | ~usable[:, y]
        result[undefined, ratio] = np.nan
    return HardnessRatios(*(result[:, ratio, part] for ratio in range(3) for part in range(3)))


def _log_rate_posterior(
    counts: np.ndarray, background: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ln of the unnormalized density (R, 3, K) of u = ln(source counts) on uniform grids; starts and steps (R, 3)."""
    # The posterior of the expected background in the aperture is Gamma(background + 1) in units of background_scale.
    shape = background + 1.0
    low, high = gammaincinv(shape, TAIL_PROBABILITY), gammainccinv(shape, TAIL_PROBABILITY)
    if (scale > 0).any():
        nodes, weights = np.polynomial.legendre.leggauss(NUM_BACKGROUND_NODES)
        expected = low[..., None] + 0.5 * (high - low)[..., None] * (nodes + 1.0)
        log_weight = (shape - 1.0)[..., None] * np.log(expected) - expected - gammaln(shape)[..., None]
        weight = np.exp(log_weight) * weights
        weight /= weight.sum(-1, keepdims=True)
        expected *= scale[:, None, None]
    else:
        expected, weight = np.zeros((*shape.shape, 1)), np.ones((*shape.shape, 1))

    rate_low = np.maximum(gammaincinv(counts + 1.0, TAIL_PROBABILITY) - scale[:, None] * high, SMALLEST_RATE)
    # + 16: a posterior whose peak is at zero falls as exp(-rate), to 1e-7 there.
    rate_high = np.maximum(gammainccinv(counts + 1.0, TAIL_PROBABILITY) - scale[:, None] * low, 0.0) + 16.0
    start, stop = np.log(rate_low), np.log(rate_high)

    # Those bounds are safe but, with a background, far too wide: a coarse table finds where the posterior really is.
    coarse = _log_density(counts, expected, weight, start, stop, NUM_COARSE_POINTS)
    inside = coarse > coarse.max(-1, keepdims=True) + np.log(TAIL_PROBABILITY)
    coarse_step = (stop - start) / (NUM_COARSE_POINTS - 1)
    first, last = inside.argmax(-1), NUM_COARSE_POINTS - 1 - inside[..., ::-1].argmax(-1)
    stop = np.minimum(start + coarse_step * (last + 1), stop)
    start = start + coarse_step * np.maximum(first - 1, 0)
    table = _log_density(counts, expected, weight, start, stop, NUM_TABLE_POINTS)
    return table, start, (stop - start) / (NUM_TABLE_POINTS - 1)


def _log_density(
    counts: np.ndarray, expected: np.ndarray, weight: np.ndarray, start: np.ndarray, stop: np.ndarray, num_points: int
) -> np.ndarray:
    """ln of the density of u = ln(source counts), (R, 3, num_points); expected, weight (R, 3, Q), the rest (R, 3)."""
    log_rate = start[..., None] + (stop - start)[..., None] * np.linspace(0.0, 1.0, num_points)
    total = np.exp(log_rate)[..., None] + expected[..., None, :]
    # Relative to the Poisson likelihood at its peak, so that nothing overflows and exp() underflows only in the tails.
    peak = np.maximum(counts, 1.0)[..., None, None]
    exponent = np.log(total / peak)
    exponent *= counts[..., None, None]
    exponent -= total
    exponent += counts[..., None, None]
    likelihood = np.einsum("rbkq,rbq->rbk", np.exp(exponent, out=exponent), weight)
    return log_rate + np.log(np.maximum(likelihood, 1e-300))


def _correlate(
    x: tuple[np.ndarray, np.ndarray, np.ndarray], y: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probability (R, L) of u_x - u_y on a uniform grid, its first point and its step (R,)."""
    widths = [step * (NUM_TABLE_POINTS - 1) for _, _, step in (x, y)]
    grid_step = (widths[0] + widths[1]) / (NUM_GRID_POINTS - 4)
    index = np.arange(NUM_GRID_POINTS)
    spectra, origins = [], []
    for sign, (table, start, step), width in zip((1, -1), (x, y), widths):
        if sign < 0:  # the density of -u_y
            table, start = table[:, ::-1], -(start + width)
        # A point on the peak: a density narrower than the grid step then keeps its place.
        peak_index = table.argmax(1)
        peak = start + step * peak_index
        origin = peak - np.floor((peak - start) / grid_step) * grid_step
        position = ((origin - start)[:, None] + grid_step[:, None] * index) / step[:, None]
        inside = (position >= 0) & (position <= NUM_TABLE_POINTS - 1)
        left = np.clip(position.astype(np.int64), 0, NUM_TABLE_POINTS - 2)
        below = np.take_along_axis(table, left, 1)
        value = below + (np.take_along_axis(table, left + 1, 1) - below) * (position - left)
        density = np.where(inside, np.exp(np.minimum(value - table.max(1, keepdims=True), 0.0)), 0.0)
        spectra.append(np.fft.rfft(density / density.sum(1, keepdims=True)))
        origins.append(origin)
    probability = np.maximum(np.fft.irfft(spectra[0] * spectra[1], n=NUM_GRID_POINTS), 0.0)
    return probability, origins[0] + origins[1], grid_step


def _summarize(probability: np.ndarray, first: np.ndarray, step: np.ndarray, log_area_ratio: np.ndarray) -> np.ndarray:
    """(R, 3): mode and highest-density limits of H, the density taken a unit of H."""
    rows = np.arange(len(probability))
    difference = (first - log_area_ratio)[:, None] + step[:, None] * np.arange(NUM_GRID_POINTS)
    # dH/du = sech^2(u / 2) / 2; logaddexp(u, -u) / 2 is ln(2 cosh(u/2)) without overflow.
    log_density = np.log(np.maximum(probability, 1e-300)) + 2.0 * np.logaddexp(0.5 * difference, -0.5 * difference)
    log_density = np.where(probability > 1e-14, log_density, -np.inf)  # FFT rounding

    order = np.argsort(-log_density, axis=1)
    mass = np.cumsum(np.take_along_axis(probability, order, 1), axis=1)
    num_inside = (mass < CREDIBLE_MASS * mass[:, -1:]).sum(1)
    threshold = log_density[rows, order[rows, num_inside]]
    inside = log_density >= threshold[:, None]
    first, last = inside.argmax(1), NUM_GRID_POINTS - 1 - inside[:, ::-1].argmax(1)
    # Cells reach half a step to either side; the last one taken, at one of the ends, only as far as its mass is needed.
    ending = order[rows, num_inside]
    surplus = step * (mass[rows, num_inside] - CREDIBLE_MASS * mass[:, -1]) / probability[rows, ending]
    low = difference[rows, first] - 0.5 * step + np.where(ending == first, surplus, 0.0)
    high = difference[rows, last] + 0.5 * step - np.where((ending == last) & (ending != first), surplus, 0.0)

    # The mode: the vertex of the parabola through the highest point and its neighbours.
    best = order[:, 0]
    inner = np.clip(best, 1, NUM_GRID_POINTS - 2)
    before, at, after = (log_density[rows, inner + shift] for shift in (-1, 0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = 0.5 * (before - after) / (before - 2.0 * at + after)
    vertex = np.where(np.isfinite(shift) & (best == inner), np.clip(shift, -0.5, 0.5), 0.0)
    mode = difference[rows, best] + vertex * step
    return np.tanh(0.5 * np.stack([mode, np.minimum(low, mode), np.maximum(high, mode)], axis=1))
