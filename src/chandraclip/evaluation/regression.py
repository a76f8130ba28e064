"""Regression of physical variables from frozen representations: kNN (k = 3) and ridge, beside their baselines.

Protocol of arXiv:2603.04516 (kNN with k = 3, MAE a variable, before and after alignment, and a choice of representation
a variable), made strict: everything is fitted on the train split, every choice (ridge penalty, representation) is made
on the validation split, every number is of the test split, and the splits share no source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from sklearn.neighbors import NearestNeighbors
from tqdm.auto import tqdm

from chandraclip.evaluation.bootstrap import NUM_RESAMPLES, interval, resampled_sums
from chandraclip.evaluation.embeddings import EmbeddingTable
from chandraclip.evaluation.variables import EXCLUDED_FEATURES, LOG10_VARIABLES, PUBLISHED, hand_features, target_values

NUM_NEIGHBOURS = 3
SEARCHED_NEIGHBOURS = 64  # of all training rows; nearly every query has three with a value among them
RIDGE_PENALTIES = tuple(float(penalty) for penalty in np.logspace(-3, 5, 9))
# What is compared: name -> columns of the embeddings file, side by side.
REPRESENTATIONS: dict[str, tuple[str, ...]] = {
    "spectrum_latents": ("spectrum_latents",),
    "event_latents": ("event_latents",),
    "text_features": ("text_features",),
    "spectrum_embedding": ("spectrum_embedding",),
    "event_embedding": ("event_embedding",),
    "text_embedding": ("text_embedding",),
    "spectrum+text_embedding": ("spectrum_embedding", "text_embedding"),  # the paper's combined 128-d
    "spectrum+event_embedding": ("spectrum_embedding", "event_embedding"),  # what a source without literature has
    "xray_embedding": ("xray_embedding",),
    "all_embeddings": ("spectrum_embedding", "event_embedding", "text_embedding"),
}
BEFORE_ALIGNMENT = ("spectrum_latents", "event_latents", "text_features")
METHODS = ("knn", "ridge")
HAND = "hand_features"
MEDIAN = "median"  # the chance level: one number for all
SELECTED = "selected"  # per variable the representation that is best on validation
MIN_COVERAGE = 0.5  # a representation that fewer rows have does not take part: the others would lose too many rows
MIN_ROWS = {"train": 50, "validation": 10, "test": 20}


@dataclass(frozen=True)
class Standardizer:
    """Zero mean and unit variance of the rows it was fitted on; missing values become the mean."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray) -> Standardizer:
        values = np.asarray(
            values, dtype=np.float64
        )  # a float32 normal matrix of collinear features has no digits left
        scale = np.nanstd(values, axis=0)
        return cls(np.nanmean(values, axis=0), np.where(scale > 0, scale, 1.0))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return np.nan_to_num((values - self.mean) / self.scale, nan=0.0, posinf=0.0, neginf=0.0)


def predict_knn(train: np.ndarray, targets: np.ndarray, queries: np.ndarray, k: int = NUM_NEIGHBOURS) -> np.ndarray:
    """Mean target of the k nearest training rows that have one, exact and Euclidean (on unit vectors: by cosine).

    Args:
        train: (N, D), targets: (N, T) with NaN where missing, queries: (Q, D).

    Returns:
        (Q, T); where fewer than k rows have a target, the mean of those that have.
    """
    num_searched = min(max(SEARCHED_NEIGHBOURS, k), len(train))
    nearest = NearestNeighbors(n_neighbors=num_searched).fit(train).kneighbors(queries, return_distance=False)
    result = np.empty((len(queries), targets.shape[1]))
    present = np.isfinite(targets)
    # Targets missing in the same rows share their neighbours.
    for pattern in np.unique(present, axis=1).T:
        columns = np.flatnonzero((present == pattern[:, None]).all(axis=0))
        rows = np.flatnonzero(pattern)
        usable = pattern[nearest]
        chosen = np.take_along_axis(nearest, np.argsort(~usable, axis=1, kind="stable")[:, :k], axis=1)
        few = usable.sum(axis=1) < k
        if few.any():  # search again, among the rows with a value only
            search = NearestNeighbors(n_neighbors=min(k, len(rows))).fit(train[rows])
            again = rows[search.kneighbors(queries[few], return_distance=False)]
            chosen = chosen[:, : again.shape[1]]
            chosen[few] = again
        result[:, columns] = targets[:, columns][chosen].mean(axis=1)
    return result


