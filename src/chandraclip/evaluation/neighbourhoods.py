"""How wide neighbourhoods are, in meaning and in spectrum, before and after alignment.

The claim of the published talk: aligned, neighbours span a narrower domain of the literature and vary less in their
spectral properties. A neighbourhood is the k nearest detections of other sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors

from chandraclip.evaluation.bootstrap import NUM_RESAMPLES, interval, resampled_sums
from chandraclip.evaluation.neighbours import nearest_elsewhere

NUM_NEIGHBOURS = 10
MIN_VALUES = 3  # of a neighbourhood, below which it has no spread
SEMANTIC, MIXED_CLASSES = "texts", "classes"


def standardized(points: np.ndarray, is_embedding: bool) -> np.ndarray:
    """(N, D) float32 coordinates of which Euclidean distances are taken.

    Embeddings as they are: of unit vectors that is the order of the cosine. Of latents each dimension in units of its
    scatter, since nothing sets their scales against each other.
    """
    points = np.asarray(points, dtype=np.float32)
    if is_embedding:
        return points
    scatter = points.std(axis=0)
    return (points - points.mean(axis=0)) / np.where(scatter > 0, scatter, 1.0)


def neighbours_of_others(points: np.ndarray, source: np.ndarray, k: int = NUM_NEIGHBOURS) -> np.ndarray:
    """(N, k) rows nearest to each row among those of other sources, nearest first; exact.

    Args:
        points: (N, D) of `standardized`.
        source: (N,) the source of each.

    Raises:
        ValueError: fewer than k rows of other sources for some row.
    """
    tree = NearestNeighbors(algorithm="brute").fit(points)
    indices, _ = nearest_elsewhere(lambda rows, wanted: tree.kneighbors(points[rows], wanted)[::-1], source, k)
    return indices


def random_others(source: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """(N, k) rows of other sources drawn at random: a neighbourhood by chance."""
    rng = np.random.default_rng(seed)
    _, group = np.unique(source, return_inverse=True)
    drawn = rng.integers(0, len(source), (len(source), k))
    for _ in range(100):
        own = group[drawn] == group[:, None]
        if not own.any():
            break
        drawn[own] = rng.integers(0, len(source), int(own.sum()))
    return drawn


def scalar_spread(values: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """(N,) standard deviation of a quantity (N,) in each neighbourhood; NaN below `MIN_VALUES` finite ones."""
    around = np.asarray(values, dtype=np.float64)[neighbours]
    there = np.isfinite(around)
    number = there.sum(axis=1)
    mean = np.where(there, around, 0.0).sum(axis=1) / np.maximum(number, 1)
    square = np.where(there, (around - mean[:, None]) ** 2, 0.0).sum(axis=1)
    return np.where(number >= MIN_VALUES, np.sqrt(square / np.maximum(number - 1, 1)), np.nan)


def semantic_spread(texts: np.ndarray, has_text: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """(N,) mean cosine distance between the texts of a neighbourhood, two by two; NaN below `MIN_VALUES` texts.

    Args:
        texts: (N, K) unit vectors. has_text: (N,) bool.
    """
    there = has_text[neighbours]
    vectors = texts * has_text[:, None]
    total = sum((vectors[column] for column in neighbours.T), start=np.zeros((len(neighbours), texts.shape[1])))
    number = there.sum(axis=1)
    pairs = np.maximum(number * (number - 1), 1)
    return np.where(number >= MIN_VALUES, 1.0 - ((total**2).sum(axis=1) - number) / pairs, np.nan)


def class_mixing(source_class: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """(N,) probability that two of a neighbourhood are of different classes; classes below 0 do not count."""
    around = source_class[neighbours]
    number = (around >= 0).sum(axis=1)
    same = sum(
        (
            (around == value).sum(axis=1) * ((around == value).sum(axis=1) - 1)
            for value in np.unique(around[around >= 0])
        ),
        start=np.zeros(len(around)),
    )
    return np.where(number >= MIN_VALUES, 1.0 - same / np.maximum(number * (number - 1), 1), np.nan)


def text_vectors(summaries: list[str | None], num_dimensions: int = 64, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(N, K) unit vectors of texts by their words alone (TF-IDF, latent semantic analysis), and which have one.

    No model of ours made them, so they measure each representation alike.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    has = np.array([bool(text and text.strip()) for text in summaries])
    vectors = np.zeros((len(summaries), num_dimensions))
    if not has.any():
        return vectors, has
    try:
        words = TfidfVectorizer(sublinear_tf=True, min_df=2, stop_words="english").fit_transform(
            [text for text, use in zip(summaries, has) if use and text]
        )
    except ValueError:  # so few texts that no two share a word: none can be compared
        return vectors, np.zeros_like(has)
    size = max(1, min(num_dimensions, min(words.shape) - 1))
    part = TruncatedSVD(size, random_state=seed).fit_transform(words)
    vectors[has, :size] = part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
    return vectors, has


def spread_tables(
    representations: Mapping[str, np.ndarray],
    pairs: Mapping[str, tuple[str, str]],
    source: np.ndarray,
    source_class: np.ndarray,
    quantities: Mapping[str, np.ndarray],
    texts: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    k: int = NUM_NEIGHBOURS,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The mean spread of neighbourhoods by each representation, beside chance, all over the same N detections.

    Args:
        representations: name -> (N, D) of `standardized`.
        pairs: label -> names of the representation before and after alignment.
        source: (N,) names. source_class: (N,) int, -1 where not known.
        quantities: name -> (N,) spectral properties; NaN where missing.
        texts: of `text_vectors`; None where there are none.
        k: neighbours.
        num_resamples, seed: of the bootstrap over sources, 95 % intervals; equal draws for both of a ratio.

    Returns:
        Records of spreads: representation, quantity, detections, value, low, high, chance. And of changes: neighbours
        (the label), quantity, before, after, chance, ratio (after / before), low, high.
    """
    around = {name: neighbours_of_others(points, source, k) for name, points in representations.items()}
    around["chance"] = random_others(source, k, seed)

    def spreads(neighbours: np.ndarray) -> dict[str, np.ndarray]:
        result = {name: scalar_spread(values, neighbours) for name, values in quantities.items()}
        if texts is not None:
            result[SEMANTIC] = semantic_spread(*texts, neighbours)
        result[MIXED_CLASSES] = class_mixing(source_class, neighbours)
        return result

    measured = {name: spreads(neighbours) for name, neighbours in around.items()}
    spread, changes = [], []
    for quantity, chance in measured["chance"].items():
        for name in representations:
            value = measured[name][quantity]
            there = np.isfinite(value) & np.isfinite(chance)
            if there.any():
                columns = np.stack([value, np.ones(len(value))], axis=1)[there]
                sums = resampled_sums(columns, source[there], num_resamples, seed)
                low, high = interval(sums[:, 0] / sums[:, 1])
                record = {"representation": name, "quantity": quantity, "detections": int(there.sum())}
                record |= {"value": float(value[there].mean()), "low": low, "high": high}
                spread.append({**record, "chance": float(chance[there].mean())})
        for label, names in pairs.items():
            before, after = (measured[name][quantity] for name in names)
            there = np.isfinite(before) & np.isfinite(after) & np.isfinite(chance)
            if there.any() and before[there].mean() > 0:
                columns = np.stack([before, after], axis=1)[there]
                sums = resampled_sums(columns, source[there], num_resamples, seed)
                low, high = interval(sums[:, 1] / sums[:, 0])
                means = [float(values[there].mean()) for values in (before, after, chance)]
                record = {"neighbours": label, "quantity": quantity, **dict(zip(("before", "after", "chance"), means))}
                changes.append({**record, "ratio": means[1] / means[0], "low": low, "high": high})
    return spread, changes
