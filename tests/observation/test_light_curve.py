"""Light curves: the live time and the limits of each bin, gaps, Bayesian blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest

from chandraclip.observation.energy_time import energy_time_map
from chandraclip.observation.light_curve import MAX_CELLS, light_curve
from chandraclip.observation.variability import variability
from chandraclip.ogip.events import EventList
from chandraclip.ogip.header import ObservationHeader


def photons(
    time: Any, gti: Any = ((0.0, 100.0),), live_fraction: float = 1.0, energy: Any = None, **header: Any
) -> EventList:
    """An event list made of times, s, and good times."""
    time = np.sort(np.asarray(time, dtype=np.float64))
    gti = np.asarray(gti, dtype=np.float64)
    energy = np.full(time.size, 1.0) if energy is None else energy
    exposure = live_fraction * float(np.diff(gti).sum())
    facts = ObservationHeader(mjd_reference=50814.0, **header)
    return EventList(time, np.asarray(energy, np.float32), gti, exposure, 0.0, facts, Path("made.fits"))


def poisson_times(seed: int, rate: float, gti: Any) -> np.ndarray:
    """A constant rate inside the good times."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.uniform(start, stop, rng.poisson(rate * (stop - start))) for start, stop in gti])


# Gehrels 1986, ApJ 303, 336, tables 1 and 2, S = 1.
GEHRELS = {0: (0.0, 1.841), 1: (0.173, 3.300), 5: (2.840, 8.382), 10: (6.891, 14.27), 50: (42.97, 58.10)}


@pytest.mark.parametrize("counts", GEHRELS)
def test_limits_are_those_of_gehrels_for_any_number_of_counts(counts):
    curve = light_curve(photons(np.linspace(1, 9, counts), ((0.0, 10.0),)), bin=10)
    assert curve.counts.tolist() == [counts]
    assert curve.rate[0] == pytest.approx(counts / 10)
    low, high = GEHRELS[counts]
    assert curve.rate_low[0] * 10 == pytest.approx(low, rel=1e-3, abs=5e-4)
    assert curve.rate_high[0] * 10 == pytest.approx(high, rel=1e-3)


def test_a_bin_has_the_live_time_of_its_good_time_and_no_rate_without_any():
    gti = ((0.0, 15.0), (32.0, 40.0), (41.0, 55.0))
    curve = light_curve(photons([1.0, 2.0, 14.0, 33.0, 52.0, 53.0], gti, live_fraction=0.9), bin=10)
    np.testing.assert_allclose(curve.start, [0, 10, 20, 30, 40, 50])
    np.testing.assert_allclose(curve.stop, [10, 20, 30, 40, 50, 55])
    np.testing.assert_allclose(curve.exposure, 0.9 * np.array([10, 5, 0, 8, 9, 5]))
    assert curve.counts.tolist() == [2, 1, 0, 1, 0, 2]
    np.testing.assert_allclose(curve.rate, [2 / 9, 1 / 4.5, np.nan, 1 / 7.2, 0, 2 / 4.5])
    assert np.isnan(curve.rate_low[2])
    assert np.isnan(curve.rate_high[2])
    assert curve.rate_high[4] == pytest.approx(1.841 / 8.1, rel=1e-3)  # a bin with good time and no photon has a limit


def test_a_photon_at_the_end_of_a_good_time_stays_in_it():
    curve = light_curve(photons([5.0, 10.0, 30.0], ((0.0, 10.0), (20.0, 30.0))), bin=10)
    assert curve.counts.tolist() == [2, 0, 1]


def test_units_and_energies():
    events = photons([1.0, 2.0, 3.0, 70.0], energy=[0.5, 2.0, 7.0, 1.0])
    assert len(light_curve(events, 1 * u.min)) == 2
    assert light_curve(events, 60).counts.tolist() == [3, 1]
    assert light_curve(events, 60, energy=(0.5, 7)).counts.tolist() == [2, 1]  # from the first, to below the second
    assert light_curve(events, 60, energy=[500, 7000] * u.eV).counts.tolist() == [2, 1]
    table = light_curve(events, 60).to_table()
    assert table["rate_high"].unit == u.ct / u.s
    assert table["exposure"].unit == u.s
    assert table["stop"].to_value("min").tolist() == pytest.approx([1, 100 / 60])
    assert table.meta["mjd_start"] == 50814.0


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"bin": 0}, "must be positive"),
        ({"bin": np.nan}, "must be positive"),
        ({"bin": 1 * u.m}, "bin is"),
        ({"bin": "blocks"}, "bayesian_blocks"),
        ({"bin": 1e-9}, "at most"),
        ({"bin": 1, "energy": (7, 0.5)}, "must increase"),
        ({"bin": 1, "energy": 7}, "two energies"),
        ({"bin": "bayesian_blocks", "p0": 0}, "p0"),
    ],
)
def test_what_cannot_be_is_said(options, reason):
    with pytest.raises(ValueError, match=reason):
        light_curve(photons([1.0]), **options)


def test_the_default_bin_holds_about_twenty_photons_and_few_bins():
    assert len(light_curve(photons(np.linspace(0, 100, 200)))) == 10
    assert len(light_curve(photons(np.linspace(0, 100, 100_000)))) == 100
    assert len(light_curve(photons([]))) == 1


GAPS = ((0.0, 3000.0), (20000.0, 24000.0), (50000.0, 53000.0))


