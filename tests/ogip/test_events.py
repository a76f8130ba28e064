from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from chandraclip.data.files import find_detections
from chandraclip.errors import InputFileError
from chandraclip.ogip import read_events
from chandraclip.ogip.gti import inside_intervals, merge_intervals


def test_times_are_sorted_cut_to_the_gti_and_relative(ogip):
    events = read_events(ogip.events(EXPOSURE=19.0, DTCOR=0.95))
    np.testing.assert_allclose(events.time, [0.5, 2.0, 8.0])
    np.testing.assert_allclose(events.gti, [[0.0, 20.0]])
    assert (events.tstart, events.exposure, events.num_outside_gti) == (10.0, 19.0, 1)
    np.testing.assert_allclose(events.energy, 99.5 * 0.0146, rtol=1e-6)
    assert events.energy.dtype == np.float32
    assert events.mjd_obs == pytest.approx(50814 + 10 / 86400)


def test_the_exposure_of_a_file_cut_in_time_comes_from_its_gti(ogip):
    assert read_events(ogip.events(EXPOSURE=5000.0, DTCOR=0.9)).exposure == pytest.approx(18.0)
    assert read_events(ogip.events()).exposure == pytest.approx(20.0)


def test_timezero_moves_events_and_intervals(ogip):
    gti = [ogip.gti((10.0, 30.0), TIMEZERO=-1.0)]
    events = read_events(ogip.events(gti=gti, TIMEZERO=-1.0))
    np.testing.assert_allclose(events.time, [0.5, 2.0, 8.0])
    assert events.tstart == 9.0


def test_a_split_mjdref(ogip):
    events = read_events(ogip.events(MJDREF=None, MJDREFI=56658, MJDREFF=0.25))
    assert events.mjd_obs == pytest.approx(56658.25 + 10 / 86400, abs=1e-9)


@pytest.mark.parametrize("style", ["name", "hduname", "extver"])
def test_each_photon_is_held_to_its_own_ccd(ogip, style):
    """A regevt3 over two chips, and a third chip without photons."""
    gti = []
    for number, interval in ((7, (10.0, 20.0)), (3, (15.0, 30.0)), (5, (0.0, 100.0))):
        name = f"GTI{number}" if style == "name" else "GTI"
        header = {"hduname": {"HDUNAME": f"GTI{number}"}, "extver": {"EXTVER": number}}.get(style, {})
        gti.append(ogip.gti(interval, name=name, HDUCLAS1=None, **header))
    columns = [
        fits.Column("CCD_ID", "I", array=[7, 7, 3, 3, 7]),
        fits.Column("ENERGY", "E", unit="eV", array=[1000.0, 2000.0, 3000.0, 4000.0, 5000.0]),
    ]
    events = read_events(ogip.events(time=[11.0, 21.0, 12.0, 25.0, 16.0], columns=columns, gti=gti))
    np.testing.assert_allclose(events.time, [1.0, 6.0, 15.0])  # 11, 16 on chip 7, and 25 on chip 3
    np.testing.assert_allclose(events.energy, [1.0, 5.0, 4.0])
    np.testing.assert_allclose(events.gti, [[0.0, 20.0]])  # the union of chips 7 and 3
    assert events.num_outside_gti == 2


def test_no_gti_falls_back_on_the_header_then_on_the_photons(ogip):
    np.testing.assert_allclose(read_events(ogip.events(gti=[], TSTART=5.0, TSTOP=40.0)).gti, [[0.0, 35.0]])
    np.testing.assert_allclose(read_events(ogip.events(gti=[])).gti, [[0.0, 20.5]])


@pytest.mark.parametrize(
    "facts, pi, kev",
    [
        ({"TELESCOP": "NICER", "INSTRUME": "XTI"}, 150, 1.5),
        ({"TELESCOP": "XMM", "INSTRUME": "EPN"}, 1500, 1.5),
        ({"TELESCOP": "XMM", "INSTRUME": "EMOS1"}, 1500, 1.5),
        ({"TELESCOP": "NuSTAR", "INSTRUME": "FPMA"}, 100, 5.6),
        ({"TELESCOP": "SWIFT", "INSTRUME": "XRT"}, 150, 1.5),
        ({"TELESCOP": "CHANDRA", "INSTRUME": "ACIS"}, 1, 0.0073),
    ],
)
def test_pi_to_kev(ogip, facts, pi, kev):
    events = read_events(ogip.events(columns=[fits.Column("PI", "J", array=np.full(4, pi))], **facts))
    np.testing.assert_allclose(events.energy, kev, rtol=1e-6)


