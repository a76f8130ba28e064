"""A core and a periphery: Borgatti and Everett's correlation, and its maximum by label switching.

In the ideal pattern every pair with a node of the core is joined and no pair of the periphery is. The quality of a core
is the correlation of the graph's pairs with that pattern (Borgatti & Everett 2000, Social Networks 21, 375). It depends
on the core only through its size and the number of edges within the periphery, so moving a node costs its neighbours
and no more (Yanchenko & Sengupta 2026, Network Science 14; arXiv:2506.02069).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from chandraclip.graphs.libraries import library
from chandraclip.graphs.lip import lip_cut

# Few nodes are cheap, and have poor local maxima; many nodes have many nearly equal ones.
_MIN_STARTS, _MAX_STARTS, _NODES_STARTED = 10, 200, 20_000
_MAX_SWEEPS = 200


@dataclass(frozen=True, eq=False)
class CorePeriphery:
    """
    Attributes:
        core: (N,) bool, True in the core.
        correlation: Borgatti and Everett's; NaN for a graph without edges or with all.
    """

    core: np.ndarray
    correlation: float


def borgatti_everett_correlation(graph: csr_array, core: np.ndarray) -> float:
    """Pearson correlation, over pairs of nodes, of being joined and of having a node in the core.

    Args:
        graph: (N, N) symmetric; weights do not count.
        core: (N,) bool.

    Returns:
        From -1 to 1; NaN where either is the same for all pairs.
    """
    core = np.asarray(core, dtype=bool)
    num_nodes, size = len(core), int(core.sum())
    pairs = num_nodes * (num_nodes - 1) / 2
    edges = graph.nnz / 2
    periphery = graph[~core][:, ~core].nnz / 2
    ideal = size * (size - 1) / 2 + size * (num_nodes - size)
    spread = edges * (1 - edges / pairs) * ideal * (1 - ideal / pairs) if pairs else 0.0
    return float((edges - periphery - edges * ideal / pairs) / np.sqrt(spread)) if spread > 0 else float("nan")


def label_switching(graph: csr_array, num_starts: int | None = None, seed: int = 0) -> CorePeriphery:
    """The best core of several starts, each improved until no single node's move improves it.

    Starts are Lip's cut and random cores of random size. A sweep tries the nodes in random order and is O(edges) at
    most.

    Args:
        graph: (N, N) symmetric; weights do not count.
        num_starts: at least 1; default 10, and more for less than 2,000 nodes, up to 200.
        seed: of the random starts and orders.

    Raises:
        OptionError: numba is not installed.
    """
    sweeps = library("chandraclip.graphs.sweeps")
    num_nodes = graph.shape[0]
    pairs = num_nodes * (num_nodes - 1) / 2
    if not 0 < graph.nnz / 2 < pairs:
        return CorePeriphery(np.zeros(num_nodes, dtype=bool), float("nan"))
    if num_starts is None:
        num_starts = int(np.clip(_NODES_STARTED // num_nodes, _MIN_STARTS, _MAX_STARTS))
    generator = np.random.default_rng(seed)
    best, highest = np.zeros(num_nodes, dtype=bool), -np.inf
    for start in range(num_starts):
        core = lip_cut(graph) if start == 0 else generator.random(num_nodes) < generator.random()
        correlation = sweeps.switch_labels(graph.indptr, graph.indices, core, _MAX_SWEEPS, generator)
        if correlation > highest:
            best, highest = core, correlation
    return CorePeriphery(best, float(highest))
