"""Event families side by side: trained on one dataset and split, with several seeds, and judged by the same programs.

    python scripts/compare_event_models.py outputs/csc_mock --output outputs/event_models

Every model is pre-trained as its configuration in training/configs says (or all with --max_steps and --batch_size; the
stages of a training keep their shares of the steps), embeds the dataset and, where it decodes count rates, is asked for
those of the test split; then the models of a seed go through eval/event_tasks.py and eval/rates.py. Writes
comparison.md and comparison.json: each number as mean and standard deviation over the seeds, beside chance, hand
features and the published figure. What is finished is not repeated, so that a comparison that was killed goes on.
PPAD is compared where --models names it: it fits every list that it embeds, in a second or so each, so give it a
dataset of some hundreds.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chandraclip.program import run_program

REPOSITORY = Path(__file__).resolve().parents[1]
# Name -> configuration of training/configs, what is changed in the model's, and whether it decodes count rates.
MODELS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "transformer": ("events_transformer", {}, True),
    "transformer_8": ("events_transformer", {"latent_size": 8}, True),
    "ppad": ("events_ppad_small", {}, True),
    "cubes_2d": ("events_cubes_2d", {}, False),
    "cubes_3d": ("events_cubes_3d", {}, False),
    "axia": ("events_axia", {}, True),
}
DEFAULT_MODELS = ("transformer", "cubes_2d", "cubes_3d", "axia")
# Which paper's number stands beside which of ours, and why it is not the same number.
PAPERS = (
    (
        "PPAD (arXiv:2502.01627)",
        "R2 of raw_hard_*, logit var_prob_s; var_index_b >= 6; 8 classes",
        "real windows, split at random, so that windows of one observation are on both sides; SMOTE",
    ),
    (
        "Dillmann et al. 2025 (MNRAS 537, 931)",
        "none: its clusters were looked through by eye",
        "its cubes are judged by PPAD's questions",
    ),
    (
        "Axia (AstroMind-Inc/axia)",
        "none: no accuracy of its encoder is published",
        "trained on the photons' likelihood, not through a language model",
    ),
)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="folder or Hub id of the dataset")
    parser.add_argument(
        "--output", type=Path, default=Path("outputs/event_models"), help="for everything (default %(default)s)"
    )
    parser.add_argument(
        "--models", nargs="+", choices=MODELS, default=list(DEFAULT_MODELS), help="compared (default: %(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of each model (default: %(default)s)")
    parser.add_argument("--max_steps", type=int, help="of each run; default: what its configuration says")
    parser.add_argument("--batch_size", type=int, help="lists a step; default: what its configuration says")
    parser.add_argument("--min_photons", type=int, default=10, help="of a list that is judged (default: %(default)s)")
    parser.add_argument("--num_resamples", type=int, default=1000, help="bootstrap resamples of sources (default 1000)")
    options = parser.parse_args(arguments)
    for name in ("seeds", "max_steps", "batch_size", "min_photons", "num_resamples"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    from chandraclip.evaluation.comparison import check_settings, contents_of, place_of, run_steps, write_comparison
    from chandraclip.evaluation.results import markdown_table

    names = ("models", "max_steps", "batch_size", "min_photons", "num_resamples")
    settings = {"dataset": place_of(options.dataset), **{name: getattr(options, name) for name in names}}
    contents = contents_of(options.dataset)
    settings["dataset_id"] = contents[settings["dataset"]]
    settings["configurations"] = {name: configuration(name) for name in options.models}
    check_settings(options.output, settings)
    for seed in range(options.seeds):
        run_steps(commands(options, seed), REPOSITORY, options.output, contents)
    steps = "as configured" if options.max_steps is None else f"{options.max_steps} steps"
    papers = [{"paper": paper, "stands beside": what, "differs in": why} for paper, what, why in PAPERS]
    heading = (
        f"{options.dataset}: {steps}, {options.seeds} seeds; mean +- standard deviation over the seeds, every number "
        f"of sources of the test split.\n\n{markdown_table(papers)}"
    )
    write_comparison(options.output, {**settings, "seeds": options.seeds}, summary(options), heading)


def configuration(name: str) -> dict[str, Any]:
    """What a model's file of training/configs says, and what is changed in the model's options."""
    import yaml

    config, changed, _ = MODELS[name]
    written = yaml.safe_load((REPOSITORY / "training" / "configs" / f"{config}.yaml").read_text())
    return {**written, "changed": changed}


def budget(name: str, options: argparse.Namespace) -> list[str]:
    """Options of pretrain.py for another number of steps or batch size than the configuration's.

    Stages of a training keep their shares of the steps; a batch is cut in as many equal micro-batches as it can be, up
    to the configuration's number.
    """
    written, words = configuration(name), []
    if options.max_steps is not None:
        words += ["--max_steps", str(options.max_steps)]
        training = dict(written.get("training_options", {}))
        stages = [option for option in training if option.endswith("_steps")]
        for option in stages:
            training[option] = round(training[option] * options.max_steps / written["max_steps"])
        words += ["--training_options", json.dumps(training)] if stages else []
    if options.batch_size is not None:
        words += ["--batch_size", str(options.batch_size)]
        parts = written.get("gradient_accumulation_steps", 1)
        words += ["--gradient_accumulation_steps", str(math.gcd(parts, options.batch_size))] if parts > 1 else []
    return words


def commands(options: argparse.Namespace, seed: int) -> Iterator[tuple[list[str], Path]]:
    """The programs of a seed in order, each with the file that it writes last."""
    from chandraclip.evaluation.comparison import place_of

    folder, dataset = options.output.resolve() / f"seed_{seed}", place_of(options.dataset)
    embedded, decoded = [], []
    for name in options.models:
        config, changed, decodes = MODELS[name]
        model, embeddings, rates = (folder / kind / name for kind in ("models", "embeddings", "rates"))
        training = ["--config", f"training/configs/{config}.yaml", "--dataset", dataset, "--output_dir", str(model)]
        training += ["--seed", str(seed), *budget(name, options)]
        training += ["--model_options", json.dumps(changed)] if changed else []
        yield ["training/pretrain.py", *training], model / "metrics.json"
        yield ["scripts/embed.py", str(model), dataset, str(embeddings)], embeddings / "embeddings.json"
        embedded.append(str(embeddings))
        if decodes:
            yield ["scripts/reconstruct.py", str(model), dataset, str(rates)], rates / "rates.json"
            decoded.append(str(rates))
    results = folder / "results"
    judged = ["--min_photons", str(options.min_photons), "--num_resamples", str(options.num_resamples)]
    output = results / "event_tasks"
    yield ["eval/event_tasks.py", *embedded, dataset, "--output", str(output), *judged], output / "metrics.json"
    if decoded:
        output = results / "rates"
        asked = ["--dataset", dataset, "--output", str(output), *judged]
        yield ["eval/rates.py", *decoded, *asked], output / "metrics.json"


def summary(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row a number: what is measured, its mean and deviation over the seeds, chance, baseline, published figure."""
    from chandraclip.evaluation.comparison import headlines, over_seeds

    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for seed in range(options.seeds):
        for name in ("event_tasks", "rates"):
            folder = options.output / f"seed_{seed}" / "results" / name
            if folder.is_dir():
                for item in headlines(folder):
                    found.setdefault((name, item["metric"]), []).append(item)
    return over_seeds(found)


if __name__ == "__main__":
    run_program(main)
