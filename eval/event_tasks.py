"""What latents of photon lists are good for: hardness, variability, source type, and another observation of the source.

    python eval/event_tasks.py outputs/embeddings/events outputs/data/default

Several embeddings folders of one dataset are judged on the detections they share. Fitted on sources of train, judged on
sources of test: R2 of the hardness of the counts and of the logit of var_prob; detections of var_index_b >= 6; the
eight classes; and whether the nearest list is of the same source. Beside each hand features that are not the answer
(for the classes PPAD's eight), chance, and the published figures, whose splits leak. Writes metrics.json and
event_tasks.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chandraclip.program import now_try, run_program

HAND = "hand features"
# What "nearest" is where another list of the source is asked for.
DISTANCE, LEARNED = "distance", "learned on train"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", nargs="+", help="folders written by scripts/embed.py")
    parser.add_argument("dataset", help="folder or Hub id of the dataset they are of")
    parser.add_argument("--output", type=Path, help="folder for the results; default EMBEDDINGS/event_tasks")
    parser.add_argument(
        "--representation", default="event_latents", help="column of the embeddings (default: %(default)s)"
    )
    parser.add_argument(
        "--min_photons", type=int, default=10, help="of a list that is judged; all are fitted on (default: %(default)s)"
    )
    parser.add_argument("--num_resamples", type=int, default=1000, help="bootstrap resamples of sources (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of forests and bootstrap (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name, least in {"num_resamples": 1, "min_photons": 0, "seed": 0}.items():
        if getattr(options, name) < least:
            parser.error(f"--{name} must be at least {least}")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    import numpy as np

    from chandraclip.errors import InputFileError, OptionError
    from chandraclip.evaluation.compared import common_detections, folder_names
    from chandraclip.evaluation.embeddings import EMBEDDINGS, LATENTS, EmbeddingTable
    from chandraclip.evaluation.event_tasks import PUBLISHED, describe
    from chandraclip.evaluation.photon_facts import PHOTONS, photon_facts
    from chandraclip.evaluation.report_tables import with_intervals
    from chandraclip.evaluation.results import is_simulated, markdown_table, write_metrics
    from chandraclip.files import write_text

    if options.representation not in (*EMBEDDINGS, *LATENTS):
        raise OptionError(f"{options.representation}: no column of embeddings; there are {(*EMBEDDINGS, *LATENTS)}")
    names = folder_names([Path(folder) for folder in options.embeddings])
    tables = common_detections([EmbeddingTable.load(folder) for folder in options.embeddings])
    for one in tables:
        if options.representation not in one.arrays:
            raise InputFileError(one.path, f"no row has {options.representation}; there are {list(one.arrays)}")
    table = tables[0]
    usable = np.logical_and.reduce([one.masks[options.representation] for one in tables])
    facts = photon_facts(options.dataset, table)
    with np.errstate(invalid="ignore"):
        judged = facts[PHOTONS] >= np.log10(max(options.min_photons, 1)) - 1e-9
    vectors = {name: one.arrays[options.representation] for name, one in zip(names, tables)}
    skipped: dict[str, str] = {}
    results = {
        title: list(records)
        for title, records in {
            "regression": regression(vectors, facts, table, usable, judged, options, skipped),
            "variable": variability(vectors, facts, table, usable, judged, options, skipped),
            "source type": types(vectors, facts, table, usable, judged, options, skipped),
            "same source": own_source(vectors, facts, table, usable, judged, options, skipped),
        }.items()
    }
    comparable = "no: simulated, another split" if is_simulated(table) else "no: their split leaks, another sample"
    figures = describe(PUBLISHED, comparable)
    text = ""
    for title, records in results.items():
        text += f"# {title}\n\n{markdown_table(with_intervals(records))}\n\n"
    text += f"left out: {skipped or 'nothing'}\n\n# published\n\n{markdown_table(figures)}\n"
    print(f"\n{text}")
    output = options.output or Path(options.embeddings[0]) / "event_tasks"
    folders = {name: one.provenance or {"path": str(one.path)} for name, one in zip(names, tables)}
    content = {**results, "published": figures, "skipped": skipped, "folders": folders}
    content |= {"min_photons": options.min_photons, "representation": options.representation}
    path = write_metrics(output, "event_tasks", table, headline_of(results), content)
    write_text(output / "event_tasks.md", text)
    print(f"wrote {path} and event_tasks.md beside it")
    now_try(["scripts/report.py", output])


def regression(
    vectors: Any, facts: Any, table: Any, usable: Any, judged: Any, options: Any, skipped: dict[str, str]
) -> Iterator[dict[str, Any]]:
    import numpy as np
    from tqdm.auto import tqdm

    from chandraclip.evaluation.event_tasks import FOREST, MIN_ROWS, Rows, published, regress, targets_of
    from chandraclip.evaluation.photon_facts import PHOTONS, RATE, RAW_HARDNESS, features

    for title, target in tqdm(targets_of(facts).items(), desc="regression", unit="target"):
        rows = Rows.of(table.split, usable & np.isfinite(target), judged)
        if rows is None:
            skipped[title] = f"fewer than {MIN_ROWS} rows with a value"
            continue
        if np.ptp(target[rows.test]) == 0:
            skipped[title] = "one value in the whole test split"
            continue
        # What is not the answer: its own kind of numbers is left out, and of hardness what is of single bands.
        own = ("var_prob_b", "var_index_b") if title in RAW_HARDNESS else RAW_HARDNESS
        for name, values in {**vectors, HAND: features(facts, (PHOTONS, RATE, *own))}.items():
            for record in regress(values, target, rows, table.name, options.num_resamples, options.seed):
                figure = published(title, "r2") if record["method"] == FOREST and name != HAND else None
                head = {"target": title, "model": name, "judged": len(rows.test)}
                yield {**head, **record, "published r2": figure}


def variability(
    vectors: Any, facts: Any, table: Any, usable: Any, judged: Any, options: Any, skipped: dict[str, str]
) -> Iterator[dict[str, Any]]:
    import numpy as np

    from chandraclip.catalog.variability import VARIABLE_INDEX
    from chandraclip.evaluation.event_tasks import Rows, detect
    from chandraclip.evaluation.photon_facts import PHOTONS, RATE, RAW_HARDNESS, features

    index = facts["var_index_b"]
    rows = Rows.of(table.split, usable & np.isfinite(index), judged)
    positive = np.nan_to_num(index) >= VARIABLE_INDEX
    if rows is None or any(np.unique(positive[part]).size < 2 for part in (rows.train, rows.test)):
        skipped["variable"] = "too few rows, or none that vary"
        return
    for name, values in {**vectors, HAND: features(facts, (PHOTONS, RATE, *RAW_HARDNESS))}.items():
        for record in detect(values, positive, rows, table.name, options.num_resamples, options.seed):
            yield {"model": name, "judged": len(rows.test), **record}


def types(
    vectors: Any, facts: Any, table: Any, usable: Any, judged: Any, options: Any, skipped: dict[str, str]
) -> Iterator[dict[str, Any]]:
    from chandraclip.evaluation.classes import EIGHT, class_task
    from chandraclip.evaluation.event_tasks import Rows, tell_types
    from chandraclip.evaluation.photon_facts import PUBLISHED_FEATURES, features

    task = class_task(EIGHT, table.class_names, table.split, table.name, usable & (judged | (table.split != "test")))
    if task is None:
        skipped["source type"] = "there are not two classes with sources enough in train, validation and test"
        return
    fold = task.folds[0]
    rows = Rows(fold.train, fold.validation, fold.test)
    by_hand = features(facts, PUBLISHED_FEATURES)
    for name, values in {**vectors, f"{HAND} (the eight of PPAD)": by_hand}.items():
        for record in tell_types(
            values, task.labels, task.names, rows, table.name, options.num_resamples, options.seed
        ):
            yield {"model": name, "judged": len(rows.test), **record}


def own_source(
    vectors: Any, facts: Any, table: Any, usable: Any, judged: Any, options: Any, skipped: dict[str, str]
) -> Iterator[dict[str, Any]]:
    import numpy as np

    from chandraclip.evaluation.embeddings import EMBEDDINGS
    from chandraclip.evaluation.event_tasks import find_own_source
    from chandraclip.evaluation.photon_facts import PHOTONS, RATE, RAW_HARDNESS, features
    from chandraclip.evaluation.source_metric import MIN_SOURCES, SourceMetric

    pool = np.flatnonzero(usable & judged & (table.split == "test"))
    train = usable & (table.split == "train")
    by_hand = features(facts, (PHOTONS, RATE, *RAW_HARDNESS))
    asked = (options.num_resamples, options.seed)
    for name, values in {**vectors, f"{HAND} (hardness, counts)": by_hand}.items():
        is_unit = options.representation in EMBEDDINGS and name in vectors
        fitted = values[train] if train.any() else values[pool]
        metrics: dict[str, SourceMetric | None] = {DISTANCE: None}
        # Of lists like those that are judged: few photons scatter, too.
        if (learned := SourceMetric.fit(values[train & judged], table.name[train & judged], options.seed)) is not None:
            metrics[LEARNED] = learned
        else:
            skipped[f"same source, {LEARNED}"] = f"fewer than {MIN_SOURCES} sources of train have two lists"
        for title, metric in metrics.items():
            found = (
                find_own_source(values[pool], table.name[pool], fitted, is_unit, *asked, metric) if pool.size else None
            )
            if found is None:
                skipped["same source"] = "no source of test has two lists that are judged"
                return
            yield same_source_record(name, title, found)


def same_source_record(name: str, metric: str, found: Any) -> dict[str, Any]:
    record: dict[str, Any] = {"model": name, "nearest by": metric}
    record |= {"queries": found["num_queries"], "pool": found["num_candidates"]}
    for key in ("recall@1%", "recall@5%", "median_rank_share", "mean_reciprocal_rank"):
        one = found["metrics"][key]
        record |= {key: one["value"], f"{key}_low": one["low"], f"{key}_high": one["high"]}
        record[f"chance of {key}"] = one["chance"]
    return record


def headline_of(results: dict[str, list[dict[str, Any]]]) -> list[Any]:
    """The better known number of each task, of every model, beside the hand features'."""
    from chandraclip.evaluation.event_tasks import FOREST, published
    from chandraclip.evaluation.results import Headline

    headline = []

    def add(metric: str, key: str, record: dict[str, Any], hand: dict[str, Any] | None, chance: float, task: str = ""):
        figure = published(task, key) if task else None
        low, high = (record.get(f"{key}_{end}") for end in ("low", "high"))
        headline.append(
            Headline(
                metric,
                record[key],
                low,
                high,
                chance,
                baseline=None if hand is None else hand[key],
                baseline_name=None if hand is None else HAND,
                published=figure,
                comparable=None if figure is None else False,
            )
        )

    def of_hand(records: list[dict[str, Any]], **wanted: Any) -> dict[str, Any] | None:
        alike = (one for one in records if all(one[name] == value for name, value in wanted.items()))
        return next((one for one in alike if one["model"].startswith(HAND)), None)

    for record in results["regression"]:
        if record["method"] == FOREST and not record["model"].startswith(HAND):
            hand = of_hand(results["regression"], method=FOREST, target=record["target"])
            add(f"{record['model']}: R2 of {record['target']}, {FOREST}", "r2", record, hand, 0.0, record["target"])
    for record in results["variable"]:
        if record["model"].startswith(HAND):
            continue
        hand = of_hand(results["variable"], method=record["method"])
        add(f"{record['model']}: AUC of var_index_b >= 6, {record['method']}", "auc", record, hand, 0.5)
        if record["method"] == FOREST:
            chance = record["macro_f1_chance"]
            add(
                f"{record['model']}: macro F1 of var_index_b >= 6, {FOREST}",
                "macro_f1",
                record,
                hand,
                chance,
                "variable",
            )
    for record in results["source type"]:
        if not record["model"].startswith(HAND):
            hand = of_hand(results["source type"], method=record["method"])
            task = "source type" if record["method"] == FOREST else ""
            for key, title, chance in (
                ("balanced_accuracy", "balanced accuracy", record["chance"]),
                ("macro_f1", "macro F1", record["macro_f1_chance"]),
            ):
                add(f"{record['model']}: {title} of 8 classes, {record['method']}", key, record, hand, chance, task)
    for record in results["same source"]:
        if not record["model"].startswith(HAND):
            hand = of_hand(results["same source"], **{"nearest by": record["nearest by"]})
            by = "" if record["nearest by"] == DISTANCE else f" by a metric {record['nearest by']}"
            for key in ("recall@1%", "recall@5%", "median_rank_share", "mean_reciprocal_rank"):
                chance = record[f"chance of {key}"]
                add(f"{record['model']}: same source{by}, {key.replace('_', ' ')}", key, record, hand, chance)
    return headline


if __name__ == "__main__":
    run_program(main)
