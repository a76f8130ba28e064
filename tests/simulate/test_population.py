import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from chandraclip.data.schema import BANDS, SOURCE_CLASSES
from chandraclip.simulate.emission import energy_flux
from chandraclip.simulate.population import (
    MAX_COUNTS,
    MIN_BEST_COUNTS,
    class_probabilities,
    draw_fluxes,
    draw_observations,
    draw_sources,
    galactic_to_icrs,
    read_table,
)
from chandraclip.simulate.response import ENERGY_HI, ENERGY_LO


@pytest.fixture(scope="module")
def sources():
    return draw_sources(np.random.default_rng(0), 6000)


def test_galactic_coordinates_agree_with_astropy():
    rng = np.random.default_rng(0)
    longitude, latitude = 360.0 * rng.random(200), rng.uniform(-89.0, 89.0, 200)
    ra, dec = galactic_to_icrs(longitude, latitude)
    expected = SkyCoord(l=longitude, b=latitude, unit="deg", frame="galactic").icrs
    assert SkyCoord(ra, dec, unit="deg").separation(expected).arcsec.max() < 0.1


def test_class_shares_follow_the_exponent():
    number = read_table("classes")["number"]
    np.testing.assert_allclose(class_probabilities(0.0), 1 / 8)
    np.testing.assert_allclose(class_probabilities(1.0), number / number.sum())
    softened = class_probabilities(0.5)
    assert 0.03 < softened.min() < softened.max() < 0.35
    drawn = draw_sources(np.random.default_rng(1), 8000, class_exponent=0.0).source_class
    shares = np.bincount(drawn, minlength=8) / len(drawn)
    np.testing.assert_allclose(shares, 1 / 8, atol=0.03)


def test_spectral_shares_of_each_class_add_up():
    table = read_table("spectra")
    for name in SOURCE_CLASSES:
        assert table["share"][table["source_class"] == name].sum() == pytest.approx(1.0)


def test_observations_number_what_was_asked(sources):
    assert sources.num_observations.sum() == 6000
    assert sources.num_observations.min() >= 1
    mean = sources.num_observations[:-1].mean()
    assert 1.7 < mean < 2.7


def test_a_source_has_the_spectrum_of_its_class(sources):
    table = read_table("spectra")
    allowed = {(c, m) for c, m in zip(table["source_class"], table["model"])}
    names = ("powerlaw", "blackbody", "thermal")
    drawn = {(SOURCE_CLASSES[c], names[m]) for c, m in zip(sources.source_class, sources.model)}
    assert drawn == allowed
    assert np.isfinite(sources.gamma[sources.model == 0]).all()
    assert np.isfinite(sources.kt[sources.model != 0]).all()
    assert (sources.nh > 0).all()


def test_spectra_are_scaled_to_the_observed_flux(sources):
    flux = energy_flux(sources.spectra(), ENERGY_LO, ENERGY_HI, BANDS["b"])
    np.testing.assert_allclose(flux, 1.0)


def test_galactic_sources_lie_in_the_plane_behind_more_gas(sources):
    def median(values, name):
        return np.median(values[sources.source_class == SOURCE_CLASSES.index(name)])

    assert median(sources.latitude, "HMXB") < 3.0 < 30.0 < median(sources.latitude, "AGN")
    assert median(sources.nh_gal, "HMXB") > 10.0 * median(sources.nh_gal, "AGN")


def test_observations_are_in_order_and_in_the_field(sources):
    observations = draw_observations(np.random.default_rng(1), sources)
    np.testing.assert_array_equal(np.bincount(observations.source), sources.num_observations)
    same = np.diff(observations.source) == 0
    assert (np.diff(observations.mjd)[same] > 0).all()
    assert observations.theta.max() <= 15.0
    assert (observations.exposure >= 1000.0).all()


def test_fluxes_are_detectable_and_capped(sources):
    rng = np.random.default_rng(2)
    observations = draw_observations(rng, sources)
    counts_per_flux = observations.exposure * 1e11
    mean, flux = draw_fluxes(rng, sources, observations, counts_per_flux)
    best = np.zeros(len(mean))
    np.maximum.at(best, observations.source, counts_per_flux)
    assert (mean * best >= 0.999 * MIN_BEST_COUNTS).all()
    assert (flux * counts_per_flux <= 1.001 * MAX_COUNTS).all()
    scatter = np.log10(flux / mean[observations.source])
    below_cap = flux * counts_per_flux < 0.5 * MAX_COUNTS
    agn = sources.source_class[observations.source] == SOURCE_CLASSES.index("AGN")
    assert scatter[agn & below_cap].std() == pytest.approx(0.15, abs=0.02)
