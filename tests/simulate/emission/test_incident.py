import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gamma as gamma_function
from scipy.special import zeta

from chandraclip.simulate.emission.incident import (
    BLACKBODY_SURFACE,
    KEV_TO_ERG,
    PLASMA_ABUNDANCE,
    SPECTRAL_MODELS,
    blackbody,
    bremsstrahlung,
    disk_blackbody,
    energy_flux,
    gaussian_line,
    incident_spectrum,
    photon_flux,
    plasma,
    powerlaw,
)
from chandraclip.simulate.instrument.area import ENERGY, ENERGY_HI, ENERGY_LO

EDGES = np.append(ENERGY_LO, ENERGY_HI[-1])
WIDE = np.geomspace(1e-3, 300.0, 4001)
CODE = {name: number for number, name in enumerate(SPECTRAL_MODELS)}
ONE_PARAMETER = {
    "powerlaw": powerlaw,
    "blackbody": blackbody,
    "diskbb": disk_blackbody,
    "bremsstrahlung": bremsstrahlung,
    "plasma": lambda low, high, kt: plasma(low, high, kt, 1.0),
}


@pytest.mark.parametrize("gamma", [-1.0, 0.5, 1.0, 1.7, 2.0, 4.0])
def test_powerlaw_bins_sum_to_the_analytic_integral(gamma):
    flux = powerlaw(ENERGY_LO, ENERGY_HI, np.array([gamma]))
    low, high = ENERGY_LO[0], ENERGY_HI[-1]
    expected = np.log(high / low) if gamma == 1.0 else (high ** (1 - gamma) - low ** (1 - gamma)) / (1 - gamma)
    np.testing.assert_allclose(flux.sum(), expected, rtol=1e-9)


def test_powerlaw_is_continuous_through_the_logarithm():
    flux = powerlaw(ENERGY_LO, ENERGY_HI, np.array([1.0 - 1e-7, 1.0, 1.0 + 1e-7]))
    np.testing.assert_allclose(flux[[0, 2]], flux[[1, 1]], rtol=1e-6)


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
    np.testing.assert_allclose(energy_flux(flux, WIDE[:-1], WIDE[1:]), expected, rtol=3e-3)


def test_blackbody_photons_to_energy_is_2_7_kt():
    flux = blackbody(WIDE[:-1], WIDE[1:], np.array([1.0]))
    mean_energy = energy_flux(flux, WIDE[:-1], WIDE[1:])[0] / KEV_TO_ERG / flux.sum()
    np.testing.assert_allclose(mean_energy, np.pi**4 / (30.0 * zeta(3)), rtol=1e-3)


def test_blackbody_limits_are_wien_and_rayleigh_jeans():
    kt = 0.2
    flux = blackbody(ENERGY_LO, ENERGY_HI, np.array([kt]))[0]
    hard = ENERGY / kt > 15.0
    slope = np.diff(np.log(flux[hard] / ENERGY[hard] ** 2)) / np.diff(ENERGY[hard])
    np.testing.assert_allclose(slope, -1.0 / kt, rtol=2e-3)
    soft = blackbody(ENERGY_LO, ENERGY_HI, np.array([500.0]))[0]
    np.testing.assert_allclose(soft / soft[0], powerlaw(ENERGY_LO, ENERGY_HI, np.array([-1.0]))[0] / 6.2e-3, rtol=0.02)


@pytest.mark.parametrize("kt", [0.2, 1.0, 3.0])
def test_disk_is_the_sum_of_its_rings(kt):
    """Rings of T = kt r^(-3/4), each a blackbody surface of area 2 pi r dr, cos i = 1."""
    radius = np.geomspace(1.0, 1e7, 20001)
    temperature = kt * radius[:-1] ** -0.375 * radius[1:] ** -0.375
    area = np.diff(radius**2)
    flux = disk_blackbody(ENERGY_LO, ENERGY_HI, np.array([kt]))[0]
    for column in (0, 40, 150, 449):
        energy = ENERGY[column]
        with np.errstate(over="ignore"):
            rings = BLACKBODY_SURFACE * (area * energy**2 / np.expm1(energy / temperature)).sum()
        simpson = 1.0 + (ENERGY_HI - ENERGY_LO)[column] ** 2 / 24.0 * max(1.0 / kt**2, 1.0 / energy**2)
        np.testing.assert_allclose(flux[column] / 0.02, rings, rtol=3e-3 * simpson)


