#!/usr/bin/env python
"""`measure_catalog` for many detections at once, against the definitions written out for one after another.

The obvious implementation: band sums over channels with numpy; for the hardness ratios the background integrated out
by `scipy.integrate.quad_vec`, then P(H) = int P_x((1 + H) F / 2) P_y((1 - H) F / 2) F / 2 dF by Simpson's rule on a
grid of H, whose highest point is the mode; for Gregory-Loredo one histogram for each number of bins. Both sides see
the same synthetic detections (log-normal counts, 1024 channels, 450-bin ARFs, 30 % with gaps). They must agree on
fluxes and counts to 1e-9 relative, on the modes to 0.005 + 0.01 of the error of the ratio, and on var_prob to 0.05.
"""

from __future__ import annotations

import argparse
import math
import os
from time import process_time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import scipy.sparse as sparse
from scipy.integrate import quad_vec, simpson
from scipy.special import gammainccinv, gammaincinv, gammaln, logsumexp

from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH, ACIS_NUM_CHANNELS, BANDS, EFFECTIVE_ENERGY
from chandraclip.catalog.measure import measure_catalog
from chandraclip.catalog.ragged import Ragged
from chandraclip.catalog.variability import MAX_BINS, SHORTEST_BIN
from chandraclip.ogip.response import Response
from result_files import write_result

KEV_TO_ERG = 1.602176634e-9
ENERGY_EDGES = np.linspace(0.3, 9.3, 451)
CHANNEL_ENERGY = ACIS_CHANNEL_WIDTH * (np.arange(ACIS_NUM_CHANNELS) + 0.5)
IN_BAND = {band: np.digitize(CHANNEL_ENERGY, limits) == 1 for band, limits in BANDS.items()}
RATIOS = {"hard_hm": ("h", "m"), "hard_hs": ("h", "s"), "hard_ms": ("m", "s")}
EXPOSURE = 30_000.0  # s


def simulate(num_detections: int, median_counts: float, seed: int) -> tuple[dict[str, Any], dict[str, Response]]:
    """Columns of `measure_catalog` with power laws behind a rough ARF, and their response."""
    rng = np.random.default_rng(seed)
    low, high = ENERGY_EDGES[:-1], ENERGY_EDGES[1:]
    middle = 0.5 * (low + high)
    axis_area = 500.0 * np.exp(-((0.7 / middle) ** 2) - (middle / 6.0) ** 2)
    area = axis_area * rng.uniform(0.6, 1.0, (num_detections, 1))
    # A diagonal matrix would do; which channels a photon reaches plays no part in what is measured.
    edges = ACIS_CHANNEL_WIDTH * np.arange(ACIS_NUM_CHANNELS + 1)
    matrix = sparse.csr_array((middle.size, ACIS_NUM_CHANNELS))
    response = Response(low, high, np.ones(middle.size), matrix, edges[:-1], edges[1:])

    photon_index = rng.normal(1.8, 0.6, (num_detections, 1))
    shape = CHANNEL_ENERGY**-photon_index * np.interp(CHANNEL_ENERGY, middle, axis_area)
    shape[:, (CHANNEL_ENERGY < 0.3) | (CHANNEL_ENERGY > 9.0)] = 0.0
    expected = shape / shape[:, IN_BAND["b"]].sum(1, keepdims=True)
    # 0.6 dex, and at most 1e5 counts.
    expected *= np.minimum(rng.lognormal(np.log(median_counts), 0.6 * np.log(10), (num_detections, 1)), 1e5)
    background = 10.0 ** rng.normal(-0.2, 0.8, (num_detections, 1)) * (shape[:1] > 0) / IN_BAND["b"].sum()
    scale = 10.0 ** rng.uniform(-1.7, -0.7, num_detections)
    counts = rng.poisson(expected + background)

    times, energies, starts, stops = [], [], [], []
    for row, channels in enumerate(counts):
        gaps = np.array([0.4, 0.6]) * EXPOSURE if rng.random() < 0.3 else np.zeros(0)
        good = np.sort(rng.random(channels.sum()) * (0.8 if gaps.size else 1.0)) * EXPOSURE
        good = good + np.where(good > 0.4 * EXPOSURE, 0.2 * EXPOSURE, 0.0) if gaps.size else good
        times.append(np.sort(EXPOSURE * rng.beta(2, 2, good.size)) if row % 5 == 0 else good)
        energies.append(rng.permutation(np.repeat(CHANNEL_ENERGY, channels)).astype(np.float32))
        starts.append(np.append(0.0, gaps[1:]))
        stops.append(np.append(gaps[:1], EXPOSURE))
    columns: dict[str, Any] = {
        "spectrum_counts": Ragged.from_rows(list(counts)),
        "spectrum_background": Ragged.from_rows(list(rng.poisson(background / scale[:, None]))),
        "background_scale": scale,
        "exposure": np.full(num_detections, EXPOSURE),
        "arf": Ragged.from_rows(list(area.astype(np.float32))),
        "response_id": [response.response_id] * num_detections,
        "event_time": Ragged.from_rows(times),
        "event_energy": Ragged.from_rows(energies),
        "gti_start": Ragged.from_rows(starts),
        "gti_stop": Ragged.from_rows(stops),
    }
    return columns, {response.response_id: response}


