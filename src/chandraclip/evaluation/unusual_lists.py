"""Photon lists ranked by how unusual their latents are, against the oldest test of a constant rate.

The Kolmogorov-Smirnov test (`catalog.kuiper`) of the photons says which lists vary; a ranking by latents that knows
nothing of it is asked whether it puts these first, beside the counts and hand features in the same place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from chandraclip.catalog.good_photons import good_photons
from chandraclip.catalog.kuiper import kolmogorov_smirnov
from chandraclip.data.good_lists import GoodLists
from chandraclip.data.schema import MODALITY_COLUMNS
from chandraclip.evaluation.bootstrap import interval, resampled_auc
from chandraclip.evaluation.dataset import Detections, column_batches

KS_CHANCE = 1e-3  # of a constant list to be called variable: two of 2,000


def smirnov_log_chance(dataset: str, table: Detections) -> tuple[np.ndarray, list[np.ndarray]]:
    """log10 of the chance that a constant rate gives as uneven a list, (N,), NaN with few photons; and the times.

    Args:
        dataset: folder or Hub id.
        table: N rows.

    Returns:
        The chances, and for each row its photons of 0.5-7 keV in the good time, s of good time elapsed, in order.
    """
    chance = np.full(len(table), np.nan)
    times: list[np.ndarray] = [np.zeros(0)] * len(table)
    for rows, part in column_batches(dataset, "pairs", MODALITY_COLUMNS["event"], table, batch_rows=1024):
        if "event_time" not in part.column_names:
            continue
        lists = GoodLists.of(part)
        photons = good_photons(lists.time, lists.gti_start, lists.gti_stop)
        chance[rows] = kolmogorov_smirnov(photons).log10_chance
        for row, own in zip(rows.tolist(), np.split(photons.elapsed, photons.first[1:])):
            times[row] = own
    return chance, times


def rank_against(
    scores: Mapping[str, np.ndarray],
    variable: np.ndarray,
    judged: np.ndarray,
    names: np.ndarray,
    num_resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """AUC of each score for the lists that vary, and the precision of its first 20.

    Args:
        scores: title -> (N,), larger the more unusual, NaN where there is none.
        variable: (N,) bool, judged: (N,) bool, names: (N,) sources.

    Returns:
        A record a score, best first; one that has both kinds of list among its judged.
    """
    records = []
    for title, score in scores.items():
        rows = np.flatnonzero(judged & np.isfinite(score))
        truth = variable[rows]
        if not (truth.any() and (~truth).any()):
            continue
        low, high = interval(resampled_auc(score[rows], truth, names[rows], num_resamples, seed))
        first = np.argsort(-score[rows], kind="stable")[:20]
        records.append(
            {
                "score": title,
                "auc": float(roc_auc_score(truth, score[rows])),
                "auc_low": low,
                "auc_high": high,
                "precision_at_20": float(truth[first].mean()),
                "lists": int(rows.size),
                "variable": int(truth.sum()),
                "chance_of_precision": float(truth.mean()),
            }
        )
    return sorted(records, key=lambda record: -record["auc"])


def binned_rate(elapsed: np.ndarray, good_time: float, photons_a_bin: int = 10) -> tuple[np.ndarray, ...]:
    """Middles, photons/s and their errors in equal bins of good time, for a picture."""
    edges = np.linspace(0.0, good_time, int(np.clip(len(elapsed) / photons_a_bin, 5, 60)) + 1)
    counts, width = np.histogram(elapsed, edges)[0], np.diff(edges)
    return 0.5 * (edges[1:] + edges[:-1]), counts / width, np.sqrt(np.maximum(counts, 1)) / width
