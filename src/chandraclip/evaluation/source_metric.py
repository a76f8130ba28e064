"""A metric in which two observations of one source are near: a linear map, learned on sources of train by contrast.

Distances in latents weigh everything alike that the latents hold. What differs from one observation of a source to the
next, such as when its photons came, then hides what stays, such as their energies. Who wants to know whether two
observations are of one source can learn what to look at from sources that were observed more than once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from chandraclip.evaluation.regression import Standardizer

MIN_SOURCES = 50  # with several observations; of fewer there is little to learn
NUM_STEPS = 400
NUM_SOURCES = 512  # a step, each with two of its observations
LEARNING_RATE = 5e-3
WEIGHT_DECAY = 1e-2  # of the squared weights, in the loss; results do not depend on it from 1e-3 to 1e-2
FIRST_SCALE = 0.5


@dataclass(frozen=True)
class SourceMetric:
    """Distances of standardised vectors after a linear map.

    The map is trained by InfoNCE on squared distances: of which of the batch's sources is the other observation? It is
    neighbourhood components analysis (Goldberger et al. 2004, NeurIPS 17, 513) with pairs drawn in batches. One linear
    layer, the same recipe for any vectors: it says what they hold, not how well a network learns.

    Attributes:
        standardizer: of the vectors as they come.
        matrix: (D, D).
    """

    standardizer: Standardizer
    matrix: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray, sources: np.ndarray, seed: int = 0) -> SourceMetric | None:
        """
        Args:
            values: (N, D), NaN where missing. sources: (N,) names.
            seed: of the pairs that are drawn.

        Returns:
            None where fewer than `MIN_SOURCES` sources have two observations.
        """
        _, source, count = np.unique(sources, return_inverse=True, return_counts=True)
        by_source = np.argsort(source, kind="stable")
        first = np.concatenate([[0], count.cumsum()[:-1]])
        several = np.flatnonzero(count > 1)
        if len(several) < MIN_SOURCES:
            return None
        standardizer = Standardizer.fit(values)
        scaled = torch.from_numpy(standardizer(values)).float()
        matrix = torch.nn.Parameter(FIRST_SCALE * torch.eye(scaled.shape[1]))
        optimizer = torch.optim.Adam([matrix], lr=LEARNING_RATE)
        generator = np.random.default_rng(seed)
        target = torch.arange(min(NUM_SOURCES, len(several)))
        for _ in range(NUM_STEPS):
            chosen = generator.choice(several, len(target), replace=False)
            one = generator.integers(count[chosen])
            other = (one + generator.integers(1, count[chosen])) % count[chosen]
            here, there = (
                scaled[torch.from_numpy(by_source[first[chosen] + place])] @ matrix for place in (one, other)
            )
            near = -torch.cdist(here, there).square()
            loss = 0.5 * (F.cross_entropy(near, target) + F.cross_entropy(near.T, target))
            optimizer.zero_grad()
            (loss + WEIGHT_DECAY * matrix.square().sum()).backward()
            optimizer.step()
        return cls(standardizer, matrix.detach().double().numpy())

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(N, D) to (N, D), to be compared by distance."""
        return self.standardizer(values) @ self.matrix
