"""Classifiers where the truth is known: planted classes, noise, leaks by source, calibration, votes."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from chandraclip.evaluation.calibration import calibration
from chandraclip.evaluation.classes import BINARY, EIGHT, score_predictions
from chandraclip.evaluation.classification import classify, score_classifier, votes
from chandraclip.evaluation.classifiers import CLASSIFIERS, FOREST, KNN, LINEAR, predict_classes
from class_files import compared_of, planted, task_of


def scores_of(compared, title=EIGHT, num_folds=0, counts=None, methods=CLASSIFIERS):
    task = task_of(compared, title, num_folds)
    found = classify(compared, task, methods)
    return task, {
        method: score_classifier(given, task, compared.table.name, counts, num_resamples=50)
        for (_, method), (given, _, _) in found.items()
    }


def test_planted_classes_are_read_by_all():
    vectors, source, label = planted(num_sources=700)
    counts = 10.0 ** np.random.default_rng(0).uniform(0.5, 2.9, len(source))
    task, scores = scores_of(compared_of(vectors, source, label), counts=counts)
    for score in scores.values():
        assert score["balanced_accuracy"] > 0.99
        assert score["auc"] > 0.999
        assert score["macro_f1"] > 0.99
        assert score["chance"] == pytest.approx(1 / 8)
        assert set(score["recalls"]) == set(task.names)
        assert set(score["decades"]) == {"below 10", "10 to 100", "100 to 1000"}
        assert score["decades"]["10 to 100"]["balanced_accuracy"] > 0.98
    _, scores = scores_of(compared_of(vectors, source, label), BINARY)
    assert all(score["auc"] > 0.999 for score in scores.values())


def test_noise_gives_chance():
    _, source, label = planted(num_sources=1000, num_classes=4)
    noise = np.random.default_rng(2).normal(size=(len(source), 8))
    _, scores = scores_of(compared_of(noise, source, label))
    for score in scores.values():
        assert score["balanced_accuracy"] == pytest.approx(0.25, abs=0.06)
        assert score["auc"] == pytest.approx(0.5, abs=0.08)
        assert score["auc_low"] < score["auc"] < score["auc_high"]


@pytest.mark.parametrize("num_folds", [0, 4])
def test_a_leak_by_source_gains_nothing(num_folds):
    rng = np.random.default_rng(0)
    source = np.repeat(np.arange(300), 12)
    label = rng.integers(0, 4, 300)[source]
    vectors = 30 * rng.normal(size=(300, 8))[source] + 0.1 * rng.normal(size=(3600, 8))
    _, scores = scores_of(compared_of(vectors, source, label), num_folds=num_folds)
    assert max(score["balanced_accuracy"] for score in scores.values()) < 0.25 + 0.15
    # The leak is there: rows dealt without regard to sources are known.
    order = rng.permutation(3600)
    parts = np.split(order, [2400, 3000])
    answer, _, _ = predict_classes(
        KNN, vectors[parts[0]], label[parts[0]], vectors[parts[1]], label[parts[1]], vectors[parts[2]], 4
    )
    assert (answer.argmax(axis=1) == label[parts[2]]).mean() > 0.8


def test_chance_of_the_macro_f1_is_its_mean_over_all_ways_to_deal_the_predictions():
    truth, predicted = np.array([0, 0, 0, 1, 1, 3]), np.array([0, 0, 1, 1, -1, 2])
    names = np.array([f"S{row}" for row in range(6)])

    def score(one):
        return score_predictions(truth, one, names, ("a", "b", "c", "d"), num_resamples=2)

    dealt = [score(np.array(one))["macro_f1"] for one in set(permutations(predicted.tolist()))]
    assert score(predicted)["macro_f1_chance"] == pytest.approx(np.mean(dealt))
    always = score(np.zeros(6, int))
    assert always["macro_f1_chance"] == pytest.approx(always["macro_f1"])  # one answer for all is a guess


def test_settings_are_chosen_on_validation_and_classes_weigh_alike():
    """Of 2 % of the rows, and overlapping: a classifier that follows frequencies never says the rare class."""
    rng = np.random.default_rng(1)
    label = (rng.random(6000) < 0.02).astype(int)
    vectors = rng.normal(size=(6000, 4)) + 1.5 * label[:, None] * np.array([1, 0, 0, 0])
    train, validation, test = slice(0, 3000), slice(3000, 4500), slice(4500, 6000)
    for method in CLASSIFIERS:
        answer, setting, _ = predict_classes(
            method, vectors[train], label[train], vectors[validation], label[validation], vectors[test], 2
        )
        called = answer.argmax(axis=1)
        recalls = [(called[label[test] == number] == number).mean() for number in (0, 1)]
        assert min(recalls) > 0.45, method
        if method == KNN:
            assert setting == 100  # of ten neighbours, hardly one is rare


def test_calibration_of_a_calibrated_classifier_is_small_and_of_a_boaster_is_not():
    rng = np.random.default_rng(0)
    first = rng.random(20_000)
    probabilities = np.stack([first, 1 - first], axis=1)
    labels = (rng.random(20_000) > first).astype(int)
    honest = calibration(probabilities, labels)
    assert honest["error"] < 0.02
    assert honest["error"] == pytest.approx(honest["floor"], abs=0.01)
    boaster = probabilities**4 / (probabilities**4).sum(axis=1, keepdims=True)
    boasting = calibration(boaster, labels)
    assert boasting["error"] > 0.1 > boasting["floor"]
    assert all(one["right"] < one["confidence"] for one in boasting["bins"][3:])
    assert sum(one["share"] for one in honest["bins"]) == pytest.approx(1)


def test_the_floor_of_calibration_knows_that_a_source_is_one():
    rng = np.random.default_rng(0)
    source = np.repeat(np.arange(120), 10)
    first = np.repeat(rng.random(120), 10)
    labels = (np.repeat(rng.random(120), 10) > first).astype(int)
    found = {name: calibration(np.stack([first, 1 - first], axis=1), labels, sources=given)
             for name, given in (("sources", source), ("rows", None))}  # fmt: skip
    assert found["sources"]["error"] == found["rows"]["error"] > 2 * found["rows"]["floor"]
    assert found["sources"]["error"] < 1.5 * found["sources"]["floor"]


def test_a_linear_probe_of_gaussian_classes_is_calibrated():
    """Its model is right there, also where one class has a tenth of the rows, since classes weigh alike."""
    rng = np.random.default_rng(0)
    source = np.arange(9000)
    label = np.where(rng.random(9000) < 0.1, 1, 0)
    vectors = rng.normal(size=(9000, 3)) + 1.5 * label[:, None]
    _, scores = scores_of(compared_of(vectors, source, label), methods=[LINEAR])
    found = scores[LINEAR]["calibration"]
    assert found["error"] < 3 * found["floor"]
    assert found["error"] < 0.06


def test_votes_help_where_detections_are_independent():
    rng = np.random.default_rng(0)
    source = np.repeat(np.arange(500), 7).astype(str)
    truth = rng.integers(0, 3, 500).repeat(7)
    says = np.where(rng.random(3500) < 0.5, truth, rng.integers(0, 3, 3500))
    probabilities = 0.1 + 0.7 * np.eye(3)[says]
    found = votes(probabilities, truth, source, ["a", "b", "c"], num_resamples=50)
    entry = found["of several detections"]
    assert entry["detection"] == pytest.approx(2 / 3, abs=0.03)
    assert entry["mean_probability"] > 0.9
    assert entry["modal_class"] > 0.9
    assert entry["sources"] == 500
    # Where all detections of a source say the same, a vote changes nothing.
    copies = votes(probabilities[::7].repeat(7, axis=0), truth, source, ["a", "b", "c"], num_resamples=50)
    same = copies["of several detections"]
    assert same["mean_probability"] == pytest.approx(same["detection"])
    assert same["modal_class"] == pytest.approx(same["detection"])
    single = votes(probabilities[::7], truth[::7], source[::7], ["a", "b", "c"], num_resamples=50)
    assert list(single) == ["all sources"]


def test_a_detection_of_a_source_observed_often_weighs_less_beside_the_vote():
    source = np.array(["a"] * 9 + ["b", "c"])
    truth = np.array([0] * 9 + [0, 1])
    probabilities = np.array([[0.9, 0.1]] * 9 + [[0.2, 0.8], [0.1, 0.9]])
    entry = votes(probabilities, truth, source, ["x", "y"], num_resamples=20)["all sources"]
    assert entry["detection"] == entry["mean_probability"] == pytest.approx(0.75)


def test_forests_are_the_same_for_a_seed():
    vectors, _, label = planted(num_sources=200, distance=2.0)
    parts = [vectors[:200], label[:200], vectors[200:300], label[200:300], vectors[300:], 8]
    first, second = (predict_classes(FOREST, *parts, seed=3)[0] for _ in range(2))
    assert np.array_equal(first, second)
