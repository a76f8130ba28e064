from __future__ import annotations

import gzip
import json
import shutil

import numpy as np
import pytest
from astropy.io import fits

from chandraclip.errors import InputFileError
from chandraclip.ogip import read_spectrum


def test_counts_channels_and_exposure(ogip):
    spectrum = read_spectrum(ogip.pha())
    np.testing.assert_array_equal(spectrum.counts, [3, 0, 5, 1])
    np.testing.assert_array_equal(spectrum.channel, [1, 2, 3, 4])
    assert spectrum.counts.dtype == np.int64
    assert (spectrum.exposure, spectrum.background_counts, spectrum.response) == (1000.0, None, None)
    assert "RESPFILE is none" in spectrum.response_problem


def test_channels_from_zero_sparse_and_out_of_order(ogip):
    spectrum = read_spectrum(ogip.pha(counts=[7, 2], channel=[3, 0], TLMIN1=0, TLMAX1=3))
    np.testing.assert_array_equal(spectrum.counts, [2, 0, 0, 7])
    np.testing.assert_array_equal(spectrum.channel, [0, 1, 2, 3])


def test_rate_times_exposure(ogip):
    rate = np.array([3, 0, 5, 1]) / 1000.0
    spectrum = read_spectrum(ogip.pha(extra=[fits.Column("RATE", "E", array=rate)]))
    np.testing.assert_array_equal(spectrum.counts, [3, 0, 5, 1])
    with pytest.raises(InputFileError, match=r"not a whole number of counts.*channel 2"):
        read_spectrum(ogip.pha(extra=[fits.Column("RATE", "E", array=np.add(rate, [0, 0.0005, 0, 0]))]))


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"counts": [1.0, np.nan, 0.0, 2.0]}, "not a number in channel 2"),
        ({"counts": [1, -3, 0, 2]}, "negative in channel 2"),
        ({"counts": [1.0, 0.25, 0.0, 2.0]}, "not a whole number"),
        ({"EXPOSURE": -5.0}, "EXPOSURE is -5"),
        ({"EXPOSURE": 0.0}, "must be positive"),
        ({"EXPOSURE": None}, "no EXPOSURE"),
        ({"EXPOSURE": "long"}, "not a number"),
        ({"channel": [1, 2, 2, 4]}, "listed twice"),
        ({"channel": [1, 2, 3, 9]}, "lie outside the 4"),
        ({"BACKSCAL": -1.0}, "BACKSCAL is negative"),
        ({"counts": [], "channel": []}, "no rows"),
    ],
)
def test_bad_spectra_are_refused_with_the_extension(ogip, options, reason):
    path = ogip.pha(**options)
    with pytest.raises(InputFileError, match=reason) as caught:
        read_spectrum(path)
    assert caught.value.path == str(path)
    assert caught.value.extension == "SPECTRUM,1"


def test_no_spectrum_and_no_counts_column(ogip):
    with pytest.raises(InputFileError, match=r"no spectrum.*SPECRESP"):
        read_spectrum(ogip.arf())
    table = ogip.table("SPECTRUM", [fits.Column("CHANNEL", "J", array=[1, 2])], HDUCLAS1="SPECTRUM", EXPOSURE=1.0)
    with pytest.raises(InputFileError, match="no column COUNTS or RATE; it has CHANNEL"):
        read_spectrum(ogip.write("empty.pi", table))


def test_background_scale_from_keywords(ogip):
    ogip.pha("back.pi", counts=[8, 0, 4, 4], BACKSCAL=4.0, AREASCAL=2.0, EXPOSURE=500.0)
    spectrum = read_spectrum(ogip.pha(BACKFILE="back.pi", BACKSCAL=0.5))
    np.testing.assert_array_equal(spectrum.background_counts, [8, 0, 4, 4])
    assert spectrum.background_scale == pytest.approx(1000 * 0.5 / (500 * 4 * 2))
    np.testing.assert_allclose(spectrum.expected_background, 0.125 * np.array([8, 0, 4, 4]))


def test_background_scale_from_columns(ogip):
    areas = np.array([1.0, 2.0, 4.0, 8.0])
    ogip.pha("back.pi", counts=[8, 0, 4, 4], extra=[fits.Column("BACKSCAL", "D", array=areas)], BACKSCAL=None)
    constant = [fits.Column("AREASCAL", "D", array=np.full(4, 0.5))]
    spectrum = read_spectrum(ogip.pha(BACKFILE="back.pi", extra=constant, AREASCAL=None))
    np.testing.assert_allclose(spectrum.background_scale, 0.5 / areas)
    assert spectrum.area_scale == 0.5


