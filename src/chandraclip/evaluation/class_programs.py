"""What eval/classification.py and eval/clustering.py ask and say alike. Loads nothing heavy until it is needed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chandraclip.evaluation.classes import Task
    from chandraclip.evaluation.compared import Compared
    from chandraclip.evaluation.results import Headline


def class_parser(description: str | None, evaluation: str) -> argparse.ArgumentParser:
    """The options of every evaluation of classes; results go to EMBEDDINGS/`evaluation`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", nargs="+", help="folders written by scripts/embed.py")
    parser.add_argument("dataset", help="folder or Hub id of the dataset they are of")
    parser.add_argument("--output", type=Path, help=f"folder for the results; default EMBEDDINGS/{evaluation}")
    parser.add_argument(
        "--representations", nargs="+", help="columns of the embeddings, a+b for two; default: those of the X-ray side"
    )
    parser.add_argument(
        "--folds",
        type=int,
        default=0,
        help="of all rows, by source, instead of the splits (default 0); only where the model was not trained on them",
    )
    parser.add_argument(
        "--num_components", type=int, help="of the PCA of spectra; default: as many as spectrum latents, else 8"
    )
    parser.add_argument("--num_resamples", type=int, default=1000, help="bootstrap resamples of sources (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    return parser


def parse_class_options(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """Parsed, or an end in one line where a number of `class_parser` cannot be."""
    options = parser.parse_args(arguments)
    if options.folds and options.folds < 3:
        parser.error("--folds needs 3 or more: to fit on, to choose on, to judge")
    for name, least in {"num_components": 1, "num_resamples": 1, "seed": 0}.items():
        value = getattr(options, name)
        if value is not None and value < least:
            parser.error(f"--{name} must be at least {least}")
    return options


def class_tasks(compared: Compared, num_folds: int, seed: int) -> Iterator[tuple[str, Task]]:
    """The questions that the compared detections can answer, by title; says which are left out.

    Raises:
        InputFileError: none of them.
    """
    from chandraclip.errors import InputFileError
    from chandraclip.evaluation.classes import TASKS, class_task

    table, found = compared.table, False
    for title in TASKS:
        task = class_task(title, table.class_names, table.split, table.name, compared.complete, num_folds, seed)
        if task is None:
            print(f"{title}: left out, there are not two classes with sources enough in train, validation and test")
            continue
        found = True
        yield title, task
    if not found:
        raise InputFileError(table.path, "no class has detections enough in train, validation and test")


def beside_hand_features(
    metric: str, score: dict[str, Any], hand: dict[str, Any] | None, published: float | None = None
) -> Headline:
    """The balanced accuracy of one representation, with that of hand features; published ones are of real spectra."""
    from chandraclip.evaluation.results import Headline

    return Headline(
        metric,
        value=score["balanced_accuracy"],
        low=score["balanced_accuracy_low"],
        high=score["balanced_accuracy_high"],
        chance=score["chance"],
        baseline=hand["balanced_accuracy"] if hand else None,
        baseline_name="hand features" if hand else None,
        published=published,
        comparable=None if published is None else False,
    )
