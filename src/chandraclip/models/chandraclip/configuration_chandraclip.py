"""Configuration of the aligned model."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

from chandraclip.losses import REGULARIZERS, check_pair_weights
from chandraclip.models.chandraclip.text_tokenizer import small_text_config
from chandraclip.models.configuration import ChandraConfig

TEXT_POOLINGS = ("mean", "cls")
MODALITIES = ("spectrum", "event", "text")
# The family of a tower whose configuration does not name one.
_DEFAULT_FAMILIES = {"spectrum": "spectrum_autoencoder", "event": "event_transformer"}


class ChandraClipConfig(ChandraConfig):
    """Towers of two or three modalities and their projections into one space.

    Args:
        modalities: of "spectrum", "event" and "text"; those that have a tower.
        spectrum_config, event_config: of the towers, of any registered family of that modality, as objects or
            dictionaries with `model_type`; the embedded default where None. None where there is no such tower.
        text_config: of any `AutoModel` encoder; a small BERT where None.
        projection_dim: dimensions of the shared space (64 published).
        projection_hidden_size: width of each head's hidden layer; 0 for a linear head.
        projection_dropout: rate in the heads.
        logit_scale_init_value: log of 1 / temperature at the start (2.6592: temperature 0.07).
        max_logit_scale: largest 1 / temperature (CLIP, arXiv:2103.00020: 100).
        text_pooling: "mean" over the tokens, or "cls", the first one.
        freeze_text: the text tower gets no gradient and no dropout.
        regularizer: "variance_covariance", "distance" or "none"; gamma: its weight in the loss.
        pair_weights: "spectrum_event", "spectrum_text", "event_text" -> weight of that pair's InfoNCE in the loss;
            1 for pairs not named, hence for all where None.
    """

    model_type = "chandraclip"
    sub_configs: ClassVar[dict[str, Any]] = {
        "spectrum_config": AutoConfig,
        "event_config": AutoConfig,
        "text_config": AutoConfig,
    }

    modalities: list[str] | tuple[str, ...] = MODALITIES
    # Objects once made; `Any` because they may be given as dictionaries.
    spectrum_config: Any = None
    event_config: Any = None
    text_config: Any = None
    projection_dim: int = 64
    projection_hidden_size: int = 128
    projection_dropout: float = 0.1
    logit_scale_init_value: float = 2.6592
    max_logit_scale: float = 100.0
    text_pooling: str = "mean"
    freeze_text: bool = False
    regularizer: str = "variance_covariance"
    gamma: float = 0.01
    pair_weights: dict[str, float] | None = None
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        self.modalities = [name for name in MODALITIES if name in self.modalities]
        for name, family in _DEFAULT_FAMILIES.items():
            given = getattr(self, f"{name}_config")
            setattr(self, f"{name}_config", _config(given, family) if name in self.modalities else None)
        if "text" not in self.modalities:
            self.text_config = None
        elif self.text_config is None:
            self.text_config = small_text_config(vocab_size=4096)
        else:
            self.text_config = _config(self.text_config, "bert")
        super().__post_init__(**kwargs)

    def check(self) -> None:
        if len(self.modalities) < 2:
            raise ValueError(f"an alignment has two or three of {MODALITIES}, this has {self.modalities}")
        self.check_positive("projection_dim", "max_logit_scale")
        self.check_choice("text_pooling", TEXT_POOLINGS)
        self.check_choice("regularizer", REGULARIZERS)
        check_pair_weights(self.pair_weights or {}, self.modalities)


def _config(given: PreTrainedConfig | dict[str, Any] | None, default_type: str) -> PreTrainedConfig:
    """A tower's configuration, made from a dictionary where it is one."""
    if isinstance(given, PreTrainedConfig):
        return given
    options = dict(given or {})
    model_type = options.pop("model_type", default_type)
    if model_type not in CONFIG_MAPPING:
        raise ValueError(f"no family {model_type!r} is registered with transformers")
    config_class = CONFIG_MAPPING[model_type]
    return config_class.from_dict(options) if issubclass(config_class, ChandraConfig) else config_class(**options)
