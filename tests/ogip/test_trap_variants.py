"""Other cases of the kinds that `shared/traps` shows, which a trial of a few hundred of them found wrong."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from chandraclip.errors import InputFileError
from chandraclip.ogip import read_events, read_spectrum
from chandraclip.ogip.response_reader import read_arf, read_rmf

COUNTS = np.array([3, 0, 5, 1])
RESPONSES = {"ANCRFILE": "source.arf", "RESPFILE": "source.rmf"}


OTHER_UNITS = ["counts/ks", "counts/min", "count/h", "mcount/s", "kcts/s", "counts/ms", "count/day", "%"]
OTHER_UNITS += ["ct ks**-1", "count hour^-1", "10**-3 count/s", "count per frame", "1e-3 counts/s"]


@pytest.mark.parametrize("unit", OTHER_UNITS)
@pytest.mark.parametrize("name", ["RATE", "COUNTS"])
def test_rates_in_another_unit_are_not_taken_for_counts_per_second(ogip, name, unit):
    columns = [
        fits.Column("CHANNEL", "J", array=[1, 2, 3, 4]),
        fits.Column(name, "D", unit=unit, array=COUNTS.astype(float)),
    ]
    table = ogip.table("SPECTRUM", columns, HDUCLAS1="SPECTRUM", DETCHANS=4, EXPOSURE=1000.0)
    with pytest.raises(InputFileError, match="neither counts nor counts/s"):
        read_spectrum(ogip.write("a.pi", table))


@pytest.mark.parametrize("unit", ["counts/bin", "count/channel", "counts/sec/chan", "Counts", "channels", "none"])
def test_units_that_say_no_more_than_counts(ogip, unit):
    name = "RATE" if "sec" in unit else "COUNTS"
    values = COUNTS / 1000.0 if name == "RATE" else COUNTS.astype(float)
    columns = [fits.Column("CHANNEL", "J", array=[1, 2, 3, 4]), fits.Column(name, "D", unit=unit, array=values)]
    table = ogip.table("SPECTRUM", columns, HDUCLAS1="SPECTRUM", DETCHANS=4, EXPOSURE=1000.0)
    np.testing.assert_array_equal(read_spectrum(ogip.write("a.pi", table)).counts, COUNTS)


def test_the_background_of_another_source_in_the_file(ogip):
    def file(version):
        tables = [ogip.spectrum(EXTVER=1), ogip.spectrum(counts=[9] * 4, EXTVER=2)]
        return ogip.write("a.pi", *tables, ogip.spectrum(counts=[2] * 4, HDUCLAS2="BKG", EXTVER=version))

    assert read_spectrum(file(2), extension=1).background_counts is None
    assert read_spectrum(file(2), extension=2).background_counts.tolist() == [2] * 4
    assert read_spectrum(file(None), extension=1).background_counts.tolist() == [2] * 4  # one for both


def test_channels_declared_by_tlmax_alone(ogip):
    spectrum = read_spectrum(ogip.pha(channel=[3, 4, 5, 6], DETCHANS=None, TLMIN1=1, TLMAX1=8))
    assert spectrum.counts.tolist() == [0, 0, 3, 0, 5, 1, 0, 0]


def type_two(ogip, cells):
    columns = [
        fits.Column("CHANNEL", "4J", array=np.tile([1, 2, 3, 4], (2, 1))),
        fits.Column("COUNTS", "4J", array=[COUNTS, COUNTS]),
        fits.Column("RESPFILE", "12A", array=cells),
    ]
    table = ogip.table("SPECTRUM", columns, HDUCLAS1="SPECTRUM", DETCHANS=4, EXPOSURE=1000.0, ANCRFILE="source.arf")
    return ogip.write("a.pha2", table)


def test_a_nul_ends_a_string(ogip):
    """FITS 4.0, section 7.3.3.1; in headers, where it may not be, old writers put it all the same."""
    ogip.arf(), ogip.rmf()
    path = type_two(ogip, ["source.rmf#z", "none"])
    path.write_bytes(path.read_bytes().replace(b"source.rmf#z", b"source.rmf\0z"))
    assert read_spectrum(path, spec_num=1).companions["rmf"].name == "source.rmf"
    path = ogip.pha("b.pi", **RESPONSES)
    path.write_bytes(path.read_bytes().replace(b"'source.rmf'  ", b"'source.rmf\0\0'"))
    assert read_spectrum(path).companions["rmf"].name == "source.rmf"


@pytest.mark.parametrize("none", ["none", None])
def test_the_response_of_another_source_of_the_observation(ogip, none):
    ogip.arf(OBS_ID="12"), ogip.rmf(OBS_ID="12"), ogip.pha(**RESPONSES)
    other = ogip.pha("other.pi", counts=[1, 2, 3, 4], ANCRFILE=none, RESPFILE=none)
    assert read_spectrum(ogip.folder / "source.pi").response is not None
    assert read_spectrum(other).response is None
    type_two(ogip, ["x/SOURCE.RMF", "none"])
    ogip.pha(counts=COUNTS)  # names nothing now, but a row of the type II does
    assert "rmf" not in read_spectrum(other).companions
    copy = ogip.folder / "source.pi.gz"  # of the same stem: its own, whoever names it too
    copy.write_bytes(ogip.pha("plain.pi", ANCRFILE=none, RESPFILE=none).read_bytes())
    assert read_spectrum(copy).response is not None


def test_matrices_that_are_normalised_each_add_up(ogip):
    with fits.open(ogip.rmf(layout="fixed")) as hdus:
        parts = [hdus[1].copy() for _ in range(3)]
        fits.HDUList([fits.PrimaryHDU(), *parts, hdus[2].copy()]).writeto(ogip.folder / "sum.rmf")
    rmf = read_rmf(ogip.folder / "sum.rmf")
    np.testing.assert_allclose(rmf.matrix.toarray(), 3 * ogip.MATRIX, rtol=1e-6)
    assert not rmf.includes_area


def test_areas_and_elements_beyond_reason(ogip):
    with pytest.raises(InputFileError, match="larger than any telescope's"):
        read_arf(ogip.arf(area=[1e30, 300.0, 50.0]))
    with pytest.raises(InputFileError, match="no probability and no area"):
        read_rmf(ogip.rmf(scale=1e30))


@pytest.mark.parametrize("step", [1e-300, 1e-20, 1e4])
@pytest.mark.parametrize("axis", ["X", "Y"])
def test_a_pixel_of_no_size_is_no_sky(ogip, axis, step):
    columns = ogip.sky_columns([4100.0] * 4, [4100.0] * 4)
    columns[0 if axis == "X" else 1].coord_inc = step
    events = ogip.events(columns=[fits.Column("PI", "J", array=[100] * 4), *columns], RA_PNT=10.0, DEC_PNT=41.0)
    region = ogip.write("reg.fits", ogip.region_table("SRCREG", [("Circle", 4100, 4100, (10, 0), 0, 1)]))
    assert read_events(events).sky is None
    read_events(events, region)  # in the pixels that both are in
