"""The count rate as a neural field of time, and the likelihood of photons under it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chandraclip.models.event_transformer.configuration_event_transformer import EventTransformerConfig
from chandraclip.models.layers import fourier_features


class RateBlock(nn.Module):
    """Pre-activation residual block."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Linear(width, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return hidden_states + self.fc2(F.relu(self.fc1(F.relu(hidden_states))))


class RateField(nn.Module):
    """Log rate in three bands as a function of time in [0, 1] and a list's latents.

    Source: Song et al. 2025 (arXiv:2502.01627): positional encoding, residual blocks, log rate a band.
    """

    def __init__(self, config: EventTransformerConfig):
        super().__init__()
        self.num_frequencies = config.num_decoder_frequencies
        self.time_projection = nn.Linear(1 + 2 * config.num_decoder_frequencies, config.decoder_hidden_size)
        self.latent_projection = nn.Linear(config.latent_size, config.decoder_hidden_size)
        self.blocks = nn.ModuleList([RateBlock(config.decoder_hidden_size) for _ in range(config.num_decoder_blocks)])
        self.output_projection = nn.Linear(config.decoder_hidden_size, config.num_bands)

    def forward(self, time: Tensor, latents: Tensor, row: Tensor | None = None) -> Tensor:
        """
        Args:
            time: (M,) the same for all lists, or (K,) with `row`.
            latents: (B, latent_size).
            row: (K,) int64, the list of each time.

        Returns:
            (B, M, 3), or (K, 3) with `row`.
        """
        from_time = self.time_projection(fourier_features(time, self.num_frequencies))
        from_latents = self.latent_projection(latents)
        hidden_states = from_latents[:, None] + from_time if row is None else from_latents[row] + from_time
        for block in self.blocks:
            hidden_states = block(hidden_states)
        return self.output_projection(F.relu(hidden_states))


def reference_log_rate(event_band: Tensor, cu_seqlens: Tensor, mesh_weight: Tensor) -> Tensor:
    """(B,) log of the constant rate a band that a list's photons give: what the field is relative to.

    The number of photons is known from the list, so latents are left to describe time and colour. In photons per
    observation length; of at least one photon.
    """
    in_band = (event_band >= 0).to(mesh_weight.dtype)
    row = torch.repeat_interleave(cu_seqlens.diff())
    counts = mesh_weight.new_zeros(len(mesh_weight)).index_add(0, row, in_band)
    good_share = mesh_weight.mean(dim=1).clamp(min=1e-3)
    return (counts.clamp(min=1.0) / (3.0 * good_share)).log()


def point_process_loss(
    field: Callable[[Tensor, Tensor | None], Tensor],
    reference: Tensor,
    event_time: Tensor,
    event_band: Tensor,
    cu_seqlens: Tensor,
    mesh_weight: Tensor,
    max_events: int | None = None,
    total_variation_weight: float = 0.0,
    place_in_cell: float | Tensor = 0.5,
) -> tuple[Tensor, Tensor]:
    """Negative log likelihood of an inhomogeneous Poisson process, a photon, plus the rate's total variation.

    .. math:: \\frac{1}{N} \\Big[ \\sum_b \\int \\lambda_b(t)\\, dt - \\sum_i \\log \\lambda_{b_i}(t_i) \\Big]
              + w \\frac{1}{3} \\sum_b \\sum_m \\frac{|\\lambda_b(t_{m+1}) - \\lambda_b(t_m)|}{N}

    The integral is over the good time only: cell by cell of the mesh, weighted with its good-time share. Photons of no
    band are left out; N is the number that remain, at least 1. Dividing by N weighs a faint list as a bright one.

    Args:
        field: (time, row or None) to log rate relative to `reference`, as `RateField`.
        reference: (B,) log rate a band.
        event_time, event_band: (T,) in [0, 1]; 0, 1, 2 or -1.
        cu_seqlens: (B + 1,) int64.
        mesh_weight: (B, M) good-time share of M equal cells.
        max_events: photons a list that are evaluated, evenly spaced in order, each standing for N / max_events; all
            where None.
        total_variation_weight: w; PPAD's 10 x the mean of 2,048 steps is 0.005 x their sum.
        place_in_cell: where in each cell, from 0 to 1, the rate is taken for the integral. Drawn anew at each training
            step it makes the integral unbiased; at one fixed place a field can grow without bound between the places.

    Returns:
        (B,) loss a row, and (B, M, 3) log rate at `place_in_cell`.

    Source: Song et al. 2025 (arXiv:2502.01627), whose sums over a list are divided by N here.
    """
    num_rows, num_cells = mesh_weight.shape
    places = (torch.arange(num_cells, device=mesh_weight.device, dtype=mesh_weight.dtype) + place_in_cell) / num_cells
    log_rate = field(places, None).float() + reference[:, None, None]  # (B, M, 3)
    rate = log_rate.exp()
    integral = (rate.sum(dim=-1) * mesh_weight).mean(dim=1)
    variation = rate.diff(dim=1).abs().sum(dim=1).mean(dim=-1)

    index, row, weight = evenly_spaced_events(cu_seqlens, max_events)
    band = event_band[index]
    at_photons = field(event_time[index], row).float().gather(1, band.clamp(min=0)[:, None])[:, 0] + reference[row]
    counted = weight * (band >= 0)
    log_likelihood = integral.new_zeros(num_rows).index_add(0, row, counted * at_photons)

    all_rows = torch.repeat_interleave(cu_seqlens.diff())
    counts = integral.new_zeros(num_rows).index_add(0, all_rows, (event_band >= 0).to(integral.dtype)).clamp(min=1.0)
    return (integral - log_likelihood + total_variation_weight * variation) / counts, log_rate


def evenly_spaced_events(cu_seqlens: Tensor, max_events: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """At most `max_events` photons a list, evenly spaced in order.

    Returns:
        (K,) index into the packed photons, (K,) its list, (K,) float32 weight: photons of the list / photons taken.
    """
    lengths = cu_seqlens.diff()
    taken = lengths if max_events is None else lengths.clamp(max=max_events)
    row = torch.repeat_interleave(taken)
    rank = torch.arange(len(row), device=row.device) - (taken.cumsum(0) - taken)[row]
    index = cu_seqlens[:-1][row] + (2 * rank + 1) * lengths[row] // (2 * taken[row])
    return index, row, lengths[row].float() / taken[row].float()
