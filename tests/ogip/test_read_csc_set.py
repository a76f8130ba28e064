"""Whole CSC sets: the photons of the list are those of the spectrum, and Sherpa reads the same."""

from __future__ import annotations

import importlib.util
import sys
import zlib

import numpy as np
import pytest

from chandraclip.errors import InputFileError
from chandraclip.ogip import fits as fits_module
from chandraclip.ogip.fits import FitsFile


@pytest.fixture
def benchmark(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    spec = importlib.util.spec_from_file_location("read_csc_set", repository / "benchmarks" / "read_csc_set.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "read_csc_set", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["csc_acisf01575_001N001_r0085", "csc_acisf07867_000N001_r0002"])
def test_a_csc_set(benchmark, real_data, tmp_path, name):
    (item,) = benchmark.make_sets(real_data / "spectra" / name, tmp_path)
    spectrum, events = benchmark.our_read(item)
    channel = np.round(events.energy / 14.6e-3 + 0.5).astype(int)
    np.testing.assert_array_equal(np.bincount(channel, minlength=1025)[spectrum.channel], spectrum.counts)
    assert len(FitsFile(item.events).tables[0].column("TIME")) == 2 * spectrum.counts.sum()
    pytest.importorskip("sherpa")
    assert benchmark.agree(item)


def test_unpacking_without_the_quick_library_is_the_same(real_data, tmp_path, monkeypatch):
    path = next((real_data / "spectra" / "csc_acisf01575_001N001_r0085").glob("*arf3*"))
    quick = FitsFile(path).content
    cut = tmp_path / "cut.fits.gz"
    cut.write_bytes(path.read_bytes()[:-700])
    damaged = tmp_path / "damaged.fits.gz"
    damaged.write_bytes(path.read_bytes()[:9000] + b"\xff" * 99 + path.read_bytes()[9099:])
    for module in (fits_module.inflate, zlib):
        monkeypatch.setattr(fits_module, "inflate", module)
        assert FitsFile(path).content == quick
        for bad in (cut, damaged):
            with pytest.raises(InputFileError, match="gzip stream is cut off or damaged"):
                FitsFile(bad)
