"""Clusters where the classes are known: planted ones are found, noise gives chance, sources stay apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chandraclip.data.schema import SOURCE_CLASSES
from chandraclip.evaluation import cluster_methods
from chandraclip.evaluation.classes import BINARY, balanced_accuracy, score_predictions
from chandraclip.evaluation.cluster_methods import (
    ASSIGNMENTS,
    DENSITY,
    MANY_TO_ONE,
    METHODS,
    NORMALISED,
    ONE_TO_ONE,
    PLANE_DENSITY,
    RAW,
    assign_classes,
    classes_of,
    contingency,
    fit_clusterings,
)
from chandraclip.evaluation.clustering import best_in_sample, best_of, run_trials, size_curves, summarise
from class_files import compared_of, planted, task_of


def records_of(compared, task, **kwargs):
    trials = run_trials(compared, task, **kwargs)
    return trials, summarise(trials, task, compared.table.name, num_resamples=50)


@pytest.mark.parametrize("method", METHODS)
def test_planted_clusters_are_classes(method):
    compared = compared_of(*planted())
    task = task_of(compared)
    _, records = records_of(compared, task, methods=[method], sizes=(4, 8, 12))
    for assignment, normalisation in ASSIGNMENTS:
        record = next(
            one for one in records if (one["assignment"], one["normalisation"]) == (assignment, normalisation)
        )
        # HDBSCAN calls the outermost rows noise, and noise is wrong.
        assert record["balanced_accuracy"] > (0.97 if method == DENSITY else 0.995)
        assert record["balanced_accuracy_low"] <= record["balanced_accuracy"] <= record["balanced_accuracy_high"]
        assert record["chance"] == pytest.approx(1 / 8)
        if assignment == ONE_TO_ONE:
            assert record["num_clusters"] == 8
    binary = task_of(compared, BINARY)
    assert binary.names == ("AGN", "compact")
    _, records = records_of(compared, binary, methods=[method], sizes=(2, 5))
    assert best_of(records, "latents", MANY_TO_ONE)["balanced_accuracy"] > 0.95
    assert best_of(records, "latents", MANY_TO_ONE)["chance"] == 0.5


def test_noise_gives_chance_but_for_those_who_look():
    vectors, source, label = planted(num_sources=1200)
    noise = np.random.default_rng(5).normal(size=vectors.shape)
    compared = compared_of(noise, source, label)
    trials, records = records_of(compared, task_of(compared), sizes=(8, 32))
    for record in records:
        assert record["balanced_accuracy"] < 1 / 8 + 0.05
        if record["method"] != DENSITY:  # which calls nearly all of it noise
            assert record["balanced_accuracy"] > 1 / 8 - 0.05
    # Assigned and judged on the same rows there is more than chance in noise: shuffled labels say how much.
    looked = best_in_sample(records, "latents", MANY_TO_ONE)
    assert looked["in_sample"] > 1 / 8 + 0.03
    assert looked["in_sample_chance"] == pytest.approx(looked["in_sample"], abs=0.03)
    assert len(size_curves(trials, task_of(compared))) == len(trials)


def test_chance_in_sample_knows_that_a_source_is_one():
    """Ten detections at one place are one: labels dealt to them one by one would make nothing look like a find."""
    rng = np.random.default_rng(0)
    source, label = np.repeat(np.arange(240), 10), np.repeat(rng.integers(0, 8, 240), 10)
    vectors = np.repeat(rng.normal(size=(240, 3)), 10, axis=0)
    compared = compared_of(vectors, source, label)
    _, records = records_of(compared, task_of(compared), methods=["k-means"], sizes=(8, 32))
    for record in records:
        assert record["in_sample_chance"] == pytest.approx(record["in_sample"], abs=0.06)
    assert best_in_sample(records, "latents", MANY_TO_ONE)["in_sample"] > 0.3


def test_noise_of_hdbscan_is_wrong_and_said():
    vectors, source, label = planted(num_sources=600, num_classes=2)
    far = np.random.default_rng(0).random(len(vectors)) < 0.2
    vectors[far] = np.random.default_rng(1).uniform(-300, 300, (int(far.sum()), 8))
    compared = compared_of(vectors, source, label)
    _, records = records_of(compared, task_of(compared), methods=[DENSITY])
    best = best_of(records, "latents", ONE_TO_ONE)
    assert best["noise"] == pytest.approx(0.2, abs=0.06)
    assert best["balanced_accuracy"] == pytest.approx(1 - best["noise"], abs=0.05)


def test_clusters_in_the_plane_of_a_published_layout(monkeypatch):
    vectors, _, label = planted(num_sources=100, num_classes=2)
    rows = np.arange(120)
    fitted = next(fit_clusterings(PLANE_DENSITY, vectors[rows]))
    found = fitted.predict(vectors[rows])
    assert fitted.num_clusters == 2
    for number in (0, 1):  # the published radius leaves out a few at the rims
        own = found[label[rows] == number]
        assert (own == np.bincount(own[own >= 0]).argmax()).mean() > 0.8
    assert not list(fit_clusterings(PLANE_DENSITY, vectors[:50]))
    # Through folds, with a plane that takes no time.
    monkeypatch.setattr(cluster_methods, "plane_of", lambda points, seed, method: 3.0 * points[:, :2])
    compared = compared_of(*planted(num_sources=300, num_classes=2))
    trials, records = records_of(compared, task_of(compared), methods=[PLANE_DENSITY])
    assert {trial.size for trial in trials} == {25}
    assert {record["method"] for record in records} == {PLANE_DENSITY}


def test_nothing_of_test_decides():
    vectors, source, label = planted(num_sources=400, distance=3.0)
    compared = compared_of(vectors, source, label)
    test = compared.table.split == "test"
    moved = vectors.copy()
    moved[test] = np.random.default_rng(3).normal(size=(int(test.sum()), 8)) * 50
    chosen = [
        [
            {name: one[name] for name in ("size", "num_clusters", "validation", "in_sample")}
            for one in records_of(compared_of(each, source, label), task_of(compared), sizes=(6, 8))[1]
        ]
        for each in (vectors, moved)
    ]
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize("num_folds", [0, 4])
def test_no_source_is_on_two_sides(num_folds):
    """Vectors that name the source and nothing else: worth everything if folds share one, and nothing if not."""
    rng = np.random.default_rng(0)
    source = np.repeat(np.arange(300), 6)
    label = rng.integers(0, 4, 300)[source]
    compared = compared_of(20 * rng.normal(size=(300, 8))[source] + rng.normal(size=(1800, 8)), source, label)
    task = task_of(compared, num_folds=num_folds)
    names = compared.table.name
    for fold in task.folds:
        parts = [set(names[rows]) for rows in (fold.train, fold.validation, fold.test)]
        assert all(parts)
        assert not parts[0] & parts[1]
        assert not parts[0] & parts[2]
        assert not parts[1] & parts[2]
    judged = np.concatenate([fold.test for fold in task.folds])
    assert len(set(judged.tolist())) == len(judged)
    if num_folds:
        assert len(judged) == 1800
    _, records = records_of(compared, task, methods=["k-means"], sizes=(8, 128))
    assert best_of(records, "latents", MANY_TO_ONE)["balanced_accuracy"] < 0.25 + 0.1
    assert best_in_sample(records, "latents", MANY_TO_ONE)["in_sample"] > 0.6  # the same, by those who look


def test_rare_unknown_and_incomplete_rows_are_left_out_and_counted():
    vectors, source, label = planted(num_sources=500, num_classes=4)
    label = np.where(source % 10 == 0, -1, label)
    few = np.flatnonzero((label == 3) & (source > 15))
    label[few] = 2
    usable = np.random.default_rng(0).random(len(source)) < 0.9
    task = task_of(compared_of(vectors, source, label), usable=usable)
    assert task.left_out["no class, or one too rare"] == int((label == -1).sum())
    assert task.left_out["without one of the representations"] == int((~usable & (label >= 0)).sum())
    assert task.left_out[f"{SOURCE_CLASSES[3]}: too few sources"] == int(((label == 3) & usable).sum())
    assert task.names == tuple(SOURCE_CLASSES[number] for number in range(3))
    assert ((task.labels >= 0) == ((label >= 0) & (label < 3) & usable)).all()
    assert sum(one["detections"] for one in task.counts.values()) == int((task.labels >= 0).sum())
    assert task_of(compared_of(vectors, source, np.zeros_like(label))) is None


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**31))
def test_assignments_are_the_best_there_are(num_classes, num_clusters, seed):
    from itertools import permutations

    counts = np.random.default_rng(seed).integers(0, 20, (num_classes, num_clusters))
    assigned = assign_classes(counts, ONE_TO_ONE, RAW)
    given_classes = assigned[assigned >= 0]
    assert len(set(given_classes.tolist())) == len(given_classes) == min(num_classes, num_clusters)
    wide = counts if num_classes <= num_clusters else counts.T
    best = max(
        sum(wide[row, column] for row, column in enumerate(order))
        for order in permutations(range(wide.shape[1]), wide.shape[0])
    )
    assert sum(counts[number, cluster] for cluster, number in enumerate(assigned) if number >= 0) == best
    many = assign_classes(counts, MANY_TO_ONE, RAW)
    for cluster in range(num_clusters):
        if counts[:, cluster].any():
            assert counts[many[cluster], cluster] == counts[:, cluster].max()
        else:
            assert many[cluster] == -1


def test_normalised_counts_let_rare_classes_have_a_cluster():
    counts = np.array([[900, 100, 600], [5, 1, 4], [0, 10, 0]])  # the second class: 10 of 1,620
    assert assign_classes(counts, MANY_TO_ONE, RAW).tolist() == [0, 0, 0]
    assert assign_classes(counts, MANY_TO_ONE, NORMALISED).tolist() == [0, 2, 1]
    clusters = np.array([0, 1, 2, -1])
    assert classes_of(clusters, np.array([1, -1, 0])).tolist() == [1, -1, 0, -1]
    table = contingency(np.array([0, 1, 1, 0]), clusters, 2, 3)
    assert table.tolist() == [[1, 0, 0], [0, 1, 1]]


def test_scores_are_those_of_scikit_learn():
    from sklearn.metrics import balanced_accuracy_score, f1_score

    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 3, 500), rng.integers(-1, 3, 500)
    score = score_predictions(truth, predicted, np.arange(500).astype(str), ["a", "b", "c"], num_resamples=50)
    with np.errstate(all="ignore"):
        assert score["balanced_accuracy"] == pytest.approx(
            np.mean([(predicted[truth == number] == number).mean() for number in range(3)])
        )
    assert score["balanced_accuracy"] == pytest.approx(balanced_accuracy(truth, predicted, 3))
    assert score["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro", labels=[0, 1, 2]))
    assert np.array(score["confusion"]).shape == (3, 4)
    valid = predicted >= 0
    without = score_predictions(truth[valid], predicted[valid], np.arange(valid.sum()).astype(str), ["a", "b", "c"])
    assert without["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth[valid], predicted[valid]))
    # One source a class, and a thousand detections of it: no interval of theirs is narrow.
    one_source = score_predictions(truth, predicted, (np.arange(500) % 4).astype(str), ["a", "b", "c"])
    assert (
        one_source["balanced_accuracy_high"] - one_source["balanced_accuracy_low"]
        != score["balanced_accuracy_high"] - score["balanced_accuracy_low"]
    )


def test_a_class_that_a_resample_lacks_takes_nothing_from_its_scores():
    truth = np.repeat([0, 1, 2], [200, 200, 5])
    source = np.array([str(row) for row in range(400)] + ["one"] * 5)
    score = score_predictions(truth, truth, source, ["a", "b", "c"], num_resamples=200)
    assert (score["macro_f1_low"], score["macro_f1_high"]) == (1, 1)
    assert (score["balanced_accuracy_low"], score["balanced_accuracy_high"]) == (1, 1)
    assert score["recalls"]["a"] == [1, 1, 1]
    assert score["recalls"]["c"][0] == 1
    assert np.isnan(score["recalls"]["c"][1:]).all()  # of one source there is no interval


def test_sizes_beyond_the_rows_are_left_out():
    vectors = np.random.default_rng(0).normal(size=(20, 2))
    assert [one.size for one in fit_clusterings("k-means", vectors, (2, 8, 16))] == [2, 8]
