"""Whether an anomaly score finds what is rare: enrichment at the top, AUC, precision at k, each beside chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata, spearmanr

from chandraclip.evaluation.bootstrap import NUM_RESAMPLES, interval, resampled_auc, resampled_sums

TOP_SHARE = 0.01
PRECISION_AT = (10, 50, 100)


def top_rows(score: np.ndarray, share: float = TOP_SHARE) -> np.ndarray:
    """(N,) bool, the rows of the largest scores: a share of those that have one, at least one; ties by row."""
    known = np.flatnonzero(np.isfinite(score))
    number = max(1, round(share * known.size)) if known.size else 0
    top = np.zeros(len(score), bool)
    top[known[np.argsort(-score[known], kind="stable")[:number]]] = True
    return top


def rank_correlation(score: np.ndarray, values: np.ndarray) -> float:
    """Spearman's rho over the rows that have both, NaN where one is constant or fewer than three have."""
    both = np.isfinite(score) & np.isfinite(values)
    if both.sum() < 3 or np.ptp(score[both]) == 0 or np.ptp(values[both]) == 0:
        return float("nan")
    return float(spearmanr(score[both], values[both]).statistic)


def rarity_metrics(
    score: np.ndarray,
    rare: np.ndarray,
    sources: np.ndarray,
    share: float = TOP_SHARE,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """How well a score tells rare rows from others.

    Args:
        score: (N,), NaN rows do not take part; rare: (N,) bool; sources: (N,) names.

    Returns:
        num_rows, num_rare, num_rare_sources, base_rate; enrichment: share of rare rows in the top `share` over the base
        rate, auc, each with low and high (95 %, resampled sources) and chance; precision: k -> share of rare rows.
        None for what needs a rare and another row.
    """
    known = np.isfinite(score)
    score, rare, sources = score[known], rare[known], sources[known]
    result: dict[str, Any] = {
        "num_rows": len(score),
        "num_rare": int(rare.sum()),
        "num_rare_sources": int(np.unique(sources[rare]).size),
    }
    if not rare.any() or rare.all():
        return result | {"base_rate": float(rare.mean()) if len(rare) else None, "enrichment": None, "auc": None}
    top = top_rows(score, share)
    order = np.argsort(-score, kind="stable")
    base = float(rare.mean())
    sums = resampled_sums(np.stack([top & rare, top, rare, np.ones(len(rare))], 1), sources, num_resamples, seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        enriched = (sums[:, 0] / sums[:, 1]) / (sums[:, 2] / sums[:, 3])
    low, high = interval(enriched)
    auc_low, auc_high = interval(resampled_auc(score, rare, sources, num_resamples, seed))
    return result | {
        "base_rate": base,
        "num_top": int(top.sum()),
        "num_rare_in_top": int((top & rare).sum()),
        "enrichment": {"value": float(rare[top].mean() / base), "low": low, "high": high, "chance": 1.0},
        "auc": {"value": area_under_curve(score, rare), "low": auc_low, "high": auc_high, "chance": 0.5},
        "precision": {str(k): float(rare[order[:k]].mean()) for k in PRECISION_AT if k <= len(rare)},
    }


def class_enrichment(score: np.ndarray, classes: Sequence[Any], share: float = TOP_SHARE) -> list[dict[str, Any]]:
    """For each class: rows, rows in the top share, and their share there over their share of all; commonest first."""
    known = np.isfinite(score)
    names = np.array([name if isinstance(name, str) and name else "unknown" for name in classes], dtype=str)[known]
    top = top_rows(score[known], share)
    rows = []
    for name in np.unique(names):
        own = names == name
        in_top = int((own & top).sum())
        enrichment = float(in_top / top.sum() / own.mean())
        median = float(np.median(rankdata(score[known])[own] / known.sum()))
        rows.append(
            {"class": str(name), "rows": int(own.sum()), "in_top": in_top, "enrichment": enrichment, "median": median}
        )
    return sorted(rows, key=lambda row: -row["rows"])


def area_under_curve(score: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a positive row has the larger score, a tie counting half (Mann and Whitney 1947)."""
    ranks = rankdata(score)
    number = int(positive.sum())
    return float((ranks[positive].sum() - number * (number + 1) / 2) / (number * (len(score) - number)))


@dataclass(frozen=True, eq=False)
class Truth:
    """What scores are judged by.

    Attributes:
        counts: (N,) net counts, NaN where unknown; theta: (N,) arcmin.
        sources: (N,) names.
        classes: (N,) names of the true classes or None; None: the dataset has none.
        rare: the classes that should be found.
        min_counts: of the detections that are judged.
    """

    counts: np.ndarray
    theta: np.ndarray
    sources: np.ndarray
    classes: np.ndarray | None
    rare: Sequence[str]
    min_counts: float

    @property
    def judged(self) -> np.ndarray:
        """(N,) bool."""
        enough = self.counts >= self.min_counts
        return enough if self.classes is None else enough & ~pd.isna(self.classes)


def judge(
    scores: Mapping[str, Mapping[tuple[str, str], np.ndarray]],
    truth: Truth,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """One record a score: its rank correlations, and `rarity_metrics` of the judged detections.

    Args:
        scores: kind ("raw", "given") -> (representation, method) -> (N,), of the same scores.

    Returns:
        representation, method, and of each kind rho_counts, rho_theta (all detections), rho_counts_judged, enrichment,
        auc and so on; these two None where no true class is known.
    """
    judged = truth.judged
    records = []
    for representation, method in next(iter(scores.values())):
        record: dict[str, Any] = {"representation": representation, "method": method}
        for kind, found in scores.items():
            score = found[representation, method]
            record[kind] = {
                "rho_counts": rank_correlation(score, truth.counts),
                "rho_theta": rank_correlation(score, truth.theta),
                "rho_counts_judged": rank_correlation(score[judged], truth.counts[judged]),
                **({"enrichment": None, "auc": None} if truth.classes is None else {}),
            }
            if truth.classes is not None:
                rare = np.isin(truth.classes[judged].astype(str), list(truth.rare))
                record[kind] |= rarity_metrics(
                    score[judged], rare, truth.sources[judged], num_resamples=num_resamples, seed=seed
                )
        records.append(record)
    return records
