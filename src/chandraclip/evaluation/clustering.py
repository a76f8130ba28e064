"""How well clusters, found without labels, are classes: as published, and with everything decided before the test.

Published (arXiv:2510.14102): clusters of a latent space, a contingency matrix of classes and clusters, the assignment
of largest trace, balanced accuracy over 8 classes and over AGN against compact objects; all on the same sources. Here
clusters are fitted and assigned on train, their number is chosen on validation, and test is judged; the published
protocol, on the train detections alone, stands beside as "in-sample".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from tqdm.auto import tqdm

from chandraclip.evaluation.bootstrap import NUM_RESAMPLES
from chandraclip.evaluation.classes import BINARY, EIGHT, Task, balanced_accuracy, score_predictions
from chandraclip.evaluation.cluster_methods import (
    ASSIGNMENTS,
    DENSITY,
    METHODS,
    ONE_TO_ONE,
    SIZES,
    assign_classes,
    classes_of,
    contingency,
    fit_clusterings,
)
from chandraclip.evaluation.compared import Compared, Representation

# Balanced accuracy, arXiv:2510.14102: real spectra, number and counts of sources not stated, in-sample.
PUBLISHED = {EIGHT: 0.40, BINARY: 0.69}
MAX_DIMENSIONS = 16  # leading components of longer vectors are clustered: mixtures and densities need few
MAX_ROWS = 10_000  # fitted; all others are assigned
NUM_SHUFFLES = 20  # of labels, for the chance level of a fit to the labels it is judged by


@dataclass(frozen=True)
class Trial:
    """One clustering of one representation for one task, through all folds.

    Attributes:
        representation, method, size: what it is; size as in `Clustering`.
        num_clusters: mean over folds.
        noise: share of judged rows in no cluster.
        predicted: (assignment, normalisation) -> (N,) int class, -1 for none, of the rows judged.
        chosen_on: (assignment, normalisation) -> balanced accuracy on validation.
        in_sample: (assignment, normalisation) -> balanced accuracy on train, mean over folds.
        train_clusters: cluster of each train row of the first fold.
        counts: (C, K) contingency of these.
        test_counts: the same of test.
    """

    representation: str
    method: str
    size: int
    num_clusters: float
    noise: float
    predicted: dict[tuple[str, str], np.ndarray]
    chosen_on: dict[tuple[str, str], float]
    in_sample: dict[tuple[str, str], float]
    train_clusters: np.ndarray
    counts: np.ndarray
    test_counts: np.ndarray


def run_trials(
    compared: Compared,
    task: Task,
    methods: Sequence[str] = METHODS,
    sizes: tuple[int, ...] = SIZES,
    max_rows: int = MAX_ROWS,
    max_dimensions: int = MAX_DIMENSIONS,
    seed: int = 0,
) -> list[Trial]:
    """Every clustering of every representation.

    Args:
        compared: what is clustered.
        task: whose rows and folds; labels are used by the assignment alone.
        methods: of `cluster_methods.ALL_METHODS`.
        sizes: numbers of clusters.
        max_rows: train rows that are fitted, drawn at random.
        max_dimensions: longer vectors are replaced by so many principal components of train; 0 for never.
        seed: of everything random.
    """
    trials: list[Trial] = []
    bar = tqdm(
        total=len(compared.representations) * len(methods), desc=f"clusters, {task.title}", unit="method", delay=5.0
    )
    for name, representation in compared.representations.items():
        vectors = [reduce_dimensions(representation, fold.train, max_dimensions) for fold in task.folds]
        for method in methods:
            trials += _trials_of(name, vectors, method, task, sizes, max_rows, seed)
            bar.update()
    bar.close()
    return trials


def _trials_of(
    name: str,
    of_folds: Sequence[np.ndarray],
    method: str,
    task: Task,
    sizes: tuple[int, ...],
    max_rows: int,
    seed: int,
) -> Iterator[Trial]:
    """The folds of one method, gathered by size."""
    size_class = len(task.names)
    by_size: dict[int, list[tuple[int, Any]]] = {}
    for number, (fold, vectors) in enumerate(zip(task.folds, of_folds)):
        rows = np.random.default_rng(seed).permutation(fold.train)[:max_rows]
        for fitted in fit_clusterings(method, vectors[rows], None if method == DENSITY else sizes, seed):
            parts = {part: fitted.predict(vectors[getattr(fold, part)]) for part in ("train", "validation", "test")}
            by_size.setdefault(fitted.size, []).append((number, (fitted.num_clusters, parts)))
    for size, fitted_folds in by_size.items():
        if len(fitted_folds) < len(task.folds):
            continue  # a fold had too few rows
        predicted = {key: np.full(len(task.labels), -1, np.int8) for key in ASSIGNMENTS}
        validated = {key: np.full(len(task.labels), -1) for key in ASSIGNMENTS}
        in_sample: dict[tuple[str, str], list[float]] = {key: [] for key in ASSIGNMENTS}
        noise = 0
        tables = []
        for number, (num_clusters, parts) in fitted_folds:
            fold = task.folds[number]
            train = task.labels[fold.train]
            counts = contingency(train, parts["train"], size_class, num_clusters)
            tables.append((counts, contingency(task.labels[fold.test], parts["test"], size_class, num_clusters)))
            noise += int((parts["test"] < 0).sum())
            for key in ASSIGNMENTS:
                assigned = assign_classes(counts, *key)
                predicted[key][fold.test] = classes_of(parts["test"], assigned)
                validated[key][fold.validation] = classes_of(parts["validation"], assigned)
                in_sample[key].append(_recall_of(counts, assigned, train))
        judged, chosen = (
            np.concatenate([getattr(fold, part) for fold in task.folds]) for part in ("test", "validation")
        )
        yield Trial(
            name,
            method,
            size,
            float(np.mean([num_clusters for _, (num_clusters, _) in fitted_folds])),
            noise / len(judged),
            predicted,
            {key: balanced_accuracy(task.labels[chosen], validated[key][chosen], size_class) for key in ASSIGNMENTS},
            {key: float(np.mean(values)) for key, values in in_sample.items()},
            fitted_folds[0][1][1]["train"].astype(np.int16),
            *tables[0],
        )


def reduce_dimensions(representation: Representation, train: np.ndarray, max_dimensions: int) -> np.ndarray:
    """(N, D or max_dimensions) scaled vectors, or their leading principal components, fitted on the rows `train`."""
    vectors = representation.scaled(train)
    if not max_dimensions or vectors.shape[1] <= max_dimensions:
        return vectors
    size = min(max_dimensions, len(train))
    return np.asarray(PCA(size, svd_solver="covariance_eigh").fit(vectors[train]).transform(vectors))


def _recall_of(counts: np.ndarray, assigned: np.ndarray, labels: np.ndarray) -> float:
    """Balanced accuracy of the rows a contingency matrix is of; `labels` has those in no cluster, too."""
    total = np.bincount(labels, minlength=len(counts))
    right = np.array([counts[number, assigned == number].sum() for number in range(len(counts))])
    return float((right[total > 0] / total[total > 0]).mean())


def _chance(trial: Trial, task: Task, sources: np.ndarray, key: tuple[str, str], seed: int) -> float:
    """Balanced accuracy in-sample where the labels of sources are dealt anew: an assignment to them is above 1 / C.

    A source's detections keep one label, as they are in one cluster more often than those of two sources.
    """
    rng = np.random.default_rng(seed)
    rows = task.folds[0].train
    _, first, ids = np.unique(sources[rows], return_index=True, return_inverse=True)
    found = []
    for _ in range(NUM_SHUFFLES):
        dealt = rng.permutation(task.labels[rows][first])[ids]
        table = contingency(dealt, trial.train_clusters, *trial.counts.shape)
        found.append(_recall_of(table, assign_classes(table, *key), dealt))
    return float(np.mean(found))


def summarise(
    trials: Sequence[Trial], task: Task, sources: np.ndarray, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> list[dict[str, Any]]:
    """Of each representation, method and assignment the size that is best on validation, scored on test.

    Args:
        trials: of `run_trials`.
        sources: (N,) names.

    Returns:
        One record each: representation, method, assignment, normalisation, size, num_clusters, noise, validation,
        balanced_accuracy with low and high, chance; in_sample, the best over sizes on train, its size, and its chance
        level from labels shuffled among sources.
    """
    judged = np.concatenate([fold.test for fold in task.folds])
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        groups.setdefault((trial.representation, trial.method), []).append(trial)
    records = []
    for (representation, method), members in groups.items():
        for key in ASSIGNMENTS:
            best = max(members, key=lambda trial: trial.chosen_on[key])
            published = max(members, key=lambda trial: trial.in_sample[key])
            score = score_predictions(
                task.labels[judged], best.predicted[key][judged], sources[judged], task.names, None, num_resamples, seed
            )
            records.append(
                {
                    "representation": representation,
                    "method": method,
                    "assignment": key[0],
                    "normalisation": key[1],
                    "size": best.size,
                    "num_clusters": best.num_clusters,
                    "noise": best.noise,
                    "validation": best.chosen_on[key],
                    **{name: score[name] for name in _SHOWN},
                    "in_sample": published.in_sample[key],
                    "in_sample_size": published.size,
                    "in_sample_chance": _chance(published, task, sources, key, seed),
                }
            )
    return records


_SHOWN = ("balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high", "chance")


def best_of(records: Sequence[Mapping[str, Any]], representation: str, assignment: str) -> Mapping[str, Any]:
    """Of one representation, the method and normalisation that are best on validation."""
    own = [one for one in records if one["representation"] == representation and one["assignment"] == assignment]
    return max(own, key=lambda record: record["validation"])


def best_in_sample(records: Sequence[Mapping[str, Any]], representation: str, assignment: str) -> Mapping[str, Any]:
    """Of one representation, what would be published: the best in-sample number over everything tried."""
    own = [one for one in records if one["representation"] == representation and one["assignment"] == assignment]
    return max(own, key=lambda record: record["in_sample"])


def size_curves(trials: Sequence[Trial], task: Task) -> list[dict[str, Any]]:
    """Balanced accuracy of the judged rows against the number of clusters, one to one, better of both normalisations.

    The better on validation; for the picture, where no size is chosen.
    """
    judged = np.concatenate([fold.test for fold in task.folds])
    curves = []
    for trial in trials:
        key = max((key for key in ASSIGNMENTS if key[0] == ONE_TO_ONE), key=lambda key: trial.chosen_on[key])
        value = balanced_accuracy(task.labels[judged], trial.predicted[key][judged], len(task.names))
        curves.append(
            {
                "representation": trial.representation,
                "method": trial.method,
                "num_clusters": trial.num_clusters,
                "balanced_accuracy": value,
                "chance": 1.0 / len(np.unique(task.labels[judged])),
            }
        )
    return curves
