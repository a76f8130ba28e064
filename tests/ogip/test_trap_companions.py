"""Which companion belongs to a spectrum: cases from the archives and from bug reports."""

from __future__ import annotations

import gzip
import shutil

import numpy as np
import pytest
from astropy.io import fits

from chandraclip.errors import InputFileError
from chandraclip.ogip import read_spectrum
from chandraclip.ogip.dispersed_order import DispersedOrder, order_in_name
from chandraclip.ogip.file_names import FileName, parse_name


def grating_pha(ogip, name="pha2.fits", orders=((-1, 1), (-1, 2)), **header):
    """A type II file of one row an order (TG_M, TG_PART)."""
    number = len(orders)
    columns = [
        fits.Column("SPEC_NUM", "I", array=np.arange(number) + 1),
        fits.Column("TG_M", "I", array=[order for order, _ in orders]),
        fits.Column("TG_PART", "I", array=[arm for _, arm in orders]),
        fits.Column("CHANNEL", "4J", array=np.tile(np.arange(4) + 1, (number, 1))),
        fits.Column("COUNTS", "4J", array=np.arange(4 * number).reshape(number, 4)),
    ]
    facts = {key: value for key, value in ogip.spectrum().header.items() if key in GRATING_KEYS} | header
    facts = {key: value for key, value in facts.items() if value is not None}
    return ogip.write(name, ogip.table("SPECTRUM", columns, **facts))


GRATING_KEYS = (
    *("HDUCLASS", "HDUCLAS1", "HDUCLAS2", "TELESCOP", "INSTRUME", "DETCHANS", "EXPOSURE", "BACKSCAL", "AREASCAL"),
    *("ANCRFILE", "RESPFILE", "BACKFILE", "OBS_ID", "OBJECT"),
)


def test_grating_row_takes_the_response_of_its_order(traps):
    path = traps / "S11_grating_lone_response" / "pha2.fits"
    assert read_spectrum(path, spec_num=1).response is None
    assert "TG_M -1, TG_PART 1" in read_spectrum(path, spec_num=1).response_problem
    row = read_spectrum(path, spec_num=2)
    assert {path.name for path in row.companions.values()} == {"meg_-1.arf", "meg_-1.rmf"}


@pytest.mark.parametrize("named", ["none", None])
@pytest.mark.parametrize(
    "keys, rows",
    [
        ({"TG_M": 1, "TG_PART": 1}, [1]),
        ({"ORDER": -1, "GRATTYPE": "MEG"}, [4]),
        ({"TG_M": 2, "TG_PART": 1}, []),
        ({}, []),  # a response that says no order belongs to no dispersed row
    ],
)
def test_orders_by_their_keywords(ogip, named, keys, rows):
    facts = {"OBS_ID": "12", "INSTRUME": "ACIS"} | keys
    ogip.arf("a.arf", **facts), ogip.rmf("a.rmf", **facts)
    orders = ((1, 1), (-1, 1), (1, 2), (-1, 2))
    path = grating_pha(ogip, orders=orders, ANCRFILE=named, RESPFILE=named)
    found = [number for number in range(1, 5) if read_spectrum(path, spec_num=number).response is not None]
    assert found == rows


def test_orders_by_their_names_and_not_for_the_zeroth(ogip):
    ogip.arf("heg_m1.arf"), ogip.rmf("heg_m1.rmf")
    path = grating_pha(ogip, orders=((-1, 1), (1, 1), (0, 0)), ANCRFILE=None, RESPFILE=None)
    found = [number for number in range(1, 4) if read_spectrum(path, spec_num=number).response is not None]
    assert found == [1]
    assert read_spectrum(ogip.pha(ANCRFILE=None, RESPFILE=None)).response is None
    names = {
        "meg_-1.arf": (-1, 2),
        "leg_p3.rmf": (3, 3),
        "acisf00459_HEG_1_.garf": (1, 1),
        "omega1.arf": None,
        "a.rmf": None,
    }
    for name, order in names.items():
        assert order_in_name(ogip.folder / name) == (None if order is None else DispersedOrder(*order))


def test_one_keyword_does_not_give_its_response_to_other_orders(ogip):
    ogip.arf("m.arf", TG_M=-1, TG_PART=2), ogip.rmf("m.rmf", TG_M=-1, TG_PART=2)
    path = grating_pha(ogip, ANCRFILE="m.arf", RESPFILE="m.rmf")
    other = read_spectrum(path, spec_num=1)
    assert other.response is None
    assert "which is of TG_M -1, TG_PART 2" in other.response_problem
    assert read_spectrum(path, spec_num=2).response is not None


