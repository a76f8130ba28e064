from __future__ import annotations

import dataclasses
import importlib.util
import json
import time

import astropy.units as u
import numpy as np
import pytest

from chandraclip.observation import fit_spectrum
from chandraclip.ogip import read_spectrum
from chandraclip.simulate.emission.absorption import cross_section

QUICK = ("3c273_obs459", "4c19.44_obs6904", "csc_acisf04736", "m33_obs1730", "gcs25_obs2278", "cdfs4Ms_179")


def check(real_data, names):
    """As the independent fits were made: wabs, all channels, background windows of 15."""
    for name, entry in json.loads((real_data / "spectra_check.json").read_text()).items():
        if "cstat" not in entry or not name.startswith(names):
            continue
        spectrum = dataclasses.replace(read_spectrum(real_data / "spectra" / name), quality=None)
        fit = fit_spectrum(spectrum, "powerlaw", "wabs", statistic="cash", background_window=15)
        assert fit.num_bins == entry["nbins"], name
        assert fit.statistic <= 1.01 * entry["cstat"], name
        yield name


def test_fits_reach_the_independent_statistic(real_data):
    assert len(list(check(real_data, QUICK))) == len(QUICK)


@pytest.mark.slow
def test_every_fit_reaches_the_independent_statistic(real_data):
    assert len(list(check(real_data, ""))) == 20


@pytest.mark.parametrize(
    ("model", "shape", "column"),
    [
        ("powerlaw", 1.7, 0.3),
        ("blackbody", 0.6, 0.2),
        ("diskbb", 1.1, 0.2),
        ("bremsstrahlung", 4.0, 0.2),
        ("apec", 2.0, 0.1),
    ],
)
def test_a_known_spectrum_is_recovered(draw, model, shape, column):
    spectrum, norm = draw(model, shape, column, 4000, mean=5.0, seed=3)
    begin = time.process_time()
    fit = fit_spectrum(spectrum, model)
    assert time.process_time() - begin < 6  # 3 s on an idle core
    assert fit.statistic_name == "wstat"
    assert fit.degrees_of_freedom == fit.num_bins - 3
    assert abs(fit.statistic - fit.degrees_of_freedom) < 5 * np.sqrt(2 * fit.num_bins)
    for name, truth in zip(fit.parameters, (shape, column, norm)):
        found = fit.parameters[name]
        error = (found.high - found.low) / 2
        assert found.low < found.value < found.high, name
        assert abs(found.value - truth) < 3.5 * error, name
        assert error < 0.4 * truth, name


def test_the_projects_own_absorption_gives_the_right_slope(draw):
    """The former interface took any function for a cross section: in cm2 it gave 0.96 for this source."""
    spectrum, _ = draw("powerlaw", 1.65, 0.5, 5000, seed=5)
    fit = fit_spectrum(spectrum, "powerlaw", "tbabs")
    assert fit.parameters["PhoIndex"].value == pytest.approx(1.65, abs=0.12)
    assert fit.parameters["nh"].value == pytest.approx(0.5, abs=0.1)
    with pytest.raises(ValueError, match="unknown absorption"):
        fit_spectrum(spectrum, "powerlaw", cross_section)


@pytest.mark.parametrize("statistic", ["cash", "wstat"])
def test_at_the_limits_the_refitted_statistic_is_higher_by_one(draw, statistic):
    spectrum, _ = draw("powerlaw", 1.7, 0.3, 800, mean=4.0, seed=1)
    fit = fit_spectrum(spectrum, statistic=statistic)
    for name in ("PhoIndex", "nH"):
        for limit in (fit.parameters[name].low, fit.parameters[name].high):
            held = fit_spectrum(spectrum, statistic=statistic, fixed={name: limit})
            assert held.statistic - fit.statistic == pytest.approx(1.0, abs=0.03)
            assert str(held.parameters[name]).startswith(f"{limit:.4g} (fixed)")
            assert held.degrees_of_freedom == fit.degrees_of_freedom + 1
    wider = fit_spectrum(spectrum, statistic=statistic, confidence=0.9)
    ratio = (wider.parameters["norm"].high - fit.parameters["norm"].value) / (
        fit.parameters["norm"].high - fit.parameters["norm"].value
    )
    assert ratio == pytest.approx(1.645, rel=0.15)


def test_a_limit_that_the_data_do_not_set_is_open(draw):
    spectrum, _ = draw("powerlaw", 2.0, 0.0, 60, seed=2)
    column = fit_spectrum(spectrum).parameters["nH"]
    assert column.low is None
    assert column.high > 0
    assert f"(< {column.high:.4g}) 1e22 cm-2" in str(column)
    empty = dataclasses.replace(spectrum, background_counts=20 * spectrum.counts + 5, background_scale=1.0)
    fit = fit_spectrum(empty)  # all of it is background
    assert fit.parameters["norm"].value == 0
    assert fit.parameters["norm"].low is None
    assert fit.parameters["norm"].high > 0
    assert "no limit" in str(fit.parameters["PhoIndex"])


