import numpy as np
import pytest

from chandraclip.simulate.emission import (
    KEV_TO_ERG,
    blackbody,
    bremsstrahlung,
    energy_flux,
    incident_spectrum,
    line_table,
    powerlaw,
    thermal,
)
from chandraclip.simulate.response import ENERGY_HI, ENERGY_LO

WIDE = np.linspace(0.01, 60.0, 6001)


@pytest.mark.parametrize("gamma", [-1.0, 0.5, 1.0, 1.7, 2.0, 4.0])
def test_powerlaw_bins_sum_to_the_analytic_integral(gamma):
    flux = powerlaw(ENERGY_LO, ENERGY_HI, np.array([gamma]))
    low, high = ENERGY_LO[0], ENERGY_HI[-1]
    expected = np.log(high / low) if gamma == 1.0 else (high ** (1 - gamma) - low ** (1 - gamma)) / (1 - gamma)
    np.testing.assert_allclose(flux.sum(), expected, rtol=1e-9)


def test_powerlaw_energy_flux():
    # Gamma = 2: the integral of E^-1 is a logarithm; bin centres are accurate to (dE / E)^2 / 12.
    flux = powerlaw(ENERGY_LO, ENERGY_HI, np.array([2.0]))
    expected = KEV_TO_ERG * np.log(7.0 / 0.5)
    np.testing.assert_allclose(energy_flux(flux, ENERGY_LO, ENERGY_HI, (0.5, 7.0)), expected, rtol=2e-4)


@pytest.mark.parametrize("kt", [0.1, 0.5, 2.0])
def test_blackbody_holds_its_luminosity(kt):
    """All of 1e39 erg/s at 10 kpc: L / (4 pi D^2)."""
    flux = blackbody(WIDE[:-1], WIDE[1:], np.array([kt]))
    expected = 1e39 / (4.0 * np.pi * (3.0857e22) ** 2)
    np.testing.assert_allclose(energy_flux(flux, WIDE[:-1], WIDE[1:]), expected, rtol=5e-3)


def test_blackbody_photons_to_energy_is_2_7_kt():
    flux = blackbody(WIDE[:-1], WIDE[1:], np.array([1.0]))
    mean_energy = energy_flux(flux, WIDE[:-1], WIDE[1:]) / KEV_TO_ERG / flux.sum()
    np.testing.assert_allclose(mean_energy, 2.7012, rtol=2e-3)  # pi^4 / (30 zeta(3))


def test_bremsstrahlung_cools_as_the_root_of_the_temperature():
    """Total 1.4e-27 T^(1/2) g erg cm3/s, times 1.4 for helium; mean Gaunt factor 1.1 to 1.3 (Rybicki & Lightman)."""
    kt = np.array([0.5, 1.0, 4.0])
    edges = np.concatenate([np.geomspace(1e-4, 0.01, 400), np.geomspace(0.01, 120.0, 8000)[1:]])
    flux = bremsstrahlung(edges[:-1], edges[1:], kt)
    gaunt = energy_flux(flux, edges[:-1], edges[1:]) / (1e14 * 1.4 * 1.426e-27 * np.sqrt(1.16045e7 * kt))
    assert ((gaunt > 1.05) & (gaunt < 1.35)).all()
    np.testing.assert_allclose(gaunt, gaunt[0], rtol=0.01)


def test_thermal_has_its_lines_where_they_belong_and_scales_with_metals():
    kt = np.array([0.3, 0.7, 6.0])
    bare, solar = (thermal(ENERGY_LO, ENERGY_HI, kt, abundance=value) for value in (0.0, 1.0))
    np.testing.assert_allclose(bare, bremsstrahlung(ENERGY_LO, ENERGY_HI, kt))
    lines = solar - bare
    peak = ENERGY_LO[lines.argmax(axis=1)]
    assert 0.5 < peak[0] < 0.9  # O VIII and Fe XVII
    assert 0.7 < peak[1] < 1.1  # the iron L complex
    iron = (ENERGY_LO > 6.6) & (ENERGY_LO < 6.7)
    assert lines[2, iron].sum() > 100 * lines[1, iron].sum()  # Fe XXV needs keV temperatures
    occupied = np.flatnonzero(lines.sum(axis=0))
    assert len(occupied) <= len(line_table()["energy"])
    np.testing.assert_allclose(thermal(ENERGY_LO, ENERGY_HI, kt, abundance=0.5), bare + 0.5 * lines)


def test_incident_spectrum_mixes_models_and_leaves_none_empty():
    model = np.array([0, 1, 2, -1])
    flux = incident_spectrum(ENERGY_LO, ENERGY_HI, model, np.full(4, 1.8), np.full(4, 0.6))
    np.testing.assert_allclose(energy_flux(flux, ENERGY_LO, ENERGY_HI), [1.0, 1.0, 1.0, 0.0])
    shape = powerlaw(ENERGY_LO, ENERGY_HI, np.array([1.8]))[0]
    np.testing.assert_allclose(flux[0] / flux[0, 0], shape / shape[0])
