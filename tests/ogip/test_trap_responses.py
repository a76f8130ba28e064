"""Responses as missions really write them (CAL/GEN/92-002 and 92-002a): cases from bug reports and the standard."""

from __future__ import annotations

import io
import logging

import numpy as np
import pytest
from astropy.io import fits

from chandraclip.errors import InputFileError
from chandraclip.ogip import read_response, read_spectrum
from chandraclip.ogip.response_reader import read_arf, read_rmf
from chandraclip.simulate.emission.incident import photon_flux
from chandraclip.simulate.instrument.photons import draw_channels


def tables_of(path):
    """The tables of a file, from memory: astropy reads the heap of a variable column late."""
    return list(fits.open(io.BytesIO(path.read_bytes())))[1:]


def changed(path, **columns):
    """The file with values of its columns replaced."""
    with fits.open(path, mode="update", memmap=False) as hdus:
        for table in hdus[1:]:
            for name, values in columns.items():
                if name in table.columns.names:
                    table.data[name] = np.asarray(values)
    return path


def matrices(path, *tables):
    """An RMF file of several MATRIX tables and the EBOUNDS of `path`."""
    bounds = tables_of(path)[1]
    for version, table in enumerate(tables, start=1):
        table.header["EXTVER"] = version
    fits.HDUList([fits.PrimaryHDU(), *tables, bounds]).writeto(path, overwrite=True)
    return path


def matrix_of(path):
    return tables_of(path)[0]


def test_two_matrices_add_up(traps):
    spectrum = read_spectrum(traps / "S05_two_matrices" / "a.pi")
    expected = [[0.75, 0.25, 0, 0], [0, 0.5, 0.5, 0], [0.5, 0, 0.25, 0.25]]
    np.testing.assert_allclose(spectrum.response.matrix.toarray(), expected, rtol=1e-6)
    assert any("the sum of its 2 matrices" in note for note in spectrum.notes)


@pytest.mark.parametrize("hduclas", [{}, {"HDUCLAS1": None, "HDUCLAS2": None}])
def test_three_matrices_in_other_layouts_add_up(ogip, hduclas):
    parts = [
        matrix_of(ogip.rmf("part.rmf", scale=scale, layout=layout, **hduclas))
        for scale, layout in ((0.5, "variable"), (0.25, "fixed"), (0.125, "wide"))
    ]
    rmf = read_rmf(matrices(ogip.rmf(), *parts))
    np.testing.assert_allclose(rmf.matrix.toarray(), 0.875 * ogip.MATRIX)
    one = read_rmf(ogip.folder / "source.rmf", extension="MATRIX,2")
    np.testing.assert_allclose(one.matrix.toarray(), 0.25 * ogip.MATRIX)


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"TSTART": 100.0}, "TSTART is 100.0"),  # a Fermi GBM rsp2: one matrix an interval
        ({"TG_M": 1}, "TG_M is 1"),
        ({"HDUCLAS3": "FULL"}, "HDUCLAS3 is 'FULL'"),
        ({"first": 0}, "TLMIN of F_CHAN differs"),
    ],
)
def test_matrices_of_several_responses_are_refused(ogip, options, reason):
    first = matrix_of(ogip.rmf(TSTART=0.0, TG_M=-1))
    with pytest.raises(InputFileError, match=reason):
        read_rmf(matrices(ogip.rmf(), first, matrix_of(ogip.rmf("b.rmf", **options))))


def test_matrices_on_two_grids_are_refused(ogip):
    other = changed(ogip.rmf("b.rmf"), ENERG_LO=[0.5, 1.5, 2.0], ENERG_HI=[1.5, 2.0, 4.0])
    with pytest.raises(InputFileError, match=r"its energy grid is not that of MATRIX,1"):
        read_rmf(matrices(ogip.rmf(), matrix_of(ogip.rmf()), matrix_of(other)))


