"""Photon lists that readers got wrong: the shared cases and variants of each kind."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from astropy.io import fits

from chandraclip.catalog.ragged import Ragged
from chandraclip.catalog.variability import gregory_loredo
from chandraclip.errors import InputFileError
from chandraclip.ogip import read_events
from chandraclip.ogip.intervals import inside_intervals, intersect_intervals, merge_intervals
from ogip_files import EPIC, photons


def absolute(events) -> np.ndarray:
    return events.gti + events.tstart


# Shared cases.


@pytest.mark.parametrize(
    "name, num_photons, exposure",
    [
        # LIVETI04 38 of ONTIME04 40 s.
        ("E01_xmm_filtered_pn/pn.fits", 3, 38.0),
        # CCD 2 is good from 20 to 50 s only: its photons at 51 and 57 s are out.
        ("E02_xmm_filtered_mos/mos.fits", 11, 40.0),
        # CCD 3 is in no component; GTI00103 is component 1's, not CCD 3's.
        ("E02_xmm_filtered_mos/mos_ccd3.fits", 13, 40.0),
    ],
)
def test_epic_filter_goes_before_the_standard_good_time(traps, name, num_photons, exposure):
    events = read_events(traps / name)
    np.testing.assert_allclose(absolute(events), [[20.0, 60.0]])
    assert (len(events), events.exposure) == (num_photons, pytest.approx(exposure))


def test_events_barycentred_without_their_good_times(traps):
    with pytest.raises(InputFileError, match="none of its 3 photons lies in the good times") as caught:
        read_events(traps / "E05_barycentred_events_only" / "bary.fits")
    assert "EVENTS,1 are barycentred (TIMEREF), those of GTI,2 are not" in caught.value.reason


def test_exposure_of_a_list_cut_in_time(traps):
    assert read_events(traps / "E06_deadc" / "nustar.fits").exposure == pytest.approx(10.0)


@pytest.mark.parametrize(
    "name, extension, reason",
    [
        ("time2", "EVENTS,1", "TIME"),
        ("timeA", "EVENTS,1", "TIME"),
        ("timeP", "EVENTS,1", "TIME"),
        ("pi2", "EVENTS,1", "PI"),
        ("piA", "EVENTS,1", "PI"),
        ("ccd2", "EVENTS,1", "CCD_ID"),
        ("ccdnan", "EVENTS,1", "CCD_ID is not a whole number in row 2"),
        ("gti2", "GTI,2", "START"),
        ("gnan", "GTI,2", "START is not a number in row 2"),
        ("exp0", "EVENTS,1", "EXPOSURE is 0"),
        ("dtcor", "EVENTS,1", "DTCOR is 1.02"),
        ("tz", "EVENTS,1", "TIMEZERO is 'none'"),
    ],
)
def test_columns_that_are_not_what_they_should_be(traps, name, extension, reason):
    with pytest.raises(InputFileError, match=reason) as caught:
        read_events(traps / "E09_columns" / f"{name}.fits")
    assert caught.value.extension == extension


def test_times_are_the_middle_of_the_frame(traps):
    events = read_events(traps / "E12_frame_time" / "a.fits")
    np.testing.assert_allclose(events.time + events.tstart, [12 + 1.62, 15 + 1.62])


def test_pi_beyond_the_energy_range(traps, caplog):
    events = read_events(traps / "E13_nustar_negative_pi" / "a.fits")
    np.testing.assert_allclose(events.energy, [5.6], rtol=1e-6)
    assert events.num_without_energy == 2
    assert "2 of 3 photons left out: without a calibrated energy" in caplog.text
    assert any("2 of 3 photons" in note for note in events.notes)


# Which table holds.


def test_constant_photons_of_a_filtered_epic_list_do_not_vary(ogip):
    """Photons at one rate in the times that a filter kept, out of 20 ks of standard good time."""
    kept = ((1000.0, 4000.0), (6000.0, 6500.0), (15000.0, 19000.0))
    random = np.random.default_rng(5)
    time = np.concatenate([random.uniform(start, stop, int(0.04 * (stop - start))) for start, stop in kept])
    path = ogip.events(
        time=time,
        columns=photons(time.size, CCDNR=np.full(time.size, 4)),
        gti=[ogip.gti((0.0, 20000.0), name="STDGTI04"), ogip.gti(*kept, name="GTI00003")],
        **EPIC,
        DSTYP1="CCDNR",
        DSVAL1="4",
        DSTYP2="TIME",
        DSVAL2="TABLE",
        DSREF2=":GTI00003",
    )
    events = read_events(path)
    assert (len(events), events.exposure) == (time.size, pytest.approx(7500.0))
    lists = [Ragged.from_rows([column]) for column in (events.time, events.gti[:, 0], events.gti[:, 1])]
    assert gregory_loredo(*lists).var_prob[0] < 0.3
    standard = [Ragged.from_rows([column]) for column in (time, np.array([0.0]), np.array([20000.0]))]
    assert gregory_loredo(*standard).var_prob[0] > 0.999  # the wrong table


@pytest.mark.parametrize(
    "subspace, expected",
    [
        ({"DSREF1": ":gti00003"}, [[20, 60]]),
        ({"DSREF1": "[STDGTI04]"}, [[0, 100]]),
        ({"DSREF1": "before.fits[GTI00003]"}, [[20, 60]]),  # a file that is not here any more
        ({"DSREF1": ":GTI00003", "DSTYP2": "TIME", "DSVAL2": "TABLE", "DSREF2": ":OTHER"}, [[20, 30], [50, 60]]),
        ({"DSREF1": ":GTI00003", "DSTYP2": "TIME", "DSVAL2": ":25,40:"}, [[20, 25], [40, 60]]),
        ({"DSREF1": ":GTI00003", "2DSREF1": ":OTHER"}, [[10, 70]]),
        ({"DSREF1": f"{'long' * 300}.fits[GTI00003]"}, [[20, 60]]),
        ({"DSVAL1": "12:28"}, [[20, 28]]),  # ranges alone cut the file's good times
        ({"DSVAL1": "30:"}, [[30, 60]]),
        ({"DSTYP1": "PI", "DSVAL1": "300:10000"}, [[20, 60]]),
        ({}, [[20, 60]]),
    ],
)
def test_data_subspace(ogip, subspace, expected):
    keywords = {"DSTYP1": "TIME", "DSVAL1": "TABLE"} | subspace if subspace else {}
    gti = [
        ogip.gti((0.0, 100.0), name="STDGTI04"),
        ogip.gti((20.0, 60.0), name="GTI00003"),
        ogip.gti((10.0, 30.0), (50.0, 70.0), name="OTHER"),
    ]
    time = [22.0, 24.0, 26.0, 55.0]
    path = ogip.events(time=time, columns=photons(4, CCDNR=[4] * 4), gti=gti, **EPIC, **keywords)
    events = read_events(path)
    np.testing.assert_allclose(absolute(events), expected)
    assert len(events) == inside_intervals(np.array(time), np.array(expected)).sum()


def test_a_table_in_another_file_and_one_that_is_missing(ogip, caplog):
    ogip.write("filter.fits", ogip.gti((14.0, 16.0), name="GTI"))
    keywords = {"DSTYP1": "TIME", "DSVAL1": "TABLE"}
    events = read_events(ogip.events(time=[15.0, 18.0], DSREF1="/far/away/filter.fits[GTI]", **keywords))
    np.testing.assert_allclose(absolute(events), [[14.0, 16.0]])
    assert not [record for record in caplog.records if "missing" in record.message]
    events = read_events(ogip.events(time=[15.0, 18.0], DSREF1=":GTI00003", **keywords))
    np.testing.assert_allclose(absolute(events), [[10.0, 30.0]])
    assert "the good time table :GTI00003 of the data subspace is missing" in caplog.text


@pytest.mark.parametrize("style", ["name", "hduname", "extver", "keyword"])
def test_the_good_time_of_the_region_s_ccd(ogip, style, caplog):
    """The source is on chip 7 alone, though the list has chip 3 too; its one stray photon on chip 6 does not count."""
    gti = []
    for number, interval in ((7, (10.0, 20.0)), (3, (0.0, 100.0)), (6, (0.0, 100.0))):
        name = f"GTI{number}" if style == "name" else "ANY" if style == "keyword" else "GTI"
        header = {"hduname": {"HDUNAME": f"GTI{number}"}, "extver": {"EXTVER": number}, "keyword": {"CCD_ID": number}}
        gti.append(ogip.gti(interval, name=name, **header.get(style, {})))
    x = np.append(np.full(41, 4096.0), [5000.0] * 4)
    columns = [
        fits.Column("PI", "J", array=np.full(45, 100)),
        fits.Column("CCD_ID", "I", array=[7] * 40 + [6] + [3] * 4),
        *ogip.sky_columns(x, np.full(45, 4096.0)),
    ]
    time = np.append(np.linspace(11.0, 19.0, 40), [50.0, 11.0, 40.0, 60.0, 90.0])
    events = read_events(ogip.events(time=time, columns=columns, gti=gti), "circle(4096,4096,10)")
    np.testing.assert_allclose(absolute(events), [[10.0, 20.0]])
    assert (len(events), events.num_outside_region, events.num_outside_gti) == (40, 4, 1)
    assert "1 of 45 photons left out: outside the good times" in caplog.text


def test_ciao_names_a_table_by_name_and_version(ogip):
    gti = [ogip.gti((0.0, 100.0), name="GTI", EXTVER=3), ogip.gti((10.0, 20.0), name="GTI", EXTVER=7)]
    keywords = {"DSTYP1": "time", "DSVAL1": "TABLE", "DSREF1": ":GTI7", "DSTYP2": "ccd_id", "DSVAL2": "7:7"}
    events = read_events(ogip.events(time=[12.0, 15.0], columns=photons(2, ccd_id=[7, 7]), gti=gti, **keywords))
    np.testing.assert_allclose(absolute(events), [[10.0, 20.0]])


def test_epic_tables_without_a_data_subspace(ogip):
    gti = [
        ogip.gti((0.0, 55.0), name="STDGTI01"),
        ogip.gti((0.0, 100.0), name="STDGTI02"),
        ogip.gti((20.0, 60.0), name="GTI00003"),
        ogip.gti((20.0, 60.0), name="GTI00103"),
    ]
    mos = EPIC | {"INSTRUME": "EMOS1"}
    events = read_events(ogip.events(time=[30.0, 57.0], columns=photons(2, CCDNR=[1, 1]), gti=gti, **mos))
    np.testing.assert_allclose(absolute(events), [[20.0, 55.0]])
    events = read_events(ogip.events(time=[30.0, 57.0], columns=photons(2, CCDNR=[1, 2]), gti=gti, **mos))
    np.testing.assert_allclose(absolute(events), [[20.0, 60.0]])
    assert len(events) == 2


def test_a_sas_filter_holds_whatever_its_class(ogip):
    gti = [
        ogip.gti((0.0, 100.0), name="STDGTI04", HDUCLAS2="STANDARD"),
        ogip.gti((20.0, 60.0), name="GTI00003", HDUCLAS2="ALL"),
    ]
    events = read_events(ogip.events(time=[30.0], columns=photons(1, CCDNR=[4]), gti=gti, **EPIC))
    np.testing.assert_allclose(absolute(events), [[20.0, 60.0]])


def test_telescope_modules_of_erosita(ogip):
    gti = [
        *(ogip.gti((10.0, 20.0 + number), name=f"GTI{number}") for number in (1, 2)),
        *(ogip.gti((12.0, 13.0), name=f"FLAREGTI{number}") for number in (1, 2)),
    ]
    facts = {"TELESCOP": "eROSITA", "INSTRUME": "MERGED"}
    events = read_events(ogip.events(time=[15.0, 21.5], columns=photons(2, TM_NR=[1, 1]), gti=gti, **facts))
    np.testing.assert_allclose(absolute(events), [[10.0, 21.0]])


@pytest.mark.parametrize(
    "others, expected",
    [
        ([("BADGTI", {})], [[10, 30]]),
        ([("GTI_FLARE", {"HDUCLAS1": None})], [[10, 30]]),
        ([("NO_GTI", {})], [[10, 30]]),
        ([("REJGTI", {"HDUCLAS2": "STANDARD"})], [[10, 30]]),
        ([("GTI", {"HDUCLAS2": "REJECTED"})], [[10, 30]]),
        ([("GTI", {"HDUCLAS2": "ALL"})], [[10, 30]]),
        ([("GTI", {"HDUCLAS2": "SLEW"})], [[10, 30]]),
        ([("GTI_MPU0", {"HDUCLAS2": "STANDARD"})], [[10, 30]]),
        ([("BADGTI", {}), ("LOSTGTI", {})], [[10, 30]]),
    ],
)
def test_tables_that_merely_have_gti_in_their_name(ogip, others, expected, caplog):
    extra = [ogip.gti((0.0, 1000.0), name=name, **header) for name, header in others]
    for gti in ([*extra, ogip.gti((10.0, 30.0))], [ogip.gti((10.0, 30.0), HDUCLAS2="STANDARD"), *extra]):
        events = read_events(ogip.events(gti=gti))
        np.testing.assert_allclose(absolute(events), expected)
        assert "not good time by their name or HDUCLAS2" in caplog.text
        caplog.clear()


def test_rejected_times_alone_are_no_good_time(ogip, caplog):
    events = read_events(ogip.events(gti=[ogip.gti((0.0, 1.0), name="BADGTI")], TSTART=5.0, TSTOP=40.0))
    np.testing.assert_allclose(absolute(events), [[5.0, 40.0]])
    assert "TSTART to TSTOP is taken" in caplog.text


@pytest.mark.parametrize(
    "time, gti, reason",
    [
        ([12.0], (), "no table of it"),
        ([], (), "no table of it"),
        ([12.0], (("STDGTI", 0.0, 10.0), ("GTI", 20.0, 30.0)), "STDGTI,2, GTI,3"),
        ([12.0], (("GTI", 10.0, 10.0),), "GTI,2"),
    ],
)
def test_no_good_time_at_all_is_refused(ogip, time, gti, reason):
    tables = [ogip.gti((start, stop), name=name) for name, start, stop in gti]
    with pytest.raises(InputFileError, match=f"no good time: .*{reason}"):
        read_events(ogip.events(time=time, gti=tables))


def test_a_second_event_list_is_said(ogip, caplog):
    columns = [fits.Column("TIME", "D", array=[12.0]), fits.Column("PI", "J", array=[100])]
    second = ogip.table("EVENTS", columns, HDUCLAS1="EVENTS", TELESCOP="CHANDRA", INSTRUME="ACIS")
    events = read_events(ogip.events(gti=[ogip.gti((10.0, 30.0)), second]))
    assert len(events) == 3
    assert "other event lists: EVENTS,3 (1 rows)" in events.notes[-2]
    assert "other event lists" in caplog.text


def test_rejected_events_are_not_the_event_list(ogip):
    rejected = ogip.table("REJEVT", [fits.Column("TIME", "D", array=[12.0])], HDUCLAS1="EVENTS", HDUCLAS2="REJECTED")
    accepted = fits.open(ogip.events(TELESCOP="ROSAT", INSTRUME="PSPCB"))
    path = ogip.write("both.fits", rejected, *accepted[1:])
    events = read_events(path)
    assert len(events) == 3
    np.testing.assert_allclose(events.energy, 1.0, rtol=1e-6)


# Units and zero points.


@pytest.mark.parametrize(
    "events_header, gti_header, scale, shift",
    [
        ({}, {"TUNIT1": "ms", "TUNIT2": "ms"}, 1e-3, 0.0),
        ({}, {"TUNIT1": "d", "TUNIT2": "d"}, 86400.0, 0.0),
        ({}, {"TUNIT1": "", "TUNIT2": "", "TIMEUNIT": "d"}, 86400.0, 0.0),
        ({}, {"TIMEZERO": -1.0}, 1.0, -1.0),
        ({}, {"TIMEZERI": 2, "TIMEZERF": 0.5, "TIMEZERO": 99.0}, 1.0, 2.5),
        ({}, {"TIMEZERO": 1e-4, "TIMEUNIT": "d"}, 1.0, 8.64),
        ({}, {"MJDREF": 50814.0001}, 1.0, 8.64),
        ({"MJDREF": None, "MJDREFI": 50814, "MJDREFF": 0.5}, {"MJDREFI": 50814, "MJDREFF": 0.4999}, 1.0, -8.64),
    ],
)
def test_good_time_in_its_own_unit_and_from_its_own_zero(ogip, events_header, gti_header, scale, shift):
    start, stop = (10.0 - shift) / scale, (30.0 - shift) / scale
    events = read_events(ogip.events(gti=[ogip.gti((start, stop), **gti_header)], **events_header))
    np.testing.assert_allclose(absolute(events), [[10.0, 30.0]], rtol=1e-6)
    assert (len(events), events.num_outside_gti) == (3, 1)


@pytest.mark.parametrize(
    "header, scale, shift",
    [
        ({"TUNIT1": "ms"}, 1e-3, 0.0),
        ({"TUNIT1": "d", "TIMEUNIT": "s"}, 86400.0, 0.0),
        ({"TUNIT1": "", "TIMEUNIT": "d"}, 86400.0, 0.0),
        ({"TIMEZERI": 100, "TIMEZERF": 0.25}, 1.0, 100.25),
    ],
)
def test_events_in_their_own_unit_and_from_their_own_zero(ogip, header, scale, shift):
    """The GTI has no TIMEZERO: the events' is theirs alone."""
    time = (np.array([12.0, 10.5, 18.0, 31.0]) - shift) / scale
    events = read_events(ogip.events(time=time, **header))
    np.testing.assert_allclose(events.time, [0.5, 2.0, 8.0], atol=1e-6)