@pytest.mark.parametrize("none", ["none", "NONE", " None ", ""])
def test_none_is_no_invitation_to_guess(ogip, none):
    ogip.arf(), ogip.rmf(), ogip.pha("source_bkg.pi")
    spectrum = read_spectrum(ogip.pha(ANCRFILE=none, RESPFILE=none, BACKFILE=none))
    assert (spectrum.response, spectrum.background_counts, spectrum.companions) == (None, None, {})


def test_none_and_a_response_of_the_same_observation(ogip):
    ogip.arf("area.fits", OBS_ID="12"), ogip.rmf("matrix.fits", OBS_ID="12")
    spectrum = read_spectrum(ogip.pha())
    assert {path.name for path in spectrum.companions.values()} == {"area.fits", "matrix.fits"}
    assert any("RESPFILE is none; it is of the same OBS_ID" in note for note in spectrum.notes)
    ogip.rmf("another.rmf", OBS_ID="12")
    spectrum = read_spectrum(ogip.pha())
    assert spectrum.response is None
    assert "2 could be it, none was taken: another.rmf, matrix.fits" in spectrum.response_problem


def test_a_missing_file_is_not_replaced_by_the_only_one(ogip):
    ogip.arf("a.arf", OBS_ID="12"), ogip.rmf("a.rmf", OBS_ID="12")
    path = ogip.pha(ANCRFILE="a.arf", RESPFILE="lost.rmf")
    with pytest.raises(InputFileError, match=r"no RMF: RESPFILE names lost.rmf, which is not at"):
        read_spectrum(path)
    assert read_spectrum(path, require_response=False).companions == {}


def test_a_missing_arf_is_not_replaced_by_the_word_full(ogip):
    ogip.rmf(HDUCLAS3="FULL")
    with pytest.raises(InputFileError, match=r"no ARF: ANCRFILE names lost.arf"):
        read_spectrum(ogip.pha(ANCRFILE="lost.arf", RESPFILE="source.rmf"))


def test_a_missing_arf_is_said_where_the_matrix_has_the_area(ogip):
    ogip.rmf(scale=200.0)
    spectrum = read_spectrum(ogip.pha(ANCRFILE="lost.arf", RESPFILE="source.rmf"))
    np.testing.assert_allclose(spectrum.response.arf, 200 * ogip.MATRIX.sum(axis=1))
    assert any("lost.arf" in note and "the area is in source.rmf" in note for note in spectrum.notes)


def test_a_missing_background_is_not_replaced_and_said(ogip):
    ogip.pha("source_bkg.pi")
    spectrum = read_spectrum(ogip.pha(BACKFILE="lost_bkg.pi"))
    assert spectrum.background_counts is None
    assert any("BACKFILE names lost_bkg.pi" in note for note in spectrum.notes)


def test_xmm_pps_names(traps):
    spectrum = read_spectrum(traps / "S18_xmm_pps_ftz" / "P0112880201R1S004SRSPEC1003.FTZ")
    np.testing.assert_allclose(spectrum.response.arf, [100, 300, 50])


@pytest.mark.parametrize(
    "said, there",
    [
        ("AREA.FIT", "AREA.FTZ"),
        ("area.fits", "area.ftz"),
        ("area.fit", "AREA.FITS.gz"),
        ("area.fits", "area.fits.gz"),
        ("area.fits.gz", "area.fits"),
        ("AREA.ARF", "area.arf.gz"),
        ("/data/other/machine/area.arf", "area.arf"),
        ("C:\\data\\area.arf", "area.arf"),
        ("sub/area.arf", "sub/area.arf"),
        ("sub\\area.arf", "sub/area.arf"),
        ("$RESPONSES/area.arf", "sub/area.arf"),
        ("$NOT_SET/area.arf", "area.arf"),
        ("area.arf[SPECRESP]", "area.arf"),
        ("area.arf[1]", "area.arf"),
        ("area[1].arf", "area[1].arf"),
        ("area.arf[cols energ_lo,specresp]", "area.arf"),
    ],
)
def test_names_as_headers_write_them(ogip, monkeypatch, said, there):
    monkeypatch.setenv("RESPONSES", str(ogip.folder / "sub"))
    monkeypatch.delenv("NOT_SET", raising=False)
    made = ogip.arf(there.removesuffix(".gz"))
    if there.endswith(".gz"):
        (ogip.folder / there).write_bytes(gzip.compress(made.read_bytes()))
        made.unlink()
    ogip.rmf()
    spectrum = read_spectrum(ogip.pha(ANCRFILE=said, RESPFILE="source.rmf"))
    assert spectrum.companions["arf"] == ogip.folder / there