def test_negative_elements_are_used_and_said(traps, caplog):
    with caplog.at_level(logging.WARNING):
        spectrum = read_spectrum(traps / "S06_negative_elements" / "a.pi")
    assert spectrum.response.matrix[0, 3] == pytest.approx(-1e-4)
    assert any("1 elements are negative, to -0.0001" in note for note in spectrum.notes)
    assert "negative" in caplog.text
    flux = np.array([1.0, 0.0, 0.0])
    assert spectrum.response.fold(flux)[3] == pytest.approx(-0.01)
    # Photons drawn through it never land in a negative element, nor are others moved.
    drawn = draw_channels(np.random.default_rng(0), spectrum.response, np.full(4000, 0.75))
    assert (np.bincount(drawn, minlength=4) > 0).tolist() == [True, True, False, False]


def test_a_full_matrix_whose_row_is_negative_folds_as_it_says(ogip):
    matrix = np.array([[300.0, 100.0, -1.0, 0.0], [1.0, -3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    rmf = ogip.rmf(layout="fixed", HDUCLAS3="FULL")
    rmf = changed(rmf, N_GRP=[1, 1, 1], F_CHAN=[[1, 0]] * 3, N_CHAN=[[4, 0]] * 3, MATRIX=matrix)
    response = read_response(None, rmf)
    assert (response.arf >= 0).all()
    flux = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(response.fold(flux), flux @ matrix)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_elements_that_are_no_numbers_are_refused(ogip, value):
    rmf = changed(ogip.rmf(layout="fixed"), MATRIX=[[0.75, 0.25, 0, 0], [0] * 4, [0.5, 0.25, value, 0]])
    with pytest.raises(InputFileError, match="MATRIX is not a number in row 3") as caught:
        read_rmf(rmf)
    assert caught.value.extension == "MATRIX,1"


def test_a_bin_of_no_width_has_no_flux(traps):
    response = read_spectrum(traps / "S07_zero_width_energy_bin" / "a.pi").response
    assert response.energy_lo.size == 4
    flux = 1e-3 * (response.energy_hi - response.energy_lo)
    np.testing.assert_allclose(response.fold(flux), flux @ (response.arf[:, None] * response.matrix.toarray()))
    # Shares of a band, where widths divide.
    assert photon_flux(flux, response.energy_lo, response.energy_hi, (0.5, 4.0)) == pytest.approx(3.5e-3)


@pytest.mark.parametrize(
    "low, high, reason",
    [
        ([0.5, 1.0, 1.0], [1.0, 1.0, 2.0], None),
        ([0.5, 0.5, 1.0], [0.5, 1.0, 2.0], None),
        ([2.0, 1.0, 1.0], [4.0, 2.0, 1.0], None),  # rows run down
        ([0.5, 1.0, 3.0], [1.0, 2.0, 4.0], None),  # a gap
        ([0.5, 0.8, 2.0], [1.0, 2.0, 4.0], "overlap: 0.5-1 and 0.8-2 keV"),
        ([0.5, 1.0, 0.8], [1.0, 2.0, 3.0], "not monotonic"),
        ([1.0, 2.0, 4.0], [0.5, 1.0, 2.0], "not monotonic"),  # LO and HI exchanged
        ([0.5, 1.0, np.nan], [1.0, 2.0, 4.0], "negative or not numbers"),
        ([-0.5, 1.0, 2.0], [1.0, 2.0, 4.0], "negative or not numbers"),
    ],
)
def test_energy_bins(ogip, low, high, reason):
    rmf = changed(ogip.rmf(), ENERG_LO=low, ENERG_HI=high)
    if reason is None:
        assert read_rmf(rmf).energy_lo.size == 3
        assert (np.diff(read_rmf(rmf).energy_lo) >= 0).all()
    else:
        with pytest.raises(InputFileError, match=reason):
            read_rmf(rmf)


def test_first_edges_that_differ(traps):
    response = read_spectrum(traps / "S08_first_edge_differs" / "a.pi").response
    np.testing.assert_allclose(response.arf, [100, 300, 50])
    np.testing.assert_allclose(response.energy_lo, [0.05, 0.051, 1.0], rtol=1e-6)  # both files have it from 0.05


@pytest.mark.parametrize(
    "arf, area, rmf, expected",
    [
        ([0.0, 1.0, 2.0, 4.0], [5, 5, 5], [0.001, 1.0, 2.0, 4.0], [0.001, 1.0, 2.0, 4.0]),
        ([0.5, 1.0, 2.0, 5.0], [5, 5, 5], [0.5, 1.0, 2.0, 4.0], [0.5, 1.0, 2.0, 4.0]),
        ([0.5, 0.7, 2.0, 4.0], [0, 0, 5], [0.5, 1.0, 2.0, 4.0], [0.5, 1.0, 2.0, 4.0]),  # no area there
        ([0.5, 0.7, 2.0, 4.0], [0, 5, 5], [0.5, 1.0, 2.0, 4.0], None),
        ([2.5, 3.0, 3.5, 4.0], [5, 5, 5], [0.5, 1.0, 2.0, 4.0], None),
    ],
)
def test_grids_agree_where_the_area_is(ogip, arf, area, rmf, expected):
    arf = ogip.arf(energy=arf, area=np.array(area, float))
    rmf = changed(ogip.rmf(), ENERG_LO=rmf[:-1], ENERG_HI=rmf[1:])
    if expected is None:
        with pytest.raises(InputFileError, match="energies differ"):
            read_response(arf, rmf)
    else:
        response = read_response(arf, rmf)
        np.testing.assert_allclose(np.append(response.energy_lo, response.energy_hi[-1]), expected, rtol=1e-6)


def test_a_group_past_ebounds_is_refused(traps):
    with pytest.raises(InputFileError, match=r"row 3 has channels 1 to 5") as caught:
        read_spectrum(traps / "S09_group_beyond_ebounds" / "a.pi")
    assert caught.value.extension == "MATRIX,1"


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"N_GRP": [3, 0, 2]}, "column F_CHAN has 2 values in row 1, 3 are needed"),
        ({"N_GRP": [-1, 0, 2]}, "N_GRP is negative"),
        ({"N_CHAN": [[2, 0], [0, 0], [1, 9]]}, "row 3 has channels 3 to 11"),
        ({"N_CHAN": [[-2, 0], [0, 0], [1, 2]]}, "N_CHAN is negative"),
        ({"F_CHAN": [[0, 0], [0, 0], [1, 3]]}, "row 1 has channels 0 to 1"),
        ({"CHANNEL": [1, 2, 4, 5]}, "repeats a channel or leaves one out"),
        ({"CHANNEL": [1, 2, 2, 3]}, "repeats a channel or leaves one out"),
        ({"E_MIN": [0.4, np.nan, 1.8, 3.0]}, "E_MIN is not monotonic or not a number"),
    ],
)
def test_damaged_groups_and_channels_are_refused(ogip, changes, reason):
    with pytest.raises(InputFileError, match=reason):
        read_rmf(changed(ogip.rmf(layout="fixed"), **changes))


