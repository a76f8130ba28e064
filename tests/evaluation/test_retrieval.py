"""Retrieval metrics where the truth is known: perfect, constant, random, tied, several positives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chandraclip.evaluation import retrieval
from chandraclip.evaluation.retrieval import Ranks, rank_in_classes, rank_positives, retrieval_metrics


def metrics_of(queries, candidates, query_group, candidate_group, **kwargs):
    return retrieval_metrics(
        queries, candidates, query_group, candidate_group, query_source=query_group, num_resamples=50, **kwargs
    )["metrics"]


@settings(deadline=None, max_examples=60)
@given(better=st.integers(0, 4), tied=st.integers(0, 4), positives=st.integers(1, 3), worse=st.integers(0, 3))
def test_expectations_over_ties_equal_enumeration(better, tied, positives, worse):
    total = better + tied + positives + worse
    ranks = Ranks(np.array([better]), np.array([tied]), np.array([positives]), total)
    # Every way to place the positives among the tied places.
    best = [better + 1 + min(places) for places in itertools.combinations(range(tied + positives), positives)]
    median = next(rank for rank in range(1, total + 1) if np.mean(np.array(best) <= rank) >= 0.5)
    assert ranks.typical_rank()[0] == ranks.median_rank() == median
    assert ranks.reciprocal_rank()[0] == pytest.approx(np.mean(1 / np.array(best)))
    for items in range(total + 1):
        assert ranks.recall(items)[0] == pytest.approx(np.mean(np.array(best) <= items), abs=1e-9)


def test_ranks_equal_a_direct_sort():
    generator = np.random.default_rng(0)
    queries, candidates = generator.normal(size=(60, 8)), generator.normal(size=(90, 8))
    query_group, candidate_group = generator.integers(0, 25, 60), np.arange(90) % 25
    ranks = rank_positives(queries, candidates, query_group, candidate_group)
    similarity = (queries @ candidates.T) / np.linalg.norm(candidates, axis=1)
    order = np.argsort(-similarity, axis=1)
    expected = np.argmax(candidate_group[order] == query_group[:, None], axis=1) + 1
    np.testing.assert_array_equal(ranks.typical_rank(), expected)
    assert ranks.median_rank() == np.sort(expected)[29]  # the lower median


def test_blocks_do_not_change_the_ranks(monkeypatch):
    generator = np.random.default_rng(1)
    queries, candidates = generator.normal(size=(53, 4)), generator.normal(size=(31, 4))
    groups = np.arange(53) % 31, np.arange(31)
    whole = rank_positives(queries, candidates, *groups)
    monkeypatch.setattr(retrieval, "_BLOCK_ELEMENTS", 100)
    np.testing.assert_array_equal(rank_positives(queries, candidates, *groups).better, whole.better)


def test_perfect_embeddings_score_one():
    vectors = np.random.default_rng(2).normal(size=(200, 16))
    metrics = metrics_of(vectors, 3 * vectors, np.arange(200), np.arange(200))  # cosine: length does not matter
    for name in ("recall@1%", "recall@5%", "recall@10", "mean_reciprocal_rank", "median_rank"):
        assert metrics[name]["value"] == pytest.approx(1.0), name
        assert metrics[name]["low"] == metrics[name]["high"] == pytest.approx(1.0)


@pytest.mark.parametrize("copies", [1, 4])
def test_constant_embeddings_score_chance(copies):
    candidate_group = np.repeat(np.arange(150), copies)
    metrics = metrics_of(np.ones((150, 8)), np.ones((150 * copies, 8)), np.arange(150), candidate_group)
    for name, metric in metrics.items():
        assert metric["value"] == pytest.approx(metric["chance"]), name
    if copies == 1:
        assert metrics["recall@1%"]["chance"] == pytest.approx(2 / 150)
        assert metrics["median_rank"]["chance"] == 75


@pytest.mark.parametrize("copies", [1, 3])
def test_random_embeddings_score_chance(copies):
    generator = np.random.default_rng(3)
    queries, candidates = generator.normal(size=(3000, 64)), generator.normal(size=(1000 * copies, 64))
    metrics = metrics_of(queries, candidates, np.arange(3000) % 1000, np.arange(1000 * copies) % 1000)
    for name in ("recall@1%", "recall@5%", "recall@10"):
        chance = metrics[name]["chance"]
        assert metrics[name]["value"] == pytest.approx(chance, abs=4 * np.sqrt(chance * (1 - chance) / 3000)), name
    assert metrics["median_rank"]["value"] == pytest.approx(metrics["median_rank"]["chance"], rel=0.08)
    if copies == 1:
        assert metrics["recall@1%"]["chance"] == pytest.approx(0.01)


def test_percentages_round_up():
    # The published pool: 1 % of 1,719 texts is 18 of them by ceil (17.19).
    queries = np.ones((1719, 2))
    metrics = metrics_of(queries, queries, np.arange(1719), np.arange(1719))
    assert metrics["recall@1%"]["chance"] == pytest.approx(18 / 1719)


def test_class_oracle_ranks_within_the_class():
    group = np.arange(40)
    classes = group % 4
    ranks = rank_in_classes(group, group, classes, classes)
    np.testing.assert_array_equal(ranks.better, 0)
    np.testing.assert_array_equal(ranks.typical_rank(), 5)
    # It equals the ranks of one-hot class embeddings.
    one_hot = np.eye(4)[classes]
    model = rank_positives(one_hot, one_hot, group, group)
    np.testing.assert_array_equal(model.tied, ranks.tied)


def test_class_oracle_with_positives_of_another_class():
    ranks = rank_in_classes(np.array([0]), np.array([0, 1, 2]), np.array([7]), np.array([5, 7, 5]))
    assert (ranks.better[0], ranks.tied[0], ranks.positives[0]) == (1, 1, 1)


def test_intervals_widen_with_fewer_sources():
    generator = np.random.default_rng(4)
    candidates = generator.normal(size=(100, 8))
    query_group = np.arange(800) % 100
    queries = candidates[query_group] + generator.normal(size=(800, 8))
    many = retrieval_metrics(queries, candidates, query_group, np.arange(100), query_source=np.arange(800))
    few = retrieval_metrics(queries, candidates, query_group, np.arange(100), query_source=query_group % 10)
    width = [result["metrics"]["recall@5%"]["high"] - result["metrics"]["recall@5%"]["low"] for result in (many, few)]
    assert 0 < width[0] < width[1]


def test_bad_input():
    with pytest.raises(ValueError, match="no positive"):
        rank_positives(np.ones((2, 3)), np.ones((1, 3)), np.array([0, 1]), np.array([0]))
    with pytest.raises(ValueError, match="not finite"):
        rank_positives(np.full((1, 3), np.nan), np.ones((1, 3)), np.array([0]), np.array([0]))
    with pytest.raises(ValueError, match="groups"):
        rank_positives(np.ones((2, 3)), np.ones((1, 3)), np.array([0]), np.array([0]))
