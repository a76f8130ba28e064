"""Rates, real-valued and NET spectra, and backgrounds that are not what one expects (OGIP/92-007 and 92-007a)."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from chandraclip.errors import InputFileError
from chandraclip.ogip import read_spectrum
from ogip_files import counts_table

COUNTS = np.array([3, 0, 5, 1])


def rate_column(rate, unit=None, form="E", name="RATE"):
    return fits.Column(name, form, unit=unit, array=np.asarray(rate))


# Rates


@pytest.mark.parametrize("unit", ["count/s", "counts/s", "ct/s", "cts s**-1", "count s-1", "counts/sec", None])
def test_rates_times_exposure(ogip, unit):
    path = ogip.pha(extra=[rate_column(COUNTS / 37664.157, unit)], EXPOSURE=37664.157, HDUCLAS3="RATE", POISSERR=False)
    np.testing.assert_array_equal(read_spectrum(path).counts, COUNTS)


def test_the_shared_rate_columns_beside_the_counts(traps):
    spectrum = read_spectrum(traps / "S01_rate_background_columns" / "rate.pha2")
    np.testing.assert_array_equal(spectrum.counts, [300, 0, 500, 100])
    np.testing.assert_array_equal(spectrum.background_counts, [6, 4, 2, 8])
    assert spectrum.background_scale == pytest.approx(1 / 8)


def grating(ogip, up, down, main="COUNTS", forms=("E", "E"), units=(None, None), **header):
    values = COUNTS if main == "COUNTS" else COUNTS / 1000.0
    columns = [
        fits.Column("SPEC_NUM", "I", array=[1]),
        fits.Column("CHANNEL", "4J", array=[[1, 2, 3, 4]]),
        fits.Column(main, "4J" if main == "COUNTS" else "4E", array=[values]),
        fits.Column("BACKGROUND_UP", f"4{forms[0]}", unit=units[0], array=[up]),
        fits.Column("BACKGROUND_DOWN", f"4{forms[1]}", unit=units[1], array=[down]),
    ]
    facts = {"HDUCLAS1": "SPECTRUM", "HDUCLAS2": "TOTAL", "DETCHANS": 4, "BACKSCUP": 4.0, "BACKSCDN": 2.0}
    return ogip.write("grating.pha2", ogip.table("SPECTRUM", columns, **facts | {"EXPOSURE": 1000.0} | header))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # each column by its own unit
        ({"up": [0.002, 0, 0, 0.001], "down": [1, 2, 0, 0], "units": ("count/s", "count")}, [3, 2, 0, 1]),
        # without a unit: as the spectrum, but integers are counts
        ({"up": [0.002, 0, 0, 0.001], "down": [0, 0.001, 0, 0], "main": "RATE"}, [2, 1, 0, 1]),
        ({"up": [2, 0, 0, 1], "down": [0, 1, 0, 0], "main": "RATE", "forms": ("I", "J")}, [2, 1, 0, 1]),
        ({"up": [2, 0, 0, 1], "down": [0, 1, 0, 0]}, [2, 1, 0, 1]),
        # real numbers stay
        ({"up": [0.5, 0, 0, 0.25], "down": [0, 1, 0, 0]}, [0.5, 1, 0, 0.25]),
    ],
)
def test_background_columns_are_counts_or_rates(ogip, options, expected):
    spectrum = read_spectrum(grating(ogip, **options))
    np.testing.assert_array_equal(spectrum.counts, COUNTS)
    np.testing.assert_allclose(spectrum.background_counts, expected, rtol=1e-6)
    assert spectrum.background_scale == pytest.approx(1 / 6)


@pytest.mark.parametrize("wrong", [{"BACKSCUP": 0.0}, {"BACKSCDN": None}, {"BACKSCUP": "large"}])
def test_background_columns_without_an_area_lose_the_background_only(ogip, wrong, caplog):
    spectrum = read_spectrum(grating(ogip, [1, 0, 0, 0], [1, 0, 0, 0], **wrong))
    np.testing.assert_array_equal(spectrum.counts, COUNTS)
    assert spectrum.background_counts is None
    assert "BACKSC" in caplog.text


@pytest.mark.parametrize("name", ["net.pi", "counts_rate.pi"])
def test_the_shared_rates_without_an_exposure(traps, name):
    with pytest.raises(InputFileError, match=r"not a whole number of counts.*channel 1 \(0.004\)") as caught:
        read_spectrum(traps / "S02_rate_exposure_one" / name)
    assert caught.value.extension == "SPECTRUM,1"


def test_a_refusal_says_why(ogip):
    rate = [rate_column([0.004, 0.002, 0.006, 0.001], "count/s")]
    with pytest.raises(InputFileError, match=r"HDUCLAS2 NET.*POISSERR F.*EXPOSURE, 1 s"):
        read_spectrum(ogip.pha(extra=rate, EXPOSURE=1.0, HDUCLAS2="NET", POISSERR=False))
    for exposure in (None, 0.0, -1.0):
        with pytest.raises(InputFileError, match="EXPOSURE"):
            read_spectrum(ogip.pha(extra=rate, EXPOSURE=exposure))


@pytest.mark.parametrize("size", [1e-3, 1e-5, 1e-9, 1e-15])
@pytest.mark.parametrize("form", ["E", "D"])
def test_nothing_but_zero_is_rounded_to_zero(ogip, size, form):
    with pytest.raises(InputFileError, match="not a whole number"):
        read_spectrum(ogip.write("a.pi", counts_table(ogip, np.array([0, 0, size, 0]), form)))
    with pytest.raises(InputFileError, match="not a whole number"):
        read_spectrum(ogip.pha(extra=[rate_column(np.array([0, 0, size, 0]), form=form)], EXPOSURE=1.0))


def test_float_counts_and_rates_of_bright_sources_are_whole(ogip):
    bright = np.array([16777216, 3, 0, 123456])
    np.testing.assert_array_equal(read_spectrum(ogip.write("a.pi", counts_table(ogip, bright, "E"))).counts, bright)
    exposure = 20266.123
    bright = np.array([40000, 3, 0, 123456])
    path = ogip.pha(extra=[rate_column((bright / exposure).astype(np.float32))], EXPOSURE=exposure)
    np.testing.assert_array_equal(read_spectrum(path).counts, bright)


@pytest.mark.parametrize("negative", [-1e-3, -3.0])
def test_net_counts_below_zero_are_refused(ogip, negative):
    with pytest.raises(InputFileError, match=r"negative|not a whole"):
        read_spectrum(ogip.write("a.pi", counts_table(ogip, [3.0, negative, 5.0, 1.0], HDUCLAS2="NET")))


def test_a_net_spectrum_is_not_subtracted_twice(ogip, caplog):
    ogip.pha("back.pi", counts=[1, 1, 1, 1], HDUCLAS2="BKG")
    net = ogip.spectrum(HDUCLAS2="NET", BACKFILE="back.pi")
    spectrum = read_spectrum(ogip.write("net.pi", net))
    assert spectrum.background_counts is None
    np.testing.assert_array_equal(spectrum.expected_background, 0)
    assert "NET" in caplog.text
    assert any("NET" in note for note in spectrum.notes)
    with pytest.raises(InputFileError, match="HDUCLAS2 NET"):
        read_spectrum(ogip.folder / "net.pi", background=ogip.folder / "back.pi")
    in_file = ogip.write("both.pi", net, ogip.spectrum(HDUCLAS2="BKG"))
    assert read_spectrum(in_file).background_counts is None
    beside = grating(ogip, [1, 0, 0, 0], [1, 0, 0, 0], HDUCLAS2="NET")
    assert read_spectrum(beside).background_counts is None


# Which of the two, counts or a rate


@pytest.mark.parametrize(
    ("values", "form", "unit", "hduclas3"),
    [
        (COUNTS / 1000.5, "D", None, "RATE"),  # a rate under the name COUNTS
        (COUNTS / 1000.5, "E", "count/s", None),
        (COUNTS / 1000.5, "D", "count/s", "RATE"),
        (COUNTS / 1000.5, "D", "count/s", "COUNT"),
        (COUNTS, "D", "count", "RATE"),  # counts under a wrong HDUCLAS3
        (COUNTS, "J", None, "RATE"),
        (COUNTS, "J", "count", "RATE"),
        (COUNTS, "D", "count/s", "COUNT"),
    ],
)
def test_where_name_unit_and_class_contradict_the_numbers_decide(ogip, values, form, unit, hduclas3):
    path = ogip.write("a.pi", counts_table(ogip, values, form, unit, HDUCLAS3=hduclas3, EXPOSURE=1000.5))
    np.testing.assert_array_equal(read_spectrum(path).counts, COUNTS)


@pytest.mark.parametrize(
    ("values", "form", "unit", "hduclas3"),
    [
        (COUNTS, "D", None, "RATE"),  # whole either way
        (COUNTS, "J", "count/s", "COUNT"),
        (COUNTS + 0.3141, "D", "count/s", "COUNT"),  # neither way
    ],
)
def test_where_the_numbers_do_not_tell_it_is_refused(ogip, values, form, unit, hduclas3):
    path = ogip.write("a.pi", counts_table(ogip, values, form, unit, HDUCLAS3=hduclas3, EXPOSURE=1000.0))
    with pytest.raises(InputFileError, match=r"counts or a rate\?|not a whole"):
        read_spectrum(path)


def test_a_rate_column_that_is_said_to_hold_counts(ogip):
    path = ogip.pha(extra=[rate_column(COUNTS / 1000.0)], HDUCLAS3="COUNT")
    np.testing.assert_array_equal(read_spectrum(path).counts, COUNTS)
    with pytest.raises(InputFileError, match="counts or a rate"):
        read_spectrum(ogip.pha(extra=[rate_column(COUNTS * 1.0)], HDUCLAS3="COUNT"))


@pytest.mark.parametrize("unit", ["count/s/keV", "photon/cm**2/s", "erg/s", "count/cm**2", "count/s/Angstrom"])
def test_densities_and_fluxes_are_no_counts(ogip, unit):
    with pytest.raises(InputFileError, match="neither counts nor counts/s"):
        read_spectrum(ogip.pha(extra=[rate_column(COUNTS / 1000.0, unit)]))


# Real-valued backgrounds


@pytest.mark.parametrize(
    ("name", "expected"), [("source.pi", [2.4, 1.7, 0.3, 0.9]), ("source2.pi", [0.009, 0.007, 0.003, 0.004])]
)
def test_the_shared_real_valued_backgrounds(traps, name, expected):
    spectrum = read_spectrum(traps / "S04_fractional_background" / name)
    np.testing.assert_array_equal(spectrum.counts, COUNTS)
    np.testing.assert_array_equal(spectrum.background_counts, expected)
    np.testing.assert_array_equal(spectrum.expected_background, expected)


@pytest.mark.parametrize(
    "values", [[1e-5, 0, 0, 0], [3.005, 2.004, 1.001, 0], [1e-12, 0, 0, 0], [0.5, 0.5, 0.5, 0.5], [1e6 + 0.3, 1, 1, 1]]
)
@pytest.mark.parametrize("where", ["file", "same file", "given", "rate"])
def test_a_background_of_real_numbers_keeps_them(ogip, values, where):
    values = np.asarray(values, dtype=float)
    if where == "rate":
        ogip.pha("back.pi", extra=[rate_column(values / 500, form="D")], EXPOSURE=500.0)
        path = ogip.pha(BACKFILE="back.pi")
    else:
        background = counts_table(ogip, values, HDUCLAS2="BKG", POISSERR=False)
        ogip.write("back.pi", background)
        path = ogip.pha(BACKFILE="back.pi" if where == "file" else "none")
    if where == "same file":
        path = ogip.write("both.pi", ogip.spectrum(), background)
    spectrum = read_spectrum(path, background=ogip.folder / "back.pi" if where == "given" else None)
    np.testing.assert_array_equal(spectrum.counts, COUNTS)
    assert spectrum.background_counts.dtype == np.float64
    np.testing.assert_allclose(spectrum.background_counts, values, rtol=1e-12, atol=0)


def test_whole_backgrounds_stay_integers(ogip):
    ogip.write("back.pi", counts_table(ogip, [4.0, 0.0, 2.0, 1.0], "E"))
    spectrum = read_spectrum(ogip.pha(BACKFILE="back.pi"))
    assert spectrum.background_counts.dtype == np.int64


BAD_BACKGROUNDS = {
    "not a number": {"counts": [1.0, np.nan, 0.0, 0.0]},
    "negative": {"counts": [1.0, -0.25, 0.0, 0.0]},
    "HDUCLAS2 NET": {"counts": [1.0, 0.25, 0.0, 0.0], "HDUCLAS2": "NET"},
    "EXPOSURE is": {"counts": [1.0, 0.25, 0.0, 0.0], "EXPOSURE": 0.0},
    "BACKSCAL is 0": {"counts": [1.0, 0.25, 0.0, 0.0], "BACKSCAL": 0.0},
    "BACKSCAL is 'unknown'": {"counts": [1.0, 0.25, 0.0, 0.0], "BACKSCAL": "unknown"},
    "more than": {"counts": [1.0, 1e30, 0.0, 0.0]},
}


@pytest.mark.parametrize("reason", BAD_BACKGROUNDS)
def test_a_source_is_not_lost_for_its_background(ogip, reason, caplog):
    background = counts_table(ogip, **BAD_BACKGROUNDS[reason])
    ogip.write("back.pi", background)
    in_file = background.copy()
    in_file.header["HDUCLAS2"] = "BKG"
    paths = [ogip.pha(BACKFILE="back.pi")]
    if "NET" not in reason:
        paths.append(ogip.write("both.pi", ogip.spectrum(), in_file))
    for path in paths:
        caplog.clear()
        spectrum = read_spectrum(path)
        np.testing.assert_array_equal(spectrum.counts, COUNTS)
        assert spectrum.background_counts is None
        assert "background" not in spectrum.companions
        assert reason in caplog.text
        assert any(reason in note for note in spectrum.notes)
    with pytest.raises(InputFileError, match=reason):
        read_spectrum(paths[0], background=ogip.folder / "back.pi")


def test_a_damaged_background_file_is_left_out_and_said(ogip, caplog):
    (ogip.folder / "back.pi").write_bytes(b"SIMPLE  =                    T" + b" " * 50)
    assert read_spectrum(ogip.pha(BACKFILE="back.pi")).background_counts is None
    assert "back.pi" in caplog.text
