import numpy as np
import pytest
from scipy.optimize import minimize

from chandraclip.simulate.emission.absorption import transmission
from chandraclip.simulate.emission.incident import blackbody, bremsstrahlung, powerlaw
from chandraclip.simulate.emission.plasma import plasma
from chandraclip.simulate.fits import GROUP_COUNTS, MODELS, _grid, _Groups, _Problem, fit_spectra
from chandraclip.simulate.instrument.area import ENERGY, ENERGY_HI, ENERGY_LO, effective_area
from chandraclip.simulate.instrument.detector import background_shape
from chandraclip.simulate.instrument.redistribution import CHANNEL_EDGES, redistribution_matrix
from chandraclip.simulate.instrument.response import builtin_response

FUNCTIONS = {
    "powlaw": powerlaw,
    "bb": blackbody,
    "brems": bremsstrahlung,
    "apec": lambda lo, hi, kt: plasma(lo, hi, kt, 0.4),
}
COLUMNS = {name: model.shape_column for name, model in MODELS.items()}


def observe(model, shape, nh, num_counts, seed=0):
    """Spectra of known parameters, with a background of a fifth of the counts in a ten times larger region."""
    rng = np.random.default_rng(seed)
    shape, nh = np.atleast_1d(shape).astype(float), np.atleast_1d(nh).astype(float)
    num_rows = len(shape)
    area = effective_area(np.arange(num_rows) % 2, np.linspace(0, 8, num_rows), np.linspace(51600, 59000, num_rows))
    incident = FUNCTIONS[model](ENERGY_LO, ENERGY_HI, shape) * transmission(ENERGY, nh)
    expected = (incident * area) @ redistribution_matrix()
    expected *= num_counts / expected[:, 34:480].sum(axis=1, keepdims=True)
    background = np.tile(0.2 * num_counts * background_shape(CHANNEL_EDGES), (num_rows, 1))
    counts, outside = rng.poisson(expected + background), rng.poisson(10.0 * background)
    return counts, outside, np.full(num_rows, 0.1), area


@pytest.mark.parametrize(
    ("model", "shape", "nh"),
    [("powlaw", 1.8, 30.0), ("powlaw", 0.9, 200.0), ("bb", 0.6, 20.0), ("brems", 3.0, 50.0), ("apec", 1.2, 30.0)],
)
def test_fits_find_what_was_put_in_without_bias(model, shape, nh):
    num_rows = 60
    result = fit_spectra(*observe(model, np.full(num_rows, shape), np.full(num_rows, nh), 3000))
    for truth, values in ((shape, result[COLUMNS[model]]), (nh, result[f"{model}_nh"])):
        scatter = values.std()
        assert abs(values.mean() - truth) < 4.0 * scatter / np.sqrt(num_rows) + 0.01 * truth
        assert scatter < 0.5 * truth
    assert result[f"{model}_stat"].mean() == pytest.approx(1.0, abs=0.12)
    if model == "apec":
        assert np.median(result["apec_abund"]) == pytest.approx(0.4, abs=0.1)


def test_the_wrong_model_fits_worse():
    result = fit_spectra(*observe("powlaw", np.full(20, 1.8), np.full(20, 30.0), 5000))
    assert (result["bb_stat"] > 2.0 * result["powlaw_stat"]).all()


def test_reaches_the_minimum_that_a_simplex_finds():
    """Against scipy, on the full response: same answer, though the fit folds on coarser bins."""
    counts, outside, scale, area = observe("powlaw", [1.5, 2.5, 1.0], [10.0, 80.0, 400.0], 1500, seed=2)
    result = fit_spectra(counts, outside, scale, area)
    grid = _grid(builtin_response())
    grouped, background = grid.group(counts), 0.1 * grid.group(outside)
    groups = _Groups(grouped)
    for row in range(3):

        def statistic(parameters, row=row):
            log_norm, gamma, nh = parameters
            incident = powerlaw(ENERGY_LO, ENERGY_HI, np.array([gamma])) * transmission(ENERGY, np.array([max(nh, 0)]))
            folded = grid.group((incident * area[row]) @ redistribution_matrix())[0]
            expected = np.exp(log_norm) * folded / folded.sum() + background[row]
            starts = group_starts(groups, row, grouped.shape[1])
            data, model = np.add.reduceat(grouped[row], starts), np.add.reduceat(expected, starts)
            return ((data - model) ** 2 / data).sum()

        start = [np.log(1500), result["powlaw_gamma"][row], result["powlaw_nh"][row]]
        best = minimize(statistic, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-4})
        assert result["powlaw_stat"][row] * (groups.number[row] - 3) == pytest.approx(best.fun, rel=0.03)
        assert result["powlaw_gamma"][row] == pytest.approx(best.x[1], abs=0.05)
        assert result["powlaw_nh"][row] == pytest.approx(best.x[2], rel=0.1, abs=2.0)