def test_two_files_that_a_name_may_mean(ogip):
    ogip.arf("area.FTZ"), ogip.arf("area.fits"), ogip.rmf()
    with pytest.raises(InputFileError, match=r"may be any of area.FTZ, area.fits"):
        read_spectrum(ogip.pha(ANCRFILE="area.FIT", RESPFILE="source.rmf"))
    ogip.arf("area.FIT")
    assert read_spectrum(ogip.pha(ANCRFILE="area.FIT", RESPFILE="source.rmf")).response is not None


def test_the_row_of_a_type_two_background(traps):
    spectrum = read_spectrum(traps / "S19_pha_row_syntax" / "a.pi")
    np.testing.assert_array_equal(spectrum.background_counts, [4, 4, 4, 4])


def test_rows_that_are_none(ogip, traps):
    shutil.copy(traps / "S19_pha_row_syntax" / "back.pha2", ogip.folder / "back.pha2")
    missing = read_spectrum(ogip.pha(BACKFILE="back.pha2{3}"))  # the source is not lost for its background
    assert missing.background_counts is None
    assert any("no spectrum with SPEC_NUM 3" in note for note in missing.notes)
    with pytest.raises(InputFileError, match=r"no spectrum with SPEC_NUM 3"):
        read_spectrum(ogip.pha(), background=f"{ogip.folder / 'back.pha2'}{{3}}")
    doubtful = read_spectrum(ogip.pha(BACKFILE="back.pha2{1-2}"))
    assert doubtful.background_counts is None
    assert any("not one row" in note for note in doubtful.notes)
    given = read_spectrum(ogip.pha(), background=f"{ogip.folder / 'back.pha2'}{{1}}")
    np.testing.assert_array_equal(given.background_counts, [8, 8, 8, 8])


@pytest.mark.parametrize("extension", ["[2]", "[SPECTRUM2]", "[spectrum,2]"])
def test_the_extension_of_a_background(ogip, extension):
    second = ogip.spectrum(counts=[9, 9, 9, 9])
    second.name = "SPECTRUM2" if "M2" in extension else "SPECTRUM"
    second.header["EXTVER"] = 2
    ogip.write("back.fits", ogip.spectrum(), second)
    spectrum = read_spectrum(ogip.pha(BACKFILE=f"back.fits{extension}"))
    np.testing.assert_array_equal(spectrum.background_counts, [9, 9, 9, 9])
    assert any("extension [7] is not one" in note for note in read_spectrum(ogip.pha(BACKFILE="back.fits[7]")).notes)
    with pytest.raises(InputFileError, match=r"extension \[7\] is not one"):
        read_spectrum(ogip.pha(), background=f"{ogip.folder / 'back.fits'}[7]")


@pytest.mark.parametrize("name", ["/", ".", "..", "sub/", "a" * 60 + "/" + "b" * 300, "{2}", "[2]", "~", "$HOME", "*"])
def test_names_that_name_no_file(ogip, name):
    path = ogip.write("source.pi", ogip.spectrum(RESPFILE=name, BACKFILE=name))
    with pytest.raises(InputFileError, match="RESPFILE names"):
        read_spectrum(path)
    assert read_spectrum(path, require_response=False).background_counts is None


def test_rows_of_what_has_none(ogip):
    ogip.arf(), ogip.rmf(), ogip.pha("back.pi", counts=[1, 2, 3, 4])
    assert read_spectrum(ogip.pha(BACKFILE="back.pi{1}")).background_counts.sum() == 10  # as XSPEC has it
    missing = read_spectrum(ogip.pha(BACKFILE="back.pi{2}"))
    assert missing.background_counts is None
    assert any("spec_num=2" in note for note in missing.notes)
    with pytest.raises(InputFileError, match="rows are for spectra"):
        read_spectrum(ogip.pha(ANCRFILE="source.arf{2}", RESPFILE="source.rmf"))


def test_the_parts_of_a_name():
    assert parse_name("a.pha{3}") == FileName("a.pha", None, 3)
    assert parse_name("a.pha[SPECTRUM,2]{3}") == FileName("a.pha", "SPECTRUM,2", 3)
    assert parse_name("a.evt[energy=500:7000][bin pi]") == FileName("a.evt")
    assert parse_name("a.pha{x}").problem is not None
