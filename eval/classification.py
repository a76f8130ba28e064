"""What class a detection is, from frozen representations: linear probe, nearest neighbours, random forest.

    python eval/classification.py outputs/embeddings/align/default outputs/data/default

Several embeddings folders of one dataset are judged on the detections they share. Fitted on train, every choice made on
validation, every number of test (or of --folds by source); beside each the same classifier on hand features and on the
principal components of the spectra, and chance. Eight classes, and AGN against compact objects (CV, HMXB, LMXB, NS).
Writes metrics.json, classification.md, confusion.png, reliability.png, counts.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from chandraclip.evaluation.class_programs import class_parser, class_tasks, parse_class_options
from chandraclip.program import now_try, run_program

COUNTS = "src_cnts_aper_b"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    return parse_class_options(class_parser(__doc__, "classification"), arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    from chandraclip.evaluation import class_figures
    from chandraclip.evaluation.classification import PUBLISHED, classify, score_classifier
    from chandraclip.evaluation.classifiers import LINEAR
    from chandraclip.evaluation.compared import compare_folders
    from chandraclip.evaluation.report_tables import with_intervals
    from chandraclip.evaluation.results import is_simulated, markdown_table, write_metrics
    from chandraclip.files import write_text

    compared = compare_folders(
        options.embeddings, options.dataset, options.representations, [COUNTS], options.num_components
    )
    table = compared.table
    tasks: dict[str, Any] = {}
    scores: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    text = ""
    for title, task in class_tasks(compared, options.folds, options.seed):
        found = classify(compared, task, seed=options.seed)
        scores[title] = {
            key: score_classifier(
                given, task, table.name, compared.facts.get(COUNTS), options.num_resamples, options.seed
            )
            for key, (given, _, _) in found.items()
        }
        tasks[title] = tables_of(scores[title], {key: (setting, loss) for key, (_, setting, loss) in found.items()})
        tasks[title] |= {"classes": [{"class": name, **task.counts[name]} for name in task.names]}
        tasks[title] |= {"left_out": task.left_out}
        shown = {name: rows for name, rows in tasks[title].items() if isinstance(rows, list)}
        text += f"# {title}\n\n" + "".join(
            f"{name}\n\n{markdown_table(with_intervals(rows))}\n\n" for name, rows in shown.items()
        )
        text += f"left out: {task.left_out or 'nothing'}\n\n"
        table_of_scores = markdown_table(with_intervals(tasks[title]["scores"]))
        print(f"\n{title}\n\n{table_of_scores}\n\nleft out: {task.left_out or 'nothing'}")
        print(f"\n{title}, votes of a source's detections, {LINEAR}\n")
        print(markdown_table(with_intervals(row for row in tasks[title]["votes"] if row["method"] == LINEAR)))
    comparable = "no: simulated detections" if is_simulated(table) else "in kind: another sample"
    published = [
        {"what": one.what, "task": one.task, "method": one.method, "balanced accuracy": one.value, "from": one.source,
         "comparable": comparable}
        for one in PUBLISHED
    ]  # fmt: skip
    print(f"\npublished\n\n{markdown_table(published)}")
    for name, why in compared.skipped.items():
        print(f"left out, {why}: {name}")

    output = options.output or Path(options.embeddings[0]) / "classification"
    linear = {task: {key[0]: score for key, score in of.items() if key[1] == LINEAR} for task, of in scores.items()}
    pictures = [output / name for name in ("confusion.png", "reliability.png", "counts.png")]
    class_figures.plot_confusion(next(iter(linear.values())), pictures[0])
    class_figures.plot_reliability(
        {task: {name: score["calibration"] for name, score in of.items()} for task, of in linear.items()}, pictures[1]
    )
    if COUNTS in compared.facts:
        class_figures.plot_by_counts(
            {task: {name: score["decades"] for name, score in of.items()} for task, of in linear.items()}, pictures[2]
        )
    results = {
        "tasks": tasks,
        "published": published,
        "skipped": compared.skipped,
        "folders": compared.folders,
        "folds": options.folds,
    }
    path = write_metrics(output, "classification", table, headline_of(scores, compared), results)
    write_text(output / "classification.md", f"{text}published\n\n{markdown_table(published)}\n")
    print(f"wrote {path}, {output / 'classification.md'}, {', '.join(str(one) for one in pictures if one.is_file())}")
    now_try(["scripts/report.py", output])


def tables_of(scores: Any, chosen: Any) -> dict[str, list[dict[str, Any]]]:
    """The scores of one task as tables, a row a representation and classifier."""
    tables: dict[str, list[dict[str, Any]]] = {"scores": [], "recalls": [], "decades": [], "votes": []}
    for (name, method), score in scores.items():
        who = {"representation": name, "method": method}
        setting, loss = chosen[name, method]
        plain = ("balanced_accuracy", "chance", "macro_f1", "macro_f1_chance", "auc")
        row: dict[str, Any] = {**who, "setting": "/".join(f"{one:g}" for one in dict.fromkeys(setting))}
        for part in plain:
            row |= {part + end: score[part + end] for end in ("", "_low", "_high") if part + end in score}
        row |= {"calibration_error": score["calibration"]["error"], "its_floor": score["calibration"]["floor"]}
        tables["scores"].append({**row, "validation_loss": loss})
        recalls: dict[str, Any] = dict(who)
        for label, (value, low, high) in score["recalls"].items():
            recalls |= {label: value, f"{label}_low": low, f"{label}_high": high}
        tables["recalls"].append(recalls)
        tables["decades"] += [{**who, "counts": decade, **found} for decade, found in score.get("decades", {}).items()]
        tables["votes"] += [{**who, "of": group, **found} for group, found in score["votes"].items()]
    return tables


def headline_of(scores: Any, compared: Any) -> list[Any]:
    """The linear probe of every representation beside that of hand features; forests where one was published."""
    from chandraclip.evaluation.class_programs import beside_hand_features
    from chandraclip.evaluation.classes import EIGHT
    from chandraclip.evaluation.classification import PUBLISHED_PPAD
    from chandraclip.evaluation.classifiers import FOREST, LINEAR
    from chandraclip.evaluation.regression import HAND

    headline = []
    for task, of in scores.items():
        for (name, method), score in of.items():
            of_ppad = task == EIGHT and method == FOREST and name.split(": ")[-1] == "event_latents"
            if compared.representations[name].is_baseline or not (method == LINEAR or of_ppad):
                continue
            metric = f"{task} balanced accuracy ({method.replace('_', ' ')}, {name})"
            published = PUBLISHED_PPAD if of_ppad else None
            headline.append(beside_hand_features(metric, score, of.get((HAND, method)), published))
    return headline


if __name__ == "__main__":
    run_program(main)
