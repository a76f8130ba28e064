from __future__ import annotations

import numpy as np
import pytest

from chandraclip.graphs.lip import lip_cut
from chandraclip.graphs.nulls import Cloud, rewired
from chandraclip.graphs.significance import NULLS, compare_with_nulls
from chandraclip.graphs.similarity import graph_of_mean_degree
from chandraclip.graphs.structure import structure_of


def test_rewiring_keeps_every_degree_and_little_else(clustered):
    graph, _ = graph_of_mean_degree(clustered[0], 12)
    other = rewired(graph, seed=1)
    assert np.diff(other.indptr).tolist() == np.diff(graph.indptr).tolist()
    assert abs(other - other.T).max() == 0
    assert not other.diagonal().any()
    assert other.max() == 1
    kept = (other.astype(bool) * graph.astype(bool)).nnz / graph.nnz
    assert kept < 0.2
    assert structure_of(other).transitivity < 0.5 * structure_of(graph).transitivity
    assert (lip_cut(other) == lip_cut(graph)).all()  # of the degrees alone
    assert (rewired(graph, seed=1) != other).nnz == 0
    assert (rewired(graph, seed=2) != other).nnz > 0


def test_the_gaussian_cloud_has_the_moments(clustered):
    vectors, source = clustered
    cloud = Cloud(vectors, source)
    generator = np.random.default_rng(0)
    drawn = np.concatenate([cloud.gaussian(generator) for _ in range(200)])
    np.testing.assert_allclose(drawn.mean(axis=0), vectors.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(vectors.T), atol=0.03)
    # Two rows of a source are as alike as they were, and no more clumped about anything.
    apart = np.diff(drawn.reshape(-1, 2, 16), axis=1).std()
    assert apart == pytest.approx(np.diff(vectors.reshape(-1, 2, 16), axis=1).std(), rel=0.02)


def test_the_turned_cloud_keeps_distances_from_the_mean_and_within_sources(clustered):
    vectors, source = clustered
    inverse = np.linalg.inv(np.cov(vectors.T, bias=True))

    def mahalanobis(rows: np.ndarray) -> np.ndarray:
        centred = rows - vectors.mean(axis=0)
        return np.sqrt((centred @ inverse * centred).sum(axis=1))

    def between_rows(rows: np.ndarray) -> np.ndarray:
        apart = np.diff(rows.reshape(-1, 2, 16), axis=1)[:, 0]
        return (apart @ inverse * apart).sum(axis=1)

    turned = Cloud(vectors, source).turned(np.random.default_rng(0))
    np.testing.assert_allclose(mahalanobis(turned), mahalanobis(vectors), rtol=1e-8)
    np.testing.assert_allclose(between_rows(turned), between_rows(vectors), rtol=1e-7)
    centred, moved = vectors - vectors.mean(axis=0), turned - vectors.mean(axis=0)
    alike = (centred * moved).sum(axis=1) / np.linalg.norm(centred, axis=1) / np.linalg.norm(moved, axis=1)
    assert abs(alike.mean()) < 0.1


def test_a_cloud_of_one_row_a_source_and_of_fewer_dimensions():
    vectors = np.random.default_rng(0).normal(size=(50, 8))
    vectors[:, 5:] = 2.0
    cloud = Cloud(vectors, np.arange(50).astype(str))
    for draw in (cloud.gaussian, cloud.turned):
        drawn = draw(np.random.default_rng(1))
        assert np.isfinite(drawn).all()
        np.testing.assert_allclose(drawn[:, 5:], 2.0, atol=1e-6)


def outliers_and(clump: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(8)
    far = clump.mean(axis=0) + 4 * generator.normal(size=(20, clump.shape[1]))
    rare = np.arange(len(clump) + 20) >= len(clump)
    return np.concatenate([clump, far]), np.arange(len(rare)).astype(str), rare


@pytest.mark.slow
def test_a_cloud_without_structure_has_a_core_all_the_same():
    """Degree-preserving rewiring calls its structure significant; clouds of the same moments do not."""
    vectors = np.random.default_rng(2).normal(size=(300, 6)) + 0.8
    graph, _ = graph_of_mean_degree(vectors, 12)
    rows = compare_with_nulls(graph, vectors, np.arange(300).astype(str), {}, 60, nulls=("rewired", "gaussian"))
    p = {(row["statistic"], row["null"]): min(row["p_above"], row["p_below"]) for row in rows}
    for statistic in ("transitivity", "assortativity"):
        assert p[statistic, "rewired"] == pytest.approx(1 / 61)
    for statistic in ("core_correlation", "transitivity", "max_core_number", "assortativity", "degree_variation"):
        assert p[statistic, "gaussian"] > 0.02
    assert ("degree_variation", "rewired") not in p


@pytest.mark.slow
def test_clumps_and_outliers_survive_what_they_should(clustered):
    vectors, source, rare = outliers_and(clustered[0][::2] + 1.0)
    graph, _ = graph_of_mean_degree(vectors, 12)
    rows = compare_with_nulls(graph, vectors, source, {"rare": rare}, 40)
    found = {(row["statistic"], row["null"]): row for row in rows}
    assert {null for _, null in found} == set(NULLS) - {"matched"}  # no counts are known
    assert found["transitivity", "gaussian"]["p_above"] < 0.05
    auc = found["rare outward_auc", "shuffled"]
    assert auc["observed"] > 0.7
    assert auc["p_above"] == pytest.approx(1 / 41)
    assert auc["null_mean"] == pytest.approx(0.5, abs=0.05)
    # That they are out is a matter of their degrees and their distance from the middle: neither null gives it up.
    assert found["rare outward_auc", "turned"]["null_mean"] > 0.6
    assert ("rare outward_auc", "gaussian") not in found


def test_types_that_are_out_since_they_are_faint_are_not_out_for_their_counts():
    """Two rows a source; faint ones lie far from the clump, and the rare are faint."""
    generator = np.random.default_rng(4)
    counts = np.repeat(generator.uniform(1, 2, 200), 2)
    vectors = 2 + np.repeat(generator.normal(size=(200, 8)), 2, axis=0) * 3 / counts[:, None] ** 2
    rare = (counts < 1.3) & np.repeat(generator.random(200) < 0.5, 2)
    graph, _ = graph_of_mean_degree(vectors, 12)
    source = np.repeat(np.arange(200), 2).astype(str)
    rows = compare_with_nulls(graph, vectors, source, {"rare": rare}, 100, nulls=("shuffled", "matched"), counts=counts)
    found = {(row["statistic"], row["null"]): row for row in rows}
    assert found["rare outward_auc", "shuffled"]["p_above"] == pytest.approx(1 / 101)
    assert found["rare outward_auc", "matched"]["p_above"] > 0.02
    assert found["rare outward_auc", "matched"]["null_mean"] > found["rare outward_auc", "shuffled"]["null_mean"] + 0.1
