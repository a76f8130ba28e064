"""Formulas for latents: each from fluxes, hardness ratios and N_H, and each of these from the latents.

    python eval/symbolic.py outputs/embeddings/default outputs/data/default --output outputs/results/symbolic

Symbolic regression with pysr where Julia is, else pyoperon (extra `symbolic`). Searched on train, chosen on validation
and scored on test sources, beside linear regression and gradient boosting on the same inputs. Writes symbolic.md,
metrics.json, fronts.csv and symbolic.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from chandraclip.program import now_try, run_program


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", help="folder written by scripts/embed.py")
    parser.add_argument("dataset", help="folder or Hub id of the dataset that was embedded: its catalogue is measured")
    parser.add_argument("--output", type=Path, help="folder for the results; default EMBEDDINGS/symbolic")
    parser.add_argument("--representation", default="spectrum_latents", help="what is explained (default: %(default)s)")
    parser.add_argument("--latents", type=int, nargs="+", help="which of its numbers, from 0; default: all")
    parser.add_argument("--inputs", nargs="+", help="quantities that latents are made of; default: those there are")
    parser.add_argument("--targets", nargs="+", help="quantities made of latents; default: those there are")
    parser.add_argument("--engine", default="auto", help="auto, pysr or pyoperon (default: %(default)s)")
    parser.add_argument("--max_length", type=int, default=20, help="nodes of a formula (default: %(default)s)")
    parser.add_argument("--max_evaluations", type=int, default=50_000, help="a formula (default: %(default)s)")
    parser.add_argument("--max_seconds", type=int, default=60, help="a formula, at most (default: %(default)s)")
    parser.add_argument("--max_rows", type=int, default=2000, help="of train (default: %(default)s)")
    parser.add_argument("--num_resamples", type=int, default=1000, help="bootstrap resamples of sources (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of search, rivals and bootstrap (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name in ("max_length", "max_evaluations", "max_seconds", "max_rows", "num_resamples"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    import numpy as np
    from tqdm.auto import tqdm

    from chandraclip.errors import InputFileError
    from chandraclip.evaluation.dataset import join_columns
    from chandraclip.evaluation.embeddings import EmbeddingTable
    from chandraclip.evaluation.results import Headline, markdown_table, write_metrics
    from chandraclip.evaluation.symbolic import (
        INPUTS,
        MIN_ROWS,
        QUANTITIES,
        TARGETS,
        check_names,
        find_formula,
        quantity_values,
    )
    from chandraclip.evaluation.symbolic_engines import choose_engine
    from chandraclip.evaluation.symbolic_figures import plot_fronts
    from chandraclip.files import write_text

    engine = choose_engine(options.engine, options.max_length, options.max_evaluations, options.max_seconds)
    table = EmbeddingTable.load(options.embeddings)
    if options.representation not in table.arrays:
        reason = f"there is no {options.representation}, only {', '.join(table.arrays)}"
        raise InputFileError(options.embeddings, reason)
    values, has = table.joint([options.representation])
    latents = {f"z{number}": np.where(has, column, np.nan).astype(float) for number, column in enumerate(values.T)}
    if options.latents and (wrong := [n for n in options.latents if f"z{n}" not in latents]):
        reason = f"{options.representation} has {len(latents)} numbers, from 0; there is no {wrong[0]}"
        raise InputFileError(options.embeddings, reason)
    columns = join_columns(options.dataset, "catalog", [column for column, _ in QUANTITIES.values()], table)
    check_names([*(options.inputs or ()), *(options.targets or ())], columns, options.dataset)
    known = {
        name: quantity_values(columns, name)
        for name, (column, _) in QUANTITIES.items()
        if column in columns and np.isfinite(quantity_values(columns, name)).any()
    }
    inputs = {name: known[name] for name in options.inputs or INPUTS if name in known}
    targets = {name: known[name] for name in options.targets or TARGETS if name in known}
    if not inputs or not targets:
        needed = ", ".join(dict.fromkeys(QUANTITIES[name][0] for name in (*INPUTS, *TARGETS)))
        raise InputFileError(options.dataset, f"has none of the columns that formulas are made of: {needed}")

    wanted = [f"z{number}" for number in options.latents] if options.latents else list(latents)
    tasks = [("latents from quantities", name, latents[name], inputs) for name in wanted]
    tasks += [("quantities from latents", name, column, latents) for name, column in targets.items()]
    found: dict[str, list[Any]] = {}
    skipped = []
    for panel, name, column, given in tqdm(tasks, desc="formulas", unit="formula"):
        fit = find_formula(
            name,
            column,
            given,
            table.split,
            table.name,
            engine,
            max_rows=options.max_rows,
            num_resamples=options.num_resamples,
            seed=options.seed,
        )
        if fit is None:
            skipped.append(name)
        else:
            found.setdefault(panel, []).append(fit)
    if not found:
        reason = f"no formula can be sought: train, validation and test need {MIN_ROWS} rows with all of"
        raise InputFileError(options.dataset, f"{reason} {', '.join(inputs)}")

    output = options.output or Path(options.embeddings) / "symbolic"
    text = (
        f"# Formulas\n\nEngine {engine.name}, {options.representation} of {options.embeddings}. R2 on test sources.\n"
    )
    headline, results = [], {"engine": engine.name, "representation": options.representation}
    for panel, fits in found.items():
        # Those of the headline are the first, which must not be chosen on test.
        fits.sort(key=lambda fit: -np.nan_to_num(fit.chosen.r2["validation"], nan=-np.inf))
        records = [fit.record() for fit in fits]
        results[panel] = records
        print(f"\n{panel}\n\n{markdown_table(records)}")
        text += f"\n## {panel.capitalize()}\n\n{markdown_table(records)}\n"
        for fit in fits:
            text += f"\n{fit.target}, by length:\n\n"
            for formula in fit.front:
                mark = " (chosen)" if formula is fit.chosen else ""
                text += (
                    f"- R2 {formula.r2['test']:.3f}, complexity {formula.complexity}{mark}: `{formula.expression}`\n"
                )
        for fit in fits[: len(fits) if panel == "quantities from latents" else 3]:
            headline.append(
                Headline(
                    f"{fit.target} by formula, R2 ({panel})",
                    value=fit.chosen.r2["test"],
                    low=fit.low,
                    high=fit.high,
                    chance=0.0,
                    baseline=fit.linear,
                    baseline_name="linear regression",
                )
            )
    if skipped:
        print(f"\nleft out, too few rows with all values or constant: {', '.join(skipped)}")
    write_text(output / "symbolic.md", text)
    lines = ["panel,target,complexity,r2_train,r2_validation,r2_test,formula"]
    for panel, fits in found.items():
        for fit in fits:
            for one in fit.front:
                scores = ",".join(f"{one.r2[name]:.4f}" for name in ("train", "validation", "test"))
                lines.append(f'{panel},{fit.target},{one.complexity},{scores},"{one.expression}"')
    write_text(output / "fronts.csv", "\n".join(lines) + "\n")
    plot_fronts(found, output / "symbolic.png")
    path = write_metrics(output, "symbolic", table, headline, results)
    print(f"wrote {path}, {output / 'symbolic.md'}, {output / 'fronts.csv'}, {output / 'symbolic.png'}")
    now_try(["scripts/report.py", output])


if __name__ == "__main__":
    run_program(main)
