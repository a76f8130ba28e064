"""Which photon lists are unusual: ranked by anomaly scores of their latents, against the Kolmogorov-Smirnov variables.

    python eval/unusual_lists.py outputs/embeddings/events outputs/data/default

For real lists without truth. Lists of sources that the model was not trained on are ranked; a list is called variable
where a constant rate gives as uneven a one with a chance of less than 1 in 1,000. Beside the scores of the latents, raw
and given the number of photons: the number itself, and hand features without variability. Writes metrics.json,
ranking.csv, top.md and top.png, the light curves of the most unusual.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from chandraclip.program import now_try, run_program


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", help="folder written by scripts/embed.py")
    parser.add_argument("dataset", help="folder or Hub id of the dataset it is of")
    parser.add_argument("--output", type=Path, help="folder for the results; default EMBEDDINGS/unusual_lists")
    parser.add_argument(
        "--splits",
        nargs="+",
        choices=("train", "validation", "test"),
        default=["validation", "test"],
        help="that are ranked (default: %(default)s)",
    )
    parser.add_argument(
        "--representation", default="event_latents", help="column of the embeddings (default: %(default)s)"
    )
    parser.add_argument("--method", default="mahalanobis", help="of the ranking that is shown (default: %(default)s)")
    parser.add_argument("--min_photons", type=int, default=20, help="of a list that is ranked (default: %(default)s)")
    parser.add_argument("--num_listed", type=int, default=20, help="of the top, pictured (default: %(default)s)")
    parser.add_argument("--num_like", type=int, default=100, help="lists of like counts (default: %(default)s)")
    parser.add_argument("--num_resamples", type=int, default=1000, help="bootstrap resamples of sources (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of forest and bootstrap (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name in ("min_photons", "num_listed", "num_like", "num_resamples"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    import numpy as np
    import pandas as pd

    from chandraclip.errors import OptionError
    from chandraclip.evaluation.anomaly import anomaly_scores, find_likes, given_likes
    from chandraclip.evaluation.embeddings import EmbeddingTable
    from chandraclip.evaluation.photon_facts import PHOTONS, RATE, photon_facts
    from chandraclip.evaluation.results import Headline, markdown_table, write_metrics
    from chandraclip.evaluation.unusual_lists import KS_CHANCE, rank_against, smirnov_log_chance
    from chandraclip.files import write_text

    table = EmbeddingTable.load(options.embeddings)
    facts = photon_facts(options.dataset, table, bands="")
    chance, times = smirnov_log_chance(options.dataset, table)
    with np.errstate(invalid="ignore"):
        enough = facts[PHOTONS] >= np.log10(options.min_photons) - 1e-9
        variable = chance < np.log10(KS_CHANCE)
    judged = enough & np.isin(table.split, options.splits)
    if not judged.any():
        raise OptionError(f"no list of {', '.join(options.splits)} has {options.min_photons} photons: --min_photons")
    hardness = {name.removeprefix("raw_"): facts[name] for name in facts if name.startswith("raw_hard")}
    raw = anomaly_scores(
        table, {name: one for name, one in hardness.items() if np.isfinite(one).any()}, 20, options.seed
    )
    chosen = (options.representation, options.method)
    if chosen not in raw:
        known = "; ".join(f"{representation}, {method}" for representation, method in raw)
        raise OptionError(f"there is no score {chosen[1]} of {chosen[0]}; there are: {known}")
    likes = find_likes(10.0 ** facts[PHOTONS], np.full(len(table), np.nan), table.name, options.num_like)
    scores: dict[str, Any] = {}
    for (representation, method), score in raw.items():
        name = f"{representation}, {method}"
        scores |= {name: score, f"{name}, given photons": given_likes(score, likes)}
    scores |= {"number of photons": facts[PHOTONS], "rate": facts[RATE]}
    records = rank_against(scores, variable, judged, table.name, options.num_resamples, options.seed)

    output = options.output or Path(options.embeddings) / "unusual_lists"
    shown = f"{chosen[0]}, {chosen[1]}, given photons"
    ranked = np.flatnonzero(judged & np.isfinite(scores[shown]))
    ranked = ranked[np.argsort(-scores[shown][ranked], kind="stable")]
    top = [
        {
            "rank": place + 1,
            "name": table.name[row],
            "obsid": int(table.keys["obsid"][row]),
            "photons": round(10 ** facts[PHOTONS][row]),
            "score": float(scores[shown][row]),
            "log10 KS chance": float(chance[row]),
            "var_prob_b": float(facts["var_prob_b"][row]),
        }
        for place, row in enumerate(ranked.tolist())
    ]
    listed = top[: options.num_listed]
    text = f"The most unusual of {len(top)} lists, by {shown}.\n\n{markdown_table(listed)}\n"
    print(f"\n{markdown_table(records)}\n\n{text}")
    by_score = {record["score"]: record for record in records}
    counts = by_score.get("number of photons")
    headline = [
        Headline(
            f"AUC of Kolmogorov-Smirnov variables, {record['score']}",
            value=record["auc"],
            low=record["auc_low"],
            high=record["auc_high"],
            chance=0.5,
            baseline=counts["auc"] if counts else None,
            baseline_name="number of photons" if counts else None,
        )
        for record in records
        if record["score"] not in ("number of photons", "rate")
    ]
    results = {"splits": options.splits, "min_photons": options.min_photons, "ks_chance": KS_CHANCE}
    path = write_metrics(output, "unusual_lists", table, headline, {**results, "scores": records, "top": listed})
    write_text(output / "ranking.csv", pd.DataFrame(top).to_csv(index=False))
    write_text(output / "top.md", text)
    good_times = np.where(facts[PHOTONS] > 0, 10 ** (facts[PHOTONS] - facts[RATE]), 1.0)
    draw_top(listed, ranked.tolist(), times, good_times, output / "top.png")
    print(f"wrote {path}, ranking.csv, top.md and top.png beside it")
    now_try(["scripts/report.py", output])


def draw_top(listed: list[dict[str, Any]], rows: list[int], times: list[Any], good_times: Any, path: Path) -> None:
    """The light curves of the most unusual lists, in good time elapsed."""
    from matplotlib.figure import Figure

    from chandraclip.evaluation.figures import save_figure
    from chandraclip.evaluation.unusual_lists import binned_rate

    columns = min(4, len(listed))
    lines = -(-len(listed) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.4 * lines), layout="constrained")
    places = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, fact, row in zip(places, listed, rows):
        middle, rate, error = binned_rate(times[row], float(good_times[row]))
        axes.errorbar(middle / 1e3, 1e3 * rate, yerr=1e3 * error, fmt=".", color="C0", markersize=4, linewidth=0.8)
        axes.axhline(1e3 * len(times[row]) / good_times[row], color="0.7", linewidth=0.8)
        axes.set_title(f"{fact['rank']}. {fact['name']}, {fact['obsid']}: {fact['photons']}", fontsize="x-small")
        axes.set(ylim=(0.0, None))
        axes.tick_params(labelsize="x-small")
    for axes in places[len(listed) :]:
        axes.set_axis_off()
    figure.supxlabel("good time elapsed, ks", fontsize="small")
    figure.supylabel("photons/ks", fontsize="small")
    save_figure(figure, path)


if __name__ == "__main__":
    run_program(main)
