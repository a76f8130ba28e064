import numpy as np
import pytest
from scipy.optimize import minimize

from chandraclip.catalog.statistics import cash
from chandraclip.simulate.emission.absorption import transmission
from chandraclip.simulate.emission.incident import blackbody, bremsstrahlung, powerlaw
from chandraclip.simulate.emission.plasma import plasma
from chandraclip.simulate.fits import MODELS, _grid, fit_spectra
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
    grouped, background = grid.group(counts), 0.1 * grid.group(outside) + 1e-9
    for row in range(3):

        def statistic(parameters, row=row):
            log_norm, gamma, nh = parameters
            incident = powerlaw(ENERGY_LO, ENERGY_HI, np.array([gamma])) * transmission(ENERGY, np.array([max(nh, 0)]))
            folded = grid.group((incident * area[row]) @ redistribution_matrix())[0]
            return cash(grouped[row], np.exp(log_norm) * folded / folded.sum() + background[row]).sum()

        start = [np.log(1500), result["powlaw_gamma"][row], result["powlaw_nh"][row]]
        best = minimize(statistic, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-4})
        assert result["powlaw_stat"][row] * (grouped.shape[1] - 3) == pytest.approx(best.fun, rel=0.03)
        assert result["powlaw_gamma"][row] == pytest.approx(best.x[1], abs=0.05)
        assert result["powlaw_nh"][row] == pytest.approx(best.x[2], rel=0.1, abs=2.0)


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
