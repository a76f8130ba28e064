import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln

from chandraclip.catalog.background_quadrature import background_nodes
from chandraclip.catalog.hardness import hardness_ratios

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


def log_rate_posterior(counts, background, scale):
    """u = ln(rate) and ln of its exact density, a mixture of Gamma(j + 1), on 1,500 points of its support."""
    j = np.arange(counts + 1)
    k = counts - j
    log_weight = gammaln(background + k + 1) - gammaln(k + 1) + k * np.log(scale / (1 + scale)) - gammaln(j + 1)

    def log_density(u):
        terms = (log_weight - log_weight.max())[:, None] + (j[:, None] + 1) * u - np.exp(u)
        return np.logaddexp.reduce(terms, axis=0)

    u = np.linspace(np.log(1e-6), np.log(counts + 10 * np.sqrt(counts) + 40), 1_500)
    support = u[log_density(u) > log_density(u).max() - 18]
    u = np.linspace(support[0] - u[1] + u[0], support[-1] + u[1] - u[0], 1_500)
    return u, log_density(u) - log_density(u).max()


def exact_summary(x, y, area_x, area_y):
    """Mode and 68 % highest-density limits of H from two exact posteriors, by direct summation."""
    (u_x, log_x), (u_y, log_y) = x, y
    low, high = u_x[0] - u_y[-1], u_x[-1] - u_y[0]
    for tail in (1e-6, 0.0):
        d = np.linspace(low, high, 3_000)
        if np.ptp(u_x) < np.ptp(u_y):  # sum over the narrower
            mass = np.exp(np.interp(u_x - d[:, None], u_y, log_y, left=-np.inf, right=-np.inf)) @ np.exp(log_x)
        else:
            mass = np.exp(np.interp(u_y + d[:, None], u_x, log_x, left=-np.inf, right=-np.inf)) @ np.exp(log_y)
        mass /= mass.sum()
        cumulative = np.cumsum(mass)
        bulk = d[(cumulative > tail) & (cumulative < 1 - tail)]
        low, high = bulk[0], bulk[-1]
    d = d - np.log(area_x / area_y)
    density = mass * np.cosh(0.5 * d) ** 2
    order = np.argsort(-density)
    inside = np.sort(d[order[: np.searchsorted(np.cumsum(mass[order]), 0.68) + 1]])
    return np.tanh(0.5 * np.array([d[order[0]], inside[0], inside[-1]]))


@pytest.mark.parametrize(
    ("counts", "background", "scale"),
    [
        ((1, 1, 3), (0, 1, 4), 0.08),  # each number of nodes of the background quadrature, by the ratio of variances
        ((20, 60, 35), (1, 4, 3), 0.03),
        ((9, 14, 30), (40, 60, 200), 0.05),
        ((28, 12, 10), (167, 16, 25), 0.12),
        ((5, 65, 9), (64, 1822, 286), 0.034),
        ((43, 28, 33), (19, 5, 6), 1.7),
        ((400, 900, 120), (900, 700, 2000), 0.05),
    ],
)
def test_modes_and_limits_are_those_of_the_exact_posterior(counts, background, scale):
    result = hardness_ratios(np.array([counts]), np.array([background]), scale, AREA[None])
    posterior = [log_rate_posterior(*pair, scale) for pair in zip(counts, background)]
    for name, (x, y) in {"hard_hm": (2, 1), "hard_hs": (2, 0), "hard_ms": (1, 0)}.items():
        mode, low, high = exact_summary(posterior[x], posterior[y], AREA[x], AREA[y])
        width = high - low
        assert getattr(result, name)[0] == pytest.approx(mode, abs=1e-3 + 0.005 * width)
        assert getattr(result, f"{name}_lolim")[0] == pytest.approx(low, abs=1e-3 + 0.005 * width)
        assert getattr(result, f"{name}_hilim")[0] == pytest.approx(high, abs=1e-3 + 0.005 * width)


def test_background_quadrature_gives_the_moments_of_its_gamma():
    shape = np.array([[1.0, 2.0, 7.0], [30.0, 400.0, 1e6]])
    for num_nodes in (1, 3, 5, 12):
        node, weight = background_nodes(shape, num_nodes)
        assert node.shape == (2, 3, num_nodes)
        np.testing.assert_allclose((weight * node).sum(-1), shape, rtol=0.02 if num_nodes < 12 else 2e-3)
        if num_nodes > 1:
            variance = (weight * (node - shape[..., None]) ** 2).sum(-1)
            np.testing.assert_allclose(variance, shape, rtol={3: 0.1, 5: 0.05, 12: 0.01}[num_nodes])


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


def test_a_background_far_above_the_counts_leaves_the_other_band():
    """Soft counts far below their background are no flux: the ratio of medium and soft stays at its end."""
    counts = np.array([[1000, 200, 50]]).repeat(3, axis=0)
    background = np.array([[15_000, 10, 10], [22_000, 10, 10], [30_000, 10, 10]])
    result = hardness_ratios(counts, background, 0.1, AREA[None].repeat(3, axis=0))
    assert (result.hard_ms > 0.9).all()
