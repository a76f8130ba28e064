"""Options of the alignment, their defaults, and what of them contradicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from chandraclip.data.schema import CONTEXT_COLUMNS
from chandraclip.training.arguments import (
    MODALITIES,
    REGULARIZERS,
    TEXT_TRAINING,
    RunArguments,
    named_numbers,
    option,
)

# Of a new model, where nothing is said; one that is fine-tuned has its own.
NEW_MODEL = {"projection_dim": 64, "text_pooling": "mean", "max_text_length": 256, "temperature": 0.07}
# Of the small text tower that is trained along. The transformer's cost goes with it; summaries tell of flux, spectrum,
# column and variability first, and a linear model reads as much of those from the first 160 tokens as from all.
SMALL_TOWER_TEXT_LENGTH = {"ngram": 512, "bert": 160}
# Spectrum and photons of one detection are the same photons: that pair is easy, and takes room from the text's.
SPECTRUM_EVENT_WEIGHT = 0.1
# Texts say little of when photons come, so without it the heads lose the time that the latents hold (docs/events.md).
EVENT_NEIGHBOURHOOD_WEIGHT = 1.0
# Pairs by whose retrieval the best model is known, the first that are aligned.
BEST_BY = (("spectrum", "text"), ("event", "text"), ("spectrum", "event"))


@dataclass
class AlignArguments(RunArguments):
    """Options of the alignment."""

    program: ClassVar[str] = "align.py"

    output_dir: str = option("outputs/align", "where the model, checkpoints and logs go")
    modalities: list[str] = field(default_factory=lambda: list(MODALITIES), metadata={"help": "two or three of these"})

    model_name_or_path: str | None = option(
        None,
        "an aligned model to go on from, with its towers, heads and tokenizer; default: pretrained towers, new heads",
    )
    spectrum_model_name_or_path: str | None = option(None, "default: pretrained in `spectrum` beside output_dir")
    event_model_name_or_path: str | None = option(None, "default: pretrained in `events` beside output_dir")
    spectrum_config: str | None = option(None, "YAML file of that pre-training; default: spectrum_autoencoder.yaml")
    event_config: str | None = option(None, "YAML file of that pre-training; default: events_transformer.yaml")
    pretrain_max_steps: int | None = option(None, "of the pre-trainings started here; default: of their YAML files")
    pretrain_batch_size: int | None = option(None, "of the pre-trainings started here; default: of their YAML files")
    text_model_name_or_path: str | None = option(None, "any AutoModel encoder; default: a small one, trained along")
    text_training: str = option("auto", "full, frozen (outputs cached) or lora; auto: frozen if a model is given")
    text_pooling: str | None = option(None, "mean or cls; default: mean")
    max_text_length: int | None = option(None, "tokens a text is cut at; default: 256, of small towers 512 or 160")
    max_train_events: int | None = option(None, "photons a list, drawn at random, while training; default: all")
    text_tower: str | None = option(None, "the small one: ngram (words and their pairs) or bert; default: ngram")
    text_dropout: float | None = option(None, "of the small text tower; default: its own, 0.5 of words or 0.1")
    lora_rank: int = option(8, "of text_training lora")

    context: list[str] | None = field(
        default=None,
        metadata={
            "help": "columns of the observation that the X-ray heads see, or none; default: what the data have of "
            + " ".join(CONTEXT_COLUMNS)
        },
    )
    joint_projection: bool | None = option(
        None, "one head more, of spectrum and photons together; default: where all three modalities align"
    )

    tower_learning_rate_scale: float = option(
        1.0, "of the X-ray towers, times learning_rate: they are pre-trained, the heads are not; 0 freezes them"
    )
    temperature: float | None = option(None, "at the start; it is learnt; default: 0.07")
    gamma: float = option(0.01, "weight of the regularizer")
    regularizer: str = option("variance_covariance", f"of the embeddings: {', '.join(REGULARIZERS)}")
    neighbourhood_weights: list[str] | None = field(
        default=None,
        metadata={
            "help": "of what a modality's neighbourhoods lose of those in its latents, e.g. spectrum=0.5; "
            "default: event=1 beside texts"
        },
    )
    pair_weights: list[str] | None = field(
        default=None,
        metadata={
            "help": "of the pairs in the loss, e.g. spectrum_event=0.3; default: 1, spectrum_event 0.1 beside texts"
        },
    )
    projection_dim: int | None = option(None, "dimensions of the shared space; default: 64")
    metric_for_best_model: str | None = option(
        None, "of validation, larger is better; default: recall@1%% of spectrum_text, or of the pair there is"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.modalities)) < 2 or not set(self.modalities) <= set(MODALITIES):
            raise ValueError(f"modalities must be two or more of {list(MODALITIES)}, they are {self.modalities}")
        pairs = [f"{one}_{other}" for one, other in BEST_BY if {one, other} <= set(self.modalities)]
        if self.metric_for_best_model is None:
            self.metric_for_best_model = f"{pairs[0]}/recall@1%"
        missing = {f"{one}_{other}" for one, other in BEST_BY} - set(pairs)
        if self.metric_for_best_model.partition("/")[0] in missing:
            found = f"it is {self.metric_for_best_model!r} with modalities {self.modalities}"
            raise ValueError(f"metric_for_best_model must be of a pair that is aligned; {found}")
        if self.text_tower not in (None, *SMALL_TOWER_TEXT_LENGTH):
            raise ValueError(f"text_tower must be one of {[*SMALL_TOWER_TEXT_LENGTH]}, it is {self.text_tower!r}")
        if self.text_tower and self.text_model_name_or_path:
            raise ValueError("text_model_name_or_path has its own text tower; leave out text_tower")
        if self.text_training not in TEXT_TRAINING:
            raise ValueError(f"text_training must be one of {TEXT_TRAINING}, it is {self.text_training!r}")
        from chandraclip.losses import JOINT, check_neighbourhood_weights, check_pair_weights
        from chandraclip.training.fine_tuning import refuse_other_towers

        weights = named_numbers(self.pair_weights or [], "pair_weights")
        unknown = sorted(set(self.context_columns) - set(CONTEXT_COLUMNS))
        if unknown:
            raise ValueError(f"context has no {', '.join(unknown)}; it takes {', '.join(CONTEXT_COLUMNS)} or none")
        has_all = len(set(self.modalities)) == len(MODALITIES)
        if self.joint_projection and not has_all:
            raise ValueError(f"joint_projection needs the modalities {list(MODALITIES)}, they are {self.modalities}")
        # A fine-tuned model has a joint head or not; what is not there is refused when it is loaded.
        joint = [JOINT] if has_all and self.joint_projection is not False else []
        check_pair_weights(
            weights, [name for name in (*MODALITIES[:2], *joint, "text") if name in (*self.modalities, *joint)]
        )
        check_neighbourhood_weights(
            named_numbers(self.neighbourhood_weights or [], "neighbourhood_weights"), self.modalities
        )
        # 1 is what a pair has that is not named, but for this one.
        named = {name: weight for name, weight in weights.items() if weight != 1 or name == "spectrum_event"}
        self.pair_weights = [f"{name}={weight:g}" for name, weight in sorted(named.items())] or None
        if self.model_name_or_path is not None:
            refuse_other_towers(self)
        else:
            vars(self).update(self.new_model)
        if not self.foreign_text and self.small_tower == "ngram" and self.text_pooling == "cls":
            raise ValueError("text_pooling cls needs a tower whose first token reads the others; ngram's does not")
        if self.text_training == "frozen" and (self.text_model_name_or_path or self.model_name_or_path) is None:
            raise ValueError("a frozen text tower needs text_model_name_or_path; the small one knows nothing yet")
        for name in ("pretrain_max_steps", "pretrain_batch_size"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, it is {getattr(self, name)}")
        if not 0 <= self.tower_learning_rate_scale <= 1:
            raise ValueError(f"tower_learning_rate_scale must be in [0, 1], it is {self.tower_learning_rate_scale}")
        if self.temperature is not None and self.temperature <= 0:
            raise ValueError(f"temperature must be positive, it is {self.temperature}")

    @property
    def small_tower(self) -> str:
        """The kind of the small text tower, where one is made."""
        return self.text_tower or "ngram"

    @property
    def new_model(self) -> dict[str, Any]:
        """Options of a new model, with their defaults."""
        given = {name: getattr(self, name) for name in NEW_MODEL}
        small = {} if self.foreign_text else {"max_text_length": SMALL_TOWER_TEXT_LENGTH[self.small_tower]}
        return {**NEW_MODEL, **small, **{name: value for name, value in given.items() if value is not None}}

    @property
    def context_columns(self) -> list[str]:
        """Columns of the context; none where that is what is asked for."""
        return [] if self.context == ["none"] else list(CONTEXT_COLUMNS if self.context is None else self.context)

    @property
    def foreign_text(self) -> bool:
        """Whether the text tower may be one that others made."""
        return (self.text_model_name_or_path or self.model_name_or_path) is not None

    @property
    def loss_options(self) -> dict[str, Any]:
        """Fields of the model's config that make the loss."""
        weights = named_numbers(self.pair_weights or [], "pair_weights")
        if len(set(self.modalities)) == len(MODALITIES):
            weights = {"spectrum_event": SPECTRUM_EVENT_WEIGHT, **weights}
        kept = named_numbers(self.neighbourhood_weights or [], "neighbourhood_weights")
        if {"event", "text"} <= set(self.modalities):
            kept = {"event": EVENT_NEIGHBOURHOOD_WEIGHT, **kept}
        return {
            "regularizer": self.regularizer,
            "gamma": self.gamma,
            "pair_weights": weights or None,
            "neighbourhood_weights": kept or None,
        }
