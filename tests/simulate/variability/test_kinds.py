import numpy as np
import pytest

from chandraclip.simulate.variability.kinds import (
    CONSTANT,
    DIP,
    ECLIPSE,
    ERUPTION,
    FLARE,
    NUM_NODES,
    PULSATION,
    RED_NOISE,
    SCATTERED_SHARE,
    STEADY_SHARE,
    TRANSIENT,
    VARIABILITY_KINDS,
    draw_variability,
    timmer_koenig,
)


def draw(kind, number=200, strength=1.0, period=np.nan, duration=5.0e4, seed=0):
    parts = (np.full(number, value) for value in (strength, period, duration))
    return draw_variability(np.random.default_rng(seed), np.full(number, kind), *parts)


@pytest.mark.parametrize("duration", [1.0e3, 3.0e4, 2.0e5])
def test_every_kind_is_finite_and_not_negative(duration):
    for kind in range(1, len(VARIABILITY_KINDS)):
        variable = draw(kind, 100, duration=duration)
        np.testing.assert_array_equal(variable.row, np.arange(100))
        for curves in (variable.first, variable.second):
            assert np.isfinite(curves.rate).all()
            assert (curves.rate >= 0.0).all()
            assert curves.rate.shape == (100, NUM_NODES)
            assert (np.diff(curves.time, axis=1) > 0).all()
            np.testing.assert_array_equal(curves.time[:, [0, -1]], np.tile([0.0, duration], (100, 1)))
            assert ((curves.amplitude >= 0) & (curves.amplitude <= 1) & (curves.period > 0)).all()
        mean = variable.first.cumulative()[:, -1] + variable.second.cumulative()[:, -1]
        assert (mean > 0).all()


def test_constant_sources_are_left_out_and_rows_keep_their_number():
    kind = np.array([CONSTANT, FLARE, CONSTANT, DIP, RED_NOISE])
    rng = np.random.default_rng(0)
    variable = draw_variability(rng, kind, np.ones(5), np.full(5, np.nan), np.full(5, 1e4))
    np.testing.assert_array_equal(variable.row, [1, 3, 4])
    np.testing.assert_array_equal(variable.kind, kind[[1, 3, 4]])
    none = draw_variability(rng, np.zeros(4, int), np.ones(4), np.full(4, np.nan), np.full(4, 1e4))
    assert len(none.row) == len(none.first) == len(none.second) == 0


