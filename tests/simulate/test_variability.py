import numpy as np
import pytest
from scipy import stats

from chandraclip.simulate.variability import CONSTANT, DIP, FLARE, PERIODIC, RateShape, arrival_times, draw_shapes


def one_shape(kind, amplitude=0.0, start=0.0, width=1.0, period=np.inf):
    values = (kind, amplitude, start, width, period)
    return RateShape(*(np.array([value]) for value in values))


def draw(shape, num_photons, start=(0.0,), stop=(1000.0,), seed=0):
    row = np.zeros(num_photons, dtype=np.int64)
    return arrival_times(np.random.default_rng(seed), row, shape, np.array([start]), np.array([stop]))


def test_a_constant_rate_is_uniform_over_the_good_time_and_only_there():
    start, stop = (0.0, 400.0, 900.0, 950.0), (100.0, 700.0, 950.0, 950.0)  # the last one is unused
    times = draw(one_shape(CONSTANT), 40_000, start, stop)
    share = [((times >= begin) & (times < end)).mean() for begin, end in zip(start, stop)]
    assert sum(share) == pytest.approx(1.0)
    np.testing.assert_allclose(share[:3], np.array([100, 300, 50]) / 450, atol=0.01)
    inside = times[(times >= 400) & (times < 700)]
    assert stats.kstest(inside, stats.uniform(400, 300).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    "shape",
    [
        one_shape(FLARE, amplitude=8.0, start=300.0, width=120.0),
        one_shape(DIP, amplitude=0.9, start=500.0, width=200.0),
        one_shape(DIP, amplitude=0.7, start=100.0, width=40.0, period=170.0),
        one_shape(PERIODIC, amplitude=0.8, start=20.0, period=310.0),
    ],
    ids=["flare", "dip", "eclipses", "pulse"],
)
def test_times_follow_the_rate(shape):
    grid = np.linspace(0.0, 1000.0, 200_001)
    rate = shape.relative_rate(np.zeros(grid.size, np.int64), grid)
    assert 0.0 < rate.min() < rate.max() <= 1.0
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (rate[1:] + rate[:-1]))])
    times = draw(shape, 20_000)
    assert stats.kstest(times, lambda t: np.interp(t, grid, cumulative / cumulative[-1])).pvalue > 1e-3
    assert stats.kstest(times, stats.uniform(0, 1000).cdf).pvalue < 1e-4


def test_flare_rises_faster_than_it_decays_and_peaks_as_asked():
    shape = one_shape(FLARE, amplitude=9.0, start=500.0, width=100.0)
    rate = shape.relative_rate(np.zeros(4, np.int64), np.array([0.0, 490.0, 500.0, 600.0]))
    quiet = 1.0 / 10.0
    np.testing.assert_allclose(rate, quiet * np.array([1.0, 1 + 9 / np.e, 10.0, 1 + 9 / np.e]), rtol=1e-9)


def test_steady_photons_do_not_follow_the_shape():
    shape = one_shape(DIP, amplitude=0.97, start=500.0, width=400.0)
    row = np.zeros(20_000, dtype=np.int64)
    steady = np.arange(row.size) % 2 == 0
    gti = np.array([[0.0]]), np.array([[1000.0]])
    times = arrival_times(np.random.default_rng(0), row, shape, *gti, steady=steady)
    in_dip = np.abs(times - 500.0) < 200.0
    assert in_dip[steady].mean() == pytest.approx(0.4, abs=0.02)
    assert in_dip[~steady].mean() == pytest.approx(0.4 * 0.03 / (0.6 + 0.4 * 0.03), abs=0.01)


def test_drawn_rates_are_positive_everywhere():
    rng = np.random.default_rng(0)
    num_rows = 4000
    kind = rng.integers(0, 4, num_rows)
    period = np.where(rng.random(num_rows) < 0.3, np.nan, 10.0 ** rng.uniform(-2, 5, num_rows))
    period = np.where((kind == PERIODIC) & np.isnan(period), 100.0, period)
    duration = 10.0 ** rng.uniform(3, 5, num_rows)
    shape = draw_shapes(rng, kind, period, duration, rng.random(num_rows))
    row = np.repeat(np.arange(num_rows), 20)
    rate = shape.relative_rate(row, duration[row] * rng.random(row.size))
    assert rate.min() > 0.005
    assert rate.max() <= 1.0
    assert (rate[np.repeat(kind == CONSTANT, 20)] == 1.0).all()
