"""A metric of "the same source", learned on sources of train: what it finds, and nothing where there is nothing."""

import numpy as np
import pytest

from chandraclip.evaluation.event_tasks import find_own_source
from chandraclip.evaluation.source_metric import MIN_SOURCES, SourceMetric


def drawn(num_sources, seed, spread=(1.0, 0.3, 0.0), scatter=(0.2, 0.3, 3.0)):
    """Two or three observations a source: one number stays, one half stays, one is another every time; all mixed."""
    generator = np.random.default_rng(seed)
    source = np.repeat(np.arange(num_sources), generator.integers(2, 4, num_sources))
    values = (generator.normal(size=(num_sources, 3)) * spread)[source]
    values = values + generator.normal(size=values.shape) * scatter
    turn = np.linalg.qr(np.random.default_rng(9).normal(size=(3, 3)))[0]
    return 5.0 + values @ turn, np.array([f"{seed}-{number}" for number in source])


def found(test, train, metric=None):
    return find_own_source(*test, train[0], num_resamples=5, metric=metric)["metrics"]["mean_reciprocal_rank"]


def test_finds_sources_that_distances_do_not():
    train, test = drawn(300, 2), drawn(200, 3)
    metric = SourceMetric.fit(*train)
    by_distance, learned = found(test, train), found(test, train, metric)
    assert learned["value"] > 1.5 * by_distance["value"]
    assert by_distance["value"] > 2 * learned["chance"]
    # What is another every time weighs next to nothing: moving by it moves nothing.
    turn = np.linalg.qr(np.random.default_rng(9).normal(size=(3, 3)))[0]
    moved = np.linalg.norm(metric(train[0][:1] + turn) - metric(train[0][:1]), axis=1)
    assert moved[2] < 0.2 * moved[0]


def test_the_same_in_any_units_and_again():
    train, test = drawn(100, 4), drawn(50, 5)
    scale, shift = np.array([1e-3, 1.0, 1e4]), np.array([1.0, -50.0, 3e5])
    one = SourceMetric.fit(*train)(test[0])
    np.testing.assert_array_equal(SourceMetric.fit(*train)(test[0]), one)
    other = SourceMetric.fit(train[0] * scale + shift, train[1])(test[0] * scale + shift)
    np.testing.assert_allclose(other, one, atol=1e-3)


def test_nothing_is_found_where_nothing_stays():
    nothing = (0.0, 0.0, 0.0)
    train, test = drawn(300, 6, spread=nothing), drawn(200, 7, spread=nothing)
    learned = found(test, train, SourceMetric.fit(*train))
    assert learned["value"] == pytest.approx(learned["chance"], abs=0.02)


def test_values_may_be_missing_or_never_differ():
    values, sources = drawn(100, 8)
    values = np.column_stack([values, np.zeros(len(values))])
    values[3, 1] = np.nan
    assert np.isfinite(SourceMetric.fit(values, sources)(values)).all()


def test_too_few_sources_are_no_metric():
    values, sources = drawn(MIN_SOURCES, 9)
    assert SourceMetric.fit(values, sources) is not None
    assert SourceMetric.fit(values, np.where(sources == "9-0", np.arange(len(values)).astype(str), sources)) is None