def test_energy_goes_before_pi_and_nulls_are_counted(ogip):
    columns = [
        fits.Column("PI", "J", array=[1, 2, 3, 4]),
        fits.Column("ENERGY", "E", unit="keV", array=[1.0, np.nan, 3.0, 4.0]),
    ]
    events = read_events(ogip.events(columns=columns))
    np.testing.assert_allclose(events.energy, [1.0, 3.0])
    assert (events.num_without_energy, events.num_outside_gti) == (1, 1)
    null = read_events(ogip.events(columns=[fits.Column("PI", "J", null=-1, array=[100, -1, 100, 100])]))
    assert (len(null), null.num_without_energy) == (2, 1)


def test_a_region_cuts_photons(ogip):
    columns = [fits.Column("PI", "J", array=np.full(4, 100)), *ogip.sky_columns([4096, 4097, 4150, 4096], [4096.0] * 4)]
    path = ogip.events(time=[11.0, 12.0, 13.0, 14.0], columns=columns)
    for region in ("circle(4096.5,4096.5,5)", 'circle(0:40:00,41:00:00,2.5")'):
        events = read_events(path, region)
        np.testing.assert_allclose(events.time, [1.0, 2.0, 4.0])
        assert events.num_outside_region == 1
    with pytest.raises(InputFileError, match=r"no columns X and Y; it has TIME, PI"):
        read_events(ogip.events(), "circle(1,2,3)")


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"time": [1.0, np.nan, 2.0, 3.0]}, "TIME is not a number in row 2"),
        ({"EXPOSURE": -1.0}, "EXPOSURE is -1"),
        ({"INSTRUME": "HRC", "TELESCOP": "CHANDRA"}, "PI is not known for CHANDRA HRC"),
        ({"TELESCOP": "HITOMI", "INSTRUME": "HXI"}, "PI is not known for HITOMI HXI"),
        ({"columns": []}, "no column ENERGY or PI; it has TIME"),
        ({"columns": [fits.Column("ENERGY", "E", unit="adu", array=np.ones(4))]}, "ENERGY is in 'adu'"),
        ({"MJDREF": "soon"}, "not a number"),
    ],
)
def test_bad_events_are_refused(ogip, options, reason):
    path = ogip.events(**options)
    with pytest.raises(InputFileError, match=reason) as caught:
        read_events(path)
    assert caught.value.extension == "EVENTS,1"


def test_pi_tells_the_energy_where_the_energy_has_no_unit(ogip):
    columns = [
        fits.Column("PI", "J", array=[10, 20, 30, 40]),
        fits.Column("ENERGY", "E", array=[2.0, 2.4, 2.8, 3.2]),
    ]
    header = {"TELESCOP": "NuSTAR", "INSTRUME": "FPMA"}
    events = read_events(ogip.events(columns=columns, **header))
    np.testing.assert_allclose(
        events.energy, [2.4, 2.0, 2.8], rtol=1e-6
    )  # in order of time; the last is outside the GTI
    with pytest.raises(InputFileError, match="ENERGY is in ''"):
        read_events(ogip.events(columns=columns[1:], **header))


@pytest.mark.parametrize("name", ["EVENTSxy", "event file"])
def test_an_event_list_without_hduclas_is_known_by_its_columns(ogip, name):
    columns = [
        fits.Column("TIME", "D", array=[12.0, 10.5, 31.0]),
        fits.Column("Energy", "E", unit="keV", array=[1.0, 2.0, 3.0]),
    ]
    light_curve = ogip.table("RATE", [fits.Column("TIME", "D", array=[10.0]), fits.Column("RATE", "E", array=[1.0])])
    table = ogip.table(name, columns, TELESCOP="XMM", INSTRUME="epn")
    path = ogip.write("events.fits", light_curve, table, ogip.gti((10.0, 30.0)))
    events = read_events(path)
    np.testing.assert_allclose((events.time, events.energy), [[0.5, 2.0], [2.0, 1.0]])
    assert [item.events for item in find_detections(ogip.folder)] == [path]


