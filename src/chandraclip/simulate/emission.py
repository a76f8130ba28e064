"""Incident photon spectra: power law, blackbody, and a hot plasma (continuum and strong lines).

Every function takes bin edges (E,) keV and parameters (S,) and gives (S, E) photons/cm2/s in each bin (not per keV), in
the normalisation of the XSPEC model named.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import cache
from importlib import resources

import numpy as np
from scipy.special import k0e

KEV_TO_ERG = 1.602176634e-9
SPECTRAL_MODELS = ("powerlaw", "blackbody", "thermal")

# Metals of the plasma, solar = 1: coronae of active and young stars have 0.2 to 0.5 (Guedel 2004, A&ARv 12, 71).
PLASMA_ABUNDANCE = 0.4


def powerlaw(energy_lo: np.ndarray, energy_hi: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """Power law ``E^-gamma``, 1 photon/keV/cm2/s at 1 keV (XSPEC `powerlaw`); exact bin integrals."""
    index = 1.0 - np.asarray(gamma, dtype=np.float64)[:, None]
    safe = np.where(np.abs(index) < 1e-9, 1e-9, index)  # the limit gamma -> 1 is the logarithm
    ratio = np.log(energy_hi / energy_lo)
    # expm1 of the bin's width in log energy: no cancellation near gamma = 1
    return np.exp(safe * np.log(energy_lo)) * np.expm1(safe * ratio) / safe


def _simpson(
    density: Callable[[np.ndarray, np.ndarray], np.ndarray],
    energy_lo: np.ndarray,
    energy_hi: np.ndarray,
    kt: np.ndarray,
) -> np.ndarray:
    """Bin integrals of a density (photons/keV) by Simpson's rule; the bins must touch."""
    kt = np.asarray(kt, dtype=np.float64)[:, None]
    at_edges = density(np.append(energy_lo, energy_hi[-1]), kt)
    at_centres = density(0.5 * (energy_lo + energy_hi), kt)
    return (energy_hi - energy_lo) / 6.0 * (at_edges[:, :-1] + 4.0 * at_centres + at_edges[:, 1:])


def blackbody(energy_lo: np.ndarray, energy_hi: np.ndarray, kt: np.ndarray) -> np.ndarray:
    """Blackbody of temperature `kt` keV and luminosity 1e39 erg/s at 10 kpc (XSPEC `bbody`, norm 1)."""

    def density(energy: np.ndarray, kt: np.ndarray) -> np.ndarray:
        ratio = energy / kt
        return 8.0525 * energy**2 * np.exp(-ratio) / (-np.expm1(-ratio) * kt**4)

    return _simpson(density, energy_lo, energy_hi, kt)


def bremsstrahlung(energy_lo: np.ndarray, energy_hi: np.ndarray, kt: np.ndarray) -> np.ndarray:
    """Thermal bremsstrahlung of hydrogen and helium (10 % by number).

    ``3.02e-15 g e^(-E/kT) / (E sqrt(kT))`` photons cm3/s/keV for unit n_e n_H, times 1.4 for helium, with the Born
    Gaunt factor ``sqrt(3)/pi e^(u/2) K0(u/2)``, u = E/kT (Rybicki & Lightman 1979, eq. 5.14; Greene 1959). The norm is
    that of XSPEC `apec`, 1e-14 EM / (4 pi D^2), so that lines and continuum add.
    """

    def density(energy: np.ndarray, kt: np.ndarray) -> np.ndarray:
        ratio = energy / kt
        gaunt = np.sqrt(3.0) / np.pi * k0e(0.5 * ratio)
        return 1.4 * 3.02e-15 * 1e14 * gaunt * np.exp(-ratio) / (energy * np.sqrt(kt))

    return _simpson(density, energy_lo, energy_hi, kt)


@cache
def line_table() -> dict[str, np.ndarray]:
    """The strong lines: energy (keV), peak emissivity (photons cm3/s), peak temperature (log10 keV), width (dex)."""
    with resources.files("chandraclip.simulate").joinpath("tables/lines.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {
        name: np.array([float(row[name]) for row in rows]) for name in ("energy", "emissivity", "log_kt", "log_width")
    }


def thermal(
    energy_lo: np.ndarray, energy_hi: np.ndarray, kt: np.ndarray, abundance: float = PLASMA_ABUNDANCE
) -> np.ndarray:
    """Collisionally ionised plasma, to first approximation: bremsstrahlung and the strong lines of O to Fe.

    A line's emissivity is a log-normal in temperature about its peak. The peaks in `tables/lines.csv` are approximate
    values, not taken from an atomic database (expect factors of about two; unchecked); recombination continua and the
    weak-line forest are left out. Natural and thermal widths are far below ACIS resolution: a line falls in one bin.
    Norm as in `bremsstrahlung`.

    Args:
        energy_lo, energy_hi: (E,) keV.
        kt: (S,) keV.
        abundance: of the metals, solar = 1.
    """
    lines = line_table()
    log_kt = np.log10(np.asarray(kt, dtype=np.float64))[:, None]
    deviation = (log_kt - lines["log_kt"]) / lines["log_width"]
    emissivity = 1e14 * abundance * lines["emissivity"] * np.exp(-0.5 * deviation**2)
    flux = bremsstrahlung(energy_lo, energy_hi, kt)
    bins = np.searchsorted(energy_hi, lines["energy"], side="right")
    in_bin = bins[:, None] == np.arange(len(energy_lo))
    return flux + np.einsum("sl,le->se", emissivity, in_bin)


def incident_spectrum(
    energy_lo: np.ndarray, energy_hi: np.ndarray, model: np.ndarray, gamma: np.ndarray, kt: np.ndarray
) -> np.ndarray:
    """Spectra of several models at once, scaled to 1 erg/cm2/s before absorption in the grid's range.

    Args:
        energy_lo, energy_hi: (E,) keV.
        model: (S,) int, index into `SPECTRAL_MODELS`; -1 gives zeros.
        gamma, kt: (S,), each read only where its model needs it.

    Returns:
        (S, E) photons/cm2/s/bin.
    """
    functions: tuple[Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], ...] = (powerlaw, blackbody, thermal)
    parameters = (gamma, kt, kt)
    flux = np.zeros((len(model), len(energy_lo)))
    for number, (function, parameter) in enumerate(zip(functions, parameters)):
        rows = np.flatnonzero(model == number)
        if rows.size:
            flux[rows] = function(energy_lo, energy_hi, parameter[rows])
            flux[rows] /= energy_flux(flux[rows], energy_lo, energy_hi)[:, None]
    return flux


def energy_flux(
    photon_flux: np.ndarray, energy_lo: np.ndarray, energy_hi: np.ndarray, band: tuple[float, float] | None = None
) -> np.ndarray:
    """Energy flux of (..., E) photons/cm2/s/bin in a band (keV; None: all bins whole), erg/cm2/s."""
    centre = 0.5 * (energy_lo + energy_hi)
    weight = centre * KEV_TO_ERG
    if band is not None:
        inside = np.clip(np.minimum(energy_hi, band[1]) - np.maximum(energy_lo, band[0]), 0.0, None)
        weight = weight * inside / (energy_hi - energy_lo)
    return photon_flux @ weight
