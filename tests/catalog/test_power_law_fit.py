from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
from astropy.io import fits

from chandraclip.catalog.power_law_fit import fit_power_law
from chandraclip.catalog.statistics import cash
from chandraclip.ogip import read_spectrum


def test_cash():
    counts, expected = np.array([0, 3, 5, 0, 2]), np.array([1.5, 3.0, 2.0, 0.0, 0.0])
    value = cash(counts, expected)
    np.testing.assert_allclose(value[:4], [3.0, 0.0, 2 * (2 - 5 + 5 * np.log(2.5)), 0.0], atol=1e-12)
    assert value[4] == np.inf
    grid = np.linspace(0.5, 12, 200)
    assert (cash(np.full(200, 4), grid) >= 0).all()
    assert grid[cash(np.full(200, 4), grid).argmin()] == pytest.approx(4, abs=0.06)


@pytest.fixture(scope="module")
def wabs(real_data):
    table = fits.getdata(real_data / "catalog" / "xsect_wabs_angr.fits")
    energy, sigma = table["ENERGY"].astype(float), table["SIGMA"].astype(float)
    return lambda values: np.interp(values, energy, sigma)


QUICK = ("3c273_obs459", "4c19.44_obs6904", "csc_acisf04736", "m33_obs1730", "gcs25_obs2278", "cdfs4Ms_179")


def check(real_data, wabs, names):
    for name, entry in json.loads((real_data / "spectra_check.json").read_text()).items():
        if "cstat" not in entry or not name.startswith(names):
            continue
        fit = fit_power_law(read_spectrum(real_data / "spectra" / name), wabs)
        assert fit.num_bins == entry["nbins"], name
        assert fit.statistic <= 1.01 * entry["cstat"], name
        yield name


def test_fits_reach_the_independent_statistic(real_data, wabs):
    assert len(list(check(real_data, wabs, QUICK))) == len(QUICK)


@pytest.mark.slow
def test_every_fit_reaches_the_independent_statistic(real_data, wabs):
    assert len(list(check(real_data, wabs, ""))) == 20


def test_a_known_spectrum_is_recovered(real_data, wabs):
    """Poisson draws of a known absorbed power law through a real response."""
    import dataclasses

    spectrum = read_spectrum(real_data / "spectra" / "pks0537_obs4274" / "qso.pi.gz", background=False)
    response = spectrum.response
    low, high = response.energy_lo, response.energy_hi
    flux = 4e-4 * (high**-0.7 - low**-0.7) / -0.7 * np.exp(-0.3 * wabs((low + high) / 2))
    counts = np.random.default_rng(1).poisson(spectrum.expected_counts(flux))
    fit = fit_power_law(dataclasses.replace(spectrum, counts=counts), wabs)
    assert fit.gamma == pytest.approx(1.7, abs=0.1)
    assert fit.nh == pytest.approx(0.3, abs=0.06)
    assert fit.norm == pytest.approx(4e-4, rel=0.1)


def test_a_spectrum_of_fewer_channels_than_the_background_is_smoothed_over(ogip):
    ogip.arf(), ogip.rmf()
    spectrum = read_spectrum(ogip.pha(counts=(30, 20, 50, 10), ANCRFILE="source.arf", RESPFILE="source.rmf"))
    fit = fit_power_law(spectrum, lambda energy: np.zeros_like(energy))
    assert fit.num_bins <= 4
    assert np.isfinite(fit.statistic)


def test_a_fit_needs_a_response(real_data, wabs):
    spectrum = read_spectrum(real_data / "spectra" / "g21.5_obs1838_noresp" / "source1.pi")
    with pytest.raises(ValueError, match="has no response"):
        fit_power_law(spectrum, wabs)


def test_check_spectra_prints_and_judges(real_data, repository, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("check_spectra", repository / "scripts" / "check_spectra.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for name in ("pi2278.fits", "arf2278.fits", "rmf2278.fits.gz"):
        (tmp_path / "gcs").mkdir(exist_ok=True)
        (tmp_path / "gcs" / name).write_bytes((real_data / "spectra" / "gcs25_obs2278" / name).read_bytes())
    assert script.main([str(tmp_path)]) == 0
    assert "gcs/pi2278.fits" in capsys.readouterr().out
    entry = json.loads((real_data / "spectra_check.json").read_text())["gcs25_obs2278/pi2278.fits"]
    (tmp_path / "spectra_check.json").write_text(json.dumps({"gcs/pi2278.fits": entry}))
    assert script.main([str(tmp_path)]) == 0
    assert "1 of 1 spectra as expected" in capsys.readouterr().out
    (tmp_path / "spectra_check.json").write_text(json.dumps({"gcs/pi2278.fits": entry | {"counts": 79}}))
    assert script.main([str(tmp_path)]) == 1
    assert "counts 78, expected 79" in capsys.readouterr().out


def no_absorption(energy):
    return np.zeros_like(energy)


def test_bad_channels_are_out_of_a_fit(ogip, traps):
    shared = fit_power_law(read_spectrum(traps / "S10_quality" / "a.pi",
                                         arf=traps / "S10_quality" / "a.arf",
                                         rmf=traps / "S10_quality" / "a.rmf"), no_absorption)  # fmt: skip
    assert shared.num_bins == 2
    ogip.arf(), ogip.rmf()
    names = {"ANCRFILE": "source.arf", "RESPFILE": "source.rmf"}
    fits_of = [
        fit_power_law(
            read_spectrum(
                ogip.pha(counts=counts, extra=[fits.Column("QUALITY", "I", array=[0, quality, 0, 0])], **names)
            ),
            no_absorption,
        )
        for counts, quality in (((30, 20, 50, 10), 5), ((30, 999, 50, 10), 5), ((30, 999, 50, 10), 0))
    ]
    assert fits_of[0] == fits_of[1] != fits_of[2]
    assert [fit.num_bins for fit in fits_of] == [3, 3, 4]
    with pytest.raises(ValueError, match="no good channel"):
        fit_power_law(read_spectrum(ogip.pha(QUALITY=1, **names)), no_absorption)


def test_a_real_valued_background_is_fitted_with(ogip):
    ogip.arf(), ogip.rmf()
    back = [fits.Column("RATE", "D", array=np.array([2.4, 1.7, 0.3, 0.9]) / 1000)]
    ogip.pha("back.pi", extra=back)
    spectrum = read_spectrum(
        ogip.pha(counts=(30, 20, 50, 10), ANCRFILE="source.arf", RESPFILE="source.rmf", BACKFILE="back.pi")
    )
    fit = fit_power_law(spectrum, no_absorption, background_channels=1)
    without = fit_power_law(read_spectrum(spectrum.path, background=False), no_absorption)
    assert np.isfinite(fit.statistic)
    assert fit.net_counts < without.net_counts
