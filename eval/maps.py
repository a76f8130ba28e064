"""Maps of each representation before and after alignment, and how wide neighbourhoods are in each.

    python eval/maps.py outputs/embeddings/align/default outputs/data/default --output outputs/results/align/maps

Latents of a model that is not aligned are shown alone. --layout t-SNE --seed
505 is the map of Dillmann et al. 2025 (arXiv:2412.01150). Writes metrics.json, one map a modality (maps_*.png) and
layouts.csv (the places on the maps, by key). UMAP is an extra: pip install 'chandraclip[maps]'; --no_maps gives the
numbers without it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from chandraclip.program import now_try, run_program

# Label -> before, after.
PAIRS = {
    "spectrum": ("spectrum_latents", "spectrum_embedding"),
    "events": ("event_latents", "event_embedding"),
    "text": ("text_features", "text_embedding"),
}
QUANTITIES = ("hard_hs", "hard_ms", "hard_hm", "powlaw_gamma", "powlaw_nh", "var_prob_b", "true_nh", "true_gamma")
FACTS = (*QUANTITIES, "src_cnts_aper_b", "source_class")
LOGARITHMIC = ("powlaw_nh", "true_nh")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", help="folder written by scripts/embed.py")
    parser.add_argument("dataset", help="the dataset that was embedded: its catalogue columns and texts")
    parser.add_argument("--output", type=Path, help="folder for the results; default EMBEDDINGS/maps")
    parser.add_argument("--split", default="test", help="train, validation, test (default) or all")
    parser.add_argument("--num_neighbours", type=int, default=10, help="of a neighbourhood (default: %(default)s)")
    parser.add_argument("--max_points", type=int, default=5000, help="of a map, drawn at random (default: %(default)s)")
    parser.add_argument(
        "--layout", default="UMAP", choices=("UMAP", "t-SNE"), help="of the maps (default: %(default)s)"
    )
    parser.add_argument("--no_maps", action="store_true", help="the numbers alone")
    parser.add_argument("--num_resamples", type=int, default=1000, help="bootstrap resamples of sources (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of layouts, draws and bootstrap (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name, least in {"num_neighbours": 3, "max_points": 50, "num_resamples": 2, "seed": 0}.items():
        if getattr(options, name) < least:
            parser.error(f"--{name} must be at least {least}")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    import numpy as np
    import pandas as pd

    from chandraclip.data.keys import KEY
    from chandraclip.errors import QueryError
    from chandraclip.evaluation.dataset import join_columns
    from chandraclip.evaluation.embeddings import EmbeddingTable
    from chandraclip.evaluation.maps import MAP_NEIGHBOURS, PERPLEXITY, TSNE, layout, plot_maps, turned_to
    from chandraclip.evaluation.neighbourhoods import SEMANTIC, spread_tables, standardized, text_vectors
    from chandraclip.evaluation.results import Headline, markdown_table, number, write_metrics
    from chandraclip.files import atomic_path

    table = EmbeddingTable.load(options.embeddings).in_split(options.split)
    pairs = {label: pair for label, pair in PAIRS.items() if all(name in table.arrays for name in pair)}
    alone = [] if pairs else [before for before, _ in PAIRS.values() if before in table.arrays]
    names = alone or [name for pair in pairs.values() for name in pair]
    if not names:
        raise QueryError(
            f"{options.embeddings}: no representation stands in it before and after alignment, nor before alone, only "
            f"{', '.join(table.arrays) or 'none'}"
        )
    if "xray_embedding" in table.arrays and {"spectrum", "events"} <= set(pairs):
        names.append("xray_embedding")
    complete = np.logical_and.reduce([table.masks[name] for name in names])
    table = table.select(complete)
    if len(table) <= options.num_neighbours + int(np.unique(table.name, return_counts=True)[1].max(initial=0)):
        raise QueryError(
            f"{options.embeddings}: only {len(table)} detections have {', '.join(names)}; none has neighbours"
        )
    if not options.no_maps and len(table) <= (PERPLEXITY if options.layout == TSNE else MAP_NEIGHBOURS):
        raise QueryError(
            f"{options.embeddings}: {len(table)} detections are too few for a map; --no_maps gives the numbers"
        )
    points = {name: standardized(table.arrays[name], name.endswith("_embedding")) for name in names}
    if "xray_embedding" in points:
        points["xray_latents"] = np.concatenate([points["spectrum_latents"], points["event_latents"]], axis=1)
        pairs["X-rays together"] = ("xray_latents", "xray_embedding")
    facts = join_columns(options.dataset, "catalog", FACTS, table)
    facts["source_class"] = table.source_class.astype(np.float64)
    quantities = {
        name: np.log10(np.where(facts[name] > 0, facts[name], np.nan)) if name in LOGARITHMIC else facts[name]
        for name in QUANTITIES
        if name in facts and np.isfinite(facts[name]).any()
    }
    summaries = join_columns(options.dataset, "texts", ["summary"], table).get("summary")
    texts = None if summaries is None else text_vectors(summaries.tolist(), seed=options.seed)
    spread, changes = spread_tables(
        points,
        pairs,
        table.name,
        table.source_class,
        quantities,
        texts,
        k=options.num_neighbours,
        num_resamples=options.num_resamples,
        seed=options.seed,
    )

    output = options.output or Path(options.embeddings) / "maps"
    own = {(row["representation"], row["quantity"]): row for row in spread}
    headline = [
        Headline(
            f"spread of {row['quantity']} among neighbours by {row['neighbours']}",
            value=row["after"],
            **{side: own[pairs[row["neighbours"]][1], row["quantity"]][side] for side in ("low", "high")},
            chance=row["chance"],
            baseline=row["before"],
            baseline_name="before alignment",
        )
        for row in changes
    ]
    if alone:
        headline = [
            Headline(
                f"spread of {row['quantity']} among neighbours by {row['representation']}",
                **{name: row[name] for name in ("value", "low", "high", "chance")},
            )
            for row in spread
        ]
    results = {
        "split": options.split,
        "detections": len(table),
        "num_neighbours": options.num_neighbours,
        "spread": spread,
        "changes": changes,
    }
    path = write_metrics(output, "maps", table, headline, results)
    written = []
    if not options.no_maps:
        rng = np.random.default_rng(options.seed)
        chosen = np.sort(rng.permutation(len(table))[: options.max_points])
        columns = {name: values[chosen] for name, values in facts.items()}
        places: dict[str, np.ndarray] = {name: table.keys[name][chosen] for name in KEY}
        for label, (before, after) in pairs.items():
            first, second = (layout(points[name][chosen], options.seed, options.layout) for name in (before, after))
            second = turned_to(second, first)
            for name, plane in ((before, first), (after, second)):
                places[f"{name}_x"], places[f"{name}_y"] = plane.T
            picture = output / f"maps_{label.split()[0].lower()}.png"
            title = f"{options.layout} of {len(chosen)} detections by {label}"
            plot_maps({f"before: {before}": first, f"after: {after}": second}, columns, picture, title)
            written.append(picture)
        for name in alone:
            plane = layout(points[name][chosen], options.seed, options.layout)
            places[f"{name}_x"], places[f"{name}_y"] = plane.T
            written.append(output / f"maps_{name}.png")
            title = f"{options.layout} of {len(chosen)} detections by {name}"
            plot_maps({name: plane}, columns, written[-1], title)
        with atomic_path(output / "layouts.csv") as temporary:
            pd.DataFrame(places).to_csv(temporary, index=False, float_format="%.5g")
        written.append(output / "layouts.csv")
    print(
        markdown_table(
            {
                "neighbours by": row["neighbours"],
                "spread of": "texts (cosine distance)" if row["quantity"] == SEMANTIC else row["quantity"],
                **{name: row[name] for name in ("chance", "before", "after")},
                "after / before": f"{number(row['ratio'])} [{number(row['low'])}, {number(row['high'])}]",
            }
            for row in changes
        )
        if pairs
        else markdown_table(
            {
                "neighbours by": row["representation"],
                "spread of": "texts (cosine distance)" if row["quantity"] == SEMANTIC else row["quantity"],
                "chance": row["chance"],
                "spread": f"{number(row['value'])} [{number(row['low'])}, {number(row['high'])}]",
            }
            for row in spread
        )
    )
    print(
        f"\n{len(table)} detections with all representations, {options.num_neighbours} nearest of other sources. "
        "Standard deviations, of NH in dex; classes: probability that two neighbours differ. "
        "95 % intervals: bootstrap over sources."
    )
    print(f"wrote {', '.join(str(file) for file in (path, *written))}")
    now_try(["scripts/report.py", output])


if __name__ == "__main__":
    run_program(main)
