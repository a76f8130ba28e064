import math

import numpy as np
import pytest

from chandraclip.data.schema import Ragged
from chandraclip.data.variability import gregory_loredo, variability_index


def lists(*rows):
    return Ragged.from_rows([None if row is None else np.array(row, dtype=float) for row in rows])


def odds(times, start=(0.0,), stop=(1.0,), **options):
    return gregory_loredo(lists(times), lists(start), lists(stop), **options)


def constant(num_sources, num_photons, rng, stop=1.0):
    times = lists(*[rng.uniform(0, stop, num_photons) for _ in range(num_sources)])
    return times, lists(*[[0.0]] * num_sources), lists(*[[stop]] * num_sources)


def test_odds_of_a_few_photons_by_hand():
    # m = 2: n = (3, 1), O = 2^4 1! 3! 1! / 5! = 0.8; m = 3: n = (3, 0, 1), O = 3^4 2! 3! 1! / 6! = 1.35.
    result = odds([0.05, 0.1, 0.15, 0.9], max_bins=3)
    assert 10 ** result.odds_log10[0] == pytest.approx((0.8 + 1.35) / 2)
    assert np.isnan(result.var_prob[0])
    assert odds([0.05, 0.1, 0.15, 0.9], max_bins=3, min_photons=1).var_prob[0] == pytest.approx(1.075 / 2.075)
    # One photon: the odds are 1 in any number of bins.
    assert odds([0.3], max_bins=9).odds_log10[0] == pytest.approx(0.0, abs=1e-12)


def test_odds_across_a_gap_by_hand():
    # Good time 0-0.25 and 0.75-1 of 4 bins: two have none, so this is m' = 2 with g = 1/2 each.
    result = odds([0.1, 0.2, 0.22, 0.8], start=[0.0, 0.75], stop=[0.25, 1.0], max_bins=4)
    two, four = (math.factorial(3) * 2**4 / math.factorial(5) for _ in range(2))
    # m = 3: bins 0-1/3, 1/3-2/3, 2/3-1 hold g = 1/2, 0, 1/2: the same again.
    assert 10 ** result.odds_log10[0] == pytest.approx((two + two + four) / 3)
    # A third photon group in the gap is left out.
    assert odds([0.1, 0.2, 0.22, 0.5, 0.8], [0.0, 0.75], [0.25, 1.0], max_bins=4).num_photons[0] == 4
    # Unequal good time: m = 2, n = (2, 1), g = (0.8, 0.2): O = 2! 1! / 4! / (0.8^2 0.2).
    result = odds([0.1, 0.3, 0.95], start=[0.0, 0.9], stop=[0.4, 1.0], max_bins=2)
    assert 10 ** result.odds_log10[0] == pytest.approx(2 / 24 / (0.8**2 * 0.2))


def test_false_alarms_are_as_rare_as_the_odds_promise():
    rng = np.random.default_rng(1)
    for num_photons in (20, 100):
        result = gregory_loredo(*constant(3_000, num_photons, rng))
        # The mean odds of a constant source are 1 for any prior, so odds >= k have a chance of at most 1 / k.
        assert np.mean(result.var_prob >= 0.9) < 1 / 9
        assert np.mean(result.var_prob >= 0.9) < 0.02
        assert np.mean(10**result.odds_log10 >= 99) <= 1 / 99
        assert np.mean(result.var_index == 0) > 0.8


def test_gaps_raise_no_false_alarm_in_a_constant_source():
    rng = np.random.default_rng(2)
    start, stop = [0.0, 4.1, 9.7], [1.3, 6.0, 10.0]
    edges = np.cumsum([1.3, 1.9, 0.3])
    times = []
    for _ in range(1_500):
        good = rng.uniform(0, edges[-1], 200)
        interval = np.searchsorted(edges, good)
        times.append(np.array(start)[interval] + good - np.array([0.0, *edges[:-1]])[interval])
    result = gregory_loredo(lists(*times), lists(*[start] * 1_500), lists(*[stop] * 1_500))
    assert (result.num_photons == 200).all()
    assert np.mean(result.var_prob >= 0.9) < 0.02
    # As one interval without its gaps the same photons are a variable source.
    blind = gregory_loredo(lists(*times[:100]), lists(*[[0.0]] * 100), lists(*[[10.0]] * 100))
    assert (blind.var_index >= 8).all()


def test_a_flare_is_found_and_a_dip_too():
    rng = np.random.default_rng(3)
    flare = np.concatenate([rng.uniform(0, 1, 60), rng.uniform(0.4, 0.45, 40)])
    dip = np.delete(np.sort(rng.uniform(0, 1, 2_000)), slice(400, 900))
    result = gregory_loredo(lists(flare, dip), lists([0.0], [0.0]), lists([1.0], [1.0]))
    assert (result.var_prob > 0.999).all()
    assert (result.var_index >= 8).all()


