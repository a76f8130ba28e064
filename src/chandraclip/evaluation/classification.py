"""What class a detection is, read from frozen representations, beside hand features, PCA of spectra and chance.

Every choice is made on validation, every number is of test rows, no source is on two sides. Classes weigh alike in fits
and scores. A source's detections also vote, by their mean probability and by the class that most of them are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.utils.class_weight import compute_sample_weight
from tqdm.auto import tqdm

from chandraclip.evaluation.bootstrap import NUM_RESAMPLES, interval, resampled_auc
from chandraclip.evaluation.calibration import calibration
from chandraclip.evaluation.classes import EIGHT, Task, score_predictions
from chandraclip.evaluation.classifiers import CLASSIFIERS, FOREST, predict_classes
from chandraclip.evaluation.clustering import PUBLISHED as PUBLISHED_CLUSTERS
from chandraclip.evaluation.compared import Compared
from chandraclip.evaluation.umlcaxs import source_votes

# Net counts, 0.5-7 keV.
DECADES = {"below 10": (0.0, 1e1), "10 to 100": (1e1, 1e2), "100 to 1000": (1e2, 1e3), "1000 and more": (1e3, np.inf)}
MIN_DECADE_SOURCES = 5  # of a class, for it to be judged in a decade


@dataclass(frozen=True)
class Published:
    """A published figure: real detections, so not comparable with simulated ones, nor with other samples."""

    what: str
    task: str
    value: float
    method: str
    source: str


PUBLISHED_PPAD = 0.25
PUBLISHED = (
    *(
        Published("8 latents of spectra, clusters", task, value, "clusters", "arXiv:2510.14102")
        for task, value in PUBLISHED_CLUSTERS.items()
    ),
    Published(
        "8 latents of photons (PPAD)", EIGHT, PUBLISHED_PPAD, FOREST, "code of arXiv:2502.01627, split by window"
    ),
    Published("8 hand features, same rows", EIGHT, 0.36, FOREST, "code of arXiv:2502.01627, split by window"),
)


def classify(
    compared: Compared, task: Task, methods: Sequence[str] = CLASSIFIERS, seed: int = 0
) -> dict[tuple[str, str], tuple[np.ndarray, list[float], float]]:
    """Every classifier of every representation.

    Returns:
        (representation, method) -> (N, C) probabilities, NaN in rows that are not judged; the setting of each fold; the
        mean of their losses on validation.
    """
    found = {}
    keys = [(name, method) for name in compared.representations for method in methods]
    for name, method in tqdm(keys, desc=f"classes, {task.title}", unit="classifier", delay=5.0):
        probabilities = np.full((len(task.labels), len(task.names)), np.nan)
        settings, losses = [], []
        for fold in task.folds:
            vectors = compared.representations[name].scaled(fold.train)
            answer, setting, loss = predict_classes(
                method,
                vectors[fold.train],
                task.labels[fold.train],
                vectors[fold.validation],
                task.labels[fold.validation],
                vectors[fold.test],
                len(task.names),
                seed,
            )
            probabilities[fold.test] = answer
            settings.append(setting)
            losses.append(loss)
        found[name, method] = probabilities, settings, float(np.mean(losses))
    return found


def score_classifier(
    probabilities: np.ndarray,
    task: Task,
    sources: np.ndarray,
    counts: np.ndarray | None = None,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """All numbers of one classifier.

    Args:
        probabilities: (N, C), NaN in rows that are not judged.
        task: N rows.
        sources: (N,) names.
        counts: (N,) net counts, NaN where unknown; None for no decades.
        num_resamples, seed: of the intervals, 95 %, over sources.

    Returns:
        Those of `score_predictions`; auc (of several classes the mean of each against the others) with its interval;
        calibration (`calibration.calibration`, classes weighing alike); decades: name -> balanced accuracy of
        the likeliest among the classes that have `MIN_DECADE_SOURCES` sources there, with its interval, chance,
        detections and number of these classes; votes.
    """
    rows = np.flatnonzero(np.isfinite(probabilities).all(axis=1))
    truth, given, names = task.labels[rows], probabilities[rows], sources[rows]
    predicted = given.argmax(axis=1)
    score = score_predictions(truth, predicted, names, task.names, None, num_resamples, seed)
    score |= _areas(given, truth, names, num_resamples, seed)
    score["calibration"] = calibration(given, truth, compute_sample_weight("balanced", truth), seed, names)
    if counts is not None:
        score["decades"] = _decades(truth, given, names, task, counts[rows], num_resamples, seed)
    score["votes"] = votes(given, truth, names, task.names, num_resamples, seed)
    return score


def _areas(
    probabilities: np.ndarray, truth: np.ndarray, sources: np.ndarray, num_resamples: int, seed: int
) -> dict[str, float]:
    present = np.unique(truth)
    one_sided = present[:1] if probabilities.shape[1] == 2 else present
    if len(present) < 2:
        return {}
    values = [roc_auc_score(truth == number, probabilities[:, number]) for number in one_sided]
    samples = [
        resampled_auc(probabilities[:, number], truth == number, sources, num_resamples, seed) for number in one_sided
    ]
    low, high = interval(np.mean(samples, axis=0))
    return {"auc": float(np.mean(values)), "auc_low": low, "auc_high": high}


def _decades(
    truth: np.ndarray,
    probabilities: np.ndarray,
    sources: np.ndarray,
    task: Task,
    counts: np.ndarray,
    num_resamples: int,
    seed: int,
) -> dict[str, dict[str, Any]]:
    result = {}
    for name, (low, high) in DECADES.items():
        inside = (counts >= low) & (counts < high)
        sizes = [np.unique(sources[inside & (truth == number)]).size for number in range(len(task.names))]
        kept = np.flatnonzero(np.array(sizes) >= MIN_DECADE_SOURCES)
        rows = np.flatnonzero(inside & np.isin(truth, kept))
        if len(kept) < 2:
            continue
        predicted = kept[probabilities[np.ix_(rows, kept)].argmax(axis=1)]
        score = score_predictions(truth[rows], predicted, sources[rows], task.names, None, num_resamples, seed)
        result[name] = {
            **{part: score[part] for part in ("balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high")},
            "chance": score["chance"],
            "detections": len(rows),
            "classes": len(kept),
        }
    return result


def votes(
    probabilities: np.ndarray,
    truth: np.ndarray,
    sources: np.ndarray,
    names: Sequence[str],
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Sources judged by what their detections say, beside their detections, every source weighing the same.

    Returns:
        "all sources" and "of several detections", where a vote can change anything -> balanced accuracy with low and
        high of `detection`, `mean_probability` and `modal_class`, and the number of sources. Empty groups are left out.
    """
    of_sources, first, ids, number = np.unique(sources, return_index=True, return_inverse=True, return_counts=True)
    found = source_votes(probabilities, sources)
    result = {}
    for title, least in {"all sources": 1, "of several detections": 2}.items():
        chosen = number >= least
        rows = chosen[ids]
        if not chosen.any():
            continue
        ways = {
            "detection": (truth[rows], probabilities[rows].argmax(axis=1), sources[rows], 1.0 / number[ids][rows]),
            "mean_probability": (truth[first][chosen], found["soft"][chosen], of_sources[chosen], None),
            "modal_class": (truth[first][chosen], found["hard"][chosen], of_sources[chosen], None),
        }
        entry: dict[str, Any] = {"sources": int(chosen.sum())}
        for way, (true, predicted, groups, weights) in ways.items():
            score = score_predictions(true, predicted, groups, names, weights, num_resamples, seed)
            entry[way] = score["balanced_accuracy"]
            entry[f"{way}_low"], entry[f"{way}_high"] = score["balanced_accuracy_low"], score["balanced_accuracy_high"]
            entry["chance"] = score["chance"]
        result[title] = entry
    return result
