import numpy as np
import pytest
from astropy.io import fits

from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH, ACIS_NUM_CHANNELS
from chandraclip.simulate import builtin_response
from chandraclip.simulate.instrument.response import ENERGY, LAUNCH_MJD, effective_area, fwhm, redistribution_matrix


def area(energy, instrument=1, theta=0.0, mjd=LAUNCH_MJD):
    return np.interp(energy, ENERGY, effective_area(np.array([instrument]), np.array([theta]), np.array([mjd]))[0])


def test_grid_is_that_of_acis():
    response = builtin_response()
    assert response.matrix.shape == (450, ACIS_NUM_CHANNELS)
    assert response.first_channel == 1
    np.testing.assert_allclose(response.channel_energy_edges[[0, 1, -1]], [0.0, ACIS_CHANNEL_WIDTH, 14.9504])
    np.testing.assert_allclose([response.energy_lo[0], response.energy_hi[-1]], [0.3, 9.3])
    np.testing.assert_allclose(response.energy_hi[:-1], response.energy_lo[1:])


def test_redistribution_conserves_photons_and_has_the_stated_width():
    matrix = redistribution_matrix()
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-12)
    assert matrix.data.min() >= 0.0
    channel = ACIS_CHANNEL_WIDTH * (np.arange(ACIS_NUM_CHANNELS) + 0.5)
    for energy in (1.01, 1.49, 5.91):
        row = matrix.toarray()[np.abs(ENERGY - energy).argmin()]
        near = np.abs(channel - energy) < 0.4
        mean = (row * channel)[near].sum() / row[near].sum()
        sigma = np.sqrt((row * (channel - mean) ** 2)[near].sum() / row[near].sum())
        assert mean == pytest.approx(energy, abs=2e-3)
        assert 2.3548 * sigma == pytest.approx(fwhm(energy), rel=0.02)
    assert fwhm(np.array([1.0, 6.0])) == pytest.approx([0.10, 0.15], abs=0.01)


def test_escape_peak_lies_1_74_keV_below_and_only_above_the_silicon_edge():
    dense = redistribution_matrix().toarray()
    channel = ACIS_CHANNEL_WIDTH * (np.arange(ACIS_NUM_CHANNELS) + 0.5)
    row = dense[np.abs(ENERGY - 5.91).argmin()]
    low = channel < 5.0
    assert 0.004 < row[low].sum() < 0.008
    assert (row * channel)[low].sum() / row[low].sum() == pytest.approx(5.91 - 1.74, abs=0.01)
    assert dense[np.abs(ENERGY - 1.5).argmin()][channel < 1.0].sum() == 0.0


def test_area_has_the_edges_of_mirror_and_chips():
    assert area(2.0) > 1.6 * area(2.15)  # iridium M
    assert area(1.82, instrument=0) > 1.3 * area(1.86, instrument=0)  # silicon K of the front-side gates
    assert area(1.54) > 1.05 * area(1.58)  # aluminium K
    assert area(0.5) > 2.0 * area(0.5, instrument=0)  # back illumination sees soft photons


def test_contamination_grows_and_takes_the_soft_photons():
    years = LAUNCH_MJD + 365.25 * np.array([0, 3, 10, 20])
    soft, hard = (np.array([area(energy, mjd=mjd) for mjd in years]) for energy in (0.6, 4.0))
    assert (np.diff(soft) < 0).all()
    assert soft[-1] < 0.05 * soft[0]
    assert hard[-1] > 0.95 * hard[0]


def test_vignetting_is_stronger_at_high_energies():
    loss = np.array([area(energy, theta=10.0) / area(energy) for energy in (1.5, 4.5, 6.4)])
    np.testing.assert_allclose(loss, [0.85, 0.74, 0.63], atol=0.02)


def test_area_is_near_that_of_a_mission_arf(real_data):
    """CSC 7867: ACIS-S3 in October 2007. The built-in curve is rounded; a tenth or two is what it claims."""
    folder = next((real_data / "spectra").glob("csc_acisf07867*"))
    table = fits.getdata(next(folder.glob("*arf3.fits*")), "SPECRESP")
    energy = 0.5 * (table["ENERG_LO"] + table["ENERG_HI"])
    at = np.array([0.7, 0.8, 1.0, 1.3, 1.5, 1.7, 1.9, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0])
    ours = effective_area(np.array([1]), np.array([0.0]), np.array([54374.0]))[0]
    ratio = np.interp(at, ENERGY, ours) / np.interp(at, energy, table["SPECRESP"])
    assert ((ratio > 0.8) & (ratio < 1.25)).all(), ratio
