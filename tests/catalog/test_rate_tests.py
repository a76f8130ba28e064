"""Tests of a constant rate: uniform chances on constant lists, with frames and gaps, and power on planted events."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from chandraclip.catalog.good_photons import clock_time, good_photons
from chandraclip.catalog.kuiper import kolmogorov_smirnov, kuiper, kuiper_probability
from chandraclip.catalog.periodicity import of_many, periodicity, refined_period, whole_frames
from chandraclip.catalog.ragged import Ragged
from chandraclip.catalog.rate_tests import RATE_TESTS, rate_tests
from chandraclip.catalog.scan import TABLE, TABLE_PHOTONS, scan, scan_chance, simulated_table

FRAME, FRAMES = 3.24104, 6000


def lists(*rows) -> Ragged:
    return Ragged.from_rows([np.array(row, dtype=float) for row in rows])


def constant(num_photons: int, num_lists: int, gaps: bool, seed: int = 0, rate=None):
    """Photons in the middle of frames of good time; `rate` (FRAMES,) of each frame, constant by default."""
    rng = np.random.default_rng(seed)
    good = np.ones(FRAMES, bool)
    if gaps:
        good[1000:1700] = good[3000:3400] = False
    chance = good * (np.ones(FRAMES) if rate is None else rate)
    frames = rng.choice(FRAMES, (num_lists, num_photons), p=chance / chance.sum())
    edges = np.diff(np.concatenate([[0], good.astype(int), [0]]))
    start, stop = np.flatnonzero(edges == 1) * FRAME, np.flatnonzero(edges == -1) * FRAME
    offsets = num_photons * np.arange(num_lists + 1)
    times = Ragged(np.sort((frames + 0.5) * FRAME, axis=1).ravel(), offsets)
    return times, lists(*[start] * num_lists), lists(*[stop] * num_lists)


def test_good_time_is_counted_not_the_wall_s():
    times, start, stop = lists([12, 3, 7, 25], [], [1]), lists([0, 10], [0], [5]), lists([5, 20], [9], [6])
    photons = good_photons(times, start, stop)
    # 7 lies in a gap and 25 behind the end; the third list's photon before its good time
    assert photons.row.tolist() == [0, 0]
    assert photons.time.tolist() == [3, 12]
    assert photons.elapsed.tolist() == [3, 7]
    assert photons.num_photons.tolist() == [2, 0, 0]
    assert photons.good_time.tolist() == [15, 9, 1]
    assert photons.span.tolist() == [20, 9, 1]
    kept = np.array([False, True, True, True, True])
    assert good_photons(times, start, stop, kept).time.tolist() == [3]
    # A time that is no number is dropped first, and which photons are left is told.
    nan = good_photons(lists([12, np.nan, 3, np.inf, 7]), lists([0, 10]), lists([5, 20]))
    assert nan.time.tolist() == [3, 12]
    assert nan.index.tolist() == [2, 0]
    with pytest.raises(ValueError, match="not finite"):
        good_photons(lists([1.0]), lists([0.0]), lists([np.nan]))
    # A frame that reaches into good time, from either side.
    near = good_photons(lists([4.9, 5.4, 9.6, 7]), lists([0, 10]), lists([5, 20]), frame=1.0)
    assert near.elapsed.tolist() == pytest.approx([4.9, 5, 5])
    assert clock_time(np.array([3.0, 5.0, 7.0]), np.array([0.0, 10.0]), np.array([5.0, 20.0])).tolist() == [3, 10, 12]
    assert clock_time(np.array([5.0]), np.array([0.0, 10.0]), np.array([5.0, 20.0]), ends=True).tolist() == [5]


@pytest.mark.parametrize(
    ("start", "stop"), [(([0, 4],), ([5, 9],)), (([3],), ([2],)), (([0],), ([1], [2])), (([0],), ([1, 2],))]
)
def test_good_time_that_makes_no_sense_is_refused(start, stop):
    with pytest.raises(ValueError, match=r"good time|good-time"):
        good_photons(lists([1.0]), lists(*start), lists(*stop))


def test_kuiper_and_kolmogorov_are_those_of_astropy_and_scipy():
    from astropy.stats import kuiper as astropy_kuiper

    rng = np.random.default_rng(0)
    rows = [np.sort(rng.uniform(0, 1, 40) ** power) for power in (1.0, 1.5, 3.0)]
    columns = lists(*rows), lists(*[[0.0]] * 3), lists(*[[1.0]] * 3)
    photons = good_photons(*columns)
    ours = kuiper(photons)
    for row, value, chance in zip(rows, *ours):
        expected = astropy_kuiper(row)
        assert value == pytest.approx(expected[0])
        assert 10**chance == pytest.approx(expected[1], rel=0.1)  # astropy's is of finite N in another form
    np.testing.assert_allclose(
        1 - kuiper_probability(*columns, np.ones(120, bool)), 10**ours.log10_chance, rtol=1e-9, atol=1e-15
    )
    ours = kolmogorov_smirnov(photons)
    for row, value, chance in zip(rows, *ours):
        expected = stats.kstest(row, "uniform")
        assert value == pytest.approx(expected.statistic)
        assert chance == pytest.approx(np.log10(expected.pvalue), rel=0.05, abs=0.01)
    # All photons at once: no underflow, so that rankings have no ties at the top.
    far = good_photons(lists([0.5] * 3000, [0.5] * 4000), lists([0.0], [0.0]), lists([1.0], [1.0]))
    for test in (kuiper, kolmogorov_smirnov):
        chance = test(far).log10_chance
        assert chance[1] < chance[0] < -300
        assert np.isfinite(chance).all()


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("num_photons", [12, 150])
def test_chances_of_constant_lists_are_uniform(gaps, num_photons):
    number = 1500
    columns = constant(num_photons, number, gaps, seed=num_photons + gaps)
    photons = good_photons(*columns)
    chances = {
        "kuiper": 10 ** kuiper(photons).log10_chance,
        "ks": 10 ** kolmogorov_smirnov(photons).log10_chance,
        "scan": 10 ** scan(photons, FRAME).log10_chance,
    }
    few = 200  # their FFTs take time
    part = tuple(Ragged(one.values[: one.offsets[few]], one.offsets[: few + 1]) for one in columns)
    pulses = periodicity(good_photons(*part), *part[1:], FRAME)
    for name, values in chances.items():
        for level in (0.5, 0.1, 0.01):
            expected = level + np.array([-4.0, 4.0]) * np.sqrt(level * (1 - level) / number)
            assert expected[0] - 0.06 * level <= np.mean(values <= level) <= expected[1] + 0.06 * level, (name, level)
    # Every frequency of an oversampled grid pays, so those of periods are too large, never too small.
    for values in (10**pulses.h_log10_chance, 10**pulses.z2_log10_chance):
        assert np.mean(values <= 0.1) <= 0.1 + 3 * np.sqrt(0.09 / few)
        assert np.mean(values <= 0.5) > 0.02


def test_the_scan_s_table_is_what_simulated_lists_give():
    for number in (10, 50):
        found = simulated_table((number,), 4000, seed=5)[0]
        known = TABLE[TABLE_PHOTONS.index(number)]
        np.testing.assert_allclose(found[:3], known[:3], atol=0.35)
    # Beyond the table, of 30,000 photons.
    rng, number = np.random.default_rng(2), 30_000
    time = Ragged(np.sort(rng.random((12, number)), axis=1).ravel(), number * np.arange(13))
    chance = 10 ** scan(good_photons(time, lists(*[[0.0]] * 12), lists(*[[1.0]] * 12))).log10_chance
    for level in (0.5, 0.1, 0.01):
        assert (chance <= level).sum() <= stats.binom.ppf(0.999, 12, level)
    assert (chance <= 0.5).sum() >= stats.binom.ppf(0.001, 12, 0.5)
    assert scan_chance(np.array([9.5]), np.array([10**6]))[0] > scan_chance(np.array([9.5]), np.array([10**4]))[0]
    # between the table's values and beyond them chances fall
    axis = np.linspace(0, 60, 400)
    for number in (3, 70, 10**6):
        chance = scan_chance(axis, np.full(400, number))
        assert (np.diff(chance) <= 0).all()
        assert chance[0] == 0
        assert chance[-1] < -12


def rates(kind: str) -> np.ndarray:
    place = np.arange(FRAMES)
    return {
        "burst": 1 + 600.0 * ((place >= 2000) & (place < 2006)),
        "dip": 1 - 0.8 * ((place >= 4000) & (place < 4900)),
        "eclipse": 1.0 - ((place >= 3600) & (place < 4200)),
    }[kind]


@pytest.mark.parametrize("kind", ["burst", "dip", "eclipse"])
def test_the_scan_finds_where_an_event_is_across_gaps(kind):
    columns = constant(400, 20, True, seed=1, rate=rates(kind))
    photons = good_photons(*columns)
    found = scan(photons, FRAME)
    assert (found.log10_chance < -2).mean() > 0.9
    assert (found.is_dip == (kind != "burst")).mean() > 0.9
    inside = np.flatnonzero(rates(kind) != 1)
    start = clock_time(np.median(found.start)[None], columns[1].values[:3], columns[2].values[:3])[0]
    stop = clock_time(np.median(found.stop)[None], columns[1].values[:3], columns[2].values[:3], ends=True)[0]
    assert start == pytest.approx(inside[0] * FRAME, abs=max(0.15 * inside.size, 2) * FRAME)
    assert stop == pytest.approx((inside[-1] + 1) * FRAME, abs=max(0.15 * inside.size, 2) * FRAME)
    # a burst of 19 s in 16 ks: the tests of the whole observation see less of it
    if kind == "burst":
        assert np.median(found.log10_chance) < np.median(kuiper(photons).log10_chance) - 3
    if kind == "eclipse":
        assert (found.num_inside < 0.2 * found.expected).all()


def test_the_scan_and_bayesian_blocks_find_one_burst():
    from astropy.stats import bayesian_blocks

    rng = np.random.default_rng(3)
    time = np.sort(np.concatenate([rng.uniform(0, 1e4, 300), rng.uniform(4000, 4100, 40)]))
    found = scan(good_photons(lists(time), lists([0.0]), lists([1e4])))
    edges = bayesian_blocks(time, fitness="events", p0=0.01)
    assert abs(edges - found.start[0]).min() < 10
    assert abs(edges - found.stop[0]).min() < 10
    assert found.num_inside[0] == pytest.approx(42, abs=5)


def test_pulses_are_found_at_their_period_and_gaps_are_not():
    phase = np.arange(FRAMES) * FRAME / 211.7
    columns = constant(300, 20, True, seed=2, rate=1 + 0.8 * np.cos(2 * np.pi * phase))
    photons = good_photons(*columns)
    found = periodicity(photons, *columns[1:], FRAME)
    for chance, period in ((found.h_log10_chance, found.h_period), (found.z2_log10_chance, found.z2_period)):
        assert (chance < -4).mean() > 0.9
        assert np.median(period) == pytest.approx(211.7, rel=0.01)
    # Sharp pulses: their harmonics count.
    sharp = constant(200, 20, False, seed=4, rate=0.3 + 10.0 * (phase % 1 < 0.05))
    one = good_photons(*sharp)
    found = periodicity(one, *sharp[1:], FRAME, num_harmonics=1)
    assert np.median(found.h_log10_chance) < np.median(found.z2_log10_chance) - 5
    time = one.time[:200]
    # The shortest period that is as good is told, of a harmonic's too.
    assert refined_period(time, np.array([[0.0, FRAMES * FRAME]]), 2 * 211.7, FRAME) == pytest.approx(211.7, rel=0.005)
    # Ten frames: every photon has one phase at a tenth of it, whatever the rate does.
    slow = constant(400, 1, False, seed=6, rate=1 + np.cos(2 * np.pi * np.arange(FRAMES) / 30))
    time = good_photons(*slow).time
    assert refined_period(time, np.array([[0.0, FRAMES * FRAME]]), 30 * FRAME, FRAME) == pytest.approx(
        30 * FRAME, rel=0.005
    )
    assert (found.num_frequencies <= 2 * 1.06 * FRAMES / 2).all()
    # A square wave of gaps with a constant rate between them is none.
    rng = np.random.default_rng(5)
    start = np.arange(20) * 1000.0
    rows = [np.sort(rng.choice(start, 400) + rng.integers(0, 100, 400) * 5 + 2.5) for _ in range(40)]
    gti = lists(*[start] * 40), lists(*[start + 500] * 40)
    assert (periodicity(good_photons(lists(*rows), *gti), *gti, 5.0).h_log10_chance < -2).mean() <= 0.05


def test_a_weak_pulse_of_many_photons_has_its_period():
    rng = np.random.default_rng(1)
    span, period = 30_000.0, 37.3
    time = np.sort(rng.uniform(0, span, 60_000))
    time = time[rng.random(time.size) < (1 + 0.06 * np.cos(2 * np.pi * time / period)) / 1.06]
    gti = np.array([[0.0, span]])
    for multiple in (1, 2):  # a few thousand of the photons would not tell
        found = refined_period(time, gti, multiple * period * (1 + 0.2 * period / span))
        assert found == pytest.approx(period, rel=0.3 * period / span)


@pytest.mark.parametrize("num_photons", [30, 300])
def test_orbits_with_gaps_are_no_pulses(num_photons):
    # Twelve orbits of which 400 s are good: 20 harmonics tied by the gaps gave 10 to 20 times as many alarms.
    rng = np.random.default_rng(num_photons)
    number, start = 400, 5600.0 * np.arange(12)
    where = np.sort(rng.uniform(0, 4800, (number, num_photons)), axis=1)
    rows = list(where % 400 + start[(where // 400).astype(int)])
    gti = lists(*[start] * number), lists(*[start + 400] * number)
    chance = 10 ** periodicity(good_photons(lists(*rows), *gti), *gti, 40.0).h_log10_chance
    for level in (0.1, 0.01, 0.001):
        assert (chance <= level).sum() <= stats.binom.ppf(0.9995, number, level)
    # Without gaps no harmonic is left out.
    whole = constant(num_photons, 20, False, seed=9)
    photons = good_photons(*whole)
    with pytest.MonkeyPatch.context() as patch:
        expected = periodicity(photons, *whole[1:], FRAME)
        patch.setattr("chandraclip.catalog.periodicity.LARGEST_WINDOW", 2.0)
        for one, other in zip(periodicity(photons, *whole[1:], FRAME), expected):
            np.testing.assert_array_equal(one, other)


def test_coarse_bins_are_whole_frames(monkeypatch):
    assert whole_frames(np.array([3.0, 3.0, 3.0]), np.array([1.0, 3.0, 3.5])).tolist() == [3, 3, 6]
    monkeypatch.setattr("chandraclip.catalog.periodicity.MAX_BINS", int(FRAMES / 1.4))
    columns = constant(20_000, 3, False, seed=3)
    found = periodicity(good_photons(*columns), *columns[1:], FRAME)
    assert (found.h_log10_chance > -3).all()


def test_chances_of_many_trials():
    assert np.exp(of_many(np.log([0.5, 1e-3]), np.array([2, 10]))).tolist() == pytest.approx([0.75, 1 - 0.999**10])
    assert of_many(np.array([-2000.0]), 1000.0)[0] == pytest.approx(-2000 + np.log(1000))
    assert of_many(np.array([0.0]), 5.0)[0] == 0


def test_all_tests_of_lists_that_have_too_little():
    times, start, stop = (
        lists([], [1.0, 2.0], [5.0] * 20, np.linspace(0.5, 99.5, 100)),
        *[lists(*[[v]] * 4) for v in (0.0, 100.0)],
    )
    found = rate_tests(times, start, stop, 1.0)
    assert tuple(found) == RATE_TESTS
    for name, values in found.items():
        assert values.shape == (4,)
        assert np.isnan(values[0]), name
        assert np.isfinite(values[3]), name
    assert found["scan"][2] > 5 > found["scan"][3]
    # Neither the order of photons nor that of lists matters, nor when an observation was.
    columns = constant(50, 6, True)
    expected = rate_tests(*columns, FRAME)
    order = np.array([3, 0, 5, 1, 4, 2])
    turned = [
        Ragged.from_rows([one.values[one.offsets[row] : one.offsets[row + 1]][::direction] + 5e4 for row in order])
        for one, direction in zip(columns, (-1, 1, 1))
    ]
    for name, values in rate_tests(*turned, FRAME).items():
        np.testing.assert_allclose(values, expected[name][order], rtol=1e-4, atol=1e-4, err_msg=name)
    with pytest.raises(ValueError, match="frame"):
        rate_tests(*columns, 0.0)
