"""Questions about the class of a detection: which there are, the splits and folds by source, and the scores.

Published beside: arXiv:2510.14102 (clusters of an 8-d latent space) and the evaluation of PPAD, arXiv:2502.01627.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from chandraclip.data.schema import SOURCE_CLASSES
from chandraclip.evaluation.bootstrap import NUM_RESAMPLES, interval, resampled_sums

# Accreting or lone white dwarfs, neutron stars and black holes; the paper says "stellar-mass compact objects".
COMPACT = ("CV", "HMXB", "LMXB", "NS")
EIGHT, BINARY = "8 classes", "AGN or compact"
TASKS: dict[str, dict[str, str]] = {
    EIGHT: {name: name for name in SOURCE_CLASSES},
    BINARY: {"AGN": "AGN", **dict.fromkeys(COMPACT, "compact")},
}
MIN_SOURCES = 3  # of a class in train, and one in test; a class with fewer is left out


@dataclass(frozen=True)
class Fold:
    """Rows to fit on, to choose on and to judge; no source is in two of them."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Task:
    """One question on N rows.

    Attributes:
        title: of `TASKS`.
        names: the classes, C of them.
        labels: (N,) int, -1 where a row has none of them or does not take part.
        folds: one for the dataset's splits, or several that test every row once.
        counts: class -> detections and sources that are fitted and judged.
        left_out: why -> number of detections.
    """

    title: str
    names: tuple[str, ...]
    labels: np.ndarray
    folds: list[Fold]
    counts: dict[str, dict[str, int]]
    left_out: dict[str, int]


def class_task(
    title: str,
    class_names: np.ndarray,
    split: np.ndarray,
    sources: np.ndarray,
    usable: np.ndarray,
    num_folds: int = 0,
    seed: int = 0,
) -> Task | None:
    """The rows of a question and how they are split; None where fewer than two classes can be told apart.

    Args:
        title: a key of `TASKS`.
        class_names: (N,) of `SOURCE_CLASSES`, None where unknown or too rare to be one.
        split: (N,) train, validation or test.
        sources: (N,) names.
        usable: (N,) bool, rows that have what is compared.
        num_folds: 0 for the splits; else so many folds of all rows by source, each tested once, the next one chosen on.
        seed: of the folds.
    """
    groups = TASKS[title]
    labels = pd.Series(class_names, dtype=object).map(groups)
    known = labels.notna().to_numpy()
    unnamed = int(pd.isna(class_names).sum())
    left_out = {
        "no class, or one too rare": unnamed,
        "of another class": int((~known).sum()) - unnamed,
        "without one of the representations": int((known & ~usable).sum()),
    }
    rows = known & usable & np.isin(split, ("train", "validation", "test"))
    kept = []
    for name in dict.fromkeys(groups.values()):
        own = rows & (labels == name).to_numpy()
        in_train, in_test = (np.unique(sources[own & (split == part)]).size for part in ("train", "test"))
        enough = np.unique(sources[own]).size >= num_folds if num_folds else in_train >= MIN_SOURCES and in_test
        if enough:
            kept.append(name)
        elif own.any():
            left_out[f"{name}: too few sources"] = int(own.sum())
    if len(kept) < 2:
        return None
    numbers = {name: number for number, name in enumerate(kept)}
    label = labels.map(numbers).fillna(-1).to_numpy(np.int64, copy=True)
    label[~rows] = -1
    folds = _folds(label, sources, num_folds, seed) if num_folds else [_split_fold(label, split)]
    if not len(folds[0].validation):
        return None
    counts = {}
    for name, number in numbers.items():
        own = label == number
        judged = np.zeros(len(own), bool)
        judged[np.concatenate([fold.test for fold in folds])] = True
        counts[name] = {
            "detections": int(own.sum()),
            "sources": int(np.unique(sources[own]).size),
            "judged_detections": int((own & judged).sum()),
            "judged_sources": int(np.unique(sources[own & judged]).size),
        }
    return Task(title, tuple(kept), label, folds, counts, {why: number for why, number in left_out.items() if number})


def _split_fold(label: np.ndarray, split: np.ndarray) -> Fold:
    return Fold(*(np.flatnonzero((label >= 0) & (split == part)) for part in ("train", "validation", "test")))