def test_area_scale_multiplies_the_model(ogip):
    ogip.arf(), ogip.rmf()
    spectrum = read_spectrum(ogip.pha(ANCRFILE="source.arf", RESPFILE="source.rmf", AREASCAL=0.5))
    flux = np.array([1.0, 2.0, 3.0])
    expected = flux @ (ogip.AREA[:, None] * ogip.MATRIX) * 1000 * 0.5
    np.testing.assert_allclose(spectrum.expected_counts(flux), expected, rtol=1e-12)


def test_background_in_the_same_file_and_switched_off(ogip):
    background = ogip.spectrum(counts=[9, 9, 9, 9], HDUCLAS2="BKG", BACKSCAL=3.0)
    path = ogip.write("both.fits", background, ogip.spectrum(BACKFILE="both.fits"))  # whichever comes first
    spectrum = read_spectrum(path)
    np.testing.assert_array_equal(spectrum.counts, [3, 0, 5, 1])
    np.testing.assert_array_equal(spectrum.background_counts, [9, 9, 9, 9])
    assert spectrum.background_scale == pytest.approx(1 / 3)
    assert read_spectrum(path, background=False).background_counts is None


def test_a_background_with_other_channels_is_left_out_and_a_given_one_refused(ogip, caplog):
    background = ogip.pha("back.pi", counts=[1, 2], channel=[1, 2], DETCHANS=2)
    spectrum = read_spectrum(ogip.pha(BACKFILE="back.pi"))
    np.testing.assert_array_equal(spectrum.counts, [3, 0, 5, 1])
    assert spectrum.background_counts is None
    assert "background has 2" in caplog.text
    with pytest.raises(InputFileError, match="background has 2"):
        read_spectrum(ogip.folder / "source.pi", background=background)


def test_a_missing_background_is_noted_and_a_given_one_is_required(ogip, caplog):
    spectrum = read_spectrum(ogip.pha(BACKFILE="lost.pi"))
    assert spectrum.background_counts is None
    assert any("lost.pi" in note for note in spectrum.notes)
    assert "lost.pi" in caplog.text
    with pytest.raises(InputFileError, match="no such file"):
        read_spectrum(ogip.pha(), background=ogip.folder / "lost.pi")


def type_two(ogip, **header):
    """Three spectra; EXPOSURE and BACKSCAL are columns."""
    columns = [
        fits.Column("SPEC_NUM", "I", array=[1, 2, 5]),
        fits.Column("CHANNEL", "4J", array=np.tile([1, 2, 3, 4], (3, 1))),
        fits.Column("COUNTS", "4J", array=np.arange(12).reshape(3, 4)),
        fits.Column("EXPOSURE", "D", array=[10.0, 20.0, 30.0]),
        fits.Column("BACKSCAL", "D", array=[1.0, 2.0, 3.0]),
        fits.Column("BACKGROUND_UP", "4J", array=np.ones((3, 4), int)),
        fits.Column("BACKGROUND_DOWN", "4J", array=2 * np.ones((3, 4), int)),
    ]
    facts = {"HDUCLAS1": "SPECTRUM", "HDUCLAS2": "TOTAL", "DETCHANS": 4, "BACKSCUP": 4.0, "BACKSCDN": 2.0}
    return ogip.write("pha2.fits", ogip.table("SPECTRUM", columns, **facts | header))


def test_type_two(ogip):
    path = type_two(ogip)
    spectrum = read_spectrum(path, spec_num=5)
    np.testing.assert_array_equal(spectrum.counts, [8, 9, 10, 11])
    assert (spectrum.exposure, spectrum.spec_num) == (30.0, 5)
    np.testing.assert_array_equal(spectrum.background_counts, [3, 3, 3, 3])
    assert spectrum.background_scale == pytest.approx(3.0 / 6.0)
    with pytest.raises(InputFileError, match=r"3 spectra: choose one by spec_num .it has 1, 2, 5"):
        read_spectrum(path)
    with pytest.raises(InputFileError, match="no spectrum with SPEC_NUM 3"):
        read_spectrum(path, spec_num=3)
    with pytest.raises(InputFileError, match="type I"):
        read_spectrum(ogip.pha(), spec_num=1)


def test_a_type_two_file_of_one_row_needs_no_number(ogip):
    columns = [
        fits.Column("SPEC_NUM", "I", array=[1]),
        fits.Column("CHANNEL", "PJ()", array=np.array([np.array([1, 2, 3, 4])], dtype=object)),
        fits.Column("RATE", "PE()", array=np.array([np.array([0.1, 0.2, 0.0, 0.4])], dtype=object)),
    ]
    path = ogip.write("one.fits", ogip.table("SPECTRUM", columns, HDUCLAS1="SPECTRUM", DETCHANS=4, EXPOSURE=10.0))
    np.testing.assert_array_equal(read_spectrum(path).counts, [1, 2, 0, 4])