@pytest.mark.parametrize(
    "intervals, expected",
    [
        (((20.0, 30.0), (10.0, 22.0)), [[10, 30]]),
        (((10.0, 12.0), (15.0, 15.0), (14.0, 16.0), (11.0, 12.5)), [[10, 12.5], [14, 16]]),
    ],
)
def test_unsorted_overlapping_and_empty_intervals(ogip, intervals, expected):
    events = read_events(ogip.events(gti=[ogip.gti(*intervals)]))
    np.testing.assert_allclose(absolute(events), expected)
    assert events.exposure == pytest.approx(np.diff(expected).sum())


@pytest.mark.parametrize(
    "interval, expected", [((12.0, 1e38), [[12, 40]]), ((-1e38, 20.0), [[5, 20]]), ((-1e300, 1e300), [[5, 40]])]
)
def test_an_interval_without_end_ends_with_the_observation(ogip, interval, expected):
    events = read_events(ogip.events(gti=[ogip.gti(interval)], TSTART=5.0, TSTOP=40.0))
    np.testing.assert_allclose(absolute(events), expected)
    assert events.exposure == pytest.approx(np.diff(expected).sum())


@pytest.mark.parametrize(
    "gti_header, header, words",
    [
        ({}, {"TIMEREF": "SOLARSYSTEM"}, "EVENTS,1 are barycentred (TIMEREF), those of GTI,2 are not"),
        (
            {"TIMEREF": "SOLARSYSTEM"},
            {"TIMEREF": "LOCAL"},
            "GTI,2 are barycentred (TIMEREF), those of EVENTS,1 are not",
        ),
        ({"TIMESYS": "UTC"}, {"TIMESYS": "TT"}, "EVENTS,1 are TT, those of GTI,2 UTC (TIMESYS)"),
    ],
)
def test_clocks_that_differ_are_told(ogip, caplog, gti_header, header, words):
    events = read_events(ogip.events(gti=[ogip.gti((10.0, 30.0), **gti_header)], **header))
    assert len(events) == 3
    assert words in caplog.text
    assert any(words in note for note in events.notes)


