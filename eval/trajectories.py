"""Which sources moved in latent space from one observation to another, by more than photon noise moves a constant one.

    python eval/trajectories.py outputs/embeddings/align/default outputs/data/default

Writes trajectories.csv (every source, what moved most first), metrics.json, paths.png and ranking.png. The photons of
each source are dealt anew to its observations, with each one's exposure, response and background, and embedded with
the same model: src/chandraclip/evaluation/trajectories/photon_noise.py says how.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chandraclip.program import now_try, run_program

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from chandraclip.evaluation.embeddings import EmbeddingTable

FACTS = ("source_class", "true_class", "true_variability", "hard_hs", "true_flux_b")
SHOWN = (
    "name",
    "class",
    "observations",
    "total_counts",
    "length",
    "length_noise",
    "departure_sigma",
    "p_value",
    "q_value",
)
# What the picture looks for, by the simulator's truth where there is one: title -> classes.
LOOKED_FOR = {
    "tidal disruption": ("TDE",),
    "X-ray binary": ("LMXB", "HMXB"),
    "flaring star": ("LM-STAR", "YSO", "HM-STAR"),
    "active nucleus": ("AGN",),
}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", help="folder written by scripts/embed.py")
    parser.add_argument("dataset", help="the dataset that was embedded, with its responses")
    parser.add_argument("--model", help="that embedded it; default: the one that the embeddings name")
    parser.add_argument("--output", type=Path, help="folder for the results; default EMBEDDINGS/trajectories")
    parser.add_argument("--split", default="test", help="train, validation, test (default) or all")
    parser.add_argument("--sources", nargs="+", metavar="NAME", help="only these, of whatever split; also drawn")
    parser.add_argument("--representation", nargs="+", metavar="NAME", help="default: all of X-rays together")
    parser.add_argument("--min_observations", type=int, default=2, help="of a source (default: %(default)s)")
    parser.add_argument(
        "--num_draws",
        type=int,
        default=199,
        help="of a source that moved; the smallest p-value is 1 / (this + 1) (default: %(default)s)",
    )
    parser.add_argument(
        "--calibration_scatter",
        type=float,
        default=0.02,
        help="dex by which areas are wrong from one observation to another (default: %(default)s)",
    )
    parser.add_argument("--flux_free", action="store_true", help="a change of brightness alone is no movement")
    parser.add_argument("--num_shown", type=int, default=20, help="rows of the printed table (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=256, help="detections a forward pass (default: %(default)s)")
    parser.add_argument(
        "--max_events",
        type=int,
        default=512,
        help="photons of a list that the model sees, evenly spaced; 0 for all (default: %(default)s)",
    )
    parser.add_argument("--device", help="torch device; default: cuda where there is one, else cpu")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name, least in {
        "min_observations": 2,
        "num_draws": 39,
        "num_shown": 1,
        "batch_size": 1,
        "max_events": 0,
        "seed": 0,
    }.items():
        if getattr(options, name) < least:
            parser.error(f"--{name} must be at least {least}")
    if not 0.0 <= options.calibration_scatter < 1.0:
        parser.error("--calibration_scatter is in dex, 0 to 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    import numpy as np
    import torch

    from chandraclip.data.response_table import read_responses
    from chandraclip.embedding.embedder import EmbedConfig, Embedder
    from chandraclip.embedding.points import embed_points, limit_photons
    from chandraclip.errors import InputFileError
    from chandraclip.evaluation.dataset import join_columns
    from chandraclip.evaluation.embeddings import EmbeddingTable
    from chandraclip.evaluation.results import Headline, markdown_table, write_metrics
    from chandraclip.evaluation.trajectories.figures import plot_paths, plot_ranking
    from chandraclip.evaluation.trajectories.movement import FALSE_DISCOVERY_RATE, measure_movement
    from chandraclip.evaluation.trajectories.selection import joint_points, select_paths, xray_representations
    from chandraclip.files import atomic_path
    from chandraclip.model_folder import model_folder, model_id

    whole = EmbeddingTable.load(options.embeddings)
    representations = xray_representations(whole, options.representation)
    table = whole if options.sources else whole.in_split(options.split)
    model = options.model or whole.provenance.get("model")
    if model is None:
        raise InputFileError(
            options.embeddings, "there is no embeddings.json that names the model; give it with --model"
        )
    folder = model_folder(model)
    if whole.provenance.get("model_id") not in (None, model_id(folder)):
        raise InputFileError(model, f"{options.embeddings} was embedded with another model, so the spaces differ")
    responses = read_responses(options.dataset)
    selection = select_paths(
        options.dataset,
        table,
        responses,
        representations,
        names=options.sources,
        min_observations=options.min_observations,
    )
    paths = selection.paths
    num_sources = int(paths.source[-1]) + 1
    without = ", ".join(f"{number} {reason}" for reason, number in selection.left_out.items())
    print(f"{num_sources} sources, {len(paths.source)} observations; left out: {without or 'none'}")

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    without_context = tuple(whole.provenance.get("without_context") or ())  # the model is told what it was told then
    embedder = Embedder(
        EmbedConfig(str(folder), options.dataset, options.batch_size, device, without_context=without_context)
    )
    limit_photons(embedder, options.max_events or None)
    movement = measure_movement(
        paths,
        responses,
        lambda rows: embed_points(embedder, rows, representations),
        num_draws=options.num_draws,
        calibration_scatter=options.calibration_scatter,
        flux_free=options.flux_free,
        seed=options.seed,
    )
    chosen = table.select(selection.row)
    facts = join_columns(options.dataset, "catalog", FACTS, chosen)
    ranking = describe(movement.table, chosen, facts, paths.source)

    output = options.output or Path(options.embeddings) / "trajectories"
    with atomic_path(output / "trajectories.csv") as temporary:
        ranking.drop(columns="path").to_csv(temporary, index=False, float_format="%.6g")
    background = joint_points(whole, representations)
    background = background[np.isfinite(background).all(axis=1)]
    shown = examples(ranking, options.sources)
    plot_paths(movement, paths.source, paths.mjd, background, shown, output / "paths.png")
    plot_ranking(ranking, output / "ranking.png")
    moved = int(ranking["moved"].sum())
    alarms = [
        Headline(
            f"sources with p <= {level:g}",
            value=float((ranking["p_value"] <= level).mean()),
            low=None,
            high=None,
            chance=level,
        )
        for level in (0.01, 0.05)
    ]
    classes = class_table(ranking)
    facts_of_run = {
        "split": options.split if not options.sources else options.sources,
        "representations": list(representations),
        "flux_free": options.flux_free,
        "calibration_scatter": options.calibration_scatter,
        "num_draws": options.num_draws,
        "sources": num_sources,
        "observations": len(paths.source),
        "left_out": selection.left_out,
        "moved": moved,
        "classes": classes,
    }
    path = write_metrics(output, "trajectories", whole, alarms, facts_of_run)
    print(
        markdown_table(
            {name: row[name] for name in SHOWN} for row in ranking.head(options.num_shown).to_dict("records")
        )
    )
    print()
    print(markdown_table(classes))
    print(
        f"\n{moved} of {num_sources} sources moved: false discovery rate {FALSE_DISCOVERY_RATE:g} (Benjamini and "
        f"Hochberg). Without any change, {0.05 * num_sources:.0f} would have p <= 0.05."
    )
    least = num_sources / (FALSE_DISCOVERY_RATE * (options.num_draws + 1))
    if least > 1:
        print(
            f"With {options.num_draws} draws the smallest p-value is {1 / (options.num_draws + 1):.2g}: a source "
            f"counts as moved only where {int(np.ceil(least))} have it. Where fewer moved, take more --num_draws."
        )
    print(f"wrote {path}, {output / 'trajectories.csv'}, {output / 'paths.png'}, {output / 'ranking.png'}")
    now_try(["scripts/report.py", output])


def describe(
    ranking: pd.DataFrame, table: EmbeddingTable, facts: dict[str, np.ndarray], source: np.ndarray
) -> pd.DataFrame:
    """The ranking with the class of each source, and what the simulator knows of its observations."""
    import numpy as np
    import pandas as pd

    first = np.flatnonzero(np.diff(source, prepend=-1))
    columns = {"class": pd.Series(table.classes(facts)[first]).fillna("-").to_numpy()}
    if "true_flux_b" in facts:
        flux = np.log10(np.maximum(facts["true_flux_b"], 1e-30))
        columns["true_flux_range"] = np.maximum.reduceat(flux, first) - np.minimum.reduceat(flux, first)
    if "true_variability" in facts:
        varies = np.array([value not in (None, "constant") for value in facts["true_variability"]])
        columns["true_varying_observations"] = np.add.reduceat(varies.astype(np.int64), first)
    described = ranking.copy()
    for place, (name, values) in enumerate(columns.items(), start=1):
        described.insert(place, name, values[ranking["path"].to_numpy()])
    return described


def class_table(ranking: pd.DataFrame) -> list[dict]:
    """How many sources of each class moved."""
    return [
        {
            "class": name,
            "sources": len(part),
            "moved": int(part["moved"].sum()),
            "share moved": float(part["moved"].mean()),
            "share p <= 0.05": float((part["p_value"] <= 0.05).mean()),
            "median counts": float(part["total_counts"].median()),
        }
        for name, part in ranking.groupby("class")
    ]


def examples(ranking: pd.DataFrame, wanted: Sequence[str] | None) -> list[tuple[str, int]]:
    """What the picture shows: the sources asked for, else the best of each kind that there is, and one that stayed."""
    if wanted:
        rows = ranking[ranking["name"].isin(wanted)].head(6)
        return [(str(row["class"]), int(row["path"])) for row in rows.to_dict("records")]
    chosen: list[tuple[str, int]] = []
    long = ranking[ranking["observations"] >= min(4, ranking["observations"].max())]
    for title, classes in LOOKED_FOR.items():
        found = long[long["class"].isin(classes) & (long["p_value"] <= 0.05)]
        if len(found):
            chosen.append((title, int(found.iloc[0]["path"])))
    if not chosen:
        chosen = [("moved most", int(number)) for number in long["path"].head(3)]
    taken = [number for _, number in chosen]
    median = ranking["total_counts"].median()
    quiet = long[(long["p_value"] > 0.3) & (long["total_counts"] >= median) & ~long["path"].isin(taken)]
    chosen += [("stayed", int(number)) for number in quiet.sort_values("total_counts")["path"].tail(2)]
    return chosen[:6]


if __name__ == "__main__":
    run_program(main)
