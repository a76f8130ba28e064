"""The plane of the spectrum latents: heat map, classes over it, spectra decoded along it, what is like a soft source.

    python eval/latent_plane.py outputs/embeddings/spectrum_vae outputs/data/default --model outputs/spectrum_vae

Two latents are drawn as they are, of more the first two principal components. As in Quintin's talk, the similarity
search starts from a very soft source: the lowest hard_hs among the bright ones. Writes metrics.json, latent_plane.png
and neighbours.csv. The model is needed for the decoded spectra alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from chandraclip.program import now_try, run_program

FACTS = ("hard_hs", "hard_hm", "hard_ms", "src_cnts_aper_b", "powlaw_gamma", "powlaw_nh", "true_class")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", help="folder written by scripts/embed.py")
    parser.add_argument("dataset", help="the dataset that was embedded: its catalogue columns")
    parser.add_argument("--model", help="that made the embeddings, folder or Hub id: decodes spectra along the plane")
    parser.add_argument("--output", type=Path, help="folder for the results; default EMBEDDINGS/latent_plane")
    parser.add_argument("--split", default="test", help="train, validation, test (default) or all")
    parser.add_argument("--min_counts", type=int, default=100, help="of bright sources (default: %(default)s)")
    parser.add_argument("--num_neighbours", type=int, default=10, help="of a search (default: %(default)s)")
    parser.add_argument("--soft_share", type=float, default=0.05, help="that counts as soft (default: %(default)s)")
    parser.add_argument("--num_resamples", type=int, default=1000, help="bootstrap resamples of sources (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name, least in {"min_counts": 1, "num_neighbours": 1, "num_resamples": 2, "seed": 0}.items():
        if getattr(options, name) < least:
            parser.error(f"--{name} must be at least {least}")
    if not 0 < options.soft_share < 1:
        parser.error("--soft_share must be between 0 and 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    import numpy as np
    import pandas as pd

    from chandraclip.data.keys import KEY
    from chandraclip.errors import QueryError
    from chandraclip.evaluation.bootstrap import interval, resampled_sums
    from chandraclip.evaluation.dataset import join_columns
    from chandraclip.evaluation.embeddings import EmbeddingTable
    from chandraclip.evaluation.latent_plane import Plane, class_counts, paths_across, plot_plane, soft_neighbours
    from chandraclip.evaluation.neighbourhoods import neighbours_of_others, standardized
    from chandraclip.evaluation.results import Headline, markdown_table, write_metrics
    from chandraclip.files import atomic_path

    table = EmbeddingTable.load(options.embeddings).in_split(options.split)
    if "spectrum_latents" not in table.arrays:
        raise QueryError(f"{options.embeddings}: there are no spectrum_latents in it, only {', '.join(table.arrays)}")
    facts = join_columns(options.dataset, "catalog", FACTS, table)
    if "hard_hs" not in facts or "src_cnts_aper_b" not in facts:
        raise QueryError(f"{options.dataset}: a search from a soft source needs hard_hs and src_cnts_aper_b")
    bright = table.masks["spectrum_latents"] & np.isfinite(facts["hard_hs"])
    bright &= np.nan_to_num(facts["src_cnts_aper_b"]) >= options.min_counts
    number = int(bright.sum())
    if number < 50 or np.unique(table.name[bright]).size <= options.num_neighbours:
        raise QueryError(
            f"{options.embeddings}: {number} detections of split {options.split} have latents, a hardness and "
            f"{options.min_counts} counts; a plane takes 50 (--min_counts, --split all)"
        )
    table, facts = table.select(bright), {name: values[bright] for name, values in facts.items()}
    latents, hardness = table.arrays["spectrum_latents"].astype(np.float64), facts["hard_hs"]
    if latents.shape[1] < 2:
        raise QueryError(f"{options.embeddings}: one latent is no plane")
    plane = Plane.of(latents)
    points = plane.points(latents)
    neighbours = neighbours_of_others(standardized(latents, False), table.name, options.num_neighbours)
    classes = table.classes(facts)

    soft = np.flatnonzero(hardness <= np.quantile(hardness, options.soft_share))
    shares, limit = soft_neighbours(hardness, soft, neighbours, options.soft_share)
    sums = resampled_sums(
        np.stack([shares, np.ones(len(shares))], axis=1), table.name[soft], options.num_resamples, options.seed
    )
    low, high = interval(sums[:, 0] / np.maximum(sums[:, 1], 1))
    chance = chance_of_soft(hardness <= limit, table.name)[soft].mean()
    components = components_of(options.dataset, table, latents.shape[1])
    baseline = None
    if components is not None:
        by_components = neighbours_of_others(standardized(components, False), table.name, options.num_neighbours)
        baseline = float(soft_neighbours(hardness, soft, by_components, options.soft_share)[0].mean())
    seed = int(np.argmin(hardness))
    found = neighbours[seed]
    headline = [
        Headline(
            f"neighbours of the softest {100 * options.soft_share:g} % that are among them",
            value=float(shares.mean()),
            low=low,
            high=high,
            chance=float(chance),
            baseline=baseline,
            baseline_name=None if baseline is None else f"PCA {latents.shape[1]} of the same spectra",
        )
    ]
    rows = [
        {
            "": "searched from" if place < 0 else str(place + 1),
            "name": str(table.name[row]),
            "obsid": int(table.keys["obsid"][row]),
            "class": classes[row] or "unknown",
            **{name: float(facts[name][row]) for name in FACTS[:-1] if name in facts},
        }
        for place, row in enumerate([seed, *found.tolist()], start=-1)
    ]
    results = {
        "split": options.split,
        "detections": number,
        "min_counts": options.min_counts,
        "latents": latents.shape[1],
        "variance_of_the_plane": plane.explained.tolist(),
        "soft_below": limit,
        "search": rows,
        "classes_of_soft": class_counts(classes, soft),
        "classes_of_their_neighbours": class_counts(classes, np.unique(neighbours[soft])),
        "classes_of_all": class_counts(classes, np.arange(number)),
    }
    decoded = None
    if options.model:
        made_by = table.provenance.get("model")
        if made_by and Path(made_by).name != Path(options.model).name:
            print(f"warning: the embeddings were made by {made_by}, the spectra are decoded by {options.model}")
        decoded = decode(options.model, [plane.latents(path) for path in paths_across(points)], latents.shape[1])
    output = options.output or Path(options.embeddings) / "latent_plane"
    path = write_metrics(output, "latent_plane", table, headline, results)
    picture = output / "latent_plane.png"
    title = f"{number} detections of {options.min_counts} counts and more, split {options.split}"
    plot_plane(plane, points, classes, hardness, seed, found, picture, title, decoded)
    with atomic_path(output / "neighbours.csv") as temporary:
        keys = {name: table.keys[name][[seed, *found]] for name in KEY}
        pd.DataFrame({**keys, **{name: [row[name] for row in rows] for name in rows[0] if name not in keys}}).to_csv(
            temporary, index=False, float_format="%.5g"
        )
    print(markdown_table(rows))
    print(
        f"\n{100 * shares.mean():.0f} % [{100 * low:.0f}, {100 * high:.0f}] of the {options.num_neighbours} nearest "
        f"detections of other sources of the softest {100 * options.soft_share:g} % are among these; "
        f"chance {100 * chance:.1f} %, by PCA of the spectra "
        f"{'-' if baseline is None else f'{100 * baseline:.0f} %'}. 95 % interval: bootstrap over sources."
    )
    print(f"wrote {path}, {picture}, {output / 'neighbours.csv'}")
    now_try(["scripts/report.py", output])


def chance_of_soft(is_soft: Any, names: Any) -> Any:
    """(N,) share of the soft among the detections of other sources than each one's own."""
    import numpy as np

    group = np.unique(names, return_inverse=True)[1]
    own, own_soft = np.bincount(group)[group], np.bincount(group, is_soft)[group]
    return (is_soft.sum() - own_soft) / (len(names) - own)


