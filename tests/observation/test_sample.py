"""The sample that ships: small, whole, and what scripts/make_sample.py makes."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

import chandraclip
from chandraclip.ogip import read_events, read_spectrum
from chandraclip.ogip.region_reader import read_region


@pytest.fixture(scope="module")
def flare():
    return chandraclip.open(chandraclip.sample())


def test_one_path_opens_all_of_it(flare):
    assert set(flare.files) == {"spectrum", "background", "arf", "rmf", "events", "region"}
    assert flare.spectrum.response is not None
    assert 800 <= flare.spectrum.counts.sum() <= 2000
    assert len(flare.events.gti) >= 3


def test_the_photons_in_the_region_are_those_of_the_spectrum(flare):
    channel = np.floor(flare.events.energy.astype(float) / 0.0146).astype(int)
    np.testing.assert_array_equal(np.bincount(channel, minlength=1024), flare.spectrum.counts)
    box = read_events(flare.files["events"])
    assert len(box) > len(flare.events) + 100
    assert box.exposure == flare.spectrum.exposure == flare.events.exposure


def test_the_source_flares(flare):
    rate = flare.light_curve(3000.0).rate
    assert np.nanmax(rate) > 2 * np.nanmedian(rate)
    assert flare.variability().var_prob > 0.99


def test_it_is_small():
    assert sum(path.stat().st_size for path in chandraclip.sample().parent.glob("*.gz")) < 300_000


def test_it_is_what_the_script_makes(repository, flare, tmp_path):
    spec = importlib.util.spec_from_file_location("make_sample", repository / "scripts" / "make_sample.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main(["--output", str(tmp_path)])
    shipped = {path.name: path for path in chandraclip.sample().parent.glob("*.gz")}
    assert {path.name for path in tmp_path.iterdir()} == set(shipped)
    made, spectrum = read_spectrum(tmp_path / "flare_pha.fits.gz"), flare.spectrum
    for name in ("counts", "channel", "background_counts"):
        np.testing.assert_array_equal(getattr(made, name), getattr(spectrum, name))
    assert (made.exposure, made.background_scale) == (spectrum.exposure, spectrum.background_scale)
    np.testing.assert_allclose(made.response.arf, spectrum.response.arf, rtol=1e-6)
    np.testing.assert_allclose(made.response.matrix.toarray(), spectrum.response.matrix.toarray(), rtol=1e-5, atol=1e-9)
    mine, theirs = read_events(tmp_path / "flare_evt.fits.gz"), read_events(shipped["flare_evt.fits.gz"])
    for name in ("time", "energy", "gti", "x", "y"):
        np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), rtol=1e-6, atol=1e-5)
    assert mine.tstart == theirs.tstart
    regions = [read_region(place / "flare_reg.fits.gz").components for place in (tmp_path, chandraclip.sample().parent)]
    assert regions[0] == regions[1]


def test_it_opens_without_torch():
    code = """
import sys
from chandraclip.observation import open
from chandraclip.observation.sample import sample
open(sample())
assert not {"torch", "transformers", "datasets", "matplotlib"} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
