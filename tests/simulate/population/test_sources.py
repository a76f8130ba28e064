import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from chandraclip.data.schema import RARE_CLASSES, SOURCE_CLASSES
from chandraclip.simulate.population.observations import MAX_COUNTS, draw_fluxes, draw_numbers, draw_observations
from chandraclip.simulate.population.sources import (
    CLASSES,
    class_probabilities,
    default_population,
    draw_sources,
    galactic_to_icrs,
    icrs_to_galactic,
)
from chandraclip.simulate.variability.epochs import draw_epochs
from chandraclip.simulate.variability.kinds import VARIABILITY_KINDS


@pytest.fixture(scope="module")
def population():
    return default_population()


def test_tables_are_whole(population):
    for name in CLASSES:
        rows = population.spectra["source_class"] == name
        assert population.spectra["share"][rows].sum() == pytest.approx(1.0, abs=1e-5)
        assert population.variability["share"][population.variability["source_class"] == name].sum() <= 1.0
        assert population.epochs["share"][population.epochs["source_class"] == name].sum() <= 1.0 + 1e-9
    assert set(population.variability["kind"]) <= set(VARIABILITY_KINDS)


def test_classes_come_as_often_as_they_should(population):
    probabilities = class_probabilities(population, 0.0, 0.03)
    np.testing.assert_allclose(probabilities[: len(SOURCE_CLASSES)], 0.97 / 8)
    np.testing.assert_allclose(probabilities[len(SOURCE_CLASSES) :], 0.01)
    rng = np.random.default_rng(0)
    source_class, number = draw_numbers(rng, population, 20_000, class_probabilities(population, 1.0, 0.0))
    assert number.sum() == 20_000
    assert number.min() == 1
    agn = (source_class == CLASSES.index("AGN")).mean()
    assert agn == pytest.approx(population.classes["number"][0] / population.classes["number"].sum(), abs=0.02)


def test_sources_follow_their_tables(population):
    rng = np.random.default_rng(1)
    number = CLASSES.index("NS")
    sources = draw_sources(rng, population, np.full(20_000, number))
    spectra = {name: column[population.spectra["source_class"] == "NS"] for name, column in population.spectra.items()}
    first = np.flatnonzero(sources.spectrum.model == 0)
    powerlaws = spectra["model"] == "powerlaw"
    assert first.size / 20_000 == pytest.approx(spectra["share"][powerlaws].sum(), abs=0.02)
    gamma = (spectra["gamma"] * spectra["share"])[powerlaws].sum() / spectra["share"][powerlaws].sum()
    assert sources.spectrum.gamma[first].mean() == pytest.approx(gamma, abs=0.03)
    kinds = population.variability["source_class"] == "NS"
    pulsation = VARIABILITY_KINDS.index("pulsation")
    share = population.variability["share"][kinds & (population.variability["kind"] == "pulsation")].sum()
    assert (sources.kind == pulsation).mean() == pytest.approx(share, abs=0.02)
    assert np.isfinite(sources.period[sources.kind == pulsation]).all()
    assert (sources.spectrum.nh > 0).all()


def test_extragalactic_sources_lie_behind_our_gas(population):
    agn = draw_sources(np.random.default_rng(2), population, np.zeros(3000, int))
    assert (agn.spectrum.nh > 0.999 * agn.nh_gal).all()
    assert (agn.spectrum.redshift > 0).all()
    ns = draw_sources(np.random.default_rng(2), population, np.full(100, CLASSES.index("NS")))
    assert (ns.spectrum.redshift == 0).all()


def test_no_source_is_too_faint_for_its_observations_together(population):
    rng = np.random.default_rng(3)
    source_class, number = draw_numbers(rng, population, 3000, class_probabilities(population, 0.5, 0.05))
    sources = draw_sources(rng, population, source_class)
    observations = draw_observations(rng, population, source_class, number)
    assert (np.diff(observations.mjd)[np.diff(observations.source) == 0] >= 0).all()
    kind, amplitude = sources.long_term[observations.source], sources.long_term_amplitude[observations.source]
    epochs = draw_epochs(rng, observations.source, observations.mjd, kind, amplitude)
    sensitivity = observations.exposure * 1e11
    typical, flux = draw_fluxes(rng, population, sources, observations, epochs.log_flux, sensitivity)
    target = np.zeros(len(sources), dtype=bool)
    target[observations.source] = observations.pointed
    agn = source_class == CLASSES.index("AGN")
    assert np.median(typical[agn & target]) > 3.0 * np.median(typical[agn & ~target])
    assert (observations.theta[observations.pointed] < 0.66).all()
    counts = flux * sensitivity
    stack = np.bincount(observations.source, counts)
    assert (stack > 4.99).all()
    assert (stack < 6.0).any()
    assert counts.max() <= MAX_COUNTS * 1.001
    assert typical.shape == (len(sources),)


def test_galactic_coordinates_are_astropys():
    rng = np.random.default_rng(4)
    longitude, latitude = rng.uniform(0, 360, 200), rng.uniform(-89, 89, 200)
    ra, dec = galactic_to_icrs(longitude, latitude)
    found = SkyCoord(longitude, latitude, unit="deg", frame="galactic").icrs
    np.testing.assert_allclose(dec, found.dec.deg, atol=1e-3)
    np.testing.assert_allclose((ra - found.ra.deg + 180) % 360 - 180, 0.0, atol=1e-2)
    back = icrs_to_galactic(ra, dec)
    np.testing.assert_allclose(back[1], latitude, atol=1e-9)
    np.testing.assert_allclose((back[0] - longitude + 180) % 360 - 180, 0.0, atol=1e-6)
    assert RARE_CLASSES == ("ULX", "TDE", "FXT")
