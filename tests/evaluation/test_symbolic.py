"""Formulas: a planted one is found and scored on sources not seen; engines, refusals, the program."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from chandraclip.data.splits import assign_splits
from chandraclip.errors import InputFileError, OptionError
from chandraclip.evaluation import symbolic_engines
from chandraclip.evaluation.symbolic import complexity, evaluate, find_formula, quantity_values, rounded
from chandraclip.evaluation.symbolic_engines import OperonEngine, PySREngine, choose_engine

sympy = pytest.importorskip("sympy")
needs_operon = pytest.mark.skipif(
    importlib.util.find_spec("pyoperon") is None, reason="no pyoperon, which the extra symbolic installs"
)


def measured(num_sources: int = 600, seed: int = 0) -> dict[str, np.ndarray]:
    """Two detections a source: log flux, hardness and a column that matters to nothing."""
    generator = np.random.default_rng(seed)

    def twice(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, 2) + 0.05 * generator.normal(size=2 * num_sources)

    names = np.repeat([f"2CXO J{number:06d}" for number in range(num_sources)], 2)
    return {
        "name": names,
        "split": np.array(assign_splits(names.tolist())),
        "log_flux_b": twice(generator.normal(-13, 0.6, num_sources)),
        "hard_hs": twice(generator.uniform(-1, 1, num_sources)),
        "log_nh": twice(generator.normal(1.5, 0.5, num_sources)),
    }


@needs_operon
def test_a_planted_formula_is_found():
    data = measured()
    generator = np.random.default_rng(1)
    inputs = {name: data[name] for name in ("log_flux_b", "hard_hs", "log_nh")}
    latent = 2 * inputs["log_flux_b"] - 3 * inputs["hard_hs"] ** 2 + 0.05 * generator.normal(size=len(data["name"]))
    latent[::50] = np.nan
    engine = OperonEngine(max_length=12, max_evaluations=20_000, max_seconds=120)
    fit = find_formula("z0", latent, inputs, data["split"], data["name"], engine, num_resamples=100)
    flux, hardness = sympy.symbols("log_flux_b hard_hs")
    found = sympy.Poly(sympy.expand(fit.chosen.expression), flux, hardness)
    assert float(found.coeff_monomial(flux)) == pytest.approx(2, abs=0.05)
    assert float(found.coeff_monomial(hardness**2)) == pytest.approx(-3, abs=0.1)
    assert fit.chosen.expression.free_symbols == {flux, hardness}
    assert fit.chosen.r2["test"] > 0.99
    assert fit.low <= fit.chosen.r2["test"] <= fit.high
    assert fit.linear < 0.9 < fit.boosted
    assert fit.chosen.complexity < 12
    assert sum(fit.num_rows.values()) == np.isfinite(latent).sum()
    # The front grows in length and in what it explains; equal seeds find the same.
    for one, other in zip(fit.front, fit.front[1:]):
        assert one.complexity < other.complexity
        assert one.r2["train"] < other.r2["train"]
    again = find_formula("z0", latent, inputs, data["split"], data["name"], engine, num_resamples=100)
    assert again.record() == fit.record()


@needs_operon
def test_noise_has_no_formula_and_few_rows_are_refused():
    data = measured()
    inputs = {name: data[name] for name in ("log_flux_b", "hard_hs")}
    noise = np.random.default_rng(2).normal(size=len(data["name"]))
    engine = OperonEngine(max_length=10, max_evaluations=3_000, max_seconds=60)
    fit = find_formula("z0", noise, inputs, data["split"], data["name"], engine, num_resamples=100)
    assert fit.chosen.r2["test"] < 0.1
    few = np.where(data["split"] == "test", np.nan, noise)
    assert find_formula("z0", few, inputs, data["split"], data["name"], engine) is None
    assert find_formula("z0", np.ones(len(noise)), inputs, data["split"], data["name"], engine) is None


class Stub:
    """An engine that gives what it is told."""

    name = "stub"

    def __init__(self, *texts: str):
        self.texts, self.seen = texts, []

    def front(self, inputs, target, names, seed):
        self.seen.append((inputs.shape, len(target), list(names), seed))
        found = [sympy.parse_expr(text) for text in self.texts]
        return [one for one in found if {str(symbol) for symbol in one.free_symbols} <= set(names)]


def test_formulas_are_chosen_on_validation_and_scored_as_shown():
    data = measured()
    inputs = {"hard_hs": data["hard_hs"]}
    target = 1.23456 * data["hard_hs"]
    target[data["split"] == "validation"] = 1.0 + data["hard_hs"][data["split"] == "validation"]
    stub = Stub("1.23456*hard_hs", "1.0 + hard_hs + 0*hard_hs", "1/(hard_hs - hard_hs)", "log(hard_hs)")
    fit = find_formula("z0", target, inputs, data["split"], data["name"], stub, max_rows=100, seed=3, num_resamples=20)
    assert stub.seen == [((100, 1), 100, ["hard_hs"], 3)]
    assert str(fit.front[0].expression) == "1.23*hard_hs"  # what has no value everywhere is left out
    assert fit.front[0].r2["test"] < 1  # of the rounded one
    assert len(fit.front) == 1  # longer and no better on train
    assert find_formula("z0", target, inputs, data["split"], data["name"], Stub("1/(hard_hs-hard_hs)")) is None


def test_expressions():
    x, y = sympy.symbols("x y")
    assert str(rounded(1.00004 * (2.00013 * x - (0.99691 * y) ** 2) + 0.000012)) == "2.0*x - 0.994*y**2 + 1.2e-5"
    assert rounded(1.0 * (x + y) ** 4) == (x + y) ** 4  # not multiplied out where that is longer
    assert complexity(x + 2 * y) == 5
    np.testing.assert_array_equal(evaluate(sympy.Float(3), {"x": np.zeros(4)}), 3 * np.ones(4))
    values = evaluate(1 / x, {"x": np.array([0.0, 2.0])})
    assert not np.isfinite(values[0])
    assert values[1] == 0.5


def test_quantities():
    columns = {"flux_aper_b": np.array([1e-13, 0, np.nan]), "powlaw_nh": np.array([0.0, 99, -1])}
    np.testing.assert_allclose(quantity_values(columns, "log_flux_b"), [-13, np.nan, np.nan])
    np.testing.assert_allclose(quantity_values(columns, "log_nh"), [0, 2, np.nan])


def test_engines(monkeypatch):
    monkeypatch.setattr(symbolic_engines.shutil, "which", lambda name: None)
    with pytest.raises(OptionError, match="no engine 'eureqa', only auto, pysr, pyoperon"):
        choose_engine("eureqa", 10, 10, 10)
    with pytest.raises(OptionError, match="pysr cannot be used: there is no julia"):
        choose_engine("pysr", 10, 10, 10)
    specs = {"pyoperon": object()}
    monkeypatch.setattr(symbolic_engines.importlib.util, "find_spec", lambda name: specs.get(name))
    assert choose_engine("auto", 10, 10, 10).name == "pyoperon"
    specs.clear()
    for name in ("auto", "pyoperon"):
        with pytest.raises(OptionError, match=r"pip install 'chandraclip\[symbolic\]'"):
            choose_engine(name, 10, 10, 10)
    monkeypatch.setattr(symbolic_engines.shutil, "which", lambda name: "/usr/bin/julia")
    with pytest.raises(OptionError, match="it is not installed"):
        choose_engine("pysr", 10, 10, 10)
    specs |= {"pysr": object(), "pyoperon": object()}

    def offline(name):
        raise OSError("urlopen: no network")

    monkeypatch.setattr(symbolic_engines.importlib, "import_module", offline)
    with pytest.raises(OptionError, match=r"its import fails .*no network"):
        choose_engine("pysr", 10, 10, 10)
    assert choose_engine("auto", 10, 10, 10).name == "pyoperon"
    monkeypatch.setattr(symbolic_engines.importlib, "import_module", lambda name: types.ModuleType(name))
    assert choose_engine("auto", 10, 10, 10).name == "pysr"


def test_pysr_is_asked_for_what_was_said(monkeypatch):
    class Regressor:
        def __init__(self, **options):
            Regressor.options = options

        def fit(self, inputs, target, variable_names):
            self.equations_ = {"sympy_format": [sympy.Symbol(name) for name in variable_names]}

    monkeypatch.setitem(sys.modules, "pysr", types.SimpleNamespace(PySRRegressor=Regressor))
    front = PySREngine(17, 1234, 56).front(np.zeros((3, 2)), np.zeros(3), ["a", "b"], seed=9)
    assert [str(one) for one in front] == ["a", "b"]
    assert Regressor.options["maxsize"] == 17
    assert Regressor.options["max_evals"] == 1234
    assert Regressor.options["timeout_in_seconds"] == 56
    assert (Regressor.options["random_state"], Regressor.options["deterministic"]) == (9, True)


@pytest.fixture
def program(repository):
    spec = importlib.util.spec_from_file_location("symbolic_program", repository / "eval" / "symbolic.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def embeddings(tmp_path, embeddings_table) -> str:
    import pyarrow.parquet as pq

    folder = tmp_path / "embeddings"
    folder.mkdir()
    pq.write_table(embeddings_table, folder / "embeddings.parquet")
    return str(folder)


def test_program(program, embeddings, dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(symbolic_engines, "choose_engine", lambda *_: Stub("hard_hs", "log_flux_b", "z0 + 0.25*z1"))
    output = tmp_path / "out"
    program.main([embeddings, str(dataset), "--output", str(output), "--latents", "0", "3", "--num_resamples", "20"])
    content = json.loads((output / "metrics.json").read_text())
    assert content["evaluation"] == "symbolic"
    assert {"hard_hs", "log_flux_b"} <= {item["target"] for item in content["results"]["quantities from latents"]}
    assert content["headline"][0]["baseline_name"] == "linear regression"
    assert (output / "symbolic.png").stat().st_size > 10_000
    assert (output / "fronts.csv").read_text().startswith("panel,target,complexity")
    text = (output / "symbolic.md").read_text()
    assert "`z0 + 0.25*z1`" in text
    assert "hard_hs" in capsys.readouterr().out


def test_refusals(program, embeddings, dataset, monkeypatch, tmp_path):
    monkeypatch.setattr(symbolic_engines, "choose_engine", lambda *_: Stub("z0"))
    for options, reason in (
        (["--representation", "event_latent"], "there is no event_latent, only"),
        (["--latents", "0", "16"], "has 16 numbers, from 0; there is no 16"),
        (["--inputs", "colour"], "there is no quantity 'colour'"),
        (["--targets", "gamma", "temperature"], "there is no quantity 'temperature'"),
    ):
        with pytest.raises(InputFileError, match=reason):
            program.main([embeddings, str(dataset), *options])
    for wrong in ("--max_length", "--max_evaluations", "--max_seconds", "--max_rows", "--num_resamples"):
        with pytest.raises(SystemExit) as stopped:
            program.parse_arguments([embeddings, str(dataset), wrong, "0"])
        assert stopped.value.code == 2
    assert not list(Path(embeddings).glob("symbolic"))
