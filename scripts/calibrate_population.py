#!/usr/bin/env python
"""Fits the simulator's population tables to the labelled sources of CSC, class by class.

    python scripts/calibrate_population.py DATA_DIR --output TABLES --classes AGN YSO

A random search: numbers of tables/spectra.csv, classes.csv and variability.csv are varied, a class is simulated
with the same seed each time, and what lowers the mean Kolmogorov-Smirnov distance of its observables to the real ones
is kept, within what nature allows (tables/bounds.csv, with references). Sources whose split is `train` (70 %) are
fitted; docs/simulator.md tells how all of them compare.
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from chandraclip.program import now_try, run_program

if TYPE_CHECKING:
    import pandas as pd

# What is compared, and how much it counts: hardness sets how hard the classes are to tell apart. Hardness of bright
# detections apart: it shows which kinds of spectra are the bright ones, which noise hides in all of them together.
BRIGHT = 2.0  # log net counts
WEIGHTS = {
    "energy_hm": 1.0,
    "energy_hs": 1.0,
    "energy_ms": 1.0,
    "energy_hm bright": 0.5,
    "energy_hs bright": 0.5,
    "energy_ms bright": 0.5,
    "log_counts_b": 1.0,
    "log_flux_b": 0.5,
    "powlaw_gamma": 1.0,
    "log_powlaw_nh": 1.0,
    "log_bb_kt": 0.5,
    "log_brems_kt": 0.5,
    "var_prob_b": 1.0,
}
MIN_REAL = 8  # values of a quantity, below which it is not compared
# Column -> (step of the search, lowest, highest). Shares move in the log.
STEPS: dict[str, dict[str, tuple[float, float, float]]] = {
    "spectra": {
        "share": (0.3, 0.02, 1.0),
        "gamma": (0.15, 0.0, 4.0),
        "gamma_scatter": (0.08, 0.1, 0.9),
        "log_kt": (0.08, -1.4, 1.6),
        "log_kt_scatter": (0.04, 0.05, 0.5),
        "log_nh": (0.15, -1.0, 3.4),
        "log_nh_scatter": (0.08, 0.15, 1.0),
        "second_share": (0.08, 0.01, 0.9),
        "second_log_kt": (0.08, -1.4, 1.6),
        "log_flux_shift": (0.15, -1.0, 1.0),
    },
    "classes": {
        "log_flux": (0.12, -15.5, -11.0),
        "pointed_log_flux": (0.15, -1.0, 1.5),
        "log_flux_scatter": (0.06, 0.3, 1.2),
    },
    "variability": {
        "share": (0.3, 0.01, 0.9),
        "activity": (0.12, 0.05, 1.0),
        "strength": (0.4, 0.05, 30.0),
    },
}
LOGARITHMIC = {("spectra", "share"), ("variability", "share"), ("variability", "strength")}


def observables(detections: pd.DataFrame) -> dict[str, np.ndarray]:
    """Values of each compared quantity: a few detections of each source, spectral fits a source each."""
    from chandraclip.realism.distances import MOST_DETECTIONS, detection_quantities

    frame = detection_quantities(detections, MOST_DETECTIONS)
    bright = frame["log_counts_b"] >= BRIGHT
    found = {}
    for name in WEIGHTS:
        column, _, of_bright = name.partition(" ")
        found[name] = (frame.loc[bright, column] if of_bright else frame[column]).dropna().to_numpy()
    return found


def distance(real: dict[str, np.ndarray], simulated: dict[str, np.ndarray]) -> float:
    """Weighted mean KS distance over the quantities that the real sources have."""
    from scipy.stats import ks_2samp

    total = weight = 0.0
    for name, share in WEIGHTS.items():
        if len(real[name]) >= MIN_REAL:
            value = ks_2samp(real[name], simulated[name]).statistic if len(simulated[name]) >= MIN_REAL else 1.0
            total, weight = total + share * float(value), weight + share
    return total / weight


def simulate_class(population: Any, name: str, num_detections: int, seed: int, real: pd.DataFrame) -> pd.DataFrame:
    """Simulated detections of one class, none later than the last real one."""
    from chandraclip.data.schema import SOURCE_CLASSES
    from chandraclip.realism.catalog_tables import catalog_frame
    from chandraclip.realism.distances import not_later
    from chandraclip.simulate.detections import simulate_chunk

    number = np.zeros(len(population.classes["number"]))
    number[SOURCE_CLASSES.index(name)] = 1.0
    only = replace(population, classes=population.classes | {"number": number})
    table = simulate_chunk(seed, 0, num_detections, class_exponent=1.0, rare_share=0.0, population=only)
    lists = [item.name for item in table.schema if str(item.type).startswith("list")]
    return not_later(catalog_frame(table.drop_columns(lists)), real)


def mutate(rng: np.random.Generator, population: Any, name: str, scale: float) -> Any:
    """The population with a few numbers of one class changed, within `bounds`."""
    from chandraclip.simulate.population.bounds import NAMES, bounds

    tables = {part: {key: column.copy() for key, column in getattr(population, part).items()} for part in STEPS}
    places = [
        (part, column, row)
        for part, columns in STEPS.items()
        for column in columns
        for row in np.flatnonzero(tables[part]["source_class"] == name)
        if np.isfinite(tables[part][column][row])
    ]
    for index in rng.choice(len(places), min(len(places), 1 + rng.poisson(2.0)), replace=False):
        part, column, row = places[index]
        step, low, high = STEPS[part][column]
        value, kick = tables[part][column][row], scale * step * rng.standard_normal()
        value = value * np.exp(kick) if (part, column) in LOGARITHMIC else value + kick
        tables[part][column][row] = np.clip(value, low, high)
        if part in NAMES:
            allowed = bounds(population, part, column)
            tables[part][column][row] = np.clip(tables[part][column][row], allowed[0][row], allowed[1][row])
    rows = tables["spectra"]["source_class"] == name
    tables["spectra"]["share"][rows] /= tables["spectra"]["share"][rows].sum()
    # Shares of variability leave the constant ones; too many of them would be scaled below their bounds.
    share = tables["variability"]["share"][tables["variability"]["source_class"] == name]
    return population if share.sum() > 0.98 else replace(population, **tables)


def calibrate(
    population: Any, name: str, real: pd.DataFrame, trials: int, rows: int, seed: int
) -> tuple[Any, float, float]:
    """The best population found for a class, and its distance before and after."""
    rng = np.random.default_rng([seed, *name.encode()])
    target = observables(real)

    def score(candidate: Any) -> float:
        return distance(target, observables(simulate_class(candidate, name, rows, seed, real)))

    first = best = score(population)
    scale = 1.0
    with tqdm(total=trials, desc=name, file=sys.stderr) as bar:
        for _ in range(trials):
            candidate = mutate(rng, population, name, scale)
            value = score(candidate)
            if value < best:
                population, best, scale = candidate, value, min(2.0, 1.3 * scale)
            else:
                scale = max(0.25, 0.97 * scale)
            bar.set_postfix(distance=f"{best:.4f}")
            bar.update()
    return population, first, best


def write_tables(population: Any, folder: Path, names: list[str]) -> None:
    """Rewrites the numbers of these classes in the CSV files, rounded; everything else stays."""
    from chandraclip.files import write_text

    for part, columns in STEPS.items():
        path = folder / f"{part}.csv"
        with path.open() as file:
            reader = csv.DictReader(file)
            rows, header = list(reader), list(reader.fieldnames or ())
        table = getattr(population, part)
        for number, row in enumerate(rows):
            if row["source_class"] in names:
                for column in columns:
                    if row[column]:
                        row[column] = f"{table[column][number]:.4g}"
        # Rounded shares must still sum to 1: the last row of a class takes the rest.
        if part == "spectra":
            for name in names:
                own = [row for row in rows if row["source_class"] == name]
                own[-1]["share"] = f"{1.0 - sum(float(row['share']) for row in own[:-1]):.6g}"
        lines = [",".join(header), *(",".join(row[column] for column in header) for row in rows)]
        write_text(path, "\n".join(lines) + "\n")
        print(f"wrote {path}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA_DIR", type=Path, help="folder with catalog/csc2_detections.csv.gz")
    parser.add_argument("--output", type=Path, required=True, help="folder of the tables to rewrite")
    parser.add_argument("--classes", nargs="*", help="(default: all eight)")
    parser.add_argument("--trials", type=int, default=200, help="simulations a class (default: 200)")
    parser.add_argument("--rows", type=int, default=800, help="detections a simulation (default: 800)")
    parser.add_argument("--seed", type=int, default=7, help="(default: 7)")
    options = parser.parse_args(arguments)
    from chandraclip.data.schema import SOURCE_CLASSES
    from chandraclip.data.splits import assign_splits
    from chandraclip.realism.catalog_tables import read_real_detections
    from chandraclip.simulate.population.sources import default_population

    real = read_real_detections(options.data)
    real = real[np.array(assign_splits(real["name"])) == "train"]
    population = default_population()
    for name in options.classes or SOURCE_CLASSES:
        own = real[real["source_class"] == name]
        population, before, after = calibrate(population, name, own, options.trials, options.rows, options.seed)
        print(f"{name}: mean KS distance {before:.3f} -> {after:.3f}", flush=True)
        write_tables(population, options.output, [name])
    dataset = "outputs/data/calibrated"
    now_try(
        ["scripts/build_dataset.py", "simulate", "--num_detections", "40000", dataset],
        ["scripts/validate_simulator.py", dataset, "--data", options.data],
    )


if __name__ == "__main__":
    run_program(main)
