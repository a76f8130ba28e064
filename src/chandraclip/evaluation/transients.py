"""Whether scores find planted transients: ranking of each kind against constant lists, beside classical tests.

Scores of a representation are a probe's, fitted to the planted truth of the train split and chosen on validation, and
two that know no truth: the distances of `anomaly`, given counts. Numbers are of lists that none of them has seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.spatial import KDTree
from tqdm.auto import tqdm

from chandraclip.catalog.ragged import Ragged
from chandraclip.catalog.rate_tests import rate_tests
from chandraclip.evaluation.anomaly import find_likes, given_likes, mahalanobis, neighbour_scores
from chandraclip.evaluation.bootstrap import NUM_RESAMPLES, interval, resampled_auc, resampled_sums
from chandraclip.evaluation.classifiers import CLASSIFIERS, predict_classes
from chandraclip.evaluation.dataset import column_batches
from chandraclip.evaluation.embeddings import EmbeddingTable
from chandraclip.evaluation.rarity import area_under_curve

CONSTANT = "constant"
ANY = "any"  # of the kinds: is it variable at all?
PRECISION_AT = (10, 50, 100)
FALSE_ALARMS = 0.01
NUM_LIKE = 500  # lists of like counts and colour, among which neighbours are looked for
NUM_NEIGHBOURS = 10
EVENTS = ("event_time", "gti_start", "gti_stop")
_BLOCK_ELEMENTS = 2**22


def classical_scores(dataset: str, table: EmbeddingTable, frame: float) -> dict[str, np.ndarray]:
    """`catalog.rate_tests` of the photons of every row of a table, NaN where it has none.

    Args:
        dataset: folder or Hub id. frame: s, the readout frame.

    Raises:
        InputFileError: as `column_batches`.
    """
    scores: dict[str, np.ndarray] = {}
    bar = tqdm(total=len(table), desc="classical tests", unit="list", delay=5.0)
    for rows, part in column_batches(dataset, "events", EVENTS, table, 1024):
        if set(part.column_names) == set(EVENTS):
            times, start, stop = (Ragged.from_arrow(part[name].cast(pa.list_(pa.float64()))) for name in EVENTS)
            for name, values in rate_tests(times, start, stop, frame).items():
                scores.setdefault(name, np.full(len(table), np.nan))[rows] = values
        bar.update(len(rows))
    bar.close()
    return scores


def probe_scores(
    vectors: np.ndarray, kinds: np.ndarray, split: np.ndarray, methods: Sequence[str] = CLASSIFIERS, seed: int = 0
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Scores of each kind against constant lists: of the classifier with the least loss on validation.

    Args:
        vectors: (N, D), finite. kinds: (N,) str. split: (N,) train, validation or another, which is scored too.

    Returns:
        kind, or `ANY` -> (N,) log odds against constant, NaN in train and validation rows; and which method and
        setting, with its loss.

    Raises:
        ValueError: train or validation lacks a kind.
    """
    names = [CONSTANT, *sorted(set(kinds.tolist()) - {CONSTANT})]
    labels = np.array([names.index(kind) for kind in kinds.tolist()])
    train, validation = split == "train", split == "validation"
    for name, rows in (("train", train), ("validation", validation)):
        if missing := [kind for number, kind in enumerate(names) if not (labels[rows] == number).any()]:
            raise ValueError(f"the {name} split has no list of kind {', '.join(missing)}, which a probe has to learn")
    asked = ~(train | validation)
    best: tuple[str, np.ndarray, float, float] | None = None
    for method in methods:
        answer, setting, loss = predict_classes(
            method,
            vectors[train],
            labels[train],
            vectors[validation],
            labels[validation],
            vectors[asked],
            len(names),
            seed,
        )
        if best is None or loss < best[3]:
            best = method, answer, setting, loss
    assert best is not None
    log_odds = np.log(np.maximum(best[1], 1e-12))
    scores = {}
    for kind, values in {
        **{kind: log_odds[:, number] - log_odds[:, 0] for number, kind in enumerate(names) if number},
        ANY: np.log(np.maximum(1.0 - best[1][:, 0], 1e-12)) - log_odds[:, 0],
    }.items():
        scores[kind] = np.full(len(kinds), np.nan)
        scores[kind][asked] = values
    return scores, {"classifier": best[0], "setting": best[2], "validation_loss": best[3]}


def unsupervised_scores(
    vectors: np.ndarray, sources: np.ndarray, counts: np.ndarray, device: str = "cpu"
) -> dict[str, np.ndarray]:
    """Mahalanobis distance and mean distance of 20 neighbours, as ranks among lists of like counts; (N,) each."""
    found = {"mahalanobis": mahalanobis(vectors)}
    found["knn_distance"] = neighbour_scores(vectors, sources, device=device)["knn_distance"]
    likes = find_likes(counts, np.zeros(len(counts)), sources)
    return {name: given_likes(score, likes) for name, score in found.items()}


