"""Set encoder of photon lists, and the neural field that trains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import ModelOutput

from chandraclip.losses.gather import shared_uniform
from chandraclip.models.contract import TowerModel
from chandraclip.models.event_transformer.configuration_event_transformer import EventTransformerConfig
from chandraclip.models.event_transformer.feature_extraction_event_transformer import EventFeatureExtractor
from chandraclip.models.event_transformer.packed_attention import Chunks, split_into_chunks
from chandraclip.models.event_transformer.photon_attention import PackedCrossAttention, PhotonKeys
from chandraclip.models.event_transformer.point_process import (
    RateBlock,
    RateField,
    point_process_loss,
    reference_log_rate,
)
from chandraclip.models.event_transformer.varlen_attention import Lists, as_lists, varlen_applies
from chandraclip.models.layers import (
    ChandraPreTrainedModel,
    EncoderLayer,
    FeedForward,
    Standardize,
    fourier_features,
    masked_mean,
)

# Columns of `event_values` that get Fourier features.
TIME_COLUMN, ENERGY_COLUMN = 0, 2


@dataclass
class EventTransformerOutput(ModelOutput):
    """
    Attributes:
        loss: scalar, mean over the rows that have events; None without the keys to train on.
        latents: (B, latent_size).
        log_rate: (B, M, 3), log of photons per observation length in each band, at the mesh's cell centres (in
            training at a random place in the cells, one for all).
    """

    loss: Tensor | None = None
    latents: Tensor | None = None
    log_rate: Tensor | None = None


class EventTransformerPreTrainedModel(ChandraPreTrainedModel):
    config: EventTransformerConfig
    config_class = EventTransformerConfig  # the annotation alone is a string here, and the library does not resolve it
    base_model_prefix = "event_transformer"
    main_input_name = "event_values"
    _no_split_modules = ["EncoderLayer", "PhotonReader"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, EventEncoder):
            init.normal_(module.query_embedding, std=1.0)
        elif isinstance(module, RateBlock):
            init.zeros_(module.fc2.weight)  # blocks start as the identity, as in PPAD
        elif isinstance(module, RateField):
            init.zeros_(module.output_projection.weight)  # the rate as constant and equal in all bands


class PhotonReader(GradientCheckpointingLayer):
    """Queries read the photons, then talk among themselves."""

    def __init__(self, config: EventTransformerConfig):
        super().__init__()
        self.query_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.cross_attn = PackedCrossAttention(config)
        self.mlp_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = FeedForward(config)
        self.self_layer = EncoderLayer(config)

    def forward(self, queries: Tensor, key: Tensor, value: Tensor, layout: Chunks | Lists) -> Tensor:
        queries = queries + self.cross_attn(self.query_norm(queries), key, value, layout)
        queries = queries + self.mlp(self.mlp_norm(queries))
        return self.self_layer(queries)


class EventEncoder(EventTransformerPreTrainedModel):
    """Photon list to latents: learned queries attend to all its photons (Perceiver, arXiv:2103.03206).

    The cost is linear in photons, a list's result depends neither on their order nor on the other lists of the batch,
    and every photon is read.
    """

    def __init__(self, config: EventTransformerConfig):
        super().__init__(config)
        num_inputs = config.num_features + 2 * (config.num_time_frequencies + config.num_energy_frequencies)
        self.photon_projection = nn.Linear(num_inputs, config.hidden_size)
        self.photon_activation = ACT2FN[config.hidden_act]
        self.photon_output = nn.Linear(config.hidden_size, config.hidden_size)
        self.photon_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.photon_keys = PhotonKeys(config)
        self.standardize = Standardize(list(config.summary_mean), list(config.summary_std))
        self.summary_projection = nn.Linear(len(config.summary_mean), config.hidden_size)
        self.query_embedding = nn.Parameter(torch.empty(config.num_queries, config.hidden_size))
        self.layers = nn.ModuleList([PhotonReader(config) for _ in range(config.num_hidden_layers)])
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.latent_projection = nn.Linear(config.num_queries * config.hidden_size, config.latent_size)
        self.post_init()

    def forward(self, event_values: Tensor, event_cu_seqlens: Tensor, event_summary: Tensor, **kwargs: Any) -> Tensor:
        """
        Args:
            event_values: (T, num_features), all lists end to end.
            event_cu_seqlens: (B + 1,) int64 offsets.
            event_summary: (B, 3), as the feature extractor gives them; standardised here.

        Returns:
            (B, latent_size); finite for an empty list.
        """
        if event_values.shape[-1] != self.config.num_features:
            raise ValueError(f"a photon has {self.config.num_features} features, this has {event_values.shape[-1]}")
        layout: Chunks | Lists
        heads = self.config.num_attention_heads
        if varlen_applies(event_values, heads, self.config.hidden_size // heads):
            layout, photons = as_lists(event_cu_seqlens), event_values
        else:
            layout = split_into_chunks(event_cu_seqlens, self.config.chunk_size)
            # Gathered before any weight is applied, so that no gradient has to be scattered back.
            photons = event_values[layout.index]
        key, value = self.photon_keys(self._embed(photons))
        summary = self.summary_projection(self.standardize(event_summary))
        queries = self.query_embedding + summary[:, None]
        for layer in self.layers:
            queries = layer(queries, key, value, layout)
        return self.latent_projection(self.layer_norm(queries).flatten(1))

    def _embed(self, values: Tensor) -> Tensor:
        time = fourier_features(values[..., TIME_COLUMN], self.config.num_time_frequencies)
        energy = fourier_features(values[..., ENERGY_COLUMN], self.config.num_energy_frequencies)
        hidden_states = self.photon_projection(torch.cat([values, time[..., 1:], energy[..., 1:]], dim=-1))
        return self.photon_norm(self.photon_output(self.photon_activation(hidden_states)))


class EventTransformerModel(EventTransformerPreTrainedModel, TowerModel):
    """Reads an X-ray photon list of any length in one pass and gives latents; trained on the photons' own likelihood.

    The decoder is PPAD's neural field of the count rate in time and energy band.

    Source: Song et al. 2025 (arXiv:2502.01627) for the decoder and the loss; theirs has a free latent a list and no
    encoder, ours reads the list in one pass.
    """

    modality = "event"
    feature_extractor_class = EventFeatureExtractor
    encoder_class = EventEncoder

    def __init__(self, config: EventTransformerConfig):
        super().__init__(config)
        self.encoder = EventEncoder(config)
        self.decoder = RateField(config)
        self.post_init()

    def forward(
        self,
        event_values: Tensor,
        event_cu_seqlens: Tensor,
        event_summary: Tensor,
        event_mask: Tensor | None = None,
        event_time: Tensor | None = None,
        event_band: Tensor | None = None,
        mesh_weight: Tensor | None = None,
        **kwargs: Any,
    ) -> EventTransformerOutput:
        """
        Args:
            event_values, event_cu_seqlens, event_summary: as `EventEncoder`.
            event_mask: (B,) bool, rows that count in the loss; all by default.
            event_time, event_band, mesh_weight: (T,), (T,), (B, M) of the feature extractor; without them there is
                neither loss nor rate.

        Other keys of a batch are accepted and not read.
        """
        latents = self.encoder(event_values, event_cu_seqlens, event_summary)
        if event_time is None or event_band is None or mesh_weight is None:
            return EventTransformerOutput(latents=latents)
        offset = reference_log_rate(event_band, event_cu_seqlens, mesh_weight)
        row_loss, log_rate = point_process_loss(
            lambda time, row: self.decoder(time, latents, row),
            offset,
            event_time,
            event_band,
            event_cu_seqlens,
            mesh_weight,
            max_events=self.config.max_likelihood_events,
            total_variation_weight=self.config.total_variation_weight,
            place_in_cell=shared_uniform(mesh_weight.device) if self.training else 0.5,
        )
        row_loss = row_loss + self.config.latent_weight * latents.float().square().mean(dim=-1)
        loss = masked_mean(row_loss, event_mask, across_processes=self.training)
        return EventTransformerOutput(loss=loss, latents=latents, log_rate=log_rate)
