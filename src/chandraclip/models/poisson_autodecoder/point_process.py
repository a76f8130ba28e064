"""The loss of PPAD: the likelihood of photons under a rate, the rate's total variation, the length of the latents."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class PhotonLists:
    """A batch of lists as the loss takes them; times in units of 8 h.

    Attributes:
        time, band: (T,) of all photons, list by list and in order of time; band 0, 1, 2.
        cu_seqlens: (B + 1,) int64, list i is photons cu_seqlens[i] to cu_seqlens[i + 1].
        duration: (B,) from time 0 to the end of what is integrated.
        good_share: (B, M - 1) share of good time in each step of the mesh; None where all time counts as good.
        background: (B, 3) rate that is not the source's; None for none.
    """

    time: Tensor
    band: Tensor
    cu_seqlens: Tensor
    duration: Tensor
    good_share: Tensor | None = None
    background: Tensor | None = None

    def __len__(self) -> int:
        return len(self.duration)

    @property
    def row(self) -> Tensor:
        """(T,) the list of each photon."""
        return torch.repeat_interleave(self.cu_seqlens.diff())

    def mesh(self, num_steps: int) -> Tensor:
        """(B, num_steps + 1) equally spaced times over each list."""
        places = torch.linspace(0.0, 1.0, num_steps + 1, device=self.duration.device, dtype=self.duration.dtype)
        return self.duration[:, None] * places

    def clone(self) -> PhotonLists:
        """A copy."""
        return replace(self, **{name: value.clone() for name, value in vars(self).items() if value is not None})

    def slice(self, begin: int, end: int) -> PhotonLists:
        """Lists begin to end."""
        photons = slice(int(self.cu_seqlens[begin]), int(self.cu_seqlens[end]))
        rows = slice(begin, end)
        return PhotonLists(
            self.time[photons],
            self.band[photons],
            self.cu_seqlens[begin : end + 1] - self.cu_seqlens[begin],
            self.duration[rows],
            None if self.good_share is None else self.good_share[rows],
            None if self.background is None else self.background[rows],
        )


def trapezoid_integral(values: Tensor, duration: Tensor, good_share: Tensor | None = None) -> Tensor:
    """Integral over each list by the trapezoid rule, of its good time alone where that is given.

    Args:
        values: (B, M, 3) at equally spaced times.
        duration: (B,) of the whole mesh.
        good_share: (B, M - 1) weight of each step.

    Returns:
        (B, 3).
    """
    steps = 0.5 * (values[:, 1:] + values[:, :-1])
    if good_share is not None:
        steps = steps * good_share[..., None]
    return steps.mean(dim=1) * duration[:, None]


def with_background(log_rate: Tensor, background: Tensor | None) -> Tensor:
    """Log of the source's rate plus the background's, which broadcasts to it."""
    return log_rate if background is None else torch.logaddexp(log_rate, background.log())


def negative_log_likelihood(on_mesh: Tensor, at_photons: Tensor, lists: PhotonLists) -> Tensor:
    """(B,) of an inhomogeneous Poisson process in three bands.

    .. math:: \\sum_b \\int_0^T \\lambda_b(t)\\, dt - \\sum_i \\log \\lambda_{b_i}(t_i)

    Args:
        on_mesh: (B, M, 3) log rate of the source.
        at_photons: (T, 3) the same at the photons.
        lists: the photons.
    """
    row, background = lists.row, lists.background
    on_mesh = with_background(on_mesh, None if background is None else background[:, None])
    at_photons = with_background(at_photons, None if background is None else background[row])
    expected = trapezoid_integral(on_mesh.exp(), lists.duration, lists.good_share).sum(dim=1)
    log_likelihood = at_photons.gather(1, lists.band[:, None])[:, 0]
    return expected - torch.zeros_like(expected).index_add(0, row, log_likelihood)


def total_variation(on_mesh: Tensor, at_photons: Tensor, lists: PhotonLists) -> Tensor:
    """(B,) mean step of the rate, not of its logarithm, on the mesh, plus its mean step from photon to photon.

    A list of fewer than two photons has no step of the second kind.
    """
    variation = on_mesh.exp().diff(dim=1).abs().mean(dim=(1, 2))
    row = lists.row
    step = at_photons.exp().diff(dim=0).abs().mean(dim=1)
    same = (row[1:] == row[:-1]).to(step.dtype)
    steps = (lists.cu_seqlens.diff() - 1).clamp(min=1)
    return variation + torch.zeros_like(variation).index_add(0, row[1:], same * step) / steps


def autodecoder_loss(
    on_mesh: Tensor,
    at_photons: Tensor,
    latents: Tensor,
    lists: PhotonLists,
    total_variation_weight: float,
    latent_weight: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """
    Args:
        on_mesh, at_photons: (B, M, 3) and (T, 3) log rates.
        latents: (B, latent_size).
        lists: the photons.
        total_variation_weight, latent_weight: 10 and 1 as published.

    Returns:
        (B,) loss a list, and its parts (B,): negative_log_likelihood, total_variation, squared_latents.

    Source: Song et al. 2025 (arXiv:2502.01627) and its code; the published loss is the mean of this over a batch.
    """
    parts = {
        "negative_log_likelihood": negative_log_likelihood(on_mesh, at_photons, lists),
        "total_variation": total_variation(on_mesh, at_photons, lists),
        "squared_latents": latents.square().sum(dim=1),
    }
    weights = (1.0, total_variation_weight, latent_weight)
    loss = sum((weight * part for weight, part in zip(weights, parts.values())), torch.zeros_like(on_mesh[:, 0, 0]))
    return loss, parts