def test_all_photons_of_a_region_lost_is_told(ogip, caplog):
    columns = [*photons(2), *ogip.sky_columns([4096.0, 5000.0], [4096.0, 5000.0])]
    path = ogip.events(time=[50.0, 15.0], columns=columns, **EPIC)
    events = read_events(path, "circle(4096,4096,10)")
    assert len(events) == 0
    assert "none of the 2 photons is left" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert len(read_events(path, "circle(5000,5000,10)")) == 1
    assert not caplog.records  # a region that was asked for is a note, no warning


def test_intersections_cover_what_both_cover():
    random = np.random.default_rng(1)
    times = np.arange(0.25, 60, 0.5)
    for _ in range(50):
        first, second = (
            merge_intervals(np.sort(random.integers(0, 60, (n, 2)), axis=1)) for n in random.integers(0, 8, 2)
        )
        both = intersect_intervals(first, second)
        expected = inside_intervals(times, first) & inside_intervals(times, second)
        np.testing.assert_array_equal(inside_intervals(times, both), expected)


# Exposure.


@pytest.mark.parametrize(
    "header, exposure",
    [
        ({"EXPOSURE": 9000.0}, 20.0),
        ({"EXPOSURE": 9000.0, "DTCOR": 0.5}, 10.0),
        ({"LIVETIME": 9000.0, "DEADC": 0.5}, 10.0),
        ({"EXPOSURE": 9000.0, "ONTIME": 18000.0}, 10.0),
        ({"EXPOSURE": 15.0, "ONTIME": 30.0}, 10.0),  # stale, though less than the good time
        ({"EXPOSURE": 15.0, "DEADC": 0.5}, 10.0),
        ({"EXPOSURE": 9000.0, "ONTIME": 20.0}, 20.0),  # one of the two was brought up to date
        ({"EXPOSURE": 18.0, "ONTIME": 20.0}, 18.0),
        ({"EXPOSURE": 20.01}, 20.01),  # rounded
        ({"EXPOSURE": 12.0, "DTCOR": 0.95}, 12.0),  # more than dead time was taken off
    ],
)
def test_exposure_is_the_live_part_of_the_good_time(ogip, header, exposure):
    assert read_events(ogip.events(**header)).exposure == pytest.approx(exposure)


