"""Configuration of the aligned model."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

from chandraclip.losses import REGULARIZERS
from chandraclip.models.chandraclip.text_tokenizer import small_text_config
from chandraclip.models.configuration import ChandraConfig
from chandraclip.models.event_transformer.configuration_event_transformer import EventTransformerConfig
from chandraclip.models.spectrum_autoencoder.configuration_spectrum_autoencoder import SpectrumAutoencoderConfig

TEXT_POOLINGS = ("mean", "cls")


class ChandraClipConfig(ChandraConfig):
    """Three towers and their projections into one space.

    Args:
        spectrum_config, event_config: of the towers, as objects or dictionaries; the defaults where None.
        text_config: of any `AutoModel` encoder; a small BERT where None.
        projection_dim: dimensions of the shared space (64 published).
        projection_hidden_size: width of each head's hidden layer; 0 for a linear head.
        projection_dropout: rate in the heads.
        logit_scale_init_value: log of 1 / temperature at the start (2.6592: temperature 0.07).
        max_logit_scale: largest 1 / temperature (CLIP, arXiv:2103.00020: 100).
        text_pooling: "mean" over the tokens, or "cls", the first one.
        freeze_text: the text tower gets no gradient and no dropout.
        regularizer: "variance_covariance", "distance" or "none"; gamma: its weight in the loss.
    """

    model_type = "chandraclip"
    sub_configs: ClassVar[dict[str, Any]] = {
        "spectrum_config": SpectrumAutoencoderConfig,
        "event_config": EventTransformerConfig,
        "text_config": AutoConfig,
    }

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
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        if not isinstance(self.spectrum_config, PreTrainedConfig):
            self.spectrum_config = SpectrumAutoencoderConfig(**(self.spectrum_config or {}))
        if not isinstance(self.event_config, PreTrainedConfig):
            self.event_config = EventTransformerConfig(**(self.event_config or {}))
        if self.text_config is None:
            self.text_config = small_text_config(vocab_size=4096)
        elif isinstance(self.text_config, dict):
            model_type = self.text_config.get("model_type", "bert")
            self.text_config = CONFIG_MAPPING[model_type](**self.text_config)
        super().__post_init__(**kwargs)

    def check(self) -> None:
        self.check_positive("projection_dim", "max_logit_scale")
        self.check_choice("text_pooling", TEXT_POOLINGS)
        self.check_choice("regularizer", REGULARIZERS)
