"""Lip's cut into core and periphery, exact and in closed form."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array


def lip_cut(graph: csr_array) -> np.ndarray:
    """The core with the fewest missing edges within it plus present edges within the periphery.

    The best core of k nodes has the k highest degrees, and misses by ``k (k - 1) / 2 + edges - sum of their degrees``
    (Lip 2011, arXiv:1102.5511). It depends on the degrees alone, so no rewiring that keeps them changes it.

    Args:
        graph: (N, N) symmetric, N at least 1; weights do not count.

    Returns:
        (N,) bool. Of equal degrees the first come first, of equally good sizes the smallest.
    """
    degree = np.diff(graph.indptr).astype(np.int64)
    order = np.argsort(-degree, kind="stable")
    size = np.arange(1, len(degree) + 1)
    misses = size * (size - 1) // 2 + graph.nnz // 2 - np.cumsum(degree[order])
    core = np.zeros(len(degree), dtype=bool)
    core[order[: int(np.argmin(misses)) + 1]] = True
    return core
