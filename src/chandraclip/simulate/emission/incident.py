"""Incident photon spectra, and fluxes of them.

Every model takes bin edges in keV, (E,) or (S, E), contiguous, and parameters (S,), and gives (S, E) photons/cm2/s in
each bin (not per keV), in the normalisation of the XSPEC model named. A row of edges for each spectrum, E (1 + z),
gives the spectrum of a redshifted source.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.integrate import quad
from scipy.special import ndtr

from chandraclip.simulate.emission.bremsstrahlung import bremsstrahlung, integrate_bins
from chandraclip.simulate.emission.plasma import plasma

__all__ = [
    "KEV_TO_ERG",
    "PLASMA_ABUNDANCE",
    "SPECTRAL_MODELS",
    "blackbody",
    "bremsstrahlung",
    "disk_blackbody",
    "energy_flux",
    "gaussian_line",
    "incident_spectrum",
    "photon_flux",
    "plasma",
    "powerlaw",
]

KEV_TO_ERG = 1.602176634e-9
SPECTRAL_MODELS = ("powerlaw", "blackbody", "diskbb", "bremsstrahlung", "plasma")

# Metals of the plasma, solar = 1: coronae of active and young stars have 0.2 to 0.5 (Guedel 2004, A&ARv 12, 71).
PLASMA_ABUNDANCE = 0.4

# 2 pi / (h^3 c^2) (1 km / 10 kpc)^2: a blackbody of 1 km radius at 10 kpc sends E^2 / (e^(E / kT) - 1) times this,
# photons/cm2/s/keV.
BLACKBODY_SURFACE = 1.03801e-3


def powerlaw(energy_lo: np.ndarray, energy_hi: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """Power law ``E^-gamma``, 1 photon/keV/cm2/s at 1 keV (XSPEC `powerlaw`); exact bin integrals."""
    index = 1.0 - np.asarray(gamma, dtype=np.float64)[:, None]
    safe = np.where(np.abs(index) < 1e-9, 1e-9, index)  # the limit gamma -> 1 is the logarithm
    ratio = np.log(energy_hi / energy_lo)
    # expm1 of the bin's width in log energy: no cancellation near gamma = 1
    return np.exp(safe * np.log(energy_lo)) * np.expm1(safe * ratio) / safe


def blackbody(energy_lo: np.ndarray, energy_hi: np.ndarray, kt: np.ndarray) -> np.ndarray:
    """Blackbody of temperature `kt` keV and luminosity 1e39 erg/s at 10 kpc (XSPEC `bbody`, norm 1)."""
    kt = np.asarray(kt, dtype=np.float64)[:, None]

    def density(energy: np.ndarray) -> np.ndarray:
        ratio = energy / kt
        return 8.0525 * energy**2 * np.exp(-ratio) / (-np.expm1(-ratio) * kt**4)

    return integrate_bins(density, energy_lo, energy_hi)


def disk_blackbody(energy_lo: np.ndarray, energy_hi: np.ndarray, kt_in: np.ndarray) -> np.ndarray:
    """Blackbody disk with T ~ r^(-3/4), face-on, inner radius 1 km at 10 kpc (XSPEC `diskbb`, norm 1).

    The rings add up to ``8/3 E^2 u^(-8/3) int_u^inf x^(5/3) / (e^x - 1) dx``, u = E / kT_in, of a blackbody surface
    (Mitsuda et al. 1984, PASJ 36, 741; Makishima et al. 1986, ApJ 308, 635).

    Args:
        kt_in: (S,) keV, temperature of the inner edge.
    """
    kt_in = np.asarray(kt_in, dtype=np.float64)[:, None]
    log_u, log_scaled = _disk_integral()

    def density(energy: np.ndarray) -> np.ndarray:
        ratio = energy / kt_in
        log_ratio = np.log(ratio)
        integral = np.interp(log_ratio, log_u, log_scaled) - 8.0 / 3.0 * log_ratio - ratio
        return BLACKBODY_SURFACE * 8.0 / 3.0 * energy**2 * np.exp(integral)

    return integrate_bins(density, energy_lo, energy_hi)


@cache
def _disk_integral() -> tuple[np.ndarray, np.ndarray]:
    """ln u, and ln of ``e^u int_u^inf x^(5/3) / (e^x - 1) dx``; linear interpolation errs by less than 0.1 %."""
    log_u = np.linspace(np.log(1e-5), np.log(1e3), 400)

    def integrand(beyond: float, start: float) -> float:  # over x - u, so that nothing underflows
        x = start + beyond
        return float(x ** (5.0 / 3.0) * np.exp(-beyond) / -np.expm1(-x))

    integral = [quad(integrand, 0.0, 60.0, args=(start,), limit=200, points=(1e-3, 1.0))[0] for start in np.exp(log_u)]
    return log_u, np.log(integral)


def gaussian_line(
    energy_lo: np.ndarray, energy_hi: np.ndarray, centre: np.ndarray, sigma: np.ndarray | float
) -> np.ndarray:
    """Line of 1 photon/cm2/s (XSPEC `gaussian`); exact bin integrals.

    Args:
        centre: (S,) keV.
        sigma: (S,) or one number, keV; 0 puts all photons in the bin that holds the centre.
    """
    centre = np.asarray(centre, dtype=np.float64)[:, None]
    sigma = np.broadcast_to(np.asarray(sigma, dtype=np.float64), (len(centre),))[:, None]
    offset = np.concatenate([energy_lo, energy_hi[..., -1:]], axis=-1) - centre
    smooth = ndtr(offset / np.where(sigma > 0, sigma, 1.0))
    return np.diff(np.where(sigma > 0, smooth, offset > 0))


def incident_spectrum(
    energy_lo: np.ndarray,
    energy_hi: np.ndarray,
    model: np.ndarray,
    gamma: np.ndarray,
    kt: np.ndarray,
    abundance: np.ndarray | None = None,
    redshift: np.ndarray | None = None,
) -> np.ndarray:
    """Spectra of several models at once, scaled to 1 erg/cm2/s before absorption in the grid's range.

    Args:
        energy_lo, energy_hi: (E,) keV, as observed.
        model: (S,) int, index into `SPECTRAL_MODELS`; -1 gives zeros.
        gamma, kt: (S,), each read only where its model needs it.
        abundance: (S,) of the plasma's metals, solar = 1; None for `PLASMA_ABUNDANCE`.
        redshift: (S,) of the source, whose kT is in its own frame; None for 0.

    Returns:
        (S, E) photons/cm2/s/bin.

    Raises:
        ValueError: a plasma temperature outside the range of `plasma`.
    """
    metals = np.full(len(model), PLASMA_ABUNDANCE) if abundance is None else np.asarray(abundance, dtype=np.float64)
    stretch = np.ones(len(model)) if redshift is None else 1.0 + np.asarray(redshift, dtype=np.float64)

    def evaluate(name: str, low: np.ndarray, high: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if name == "powerlaw":
            return powerlaw(low, high, gamma[rows])
        if name == "plasma":
            return plasma(low, high, kt[rows], metals[rows])
        single = {"blackbody": blackbody, "diskbb": disk_blackbody, "bremsstrahlung": bremsstrahlung}[name]
        return single(low, high, kt[rows])

    flux = np.zeros((len(model), len(energy_lo)))
    for number, name in enumerate(SPECTRAL_MODELS):
        near = np.flatnonzero((model == number) & (stretch == 1.0))
        far = np.flatnonzero((model == number) & (stretch != 1.0))
        if near.size:
            flux[near] = evaluate(name, energy_lo, energy_hi, near)
        if far.size:
            flux[far] = evaluate(name, energy_lo * stretch[far, None], energy_hi * stretch[far, None], far)
    total = energy_flux(flux, energy_lo, energy_hi)[:, None]
    return flux / np.where(total > 0, total, 1.0)


def energy_flux(
    photon_flux: np.ndarray, energy_lo: np.ndarray, energy_hi: np.ndarray, band: tuple[float, float] | None = None
) -> np.ndarray:
    """Energy flux of (..., E) photons/cm2/s/bin in a band (keV; None: all bins whole), erg/cm2/s.

    A bin that the band cuts counts by the share of its width.
    """
    centre = 0.5 * (energy_lo + energy_hi)
    return photon_flux @ (centre * KEV_TO_ERG * _share_inside(energy_lo, energy_hi, band))


def photon_flux(
    photons: np.ndarray, energy_lo: np.ndarray, energy_hi: np.ndarray, band: tuple[float, float] | None = None
) -> np.ndarray:
    """Photon flux of (..., E) photons/cm2/s/bin in a band, as `energy_flux`, photons/cm2/s."""
    return photons @ _share_inside(energy_lo, energy_hi, band)


def _share_inside(energy_lo: np.ndarray, energy_hi: np.ndarray, band: tuple[float, float] | None) -> np.ndarray:
    if band is None:
        return np.ones(len(energy_lo))
    inside = np.clip(np.minimum(energy_hi, band[1]) - np.maximum(energy_lo, band[0]), 0.0, None)
    width = energy_hi - energy_lo
    return np.divide(inside, width, out=np.zeros_like(inside), where=width > 0)  # a bin of no width holds no photon
