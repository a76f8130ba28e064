"""Numbers of the population stay within what nature allows, in the tables and in the calibration."""

import csv
import importlib.util
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from chandraclip.simulate.population.bounds import NAMES, bounds
from chandraclip.simulate.population.sources import CLASSES, default_population, draw_sources
from chandraclip.simulate.variability.kinds import ERUPTION, PULSATION


@pytest.fixture(scope="module")
def calibrate_population(repository: Path):
    spec = importlib.util.spec_from_file_location("calibrate", repository / "scripts" / "calibrate_population.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def within(population):
    for table in NAMES:
        for column, values in getattr(population, table).items():
            if values.dtype.kind == "f":
                low, high = bounds(population, table, column)
                outside = (values < low - 1e-9) | (values > high + 1e-9)
                yield from (f"{table} row {row}: {column} {values[row]}" for row in np.flatnonzero(outside))


def test_tables_are_within_bounds():
    assert list(within(default_population())) == []


def test_every_bound_is_of_a_row_and_has_a_reference():
    population = default_population()
    with resources.files("chandraclip.simulate.population").joinpath("tables/bounds.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert len(row["reference"]) > 10, row
        assert float(row["low"]) < float(row["high"]), row
        table = getattr(population, row["table"])
        of = (table["source_class"] == row["source_class"]) & (table[NAMES[row["table"]]] == row["name"])
        assert of.any(), row
        assert np.isfinite(table[row["column"]][of]).any(), row
    bounded = {(row["source_class"], row["name"]) for row in rows if row["column"] == "strength"}
    kinds = population.variability
    for source_class, kind in zip(kinds["source_class"].tolist(), kinds["kind"].tolist()):
        assert (source_class, kind) in bounded or kind in ("eclipse", "transient"), "its strength has no bound"


@pytest.mark.parametrize("name", ["AGN", "HMXB", "YSO"])
def test_the_search_does_not_leave_the_bounds(calibrate_population, name):
    rng = np.random.default_rng(0)
    population = start = default_population()
    for _ in range(150):
        population = calibrate_population.mutate(rng, population, name, 3.0)
    assert list(within(population)) == []
    own = start.variability["source_class"] == name
    assert (population.variability["strength"][own] != start.variability["strength"][own]).any()
    assert population.variability["share"][own].sum() <= 0.98
    assert population.spectra["share"][population.spectra["source_class"] == name].sum() == pytest.approx(1.0)


def test_a_search_that_begins_outside_comes_in(calibrate_population):
    start = default_population()
    strength = start.variability["strength"].copy()
    row = int(
        np.flatnonzero((start.variability["source_class"] == "HMXB") & (start.variability["kind"] == "pulsation"))[0]
    )
    strength[row] = 3.6
    population = replace(start, variability=start.variability | {"strength": strength})
    rng = np.random.default_rng(1)
    for _ in range(150):
        population = calibrate_population.mutate(rng, population, "HMXB", 1.0)
    assert population.variability["strength"][row] <= 0.8


def test_rare_things_are_rare():
    """Quasi-periodic eruptions in 1e-4 of AGN at most, and few pulsars pulse altogether."""
    rng = np.random.default_rng(2)
    agn = draw_sources(rng, default_population(), np.full(40_000, CLASSES.index("AGN")))
    assert (agn.kind == ERUPTION).mean() < 5e-4
    binaries = draw_sources(rng, default_population(), np.full(10_000, CLASSES.index("HMXB")))
    pulsed = binaries.kind == PULSATION
    assert 0.1 < pulsed.mean() < 0.5
    assert (binaries.strength[pulsed] > 0.95).mean() < 0.05
