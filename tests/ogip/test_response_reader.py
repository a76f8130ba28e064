from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import scipy.sparse as sparse

from chandraclip.errors import InputFileError
from chandraclip.ogip import read_response
from chandraclip.ogip.response import Response
from chandraclip.ogip.response_reader import read_arf, read_rmf


@pytest.mark.parametrize("layout", ["variable", "wide", "fixed"])
@pytest.mark.parametrize("first", [0, 1, 5])
def test_matrix_and_folding_against_the_dense_product(ogip, layout, first):
    response = read_response(ogip.arf(), ogip.rmf(layout=layout, first=first))
    np.testing.assert_array_equal(response.matrix.toarray(), ogip.MATRIX)
    assert response.first_channel == first
    flux = np.random.default_rng(0).random((5, 3))
    np.testing.assert_allclose(response.fold(flux), flux @ (ogip.AREA[:, None] * ogip.MATRIX), rtol=1e-15)
    np.testing.assert_allclose(response.channel_energy_edges, [0.4, 0.9, 1.8, 3.0, 5.0], rtol=1e-6)


@pytest.mark.parametrize("name", ["MATRIX", "SPECRESP MATRIX", "RSP_MATRIX"])
def test_the_three_names_of_the_matrix_without_hduclas(ogip, name):
    rmf = ogip.rmf(extname=name, HDUCLAS1=None, HDUCLAS2=None, HDUCLAS3=None)
    np.testing.assert_array_equal(read_rmf(rmf).matrix.toarray(), ogip.MATRIX)


def test_hduclas_goes_before_the_name(ogip):
    np.testing.assert_array_equal(read_rmf(ogip.rmf(extname="WHATEVER")).matrix.toarray(), ogip.MATRIX)


@pytest.mark.parametrize("first", [0, 1])
def test_without_tlmin_ebounds_tells_the_first_channel(ogip, first):
    assert read_rmf(ogip.rmf(first=first, tlmin=False)).first_channel == first


def test_channels_that_run_down_in_energy_are_turned_round(ogip):
    response = read_response(ogip.arf(), ogip.rmf(descending=True))
    assert (np.diff(response.channel_energy_lo) > 0).all()
    np.testing.assert_array_equal(response.matrix.toarray(), ogip.MATRIX[:, ::-1])


def test_a_full_matrix_needs_no_arf_and_refuses_one(ogip):
    rmf = ogip.rmf(scale=200.0, extname="SPECRESP MATRIX", HDUCLAS3="FULL")
    response = read_response(None, rmf)
    flux = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(response.fold(flux), flux @ (200.0 * ogip.MATRIX), rtol=1e-6)
    sums = np.asarray(response.matrix.sum(axis=1)).ravel()
    np.testing.assert_allclose(sums, [1.0, 0.0, 1.0])
    with pytest.raises(InputFileError, match="twice"):
        read_response(ogip.arf(), rmf)


def test_a_normalised_matrix_named_specresp_takes_its_arf(ogip):
    rmf = ogip.rmf(extname="SPECRESP MATRIX", HDUCLAS3="FULL")  # as written on some ACIS matrices
    response = read_response(ogip.arf(), rmf)
    np.testing.assert_allclose(response.arf, ogip.AREA)


def test_a_redistribution_without_an_arf_is_refused(ogip):
    with pytest.raises(InputFileError, match="ARF is needed"):
        read_response(None, ogip.rmf())


def test_different_energy_grids_are_refused(ogip):
    with pytest.raises(InputFileError, match="energies differ") as caught:
        read_response(ogip.arf(energy=[0.5, 1.2, 2.0, 4.0]), ogip.rmf())
    assert caught.value.extension == "SPECRESP"
    with pytest.raises(InputFileError, match="2 energy bins"):
        read_response(ogip.arf(energy=[0.5, 1.0, 2.0], area=[1.0, 2.0]), ogip.rmf())


def test_what_is_no_response_is_named(ogip):
    with pytest.raises(InputFileError, match=r"no response matrix.*SPECRESP"):
        read_rmf(ogip.arf())
    with pytest.raises(InputFileError, match="no effective area"):
        read_arf(ogip.rmf())
    with pytest.raises(InputFileError, match="SPECRESP is negative or not a number"):
        read_arf(ogip.arf(area=[1.0, np.nan, 2.0]))
    with pytest.raises(InputFileError, match="channel group"):
        read_rmf(ogip.rmf(first=1, TLMIN4=2))


def test_energies_in_ev(ogip):
    arf = ogip.arf(energy=1000 * ogip.ENERGY, unit="eV")
    np.testing.assert_allclose(read_response(arf, ogip.rmf()).energy_lo, ogip.ENERGY[:-1])


def test_real_matrices_equal_a_loop_over_rows(real_data, repository):
    """Every layout among the real files: variable rows, 18 and 31 fixed groups, TLMIN 0 and 1, three names."""
    spec = importlib.util.spec_from_file_location("read_spectra", repository / "benchmarks" / "read_spectra.py")
    benchmark = importlib.util.module_from_spec(spec)
    sys.modules["read_spectra"] = benchmark  # dataclasses look their module up
    spec.loader.exec_module(benchmark)
    for name in ("gcs25_obs2278", "csc_acisf07867_000N001_r0002", "m33_obs1730", "cdfs4Ms_179"):
        pairs = benchmark.complete_sets(real_data / "spectra" / name)
        assert len(pairs) == 1
        assert all(benchmark.same(files, ours, benchmark.loop_read(files)) for files, ours in pairs)


def test_an_unknown_energy_unit_is_refused(ogip):
    with pytest.raises(InputFileError, match="ENERG_LO is in 'Angstrom'"):
        read_arf(ogip.arf(unit="Angstrom"))


def test_the_id_of_a_response_stays_what_it_was():
    """Datasets are joined by it, old ones too."""
    matrix = sparse.csr_array(np.array([[0.0, 0.25, 0.75], [0.5, 0.5, 0.0]]))
    edges, channels = np.array([0.5, 1.0, 2.0]), np.array([0.1, 0.5, 1.0, 2.0])
    response = Response(edges[:-1], edges[1:], np.ones(2), matrix, channels[:-1], channels[1:])
    assert response.response_id == "a318d2637beeb02b"