def test_shift_scale_order_and_neighbours_do_not_matter():
    rng = np.random.default_rng(4)
    rows = [rng.beta(1, 1 + 0.2 * index, 40 + index) for index in range(12)]
    start, stop = lists(*[[0.0, 0.6]] * 12), lists(*[[0.5, 1.0]] * 12)
    result = gregory_loredo(lists(*rows), start, stop)
    moved = gregory_loredo(
        lists(*[rng.permutation(row) * 2.0**15 + 2.0**20 for row in rows]),
        Ragged(start.values * 2.0**15 + 2.0**20, start.offsets),
        Ragged(stop.values * 2.0**15 + 2.0**20, stop.offsets),
    )
    alone = [gregory_loredo(lists(row), lists([0.0, 0.6]), lists([0.5, 1.0])).odds_log10[0] for row in rows]
    np.testing.assert_allclose(moved.odds_log10, result.odds_log10, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(alone, result.odds_log10, rtol=1e-9, atol=1e-9)
    # Lists with gaps do not change how those without are treated.
    mixed = gregory_loredo(lists(rows[0], rows[1]), lists([0.0], [0.0, 0.6]), lists([1.0], [0.5, 1.0]))
    assert mixed.odds_log10[0] == pytest.approx(odds(rows[0]).odds_log10[0])


def test_blocks_and_bright_sources(monkeypatch):
    rng = np.random.default_rng(5)
    times, start, stop = constant(50, 30, rng)
    whole = gregory_loredo(times, start, stop)
    monkeypatch.setattr("chandraclip.data.variability.PHOTONS_PER_BLOCK", 100)
    np.testing.assert_array_equal(gregory_loredo(times, start, stop).odds_log10, whole.odds_log10)
    bright = gregory_loredo(*constant(2, 100_000, rng))
    assert np.isfinite(bright.odds_log10).all()
    assert (bright.var_prob < 0.5).all()
    pulse = odds(rng.beta(2, 2, 100_000))
    assert np.isfinite(pulse.odds_log10[0])
    assert pulse.var_index[0] == 10


def test_rows_without_photons_or_good_time_are_nan():
    result = gregory_loredo(
        lists(None, [], [0.5] * 20, [0.5] * 20, np.linspace(0, 1, 20)),
        lists([0.0], [0.0], None, [0.3], [0.0]),
        lists([1.0], [1.0], None, [0.3], [1.0]),
    )
    assert np.isnan(result.var_prob[:4]).all()
    assert np.isnan(result.odds_log10[:4]).all()
    assert result.var_index[4] == 0
    empty = gregory_loredo(lists(), lists(), lists())
    assert all(len(values) == 0 for values in empty)


def test_photons_on_the_edges_of_intervals_are_kept():
    edges, inside = [0.0, 0.3, 0.7, 1.0], [0.05, 0.12, 0.2, 0.28, 0.71, 0.83, 0.9, 0.96]
    for scale in (1.0, 3e4 / 7):  # the second does not round to the same phases
        start, stop = [0.0, 0.7 * scale], [0.3 * scale, scale]
        result = odds(scale * np.array(edges + inside), start, stop)
        assert result.num_photons[0] == 12
        assert result.odds_log10[0] < 0.0


@pytest.mark.parametrize(
    ("start", "stop", "match"),
    [([0.5], [0.2], "ends before"), ([0.0, 0.4], [0.5, 1.0], "overlaps"), ([np.nan], [1.0], "ends")],
)
def test_bad_intervals_are_refused(start, stop, match):
    with pytest.raises(ValueError, match=match):
        odds([0.1, 0.2], start, stop)


def test_light_curve_decides_between_doubtful_cases():
    rng = np.random.default_rng(6)
    rows = [np.append(rng.uniform(0, 1, 40), rng.uniform(0.45, 0.55, index % 12)) for index in range(400)]
    for first, last in (([0.0], [1.0]), ([0.0, 0.7], [0.6, 1.0])):
        result = gregory_loredo(lists(*rows), lists(*[first] * 400), lists(*[last] * 400))
        unsure = (result.var_prob > 0.5) & (result.var_prob < 0.9)
        assert unsure.sum() > 10
        np.testing.assert_array_equal(np.isfinite(result.fraction_3_sigma), unsure)
        assert (result.fraction_3_sigma[unsure] <= result.fraction_5_sigma[unsure] + 1e-12).all()
        assert set(result.var_index[unsure]) <= {1, 2, 3, 4, 5}
        assert {1, 2} & set(result.var_index[unsure])
        assert {3, 4, 5} & set(result.var_index[unsure])


def test_index_follows_the_table():
    def index(probability, f3, f5):
        log_odds = np.log10(probability / (1 - probability))
        return variability_index(np.array([log_odds]), np.array([f3]), np.array([f5]))[0]

    rows = [(0.4, np.nan, np.nan, 0), (0.6, 1.0, 1.0, 1), (0.8, 0.999, 1.0, 2), (0.55, 0.9, 1.0, 3)]
    rows += [(0.65, 1.0, 0.99, 4), (0.8, 0.997, 1.0, 5), (0.95, 1.0, 1.0, 6)]
    assert [index(*row[:3]) for row in rows] == [row[3] for row in rows]
    strong = variability_index(np.array([1.9, 2.0, 4.0, 10.0, 30.0, np.nan]), np.zeros(6), np.zeros(6))
    np.testing.assert_array_equal(strong, [6, 7, 8, 9, 10, np.nan])
