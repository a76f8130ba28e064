"""Photon lists to latents: queries that attend to photons which know their neighbours at every scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer

from chandraclip.models.event_transformer.bursts import CENTRE_SCALE, attended_places
from chandraclip.models.event_transformer.configuration_event_transformer import NUM_LEVELS, EventTransformerConfig
from chandraclip.models.event_transformer.feature_extraction_event_transformer import FEATURES
from chandraclip.models.event_transformer.packed_attention import Chunks, split_into_chunks
from chandraclip.models.event_transformer.photon_attention import PackedCrossAttention, PhotonKeys
from chandraclip.models.event_transformer.photon_features import (
    PhotonLists,
    earlier_features,
    list_statistics,
    neighbour_features,
    num_statistics,
)
from chandraclip.models.event_transformer.photon_lists import OUT_OF_BAND, UNKNOWN_BAND
from chandraclip.models.event_transformer.varlen_attention import Lists, as_lists, varlen_applies
from chandraclip.models.layers import (
    ChandraPreTrainedModel,
    EncoderLayer,
    FeedForward,
    Standardize,
    ZeroLinear,
    at_least_float32,
    fourier_features,
)

# Columns of `event_values` that get Fourier features.
TIME_COLUMN, ENERGY_COLUMN = 0, 2
NUM_EARLIER_FEATURES = 5
NUM_LIST_NUMBERS = 4  # numbers of the list that each photon is told
MAX_SCORE = 60.0  # of a burst's place: beyond, all photons of a burst count alike
COLOUR_STD = 1.5  # of ln (medium / soft) and ln (hard / soft) photons


@dataclass(frozen=True)
class Look:
    """What the encoder makes of lists: (B, latent_size) latents, and (B, S) statistics of the photons, or None."""

    latents: Tensor
    statistics: Tensor | None


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
            if self.config.num_bursts:
                init.copy_(module.burst_scales, module.first_burst_scales())


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

    The cost is linear in photons, a list's result does not depend on the other lists of the batch, and every photon is
    read.
    """

    def __init__(self, config: EventTransformerConfig):
        super().__init__(config)
        width, scales, bursts = config.hidden_size, config.num_scales, config.num_bursts
        num_features = len(FEATURES) + NUM_LIST_NUMBERS + 4 * scales if scales else NUM_EARLIER_FEATURES
        num_inputs = num_features + 2 * (config.num_time_frequencies + config.num_energy_frequencies)
        self.photon_projection = nn.Linear(num_inputs, width)
        self.photon_activation = ACT2FN[config.hidden_act]
        self.photon_output = nn.Linear(width, width)
        self.photon_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.photon_keys = PhotonKeys(config)
        self.standardize = Standardize(list(config.summary_mean), list(config.summary_std))
        statistics = num_statistics(scales) if scales and config.list_statistics else 0
        self.summary_projection = nn.Linear(len(config.summary_mean) + statistics, width)
        self.query_embedding = nn.Parameter(torch.empty(config.num_queries, width))
        self.layers = nn.ModuleList([PhotonReader(config) for _ in range(config.num_hidden_layers)])
        self.layer_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        num_outputs = config.num_queries * width + bursts * width
        if statistics:
            self.statistics_projection = nn.Linear(statistics, width)
            num_outputs += width
        if bursts:
            self.burst_score = ZeroLinear(width, bursts, bias=False)
            self.burst_scales = nn.Parameter(torch.empty(bursts, 2 * scales))
        learned = config.latent_size - NUM_LEVELS - bursts if scales else config.latent_size
        self.latent_projection = nn.Linear(num_outputs, learned)
        self.post_init()

    def first_burst_scales(self) -> Tensor:
        """(bursts, 2 num_scales) weights of the deviances: each burst begins with a stretch of the scales."""
        scales = self.config.num_scales
        which = torch.arange(scales) * self.config.num_bursts // scales
        weight = 0.5 * (which == torch.arange(self.config.num_bursts)[:, None]).float()
        return weight.repeat(1, 2)

    def forward(
        self,
        event_values: Tensor,
        event_cu_seqlens: Tensor,
        event_summary: Tensor,
        event_time: Tensor,
        event_band: Tensor,
        event_frame: Tensor,
        event_share: Tensor,
        **kwargs: Any,
    ) -> Tensor:
        """
        Args:
            event_values: (T, 3), all lists end to end, each in order of time.
            event_cu_seqlens: (B + 1,) int64 offsets.
            event_summary: (B, 3), as the feature extractor gives them; standardised here.
            event_time, event_band: (T,); event_frame, event_share: (B,).

        Returns:
            (B, latent_size); finite for an empty list.
        """
        lists = photon_lists(
            event_values, event_cu_seqlens, event_summary, event_time, event_band, event_frame, event_share
        )
        return self.look(lists, event_summary).latents

    def look(self, lists: PhotonLists, summary: Tensor) -> Look:
        """The latents of lists or of parts of them; `summary` is of the whole ones."""
        config, statistics = self.config, None
        deviance = lists.values.new_zeros((len(lists.values), 0))
        if config.num_scales:
            with torch.no_grad():
                log_ratio, surprise, whole = neighbour_features(lists, config.num_scales)
                statistics = statistics_of(lists, surprise, whole, config)
                # The log of how much likelier a burst makes each stretch: attention's weights begin as its probability.
                root = 2.0 * surprise.clamp(-5.0, 5.0).sinh()
                deviance = (0.5 * root.square() * root.sign()).clamp(-MAX_SCORE, MAX_SCORE)
                here = lists.counts.clamp(min=0.5).log10().to(summary)
                summary = torch.cat([here[:, None], summary[:, 1:]], dim=1)
                numbers = self.standardize(summary)
                of_list = torch.cat([numbers, statistics[:, :1]], dim=1)[lists.row]
            features = torch.cat([lists.values, of_list, log_ratio, surprise], dim=1)
        else:
            features, numbers = earlier_features(lists), self.standardize(summary)
        layout: Chunks | Lists
        heads = config.num_attention_heads
        if varlen_applies(lists.values, heads, config.hidden_size // heads):
            layout, photons, place = as_lists(lists.cu_seqlens), features, lists.values[:, 0]
        else:
            layout = split_into_chunks(lists.cu_seqlens, config.chunk_size)
            # Gathered before any weight is applied, so that no gradient has to be scattered back.
            photons, place, deviance = features[layout.index], lists.values[layout.index, 0], deviance[layout.index]
        hidden_states = self._embed(photons)
        key, value = self.photon_keys(hidden_states)
        told = [numbers] if statistics is None or not config.list_statistics else [numbers, statistics]
        queries = self.query_embedding + self.summary_projection(torch.cat(told, dim=1))[:, None]
        for layer in self.layers:
            queries = layer(queries, key, value, layout)
        outputs = [self.layer_norm(queries).flatten(1)]
        if not config.num_scales:
            return Look(self.latent_projection(outputs[0]), None)
        centres = None
        if config.num_bursts:
            centres, at_bursts = self._bursts(hidden_states, deviance, place, layout, lists)
            outputs.append(at_bursts.flatten(1).to(outputs[0]))
        if config.list_statistics:
            outputs.append(self.photon_activation(self.statistics_projection(statistics)).to(outputs[0]))
        learned = at_least_float32(self.latent_projection(torch.cat(outputs, dim=1)))
        learned = F.rms_norm(learned, learned.shape[1:], eps=config.layer_norm_eps)
        parts = [mean_rate(lists, config), learned]
        if centres is not None:
            parts.insert(1, (centres - 0.5) * CENTRE_SCALE)
        return Look(torch.cat(parts, dim=1), statistics)

    def _bursts(
        self, hidden_states: Tensor, deviance: Tensor, place: Tensor, layout: Chunks | Lists, lists: PhotonLists
    ) -> tuple[Tensor, Tensor]:
        """(B, A) places in [0, 1], and (B, A, hidden_size) the photons there."""
        score = at_least_float32(self.burst_score(hidden_states))
        score = score + deviance.to(score) @ self.burst_scales.to(score).T
        num_rows = len(lists.share)
        if isinstance(layout, Lists):
            row = lists.row
            centres, weight = attended_places(score, place, row, num_rows)
            here = (weight[..., None] * at_least_float32(hidden_states)[:, None]).flatten(1)
            at_bursts = here.new_zeros((num_rows, here.shape[1])).index_add(0, row, here)
            return centres, at_bursts.unflatten(1, (weight.shape[1], -1))
        score = score.masked_fill(~layout.valid[..., None], -torch.inf)
        row = layout.row.repeat_interleave(layout.valid.shape[1])
        centres, weight = attended_places(score.flatten(0, 1), place.flatten(), row, num_rows)
        here = weight.view_as(score).transpose(1, 2) @ at_least_float32(hidden_states)  # (chunks, A, hidden_size)
        return centres, here.new_zeros((num_rows, *here.shape[1:])).index_add(0, layout.row, here)

    def _embed(self, values: Tensor) -> Tensor:
        time = fourier_features(values[..., TIME_COLUMN], self.config.num_time_frequencies)
        energy = fourier_features(values[..., ENERGY_COLUMN], self.config.num_energy_frequencies)
        hidden_states = self.photon_projection(torch.cat([values, time[..., 1:], energy[..., 1:]], dim=-1))
        return self.photon_norm(self.photon_output(self.photon_activation(hidden_states)))


def photon_lists(
    event_values: Tensor,
    event_cu_seqlens: Tensor,
    event_summary: Tensor,
    event_time: Tensor,
    event_band: Tensor,
    event_frame: Tensor,
    event_share: Tensor,
    **kwargs: Any,
) -> PhotonLists:
    """The lists of a batch of the feature extractor.

    Raises:
        ValueError: photons of other features.
    """
    if event_values.shape[-1] != len(FEATURES):
        raise ValueError(f"a photon has {len(FEATURES)} features, this has {event_values.shape[-1]}")
    exposure = 10.0 ** event_summary[:, 1].float()
    return PhotonLists(
        event_values, event_time, event_band, event_cu_seqlens, exposure, event_frame.float(), event_share.float()
    )


def statistics_of(lists: PhotonLists, surprise: Tensor, whole: Tensor, config: EventTransformerConfig) -> Tensor:
    """`list_statistics` as the configuration has them."""
    return list_statistics(lists, surprise, whole, config.spread_over_frames, config.power_oversampling)


def mean_rate(lists: PhotonLists, config: EventTransformerConfig) -> Tensor:
    """(B, 3) log10 of the mean rate in photons/s, standardised, and ln of medium and of hard photons over soft ones.

    Photons outside the bands do not count; half a photon is added to each number, so that none is 0. Where energies are
    not known, the bands are equal.
    """
    row = lists.row
    counts = lists.exposure.new_zeros((len(lists.share), 4))
    band = torch.where(lists.band == UNKNOWN_BAND, 3, lists.band.clamp(min=0))
    counts = counts.view(-1).index_add(0, 4 * row + band, (lists.band != OUT_OF_BAND).to(counts)).view_as(counts)
    log_rate = ((counts.sum(dim=1) + 0.5) / (lists.share * lists.exposure)).log10()
    log_counts = (counts[:, :3] + 0.5).log()
    colours = (log_counts[:, 1:] - log_counts[:, :1]) / COLOUR_STD
    return torch.cat([((log_rate - config.rate_mean) / config.rate_std)[:, None], colours], dim=1)


def mean_level(latents: Tensor, duration: Tensor, config: EventTransformerConfig) -> Tensor:
    """(B, 3) ln of the mean photons per span in each band, which `mean_rate` put into the latents."""
    log_rate = (latents[:, 0].float() * config.rate_std + config.rate_mean) * math.log(10.0)
    colours = torch.cat([torch.zeros_like(latents[:, :1]), latents[:, 1:3]], dim=1).float() * COLOUR_STD
    return torch.log_softmax(colours, dim=1) + (log_rate + duration.float().log())[:, None]
