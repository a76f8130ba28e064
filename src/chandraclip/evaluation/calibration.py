"""Are probabilities what they say: how many of the predictions of a given confidence are right (Guo et al. 2017)."""

from __future__ import annotations

from typing import Any

import numpy as np

NUM_BINS = 15
NUM_DRAWS = 200


def calibration(
    probabilities: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None = None,
    seed: int = 0,
    sources: np.ndarray | None = None,
) -> dict[str, Any]:
    """Expected calibration error and what the reliability picture shows.

    Args:
        probabilities: (N, C), labels: (N,) int.
        weights: (N,), all 1 by default.
        seed: of the draws of the floor.
        sources: (N,) names; for the floor detections of one are right or wrong together, which is the most that they
            can depend on each other. By default each is its own.

    Returns:
        error: sum over `NUM_BINS` bins of confidence of their share of the rows times |share right - mean confidence|;
        floor: its mean where every prediction is right with just the probability it says (a finite sample of a perfect
        classifier); bins: confidence, right and share of the rows, of those that hold any.
    """
    confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    weight = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    weight = weight / weight.sum()
    place = np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)

    def gaps(right: np.ndarray) -> np.ndarray:
        return np.bincount(place, weight * (right - confidence), minlength=NUM_BINS)

    share = np.bincount(place, weight, minlength=NUM_BINS)
    difference = gaps(predicted == labels)
    rng = np.random.default_rng(seed)
    ids = np.arange(len(labels)) if sources is None else np.unique(sources, return_inverse=True)[1]
    drawn = [np.abs(gaps(rng.random(len(labels))[ids] < confidence)).sum() for _ in range(NUM_DRAWS)]
    held = share > 0
    mean = np.bincount(place, weight * confidence, minlength=NUM_BINS)[held] / share[held]
    return {
        "error": float(np.abs(difference).sum()),
        "floor": float(np.mean(drawn)),
        "bins": [
            {"confidence": float(x), "right": float(x + gap), "share": float(part)}
            for x, gap, part in zip(mean, difference[held] / share[held], share[held])
        ],
    }
