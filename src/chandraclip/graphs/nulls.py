"""What a graph would look like by chance: two answers, since the question has two.

**Rewired**: the same degrees, otherwise random. What survives it is more than a matter of degrees. **Geometric**: the
same cloud without its structure, thresholded alike. Any thresholded cloud has a core, the dense middle, and a
periphery, the far points; what survives this one is more than that. Two clouds are drawn: Gaussian, with the mean and
covariance of the vectors; and turned, in which every source keeps its distance from the middle and is sent in another
direction.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
from scipy.sparse import csr_array

from chandraclip.graphs.libraries import library
from chandraclip.graphs.structure import to_networkit

SWITCHES_AN_EDGE = 10


def rewired(graph: csr_array, seed: int) -> csr_array:
    """A random graph with the degree of every node: edges in pairs exchange their ends, without loops or double edges.

    Args:
        graph: (N, N) symmetric.
        seed: of the exchanges, ten an edge (networkit's EdgeSwitching, uniform over such graphs in the limit).

    Returns:
        (N, N) with weights of one.

    Raises:
        OptionError: networkit is not installed.
    """
    networkit = library("networkit")
    networkit.setSeed(seed, False)
    switching = networkit.randomization.EdgeSwitching(to_networkit(graph), float(SWITCHES_AN_EDGE))
    switching.run()
    result = switching.getGraph()
    ends = np.fromiter(chain.from_iterable(result.iterEdges()), dtype=np.int32, count=2 * result.numberOfEdges())
    row, column = ends.reshape(-1, 2).T
    both = np.concatenate([row, column]), np.concatenate([column, row])
    return csr_array((np.ones(len(both[0]), dtype=np.float32), both), shape=graph.shape)


class Cloud:
    """Vectors of sources with some rows each, and clouds like it without its structure.

    Rows of one source are alike because they are one source, which no null should undo: covariance is taken between and
    within sources, and a source is turned as a whole.

    Args:
        vectors: (N, D).
        source: (N,) names, equal for rows of one source.
    """

    def __init__(self, vectors: np.ndarray, source: np.ndarray):
        vectors = np.asarray(vectors, dtype=np.float64)
        self.source = np.unique(source, return_inverse=True)[1]
        self.mean = vectors.mean(axis=0)
        centred = vectors - self.mean
        rows = np.bincount(self.source)
        self.middle = _sums(centred, self.source) / rows[:, None]
        within = centred - self.middle[self.source]
        covariance = centred.T @ centred / len(vectors)
        repeats = len(vectors) - len(rows)
        scatter = within.T @ within / repeats if repeats else np.zeros_like(covariance)
        self.within = _root(scatter)
        self.between = _root(covariance - scatter)
        variance, axes = np.linalg.eigh(covariance)
        kept = variance > 1e-9 * variance.max()
        self._scale, self._axes = np.sqrt(variance[kept]), axes[:, kept]
        self._white = centred @ self._axes / self._scale

    def gaussian(self, generator: np.random.Generator) -> np.ndarray:
        """(N, D) from a normal distribution of the same mean and covariance, between and within sources."""
        shape = len(self.middle), len(self.mean)
        sources = generator.normal(size=shape) @ self.between.T
        rows = generator.normal(size=(len(self.source), shape[1])) @ self.within.T
        return self.mean + sources[self.source] + rows

    def turned(self, generator: np.random.Generator) -> np.ndarray:
        """(N, D) in which every source keeps its Mahalanobis distance from the mean, in a random direction.

        A source's rows are reflected so that their mean points there: what they are to each other stays.
        """
        middle = _sums(self._white, self.source)
        middle /= np.maximum(np.linalg.norm(middle, axis=1, keepdims=True), 1e-12)
        direction = generator.normal(size=middle.shape)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        normal = middle - direction  # of the mirror that sends one to the other
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
        across = normal[self.source]
        white = self._white - 2 * (self._white * across).sum(axis=1, keepdims=True) * across
        return self.mean + (white * self._scale) @ self._axes.T


def _sums(vectors: np.ndarray, group: np.ndarray) -> np.ndarray:
    """(G, D) sums of the rows of each group, 0 ... G - 1."""
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    return np.add.reduceat(vectors[order], starts, axis=0)


def _root(covariance: np.ndarray) -> np.ndarray:
    """(D, D) of which the product with its transpose is the nearest positive matrix."""
    variance, axes = np.linalg.eigh(covariance)
    return axes * np.sqrt(np.clip(variance, 0, None))
