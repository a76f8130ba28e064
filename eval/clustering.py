"""How well clusters of a representation, found without labels, are the classes of sources.

    python eval/clustering.py outputs/embeddings/align/default outputs/data/default

k-means, Gaussian mixtures, agglomeration and HDBSCAN over a range of sizes, where asked for DBSCAN in the plane of a
t-SNE; a class for each cluster by the largest trace of the contingency matrix (one to one, as published), or the class
it holds most of (many to one), of raw and of class-normalised counts. Clusters are fitted and assigned on train, their
number is chosen on validation, test is judged; "in-sample" is the published protocol. Beside each: hand features,
principal components of the spectra, chance; and the recipe of umlcaxs (distances to the known types in a cluster).
Writes metrics.json, clustering.md, sizes.png, contingency.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from chandraclip.evaluation.class_programs import class_parser, class_tasks, parse_class_options
from chandraclip.program import now_try, run_program


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = class_parser(__doc__, "clustering")
    parser.add_argument(
        "--methods",
        nargs="+",
        default=["k-means", "Gaussian mixture", "agglomerative", "HDBSCAN"],
        choices=["k-means", "Gaussian mixture", "agglomerative", "HDBSCAN", "t-SNE + DBSCAN"],
        metavar="METHOD",
        help="of clusters, 't-SNE + DBSCAN' (arXiv:2412.01150) among them where asked for (default: %(default)s)",
    )
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=int,
        default=[2, 4, 6, 8, 12, 16, 24, 32],
        help="numbers of clusters tried; HDBSCAN and DBSCAN find their own (default: %(default)s)",
    )
    parser.add_argument(
        "--max_rows", type=int, default=10_000, help="train detections that are fitted (default: %(default)s)"
    )
    parser.add_argument(
        "--max_dimensions",
        type=int,
        default=16,
        help="longer vectors: so many components; 0: all (default 16); not of the umlcaxs recipe, which takes 16",
    )
    parser.add_argument(
        "--published_table", type=Path, help="uniquely_classified.csv of umlcaxs: how often do we give its class?"
    )
    options = parse_class_options(parser, arguments)
    if min(options.sizes) < 2:
        parser.error(f"--sizes are numbers of clusters, 2 or more, not {min(options.sizes)}")
    if options.max_rows < 100:
        parser.error("--max_rows must be at least 100")
    if options.max_dimensions < 0:
        parser.error("--max_dimensions must not be negative")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    from chandraclip.errors import OptionError
    from chandraclip.evaluation import class_figures
    from chandraclip.evaluation.cluster_methods import ONE_TO_ONE, assign_classes
    from chandraclip.evaluation.clustering import PUBLISHED, run_trials, size_curves, summarise
    from chandraclip.evaluation.compared import compare_folders
    from chandraclip.evaluation.report_tables import with_intervals
    from chandraclip.evaluation.results import is_simulated, markdown_table, write_metrics
    from chandraclip.evaluation.type_distances import type_distance_scores
    from chandraclip.evaluation.umlcaxs import FEATURES, reproduce_published
    from chandraclip.evaluation.umlcaxs import PUBLISHED as PUBLISHED_TYPES
    from chandraclip.files import write_text

    published_table = reproduce_published(options.published_table) if options.published_table else None
    compared = compare_folders(
        options.embeddings, options.dataset, options.representations, FEATURES, options.num_components
    )
    table = compared.table
    tasks: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    panels: dict[str, Any] = {}
    text = ""
    for title, task in class_tasks(compared, options.folds, options.seed):
        trials = run_trials(
            compared,
            task,
            options.methods,
            tuple(sorted(options.sizes)),
            options.max_rows,
            options.max_dimensions,
            options.seed,
        )
        if len({trial.representation for trial in trials}) < len(compared.representations):
            fewest = min(len(fold.train) for fold in task.folds)
            raise OptionError(
                f"--sizes {min(options.sizes)} and more: {title} has only {fewest} detections to fit in a fold, and "
                "clusters are at most half as many"
            )
        records = summarise(trials, task, table.name, options.num_resamples, options.seed)
        best = best_rows(records, compared)
        types = type_distance_scores(compared, task, options.num_resamples, options.seed)
        tasks[title] = {
            "best": best,
            "methods": records,
            "umlcaxs": types,
            "classes": [{"class": name, **task.counts[name]} for name in task.names],
            "left_out": task.left_out,
        }
        curves[title] = size_curves(trials, task)
        for name in compared.representations:
            chosen = next(row for row in best if row["representation"] == name and row["assignment"] == ONE_TO_ONE)
            trial = next(
                one
                for one in trials
                if (one.representation, one.method, one.size) == (name, chosen["method"], chosen["size"])
            )
            if len(task.names) > 2:
                assigned = assign_classes(trial.counts, ONE_TO_ONE, chosen["normalisation"])
                panel = f"{name}: {chosen['method']}, {trial.counts.shape[1]} clusters, {chosen['normalisation']}, test"
                panels[panel] = trial.test_counts, task.names, assigned
        lacking = f"umlcaxs recipe: features {types['present']}, lacking {types['lacking']}; {types['detections']}"
        by_distance = markdown_table(with_intervals(types["records"]))
        own = f"{title}: best on validation\n\n{markdown_table(with_intervals(best))}\n\n{lacking}\n\n{by_distance}"
        own += f"\n\nleft out: {task.left_out or 'nothing'}\n"
        text += f"# {own}\nevery method\n\n{markdown_table(with_intervals(records))}\n\n"
        print(f"\n{own}")
    comparable = "no: simulated detections" if is_simulated(table) else "in kind: another sample"
    published = [
        {
            "task": task,
            "balanced accuracy": value,
            "from": "arXiv:2510.14102, 8 latents",
            "comparable": comparable,
        }
        for task, value in PUBLISHED.items()
    ]
    published.append(
        {"task": "4 groups of types", "balanced accuracy": PUBLISHED_TYPES["balanced_accuracy"],
         "from": "umlcaxs, split by detection (accuracy .68)", "comparable": "no: other classes"}
    )  # fmt: skip
    print(f"published\n\n{markdown_table(published)}")
    if published_table:
        rows = [{"of": name, **found} for name, found in published_table.items() if isinstance(found, dict)]
        reproduced = (
            f"agreement with umlcaxs' predicted classes, {published_table['rows']} sources\n\n{markdown_table(rows)}"
        )
        text += f"{reproduced}\n\n"
        print(f"\n{reproduced}")
    for name, why in compared.skipped.items():
        print(f"left out, {why}: {name}")

    output = options.output or Path(options.embeddings[0]) / "clustering"
    pictures = [output / "sizes.png"]
    class_figures.plot_sizes(curves, PUBLISHED, pictures[0])
    if panels:
        pictures.append(output / "contingency.png")
        class_figures.plot_contingency(panels, pictures[1])
    results = {
        "tasks": tasks,
        "published": published,
        "umlcaxs_table": published_table or {},
        "skipped": compared.skipped,
        "folders": compared.folders,
        "folds": options.folds,
    }
    path = write_metrics(output, "clustering", table, headline_of(tasks, compared, PUBLISHED), results)
    write_text(output / "clustering.md", f"{text}published\n\n{markdown_table(published)}\n")
    print(f"wrote {path}, {output / 'clustering.md'}, {', '.join(map(str, pictures))}")
    now_try(["scripts/report.py", output])


def best_rows(records: Any, compared: Any) -> list[dict[str, Any]]:
    """Of each representation and assignment what is best on validation, and what would be published."""
    from chandraclip.evaluation.cluster_methods import MANY_TO_ONE, ONE_TO_ONE
    from chandraclip.evaluation.clustering import best_in_sample, best_of

    rows = []
    for name in compared.representations:
        for assignment in (ONE_TO_ONE, MANY_TO_ONE):
            best = dict(best_of(records, name, assignment))
            largest = best_in_sample(records, name, assignment)
            best |= {"in_sample": largest["in_sample"], "in_sample_chance": largest["in_sample_chance"]}
            best["in_sample_size"] = f"{largest['method']}, {largest['in_sample_size']}, {largest['normalisation']}"
            rows.append(best)
    return rows


def headline_of(tasks: Any, compared: Any, published: Any) -> list[Any]:
    """Clusters of every representation, one to one, beside those of hand features and the published figure."""
    from chandraclip.evaluation.class_programs import beside_hand_features
    from chandraclip.evaluation.cluster_methods import ONE_TO_ONE
    from chandraclip.evaluation.regression import HAND

    headline = []
    for title, found in tasks.items():
        best = {row["representation"]: row for row in found["best"] if row["assignment"] == ONE_TO_ONE}
        for name, row in best.items():
            if not compared.representations[name].is_baseline:
                metric = f"{title} balanced accuracy (clusters, {name})"
                headline.append(beside_hand_features(metric, row, best.get(HAND), published[title]))
    return headline


if __name__ == "__main__":
    run_program(main)
