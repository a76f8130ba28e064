"""Align spectra, photon lists and texts in one space: the main job.

    accelerate launch training/align.py
    accelerate launch training/align.py --dataset FOLDER_OR_HUB_ID --text_model_name_or_path FOLDER_OR_HUB_ID

With no argument it makes what it needs, once each: the simulated dataset (outputs/data/default) and the pretrained
spectrum and event towers (outputs/spectrum, outputs/events), beside the output folder whichever that is; a small text
tower is trained along. docs/your_data.md says what a dataset of your own needs. It writes the model
with the best validation retrieval, its processor, train_config.yaml, metrics.json and a model card to outputs/align. A
run that was killed goes on from its newest checkpoint.
"""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pretrain
from chandraclip.errors import InputFileError
from chandraclip.program import now_try, run_program
from chandraclip.training.align_arguments import AlignArguments
from chandraclip.training.arguments import METRICS_FILE, MODALITIES, parse_arguments, read_yaml

if TYPE_CHECKING:
    from accelerate import Accelerator

    from chandraclip.models.contract import TowerModel
    from chandraclip.training.stages import Stages

logger = logging.getLogger("align")

DEFAULT_CONFIGS = "spectrum_autoencoder", "events_transformer"
WITHOUT_CONTEXT = "test without context"
DEFAULT_CONFIG = Path(__file__).parent / "configs" / "align.yaml"


def tower_source(kind: str, arguments: AlignArguments) -> tuple[str, Path]:
    """Folder or Hub id of a tower, the one asked for or else the one beside output_dir; and the file it is pretrained
    with if it is not there yet."""
    asked, folder, config, family = {
        "spectrum": (arguments.spectrum_model_name_or_path, "spectrum", arguments.spectrum_config, DEFAULT_CONFIGS[0]),
        "event": (arguments.event_model_name_or_path, "events", arguments.event_config, DEFAULT_CONFIGS[1]),
    }[kind]
    beside = str(Path(arguments.output_dir).parent / folder)
    return asked or beside, Path(config) if config else pretrain.CONFIGS / f"{family}.yaml"


def tower_family(kind: str, arguments: AlignArguments) -> type[TowerModel]:
    """The model class of a tower, before it is pretrained.

    Raises:
        InputFileError: the model asked for does not load, the file names no family of the modality, or the family has
            no encoder.
    """
    from chandraclip.models.contract import FAMILIES, families_of, load_tower, no_encoder

    source, config = tower_source(kind, arguments)
    if is_to_pretrain(kind, arguments):
        model_type = read_yaml(config).get("model_type")
        if model_type not in families_of(kind):
            raise InputFileError(config, f"model_type must be one of {families_of(kind)}, it is {model_type!r}")
        family, named_by = FAMILIES[model_type], str(config)
    else:
        family, named_by = type(load_tower(source, kind)), source
    if family.encoder_class is None:
        raise InputFileError(named_by, no_encoder(family))
    return family


def is_given(kind: str, arguments: AlignArguments) -> bool:
    """Whether a tower is asked for by folder or Hub id."""
    return bool(arguments.spectrum_model_name_or_path if kind == "spectrum" else arguments.event_model_name_or_path)


def is_to_pretrain(kind: str, arguments: AlignArguments) -> bool:
    """Whether a tower is pretrained here: none is asked for, and none is beside output_dir, or options are given."""
    if is_given(kind, arguments):
        return False
    options_given = arguments.pretrain_max_steps is not None or arguments.pretrain_batch_size is not None
    return options_given or not (Path(tower_source(kind, arguments)[0]) / METRICS_FILE).exists()


def pretrained_tower(kind: str, dataset: str, arguments: AlignArguments, stages: Stages) -> str:
    """Folder or Hub id of a tower, pretrained now if need be."""
    source, config = tower_source(kind, arguments)
    stages.begin(source)
    if is_to_pretrain(kind, arguments):  # a folder that holds a pre-training with other options is refused there
        options = {
            "dataset_config": arguments.dataset_config,
            "max_steps": arguments.pretrain_max_steps,
            "batch_size": arguments.pretrain_batch_size,
        }
        given = [f"--{name}={value}" for name, value in options.items() if value is not None]
        pretrain.main(["--config", str(config), "--dataset", dataset, "--output_dir", source, *given])
    elif (file := Path(source) / METRICS_FILE).is_file():
        steps = json.loads(file.read_text()).get("max_steps")
        logger.info("the %s tower is the one of %s, pre-trained for %s steps", kind, source, steps)
    return source


