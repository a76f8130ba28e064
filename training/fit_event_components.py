"""Fit principal components of the photon lists of a dataset, as E-t maps or E-t-dt cubes of counts.

    python training/fit_event_components.py outputs/data/default outputs/events_components_2d
    python training/fit_event_components.py outputs/data/default outputs/events_components_3d --cubes

After Dillmann et al. 2025 (arXiv:2412.01150): 15 of maps of 24 x 16 cells, 22 of cubes of 24 x 16 x 16. Fitted on the
split train. Writes a model like any other (its weights and its feature extractor): scripts/embed.py embeds with it.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from chandraclip.program import now_try, run_program

logger = logging.getLogger("fit_event_components")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="folder or Hub id")
    parser.add_argument("output", type=Path, help="folder of the model")
    parser.add_argument("--cubes", action="store_true", help="E-t-dt cubes in place of E-t maps")
    parser.add_argument("--num_components", type=int, help="default: 15 of maps, 22 of cubes")
    parser.add_argument("--dataset_config", help="of the dataset; default: pairs, or its only or default one")
    parser.add_argument("--batch_size", type=int, default=1024, help="rows read at once (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name in ("num_components", "batch_size"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    from accelerate import Accelerator
    from tqdm.auto import tqdm

    from chandraclip.errors import InputFileError
    from chandraclip.models import EventCubeAutoencoderConfig, EventCubeAutoencoderModel, EventCubeFeatureExtractor
    from chandraclip.training.data import load_rows

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    num_interval_bins = 16 if options.cubes else 0
    extractor = EventCubeFeatureExtractor(num_interval_bins=num_interval_bins, normalization="none")
    config = EventCubeAutoencoderConfig(
        architecture="principal_components",
        num_interval_bins=num_interval_bins,
        latent_size=options.num_components or (22 if options.cubes else 15),
    )
    model = EventCubeAutoencoderModel(config)
    splits, _, _ = load_rows(
        options.dataset, {"event": extractor.columns}, Accelerator(cpu=True), config=options.dataset_config
    )
    rows = splits["train"]

    def cells():
        for start in tqdm(range(0, len(rows), options.batch_size), desc="maps", unit="batch", delay=5.0):
            batch = extractor(rows[start : start + options.batch_size], "np")
            yield batch["event_values"][batch["event_mask"]]

    try:
        share = model.fit_components(cells())
    except ValueError as error:
        raise InputFileError(options.dataset, str(error)) from error
    model.save_pretrained(options.output)
    extractor.save_pretrained(options.output)
    logger.info("wrote %s: %d components hold %.1f %% of the variance", options.output, config.latent_size, 100 * share)
    embeddings = Path("outputs/embeddings") / options.output.name / Path(options.dataset).name
    choose = ["--dataset_config", options.dataset_config] if options.dataset_config else []
    now_try(["scripts/embed.py", options.output, options.dataset, embeddings, *choose])


if __name__ == "__main__":
    run_program(main)
