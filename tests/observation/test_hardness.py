"""Hardness ratios of a spectrum and of photons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import chandraclip.observation as observation
from chandraclip.catalog.measure import measure_catalog
from chandraclip.catalog.ragged import Ragged
from chandraclip.data.rows import detection_columns


def test_hardness_of_a_spectrum_is_the_catalogues(real_data: Path):
    folder = real_data / "spectra" / "csc_acisf04938_000N002_r0043"
    source = observation.open(next(folder.glob("*pha3*")))
    found = source.hardness()
    row = detection_columns(source.spectrum)
    columns = {
        name: Ragged.from_rows([value]) if isinstance(value, np.ndarray) else [value]
        for name, value in row.items()
        if value is not None
    }
    columns |= {name: np.array(columns[name]) for name in ("exposure", "background_scale")}
    response = source.spectrum.response
    measured = measure_catalog(columns, {response.response_id: response})
    for name in ("hm", "hs", "ms"):
        ratio = getattr(found, name)
        assert ratio.value == pytest.approx(measured[f"hard_{name}"][0], abs=1e-6)
        assert ratio.low < ratio.value < ratio.high
    # What CSC 2 gives for this detection, 2CXO J231929.4+003557.
    np.testing.assert_allclose([found.hm.value, found.hs.value, found.ms.value], [-0.071, -0.369, -0.305], atol=0.03)
    assert found.quantity == "photon flux"
    assert found.counts.sum() == 561 + 549 + 498


def test_hardness_leaves_bad_channels_out(ogip):
    ogip.arf(), ogip.rmf()
    quality = [fits.Column("QUALITY", "I", array=[0, 0, 1, 0])]
    good, bad = (
        observation.open(
            ogip.pha(
                f"{len(extra)}.pi", counts=(3, 40, 500, 7), extra=extra, ANCRFILE="source.arf", RESPFILE="source.rmf"
            )
        ).hardness()
        for extra in ([], quality)
    )
    assert good.counts.tolist() == [3, 40, 507]
    assert bad.counts.tolist() == [3, 40, 7]
    assert bad.hm.value < good.hm.value


def test_hardness_of_photons(ogip):
    energy = [fits.Column("ENERGY", "E", unit="eV", array=[700.0, 800, 1500, 3000, 4000, 5000, 9000])]
    events = ogip.events(time=np.linspace(11, 29, 7), columns=energy)
    found = observation.open(events).hardness()
    assert found.counts.tolist() == [2, 1, 3]
    assert (found.quantity, found.origin) == ("counts", "events")
    assert found.hs.value == pytest.approx(0.2, abs=0.02)  # mode of flat priors: (3 - 2) / (3 + 2)
    ogip.arf(), ogip.rmf()
    both = observation.open(ogip.pha(ANCRFILE="source.arf", RESPFILE="source.rmf"), events)
    assert both.hardness().origin == "spectrum"
    flux = both.hardness("events")
    assert flux.quantity == "photon flux"
    assert flux.hs.value > found.hs.value  # 50 cm2 in the hard band, 100 and more in the soft one
    with pytest.raises(ValueError, match="origin"):
        both.hardness("photons")
    assert np.isnan(observation.open(ogip.events("none.fits", time=(11.0,))).hardness().hs.value)