def group_starts(groups, row, num_bins):
    starts = groups.starts[(groups.starts >= row * num_bins) & (groups.starts < (row + 1) * num_bins)]
    return starts - row * num_bins


def test_groups_are_of_neighbours_and_hold_enough_counts():
    counts = np.random.default_rng(0).poisson(np.geomspace(30, 0.1, 60), (40, 60)).astype(float)
    groups = _Groups(counts)
    mean = groups.means(counts)
    np.testing.assert_allclose(mean.sum(axis=1), counts.sum(axis=1))
    for row, of_row in enumerate(counts):
        starts = group_starts(groups, row, 60)
        assert len(starts) == groups.number[row]
        sums = np.add.reduceat(of_row, starts)
        assert (sums >= GROUP_COUNTS).all()
        assert (sums[:-1] < GROUP_COUNTS + np.maximum(of_row[:30].max(), 1)).all()
    few = _Groups(np.array([[3.0, 0.0, 6.0]]))  # fewer than a group: one of all
    np.testing.assert_allclose(few.means(np.array([[3.0, 0.0, 6.0]])), 3.0)


def test_a_wrong_model_is_fitted_to_the_end():
    """A black body on power laws would have less than no absorption: its temperature must not wait for that."""
    counts, outside, scale, area = observe("powlaw", np.full(12, 1.9), np.full(12, 5.0), 1000)
    result = fit_spectra(counts, outside, scale, area)
    assert (result["bb_nh"] < 1e-6).mean() > 0.8
    grid = _grid(builtin_response())
    problem = _Problem("bb", grid, grid.group(counts), 0.1 * grid.group(outside), grid.mean_area(area))
    best = np.full(12, np.inf)
    for kt in np.geomspace(0.25, 1.2, 120):
        share = problem.profile(np.tile([1.0, np.log(kt), 0.0], (12, 1)))[0]
        total = (problem.net * share / problem.variance).sum(axis=1) / (share**2 / problem.variance).sum(axis=1)
        best = np.minimum(best, problem.statistic(total, share))
    found = result["bb_stat"] * (problem.groups.number - 3)
    assert (found < 1.005 * best).all()
    assert 0.4 < np.median(result["bb_kt"]) < 0.58


def test_no_fit_below_150_net_counts():
    faint, bright = observe("powlaw", [1.8], [30.0], 100), observe("powlaw", [1.8], [30.0], 400)
    result = fit_spectra(*(np.concatenate(pair) for pair in zip(faint, bright)))
    for values in result.values():
        np.testing.assert_array_equal(np.isnan(values), [True, False])


def test_parameters_stay_in_their_ranges():
    """A spectrum like nothing in the models: a single line at 6.4 keV, and one at 0.6 keV."""
    counts = np.zeros((2, 1024), dtype=np.int64)
    counts[0, 430:445], counts[1, 38:45] = 40, 80
    area = effective_area(np.array([1, 1]), np.zeros(2), np.full(2, 52000.0))
    result = fit_spectra(counts, np.zeros_like(counts), np.full(2, 0.1), area)
    assert all(np.isfinite(values).all() for values in result.values())
    assert ((result["powlaw_gamma"] >= -3) & (result["powlaw_gamma"] <= 10)).all()
    assert (result["brems_kt"] <= 100 * (1 + 1e-9)).all()
    assert all(((result[f"{model}_nh"] >= 0) & (result[f"{model}_nh"] <= 1e4)).all() for model in FUNCTIONS)
