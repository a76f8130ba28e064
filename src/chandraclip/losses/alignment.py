"""The loss of the alignment: every pair of modalities, and a regularizer."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor

from chandraclip.losses.info_nce import symmetric_info_nce
from chandraclip.losses.regularizers import distance_preservation, variance_covariance

REGULARIZERS = ("variance_covariance", "distance", "none")


def alignment_loss(
    embeds: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    logit_scale: Tensor,
    gamma: float = 0.0,
    regularizer: str = "variance_covariance",
    features: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum over pairs of modalities of the symmetric InfoNCE, plus gamma x the mean regularizer over modalities.

    Args:
        embeds: modality -> (B, D) unit vectors, in the same order on all processes.
        masks: modality -> (B,) bool, rows that have it.
        logit_scale: scalar multiplier of the cosine: 1 / temperature, the exponential of CLIP's parameter.
        gamma: weight of the regularizer.
        regularizer: "variance_covariance", "distance" or "none".
        features: modality -> (B, H) before projection; needed by "distance" only.

    Returns:
        The loss, and its parts without gradient ("info_nce_spectrum_text", ..., "regularizer"). Both are this process'
        share: their means over processes are those of one process with the whole batch.

    Raises:
        ValueError: fewer than two modalities, an unknown regularizer, or "distance" without `features`.
    """
    if len(embeds) < 2:
        raise ValueError(f"an alignment needs two modalities or more, these are {list(embeds)}")
    if regularizer not in REGULARIZERS:
        raise ValueError(f"regularizer {regularizer!r} is not one of {REGULARIZERS}")
    parts: dict[str, Tensor] = {}
    for left, right in combinations(embeds, 2):
        valid = masks[left] & masks[right]
        parts[f"info_nce_{left}_{right}"] = symmetric_info_nce(embeds[left], embeds[right], logit_scale, valid)
    loss = torch.stack(list(parts.values())).sum()
    if regularizer != "none" and gamma > 0:
        if regularizer == "distance":
            if features is None:
                raise ValueError("regularizer 'distance' needs the features before projection")
            terms = [distance_preservation(rows, features[name], masks[name]) for name, rows in embeds.items()]
        else:
            terms = [variance_covariance(rows, masks[name]) for name, rows in embeds.items()]
        parts["regularizer"] = torch.stack(terms).mean()
        loss = loss + gamma * parts["regularizer"]
    return loss, {name: part.detach() for name, part in parts.items()}
