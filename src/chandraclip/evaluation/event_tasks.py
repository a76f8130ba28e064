"""What latents of photon lists are asked, as published: hardness, variability, source type, and the source itself.

The questions of PPAD (arXiv:2502.01627, its stored notebooks): random forests of 100 trees. Theirs are split at random
by window, so that windows of one observation stand on both sides; here everything is fitted on sources of train and
judged on sources of test. Their SMOTE makes rows between two rows of the rare class; classes are weighed instead, which
does the same to the odds and invents no photon list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from chandraclip.evaluation.bootstrap import interval, resampled_auc, resampled_sums
from chandraclip.evaluation.classes import score_predictions
from chandraclip.evaluation.photon_facts import RAW_HARDNESS, logit
from chandraclip.evaluation.regression import Standardizer, predict_knn, predict_ridge
from chandraclip.evaluation.retrieval import TIE_TOLERANCE, Ranks, ranking_metrics
from chandraclip.evaluation.source_metric import SourceMetric

FOREST, KNN, RIDGE, LOGISTIC = "random forest", "kNN (k = 3)", "ridge", "logistic"
NUM_TREES = 100
MAX_SAMPLES = 4000  # rows that a tree is grown on, so that a comparison of many models stays short
MIN_ROWS = {"train": 50, "validation": 10, "test": 20}
_BLOCK = 1024


@dataclass(frozen=True)
class Published:
    """A published figure, and what it is of."""

    task: str
    metric: str
    value: float
    what: str


_PPAD = "PPAD, 8 latents, random forest, random split by window (arXiv:2502.01627 v2, notebooks)"
PUBLISHED = (
    Published("raw_hard_ms", "r2", 0.873, _PPAD),
    Published("raw_hard_hm", "r2", 0.88, "PPAD, talk"),
    Published("raw_hard_hs", "r2", 0.93, "PPAD, talk"),
    Published("logit var_prob_s", "r2", 0.38, f"{_PPAD}, small set"),
    Published("variable", "accuracy", 0.917, f"{_PPAD}, SMOTE"),
    Published("variable", "precision", 0.28, f"{_PPAD}, SMOTE"),
    Published("variable", "recall", 0.34, f"{_PPAD}, SMOTE"),
    Published("variable", "f1", 0.30, f"{_PPAD}, SMOTE"),
    Published("variable", "macro_f1", 0.63, f"{_PPAD}, SMOTE"),
    Published("source type", "accuracy", 0.544, f"{_PPAD}, SMOTE"),
    Published("source type", "balanced_accuracy", 0.25, f"{_PPAD}, SMOTE"),
    Published("source type", "macro_f1", 0.23, f"{_PPAD}, SMOTE"),
    Published("source type of hand features", "accuracy", 0.659, "eight hand features, the same split"),
    Published("source type of hand features", "balanced_accuracy", 0.36, "eight hand features, the same split"),
    Published("source type of hand features", "macro_f1", 0.33, "eight hand features, the same split"),
)


@dataclass(frozen=True)
class Rows:
    """Which rows a task fits on, chooses on and judges; indices, no source in two of them."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, split: np.ndarray, usable: np.ndarray, judged: np.ndarray) -> Rows | None:
        """Those of the splits that are usable, judged only where `judged`; None where they are too few."""
        parts = {name: usable & (split == name) for name in MIN_ROWS}
        parts["test"] &= judged
        if any(parts[name].sum() < least for name, least in MIN_ROWS.items()):
            return None
        return cls(*(np.flatnonzero(parts[name]) for name in ("train", "validation", "test")))


