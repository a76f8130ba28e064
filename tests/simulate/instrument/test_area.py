"""The built-in area against mission ARFs: those that no number was read off, those of the fit, and one of 2018."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from chandraclip.simulate.instrument.area import ENERGY, LAUNCH_MJD, contaminant_absorption, effective_area

ACIS_I, ACIS_S = 0, 1
AT = np.array([0.5, 0.6, 0.7, 1.0, 1.5, 2.5, 4.5, 6.0])  # keV
# Folder, file, instrument, off-axis angle (arcmin, by the place of source or region in the header), whether the ARF has
# the contaminant (those made before 2003 have not), what share of the exposure bad columns left.
HELD_OUT = [
    ("csc_acisf01575_001N001_r0085", "*arf3*", ACIS_S, 3.38, True, 1.0),
    ("csc_acisf07867_000N001_r0002", "*arf3*", ACIS_S, 0.90, True, 1.0),
    ("ngc4258_obs1618", "arf.fits", ACIS_S, 0.64, False, 1.0),
    ("gcs25_obs2278", "arf2278.fits", ACIS_I, 5.10, False, 1.0),
    ("gcs28_obs2286", "arf2286.fits", ACIS_I, 6.71, False, 1.0),
    ("m33_obs1730", "source.arf", ACIS_I, 0.32, False, 1.0),
]
FITTED = [
    ("4c19.44_obs6903", "obs1.arf", ACIS_S, 0.08, True, 1.0),
    ("b3_0710_obs12845", "12845.warf", ACIS_S, 0.30, True, 1.0),
    ("q0740_bubble_obs3098", "bubble.arf", ACIS_S, 0.67, True, 1.0),
    ("pks1127_obs5708", "q1127_src1.warf", ACIS_S, 0.57, True, 1.0),
    ("pks0537_obs4274", "qso.warf", ACIS_I, 5.30, True, 1.0),
    ("m33_obs1730", "back.arf", ACIS_I, 8.56, False, 0.955),
]


def area(energy, instrument=ACIS_S, theta=0.0, mjd=LAUNCH_MJD):
    return np.interp(energy, ENERGY, effective_area(np.array([instrument]), np.array([theta]), np.array([mjd]))[0])


def ratio(data: Path, folder: str, name: str, instrument: int, theta: float, contaminated: bool, exposed: float):
    """Ours over the file's at `AT`."""
    path = next((data / "spectra" / folder).glob(name))
    table, header = fits.getdata(path, "SPECRESP", header=True)
    mjd = Time(header["DATE-OBS"]).mjd if contaminated else LAUNCH_MJD
    real = np.interp(AT, 0.5 * (table["ENERG_LO"] + table["ENERG_HI"]), table["SPECRESP"]) / exposed
    return area(AT, instrument, theta, mjd) / real


@pytest.mark.parametrize("file", [*HELD_OUT, *FITTED], ids=lambda file: f"{file[0]}-{file[1]}")
def test_area_is_near_that_of_mission_arfs(real_data: Path, file: tuple) -> None:
    """Within 15 % from 0.6 keV; at 0.5 keV the mission's own calibrations of 2008 and 2010 differ by 25 %."""
    found = ratio(real_data, *file)
    assert (np.abs(np.log(found[1:])) < np.log(1.15)).all(), found.round(2)
    assert 0.78 < found[0] < 1.2, found.round(2)


def test_area_far_off_axis_on_other_chips(real_data: Path) -> None:
    """13' on I2 and 15' on I3, where the filter holds 1.9 and 1.3 times what it does in the middle; 15.6' on S1, which
    loses more above 4 keV.
    """
    on_i2 = ratio(real_data, "csc_acisf04737_000N001_r0035", "*arf3*", ACIS_I, 12.88, True, 1.0)
    assert on_i2[0] == pytest.approx(1.33, abs=0.05)
    assert (np.abs(on_i2[1:] - 1.0) < 0.2).all(), on_i2.round(2)
    on_i3 = ratio(real_data, "csc_acisf04938_000N002_r0043", "*arf3*", ACIS_I, 15.13, True, 1.0)
    assert (np.abs(on_i3 - 1.0) < 0.2).all(), on_i3.round(2)
    on_s1 = ratio(real_data, "csc_acisf04736_000N001_r0079", "*arf3*", ACIS_S, 15.59, True, 1.0)
    assert (np.abs(on_s1[:-2] - 1.0) < 0.1).all(), on_s1.round(2)
    assert (on_s1[-2:] < 1.3).all(), on_s1.round(2)


