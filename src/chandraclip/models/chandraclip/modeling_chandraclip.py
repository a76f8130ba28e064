"""Three towers into one space."""

from __future__ import annotations

from collections.abc import Mapping
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

from chandraclip.losses import JOINT, alignment_loss
from chandraclip.models.chandraclip.configuration_chandraclip import ChandraClipConfig
from chandraclip.models.contract import TOWER_MODALITIES, TowerModel, load_tower, tower_encoder
from chandraclip.models.layers import ChandraPreTrainedModel, Standardize


@dataclass
class ChandraClipOutput(ModelOutput):
    """
    Attributes:
        loss: scalar, this process' share of the alignment loss; None unless asked for.
        spectrum_embeds, event_embeds, text_embeds: (B, projection_dim) float32 unit vectors, 0 in rows that lack the
            modality; None where the batch has no such key.
        xray_embeds: (B, projection_dim) of the joint head, 0 in rows without spectrum and photons; None without such a
            head, or where the batch has neither.
        xray_mask: (B,) bool, rows with a spectrum or photons, where there are xray_embeds.
        logit_scale: scalar, 1 / temperature.
        spectrum_latents, event_latents (B, latent_size), text_features (B, hidden_size): the towers' outputs before the
            projection; meaningless in rows that lack the modality; None where the batch has no such key.
        loss_parts: name -> scalar without gradient, as `chandraclip.losses.alignment_loss` gives them.
    """

    loss: Tensor | None = None
    spectrum_embeds: Tensor | None = None
    event_embeds: Tensor | None = None
    xray_embeds: Tensor | None = None
    text_embeds: Tensor | None = None
    logit_scale: Tensor | None = None
    spectrum_latents: Tensor | None = None
    event_latents: Tensor | None = None
    text_features: Tensor | None = None
    xray_mask: Tensor | None = None
    loss_parts: dict[str, Tensor] | None = None


