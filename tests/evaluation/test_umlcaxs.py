"""The recipe of Perez-Diaz et al. 2024: scaling, distances, votes, and the published table it is compared with."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from chandraclip.errors import InputFileError
from chandraclip.evaluation.classes import EIGHT
from chandraclip.evaluation.type_distances import OWN_FEATURES, type_distance_scores
from chandraclip.evaluation.umlcaxs import (
    FEATURES,
    LOG_FEATURES,
    FeatureScaling,
    TypeDistances,
    features_of,
    reproduce_published,
    source_votes,
)
from class_files import compared_of, planted, task_of


def test_scaling_is_that_of_the_paper():
    rng = np.random.default_rng(0)
    values = rng.uniform(0.1, 1.0, (50, len(FEATURES)))
    values[:5, FEATURES.index("var_ratio_b")] = 0.0
    values[:, FEATURES.index("hard_hm")] = rng.uniform(-1, 1, 50)
    scaled = FeatureScaling.fit(values, FEATURES)(values)
    for place, name in enumerate(FEATURES):
        column = values[:, place]
        if name in LOG_FEATURES:
            column = np.log(column + column[column > 0].min() / 10)
        if name in (*LOG_FEATURES, "powlaw_gamma"):
            column = (column - column.min()) / (column.max() - column.min())
        np.testing.assert_allclose(scaled[:, place], column, err_msg=name)


def test_probabilities_are_a_softmin_of_squared_mahalanobis_distances():
    rng = np.random.default_rng(0)
    types = np.array(["a", "b", None], dtype=object)[rng.integers(0, 3, 900)]
    shift = np.where(types == "b", 2.0, 0.0)[:, None] * np.array([1.0, 0.3])
    vectors = rng.normal(size=(900, 2)) @ np.array([[1.0, 0.4], [0.0, 0.5]]) + shift
    model = TypeDistances.fit(vectors, types, num_clusters=1)
    queries = rng.normal(size=(20, 2))
    distances = []
    for name in ("a", "b"):
        members = vectors[types == name]
        offset = queries - members.mean(axis=0)
        inverse = np.linalg.pinv(np.cov(members.T))
        distances.append([row @ inverse @ row for row in offset])
    expected = np.exp(-np.array(distances).T)
    np.testing.assert_allclose(model.probabilities(queries), expected / expected.sum(axis=1, keepdims=True), rtol=1e-6)


def test_types_with_few_members_in_a_cluster_are_not_known_there():
    rng = np.random.default_rng(0)
    vectors = np.concatenate([rng.normal(size=(100, 2)), 50 + rng.normal(size=(100, 2))])
    types = np.array(["a"] * 90 + ["b"] * 10 + [None] * 89 + ["b"] * 11, dtype=object)
    model = TypeDistances.fit(vectors, types, num_clusters=2, min_members=12)
    near, far = model.probabilities(vectors[:100]), model.probabilities(vectors[100:])
    assert (near[:, 0] == 1).all()  # ten b are too few
    assert not far.any()  # so are eleven
    votes = source_votes(np.concatenate([near[:1], far[:2]]), np.array(["x", "y", "y"]))
    assert votes["soft"].tolist() == [0, -1]
    assert votes["hard"].tolist() == [0, -1]


def test_votes_differ_where_one_detection_is_sure_and_two_are_not():
    probabilities = np.array([[0.98, 0.02], [0.45, 0.55], [0.45, 0.55], [0.1, 0.9]])
    votes = source_votes(probabilities, np.array(["x", "x", "x", "y"]))
    assert votes["soft"].tolist() == [0, 1]
    assert votes["hard"].tolist() == [1, 1]
    assert votes["detections"].tolist() == [3, 1]


def test_scores_on_a_dataset_are_of_the_rows_with_its_features():
    vectors, source, label = planted(num_sources=2500, num_classes=4)
    compared = compared_of(vectors, source, label)
    facts = {name: vectors[:, place] for place, name in enumerate(("hard_hm", "hard_hs", "hard_ms", "powlaw_gamma"))}
    facts["powlaw_gamma"] = np.where(source % 4 == 0, np.nan, facts["powlaw_gamma"])
    facts["var_prob_h"] = np.full(len(source), np.nan)
    compared.facts.update(facts)
    found = type_distance_scores(compared, task_of(compared), num_resamples=50)
    assert found["present"] == ["hard_hm", "hard_hs", "hard_ms", "powlaw_gamma"]
    assert set(found["lacking"]) == set(FEATURES) - set(found["present"])
    assert found["detections"]["test"] < (compared.table.split == "test").sum()
    scores = {record["representation"]: record for record in found["records"]}
    assert set(scores) == {OWN_FEATURES, "latents"}
    for record in scores.values():
        assert record["detection"] > 0.97
        assert record["soft_vote"] > 0.97
        assert record["chance"] == 0.25
        assert record["unknown"] < 0.02
    compared.facts.clear()
    assert type_distance_scores(compared, task_of(compared, EIGHT))["records"] == []
    assert features_of({})[1:] == ([], list(FEATURES))


def test_the_published_table_is_reproduced_far_above_chance(real_data):
    found = reproduce_published(real_data / "catalog" / "umlcaxs_uniquely_classified.csv.gz", num_folds=2)
    assert found["rows"] == 6658
    groups = found["groups, all"]
    assert groups["agreement"] > 0.6 > 2 * groups["most_frequent"] - 0.1
    assert groups["balanced_agreement"] > 0.6
    assert found["types, one detection"]["balanced_agreement"] > 4 * found["types, one detection"]["chance_balanced"]


def test_another_table_is_refused(tmp_path):
    path = tmp_path / "table.csv"
    pd.DataFrame({"name": ["a"], "master_class": ["AGN"]}).to_csv(path)
    with pytest.raises(InputFileError, match=r"table.csv.*hard_hm"):
        reproduce_published(path)
    with pytest.raises(InputFileError, match="not readable as CSV"):
        reproduce_published(tmp_path / "none.csv")
