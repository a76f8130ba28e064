import numpy as np
import pytest
from scipy import stats

from chandraclip.simulate.variability.light_curves import LightCurves, nodes_around


def curves(time, rate, period=np.inf, epoch=0.0, amplitude=0.0):
    time, rate = np.atleast_2d(time).astype(float), np.atleast_2d(rate).astype(float)
    return LightCurves(time, rate, *(np.full(len(time), value) for value in (period, epoch, amplitude)))


def test_cumulative_and_mean_rate_are_exact_between_nodes():
    rng = np.random.default_rng(0)
    time = np.sort(rng.uniform(0.0, 1000.0, (5, 12)), axis=1)
    time[:, 0], time[:, -1] = 0.0, 1000.0
    light = curves(time, rng.uniform(0.0, 4.0, (5, 12)))
    start, stop = np.array([[13.0, 600.0, 900.0]] * 5), np.array([[411.0, 777.0, 900.0]] * 5)
    mean = light.mean_rate(start, stop)
    for row in range(5):
        area = 0.0
        for begin, end in ((13.0, 411.0), (600.0, 777.0)):
            inner = time[row][(time[row] > begin) & (time[row] < end)]
            at = np.concatenate([[begin], inner, [end]])
            area += np.trapezoid(np.interp(at, time[row], light.rate[row]), at)
        assert mean[row] == pytest.approx(area / (398.0 + 177.0), rel=1e-9)
    whole = light.mean_rate(np.zeros((5, 1)), np.full((5, 1), 1000.0))
    np.testing.assert_allclose(whole, light.cumulative()[:, -1] / 1000.0)


def test_arrival_times_follow_each_curve():
    time = np.tile([0.0, 10.0, 10.5, 40.0, 60.0, 100.0], (2, 1))
    rate = np.array([[1.0, 5.0, 0.0, 0.0, 2.0, 3.0], [4.0, 0.0, 1.0, 2.0, 2.0, 0.0]])
    light = curves(time, rate)
    row, drawn = light.draw(np.random.default_rng(1), np.array([40_000, 30_000]))
    np.testing.assert_array_equal(np.bincount(row), [40_000, 30_000])
    assert ((drawn[row == 0] < 10.5) | (drawn[row == 0] > 40.0)).all()  # no photon where the rate is zero
    edges = np.concatenate([np.linspace(0.0, 10.0, 21), [10.5], np.linspace(40.0, 100.0, 31)])
    for number in (0, 1):
        level = np.interp(edges, time[number], rate[number])
        weight = np.diff(edges) * 0.5 * (level[1:] + level[:-1])  # all nodes are edges: exact
        observed = np.histogram(drawn[row == number], edges)[0]
        used = weight > 0
        if number == 1:  # 10.5 to 40 has no edge in between, which is fine; the integral is still a trapezium
            assert used.all()
        result = stats.chisquare(observed[used], weight[used] / weight.sum() * observed.sum())
        assert result.pvalue > 1e-3


def test_modulation_thins_to_a_cosine_of_its_amplitude_and_epoch():
    amplitude, period, epoch = 0.6, 7.3, 2.0
    light = curves([0.0, 7300.0], [1.0, 1.0], period, epoch, amplitude)
    drawn = 160_000
    time = light.draw(np.random.default_rng(2), np.array([drawn]))[1]
    assert abs(len(time) / drawn - 1.0 / (1.0 + amplitude)) < 4.0 * np.sqrt(0.25 / drawn)
    edges = np.linspace(0.0, 1.0, 33)
    observed = np.histogram(((time - epoch) / period) % 1.0, edges)[0]
    expected = np.diff(edges) + amplitude * np.diff(np.sin(2 * np.pi * edges)) / (2 * np.pi)
    assert stats.chisquare(observed, expected * len(time)).pvalue > 1e-3
    fraction = 2.0 * np.abs(np.exp(2j * np.pi * time / period).mean())
    assert fraction == pytest.approx(amplitude, abs=4.0 * np.sqrt(2.0 / len(time)))


def test_no_modulation_keeps_every_photon_and_draws_repeat():
    light = curves([0.0, 5.0, 10.0], [1.0, 0.0, 1.0])
    row, time = light.draw(np.random.default_rng(3), np.array([1000]))
    assert len(time) == 1000
    np.testing.assert_array_equal(time, light.draw(np.random.default_rng(3), np.array([1000]))[1])
    assert not light.draw(np.random.default_rng(3), np.array([0]))[0].size
    assert row.max() == 0


def test_nodes_increase_strictly_and_resolve_the_event():
    rng = np.random.default_rng(4)
    end = 10.0 ** rng.uniform(3.0, 5.3, 300)
    centre, width = end * rng.uniform(-0.5, 1.5, 300), 10.0 ** rng.uniform(0.0, 5.0, 300)
    nodes = nodes_around(end, centre, width)
    assert nodes.shape == (300, 384)
    assert (np.diff(nodes, axis=1) > 0).all()
    np.testing.assert_array_equal(nodes[:, 0], 0.0)
    np.testing.assert_array_equal(nodes[:, -1], end)
    assert (np.diff(nodes, axis=1).max(axis=1) <= end / 255 * (1.0 + 1e-6)).all()
    inside = (centre > 0.0) & (centre < end)
    nearest = np.abs(nodes - centre[:, None]).min(axis=1)
    assert (nearest[inside] <= 1.01e-3 * width[inside] + 2e-9 * end[inside]).all()


def test_a_curve_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="one"):
        curves([[0.0, 1.0]], [[1.0, 1.0, 1.0]])
