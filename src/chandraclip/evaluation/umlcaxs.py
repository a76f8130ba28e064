"""Clusters and distances to the types in them: the recipe of umlcaxs (Perez-Diaz et al. 2024, MNRAS 528, 4852).

Twelve catalogue features of a detection, scaled; a mixture of 6 Gaussians; in each cluster the Mahalanobis distance to
the members of each known type, made probabilities by a softmin; a source is what its detections agree on. Written after
the paper and the public code (github samuelperezdi/umlcaxs), whose table of predicted classes it is compared with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax
from sklearn.mixture import GaussianMixture

from chandraclip.errors import InputFileError
from chandraclip.evaluation.classes import balanced_accuracy

FEATURES = (
    "hard_hm",
    "hard_hs",
    "hard_ms",
    "powlaw_gamma",
    "bb_kt",
    "var_prob_b",
    "var_ratio_b",  # var_sigma / var_mean of the Gregory-Loredo light curve
    "var_prob_h",
    "var_ratio_h",
    "var_prob_s",
    "var_ratio_s",
    "var_newq_b",  # (var_max + var_min) / 2 / var_mean
)
LOG_FEATURES = ("bb_kt", "var_ratio_b", "var_ratio_h", "var_ratio_s", "var_newq_b")
MIN_MAX_FEATURES = (*LOG_FEATURES, "powlaw_gamma")
NUM_CLUSTERS, SEED = 6, 42
MIN_MEMBERS = 12  # of a type in a cluster; the paper's number of features
# The types that are told apart, and their groups.
GROUPS = {
    "QSO": "AGN",
    "AGN": "AGN",
    "Seyfert_1": "Seyfert",
    "Seyfert_2": "Seyfert",
    "HMXB": "XB",
    "LMXB": "XB",
    "XB": "XB",
    "YSO": "YSO",
    "TTau*": "YSO",
    "Orion_V*": "YSO",
}
PUBLISHED = {"accuracy": 0.68, "balanced_accuracy": 0.61}  # 4 groups, split by detection: sources are on both sides
UNIQUE = "unique"


@dataclass(frozen=True)
class FeatureScaling:
    """x -> ln(x + offset) where there is one, then to [0, 1] where `low` and `high` are known, of the rows fitted.

    Attributes:
        offset: (F,) a tenth of the smallest value that is not 0, NaN for features that stay linear.
        low, high: (F,) range after the logarithm, NaN for features that stay as they are.
    """

    offset: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray, names: Sequence[str]) -> FeatureScaling:
        """
        Args:
            values: (N, F), finite. names: of the F features.
        """
        is_log = np.isin(names, LOG_FEATURES)
        smallest = np.where(values > 0, values, np.inf).min(axis=0)
        offset = np.where(is_log, np.where(np.isfinite(smallest), smallest, 1.0) / 10, np.nan)
        logs = cls._logs(values, offset)
        scaled = np.isin(names, MIN_MAX_FEATURES)
        return cls(offset, np.where(scaled, logs.min(axis=0), np.nan), np.where(scaled, logs.max(axis=0), np.nan))

    @staticmethod
    def _logs(values: np.ndarray, offset: np.ndarray) -> np.ndarray:
        shifted = np.maximum(values + np.nan_to_num(offset), np.finfo(float).tiny)
        return np.where(np.isnan(offset), values, np.log(np.where(np.isnan(offset), 1.0, shifted)))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(N, F) scaled; beyond [0, 1] where a value is beyond those fitted."""
        logs = self._logs(np.asarray(values, np.float64), self.offset)
        width = np.where(self.high > self.low, self.high - self.low, 1.0)
        return np.where(np.isnan(self.low), logs, (logs - np.nan_to_num(self.low)) / width)


