"""Cross-modal retrieval: does a spectrum find its own source's text among all others, and the other way round?

The protocol of arXiv:2603.04516 (rank all texts of the test split by cosine similarity), with three things made exact:

- **Pool and positives.** Detections of one source share a text, so the pool of texts holds each *distinct* text once,
  and the only right answer of a detection is its own text. From text to detections the queries are the distinct
  texts, the pool is all detections that have the modality, and the rank is that of the best detection carrying the
  text. Between spectrum and events the only right answer is the same detection.
- **Ties.** Similarities within `TIE_TOLERANCE` are ties and every metric is its expectation over a random order of the
  tied candidates. Constant embeddings therefore score chance exactly; chance is computed as just that.
- **k %** of a pool of C candidates is ``ceil(k / 100 * C)`` items.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import digamma, gammaln

from chandraclip.evaluation.bootstrap import NUM_RESAMPLES, interval, resampled_medians, resampled_sums

TIE_TOLERANCE = 1e-6  # float32 rounding of a 64-d dot product is a few 1e-7
RECALL_PERCENTAGES = (1.0, 5.0, 10.0)
RECALL_ITEMS = (10,)
_BLOCK_ELEMENTS = 2**24  # similarities held at once: 64 MiB of float32


@dataclass(frozen=True)
class Ranks:
    """Where the best positive of each query stands among all candidates.

    Attributes:
        better: (Q,) candidates more similar than the best positive.
        tied: (Q,) other candidates as similar as the best positive.
        positives: (Q,) positives as similar as the best positive, itself included; at least 1.
        num_candidates: C, the pool.
    """

    better: np.ndarray
    tied: np.ndarray
    positives: np.ndarray
    num_candidates: int

    def recall(self, num_items: int | np.ndarray) -> np.ndarray:
        """(Q,) probability that a positive is among the first `num_items` (one or (Q,)), the ties in random order."""
        places = np.clip(num_items - self.better, 0, self.tied + self.positives).astype(np.float64)
        # P(no positive in the first `places` of tied + positives) = C(tied, places) / C(tied + positives, places).
        possible = places <= self.tied
        free = np.where(possible, self.tied - places, 0)
        total = self.tied + self.positives
        log_none = gammaln(self.tied + 1) - gammaln(free + 1) - gammaln(total + 1) + gammaln(total - places + 1)
        return 1.0 - np.where(possible, np.exp(log_none), 0.0)

    def typical_rank(self) -> np.ndarray:
        """(Q,) rank from 1 of each query; with ties its median over their random order."""
        low, high = self.better, self.better + self.tied + 1  # recall(low) = 0, recall(high) = 1
        while (high - low > 1).any():
            middle = (low + high) // 2
            reached = self.recall(middle) >= 0.5 - 1e-9
            low, high = np.where(reached, low, middle), np.where(reached, middle, high)
        return high

    def median_rank(self) -> int:
        """The smallest rank that half of the queries reach, over a random order of the ties."""
        low, high = 0, self.num_candidates
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.recall(middle).mean() >= 0.5 - 1e-9 else (middle, high)
        return high

    def reciprocal_rank(self) -> np.ndarray:
        """(Q,) 1 / rank, averaged over a random order of the ties."""
        # One positive among n = tied + 1 places: the mean of 1 / (better + j), a difference of harmonic numbers.
        result = (digamma(self.better + self.tied + 2) - digamma(self.better + 1)) / (self.tied + 1)
        several = np.flatnonzero((self.positives > 1) & (self.tied > 0))
        alone = (self.positives > 1) & (self.tied == 0)
        result = np.where(alone, 1.0 / (self.better + 1), result)
        if several.size:
            cases = np.stack([self.better, self.tied, self.positives], axis=1)[several]
            distinct, which = np.unique(cases, axis=0, return_inverse=True)
            result[several] = np.array([_reciprocal_of_best(*case) for case in distinct])[which.ravel()]
        return result


def _reciprocal_of_best(better: int, tied: int, positives: int) -> float:
    """E[1 / (better + J)], J the first of p positives among n places: P(J = j) = C(n - j, p - 1) / C(n, p)."""
    total = tied + positives
    place = np.arange(1, tied + 2, dtype=np.float64)
    log_choose = gammaln(total + 1) - gammaln(positives + 1) - gammaln(tied + 1)
    log_share = gammaln(total - place + 1) - gammaln(positives) - gammaln(total - place - positives + 2) - log_choose
    return float(np.sum(np.exp(log_share) / (better + place)))


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """(N, D) float32 rows of length one; a row of zeros stays zero."""
    vectors = np.asarray(vectors, dtype=np.float32)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)


def rank_positives(
    queries: np.ndarray, candidates: np.ndarray, query_group: np.ndarray, candidate_group: np.ndarray
) -> Ranks:
    """Rank of the best positive of every query by cosine similarity; memory stays bounded for 1e5 x 1e5.

    Args:
        queries: (Q, D), candidates: (C, D) embeddings, of any length.
        query_group: (Q,), candidate_group: (C,): a candidate is a positive of a query where their groups are equal.

    Raises:
        ValueError: shapes do not fit, a value is not finite, or a query has no positive.
    """
    for vectors, group in ((queries, query_group), (candidates, candidate_group)):
        if np.ndim(vectors) != 2 or len(vectors) != len(group):
            raise ValueError(f"embeddings of shape {np.shape(vectors)} with {len(group)} groups")
        if not np.isfinite(vectors).all():
            raise ValueError("an embedding has a value that is not finite")
    order = np.argsort(candidate_group, kind="stable")  # the positives of a query stand side by side
    sorted_group = np.asarray(candidate_group)[order]
    queries, candidates = unit_vectors(queries), unit_vectors(candidates[order])
    first = np.searchsorted(sorted_group, query_group, side="left")
    num_positives = np.searchsorted(sorted_group, query_group, side="right") - first
    if (num_positives == 0).any():
        raise ValueError(f"{int((num_positives == 0).sum())} queries have no positive among the candidates")

    better, tied, positives = (np.empty(len(queries), dtype=np.int64) for _ in range(3))
    block = max(1, _BLOCK_ELEMENTS // len(candidates))
    for start in range(0, len(queries), block):
        rows = slice(start, min(start + block, len(queries)))
        size = num_positives[rows]
        row = np.repeat(np.arange(len(size)), size)
        column = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size) + np.repeat(first[rows], size)
        similarity = queries[rows] @ candidates.T
        own = similarity[row, column]
        best = np.maximum.reduceat(own, np.cumsum(size) - size)
        better[rows] = (similarity > (best + TIE_TOLERANCE)[:, None]).sum(axis=1)
        at_least = (similarity >= (best - TIE_TOLERANCE)[:, None]).sum(axis=1)
        positives[rows] = np.bincount(row[own >= best[row] - TIE_TOLERANCE], minlength=len(size))
        tied[rows] = at_least - better[rows] - positives[rows]
    return Ranks(better, tied, positives, len(candidates))


def rank_in_classes(
    query_group: np.ndarray, candidate_group: np.ndarray, query_class: np.ndarray, candidate_class: np.ndarray
) -> Ranks:
    """Ranks of an oracle that knows nothing but the class of every query and candidate.

    Candidates of the query's class come first in random order, then the rest. A model above it has learnt more than
    object types. Classes are any integers; chance is the case of one class for all.
    """
    group_class = np.unique(np.stack([candidate_group, candidate_class], axis=1), axis=0, return_counts=True)
    pairs, counts = group_class
    num_positives_in_class = _lookup(pairs, counts, np.stack([query_group, query_class], axis=1))
    classes, class_sizes = np.unique(candidate_class, return_counts=True)
    class_size = _lookup(classes[:, None], class_sizes, np.asarray(query_class)[:, None])
    groups, group_sizes = np.unique(candidate_group, return_counts=True)
    num_positives = _lookup(groups[:, None], group_sizes, np.asarray(query_group)[:, None])
    num_candidates = len(candidate_group)
    inside = num_positives_in_class > 0  # false where a positive is listed under another class than the query
    positives = np.where(inside, num_positives_in_class, num_positives)
    better = np.where(inside, 0, class_size)
    tied = np.where(inside, class_size, num_candidates - class_size) - positives
    return Ranks(better, tied, positives, num_candidates)


def _lookup(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The value of each wanted row (W, K) in sorted unique keys (U, K); 0 where there is none."""
    both, ids = np.unique(np.concatenate([keys, wanted]), axis=0, return_inverse=True)
    table = np.zeros(len(both), dtype=np.int64)
    table[ids.ravel()[: len(keys)]] = values
    return table[ids.ravel()[len(keys) :]]


