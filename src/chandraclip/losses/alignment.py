"""The loss of the alignment: every pair of modalities, and a regularizer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor

from chandraclip.losses.info_nce import symmetric_info_nce
from chandraclip.losses.regularizers import distance_preservation, neighbourhood_preservation, variance_covariance

REGULARIZERS = ("variance_covariance", "distance", "none")
# The joint embedding of the X-ray modalities. It is made of theirs, so its one partner is the text.
JOINT = "xray"


def aligned_pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    """The pairs that are aligned of some of spectrum, event, xray and text, in order."""
    return [pair for pair in combinations(names, 2) if JOINT not in pair or "text" in pair]


def check_pair_weights(pair_weights: Mapping[str, float], modalities: Sequence[str]) -> None:
    """
    Args:
        pair_weights: "<left>_<right>" -> weight in the loss; a pair not named has 1.
        modalities: that are aligned, in order, "xray" for the joint embedding among them.

    Raises:
        ValueError: a pair that is not one of these modalities', a weight that is negative or not finite, or no weight
            above 0.
    """
    pairs = [f"{left}_{right}" for left, right in aligned_pairs(modalities)]
    _check_weights("pair_weights", pair_weights, "pairs of modalities", pairs)
    if not any(pair_weights.get(name, 1.0) for name in pairs):
        raise ValueError(f"pair_weights: at least one of {', '.join(pairs)} must have a weight above 0")


def check_neighbourhood_weights(neighbourhood_weights: Mapping[str, float], modalities: Sequence[str]) -> None:
    """
    Args:
        neighbourhood_weights: modality -> weight in the loss.
        modalities: that are aligned.

    Raises:
        ValueError: another name than of these modalities', or a weight that is negative or not finite.
    """
    known = [name for name in modalities if name != JOINT]
    _check_weights("neighbourhood_weights", neighbourhood_weights, "modalities", known)


def _check_weights(option: str, weights: Mapping[str, float], kind: str, known: Sequence[str]) -> None:
    unknown = [name for name in weights if name not in known]
    if unknown:
        raise ValueError(f"{option} names {', '.join(unknown)}; the {kind} here are {', '.join(known)}")
    for name, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"{option}: the weight of {name} must be 0 or more, it is {weight}")


def alignment_loss(
    embeds: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    logit_scale: Tensor,
    gamma: float = 0.0,
    regularizer: str = "variance_covariance",
    features: Mapping[str, Tensor] | None = None,
    pair_weights: Mapping[str, float] | None = None,
    neighbourhood_weights: Mapping[str, float] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum over `aligned_pairs` of the symmetric InfoNCE, plus gamma x the mean regularizer of modalities, plus
    what the neighbourhoods of modalities lose, weighted.

    Args:
        embeds: modality, or "xray" -> (B, D) unit vectors, in the same order on all processes.
        masks: modality -> (B,) bool, rows that have it.
        logit_scale: scalar multiplier of the cosine: 1 / temperature, the exponential of CLIP's parameter.
        gamma: weight of the regularizer.
        regularizer: "variance_covariance", "distance" or "none".
        features: modality -> (B, H) before projection; needed by "distance" and for neighbourhoods.
        pair_weights: "<left>_<right>", in the order of `embeds`, -> weight of the pair's InfoNCE; 1 where not named.
        neighbourhood_weights: modality -> weight of its `neighbourhood_preservation`; 0 where not named.

    Returns:
        The loss, and its parts without weight or gradient ("info_nce_spectrum_text", ..., "regularizer",
        "neighbourhood_event"). Both are this process' share: their means over processes are those of one process with
        the whole batch.

    Raises:
        ValueError: fewer than two modalities, an unknown regularizer, "distance" or neighbourhoods without `features`.
    """
    pairs = aligned_pairs(embeds)
    if not pairs:
        raise ValueError(f"an alignment needs two modalities or more, these are {list(embeds)}")
    if regularizer not in REGULARIZERS:
        raise ValueError(f"regularizer {regularizer!r} is not one of {REGULARIZERS}")
    parts: dict[str, Tensor] = {}
    terms: list[Tensor] = []
    for left, right in pairs:
        valid = masks[left] & masks[right]
        parts[f"info_nce_{left}_{right}"] = symmetric_info_nce(embeds[left], embeds[right], logit_scale, valid)
        terms.append((pair_weights or {}).get(f"{left}_{right}", 1.0) * parts[f"info_nce_{left}_{right}"])
    loss = torch.stack(terms).sum()
    if regularizer != "none" and gamma > 0:
        if regularizer == "distance":
            if features is None:
                raise ValueError("regularizer 'distance' needs the features before projection")
            costs = [
                distance_preservation(rows, features[name], masks[name])
                for name, rows in embeds.items()
                if name != JOINT  # whose features are those of the others
            ]
        else:
            costs = [variance_covariance(rows, masks[name]) for name, rows in embeds.items()]
        parts["regularizer"] = torch.stack(costs).mean()
        loss = loss + gamma * parts["regularizer"]
    for name, weight in (neighbourhood_weights or {}).items():
        if weight and name in embeds:
            if features is None or name not in features:
                raise ValueError(f"the neighbourhoods of {name} need its features before projection")
            part = neighbourhood_preservation(embeds[name], features[name], masks[name])
            parts[f"neighbourhood_{name}"] = part
            loss = loss + weight * part
    return loss, {name: part.detach() for name, part in parts.items()}