def test_a_fit_of_more_background_than_wstat_bears_takes_cash(draw):
    few, _ = draw("powerlaw", 1.7, 0.1, 300, mean=0.2, scale=1.0, seed=4)
    fit = fit_spectrum(few, fixed={"nH": 0.1})
    assert fit.statistic_name == "cash"
    assert fit.expected_counts.sum() == pytest.approx(300, rel=0.25)
    assert fit_spectrum(few, statistic="wstat").statistic_name == "wstat"


def test_bad_channels_are_out(draw):
    spectrum, _ = draw("powerlaw", 1.7, 0.3, 2000, mean=4.0)
    quality = np.zeros(spectrum.counts.size, dtype=np.int16)
    quality[[80, 120]] = 1, 5
    quality[300:] = 2  # what grouping tools leave over: channels like all others
    spectrum = dataclasses.replace(spectrum, grouping=np.where(np.arange(quality.size) % 2, -1, 1))
    hot = np.array(spectrum.counts)
    hot[[80, 120]] = 100_000
    clean = fit_spectrum(dataclasses.replace(spectrum, quality=quality))
    fit = fit_spectrum(dataclasses.replace(spectrum, counts=hot, quality=quality))
    assert fit.statistic == pytest.approx(clean.statistic)
    assert fit.num_bins == fit_spectrum(spectrum).num_bins - 2
    with pytest.raises(ValueError, match="marked as bad by QUALITY"):
        fit_spectrum(dataclasses.replace(spectrum, quality=np.ones_like(quality)))


def test_scales_may_differ_by_channel_and_backgrounds_be_real_numbers(draw):
    spectrum, _ = draw("powerlaw", 1.7, 0.3, 2000, mean=6.0)
    fit = fit_spectrum(spectrum)
    channels = spectrum.counts.size
    by_channel = dataclasses.replace(
        spectrum,
        area_scale=np.full(channels, 2.0),
        background_scale=np.full(channels, 0.1),
        background_counts=spectrum.background_counts.astype(float),
    )
    again = fit_spectrum(by_channel)
    assert again.statistic == pytest.approx(fit.statistic, abs=1e-3)
    assert again.parameters["norm"].value == pytest.approx(fit.parameters["norm"].value / 2, rel=1e-3)
    np.testing.assert_allclose(again.expected_counts, fit.expected_counts, atol=0.02)
    real = dataclasses.replace(spectrum, background_counts=spectrum.background_counts + 0.4)
    assert np.isfinite(fit_spectrum(real).statistic)
    scale = np.full(channels, 0.1)
    scale[::2] = 0.0  # the background region does not cover these
    for statistic in ("cash", "wstat"):
        partly = fit_spectrum(dataclasses.replace(spectrum, background_scale=scale), statistic=statistic)
        assert np.isfinite(partly.statistic)


def test_responses_with_zero_widths_and_negative_elements(draw):
    spectrum, _ = draw("powerlaw", 1.7, 0.3, 2000)
    response = spectrum.response
    fit = fit_spectrum(spectrum)
    dense = response.matrix.toarray()
    dense[50, 20:60] = -1e-4
    wide = dataclasses.replace(
        response,
        energy_lo=np.insert(response.energy_lo, 200, response.energy_lo[200]),
        energy_hi=np.insert(response.energy_hi, 200, response.energy_lo[200]),
        arf=np.insert(response.arf, 200, response.arf[200]),
        matrix=type(response.matrix)(np.insert(dense, 200, dense[200], axis=0)),
    )
    odd = fit_spectrum(dataclasses.replace(spectrum, response=wide))
    assert odd.photon_flux[200] == 0
    assert odd.statistic == pytest.approx(fit.statistic, abs=0.5)
    assert odd.parameters["PhoIndex"].value == pytest.approx(fit.parameters["PhoIndex"].value, abs=0.02)