def regress(
    values: np.ndarray, target: np.ndarray, rows: Rows, names: np.ndarray, num_resamples: int, seed: int
) -> list[dict[str, Any]]:
    """R2 and mean squared error of one target from vectors by each method, with intervals over sources.

    Args:
        values: (N, D), NaN where missing. target: (N,), finite in the rows. names: (N,) sources.
    """
    scaled = Standardizer.fit(values[rows.train])(values)
    train, truth = scaled[rows.train], target[rows.test]
    forest = RandomForestRegressor(NUM_TREES, max_samples=_samples(len(train)), random_state=seed)
    predictions = {
        FOREST: forest.fit(train.astype(np.float32), target[rows.train]).predict(scaled[rows.test].astype(np.float32)),
        KNN: predict_knn(train, target[rows.train, None], scaled[rows.test])[:, 0],
        RIDGE: predict_ridge(
            train,
            target[rows.train, None],
            scaled[rows.validation],
            target[rows.validation, None],
            scaled[rows.test],
        )[:, 0],
    }
    records = []
    for method, predicted in predictions.items():
        squared, total = (predicted - truth) ** 2, ((truth - truth.mean()) ** 2).sum()
        moments = np.stack([squared, np.ones_like(truth), truth, truth**2], axis=1)
        sums = resampled_sums(moments, names[rows.test], num_resamples, seed)
        spread = sums[:, 3] - sums[:, 2] ** 2 / sums[:, 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = interval(np.where(spread > 0, 1 - sums[:, 0] / spread, np.nan))
        r2 = float(1 - squared.sum() / total) if total > 0 else float("nan")
        records.append({"method": method, "r2": r2, "r2_low": low, "r2_high": high, "mse": float(squared.mean())})
    return records


def detect(
    values: np.ndarray, positive: np.ndarray, rows: Rows, names: np.ndarray, num_resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Scores of a yes or no from vectors by forest and logistic regression, the classes weighed alike.

    Args:
        values: (N, D), NaN where missing. positive: (N,) bool. names: (N,) sources.

    Returns:
        A record a method: auc and balanced_accuracy with intervals; accuracy, precision, recall and f1 of the positive
        class, macro_f1; chance of guessing, of the balanced accuracy and of the macro F1; positives and base_rate.
    """
    scaled = Standardizer.fit(values[rows.train])(values)
    train, label, truth = scaled[rows.train], positive[rows.train], positive[rows.test]
    records = []
    for method in (FOREST, LOGISTIC):
        score, predicted = _classify(method, train, label.astype(np.int64), scaled[rows.test], seed)
        found = score_predictions(
            truth.astype(np.int64), predicted, names[rows.test], ("constant", "variable"), None, num_resamples, seed
        )
        hits = float((predicted[truth] == 1).sum())
        called, number = float((predicted == 1).sum()), float(truth.sum())
        low, high = interval(resampled_auc(score[:, 1], truth, names[rows.test], num_resamples, seed))
        records.append(
            {
                "method": method,
                "auc": float(roc_auc_score(truth, score[:, 1])),
                "auc_low": low,
                "auc_high": high,
                "balanced_accuracy": found["balanced_accuracy"],
                "balanced_accuracy_low": found["balanced_accuracy_low"],
                "balanced_accuracy_high": found["balanced_accuracy_high"],
                "accuracy": found["accuracy"],
                "precision": hits / called if called else 0.0,
                "recall": hits / number,
                "f1": 2 * hits / (called + number) if hits else 0.0,
                "macro_f1": found["macro_f1"],
                "chance": found["chance"],
                "macro_f1_chance": found["macro_f1_chance"],
                "positives": int(number),
                "base_rate": float(truth.mean()),
            }
        )
    return records


def tell_types(
    values: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    rows: Rows,
    names: np.ndarray,
    num_resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Balanced accuracy, macro F1, both beside chance, and accuracy of the class by forest and logistic regression.

    Args:
        values: (N, D), NaN where missing. labels: (N,) int, index of `classes`. names: (N,) sources.
    """
    scaled = Standardizer.fit(values[rows.train])(values)
    records = []
    for method in (FOREST, LOGISTIC):
        _, predicted = _classify(method, scaled[rows.train], labels[rows.train], scaled[rows.test], seed)
        found = score_predictions(labels[rows.test], predicted, names[rows.test], classes, None, num_resamples, seed)
        kept = ("balanced_accuracy", "macro_f1")
        record: dict[str, Any] = {"method": method}
        for name in kept:
            record |= {name + end: found[name + end] for end in ("", "_low", "_high")}
        chances = {name: found[name] for name in ("chance", "macro_f1_chance")}
        records.append({**record, "accuracy": found["accuracy"], **chances})
    return records


def find_own_source(
    values: np.ndarray,
    sources: np.ndarray,
    fitted: np.ndarray,
    is_unit: bool = False,
    num_resamples: int = 1000,
    seed: int = 0,
    metric: SourceMetric | None = None,
) -> dict[str, Any] | None:
    """Is another observation of the same source the nearest? Of every one that has another, among all but itself.

    Args:
        values: (N, D) of the pool, NaN where missing. sources: (N,) names.
        fitted: (M, D) rows whose scatter is the unit of distances.
        is_unit: unit vectors, compared by cosine as they are.
        metric: maps values to where distances are taken.

    Returns:
        As `retrieval.ranking_metrics`; None where no source was observed twice.
    """
    _, source, count = np.unique(sources, return_inverse=True, return_counts=True)
    queries = np.flatnonzero(count[source] > 1)
    if not queries.size:
        return None
    if metric is not None:
        vectors = metric(values)
    else:
        vectors = np.asarray(values, np.float64) if is_unit else Standardizer.fit(fitted)(values)
    squares = np.einsum("nd,nd->n", vectors, vectors)
    better, tied, positives = (np.empty(len(queries), dtype=np.int64) for _ in range(3))
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        part = slice(start, start + len(block))
        # Minus half the squared distance, up to what is the same for all candidates of a query.
        near = vectors[block] @ vectors.T - 0.5 * squares
        own = source[block, None] == source
        itself = np.arange(len(block)), block
        own[itself] = False
        near[itself] = -np.inf
        best = np.where(own, near, -np.inf).max(axis=1, keepdims=True)
        better[part] = (near > best + TIE_TOLERANCE).sum(axis=1)
        level = near >= best - TIE_TOLERANCE
        positives[part] = (level & own).sum(axis=1)
        tied[part] = level.sum(axis=1) - better[part] - positives[part]
    number = len(vectors) - 1
    others = count[source[queries]] - 1
    chance = Ranks(np.zeros_like(others), number - others, others, number)
    rankings = {"value": Ranks(better, tied, positives, number), "chance": chance}
    return ranking_metrics(rankings, sources[queries], num_resamples, seed)


def published(task: str, metric: str) -> float | None:
    """The figure of PPAD, where there is one."""
    return next((one.value for one in PUBLISHED if (one.task, one.metric) == (task, metric)), None)


def _classify(
    method: str, train: np.ndarray, labels: np.ndarray, queries: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """(Q, C) probabilities and (Q,) classes."""
    model: Any
    if method == FOREST:
        model = RandomForestClassifier(
            NUM_TREES, class_weight="balanced", max_samples=_samples(len(train)), random_state=seed
        )
    else:
        model = LogisticRegression(class_weight="balanced", max_iter=500)
    model.fit(train, labels)
    scores = model.predict_proba(queries)
    return scores, model.classes_[scores.argmax(axis=1)]


def _samples(num_rows: int) -> int:
    return min(MAX_SAMPLES, num_rows)


def describe(published_figures: tuple[Published, ...], comparable: str) -> list[dict[str, Any]]:
    """The published figures as a table."""
    return [
        {"task": one.task, "metric": one.metric, "published": one.value, "of": one.what, "comparable": comparable}
        for one in published_figures
    ]


def targets_of(facts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Targets of regression: title -> (N,), NaN where not known."""
    found = {name: facts[name] for name in RAW_HARDNESS}
    return found | {f"logit {name}": logit(facts[name]) for name in ("var_prob_b", "var_prob_s")}
