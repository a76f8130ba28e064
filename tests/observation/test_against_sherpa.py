"""Fits, limits and statistics against Sherpa's, on every real spectrum with a response."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

pytest.importorskip("sherpa.astro", reason="Sherpa is not installed: pip install -e .[sherpa]")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def benchmark(repository) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "fits_against_sherpa", repository / "benchmarks/fits_against_sherpa.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def agree(benchmark, label, spectrum, model, statistic):
    ours = benchmark.our_fit(spectrum, model, statistic)
    other = benchmark.sherpa_fit(spectrum, model, statistic)
    # Sherpa may stop in a poorer minimum; ours may not.
    assert ours.statistic <= 1.001 * other.statistic + 0.01, label
    if ours.statistic < other.statistic - 0.5:
        return "lower"
    assert ours.statistic == pytest.approx(other.statistic, rel=5e-3), label
    if ours.parameters["norm"].value == 0:
        return "equal"  # no source is best: what its shape is, and Sherpa's search for limits, is chance
    emission = ours.likelihood.model.emission
    for (name, parameter), value, limits in zip(ours.parameters.items(), other.values, other.limits):
        if name == "norm" and model == "blackbody":
            continue  # Sherpa's amplitude is another one: the norm over kT^4
        known = [abs(limit - parameter.value) for limit in (parameter.low, parameter.high) if limit is not None]
        if not known:
            continue  # the data say nothing of it
        error = sum(known) / len(known)
        assert abs(value - parameter.value) < 0.2 * error, (label, name, parameter, value)
        low, high = {emission.parameter: (emission.low, emission.high), "nH": (0.0, 100.0)}.get(name, (0.0, 1e10))
        for mine, its in zip((parameter.low, parameter.high), limits):
            if name == "norm" and its is None and ours.parameters[emission.parameter].high is None:
                continue  # with the slope at the end of its range, Sherpa's search gives up
            if mine is None or its is None:  # open: Sherpa's may lie beyond the parameter's range
                assert mine is None, (label, name, parameter, limits)
                assert its is None or not low < its < high, (label, name, parameter, limits)
            else:
                assert abs(mine - its) < 0.2 * error, (label, name, parameter, limits)
    return "equal"


@pytest.mark.parametrize(("statistic", "number"), [("cash", 20), ("wstat", 17)])
def test_power_laws_of_every_spectrum(benchmark, real_data, statistic, number):
    spectra = benchmark.complete_spectra(real_data / "spectra", statistic)
    assert len(spectra) == number
    results = [agree(benchmark, label, spectrum, "powerlaw", statistic) for label, spectrum in spectra]
    assert results.count("equal") >= number - 2


@pytest.mark.parametrize("model", ["blackbody", "bremsstrahlung", "apec", "diskbb"])
def test_other_models(benchmark, real_data, model):
    names = ("pks0537", "csc_acisf04938", "csc_acisf01575")
    spectra = [item for item in benchmark.complete_spectra(real_data / "spectra", "wstat") if item[0].startswith(names)]
    results = [agree(benchmark, label, spectrum, model, "wstat") for label, spectrum in spectra]
    assert results.count("equal") >= 2