def test_exposure_of_each_ccd(ogip):
    gti = [ogip.gti((10.0, 30.0), name="STDGTI01"), ogip.gti((10.0, 30.0), name="STDGTI02")]
    live = {"ONTIME01": 100.0, "LIVETI01": 90.0, "ONTIME02": 100.0, "LIVETI02": 50.0}

    def exposure(ccds):
        columns = photons(4, CCDNR=ccds)
        return read_events(
            ogip.events(time=[11.0, 12.0, 13.0, 14.0], columns=columns, gti=gti, **EPIC, **live)
        ).exposure

    assert exposure([1, 1, 1, 1]) == pytest.approx(18.0)
    assert exposure([2, 2, 2, 2]) == pytest.approx(10.0)
    assert exposure([1, 1, 1, 2]) == pytest.approx(20 * (0.75 * 0.9 + 0.25 * 0.5))


@pytest.mark.parametrize("value", [0.0, -0.5, 1.02, "NaN", "high"])
@pytest.mark.parametrize("keyword", ["DTCOR", "DEADC"])
def test_a_dead_time_correction_that_makes_no_sense(ogip, keyword, value):
    with pytest.raises(InputFileError, match=keyword):
        read_events(ogip.events(**{keyword: value}))


def test_much_less_exposure_than_good_time_is_told(ogip, caplog):
    assert read_events(ogip.events(EXPOSURE=5.0)).exposure == 5.0
    assert "EXPOSURE is 5 s, less than half of the 20 s of good time" in caplog.text