def _columns(ranks: Ranks) -> dict[str, np.ndarray]:
    """Mean metrics, one value a query."""
    columns = {
        f"recall@{percentage:g}%": ranks.recall(math.ceil(percentage / 100 * ranks.num_candidates))
        for percentage in RECALL_PERCENTAGES
    }
    columns |= {f"recall@{items}": ranks.recall(items) for items in RECALL_ITEMS}
    columns["mean_reciprocal_rank"] = ranks.reciprocal_rank()
    return columns


def _summary(ranks: Ranks) -> dict[str, float]:
    median = float(ranks.median_rank())
    result = {name: float(values.mean()) for name, values in _columns(ranks).items()}
    return {**result, "median_rank": median, "median_rank_share": median / ranks.num_candidates}


def retrieval_metrics(
    queries: np.ndarray,
    candidates: np.ndarray,
    query_group: np.ndarray,
    candidate_group: np.ndarray,
    *,
    query_source: np.ndarray,
    query_class: np.ndarray | None = None,
    candidate_class: np.ndarray | None = None,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Recall@1 %, @5 %, @10 %, @10 items, median rank and mean reciprocal rank of one direction, with 95 % intervals.

    Args:
        queries, candidates, query_group, candidate_group: as `rank_positives`.
        query_source: (Q,) source names, which the bootstrap resamples (the pool stays whole).
        query_class, candidate_class: (Q,), (C,) integers for the baseline of `rank_in_classes`; None leaves it out.

    Returns:
        ``num_queries``, ``num_candidates``, ``num_sources``, ``metrics`` {name: {value, low, high, chance,
        class_oracle}} and ``curve``: recall against the number of first items, with the same beside it.
    """
    ranks = rank_positives(queries, candidates, query_group, candidate_group)
    same_class = np.zeros(len(query_group), np.int64), np.zeros(len(candidate_group), np.int64)
    rankings = {"value": ranks, "chance": rank_in_classes(query_group, candidate_group, *same_class)}
    if query_class is not None and candidate_class is not None:
        rankings["class_oracle"] = rank_in_classes(query_group, candidate_group, query_class, candidate_class)
    return ranking_metrics(rankings, query_source, num_resamples, seed)


def ranking_metrics(
    rankings: dict[str, Ranks], query_source: np.ndarray, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """The metrics of `retrieval_metrics` of ranks that are known.

    Args:
        rankings: "value", with its intervals, and what stands beside it, all of the Q queries.
        query_source: (Q,) source names, which the bootstrap resamples.
    """
    ranks = rankings["value"]
    summaries = {name: _summary(ranking) for name, ranking in rankings.items()}

    columns = _columns(ranks)
    sums = resampled_sums(
        np.stack([*columns.values(), np.ones(len(query_source))], axis=1), query_source, num_resamples, seed
    )
    intervals = {name: interval(sums[:, i] / sums[:, -1]) for i, name in enumerate(columns)}
    low, high = interval(resampled_medians(ranks.typical_rank(), query_source, num_resamples, seed))
    intervals["median_rank"] = low, high
    intervals["median_rank_share"] = low / ranks.num_candidates, high / ranks.num_candidates
    return {
        "num_queries": len(query_source),
        "num_candidates": ranks.num_candidates,
        "num_sources": len(np.unique(query_source)),
        "metrics": {
            metric: {
                **{name: summary[metric] for name, summary in summaries.items()},
                "low": intervals[metric][0],
                "high": intervals[metric][1],
            }
            for metric in summaries["value"]
        },
        "curve": _curve(rankings),
    }


def _curve(rankings: dict[str, Ranks]) -> dict[str, list[float]]:
    num_candidates = rankings["value"].num_candidates
    items = np.unique(np.ceil(np.logspace(0, np.log10(num_candidates), 60)).astype(np.int64))
    shares = {name: [float(ranking.recall(int(item)).mean()) for item in items] for name, ranking in rankings.items()}
    return {"items": items.tolist(), **shares}
