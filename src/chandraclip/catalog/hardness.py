"""Hardness ratios as CSC 2.1 defines them: from the posteriors of the photon flux in two bands.

In each band, counts ~ Poisson(flux * exposure_area + background) and background_counts ~ Poisson(background /
background_scale), with flat priors on flux and background (Primini & Kashyap 2014, ApJ 796, 24). The background is
integrated out (`background_quadrature`). In u = ln(flux), H = (F_x - F_y) / (F_x + F_y) = tanh((u_x - u_y) / 2), so
the posterior of H, P(H) = int P_x((1 + H) F / 2) P_y((1 - H) F / 2) F / 2 dF (CSC 2.1, "Spectral properties"), is a
correlation of two densities, done for many detections by FFT.

CSC's photon flux is counts over the effective area at one energy of the band (`bands.EFFECTIVE_ENERGY`), so that is the
area to give.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from chandraclip.catalog.background_quadrature import background_nodes, gamma_quantile, node_groups

NUM_COARSE_POINTS = 32
NUM_TABLE_POINTS = 96  # of a band's posterior, over its own support
NUM_GRID_POINTS = 256  # of the posterior of u_x - u_y
TAIL_PROBABILITY = 1e-7
TAIL_SIGMA = 5.2  # of a normal distribution with that probability
SMALLEST_RATE = 1e-6  # counts; where the log grid of a posterior that reaches zero starts
CREDIBLE_MASS = 0.68
ROWS_PER_BLOCK = 64  # 3 ratios x 256 doubles a row: 0.4 MB a temporary
# Positions on the band axis (soft, medium, hard) of x and y of hard_hm, hard_hs, hard_ms.
X_BANDS, Y_BANDS = np.array([2, 2, 1]), np.array([1, 0, 0])

GRID_INDEX = np.arange(NUM_GRID_POINTS, dtype=np.float64)


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
        exposure_area: (N, 3) cm2 s, effective area at the band's `EFFECTIVE_ENERGY` times exposure, for photon flux.

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
    log_area_ratio = np.log(area[:, X_BANDS]) - np.log(area[:, Y_BANDS])
    for num_nodes, members in node_groups(counts, background, scale):
        for begin in range(0, members.size, ROWS_PER_BLOCK):
            rows = members[begin : begin + ROWS_PER_BLOCK]
            posterior = _log_rate_posterior(counts[rows], background[rows], scale[rows], num_nodes)
            probability, first, step = _correlate(*posterior)
            summary = _summarize(probability, first - log_area_ratio[rows].ravel(), step)
            result[rows] = summary.reshape(-1, 3, 3)
    undefined = (counts[:, X_BANDS] + counts[:, Y_BANDS] == 0) | ~usable[:, X_BANDS] | ~usable[:, Y_BANDS]
    result[undefined] = np.nan
    return HardnessRatios(*(result[:, ratio, part] for ratio in range(3) for part in range(3)))


def _log_rate_posterior(
    counts: np.ndarray, background: np.ndarray, scale: np.ndarray, num_nodes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ln of the density (R, 3, K) of u = ln(source counts), 0 at its peak, on uniform grids; their starts and steps."""
    expected, weight = background_nodes(background + 1.0, num_nodes)
    expected *= scale[:, None, None]
    highest_background, lowest_background = (
        scale[:, None] * gamma_quantile(background + 1.0, sigma) for sigma in (TAIL_SIGMA, -TAIL_SIGMA)
    )
    rate_low = np.maximum(gamma_quantile(counts + 1.0, -TAIL_SIGMA) - highest_background, SMALLEST_RATE)
    # + 16: a posterior whose peak is at zero falls as exp(-rate), to 1e-7 there.
    rate_high = np.maximum(gamma_quantile(counts + 1.0, TAIL_SIGMA) - lowest_background, 0.0) + 16.0
    start, stop = np.log(rate_low), np.log(rate_high)

    # Those bounds are safe but, with a background, far too wide: a coarse table finds where the posterior really is.
    coarse = _log_density(counts, expected, weight, start, stop, NUM_COARSE_POINTS)
    inside = coarse > coarse.max(-1, keepdims=True) + np.log(TAIL_PROBABILITY)
    coarse_step = (stop - start) / (NUM_COARSE_POINTS - 1)
    first, last = inside.argmax(-1), NUM_COARSE_POINTS - 1 - inside[..., ::-1].argmax(-1)
    stop = np.minimum(start + coarse_step * (last + 1), stop)
    start = start + coarse_step * np.maximum(first - 1, 0)
    table = _log_density(counts, expected, weight, start, stop, NUM_TABLE_POINTS)
    table -= table.max(-1, keepdims=True)
    return table, start, (stop - start) / (NUM_TABLE_POINTS - 1)


def _log_density(
    counts: np.ndarray, expected: np.ndarray, weight: np.ndarray, start: np.ndarray, stop: np.ndarray, num_points: int
) -> np.ndarray:
    """ln of the density of u = ln(source counts), (R, 3, num_points); expected, weight (R, 3, Q), the rest (R, 3)."""
    log_rate = start[..., None] + (stop - start)[..., None] * np.linspace(0.0, 1.0, num_points)
    rate = np.exp(log_rate)
    # Relative to the Poisson likelihood at its peak, the least background where that is above the counts: nothing
    # overflows, and exp() underflows only in the tails.
    peak = np.maximum(np.maximum(counts, 1.0), expected.min(axis=-1))[..., None]
    counts = counts[..., None]

    def log_likelihood(node: int) -> np.ndarray:
        total = rate + expected[..., node, None]
        return counts * np.log(total / peak) - (total - peak)

    if weight.shape[-1] == 1:
        return log_rate + log_likelihood(0)
    likelihood = sum(np.exp(log_likelihood(node)) * weight[..., node, None] for node in range(weight.shape[-1]))
    return log_rate + np.log(np.maximum(likelihood, 1e-300))