def log_posterior(counts: float, background: float, scale: float, log_rate: np.ndarray) -> np.ndarray:
    """ln of the density of ln(rate), the background integrated out by adaptive quadrature."""

    def integrand(mean: float) -> np.ndarray:
        total = np.exp(log_rate) + scale * mean
        log_likelihood = counts * np.log(total / max(counts, 1.0)) - total + counts
        return np.exp(log_likelihood + background * np.log(mean) - mean - gammaln(background + 1.0))

    ends = gammaincinv(background + 1.0, 1e-9), gammainccinv(background + 1.0, 1e-9)
    density, _ = quad_vec(integrand, *ends, epsrel=1e-6, epsabs=1e-12)
    return log_rate + np.log(np.maximum(density, 1e-300))


def hardness_mode(
    x: tuple[np.ndarray, np.ndarray], y: tuple[np.ndarray, np.ndarray], area_x: float, area_y: float
) -> tuple[float, float]:
    """Mode of P(H) and its standard deviation; x and y are ln(rate) and ln of its density."""
    peaks = [log_rate[log_density.argmax()] for log_rate, log_density in (x, y)]
    middle = peaks[0] - np.log(area_x) - peaks[1] + np.log(area_y)
    width = 0.0
    for log_rate, log_density in (x, y):
        weight = np.exp(log_density - log_density.max())
        mean = np.average(log_rate, weights=weight)
        width += np.average((log_rate - mean) ** 2, weights=weight)
    hardness = np.tanh(0.5 * (middle + np.sqrt(width) * np.linspace(-6.0, 6.0, 1_201)))
    hardness = hardness[np.abs(hardness) < 1.0]
    # The integral over ln F, the F of both bands together, where the band with the narrower posterior has its mass.
    narrow = 0 if np.ptp(x[0]) < np.ptp(y[0]) else 1
    area, sign = ((area_x, 1.0), (area_y, -1.0))[narrow]
    log_share = np.log(0.5 * (1.0 + sign * hardness))[:, None]
    log_flux = (x, y)[narrow][0] - np.log(area) - log_share
    log_px = np.interp(log_flux + np.log(0.5 * (1.0 + hardness))[:, None] + np.log(area_x), *x, left=-300.0)
    log_py = np.interp(log_flux + np.log(0.5 * (1.0 - hardness))[:, None] + np.log(area_y), *y, left=-300.0)
    # P(F) dF = P(ln F) d ln F, and F / 2 dF over the two fluxes leaves 2 / (1 - H^2).
    density = simpson(np.exp(log_px - x[1].max() + log_py - y[1].max()), dx=1.0) / (1.0 - hardness**2)
    weight = density * np.gradient(hardness)
    mean = np.average(hardness, weights=weight)
    return float(hardness[density.argmax()]), float(np.sqrt(np.average((hardness - mean) ** 2, weights=weight)))