class ProjectionHead(nn.Module):
    """Features, with the summary and the context where there are, to the shared space."""

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
    """Towers of spectra, photon lists and texts with a projection head each, aligned by a regularized InfoNCE.

    Sources: the heads and the loss, Pinciroli Vago et al. 2026 (arXiv:2603.04516); the event tower and any-subset
    training, the joint head and the observation context are ours. The towers are of whatever families the configuration
    names. Any modality may be missing in a row (its mask is False) or in the whole batch (its keys are absent).

    The context (`context_values`, of the configuration's `context`) is what is known of an observation before its
    photons are looked at, e.g. the Galactic column. It may be missing, too: the heads are told which of it is known.
    """

    def __init__(self, config: ChandraClipConfig):
        super().__init__(config)
        if config.context:
            self.context_standardize = Standardize(list(config.context_mean), list(config.context_std))
        num_context = 2 * len(config.context)  # values, and which are known
        num_joint = num_context
        for modality in TOWER_MODALITIES:
            if modality not in config.modalities:
                continue
            tower = getattr(config, f"{modality}_config")
            mean, std = list(getattr(tower, "summary_mean", ())), list(getattr(tower, "summary_std", ()))
            self.add_module(f"{modality}_encoder", tower_encoder(tower, modality))
            self.add_module(f"{modality}_standardize", Standardize(mean, std))
            num_inputs = tower.latent_size + len(mean)
            self.add_module(f"{modality}_projection", ProjectionHead(num_inputs + num_context, config))
            num_joint += num_inputs + 1  # and whether the row has it
        if config.joint_projection:
            self.xray_projection = ProjectionHead(num_joint, config)
        if "text" in config.modalities:
            self.text_encoder = AutoModel.from_config(config.text_config)
            _drop_pooler(self.text_encoder)
            self.text_projection = ProjectionHead(config.text_config.hidden_size, config)
        self.logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
        self.post_init()

    @classmethod
    def from_pretrained_towers(
        cls,
        spectrum: TowerModel | str | Path | None = None,
        events: TowerModel | str | Path | None = None,
        text: PreTrainedModel | str | Path | None = None,
        **config_options: Any,
    ) -> ChandraClipModel:
        """The aligned model before alignment: pretrained encoders, new heads.

        Args:
            spectrum, events: pretrained models of any registered family of that modality, or their folder or Hub id;
                None for no such tower. The decoders are left behind.
            text: an encoder, or the folder or Hub id of any `AutoModel` encoder; None for no text tower.
            config_options: fields of `ChandraClipConfig`.

        Raises:
            InputFileError: a folder or Hub id holds no model of a family of that modality, or not all its weights.
            ValueError: a model is of another modality; fewer than two towers.
        """
        given = {"spectrum": spectrum, "event": events}
        towers = {
            modality: model if isinstance(model, nn.Module) else load_tower(model, modality)
            for modality, model in given.items()
            if model is not None
        }
        configs: dict[str, Any] = {f"{modality}_config": model.config.to_dict() for modality, model in towers.items()}
        text_model: Any = None
        if text is not None:
            text_model = (
                text if isinstance(text, PreTrainedModel) else AutoModel.from_pretrained(text, dtype=torch.float32)
            )
            configs["text_config"] = text_model.config.to_dict()
        modalities = [*towers, *(["text"] if text_model is not None else [])]
        model = cls(ChandraClipConfig(modalities=modalities, **configs, **config_options))
        for modality, tower in towers.items():
            model.get_submodule(f"{modality}_encoder").load_state_dict(tower.encoder.state_dict())
        if text_model is not None:
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
        if "text" in self.config.modalities:
            self.text_encoder.requires_grad_(not self.config.freeze_text)
        return self

    def train(self, mode: bool = True) -> ChandraClipModel:
        super().train(mode)
        if self.config.freeze_text and "text" in self.config.modalities:
            self.text_encoder.eval()
        return self

    def embedding_outputs(self) -> dict[str, tuple[str, str]]:
        """Column of the embeddings file -> (field of the output, mask in the batch or the output)."""
        before = {"spectrum": "spectrum_latents", "event": "event_latents", "text": "text_features"}
        columns = {f"{name}_embedding": (f"{name}_embeds", f"{name}_mask") for name in self.config.aligned}
        return columns | {before[name]: (before[name], f"{name}_mask") for name in self.config.modalities}

    def _tower_latents(self, modality: str, batch: Mapping[str, Any]) -> Tensor:
        if modality not in self.config.modalities:
            raise ValueError(f"this model has no {modality} tower, only {self.config.modalities}")
        return self.get_submodule(f"{modality}_encoder")(**batch)

    def _with_summary(self, modality: str, latents: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """(B, F) latents, and the summary beside them where the family has one."""
        standardize = self.get_submodule(f"{modality}_standardize")
        if not standardize.get_buffer("mean").numel():
            return latents
        return torch.cat([latents, standardize(batch[f"{modality}_summary"]).to(latents)], dim=-1)

    def _context(self, values: Tensor | None, rows: Tensor) -> Tensor:
        """(B, 2 C) context in units of its scatter, 0 where not known, and which is known; of the type of `rows`."""
        if not self.config.context:
            return rows.new_empty(len(rows), 0)
        if values is None:
            values = rows.new_full((len(rows), len(self.config.context)), torch.nan)
        known = ~values.isnan()
        if self.training and self.config.context_dropout > 0:
            draws = torch.rand(len(values), values.shape[1] + 1, device=values.device)
            kept = draws >= self.config.context_dropout
            known = known & kept[:, 1:] & kept[:, :1]
        standard = torch.where(known, self.context_standardize(values), 0.0)
        return torch.cat([standard, known.to(standard)], dim=-1).to(rows)

    def _joint_features(
        self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor], context: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Input of the joint head, (B, F) with 0 for what a row lacks, and (B,) bool, rows that have anything."""
        reference = next(iter(features.values()))
        has = {name: masks[name] for name in features}
        if self.training and len(features) == len(TOWER_MODALITIES) and self.config.joint_dropout > 0:
            draws = torch.rand(len(reference), device=reference.device)
            without = {
                "spectrum": draws < self.config.joint_dropout / 2,
                "event": draws > 1 - self.config.joint_dropout / 2,
            }
            both = has["spectrum"] & has["event"]
            has = {name: mask & ~(both & without[name]) for name, mask in has.items()}
        parts = []
        for name in TOWER_MODALITIES:
            if name in features:
                parts += [features[name].masked_fill(~has[name][:, None], 0.0), has[name][:, None].to(reference)]
            else:
                tower = getattr(self.config, f"{name}_config")
                width = tower.latent_size + len(getattr(tower, "summary_mean", ())) + 1
                parts.append(reference.new_zeros(len(reference), width))
        present = torch.stack([masks[name] for name in features]).any(dim=0)
        return torch.cat([*parts, context], dim=-1), present

    def get_spectrum_latents(self, **batch: Any) -> Tensor:
        """(B, latent_size) of the spectrum tower, before the projection, from its feature extractor's keys."""
        return self._tower_latents("spectrum", batch)

    def get_event_latents(self, **batch: Any) -> Tensor:
        """(B, latent_size) of the event tower, before the projection, from its feature extractor's keys."""
        return self._tower_latents("event", batch)

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

    def get_spectrum_features(
        self, spectrum_mask: Tensor | None = None, context_values: Tensor | None = None, **batch: Any
    ) -> Tensor:
        """(B, projection_dim) unit vectors, 0 where `spectrum_mask` is False, from the feature extractor's keys."""
        return self._modality_features("spectrum", spectrum_mask, context_values, batch)

    def get_event_features(
        self, event_mask: Tensor | None = None, context_values: Tensor | None = None, **batch: Any
    ) -> Tensor:
        """(B, projection_dim) unit vectors, 0 where `event_mask` is False, from the feature extractor's keys."""
        return self._modality_features("event", event_mask, context_values, batch)

    def get_xray_features(
        self,
        spectrum_mask: Tensor | None = None,
        event_mask: Tensor | None = None,
        context_values: Tensor | None = None,
        **batch: Any,
    ) -> Tensor:
        """(B, projection_dim) unit vectors of the joint head, of whichever of spectrum and photons each row has.

        Args:
            spectrum_mask, event_mask: (B,) bool, rows that have the modality; all by default.
            context_values: (B, C), NaN where not known; None: nothing is known.
            batch: the other keys of the feature extractors, of one modality or both.

        Returns:
            0 in rows that have neither.

        Raises:
            ValueError: the model has no joint head, or the batch has neither modality.
        """
        if not self.config.joint_projection:
            raise ValueError("this model has no joint head (joint_projection)")
        features, masks = self._xray_parts({"spectrum": spectrum_mask, "event": event_mask}, batch)[1:]
        if not features:
            raise ValueError("the batch has neither a spectrum nor photons")
        context = self._context(context_values, next(iter(features.values())))
        joint, present = self._joint_features(features, masks, context)
        return _unit_vectors(self.xray_projection(joint), present)

    def _modality_features(
        self, modality: str, mask: Tensor | None, context_values: Tensor | None, batch: Mapping[str, Any]
    ) -> Tensor:
        features = self._with_summary(modality, self._tower_latents(modality, batch), batch)
        inputs = torch.cat([features, self._context(context_values, features)], dim=-1)
        return _unit_vectors(self.get_submodule(f"{modality}_projection")(inputs), mask)

    def _xray_parts(
        self, given: Mapping[str, Tensor | None], batch: Mapping[str, Any]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """Latents, latents with summary, and masks, of the X-ray modalities that the batch has."""
        latents: dict[str, Tensor] = {}
        features: dict[str, Tensor] = {}
        masks: dict[str, Tensor] = {}
        for modality in TOWER_MODALITIES:
            if modality not in self.config.modalities:
                continue
            encoder: Any = self.get_submodule(f"{modality}_encoder")
            if batch.get(encoder.main_input_name) is None:
                continue
            latents[modality] = self._tower_latents(modality, batch)
            masks[modality] = _mask(given[modality], latents[modality])
            features[modality] = self._with_summary(modality, latents[modality], batch)
        return latents, features, masks

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
        spectrum_mask: Tensor | None = None,
        event_mask: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        text_mask: Tensor | None = None,
        text_features: Tensor | None = None,
        context_values: Tensor | None = None,
        return_loss: bool | None = None,
        **batch: Any,
    ) -> ChandraClipOutput:
        """
        Args:
            spectrum_mask, event_mask: (B,) bool, rows that have the modality; all by default.
            input_ids, attention_mask: (B, L), of the tokenizer, with text_mask (B,); or text_features (B, hidden_size).
            context_values: (B, C) of the configuration's `context`, NaN where not known; None: nothing is known.
            return_loss: with the alignment loss; the batch needs two modalities or more.
            batch: the other keys of the towers' feature extractors, e.g. spectrum_values (B, num_points),
                spectrum_summary (B, 3), event_values (T, F), event_cu_seqlens (B + 1,), event_summary (B, 3).

        A modality whose keys are absent is skipped. One that is present runs all its rows, so that its parameters have
        a gradient (of 0 where no row counts) on every process. Keys that no tower reads are accepted.
        """
        embeds: dict[str, Tensor] = {}
        latents, features, masks = self._xray_parts({"spectrum": spectrum_mask, "event": event_mask}, batch)
        if features:
            context = self._context(context_values, next(iter(features.values())))
            for modality, rows in features.items():
                projected = self.get_submodule(f"{modality}_projection")(torch.cat([rows, context], dim=-1))
                embeds[modality] = _unit_vectors(projected, masks[modality])
            if self.config.joint_projection:
                joint, masks[JOINT] = self._joint_features(features, masks, context)
                embeds[JOINT] = _unit_vectors(self.xray_projection(joint), masks[JOINT])
        if "text" in self.config.modalities and (input_ids is not None or text_features is not None):
            latents["text"] = self._text_latents(input_ids, attention_mask, text_features)
            masks["text"] = _mask(text_mask, latents["text"])
            embeds["text"] = _unit_vectors(self.text_projection(latents["text"]), masks["text"])

        output = ChandraClipOutput(
            spectrum_embeds=embeds.get("spectrum"),
            event_embeds=embeds.get("event"),
            xray_embeds=embeds.get(JOINT),
            text_embeds=embeds.get("text"),
            logit_scale=self.clamped_logit_scale(),
            spectrum_latents=latents.get("spectrum"),
            event_latents=latents.get("event"),
            text_features=latents.get("text"),
            xray_mask=masks.get(JOINT),
        )
        if not return_loss:
            return output
        loss, parts = self.loss_of_embeddings(output, masks)
        return ChandraClipOutput(loss=loss, loss_parts=parts, **output)

    def clamped_logit_scale(self) -> Tensor:
        """Scalar, 1 / temperature."""
        return self.logit_scale.exp().clamp(max=self.config.max_logit_scale)

    def loss_of_embeddings(
        self, output: ChandraClipOutput, masks: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The alignment loss of an output, which may be several ones end to end, and its parts without gradient.

        Args:
            output: with the embeddings of two modalities or more, what came before their projection, and logit_scale.
            masks: modality, or "xray" -> (B,) bool, rows that have it.
        """
        if output.logit_scale is None:
            raise ValueError("the loss needs logit_scale in the output")
        before = {"spectrum": output.spectrum_latents, "event": output.event_latents, "text": output.text_features}
        return alignment_loss(
            {name: output[f"{name}_embeds"] for name in self.config.aligned if f"{name}_embeds" in output},
            masks,
            output.logit_scale,
            gamma=self.config.gamma,
            regularizer=self.config.regularizer,
            features={name: rows for name, rows in before.items() if rows is not None},
            pair_weights=self.config.pair_weights,
            neighbourhood_weights=self.config.neighbourhood_weights,
        )


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
