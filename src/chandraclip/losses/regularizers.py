"""Regularizers of an embedding. Each sees the rows of all processes, so its value does not depend on their number."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from chandraclip.losses.gather import all_gather_mask, all_gather_with_gradient
from chandraclip.losses.info_nce import at_least_float32


def _gather_valid(rows: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of all processes with 0 where the modality is missing, and the weights (N,) 1 or 0."""
    rows = at_least_float32(rows).masked_fill(~mask[:, None], 0.0)
    return all_gather_with_gradient(rows), all_gather_mask(mask).to(rows.dtype)


def variance_covariance(embeds: Tensor, mask: Tensor, epsilon: float = 1e-4) -> Tensor:
    """VICReg's variance and covariance terms: every dimension is used, and no two carry the same.

    Embeddings are scaled by sqrt(D), so that unit vectors spread evenly over the sphere, whose dimensions have variance
    1 / D, cost nothing in expectation.

    Args:
        embeds: (B, D) unit vectors; B equal on all processes.
        mask: (B,) bool, rows that count.
        epsilon: added to the variance under the square root.

    Returns:
        Scalar: mean over dimensions of max(0, 1 - std) + sum over pairs of squared covariance / D; 0 for under two
        rows.

    Source: Bardes, Ponce & LeCun 2022 (arXiv:2105.04906) eqs. 1-4.
    """
    with torch.autocast(embeds.device.type, enabled=False):
        rows, weight = _gather_valid(embeds, mask)
        dimension = rows.shape[1]
        count = weight.sum()
        mean = rows.sum(dim=0) / count.clamp(min=1)
        centred = (rows - mean) * weight[:, None] * dimension**0.5
        covariance = centred.T @ centred / (count - 1).clamp(min=1)
        variance = covariance.diagonal()
        variance_term = F.relu(1 - (variance + epsilon).sqrt()).mean()
        covariance_term = (covariance.square().sum() - variance.square().sum()) / dimension
        return (variance_term + covariance_term) * (count > 1)


def distance_preservation(embeds: Tensor, features: Tensor, mask: Tensor) -> Tensor:
    """Distances between rows after alignment follow those of the modality alone, each in units of their mean.

    Args:
        embeds: (B, D) embeddings; B equal on all processes.
        features: (B, H) the modality's own features, before projection; taken as given (no gradient).
        mask: (B,) bool, rows that count.

    Returns:
        Scalar: mean Huber loss over pairs of rows; 0 for under two rows.

    Source: Park et al. 2019 (arXiv:1904.05068) eqs. 5-7, distance-wise relational distillation.
    """
    with torch.autocast(embeds.device.type, enabled=False):
        rows, weight = _gather_valid(embeds, mask)
        targets, _ = _gather_valid(features.detach(), mask)
        pairs = (weight[:, None] * weight[None, :]).fill_diagonal_(0.0)
        num_pairs = pairs.sum().clamp(min=1)

        def relative_distances(points: Tensor) -> Tensor:
            squared = points.square().sum(dim=1)
            distances = (squared[:, None] + squared[None, :] - 2 * points @ points.T).clamp(min=1e-8).sqrt()
            return distances / ((distances * pairs).sum() / num_pairs).clamp(min=1e-8)

        loss = F.huber_loss(relative_distances(rows), relative_distances(targets), reduction="none")
        return (loss * pairs).sum() / num_pairs


def neighbourhood_preservation(
    embeds: Tensor, features: Tensor, mask: Tensor, num_neighbours: int = 5, temperature: float = 0.1
) -> Tensor:
    """Who is near a row in the modality alone is near it after alignment.

    Of each row i a distribution over the others, p_ij ~ exp(-((d_ij - d_i1) / (d_ik - d_i1))^2) with d the Euclidean
    distance of features in units of their scatter, d_i1 that of the nearest and d_ik of the k-th nearest row; and
    q_ij ~ exp(cosine / temperature) of the embeddings.

    Args:
        embeds: (B, D) unit vectors; B equal on all processes.
        features: (B, H) the modality's own features, before projection; taken as given (no gradient).
        mask: (B,) bool, rows that count.
        num_neighbours: k, the rows that make a neighbourhood.
        temperature: of the embeddings' cosine.

    Returns:
        Scalar: mean over rows of the Kullback-Leibler divergence of q from p, in nats; 0 for fewer than k + 2 rows.

    Source: Fang et al. 2021 (arXiv:2101.04731) eqs. 1-5, where p is of a teacher's cosines; distances to the nearest
    row and widths by row after McInnes et al. 2018 (arXiv:1802.03426) sect. 3.1, since latents have no common scale.
    """
    with torch.autocast(embeds.device.type, enabled=False):
        rows, weight = _gather_valid(embeds, mask)
        targets, _ = _gather_valid(features.detach(), mask)
        count = weight.sum()
        centred = (targets - targets.sum(dim=0) / count.clamp(min=1)) * weight[:, None]
        scatter = (centred.square().sum(dim=0) / count.clamp(min=1)).sqrt()
        points = torch.where(scatter > 0, centred / scatter.clamp(min=1e-12), 0.0)
        pairs = (weight[:, None] * weight[None, :]).fill_diagonal_(0.0) > 0
        squared = points.square().sum(dim=1)
        distances = (squared[:, None] + squared[None, :] - 2 * points @ points.T).clamp(min=0.0).sqrt()
        distances = distances.masked_fill(~pairs, torch.inf)
        nearest = distances.topk(min(num_neighbours, len(rows)), dim=1, largest=False).values
        use = weight * nearest[:, -1].isfinite()
        first, last = (torch.where(use > 0, nearest[:, place], 0.0)[:, None] for place in (0, -1))
        excess = ((distances - first) / (last - first).clamp(min=1e-6)).square()
        floor = torch.finfo(rows.dtype).min  # not minus infinity: a row without pairs would be NaN, with its gradient
        log_p = (-excess).masked_fill(~pairs, floor).log_softmax(dim=1)
        log_q = (rows @ rows.T / temperature).masked_fill(~pairs, floor).log_softmax(dim=1)
        divergence = torch.where(pairs, log_p.exp() * (log_p - log_q), 0.0).sum(dim=1)
        return (divergence * use).sum() / use.sum().clamp(min=1) * (count > num_neighbours + 1)
