"""The count rate as a neural field of time, and the likelihood of photons under it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chandraclip.models.event_transformer.bursts import Bursts
from chandraclip.models.event_transformer.configuration_event_transformer import EventTransformerConfig
from chandraclip.models.event_transformer.photon_lists import OUT_OF_BAND, UNKNOWN_BAND
from chandraclip.models.layers import RateBlock, ZeroLinear, fourier_features


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
        # The rate starts as constant and equal in all bands.
        self.output_projection = ZeroLinear(config.decoder_hidden_size, config.num_bands)

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
        # Not from_latents[row]: the gradient of that is summed in an order that differs from run to run on two threads.
        of_list = from_latents[:, None] if row is None else from_latents.index_select(0, row)
        hidden_states = of_list + from_time
        for block in self.blocks:
            hidden_states = block(hidden_states)
        return self.output_projection(F.relu(hidden_states))


def reference_log_rate(event_band: Tensor, cu_seqlens: Tensor, mesh_weight: Tensor) -> Tensor:
    """(B,) log of the constant rate a band that a list's photons give: what the field is relative to.

    The number of photons is known from the list, so latents are left to describe time and colour. In photons per
    observation length; of at least one photon.
    """
    counts = counts_in_band(event_band, cu_seqlens).to(mesh_weight)
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
    bursts: Bursts | None = None,
    good_time: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Negative log likelihood of an inhomogeneous Poisson process, a photon, plus the rate's total variation.

    .. math:: \\frac{1}{N} \\Big[ \\sum_b \\int \\lambda_b(t)\\, dt - \\sum_i \\log \\lambda_{b_i}(t_i) \\Big]
              + w \\frac{1}{3} \\sum_b \\sum_m \\frac{|\\lambda_b(t_{m+1}) - \\lambda_b(t_m)|}{N}

    The integral is over the good time only: that of the field cell by cell of the mesh, weighted with its good-time
    share, that of the bursts exact. Photons of unknown energy are those of the sum of the bands; photons of no band are
    left out; N is the number that remain, at least 1. Dividing by N weighs a faint list as a bright one.

    Args:
        field: (time, row or None) to log rate relative to `reference`, as `RateField`.
        reference: (B,) log rate a band, or (B, 3).
        event_time, event_band: (T,) in [0, 1]; 0, 1, 2, -1 for no band, -2 for unknown.
        cu_seqlens: (B + 1,) int64.
        mesh_weight: (B, M) good-time share of M equal cells.
        max_events: photons a list that are evaluated, evenly spaced in order, each standing for N / max_events; all
            where None.
        total_variation_weight: w, of the field; PPAD's 10 x the mean of 2,048 steps is 0.005 x their sum.
        place_in_cell: where in each cell, from 0 to 1, the field is taken for the integral. Drawn anew at each training
            step it makes the integral unbiased; at one fixed place a field can grow without bound between the places.
        bursts: that are added to the field's rate.
        good_time: event_gti and event_gti_row, which bursts need.

    Returns:
        (B,) loss a row, and (B, M, 3) log rate of field and bursts at `place_in_cell`.

    Source: Song et al. 2025 (arXiv:2502.01627), whose sums over a list are divided by N here.
    """
    num_rows, num_cells = mesh_weight.shape
    reference = reference[:, None] if reference.dim() == 1 else reference
    places = (torch.arange(num_cells, device=mesh_weight.device, dtype=mesh_weight.dtype) + place_in_cell) / num_cells
    log_rate = field(places, None).float() + reference[:, None]  # (B, M, 3)
    rate = log_rate.exp()
    integral = (rate.sum(dim=-1) * mesh_weight).mean(dim=1)
    variation = rate.diff(dim=1).abs().sum(dim=1).mean(dim=-1)

    index, row, weight = evenly_spaced_events(cu_seqlens, max_events)
    band, time = event_band[index], event_time[index]
    at_photons = field(time, row).float() + reference.index_select(0, row)
    if bursts is not None and good_time is not None:
        integral = integral + bursts.integral(*good_time).sum(dim=-1)
        at_photons = with_bursts(at_photons, bursts, time, row)
        every = torch.arange(num_rows, device=row.device).repeat_interleave(num_cells)
        log_rate = with_bursts(log_rate.flatten(0, 1), bursts, places.repeat(num_rows), every).view_as(log_rate)
    of_band = at_photons.gather(1, band.clamp(min=0)[:, None])[:, 0]
    of_band = torch.where(band == UNKNOWN_BAND, torch.logsumexp(at_photons, dim=1), of_band)
    counted = weight * (band != OUT_OF_BAND)
    log_likelihood = integral.new_zeros(num_rows).index_add(0, row, counted * of_band)

    counts = counts_in_band(event_band, cu_seqlens).to(integral).clamp(min=1.0)
    return (integral - log_likelihood + total_variation_weight * variation) / counts, log_rate


def with_bursts(log_rate: Tensor, bursts: Bursts, time: Tensor, row: Tensor) -> Tensor:
    """(K, 3) log rate with that of the bursts added."""
    return torch.logsumexp(torch.cat([log_rate[:, None], bursts.log_rate(time, row)], dim=1), dim=1)


def counts_in_band(event_band: Tensor, cu_seqlens: Tensor) -> Tensor:
    """(B,) photons that the likelihood counts."""
    counted = (event_band != OUT_OF_BAND).long()
    row = torch.repeat_interleave(cu_seqlens.diff(), output_size=len(event_band))
    return counted.new_zeros(len(cu_seqlens) - 1).index_add(0, row, counted)


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