def test_grouping_and_quality_are_kept_and_not_applied(ogip):
    extra = [fits.Column("GROUPING", "I", array=[1, -1, 1, -1]), fits.Column("QUALITY", "I", array=[0, 0, 2, 5])]
    spectrum = read_spectrum(ogip.pha(extra=extra))
    np.testing.assert_array_equal(spectrum.counts, [3, 0, 5, 1])
    np.testing.assert_array_equal(spectrum.grouping, [1, -1, 1, -1])
    np.testing.assert_array_equal(spectrum.quality, [0, 0, 2, 5])


def test_a_rmf_with_another_number_of_channels_is_refused(ogip):
    ogip.arf(), ogip.rmf()
    with pytest.raises(InputFileError, match=r"3 channels .DETCHANS., and source.rmf has 4"):
        read_spectrum(
            ogip.pha(counts=[1, 2, 3], channel=[1, 2, 3], DETCHANS=3, RESPFILE="source.rmf", ANCRFILE="source.arf")
        )


def test_channels_numbered_differently_than_in_the_rmf(ogip):
    ogip.arf(), ogip.rmf(first=0)
    names = {"RESPFILE": "source.rmf", "ANCRFILE": "source.arf"}
    spectrum = read_spectrum(ogip.pha(**names))
    assert any("numbered from 1 here and from 0" in note for note in spectrum.notes)
    with pytest.raises(InputFileError, match="leaves channels out"):
        read_spectrum(ogip.pha(counts=[1, 2, 3], channel=[1, 2, 4], **names))


def test_counts_turn_with_descending_channels(ogip):
    ogip.arf(), ogip.rmf(descending=True)
    ogip.pha("back.pi", counts=[1, 2, 3, 4])
    spectrum = read_spectrum(ogip.pha(RESPFILE="source.rmf", ANCRFILE="source.arf", BACKFILE="back.pi"))
    np.testing.assert_array_equal(spectrum.counts, [1, 5, 0, 3])
    np.testing.assert_array_equal(spectrum.channel, [4, 3, 2, 1])
    np.testing.assert_array_equal(spectrum.background_counts, [4, 3, 2, 1])


def real_entries(real_data):
    return json.loads((real_data / "spectra_check.json").read_text())


def test_every_real_set_has_exactly_the_expected_counts(real_data):
    complete = 0
    for name, entry in real_entries(real_data).items():
        if "cstat" not in entry:
            continue
        complete += 1
        spectrum = read_spectrum(real_data / "spectra" / name)
        background = None if spectrum.background_counts is None else spectrum.background_counts.sum()
        assert spectrum.counts.sum() == entry["counts"], name
        assert background == entry["bkg_counts"], name
        assert spectrum.exposure == pytest.approx(entry["exposure_s"], abs=0.06), name
        if entry["bkg_scale"] is not None:
            assert spectrum.background_scale == pytest.approx(entry["bkg_scale"], rel=1e-3), name
        assert spectrum.companions["arf"].name == entry["arf"]
        assert spectrum.companions["rmf"].name == entry["rmf"]
        assert spectrum.response.num_channels == spectrum.counts.size
    assert complete == 20


def test_real_negative_cases(real_data):
    folder = real_data / "spectra"
    plain = read_spectrum(folder / "g21.5_obs1838_noresp" / "source1.pi")
    assert (plain.counts.sum(), plain.response, plain.background_counts) == (3328, None, None)
    hrc = folder / "hrci_arlac_obs24564" / "hrcf24564_000N030_r0001_pha3.fits.gz"
    with pytest.raises(InputFileError, match=r"hrcf24564_000N030_r0001_rmf3.fits") as caught:
        read_spectrum(hrc)
    assert caught.value.extension == "SPECTRUM,1"
    counts = read_spectrum(hrc, require_response=False)
    assert (counts.counts.sum(), counts.background_counts.sum(), counts.response) == (4965, 223, None)
    with pytest.raises(InputFileError, match=r"epn_ff20_sdY9.rmf"):  # an absolute RESPFILE
        read_spectrum(folder / "xmm_epn_unknown" / "pn_pi_src_bin10.ds")