def planned_stages(arguments: AlignArguments, modalities: list[str], simulated: Path) -> list[tuple[str, str | Path]]:
    """(what, output folder) of all that is made here, in order: the dataset and the towers not given, the model."""
    stages: list[tuple[str, str | Path]] = []
    if arguments.dataset is None:
        stages.append(("simulate the dataset", simulated))
    for kind in modalities:
        if kind != "text" and not is_given(kind, arguments) and not arguments.model_name_or_path:
            stages.append((f"pre-train the {kind} tower", tower_source(kind, arguments)[0]))
    return [*stages, (f"align {', '.join(modalities)}", arguments.output_dir)]


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(AlignArguments, DEFAULT_CONFIG, argv)

    # Slow to import: --help is not.
    import torch
    from tqdm.auto import tqdm

    from chandraclip.data.sampler import conflict_groups
    from chandraclip.data.schema import MODALITY_COLUMNS
    from chandraclip.losses import JOINT
    from chandraclip.model_folder import model_folder, model_id
    from chandraclip.models import (
        ChandraClipConfig,
        ChandraClipModel,
        ChandraClipProcessor,
        EventFeatureExtractor,
        SpectrumFeatureExtractor,
    )
    from chandraclip.models.contract import TOWER_MODALITIES, check_options, load_feature_extractor, load_tower
    from chandraclip.models.feature_extraction import use_responses_of
    from chandraclip.training.data import (
        DATA_FOLDER,
        BatchLoader,
        Processor,
        batch_sampler,
        context_scale,
        default_dataset,
        load_rows,
        validation_batches,
        validation_rows,
    )
    from chandraclip.training.distributed import make_accelerator
    from chandraclip.training.fine_tuning import load_aligned_model
    from chandraclip.training.model_card import public_name, write_model_card
    from chandraclip.training.optimizer import build_optimizer
    from chandraclip.training.run import Run
    from chandraclip.training.stages import Stages
    from chandraclip.training.step import train_step
    from chandraclip.training.text_tower import add_lora, cached_text_features, load_text_tower, merge_lora
    from chandraclip.training.validation import embed, retrieval

    check_options(ChandraClipConfig, arguments.model_config)
    accelerator = make_accelerator(arguments, find_unused_parameters=arguments.foreign_text)
    modalities = [name for name in MODALITIES if name in arguments.modalities]
    kinds = [name for name in modalities if name in TOWER_MODALITIES]
    simulated = Path(arguments.output_dir).parent / DATA_FOLDER
    stages = Stages(planned_stages(arguments, modalities, simulated), accelerator.is_main_process)
    stages.begin(arguments.dataset or simulated)
    dataset = arguments.dataset or default_dataset(
        arguments.num_detections, arguments.simulation_seed, accelerator, beside=arguments.output_dir
    )
    aligned = load_aligned_model(arguments, modalities) if arguments.model_name_or_path else None
    # The data, before any pre-training: what cannot be aligned is said at once.
    if aligned is not None:
        readers = {kind: type(getattr(aligned[1], f"{kind}_feature_extractor")) for kind in kinds}
    else:
        readers = {kind: tower_family(kind, arguments).feature_extractor_class for kind in kinds}
    columns = {kind: reader.columns for kind, reader in readers.items()}
    if "text" in modalities:
        columns["text"] = MODALITY_COLUMNS["text"]
    splits, dataset_id, bad_rows = load_rows(
        dataset,
        columns,
        accelerator,
        at_least=2,
        config=arguments.dataset_config,
        optional=[name for reader in readers.values() for name in reader.optional_columns],
        context=aligned[1].context if aligned is not None else arguments.context_columns,
    )
    texts = {name: rows["summary"].to_pylist() if "text" in modalities else [None] * len(rows)
             for name, rows in splits.items()}  # fmt: skip
    # No two rows of one source, or with one text, in a batch; they would be each other's false negatives.
    groups = conflict_groups(splits["train"].with_format(None)["name"], texts["train"])
    sampler = batch_sampler(dataset, groups, arguments.batch_size, arguments.seed)

    if aligned is not None:
        sources = {"model": str(arguments.model_name_or_path)}
        towers: dict[str, Any] = {}
        extractors: dict[str, Any] = {kind: getattr(aligned[1], f"{kind}_feature_extractor") for kind in kinds}
    else:
        sources = {kind: pretrained_tower(kind, dataset, arguments, stages) for kind in kinds}
        towers = {kind: load_tower(source, kind) for kind, source in sources.items()}
        extractors = {kind: load_feature_extractor(source, type(towers[kind])) for kind, source in sources.items()}
    for extractor in extractors.values():
        use_responses_of(extractor, dataset)
    stages.begin(arguments.output_dir)
    inputs = {"dataset": dataset_id} | {kind: model_id(model_folder(path)) for kind, path in sources.items()}
    assert arguments.metric_for_best_model is not None  # __post_init__ has set it
    run = Run(arguments, inputs, accelerator, arguments.metric_for_best_model, greater_is_better=True)
    embeddings = Path("outputs/embeddings") / run.folder.name / Path(dataset).name
    config = ["--dataset_config", arguments.dataset_config] if arguments.dataset_config else []
    now_try(["scripts/embed.py", run.folder, dataset, embeddings, *config])
    if run.finished:
        logger.info("%s is finished already", run.folder)
        print_table(json.loads((run.folder / METRICS_FILE).read_text()), accelerator)
        return

    # The model: pretrained towers, new heads, and a text tower.
    torch.manual_seed(arguments.seed)
    given, training = arguments.text_model_name_or_path, arguments.text_training
    if training == "auto":
        training = "frozen" if given or (aligned is not None and aligned[0].config.freeze_text) else "full"
    if aligned is not None:
        model, processor = aligned
    else:
        new = arguments.new_model
        text_tower, tokenizer = load_text_tower(
            given, texts["train"], new["max_text_length"], arguments.text_dropout, arguments.small_tower
        )
        context = context_scale(splits["train"], arguments.context_columns)
        processor = ChandraClipProcessor(
            extractors.get("spectrum") or SpectrumFeatureExtractor(),
            extractors.get("event") or EventFeatureExtractor(),
            tokenizer,
            max_text_length=new["max_text_length"],
            modalities=modalities,
            context=context.names,
        )
        model = ChandraClipModel.from_pretrained_towers(
            towers.get("spectrum"),
            towers.get("event"),
            text_tower if "text" in modalities else None,
            projection_dim=new["projection_dim"],
            logit_scale_init_value=math.log(1 / new["temperature"]),
            text_pooling=new["text_pooling"],
            freeze_text=training == "frozen",
            joint_projection=len(modalities) == len(MODALITIES) and arguments.joint_projection is not False,
            context=context.names,
            context_mean=context.mean,
            context_std=context.std,
            **arguments.loss_options,
            **arguments.model_config,
        )
    model.to(accelerator.device)
    for name in set(model.config.modalities) - set(modalities):  # not run, hence not trained
        model.get_submodule(f"{name}_encoder").requires_grad_(False)
        model.get_submodule(f"{name}_projection").requires_grad_(False)
    aligned_names = [name for name in model.config.aligned if name in (*modalities, JOINT)]
    if JOINT in aligned_names and "text" not in modalities:  # its one partner
        aligned_names.remove(JOINT)
        model.get_submodule(f"{JOINT}_projection").requires_grad_(False)
    # The longest lists hold most of the photons and the time. The model that is saved reads every photon again.
    events: Any = extractors.get("event")
    max_events = getattr(events, "max_events", None)
    if hasattr(events, "max_events"):
        events.max_events = arguments.max_train_events or max_events
    prepare: Processor = processor
    if training == "frozen" and "text" in modalities:
        known = [text for split in texts.values() for text in split]
        prepare = cached_text_features(model, processor, known, run.folder / "checkpoints", accelerator)
    if training == "lora" and "text" in modalities:
        add_lora(model, arguments.lora_rank)
    tower_scale = arguments.tower_learning_rate_scale
    for kind in kinds if tower_scale == 0 else ():
        model.get_submodule(f"{kind}_encoder").requires_grad_(False)
    optimizer = build_optimizer(
        model, arguments.learning_rate, arguments.weight_decay, {f"{kind}_encoder.": tower_scale for kind in kinds}
    )
    run.resume(model, optimizer)
    network, optimizer = accelerator.prepare(model, optimizer)

    loader = BatchLoader(
        splits["train"], sampler, prepare, accelerator, arguments.prefetch, arguments.num_micro_batches
    )

    def evaluate(split: str, max_rows: int, with_context: bool = True) -> dict[str, float]:
        rows = validation_rows(splits[split], max_rows)
        batches = validation_batches(rows, prepare, accelerator, arguments.micro_batch_size)
        total = math.ceil(len(rows) / arguments.micro_batch_size / accelerator.num_processes)
        hidden = not accelerator.is_main_process
        if not with_context:
            batches = ((part, without(batch, "context_values")) for part, batch in batches)
        shown = tqdm(batches, split, total, leave=False, unit="batch", delay=5, disable=hidden)  # where it takes long
        embeddings = embed(model, shown, aligned_names, len(rows), accelerator)
        return retrieval(embeddings, rows["summary"].to_pylist() if "text" in modalities else [None] * len(rows))

    run.describe(model, sampler)
    with run.tracker() as tracker:
        for step, micro_batches in loader.steps(run.state.step, arguments.max_steps):
            values = train_step(accelerator, network, optimizer, micro_batches, step, arguments)
            validation = None
            if run.is_due(step, arguments.eval_steps):
                validation = evaluate("validation", arguments.max_validation_rows)
            run.end_step(step, tracker, values, validation, model, optimizer)

    run.load_best(model)
    if hasattr(events, "max_events"):
        events.max_events = max_events
    metrics: dict[str, dict[str, float]] = {
        name: evaluate(name, len(splits[name])) for name in ("validation", "test") if name in splits
    }
    if model.config.context and "test" in splits:
        metrics[WITHOUT_CONTEXT] = evaluate("test", len(splits["test"]), with_context=False)
    if accelerator.is_main_process:
        merge_lora(model)
        model.save_pretrained(run.folder)
        processor.save_pretrained(run.folder)
        starts = [public_name(source) for source in sources.values()]
        if aligned is not None:
            started_from = f"the aligned model {starts[0]}, with its towers, heads and temperature (fine-tuning)"
        else:
            families = [f"{start} ({towers[kind].config.model_type})" for start, kind in zip(starts, sources)]
            text = [public_name(given) if given else "a text tower trained along"] if "text" in modalities else []
            started_from = ", ".join([*families, *text])
        write_model_card(run, dataset, metrics, len(splits["train"]), f"It started from {started_from}.")
    run.finish({**metrics, "bad_rows": bad_rows})
    logger.info("wrote %s", run.folder)
    print_table(metrics, accelerator)


def without(batch: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in batch.items() if name != key}


def print_table(metrics: dict[str, Any], accelerator: Accelerator) -> None:
    """Retrieval on validation and test, one line a direction; chance is 1 %, 5 % and 50 %."""
    if not accelerator.is_main_process:
        return
    print(f"{'split':<22}{'direction':<16}{'recall@1%':>10}{'recall@5%':>10}{'median rank':>13}{'pool':>7}")
    for split in ("validation", "test", WITHOUT_CONTEXT):
        values = metrics.get(split, {})
        for pair in dict.fromkeys(name.split("/")[0] for name in values):
            one, five, median, pool = (
                values[f"{pair}/{name}"] for name in ("recall@1%", "recall@5%", "median_rank_share", "num_candidates")
            )
            direction = pair.replace("_", " -> ")
            print(f"{split:<22}{direction:<16}{one:>10.1%}{five:>10.1%}{median:>13.1%}{pool:>7.0f}")
    print(f"{'chance':<38}{0.01:>10.1%}{0.05:>10.1%}{0.5:>13.1%}")


if __name__ == "__main__":
    run_program(main)