def test_what_cannot_be_fitted_is_refused(draw, real_data):
    spectrum, _ = draw("powerlaw", 1.7, 0.3, 500)
    with pytest.raises(ValueError, match="has no response: no RMF"):
        fit_spectrum(read_spectrum(real_data / "spectra" / "g21.5_obs1838_noresp" / "source1.pi"))
    for options, message in (
        ({"model": "mekal"}, "unknown model 'mekal': powerlaw"),
        ({"absorption": "phabs"}, "unknown absorption 'phabs'"),
        ({"statistic": "chi2"}, "unknown statistic 'chi2': cash, wstat"),
        ({"statistic": "wstat"}, "has no background"),
        ({"energy": (100.0, 200.0)}, "no channel in 100-200 keV"),
        ({"energy": (7.0, 0.5)}, "must increase"),
        ({"energy": (0.5,)}, "two energies in keV"),
        ({"energy": None}, "two energies in keV"),
        ({"energy": (0.5, np.inf)}, "two energies in keV"),
        ({"absorption": np.ones(3)}, "unknown absorption"),
        ({"redshift": "0.3"}, "redshift '0.3': must be a number"),
        ({"fixed": ["nH"]}, "names with their values"),
        ({"fixed": {"nH": 2e20}}, r"nH 2e\+20: must be from 0 to 100 1e22 cm-2"),
        ({"fixed": {"nH": 3 * u.keV}}, "must be a number of 1e22 cm-2"),
        ({"distance": 3 * u.m**2}, "must be a length"),
        ({"fixed": {"Tin": 1.0}}, "no parameter 'Tin' to fix: PhoIndex, nH"),
        ({"fixed": {"nH": -0.1}}, "nH -0.1: must be from 0 to 100"),
        ({"confidence": 1.0}, "between 0 and 1"),
        ({"distance": -1.0}, "a length above 0"),
        ({"background_window": 0}, "at least 1 channel"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_spectrum(spectrum, **options)
    with pytest.raises(ValueError, match=r"has no counts in 0.5-7 keV"):
        fit_spectrum(dataclasses.replace(spectrum, counts=np.zeros_like(spectrum.counts)))


def test_a_spectrum_of_four_channels(ogip):
    ogip.arf(), ogip.rmf()
    spectrum = read_spectrum(ogip.pha(counts=(30, 20, 50, 10), ANCRFILE="source.arf", RESPFILE="source.rmf"))
    fit = fit_spectrum(spectrum, absorption=None)
    assert list(fit.parameters) == ["PhoIndex", "norm"]
    assert fit.num_bins <= 4
    assert np.isfinite(fit.statistic)


def test_flux_and_luminosity(draw):
    spectrum, norm = draw("powerlaw", 2.0, 0.3, 3000, seed=7)
    fit = fit_spectrum(spectrum, fixed={"PhoIndex": 2.0}, distance=2 * u.kpc)
    before = fit.flux(0.5, 7.0, absorbed=False)
    # int E^(1 - 2) dE = ln(7 / 0.5), in keV
    assert before.value == pytest.approx(fit.parameters["norm"].value * np.log(14) * 1.602176634e-9, rel=1e-4)
    assert before.low < norm * np.log(14) * 1.602176634e-9 < 1.1 * before.high
    # with the slope held, norm and unabsorbed flux are one quantity
    relative = fit.parameters["norm"].high / fit.parameters["norm"].value
    assert before.high / before.value == pytest.approx(relative, rel=2e-3)
    after = fit.flux(0.5, 7.0)
    assert after.value < before.value
    # 3000 counts leave an observed flux known to about 2 %, and to more where gas must be taken off
    assert 0.01 < (after.high - after.low) / after.value / 2 < 0.04
    luminosity = fit.luminosity(0.5, 7.0)
    assert luminosity.unit == "erg/s"
    assert luminosity.value == pytest.approx(4 * np.pi * (2 * 3.0857e21) ** 2 * before.value, rel=1e-4)
    with pytest.raises(ValueError, match="needs a distance"):
        fit_spectrum(spectrum).luminosity(2, 10)
    with pytest.raises(ValueError, match="must increase"):
        fit.flux(7, 0.5)
    with pytest.raises(ValueError, match="up to 1000 keV"):
        fit.flux(500, 7000)  # eV


def test_quantities_are_taken_in_their_own_units(draw):
    spectrum, _ = draw("apec", 1.0, 0.02, 500, seed=7)
    plain = fit_spectrum(spectrum, "apec", energy=(0.5, 5), fixed={"nH": 0.02, "kT": 1.0})
    given = {"nH": 2e20 / u.cm**2, "kt": (1 * u.keV).to(u.K, u.temperature_energy())}
    fit = fit_spectrum(spectrum, "apec", energy=(500, 5000) * u.eV, fixed=given)
    assert (fit.energy, fit.parameters["nH"].value) == ((0.5, 5.0), pytest.approx(0.02, rel=1e-12))
    assert fit.statistic == pytest.approx(plain.statistic, rel=1e-9)
    assert fit.flux(500 * u.eV, 2 * u.keV).value == pytest.approx(plain.flux(0.5, 2).value, rel=1e-9)


def test_a_redshift_gives_the_distance(draw):
    spectrum, _ = draw("bremsstrahlung", 5.0, 0.1, 3000, redshift=0.3, seed=8)
    fit = fit_spectrum(spectrum, "bremsstrahlung", redshift=0.3)
    kt = fit.parameters["kT"]
    assert abs(kt.value - 5.0) < 3 * (kt.high - kt.low) / 2
    flux = fit.flux(0.5 / 1.3, 2.0 / 1.3, absorbed=False).value
    # Planck18: 1602 Mpc at z 0.3
    assert fit.luminosity(0.5, 2.0).value == pytest.approx(4 * np.pi * (1602 * 3.0857e24) ** 2 * flux, rel=2e-3)


def test_goodness_tells_a_wrong_model(draw):
    spectrum, _ = draw("powerlaw", 1.7, 0.1, 3000, mean=4.0, seed=6)
    right = fit_spectrum(spectrum, "powerlaw")
    assert 0.02 < right.goodness(200) < 0.98
    assert right.goodness(50, seed=3) == right.goodness(50, seed=3)
    assert fit_spectrum(spectrum, "blackbody").goodness(200) > 0.99
    with pytest.raises(ValueError, match="at least 1"):
        right.goodness(0)


def test_what_a_fit_says(draw):
    spectrum, _ = draw("powerlaw", 1.7, 0.3, 1000, mean=4.0)
    fit = fit_spectrum(spectrum)
    lines = repr(fit).splitlines()
    assert lines[0] == "tbabs * powerlaw fitted to qso.pi.gz, 0.5-7 keV"
    assert [line.split()[0] for line in lines[1:]] == ["PhoIndex", "nH", "norm", "wstat"]
    facts = json.loads(json.dumps(fit.to_dict()))
    assert facts["parameters"]["PhoIndex"]["value"] == fit.parameters["phoindex"].value
    assert facts["statistic"] == fit.statistic
    with pytest.raises(KeyError, match="no parameter 'kT': PhoIndex, nH, norm"):
        fit.parameters["kT"]
    assert fit.photon_flux.shape == spectrum.response.energy_lo.shape
    assert fit.expected_background.shape == fit.expected_counts.shape == spectrum.counts.shape
    total = fit.expected_counts + fit.expected_background
    assert total.sum() == pytest.approx(spectrum.counts.sum(), rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("statistic", ["cash", "wstat"])
def test_intervals_hold_the_truth_in_two_of_three_and_goodness_is_uniform(draw, statistic):
    held, goodness, num_draws = [], [], 100
    for seed in range(num_draws):
        spectrum, norm = draw("powerlaw", 1.7, 0.4, 600, mean=8.0, scale=0.05, seed=seed)
        fit = fit_spectrum(spectrum, statistic=statistic)
        truth = {"PhoIndex": 1.7, "nH": 0.4, "norm": norm}
        held.append(
            [
                (fit.parameters[name].low or 0) <= value <= (fit.parameters[name].high or np.inf)
                for name, value in truth.items()
            ]
        )
        goodness.append(fit.goodness(50, seed=seed))
    coverage = np.mean(held, axis=0)
    assert (np.abs(coverage - 0.683) < 3 * np.sqrt(0.683 * 0.317 / num_draws)).all(), coverage
    assert abs(np.mean(goodness) - 0.5) < 3 * 0.289 / np.sqrt(num_draws), goodness
    assert 0.2 < np.std(goodness) < 0.37  # 0.289


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


@pytest.mark.parametrize("statistic", ["cash", "wstat"])
def test_the_best_norm_does_not_depend_on_where_the_search_begins(draw, statistic):
    from chandraclip.observation import fitting, likelihood

    made = []
    with pytest.MonkeyPatch.context() as patch:

        class Kept(likelihood.Likelihood):
            def __init__(self, *arguments):
                super().__init__(*arguments)
                made.append(self)

        patch.setattr(fitting, "Likelihood", Kept)
        fit_spectrum(draw("powerlaw", 1.7, 0.3, 300, mean=4.0, seed=6)[0], statistic=statistic)
    source = made[0].source(np.array([[1.7, 0.3]]))
    best = made[0].best_norm(source)[0]
    assert best > 0
    for start in (1e-30, 1e-6 * best, 0.3 * best, 3 * best, 1e30):
        assert made[0].best_norm(source, start)[0] == pytest.approx(best, rel=1e-8)


def test_a_dense_and_a_sparse_response_give_the_same_fit(draw, monkeypatch):
    spectrum, _ = draw("powerlaw", 1.7, 0.3, 800, mean=4.0, seed=7)
    found = []
    for share in (0.0, 1.0):
        monkeypatch.setattr("chandraclip.observation.likelihood.DENSE_SHARE", share)
        found.append(fit_spectrum(spectrum))
    assert found[0].statistic == pytest.approx(found[1].statistic, abs=1e-6)
    for name, parameter in found[0].parameters.items():
        assert parameter.value == pytest.approx(found[1].parameters[name].value, rel=1e-3)