def test_real_traps(real_data):
    folder = real_data / "spectra"
    merged = read_spectrum(folder / "cdfs4Ms_179" / "179.pi")
    assert merged.background_scale == pytest.approx(1 / 32.4418, rel=1e-6)  # AREASCAL, with BACKSCAL 1 in both
    assert merged.header.obs_id.count(",") == 51
    assert merged.header.obsid_number is None
    csc = read_spectrum(folder / "csc_acisf01575_001N001_r0085" / "acisf01575_001N001_r0085_pha3.fits.gz")
    assert csc.companions["background"] == csc.path
    assert csc.header.object_name is None  # "CSC" is no source
    m33 = read_spectrum(folder / "m33_obs1730" / "source.pi")  # names no companion at all
    assert {path.name for path in m33.companions.values()} == {"source.arf", "source.rmf.gz", "back.pi"}
    lost = read_spectrum(folder / "b3_0710_obs12845" / "12845.pi.gz")  # BACKFILE is not there
    assert any("12845_bkg.pi" in note for note in lost.notes)
    assert read_spectrum(folder / "gcs25_obs2278" / "pi2278.fits").counts.size == 685
    xmm = read_spectrum(folder / "xmm_epicpn_heacit" / "PN.pha")
    assert (xmm.channel[0], xmm.counts.size, xmm.header.obs_id) == (0, 4096, "0693760101")
    assert xmm.header.object_name == "CXOU J235750.9-3237"  # from the primary header
    area = [
        np.interp(1.5, spectrum.response.energy_lo, spectrum.response.arf)
        for spectrum in (
            read_spectrum(folder / "4c19.44_obs6903" / "obs1.pi"),
            read_spectrum(folder / "4c19.44_obs6904" / "obs2.pi"),
        )
    ]
    assert area[0] / area[1] == pytest.approx(17, rel=0.1)


def test_version_tags_may_differ_inside_a_csc_set(real_data, tmp_path):
    source = real_data / "spectra" / "csc_acisf07867_000N001_r0002"
    shutil.copy(source / "acisf07867_000N001_r0002_pha3.fits", tmp_path / "acisf07867_000N003_r0002_pha3.fits")
    for tag in ("001", "002"):
        for product, ending in (("arf3", ""), ("rmf3", ".gz")):
            name = f"acisf07867_000N{tag}_r0002_{product}.fits{ending}"
            shutil.copy(source / name.replace(f"N{tag}", "N001"), tmp_path / name)
    # Another region's response must not be taken.
    shutil.copy(source / "acisf07867_000N001_r0002_arf3.fits", tmp_path / "acisf07867_000N009_r0003_arf3.fits")
    with fits.open(tmp_path / "acisf07867_000N003_r0002_pha3.fits", mode="update") as hdus:
        hdus[1].header["ANCRFILE"] = "acisf07867_000N003_r0002_arf3.fits"
        hdus[1].header["RESPFILE"] = "acisf07867_000N003_r0002_rmf3.fits"
    spectrum = read_spectrum(tmp_path / "acisf07867_000N003_r0002_pha3.fits")
    assert spectrum.companions["arf"].name == "acisf07867_000N002_r0002_arf3.fits"  # the newest
    assert spectrum.counts.sum() == 233


def test_gzip_fallback_and_case(ogip):
    arf, rmf = ogip.arf("area.arf"), ogip.rmf("MATRIX.RMF")
    (ogip.folder / "area.arf.gz").write_bytes(gzip.compress(arf.read_bytes()))
    arf.unlink()
    spectrum = read_spectrum(ogip.pha(ANCRFILE="/somewhere/else/area.arf", RESPFILE="matrix.rmf"))
    assert (spectrum.companions["arf"].name, spectrum.companions["rmf"]) == ("area.arf.gz", rmf)


def test_a_named_file_that_is_missing_is_not_replaced_by_one_of_the_same_stem(ogip):
    ogip.arf(), ogip.rmf()
    path = ogip.pha(ANCRFILE="flaresp.corr.arf", RESPFILE="source.rmf")
    with pytest.raises(InputFileError, match=r"no ARF: ANCRFILE names flaresp.corr.arf, which is not at"):
        read_spectrum(path)
    assert read_spectrum(path, require_response=False).response is None
    np.testing.assert_allclose(read_spectrum(path, arf=ogip.folder / "source.arf").response.arf, ogip.AREA)


def test_an_ambiguous_folder_is_not_guessed_in(ogip):
    ogip.arf("a.arf"), ogip.arf("b.arf"), ogip.rmf("a.rmf")
    with pytest.raises(InputFileError, match=r"no ARF: ANCRFILE names lost.arf"):
        read_spectrum(ogip.pha(ANCRFILE="lost.arf", RESPFILE="a.rmf"))


def test_another_observations_response_is_not_guessed(ogip):
    ogip.arf("area.arf", OBS_ID="99"), ogip.rmf("a.rmf")
    assert "no ARF" in read_spectrum(ogip.pha(ANCRFILE=None, RESPFILE=None)).response_problem


def test_given_files_go_before_the_header(ogip):
    ogip.arf(), ogip.rmf()
    arf = ogip.arf("given.arf", area=[1.0, 2.0, 3.0])
    spectrum = read_spectrum(ogip.pha(ANCRFILE="source.arf", RESPFILE="source.rmf"), arf=arf)
    np.testing.assert_allclose(spectrum.response.arf, [1, 2, 3])
    with pytest.raises(InputFileError, match="no such file"):
        read_spectrum(ogip.pha(), rmf=ogip.folder / "lost.rmf", arf=arf)
