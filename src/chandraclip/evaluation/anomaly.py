"""How unusual each detection is in a representation, and how unusual for its brightness and place on the detector.

A faint source may be far from all others because its photons are few. So every score is given twice: raw, and *given
counts and off-axis angle*, as its rank among detections of like counts and angle.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import KDTree
from tqdm.auto import tqdm

from chandraclip.evaluation.embeddings import EmbeddingTable
from chandraclip.evaluation.lookup import xray_directions
from chandraclip.evaluation.neighbours import nearest, nearest_elsewhere
from chandraclip.evaluation.regression import Standardizer
from chandraclip.evaluation.retrieval import unit_vectors
from chandraclip.evaluation.retrieval_tasks import side_vectors

NUM_NEIGHBOURS = 20
NUM_LIKE = 200
HAND = "hand_features"
# What an astronomer would look for outliers in without any learning.
HAND_FEATURES = ("hard_hm", "hard_hs", "hard_ms", "var_prob_b", "var_index_b")
REPRESENTATIONS: dict[str, tuple[str, ...]] = {
    "spectrum_latents": ("spectrum_latents",),
    "event_latents": ("event_latents",),
    "spectrum_embedding": ("spectrum_embedding",),
    "event_embedding": ("event_embedding",),
    "spectrum+event_embedding": ("spectrum_embedding", "event_embedding"),
    "xray_embedding": ("xray_embedding",),
    "text_embedding": ("text_embedding",),
    "all_embeddings": ("spectrum_embedding", "event_embedding", "text_embedding"),
}
METHODS = ("isolation_forest", "knn_distance", "local_outlier_factor", "mahalanobis")
DISAGREEMENTS = ("spectrum against events", "X-ray against text")
_MIN_ROWS, _MIN_SOURCES = 50, 5
_LIKE_BLOCK = 10_000  # rows whose neighbours or likes are looked at together


def isolation_forest(vectors: np.ndarray, seed: int = 0, num_trees: int = 100) -> np.ndarray:
    """(N,) scores of an isolation forest (Liu et al. 2008), larger the more unusual; as arXiv:2603.04516 uses it."""
    from sklearn.ensemble import IsolationForest

    return -IsolationForest(n_estimators=num_trees, random_state=seed).fit(vectors).score_samples(vectors)


def mahalanobis(vectors: np.ndarray) -> np.ndarray:
    """(N,) squared distances from the mean in the metric of a covariance shrunk by Ledoit and Wolf (2004)."""
    from sklearn.covariance import LedoitWolf

    return LedoitWolf().fit(vectors).mahalanobis(vectors)


def neighbour_scores(
    vectors: np.ndarray, sources: np.ndarray, k: int = NUM_NEIGHBOURS, device: str = "cpu", euclidean: bool = False
) -> dict[str, np.ndarray]:
    """knn_distance, the mean over k neighbours, and local_outlier_factor (Breunig et al. 2000), both (N,).

    Neighbours are detections of other sources: a rare source that was observed often is no less rare.

    Args:
        vectors: (N, D).
        sources: (N,) names.
        k: neighbours of each; fewer where there are not as many rows of other sources.
        device: torch device of the search.
        euclidean: distances of a few features; else by cosine, as in the shared space.
    """
    from sklearn.neighbors import LocalOutlierFactor

    largest = np.unique(sources, return_counts=True)[1].max()
    k = min(k, len(vectors) - int(largest))
    if euclidean:
        tree = KDTree(vectors)
        indices, distance = nearest_elsewhere(lambda rows, k: tree.query(vectors[rows], k)[::-1], sources, k)
    else:
        indices, _ = nearest_elsewhere(lambda rows, k: nearest(vectors[rows], vectors, k, device), sources, k)
        distance = _cosine_distance(unit_vectors(vectors), indices)
    order = np.argsort(distance, axis=1, kind="stable")
    indices, distance = (np.take_along_axis(part, order, axis=1) for part in (indices, distance))
    # A row's own place, at distance 0, stands first, as scikit-learn has it in graphs of neighbours.
    rows = np.arange(len(vectors))
    columns = np.concatenate([rows[:, None], indices], axis=1).ravel()
    values = np.concatenate([np.zeros((len(rows), 1)), distance], axis=1).ravel()
    graph = csr_array((values, columns, np.arange(len(rows) + 1) * (k + 1)), shape=(len(rows), len(rows)))
    factor = LocalOutlierFactor(n_neighbors=k, metric="precomputed").fit(graph)
    return {"knn_distance": distance.mean(axis=1), "local_outlier_factor": -factor.negative_outlier_factor_}


def _cosine_distance(vectors: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """(N, k) float64 of unit vectors: 1 - cosine has no digits left in float32 where rows are nearly alike."""
    distance = np.empty(indices.shape)
    for start in range(0, len(vectors), _LIKE_BLOCK):
        block = slice(start, start + _LIKE_BLOCK)
        difference = vectors[indices[block]].astype(np.float64) - vectors[block, None]
        distance[block] = 0.5 * np.einsum("nkd,nkd->nk", difference, difference)
    return distance


def disagreement(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(N,) cosine distance between two views of the same detections, each (N, D)."""
    return 1.0 - np.einsum("nd,nd->n", unit_vectors(left), unit_vectors(right))