@pytest.mark.parametrize("slope", [1.0, 1.7])
@pytest.mark.parametrize("num_steps", [256, 255])
def test_timmer_koenig_has_unit_variance_and_the_slope(slope, num_steps):
    series = timmer_koenig(np.random.default_rng(1), 4000, num_steps, slope)
    np.testing.assert_allclose(series.mean(axis=1), 0.0, atol=1e-12)
    assert (series**2).mean() == pytest.approx(1.0, abs=0.04)
    power = (np.abs(np.fft.rfft(series, axis=1)) ** 2).mean(axis=0)[1 : num_steps // 2]
    frequency = np.arange(1, num_steps // 2)
    fitted = np.polyfit(np.log(frequency), np.log(power), 1)[0]
    assert fitted == pytest.approx(-slope, abs=0.02)
    exponential = np.abs(np.fft.rfft(series, axis=1))[:, 5] ** 2  # chi-square of two degrees: as much scatter as mean
    assert exponential.std() / exponential.mean() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(("strength", "short"), [(0.05, 0.04), (0.25, 0.05), (0.5, 0.1)])
def test_red_noise_has_the_rms_asked_for_within_the_observation(strength, short):
    """Of both components together; very strong noise, whose peaks are rarely seen, falls a little short."""
    variable = draw(RED_NOISE, 4000, strength=strength)
    total = variable.first.rate + variable.second.rate
    assert total.mean(axis=1) == pytest.approx(1.0, abs=0.02)
    rms = np.sqrt(((total / total.mean(axis=1, keepdims=True) - 1.0) ** 2).mean())
    assert (1.0 - short) * strength < rms < 1.02 * strength


def test_red_noise_is_log_normal():
    variable = draw(RED_NOISE, 6000, strength=0.3)
    log = np.log(variable.first.rate / (1.0 - STEADY_SHARE))
    log -= log.mean(axis=1, keepdims=True)
    skewness = (log[:, ::50] ** 3).mean() / (log[:, ::50] ** 2).mean() ** 1.5
    assert abs(skewness) < 0.15
    np.testing.assert_array_equal(variable.second.rate, STEADY_SHARE)


def test_flares_rise_faster_than_they_decay_and_reach_their_peak():
    variable = draw(FLARE, 400, strength=5.0)
    np.testing.assert_array_equal(variable.first.rate, 1.0)
    time, rate = variable.second.time, variable.second.rate
    top = np.argmax(rate, axis=1)
    height = rate.max(axis=1)
    assert height.max() < 5.0 * 3.0 + 1e-9
    inside = (time[np.arange(400), top] > 1.0e4) & (time[np.arange(400), top] < 3.0e4)
    assert inside.sum() > 50
    assert np.mean(height[inside] > 4.9) > 0.9  # the others: a second flare is the higher one in the observation
    # Time above half the peak, before and after it.
    above = (rate > 0.5 * height[:, None])[:, :-1] * np.diff(time, axis=1)
    before = np.where(np.arange(NUM_NODES - 1) < top[:, None], above, 0.0).sum(axis=1)
    after = above.sum(axis=1) - before
    assert np.median(after[inside] / np.maximum(before[inside], 1.0)) > 2.5
    decay = after[inside] / np.log(2.0)
    assert 0.02 * 5.0e4 < np.median(decay) < 0.3 * 5.0e4
    assert (variable.second.rate[:, 0] > 2.0).any()  # some had begun


def test_dips_cover_no_more_than_their_depth_and_keep_the_total():
    variable = draw(DIP, 300, strength=0.7)
    np.testing.assert_allclose(variable.first.rate + variable.second.rate, 1.0)
    depth = variable.second.rate.max(axis=1)
    assert depth.max() <= 0.7 + 1e-12
    assert np.median(depth) > 0.6
    assert (variable.second.rate == 0.0).any(axis=1).mean() > 0.8  # it ends
    assert draw(DIP, 50, strength=3.0).first.rate.min() >= 0.0


def test_dips_and_eclipses_recur_with_the_period():
    period, duration = 5.0e3, 5.0e4
    for kind in (DIP, ECLIPSE):
        variable = draw(kind, 100, strength=1.0, period=period, duration=duration)
        light = variable.first
        phase = np.linspace(0.0, period, 500, endpoint=False)
        for row in range(0, 100, 10):
            folded = [
                np.interp(phase + number * period, light.time[row], light.rate[row]) < 0.6 for number in (1, 5, 8)
            ]
            assert folded[0].any()
            assert not folded[0].all()
            if kind == ECLIPSE:  # dips are ragged
                assert (folded[0] == folded[1]).mean() > 0.92
                assert (folded[0] == folded[2]).mean() > 0.92


def test_eclipses_are_total_but_for_scattered_light():
    variable = draw(ECLIPSE, 300, period=2.0e4)
    np.testing.assert_array_equal(variable.second.rate, SCATTERED_SHARE)
    assert (variable.first.rate.max(axis=1) == 1.0).all()
    assert (variable.first.rate.min(axis=1) == 0.0).all()
    light = variable.first
    share = 1.0 - light.cumulative()[:, -1] / 5.0e4
    assert 0.05 < share.mean() < 0.2  # of the orbit: 0.06 to 0.2


def test_pulsation_has_the_pulsed_fraction_and_period():
    variable = draw(PULSATION, 50, strength=0.35, period=20.0)
    mean = [curves.cumulative()[:, -1] / 5.0e4 for curves in (variable.first, variable.second)]
    np.testing.assert_allclose(mean[0], 0.65)
    np.testing.assert_allclose(mean[1], 0.35)
    np.testing.assert_array_equal(variable.second.period, 20.0)
    np.testing.assert_array_equal(variable.second.amplitude, 1.0)
    assert np.isinf(variable.first.period).all()
    without = draw(PULSATION, 50, strength=0.35).second.period
    assert ((without >= 5.0e4 / 30.0) & (without <= 5.0e4 / 3.0)).all()


def test_eruptions_recur_and_alternate():
    variable = draw(ERUPTION, 50, strength=4.0, period=1.0e4, duration=1.0e5)
    np.testing.assert_array_equal(variable.first.rate, 1.0)
    gaps = []
    for time, rate in zip(variable.second.time, variable.second.rate):
        peaks = np.flatnonzero((rate[1:-1] > rate[:-2]) & (rate[1:-1] >= rate[2:]) & (rate[1:-1] > 1.0)) + 1
        assert 8 <= len(peaks) <= 11
        gaps.append(np.diff(time[peaks])[:7])
        assert (rate[peaks].max(), rate[peaks].min()) == pytest.approx((4.0, 2.8), rel=0.12)
    gaps = np.stack(gaps)
    assert gaps.mean() == pytest.approx(1.0e4, rel=0.02)
    even, odd = gaps[:, ::2].mean(axis=1), gaps[:, 1::2].mean(axis=1)
    np.testing.assert_allclose(np.abs(even - odd), 8.0e2, atol=300.0)  # 1.04 and 0.96 of the recurrence


def test_transients_peak_hard_and_leave_a_tail():
    variable = draw(TRANSIENT, 400)
    hard, soft = variable.first, variable.second
    row = np.arange(400)
    peak = hard.time[row, hard.rate.argmax(axis=1)]
    assert ((peak > 0.04 * 5.0e4) & (peak < 0.91 * 5.0e4)).all()
    assert hard.rate.max(axis=1).min() > 0.7
    end_hard = (hard.rate > 0.1).cumsum(axis=1).argmax(axis=1)
    end_soft = (soft.rate > 0.1 * soft.rate.max(axis=1, keepdims=True)).cumsum(axis=1).argmax(axis=1)
    assert np.median(soft.time[row, end_soft] - peak) > np.median(hard.time[row, end_hard] - peak)
    burst = soft.amplitude > 0
    assert 0.4 < burst.mean() < 0.6
    assert (soft.period[burst] < 250.0).all()
    assert np.isinf(soft.period[~burst]).all()
    np.testing.assert_allclose(soft.epoch, peak, atol=5.0)
    assert (soft.rate[:, 0] < 1e-3).all()


def test_same_seed_same_light_curves():
    one, two = draw(FLARE, 20, seed=5), draw(FLARE, 20, seed=5)
    np.testing.assert_array_equal(one.second.rate, two.second.rate)
    assert (draw(FLARE, 20, seed=6).second.rate != one.second.rate).any()