def test_ebounds_out_of_order_is_sorted_by_channel(ogip):
    rmf = changed(ogip.rmf(), CHANNEL=[2, 1, 3, 4], E_MIN=[0.9, 0.4, 1.8, 3.0], E_MAX=[1.8, 0.9, 3.0, 5.0])
    np.testing.assert_allclose(read_rmf(rmf).channel_energy_lo, [0.4, 0.9, 1.8, 3.0])
    np.testing.assert_array_equal(read_rmf(rmf).matrix.toarray(), ogip.MATRIX)


@pytest.mark.parametrize("value", ["one", "1", True, 1.5])
def test_a_first_channel_that_is_no_number_is_refused(ogip, value):
    with pytest.raises(InputFileError, match=r"TLMIN4 is .* not a channel number"):
        read_rmf(ogip.rmf(TLMIN4=value))


def test_a_first_channel_as_a_real_number(ogip):
    assert read_rmf(ogip.rmf(TLMIN4=1.0)).first_channel == 1


def test_two_ebounds(ogip):
    matrix, bounds = tables_of(ogip.rmf())
    ogip.write("twice.rmf", matrix, bounds, bounds.copy())
    np.testing.assert_array_equal(read_rmf(ogip.folder / "twice.rmf").matrix.toarray(), ogip.MATRIX)
    other = bounds.copy()
    other.data["E_MIN"] *= 1.5
    other.data["E_MAX"] *= 1.5
    with pytest.raises(InputFileError, match="other energies than EBOUNDS,2"):
        read_rmf(ogip.write("two.rmf", matrix, bounds, other))
    with pytest.raises(InputFileError, match="no EBOUNDS"):
        read_rmf(ogip.write("without.rmf", matrix))


