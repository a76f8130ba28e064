from __future__ import annotations

import numpy as np
import pytest

from chandraclip.evaluation import neighbours
from chandraclip.evaluation.neighbours import describe, find_neighbours, nearest


def test_nearest_equals_a_full_sort(monkeypatch):
    generator = np.random.default_rng(0)
    queries, references = generator.normal(size=(23, 5)), generator.normal(size=(40, 5))
    similarity = (
        (queries @ references.T) / np.linalg.norm(queries, axis=1)[:, None] / np.linalg.norm(references, axis=1)
    )
    expected = np.argsort(-similarity, axis=1)[:, :4]
    for block in (2**20, 90):
        monkeypatch.setattr(neighbours, "_BLOCK_ELEMENTS", block)
        indices, values = nearest(queries, references, 4)
        np.testing.assert_array_equal(indices, expected)
        np.testing.assert_allclose(values, np.take_along_axis(similarity, expected, axis=1), rtol=1e-5)
    assert nearest(queries, references, 99)[0].shape == (23, 40)


@pytest.mark.parametrize("num_references", [64 * 7, 1000, 1001])
def test_nearest_among_many_groups_of_references(num_references):
    """The best lie side by side in one group, in many groups, and in the last one, which is not full."""
    generator = np.random.default_rng(1)
    queries, references = generator.normal(size=(17, 8)), generator.normal(size=(num_references, 8))
    references[64:74] = queries[0] + 0.01 * generator.normal(size=(10, 8))
    references[-1] = queries[1]
    references[[5, 300]] = queries[2]
    references[-3:] -= 100 * queries[3]  # a padded place, similarity 0, would come before these
    unit, others = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, references))
    similarity = (unit @ others.T).astype(np.float32)
    for k in (1, 6, 10):
        indices, values = nearest(queries, references, k)
        expected = np.sort(similarity, axis=1)[:, ::-1][:, :k]
        np.testing.assert_allclose(values, expected, atol=1e-6)
        np.testing.assert_allclose(np.take_along_axis(similarity, indices, axis=1), expected, atol=1e-6)
        assert all(len(set(row)) == k for row in indices)
    assert nearest(-references[:3], references[-2:], 2)[1].shape == (3, 2)
    assert nearest(queries, references, 6)[0][2, :2].tolist() == [5, 300]


def test_other_detections_of_the_source_come_first_and_never_itself(make_embeddings):
    table = make_embeddings(num_sources=100, detections=2)
    (lookup,) = find_neighbours(table, table, num_neighbours=3, num_texts=2)
    assert lookup.neighbours.shape == (200, 3)
    assert not (lookup.neighbours == lookup.rows[:, None]).any()
    assert (table.name[lookup.neighbours[:, 0]] == table.name).mean() > 0.9
    assert (table.name[lookup.texts[:, 0]] == table.name).mean() > 0.9
    assert all(len(set(table.text_id[row])) == 2 for row in lookup.texts)


def test_queries_are_compared_by_what_they_have(make_embeddings):
    rows = np.arange(60)
    missing = {"spectrum_embedding": rows < 20, "event_embedding": rows >= 40, "text_embedding": rows > 50}
    queries = make_embeddings(num_sources=30, seed=0, **missing)
    references = make_embeddings(num_sources=30, seed=0)
    compared = {lookup.modalities: set(lookup.rows.tolist()) for lookup in find_neighbours(queries, references)}
    assert compared == {
        ("event_embedding",): set(range(20)),
        ("spectrum_embedding", "event_embedding"): set(range(20, 40)),
        ("spectrum_embedding",): set(range(40, 60)),
    }


def test_references_without_the_modality(make_embeddings):
    everything = np.ones(20, dtype=bool)
    references = make_embeddings(num_sources=10, event_embedding=everything, spectrum_embedding=everything)
    with pytest.raises(ValueError, match="no reference"):
        find_neighbours(make_embeddings(num_sources=10), references)


def test_describe_leaves_out_what_is_missing(make_embeddings):
    table = make_embeddings(num_sources=10)
    facts = {"hard_hm": np.array([0.5, np.nan] * 10), "true_spectrum": np.array([None, "powerlaw"] * 10, dtype=object)}
    first, second = (describe(table, row, facts, ["hard_hm", "true_spectrum", "absent"]) for row in (0, 1))
    assert first["hard_hm"] == 0.5
    assert "true_spectrum" not in first
    assert second["true_spectrum"] == "powerlaw"
    assert "hard_hm" not in second
    assert first["source_class"] == "AGN"
