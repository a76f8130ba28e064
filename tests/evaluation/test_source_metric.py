"""A metric of "one source or two", learned on sources of train: the likelihood it stands for, and what it finds."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from chandraclip.evaluation.event_tasks import find_own_source
from chandraclip.evaluation.source_metric import MIN_PAIRS, SourceMetric


def drawn(num_sources, seed, spread=(1.0, 0.3, 0.0), scatter=(0.2, 0.3, 3.0), mixed=True):
    """Two observations a source: one number that stays, one that half stays, one that is other every time."""
    generator = np.random.default_rng(seed)
    source = np.repeat(np.arange(num_sources), 2)
    values = (generator.normal(size=(num_sources, 3)) * spread)[source] + generator.normal(
        size=(len(source), 3)
    ) * scatter
    turn = np.linalg.qr(np.random.default_rng(9).normal(size=(3, 3)))[0]  # no column is one of the three
    return (values @ turn if mixed else values) + 5.0, source.astype(str)


def test_ranks_as_the_likelihood_ratio_of_its_gaussians():
    values, sources = drawn(300, 0)
    metric = SourceMetric.fit(values, sources)
    places = metric.standardizer(values[:9]) @ metric.basis
    asked, candidates, offsets = metric.sides(values[:9])
    score = asked @ candidates.T - offsets
    b, nothing = np.diag(metric.between), np.zeros((3, 3))
    one = multivariate_normal(cov=np.block([[b + np.eye(3), b], [b, b + np.eye(3)]]))
    two = multivariate_normal(cov=np.block([[b + np.eye(3), nothing], [nothing, b + np.eye(3)]]))
    for query in range(9):
        pairs = np.concatenate([np.repeat(places[query : query + 1], 9, axis=0), places], axis=1)
        truth = one.logpdf(pairs) - two.logpdf(pairs)
        np.testing.assert_allclose(score[query] - score[query, 0], truth - truth[0], atol=1e-9)


def test_learns_the_scatter_within_and_between_sources():
    values, sources = drawn(4000, 1, mixed=False)
    metric = SourceMetric.fit(values, sources)
    # Variances between over within: 25, 1 and none; in the order of scipy's eigenvalues.
    np.testing.assert_allclose(metric.between, [0.0, 1.0, 25.0], rtol=0.12, atol=0.03)
    moved = SourceMetric.fit(values * 7.0 - 100.0, sources)
    np.testing.assert_allclose(moved.between, metric.between, rtol=1e-6, atol=1e-9)


def test_finds_sources_that_distances_do_not():
    train, test = drawn(300, 2), drawn(200, 3)
    metric = SourceMetric.fit(*train)
    by_distance = find_own_source(*test, train[0], num_resamples=5)["metrics"]["recall@1%"]["value"]
    learned = find_own_source(*test, train[0], num_resamples=5, metric=metric)["metrics"]["recall@1%"]
    assert learned["value"] > 2 * by_distance > 2 * learned["chance"]


def test_a_source_that_was_seen_often_counts_once_and_columns_may_be_empty():
    values, sources = drawn(400, 4)
    seen_often = (
        np.concatenate([values, np.tile(values[:2], (300, 1))]),
        np.concatenate([sources, np.tile(sources[:2], 300)]),
    )
    once, often = SourceMetric.fit(values, sources), SourceMetric.fit(*seen_often)
    assert np.abs(often.between[-1] / once.between[-1] - 1) < 0.9  # not that of one source
    empty = np.column_stack([values, np.zeros(len(values))])
    empty[3, 1] = np.nan
    assert np.isfinite(SourceMetric.fit(empty, sources).sides(empty)[0]).all()


@pytest.mark.parametrize("number", [0, MIN_PAIRS - 1])
def test_too_few_pairs_are_no_metric(number):
    values, sources = drawn(number + 1, 5)
    alone = np.arange(len(values)) >= 2 * number
    assert SourceMetric.fit(values, np.where(alone, [f"x{i}" for i in range(len(values))], sources)) is None
