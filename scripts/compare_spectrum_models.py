"""Spectrum families side by side: trained alike on one dataset, with several seeds, and judged by the same programs.

    python scripts/compare_spectrum_models.py outputs/csc_mock --output outputs/spectrum_models

Every model is pre-trained with the same rows a step and steps, embeds the dataset and reconstructs its test split; then
the models of a seed go through eval/classification.py, clustering.py, reconstruction.py and, for faint detections,
regression.py. Writes comparison.md and comparison.json: each number as mean and standard deviation over the seeds. What
is finished is not repeated, so that a comparison that was killed goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chandraclip.program import run_program

REPOSITORY = Path(__file__).resolve().parents[1]
# Name -> configuration of training/configs, and what is changed in the model's.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "transformer_8": ("spectrum_autoencoder", {"latent_size": 8}),
    "gru_8": ("spectrum_recurrent_autoencoder", {"latent_size": 8}),
    "vae_2": ("spectrum_vae", {}),
    "folded_8": ("folded_spectrum_autoencoder", {"latent_size": 8}),
    "transformer_64": ("spectrum_autoencoder", {"latent_size": 64}),
    "folded_64": ("folded_spectrum_autoencoder", {"latent_size": 64}),
}
DEFAULT_MODELS = ("transformer_8", "gru_8", "vae_2", "folded_8")
LATENTS = "spectrum_latents"
FAINT = ("true_nh", "true_gamma")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="folder or Hub id of the dataset")
    parser.add_argument(
        "--output", type=Path, default=Path("outputs/spectrum_models"), help="for everything (default %(default)s)"
    )
    parser.add_argument(
        "--models", nargs="+", choices=MODELS, default=list(DEFAULT_MODELS), help="compared (default: %(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of each model (default: %(default)s)")
    parser.add_argument("--max_steps", type=int, default=600, help="of each run (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=128, help="rows a step (default: %(default)s)")
    parser.add_argument(
        "--max_counts", type=float, default=300.0, help="below which a detection is faint (default: %(default)s)"
    )
    parser.add_argument("--num_resamples", type=int, default=1000, help="bootstrap resamples of sources (default 1000)")
    options = parser.parse_args(arguments)
    for name in ("seeds", "max_steps", "batch_size"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    from chandraclip.evaluation.comparison import check_settings, contents_of, place_of, run_steps, write_comparison

    names = ("models", "max_steps", "batch_size", "max_counts", "num_resamples")
    settings = {"dataset": place_of(options.dataset), **{name: getattr(options, name) for name in names}}
    contents = contents_of(options.dataset)
    settings["dataset_id"] = contents[settings["dataset"]]
    check_settings(options.output, settings)
    for seed in range(options.seeds):
        run_steps(commands(options, seed), REPOSITORY, options.output, contents)
    facts = {name: getattr(options, name) for name in ("dataset", "models", "seeds", "max_steps", "batch_size")}
    heading = (
        f"{options.dataset}: {options.max_steps} steps of {options.batch_size} rows, {options.seeds} seeds; mean +- "
        "standard deviation over the seeds, every number of the test split."
    )
    write_comparison(options.output, {**facts, "max_counts": options.max_counts}, summary(options), heading)


def commands(options: argparse.Namespace, seed: int) -> Iterator[tuple[list[str], Path]]:
    """The programs of a seed in order, each with the file that it writes last."""
    from chandraclip.evaluation.comparison import place_of

    folder, dataset = options.output.resolve() / f"seed_{seed}", place_of(options.dataset)
    embedded = [str(folder / "embeddings" / name) for name in options.models]
    rebuilt = [str(folder / "reconstructions" / name) for name in options.models]
    for name, embeddings, reconstructions in zip(options.models, embedded, rebuilt):
        config, changed = MODELS[name]
        model = folder / "models" / name
        training = ["--config", f"training/configs/{config}.yaml", "--dataset", dataset, "--output_dir", str(model)]
        training += [
            "--seed",
            str(seed),
            "--max_steps",
            str(options.max_steps),
            "--batch_size",
            str(options.batch_size),
        ]
        training += ["--model_options", json.dumps(changed)] if changed else []
        yield ["training/pretrain.py", *training], model / "metrics.json"
        yield ["scripts/embed.py", str(model), dataset, embeddings], Path(embeddings) / "embeddings.json"
        yield (
            ["scripts/reconstruct.py", str(model), dataset, reconstructions],
            Path(reconstructions) / "reconstructions.json",
        )
    resamples = ["--num_resamples", str(options.num_resamples)]
    results = folder / "results"
    for name in ("classification", "clustering"):
        output = results / name
        yield [f"eval/{name}.py", *embedded, dataset, "--output", str(output), *resamples], output / "metrics.json"
    output = results / "reconstruction"
    yield (
        ["eval/reconstruction.py", *rebuilt, "--dataset", dataset, "--output", str(output), *resamples],
        output / "metrics.json",
    )
    faint = ["--where", f"src_cnts_aper_b < {options.max_counts:g}", "--variables", *FAINT]
    for name, embeddings in zip(options.models, embedded):
        output = results / "regression" / name
        yield (
            ["eval/regression.py", embeddings, dataset, *faint, "--output", str(output), *resamples],
            output / "metrics.json",
        )


def summary(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row a number: what is measured, its mean and deviation over the seeds, chance, baseline, published figure."""
    from chandraclip.evaluation.comparison import headlines, over_seeds

    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for seed in range(options.seeds):
        results = options.output / f"seed_{seed}" / "results"
        for name in ("classification", "clustering", "reconstruction"):
            for item in headlines(results / name):
                found.setdefault((name, item["metric"]), []).append(item)
        for model in options.models:
            content = json.loads((results / "regression" / model / "metrics.json").read_text())["results"]
            for item in _faint_numbers(model, content["records"], options.max_counts):
                found.setdefault(("regression", item["metric"]), []).append(item)
    return over_seeds(found)


def _faint_numbers(model: str, records: Sequence[dict[str, Any]], max_counts: float) -> Iterator[dict[str, Any]]:
    """R2 from the latents of one model, with that from hand features as the baseline; the mean has 0."""
    r2 = {(item["variable"], item["representation"], item["method"]): item["r2"] for item in records}
    for (variable, representation, method), value in r2.items():
        if representation == LATENTS:
            metric = f"{model}: R2 of {variable} below {max_counts:g} counts, {method}"
            hand = r2.get((variable, "hand_features", method))
            yield {"metric": metric, "value": value, "chance": 0.0, "baseline": hand, "baseline_name": "hand features"}


if __name__ == "__main__":
    run_program(main)
