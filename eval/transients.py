"""Transients: which planted flares, dips, eclipses, pulsations and fast transients are found, beside classical tests.

    python scripts/build_dataset.py simulate --planted 20000 outputs/data/planted
    python scripts/embed.py outputs/events outputs/data/planted outputs/embeddings/events/planted
    python eval/transients.py outputs/embeddings/events/planted outputs/data/planted --output outputs/results/transients

Of each kind against constant lists: AUC, recall at 1 % false alarms and precision at k, of scores from the embeddings
(a probe that learned the planted truth of other sources; distances that know no truth), from hand features, and of
Gregory-Loredo, Kolmogorov-Smirnov, Kuiper, a scan, the H-test and Z2 on the same lists. And purity at 10: the
neighbours of each kind, among lists of like counts and colour, that are of its kind. Several folders of one dataset,
such as before and after alignment, are judged on the detections they share. Writes scores.parquet, metrics.json,
roc.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from chandraclip.program import now_try, run_program

COUNTS, HARDNESS = "src_cnts_aper_b", ("hard_hm", "hard_ms")
FACTS = ("true_variability", COUNTS, "hard_hm", "hard_hs", "hard_ms", "var_prob_b", "var_index_b")
PREFERRED = ("event_latents", "event_embedding", "xray_embedding")
CLASSIFIERS = ("linear", "knn", "random_forest")
TESTS, HAND, ALL_TESTS = "classical tests", "hand features", "all classical tests"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", nargs="+", help="folders written by scripts/embed.py")
    parser.add_argument("dataset", help="folder or Hub id of the dataset that was embedded, with planted kinds")
    parser.add_argument("--output", type=Path, help="folder for the results; default EMBEDDINGS/transients")
    parser.add_argument(
        "--representation",
        nargs="+",
        help="columns of the embeddings, a+b two together; default: those of " + ", ".join(PREFERRED) + " there are",
    )
    parser.add_argument(
        "--frame", type=float, default=3.24104, help="s, readout frame: periods are longer (default: %(default)s)"
    )
    parser.add_argument("--num_neighbours", type=int, default=10, help="of the purity (default: %(default)s)")
    parser.add_argument(
        "--num_like",
        type=int,
        default=500,
        help="lists of like counts and colour to choose from (default: %(default)s)",
    )
    parser.add_argument(
        "--classifiers",
        nargs="+",
        choices=CLASSIFIERS,
        default=list(CLASSIFIERS),
        help="of the probe (default: %(default)s)",
    )
    parser.add_argument("--num_resamples", type=int, default=1000, help="bootstrap resamples of sources (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of forests and bootstrap (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name in ("num_neighbours", "num_like", "num_resamples"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    if not options.frame > 0:
        parser.error("--frame must be above 0")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    import numpy as np

    from chandraclip.errors import InputFileError
    from chandraclip.evaluation.compared import common_detections, folder_names
    from chandraclip.evaluation.dataset import join_columns
    from chandraclip.evaluation.embeddings import EMBEDDINGS, EmbeddingTable
    from chandraclip.evaluation.neighbourhoods import standardized
    from chandraclip.evaluation.results import write_metrics
    from chandraclip.evaluation.transient_figures import plot_roc
    from chandraclip.evaluation.transients import (
        CONSTANT,
        alike,
        classical_scores,
        compare_recalls,
        judge,
        purity_by_kind,
    )

    folders = folder_names([Path(folder) for folder in options.embeddings])
    tables = common_detections([EmbeddingTable.load(folder) for folder in options.embeddings])
    table = tables[0]
    facts = join_columns(options.dataset, "catalog", FACTS, table)
    kinds = np.array([kind or "" for kind in facts.get("true_variability", [])], dtype=str)
    if not (kinds == CONSTANT).any() or not ((kinds != CONSTANT) & (kinds != "")).any():
        reason = "no planted kinds beside constant lists: build one by scripts/build_dataset.py simulate --planted"
        raise InputFileError(options.dataset, reason, "true_variability")
    numbers = {name: np.asarray(facts.get(name, np.nan), float) for name in (COUNTS, *HARDNESS)}
    if missing := [name for name, values in numbers.items() if not np.isfinite(values).any()]:
        reason = f"no {', '.join(missing)}: neighbours are looked for among lists of like counts and colour"
        raise InputFileError(options.dataset, reason, "catalog")
    chosen = chosen_columns(options.representation, tables, folders)
    known = kinds != ""
    for place, column in chosen.values():
        known &= tables[place].joint(column.split("+"))[1]
    if not known.all():
        print(f"{int((~known).sum())} of {len(known)} rows lack a kind or a representation and are left out")
        tables, kinds = [one.select(known) for one in tables], kinds[known]
        table, facts = tables[0], {name: values[known] for name, values in facts.items()}
    counts = facts[COUNTS].astype(float)
    judged = table.split == "test"
    if not judged.any():
        raise InputFileError(table.path, "no row of the test split, and the others are learned from", "split")

    scores: dict[Any, Any] = {}
    choices: dict[str, Any] = {}
    purity: dict[str, Any] = {}
    likes = alike(counts, np.stack([facts[name].astype(float) for name in HARDNESS], 1), options.num_like)
    for label, (place, column) in chosen.items():
        parts = column.split("+")
        vectors = standardized(tables[place].joint(parts)[0], all(part in EMBEDDINGS for part in parts))
        add_learned(scores, choices, label, vectors, kinds, table, counts, options)
        purity[label] = purity_by_kind(
            vectors, kinds, table.name, likes, judged, options.num_neighbours, options.num_resamples, options.seed
        )
    classical = classical_scores(options.dataset, table, options.frame)
    baselines = {HAND: hand_vectors(facts), ALL_TESTS: filled(np.stack(list(classical.values()), 1))}
    for name, vectors in baselines.items():
        add_learned(scores, choices, name, vectors, kinds, table, counts, options)
        purity[name] = purity_by_kind(
            vectors, kinds, table.name, likes, judged, options.num_neighbours, options.num_resamples, options.seed
        )
    scores |= {(TESTS, name): score for name, score in classical.items()}
    records = judge(scores, kinds, table.name, judged, options.num_resamples, options.seed)

    columns = list(chosen)
    probes = {column: scores[column, "probe"] for column in columns}
    compared = compare_recalls(probes, classical, kinds, table.name, judged, options.num_resamples, options.seed)

    output = options.output or Path(options.embeddings[0]) / "transients"
    results = {"split": "test", "frame_s": options.frame, "probes": choices, "scores": records, "purity": purity}
    results["recall_against_tests"] = compared
    results["purity_at"] = options.num_neighbours
    if len(tables) > 1:
        results["folders"] = {name: one.provenance or {"path": str(one.path)} for name, one in zip(folders, tables)}
    files = [write_metrics(output, "transients", table, headlines(records, purity, columns), results)]
    files.append(write_scores(output / "scores.parquet", table, kinds, scores))
    files.append(output / "roc.png")
    drawn = {f"{column}, probe": scores[column, "probe"] for column in columns} | classical
    plot_roc({**drawn, "hand features, probe": scores[HAND, "probe"]}, kinds, judged, files[-1])
    print_tables(records, compared, purity, choices, options)
    print("wrote " + ", ".join(map(str, files)))
    now_try(["scripts/report.py", output])


def chosen_columns(wanted: list[str] | None, tables: list[Any], folders: list[str]) -> dict[str, tuple[int, str]]:
    """What is judged -> the place of its folder and its column: those that are asked for, or those there are.

    Of several folders a label has the folder's name in front, and one that is asked for may be in some of them only.

    Raises:
        OptionError: one that no folder has.
    """
    from chandraclip.errors import OptionError

    found = {
        column if len(tables) == 1 else f"{folder}: {column}": (place, column)
        for place, (folder, table) in enumerate(zip(folders, tables))
        for column in wanted or PREFERRED
        if set(column.split("+")) <= set(table.arrays)
    }
    nowhere = [column for column in wanted or () if column not in {column for _, column in found.values()}]
    if nowhere or not found:
        paths = ", ".join(str(table.path) for table in tables)
        there = ", ".join(dict.fromkeys(name for table in tables for name in table.arrays))
        raise OptionError(f"{paths} has no {', '.join(nowhere or PREFERRED)}; it has {there}")
    return found


def add_learned(
    scores: Any, choices: Any, name: str, vectors: Any, kinds: Any, table: Any, counts: Any, options: Any
) -> None:
    """The probe's and the unsupervised scores of one representation, into `scores` and `choices`."""
    from chandraclip.evaluation.transients import probe_scores, unsupervised_scores

    scores[name, "probe"], choices[name] = probe_scores(vectors, kinds, table.split, options.classifiers, options.seed)
    scores |= {(name, method): score for method, score in unsupervised_scores(vectors, table.name, counts).items()}


