"""Maximum-likelihood fit of an absorbed power law: the check that counts, response and background fit together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from chandraclip.catalog.bands import BANDS
from chandraclip.catalog.statistics import cash
from chandraclip.ogip.spectrum import Spectrum

_GAMMA_RANGE, _NH_RANGE = (-3.0, 10.0), (0.0, 100.0)
_STARTS = ((1.7, 0.1), (1.0, 0.01), (2.5, 1.0), (0.5, 3.0), (4.0, 0.5))
_LOWEST_ENERGY = 1e-3  # keV; some grids begin at 0, where a power law diverges


@dataclass(frozen=True)
class PowerLawFit:
    """The best absorbed power law.

    Attributes:
        gamma: photon index.
        nh: 1e22 cm-2.
        norm: photons/cm2/s/keV at 1 keV.
        statistic: Cash statistic summed over `num_bins` channels.
        num_bins: channels in the band.
        net_counts: expected source counts in the band.
    """

    gamma: float
    nh: float
    norm: float
    statistic: float
    num_bins: int
    net_counts: float


def fit_power_law(
    spectrum: Spectrum,
    cross_section: Callable[[np.ndarray], np.ndarray],
    band: tuple[float, float] = BANDS["b"],
    background_channels: int = 15,
) -> PowerLawFit:
    """Fits ``K E^-gamma exp(-NH sigma(E))`` by the Cash statistic, the scaled background added to the model.

    Each channel's own few background counts are a poor expectation (0 where none fell), so they are averaged over
    neighbours. The average takes the background beyond the band as 0, as ``numpy.convolve(..., "same")`` does.

    Args:
        spectrum: with a response.
        cross_section: energies (E,) keV -> (E,) 1e-22 cm2 per hydrogen atom.
        band: keV; a good channel (`Spectrum.good_channels`) counts where its centre lies in it.
        background_channels: width of the running mean of the background, channels; 1 takes it as it is.

    Raises:
        ValueError: no response, or no good channel in the band.
    """
    response = spectrum.response
    if response is None:
        raise ValueError(f"{spectrum.path} has no response: {spectrum.response_problem}")
    centre = (response.channel_energy_lo + response.channel_energy_hi) / 2
    chosen = (centre >= band[0]) & (centre <= band[1]) & spectrum.good_channels
    if not chosen.any():
        raise ValueError(f"{spectrum.path} has no good channel in {band[0]}-{band[1]} keV")
    counts = spectrum.counts[chosen].astype(np.float64)
    width = min(background_channels, int(chosen.sum()))  # a window longer than the spectrum would lengthen it
    window = np.full(width, 1.0 / width)
    background = np.convolve(spectrum.expected_background[chosen], window, "same")
    low = np.maximum(response.energy_lo, _LOWEST_ENERGY)
    high = np.maximum(response.energy_hi, 2 * _LOWEST_ENERGY)
    sigma = cross_section((low + high) / 2)

    def source(gamma: float, nh: float) -> np.ndarray:
        slope = 1.0 - gamma
        if abs(slope) < 1e-6:
            integral = np.log(high / low)
        else:
            integral = (high**slope - low**slope) / slope
        return spectrum.expected_counts(integral * np.exp(-nh * sigma))[chosen]

    def profile(parameters: np.ndarray) -> float:
        shape = source(*parameters)
        return float(cash(counts, _best_norm(shape, counts, background) * shape + background).sum())

    fits = [
        minimize(profile, start, method="Nelder-Mead", bounds=[_GAMMA_RANGE, _NH_RANGE], options={"xatol": 1e-4})
        for start in _STARTS
    ]
    best = min(fits, key=lambda fit: fit.fun)
    shape = source(*best.x)
    norm = _best_norm(shape, counts, background)
    return PowerLawFit(
        gamma=float(best.x[0]),
        nh=float(best.x[1]),
        norm=norm,
        statistic=float(best.fun),
        num_bins=int(chosen.sum()),
        net_counts=float(norm * shape.sum()),
    )


def _best_norm(shape: np.ndarray, counts: np.ndarray, background: np.ndarray) -> float:
    """The factor of `shape` that minimises the Cash statistic: a convex problem of one number, by Newton's method."""
    total = shape.sum()
    observed = counts > 0
    s, d, b = shape[observed], counts[observed], background[observed]
    if total <= 0 or not (s > 0).any():
        return 0.0
    # With no background the answer is counts / model; a background only lowers it, so start above and step down.
    norm = d.sum() / total
    for _ in range(100):
        model = norm * s + b
        with np.errstate(divide="ignore", invalid="ignore"):
            gradient = total - (d * s / model).sum()
            curvature = (d * (s / model) ** 2).sum()
        if not curvature > 0:
            break
        step = gradient / curvature
        norm = max(norm - step, norm * 0.1)
        if abs(step) < 1e-10 * norm:
            break
    return float(norm)