def direct_significance(counts: float, background: float, scale: float) -> float:
    """Value over mean half-width of the kernel estimate of the source counts' posterior (`catalog.photometry`)."""
    log_rate = np.linspace(math.log(1e-6), math.log(counts + 10 * math.sqrt(counts + 1) + 30), 1_500)
    log_density = log_posterior(counts, background, scale, log_rate)
    rate = np.linspace(0.0, math.exp(log_rate[(log_density > log_density.max() - 25.0).nonzero()[0][-1]]), 8_001)[1:]
    density = np.exp(np.interp(np.log(rate), log_rate, log_density)) / rate
    density /= density.sum()
    mean = density @ rate
    sigma = math.sqrt(density @ (rate - mean) ** 2)
    grid = np.arange(max(mean - 4.0 * sigma, 0.0), mean + 5.0 * sigma, sigma / 16.0)
    smooth = np.clip(1.0 - ((grid[:, None] - rate) / sigma) ** 2, 0.0, None) @ density
    smooth /= np.trapezoid(smooth, grid)
    low = high = best = int(smooth.argmax())
    while np.trapezoid(smooth[low : high + 1], grid[low : high + 1]) < 0.68:
        low, high = (low - 1, high) if best - low <= high - best else (low, high + 1)
        if low < 0:
            return 0.0
    before, at, after = smooth[best - 1 : best + 2]
    value = grid[best] + 0.5 * (before - after) / (before - 2.0 * at + after) * (grid[1] - grid[0])
    return float(2.0 * value / (grid[high] - grid[low]))


def direct_var_prob(time: np.ndarray, start: np.ndarray, stop: np.ndarray) -> float:
    knots = np.stack([start, stop], axis=1).ravel()
    good = np.concatenate([[0.0], np.repeat(np.cumsum(stop - start), 2)])[:-1]
    time = time[((time[:, None] >= start) & (time[:, None] <= stop)).any(axis=1)]
    terms = []
    for num_bins in range(2, max(2, min(MAX_BINS, int((stop[-1] - start[0]) / SHORTEST_BIN))) + 1):
        edges = np.linspace(start[0], stop[-1], num_bins + 1)
        counts, _ = np.histogram(time, bins=edges)
        share = np.diff(np.interp(edges, knots, good)) / good[-1]
        counts, share = counts[share > 1e-9], share[share > 1e-9]
        log_odds = math.lgamma(share.size) - math.lgamma(counts.sum() + share.size)
        terms.append(log_odds + np.sum(gammaln(counts + 1)) - np.sum(counts * np.log(share)))
    means = [float(logsumexp(terms[: number + 1])) - math.log(number + 1) for number in range(len(terms))]
    log_odds = [mean for mean in means if mean > max(means) - 0.5][-1]
    return 1.0 / (1.0 + math.exp(min(-log_odds, 700.0))) if time.size >= 10 else math.nan