def test_disk_radiates_twice_its_inner_edge():
    """Total 2 sigma T^4 (1 km / 10 kpc)^2 (face-on): 4 pi R^2 sigma T^4 in all directions from both faces."""
    kt = np.array([0.3, 1.0])
    flux = energy_flux(disk_blackbody(WIDE[:-1], WIDE[1:], kt), WIDE[:-1], WIDE[1:])
    temperature = kt * KEV_TO_ERG / 1.380649e-16
    np.testing.assert_allclose(flux, 2.0 * 5.670374e-5 * temperature**4 * (1e5 / 3.0857e22) ** 2, rtol=3e-3)


def test_disk_is_a_power_law_of_index_two_thirds_well_below_its_peak():
    edges = np.geomspace(0.01, 0.02, 11)
    flux = disk_blackbody(edges[:-1], edges[1:], np.array([30.0]))[0]
    asymptote = BLACKBODY_SURFACE * 8.0 / 3.0 * 30.0 ** (8.0 / 3.0) * gamma_function(8.0 / 3.0) * zeta(8.0 / 3.0)
    np.testing.assert_allclose(flux, asymptote * powerlaw(edges[:-1], edges[1:], np.array([2.0 / 3.0]))[0], rtol=0.01)


def test_bremsstrahlung_cools_as_the_root_of_the_temperature():
    """Total 1.426e-27 T^(1/2) g erg cm3/s; mean Gaunt factor 1.1 to 1.5 (Rybicki & Lightman 1979, section 5.2)."""
    kt = np.array([0.5, 1.0, 4.0, 20.0])
    low, high = WIDE[:-1], WIDE[1:]
    emitted = 3.02e-15 * energy_flux(bremsstrahlung(low, high, kt), low, high)
    gaunt = emitted / (1.0 + 4.0 * 0.085) / (1.426e-27 * np.sqrt(1.16045e7 * kt))
    assert ((gaunt > 1.1) & (gaunt < 1.45)).all()
    assert (np.diff(gaunt) < 0).all()  # the Coulomb correction fades as the electrons grow faster
    np.testing.assert_allclose(gaunt, gaunt.mean(), rtol=0.1)


def test_bremsstrahlung_tends_to_the_born_approximation():
    """Z^2 Ry << kT: the Gaunt factor is sqrt(3) / pi e^(u/2) K0(u/2) (Greene 1959), here by quadrature."""
    kt = 60.0
    flux = bremsstrahlung(ENERGY_LO, ENERGY_HI, np.array([kt]))[0] / 0.02
    for column in (0, 100, 449):
        u = ENERGY[column] / kt
        bessel = quad(lambda t, u=u: np.exp(-0.5 * u * np.cosh(t)), 0.0, 12.0)[0]
        expected = 1.34 * np.sqrt(3.0) / np.pi * np.exp(-0.5 * u) * bessel / (ENERGY[column] * np.sqrt(kt))
        np.testing.assert_allclose(flux[column], expected, rtol=0.02)


@pytest.mark.parametrize("name", [name for name in SPECTRAL_MODELS if name != "powerlaw"])
def test_hotter_is_harder(name):
    flux = ONE_PARAMETER[name](ENERGY_LO, ENERGY_HI, np.array([0.3, 0.6, 1.5, 4.0]))
    hard = photon_flux(flux, ENERGY_LO, ENERGY_HI, (2.0, 7.0)) / photon_flux(flux, ENERGY_LO, ENERGY_HI, (0.5, 2.0))
    assert (np.diff(hard) > 0).all()


