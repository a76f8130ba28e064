import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln

from chandraclip.data.hardness import hardness_ratios

AREA = np.array([3e6, 5e6, 3e6])


def mixture(counts, background, scale, size, rng):
    """Draws of the source rate from its exact posterior, a mixture of Gamma(j + 1), j <= counts."""
    j = np.arange(counts + 1)
    k = counts - j
    # Pois(n; s + B) = sum_j s^j e^-s / j! * B^k e^-B / k!, averaged over B ~ scale * Gamma(background + 1).
    log_weight = gammaln(background + k + 1) - gammaln(k + 1) + k * np.log(scale / (1 + scale))
    weight = np.exp(log_weight - log_weight.max())
    return rng.gamma(rng.choice(j, size, p=weight / weight.sum()) + 1.0)


def direct_mode(x, y, area_x, area_y):
    """Mode of P(H) of two gamma posteriors without background: the integral of the definition, by quadrature."""
    flux = np.linspace(1e-6, 60 / min(area_x, area_y), 2_001)
    hardness = np.linspace(-0.999, 0.999, 1_000)
    log_px = x * np.log((1 + hardness)[:, None] * flux * area_x) - (1 + hardness)[:, None] * flux / 2 * area_x
    log_py = y * np.log((1 - hardness)[:, None] * flux * area_y) - (1 - hardness)[:, None] * flux / 2 * area_y
    log_density = log_px + log_py + np.log(flux / 2)
    density = np.trapezoid(np.exp(log_density - log_density.max()), flux, axis=1)
    return hardness[density.argmax()]


@pytest.mark.parametrize(("medium", "hard"), [(4, 9), (1, 6), (12, 3), (2, 2)])
def test_mode_is_that_of_the_defining_integral(medium, hard):
    result = hardness_ratios(np.array([[0, medium, hard]]), None, 0.0, np.array([[1.0, 1.0, 0.7]]))
    assert result.hard_hm[0] == pytest.approx(direct_mode(hard, medium, 0.7, 1.0), abs=3e-3)


@pytest.mark.parametrize(
    ("counts", "background", "scale"),
    [((9, 14, 30), (40, 60, 200), 0.05), ((3, 8, 2), (30, 10, 20), 0.1), ((400, 900, 120), (900, 700, 2000), 0.05)],
)
def test_limits_hold_68_percent_of_the_exact_posterior(counts, background, scale):
    rng = np.random.default_rng(0)
    result = hardness_ratios(np.array([counts]), np.array([background]), scale, AREA[None])
    draws = [mixture(*pair, scale, 200_000, rng) / area for pair, area in zip(zip(counts, background), AREA)]
    for name, (x, y) in {"hard_hm": (2, 1), "hard_hs": (2, 0), "hard_ms": (1, 0)}.items():
        sample = (draws[x] - draws[y]) / (draws[x] + draws[y])
        low, high = (getattr(result, f"{name}_{limit}")[0] for limit in ("lolim", "hilim"))
        assert np.mean((sample > low) & (sample < high)) == pytest.approx(0.68, abs=0.015)
        assert low <= getattr(result, name)[0] <= high


def test_bright_sources_give_the_plain_ratio():
    counts = np.array([[40_000, 90_000, 20_000]])
    result = hardness_ratios(counts, np.array([[1000, 2000, 9000]]), 0.1, AREA[None])
    soft, medium, hard = (counts - 0.1 * np.array([[1000, 2000, 9000]]))[0] / AREA
    assert result.hard_hm[0] == pytest.approx((hard - medium) / (hard + medium), abs=1e-3)
    assert result.hard_ms[0] == pytest.approx((medium - soft) / (medium + soft), abs=1e-3)
    # The error of propagated Poisson errors.
    flux, variance = np.array([medium, soft]), counts[0, [1, 0]] / AREA[[1, 0]] ** 2
    error = 2 * np.sqrt(flux[1] ** 2 * variance[0] + flux[0] ** 2 * variance[1]) / flux.sum() ** 2
    assert (result.hard_ms_hilim - result.hard_ms_lolim)[0] / 2 == pytest.approx(error, rel=0.1)


def test_no_counts_and_one_band_only():
    counts = np.array([[0, 0, 0], [0, 0, 20], [20, 0, 0], [5, 5, 5]])
    area = np.tile(AREA, (4, 1))
    area[3, 0] = 0.0
    result = hardness_ratios(counts, np.full((4, 3), 2), 0.05, area)
    assert np.isnan([values[0] for values in result]).all()
    assert result.hard_hm[1] == pytest.approx(1.0, abs=1e-3)
    assert result.hard_hs[2] == pytest.approx(-1.0, abs=1e-3)
    assert result.hard_hs_hilim[2] < -0.7  # some hard flux is still possible
    assert result.hard_hs_hilim[2] > -0.99
    assert np.isnan(result.hard_hs[3])
    assert np.isfinite(result.hard_hm[3])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(0, 10**6)] * 3), min_size=1, max_size=4),
    st.tuples(*[st.integers(0, 10**6)] * 3),
    st.floats(0, 3),
)
def test_finite_ordered_and_independent_of_neighbours(counts, background, scale):
    counts = np.array(counts)
    area = np.tile(AREA, (len(counts), 1))
    result = hardness_ratios(counts, np.tile(background, (len(counts), 1)), scale, area)
    alone = hardness_ratios(counts[:1], np.array([background]), scale, area[:1])
    for ratio, (x, y) in enumerate(((2, 1), (2, 0), (1, 0))):
        mode, low, high = (values[counts[:, x] + counts[:, y] > 0] for values in result[3 * ratio : 3 * ratio + 3])
        assert (low <= mode).all()
        assert (mode <= high).all()
        assert (np.abs([low, high]) <= 1).all()
        np.testing.assert_array_equal(result[3 * ratio][:1], alone[3 * ratio])


@pytest.mark.parametrize(
    ("counts", "scale", "area"),
    [
        (np.ones((2, 2)), 0.1, np.ones((2, 2))),
        (-np.ones((1, 3)), 0.1, np.ones((1, 3))),
        (np.ones((1, 3)), -1, np.ones((1, 3))),
    ],
)
def test_bad_input_is_refused(counts, scale, area):
    with pytest.raises(ValueError, match=r"counts"):
        hardness_ratios(counts, np.ones_like(counts), scale, area)
