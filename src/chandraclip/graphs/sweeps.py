"""The loop of label switching, compiled: each move depends on the one before, so it is no sum over arrays."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def switch_labels(
    indptr: np.ndarray, indices: np.ndarray, core: np.ndarray, max_sweeps: int, generator: np.random.Generator
) -> float:
    """Move nodes between core and periphery, in place, as long as it raises Borgatti and Everett's correlation.

    Args:
        indptr, indices: of the graph, CSR, symmetric, no diagonal; neither without edges nor with all.
        core: (N,) bool, where to begin.
        max_sweeps: over all nodes.
        generator: of the order of the nodes, a new one each sweep.

    Returns:
        The correlation.
    """
    num_nodes = len(core)
    pairs = num_nodes * (num_nodes - 1) / 2.0
    edges = len(indices) / 2.0
    size = 0
    ends_in_periphery = 0
    in_periphery = np.zeros(num_nodes, dtype=np.int64)  # neighbours of each node there
    for node in range(num_nodes):
        size += core[node]
        for place in range(indptr[node], indptr[node + 1]):
            in_periphery[node] += not core[indices[place]]
        if not core[node]:
            ends_in_periphery += in_periphery[node]
    covered = edges - ends_in_periphery / 2.0
    ideal = size * (size - 1) / 2.0 + size * (num_nodes - size)
    best = -np.inf  # of a pattern that is the same for all pairs, which has no correlation
    if 0.0 < ideal < pairs:
        best = (covered - edges * ideal / pairs) / np.sqrt(ideal * (1.0 - ideal / pairs))
    for _ in range(max_sweeps):
        moved = False
        order = generator.permutation(num_nodes)
        for node in order:
            step = -1 if core[node] else 1
            new_size = size + step
            ideal = new_size * (new_size - 1) / 2.0 + new_size * (num_nodes - new_size)
            if ideal <= 0.0 or ideal >= pairs:
                continue
            new_covered = covered + step * in_periphery[node]
            value = (new_covered - edges * ideal / pairs) / np.sqrt(ideal * (1.0 - ideal / pairs))
            if value - best > 1e-12 * abs(value):
                best, size, covered, moved = value, new_size, new_covered, True
                core[node] = step == 1
                for place in range(indptr[node], indptr[node + 1]):
                    in_periphery[indices[place]] -= step
        if not moved:
            break
    return best / np.sqrt(edges * (1.0 - edges / pairs))
