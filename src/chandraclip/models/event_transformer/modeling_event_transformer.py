"""The event encoder with the count rate that trains it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.utils import ModelOutput

from chandraclip.losses.gather import shared_uniform
from chandraclip.models.contract import TowerModel
from chandraclip.models.event_transformer.bursts import CENTRE_SCALE, BurstDecoder, Bursts
from chandraclip.models.event_transformer.configuration_event_transformer import NUM_LEVELS, EventTransformerConfig
from chandraclip.models.event_transformer.event_encoder import (
    TIME_COLUMN,
    EventEncoder,
    EventTransformerPreTrainedModel,
    mean_level,
    photon_lists,
    statistics_of,
)
from chandraclip.models.event_transformer.feature_extraction_event_transformer import EventFeatureExtractor
from chandraclip.models.event_transformer.photon_features import (
    PhotonLists,
    neighbour_features,
    num_statistics,
)
from chandraclip.models.event_transformer.planting import NOTHING, NUM_KINDS, plant
from chandraclip.models.event_transformer.point_process import (
    RateField,
    point_process_loss,
    reference_log_rate,
    with_bursts,
)
from chandraclip.models.event_transformer.thinning import halves
from chandraclip.models.layers import masked_mean

TYPICAL_COUNTS = 50.0
FINE_MESH = 4  # places in each cell of the mesh where the field is integrated without drawing


@dataclass
class EventTransformerOutput(ModelOutput):
    """
    Attributes:
        loss: scalar, mean over the rows that have events; None without the keys to train on. Of photons that the
            latents have not seen; in training with the other terms of the loss.
        latents: (B, latent_size).
        log_rate: (B, M, 3), log of photons per observation length in each band, at the mesh's cell centres; not in
            training.
        loss_parts: name -> scalar without gradient; in training.
    """

    loss: Tensor | None = None
    latents: Tensor | None = None
    log_rate: Tensor | None = None
    loss_parts: dict[str, Tensor] | None = None


class EventTransformerModel(EventTransformerPreTrainedModel, TowerModel):
    """Reads an X-ray photon list of any length in one pass and gives latents; trained on photons it has not seen.

    The decoder is PPAD's neural field of the count rate in time and energy band, and bursts beside it, each as short as
    the photons are close. In training each list is cut in two at random, photon by photon; the latents of one part have
    to expect the photons of the other, and its statistics, whose noise they cannot know.

    Source: Song et al. 2025 (arXiv:2502.01627) for the field and the likelihood; theirs has a free latent a list and no
    encoder, ours reads the list in one pass.
    """

    modality = "event"
    feature_extractor_class = EventFeatureExtractor
    encoder_class = EventEncoder
    encoder: EventEncoder

    def __init__(self, config: EventTransformerConfig):
        super().__init__(config)
        self.encoder = EventEncoder(config)
        self.decoder = RateField(config)
        self.burst_decoder = BurstDecoder(config) if config.num_bursts else None
        size = num_statistics(config.num_scales) if config.num_scales else 0
        learns = config.min_thinning > 0  # these terms are of parts of a list
        self.statistics_head = nn.Linear(config.latent_size, size) if learns and config.statistics_weight else None
        self.own_statistics_head = (
            nn.Linear(config.latent_size, size) if learns and config.own_statistics_weight else None
        )
        self.planted_head = nn.Linear(config.latent_size, NUM_KINDS + 1) if learns and config.planted_weight else None
        self.post_init()

    @property
    def latents_hold_rates(self) -> bool:
        return self.config.num_scales > 0

    def forward(
        self,
        event_values: Tensor,
        event_cu_seqlens: Tensor,
        event_summary: Tensor,
        event_time: Tensor,
        event_band: Tensor,
        event_frame: Tensor,
        event_share: Tensor,
        event_mask: Tensor | None = None,
        event_key: Tensor | None = None,
        mesh_weight: Tensor | None = None,
        event_span: Tensor | None = None,
        event_gti: Tensor | None = None,
        event_gti_row: Tensor | None = None,
        **kwargs: Any,
    ) -> EventTransformerOutput:
        """
        Args:
            event_values, event_cu_seqlens, event_summary, event_time, event_band, event_frame, event_share: as
                `EventEncoder`.
            event_mask: (B,) bool, rows that count in the loss; all by default.
            event_key, mesh_weight, event_span, event_gti, event_gti_row: of the feature extractor; without them there
                is neither loss nor rate.

        Other keys of a batch are accepted and not read.
        """
        lists = photon_lists(
            event_values, event_cu_seqlens, event_summary, event_time, event_band, event_frame, event_share
        )
        if event_key is None or mesh_weight is None or event_span is None or event_gti is None or event_gti_row is None:
            return EventTransformerOutput(latents=self.encoder.look(lists, event_summary).latents)
        observed = Observed(mesh_weight, event_span[:, 1], (event_gti, event_gti_row))
        if not self.config.min_thinning:
            return self._seen(lists, event_summary, observed, event_mask)
        draw = shared_uniform(lists.share.device) if self.training else lists.share.new_tensor(0.5)
        planted = None
        if self.training and self.planted_head is not None:
            lists, *planted = plant(lists, event_key, draw, self.config.planted_share, observed.good_time)
        parts = halves(lists, event_key, draw, self.config.min_thinning)
        if not self.training:
            whole = self.encoder.look(lists, event_summary).latents
            looks = [self.encoder.look(part, event_summary).latents for part in parts]
            costs = [self._cost(look, other, observed)[0] for look, other in zip(looks, parts[::-1])]
            row_loss = 0.5 * (costs[0] + costs[1])
            loss = masked_mean(row_loss, event_mask, across_processes=False)
            log_rate = self._cost(whole, lists, observed)[1]
            return EventTransformerOutput(loss=loss, latents=whole, log_rate=log_rate)
        terms, latents = self._terms(lists, parts, event_summary, observed, planted)
        means = {name: masked_mean(term, event_mask, across_processes=True) for name, term in terms.items()}
        reported = {name: mean.detach() for name, mean in means.items()}
        return EventTransformerOutput(
            loss=torch.stack(list(means.values())).sum(), latents=latents, loss_parts=reported
        )

    def _seen(
        self, lists: PhotonLists, summary: Tensor, observed: Observed, mask: Tensor | None
    ) -> EventTransformerOutput:
        """The likelihood of the photons that the latents are made of."""
        latents = self.encoder.look(lists, summary).latents
        place = shared_uniform(lists.share.device) if self.training else 0.5
        row_loss, log_rate = self._cost(latents, lists, observed, place)
        row_loss = row_loss + self.config.latent_weight * latents.float().square().mean(dim=-1)
        loss = masked_mean(row_loss, mask, across_processes=self.training)
        return EventTransformerOutput(loss=loss, latents=latents, log_rate=log_rate)

    def _terms(
        self,
        lists: PhotonLists,
        parts: tuple[PhotonLists, PhotonLists],
        summary: Tensor,
        observed: Observed,
        planted: list[Tensor] | None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Name -> (B,) terms of the training loss, and the latents of the first part."""
        config, place = self.config, shared_uniform(lists.share.device)
        with torch.no_grad():
            _, surprise, is_whole = neighbour_features(lists, config.num_scales)
            of_whole = statistics_of(lists, surprise, is_whole, config)
        by_counts = (lists.counts / TYPICAL_COUNTS).pow(config.count_weight).clamp(0.25, 8.0)
        looks = [self.encoder.look(part, summary) for part in parts]
        terms: dict[str, list[Tensor]] = {}
        for look, part, other in zip(looks, parts[::-1], looks[::-1]):
            terms.setdefault("likelihood", []).append(by_counts * self._cost(look.latents, part, observed, place)[0])
            if planted is not None and self.planted_head is not None:
                said, (kind, log_scale) = self.planted_head(look.latents).float(), planted
                cost = F.cross_entropy(said[:, :-1], kind, reduction="none")
                cost = cost + (said[:, -1] - log_scale).square() * (kind != NOTHING)
                terms.setdefault("planted", []).append(config.planted_weight * cost)
            for name, head, weight, target in (
                ("statistics", self.statistics_head, config.statistics_weight, other.statistics),
                ("own_statistics", self.own_statistics_head, config.own_statistics_weight, of_whole),
            ):
                if head is not None:
                    error = (head(look.latents).float() - target).square().mean(dim=1)
                    terms.setdefault(name, []).append(weight * error)
        rows = {name: 0.5 * (values[0] + values[1]) for name, values in terms.items()}
        one, two = (look.latents[:, NUM_LEVELS + config.num_bursts :] for look in looks)
        size = one.square().sum(dim=1) + two.square().sum(dim=1)
        rows["consistency"] = config.consistency_weight * (one - two).square().sum(dim=1) / (size + 1e-6)
        if config.latent_weight:
            rows["latents"] = config.latent_weight * one.square().mean(dim=1)
        return rows, looks[0].latents

    def _cost(
        self, latents: Tensor, lists: PhotonLists, observed: Observed, place: float | Tensor = 0.5
    ) -> tuple[Tensor, Tensor]:
        """(B,) loss of the photons of `lists` under the rate of latents, times their share, and (B, M, 3) log rate."""
        level, bursts = self._rate(latents, lists, observed)
        return point_process_loss(
            lambda time, row: self.decoder(time, latents, row),
            level,
            lists.values[:, TIME_COLUMN],
            lists.band,
            lists.cu_seqlens,
            observed.mesh_weight,
            max_events=self.config.max_likelihood_events,
            total_variation_weight=self.config.total_variation_weight,
            place_in_cell=place,
            bursts=bursts,
            good_time=observed.good_time,
        )

    def _rate(self, latents: Tensor, lists: PhotonLists | None, observed: Observed) -> tuple[Tensor, Bursts | None]:
        """(B, 3) ln of the mean photons per span, what the field is relative to, and the bursts.

        Outside training they are scaled to the mean rate that the latents hold: the rate that is likeliest expects as
        many photons as there are, whatever its course. Training learns as much without being told, from an integral
        that is unbiased, which the logarithm of one would not be.
        """
        if not self.config.num_scales and lists is not None:
            return reference_log_rate(lists.band, lists.cu_seqlens, observed.mesh_weight), None
        mean = mean_level(latents, observed.duration, self.config)
        bursts = None
        if self.burst_decoder is not None:
            centres = latents[:, NUM_LEVELS : NUM_LEVELS + self.config.num_bursts].float() / CENTRE_SCALE + 0.5
            bursts = self.burst_decoder(latents, centres, mean)
        level = mean
        if not self.training:
            expected = self._integral(latents, mean, bursts, observed).sum(dim=1).clamp(min=1e-30)
            good = observed.mesh_weight.mean(dim=1).clamp(min=1e-9)
            scale = mean.logsumexp(dim=1) + good.log() - expected.log()
            level = mean + scale[:, None]
            bursts = None if bursts is None else bursts.scaled(scale)
        if lists is None:
            return level, bursts
        share = lists.share.log()
        return level + share[:, None], None if bursts is None else bursts.scaled(share)

    def _integral(self, latents: Tensor, level: Tensor, bursts: Bursts | None, observed: Observed) -> Tensor:
        """(B, 3) photons in the good time; those of the bursts exactly."""
        num_cells = observed.mesh_weight.shape[1] * FINE_MESH
        places = (torch.arange(num_cells, device=level.device) + 0.5) / num_cells
        rate = (self.decoder(places, latents).float() + level[:, None]).exp()
        expected = (rate * observed.mesh_weight.repeat_interleave(FINE_MESH, dim=1)[..., None]).mean(dim=1)
        return expected if bursts is None else expected + bursts.integral(*observed.good_time)

    @torch.no_grad()
    def log_rate(self, latents: Tensor, batch: Mapping[str, Tensor], time: Tensor, row: Tensor) -> Tensor:
        """(K, 3) ln of photons/s in each band; see `TowerModel.log_rate`."""
        level, bursts = self._decoded(latents, batch)
        start, duration = batch["event_span"][row].unbind(dim=1)
        place = ((time.to(start) - start) / duration).clamp(0.0, 1.0).float()
        log_rate = self.decoder(place, latents, row).float() + level.index_select(0, row)
        if bursts is not None:
            log_rate = with_bursts(log_rate, bursts, place, row)
        return log_rate - duration.float().log()[:, None]

    @torch.no_grad()
    def expected_photons(self, latents: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, 3) photons a band in the good time; see `TowerModel.expected_photons`. Their sum is the mean rate that
        the latents hold, times the good time."""
        return self._integral(latents, *self._decoded(latents, batch), Observed.of(batch))

    def _decoded(self, latents: Tensor, batch: Mapping[str, Tensor]) -> tuple[Tensor, Bursts | None]:
        if not self.config.num_scales:
            reason = "latents of configuration version 2 do not hold a list's mean rate"
            raise NotImplementedError(f"this {self.config.model_type} does not decode to a count rate: {reason}")
        was_training = self.training
        self.eval()
        try:
            return self._rate(latents, None, Observed.of(batch))
        finally:
            self.train(was_training)


@dataclass(frozen=True)
class Observed:
    """When lists were observed: `mesh_weight` (B, M), `duration` (B,) s of the span, `good_time` as event_gti and
    event_gti_row."""

    mesh_weight: Tensor
    duration: Tensor
    good_time: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, batch: Mapping[str, Tensor]) -> Observed:
        return cls(batch["mesh_weight"], batch["event_span"][:, 1], (batch["event_gti"], batch["event_gti_row"]))
