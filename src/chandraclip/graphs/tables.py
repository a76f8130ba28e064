"""What each type of object does in a graph: its degrees, and whether it lies in the core."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import rankdata

from chandraclip.evaluation.bootstrap import NUM_RESAMPLES, interval, resampled_sums
from chandraclip.graphs.structure import Structure

UNKNOWN = "unknown"
# Conference talk of Pinciroli Vago et al., as shown: first number (not defined there), objects of high degree, their
# share.
PUBLISHED_DEGREES = {
    "YSO": (214, 1042, 0.83),
    "YSO_Candidate": (34, 149, 0.81),
    "Star": (159, 571, 0.78),
    "X": (128, 380, 0.75),
    "HighMassXBin": (58, 80, 0.58),
    "ULX": (9, 0, 0.0),
}


def degree_table(
    structure: Structure,
    core: np.ndarray,
    object_type: np.ndarray,
    source: np.ndarray,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """One row a type, the commonest first. High degree: above the median of all nodes, so that half is chance.

    Args:
        structure: of the graph of N detections.
        core: (N,) bool.
        object_type, source: (N,) str.
        num_resamples, seed: of the intervals, 95 %, from resampling sources.

    Returns:
        Rows of ``type``, ``detections``, ``sources``, ``mean_degree``, ``median_degree``, ``high_degree`` (how many),
        ``high_share`` and ``core_share`` with ``_low`` and ``_high``, ``mean_core_number``, ``isolated`` (how many).
    """
    degree = structure.degree
    high = degree > np.median(degree)
    rows: list[dict[str, Any]] = []
    for name in _commonest_first(object_type):
        own = object_type == name
        row: dict[str, Any] = {
            "type": str(name),
            "detections": int(own.sum()),
            "sources": len(np.unique(source[own])),
            "mean_degree": float(degree[own].mean()),
            "median_degree": float(np.median(degree[own])),
            "high_degree": int(high[own].sum()),
            "mean_core_number": float(structure.core_number[own].mean()),
            "isolated": int((degree[own] == 0).sum()),
        }
        values = np.stack([high[own], core[own], np.ones(own.sum())], axis=1)
        sums = resampled_sums(values, source[own], num_resamples, seed)
        for place, share in enumerate(("high_share", "core_share")):
            row[share] = float(values[:, place].mean())
            row[f"{share}_low"], row[f"{share}_high"] = interval(sums[:, place] / sums[:, 2])
        rows.append(row)
    return rows


def periphery_statistics(chosen: np.ndarray, core: np.ndarray, core_number: np.ndarray) -> dict[str, float]:
    """How far out some nodes lie, against all others.

    Args:
        chosen: (N,) bool, some True and some False.
        core: (N,) bool, as `label_switching` gives it.
        core_number: (N,).

    Returns:
        ``periphery_share_excess``: share of the chosen in the periphery less that of the others, 0 by chance.
        ``outward_auc``: probability that a chosen node has a lower core number than another, ties counting half; .5 by
        chance.
    """
    rank = rankdata(core_number)
    count, others = int(chosen.sum()), int((~chosen).sum())
    above = (rank[chosen].sum() - count * (count + 1) / 2) / (count * others)
    return {
        "periphery_share_excess": float((~core[chosen]).mean() - (~core[~chosen]).mean()),
        "outward_auc": float(1 - above),
    }


def _commonest_first(object_type: np.ndarray) -> list[str]:
    names, count = np.unique(object_type, return_counts=True)
    order = np.lexsort((names, -count))
    return [str(name) for name in names[order] if name != UNKNOWN] + [UNKNOWN] * (UNKNOWN in names)
