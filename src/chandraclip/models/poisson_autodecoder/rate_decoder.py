"""The count rate as a residual network of time and latents."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chandraclip.models.layers import RateBlock, fourier_features
from chandraclip.models.poisson_autodecoder.configuration_poisson_autodecoder import PoissonAutodecoderConfig


class RateDecoder(nn.Module):
    """Log rate in three bands as a function of time and a list's latents.

    Source: Song et al. 2025 (arXiv:2502.01627). The first layer reads the positional encoding and the latents; its two
    parts are multiplied apart, so that the latents' is computed once a list and not once a point, and, while latents
    are fitted, the encoding's once and not once a step.
    """

    def __init__(self, config: PoissonAutodecoderConfig):
        super().__init__()
        self.num_frequencies = config.num_frequencies
        self.num_encoding = 1 + 2 * config.num_frequencies
        width = config.decoder_hidden_size
        self.input_projection = nn.Linear(self.num_encoding + config.latent_size, width)
        self.blocks = nn.ModuleList([RateBlock(width) for _ in range(config.num_decoder_blocks)])
        self.output_projection = nn.Linear(width, config.num_bands)

    def encode_time(self, time: Tensor) -> Tensor:
        """(...,) times in units of 8 h to their part of the first layer, (..., width)."""
        return F.linear(
            fourier_features(time, self.num_frequencies), self.input_projection.weight[:, : self.num_encoding]
        )

    def encode_latents(self, latents: Tensor) -> Tensor:
        """(B, latent_size) to their part of the first layer, (B, width)."""
        return F.linear(latents, self.input_projection.weight[:, self.num_encoding :], self.input_projection.bias)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(..., width) sums of the two parts to (..., 3) log rates."""
        for block in self.blocks:
            hidden_states = block(hidden_states)
        return self.output_projection(F.relu(hidden_states))

    def frozen(self) -> RateDecoder:
        """A copy in float32 that takes no gradient: a fit then computes that of the latents alone."""
        return copy.deepcopy(self).requires_grad_(False).float().eval()


class DecodedLists:
    """The points at which the rate of a batch of lists is evaluated, with their part of the decoder's first layer.

    Args:
        decoder: of the rate.
        mesh: (B, M) times of the trapezoid rule, in units of 8 h.
        photons: (T,) times of all photons.
        row: (T,) int64, the list of each.
    """

    def __init__(self, decoder: RateDecoder, mesh: Tensor, photons: Tensor, row: Tensor):
        self.decoder, self.row = decoder, row
        self.shape = mesh.shape
        self.from_mesh, self.from_photons = decoder.encode_time(mesh), decoder.encode_time(photons)

    def log_rate(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """(B, latent_size) to log rates (B, M, 3) on the mesh and (T, 3) at the photons."""
        from_latents = self.decoder.encode_latents(latents)
        on_mesh = self.from_mesh + from_latents[:, None]
        points = torch.cat([on_mesh.flatten(0, 1), self.from_photons + from_latents.index_select(0, self.row)])
        log_rate = self.decoder(points)
        log_rate = log_rate.to(torch.promote_types(log_rate.dtype, torch.float32))  # autocast's is half
        num_mesh = self.shape[0] * self.shape[1]
        return log_rate[:num_mesh].unflatten(0, self.shape), log_rate[num_mesh:]
