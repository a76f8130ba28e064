"""Channels, flags, keywords and several spectra in a file that are not what one expects (OGIP/92-007 and 92-007a)."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from chandraclip.errors import InputFileError
from chandraclip.ogip import read_events, read_spectrum
from ogip_files import counts_table

COUNTS = np.array([3, 0, 5, 1])


# QUALITY and GROUPING


def flag(name, values, form="I"):
    return fits.Column(name, form, array=np.asarray(values))


def test_the_shared_quality(traps):
    spectrum = read_spectrum(traps / "S10_quality" / "a.pi")
    np.testing.assert_array_equal(spectrum.counts, [3, 7, 5, 1])  # as the file has them
    np.testing.assert_array_equal(spectrum.quality, [0, 5, 0, 1])
    np.testing.assert_array_equal(spectrum.good_channels, [True, False, True, False])


@pytest.mark.parametrize(
    ("quality", "grouping", "good"),
    [
        ([0, 1, 2, 5], None, [1, 0, 0, 0]),
        ([0, -1, 0, 7], None, [1, 0, 1, 0]),
        ([0, 0, 2, 2], [1, -1, 1, -1], [1, 1, 1, 1]),  # a last group short of counts
        ([0, 5, 2, 2], [1, -1, 1, -1], [1, 0, 1, 1]),
        ([0, 0, 2, 2], [1, 1, 1, 1], [1, 1, 0, 0]),
    ],
)
def test_good_channels(ogip, quality, grouping, good):
    extra = [flag("QUALITY", quality)] + ([] if grouping is None else [flag("GROUPING", grouping)])
    np.testing.assert_array_equal(read_spectrum(ogip.pha(extra=extra)).good_channels, np.array(good, dtype=bool))


def test_flags_as_keywords(ogip):
    plain = read_spectrum(ogip.pha(QUALITY=0, GROUPING=0))
    assert (plain.quality, plain.grouping) == (None, None)
    assert plain.good_channels.all()
    bad = read_spectrum(ogip.pha(QUALITY=5))
    np.testing.assert_array_equal(bad.quality, [5, 5, 5, 5])
    assert not bad.good_channels.any()


def test_flags_turn_with_descending_channels(ogip):
    ogip.arf(), ogip.rmf(descending=True)
    extra = [flag("QUALITY", [0, 0, 1, 5]), flag("GROUPING", [1, -1, -1, 1])]
    spectrum = read_spectrum(ogip.pha(RESPFILE="source.rmf", ANCRFILE="source.arf", extra=extra))
    np.testing.assert_array_equal(spectrum.quality, [5, 1, 0, 0])
    np.testing.assert_array_equal(spectrum.grouping, [1, 1, -1, -1])


def test_flags_of_a_type_two_row(ogip):
    columns = [
        fits.Column("SPEC_NUM", "I", array=[1, 2]),
        fits.Column("CHANNEL", "4J", array=np.tile([1, 2, 3, 4], (2, 1))),
        fits.Column("COUNTS", "4J", array=np.tile(COUNTS, (2, 1))),
        fits.Column("QUALITY", "I", array=[0, 5]),
        fits.Column("GROUPING", "4I", array=[[1, -1, 1, 1], [1, 1, 1, 1]]),
    ]
    path = ogip.write("a.pha2", ogip.table("SPECTRUM", columns, HDUCLAS1="SPECTRUM", DETCHANS=4, EXPOSURE=10.0))
    first, second = (read_spectrum(path, spec_num=number) for number in (1, 2))
    assert first.good_channels.all()
    np.testing.assert_array_equal(first.grouping, [1, -1, 1, 1])
    assert not second.good_channels.any()


@pytest.mark.parametrize(
    ("extra", "header", "reason"),
    [
        ([flag("QUALITY", [0, 65536, 0, 0], "J")], {}, "QUALITY is 65536"),
        ([flag("QUALITY", [0, 0.5, 0, 0], "E")], {}, "column QUALITY is not whole"),
        ([flag("QUALITY", [0, np.nan, 0, 0], "E")], {}, "column QUALITY is not whole"),
        ([flag("QUALITY", ["0", "0", "5", "0"], "1A")], {}, "column QUALITY holds"),
        ([flag("QUALITY", np.zeros((4, 2)), "2I")], {}, "QUALITY holds arrays"),
        ([flag("GROUPING", [1, 2, 0, 0])], {}, "GROUPING is 2"),
        ([], {"QUALITY": "good"}, "QUALITY is 'good'"),
        ([], {"QUALITY": True}, "QUALITY is True"),
        ([], {"GROUPING": 0.5}, "GROUPING is 0.5"),
        ([], {"QUALITY": 70000}, "QUALITY is 70000"),
    ],
)
def test_flags_of_a_wrong_type_are_refused(ogip, extra, header, reason):
    with pytest.raises(InputFileError, match=reason):
        read_spectrum(ogip.pha(extra=extra, **header))


# Types and sizes


SHARED_TYPES = {
    "areascal_path": "AREASCAL",
    "backscal_text": "BACKSCAL",
    "backscal_zero": "BACKSCAL",
    "detchans_nan": "DETCHANS",
    "detchans_text_inf": "DETCHANS",
    "exposure_true": "EXPOSURE",
    "obi_inf": "OBI_NUM",
    "tlmin_text": "TLMIN1",
}


@pytest.mark.parametrize("name", SHARED_TYPES)
def test_the_shared_keywords_of_a_wrong_type(traps, name):
    with pytest.raises(InputFileError, match=SHARED_TYPES[name]) as caught:
        read_spectrum(traps / "S16_keyword_types" / f"{name}.pi")
    assert caught.value.extension == "SPECTRUM,1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name in ("EXPOSURE", "BACKSCAL", "AREASCAL", "DETCHANS", "TLMIN1", "OBI_NUM", "MJDREF")
        for value in ("text", "NaN", "inf", True, False, "(2,3)", 2 + 3j, 1e300, -1e300)
        if name != "MJDREF" or not isinstance(value, float)  # a finite number, and only told on
    ],
)
def test_keywords_of_a_wrong_type_are_named(ogip, name, value):
    with pytest.raises(InputFileError, match=name) as caught:
        read_spectrum(ogip.pha(**{name: value}))
    assert caught.value.extension == "SPECTRUM,1"


@pytest.mark.parametrize("name", ["DETCHANS", "TLMIN1", "OBI_NUM"])
def test_keywords_that_count_are_whole(ogip, name):
    with pytest.raises(InputFileError, match=name):
        read_spectrum(ogip.pha(**{name: 4.5}))


@pytest.mark.parametrize("obi", [99999999999, 40000, "many"])
def test_an_observation_interval_is_a_small_number(ogip, obi):
    with pytest.raises(InputFileError, match="OBI_NUM"):
        read_spectrum(ogip.pha(OBI_NUM=obi))


@pytest.mark.parametrize(("obi", "expected"), [(3, 3), ("003", 3), (2.0, 2), ("", None), ("Merged", None)])
def test_observation_intervals_that_are_read(ogip, obi, expected):
    assert read_spectrum(ogip.pha(OBI_NUM=obi)).header.obi == expected


@pytest.mark.parametrize(
    ("form", "values", "reason"),
    [
        ("4A", ["1", "2", "3", "4"], "holds"),
        ("L", [True, False, True, False], "holds"),
        ("C", np.array([1, 2, 3, 4], dtype=complex), "holds"),
        ("E", [1.0, 2.5, 3.0, 4.0], "not whole"),
        ("E", [1.0, np.nan, 3.0, 4.0], "not whole"),
        ("D", [1.0, 2.0, 3.0, 1e19], "out of the range"),
        ("2J", np.ones((4, 2), int), "holds arrays"),
    ],
)
def test_channels_of_a_wrong_type_are_refused(ogip, form, values, reason):
    columns = [fits.Column("CHANNEL", form, array=np.asarray(values)), fits.Column("COUNTS", "J", array=COUNTS)]
    path = ogip.write("a.pi", ogip.table("SPECTRUM", columns, HDUCLAS1="SPECTRUM", EXPOSURE=1.0))
    with pytest.raises(InputFileError, match=f"CHANNEL.*{reason}"):
        read_spectrum(path)


@pytest.mark.parametrize(
    ("form", "values"), [("4A", ["1", "2", "3", "4"]), ("L", [True] * 4), ("M", np.ones(4, complex))]
)
def test_counts_of_a_wrong_type_are_refused(ogip, form, values):
    with pytest.raises(InputFileError, match="column COUNTS holds"):
        read_spectrum(ogip.write("a.pi", counts_table(ogip, values, form)))


@pytest.mark.parametrize("name", ["EXPOSURE", "BACKSCAL", "AREASCAL"])
@pytest.mark.parametrize(("form", "value"), [("8A", "unknown"), ("L", True), ("E", np.nan), ("C", 1 + 1j), ("E", -1.0)])
def test_cells_of_a_wrong_type_are_named(ogip, name, form, value):
    """Quantities that a type II table gives by row."""
    columns = [
        fits.Column("CHANNEL", "4J", array=np.tile([1, 2, 3, 4], (2, 1))),
        fits.Column("COUNTS", "4J", array=np.tile(COUNTS, (2, 1))),
        fits.Column(name, form, array=np.asarray([value, value])),
    ]
    header = {"HDUCLAS1": "SPECTRUM", "DETCHANS": 4} | ({} if name == "EXPOSURE" else {"EXPOSURE": 10.0})
    with pytest.raises(InputFileError, match=name):
        read_spectrum(ogip.write("a.pha2", ogip.table("SPECTRUM", columns, **header)), spec_num=2)


def test_scales_of_variable_length(ogip):
    """BACKSCAL an array a row, in the heap."""

    def heap(rows, dtype):
        arrays = np.empty(2, dtype=object)
        arrays[:] = [np.asarray(row, dtype=dtype) for row in rows]
        return arrays

    columns = [
        fits.Column("CHANNEL", "PJ()", array=heap([[1, 2, 3, 4]] * 2, np.int32)),
        fits.Column("COUNTS", "PJ()", array=heap([COUNTS, COUNTS[::-1]], np.int32)),
        fits.Column("AREASCAL", "PE()", array=heap([[1.0] * 4, [1.0, 2.0, 4.0, 8.0]], np.float32)),
        fits.Column("QUALITY", "PI()", array=heap([[0] * 4, [0, 5, 0, 0]], np.int16)),
    ]
    header = {"HDUCLAS1": "SPECTRUM", "DETCHANS": 4, "EXPOSURE": 10.0}
    spectrum = read_spectrum(ogip.write("a.pha2", ogip.table("SPECTRUM", columns, **header)), spec_num=2)
    assert spectrum.area_scale.tolist() == [1, 2, 4, 8]
    assert spectrum.good_channels.tolist() == [True, False, True, True]


def test_channels_far_apart_cost_nothing(ogip):
    with pytest.raises(InputFileError, match="channels from 1 to 2000000000"):
        read_spectrum(ogip.pha(channel=[1, 2, 3, 2_000_000_000], DETCHANS=None))
    with pytest.raises(InputFileError, match="DETCHANS is 2000000000"):
        read_spectrum(ogip.pha(DETCHANS=2_000_000_000))


def test_counts_too_many_to_count(ogip, traps):
    with pytest.raises(InputFileError, match="COUNTS is more than can be counted in channel 3"):
        read_spectrum(traps / "S20_counts_huge" / "a.pi")
    for values in ([1, 1, 1e16, 1], [1, np.inf, 1, 1], [6e15, 6e15, 6e15, 1]):
        with pytest.raises(InputFileError, match=r"COUNTS|counts are not a number"):
            read_spectrum(ogip.write("a.pi", counts_table(ogip, values)))


@pytest.mark.parametrize("exposure", [1e300, 1e-300, 1e12])
def test_exposures_that_no_observation_has(ogip, exposure):
    with pytest.raises(InputFileError, match=r"EXPOSURE is .*which no observation has"):
        read_spectrum(ogip.pha(EXPOSURE=exposure))


def test_an_integer_that_stands_for_no_value_is_no_count(ogip):
    table = ogip.spectrum(counts=[3, -99, 5, 1])
    table.header["TNULL2"] = -99
    with pytest.raises(InputFileError, match="not a number in channel 2"):
        read_spectrum(ogip.write("a.pi", table))


def test_a_type_two_row_without_channels(ogip):
    arrays = np.empty(2, dtype=object)
    arrays[:] = [np.array([1, 2, 3, 4]), np.zeros(0, dtype=int)]
    columns = [fits.Column(name, "PJ()", array=arrays) for name in ("CHANNEL", "COUNTS")]
    path = ogip.write("a.pha2", ogip.table("SPECTRUM", columns, HDUCLAS1="SPECTRUM", EXPOSURE=1.0))
    with pytest.raises(InputFileError, match="no channels"):
        read_spectrum(path, spec_num=2)


@pytest.mark.parametrize(
    ("form", "values", "reason"),
    [("8A", ["a", "b"], "SPEC_NUM holds"), ("E", [np.nan, 2], "SPEC_NUM is not whole"), ("I", [1, 1], "SPEC_NUM")],
)
def test_spectrum_numbers_of_a_wrong_type(ogip, form, values, reason):
    columns = [
        fits.Column("SPEC_NUM", form, array=np.asarray(values)),
        fits.Column("CHANNEL", "4J", array=np.tile([1, 2, 3, 4], (2, 1))),
        fits.Column("COUNTS", "4J", array=np.tile(COUNTS, (2, 1))),
    ]
    path = ogip.write("a.pha2", ogip.table("SPECTRUM", columns, HDUCLAS1="SPECTRUM", EXPOSURE=1.0))
    with pytest.raises(InputFileError, match=reason):
        read_spectrum(path, spec_num=1)


# Several spectra in a file


def test_the_shared_file_of_two_sources(traps):
    path = traps / "X07_two_source_spectra" / "two.pi"
    with pytest.raises(InputFileError, match=r"2 spectra are in it, SPECTRUM,1, SPECTRUM,2: choose one"):
        read_spectrum(path)
    assert read_spectrum(path, extension=1).counts.tolist() == [1, 1, 1, 1]
    assert read_spectrum(path, extension="SPECTRUM,2").counts.tolist() == [5, 5, 5, 5]
    with pytest.raises(InputFileError, match="no spectrum is extension 3"):
        read_spectrum(path, extension=3)
    with pytest.raises(InputFileError, match="2 spectra are in it"):
        read_spectrum(path, extension="spectrum")


def test_a_type_one_beside_a_type_two(ogip):
    columns = [
        fits.Column("SPEC_NUM", "I", array=[1, 2]),
        fits.Column("CHANNEL", "4J", array=np.tile([1, 2, 3, 4], (2, 1))),
        fits.Column("COUNTS", "4J", array=[[1, 1, 1, 1], [2, 2, 2, 2]]),
    ]
    two = ogip.table("SPECTRUM", columns, HDUCLAS1="SPECTRUM", HDUCLAS2="TOTAL", DETCHANS=4, EXPOSURE=10.0)
    path = ogip.write("mixed.pha", ogip.spectrum(), two)
    with pytest.raises(InputFileError, match="2 spectra are in it"):
        read_spectrum(path)
    assert read_spectrum(path, spec_num=2).counts.tolist() == [2, 2, 2, 2]  # only one extension has it
    assert read_spectrum(path, extension=1).counts.tolist() == COUNTS.tolist()
    with pytest.raises(InputFileError, match="no spectrum is SPEC_NUM 7"):
        read_spectrum(path, spec_num=7)


def test_two_sources_with_a_background_each(ogip):
    tables = [
        ogip.spectrum(counts=[number] * 4, HDUCLAS2=kind, EXTVER=version)
        for version, number, kind in ((1, 1, "TOTAL"), (1, 10, "BKG"), (2, 2, "TOTAL"), (2, 20, "BKG"))
    ]
    path = ogip.write("pairs.pha", *tables)
    second = read_spectrum(path, extension=3)
    assert (second.counts.tolist(), second.background_counts.tolist()) == ([2] * 4, [20] * 4)
    for table in tables:
        del table.header["EXTVER"]
    assert read_spectrum(ogip.write("unclear.pha", *tables), extension=3).background_counts is None


def test_a_file_of_backgrounds(ogip):
    one = ogip.write("one.pi", ogip.spectrum(HDUCLAS2="BKG"))
    assert read_spectrum(one).counts.tolist() == COUNTS.tolist()
    two = ogip.write("two.pi", ogip.spectrum(HDUCLAS2="BKG"), ogip.spectrum(counts=[9] * 4, HDUCLAS2="BKG"))
    with pytest.raises(InputFileError, match="2 spectra are in it"):
        read_spectrum(two)
    assert read_spectrum(two, extension=2).counts.tolist() == [9] * 4
    spectrum = read_spectrum(ogip.pha(BACKFILE="two.pi"))  # which of the two is not known
    assert spectrum.background_counts is None


# Read right before, and to stay so


def test_the_shared_unsigned_counts(traps):
    assert read_spectrum(traps / "X09_unsigned" / "a.pi").counts.tolist() == [3, 40000, 5, 1]


@pytest.mark.parametrize("forms", [("4I", "4I"), ("PI()", "PI()")])
def test_unsigned_counts_of_a_type_two_file(ogip, forms):
    def cells(values):
        result = np.empty(1, dtype=object)
        result[0] = np.asarray(values, dtype=np.int16)
        return result if forms[0].startswith("P") else np.asarray([values], dtype=np.int16)

    columns = [
        fits.Column("CHANNEL", forms[0], array=cells([4, 3, 2, 1])),
        fits.Column("COUNTS", forms[1], array=cells([3 - 32768, 40000 - 32768, 5 - 32768, 1 - 32768])),
    ]
    table = ogip.table("SPECTRUM", columns, HDUCLAS1="SPECTRUM", DETCHANS=4, EXPOSURE=1.0)
    table.header["TZERO2"] = 32768
    path = ogip.write("a.pha2", table)
    assert read_spectrum(path).counts.tolist() == [1, 5, 40000, 3]


def test_channels_in_any_order(ogip):
    extra = [flag("QUALITY", [1, 0, 0, 5]), fits.Column("BACKSCAL", "D", array=[4.0, 3.0, 1.0, 2.0])]
    ogip.pha("back.pi", counts=[4, 3, 2, 1], channel=[4, 3, 2, 1], extra=extra[1:], BACKSCAL=None)
    spectrum = read_spectrum(ogip.pha(counts=[4, 3, 1, 2], channel=[4, 3, 1, 2], extra=extra[:1], BACKFILE="back.pi"))
    assert spectrum.counts.tolist() == [1, 2, 3, 4]
    assert spectrum.quality.tolist() == [0, 5, 0, 1]
    assert spectrum.background_counts.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(spectrum.background_scale, 1 / np.array([2.0, 1.0, 3.0, 4.0]))


def test_the_shared_photons_and_good_times_out_of_order(traps):
    events = read_events(traps / "X08_order" / "a.fits")
    assert (events.time + events.tstart).tolist() == [12.0, 12.0, 18.0, 28.0]
    assert (events.gti + events.tstart).tolist() == [[10.0, 22.0], [25.0, 30.0]]


def test_the_shared_sky_across_the_zero_of_right_ascension(traps):
    path = traps / "X10_wrap" / "a.fits"
    events = read_events(path)
    ra, dec = events.sky.to_celestial(np.array([4096.5, 4196.5]), np.array([4096.5, 4096.5]))
    step = 100 * 0.000136666666666666 / np.cos(np.radians(41))
    np.testing.assert_allclose((ra + 180) % 360 - 180, [0.001, 0.001 - step], atol=1e-6)
    np.testing.assert_allclose(dec, 41.0, atol=1e-5)
    assert len(events.time) == 2
