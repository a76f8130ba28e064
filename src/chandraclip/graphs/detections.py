"""What is known of the detections that are the nodes of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from scipy.stats import spearmanr

from chandraclip.data.keys import KEY
from chandraclip.data.schema import SOURCE_CLASSES
from chandraclip.evaluation.dataset import join_columns
from chandraclip.evaluation.embeddings import EmbeddingTable
from chandraclip.graphs.tables import UNKNOWN

if TYPE_CHECKING:
    from chandraclip.graphs.report import Analysis

COUNTS = "src_cnts_aper_b"
FACTS = (COUNTS, "hard_hm", "hard_ms", "hard_hs", "var_prob_b", "true_variability")


def object_types(dataset: str, table: EmbeddingTable) -> np.ndarray:
    """(N,) str, each detection's type: the simulated class where there is one, else the known class, else "unknown"."""
    known = np.array([*SOURCE_CLASSES, UNKNOWN])
    inside = (table.source_class >= 0) & (table.source_class < len(SOURCE_CLASSES))
    types = known[np.where(inside, table.source_class, len(SOURCE_CLASSES))]
    true = join_columns(dataset, "catalog", ["true_class"], table).get("true_class")
    if true is None:
        return types
    return np.array([own if own is not None else other for own, other in zip(true, types)])


def describe_detections(dataset: str, table: EmbeddingTable, types: np.ndarray, found: Analysis) -> pa.Table:
    """One row a detection: key, type, what the graph says of it, and what the catalogue does, if the dataset has it."""
    structure = found.structure
    columns: dict[str, pa.Array] = {name: pa.array(table.keys[name]) for name in KEY}
    columns["type"] = pa.array(types.tolist(), pa.string())
    columns |= {
        "degree": pa.array(structure.degree),
        "strength": pa.array(structure.strength),
        "core": pa.array(found.core),
        "core_lip": pa.array(found.core_lip),
        "core_score": pa.array(found.core_score),
        "core_number": pa.array(structure.core_number),
        "clustering": pa.array(structure.clustering),
        "component": pa.array(structure.component),
    }
    for name, values in join_columns(dataset, "catalog", FACTS, table).items():
        columns[name] = pa.array(values.tolist(), from_pandas=True)
    return pa.table(columns)


def rank_correlation_with_counts(nodes: pa.Table) -> dict[str, float]:
    """Spearman's rank correlation of ``degree`` and ``core_score`` with the counts: how much of either is brightness.

    Without what is the same for all, and empty where counts are not known.
    """
    if COUNTS not in nodes.column_names:
        return {}
    counts = nodes[COUNTS].to_numpy().astype(np.float64)
    known = np.isfinite(counts)
    if known.sum() < 3:
        return {}
    scores = {name: nodes[name].to_numpy()[known] for name in ("degree", "core_score")}
    return {
        name: float(spearmanr(counts[known], score).statistic)
        for name, score in scores.items()
        if np.ptp(score) > 0 and np.ptp(counts[known]) > 0
    }