def detection_metrics(
    score: np.ndarray,
    positive: np.ndarray,
    sources: np.ndarray,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    false_alarms: float = FALSE_ALARMS,
) -> dict[str, Any]:
    """How well a score tells positive lists from constant ones.

    Args:
        score: (N,); a list without one is ranked below all others, as an unseen one is not found.
        positive: (N,) bool; the others are constant. sources: (N,) names.

    Returns:
        num_positive, num_constant, base_rate; auc and recall (share of the positive lists above the score that
        `false_alarms` of the constant ones reach), each with value, low, high (95 %, resampled sources) and chance;
        precision: k -> share of positives among the k highest. auc and recall None without both.
    """
    score = _ranked(score)
    result: dict[str, Any] = {"num_positive": int(positive.sum()), "num_constant": int((~positive).sum())}
    result["base_rate"] = float(positive.mean()) if len(positive) else None
    if not positive.any() or positive.all():
        return result | {"auc": None, "recall": None, "precision": {}}
    low, high = interval(resampled_auc(score, positive, sources, num_resamples, seed))
    recall, samples = _recalls(score, positive, sources, num_resamples, seed, false_alarms)
    recall_low, recall_high = interval(samples)
    # Equal scores in an order that knows nothing of the truth.
    order = np.lexsort((np.random.default_rng(seed).permutation(len(score)), -score))
    return result | {
        "auc": {"value": area_under_curve(score, positive), "low": low, "high": high, "chance": 0.5},
        "recall": {"value": recall, "low": recall_low, "high": recall_high, "chance": false_alarms},
        "precision": {str(k): float(positive[order[:k]].mean()) for k in PRECISION_AT if k <= len(score)},
    }


def _ranked(score: np.ndarray) -> np.ndarray:
    """The scores, a missing one below all others."""
    known = np.isfinite(score)
    return np.where(known, score, (score[known].min() if known.any() else 0.0) - 1.0)