def hand_vectors(facts: Any) -> Any:
    """Counts, hardness and the catalogue's variability, standardized."""
    import numpy as np

    columns = [facts[name].astype(float) for name in FACTS[2:] if name in facts]
    return filled(np.stack([np.log10(np.maximum(facts[COUNTS].astype(float), 1.0)), *columns], 1))


def filled(values: Any) -> Any:
    """Standardized columns, a missing value at the mean; the largest scores of tests within reach of the others."""
    import numpy as np

    from chandraclip.evaluation.regression import Standardizer

    values = np.sign(values) * np.log1p(np.abs(values))
    values = values[:, np.isfinite(values).any(axis=0)]
    return Standardizer.fit(values)(values)


def headlines(records: list[dict[str, Any]], purity: Any, columns: list[str]) -> list[Any]:
    """Recall and AUC of each probe by kind, beside the best classical test; purity, beside hand features'."""
    from chandraclip.evaluation.results import Headline

    found = []
    for record in records:
        if record["representation"] not in columns or record["method"] != "probe":
            continue
        for metric, label in (("recall", "recall at 1 % false alarms"), ("auc", "AUC")):
            if record[metric] is None:
                continue
            rivals = [
                (other[metric]["value"], other["method"])
                for other in records
                if other["kind"] == record["kind"] and other["representation"] == TESTS and other[metric]
            ]
            numbers = (record[metric][part] for part in ("value", "low", "high", "chance"))
            best = max(rivals, default=(None, None))
            found.append(Headline(f"{record['kind']}: {label}, {record['representation']}", *numbers, *best))
    for column in columns:
        hand = {one["kind"]: one["purity"] for one in purity[HAND]}
        for one in purity[column]:
            numbers = (one[part] for part in ("purity", "low", "high", "chance"))
            baseline = (hand[one["kind"]], HAND) if one["kind"] in hand else (None, None)
            found.append(Headline(f"{one['kind']}: purity of neighbours, {column}", *numbers, *baseline))
    return found


