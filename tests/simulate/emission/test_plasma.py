import numpy as np
import pytest

from chandraclip.simulate.emission.bremsstrahlung import thermal_continuum
from chandraclip.simulate.emission.incident import energy_flux, photon_flux
from chandraclip.simulate.emission.plasma import (
    APEC_NORM,
    HELIUM_SOLAR,
    KELVIN_PER_KEV,
    metal_tables,
    plasma,
    plasma_components,
)
from chandraclip.simulate.instrument.area import ENERGY, ENERGY_HI, ENERGY_LO

# Radiative cooling of a plasma of solar abundances (Anders & Grevesse 1989) in collisional equilibrium: log10 T (K),
# log10 Lambda (erg cm3/s, per n_H^2), Schure et al. 2009, A&A 508, 751, Table 2 (SPEX), an independent atomic code.
SCHURE = np.array([[7.0, -22.3780], [7.2, -22.5353], [7.4, -22.6208], [7.8, -22.5287], [8.0, -22.4543]])
ELECTRONS_PER_HYDROGEN = 1.2


def emissivity(ion: str, low: float, high: float, log_temperature: np.ndarray) -> np.ndarray:
    """Photons cm3/s of the lines of an ion between two energies."""
    tables = metal_tables()
    chosen = (np.array(tables.ion) == ion) & (tables.line_energy > low) & (tables.line_energy < high)
    assert chosen.any()
    return (10.0 ** tables.line_emissivity(log_temperature))[:, chosen].sum(axis=1)


def test_cooling_agrees_with_published_rates():
    """From 1e7 K on little is radiated below 0.3 keV, where the metals' lines are not tabulated."""
    edges = np.geomspace(1e-3, 500.0, 3001)
    kt = 10.0 ** SCHURE[:, 0] / KELVIN_PER_KEV
    radiated = energy_flux(plasma(edges[:-1], edges[1:], kt, 1.0), edges[:-1], edges[1:]) / APEC_NORM
    np.testing.assert_allclose(radiated * ELECTRONS_PER_HYDROGEN, 10.0 ** SCHURE[:, 1], rtol=0.12)


def test_abundance_scales_what_is_not_hydrogen_and_helium():
    kt, abundance = np.array([0.15, 0.7, 2.0, 8.0]), np.array([0.0, 0.3, 1.0, 4.0])
    continuum, metals = plasma_components(ENERGY_LO, ENERGY_HI, kt)
    np.testing.assert_allclose(
        plasma(ENERGY_LO, ENERGY_HI, kt, abundance), continuum + abundance[:, None] * metals, rtol=1e-12
    )
    bare = APEC_NORM * thermal_continuum(ENERGY_LO, ENERGY_HI, kt, HELIUM_SOLAR, recombination=True)
    hot = ENERGY / kt[:, None] < 10.0
    np.testing.assert_allclose(continuum[hot], bare[hot], rtol=5e-3)
    assert (metals[hot] > 0).all()


def test_templates_interpolate_the_temperature():
    """One grid for all rows goes by templates, a grid a row does not: they must agree, and conserve the lines."""
    kt = 10.0 ** np.random.default_rng(0).uniform(-1.0, 1.5, 40)
    rows = [np.broadcast_to(edge, (40, len(edge))) for edge in (ENERGY_LO, ENERGY_HI)]
    for shared, own in zip(plasma_components(ENERGY_LO, ENERGY_HI, kt), plasma_components(*rows, kt)):
        bright = own > 1e-4 * own.max(axis=1, keepdims=True)
        np.testing.assert_allclose(shared[bright], own[bright], rtol=0.01)


def test_recombination_matters_in_cool_gas_only():
    kt = np.array([0.1, 0.5, 5.0])
    with_it, without = (
        thermal_continuum(ENERGY_LO[:20], ENERGY_HI[:20], kt, HELIUM_SOLAR, recombination) for recombination in (1, 0)
    )
    excess = (with_it / without - 1.0).mean(axis=1)
    assert excess[0] > 0.5
    assert 0.05 < excess[1] < 0.3
    assert excess[2] < 0.03


