"""Means over the unknown background of a source aperture, by Gauss-Hermite quadrature.

With a flat prior, background_counts ~ Poisson leaves the background a Gamma(background_counts + 1) variate. Its cube
root is nearly normal (Wilson & Hilferty 1931, PNAS 17, 684): the nodes are those of that normal distribution, weighted
by the true density. It takes as many as the background's variance is worth beside the variance of the counts.
"""

from __future__ import annotations

import numpy as np

# Nodes up to which ratio of the variances of background and counts. The posterior of a rate was then within 2e-3 in
# total variation of the exact one (0-400 counts, scales 0.02-2, ratios to 10).
NUM_BACKGROUND_NODES = ((0.002, 1), (0.02, 3), (0.3, 5), (np.inf, 12))


def node_groups(counts: np.ndarray, background: np.ndarray, scale: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """How many nodes each detection needs: (number of nodes, rows that take it), for the numbers that occur.

    Args:
        counts, background: (N, bands). scale: (N,) source / background aperture.
    """
    spread = (scale[:, None] ** 2 * (background + 1.0) / (counts + 1.0)).max(axis=1)
    group = np.searchsorted([limit for limit, _ in NUM_BACKGROUND_NODES[:-1]], spread)
    members = [np.flatnonzero(group == number) for number in range(len(NUM_BACKGROUND_NODES))]
    return [(nodes, rows) for (_, nodes), rows in zip(NUM_BACKGROUND_NODES, members) if rows.size]


def background_nodes(shape: np.ndarray, num_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights, which sum to 1, (..., Q), for means over a Gamma(shape) variate, shape (...)."""
    if num_nodes == 1:
        return shape[..., None].copy(), np.ones((*shape.shape, 1))
    sigma, weight = np.polynomial.hermite_e.hermegauss(num_nodes)
    shape = shape[..., None]
    cube_root = np.maximum(1.0 - 1.0 / (9.0 * shape) + sigma / (3.0 * np.sqrt(shape)), 1e-3)
    node = shape * cube_root**3
    # ln of the Gamma density, relative to its peak, times d(node) / d(sigma), over the normal density of sigma.
    log_ratio = (shape - 1.0) * 3.0 * np.log(cube_root) - (node - shape) + 2.0 * np.log(cube_root) + 0.5 * sigma**2
    weight = weight * np.exp(log_ratio)
    return node, weight / weight.sum(-1, keepdims=True)


def gamma_quantile(shape: np.ndarray, sigma: float) -> np.ndarray:
    """Where Gamma(shape) has the tail of a normal distribution at so many sigma, by Wilson & Hilferty; a bound only."""
    return shape * np.maximum(1.0 - 1.0 / (9.0 * shape) + sigma / (3.0 * np.sqrt(shape)), 0.0) ** 3
