"""What is unusual: anomaly scores of every detection, raw and given counts and angle, and what their tops hold.

    python eval/anomaly.py EMBEDDINGS DATASET --output outputs/results/anomaly

Isolation forest, distance to the neighbours, local outlier factor, Mahalanobis, and the disagreement of modalities, in
each representation. Where the dataset tells the true classes: enrichment of the rare ones in the top 1 %, AUC and
precision at k, beside chance. Writes scores.parquet, top.md, metrics.json, scores.png, enrichment.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from chandraclip.program import now_try, run_program

FACTS = ("src_cnts_aper_b", "theta", "hard_hm", "hard_hs", "hard_ms", "var_prob_b", "var_index_b", "true_class")
RARE = ("ULX", "TDE", "FXT")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", help="folder written by scripts/embed.py")
    parser.add_argument("dataset", help="folder or Hub id of the dataset that was embedded: counts, angle, classes")
    parser.add_argument("--output", type=Path, help="folder for the results; default EMBEDDINGS/anomaly")
    parser.add_argument("--split", default="all", help="train, validation, test or all (default)")
    parser.add_argument(
        "--min_counts", type=float, default=100, help="detections that are judged (default: %(default)g)"
    )
    parser.add_argument(
        "--rare", nargs="+", default=list(RARE), help="true classes that should be found (default: %(default)s)"
    )
    parser.add_argument(
        "--representation", help="of the score that is drawn and listed; default: both X-ray embeddings"
    )
    parser.add_argument("--method", default="mahalanobis", help="of that score (default: %(default)s)")
    parser.add_argument("--num_neighbours", type=int, default=20, help="of other sources (default: %(default)s)")
    parser.add_argument("--num_like", type=int, default=200, help="detections of like counts (default: %(default)s)")
    parser.add_argument("--num_listed", type=int, default=50, help="of the top, in top.md (default: %(default)s)")
    parser.add_argument("--num_resamples", type=int, default=1000, help="bootstrap resamples of sources (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of forest and bootstrap (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="torch device of the neighbours (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name in ("num_neighbours", "num_like", "num_listed", "num_resamples"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    import numpy as np

    from chandraclip.errors import InputFileError, OptionError
    from chandraclip.evaluation.anomaly import anomaly_scores, find_likes, given_likes
    from chandraclip.evaluation.anomaly_figures import plot_enrichment, plot_scores
    from chandraclip.evaluation.dataset import join_columns
    from chandraclip.evaluation.embeddings import EmbeddingTable
    from chandraclip.evaluation.rarity import Truth, class_enrichment, judge
    from chandraclip.evaluation.results import write_metrics

    table = EmbeddingTable.load(options.embeddings).in_split(options.split)
    facts = join_columns(options.dataset, "catalog", FACTS, table)
    if "src_cnts_aper_b" not in facts:
        raise InputFileError(options.dataset, "without counts no score can be given them", "src_cnts_aper_b")
    if not any(isinstance(name, str) for name in facts.get("true_class", ())):
        facts.pop("true_class", None)  # real detections: null in every row
    unknown = np.full(len(table), np.nan)
    truth = Truth(
        facts["src_cnts_aper_b"].astype(float),
        facts.get("theta", unknown).astype(float),
        table.name,
        facts.get("true_class"),
        options.rare,
        options.min_counts,
    )
    if not truth.judged.any():
        raise OptionError(f"no detection of split {options.split} has {options.min_counts:g} counts: --min_counts")
    raw = anomaly_scores(table, facts, options.num_neighbours, options.seed, options.device)
    chosen = (options.representation or default_representation(raw), options.method)
    if chosen not in raw:
        known = "; ".join(f"{representation}, {method}" for representation, method in raw)
        raise OptionError(f"there is no score {chosen[1]} of {chosen[0]}; there are: {known}")
    likes = find_likes(truth.counts, truth.theta, table.name, options.num_like)
    given = {name: given_likes(score, likes) for name, score in raw.items()}
    records = judge({"raw": raw, "given": given}, truth, options.num_resamples, options.seed)
    names = table.classes(facts)
    classes = class_enrichment(given[chosen][truth.judged], names[truth.judged])

    output = options.output or Path(options.embeddings) / "anomaly"
    results = {"split": options.split, "min_counts": options.min_counts, "rare": list(options.rare)}
    results |= {"chosen": list(chosen), "scores": records, "classes": classes}
    files = [write_metrics(output, "anomaly", table, headlines(records), results)]
    files.append(write_scores(output / "scores.parquet", table, raw, given))
    files.append(write_top(output / "top.md", table, facts, truth, given[chosen], chosen, options.num_listed))
    files.append(output / "scores.png")
    title = f"{chosen[0]}, {chosen[1].replace('_', ' ')}"
    plot_scores(raw[chosen], given[chosen], truth.counts, names, options.rare, title, files[-1])
    if any(record["given"]["enrichment"] for record in records):
        files.append(output / "enrichment.png")
        plot_enrichment(records, files[-1])
    print_tables(records, classes, chosen, options)
    print("wrote " + ", ".join(map(str, files)))
    now_try(["scripts/report.py", output])


def default_representation(raw: Any) -> str:
    present = {name for name, _ in raw}
    preferred = ("spectrum+event_embedding", "spectrum_embedding", "event_embedding", "spectrum_latents")
    return next((name for name in preferred if name in present), next(iter(present)))


def write_scores(path: Path, table: Any, raw: Any, given: Any) -> Path:
    """Every score of every detection, raw and given, as columns "representation/method" and "... given counts"."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from chandraclip.data.keys import KEY
    from chandraclip.files import atomic_path

    columns = {name: table.keys[name] for name in KEY} | {"split": table.split}
    for (representation, method), score in raw.items():
        name = f"{representation}/{method}"
        columns |= {name: score, f"{name} given counts": given[representation, method]}
    arrays = {name: pa.array(value, from_pandas=True) for name, value in columns.items()}
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(arrays), temporary)
    return path