@pytest.mark.parametrize(
    ("helium_like", "hydrogen_like", "low", "high", "crossing"),
    [
        (("O VII", 0.55, 0.58), ("O VIII", 0.65, 0.66), 6.0, 7.2, (0.2, 0.3)),
        (("Mg XI", 1.32, 1.36), ("Mg XII", 1.46, 1.48), 6.4, 7.6, (0.6, 0.9)),
        (("Si XIII", 1.83, 1.87), ("Si XIV", 2.0, 2.01), 6.6, 7.6, (0.9, 1.4)),
        (("S XV", 2.42, 2.47), ("S XVI", 2.61, 2.63), 6.8, 7.8, (1.4, 2.2)),
        (("Fe XXV", 6.6, 6.75), ("Fe XXVI", 6.94, 6.98), 7.5, 8.4, (10.0, 25.0)),
    ],
)
def test_hydrogen_like_lines_overtake_helium_like_ones(helium_like, hydrogen_like, low, high, crossing):
    """The ratio rises all the way, and passes 1 at the higher a temperature (keV), the heavier the nucleus."""
    log_temperature = np.linspace(low, high, 25)
    ratio = emissivity(*hydrogen_like, log_temperature) / emissivity(*helium_like, log_temperature)
    assert (np.diff(ratio) > 0).all()
    kt = 10.0 ** np.interp(0.0, np.log(ratio), log_temperature) / KELVIN_PER_KEV
    assert crossing[0] < kt < crossing[1]


def test_iron_k_equivalent_width():
    """Solar (Anders & Grevesse 1989): 1.36 keV at kT 5 keV in the tables; it falls as iron loses its electrons."""
    kt = np.array([3.0, 5.0, 8.0, 15.0])
    edges = np.linspace(6.2, 7.2, 251)
    flux = plasma(edges[:-1], edges[1:], kt, 1.0)
    continuum = np.median(flux, axis=1)
    width = (flux - continuum[:, None])[:, (edges[:-1] > 6.45) & (edges[:-1] < 7.05)].sum(axis=1) / continuum * 0.004
    assert (np.diff(width) < 0).all()
    assert 1.1 < width[1] < 1.6
    assert 0.2 < width[3] < 0.6


def test_iron_l_dominates_warm_gas():
    kt = np.array([0.5, 0.7, 0.9])
    continuum, metals = plasma_components(ENERGY_LO, ENERGY_HI, kt)
    bump, whole = (photon_flux(continuum + metals, ENERGY_LO, ENERGY_HI, band) for band in ((0.7, 1.2), (0.5, 7.0)))
    assert (bump > 0.5 * whole).all()
    assert (photon_flux(metals, ENERGY_LO, ENERGY_HI, (0.7, 1.2)) > 0.7 * bump).all()
    log_temperature = np.log10(kt * KELVIN_PER_KEV)
    iron = sum(
        emissivity(ion, 0.7, 1.2, log_temperature) for ion in ("Fe XVII", "Fe XVIII", "Fe XIX", "Fe XX", "Fe XXI")
    )
    assert (APEC_NORM * iron > 0.4 * bump).all()


def test_hot_gas_is_bremsstrahlung_with_an_iron_line():
    solar, bare = (plasma(ENERGY_LO, ENERGY_HI, np.array([12.0]), metals)[0] for metals in (1.0, 0.0))
    excess = solar / bare
    assert 6.6 < ENERGY[excess.argmax()] < 7.0
    assert 1.0 < np.median(excess) < 1.25


def test_strong_lines_fall_where_they_belong():
    tables = metal_tables()
    edges = np.linspace(0.31, 15.0, 30001)
    metals = plasma_components(edges[None, :-1], edges[None, 1:], np.array([1.0]))[1][0]
    emitted = APEC_NORM * 10.0 ** tables.line_emissivity(np.log10(KELVIN_PER_KEV))
    strong = np.flatnonzero((emitted > 0.02 * emitted.max()) & (tables.line_energy > 0.31))
    assert len(strong) > 20
    column = np.searchsorted(edges, tables.line_energy[strong], side="right") - 1
    assert (metals[column] > 0.99 * emitted[strong]).all()


def test_no_photon_is_lost_by_coarser_bins():
    """Down to three bins a decade: lines are placed, and the smooth rest is averaged, whatever the bin."""
    fine, kt = np.geomspace(0.32, 10.0, 3001), np.array([0.5, 5.0])
    coarse = fine[::500]
    exact = plasma_components(fine[:-1], fine[1:], kt)[1].reshape(2, 6, 500).sum(axis=2)
    bright = exact > 1e-3 * exact.max(axis=1, keepdims=True)
    rough = plasma_components(coarse[:-1], coarse[1:], kt)[1]
    np.testing.assert_allclose(rough[bright], exact[bright], rtol=0.1)


@pytest.mark.parametrize("kt", [0.01, 150.0, np.nan])
def test_temperatures_beyond_the_tables_are_refused(kt):
    with pytest.raises(ValueError, match="must lie in"):
        plasma(ENERGY_LO, ENERGY_HI, np.array([1.0, kt]), 1.0)
