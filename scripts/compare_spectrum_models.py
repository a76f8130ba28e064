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
import shlex
import subprocess
import sys
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

    from chandraclip.errors import OptionError
    from chandraclip.evaluation.results import markdown_table
    from chandraclip.files import write_json, write_text

    names = ("models", "max_steps", "batch_size", "max_counts", "num_resamples")
    settings = {"dataset": _place(options.dataset), **{name: getattr(options, name) for name in names}}
    record = options.output / "settings.json"
    if record.is_file() and json.loads(record.read_text()) != settings:
        raise OptionError(f"{options.output} holds a comparison with other options ({record}): choose another --output")
    write_json(record, settings)
    for seed in range(options.seeds):
        for command, product in commands(options, seed):
            if product.exists():
                print(f"{product} is there")
                continue
            print(f"\n$ {shlex.join(command)}", flush=True)
            done = subprocess.run([sys.executable, *command], cwd=REPOSITORY, check=False)
            if done.returncode:
                raise SystemExit(done.returncode)
    rows = summary(options)
    facts = {name: getattr(options, name) for name in ("dataset", "models", "seeds", "max_steps", "batch_size")}
    write_json(options.output / "comparison.json", {**facts, "max_counts": options.max_counts, "rows": rows})
    shown = [{name: value for name, value in row.items() if name != "values"} for row in rows]
    text = (
        f"{options.dataset}: {options.max_steps} steps of {options.batch_size} rows, {options.seeds} seeds; mean +- "
        f"standard deviation over the seeds, every number of the test split.\n\n{markdown_table(shown)}\n"
    )
    write_text(options.output / "comparison.md", text)
    print(f"\n{text}\nwrote {options.output / 'comparison.md'}, {options.output / 'comparison.json'}")


def commands(options: argparse.Namespace, seed: int) -> Iterator[tuple[list[str], Path]]:
    """The programs of a seed in order, each with the file that it writes last."""
    folder, dataset = options.output.resolve() / f"seed_{seed}", _place(options.dataset)
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
    import numpy as np

    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for seed in range(options.seeds):
        results = options.output / f"seed_{seed}" / "results"
        for name in ("classification", "clustering", "reconstruction"):
            for item in json.loads((results / name / "metrics.json").read_text())["headline"]:
                found.setdefault((name, item["metric"]), []).append(item)
        for model in options.models:
            content = json.loads((results / "regression" / model / "metrics.json").read_text())["results"]
            for item in _faint_numbers(model, content["records"], options.max_counts):
                found.setdefault(("regression", item["metric"]), []).append(item)
    rows = []
    for (name, metric), items in found.items():
        values = [item["value"] for item in items if item["value"] is not None]
        first = items[0]
        mean = f"{np.mean(values):.3f}" if values else "-"
        if len(values) > 1:
            mean += f" +- {np.std(values, ddof=1):.3f}"
        baseline = first.get("baseline")
        rows.append(
            {
                "evaluation": name,
                "number": metric,
                "mean": mean,
                "chance": _short(first.get("chance")),
                "baseline": "-" if baseline is None else f"{_short(baseline)} ({first.get('baseline_name')})",
                "published, not comparable": _short(first.get("published")),
                "values": values,
            }
        )
    return rows


def _faint_numbers(model: str, records: Sequence[dict[str, Any]], max_counts: float) -> Iterator[dict[str, Any]]:
    """R2 from the latents of one model, with that from hand features as the baseline; the mean has 0."""
    r2 = {(item["variable"], item["representation"], item["method"]): item["r2"] for item in records}
    for (variable, representation, method), value in r2.items():
        if representation == LATENTS:
            metric = f"{model}: R2 of {variable} below {max_counts:g} counts, {method}"
            hand = r2.get((variable, "hand_features", method))
            yield {"metric": metric, "value": value, "chance": 0.0, "baseline": hand, "baseline_name": "hand features"}


def _place(dataset: str) -> str:
    """A folder by its whole path, since the programs run elsewhere; a Hub id as it is."""
    return str(Path(dataset).resolve()) if Path(dataset).is_dir() else dataset


def _short(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    run_program(main)