def predict_ridge(
    train: np.ndarray, targets: np.ndarray, validation: np.ndarray, validation_targets: np.ndarray, queries: np.ndarray
) -> np.ndarray:
    """Ridge on standardized features, the penalty of each target chosen by its MAE on validation rows.

    One eigendecomposition of the normal matrix serves all penalties (Hastie et al. 2009, The Elements of Statistical
    Learning, eq. 3.47).

    Args:
        train: (N, D), targets: (N, T), validation: (V, D), validation_targets: (V, T), queries: (Q, D); no NaN.

    Returns:
        (Q, T).
    """
    standardize = Standardizer.fit(train)
    train, validation, queries = standardize(train), standardize(validation), standardize(queries)
    mean = targets.mean(axis=0)
    eigenvalues, vectors = scipy.linalg.eigh(train.T @ train)
    projected = vectors.T @ (train.T @ (targets - mean))
    validation, queries = validation @ vectors, queries @ vectors
    best_error = np.full(targets.shape[1], np.inf)
    result = np.empty((len(queries), targets.shape[1]))
    for penalty in RIDGE_PENALTIES:
        weights = projected / (np.maximum(eigenvalues, 0.0) + penalty)[:, None]
        error = np.abs(validation @ weights + mean - validation_targets).mean(axis=0)
        better = error < best_error
        best_error[better] = error[better]
        result[:, better] = queries @ weights[:, better] + mean[better]
    return result


def regression_metrics(
    table: EmbeddingTable,
    columns: Mapping[str, np.ndarray],
    variables: Sequence[str],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """MAE and R2 of every variable from every representation by every method.

    For one variable all representations are compared on the same rows: those with a value and with every
    representation that takes part.

    Args:
        table: N embeddings, all splits.
        columns: catalogue columns of the same rows, name -> (N,) float, NaN where missing.
        variables: names among the columns.

    Returns:
        ``records``: one dict a (variable, representation, method) with ``mae``, ``r2`` and ``mae_over_hand_features``,
        each with ``_low`` and ``_high``, and ``validation_mae``; ``counts``: rows a split and variable; ``skipped``:
        variables and representations left out, with the reason; ``representations``: those compared.

    Raises:
        ValueError: a variable or split that is not there, or no representation.
    """
    absent = [name for name in variables if name not in columns]
    if absent:
        raise ValueError(f"variables {absent} are not in the catalogue; it has {sorted(columns)}")
    representations, skipped = _available(table)
    if not representations:
        raise ValueError(f"no representation has {MIN_COVERAGE:.0%} of the rows")
    complete = np.logical_and.reduce([mask for _, mask in representations.values()])
    splits = {split: complete & (table.split == split) for split in MIN_ROWS}

    # Variables missing in the same rows share their normal equations.
    values = {name: target_values(columns, name) for name in variables}
    groups: dict[bytes, list[str]] = {}
    counts: dict[str, dict[str, int]] = {}
    for name in variables:
        present = np.isfinite(values[name])
        counts[name] = {split: int((rows & present).sum()) for split, rows in splits.items()}
        short = [f"{counts[name][split]} {split}" for split, least in MIN_ROWS.items() if counts[name][split] < least]
        if short:
            skipped[name] = f"too few rows with a value: {', '.join(short)}"
        elif np.ptp(values[name][splits["test"] & present]) == 0:
            skipped[name] = "one value in the whole test split"
        else:
            groups.setdefault(present.tobytes(), []).append(name)

    evaluated = np.flatnonzero(splits["validation"] | splits["test"])
    position = np.full(len(table.name), -1)
    position[evaluated] = np.arange(len(evaluated))
    kept = [name for names in groups.values() for name in names]
    neighbours = {
        representation: _knn(array, kept, values, splits["train"], evaluated, representation in BEFORE_ALIGNMENT)
        for representation, (array, _) in tqdm(representations.items(), desc="neighbours", unit="representation")
        if kept
    }
    records: list[dict[str, Any]] = []
    bar = tqdm(total=len(kept), desc="regression", unit="variable")
    for names in groups.values():
        rows = {split: np.flatnonzero(mask & np.isfinite(values[names[0]])) for split, mask in splits.items()}
        targets = np.stack([values[name] for name in names], axis=1)
        queries = position[np.concatenate([rows["validation"], rows["test"]])]
        columns_kept = [kept.index(name) for name in names]
        predictions: dict[tuple[str, str], np.ndarray] = {}
        for representation, (array, _) in representations.items():
            predictions[representation, "knn"] = neighbours[representation][np.ix_(queries, columns_kept)]
            predictions[representation, "ridge"] = _ridge(array, targets, rows)
        by_hand = _hand_predictions(columns, names, targets, rows)
        for column, name in enumerate(names):
            of_variable = {key: prediction[:, column] for key, prediction in predictions.items()} | by_hand[name]
            median = float(np.median(values[name][rows["train"]]))
            of_variable[MEDIAN, MEDIAN] = np.full(len(rows["validation"]) + len(rows["test"]), median)
            records += _score(name, of_variable, values[name], rows, table.name[rows["test"]], num_resamples, seed)
            bar.update()
    bar.close()
    order = {name: position for position, name in enumerate(variables)}
    records.sort(key=lambda record: order[record["variable"]])
    return {
        "records": records,
        "counts": counts,
        "skipped": skipped,
        "representations": list(representations),
        "complete_rows": {split: int(rows.sum()) for split, rows in splits.items()},
    }


def _available(table: EmbeddingTable) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, str]]:
    """Representations that enough rows have, as (array, mask), and why the others are left out."""
    available, skipped = {}, {}
    covered = {name: float(mask.mean()) for name, mask in table.masks.items()}
    for representation, parts in REPRESENTATIONS.items():
        thin = [part for part in parts if covered.get(part, 0.0) < MIN_COVERAGE]
        if thin:
            skipped[representation] = "; ".join(f"{part} in {covered.get(part, 0.0):.0%} of the rows" for part in thin)
        else:
            available[representation] = table.joint(parts)
    return available, skipped


