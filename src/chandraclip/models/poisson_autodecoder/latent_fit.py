"""Latents of lists that the model was not trained on: Adam with the decoder frozen, many lists at once."""

from __future__ import annotations

import torch
from torch import Tensor

from chandraclip.models.poisson_autodecoder.configuration_poisson_autodecoder import PoissonAutodecoderConfig
from chandraclip.models.poisson_autodecoder.point_process import PhotonLists, autodecoder_loss
from chandraclip.models.poisson_autodecoder.rate_decoder import DecodedLists, RateDecoder

# Above it a CPU waits for memory: 32 lists of width 64 took 2 to 4 times as long in runs of 16,000 and 65,000 points.
CPU_POINTS, GPU_POINTS = 2**12, 2**18


def fit_latents(
    decoder: RateDecoder,
    lists: PhotonLists,
    start: Tensor,
    config: PoissonAutodecoderConfig,
    num_steps: int | None = None,
) -> Tensor:
    """The latents that minimise each list's own loss, from a common start.

    Adam works number by number and the loss of a batch is the sum of its lists', so a list's fit does not depend on
    the others (but for rounding). Runs under `torch.no_grad` and `torch.inference_mode`, too.

    Args:
        decoder: left as it is.
        lists: B lists; handled in runs of consecutive ones, of about `max_fit_points` points each.
        start: (latent_size,), the mean training latent.
        config: weights of the loss, the mesh and the fit.
        num_steps: in place of the configuration's.

    Returns:
        (B, latent_size) float32, without gradient.

    Source: Song et al. 2025 (arXiv:2502.01627): 400 steps of Adam at 0.01.
    """
    steps = config.num_fit_steps if num_steps is None else num_steps
    max_points = config.max_fit_points or (CPU_POINTS if start.device.type == "cpu" else GPU_POINTS)
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(start.device.type, enabled=False):
        frozen = decoder.frozen()
        start = start.detach().clone().float()
        # Tensors made in inference mode may not be used in a graph; copies of them may.
        lists = lists.clone()
        fitted = [
            _fit(frozen, lists.slice(begin, end), start, config, steps)
            for begin, end in _runs(lists, config.mesh_size + 1, max_points)
        ]
    return torch.cat(fitted) if fitted else start.new_zeros(0, len(start))


def _fit(
    decoder: RateDecoder, lists: PhotonLists, start: Tensor, config: PoissonAutodecoderConfig, num_steps: int
) -> Tensor:
    points = DecodedLists(decoder, lists.mesh(config.mesh_size), lists.time, lists.row)
    latents = start.expand(len(lists), -1).clone().requires_grad_()
    optimizer = torch.optim.Adam([latents], lr=config.fit_learning_rate)
    for _ in range(num_steps):
        on_mesh, at_photons = points.log_rate(latents)
        loss, _ = autodecoder_loss(
            on_mesh, at_photons, latents, lists, config.total_variation_weight, config.latent_weight
        )
        (latents.grad,) = torch.autograd.grad(loss.sum(), latents)
        optimizer.step()
    return latents.detach()


def _runs(lists: PhotonLists, points_a_mesh: int, max_points: int) -> list[tuple[int, int]]:
    """(begin, end) of runs of consecutive lists that begin within the same `max_points` points."""
    points = lists.cu_seqlens.diff() + points_a_mesh
    number = (points.cumsum(0) - points) // max_points
    ends = number.unique_consecutive(return_counts=True)[1].cumsum(0).tolist()
    return list(zip([0, *ends], ends))
