"""What a model expects the detector to have recorded: one Parquet file, a row a detection.

    python scripts/reconstruct.py outputs/spectrum outputs/data/default outputs/reconstructions/spectrum
    python scripts/reconstruct.py outputs/events outputs/data/default outputs/reconstructions/events

Of a spectrum model the counts of every channel, for eval/reconstruction.py; of a model of photon lists that decodes
count rates the rate at every photon, for eval/rates.py. These score models of all families on the same photons. Each
spectrum or list is also thinned to two halves: the model is shown one and scored on the other.
"""

from __future__ import annotations

import argparse
import logging
from functools import partial
from pathlib import Path

from chandraclip.program import now_try, run_program


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder or Hub id of a spectrum or event model with a decoder")
    parser.add_argument("dataset", help="folder or Hub id of the dataset")
    parser.add_argument("output", type=Path, help="folder for reconstructions.parquet, or rates.parquet, and .json")
    parser.add_argument("--split", default="test", help="train, validation, test (default) or all")
    parser.add_argument("--batch_size", type=int, default=64, help="detections a forward pass (default 64)")
    parser.add_argument("--device", help="torch device; default: cuda where there is one, else cpu")
    parser.add_argument("--seed", type=int, default=0, help="of the halves (default: %(default)s)")
    parser.add_argument(
        "--fit_steps",
        type=int,
        default=0,
        help="fit the latents to each spectrum in so many steps, say 200, where a family can (default: %(default)s)",
    )
    parser.add_argument("--revision", help="of a model on the Hub")
    parser.add_argument("--dataset_config", help="of the dataset; default: pairs, or its only or default one")
    options = parser.parse_args(arguments)
    if options.batch_size < 1:
        parser.error("--batch_size must be at least 1")
    for name in ("seed", "fit_steps"):
        if getattr(options, name) < 0:
            parser.error(f"--{name} must be at least 0")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    import torch

    from chandraclip.embedding.rates import rate_dataset
    from chandraclip.embedding.reconstruction import reconstruct_dataset
    from chandraclip.errors import OptionError
    from chandraclip.evaluation.rate_tables import RATES_FILE
    from chandraclip.evaluation.reconstructions import RECONSTRUCTIONS_FILE
    from chandraclip.model_folder import model_folder
    from chandraclip.models.contract import modality_of

    logging.basicConfig(format="%(message)s")
    logging.getLogger("chandraclip").setLevel(logging.INFO)
    of_events = modality_of(model_folder(options.model, options.revision)) == "event"
    if of_events and options.fit_steps:
        raise OptionError("--fit_steps is of spectra; a model of photon lists fits its latents where it has no encoder")
    write = rate_dataset if of_events else partial(reconstruct_dataset, fit_steps=options.fit_steps)
    facts = write(
        options.model,
        options.dataset,
        options.output,
        split=options.split,
        batch_size=options.batch_size,
        device=options.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        seed=options.seed,
        config=options.dataset_config,
        revision=options.revision,
    )
    written = options.output / (RATES_FILE if of_events else RECONSTRUCTIONS_FILE)
    print(f"{written}: {sum(facts['rows'].values())} detections {facts['rows']}")
    print(f"model {facts['model']} ({facts['model_id'][:12]}), dataset {facts['dataset']}")
    evaluation = "eval/rates.py" if of_events else "eval/reconstruction.py"
    now_try([evaluation, options.output, "--dataset", options.dataset])


if __name__ == "__main__":
    run_program(main)
