"""Pre-train a model of one modality on a dataset: any registered family.

    accelerate launch training/pretrain.py --config training/configs/spectrum_autoencoder.yaml
    accelerate launch training/pretrain.py --config training/configs/events_transformer.yaml --dataset FOLDER_OR_HUB_ID

Writes the model with the best validation loss, its feature extractor, train_config.yaml, metrics.json and a model card.
A run that was killed goes on from its newest checkpoint.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from chandraclip.program import now_try, run_program
from chandraclip.training.arguments import RunArguments, mapping_option, option, parse_arguments

logger = logging.getLogger("pretrain")

CONFIGS = Path(__file__).parent / "configs"
SCHEDULES = ("cosine", "plateau")


@dataclass
class PretrainArguments(RunArguments):
    """Options of a pre-training."""

    program: ClassVar[str] = "pretrain.py"

    model_type: str = option("", "the family, as its configuration names it; the files of training/configs give it")
    feature_extractor_options: str = option("{}", "options of the feature extractor, a mapping in YAML or JSON")
    training_options: str = option(
        "{}", "options of the family's own training, if it has any: a mapping in YAML or JSON"
    )
    schedule: str = option("cosine", f"of the learning rate: {' or '.join(SCHEDULES)}, which has no warm-up")
    plateau_patience: int = option(50, "epochs without a better training loss, after which the learning rate falls")
    plateau_factor: float = option(0.5, "what it is multiplied by then")
    adam_beta2: float = option(0.98, "of AdamW, the decay of the mean squared gradient")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model_type:
            files = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.yaml") if file.stem != "align"))
            raise ValueError(f"give --config training/configs/NAME.yaml (NAME of {files}), or --model_type")
        _ = self.feature_extractor_config, self.training_config
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {SCHEDULES}, it is {self.schedule!r}")
        if not (0 < self.plateau_factor < 1 and self.plateau_patience >= 0 and 0 < self.adam_beta2 < 1):
            raise ValueError("plateau_factor and adam_beta2 must lie in (0, 1), plateau_patience must not be negative")

    @property
    def feature_extractor_config(self) -> dict[str, Any]:
        """`feature_extractor_options` as a dict."""
        return mapping_option("feature_extractor_options", self.feature_extractor_options)

    @property
    def training_config(self) -> dict[str, Any]:
        """`training_options` as a dict."""
        return mapping_option("training_options", self.training_options)


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(PretrainArguments, None, argv)

    # Slow to import: --help is not.
    import torch

    from chandraclip.models.contract import make_feature_extractor, make_model, plan_training
    from chandraclip.models.feature_extraction import use_responses_of
    from chandraclip.training.data import (
        BatchLoader,
        default_dataset,
        load_rows,
        validation_batches,
        validation_rows,
    )
    from chandraclip.training.distributed import make_accelerator
    from chandraclip.training.model_card import write_model_card
    from chandraclip.training.optimizer import build_optimizer
    from chandraclip.training.plan import StagedSampler
    from chandraclip.training.plateau import Plateau
    from chandraclip.training.run import Run
    from chandraclip.training.step import train_step
    from chandraclip.training.validation import mean_loss

    accelerator = make_accelerator(arguments)
    torch.manual_seed(arguments.seed)
    model = make_model(arguments.model_type, arguments.model_config).to(accelerator.device)
    extractor = make_feature_extractor(type(model), arguments.feature_extractor_config)
    model.check_feature_extractor(extractor)
    dataset = arguments.dataset or default_dataset(
        arguments.num_detections, arguments.simulation_seed, accelerator, beside=arguments.output_dir
    )
    splits, dataset_id, bad_rows = load_rows(
        dataset,
        {model.modality: extractor.columns},
        accelerator,
        config=arguments.dataset_config,
        optional=extractor.optional_columns,
    )
    use_responses_of(extractor, dataset)
    plan = plan_training(model, splits["train"], arguments.seed, arguments.training_config)
    sampler = StagedSampler(dataset, plan, arguments.batch_size, arguments.seed)
    run = Run(arguments, {"dataset": dataset_id}, accelerator, metric_for_best_model="loss", greater_is_better=False)
    embeddings = Path("outputs/embeddings") / run.folder.name / Path(dataset).name
    config = ["--dataset_config", arguments.dataset_config] if arguments.dataset_config else []
    now_try(
        ["scripts/embed.py", run.folder, dataset, embeddings, *config],
        ["training/align.py", "--dataset", dataset, f"--{model.modality}_model_name_or_path", run.folder, *config],
    )
    if run.finished:
        logger.info("%s is finished already", run.folder)
        return

    optimizer = build_optimizer(
        model, arguments.learning_rate, arguments.weight_decay, plan.learning_rate_scales, arguments.adam_beta2
    )
    run.resume(model, optimizer)
    plateau = None
    if arguments.schedule == "plateau":
        plateau = Plateau(
            arguments.learning_rate, arguments.plateau_factor, arguments.plateau_patience, run.state.plateau
        )
    network, optimizer = accelerator.prepare(model, optimizer)

    loader = BatchLoader(
        plan.rows, sampler, extractor, accelerator, arguments.prefetch, arguments.num_micro_batches, row_numbers=True
    )
    held_out = validation_rows(splits["validation"], arguments.max_validation_rows)

    def validate() -> dict[str, float]:
        batches = validation_batches(held_out, extractor, accelerator, arguments.micro_batch_size)
        return {"loss": mean_loss(model, batches, f"{model.modality}_mask", accelerator)}

    run.describe(model, sampler)
    with run.tracker() as tracker:
        for step, micro_batches in loader.steps(run.state.step, arguments.max_steps):
            place = sampler.place(step)
            if place.begins and step:
                optimizer.state.clear()
                if plateau is not None:
                    plateau.begin()
            values = train_step(
                *(accelerator, network, optimizer, micro_batches, step, arguments),
                learning_rate=None if plateau is None else plateau.learning_rate,
                frozen=place.stage.frozen,
            )
            if plateau is not None:
                plateau.end_step(values["loss"], place.ends_epoch)
            validation = validate() if run.is_due(step, arguments.eval_steps) else None
            run.end_step(step, tracker, values, validation, model, optimizer)

    run.load_best(model)
    metrics = {"validation": validate()}
    if accelerator.is_main_process:
        model.save_pretrained(run.folder)
        extractor.save_pretrained(run.folder)
        write_model_card(run, dataset, metrics, len(plan.rows))
        logger.info(
            "wrote %s: validation loss %.4f (step %d)", run.folder, metrics["validation"]["loss"], run.state.best_step
        )
    run.finish({**metrics, "bad_rows": bad_rows})


if __name__ == "__main__":
    run_program(main)
