"""Spectra of stars and AGN are what their parameters say."""

import numpy as np
import pytest

from chandraclip.simulate.star_agn import COUNTS, draw_star_agn

ENERGY = 0.0146 * (34.5 + np.arange(445))


@pytest.fixture(scope="module")
def spectra():
    return draw_star_agn(4000, seed=1)


def test_counts_and_background_are_those_asked_for(spectra):
    truth = spectra.truth
    assert spectra.counts.shape == spectra.background.shape == (4000, 445)
    total = truth["net_counts"] / (1 - truth["background_share"])
    pull = (spectra.counts.sum(axis=1) - total) / np.sqrt(total)
    assert abs(pull.mean()) < 0.06
    assert pull.std() == pytest.approx(1.0, abs=0.05)
    np.testing.assert_allclose(spectra.background.sum(axis=1) / total, truth["background_share"])
    assert COUNTS[0] <= truth["net_counts"].min() < 12
    assert 2500 < truth["net_counts"].max() <= COUNTS[1]
    assert spectra.is_agn.sum() == 2000
    for name, of_agn in (("kt", False), ("gamma", True), ("redshift", True)):
        np.testing.assert_array_equal(np.isfinite(truth[name]), spectra.is_agn == of_agn)


def test_parameters_show_in_the_spectra(spectra):
    """Columns harden, hot plasma is harder than cool, steep power laws are softer: as far as ranks of the mean go."""
    net = np.maximum(spectra.counts - spectra.background, 0)
    mean = (net * ENERGY).sum(axis=1) / net.sum(axis=1)
    truth, bright = spectra.truth, spectra.truth["net_counts"] > 100

    def correlation(name, rows):
        return np.corrcoef(np.argsort(np.argsort(truth[name][rows])), np.argsort(np.argsort(mean[rows])))[0, 1]

    thin = bright & (truth["log_nh"] < 21.3)
    assert correlation("log_nh", bright & ~spectra.is_agn) > 0.5
    assert correlation("kt", thin & ~spectra.is_agn) > 0.5
    assert correlation("gamma", thin & spectra.is_agn) < -0.5
    # An absorber at redshift 3 lets through what one at rest does not.
    thick = bright & spectra.is_agn & (truth["log_nh"] > 22.5)
    assert correlation("redshift", thick) < -0.3


def test_seeds_and_refusal():
    first, same, other = (draw_star_agn(50, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.counts, same.counts)
    assert (first.counts != other.counts).any()
    with pytest.raises(ValueError, match="at least one of each class"):
        draw_star_agn(1)