@pytest.mark.parametrize(
    "unit, factor", [("eV", 1e3), ("EV", 1e3), ("MeV", 1e-3), ("keV", 1.0), ("KeV ", 1.0), ("", 1)]
)
def test_units_of_ebounds(ogip, unit, factor):
    edges = np.array([0.4, 0.9, 1.8, 3.0, 5.0])
    path = changed(ogip.rmf(), E_MIN=edges[:-1] * factor, E_MAX=edges[1:] * factor)
    for number in (2, 3):
        fits.setval(path, f"TUNIT{number}", value=unit, ext=2)
    np.testing.assert_allclose(read_rmf(path).channel_energy_lo, edges[:-1], rtol=1e-6)


def test_energies_that_have_no_unit_and_look_like_ev_are_refused(ogip):
    with pytest.raises(InputFileError, match="keV and eV cannot be told apart"):
        read_arf(ogip.arf(energy=1000 * ogip.ENERGY, unit=None))


def test_columns_of_another_kind_are_refused(ogip):
    matrix, bounds = tables_of(ogip.rmf(layout="fixed"))
    for name, column in (
        ("N_GRP", fits.Column("N_GRP", "3A", array=["one", "0", "2"])),
        ("F_CHAN", fits.Column("F_CHAN", "2E", array=[[1.5, 0], [0, 0], [1, 3]])),
        ("ENERG_LO", fits.Column("ENERG_LO", "3A", array=["a", "b", "c"])),
    ):
        columns = [column if old.name == name else old for old in matrix.columns]
        facts = {key: matrix.header[key] for key in ("HDUCLAS1", "HDUCLAS2", "TLMIN4")}
        with pytest.raises(InputFileError, match=name):
            read_rmf(ogip.write("odd.rmf", ogip.table("MATRIX", columns, **facts), bounds))


def test_several_effective_areas_need_a_choice(ogip):
    with fits.open(ogip.arf()) as one, fits.open(ogip.arf("b.arf", area=[1.0, 2.0, 3.0])) as other:
        second = other[1].copy()
        second.header["EXTVER"] = 2
        path = ogip.write("two.arf", one[1].copy(), second)
    with pytest.raises(InputFileError, match="2 effective areas"):
        read_arf(path)
    np.testing.assert_allclose(read_arf(path, extension="SPECRESP,2").area, [1, 2, 3])
    np.testing.assert_allclose(read_arf(path, extension="1").area, ogip.AREA)
    ogip.rmf()
    spectrum = read_spectrum(ogip.pha(ANCRFILE="two.arf[2]", RESPFILE="source.rmf"))
    np.testing.assert_allclose(spectrum.response.arf, [1, 2, 3])


@pytest.mark.parametrize("area", [[1.0, np.nan, 2.0], [1.0, -5.0, 2.0], [1.0, np.inf, 2.0]])
def test_areas_that_cannot_be_are_refused(ogip, area):
    with pytest.raises(InputFileError, match=r"SPECRESP is negative or not a number \(.* at 1 keV\)"):
        read_arf(ogip.arf(area=area))
