"""Configuration of the aligned model."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

from chandraclip.losses import JOINT, REGULARIZERS, check_neighbourhood_weights, check_pair_weights
from chandraclip.models.chandraclip.observation_context import check_context
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
        pair_weights: "spectrum_event", "spectrum_text", "event_text", "xray_text" -> weight of that pair's InfoNCE in
            the loss; 1 for pairs not named, hence for all where None.
        neighbourhood_weights: modality -> weight in the loss of what its neighbourhoods, as its latents have them, lose
            in the shared space; 0 where not named. Texts say little of when photons come, and the heads keep what
            texts say.
        joint_projection: one head more, of spectrum and photons together ("xray"), which is aligned with the text and
            answers for whichever of the two a row has; it needs all three modalities.
        joint_dropout: rate at which it goes without one of the two, either, in rows that have both, while training.
        context: columns of the observation, of `observation_context.CONTEXT_COLUMNS`, that the X-ray heads see beside
            the latents, with whether each is known: any may be missing in a row or everywhere.
        context_mean, context_std: of the context as the processor gives it, in the training rows.
        context_dropout: rate at which a row's context is left out while training, whole, and each column by itself, so
            that the heads work without.
    """

    current_version = 3

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
    neighbourhood_weights: dict[str, float] | None = None
    joint_projection: bool = False
    joint_dropout: float = 0.2
    context: list[str] | tuple[str, ...] = ()
    context_mean: list[float] | tuple[float, ...] = ()
    context_std: list[float] | tuple[float, ...] = ()
    context_dropout: float = 0.2
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        self.modalities = [name for name in MODALITIES if name in self.modalities]
        self.context = list(self.context)
        self.context_mean, self.context_std = list(self.context_mean), list(self.context_std)
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
        if self.joint_projection and len(self.modalities) < len(MODALITIES):
            raise ValueError(f"joint_projection needs the modalities {MODALITIES}, this has {self.modalities}")
        check_pair_weights(self.pair_weights or {}, self.aligned)
        check_neighbourhood_weights(self.neighbourhood_weights or {}, self.aligned)
        check_context(self.context)
        if not len(self.context) == len(self.context_mean) == len(self.context_std):
            raise ValueError(f"context_mean and context_std need one value for each of the context {self.context}")
        if any(not std > 0 for std in self.context_std):
            raise ValueError(f"context_std must be positive, it is {self.context_std}")
        for name in ("joint_dropout", "context_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, it is {getattr(self, name)}")

    @property
    def aligned(self) -> list[str]:
        """What has an embedding, in order: the modalities, and "xray" before the text where there is a joint head."""
        joint = [JOINT] if self.joint_projection else []
        return [name for name in (*MODALITIES[:2], *joint, "text") if name in (*self.modalities, JOINT)]


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
