"""Pre-train the event transformer on the photon lists of a dataset.

    accelerate launch training/pretrain_events.py --dataset outputs/data/default --output_dir outputs/events

Writes the model with the best validation loss, its feature extractor, train_config.yaml, metrics.json and a model card.
A run that was killed goes on from its newest checkpoint.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from chandraclip.data.sampler import BatchSampler
from chandraclip.models import EventFeatureExtractor, EventTransformerConfig, EventTransformerModel
from chandraclip.training.arguments import RunArguments, option, parse_arguments
from chandraclip.training.data import BatchLoader, default_dataset, load_rows, validation_batches, validation_rows
from chandraclip.training.distributed import make_accelerator, run_program
from chandraclip.training.model_card import write_model_card
from chandraclip.training.optimizer import build_optimizer
from chandraclip.training.run import Run
from chandraclip.training.step import train_step
from chandraclip.training.validation import mean_loss

logger = logging.getLogger("pretrain_events")

DEFAULT_CONFIG = Path(__file__).parent / "configs" / "pretrain_events.yaml"


@dataclass
class EventArguments(RunArguments):
    """Options of the pre-training of the event transformer."""

    output_dir: str = option("outputs/events", "where the model, checkpoints and logs go")


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(EventArguments, DEFAULT_CONFIG, argv)
    accelerator = make_accelerator()
    dataset = arguments.dataset or default_dataset(arguments.num_detections, arguments.simulation_seed, accelerator)
    splits, dataset_id = load_rows(dataset, ["event"], accelerator)
    run = Run(arguments, {"dataset": dataset_id}, accelerator, metric_for_best_model="loss", greater_is_better=False)
    if run.finished:
        logger.info("%s is finished already", run.folder)
        return

    torch.manual_seed(arguments.seed)
    extractor = EventFeatureExtractor()
    model = EventTransformerModel(EventTransformerConfig(**arguments.model_config)).to(accelerator.device)
    optimizer = build_optimizer(model, arguments.learning_rate, arguments.weight_decay)
    run.resume(model, optimizer)
    network, optimizer = accelerator.prepare(model, optimizer)

    # Any two lists may share a batch: nothing is contrasted.
    sampler = BatchSampler(np.arange(len(splits["train"])), arguments.batch_size, arguments.seed)
    loader = BatchLoader(splits["train"], sampler, extractor, accelerator, arguments.prefetch)
    held_out = validation_rows(splits["validation"], arguments.max_validation_rows)

    def validate() -> dict[str, float]:
        batches = validation_batches(held_out, extractor, accelerator, arguments.batch_size)
        return {"loss": mean_loss(model, batches, "event_mask", accelerator)}

    run.describe(model, sampler)
    with run.tracker() as tracker:
        for step, batch in loader.steps(run.state.step, arguments.max_steps):
            values = train_step(accelerator, network, optimizer, batch, step, arguments)
            validation = validate() if run.is_due(step, arguments.eval_steps) else None
            run.end_step(step, tracker, values, validation, model, optimizer)

    run.load_best(model)
    metrics = {"validation": validate()}
    if accelerator.is_main_process:
        model.save_pretrained(run.folder)
        extractor.save_pretrained(run.folder)
        write_model_card(run, "event_transformer", dataset, metrics, len(splits["train"]))
        logger.info(
            "%s: validation loss %.4f (step %d)", run.folder, metrics["validation"]["loss"], run.state.best_step
        )
    run.finish(metrics)


if __name__ == "__main__":
    run_program(main)