def measure_directly(row: dict[str, Any], response: Response) -> dict[str, float]:
    """The quantities of one detection, and `*_error`, the standard deviation of each ratio's posterior."""
    counts, background, scale = row["spectrum_counts"], row["spectrum_background"], row["background_scale"]
    net = counts - scale * background
    bins = np.clip(np.searchsorted(response.energy_lo, CHANNEL_ENERGY, side="right") - 1, 0, None)
    energy_per_area = net * CHANNEL_ENERGY / row["arf"].astype(np.float64)[bins]
    result = {"src_cnts_aper_b": float(net[IN_BAND["b"]].sum())}
    in_source, in_background = (float(values[IN_BAND["b"]].sum()) for values in (counts, background))
    result["flux_significance_b"] = direct_significance(in_source, in_background, scale)
    for band in "bhms":
        result[f"flux_aper_{band}"] = KEV_TO_ERG * energy_per_area[IN_BAND[band]].sum() / row["exposure"]
    posteriors, areas, totals = {}, {}, {}
    for band in "smh":
        totals[band], other = (float(values[IN_BAND[band]].sum()) for values in (counts, background))
        # A log grid of the rate that holds all but the far tails, then 600 points where the posterior is.
        log_rate = np.linspace(math.log(1e-6), math.log(totals[band] + 8 * math.sqrt(totals[band]) + 30), 1_500)
        log_density = log_posterior(totals[band], other, scale, log_rate)
        inside = np.flatnonzero(log_density > log_density.max() - 20.0)
        ends = log_rate[max(inside[0] - 1, 0)], log_rate[min(inside[-1] + 1, log_rate.size - 1)]
        log_rate = np.linspace(*ends, 601)
        posteriors[band] = log_rate, log_posterior(totals[band], other, scale, log_rate)
        middle = 0.5 * (response.energy_lo + response.energy_hi)
        areas[band] = float(np.interp(EFFECTIVE_ENERGY[band], middle, row["arf"]))
    for name, (x, y) in RATIOS.items():
        result[name] = result[f"{name}_error"] = math.nan
        if totals[x] + totals[y] > 0:
            found = hardness_mode(posteriors[x], posteriors[y], areas[x], areas[y])
            result[name], result[f"{name}_error"] = found
    energy = row["event_energy"]
    time = row["event_time"][(energy >= BANDS["b"][0]) & (energy < BANDS["b"][1])]
    return result | {"var_prob_b": direct_var_prob(time, row["gti_start"], row["gti_stop"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num_detections", type=int, default=4_000)
    parser.add_argument("--num_direct", type=int, default=60, help="detections that are also measured one by one")
    parser.add_argument("--median_counts", type=float, default=100.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    columns, responses = simulate(options.num_detections, options.median_counts, options.seed)

    ours_s = math.inf
    for _ in range(3):
        begin = process_time()
        ours = measure_catalog(columns, responses)
        ours_s = min(ours_s, process_time() - begin)
    num_direct = min(options.num_direct, options.num_detections)
    rows = [{name: _value(column, row) for name, column in columns.items()} for row in range(num_direct)]
    begin = process_time()
    direct = [measure_directly(row, next(iter(responses.values()))) for row in rows]
    direct_s = process_time() - begin

    largest: dict[str, float] = {}
    agree = True
    for name in (*RATIOS, "src_cnts_aper_b", "flux_significance_b", *(f"flux_aper_{b}" for b in "bhms"), "var_prob_b"):
        theirs = np.array([row[name] for row in direct])
        difference = np.abs(ours[name][:num_direct] - theirs)
        if name in RATIOS:
            allowed = 0.005 + 0.01 * np.array([row[f"{name}_error"] for row in direct])
        elif name == "var_prob_b":
            allowed = np.full(num_direct, 1e-5)
        elif name == "flux_significance_b":
            allowed = 0.07 * theirs + 1e-9  # a step of the grid, sixteen to a standard deviation
        else:
            allowed = 1e-9 * np.abs(theirs)
        agree &= bool(
            (np.isnan(difference) == np.isnan(theirs)).all() and (difference <= allowed)[theirs == theirs].all()
        )
        largest[name] = float(np.nanmax(difference))

    ms = {"one after another": 1e3 * direct_s / num_direct, "measure_catalog": 1e3 * ours_s / options.num_detections}
    result = {
        "ratio": ms["one after another"] / ms["measure_catalog"],
        "equal": agree,
        "against": "the definitions, one detection after another (scipy quadrature, numpy over channels and bins)",
        "ours_ms_a_detection": ms["measure_catalog"],
        "direct_ms_a_detection": ms["one after another"],
        "largest_difference_hardness": max(largest[name] for name in RATIOS),
        "largest_difference_var_prob": largest["var_prob_b"],
        "num_detections": options.num_detections,
        "num_direct": num_direct,
        "median_counts": float(np.median(np.diff(columns["event_time"].offsets))),
    }
    print(
        f"{options.num_detections} detections ({num_direct} one by one), {result['median_counts']:.0f} counts (median)"
    )
    print(f"{'':<28}{'ms/detection':>14}{'detections/s':>15}")
    for name, milliseconds in ms.items():
        print(f"{name:<28}{milliseconds:>14.3f}{1e3 / milliseconds:>15,.0f}")
    print("largest differences: " + ", ".join(f"{name} {value:.1e}" for name, value in largest.items()))
    print(f"ratio {result['ratio']:.0f}, equal: {result['equal']}")
    write_result(__file__, result)


def _value(column: Any, row: int) -> Any:
    if isinstance(column, Ragged):
        return column.values[column.offsets[row] : column.offsets[row + 1]]
    return column[row]


if __name__ == "__main__":
    main()
