"""What a graph looks like: degrees, components, clustering, assortativity, k-cores; measured by networkit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from chandraclip.graphs.libraries import library


@dataclass(frozen=True, eq=False)
class Structure:
    """
    Attributes:
        degree: (N,) edges of each node.
        strength: (N,) sum of the similarities of its edges.
        core_number: (N,) the largest k for which it is in the k-core.
        clustering: (N,) share of the pairs of its neighbours that are joined; 0 with fewer than two.
        component: (N,) number of its connected component, 0 the largest, and so on.
        transitivity: share of the paths of two edges that are closed; NaN without any.
        assortativity: correlation of the degrees at the two ends of an edge; NaN where all are equal.
    """

    degree: np.ndarray
    strength: np.ndarray
    core_number: np.ndarray
    clustering: np.ndarray
    component: np.ndarray
    transitivity: float
    assortativity: float

    def summary(self) -> dict[str, Any]:
        """The numbers of the whole graph, by name."""
        num_nodes = len(self.degree)
        edges = int(self.degree.sum()) // 2
        return {
            "nodes": num_nodes,
            "edges": edges,
            "density": edges / max(num_nodes * (num_nodes - 1) / 2, 1),
            "mean_degree": float(self.degree.mean()),
            "median_degree": float(np.median(self.degree)),
            "max_degree": int(self.degree.max()),
            "isolated": int((self.degree == 0).sum()),
            "components": int(self.component.max()) + 1,
            "giant_component_share": float((self.component == 0).mean()),
            "mean_clustering": float(self.clustering.mean()),
            "transitivity": self.transitivity,
            "assortativity": self.assortativity,
            "max_core_number": int(self.core_number.max()),
            "max_core_size": int((self.core_number == self.core_number.max()).sum()),
        }

    def core_profile(self) -> tuple[np.ndarray, np.ndarray]:
        """k from 0 to the largest, and the number of nodes in the k-core."""
        count = np.bincount(self.core_number)
        return np.arange(len(count)), count[::-1].cumsum()[::-1]


def structure_of(graph: csr_array) -> Structure:
    """Measure a graph.

    Args:
        graph: (N, N) symmetric, N at least 1, empty diagonal.

    Raises:
        OptionError: networkit is not installed.
    """
    networkit = library("networkit")
    degree = np.diff(graph.indptr).astype(np.int64)
    native = to_networkit(graph)
    core_number = np.array(networkit.centrality.CoreDecomposition(native).run().scores(), dtype=np.int64)
    local = networkit.centrality.LocalClusteringCoefficient(native, turbo=True).run().scores()
    clustering = np.nan_to_num(np.array(local))
    paths = degree * (degree - 1) / 2
    return Structure(
        degree=degree,
        strength=np.asarray(graph.sum(axis=1), dtype=np.float64),
        core_number=core_number,
        clustering=clustering,
        component=_components(graph),
        transitivity=float((clustering * paths).sum() / paths.sum()) if paths.any() else float("nan"),
        assortativity=degree_assortativity(graph),
    )


def to_networkit(graph: csr_array) -> Any:
    """A `networkit.Graph` of the same edges, without weights."""
    networkit = library("networkit")
    row = np.repeat(np.arange(graph.shape[0], dtype=np.uint64), np.diff(graph.indptr))
    column = graph.indices.astype(np.uint64)
    once = row < column
    ends = (row[once], column[once])
    return networkit.GraphFromCoo(ends, n=graph.shape[0])


def degree_assortativity(graph: csr_array) -> float:
    """Pearson correlation of the degrees at the two ends of an edge (Newman 2002, PRL 89, 208701)."""
    degree = np.diff(graph.indptr).astype(np.float64)
    edges = degree.sum()
    if edges == 0:
        return float("nan")
    mean = (degree**2).sum() / edges
    centred = degree - mean
    spread = (degree * centred**2).sum()
    pattern = csr_array((np.ones(graph.nnz), graph.indices, graph.indptr), shape=graph.shape)
    return float(centred @ (pattern @ centred) / spread) if spread > 1e-12 * edges * mean**2 else float("nan")


def _components(graph: csr_array) -> np.ndarray:
    count, label = connected_components(graph, directed=False)
    order = np.argsort(-np.bincount(label, minlength=count), kind="stable")
    place = np.empty(count, dtype=np.int64)
    place[order] = np.arange(count)
    return place[label]