def _recalls(
    score: np.ndarray, positive: np.ndarray, sources: np.ndarray, num_resamples: int, seed: int, false_alarms: float
) -> tuple[float, np.ndarray]:
    """Recall where so many of the constant rows alarm, of all rows and of (B,) resamples of sources."""
    names, ids = np.unique(sources, return_inverse=True)
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) < 0, True))  # of each value, so that equal ones go together
    is_positive, ids = positive[order], ids[order]

    def recall(weight: np.ndarray) -> np.ndarray:
        found = np.cumsum(np.where(is_positive, weight, 0), axis=1)[:, last]
        alarms = np.cumsum(np.where(is_positive, 0, weight), axis=1)[:, last]
        allowed = alarms <= false_alarms * alarms[:, -1:]
        highest = np.where(allowed, found, 0).max(axis=1)
        with np.errstate(invalid="ignore"):
            return highest / found[:, -1]

    rng = np.random.default_rng(seed)
    shares = np.full(len(names), 1.0 / len(names))
    step = max(1, _BLOCK_ELEMENTS // len(score))
    samples = [
        recall(rng.multinomial(len(names), shares, size=min(step, num_resamples - begin))[:, ids])
        for begin in range(0, num_resamples, step)
    ]
    return float(recall(np.ones((1, len(score)), np.int64))[0]), np.concatenate(samples)


def roc_curve(score: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False alarms and recall at every threshold, both (M,), increasing from 0 to 1."""
    score = _ranked(score)
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    found, alarms = (np.cumsum(part[order])[last] for part in (positive, ~positive))
    return np.append(0.0, alarms / max(alarms[-1], 1)), np.append(0.0, found / max(found[-1], 1))


def alike(counts: np.ndarray, colours: np.ndarray, num_like: int = NUM_LIKE) -> np.ndarray:
    """(N, L) the lists of like counts and hardness of each, L = `num_like` at most, itself among them.

    Args:
        counts: (N,) photons. colours: (N, C) hardness ratios; a missing one (NaN) counts as the median.
    """
    place = np.column_stack([np.log10(np.maximum(counts, 1.0)), colours])
    place = np.where(np.isfinite(place), place, np.nanmedian(place, axis=0))
    scale = place.std(axis=0)
    place /= np.where(scale > 0, scale, 1.0)
    return np.asarray(KDTree(place).query(place, min(num_like, len(place)))[1]).reshape(len(place), -1)


def purity_by_kind(
    vectors: np.ndarray,
    kinds: np.ndarray,
    sources: np.ndarray,
    likes: np.ndarray,
    queries: np.ndarray,
    k: int = NUM_NEIGHBOURS,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Of the k nearest lists of each, among those of like counts and colour, the share that are of its kind.

    Args:
        vectors: (N, D), Euclidean. kinds: (N,) str. sources: (N,) names: a source is no neighbour of itself.
        likes: (N, L) of `alike`. queries: (N,) bool, whose neighbours are judged.

    Returns:
        A record a kind: kind, lists, purity with low and high (95 %, resampled sources), chance (the share of the kind
        among the lists of like counts and colour), times_chance.
    """
    codes, source = np.unique(kinds, return_inverse=True)[1], np.unique(sources, return_inverse=True)[1]
    vectors = np.asarray(vectors, np.float32)
    rows = np.flatnonzero(queries)
    purity, chance = np.full(len(kinds), np.nan), np.full(len(kinds), np.nan)
    step = max(1, _BLOCK_ELEMENTS // max(likes.shape[1] * vectors.shape[1], 1))
    for begin in range(0, rows.size, step):
        own = rows[begin : begin + step]
        others = likes[own]
        difference = vectors[others] - vectors[own, None]
        distance = np.einsum("nld,nld->nl", difference, difference)
        elsewhere = source[others] != source[own, None]
        same = (codes[others] == codes[own, None]) & elsewhere
        distance = np.where(elsewhere, distance, np.inf)
        nearest = np.argpartition(distance, min(k, likes.shape[1]) - 1, axis=1)[:, :k]
        usable = elsewhere.sum(axis=1) >= k
        purity[own] = np.where(usable, np.take_along_axis(same, nearest, axis=1).mean(axis=1), np.nan)
        chance[own] = np.where(usable, same.sum(axis=1) / np.maximum(elsewhere.sum(axis=1), 1), np.nan)
    records = []
    for kind in [CONSTANT, *sorted(set(kinds.tolist()) - {CONSTANT})]:
        chosen = np.flatnonzero((kinds == kind) & np.isfinite(purity))
        if not chosen.size:
            continue
        sums = resampled_sums(np.stack([purity[chosen], np.ones(chosen.size)], 1), sources[chosen], num_resamples, seed)
        low, high = interval(sums[:, 0] / sums[:, 1])
        value, expected = float(purity[chosen].mean()), float(chance[chosen].mean())
        records.append(
            {
                "kind": kind,
                "lists": int(chosen.size),
                "purity": value,
                "low": low,
                "high": high,
                "chance": expected,
                "times_chance": value / expected if expected else None,
            }
        )
    return records


def judge(
    scores: Mapping[tuple[str, str], Mapping[str, np.ndarray] | np.ndarray],
    kinds: np.ndarray,
    sources: np.ndarray,
    judged: np.ndarray,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """`detection_metrics` of every score of every kind.

    Args:
        scores: (representation, method) -> (N,), or kind -> (N,) where it has a score for each.
        kinds, sources: (N,). judged: (N,) bool.

    Returns:
        Records with kind, representation, method and the metrics; `ANY` stands for all kinds together.
    """
    records = []
    for kind in [*sorted(set(kinds[judged].tolist()) - {CONSTANT}), ANY]:
        rows = np.flatnonzero(judged & ((kinds == CONSTANT) | (kinds == kind) | (kind == ANY)))
        for (representation, method), score in scores.items():
            own = score.get(kind) if isinstance(score, Mapping) else score
            if own is not None:
                record = {"kind": kind, "representation": representation, "method": method}
                positive = kinds[rows] != CONSTANT
                records.append(record | detection_metrics(own[rows], positive, sources[rows], num_resamples, seed))
    return records


def compare_recalls(
    learned: Mapping[str, Mapping[str, np.ndarray]],
    rivals: Mapping[str, np.ndarray],
    kinds: np.ndarray,
    sources: np.ndarray,
    judged: np.ndarray,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Recall at `FALSE_ALARMS` of learned scores less that of each test, on the same resamples of sources.

    Args:
        learned: representation -> kind -> (N,) scores. rivals: test -> (N,).
        kinds, sources: (N,). judged: (N,) bool.

    Returns:
        A record for each kind, representation and test: recall, recall_of_test, difference with low and high (95 %).
    """
    records = []
    for kind in [*sorted(set(kinds[judged].tolist()) - {CONSTANT}), ANY]:
        rows = np.flatnonzero(judged & ((kinds == CONSTANT) | (kinds == kind) | (kind == ANY)))
        positive = kinds[rows] != CONSTANT
        arguments = positive, sources[rows], num_resamples, seed, FALSE_ALARMS
        tests = {name: _recalls(_ranked(score[rows]), *arguments) for name, score in rivals.items()}
        for representation, scores in learned.items():
            recall, samples = _recalls(_ranked(scores[kind][rows]), *arguments)
            for name, (other, other_samples) in tests.items():
                low, high = interval(samples - other_samples)
                record = {"kind": kind, "representation": representation, "recall": recall, "test": name}
                difference = {"difference": recall - other, "low": low, "high": high}
                records.append(record | {"recall_of_test": other} | difference)
    return records
