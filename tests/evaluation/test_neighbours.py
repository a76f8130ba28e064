from __future__ import annotations

import numpy as np
import pytest

from chandraclip.evaluation import neighbours
from chandraclip.evaluation.neighbours import nearest, nearest_elsewhere


def test_nearest_equals_a_full_sort(monkeypatch):
    generator = np.random.default_rng(0)
    queries, references = generator.normal(size=(23, 5)), generator.normal(size=(40, 5))
    similarity = (
        (queries @ references.T) / np.linalg.norm(queries, axis=1)[:, None] / np.linalg.norm(references, axis=1)
    )
    expected = np.argsort(-similarity, axis=1)[:, :4]
    for tile in ((512, 2048), (7, 64)):
        monkeypatch.setattr(neighbours, "_CPU_TILE", tile)
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


@pytest.mark.parametrize("num_references", [1, 63, 64, 65, 2048, 2049, 5000])
def test_nearest_where_tiles_and_groups_end(num_references):
    generator = np.random.default_rng(2)
    queries, references = generator.normal(size=(600, 6)), generator.normal(size=(num_references, 6))
    indices, values = nearest(queries, references, 5)
    unit, others = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, references))
    expected = -np.sort(-(unit @ others.T), axis=1)[:, :5]
    np.testing.assert_allclose(values, expected, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(unit @ others.T, indices, axis=1), expected, atol=1e-6)


@pytest.mark.parametrize(
    "queries, references, k",
    [((3, 4), (0, 4), 1), ((3, 4), (5, 3), 1), ((4,), (5, 4), 1), ((3, 4), (5, 4), 0)],
)
def test_nearest_of_what_does_not_fit(queries, references, k):
    with pytest.raises(ValueError, match="nearest neighbours of"):
        nearest(np.ones(queries), np.ones(references), k)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nearest_of_values_that_are_not_finite(bad):
    rows = np.ones((4, 3))
    rows[2, 1] = bad
    with pytest.raises(ValueError, match="references have a value that is not finite"):
        nearest(np.ones((2, 3)), rows, 1)


def test_neighbours_elsewhere_are_of_other_groups_and_the_nearest_of_them():
    generator = np.random.default_rng(3)
    groups = np.concatenate([np.zeros(40, int), np.arange(200) // 2 + 1])  # one source of many detections
    vectors = generator.normal(size=(101, 5))[groups] + 0.1 * generator.normal(size=(240, 5))

    def search(rows, k):
        return nearest(vectors[rows], vectors, k)

    indices, values = nearest_elsewhere(search, groups, 6)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = np.where(groups[:, None] == groups, -2, unit @ unit.T)
    np.testing.assert_allclose(values, -np.sort(-similarity, axis=1)[:, :6], atol=1e-6)
    assert not (groups[indices] == groups[:, None]).any()
    with pytest.raises(ValueError, match="no 201 neighbours elsewhere"):
        nearest_elsewhere(search, groups, 201)
