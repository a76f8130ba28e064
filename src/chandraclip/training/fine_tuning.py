"""An aligned model to go on from, in place of towers and new heads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from chandraclip.errors import InputFileError, OptionError

if TYPE_CHECKING:
    from chandraclip.models import ChandraClipModel, ChandraClipProcessor


# Options of the alignment that say which towers and heads a new model has.
TOWER_OPTIONS = (
    "spectrum_model_name_or_path",
    "event_model_name_or_path",
    "text_model_name_or_path",
    "spectrum_config",
    "event_config",
    "text_tower",
    "context",
    "joint_projection",
)
SHAPE_OPTIONS = ("projection_dim", "text_pooling", "max_text_length")


def refuse_other_towers(arguments: Any) -> None:
    """
    Args:
        arguments: options of an alignment with `model_name_or_path`.

    Raises:
        ValueError: they name a tower, a context or a joint head, too, or their output_dir is the model.
    """
    given = [name for name in TOWER_OPTIONS if getattr(arguments, name) is not None]
    if given:
        raise ValueError(f"model_name_or_path has its own towers and heads; leave out {', '.join(given)}")
    if Path(arguments.output_dir).resolve() == Path(arguments.model_name_or_path).resolve():
        raise ValueError(f"output_dir is the model to start from, {arguments.output_dir}; choose another one")


def load_aligned_model(arguments: Any, modalities: Sequence[str]) -> tuple[ChandraClipModel, ChandraClipProcessor]:
    """A ChandraCLIP model with its towers, heads and temperature, and its processor with the tokenizer.

    The loss is the run's (regularizer, gamma, pair_weights), and so are text_training and, where given, temperature.

    Args:
        arguments: options of an alignment with `model_name_or_path`.
        modalities: that the run aligns.

    Raises:
        InputFileError: no aligned model and its processor load from there.
        OptionError: it lacks a modality or a joint head that is weighted, or has another projection_dim, text_pooling,
            max_text_length or other model_options than the arguments say.
    """
    from transformers import AutoConfig

    from chandraclip.losses import JOINT
    from chandraclip.models import ChandraClipConfig, ChandraClipModel, ChandraClipProcessor

    path = arguments.model_name_or_path
    try:
        config = AutoConfig.from_pretrained(path)
        if not isinstance(config, ChandraClipConfig):
            raise InputFileError(path, f"is a {config.model_type}; model_name_or_path takes an aligned model")
        processor = ChandraClipProcessor.from_pretrained(path)
    except (OSError, ValueError) as error:
        if isinstance(error, InputFileError):
            raise
        raise InputFileError(path, f"no aligned model and processor load from here ({error})") from error
    missing = [name for name in modalities if name not in config.modalities]
    if missing:
        raise OptionError(
            f"{path} has no {' and no '.join(missing)} tower; give --modalities {' '.join(config.modalities)}"
        )
    has = {**config.to_dict(), "max_text_length": processor.max_text_length}
    asked = {name: getattr(arguments, name) for name in SHAPE_OPTIONS} | arguments.model_config
    contradictions = [
        f"{name} {value} is asked for, the model has {has.get(name)}"
        for name, value in asked.items()
        if value is not None and has.get(name) != value
    ]
    if contradictions:
        raise OptionError(f"{path} cannot be fine-tuned so: {'; '.join(contradictions)}; leave out what it has already")
    if not config.joint_projection and f"{JOINT}_text" in (arguments.loss_options["pair_weights"] or {}):
        raise OptionError(f"{path} has no joint head, so pair_weights cannot name {JOINT}_text")
    for name, value in arguments.loss_options.items():
        setattr(config, name, value)
    if arguments.text_training != "auto":
        config.freeze_text = arguments.text_training == "frozen"
    model = ChandraClipModel.from_pretrained(path, config=config, dtype=torch.float32)
    if arguments.temperature is not None:
        torch.nn.init.constant_(model.logit_scale, math.log(1 / arguments.temperature))
    return model, processor
