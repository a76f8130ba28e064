"""Axia's encoder of photon lists, trained on the likelihood of the photons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import ModelOutput

from chandraclip.losses.gather import shared_uniform
from chandraclip.models.axia_encoder.configuration_axia_encoder import AxiaEncoderConfig
from chandraclip.models.axia_encoder.feature_extraction_axia_encoder import AxiaFeatureExtractor
from chandraclip.models.contract import TowerModel
from chandraclip.models.event_transformer.point_process import RateField, point_process_loss, reference_log_rate
from chandraclip.models.feature_extraction import ColumnFeatureExtractor
from chandraclip.models.layers import ChandraPreTrainedModel, FeedForward, masked_mean

_SHORTEST = 4  # lists of up to 2 ** 4 photons are handled together, those of up to twice as many, and so on


@dataclass
class AxiaEncoderOutput(ModelOutput):
    """
    Attributes:
        loss: scalar, mean over the rows that have events; None without the keys to train on.
        latents: (B, latent_size).
        log_rate: (B, M, 3), as `EventTransformerOutput`.
    """

    loss: Tensor | None = None
    latents: Tensor | None = None
    log_rate: Tensor | None = None


class AxiaPreTrainedModel(ChandraPreTrainedModel):
    config: AxiaEncoderConfig
    config_class = AxiaEncoderConfig  # the annotation alone is a string here, and the library does not resolve it
    base_model_prefix = "axia_encoder"
    main_input_name = "event_values"
    _supports_attention_backend = False
    _no_split_modules = ["PhotonLayer"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, AxiaEncoder):
            init.normal_(module.position_embedding, std=0.02)


class PhotonLayer(GradientCheckpointingLayer):
    """Transformer layer that normalises after each sum, (B, photons, hidden_size) in and out."""

    def __init__(self, config: AxiaEncoderConfig):
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.attention_dropout = config.attention_dropout
        self.qkv_proj = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = FeedForward(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, photons: Tensor, valid: Tensor) -> Tensor:
        """`valid` is (B, photons) bool, at least one a row."""
        query, key, value = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in self.qkv_proj(photons).chunk(3, dim=-1)
        )
        dropout = self.attention_dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, valid[:, None, None], dropout)
        photons = self.layer_norm1(photons + self.dropout(self.out_proj(attended.transpose(1, 2).flatten(2))))
        return self.layer_norm2(photons + self.mlp(photons))


def _branch(config: AxiaEncoderConfig, num_inputs: int, num_layers: int) -> nn.Sequential:
    """Linear, GELU and layer norm, `num_layers` times."""
    layers: list[nn.Module] = []
    for size in (num_inputs, *[config.branch_size] * (num_layers - 1)):
        layers += [nn.Linear(size, config.branch_size), nn.GELU(), nn.LayerNorm(config.branch_size)]
    return nn.Sequential(*layers)


class AxiaEncoder(AxiaPreTrainedModel):
    """Photons, histogram, periodogram and three numbers to one vector of 4,096, and that to latents."""

    def __init__(self, config: AxiaEncoderConfig):
        super().__init__(config)
        self.photon_projection = nn.Linear(config.num_features, config.hidden_size)
        self.position_embedding = nn.Parameter(torch.empty(config.max_events, config.hidden_size))
        self.layers = nn.ModuleList([PhotonLayer(config) for _ in range(config.num_hidden_layers)])
        self.spectrum_branch = _branch(config, config.num_spectrum_bins, 2)
        self.periodogram_branch = _branch(config, config.num_frequencies, 2)
        self.meta_branch = _branch(config, 3, 1)
        fused = config.hidden_size + 3 * config.branch_size
        self.fusion_norm = nn.LayerNorm(fused, eps=config.layer_norm_eps)
        self.fused_projection = nn.Linear(fused, config.fused_size)
        self.fused_norm = nn.LayerNorm(config.fused_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.latent_projection = nn.Linear(config.fused_size, config.latent_size)
        self.post_init()

    def forward(
        self,
        event_values: Tensor,
        event_cu_seqlens: Tensor,
        event_spectrum: Tensor,
        event_periodogram: Tensor,
        event_meta: Tensor,
        **kwargs: Any,
    ) -> Tensor:
        """
        Args:
            event_values, event_cu_seqlens, event_spectrum, event_periodogram, event_meta: of `AxiaFeatureExtractor`.

        Returns:
            (B, latent_size); finite for an empty list.
        """
        fused = torch.cat(
            [
                self.read_photons(event_values, event_cu_seqlens),
                self.spectrum_branch(event_spectrum),
                self.periodogram_branch(event_periodogram),
                self.meta_branch(event_meta),
            ],
            dim=-1,
        )
        fused = self.dropout(self.fused_norm(self.fused_projection(self.fusion_norm(fused))))
        return self.latent_projection(fused)

    def read_photons(self, event_values: Tensor, event_cu_seqlens: Tensor) -> Tensor:
        """(B, hidden_size) mean over a list's photons of what the transformer makes of them; 0 for an empty list.

        Lists of like length are handled together, so that at most half of the places are padding.

        Raises:
            ValueError: photons of another number of features, or more of them in a list than there are positions.
        """
        if event_values.shape[-1] != self.config.num_features:
            raise ValueError(f"a photon has {self.config.num_features} features, this has {event_values.shape[-1]}")
        lengths = event_cu_seqlens.diff()
        if len(lengths) and int(lengths.max()) > self.config.max_events:
            raise ValueError(f"a list has {int(lengths.max())} photons, the model reads {self.config.max_events}")
        # An empty list is one photon of zeros, of which nothing is kept: all weights take part in every batch.
        values = torch.cat([event_values, event_values.new_zeros(1, event_values.shape[-1])])
        filled = lengths.clamp(min=1)
        level = filled.double().log2().ceil().clamp(min=_SHORTEST)
        pooled = values.new_zeros(len(lengths), self.config.hidden_size)
        for own in range(_SHORTEST, max(_SHORTEST, (self.config.max_events - 1).bit_length()) + 1):
            rows = torch.nonzero(level == own)[:, 0]
            if not len(rows):
                continue
            place = torch.arange(int(filled[rows].max()), device=values.device)
            inside, valid = (place < number[rows, None] for number in (lengths, filled))
            index = torch.where(inside, event_cu_seqlens[:-1][rows, None] + place, len(event_values))
            photons = self.photon_projection(values[index]) + self.position_embedding[: len(place)]
            photons = self.dropout(photons)
            for layer in self.layers:
                photons = layer(photons, valid)
            mean = (photons * valid[..., None]).sum(dim=1) / filled[rows, None]
            pooled = pooled.index_put((rows,), mean.to(pooled.dtype))
        return pooled.masked_fill((lengths == 0)[:, None], 0.0)


class AxiaEncoderModel(AxiaPreTrainedModel, TowerModel):
    """Axia's encoder of X-ray photon lists, trained here on the likelihood of the photons instead of a language model.

    It reads the first 512 photons of the first 8 hours, a histogram of energies, a periodogram and three numbers.

    Source: the repository AstroMind-Inc/axia (MIT, June 2026) for the encoder; the decoder and the loss are those of
    the event transformer, so that two encoders are compared and not two tasks.
    """

    modality = "event"
    feature_extractor_class = AxiaFeatureExtractor
    encoder_class = AxiaEncoder
    encoder: AxiaEncoder

    def __init__(self, config: AxiaEncoderConfig):
        super().__init__(config)
        self.encoder = AxiaEncoder(config)
        self.decoder = RateField(config)  # type: ignore[arg-type]  # it reads options that both configurations have
        self.post_init()

    def forward(
        self,
        event_values: Tensor,
        event_cu_seqlens: Tensor,
        event_spectrum: Tensor,
        event_periodogram: Tensor,
        event_meta: Tensor,
        event_mask: Tensor | None = None,
        event_time: Tensor | None = None,
        event_band: Tensor | None = None,
        likelihood_cu_seqlens: Tensor | None = None,
        mesh_weight: Tensor | None = None,
        **kwargs: Any,
    ) -> AxiaEncoderOutput:
        """
        Args:
            event_values, event_cu_seqlens, event_spectrum, event_periodogram, event_meta: as `AxiaEncoder`.
            event_mask: (B,) bool, rows that count in the loss; all by default.
            event_time, event_band, likelihood_cu_seqlens, mesh_weight: of the feature extractor; without them there is
                neither loss nor rate.

        Other keys of a batch are accepted and not read.
        """
        latents = self.encoder(event_values, event_cu_seqlens, event_spectrum, event_periodogram, event_meta)
        if event_time is None or event_band is None or likelihood_cu_seqlens is None or mesh_weight is None:
            return AxiaEncoderOutput(latents=latents)
        row_loss, log_rate = point_process_loss(
            lambda time, row: self.decoder(time, latents, row),
            reference_log_rate(event_band, likelihood_cu_seqlens, mesh_weight),
            event_time,
            event_band,
            likelihood_cu_seqlens,
            mesh_weight,
            max_events=self.config.max_likelihood_events,
            total_variation_weight=self.config.total_variation_weight,
            place_in_cell=shared_uniform(mesh_weight.device) if self.training else 0.5,
        )
        row_loss = row_loss + self.config.latent_weight * latents.float().square().mean(dim=-1)
        loss = masked_mean(row_loss, event_mask, across_processes=self.training)
        return AxiaEncoderOutput(loss=loss, latents=latents, log_rate=log_rate)

    def log_rate(self, latents: Tensor, batch: Mapping[str, Tensor], time: Tensor, row: Tensor) -> Tensor:
        span = batch["event_span"]
        place = ((time - span[row, 0]) / span[row, 1]).clamp(0.0, 1.0)
        log_rate = self.decoder(place.to(latents.dtype), latents, row) + self._reference(batch)[row, None]
        return log_rate - span[row, 1:].log()

    def expected_photons(self, latents: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        weight = batch["mesh_weight"]
        middle = (torch.arange(weight.shape[1], device=weight.device, dtype=weight.dtype) + 0.5) / weight.shape[1]
        rate = (self.decoder(middle, latents) + self._reference(batch)[:, None, None]).exp()
        return (rate * weight[..., None]).mean(dim=1)

    def _reference(self, batch: Mapping[str, Tensor]) -> Tensor:
        return reference_log_rate(batch["event_band"], batch["likelihood_cu_seqlens"], batch["mesh_weight"])

    def check_feature_extractor(self, extractor: ColumnFeatureExtractor) -> None:
        if not isinstance(extractor, AxiaFeatureExtractor):
            return
        for name in ("num_spectrum_bins", "num_frequencies"):
            if getattr(extractor, name) != getattr(self.config, name):
                given, read = getattr(extractor, name), getattr(self.config, name)
                raise ValueError(f"the feature extractor's {name} is {given}, the model's {read}")
        if extractor.max_events > self.config.max_events:
            raise ValueError(
                f"the extractor gives {extractor.max_events} photons, the model reads {self.config.max_events}"
            )
