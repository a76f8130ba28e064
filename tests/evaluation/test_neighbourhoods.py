"""How wide neighbourhoods are, on points of which the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from chandraclip.evaluation.neighbourhoods import (
    MIXED_CLASSES,
    SEMANTIC,
    class_mixing,
    neighbours_of_others,
    random_others,
    scalar_spread,
    semantic_spread,
    spread_tables,
    standardized,
    text_vectors,
)


def test_neighbours_are_of_other_sources_and_in_order():
    rng = np.random.default_rng(0)
    points, source = rng.normal(size=(300, 5)).astype(np.float32), np.repeat(np.arange(100), 3).astype(str)
    found = neighbours_of_others(points, source, 7)
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    distance[source[:, None] == source] = np.inf
    expected = np.argsort(distance, axis=1)[:, :7]
    assert np.array_equal(found, expected)
    with pytest.raises(ValueError, match="no 10 neighbours elsewhere"):
        neighbours_of_others(points[:9], source[:9], 10)


def test_random_neighbours_are_of_other_sources_and_spread_over_all():
    source = np.repeat(np.arange(50), 4)
    drawn = random_others(source, 10)
    assert (source[drawn] != source[:, None]).all()
    assert np.bincount(drawn.ravel(), minlength=200).min() > 0


def test_latents_are_standardized_and_embeddings_are_not():
    points = np.random.default_rng(0).normal(size=(500, 3)) * [1, 100, 0] + [5, 0, 2]
    scaled = standardized(points, is_embedding=False)
    assert scaled.mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-4)
    assert scaled.std(axis=0) == pytest.approx([1, 1, 0], abs=1e-4)
    assert np.array_equal(standardized(points, is_embedding=True), points.astype(np.float32))


def test_spreads_by_hand():
    neighbours = np.array([[0, 1, 2, 3], [2, 3, 4, 5]])
    values = np.array([1.0, 2.0, 3.0, np.nan, np.nan, 7.0])
    assert scalar_spread(values, neighbours) == pytest.approx([1.0, np.nan], nan_ok=True)
    classes = np.array([0, 0, 1, -1, 1, 1])
    assert class_mixing(classes, neighbours) == pytest.approx([2 / 3, 0])
    texts = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [1, 0], [0, 1]], dtype=float)
    has = np.array([True, True, True, False, True, True])
    assert semantic_spread(texts, has, neighbours) == pytest.approx([2 / 3, 2 / 3])
    assert np.isnan(semantic_spread(texts, np.zeros(6, bool), neighbours)).all()


def test_texts_of_like_words_are_near():
    texts = ["bright pulsar with hard spectrum", "hard spectrum of a bright pulsar"] * 5 + [
        "soft young star flares"
    ] * 5
    vectors, has = text_vectors([*texts, None, "  "])
    assert has.tolist() == [True] * 15 + [False] * 2
    assert np.linalg.norm(vectors[has], axis=1) == pytest.approx(1)
    assert vectors[0] @ vectors[1] > 0.8 > vectors[0] @ vectors[12] + 0.3
    assert not vectors[~has].any()


@pytest.mark.parametrize("texts", [["A soft source"], ["quasar", "star", "binary"], ["the", "of the", "and"]])
def test_texts_that_share_no_word_cannot_be_compared(texts):
    vectors, has = text_vectors(texts)
    assert vectors.shape == (len(texts), 64)
    assert not has.any()


def test_an_aligned_space_is_narrower_and_a_random_one_is_as_wide_as_chance():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(4), 100)
    source = np.repeat(np.arange(200), 2)
    hardness = group + 0.1 * rng.normal(size=400)
    aligned = np.eye(4)[group] + 0.05 * rng.normal(size=(400, 4))
    noise = rng.normal(size=(400, 4))
    spread, changes = spread_tables(
        {"noise": noise.astype(np.float32), "aligned": aligned.astype(np.float32)},
        {"spectrum": ("noise", "aligned")},
        source,
        group,
        {"hard_hs": hardness},
        (np.eye(4)[group], np.ones(400, bool)),
        num_resamples=200,
    )
    by = {(row["representation"], row["quantity"]): row for row in spread}
    for quantity in ("hard_hs", SEMANTIC, MIXED_CLASSES):
        row = by["noise", quantity]
        assert row["value"] == pytest.approx(row["chance"], rel=0.1)
        assert row["low"] < row["value"] < row["high"]
    by_quantity = {row["quantity"]: row for row in changes}
    assert by_quantity["hard_hs"]["ratio"] < 0.2
    assert by_quantity["hard_hs"]["high"] < 0.3
    assert by_quantity[SEMANTIC]["after"] == pytest.approx(0, abs=0.02)
    assert by_quantity[MIXED_CLASSES]["neighbours"] == "spectrum"
