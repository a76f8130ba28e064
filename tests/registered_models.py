"""Every registered family at a small size, and simulated detections that all of them take."""

from __future__ import annotations

from functools import cache
from typing import Any

import pyarrow as pa
import torch
from transformers import CONFIG_MAPPING, PreTrainedModel

from chandraclip.models import (
    FAMILIES,
    ChandraClipConfig,
    ChandraClipModel,
    ChandraClipProcessor,
    EventFeatureExtractor,
    SpectrumFeatureExtractor,
    small_text_config,
    train_tokenizer,
)
from chandraclip.models.contract import make_model
from chandraclip.models.feature_extraction import ResponseFeatureExtractor
from chandraclip.simulate.instrument.response import builtin_instrument

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "latent_size": 8,
    "decoder_hidden_size": 16,
    "num_fit_steps": 2,
    "branch_size": 16,
    "fused_size": 32,
}


def registered() -> list[str]:
    """model_type of every family, and of the aligned model."""
    return [*sorted(FAMILIES), "chandraclip"]


@cache
def detections(num_rows: int = 24) -> pa.Table:
    """Simulated rows; some lack one of spectrum, events and text."""
    from chandraclip.simulate import simulate_chunk

    table = simulate_chunk(3, 0, num_rows)
    for place, column in enumerate(("spectrum_counts", "event_time", "summary")):
        field = table.schema.field(column)
        values = table[column].to_pylist()
        values[3 + place] = None
        if column == "event_time":
            energies = table["event_energy"].to_pylist()
            energies[3 + place] = None
            index = table.schema.get_field_index("event_energy")
            table = table.set_column(
                index, table.schema.field(index), pa.array(energies, table.schema.field(index).type)
            )
        table = table.set_column(table.schema.get_field_index(column), field, pa.array(values, field.type))
    return table


@cache
def processor() -> ChandraClipProcessor:
    texts = [text for text in detections()["summary"].to_pylist() if text]
    return ChandraClipProcessor(SpectrumFeatureExtractor(), EventFeatureExtractor(), train_tokenizer(texts, 400))


def inputs(model_type: str) -> dict[str, Any]:
    """Keyword arguments that give a model of the family its loss: what its own feature extractor makes."""
    if model_type == "chandraclip":
        return {**processor()(detections()), "return_loss": True}
    extractor = FAMILIES[model_type].feature_extractor_class()
    if isinstance(extractor, ResponseFeatureExtractor):
        extractor.use_responses({response.response_id: response for response in builtin_instrument().responses})
    return dict(extractor(detections()))


def build(model_type: str, seed: int = 0) -> PreTrainedModel:
    """A model of the family, of random weights, in evaluation mode."""
    torch.manual_seed(seed)
    if model_type == "chandraclip":
        text = small_text_config(len(processor().tokenizer), hidden_size=32, intermediate_size=32)
        towers = ("spectrum_autoencoder", "event_transformer")
        spectrum, event = (CONFIG_MAPPING[name](**_options(name)) for name in towers)
        return ChandraClipModel(
            ChandraClipConfig(spectrum_config=spectrum, event_config=event, text_config=text)
        ).eval()
    return make_model(model_type, _options(model_type)).eval()


def _options(model_type: str) -> dict[str, Any]:
    return {name: value for name, value in SMALL.items() if hasattr(CONFIG_MAPPING[model_type], name)}


def on_device(batch: dict[str, Any], device: str) -> dict[str, Any]:
    return {name: value.to(device) if torch.is_tensor(value) else value for name, value in batch.items()}