def components_of(dataset: str, table: Any, size: int) -> Any:
    """(N, size) principal components of the resampled spectra of the same detections; None where some have none."""
    import numpy as np

    from chandraclip.evaluation.compared import resampled_spectra, spectrum_components

    spectra = resampled_spectra(dataset, table)
    if spectra is None or not spectra[1].all():
        return None
    return spectrum_components(*spectra, np.ones(len(table), bool), size)


def decode(model: str, paths: list[Any], size: int) -> tuple[Any, list[Any], str]:
    """Energies, the spectra that a model decodes along each path of latents, and their unit."""
    import torch

    from chandraclip.errors import QueryError
    from chandraclip.models.contract import load_feature_extractor, load_tower

    tower = load_tower(model, "spectrum").eval()
    if tower.config.latent_size != size:
        raise QueryError(f"{model}: its latents are {tower.config.latent_size}, those of the embeddings {size}")
    extractor = load_feature_extractor(model, type(tower))
    with torch.inference_mode():
        try:
            lines = [tower.decode(torch.tensor(path, dtype=torch.float32)).numpy() for path in paths]
        except NotImplementedError as error:
            raise QueryError(f"{model}: {error}; leave --model out") from error
    spectral: Any = extractor
    return spectral.energies, lines, spectral.value_unit


if __name__ == "__main__":
    run_program(main)