def _knn(
    array: np.ndarray,
    names: Sequence[str],
    values: Mapping[str, np.ndarray],
    train: np.ndarray,
    evaluated: np.ndarray,
    standardized: bool,
) -> np.ndarray:
    """(rows evaluated, names) predictions, by one search of the training rows for all variables.

    Args:
        standardized: unit vectors keep their cosine, anything else has columns of any scale.
    """
    features, queries = array[train], array[evaluated]
    if standardized:
        standardize = Standardizer.fit(features)
        features, queries = standardize(features), standardize(queries)
    return predict_knn(features, np.stack([values[name][train] for name in names], axis=1), queries)


def _ridge(array: np.ndarray, targets: np.ndarray, rows: dict[str, np.ndarray]) -> np.ndarray:
    """(V + Q, T): predictions for the validation rows, then for the test rows."""
    train, validation = rows["train"], rows["validation"]
    queries = np.concatenate([array[validation], array[rows["test"]]])
    return predict_ridge(array[train], targets[train], array[validation], targets[validation], queries)


def _hand_predictions(
    columns: Mapping[str, np.ndarray], names: list[str], targets: np.ndarray, rows: dict[str, np.ndarray]
) -> dict[str, dict[tuple[str, str], np.ndarray]]:
    """Variable -> predictions from the hand-made features allowed for it; none where no training row has one."""
    result: dict[str, dict[tuple[str, str], np.ndarray]] = {name: {} for name in names}
    alike: dict[frozenset[str], list[int]] = {}
    for column, name in enumerate(names):
        alike.setdefault(EXCLUDED_FEATURES.get(name, frozenset()), []).append(column)
    for members in alike.values():
        features = hand_features(columns, names[members[0]])
        features = features[:, np.isfinite(features[rows["train"]]).any(axis=0)]
        if features.shape[1]:
            evaluated = np.concatenate([rows["validation"], rows["test"]])
            values = {names[column]: targets[:, column] for column in members}
            knn = _knn(features, list(values), values, rows["train"], evaluated, standardized=True)
            for method, prediction in (("knn", knn), ("ridge", _ridge(features, targets[:, members], rows))):
                for position, column in enumerate(members):
                    result[names[column]][HAND, method] = prediction[:, position]
    return result