def find_likes(counts: np.ndarray, theta: np.ndarray, sources: np.ndarray, num_like: int = NUM_LIKE) -> np.ndarray:
    """The detections of like counts and off-axis angle of each.

    Those that are nearest in log10(counts) and theta, each in units of its standard deviation, but for those of its own
    source.

    Args:
        counts: (N,) net counts, NaN where unknown.
        theta: (N,) arcmin; a missing one (NaN) is taken as the median.
        sources: (N,) names.

    Returns:
        (N, L) int32 rows, L at most `num_like`; -1 in place of one's own source, and where counts are unknown.
    """
    known = np.flatnonzero(np.isfinite(counts))
    num_like = min(num_like, max(known.size - 1, 0))
    likes = np.full((len(counts), num_like), -1, np.int32)
    if not num_like:
        return likes
    place = np.stack([np.log10(np.maximum(counts[known], 1.0)), np.asarray(theta, np.float64)[known]], axis=1)
    middle = np.nanmedian(place[:, 1]) if np.isfinite(place[:, 1]).any() else 0.0
    place[:, 1] = np.where(np.isfinite(place[:, 1]), place[:, 1], middle)
    scale = place.std(axis=0)
    place /= np.where(scale > 0, scale, 1.0)
    tree = KDTree(place)
    ids = np.unique(sources, return_inverse=True)[1]
    for start in range(0, known.size, _LIKE_BLOCK):
        rows = known[start : start + _LIKE_BLOCK]
        # One more, since a detection is the first of its own likes, or one of many at the same place.
        found = known[tree.query(place[start : start + _LIKE_BLOCK], num_like + 1)[1]]
        order = np.argsort(found == rows[:, None], axis=1, kind="stable")[:, :num_like]
        found = np.take_along_axis(found, order, axis=1)
        likes[rows] = np.where(ids[found] == ids[rows][:, None], -1, found)
    return likes


