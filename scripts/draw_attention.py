"""Where spectrum models look: which energies their latents depend on, averaged by class, beside untrained models.

    python scripts/draw_attention.py outputs/spectrum outputs/spectrum_recurrent outputs/data/default

The gradient of the latents for any model, rolled-out attention for transformers (`models.where_it_looks`); of the
bright detections of a split that every model finds a spectrum in, so many a class. Writes attention.png (dotted: the
same models with random weights), attention.csv (a row a model, measure, class and energy) and attention.json (shares of
the bands).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chandraclip.program import run_program

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

ALL = "all classes alike"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="model", help="folders or Hub ids of spectrum models")
    parser.add_argument("dataset", help="folder or Hub id of the dataset")
    parser.add_argument("--output", type=Path, default=Path("outputs/attention"), help="folder (default: %(default)s)")
    parser.add_argument("--split", default="test", help="train, validation or test (default: %(default)s)")
    parser.add_argument("--min_counts", type=int, default=100, help="of bright sources (default: %(default)s)")
    parser.add_argument("--rows_per_class", type=int, default=64, help="drawn at random (default: %(default)s)")
    parser.add_argument(
        "--num_steps", type=int, default=16, help="of integrated gradients; 1: plain (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of rows and random weights (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name, least in {"min_counts": 1, "rows_per_class": 2, "num_steps": 1, "seed": 0}.items():
        if getattr(options, name) < least:
            parser.error(f"--{name} must be at least {least}")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    import numpy as np
    import pandas as pd
    import torch
    from tqdm.auto import tqdm
    from transformers import AutoModel

    from chandraclip.data.schema import SOURCE_CLASSES
    from chandraclip.evaluation.compared import folder_names
    from chandraclip.evaluation.results import markdown_table
    from chandraclip.files import atomic_path, write_json
    from chandraclip.models.contract import load_feature_extractor, load_tower
    from chandraclip.models.feature_extraction import use_responses_of
    from chandraclip.models.where_it_looks import BANDS_OF_INTEREST, bin_edges, share_in_band, shares_in_bins

    labels = folder_names([Path(source) for source in options.models])
    models = [load_tower(source, "spectrum").eval() for source in options.models]
    extractors: list[Any] = [
        load_feature_extractor(source, type(model)) for source, model in zip(options.models, models)
    ]
    for extractor in extractors:
        use_responses_of(extractor, options.dataset)
    batches, classes = features_of(extractors, *bright_rows(options))
    names = [SOURCE_CLASSES[number] for number in sorted(set(classes.tolist()))]
    curves: list[dict[str, Any]] = []
    shares: list[dict[str, Any]] = []
    bar = tqdm(total=len(models), desc="models", unit="model")
    for label, model, extractor, batch in zip(labels, models, extractors, batches):
        torch.manual_seed(options.seed)
        untrained = AutoModel.from_config(model.config).eval()
        energies = extractor.energies
        for state, network in (("trained", model), ("untrained", untrained)):
            for measure, weights in measured(network, batch, options.num_steps).items():
                means = {name: weights[classes == SOURCE_CLASSES.index(name)].mean(axis=0) for name in names}
                means[ALL] = sum(means.values()) / len(names)
                for name, mean in means.items():
                    facts = {"model": label, "weights": state, "measure": measure, "class": name}
                    width = np.diff(np.log10(bin_edges(energies)))
                    edges, (share, covered) = shares_in_bins(np.stack([mean, width]), energies)
                    middle = np.sqrt(edges[1:] * edges[:-1])
                    curves.append({**facts, "energies": middle, "share": share, "density": share / covered})
                    inside = {
                        band: float(share_in_band(mean[None], energies, limits)[0])
                        for band, limits in BANDS_OF_INTEREST.items()
                    }
                    shares.append({**facts, **inside})
        bar.update()
    bar.close()
    output = options.output
    output.mkdir(parents=True, exist_ok=True)
    picture = output / "attention.png"
    plot(curves, names, picture)
    with atomic_path(output / "attention.csv") as temporary:
        frames = [
            pd.DataFrame({**{key: curve[key] for key in ("model", "weights", "measure", "class")},
                          "energy": curve["energies"], "share": curve["share"], "per_decade": curve["density"]})
            for curve in curves
        ]  # fmt: skip
        pd.concat(frames).to_csv(temporary, index=False, float_format="%.5g")
    facts = {name: getattr(options, name) for name in ("models", "dataset", "split", "min_counts", "num_steps", "seed")}
    number = {name: int((classes == SOURCE_CLASSES.index(name)).sum()) for name in names}
    write_json(output / "attention.json", {**facts, "rows": number, "bands_kev": BANDS_OF_INTEREST, "shares": shares})
    print(markdown_table([row for row in shares if row["class"] == ALL]))
    print(f"\nshares of each band; {len(classes)} detections of {options.min_counts} counts and more, {number}")
    print(f"wrote {picture}, {output / 'attention.csv'}, {output / 'attention.json'}")


def bright_rows(options: argparse.Namespace) -> tuple[pa.Table, np.ndarray]:
    """Rows of each class, so many at most, and the number of the class of each."""
    import numpy as np

    from chandraclip.data.loading import load_splits
    from chandraclip.errors import InputFileError, QueryError

    splits = load_splits(options.dataset, "pairs")
    if options.split not in splits:
        raise InputFileError(options.dataset, f"there is no split {options.split!r}, only {list(splits)}")
    split = splits[options.split]
    columns = split.column_names
    needed = ("spectrum_counts", "source_class", "src_cnts_aper_b")
    if lacking := [name for name in needed if name not in columns]:
        raise InputFileError(options.dataset, "this column is missing", lacking[0])
    facts = split.select_columns(["source_class", "src_cnts_aper_b"])[:]
    classes = facts["source_class"].fill_null(-1).to_numpy()
    counts = facts["src_cnts_aper_b"].cast("float64").fill_null(0.0).to_numpy()
    rng = np.random.default_rng(options.seed)
    chosen = []
    for number in np.unique(classes[classes >= 0]):
        own = np.flatnonzero((classes == number) & (counts >= options.min_counts))
        if own.size >= 2:
            chosen.append(np.sort(rng.permutation(own)[: options.rows_per_class]))
    if not chosen:
        raise QueryError(
            f"{options.dataset}: no class has two detections of {options.min_counts} counts (--min_counts)"
        )
    places = np.concatenate(chosen)
    return split.select(places)[:], classes[places]


def features_of(extractors: list[Any], rows: pa.Table, classes: np.ndarray) -> tuple[list[Any], np.ndarray]:
    """A batch a model of the rows that all find a spectrum in, and the classes of these; two rows a class or none.

    A row without one would change the mean spectrum and the scatter that the gradient is measured against.

    Raises:
        QueryError: no class has two such rows.
    """
    import numpy as np

    from chandraclip.errors import QueryError

    batches = [dict(extractor(rows)) for extractor in extractors]
    usable = np.logical_and.reduce([batch["spectrum_mask"].numpy() for batch in batches])
    usable &= np.isin(classes, [number for number in np.unique(classes) if (usable & (classes == number)).sum() >= 2])
    if not usable.any():
        raise QueryError(f"no class has two of the {len(classes)} detections in which every model finds a spectrum")
    if not usable.all():
        print(f"{(~usable).sum()} of {len(usable)} detections are left out: a model finds no spectrum in them")
        batches = [dict(extractor(rows.filter(usable))) for extractor in extractors]
    return batches, classes[usable]


def measured(model: Any, batch: dict[str, Any], num_steps: int) -> dict[str, np.ndarray]:
    """Measure -> (rows, N) weights of sum 1: "gradient", and "attention" where the model has any."""
    from chandraclip.models.where_it_looks import attention, saliency

    found = {"gradient": saliency(model, batch, num_steps)}
    on_points = attention(model, batch)
    return found if on_points is None else {**found, "attention": on_points}


def plot(curves: list[dict[str, Any]], names: list[str], path: Path) -> None:
    """A row a model and measure: left the mean of the classes beside the untrained model, right each class."""
    from matplotlib.figure import Figure

    from chandraclip.evaluation.figures import save_figure
    from chandraclip.models.where_it_looks import BANDS_OF_INTEREST

    panels = list(dict.fromkeys((curve["model"], curve["measure"]) for curve in curves))
    figure = Figure((11.5, 0.6 + 2.9 * len(panels)), layout="constrained")
    grid = figure.subplots(len(panels), 2, sharex=True, squeeze=False)
    for (model, measure), pair in zip(panels, grid):
        own = {(c["weights"], c["class"]): c for c in curves if (c["model"], c["measure"]) == (model, measure)}
        for weights, style in (("trained", "-"), ("untrained", ":")):
            curve = own[weights, ALL]
            pair[0].plot(curve["energies"], curve["density"], style, color="black", label=weights)
        for number, name in enumerate(names):
            curve = own["trained", name]
            pair[1].plot(curve["energies"], curve["density"], color=f"C{number}", linewidth=1, label=name)
        for axes, of in zip(pair, (ALL, "by class")):
            for band, colour in (("soft", "C3"), ("hard", "C0"), ("Fe K", "C1")):
                axes.axvspan(
                    *BANDS_OF_INTEREST[band], color=colour, alpha=0.22 if band == "Fe K" else 0.07, linewidth=0
                )
                height = axes.get_xaxis_transform()
                middle = (BANDS_OF_INTEREST[band][0] * BANDS_OF_INTEREST[band][1]) ** 0.5
                axes.text(middle, 0.96, band, ha="center", va="top", fontsize="small", color=colour, transform=height)
            axes.set(xscale="log", ylim=(0, None))
            axes.set_title(f"{model}: {measure}, {of}", fontsize="small")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter("")
        pair[0].set_ylabel("share per decade of energy")
    grid[0, 0].legend(fontsize="x-small", loc="upper left")
    grid[0, 1].legend(fontsize="x-small", ncols=2, loc="upper left")
    for axes in grid[-1]:
        axes.set_xlabel("energy (keV)")
        axes.set_xticks([0.3, 0.5, 1, 2, 5, 10])
    save_figure(figure, path)


if __name__ == "__main__":
    run_program(main)
