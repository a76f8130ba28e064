"""Sherpa and Stingray are given the same numbers: counts, scales, fold, times and light curves."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

import chandraclip
from chandraclip.errors import InputFileError, OptionError
from chandraclip.observation.handover import to_sherpa, to_stingray
from chandraclip.ogip import read_events, read_spectrum


@pytest.fixture(scope="module")
def flare():
    return chandraclip.open(chandraclip.sample())


def assert_sherpa_has(data, spectrum) -> None:
    turn = slice(None, None, -1) if spectrum.channel[0] > spectrum.channel[-1] else slice(None)
    np.testing.assert_array_equal(data.channel, spectrum.channel[turn])
    np.testing.assert_array_equal(data.counts, spectrum.counts[turn])
    assert data.exposure == spectrum.exposure
    assert not data.grouped
    for name in ("grouping", "quality"):
        flags = getattr(spectrum, name)
        if flags is not None and (name == "quality" or turn.step is None):
            np.testing.assert_array_equal(getattr(data, name), flags[turn])
    if spectrum.background_counts is not None:
        np.testing.assert_array_equal(data.get_background().counts, spectrum.background_counts[turn])
        scale = data.get_background_scale() * np.ones(spectrum.counts.size)
        expected = (spectrum.background_scale * np.ones(spectrum.counts.size))[turn]
        np.testing.assert_allclose(scale, expected, rtol=1e-14)
    if spectrum.response is not None:
        flux = np.random.default_rng(0).random(spectrum.response.arf.size)
        folded = data.get_rmf().apply_rmf(data.get_arf().apply_arf(flux))
        np.testing.assert_allclose(folded, spectrum.response.fold(flux)[turn], rtol=1e-12, atol=1e-300)


def test_every_real_spectrum_is_the_same_in_sherpa(real_data):
    pytest.importorskip("sherpa.astro.data")
    number = 0
    for path in sorted((real_data / "spectra").rglob("*")):
        if not path.is_file():
            continue
        try:
            spectrum = read_spectrum(path)
        except InputFileError:
            continue
        assert_sherpa_has(to_sherpa(spectrum), spectrum)
        number += spectrum.response is not None
    assert number >= 20


def test_a_grating_spectrum_counts_as_the_detector(ogip):
    pytest.importorskip("sherpa.astro.data")
    ogip.arf(), ogip.rmf(descending=True)
    path = ogip.pha(ANCRFILE="source.arf", RESPFILE="source.rmf", counts=(30, 20, 50, 10))
    spectrum = read_spectrum(path)
    assert spectrum.channel[0] == 4
    data = to_sherpa(spectrum)
    np.testing.assert_array_equal(data.counts, [30, 20, 50, 10])
    assert_sherpa_has(data, spectrum)


def test_sherpa_fits_what_it_is_given(flare):
    """The statistic of a model is that of the counts and the folded model."""
    ui = pytest.importorskip("sherpa.astro.ui")
    data = flare.to_sherpa()
    assert_sherpa_has(data, flare.spectrum)
    ui.clean()
    ui.set_data(1, data)
    ui.set_analysis("energy")
    ui.notice(0.5, 7.0)
    ui.set_source(ui.powlaw1d.p1)
    ui.set_stat("cash")
    spectrum, response = flare.spectrum, flare.spectrum.response
    p1 = ui.get_model_component("p1")
    p1.gamma, p1.ampl = 1.5, 2e-5
    low, high = response.energy_lo.astype(float), response.energy_hi.astype(float)
    flux = 2e-5 * (low**-0.5 - high**-0.5) / 0.5
    expected = spectrum.expected_counts(flux)[data.mask]
    counts = spectrum.counts[data.mask]
    assert 400 < counts.size < 500
    assert ui.calc_stat() == pytest.approx(2 * float((expected - counts * np.log(expected)).sum()), rel=1e-9)


def test_stingray_has_the_same_photons(flare):
    pytest.importorskip("stingray")
    events = flare.events
    given = flare.to_stingray()
    np.testing.assert_array_equal(given.time - events.tstart, events.time)
    np.testing.assert_array_equal(given.energy, events.energy)
    np.testing.assert_array_equal(given.gti - events.tstart, events.gti)
    assert (given.mjdref, given.mission, given.instr) == (50814.0, "chandra", "acis")


@pytest.mark.parametrize("width", [500.0, 3000.0])
def test_stingray_has_the_same_light_curve(flare, width):
    pytest.importorskip("stingray")
    curve = flare.to_stingray(width)
    start = curve.time - width / 2 - flare.events.tstart
    stop = start + width
    expected = np.histogram(flare.events.time, np.append(start, stop[-1]))[0]
    np.testing.assert_array_equal(curve.counts, expected)
    assert curve.counts.sum() == len(flare.events)
    np.testing.assert_array_equal(curve.gti - flare.events.tstart, flare.events.gti)
    whole = np.any((start[:, None] >= flare.events.gti[:, 0]) & (stop[:, None] <= flare.events.gti[:, 1]), axis=1)
    mine = flare.light_curve(width)
    np.testing.assert_array_equal(mine.counts[: curve.n], expected)
    curve.apply_gtis()
    np.testing.assert_array_equal(curve.counts, expected[whole])  # what Stingray keeps: bins that are good throughout
    assert curve.counts.max() > 2 * np.median(curve.counts)  # the flare


def test_stingray_reads_what_is_written(flare, tmp_path):
    stingray = pytest.importorskip("stingray")
    path = flare.to_ogip(tmp_path)["events"]
    read = stingray.EventList.read(str(path), fmt="hea")
    np.testing.assert_allclose(np.asarray(read.time, float) - flare.events.tstart, flare.events.time, atol=1e-6)
    np.testing.assert_allclose(np.asarray(read.gti, float) - flare.events.tstart, flare.events.gti, atol=1e-6)


def test_real_lists_are_the_same_in_stingray(real_data):
    pytest.importorskip("stingray")
    number = 0
    for path in sorted((real_data / "events").rglob("*")):
        if path.suffix not in (".evt", ".fits"):
            continue
        try:
            events = read_events(path)
        except InputFileError:
            continue
        given = to_stingray(events)
        np.testing.assert_array_equal(given.time - events.tstart, events.time)
        np.testing.assert_array_equal(given.gti - events.tstart, events.gti)
        number += 1
    assert number >= 4


@pytest.mark.parametrize("method, extra", [("to_sherpa", "sherpa"), ("to_stingray", "stingray")])
def test_a_package_that_is_not_there_is_named(flare, monkeypatch, method, extra):
    for name in [name for name in sys.modules if name.split(".")[0] == extra]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, extra, None)
    with pytest.raises(OptionError, match=rf"{extra} is not installed: pip install 'chandraclip\[{extra}\]'"):
        getattr(flare, method)()


def test_what_an_observation_lacks_cannot_be_handed_over(flare):
    with pytest.raises(ValueError, match="to_sherpa needs a spectrum"):
        dataclasses.replace(flare, spectrum=None).to_sherpa()
    with pytest.raises(ValueError, match="to_stingray needs events"):
        dataclasses.replace(flare, events=None).to_stingray()
    pytest.importorskip("stingray")
    with pytest.raises(ValueError, match="bin is 0 s"):
        flare.to_stingray(0)