def given_likes(score: np.ndarray, likes: np.ndarray) -> np.ndarray:
    """A score's rank among the likes of each detection.

    Detections with equal shares of likes below them are ordered by how far they are above the likes' median, in units
    of the median absolute deviation.

    Args:
        score: (N,), likes: of `find_likes`.

    Returns:
        (N,) between 0 and 1, the share of all detections that are less unusual for what they are; NaN without score or
        likes.
    """
    result = np.full(len(score), np.nan)
    score = np.asarray(score, np.float64)
    share, height = result.copy(), result.copy()
    for start in range(0, len(score), _LIKE_BLOCK):
        block = slice(start, start + _LIKE_BLOCK)
        values = np.sort(np.where(likes[block] >= 0, score[likes[block]], np.nan), axis=1)  # missing ones last
        number = np.isfinite(values).sum(axis=1)
        own = score[block, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            share[block] = ((values < own).sum(axis=1) + 0.5 * (values == own).sum(axis=1)) / number
        middle = _middle(values, number)
        deviation = _middle(np.sort(np.abs(values - middle[:, None]), axis=1), number)
        height[block] = (own[:, 0] - middle) / np.where(deviation > 0, deviation, 1.0)
    rows = np.flatnonzero(np.isfinite(score) & np.isfinite(share))
    order = np.lexsort((height[rows], share[rows]))
    result[rows[order]] = (np.arange(rows.size) + 0.5) / max(rows.size, 1)
    return result


def _middle(ordered: np.ndarray, number: np.ndarray) -> np.ndarray:
    """(N,) the median of the first `number` of each row; NaN of none."""
    if not ordered.shape[1]:
        return np.full(len(ordered), np.nan)
    places = np.stack([np.maximum(number - 1, 0) // 2, number // 2], axis=1)
    middle = np.take_along_axis(ordered, np.minimum(places, ordered.shape[1] - 1), axis=1).mean(axis=1)
    return np.where(number > 0, middle, np.nan)


def anomaly_scores(
    table: EmbeddingTable,
    facts: Mapping[str, np.ndarray] | None = None,
    k: int = NUM_NEIGHBOURS,
    seed: int = 0,
    device: str = "cpu",
) -> dict[tuple[str, str], np.ndarray]:
    """(representation, method) -> (N,) raw scores, larger the more unusual, NaN where a row lacks the representation.

    Args:
        facts: columns of the dataset; with some of `HAND_FEATURES` these are scored too, for comparison.

    Raises:
        ValueError: no representation has 50 rows of 5 sources.
    """
    tasks = {
        name: table.joint(columns)
        for name, columns in REPRESENTATIONS.items()
        if all(column in table.arrays for column in columns)
    }
    if facts is not None and (features := [name for name in HAND_FEATURES if name in facts]):
        tasks[HAND] = _hand_vectors([np.asarray(facts[name], np.float64) for name in features])
    scores: dict[tuple[str, str], np.ndarray] = {}
    for name, (vectors, mask) in tqdm(tasks.items(), desc="anomaly", unit="representation", delay=5.0):
        rows = np.flatnonzero(mask)
        if rows.size < _MIN_ROWS or np.unique(table.name[rows]).size < _MIN_SOURCES:
            continue
        found = {"isolation_forest": isolation_forest(vectors[rows], seed), "mahalanobis": mahalanobis(vectors[rows])}
        found |= neighbour_scores(vectors[rows], table.name[rows], k, device, name == HAND)
        scores |= {(name, method): _at(rows, found[method], len(table)) for method in METHODS}
    if not scores:
        raise ValueError(
            f"{table.path}: no representation has {_MIN_ROWS} rows of {_MIN_SOURCES} sources, too few to be unusual in"
        )
    return scores | {("disagreement", name): value for name, value in _disagreements(table).items()}


def _disagreements(table: EmbeddingTable) -> dict[str, np.ndarray]:
    views = {
        "spectrum": side_vectors(table, "spectrum"),
        "events": side_vectors(table, "events"),
        "X-ray": xray_directions(table),
        "text": side_vectors(table, "text"),
    }
    result = {}
    for name in DISAGREEMENTS:
        left, right = (views[side] for side in name.split(" against "))
        if left is not None and right is not None and (left[1] & right[1]).any():
            rows = np.flatnonzero(left[1] & right[1])
            result[name] = _at(rows, disagreement(left[0][rows], right[0][rows]), len(table))
    return result


def _hand_vectors(features: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Standardized features, a missing one at its mean, and the rows that have any."""
    values = np.stack(features, axis=1)
    mask = np.isfinite(values).any(axis=1)
    if not mask.any():
        return np.zeros_like(values), mask
    values = values[:, np.isfinite(values).any(axis=0)]
    return Standardizer.fit(values)(values), mask


def _at(rows: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    result = np.full(size, np.nan)
    result[rows] = values
    return result
