"""Graphs and embeddings of which the truth is known."""

import networkx
import numpy as np
import pytest
from scipy.sparse import csr_array

from embedding_files import dataset, embeddings_table, make_embeddings, write_dataset_fixture  # noqa: F401


def to_csr(graph: networkx.Graph) -> csr_array:
    return csr_array(networkx.to_scipy_sparse_array(graph, weight=None, dtype=np.float32))


@pytest.fixture
def karate() -> csr_array:
    """Zachary's karate club, 34 members, 78 ties; node 0 is member 1."""
    return to_csr(networkx.karate_club_graph())


@pytest.fixture
def random_graphs() -> list[networkx.Graph]:
    """Of every density, with isolated nodes, several components, no edges, all edges."""
    generator = np.random.default_rng(0)
    graphs = [networkx.gnp_random_graph(int(generator.integers(5, 80)), p, seed=n) for n, p in enumerate(DENSITIES)]
    clumped = networkx.random_geometric_graph(150, 0.15, seed=1)
    return [*graphs, clumped, networkx.empty_graph(4), networkx.complete_graph(6), networkx.star_graph(7)]


DENSITIES = (0.01, 0.03, 0.05, 0.1, 0.2, 0.4, 0.8)


@pytest.fixture
def clustered():
    """(600, 16) vectors of 300 sources about 30 centres, two rows each, and the names of the sources."""
    generator = np.random.default_rng(3)
    centres = generator.normal(size=(30, 16))
    sources = centres[generator.integers(30, size=300)] + 0.4 * generator.normal(size=(300, 16))
    rows = np.repeat(sources, 2, axis=0) + 0.1 * generator.normal(size=(600, 16))
    return rows, np.repeat([f"2CXO J{number:06d}" for number in range(300)], 2)
