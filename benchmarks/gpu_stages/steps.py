"""One optimizer step of each model, its batch on the device: what the arithmetic of a run costs without its data."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from gpu_stages.data import training_rows
from gpu_stages.job import Job, median_seconds, mfu, peak_memory_gib, reset_peak_memory, row


def spectrum_step(job: Job) -> list[dict[str, Any]]:
    """Every family of spectra at its default size."""
    from chandraclip.models.contract import FAMILIES, families_of, make_feature_extractor, make_model
    from chandraclip.models.feature_extraction import use_responses_of

    table = training_rows(job, job.how_much.spectrum_batch)
    rows = []
    for family in families_of("spectrum"):
        extractor = make_feature_extractor(FAMILIES[family], {})
        if extractor.reads_responses and not (job.dataset / "responses").is_dir():
            rows.append(row(f"{family} step", note="needs the packaged dataset: its responses"))
            continue
        use_responses_of(extractor, job.dataset)
        # What later stages embed with is the default tower.
        name = "spectrum" if family == "spectrum_autoencoder" else family
        batch = extractor(table)
        rows += _measure(job, name, f"{family} step", make_model(family, {}), extractor, batch, table.num_rows)
    return rows


def event_step(job: Job) -> list[dict[str, Any]]:
    """The event transformer of the default size, on whole photon lists."""
    from chandraclip.models import EventFeatureExtractor, EventTransformerConfig, EventTransformerModel

    extractor = EventFeatureExtractor()
    table = training_rows(job, job.how_much.event_batch)
    model = EventTransformerModel(EventTransformerConfig())
    return _measure(job, "events", "event pre-training step", model, extractor, extractor(table), table.num_rows)


def align_step(job: Job) -> list[dict[str, Any]]:
    """The model of `training/align.py`: three towers, joint head, context; at most 256 photons a list."""
    from chandraclip.models import (
        ChandraClipConfig,
        ChandraClipModel,
        ChandraClipProcessor,
        EventFeatureExtractor,
        SpectrumFeatureExtractor,
    )
    from chandraclip.training.text_tower import load_text_tower

    table = training_rows(job, job.how_much.align_batch)
    tower, tokenizer = load_text_tower(None, table["summary"].to_pylist(), max_length=512)
    events = EventFeatureExtractor(max_events=256)
    context = ["nh_gal", "livetime", "theta"]
    processor = ChandraClipProcessor(SpectrumFeatureExtractor(), events, tokenizer, 512, context=context)
    scale: dict[str, Any] = {"context_mean": [0.5, 4.4, 4.0], "context_std": [0.4, 0.4, 2.5]}
    config = ChandraClipConfig(text_config=tower.config, joint_projection=True, context=context, **scale)
    model = ChandraClipModel(config)
    model.text_encoder.load_state_dict(tower.state_dict())
    batch = {**processor(table), "return_loss": True}
    events.max_events = None  # the saved one reads every photon
    return _measure(job, "align", "alignment step", model, processor, batch, table.num_rows)


def _measure(
    job: Job, name: str, measure: str, model: Any, processor: Any, batch: Mapping[str, Any], num_rows: int
) -> list[dict[str, Any]]:
    """Time `train_step` in bfloat16; leaves model and processor for the stages to come."""
    from accelerate import Accelerator

    from chandraclip.training.arguments import RunArguments
    from chandraclip.training.optimizer import build_optimizer
    from chandraclip.training.step import train_step

    torch.manual_seed(0)
    model.save_pretrained(job.model(name))
    processor.save_pretrained(job.model(name))
    batch = {key: value.to(job.device) if isinstance(value, Tensor) else value for key, value in batch.items()}
    model = model.to(job.device)
    flops = count_flops(model, batch)
    job.keep_flops(name, flops)

    accelerator = Accelerator(mixed_precision="bf16", cpu=job.device == "cpu")
    arguments = RunArguments(max_steps=10_000, warmup_steps=5, learning_rate=1e-4)
    optimizer = build_optimizer(model, arguments.learning_rate, arguments.weight_decay)
    network, optimizer = accelerator.prepare(model, optimizer)
    losses: list[float] = []

    def one_step() -> None:
        losses.append(train_step(accelerator, network, optimizer, [batch], len(losses), arguments)["loss"])

    reset_peak_memory(job)
    seconds = median_seconds(one_step, job)
    photons = f", {len(batch['event_values']):,} photons" if "event_values" in batch else ""
    return [
        row(
            measure,
            f"{num_rows:,} rows{photons}, {sum(parameter.numel() for parameter in model.parameters()):,} parameters",
            dtype="bf16",
            seconds=seconds,
            throughput=num_rows / seconds,
            unit="rows/s",
            flops=flops,
            mfu=mfu(flops, seconds, job),
            peak_memory_gib=peak_memory_gib(job),
            note=f"batch on the device; loss {losses[0]:.3g} to {losses[-1]:.3g} in {len(losses)} steps",
        )
    ]


def count_flops(model: nn.Module, batch: Mapping[str, Any]) -> float:
    """FLOPs of forward and backward, by the matrix products of plain attention in float32.

    Fused kernels are not all known to the counter, and do the same arithmetic.
    """
    plain = copy.deepcopy(model).train()
    for module in plain.modules():
        if isinstance(module, PreTrainedModel):
            module.config._attn_implementation = "eager"
    with FlopCounterMode(display=False) as counter:
        plain(**batch).loss.backward()
    return float(counter.get_total_flops())
