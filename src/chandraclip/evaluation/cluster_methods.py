"""Clusterings of train detections that also say to which cluster any other detection belongs, and what class it is.

k-means, Gaussian mixtures, Ward's agglomeration, HDBSCAN, and DBSCAN in the plane of a t-SNE, all of scikit-learn or
scipy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import DBSCAN, HDBSCAN, KMeans
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors

from chandraclip.evaluation.maps import PERPLEXITY, TSNE, plane_of

KMEANS, MIXTURE, WARD, DENSITY = "k-means", "Gaussian mixture", "agglomerative", "HDBSCAN"
METHODS = (KMEANS, MIXTURE, WARD, DENSITY)
# After Dillmann et al. 2025 (arXiv:2412.01150), in units of the plane. A t-SNE a fit takes long: it is no default.
PLANE_DENSITY = "t-SNE + DBSCAN"
PLANE_RADIUS, PLANE_NEIGHBOURS = 2.5, 25
PLANE_SEED = 505
ALL_METHODS = (*METHODS, PLANE_DENSITY)
SIZES = (2, 4, 6, 8, 12, 16, 24, 32)
MIN_CLUSTER_SIZES = (5, 10, 20, 50, 100)  # HDBSCAN is told the least detections a cluster, not their number
CORE_NEIGHBOURS = 5
MAX_PAIRWISE_ROWS = 5_000  # fitted by methods that compare each with each; the others are assigned
_COVARIANCE_FLOOR = 1e-4  # of standardized columns

ONE_TO_ONE, MANY_TO_ONE = "one to one", "many to one"
RAW, NORMALISED = "raw", "class-normalised"
ASSIGNMENTS = tuple((how, counts) for how in (ONE_TO_ONE, MANY_TO_ONE) for counts in (RAW, NORMALISED))


@dataclass(frozen=True)
class Clustering:
    """One clustering of one method.

    Attributes:
        method: of `ALL_METHODS`.
        size: k; of HDBSCAN the least detections a cluster; of DBSCAN those within its radius.
        num_clusters: that it found.
        predict: (Q, D) -> (Q,) int cluster, -1 for none (noise of HDBSCAN and DBSCAN).
    """

    method: str
    size: int
    num_clusters: int
    predict: Callable[[np.ndarray], np.ndarray]


def fit_clusterings(
    method: str, vectors: np.ndarray, sizes: tuple[int, ...] | None = None, seed: int = 0
) -> Iterator[Clustering]:
    """Clusterings of one method over a range of sizes.

    Rows that were not fitted go to the nearest centre (k-means), the likeliest component (mixtures), the cluster whose
    centre is nearest, which is the one that Ward's criterion would join a single row to but for the factor n / (n + 1),
    or that of the nearest fitted row, noise where that is noise (HDBSCAN, DBSCAN).

    Args:
        method: of `ALL_METHODS`.
        vectors: (N, D) float64, columns of like scale.
        sizes: `SIZES`, or `MIN_CLUSTER_SIZES` for HDBSCAN; those larger than the rows allow are left out. DBSCAN in the
            plane has the published radius and neighbours, whatever they are.
        seed: of the starting centres, and of the rows where a method can fit only `MAX_PAIRWISE_ROWS`.
    """
    if method == PLANE_DENSITY:
        yield from _density_in_the_plane(vectors, seed)
        return
    sizes = sizes or (MIN_CLUSTER_SIZES if method == DENSITY else SIZES)
    sizes = tuple(size for size in sizes if size <= len(vectors) // 2)
    if method in (WARD, DENSITY) and len(vectors) > MAX_PAIRWISE_ROWS:
        vectors = vectors[np.random.default_rng(seed).choice(len(vectors), MAX_PAIRWISE_ROWS, replace=False)]
    tree = linkage(vectors, "ward") if method == WARD else None
    nearest = NearestNeighbors(n_neighbors=1).fit(vectors) if method == DENSITY else None
    for size in sizes:
        if method == KMEANS:
            fitted = KMeans(size, n_init=3, random_state=seed).fit(vectors)
            yield Clustering(method, size, size, fitted.predict)
        elif method == MIXTURE:
            mixture = GaussianMixture(size, reg_covar=_COVARIANCE_FLOOR, random_state=seed, max_iter=200).fit(vectors)
            yield Clustering(method, size, size, mixture.predict)
        elif tree is not None:
            labels = fcluster(tree, size, "maxclust") - 1
            found = int(labels.max()) + 1
            number = np.bincount(labels, minlength=found)[:, None]
            sums = np.zeros((found, vectors.shape[1]))
            np.add.at(sums, labels, vectors)
            centres = NearestNeighbors(n_neighbors=1).fit(sums / number)
            yield Clustering(method, size, found, _lookup(centres, np.arange(found)))
        elif nearest is not None:
            labels = HDBSCAN(min_cluster_size=size, min_samples=CORE_NEIGHBOURS, copy=True).fit_predict(vectors)
            found = int(labels.max()) + 1
            yield Clustering(method, size, found, _lookup(nearest, labels))


def _density_in_the_plane(vectors: np.ndarray, seed: int) -> Iterator[Clustering]:
    """DBSCAN of a t-SNE's plane, as published; the t-SNE has its own seed, `seed` draws the rows."""
    if len(vectors) > MAX_PAIRWISE_ROWS:
        vectors = vectors[np.random.default_rng(seed).choice(len(vectors), MAX_PAIRWISE_ROWS, replace=False)]
    if len(vectors) <= PERPLEXITY:
        return
    plane = plane_of(vectors, PLANE_SEED, TSNE)
    labels = DBSCAN(eps=PLANE_RADIUS, min_samples=PLANE_NEIGHBOURS).fit_predict(plane)
    nearest = NearestNeighbors(n_neighbors=1).fit(vectors)
    yield Clustering(PLANE_DENSITY, PLANE_NEIGHBOURS, int(labels.max()) + 1, _lookup(nearest, labels))


