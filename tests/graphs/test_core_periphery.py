from __future__ import annotations

import itertools

import networkx
import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import roc_auc_score

from chandraclip.graphs.label_switching import borgatti_everett_correlation, label_switching
from chandraclip.graphs.lip import lip_cut
from chandraclip.graphs.rombach import best_order, core_scores, transition
from graphs.conftest import to_csr


def members(core: np.ndarray) -> set[int]:
    return set((np.flatnonzero(core) + 1).tolist())


def all_correlations(graph: csr_array) -> np.ndarray:
    """Of every core of a small graph, by the definition."""
    joined = graph.toarray() > 0
    pairs = np.triu_indices(len(joined), 1)
    code = np.arange(2 ** len(joined))
    inside = (code[:, None] >> np.arange(len(joined))) & 1
    ideal = (inside[:, pairs[0]] | inside[:, pairs[1]]) - 0.0
    ideal -= ideal.mean(axis=1, keepdims=True)
    edges = joined[pairs] - joined[pairs].mean()
    with np.errstate(invalid="ignore"):
        return ideal @ edges / np.sqrt((ideal**2).sum(axis=1) * (edges**2).sum())


def small_graphs(number: int = 100) -> list[csr_array]:
    generator = np.random.default_rng(1)
    graphs = [
        networkx.gnp_random_graph(int(generator.integers(5, 13)), generator.uniform(0.1, 0.9), seed=seed)
        for seed in range(number)
    ]
    return [to_csr(graph) for graph in graphs if 0 < networkx.density(graph) < 1]


def block_model(num_core: int, num_periphery: int, densities: list[list[float]], seed: int) -> csr_array:
    return to_csr(networkx.stochastic_block_model([num_core, num_periphery], densities, seed=seed))


def test_the_correlation_is_that_of_the_pairs(karate):
    joined = karate.toarray() > 0
    pairs = np.triu_indices(34, 1)
    generator = np.random.default_rng(0)
    for _ in range(20):
        core = generator.random(34) < 0.3
        expected = np.corrcoef(joined[pairs], core[pairs[0]] | core[pairs[1]])[0, 1]
        assert borgatti_everett_correlation(karate, core) == pytest.approx(expected)
    assert np.isnan(borgatti_everett_correlation(karate, np.ones(34, dtype=bool)))
    assert np.isnan(borgatti_everett_correlation(karate, np.zeros(34, dtype=bool)))


def test_label_switching_is_within_a_percent_of_the_best_of_all_cores():
    graphs = small_graphs()
    assert len(graphs) > 90
    for graph in graphs:
        found = label_switching(graph)
        assert found.correlation >= 0.99 * np.nanmax(all_correlations(graph))
        assert found.correlation == pytest.approx(borgatti_everett_correlation(graph, found.core))


