"""Latents fitted to a spectrum's counts, from where the encoder puts them: what the decoder can say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from chandraclip.losses.poisson import cash

if TYPE_CHECKING:
    from chandraclip.models.folded_spectrum_autoencoder.modeling_folded_spectrum_autoencoder import (
        FoldedSpectrumAutoencoderModel,
        Instrument,
        Seen,
    )

# Cash's statistic that moving the latents by their own length costs. Without it a fit to 50 counts is one of their
# noise; with it photons that were held out are expected better from 100 counts on, and as well below.
PRIOR_WEIGHT = 200.0
LEARNING_RATE = 0.02


def fit_latents(
    model: FoldedSpectrumAutoencoderModel,
    seen: Seen,
    instrument: Instrument,
    background_counts: Tensor,
    num_steps: int,
) -> tuple[Tensor, Tensor]:
    """Latents and background level of the least Cash statistic, near those of the encoder; Adam's steps.

    An encoder answers for all spectra at once, and is less exact than photons are where these are many (the
    amortization gap: Cremer et al. 2018, arXiv:1801.03558). Each row is fitted for itself, whatever its batch is.

    Args:
        model: in evaluation; its weights stay as they are.
        seen, instrument: of B rows.
        background_counts: (B, 1), of the background's region, which pay for its level.
        num_steps: 0 for the encoder's own.

    Returns:
        (B, latent_size), and (B, 1) log of the background's level.
    """
    with torch.no_grad():
        start, level, _ = model.encoder.look(seen)
    start, level = start.float(), level.float()
    length = start.square().sum(dim=1).clamp(min=1e-6)
    moved, log_level = start.clone().requires_grad_(), level.clone().requires_grad_()
    optimizer = torch.optim.Adam([moved, log_level], lr=LEARNING_RATE)
    for _ in range(num_steps):
        with torch.enable_grad():
            expected = model.expect(model.decoder(moved), seen, log_level, instrument)[1]
            cost = (cash(seen.counts, expected) * seen.good).sum(dim=1)
            cost = cost + PRIOR_WEIGHT * (moved - start).square().sum(dim=1) / length
            paid = background_counts * (log_level.exp() - 1.0 - log_level)
            gradients = torch.autograd.grad(cost.sum() + 2.0 * paid.sum(), [moved, log_level])
        for value, gradient in zip((moved, log_level), gradients):
            value.grad = gradient
        optimizer.step()
    return moved.detach(), log_level.detach()