@dataclass(frozen=True)
class TypeDistances:
    """A mixture, and in each of its clusters the mean and the inverse covariance of each type's members.

    Attributes:
        mixture: of K clusters.
        types: names of the T types.
        means: (K, T, D), inverses: (K, T, D, D); known: (K, T) bool, types with enough members.
    """

    mixture: GaussianMixture
    types: tuple[str, ...]
    means: np.ndarray
    inverses: np.ndarray
    known: np.ndarray

    @classmethod
    def fit(
        cls,
        vectors: np.ndarray,
        types: np.ndarray,
        num_clusters: int = NUM_CLUSTERS,
        min_members: int = MIN_MEMBERS,
        seed: int = SEED,
        regularisation: float = 1e-6,
    ) -> TypeDistances:
        """
        Args:
            vectors: (N, D) scaled; all of them are clustered.
            types: (N,) names, None where unknown.
            num_clusters: K.
            min_members: of a type in a cluster; with fewer its distance there is infinite.
            seed: of the mixture.
            regularisation: added to its variances.
        """
        mixture = GaussianMixture(num_clusters, reg_covar=regularisation, random_state=seed).fit(vectors)
        clusters = mixture.predict(vectors)
        names = tuple(sorted({name for name in types if name is not None}))
        size = vectors.shape[1]
        means = np.zeros((num_clusters, len(names), size))
        inverses = np.zeros((num_clusters, len(names), size, size))
        known = np.zeros((num_clusters, len(names)), bool)
        for cluster in range(num_clusters):
            for place, name in enumerate(names):
                members = vectors[(clusters == cluster) & (types == name)]
                if len(members) >= max(min_members, 2):
                    known[cluster, place] = True
                    means[cluster, place] = members.mean(axis=0)
                    covariance = np.atleast_2d(np.cov(members, rowvar=False))
                    inverses[cluster, place] = np.linalg.pinv(covariance, hermitian=True)
        return cls(mixture, names, means, inverses, known)

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """(N, T) exp(-d2) / sum exp(-d2) over the types known in a row's cluster; 0 in all where none is known."""
        clusters = self.mixture.predict(vectors)
        distance = np.full((len(vectors), len(self.types)), np.inf)
        for cluster, place in np.argwhere(self.known):
            rows = np.flatnonzero(clusters == cluster)
            offset = vectors[rows] - self.means[cluster, place]
            distance[rows, place] = np.einsum("nd,de,ne->n", offset, self.inverses[cluster, place], offset)
        result = np.zeros_like(distance)
        some = np.isfinite(distance).any(axis=1)
        result[some] = softmax(-distance[some], axis=1)
        return result


def source_votes(probabilities: np.ndarray, sources: np.ndarray) -> dict[str, np.ndarray]:
    """What the detections of a source say together.

    Args:
        probabilities: (N, T), 0 in all types for a detection that says nothing.
        sources: (N,) names.

    Returns:
        name, soft (the type of largest mean probability), hard (the type that most detections are; of several the one
        of larger mean probability), detections: (S,) each, soft and hard int, -1 where no detection says anything.
    """
    names, ids = np.unique(sources, return_inverse=True)
    size = probabilities.shape[1]
    says = probabilities.any(axis=1)
    soft, votes = np.zeros((len(names), size)), np.zeros((len(names), size))
    np.add.at(soft, ids[says], probabilities[says])
    np.add.at(votes, (ids[says], probabilities[says].argmax(axis=1)), 1.0)
    number = np.bincount(ids, minlength=len(names))
    mean = soft / number[:, None]
    silent = ~votes.any(axis=1)
    return {
        "name": names,
        "soft": np.where(silent, -1, mean.argmax(axis=1)),
        "hard": np.where(silent, -1, (votes + 0.5 * mean).argmax(axis=1)),
        "detections": number,
    }