def test_shape_is_that_of_a_merger_of_ten_years(real_data: Path) -> None:
    """CDF-S 179: 1 Ms of 2000, 1 of 2007, 2 of 2010, off axis by about 9'. The shape alone: its exposures differ."""
    table = fits.getdata(next((real_data / "spectra" / "cdfs4Ms_179").glob("*.arf")), "SPECRESP")
    real = np.interp(AT, 0.5 * (table["ENERG_LO"] + table["ENERG_HI"]), table["SPECRESP"])
    epochs = Time(["2000-09-01", "2007-10-01", "2010-05-01", "2010-05-01"]).mjd
    found = np.mean([area(AT, ACIS_I, 9.0, mjd) for mjd in epochs], axis=0) / real
    assert (np.abs(np.log(found / found[4])) < np.log(1.12)).all(), found.round(2)


def test_area_is_near_that_of_an_aim_point_in_2018() -> None:
    """ACIS-I3 in May 2018 as proposers of cycle 19 were given it: known to be too low by then, a tenth in depth."""
    energy = np.array([0.5018, 0.6174, 0.754, 0.857, 1.006, 1.247, 1.499, 1.694, 2.98, 3.99, 4.52, 5.97])
    real = np.array([5.35, 2.23, 13.5, 45.5, 114.3, 253.9, 381.3, 390.0, 319.3, 370.8, 361.2, 221.4])
    found = area(energy, ACIS_I, 0.3, Time("2018-05-15").mjd) / real
    assert ((found > 0.9) & (found < 1.35)).all(), found.round(2)
    assert ((found > 0.9) & (found < 1.16))[4:].all(), found.round(2)


def test_area_has_the_edges_of_mirror_and_chips() -> None:
    assert area(2.0) > 1.6 * area(2.15)  # iridium M
    assert area(1.82, ACIS_I) > 1.3 * area(1.86, ACIS_I)  # silicon K of the front-side gates
    assert area(1.54) > 1.05 * area(1.58)  # aluminium K
    assert area(0.5) > 2.0 * area(0.5, ACIS_I)  # back illumination sees soft photons


def test_contamination_grows_and_takes_the_soft_photons() -> None:
    years = LAUNCH_MJD + 365.25 * np.array([0, 3, 10, 20])
    soft, hard = (np.array([area(energy, mjd=mjd) for mjd in years]) for energy in (0.6, 4.0))
    assert (np.diff(soft) < 0).all()
    assert soft[-1] < 0.05 * soft[0]
    assert hard[-1] > 0.95 * hard[0]


def test_each_element_absorbs_from_its_edge_on() -> None:
    carbon, oxygen, fluorine = (
        np.interp([0.53, 0.55, 0.67, 0.70], ENERGY, absorption) for absorption in contaminant_absorption()
    )
    assert carbon[0] > carbon[1] > carbon[2] > carbon[3]
    assert oxygen[1] > 10 * oxygen[0]
    assert fluorine[3] > 10 * fluorine[2]
    np.testing.assert_allclose((carbon[2], oxygen[2]), 1.0, rtol=0.01)


def test_the_filter_of_acis_i_holds_more_towards_its_edges() -> None:
    mjd = Time("2005-01-01").mjd
    loss = [area(0.7, instrument, 10.0, mjd) / area(0.7, instrument, 0.0, mjd) for instrument in (ACIS_I, ACIS_S)]
    assert loss[0] < 0.85 * loss[1]
    assert area(0.7, ACIS_I, 10.0) / area(0.7, ACIS_I) == pytest.approx(loss[1])


def test_vignetting_is_stronger_at_high_energies() -> None:
    loss = np.array([area(energy, theta=10.0) / area(energy) for energy in (1.5, 4.5, 6.4)])
    np.testing.assert_allclose(loss, [0.875, 0.84, 0.72], atol=0.01)