def _correlate(table: np.ndarray, start: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probability (3 R, L) of u_x - u_y of every ratio on uniform grids, their first points and steps (3 R,)."""
    width = step * (NUM_TABLE_POINTS - 1)
    grid_step = (width[:, X_BANDS] + width[:, Y_BANDS]).ravel() / (NUM_GRID_POINTS - 4)
    peak = start + step * table.argmax(-1)
    flat_table, begin = table.ravel(), NUM_TABLE_POINTS * np.arange(start.size).reshape(start.shape)
    spectra, origins = [], []
    for sign, bands in ((1.0, X_BANDS), (-1.0, Y_BANDS)):  # the densities of u_x and of -u_y
        first, scale = start[:, bands].ravel(), step[:, bands].ravel()
        lowest = first if sign > 0 else -(first + width[:, bands].ravel())
        # A point on the peak: a density narrower than the grid step then keeps its place.
        centre = sign * peak[:, bands].ravel()
        origin = centre - np.floor((centre - lowest) / grid_step) * grid_step
        exact = ((sign * origin - first) / scale)[:, None] + (sign * grid_step / scale)[:, None] * GRID_INDEX
        position = np.clip(exact, 0.0, NUM_TABLE_POINTS - 1.000001)
        inside = np.abs(exact - position) < 1e-5
        index = position.astype(np.int32)
        position -= index
        index += begin[:, bands].ravel()[:, None].astype(np.int32)
        value = np.take(flat_table, index)
        index += 1
        value += (np.take(flat_table, index) - value) * position
        density = np.exp(value, out=value)
        density *= inside
        spectra.append(np.fft.rfft(density / density.sum(1, keepdims=True)))
        origins.append(origin)
    probability = np.maximum(np.fft.irfft(spectra[0] * spectra[1], n=NUM_GRID_POINTS), 0.0)
    return probability, origins[0] + origins[1], grid_step


def _summarize(probability: np.ndarray, first: np.ndarray, step: np.ndarray) -> np.ndarray:
    """(P, 3): mode and highest-density limits of H, the density taken a unit of H."""
    rows = np.arange(len(probability))
    # dH/du = sech^2(u / 2) / 2, of which 4 / (2 + e^u + e^-u) is twice.
    odds = np.exp(first[:, None] + step[:, None] * GRID_INDEX)
    density = probability * (2.0 + odds + 1.0 / odds)
    density[probability <= 1e-14] = 0.0  # FFT rounding

    order = np.argsort(-density, axis=1)
    flat_order = order + (NUM_GRID_POINTS * rows)[:, None]
    mass = np.cumsum(np.take(probability, flat_order), axis=1)
    wanted = CREDIBLE_MASS * mass[:, -1]
    num_inside = (mass < wanted[:, None]).sum(1)
    level = density[rows, order[rows, num_inside]]
    inside = density >= level[:, None]
    lowest, highest = inside.argmax(1), NUM_GRID_POINTS - 1 - inside[:, ::-1].argmax(1)
    # The limits are where straight lines between the points cross a level: this one, then, a Newton step on, the level
    # that leaves just the mass wanted between them. At an end of the grid the limit is the end.
    at_lowest, at_highest = density[rows, lowest], density[rows, highest]
    rise = at_lowest - density[rows, np.maximum(lowest - 1, 0)]
    fall = at_highest - density[rows, np.minimum(highest + 1, NUM_GRID_POINTS - 1)]
    with np.errstate(invalid="ignore", divide="ignore"):
        low = lowest - np.where(rise > 0, (at_lowest - level) / rise, 0.5)
        high = highest + np.where(fall > 0, (at_highest - level) / fall, 0.5)
        mass_lowest, mass_highest = probability[rows, lowest], probability[rows, highest]
        surplus = mass[rows, num_inside] - wanted
        surplus -= mass_lowest * (low - lowest + 0.5) + mass_highest * (highest + 0.5 - high)
        to_low, to_high = (np.where(slope > 0, 1.0 / slope, 0.0) for slope in (rise, fall))
        raised = np.nan_to_num(surplus / (mass_lowest * to_low + mass_highest * to_high))
        low += np.clip(raised * to_low, -1.0, 1.0)
        high -= np.clip(raised * to_high, -1.0, 1.0)

    # The mode: the vertex of the parabola through the logarithms of the highest point and its neighbours.
    best = order[:, 0]
    inner = np.clip(best, 1, NUM_GRID_POINTS - 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        before, at, after = (np.log(density[rows, inner + shift]) for shift in (-1, 0, 1))
        shift = 0.5 * (before - after) / (before - 2.0 * at + after)
    mode = best + np.where(np.isfinite(shift) & (best == inner), np.clip(shift, -0.5, 0.5), 0.0)
    index = np.stack([mode, np.minimum(low, mode), np.maximum(high, mode)], axis=1)
    return np.tanh(0.5 * (first[:, None] + step[:, None] * index))