def _score(
    variable: str,
    predictions: dict[tuple[str, str], np.ndarray],
    values: np.ndarray,
    rows: dict[str, np.ndarray],
    test_names: np.ndarray,
    num_resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Records of one variable; every resample is shared by all its predictions, so ratios are paired."""
    num_validation = len(rows["validation"])
    truth = values[rows["test"]]
    validation_mae = {
        key: float(np.abs(prediction[:num_validation] - values[rows["validation"]]).mean())
        for key, prediction in predictions.items()
    }
    chosen: dict[str, str] = {}
    for method in METHODS:
        competitors = [key for key in predictions if key[1] == method and key[0] in REPRESENTATIONS]
        best = min(competitors, key=lambda key: validation_mae[key])
        chosen[method] = best[0]
        predictions[SELECTED, method], validation_mae[SELECTED, method] = predictions[best], validation_mae[best]

    keys = list(predictions)
    errors = np.stack([predictions[key][num_validation:] - truth for key in keys], axis=1)
    centred = truth - truth.mean()
    moments = np.stack([np.ones_like(centred), centred, centred**2], axis=1)
    sums = resampled_sums(np.concatenate([moments, np.abs(errors), errors**2], axis=1), test_names, num_resamples, seed)
    count, first, second = sums[:, 0], sums[:, 1], sums[:, 2]
    absolute, squared = sums[:, 3 : 3 + len(keys)], sums[:, 3 + len(keys) :]
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = 1 - squared / (second - first**2 / count)[:, None]
    mae = np.abs(errors).mean(axis=0)
    records = []
    for position, (representation, method) in enumerate(keys):
        record: dict[str, Any] = {
            "variable": variable,
            "unit": "dex" if variable in LOG10_VARIABLES else "native",
            "representation": representation,
            "method": method,
            "mae": float(mae[position]),
            "r2": float(1 - (errors[:, position] ** 2).sum() / (centred**2).sum()),
            "validation_mae": validation_mae[representation, method],
        }
        record["mae_low"], record["mae_high"] = interval(absolute[:, position] / count)
        record["r2_low"], record["r2_high"] = interval(r2[:, position])
        if (HAND, method) in predictions:
            hand = keys.index((HAND, method))
            record["mae_over_hand_features"] = float(mae[position] / mae[hand]) if mae[hand] > 0 else None
            ratio = absolute[:, position] / np.where(absolute[:, hand] > 0, absolute[:, hand], np.nan)
            record["mae_over_hand_features_low"], record["mae_over_hand_features_high"] = interval(ratio)
        if representation == SELECTED:
            record["chosen"] = chosen[method]
        records.append(record)
    return records


def improvement(records: Sequence[Mapping[str, Any]], method: str = "knn") -> dict[str, Any]:
    """How much the selected representation lowers the MAE, averaged over variables, against three references.

    ``over_spectrum``: the unimodal spectrum latents (published: 16-18 % over 20 variables); ``over_best_before``: the
    best representation before alignment, chosen on validation; ``over_hand_features``. Each {mean, num_variables}.
    """
    by_variable: dict[str, dict[str, Mapping[str, Any]]] = {}
    for record in records:
        if record["method"] == method:
            by_variable.setdefault(record["variable"], {})[record["representation"]] = record
    gains: dict[str, list[float]] = {"over_spectrum": [], "over_best_before": [], "over_hand_features": []}
    for of_variable in by_variable.values():
        selected = of_variable[SELECTED]["mae"]
        before = [of_variable[name] for name in BEFORE_ALIGNMENT if name in of_variable]
        references = {
            "over_spectrum": of_variable.get("spectrum_latents"),
            "over_best_before": min(before, key=lambda record: record["validation_mae"], default=None),
            "over_hand_features": of_variable.get(HAND),
        }
        for name, reference in references.items():
            if reference is not None and reference["mae"] > 0:
                gains[name].append(1 - selected / reference["mae"])
    return {
        name: {"mean": float(np.mean(gain)) if gain else None, "num_variables": len(gain)}
        for name, gain in gains.items()
    }


def published_comparison(records: Sequence[Mapping[str, Any]], simulated: bool) -> list[dict[str, Any]]:
    """The selected kNN error beside the published one, where there is one, and whether they may be compared."""
    note = (
        "not comparable: simulated detections"
        if simulated
        else "comparable in protocol; the sample, the texts and the text encoder differ"
    )
    return [
        {
            "variable": record["variable"],
            "mae": record["mae"],
            "published_mae": PUBLISHED[record["variable"]].selected,
            "published_best_before_alignment": PUBLISHED[record["variable"]].best_before_alignment,
            "comparable": not simulated,
            "note": note,
        }
        for record in records
        if record["representation"] == SELECTED and record["method"] == "knn" and record["variable"] in PUBLISHED
    ]
