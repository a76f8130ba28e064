"""The built-in matrices against those of the mission, by width and by what is recorded far below a line."""

from pathlib import Path

import numpy as np
import pytest

from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH
from chandraclip.ogip import read_response
from chandraclip.simulate.instrument.area import ENERGY, INSTRUMENTS
from chandraclip.simulate.instrument.redistribution import fwhm, redistribution_matrix

CHANNEL = ACIS_CHANNEL_WIDTH * (np.arange(1024) + 0.5)
ABOVE_EDGE = (1.95, 2.5, 3.0, 4.5, 5.9, 7.5)
# Held out; the numbers are read off 4737, 4938 and CDF-S (ACIS-I), 7867 and 12845 (S3).
HELD_OUT = {
    "pks0537_obs4274": ("qso.warf", "qso.wrmf.gz", "ACIS-I"),
    "gcs25_obs2278": ("arf2278.fits", "rmf2278.fits.gz", "ACIS-I"),
    "gcs28_obs2286": ("arf2286.fits", "rmf2286.fits.gz", "ACIS-I"),
    "csc_acisf01575": ("*arf3*", "*rmf3*", "ACIS-S"),
    "csc_acisf04736": ("*arf3*", "*rmf3*", "ACIS-S"),
    "pks1127_obs5708": ("q1127_src1.warf", "q1127_src1.wrmf.gz", "ACIS-S"),
    "4c19.44_obs6903": ("obs1.arf", "obs1.rmf.gz", "ACIS-S"),
}


def line(row: np.ndarray, channel: np.ndarray, energy: float) -> tuple[float, float]:
    """FWHM, keV, by the quartiles of the core as if it were a Gaussian; the share more than 5 sigma below the line."""
    core = np.cumsum(np.where(np.abs(channel - energy) < 0.4, row, 0.0))
    low, high = np.interp([0.25, 0.75], core / core[-1], channel + 0.5 * (channel[1] - channel[0]))
    width = (high - low) / 1.34898
    return 2.35482 * width, row[channel < energy - 5.0 * width].sum() / row.sum()


def lines(matrix, energy: np.ndarray, channel: np.ndarray, at: tuple[float, ...]) -> np.ndarray:
    """(2, len(at))"""
    numbers = [int(np.abs(energy - value).argmin()) for value in at]
    return np.array([line(matrix[[number]].toarray()[0], channel, energy[number]) for number in numbers]).T


@pytest.mark.parametrize("folder", HELD_OUT)
def test_matrices_are_near_those_of_the_mission(real_data: Path, folder: str) -> None:
    """Width within 18 % (the mission's own differ by more, by row); the tail in 2-5 keV within a factor of 1.9."""
    place = next((real_data / "spectra").glob(f"{folder}*"))
    arf, rmf, instrument = HELD_OUT[folder]
    real = read_response(next(place.glob(arf)), next(place.glob(rmf)))
    middle = 0.5 * (real.energy_lo + real.energy_hi), 0.5 * (real.channel_energy_lo + real.channel_energy_hi)
    at = (0.7, 1.0, 1.49, *ABOVE_EDGE)
    width, tail = lines(redistribution_matrix(instrument), ENERGY, CHANNEL, at)
    real_width, real_tail = lines(real.matrix, *middle, at)
    clear = np.array(at) != 1.95  # the near tail of the line is not a line's width
    np.testing.assert_allclose(width[clear], real_width[clear], rtol=0.18)
    ratio = (tail / real_tail)[3:7]
    assert ((ratio > 1 / 1.9) & (ratio < 1.9)).all(), ratio.round(2)


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_redistribution_conserves_photons_and_has_the_stated_width(instrument: str) -> None:
    matrix = redistribution_matrix(instrument)
    np.testing.assert_array_equal(matrix.sum(axis=1), 1.0)
    np.testing.assert_array_equal(matrix.data.astype(np.float32), matrix.data)  # files keep it
    assert matrix.data.min() > 0.0
    at = (1.01, 1.49, 5.91)
    np.testing.assert_allclose(lines(matrix, ENERGY, CHANNEL, at)[0], fwhm(np.array(at), instrument), rtol=0.055)
    for energy in at:
        row = matrix[[np.abs(ENERGY - energy).argmin()]].toarray()[0]
        assert np.interp(0.5, np.cumsum(row), CHANNEL + 0.0073) == pytest.approx(energy, abs=0.01)


def test_widths_are_those_of_front_and_back_side() -> None:
    """The front side resolves soft lines better, the back side hard ones, since charge is lost in transfer."""
    energy = np.array([1.0, 5.9])
    np.testing.assert_allclose(fwhm(energy, "ACIS-I"), [0.079, 0.164], atol=0.001)
    np.testing.assert_allclose(fwhm(energy, "ACIS-S"), [0.100, 0.153], atol=0.001)


@pytest.mark.parametrize(("instrument", "soft"), [("ACIS-I", 0.015), ("ACIS-S", 0.003)])
def test_tail_jumps_at_the_silicon_edge_and_falls_above(instrument: str, soft: float) -> None:
    tail = lines(redistribution_matrix(instrument), ENERGY, CHANNEL, (1.49, *ABOVE_EDGE))[1]
    assert tail[0] == pytest.approx(soft, abs=0.001)
    assert 0.03 < tail[1] < 0.05
    assert (np.diff(tail[1:4]) < 0).all()
    assert 0.016 < tail[5] < 0.022


@pytest.mark.parametrize(("instrument", "share"), [("ACIS-I", 0.007), ("ACIS-S", 0.0095)])
def test_escape_peak_lies_1_74_keV_below_and_only_above_the_silicon_edge(instrument: str, share: float) -> None:
    dense = redistribution_matrix(instrument).toarray()
    row = dense[np.abs(ENERGY - 5.91).argmin()]
    near = np.abs(CHANNEL - (5.91 - 1.74)) < 0.25
    floor = 0.5 * (row[np.abs(CHANNEL - 3.8) < 0.05].mean() + row[np.abs(CHANNEL - 4.55) < 0.05].mean())
    assert (row[near] - floor).sum() == pytest.approx(share, rel=0.1)
    assert CHANNEL[np.where(near, row, 0.0).argmax()] == pytest.approx(5.91 - 1.74, abs=0.03)
    fluorescence = np.abs(CHANNEL - 1.74) < 0.05
    assert row[fluorescence].mean() > 1.5 * row[np.abs(CHANNEL - 2.2) < 0.1].mean()
    below = dense[np.abs(ENERGY - 1.8).argmin()]
    assert below[CHANNEL < 0.3].sum() < 0.005
