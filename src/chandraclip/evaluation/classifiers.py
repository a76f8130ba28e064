"""The classifiers that read frozen representations: linear, nearest neighbours, random forest; classes weigh alike.

Fitted on train; the one setting of each is chosen on validation by the log loss in which every class weighs the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.class_weight import compute_sample_weight

LINEAR, KNN, FOREST = "linear", "knn", "random_forest"
CLASSIFIERS = (LINEAR, KNN, FOREST)
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # C of scikit-learn, the inverse strength of the L2 penalty
NEIGHBOURS = (10, 30, 100)
LEAF_SIZES = (3, 10, 30)
NUM_TREES = 100
_MAX_SAMPLES = 10_000  # rows that a tree is grown on
_FLOOR = 1e-3  # of a probability: neighbours and trees say 0, which no finite sample shows


def predict_classes(
    method: str,
    train: np.ndarray,
    labels: np.ndarray,
    validation: np.ndarray,
    validation_labels: np.ndarray,
    queries: np.ndarray,
    num_classes: int,
    seed: int = 0,
) -> tuple[np.ndarray, float, float]:
    """Probabilities of the classes, had they been equally frequent.

    Args:
        method: of `CLASSIFIERS`.
        train: (N, D), labels: (N,) int below C, every class among them; validation: (V, D), validation_labels: (V,).
        queries: (Q, D).
        num_classes: C.
        seed: of the forest.

    Returns:
        (Q, C) probabilities; the setting that was chosen (C of scikit-learn, neighbours, or detections a leaf) and its
        balanced log loss on validation.
    """
    asked = np.concatenate([validation, queries])
    best: tuple[np.ndarray, float, float] | None = None
    for setting, probabilities in _settings(method, train, labels, asked, num_classes, seed):
        loss = balanced_log_loss(probabilities[: len(validation)], validation_labels)
        if best is None or loss < best[2]:
            best = probabilities[len(validation) :], setting, loss
    assert best is not None
    return best


def balanced_log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean over classes of the mean -log probability of the true class."""
    chosen = np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)
    return float(-(compute_sample_weight("balanced", labels) * np.log(chosen)).mean())


def _settings(
    method: str, train: np.ndarray, labels: np.ndarray, asked: np.ndarray, num_classes: int, seed: int
) -> Iterator[tuple[float, np.ndarray]]:
    """Each setting of a method with its probabilities of the rows that are asked."""
    if method == LINEAR:
        model = LogisticRegression(class_weight="balanced", warm_start=True, max_iter=300, tol=1e-3)
        for penalty in PENALTIES:
            with warnings.catch_warnings():  # of a weak penalty the last digits do not matter
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.set_params(C=penalty).fit(train, labels)
            yield penalty, model.predict_proba(asked)
    elif method == KNN:
        most = min(max(NEIGHBOURS), len(train))
        nearest = NearestNeighbors(n_neighbors=most).fit(train).kneighbors(asked, return_distance=False)
        weight = compute_sample_weight("balanced", labels)
        for number in sorted({min(number, most) for number in NEIGHBOURS}):
            table = np.zeros((len(asked), num_classes))
            chosen = nearest[:, :number]
            np.add.at(table, (np.arange(len(asked))[:, None], labels[chosen]), weight[chosen])
            yield number, _floored(table)
    else:
        for size in LEAF_SIZES:
            forest = RandomForestClassifier(
                NUM_TREES,
                min_samples_leaf=size,
                class_weight="balanced",
                max_samples=min(_MAX_SAMPLES, len(train)),
                random_state=seed,
            ).fit(train.astype(np.float32), labels)
            yield size, _floored(forest.predict_proba(asked.astype(np.float32)))


def _floored(table: np.ndarray) -> np.ndarray:
    shares = table / table.sum(axis=1, keepdims=True) + _FLOOR
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