@pytest.mark.parametrize("name", SPECTRAL_MODELS)
def test_halving_the_bins_changes_nothing(name):
    parameter = np.array([0.3, 0.9, 2.0, 6.0])
    half = np.sort(np.concatenate([EDGES, ENERGY]))
    whole = ONE_PARAMETER[name](ENERGY_LO, ENERGY_HI, parameter)
    halves = ONE_PARAMETER[name](half[:-1], half[1:], parameter).reshape(4, -1, 2).sum(axis=2)
    np.testing.assert_allclose(halves, whole, rtol=2e-3)


@pytest.mark.parametrize("name", SPECTRAL_MODELS)
def test_edges_of_its_own_for_each_row_give_the_same(name):
    parameter = np.array([0.3, 0.9, 2.0, 6.0])
    rows = [np.broadcast_to(edge, (4, len(edge))) for edge in (ENERGY_LO, ENERGY_HI)]
    own, shared = ONE_PARAMETER[name](*rows, parameter), ONE_PARAMETER[name](ENERGY_LO, ENERGY_HI, parameter)
    np.testing.assert_allclose(own, shared, rtol=0.02)  # the plasma's templates are this coarse at 30 kT
    bright = shared > 1e-5 * shared.max(axis=1, keepdims=True)
    np.testing.assert_allclose(own[bright], shared[bright], rtol=2e-3)


def test_gaussian_line_has_unit_area_centre_and_width():
    centre, sigma = np.array([1.0, 6.4, 3.333]), np.array([0.03, 0.2, 0.1])
    flux = gaussian_line(ENERGY_LO, ENERGY_HI, centre, sigma)
    np.testing.assert_allclose(flux.sum(axis=1), 1.0, rtol=1e-9)
    np.testing.assert_allclose(flux @ ENERGY, centre, rtol=1e-6)
    variance = (flux * (ENERGY - centre[:, None]) ** 2).sum(axis=1) - 0.02**2 / 12.0  # of a bin: Sheppard
    np.testing.assert_allclose(np.sqrt(variance), sigma, rtol=1e-3)


def test_a_line_without_width_is_in_one_bin():
    centre = np.array([0.95, 6.4, 6.41, 20.0])
    flux = gaussian_line(ENERGY_LO, ENERGY_HI, centre, 0.0)
    np.testing.assert_array_equal(flux.sum(axis=1), [1.0, 1.0, 1.0, 0.0])
    column = flux[:3].argmax(axis=1)
    assert (ENERGY_LO[column] <= centre[:3]).all()
    assert (ENERGY_HI[column] > centre[:3]).all()


def test_half_of_a_line_outside_the_grid_is_lost():
    np.testing.assert_allclose(gaussian_line(ENERGY_LO, ENERGY_HI, np.array([0.3]), 0.02).sum(), 0.5)


