"""Embed a dataset with a model: one Parquet file, a row a detection, a column a representation.

    python scripts/embed.py outputs/align outputs/data/default outputs/embeddings/default

A run that was killed goes on where it stopped; a finished one is not repeated unless model or dataset changed.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from chandraclip.program import now_try, run_program
from chandraclip.ranks import add_rank_options, share_of


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder or Hub id of the model")
    parser.add_argument("dataset", help="folder or Hub id of the dataset")
    parser.add_argument("output", type=Path, help="folder to write embeddings.parquet and embeddings.json to")
    parser.add_argument("--split", default="all", help="train, validation, test or all (default)")
    parser.add_argument("--batch_size", type=int, default=64, help="detections a forward pass (default 64)")
    parser.add_argument("--num_processes", type=int, help="workers; default: the CPUs if rows are many, else 1")
    parser.add_argument("--device", help="torch device; default: cuda where there is one, else cpu")
    parser.add_argument(
        "--rows_per_part", type=int, help="detections a resumable part (default 1024; 32 where latents are fitted)"
    )
    parser.add_argument("--revision", help="of a model on the Hub")
    parser.add_argument("--dataset_config", help="of the dataset; default: pairs, or its only or default one")
    parser.add_argument(
        "--without_context",
        nargs="*",
        metavar="COLUMN",
        help="take these columns of the model's context as not known, e.g. nh_gal; with no name, all of them",
    )
    parser.add_argument(
        "--max_photons", type=int, help="read no more than the first so many photons of a list (default: all)"
    )
    parser.add_argument(
        "--max_hours", type=float, help="read no more than the first so many hours of an observation (default: all)"
    )
    add_rank_options(parser)
    options = parser.parse_args(arguments)
    options.share = share_of(parser, options)
    for name in ("batch_size", "num_processes", "rows_per_part"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    for name in ("max_photons", "max_hours"):
        if getattr(options, name) is not None and not getattr(options, name) > 0:
            parser.error(f"--{name} must be above 0")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    import torch

    from chandraclip.embedding.dataset import embed_dataset
    from chandraclip.embedding.embedder import WHOLE_CONTEXT, EmbedConfig
    from chandraclip.evaluation.embeddings import EMBEDDINGS_FILE

    logging.basicConfig(format="%(message)s")
    logging.getLogger("chandraclip").setLevel(logging.INFO)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    without = options.without_context
    without_context = () if without is None else tuple(without) or (WHOLE_CONTEXT,)
    facts = embed_dataset(
        EmbedConfig(
            options.model,
            options.dataset,
            options.batch_size,
            device,
            options.dataset_config,
            without_context,
            options.max_photons,
            options.max_hours,
        ),
        options.output,
        split=options.split,
        num_processes=options.num_processes,
        rows_per_part=options.rows_per_part,
        revision=options.revision,
        share=options.share,
    )
    if "staged_rows" in facts:
        share, done = options.share, facts["resumed_rows"]
        print(
            f"{options.output}: rank {share.rank} of {share.num_ranks}: its {facts['staged_rows']} detections are "
            f"embedded, {done} of them found done"
        )
        return
    rows = sum(facts["rows"].values())
    done = f", {facts['resumed_rows']} of them found done" if facts["resumed_rows"] else ""
    print(f"{options.output / EMBEDDINGS_FILE}: {rows} detections {facts['rows']}{done}")
    missing = {name: count for name, count in facts["missing"].items() if count}
    print(
        f"model {facts['model']} ({facts['model_id'][:12]}), dataset {facts['dataset']}; without: {missing or 'none'}"
    )
    now_try(*next_commands(options, facts))


def next_commands(options: argparse.Namespace, facts: dict[str, Any]) -> list[list[str | Path]]:
    """What these embeddings can be judged by: regression and retrieval take rows to fit and to choose on."""
    from chandraclip.evaluation.embeddings import EMBEDDINGS
    from chandraclip.evaluation.regression import MIN_ROWS

    rows, output = facts["rows"], options.output
    aligned = sum(facts["missing"][name] < sum(rows.values()) for name in EMBEDDINGS) >= 2
    commands: list[list[str | Path]] = []
    if all(rows.get(split, 0) >= least for split, least in MIN_ROWS.items()):
        commands.append(["eval/regression.py", output, options.dataset, "--output", output / "regression"])
        if aligned:
            commands.append(["eval/retrieval.py", output, "--output", output / "retrieval"])
    if aligned:
        commands.append(["eval/neighbours.py", output, output, "--dataset", options.dataset])
    return commands


if __name__ == "__main__":
    run_program(main)
