import numpy as np
import pytest

from chandraclip.catalog.ragged import Ragged
from chandraclip.catalog.variability import gregory_loredo
from chandraclip.simulate.variability.kinds import (
    CONSTANT,
    DIP,
    FLARE,
    PULSATION,
    RED_NOISE,
    draw_variability,
)
from chandraclip.simulate.variability.matching import (
    DIP_LIGHT,
    ODDS,
    Observed,
    draw_matching_variability,
    information_of_odds,
    information_of_scatter,
)

DURATION = 4.0e4


def observed(information, source_share=1.0, **shape):
    nothing = np.full(len(information), np.nan)
    share = np.full(len(information), source_share)
    return Observed(information, share, *(shape.get(name, nothing) for name in ("scatter", "peak", "trough")))


def draw(kind, information, strength=0.3, period=np.nan, seed=0, **shape):
    number = len(information)
    how = (np.full(number, value) for value in (kind, strength, period, DURATION))
    return draw_matching_variability(np.random.default_rng(seed), *how, observed(information, **shape))


def totals(variable):
    """Mean-normalized rate of both spectra on a uniform grid."""
    grid = np.linspace(0.0, DURATION, 801)[1:-1]
    rows = []
    for row in range(len(variable.row)):
        first, second = variable.first, variable.second
        wave = np.cos(2.0 * np.pi * (grid - second.epoch[row]) / second.period[row])
        rate = np.interp(grid, first.time[row], first.rate[row])
        light = DIP_LIGHT if variable.kind[row] == DIP else 1.0
        rate = rate + light * np.interp(grid, second.time[row], second.rate[row]) * (1.0 + second.amplitude[row] * wave)
        rows.append(rate / rate.mean())
    return grid, np.array(rows)


@pytest.mark.parametrize(
    ("kind", "strength", "photons"),
    # Half of the light comes through a dip, so that few photons cannot tell much of it.
    [(CONSTANT, np.nan, 300), (RED_NOISE, 0.3, 300), (FLARE, 2.0, 300), (DIP, 0.7, 1500), (PULSATION, 0.3, 300)],
)
def test_odds_are_about_those_that_were_seen(kind, strength, photons):
    """The probability follows: with odds of 10^1, 10^4 and 10^13 asked for."""
    shares = []
    for log_odds in (2.3, 9.2, 30.0):
        information = information_of_odds(np.full(120, log_odds), np.full(120, float(photons)))
        kinds, variable = draw(kind, information, strength)
        assert (kinds == (RED_NOISE if kind == CONSTANT else kind)).all()
        np.testing.assert_array_equal(variable.row, np.arange(120))
        grid, rate = totals(variable)
        rng = np.random.default_rng(1)
        times = [np.sort(rng.choice(grid, photons, p=row / row.sum()) + rng.uniform(-25, 25, photons)) for row in rate]
        span = [Ragged.from_rows([np.array([edge])] * 120) for edge in (0.0, DURATION)]
        shares.append((gregory_loredo(Ragged.from_rows(times), *span).var_prob > 0.9).mean())
    assert shares[0] > 0.45
    assert shares[1] > 0.75
    assert shares[2] > 0.9


def test_shape_is_that_of_the_light_curve_where_it_is_known():
    information = np.full(200, 0.1)
    deep, shallow = (draw(DIP, information, 0.7, trough=np.full(200, value))[1] for value in (0.05, 0.7))
    lowest = [np.median(totals(part)[1].min(axis=1)) for part in (deep, shallow)]
    assert lowest[0] <= lowest[1]
    high, low = (draw(FLARE, information, 3.0, peak=np.full(200, value))[1] for value in (6.0, 1.8))
    highest = [np.median(totals(part)[1].max(axis=1)) for part in (high, low)]
    assert highest[0] > 1.2 * highest[1]


def test_beside_background_a_source_varies_more_for_the_same_information():
    """r ln r on average, of the rate with the background, is what was asked for, whatever the background."""
    information, found, scatter = np.full(150, 0.1), [], []
    for share in (1.0, 0.4):
        _, variable = draw(RED_NOISE, information, source_share=share)
        rate = totals(variable)[1]
        both = 1.0 + share * (rate - 1.0)
        found.append(np.median((both * np.log(np.maximum(both, 1e-9))).mean(axis=1)))
        scatter.append(np.median(rate.std(axis=1)))
    np.testing.assert_allclose(found, 0.1, rtol=0.25)
    assert scatter[1] > 1.7 * scatter[0]


def test_a_log_normal_rate_has_the_information_of_its_scatter():
    rate = np.exp(np.random.default_rng(2).normal(0.0, 0.5, 200_000))
    rate /= rate.mean()
    np.testing.assert_allclose(information_of_scatter(rate.std()), (rate * np.log(rate)).mean(), rtol=0.03)


def test_what_is_not_known_is_as_the_source_has_it():
    information = np.full(300, np.nan)
    kind, variable = draw(FLARE, information, 2.0)
    plain = draw_variability(
        np.random.default_rng(0), *(np.full(300, value) for value in (FLARE, 2.0, np.nan, DURATION))
    )
    np.testing.assert_array_equal(variable.first.rate, plain.first.rate)
    np.testing.assert_array_equal(variable.second.rate, plain.second.rate)
    assert draw(CONSTANT, information)[1].row.size == 0
    information[::3] = 0.2
    kind, variable = draw(CONSTANT, information)
    np.testing.assert_array_equal(variable.row, np.arange(0, 300, 3))
    np.testing.assert_array_equal(np.flatnonzero(kind == RED_NOISE), np.arange(0, 300, 3))


@pytest.mark.parametrize(("period", "gives_way"), [(0.6, True), (400.0, True), (2.0e3, False), (3.0e5, True)])
def test_pulses_that_cannot_have_been_seen_give_way(period, gives_way):
    kind, _ = draw(PULSATION, np.full(20, 0.2), period=period)
    assert (kind == (RED_NOISE if gives_way else PULSATION)).all()


def test_more_odds_need_more_information_and_more_photons_less():
    wanted = information_of_odds(np.array(ODDS), np.full(len(ODDS), 100.0))
    assert (np.diff(wanted) > 0).all()
    np.testing.assert_allclose(information_of_odds(np.array(ODDS), np.full(len(ODDS), 200.0)), wanted / 2.0)
