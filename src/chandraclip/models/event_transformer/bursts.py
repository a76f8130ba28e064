"""Bursts: the part of the count rate whose resolution follows the photons.

A burst is a share of a list's photons, a colour, and a shape in time with a rise and a decay of any length, placed
where the encoder's attention found photons close together. Its integral over good time is known in closed form, so
that it can be as short as one frame: no mesh has to resolve it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from chandraclip.models.event_transformer.configuration_event_transformer import EventTransformerConfig
from chandraclip.models.layers import ZeroLinear

# ln of the rise and decay times, in spans: 1e-7 of an observation (places are float32, and tell no less) to all of it.
SHORTEST, LONGEST = -16.0, 0.0
FIRST_SCALE = -4.0  # where they start, before anything is learned
FIRST_WEIGHT = -4.0  # ln of the photons of a burst, over those of the list
CENTRE_SCALE = 12.0**0.5  # a centre that is anywhere in [0, 1] has unit variance in the latents


@dataclass(frozen=True)
class Bursts:
    """A bursts of B lists: rate weight x exp(-(centre - t) / rise) / (rise + decay) before the centre, and after it
    with -(t - centre) / decay; t in [0, 1].

    Attributes:
        centre, rise, decay: (B, A) in spans.
        log_weight: (B, A, bands) ln of the photons a band, were all of time good.
    """

    centre: Tensor
    rise: Tensor
    decay: Tensor
    log_weight: Tensor

    def scaled(self, log_factor: Tensor) -> Bursts:
        """With (B,) ln of a factor on the rate."""
        return replace(self, log_weight=self.log_weight + log_factor[:, None, None])

    def log_rate(self, time: Tensor, row: Tensor) -> Tensor:
        """(K, A, bands) ln of photons per span at (K,) times of the lists (K,)."""
        centre, rise, decay, log_weight = (
            values.index_select(0, row) for values in (self.centre, self.rise, self.decay, self.log_weight)
        )
        after = time[:, None] - centre
        log_shape = torch.where(after < 0, after / rise, -after / decay) - (rise + decay).log()
        return log_shape[..., None] + log_weight

    def integral(self, gti: Tensor, gti_row: Tensor) -> Tensor:
        """(B, bands) photons expected in good time, exactly.

        Args:
            gti: (G, 2) beginning and end of the good time intervals in [0, 1].
            gti_row: (G,) int64, the list of each.
        """
        centre, rise, decay = (
            values.index_select(0, gti_row)[..., None] for values in (self.centre, self.rise, self.decay)
        )
        after = gti[:, None, :].to(centre) - centre
        total = rise + decay
        # Shares of the burst before the edge and after it; each is the exact one on its own side.
        before_edge = rise / total * (after.clamp(max=0.0) / rise).exp()
        after_edge = decay / total * (-after.clamp(min=0.0) / decay).exp()
        cumulative = torch.where(after < 0, before_edge, 1.0 - after_edge)
        inside = cumulative.diff(dim=-1)[..., 0].clamp(min=0.0)
        share = torch.zeros_like(self.centre).index_add(0, gti_row, inside)
        return (share[..., None] * self.log_weight.exp()).sum(dim=1)


class BurstDecoder(nn.Module):
    """Latents to bursts; their centres stand in the latents as they are."""

    def __init__(self, config: EventTransformerConfig):
        super().__init__()
        self.num_bursts, self.num_bands = config.num_bursts, config.num_bands
        self.fc1 = nn.Linear(config.latent_size, config.decoder_hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.fc2 = ZeroLinear(config.decoder_hidden_size, config.num_bursts * (3 + config.num_bands))

    def forward(self, latents: Tensor, centres: Tensor, level: Tensor) -> Bursts:
        """
        Args:
            latents: (B, latent_size).
            centres: (B, A) in [0, 1].
            level: (B, bands) ln of the mean photons per span in each band.
        """
        raw = self.fc2(self.activation(self.fc1(latents))).float().unflatten(1, (self.num_bursts, -1))
        rise, decay = ((FIRST_SCALE + 2.0 * raw[..., place]).clamp(SHORTEST, LONGEST).exp() for place in (0, 1))
        # A burst has the colour of its list, but for what is learned.
        colour = torch.log_softmax(level[:, None] + raw[..., 3:], dim=-1)
        weight = (FIRST_WEIGHT + 2.0 * raw[..., 2]).clamp(max=1.0)
        log_weight = weight[..., None] + colour + torch.logsumexp(level, dim=-1)[:, None, None]
        return Bursts(centres, rise, decay, log_weight)


def attended_places(score: Tensor, place: Tensor, row: Tensor, num_rows: int) -> tuple[Tensor, Tensor]:
    """Where attention over each list's photons falls.

    Args:
        score: (E, A) float32; -inf where there is no photon.
        place: (E,) in [0, 1].
        row: (E,) int64, the list of each.
        num_rows: B.

    Returns:
        (B, A) mean place under the softmax of a list's scores, 1/2 for an empty list, and the (E, A) weights.
    """
    index = row[:, None].expand_as(score)
    with torch.no_grad():  # the shift cancels
        largest = score.new_full((num_rows, score.shape[1]), -torch.inf).scatter_reduce(0, index, score, "amax")
        largest = torch.where(largest.isfinite(), largest, 0.0)
    weight = (score - largest[row]).exp()
    total = score.new_zeros((num_rows, score.shape[1])).index_add(0, row, weight)
    weight = weight / total.clamp(min=1e-20).index_select(0, row)
    away = score.new_zeros(total.shape).index_add(0, row, weight * (place[:, None].to(score) - 0.5))
    return 0.5 + away, weight
