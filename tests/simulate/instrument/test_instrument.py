"""What the simulator looks through: the built-in ACIS against published numbers, and real files as they are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy import stats

from chandraclip.errors import InputFileError
from chandraclip.simulate.instrument.area import ENERGY, INSTRUMENTS, LAUNCH_MJD
from chandraclip.simulate.instrument.photons import draw_channels
from chandraclip.simulate.instrument.response import (
    Instrument,
    builtin_instrument,
    builtin_response,
    instrument_from_files,
)
from chandraclip.simulate.population.observations import MJD_RANGE

ACIS_I, ACIS_S = range(len(INSTRUMENTS))
Q0740 = ("q0740_bubble_obs3098", "bubble.arf", "bubble.rmf.gz")
EPIC = ("xmm_epicpn_heacit", "PN.arf", "PN.rmf.gz")


def area(instrument: int, energy: float, theta: float = 0.0, mjd: float = LAUNCH_MJD) -> float:
    found = builtin_instrument().area(np.array([instrument]), np.array([theta]), np.array([mjd]))
    return float(np.interp(energy, ENERGY, found[0]))


def drawn_fwhm(instrument: Instrument, energy: float, number: int = 1) -> float:
    """Width of the line that 2e5 photons of one energy make, keV, by its quartiles, as if it were a Gaussian."""
    channel = draw_channels(np.random.default_rng(0), instrument.responses[number], np.full(200_000, energy))
    edges = instrument.response.channel_energy_edges
    at = edges[channel] + np.random.default_rng(1).random(channel.size) * np.diff(edges)[channel]
    low, high = np.percentile(at[np.abs(at - energy) < 0.5], [25, 75])
    return float((high - low) / 1.34898 * 2.35482)


@pytest.mark.parametrize(
    ("number", "energy", "published"),
    [(ACIS_S, 1.49, 0.100), (ACIS_S, 5.90, 0.150), (ACIS_I, 1.49, 0.090), (ACIS_I, 5.90, 0.170)],
)
def test_a_lines_photons_are_as_wide_as_published(number: int, energy: float, published: float) -> None:
    """About 100 eV at 1.5 keV (Al K) and 150 eV at 6 keV (Mn K) on S3, as the mission's proposers are told; 90 and 170
    on the middle rows of front-illuminated chips, corrected for charge transfer.
    """
    assert drawn_fwhm(builtin_instrument(), energy, number) == pytest.approx(published, rel=0.12)


def test_channels_are_14_6_eV_and_photons_fall_where_their_energy_says() -> None:
    builtin = builtin_instrument()
    edges = builtin.response.channel_energy_edges
    np.testing.assert_allclose(np.diff(edges), 0.0146, rtol=1e-9)
    np.testing.assert_allclose(builtin.channel_energy, 0.0146 * (np.arange(1024) + 0.5))
    for energy in (0.61, 1.49, 4.51, 8.01):
        channel = draw_channels(np.random.default_rng(2), builtin.response, np.full(100_000, energy))
        assert np.median(builtin.channel_energy[channel]) == pytest.approx(energy, abs=0.0146)
    assert builtin.is_acis_grid


def test_every_photon_of_the_grid_is_recorded() -> None:
    """Rows of the redistribution sum to 1, and only there: off the grid nothing is."""
    energy = np.random.default_rng(3).uniform(0.3, 9.3, 50_000)
    outside = np.array([0.29, 9.31, 12.0])
    for response in builtin_instrument().responses:
        np.testing.assert_allclose(response.matrix.sum(axis=1), 1.0, atol=1e-12)
        assert (draw_channels(np.random.default_rng(4), response, energy) >= 0).all()
        np.testing.assert_array_equal(draw_channels(np.random.default_rng(4), response, outside), -1)


def test_a_detections_area_is_its_own_and_positive_at_any_date_and_angle() -> None:
    rng = np.random.default_rng(5)
    number, theta, mjd = rng.integers(0, 2, 300), rng.uniform(0, 15, 300), rng.uniform(*MJD_RANGE, 300)
    found = builtin_instrument().area(number, theta, mjd)
    assert found.shape == (300, 450)
    assert found.min() > 0
    assert found.max() < 900
    for row in (0, 123, 299):
        name = INSTRUMENTS[number[row]]
        np.testing.assert_allclose(found[row], builtin_response(name, float(theta[row]), float(mjd[row])).arf)
    # The shared response has none of it, so that it is not counted twice.
    for name, response in zip(INSTRUMENTS, builtin_instrument().responses):
        np.testing.assert_array_equal(response.arf, 1.0)
        assert response.response_id == builtin_response(name, 7.0).response_id
    assert len({response.response_id for response in builtin_instrument().responses}) == 2
    assert builtin_instrument().names == ("ACIS-I", "ACIS-S")


def test_the_back_illuminated_chip_sees_more_soft_photons_and_no_more_hard_ones() -> None:
    ratio = np.array([area(ACIS_S, energy) / area(ACIS_I, energy) for energy in (0.4, 0.7, 1.5, 4.0, 6.4, 8.0)])
    assert ratio[0] > 3.0
    assert ratio[1] == pytest.approx(2.7, abs=0.3)
    assert (np.diff(ratio) < 0).all()
    assert 0.8 < ratio[-1] < 1.02  # thinner silicon
    for number, peak in ((ACIS_I, 600.0), (ACIS_S, 750.0)):
        found = builtin_instrument().area(np.array([number]), np.zeros(1), np.array([LAUNCH_MJD]))[0]
        assert found.max() == pytest.approx(peak, rel=0.1)
        assert 1.2 < ENERGY[found.argmax()] < 1.6


@pytest.mark.parametrize("instrument", [ACIS_I, ACIS_S])
def test_area_falls_with_the_date_below_2_keV_and_nowhere_rises(instrument: int) -> None:
    mjd = np.linspace(*MJD_RANGE, 30)
    found = builtin_instrument().area(np.full(30, instrument), np.zeros(30), mjd)
    change = np.diff(found, axis=0)
    assert change.max() <= 1e-9
    soft = ENERGY < 2.0
    assert (change[:, soft] < 0).all()
    left = found[-1] / found[0]
    assert left[np.abs(ENERGY - 0.67).argmin()] < 0.06  # three optical depths of carbon in 22 years
    assert 0.5 < left[np.abs(ENERGY - 1.5).argmin()] < 0.65  # 0.65 were left in May 2018
    assert left[-1] == pytest.approx(1.0, abs=5e-3)  # of 4 optical depths at 0.67 keV
    # Deeper right above the oxygen edge than right below it: depth does not just fall with energy.
    depth = -np.log(left)
    assert depth[np.abs(ENERGY - 0.55).argmin()] > depth[np.abs(ENERGY - 0.53).argmin()]


@pytest.mark.parametrize("instrument", [ACIS_I, ACIS_S])
def test_area_falls_off_axis_at_every_energy(instrument: int) -> None:
    theta = np.linspace(0, 15, 16)
    early, late = (
        builtin_instrument().area(np.full(16, instrument), theta, np.full(16, mjd)) for mjd in (LAUNCH_MJD, 59_000.0)
    )
    assert (np.diff(early, axis=0) < 0).all()
    left = early / early[0]
    if instrument == ACIS_S:
        np.testing.assert_allclose(left, late / late[0])
    else:  # with the years its filter holds more towards the edges
        assert ((late / late[0])[1:] < left[1:]).all()
        np.testing.assert_allclose((late / late[0])[:, ENERGY > 4.0], left[:, ENERGY > 4.0], rtol=0.005)
    assert (np.diff(left[1:], axis=1) < 1e-12).all()  # harder photons graze the mirror's edge
    assert (np.diff(left[1:, ENERGY > 3.0], axis=1) < 0).all()
    assert left[5].min() > 0.6
    assert left[15, ENERGY < 2.0].min() > 0.7


def test_before_launch_there_is_no_contamination_and_after_the_table_no_more_of_it() -> None:
    assert area(ACIS_S, 0.5, mjd=40_000.0) == area(ACIS_S, 0.5, mjd=LAUNCH_MJD)
    assert area(ACIS_S, 0.5, mjd=70_000.0) == area(ACIS_S, 0.5, mjd=80_000.0)


def test_real_files_are_looked_through_as_they_are(real_data: Path) -> None:
    folder, arf, rmf = (real_data / "spectra" / Q0740[0], *Q0740[1:])
    instrument = instrument_from_files(folder / arf, folder / rmf)
    table = fits.getdata(folder / arf, "SPECRESP")
    theta, mjd = np.array([0.0, 5.0, 12.0]), np.array([51_600.0, 55_000.0, 59_000.0])
    found = instrument.area(np.array([0, 1, 1]), theta, mjd)
    # This very area, whatever the angle and the date: the file knows its own.
    np.testing.assert_allclose(found, np.tile(table["SPECRESP"].astype(float), (3, 1)), rtol=1e-6)
    np.testing.assert_array_equal(instrument.response.arf, 1.0)
    np.testing.assert_allclose(instrument.response.energy_lo, table["ENERG_LO"], rtol=1e-5)
    assert instrument.names == ("ACIS", "ACIS")
    assert instrument.is_acis_grid  # though its first edge is not at zero
    assert instrument.responses[0] is instrument.responses[1]
    assert instrument.area(np.zeros(0, int), np.zeros(0), np.zeros(0)).shape[0] == 0
    assert instrument is instrument_from_files(folder / arf, folder / rmf)


def test_the_built_in_resolution_is_near_that_of_a_real_matrix(real_data: Path) -> None:
    """ObsID 3098, ACIS-S3."""
    real = instrument_from_files(*(real_data / "spectra" / Q0740[0] / name for name in Q0740[1:]))
    for energy in (1.49, 3.0, 5.9):
        assert drawn_fwhm(builtin_instrument(), energy) == pytest.approx(drawn_fwhm(real, energy), rel=0.2)


@pytest.mark.parametrize("files", [Q0740, EPIC], ids=["ACIS-S3", "EPIC-pn"])
def test_photons_drawn_through_a_real_matrix_are_spread_as_it_folds(
    real_data: Path, files: tuple[str, str, str]
) -> None:
    real = instrument_from_files(*(real_data / "spectra" / files[0] / name for name in files[1:]))
    response = real.response
    flux = np.where((response.energy_lo > 0.5) & (response.energy_hi < 8.0), 200_000.0, 0.0)
    flux *= (response.energy_hi - response.energy_lo) / response.energy_lo
    expected = response.fold(flux)
    rng = np.random.default_rng(6)
    energy = np.repeat(0.5 * (response.energy_lo + response.energy_hi), rng.poisson(flux))
    channel = draw_channels(rng, response, energy)
    observed = np.bincount(channel[channel >= 0], minlength=response.num_channels)
    bright = expected > 20
    assert bright.sum() > 400
    square = ((observed - expected)[bright] ** 2 / expected[bright]).sum()
    assert 1e-4 < stats.chi2.sf(square, bright.sum()) < 0.9999
    assert observed[~bright].sum() == pytest.approx(expected[~bright].sum(), abs=4.0 * np.sqrt(expected[~bright].sum()))


def test_other_channels_are_not_taken_for_those_of_acis(real_data: Path) -> None:
    real = instrument_from_files(*(real_data / "spectra" / EPIC[0] / name for name in EPIC[1:]), name="EPIC-pn")
    assert not real.is_acis_grid
    assert real.names == ("EPIC-pn", "EPIC-pn")
    assert np.diff(real.channel_energy).mean() < 0.006
    # As many channels, of another width.
    builtin = builtin_instrument()
    edges = 1.001 * builtin.response.channel_energy_edges
    stretched = replace(builtin.response, channel_energy_lo=edges[:-1], channel_energy_hi=edges[1:])
    assert not replace(builtin, responses=(stretched, stretched)).is_acis_grid


def test_files_that_do_not_fit_each_other_are_refused(real_data: Path, tmp_path: Path) -> None:
    arf, rmf = (real_data / "spectra" / Q0740[0] / Q0740[1], real_data / "spectra" / EPIC[0] / EPIC[2])
    with pytest.raises(InputFileError):
        instrument_from_files(arf, rmf)
    with pytest.raises(InputFileError):
        instrument_from_files(tmp_path / "none.arf", rmf)