def features_of(columns: Mapping[str, np.ndarray]) -> tuple[np.ndarray, list[str], list[str]]:
    """The recipe's features among some columns: (N, F) values with NaN where missing, those there, those lacking."""
    present = [name for name in FEATURES if name in columns and np.isfinite(columns[name]).any()]
    size = len(next(iter(columns.values()))) if columns else 0
    values = np.stack([np.asarray(columns[name], np.float64) for name in present], axis=1) if present else None
    return (
        np.zeros((size, 0)) if values is None else values,
        present,
        [name for name in FEATURES if name not in present],
    )


def reproduce_published(path: Path, num_folds: int = 5, seed: int = 0) -> dict[str, Any]:
    """How often the recipe gives the class that the published table of predicted classes gives.

    The table holds no labelled source, so the types are its own predicted ones, of the other folds of sources: how far
    features and classes of the table hang together as the recipe says. It has the mean features of each source; where
    a source has one detection these are the features that were classified.

    Args:
        path: uniquely_classified.csv of github samuelperezdi/umlcaxs (gzipped or not).
        num_folds: of sources, at random.
        seed: of the folds.

    Returns:
        rows, and for types and groups: agreement, balanced_agreement, chance (the most frequent class), each for all
        sources and for those with one detection.

    Raises:
        InputFileError: not a CSV table, or without the columns.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputFileError(path, f"not readable as CSV ({error})") from error
    if missing := {"name", "master_class", "detection_count", *FEATURES} - set(table.columns):
        raise InputFileError(path, f"columns {sorted(missing)} are not in it")
    for name in FEATURES:
        numbers = pd.to_numeric(table[name], errors="coerce")
        if bad := int((numbers.isna() & table[name].notna()).sum()):
            raise InputFileError(path, f"{bad} values are no numbers", name)
        table[name] = numbers.where(np.isfinite(numbers))
    table = table.dropna(subset=[*FEATURES, "master_class"]).reset_index(drop=True)
    if len(table) < num_folds:
        raise InputFileError(path, f"{len(table)} rows have every feature and a class; {num_folds} are needed")
    if unknown := set(table["master_class"]) - set(GROUPS):
        raise InputFileError(path, f"types {sorted(map(str, unknown))} are none of the recipe's {list(GROUPS)}")
    if table["name"].duplicated().any():
        raise InputFileError(path, "a source has two rows, and would be in two folds", "name")
    values, types = table[list(FEATURES)].to_numpy(np.float64), table["master_class"].to_numpy(object)
    fold = np.random.default_rng(seed).permutation(len(table)) % num_folds
    predicted = np.full(len(table), None, dtype=object)
    for number in range(num_folds):
        fitted, asked = fold != number, fold == number
        scaling = FeatureScaling.fit(values[fitted], FEATURES)
        model = TypeDistances.fit(scaling(values[fitted]), types[fitted])
        probabilities = model.probabilities(scaling(values[asked]))
        named = np.array(model.types, dtype=object)[probabilities.argmax(axis=1)]
        predicted[asked] = np.where(probabilities.any(axis=1), named, None)
    single = table["detection_count"].to_numpy() == 1
    result: dict[str, Any] = {"rows": len(table), "rows_of_one_detection": int(single.sum())}
    for title, mapping in {"types": {name: name for name in GROUPS}, "groups": GROUPS}.items():
        labels = list(dict.fromkeys(mapping.values()))
        place = {name: labels.index(mapping[name]) for name in GROUPS}
        truth = pd.Series(types).map(place).to_numpy(np.int64)
        found = pd.Series(predicted, dtype=object).map(place).fillna(-1).to_numpy(np.int64)
        for which, rows in {"all": np.ones(len(table), bool), "one detection": single}.items():
            result[f"{title}, {which}"] = {
                "agreement": float((truth == found)[rows].mean()),
                "balanced_agreement": balanced_accuracy(truth[rows], found[rows], len(labels)),
                "most_frequent": float(np.bincount(truth[rows]).max() / rows.sum()),
                "chance_balanced": 1.0 / len(labels),
            }
    return result