@pytest.mark.parametrize(
    ("num_core", "num_periphery", "densities"),
    [
        (20, 180, [[0.5, 0.25], [0.25, 0.05]]),
        (100, 300, [[0.3, 0.15], [0.15, 0.05]]),
        (50, 950, [[0.6, 0.1], [0.1, 0.01]]),
        (200, 200, [[0.4, 0.25], [0.25, 0.1]]),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_planted_cores_are_found(num_core, num_periphery, densities, seed):
    graph = block_model(num_core, num_periphery, densities, seed)
    planted = np.arange(num_core + num_periphery) < num_core
    assert roc_auc_score(planted, label_switching(graph, seed=seed).core) > 0.95
    assert roc_auc_score(planted, core_scores(graph)) > 0.95


def test_no_single_move_improves_what_label_switching_found():
    graph = block_model(30, 70, [[0.4, 0.3], [0.3, 0.2]], 5)
    found = label_switching(graph)
    for node in range(100):
        other = found.core.copy()
        other[node] ^= True
        assert borgatti_everett_correlation(graph, other) <= found.correlation + 1e-9


def test_label_switching_follows_its_seed():
    graph = block_model(30, 370, [[0.05, 0.05], [0.05, 0.05]], 5)
    assert (label_switching(graph, 1, seed=4).core == label_switching(graph, 1, seed=4).core).all()
    runs = {label_switching(graph, 3, seed=seed).core.tobytes() for seed in range(8)}
    assert len(runs) > 1  # nothing is planted: many maxima


@pytest.mark.parametrize("graph", [networkx.empty_graph(5), networkx.complete_graph(5), networkx.empty_graph(1)])
def test_graphs_without_edges_or_with_all_have_no_core(graph):
    found = label_switching(to_csr(graph))
    assert np.isnan(found.correlation)
    assert not found.core.any()


def test_a_star_has_its_centre_as_core():
    star = to_csr(networkx.star_graph(9))
    assert members(label_switching(star).core) == members(lip_cut(star)) == {1}
    assert label_switching(star).correlation == pytest.approx(1)


def test_the_karate_club_has_its_published_core(karate):
    """The instructor 1, the president 34, and 2, 3, 33: the five of highest degree."""
    core = label_switching(karate).core
    assert members(core) == {1, 2, 3, 33, 34}
    best = max(
        borgatti_everett_correlation(karate, np.isin(np.arange(34), nodes))
        for size in range(1, 4)
        for nodes in itertools.combinations(range(34), size)
    )
    assert borgatti_everett_correlation(karate, core) > best
    assert members(lip_cut(karate)) in ({1, 2, 3, 4, 33, 34}, {1, 2, 3, 32, 33, 34})  # equally good
    assert set(np.argsort(-core_scores(karate))[:5] + 1) == {1, 2, 3, 33, 34}


def test_lips_cut_is_the_best_of_all():
    for graph in small_graphs(30):
        joined = graph.toarray() > 0
        pairs = np.triu_indices(len(joined), 1)
        code = np.arange(1, 2 ** len(joined))
        inside = ((code[:, None] >> np.arange(len(joined))) & 1).astype(bool)
        first, second, edge = inside[:, pairs[0]], inside[:, pairs[1]], joined[pairs]
        misses = (first & second & ~edge).sum(axis=1) + (~first & ~second & edge).sum(axis=1)
        core = lip_cut(graph)
        assert misses[(core * 2 ** np.arange(len(core))).sum() - 1] == misses.min()


def test_rombachs_values_are_handed_out_nearly_as_well_as_can_be():
    generator = np.random.default_rng(5)
    permutations = np.array(list(itertools.permutations(range(6))))
    ratios = []
    for graph in small_graphs(60):
        graph = csr_array(graph[:6][:, :6]).astype(float)
        if graph.nnz and graph.shape[0] == 6:
            values = transition(6, *generator.random(2))
            every = values[permutations]
            best = (every @ graph.toarray() * every).sum(axis=1).max()
            given, quality = best_order(graph, values, generator)
            assert sorted(given) == sorted(values)
            assert quality == pytest.approx(given @ graph @ given)
            ratios.append(quality / best)
    assert len(ratios) > 40
    assert min(ratios) > 0.9
    assert np.mean(ratios) > 0.99


def test_core_scores_are_from_0_to_1_and_do_not_depend_on_the_order_of_the_nodes():
    graph = block_model(10, 50, [[0.8, 0.4], [0.4, 0.02]], 2)
    order = np.random.default_rng(0).permutation(60)
    scores = core_scores(graph)
    assert scores.max() == 1
    assert scores.min() >= 0
    moved = core_scores(csr_array(graph[order][:, order]))
    assert np.corrcoef(moved, scores[order])[0, 1] > 0.98
    apart = csr_array((graph.data, graph.indices, np.append(graph.indptr, [graph.nnz] * 3)), shape=(63, 60))
    apart.resize(63, 63)
    assert len(set(core_scores(apart)[60:])) == 1  # without edges nothing tells them apart
    assert not core_scores(to_csr(networkx.empty_graph(4))).any()


def test_transition_is_that_of_the_paper():
    assert transition(4, 1.0, 0.5).tolist() == [0, 0, 1, 1]
    assert transition(4, 0.0, 0.5).tolist() == [0.25, 0.5, 0.75, 1]
