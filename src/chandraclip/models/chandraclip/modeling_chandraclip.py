"""Three towers into one space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.utils import ModelOutput

from chandraclip.losses import alignment_loss
from chandraclip.models.chandraclip.configuration_chandraclip import ChandraClipConfig
from chandraclip.models.event_transformer.modeling_event_transformer import EventEncoder, EventTransformerModel
from chandraclip.models.layers import ChandraPreTrainedModel, Standardize
from chandraclip.models.spectrum_autoencoder.modeling_spectrum_autoencoder import (
    SpectrumAutoencoderModel,
    SpectrumEncoder,
)


@dataclass
class ChandraClipOutput(ModelOutput):
    """
    Attributes:
        loss: scalar, this process' share of the alignment loss; None unless asked for.
        spectrum_embeds, event_embeds, text_embeds: (B, projection_dim) float32 unit vectors, 0 in rows that lack the
            modality; None where the batch has no such key.
        logit_scale: scalar, 1 / temperature.
        spectrum_latents, event_latents (B, latent_size), text_features (B, hidden_size): the towers' outputs before the
            projection; meaningless in rows that lack the modality; None where the batch has no such key.
        loss_parts: name -> scalar without gradient, as `chandraclip.losses.alignment_loss` gives them.
    """

    loss: Tensor | None = None
    spectrum_embeds: Tensor | None = None
    event_embeds: Tensor | None = None
    text_embeds: Tensor | None = None
    logit_scale: Tensor | None = None
    spectrum_latents: Tensor | None = None
    event_latents: Tensor | None = None
    text_features: Tensor | None = None
    loss_parts: dict[str, Tensor] | None = None


class ProjectionHead(nn.Module):
    """Features, and a summary where there is one, to the shared space."""

    def __init__(self, num_inputs: int, config: ChandraClipConfig):
        super().__init__()
        width = config.projection_hidden_size
        self.layer_norm = nn.LayerNorm(num_inputs)
        self.dropout = nn.Dropout(config.projection_dropout)
        self.fc1 = nn.Linear(num_inputs, width) if width else None
        self.activation = ACT2FN["gelu"]
        self.fc2 = nn.Linear(width or num_inputs, config.projection_dim)

    def forward(self, features: Tensor) -> Tensor:
        hidden_states = self.layer_norm(features)
        if self.fc1 is not None:
            hidden_states = self.activation(self.fc1(hidden_states))
        return self.fc2(self.dropout(hidden_states))


class ChandraClipPreTrainedModel(ChandraPreTrainedModel):
    config: ChandraClipConfig
    config_class = ChandraClipConfig  # the annotation alone is a string here, and the library does not resolve it
    base_model_prefix = "chandraclip"
    main_input_name = "spectrum_values"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, ChandraClipModel):
            init.constant_(module.logit_scale, self.config.logit_scale_init_value)


class ChandraClipModel(ChandraClipPreTrainedModel):
    """Spectrum, event and text towers with a projection head each, aligned by a regularized InfoNCE.

    Sources: the heads and the loss, Pinciroli Vago et al. 2026 (arXiv:2603.04516); the event tower and any-subset
    training are ours. Any modality may be missing in a row (its mask is False) or in the whole batch (its keys are
    absent).
    """

    def __init__(self, config: ChandraClipConfig):
        super().__init__(config)
        spectrum, events, text = config.spectrum_config, config.event_config, config.text_config
        self.spectrum_encoder = SpectrumEncoder(spectrum)
        self.event_encoder = EventEncoder(events)
        self.text_encoder = AutoModel.from_config(text)
        _drop_pooler(self.text_encoder)
        self.spectrum_standardize = Standardize(list(spectrum.summary_mean), list(spectrum.summary_std))
        self.event_standardize = Standardize(list(events.summary_mean), list(events.summary_std))
        self.spectrum_projection = ProjectionHead(spectrum.latent_size + len(spectrum.summary_mean), config)
        self.event_projection = ProjectionHead(events.latent_size + len(events.summary_mean), config)
        self.text_projection = ProjectionHead(text.hidden_size, config)
        self.logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
        self.post_init()

    @classmethod
    def from_pretrained_towers(
        cls,
        spectrum: SpectrumAutoencoderModel | str | Path,
        events: EventTransformerModel | str | Path,
        text: PreTrainedModel | str | Path,
        **config_options: Any,
    ) -> ChandraClipModel:
        """The aligned model before alignment: pretrained encoders, new heads.

        Args:
            spectrum, events: pretrained models, or their folder or Hub id; the decoders are left behind.
            text: an encoder, or the folder or Hub id of any `AutoModel` encoder.
            config_options: fields of `ChandraClipConfig`.
        """
        spectrum_model = _load(SpectrumAutoencoderModel, spectrum)
        event_model = _load(EventTransformerModel, events)
        text_model = _load(AutoModel, text)
        config = ChandraClipConfig(
            spectrum_config=spectrum_model.config.to_dict(),
            event_config=event_model.config.to_dict(),
            text_config=text_model.config.to_dict(),
            **config_options,
        )
        model = cls(config)
        model.spectrum_encoder.load_state_dict(spectrum_model.encoder.state_dict())
        model.event_encoder.load_state_dict(event_model.encoder.state_dict())
        text_state = text_model.state_dict()
        model.text_encoder.load_state_dict({name: text_state[name] for name in model.text_encoder.state_dict()})
        return model.freeze_towers()

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As `PreTrainedModel.from_pretrained`, which turns all gradients on: the frozen tower's are off again."""
        loaded = super().from_pretrained(*args, **kwargs)
        (loaded[0] if isinstance(loaded, tuple) else loaded).freeze_towers()
        return loaded

    def freeze_towers(self) -> ChandraClipModel:
        """Turn the gradients of the towers that the config freezes off."""
        self.text_encoder.requires_grad_(not self.config.freeze_text)
        return self

    def train(self, mode: bool = True) -> ChandraClipModel:
        super().train(mode)
        if self.config.freeze_text:
            self.text_encoder.eval()
        return self

    def get_spectrum_latents(self, spectrum_values: Tensor, spectrum_summary: Tensor, **kwargs: Any) -> Tensor:
        """(B, latent_size) of the spectrum tower, before the projection."""
        return self.spectrum_encoder(spectrum_values, spectrum_summary)

    def get_event_latents(
        self, event_values: Tensor, event_cu_seqlens: Tensor, event_summary: Tensor, **kwargs: Any
    ) -> Tensor:
        """(B, latent_size) of the event tower, before the projection."""
        return self.event_encoder(event_values, event_cu_seqlens, event_summary)

    def get_text_latents(self, input_ids: Tensor, attention_mask: Tensor, **kwargs: Any) -> Tensor:
        """(B, hidden_size) pooled output of the text tower: what `text_features` caches."""
        # A row of padding only would be a softmax over nothing; it is masked later, but must be finite now.
        first = torch.arange(attention_mask.shape[1], device=attention_mask.device) == 0
        attention_mask = torch.where(attention_mask.sum(dim=1, keepdim=True) == 0, first.long(), attention_mask)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.freeze_text):
            states = self.text_encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.config.text_pooling == "cls":
            return states[:, 0]
        weight = attention_mask[..., None].to(states.dtype)
        return (states * weight).sum(dim=1) / weight.sum(dim=1)

    def _project_spectrum(self, latents: Tensor, summary: Tensor) -> Tensor:
        return self.spectrum_projection(torch.cat([latents, self.spectrum_standardize(summary).to(latents)], dim=-1))

    def _project_events(self, latents: Tensor, summary: Tensor) -> Tensor:
        return self.event_projection(torch.cat([latents, self.event_standardize(summary).to(latents)], dim=-1))

    def get_spectrum_features(
        self, spectrum_values: Tensor, spectrum_summary: Tensor, spectrum_mask: Tensor | None = None, **kwargs: Any
    ) -> Tensor:
        """(B, projection_dim) unit vectors, 0 where `spectrum_mask` is False."""
        latents = self.get_spectrum_latents(spectrum_values, spectrum_summary)
        return _unit_vectors(self._project_spectrum(latents, spectrum_summary), spectrum_mask)

    def get_event_features(
        self,
        event_values: Tensor,
        event_cu_seqlens: Tensor,
        event_summary: Tensor,
        event_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """(B, projection_dim) unit vectors, 0 where `event_mask` is False."""
        latents = self.get_event_latents(event_values, event_cu_seqlens, event_summary)
        return _unit_vectors(self._project_events(latents, event_summary), event_mask)

    def get_text_features(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        text_mask: Tensor | None = None,
        text_features: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """(B, projection_dim) unit vectors, 0 where `text_mask` is False.

        From tokens, or from `text_features` (B, hidden_size), the cached `get_text_latents` of a frozen tower.
        """
        latents = self._text_latents(input_ids, attention_mask, text_features)
        return _unit_vectors(self.text_projection(latents), text_mask)

    def _text_latents(
        self, input_ids: Tensor | None, attention_mask: Tensor | None, text_features: Tensor | None
    ) -> Tensor:
        if text_features is not None:
            return text_features
        if input_ids is None:
            raise ValueError("a text needs input_ids or text_features")
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        return self.get_text_latents(input_ids, attention_mask)

    def forward(
        self,
        spectrum_values: Tensor | None = None,
        spectrum_summary: Tensor | None = None,
        spectrum_mask: Tensor | None = None,
        event_values: Tensor | None = None,
        event_cu_seqlens: Tensor | None = None,
        event_summary: Tensor | None = None,
        event_mask: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        text_mask: Tensor | None = None,
        text_features: Tensor | None = None,
        return_loss: bool | None = None,
        **kwargs: Any,
    ) -> ChandraClipOutput:
        """
        Args:
            spectrum_values (B, num_points), spectrum_summary (B, 3), spectrum_mask (B,): of `SpectrumFeatureExtractor`.
            event_values (T, F), event_cu_seqlens (B + 1,), event_summary (B, 3), event_mask (B,): of
                `EventFeatureExtractor`.
            input_ids, attention_mask (B, L), text_mask (B,): of the tokenizer; or text_features (B, hidden_size).
            return_loss: with the alignment loss; the batch needs two modalities or more.

        A modality whose keys are absent is skipped. One that is present runs all its rows, so that its parameters have
        a gradient (of 0 where no row counts) on every process. Other keys of a batch are accepted and not read.
        """
        latents: dict[str, Tensor] = {}
        embeds: dict[str, Tensor] = {}
        masks: dict[str, Tensor] = {}
        if spectrum_values is not None and spectrum_summary is not None:
            latents["spectrum"] = self.get_spectrum_latents(spectrum_values, spectrum_summary)
            masks["spectrum"] = _mask(spectrum_mask, latents["spectrum"])
            projected = self._project_spectrum(latents["spectrum"], spectrum_summary)
            embeds["spectrum"] = _unit_vectors(projected, masks["spectrum"])
        if event_values is not None and event_cu_seqlens is not None and event_summary is not None:
            latents["event"] = self.get_event_latents(event_values, event_cu_seqlens, event_summary)
            masks["event"] = _mask(event_mask, latents["event"])
            embeds["event"] = _unit_vectors(self._project_events(latents["event"], event_summary), masks["event"])
        if input_ids is not None or text_features is not None:
            latents["text"] = self._text_latents(input_ids, attention_mask, text_features)
            masks["text"] = _mask(text_mask, latents["text"])
            embeds["text"] = _unit_vectors(self.text_projection(latents["text"]), masks["text"])

        logit_scale = self.logit_scale.exp().clamp(max=self.config.max_logit_scale)
        loss, parts = None, None
        if return_loss:
            loss, parts = alignment_loss(
                embeds,
                masks,
                logit_scale,
                gamma=self.config.gamma,
                regularizer=self.config.regularizer,
                features=latents,
            )
        return ChandraClipOutput(
            loss=loss,
            spectrum_embeds=embeds.get("spectrum"),
            event_embeds=embeds.get("event"),
            text_embeds=embeds.get("text"),
            logit_scale=logit_scale,
            spectrum_latents=latents.get("spectrum"),
            event_latents=latents.get("event"),
            text_features=latents.get("text"),
            loss_parts=parts,
        )


def _load(model_class: Any, source: Any) -> Any:
    """A model as it is, or from its folder or Hub id."""
    return source if isinstance(source, nn.Module) else model_class.from_pretrained(source, dtype=torch.float32)


def _mask(mask: Tensor | None, rows: Tensor) -> Tensor:
    return torch.ones(len(rows), dtype=torch.bool, device=rows.device) if mask is None else mask.bool()


def _unit_vectors(rows: Tensor, mask: Tensor | None) -> Tensor:
    """(B, D) float32 unit vectors, 0 where the mask is False."""
    unit = F.normalize(rows.float(), dim=-1)
    return unit if mask is None else unit.masked_fill(~mask.bool()[:, None], 0.0)


def _drop_pooler(text_encoder: PreTrainedModel) -> None:
    """BERT-like encoders carry a pooler that mean and first-token pooling leave unused, which DDP refuses to train."""
    if isinstance(getattr(text_encoder, "pooler", None), nn.Module):
        text_encoder.register_module("pooler", None)
