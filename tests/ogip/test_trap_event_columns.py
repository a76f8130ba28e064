"""Columns of photon lists that are not what they should be: kinds, frames, calibrated channels."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from chandraclip.errors import InputFileError
from chandraclip.ogip import read_events
from ogip_files import EPIC, photons

# Columns.


@pytest.mark.parametrize(
    "columns, reason",
    [
        ([fits.Column("ENERGY", "2E", unit="eV", array=np.ones((4, 2)))], "column ENERGY"),
        ([fits.Column("ENERGY", "6A", unit="eV", array=["1000"] * 4)], "column ENERGY"),
        ([fits.Column("PI", "PJ()", array=np.array([[1], [2], [3], [4]], dtype=object))], "column PI"),
        ([fits.Column("PI", "L", array=[True] * 4)], "column PI"),
        (
            [*photons(4), fits.Column("CCD_ID", "E", array=[7.0, 7.5, 7.0, 7.0])],
            "CCD_ID is not a whole number in row 2",
        ),
        ([*photons(4), fits.Column("CCD_ID", "2A", array=["7"] * 4)], "column CCD_ID"),
    ],
)
def test_columns_of_the_wrong_kind(ogip, columns, reason):
    with pytest.raises(InputFileError, match=reason) as caught:
        read_events(ogip.events(columns=columns))
    assert caught.value.extension == "EVENTS,1"


def test_a_column_of_chance_is_no_ccd(ogip):
    number = 200
    columns = photons(number, CCD_ID=np.arange(number))
    with pytest.raises(InputFileError, match="CCD_ID has 200 different values"):
        read_events(ogip.events(time=np.linspace(11, 29, number), columns=columns))


@pytest.mark.parametrize(
    "header, reason",
    [
        ({"TUNIT1": "frame"}, "column TIME is in 'frame', which is no unit of time"),
        ({"TIMEUNIT": "light year"}, "TIMEUNIT is in 'light year'"),
        ({"TIMEZERI": "soon"}, "TIMEZERI"),
        ({"TIMEPIXR": 1.5}, "TIMEPIXR is 1.5"),
        ({"TIMEPIXR": 0.0, "TIMEDEL": -3.0}, "TIMEDEL is -3"),
        ({"TLMAX2": "high"}, "TLMAX2"),
        ({"EXPOSURE": "NaN"}, "EXPOSURE"),
    ],
)
def test_time_keywords_that_make_no_sense(ogip, header, reason):
    with pytest.raises(InputFileError, match=reason):
        read_events(ogip.events(**header))


def test_frames_stamped_at_start_middle_and_end_give_the_same_times(ogip):
    middle = np.array([12.0, 15.0, 18.0])
    for place in (0.0, 0.5, 1.0, None):
        stamps = middle + ((0.5 if place is None else place) - 0.5) * 2.0
        events = read_events(ogip.events(time=stamps, TIMEDEL=2.0, TIMEPIXR=place))
        np.testing.assert_allclose(events.time + events.tstart, middle)
    days = (middle - 1.0) / 86400
    events = read_events(ogip.events(time=days, TUNIT1="d", TIMEPIXR=0.0, TIMEDEL=2.0 / 86400))
    np.testing.assert_allclose(events.time + events.tstart, middle)


@pytest.mark.parametrize(
    "facts, low, inside_range, high",
    [
        ({"TELESCOP": "NuSTAR", "INSTRUME": "FPMA"}, -1, 0, 4096),
        ({"TELESCOP": "NICER", "INSTRUME": "XTI"}, -32768, 1500, 1501),
        ({"TELESCOP": "XMM", "INSTRUME": "EPN"}, 0, 1, 32768),
        ({"TELESCOP": "SWIFT", "INSTRUME": "XRT"}, 0, 1023, 1024),
        ({"TELESCOP": "SUZAKU", "INSTRUME": "XIS1"}, -5, 4095, 4096),
        ({"TELESCOP": "XRISM", "INSTRUME": "RESOLVE"}, -1, 0, 60000),
        ({"TELESCOP": "CHANDRA", "INSTRUME": "ACIS"}, 0, 1, 1025),
        ({"TELESCOP": "ROSAT", "INSTRUME": "PSPCB"}, 0, 256, 257),
        ({"TELESCOP": "IXPE", "INSTRUME": "DU1"}, -1, 374, 375),
    ],
)
def test_pi_beyond_the_calibrated_channels_is_no_energy(ogip, facts, low, inside_range, high):
    columns = [fits.Column("PI", "J", array=[low, inside_range, high])]
    events = read_events(ogip.events(time=[12.0, 13.0, 14.0], columns=columns, **facts))
    assert (len(events), events.num_without_energy) == (1, 2)
    np.testing.assert_allclose(events.time, [3.0])


def test_legal_limits_of_a_column_are_kept(ogip):
    columns = [fits.Column("PI", "J", array=[5, 100, 300, 301])]
    events = read_events(ogip.events(columns=columns, TLMIN2=10, TLMAX2=300, **EPIC))
    assert (len(events), events.num_without_energy) == (2, 2)
    columns = [fits.Column("ENERGY", "E", unit="keV", array=[0.1, 2.0, 3.0, 4.0])]
    events = read_events(ogip.events(columns=columns, TLMIN2=0.2))
    assert events.num_without_energy == 1