def write_scores(path: Path, table: Any, kinds: Any, scores: Any) -> Path:
    """Every score of every row: columns "representation/method", and "/kind" where there is one for each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from chandraclip.data.keys import KEY
    from chandraclip.files import atomic_path

    columns = {name: table.keys[name] for name in KEY} | {"split": table.split, "true_variability": kinds}
    for (representation, method), score in scores.items():
        for kind, values in score.items() if isinstance(score, dict) else [("", score)]:
            columns["/".join(filter(None, (representation, method, kind)))] = values
    with atomic_path(path) as temporary:
        pq.write_table(
            pa.table({name: pa.array(value, from_pandas=True) for name, value in columns.items()}), temporary
        )
    return path


def print_tables(records: Any, compared: Any, purity: Any, choices: Any, options: Any) -> None:
    from chandraclip.evaluation.results import markdown_table, number

    def with_interval(metric: Any) -> str:
        return (
            "-" if metric is None else f"{number(metric['value'])} [{number(metric['low'])}, {number(metric['high'])}]"
        )

    for kind in dict.fromkeys(record["kind"] for record in records):
        own = [record for record in records if record["kind"] == kind]
        first = own[0]
        print(f"\n{kind}: {first['num_positive']} lists, {first['num_constant']} constant ones; chance: AUC .5, ")
        print(f"recall .01, precision {number(first['base_rate'])}\n")
        own.sort(key=lambda record: -(record["recall"] or {"value": 0})["value"])
        print(
            markdown_table(
                {
                    "score": f"{record['representation']}, {record['method']}",
                    "AUC": with_interval(record["auc"]),
                    "recall at 1 % false alarms": with_interval(record["recall"]),
                    **{f"precision at {k}": value for k, value in record["precision"].items()},
                }
                for record in own
            )
        )
    print("\nRecall at 1 % false alarms of each probe, less that of each test (same resamples of sources):\n")
    lines: dict[Any, dict[str, Any]] = {}
    for one in compared:
        line = lines.setdefault((one["representation"], one["kind"]), {})
        line |= {"representation": one["representation"], "kind": one["kind"], "recall": one["recall"]}
        line[f"less {one['test']}"] = f"{one['difference']:+.2f} [{one['low']:+.2f}, {one['high']:+.2f}]"
    print(markdown_table(lines.values()))
    print(f"\nNeighbours of their kind among the {options.num_neighbours} nearest of {options.num_like} lists of like")
    print("counts and colour:\n")
    print(
        markdown_table(
            {"representation": name, **{key: value for key, value in one.items() if key not in ("low", "high")}}
            for name, found in purity.items()
            for one in found
        )
    )
    chosen = "; ".join(f"{name}: {one['classifier']}, {number(one['setting'])}" for name, one in choices.items())
    print(f"\nProbes, chosen on validation: {chosen}. 95 % intervals: bootstrap over sources.")


if __name__ == "__main__":
    run_program(main)
