"""Physical variables from frozen representations: kNN (k = 3) and ridge, MAE and R2, before and after alignment.

    python eval/regression.py outputs/embeddings/default outputs/data/default --output outputs/results/regression

Fitted on train, every choice made on validation, every number of test. Beside each: predicting the median (chance) and
hand-made features that are not the variable itself. Writes metrics.json and regression.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from chandraclip.program import now_try, run_program

# On stdout; the others stand in regression.md and metrics.json.
SHOWN = ("spectrum_latents", "event_latents", "text_features", "spectrum+event_embedding", "all_embeddings")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", help="folder written by scripts/embed.py")
    parser.add_argument("dataset", help="folder or Hub id of the dataset they are of: its catalogue has the variables")
    parser.add_argument("--output", type=Path, help="folder for the results; default EMBEDDINGS/regression")
    parser.add_argument("--variables", nargs="+", help="catalogue columns; default: all of the schema")
    parser.add_argument(
        "--where", nargs="+", metavar="CONDITION",
        help="only these detections of every split, by catalogue columns: 'src_cnts_aper_b < 300'",
    )  # fmt: skip
    parser.add_argument("--num_resamples", type=int, default=1000, help="bootstrap resamples of sources (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    from chandraclip.errors import InputFileError, OptionError
    from chandraclip.evaluation.dataset import join_columns
    from chandraclip.evaluation.embeddings import EmbeddingTable
    from chandraclip.evaluation.figures import plot_regression
    from chandraclip.evaluation.regression import (
        HAND,
        MEDIAN,
        METHODS,
        SELECTED,
        improvement,
        published_comparison,
        regression_metrics,
    )
    from chandraclip.evaluation.results import Headline, is_simulated, markdown_table, number, write_metrics
    from chandraclip.evaluation.selection import select_rows
    from chandraclip.evaluation.variables import DEFAULT_VARIABLES, HAND_FEATURES
    from chandraclip.files import atomic_path

    table = EmbeddingTable.load(options.embeddings)
    if options.where:
        table = table.select(select_rows(options.dataset, table, options.where))
        print(f"{len(table):,} detections, {' and '.join(options.where)}")
    variables = list(options.variables or DEFAULT_VARIABLES)
    wanted = dict.fromkeys([*variables, *HAND_FEATURES])
    columns = join_columns(options.dataset, "catalog", list(wanted), table)
    if not options.variables:
        variables = [name for name in variables if name in columns]
        if not variables:
            needed = "columns such as hard_hs or powlaw_gamma (docs/your_data.md), or name yours with --variables"
            raise InputFileError(options.dataset, f"there is none of the variables that are predicted; add {needed}")
    result = regression_metrics(table, columns, variables, num_resamples=options.num_resamples, seed=options.seed)

    records, compared = result["records"], result["representations"]
    if not records:
        raise OptionError("no variable has enough rows in train, validation and test: another --where or --variables")
    cell = {(r["variable"], r["representation"], r["method"]): r for r in records}
    scored = list(dict.fromkeys(record["variable"] for record in records))

    def rows_of(method: str, names: list[str]) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = []
        for name in scored:
            of_variable = {shown: cell.get((name, shown, method)) for shown in (HAND, *names, SELECTED)}
            rows.append(
                {
                    "variable": name,
                    "rows": result["counts"][name]["test"],
                    "median": cell[name, MEDIAN, MEDIAN]["mae"],
                    **{shown: f"{number(r['mae'])} ({r['r2']:.2f})" if r else "-" for shown, r in of_variable.items()},
                    "chosen": cell[name, SELECTED, method]["chosen"],
                }
            )
        return rows

    everything = ""
    for method in METHODS:
        title = f"{method}: test MAE (R2); dex for fluxes, counts and periods"
        everything += f"{title}\n\n{markdown_table(rows_of(method, compared))}\n\n"
        print(f"\n{title}\n\n{markdown_table(rows_of(method, [name for name in SHOWN if name in compared]))}")
    gains = {method: improvement(records, method) for method in METHODS}
    print("\nlower MAE of the representation selected on validation, mean over variables:")
    for method, gain in gains.items():
        parts = [f"{name} {number(g['mean'])} ({g['num_variables']} variables)" for name, g in gain.items()]
        print(f"  {method}: {', '.join(parts)}")
    simulated = is_simulated(table)
    published = published_comparison(records, simulated)
    if published:
        print("\npublished (arXiv:2603.04516, kNN):\n")
        print(markdown_table(published))
    for reason in dict.fromkeys(result["skipped"].values()):
        print(f"left out, {reason}: {', '.join(name for name, why in result['skipped'].items() if why == reason)}")

    headline = []
    for name in scored:
        record, hand = cell[name, SELECTED, "knn"], cell.get((name, HAND, "knn"))
        figure_of_paper = next((row["published_mae"] for row in published if row["variable"] == name), None)
        headline.append(
            Headline(
                f"{name} MAE (kNN, selected)",
                value=record["mae"],
                low=record["mae_low"],
                high=record["mae_high"],
                chance=cell[name, MEDIAN, MEDIAN]["mae"],
                baseline=hand["mae"] if hand else None,
                baseline_name="hand features" if hand else None,
                published=figure_of_paper,
                comparable=None if figure_of_paper is None else not simulated,
            )
        )
    output = options.output or Path(options.embeddings) / "regression"
    plot_regression(records, compared, output / "regression.png")
    path = write_metrics(
        output,
        "regression",
        table,
        headline,
        {**result, "where": options.where or [], "improvement": gains, "published": published},
    )
    with atomic_path(output / "regression.md") as temporary:
        temporary.write_text(everything)
    print(f"wrote {path}, {output / 'regression.png'}, {output / 'regression.md'} (every representation)")
    now_try(["scripts/report.py", output])


if __name__ == "__main__":
    run_program(main)