def test_blocks_do_not_see_gaps():
    counts = [len(light_curve(photons(poisson_times(seed, 0.05, GAPS), GAPS), "bayesian_blocks")) for seed in range(40)]
    assert np.mean(np.array(counts) == 1) >= 0.85  # p0 = 0.05
    curve = light_curve(photons(poisson_times(0, 0.05, GAPS), GAPS, live_fraction=0.5), "bayesian_blocks")
    assert (curve.start[0], curve.stop[-1]) == (0.0, 53000.0)
    assert curve.exposure.sum() == pytest.approx(5000)


def test_blocks_find_a_change_where_it_is_and_lose_no_photon():
    time = np.concatenate([poisson_times(1, 0.05, GAPS), poisson_times(2, 0.5, ((21000.0, 21400.0),))])
    curve = light_curve(photons(time, GAPS), "bayesian_blocks")
    assert len(curve) == 3
    assert curve.start[1] == pytest.approx(21000, abs=30)
    assert curve.stop[1] == pytest.approx(21400, abs=30)
    assert curve.counts.sum() == time.size
    assert curve.exposure.sum() == pytest.approx(10000)
    np.testing.assert_allclose(curve.rate, curve.counts / curve.exposure)


def test_a_block_ends_before_a_gap_and_begins_after_it():
    time = np.concatenate([poisson_times(1, 0.5, GAPS[:1]), poisson_times(2, 0.02, GAPS[1:])])
    curve = light_curve(photons(time, GAPS), "bayesian_blocks")
    assert len(curve) == 2
    assert curve.stop[0] <= 3000 or curve.stop[0] == pytest.approx(20000, abs=60)
    assert curve.counts.tolist() == [(time <= curve.stop[0]).sum(), (time > curve.stop[0]).sum()]


def test_good_time_after_the_last_photon_counts():
    """The source goes out half-way: blocks from the first photon to the last would call it constant."""
    curve = light_curve(photons(np.linspace(0, 5000, 200), ((0.0, 10000.0),)), "bayesian_blocks")
    assert len(curve) > 1
    assert curve.stop[-1] == 10000
    assert curve.rate[-1] < 0.1 * curve.rate[0]


def test_blocks_of_very_many_photons():
    time = np.concatenate([poisson_times(1, 3.0, ((0.0, 5000.0),)), poisson_times(2, 4.0, ((5000.0, 10000.0),))])
    assert time.size > 4 * MAX_CELLS
    curve = light_curve(photons(time, ((0.0, 10000.0),)), "bayesian_blocks")
    assert len(curve) == 2
    assert curve.stop[0] == pytest.approx(5000, abs=50)
    assert curve.counts.sum() == time.size


def test_blocks_of_no_photon_and_of_one():
    for time in ([], [4.0]):
        curve = light_curve(photons(time), "bayesian_blocks")
        assert (len(curve), curve.counts.sum(), curve.exposure.sum()) == (1, len(time), 100)


def test_an_energy_time_map_counts_every_photon_of_the_band_once():
    rng = np.random.default_rng(3)
    energy = np.exp(rng.uniform(np.log(0.3), np.log(9), 5000))
    events = photons(rng.uniform(0, 100, 5000), ((0.0, 40.0), (60.0, 100.0)), 0.5, energy)
    cells = energy_time_map(events)
    assert cells.counts.shape == (24, 16)
    assert cells.counts.sum() == ((energy >= 0.5) & (energy <= 7)).sum()
    np.testing.assert_allclose(np.diff(np.log(cells.energy_edges)), np.log(14) / 16)
    assert cells.exposure.sum() == pytest.approx(40)
    assert cells.exposure[11] == 0  # in the gap
    coarse = energy_time_map(events, energy_bins=[0.5, 2, 7], time_bins=[0, 50, 100])
    assert coarse.counts.shape == (2, 2)
    with pytest.raises(ValueError, match="energy_bins"):
        energy_time_map(events, energy_bins=0)
    with pytest.raises(ValueError, match="time_bins"):
        energy_time_map(events, time_bins=[3, 2])


def test_the_light_curve_behind_var_index_follows_the_source():
    gti = ((0.0, 10000.0), (12000.0, 20000.0))
    time = np.concatenate([poisson_times(4, 0.02, gti), poisson_times(5, 0.08, ((12000.0, 16000.0),))])
    found = variability(photons(time, gti, live_fraction=0.8), (0.5, 7.0))
    assert found.var_prob > 0.999
    assert found.var_index >= 6
    assert found.kuiper_prob > 0.999
    curve = found.light_curve
    middle = (curve.start + curve.stop) / 2
    high, low = (middle > 12500) & (middle < 15500), middle < 7000
    np.testing.assert_allclose(curve.rate[low], 0.02 / 0.8, rtol=0.35)  # a second of live time
    np.testing.assert_allclose(curve.rate[high], 0.10 / 0.8, rtol=0.25)
    assert (curve.rate_low < curve.rate)[np.isfinite(curve.rate)].all()
    assert np.isnan(curve.rate[(middle > 10100) & (middle < 11900)]).all()
    assert curve.counts.sum() == time.size
    # The mean of posterior means keeps the number of photons, but for the prior's one a bin.
    assert np.nansum(curve.rate * curve.exposure) == pytest.approx(time.size, rel=0.03)


def test_a_constant_source_and_one_of_few_photons():
    constant = variability(photons(poisson_times(7, 1.0, ((0.0, 1000.0),)), ((0.0, 1000.0),)), None)
    assert constant.var_prob < 0.5
    assert constant.var_index == 0
    few = variability(photons([1.0, 2.0]), None)
    assert np.isnan([few.var_prob, few.var_index, few.kuiper_prob]).all()
    assert few.num_photons == 2
    none = variability(photons([]), None)
    assert none.light_curve is None
    assert "fewer than 10" in repr(none)
