"""Cross-modal retrieval: Recall@1 %, @5 %, median rank, each direction, beside chance and an oracle of the class.

    python eval/retrieval.py outputs/embeddings/default --output outputs/results/retrieval

Writes metrics.json and recall.png; the definitions stand in src/chandraclip/evaluation/retrieval.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from chandraclip.program import now_try, run_program

# arXiv:2603.04516, spectrum -> text, 1,719 real test pairs.
PUBLISHED = {"recall@1%": 0.20, "recall@5%": 0.50, "median_rank_share": 0.049}
SHOWN = ("recall@1%", "recall@5%", "recall@10", "median_rank", "mean_reciprocal_rank")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", help="folder written by scripts/embed.py")
    parser.add_argument(
        "--output", type=Path, help="folder for metrics.json and recall.png; default EMBEDDINGS/retrieval"
    )
    parser.add_argument("--split", default="test", help="train, validation, test (default) or all")
    parser.add_argument("--num_resamples", type=int, default=1000, help="bootstrap resamples of sources (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    return parser.parse_args(arguments)


def cell(metric: dict[str, float], kind: str) -> str:
    """A number, with its interval where it has one."""
    from chandraclip.evaluation.results import number

    shown = number(metric[kind])
    return f"{shown} [{number(metric['low'])}, {number(metric['high'])}]" if kind == "value" else shown


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    from chandraclip.evaluation.embeddings import EmbeddingTable
    from chandraclip.evaluation.figures import plot_recall
    from chandraclip.evaluation.results import Headline, is_simulated, markdown_table, write_metrics
    from chandraclip.evaluation.retrieval_tasks import evaluate_retrieval

    table = EmbeddingTable.load(options.embeddings).in_split(options.split)
    results = evaluate_retrieval(table, options.num_resamples, options.seed)

    rows, headline = [], []
    for direction, result in results.items():
        metrics = result["metrics"]
        for kind, label in {"value": "model", "chance": "chance", "class_oracle": "class oracle"}.items():
            if kind in metrics["median_rank"]:
                row = {"direction": direction, "queries": result["num_queries"], "pool": result["num_candidates"]}
                rows.append({**row, "": label, **{name: cell(metrics[name], kind) for name in SHOWN}})
        for name in PUBLISHED:
            published = PUBLISHED[name] if direction == "spectrum -> text" else None
            headline.append(
                Headline(
                    f"{direction} {name}",
                    value=metrics[name]["value"],
                    low=metrics[name]["low"],
                    high=metrics[name]["high"],
                    chance=metrics[name]["chance"],
                    baseline=metrics[name].get("class_oracle"),
                    baseline_name="class oracle" if "class_oracle" in metrics[name] else None,
                    published=published,
                    comparable=None if published is None else not is_simulated(table),
                )
            )
    output = options.output or Path(options.embeddings) / "retrieval"
    figure = output / "recall.png"
    plot_recall(results, figure)
    path = write_metrics(output, "retrieval", table, headline, {"split": options.split, "directions": results})
    print(markdown_table(rows))
    print(
        "\n95 % intervals: bootstrap over sources. Class oracle: knows the class of every query and candidate, no more."
    )
    known = ", ".join(f"{name} {value:g}" for name, value in PUBLISHED.items())
    print(f"Published (arXiv:2603.04516, spectrum -> text, {'not ' * is_simulated(table)}comparable data): {known}.")
    print(f"wrote {path}, {figure}")
    now_try(["scripts/report.py", output])


if __name__ == "__main__":
    run_program(main)