def _folds(label: np.ndarray, sources: np.ndarray, num_folds: int, seed: int) -> list[Fold]:
    """Every row tested once, chosen on once, and fitted on in the other folds."""
    rows = np.flatnonzero(label >= 0)
    fold_of = np.full(len(label), -1)
    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    for number, (_, test) in enumerate(splitter.split(rows, label[rows], sources[rows])):
        fold_of[rows[test]] = number
    return [
        Fold(
            np.flatnonzero((fold_of >= 0) & (fold_of != number) & (fold_of != (number + 1) % num_folds)),
            np.flatnonzero(fold_of == (number + 1) % num_folds),
            np.flatnonzero(fold_of == number),
        )
        for number in range(num_folds)
    ]


def balanced_accuracy(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> float:
    """Mean recall of the classes that occur in `truth`; a prediction of -1 is wrong."""
    total = np.bincount(truth, minlength=num_classes)
    right = np.bincount(truth[predicted == truth], minlength=num_classes)
    return float((right[total > 0] / total[total > 0]).mean())


def score_predictions(
    truth: np.ndarray,
    predicted: np.ndarray,
    sources: np.ndarray,
    names: Sequence[str],
    weights: np.ndarray | None = None,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores of one prediction a row, each with its 95 % interval over sources.

    Args:
        truth: (N,) int below C, predicted: (N,) int, -1 for none, which is wrong.
        sources: (N,) names.
        names: C classes.
        weights: (N,), all 1 by default.

    Returns:
        balanced_accuracy and macro_f1 over the classes that occur, with low and high; what they are by chance (chance,
        macro_f1_chance), where guesses are as often of each class as the predictions; accuracy, recalls (class ->
        recall, low, high), confusion (C, C), true by predicted, a last column for none where there is any; labels.
    """
    size = len(names)
    weight = np.ones(len(truth)) if weights is None else np.asarray(weights, np.float64)
    is_class = (truth[:, None] == np.arange(size)) * weight[:, None]
    is_predicted = (predicted[:, None] == np.arange(size)) * weight[:, None]
    hits = is_class * (predicted == truth)[:, None]
    occurs = is_class.any(axis=0)
    values = np.concatenate([is_class, hits, is_predicted], axis=1)
    sums = np.vstack([values.sum(axis=0), resampled_sums(values, sources, num_resamples, seed)])
    total, right, called = sums[:, :size], sums[:, size : 2 * size], sums[:, 2 * size :]
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = (right / total)[:, occurs]
        f1 = np.where(total > 0, 2 * right / (total + called), np.nan)[:, occurs]  # as the recall, of those drawn
    balanced, macro = np.nanmean(recall, axis=1), np.nanmean(f1, axis=1)
    low, high = interval(balanced[1:])
    f1_low, f1_high = interval(macro[1:])
    confusion = np.zeros((size, size + 1))
    np.add.at(confusion, (truth, np.where(predicted < 0, size, predicted)), weight)
    present = np.flatnonzero(occurs)
    return {
        "balanced_accuracy": float(balanced[0]),
        "balanced_accuracy_low": low,
        "balanced_accuracy_high": high,
        "chance": 1.0 / int(occurs.sum()),
        "macro_f1": float(macro[0]),
        "macro_f1_low": f1_low,
        "macro_f1_high": f1_high,
        "macro_f1_chance": _macro_f1_chance(total[0], called[0]),
        "accuracy": float(right[0].sum() / total[0].sum()),
        "recalls": {
            names[number]: [float(recall[0, place]), *_interval_of(recall[1:, place], sources[truth == number])]
            for place, number in enumerate(present.tolist())
        },
        "labels": list(names),
        "confusion": confusion[:, : size + bool((predicted < 0).any())].tolist(),
    }


def _macro_f1_chance(total: np.ndarray, called: np.ndarray) -> float:
    """Macro F1 of predictions that are dealt to the rows at random: their mean over all ways to deal them.

    A class of T rows that is predicted P times in N has T P / N hits then, so F1 = 2 T P / (N (T + P)). Unlike that of
    the balanced accuracy, 1 / C, it depends on how often each class is and is predicted.

    Args:
        total, called: (C,) rows of each class, and predictions of it.
    """
    occurs = total > 0
    f1 = 2.0 * total[occurs] * called[occurs] / (total.sum() * (total[occurs] + called[occurs]))
    return float(f1.mean())


def _interval_of(values: np.ndarray, sources: np.ndarray) -> tuple[float, float]:
    """Of a class: resampling a single source tells nothing of others."""
    return interval(values) if np.unique(sources).size > 1 else (float("nan"), float("nan"))
