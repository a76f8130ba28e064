"""Rombach's continuous core scores: how close to the core each node is, over cores of every size and sharpness."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

NUM_STEPS = 6
_MAX_ITERATIONS = 20
# Few nodes are cheap, and have poor local maxima.
_MAX_STARTS, _NODES_STARTED = 30, 10_000


def core_scores(graph: csr_array, num_steps: int = NUM_STEPS, seed: int = 0) -> np.ndarray:
    """Aggregate core scores (Rombach et al. 2014, SIAM J. Appl. Math. 74, 167).

    For each sharpness alpha and share beta of nodes in the periphery, the N values of a transition function are handed
    out to the nodes so that the quality ``C^T A C`` is as large as can be found; a node's score is the sum of its
    values, each times the quality. The published search is simulated annealing; here values are handed out again and
    again in the order of ``(A + s) C``, which never lowers the quality where s makes the matrix positive, and takes
    edges + N log N each.

    Args:
        graph: (N, N) symmetric; weights do not count.
        num_steps: alpha and beta each take this many values, the middles of equal steps from 0 to 1.
        seed: of the random orders that are tried beside that of the degrees.

    Returns:
        (N,) from 0 to 1, the highest is 1; zeros for a graph without edges.
    """
    adjacency = csr_array((np.ones(graph.nnz), graph.indices, graph.indptr), shape=graph.shape)
    degree = np.diff(graph.indptr)
    scores = np.zeros(graph.shape[0])
    if graph.nnz == 0:
        return scores
    generator = np.random.default_rng(seed)
    steps = (np.arange(num_steps) + 0.5) / num_steps
    for alpha in steps:
        for beta in steps:
            values = transition(len(scores), alpha, beta)
            given, quality = best_order(adjacency, values, generator)
            scores += quality * given
    # Nodes that nothing tells apart, as those without edges, share what chance gave them.
    return _shared(scores, degree) / scores.max()


def transition(num_nodes: int, alpha: float, beta: float) -> np.ndarray:
    """(N,) ascending values: up to the share beta from 0 to (1 - alpha) / 2, then from (1 + alpha) / 2 to 1."""
    place = np.arange(1, num_nodes + 1)
    bound = beta * num_nodes
    low = place * (1 - alpha) / (2 * bound)
    high = (place - bound) * (1 - alpha) / (2 * (num_nodes - bound)) + (1 + alpha) / 2
    return np.where(place <= bound, low, high)


def best_order(adjacency: csr_array, values: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, float]:
    """(N,) the values, each given to a node, and the quality; the best of some starts."""
    degree = np.diff(adjacency.indptr)
    # Without a shift the steps are large and may go in circles; with one they cannot, since no eigenvalue is below -max
    # degree.
    shifts = (0.0, float(degree.max()))
    num_starts = 1 + min(_NODES_STARTED // len(values), _MAX_STARTS)
    best, highest = values, -np.inf
    for start in range(num_starts):
        order = np.argsort(degree, kind="stable") if start == 0 else generator.permutation(len(values))
        given, quality = _given(adjacency, values, order)
        for shift in shifts:
            for _ in range(_MAX_ITERATIONS):
                order = np.argsort(adjacency @ given + shift * given, kind="stable")
                moved, raised = _given(adjacency, values, order)
                if raised <= quality:
                    break
                given, quality = moved, raised
        if quality > highest:
            best, highest = given, quality
    return best, highest


def _given(adjacency: csr_array, values: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, float]:
    given = np.empty_like(values)
    given[order] = values
    return given, float(given @ (adjacency @ given))


def _shared(scores: np.ndarray, degree: np.ndarray) -> np.ndarray:
    """Scores averaged over the nodes without edges."""
    isolated = degree == 0
    if isolated.any():
        scores = np.where(isolated, scores[isolated].mean(), scores)
    return scores