def headlines(records: list[dict[str, Any]]) -> list[Any]:
    """Enrichment and AUC of each score given counts, beside the same of hand-made features."""
    from chandraclip.evaluation.results import Headline

    hand = {record["method"]: record["given"] for record in records if record["representation"] == "hand_features"}
    found = []
    for record in records:
        name = f"{record['representation']}, {record['method']}, given counts"
        for metric, label in (("enrichment", "enrichment of rare in the top 1 %"), ("auc", "AUC of rare")):
            value, other = record["given"][metric], hand.get(record["method"], {}).get(metric)
            if value is not None:
                numbers = (value[kind] for kind in ("value", "low", "high", "chance"))
                baseline = (other["value"], "hand features") if other else (None, None)
                found.append(Headline(f"{name}: {label}", *numbers, *baseline))
    return found


def write_top(path: Path, table: Any, facts: Any, truth: Any, score: Any, chosen: Any, num_listed: int) -> Path:
    """The most unusual detections of enough counts, with what is known of them."""
    import numpy as np

    from chandraclip.evaluation.results import markdown_table
    from chandraclip.files import write_text

    judged = np.flatnonzero((truth.counts >= truth.min_counts) & np.isfinite(score))
    names = table.classes(facts)
    rows = []
    for row in judged[np.argsort(-score[judged], kind="stable")[:num_listed]].tolist():
        about = {"name": table.name[row], "obsid": table.keys["obsid"][row], "region": table.keys["region_id"][row]}
        about |= {"class": names[row] or "-", "given counts": f"{score[row]:.4f}"}
        rows.append(about | {name: facts[name][row] for name in FACTS if name in facts and name != "true_class"})
    text = f"The most unusual of {judged.size} detections with at least {truth.min_counts:g} counts: {chosen[1]} of "
    write_text(path, f"{text}{chosen[0]}, given counts and off-axis angle.\n\n{markdown_table(rows)}\n")
    return path


def print_tables(records: Any, classes: Any, chosen: Any, options: Any) -> None:
    from chandraclip.evaluation.results import markdown_table, number

    def with_interval(metric: Any) -> str:
        return (
            "-" if metric is None else f"{number(metric['value'])} [{number(metric['low'])}, {number(metric['high'])}]"
        )

    # Where a representation has few judged rows, it has no precision at as many.
    sizes = list(
        dict.fromkeys(k for record in records for kind in ("raw", "given") for k in record[kind].get("precision", {}))
    )
    rows = []
    for record in records:
        for kind, found in (("raw", record["raw"]), ("given counts", record["given"])):
            rows.append(
                {
                    "representation": record["representation"],
                    "method": record["method"],
                    "score": kind,
                    "rho counts": f"{found['rho_counts']:+.3f}",
                    "enrichment, top 1 %": with_interval(found["enrichment"]),
                    "AUC": with_interval(found["auc"]),
                    **{
                        f"precision at {k}": number(found["precision"][k]) if k in found.get("precision", {}) else "-"
                        for k in sizes
                    },
                }
            )
    print(markdown_table(rows))
    first = next((record["given"] for record in records if record["given"]["enrichment"]), None)
    if first is not None:
        print(
            f"\nJudged: detections with at least {options.min_counts:g} counts. Of {first['num_rows']} that "
            f"{records[0]['representation']} has, {first['num_rare']} ({first['num_rare_sources']} sources) are "
            f"{', '.join(options.rare)}. Chance: precision {number(first['base_rate'])}, enrichment 1, AUC .5."
        )
    print(f"\nThe top 1 % of {chosen[1]} of {chosen[0]}, given counts, by class:\n")
    print(markdown_table(classes))
    print(
        "\n95 % intervals: bootstrap over sources. arXiv:2603.04516 looks at the top 1 % of a forest; it has no number."
    )


if __name__ == "__main__":
    run_program(main)
