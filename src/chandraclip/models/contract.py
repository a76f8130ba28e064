"""What a family of encoders is: one modality, one feature extractor, latents, a loss to pre-train on.

A family is one folder with a configuration and a `TowerModel`, and one line of registration in `models/__init__.py`.
Training, embedding and `ChandraClipModel` ask the class; none of them has a list of families.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from transformers import (
    CONFIG_MAPPING,
    MODEL_MAPPING,
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    PreTrainedConfig,
    PreTrainedModel,
)

from chandraclip.catalog.ragged import Ragged
from chandraclip.errors import InputFileError
from chandraclip.models.feature_extraction import ColumnFeatureExtractor
from chandraclip.models.layers import ChandraPreTrainedModel

# What a tower may read; text towers are any `AutoModel` encoder.
TOWER_MODALITIES = ("spectrum", "event")
FAMILIES: dict[str, type[TowerModel]] = {}


@dataclass(frozen=True)
class TrainingStage:
    """A part of a pre-training.

    Attributes:
        num_steps: of the stage; None for the last one, which goes on to the end of the run.
        rows: (n,) int64 numbers of the rows that are drawn; None for all.
        frozen: beginnings of the names of parameters that stay as they are.
    """

    num_steps: int | None = None
    rows: np.ndarray | None = None
    frozen: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingPlan:
    """What a family's pre-training has beyond the loop that all share.

    Attributes:
        rows: a dataset in Arrow format to train on; batches have its row numbers as `row_index`.
        stages: one after the other, each with an optimizer of its own.
        learning_rate_scales: beginning of a parameter's name -> what its learning rate is multiplied by.
    """

    rows: Any
    stages: tuple[TrainingStage, ...] = (TrainingStage(),)
    learning_rate_scales: Mapping[str, float] = field(default_factory=dict)


class TowerModel(ChandraPreTrainedModel):
    """A model of one modality: trained by itself on its own loss, then a tower of `ChandraClipModel`.

    A subclass sets the four class attributes and `self.encoder`. Its configuration has `latent_size`, and
    `summary_mean` and `summary_std` where its feature extractor gives `<modality>_summary`. Its `forward(**batch)`
    returns `loss` (the mean over the rows of `<modality>_mask`) and `latents`, and accepts keys it does not read.

    Attributes:
        modality: "spectrum" or "event".
        feature_extractor_class: rows of the dataset to the batch; its `columns` are those it reads, the first of which
            says whether a row has the modality.
        encoder_class: made from the configuration alone; called with the batch, returns (B, latent_size) latents,
            finite in rows that lack the modality. Its `main_input_name` is the key that says whether a batch has the
            modality. None for a family without one, which overrides `encode` and cannot be aligned.
        encoder: of `encoder_class`.
        feature_extractor: the one that was saved beside it, where whoever loaded the model set it
            (`load_reconstructing`): a family whose features must be undone to get counts asks it.
    """

    modality: ClassVar[str]
    feature_extractor_class: ClassVar[type[ColumnFeatureExtractor]]
    encoder_class: ClassVar[type[PreTrainedModel] | None]
    encoder: nn.Module
    feature_extractor: ColumnFeatureExtractor | None = None
    fits_latents: ClassVar[bool] = False  # whether `expected_counts` takes fit_steps

    @property
    def latents_hold_rates(self) -> bool:
        """Whether a family that decodes count rates does so in the form that this model has."""
        return True

    def encode(self, *inputs: Tensor, **batch: Tensor) -> Tensor:
        """(B, latent_size) latents; rows that lack the modality have finite ones that mean nothing."""
        return self.encoder(*inputs, **batch)

    def prepare_training(self, rows: Any, seed: int) -> TrainingPlan:
        """What to pre-train on and how; a family with parameters of each row, or with stages, overrides it.

        Args:
            rows: of the training split, in Arrow format.
            seed: of the run.

        Options that follow by name come from `training_options` of `training/pretrain.py`.
        """
        return TrainingPlan(rows)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, latent_size) latents to what the decoder makes of them, (B, N), in units of the features.

        Raises:
            NotImplementedError: the family has no decoder of spectra on the energies of its feature extractor.
        """
        raise NotImplementedError(f"a {self.config.model_type} does not decode to a spectrum")

    def log_rate(self, latents: Tensor, batch: Mapping[str, Tensor], time: Tensor, row: Tensor) -> Tensor:
        """The count rate that the latents of photon lists stand for, where a model that decodes photons is asked.

        Args:
            latents: (B, latent_size), of the lists of `batch`, or of others observed in the same good time.
            batch: of the feature extractor.
            time: (K,) float64, s, with the zero of the dataset's `event_time`.
            row: (K,) int64, the list of each time.

        Returns:
            (K, 3) log of photons/s in the bands s, m and h (0.5-1.2, 1.2-2, 2-7 keV).

        Raises:
            NotImplementedError: the family has no decoder of rates, or this form of it.
        """
        raise NotImplementedError(f"a {self.config.model_type} does not decode to a count rate")

    def expected_photons(self, latents: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, 3) photons a band in the good time of the lists of `batch`: the integral of `exp(log_rate)`.

        Raises:
            NotImplementedError: the family has no decoder of rates, or this form of it.
        """
        raise NotImplementedError(f"a {self.config.model_type} does not decode to a count rate")

    def check_feature_extractor(self, extractor: ColumnFeatureExtractor) -> None:
        """Whether what the extractor gives is what this configuration reads; they have options of their own.

        Raises:
            ValueError: it is not.
        """

    def embedding_outputs(self) -> dict[str, tuple[str, str]]:
        """Column of the embeddings file -> (field of the output, mask in the batch)."""
        return {f"{self.modality}_latents": ("latents", f"{self.modality}_mask")}

    def expected_counts(self, columns: Mapping[str, Any] | pa.Table, batch: Mapping[str, Any]) -> Ragged:
        """What the model expects the detector to have counted; of spectrum families that have a decoder.

        Args:
            columns: the dataset's columns of the rows, as the feature extractor takes them.
            batch: the tensors it made of them; on any device.

        Returns:
            Expected total counts, source and background in the source region, in every channel of spectrum_counts:
            float64 >= 0 in its lengths, a row without a spectrum empty. Whatever the family trains on, the Cash
            statistic of these is the same number for all (`evaluation.reconstruction`).

        Raises:
            NotImplementedError: the family has no decoder of spectra.
        """
        raise NotImplementedError(f"a {self.config.model_type} has no decoder that expects counts")


def register_family(model_class: type[TowerModel]) -> None:
    """Make the Auto classes, training and embedding know a family. Harmless to repeat.

    Raises:
        TypeError: the class lacks what the contract asks for.
    """
    config_class: Any = model_class.config_class
    extractor = getattr(model_class, "feature_extractor_class", None)
    if getattr(model_class, "modality", None) not in TOWER_MODALITIES:
        raise TypeError(f"{model_class.__name__}.modality must be one of {TOWER_MODALITIES}")
    if not getattr(extractor, "columns", None):
        raise TypeError(f"{model_class.__name__}.feature_extractor_class must name the dataset columns it reads")
    if not hasattr(model_class, "encoder_class"):
        raise TypeError(f"{model_class.__name__} has no encoder_class")
    if not hasattr(config_class(), "latent_size"):
        raise TypeError(f"{config_class.__name__} has no latent_size")
    AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
    AutoModel.register(config_class, model_class, exist_ok=True)
    AutoFeatureExtractor.register(config_class, extractor, exist_ok=True)
    FAMILIES[config_class.model_type] = model_class


def families_of(modality: str) -> list[str]:
    """Registered model types of a modality."""
    return sorted(name for name, family in FAMILIES.items() if family.modality == modality)


def tower_class(config: PreTrainedConfig, modality: str) -> type[TowerModel]:
    """The model class of a tower's configuration.

    Raises:
        ValueError: no family of this modality has such a configuration.
    """
    family = MODEL_MAPPING.get(type(config), None)
    if not (isinstance(family, type) and issubclass(family, TowerModel) and family.modality == modality):
        raise ValueError(
            f"a {modality} tower must be of one of the families {families_of(modality)}, not {config.model_type!r}"
        )
    return family


def tower_encoder(config: PreTrainedConfig, modality: str) -> PreTrainedModel:
    """The encoder that an aligned model makes of a tower's configuration.

    Raises:
        ValueError: no family of this modality has such a configuration, or the family has no encoder.
    """
    family = tower_class(config, modality)
    if family.encoder_class is None:
        raise ValueError(no_encoder(family))
    return family.encoder_class(config)


def no_encoder(family: type[TowerModel]) -> str:
    """Why a family without an encoder is not aligned."""
    others = [name for name in families_of(family.modality) if FAMILIES[name].encoder_class is not None]
    model_type = next(name for name, known in FAMILIES.items() if known is family)
    return (
        f"a {model_type} has no encoder: its latents are fitted, list by list, and cannot be "
        f"trained along; a tower may be one of {others}"
    )


def plan_training(model: TowerModel, rows: Any, seed: int, options: Mapping[str, Any]) -> TrainingPlan:
    """The family's plan.

    Args:
        model: new.
        rows, seed: see `TowerModel.prepare_training`.
        options: that its family takes.

    Raises:
        ValueError: options it does not have.
    """
    parameters = inspect.signature(model.prepare_training).parameters
    known = [name for name in parameters if name not in ("rows", "seed")]
    unknown = sorted(set(options) - set(known))
    if unknown:
        has = f"; it has {', '.join(known)}" if known else ""
        raise ValueError(f"the training of a {model.config.model_type} has no option {', '.join(unknown)}{has}")
    return model.prepare_training(rows, seed, **options)


def check_options(config_class: Any, options: Mapping[str, Any]) -> None:
    """A configuration keeps what it does not know without a word; an option that nothing reads is refused here.

    Raises:
        ValueError: options that are no fields of the class.
    """
    known = sorted(name for name in config_class.__dataclass_fields__ if name in config_class.__annotations__)
    unknown = sorted(set(options) - set(known) - {"attn_implementation"})
    if unknown:
        raise ValueError(f"{config_class.model_type} has no option {', '.join(unknown)}; it has {', '.join(known)}")


def make_model(model_type: str, options: Mapping[str, Any]) -> TowerModel:
    """A model with new weights.

    Args:
        model_type: of a registered family.
        options: fields of its configuration.

    Raises:
        ValueError: no such family, or options it does not have.
    """
    if model_type not in FAMILIES:
        raise ValueError(f"model_type must be one of {sorted(FAMILIES)}, it is {model_type!r}")
    config_class = CONFIG_MAPPING[model_type]
    check_options(config_class, options)
    return AutoModel.from_config(config_class(**options))


def make_feature_extractor(model_class: type[TowerModel], options: Mapping[str, Any]) -> ColumnFeatureExtractor:
    """The family's feature extractor.

    Raises:
        ValueError: options it does not have.
    """
    extractor = model_class.feature_extractor_class
    known = [name for name in inspect.signature(extractor).parameters if name != "kwargs"]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"{extractor.__name__} has no option {', '.join(unknown)}; it has {', '.join(known)}")
    return extractor(**options)


def load_tower(source: str | Path, modality: str) -> TowerModel:
    """A pretrained tower from its folder or Hub id.

    Raises:
        InputFileError: nothing loads from there, it is of another modality or of no family, or the file lacks weights
            that its configuration asks for (which transformers would draw at random).
    """
    try:
        config = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise InputFileError(str(source), f"no model loads from here ({error})") from error
    try:
        family = tower_class(config, modality)
    except ValueError as error:
        raise InputFileError(str(source), str(error)) from error
    try:
        loaded: Any = family.from_pretrained(source, dtype=torch.float32, output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputFileError(str(source), f"its weights do not load ({error})") from error
    model, facts = loaded
    missing = sorted(facts["missing_keys"])
    if missing:
        raise InputFileError(str(source), f"lacks the weights {', '.join(missing[:3])} and {len(missing[3:])} more")
    return model


def reconstructs(model_class: type[TowerModel]) -> bool:
    """Whether a family has a decoder that expects counts (`TowerModel.expected_counts`)."""
    return model_class.expected_counts is not TowerModel.expected_counts


def load_reconstructing(source: str | Path) -> tuple[TowerModel, ColumnFeatureExtractor]:
    """A spectrum model with a decoder, which knows its feature extractor, and that, from its folder or Hub id.

    Raises:
        InputFileError: as `load_tower` and `load_feature_extractor`; the family has no decoder of spectra.
    """
    model = load_tower(source, "spectrum")
    if not reconstructs(type(model)):
        known = [name for name in families_of("spectrum") if reconstructs(FAMILIES[name])]
        reason = f"a {model.config.model_type} has no decoder of spectra; these have: {', '.join(known)}"
        raise InputFileError(str(source), reason)
    model.feature_extractor = load_feature_extractor(source, type(model))
    return model, model.feature_extractor


def decodes_rates(model_class: type[TowerModel]) -> bool:
    """Whether a family has a decoder of count rates (`TowerModel.log_rate`)."""
    return model_class.log_rate is not TowerModel.log_rate


def load_rates(source: str | Path) -> tuple[TowerModel, ColumnFeatureExtractor]:
    """An event model that decodes count rates and its feature extractor, from its folder or Hub id.

    Raises:
        InputFileError: as `load_tower` and `load_feature_extractor`; no decoder of rates, or none in this form.
    """
    model = load_tower(source, "event")
    if not decodes_rates(type(model)):
        known = [name for name in families_of("event") if decodes_rates(FAMILIES[name])]
        reason = f"a {model.config.model_type} has no decoder of count rates; these have: {', '.join(known) or 'none'}"
        raise InputFileError(str(source), reason)
    if not model.latents_hold_rates:
        raise InputFileError(str(source), f"this {model.config.model_type} is of an earlier form, which has no rates")
    model.feature_extractor = load_feature_extractor(source, type(model))
    return model, model.feature_extractor


def modality_of(source: str | Path) -> str:
    """The modality that a model of one modality reads, by its folder or Hub id.

    Raises:
        InputFileError: nothing loads from there, or it is of no family.
    """
    try:
        config = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise InputFileError(str(source), f"no model loads from here ({error})") from error
    if config.model_type not in FAMILIES:
        raise InputFileError(str(source), f"a {config.model_type!r} is none of the families {sorted(FAMILIES)}")
    return FAMILIES[config.model_type].modality


def load_feature_extractor(source: str | Path, model_class: type[TowerModel]) -> ColumnFeatureExtractor:
    """The feature extractor that was saved beside a tower.

    Raises:
        InputFileError: there is none, or it is of another class than the family's.
    """
    try:
        extractor = AutoFeatureExtractor.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise InputFileError(str(source), f"no feature extractor loads from here ({error})") from error
    if not isinstance(extractor, model_class.feature_extractor_class):
        wanted = model_class.feature_extractor_class.__name__
        raise InputFileError(str(source), f"its feature extractor is a {type(extractor).__name__}, not a {wanted}")
    return extractor
