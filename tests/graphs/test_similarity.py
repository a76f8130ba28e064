from __future__ import annotations

import numpy as np
import pytest
import torch

from chandraclip.errors import OptionError
from chandraclip.graphs import similarity
from chandraclip.graphs.similarity import graph_of_mean_degree, similarity_graph


def cosines(vectors: np.ndarray) -> np.ndarray:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    values = unit @ unit.T
    np.fill_diagonal(values, -2)
    return values


@pytest.mark.parametrize("tile", [(7, 11), (64, 16), (1000, 1000), (1, 1)])
@pytest.mark.parametrize("threshold", [0.5, 0.9, -1.0])
def test_the_graph_is_that_of_all_pairs(monkeypatch, clustered, tile, threshold):
    monkeypatch.setattr(similarity, "_TILE", tile)
    vectors = 3 * clustered[0][:97]
    expected = cosines(vectors)
    graph = similarity_graph(vectors, threshold)
    assert (graph.toarray() != 0).tolist() == (expected >= threshold).tolist()
    row, column = graph.nonzero()
    np.testing.assert_allclose(graph.data, expected[row, column], atol=1e-6)
    assert abs(graph - graph.T).max() == 0
    assert graph.has_sorted_indices
    assert graph.dtype == np.float32
    assert not graph.diagonal().any()


def test_the_number_of_threads_is_as_before(clustered):
    before = torch.get_num_threads()
    similarity_graph(clustered[0], 0.5)
    with pytest.raises(OptionError):
        similarity_graph(clustered[0], 0.5, max_edges=10)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("mean_degree", [0.5, 3, 20, 300, 599])
def test_a_mean_degree_gives_the_most_similar_pairs(clustered, mean_degree):
    vectors = clustered[0]
    graph, threshold = graph_of_mean_degree(vectors, mean_degree)
    assert graph.nnz / len(vectors) == pytest.approx(mean_degree, abs=2 / len(vectors))
    assert graph.data.min() == np.float32(threshold)
    pairs = np.sort(cosines(vectors)[np.triu_indices(len(vectors), 1)])
    assert threshold == pytest.approx(pairs[-graph.nnz // 2], abs=1e-6)


def test_the_threshold_is_exact_where_few_rows_say_little(monkeypatch, clustered):
    """The sample misses the only clump, and the first estimate is too high."""
    monkeypatch.setattr(similarity, "_SAMPLED_PAIRS", 1)
    graph, _ = graph_of_mean_degree(clustered[0], 40)
    assert graph.nnz / 600 == pytest.approx(40, abs=0.01)


def test_equal_rows_and_one_row():
    vectors = np.ones((5, 4))
    assert similarity_graph(vectors, 0.999).nnz == 20
    assert similarity_graph(vectors[:1], 0.5).shape == (1, 1)


def test_bad_input(clustered):
    vectors = clustered[0]
    with pytest.raises(OptionError, match=r"from -1 to 1, and not 1\.5"):
        similarity_graph(vectors, 1.5)
    with pytest.raises(OptionError, match="row 3 of the vectors has no finite length"):
        similarity_graph(np.where(np.arange(600)[:, None] == 3, 0, vectors), 0.5)
    with pytest.raises(OptionError, match=r"600 rows have about .* edges, more than 1,000; raise the threshold"):
        similarity_graph(vectors, 0.0, max_edges=1000)
    for mean_degree in (0, 600):
        with pytest.raises(OptionError, match="not possible among 600 rows"):
            graph_of_mean_degree(vectors, mean_degree)


@pytest.mark.parametrize("seed", range(4))
def test_all_pairs_are_found_though_rounding_takes_a_cosine_below_minus_one(seed):
    vector = np.random.default_rng(seed).normal(size=(1, 64))
    graph, threshold = graph_of_mean_degree(np.concatenate([vector, -vector]), 1)
    assert graph.nnz == 2
    assert threshold == pytest.approx(-1, abs=1e-6)


def test_a_value_that_is_not_finite_is_named():
    vectors = np.eye(4)
    vectors[2, 1] = np.inf
    with pytest.raises(OptionError, match="row 2 of the vectors"):
        similarity_graph(vectors, 0.5)
