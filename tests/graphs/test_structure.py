from __future__ import annotations

import networkx
import numpy as np
import pytest

from chandraclip.graphs.structure import structure_of
from graphs.conftest import to_csr


def in_order(values: dict) -> list:
    return [values[node] for node in range(len(values))]


def test_everything_is_as_networkx_has_it(random_graphs):
    for graph in random_graphs:
        found = structure_of(to_csr(graph))
        assert found.core_number.tolist() == in_order(networkx.core_number(graph))
        assert found.degree.tolist() == in_order(dict(graph.degree))
        np.testing.assert_allclose(found.clustering, in_order(networkx.clustering(graph)), atol=1e-12)
        sizes = sorted(map(len, networkx.connected_components(graph)), reverse=True)
        assert np.bincount(found.component).tolist() == sizes
        for component in networkx.connected_components(graph):
            assert len(set(found.component[list(component)])) == 1
        if found.degree.max() > 1:
            assert found.transitivity == pytest.approx(networkx.transitivity(graph))
        if len(set(found.degree[found.degree > 0])) > 1:
            assert found.assortativity == pytest.approx(networkx.degree_assortativity_coefficient(graph))


def test_what_is_not_defined_is_nan():
    assert np.isnan(structure_of(to_csr(networkx.empty_graph(3))).transitivity)
    for graph in (networkx.empty_graph(3), networkx.complete_graph(4), networkx.cycle_graph(5)):
        assert np.isnan(structure_of(to_csr(graph)).assortativity)


def test_summary_and_core_profile(karate):
    found = structure_of(karate)
    summary = found.summary()
    assert (summary["nodes"], summary["edges"], summary["components"], summary["isolated"]) == (34, 78, 1, 0)
    assert (summary["max_core_number"], summary["max_core_size"], summary["giant_component_share"]) == (4, 10, 1)
    assert summary["mean_degree"] == pytest.approx(156 / 34)
    k, count = found.core_profile()
    assert k.tolist() == [0, 1, 2, 3, 4]
    assert count.tolist() == [34, 34, 33, 22, 10]
    # Moody & White 2003: the most cohesive ten.
    assert set((np.flatnonzero(found.core_number == 4) + 1).tolist()) == {1, 2, 3, 4, 8, 9, 14, 31, 33, 34}


def test_strength_is_the_sum_of_similarities(karate):
    karate.data[:] = 0.5
    np.testing.assert_allclose(structure_of(karate).strength, 0.5 * structure_of(karate).degree)