def test_no_time_column_names_what_is_there(ogip):
    table = ogip.table("EVENTS", [fits.Column("X", "E", array=[1.0]), fits.Column("ENERGY", "E", array=[1.0])])
    with pytest.raises(InputFileError, match="no column TIME; it has X, ENERGY"):
        read_events(ogip.write("untimed.fits", table))
    with pytest.raises(InputFileError, match="no event list"):
        read_events(ogip.pha())


def test_bad_intervals(ogip):
    with pytest.raises(InputFileError, match="STOP comes before START in row 2") as caught:
        read_events(ogip.events(gti=[ogip.gti((10.0, 20.0), (40.0, 30.0))]))
    assert caught.value.extension == "GTI,2"
    with pytest.raises(InputFileError, match="no good time"):
        read_events(ogip.events(gti=[ogip.gti()]))


intervals = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted), min_size=0, max_size=8)


@given(intervals)
def test_merged_intervals_cover_the_same_times(pairs):
    array = np.array(pairs, dtype=float).reshape(-1, 2)
    merged = merge_intervals(array)
    times = np.arange(0.25, 60, 0.5)  # never on an edge
    expected = ((times[:, None] > array[:, 0]) & (times[:, None] < array[:, 1])).any(axis=1)
    np.testing.assert_array_equal(inside_intervals(times, merged), expected)
    assert (merged[1:, 0] > merged[:-1, 1]).all()
    assert (merged[:, 1] > merged[:, 0]).all()


def test_real_chandra_events(real_data):
    path = real_data / "events" / "chandra_m82_obs10027" / "chandra_test.fits"
    events = read_events(path)
    assert (len(events), events.header.obs_id, events.header.object_name) == (4612, "10027", "M82")
    assert (np.diff(events.time) >= 0).all()
    # EXPOSURE is the whole observation's 18 ks; the file holds its first 945 s.
    assert events.exposure == pytest.approx(945.336 * 0.906947, rel=1e-5)
    assert events.mjd_obs == pytest.approx(50814 + events.tstart / 86400)
    cut = read_events(path, 'circle(9:55:50.7,+69:40:47,20")')
    assert len(cut) + cut.num_outside_region == 4612
    assert 0 < len(cut) < 4612


@pytest.mark.parametrize(
    "name, photons, intervals, mjd",
    [
        ("J0218_nicer_2070030405_cleanfilt_cut_bary.evt", 3361, 42, 58903.6297),
        ("ngc300nicer_bary.evt", 2408, 8, 58155.66507),
        ("sgr1830kgfilt.evt", 9369, 2, 59132.77507),
    ],
)
def test_real_nicer_events(real_data, name, photons, intervals, mjd):
    events = read_events(real_data / "events" / "nicer" / name)
    assert (len(events), len(events.gti)) == (photons, intervals)
    assert events.mjd_obs == pytest.approx(mjd, abs=1e-4)  # MJDREFI + MJDREFF
    assert 0.1 < events.energy.min() < events.energy.max() < 16
    assert events.exposure == pytest.approx((events.gti[:, 1] - events.gti[:, 0]).sum(), abs=1)


@pytest.mark.parametrize("name", ["B1509_RXTE_short.fits", "xte_gx_test.evt.gz", "xte_test.evt.gz"])
def test_real_pha_only_events_are_refused(real_data, name):
    with pytest.raises(InputFileError, match=r"PHA is not calibrated energy; it has TIME, Event"):
        read_events(real_data / "events" / "rxte" / name)


@pytest.mark.parametrize(
    "name", ["chandra_orion_obs1522/orion_obs1522_events_no_time.csv.gz", "chandra_uvcet/chandra_uvcet_events.csv.gz"]
)
def test_real_event_tables_in_text_are_refused(real_data, name):
    with pytest.raises(InputFileError, match="not a FITS file: it begins with 'x,y,"):
        read_events(real_data / "events" / name)