def _lookup(nearest: NearestNeighbors, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The label of the nearest fitted row."""

    def predict(queries: np.ndarray) -> np.ndarray:
        return np.asarray(labels[nearest.kneighbors(queries, return_distance=False)[:, 0]])

    return predict


def contingency(labels: np.ndarray, clusters: np.ndarray, num_classes: int, num_clusters: int) -> np.ndarray:
    """(num_classes, num_clusters) detections; those in no cluster (-1) are in none of its columns."""
    inside = clusters >= 0
    place = labels[inside] * num_clusters + clusters[inside]
    return np.bincount(place, minlength=num_classes * num_clusters).reshape(num_classes, num_clusters)


def assign_classes(counts: np.ndarray, how: str = ONE_TO_ONE, normalisation: str = RAW) -> np.ndarray:
    """The class of each cluster.

    "one to one" maximises the trace of the contingency matrix (Hungarian algorithm), as published: with more clusters
    than classes some clusters have none, with fewer some classes are never predicted. "many to one" gives each cluster
    the class it holds most of.

    Args:
        counts: (C, K) detections of each class in each cluster.
        how: `ONE_TO_ONE` or `MANY_TO_ONE`.
        normalisation: "raw" counts, or "class-normalised": shares of the class, so that rare classes weigh as much as
            frequent ones.

    Returns:
        (K,) int, -1 for a cluster without a class.
    """
    table = counts.astype(np.float64)
    if normalisation == NORMALISED:
        table = table / np.maximum(table.sum(axis=1, keepdims=True), 1.0)
    classes = np.full(counts.shape[1], -1)
    if how == ONE_TO_ONE:
        rows, columns = linear_sum_assignment(table, maximize=True)
        classes[columns] = rows
        return classes
    filled = table.sum(axis=0) > 0
    classes[filled] = table[:, filled].argmax(axis=0)
    return classes


def classes_of(clusters: np.ndarray, assigned: np.ndarray) -> np.ndarray:
    """(N,) int class of each row from its cluster; -1, which counts as wrong, without a cluster or a class."""
    return np.where(clusters >= 0, np.append(assigned, -1)[clusters], -1)
