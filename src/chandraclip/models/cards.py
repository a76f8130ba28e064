"""What a card says of a model by itself: what it is, how to load it, and that nothing else is known of it."""

from __future__ import annotations

import inspect
import re
from importlib.resources import files
from string import Template
from typing import Any

from huggingface_hub import ModelCardData

CARD_FILE = "README.md"
BLANK = "More Information Needed"  # of the card that transformers makes
TAGS = ("astronomy", "x-ray", "chandra", "chandraclip")

USAGE = """\
extractor = transformers.AutoFeatureExtractor.from_pretrained(path)
latents = model.encode(**extractor(rows))"""
PROCESSOR_USAGE = """\
processor = transformers.AutoProcessor.from_pretrained(path)
output = model(**processor(rows))  # spectrum_embeds, event_embeds, text_embeds: unit vectors, one a row"""


def plain_card(model: Any, path: str, weights: str, has_processor: bool) -> str:
    """The card of a model of whose training nothing is recorded.

    Args:
        model: made in memory, or trained on since it was loaded.
        path: name to load it by.
        weights: their SHA-256.
        has_processor: one is saved beside it.
    """
    config, origin = model.config, model.origin
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="feature-extraction",
        tags=[*TAGS, config.model_type],
        base_model=origin.repo_id if origin and origin.repo_id != path else None,
    )
    started = "It was made in memory, not loaded from a trained model."
    if origin:
        started = f"It was loaded from `{origin.name}`; scores told of that one were not measured with these weights."
    body = Template((files("chandraclip") / "templates" / "plain_model_card.md").read_text()).substitute(
        title=title(config.model_type),
        description=description(type(model)),
        usage=f"rows = [...]  # detections as dicts, or dataset[:8]\n{usage(type(model))}" if has_processor else "",
        path=path,
        num_parameters=f"{model.num_parameters():,}",
        weights=weights,
        started=started,
        processor="" if has_processor else "\nNo processor was published with it.\n",
    )
    return with_header(data, body)


def with_header(data: ModelCardData, body: str) -> str:
    """A card: YAML, then the text."""
    return f"---\n{data.to_yaml()}\n---\n\n{body}"


def title(model_type: str) -> str:
    """The heading of a card."""
    rest = model_type.removeprefix("chandraclip").replace("_", " ").strip()
    return f"ChandraCLIP {rest}".strip()


def description(model_class: type) -> str:
    """What the class says of itself: the paragraphs of its docstring before any list of arguments or attributes."""
    return re.split(r"\n\n(?:Args|Attributes):", inspect.getdoc(model_class) or "")[0]


def usage(model_class: type) -> str:
    """Lines of code that make inputs from `rows` and call a model of the class loaded from `path`."""
    return USAGE if hasattr(model_class, "feature_extractor_class") else PROCESSOR_USAGE