def test_incident_spectrum_mixes_models_and_leaves_none_empty():
    model = np.array([0, 1, 2, 3, 4, -1])
    flux = incident_spectrum(ENERGY_LO, ENERGY_HI, model, np.full(6, 1.8), np.full(6, 0.6))
    np.testing.assert_allclose(energy_flux(flux, ENERGY_LO, ENERGY_HI), [1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    for row, name in enumerate(SPECTRAL_MODELS[:4]):
        shape = ONE_PARAMETER[name](ENERGY_LO, ENERGY_HI, np.array([1.8 if name == "powerlaw" else 0.6]))[0]
        np.testing.assert_allclose(flux[row] / flux[row, 0], shape / shape[0])


def test_incident_abundance_defaults_and_varies_by_row():
    model, kt = np.full(3, CODE["plasma"]), np.full(3, 0.8)
    spectra = incident_spectrum(ENERGY_LO, ENERGY_HI, model, kt, kt, np.array([0.0, PLASMA_ABUNDANCE, 1.0]))
    default = incident_spectrum(ENERGY_LO, ENERGY_HI, model, kt, kt)
    np.testing.assert_allclose(default[0], spectra[1])
    share = photon_flux(spectra, ENERGY_LO, ENERGY_HI, (0.7, 1.2)) / spectra.sum(axis=1)
    assert (np.diff(share) > 0).all()  # the iron L complex


def test_parameters_that_a_model_does_not_need_may_be_missing():
    nan = np.nan
    model, gamma, kt = np.array([0, 1, 4]), np.array([2.0, nan, nan]), np.array([nan, 0.1, 2.0])
    flux = incident_spectrum(ENERGY_LO, ENERGY_HI, model, gamma, kt, np.array([nan, nan, 0.3]))
    assert np.isfinite(flux).all()


def test_redshift_keeps_the_slope_of_a_power_law():
    gamma, redshift = np.array([0.7, 1.9, 1.9]), np.array([0.5, 0.0, 6.0])
    flux = incident_spectrum(ENERGY_LO, ENERGY_HI, np.zeros(3, int), gamma, gamma, redshift=redshift)
    np.testing.assert_allclose(flux, incident_spectrum(ENERGY_LO, ENERGY_HI, np.zeros(3, int), gamma, gamma))


@pytest.mark.parametrize("name", ["blackbody", "diskbb"])
def test_redshift_cools_a_blackbody(name):
    """E (1 + z) / kT: the same shape as at kT / (1 + z)."""
    redshift, model = np.array([0.3, 2.0]), np.full(2, CODE[name])
    kt = np.array([0.4, 3.0])
    flux = incident_spectrum(ENERGY_LO, ENERGY_HI, model, kt, kt, redshift=redshift)
    cool = incident_spectrum(ENERGY_LO, ENERGY_HI, model, kt, kt / (1.0 + redshift))
    bright = cool > 1e-8 * cool.max(axis=1, keepdims=True)
    np.testing.assert_allclose(flux[bright], cool[bright], rtol=2e-3)


def test_redshift_moves_the_iron_line():
    redshift = np.array([0.0, 0.2, 1.0])
    model, kt = np.full(3, CODE["plasma"]), np.full(3, 5.0)
    flux = incident_spectrum(ENERGY_LO, ENERGY_HI, model, kt, kt, np.ones(3), redshift)
    search = ENERGY > 2.8
    peak = ENERGY[search][(flux / powerlaw(ENERGY_LO, ENERGY_HI, np.array([1.5])))[:, search].argmax(axis=1)]
    np.testing.assert_allclose(peak * (1.0 + redshift), 6.68, atol=0.04)


def test_bands_add_up_in_photons_and_in_energy():
    flux = powerlaw(ENERGY_LO, ENERGY_HI, np.array([1.2, 2.5]))
    bands = [(0.5, 1.2), (1.2, 2.0), (2.0, 3.333), (3.333, 7.0)]  # 3.333 cuts a bin
    for function in (photon_flux, energy_flux):
        parts = sum(function(flux, ENERGY_LO, ENERGY_HI, band) for band in bands)
        np.testing.assert_allclose(parts, function(flux, ENERGY_LO, ENERGY_HI, (0.5, 7.0)))
        np.testing.assert_allclose(
            function(flux, ENERGY_LO, ENERGY_HI, (0.0, 20.0)), function(flux, ENERGY_LO, ENERGY_HI)
        )
    np.testing.assert_allclose(photon_flux(flux, ENERGY_LO, ENERGY_HI), flux.sum(axis=1))


def test_mean_energy_of_a_band_lies_in_it():
    flux = powerlaw(ENERGY_LO, ENERGY_HI, np.array([0.0, 4.0]))
    band = (2.0, 7.0)
    mean = energy_flux(flux, ENERGY_LO, ENERGY_HI, band) / photon_flux(flux, ENERGY_LO, ENERGY_HI, band) / KEV_TO_ERG
    np.testing.assert_allclose(mean[0], 4.5, rtol=1e-6)  # a flat spectrum: the middle
    assert 2.0 < mean[1] < 4.5
