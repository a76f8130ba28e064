#!/usr/bin/env python
"""Davis (2001) pile-up of many spectra at once, against the formula written out for one spectrum after another.

Both peers sum the series term by term, each term a convolution of the last with the spectrum: one with numpy.convolve
(on a few of the spectra, it takes so long), one with scipy.signal.fftconvolve, which the ratio is taken against. All
share a further photon equally between two bins and must agree to 1e-9 of a spectrum's counts.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.signal import fftconvolve

from chandraclip.simulate.instrument.pileup import FRACTIONAL_EXPOSURE, FRAME_TIME, davis_counts
from result_files import write_result

MAX_ENERGY = 15.0  # keV
EXPOSURE = 30_000.0  # s
FRACTION = 0.95
Convolve = Callable[[np.ndarray, np.ndarray], np.ndarray]


def simulate(num_spectra: int, num_bins: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Photons a frame (S, B) of absorbed power laws, 0.01 to 10 a frame in all, and alphas (S,)."""
    rng = np.random.default_rng(seed)
    energy = (np.arange(num_bins) + 0.5) * MAX_ENERGY / num_bins
    gamma, depth = rng.uniform(1.0, 3.0, (num_spectra, 1)), 10.0 ** rng.uniform(-1.0, 1.0, (num_spectra, 1))
    spectrum = energy**-gamma * np.exp(-depth * energy**-2.5 - (energy / 7.0) ** 4)
    rate = 10.0 ** rng.uniform(-2.0, 1.0, (num_spectra, 1))
    return rate * spectrum / spectrum.sum(axis=1, keepdims=True), rng.random(num_spectra)


def direct_counts(photons: np.ndarray, alpha: float, convolve: Convolve) -> np.ndarray:
    """The definition for one spectrum, term by term, with Davis's stop rule."""
    per_cell = photons * FRACTION / FRACTIONAL_EXPOSURE
    total = float(per_cell.sum())
    power = per_cell / total
    further = 0.5 * (power + np.append(0.0, power[:-1]))
    recorded, probability = per_cell.copy(), math.exp(-total) * (1.0 + total)
    for num_photons in range(2, 31):
        weight = total**num_photons / math.factorial(num_photons)
        power = convolve(power, further)[: photons.size]
        recorded += alpha ** (num_photons - 1) * weight * power
        probability += math.exp(-total) * weight
        if probability > 0.99999:
            break
    piled = FRACTIONAL_EXPOSURE * math.exp(-total) * recorded
    return EXPOSURE / FRAME_TIME * (piled + (1.0 - FRACTION) * photons)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num_spectra", type=int, default=1_000)
    parser.add_argument("--num_convolve", type=int, default=30, help="spectra that numpy.convolve takes")
    parser.add_argument("--num_bins", type=int, default=4_096)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    photons, alpha = simulate(options.num_spectra, options.num_bins, options.seed)

    ours_s = math.inf
    for _ in range(3):
        begin = perf_counter()
        ours = davis_counts(photons, EXPOSURE, alpha, FRACTION)
        ours_s = min(ours_s, perf_counter() - begin)
    peers: tuple[tuple[str, Convolve, int], ...] = (
        ("numpy.convolve", np.convolve, min(options.num_convolve, options.num_spectra)),
        ("scipy.signal.fftconvolve", fftconvolve, options.num_spectra),
    )
    microseconds = {"davis_counts": 1e6 * ours_s / options.num_spectra}
    difference = 0.0
    for name, convolve, num_spectra in peers:
        begin = perf_counter()
        direct = np.array([direct_counts(photons[row], alpha[row], convolve) for row in range(num_spectra)])
        microseconds[name] = 1e6 * (perf_counter() - begin) / num_spectra
        relative = np.abs(ours[:num_spectra] - direct).max(axis=1) / direct.sum(axis=1)
        difference = max(difference, float(relative.max()))

    result = {
        "ratio": microseconds["scipy.signal.fftconvolve"] / microseconds["davis_counts"],
        "equal": difference < 1e-9,
        "against": "the series, one spectrum after another (scipy.signal.fftconvolve)",
        "ours_us_a_spectrum": microseconds["davis_counts"],
        "fftconvolve_us_a_spectrum": microseconds["scipy.signal.fftconvolve"],
        "convolve_us_a_spectrum": microseconds["numpy.convolve"],
        "largest_difference_of_counts": difference,
        "num_spectra": options.num_spectra,
        "num_bins": options.num_bins,
    }
    print(f"{options.num_spectra} spectra of {options.num_bins} bins, 0.01 to 10 photons a frame")
    print(f"{'':<28}{'us/spectrum':>12}{'spectra/s':>12}")
    for name, each in microseconds.items():
        print(f"{name:<28}{each:>12.0f}{1e6 / each:>12,.0f}")
    print(f"ratio {result['ratio']:.1f}, largest difference {difference:.1e} of the counts, equal: {result['equal']}")
    write_result(__file__, result, "the sides differ")


if __name__ == "__main__":
    main()
