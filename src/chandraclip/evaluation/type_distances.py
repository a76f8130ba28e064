"""The umlcaxs recipe (`evaluation.umlcaxs`) scored on a dataset: on its own features, and on every representation."""

from __future__ import annotations

from typing import Any

import numpy as np
from tqdm.auto import tqdm

from chandraclip.evaluation.bootstrap import NUM_RESAMPLES
from chandraclip.evaluation.classes import Task, score_predictions
from chandraclip.evaluation.clustering import MAX_DIMENSIONS, reduce_dimensions
from chandraclip.evaluation.compared import Compared
from chandraclip.evaluation.umlcaxs import FeatureScaling, TypeDistances, features_of, source_votes

OWN_FEATURES = "umlcaxs_features"


def type_distance_scores(
    compared: Compared, task: Task, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Classes by the distance to the known members of each class in a cluster, all representations on the same rows.

    Args:
        compared: with the recipe's features among its facts, as far as the dataset has them.
        task: its train rows have the known types; only rows with every feature of the recipe take part, as published.
        num_resamples, seed: of the intervals, 95 %, over sources.

    Returns:
        present, lacking: the recipe's features; detections: that take part; records: one a representation, with
        `detection`, `soft_vote` and `hard_vote` balanced accuracy, each with low and high; chance; unknown, the share
        of detections in a cluster where no class has members enough; ambiguous, that of sources whose votes differ.
        No records where the features are lacking or a fold's train rows have fewer than two classes.
    """
    values, present, lacking = features_of(compared.facts)
    result: dict[str, Any] = {"present": present, "lacking": lacking, "detections": 0, "records": []}
    usable = np.isfinite(values).all(axis=1) if present else np.zeros(len(task.labels), bool)
    folds = [
        tuple(rows[usable[rows]] for rows in (np.append(fold.train, fold.validation), fold.test)) for fold in task.folds
    ]
    result["detections"] = {
        name: int(sum(len(fold[place]) for fold in folds)) for place, name in enumerate(("train", "test"))
    }
    enough = all(len(train) > 10 * max(len(present), MAX_DIMENSIONS) and len(test) for train, test in folds)
    if not enough or any(np.unique(task.labels[rows]).size < 2 for fold in folds for rows in fold):
        return result
    names = [OWN_FEATURES, *compared.representations]
    for name in tqdm(names, desc=f"distances to types, {task.title}", unit="representation", delay=5.0):
        probabilities = np.zeros((len(task.labels), len(task.names)))
        for train, test in folds:
            if name == OWN_FEATURES:
                vectors = FeatureScaling.fit(values[train], present)(np.nan_to_num(values))
            else:
                vectors = reduce_dimensions(compared.representations[name], train, MAX_DIMENSIONS)
            types = np.array(task.names, dtype=object)[task.labels[train]]
            model = TypeDistances.fit(vectors[train], types, min_members=vectors.shape[1])
            place = [task.names.index(kind) for kind in model.types]
            probabilities[np.ix_(test, place)] = model.probabilities(vectors[test])
        judged = np.concatenate([test for _, test in folds])
        result["records"].append(
            {
                "representation": name,
                **_scores(probabilities[judged], task, judged, compared.table.name[judged], num_resamples, seed),
            }
        )
    return result


def _scores(
    probabilities: np.ndarray, task: Task, judged: np.ndarray, sources: np.ndarray, num_resamples: int, seed: int
) -> dict[str, Any]:
    truth = task.labels[judged]
    unknown = ~probabilities.any(axis=1)
    votes = source_votes(probabilities, sources)
    of_source = truth[np.unique(sources, return_index=True)[1]]
    ways = {
        "detection": (truth, np.where(unknown, -1, probabilities.argmax(axis=1)), sources),
        "soft_vote": (of_source, votes["soft"], votes["name"]),
        "hard_vote": (of_source, votes["hard"], votes["name"]),
    }
    record: dict[str, Any] = {}
    for way, (true, predicted, groups) in ways.items():
        score = score_predictions(true, predicted, groups, task.names, None, num_resamples, seed)
        record[way] = score["balanced_accuracy"]
        record[f"{way}_low"], record[f"{way}_high"] = score["balanced_accuracy_low"], score["balanced_accuracy_high"]
        record["chance"] = score["chance"]
    return record | {
        "unknown": float(unknown.mean()),
        "ambiguous": float((votes["soft"] != votes["hard"]).mean()),
        "sources": len(of_source),
    }
