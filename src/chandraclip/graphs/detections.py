"""What is known of the detections that are the nodes of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.stats import spearmanr

from chandraclip.data.keys import KEY
from chandraclip.evaluation.dataset import join_columns
from chandraclip.evaluation.embeddings import EmbeddingTable
from chandraclip.graphs.tables import UNKNOWN

if TYPE_CHECKING:
    from chandraclip.graphs.report import Analysis

TRUE_CLASS = "true_class"
COUNTS = "src_cnts_aper_b"
FACTS = (COUNTS, "hard_hm", "hard_ms", "hard_hs", "var_prob_b", "true_variability")


def facts_of(dataset: str, table: EmbeddingTable) -> dict[str, np.ndarray]:
    """`FACTS` and the simulated class of each detection, those that the dataset has.

    Raises:
        InputFileError: the dataset does not load, or lacks a detection of the table.
    """
    return join_columns(dataset, "catalog", [TRUE_CLASS, *FACTS], table)


def object_types(table: EmbeddingTable, facts: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) str, each detection's type: the simulated class where there is one, else the known class, else "unknown"."""
    return pd.Series(table.classes(facts)).fillna(UNKNOWN).to_numpy(str)


def describe_detections(
    table: EmbeddingTable, types: np.ndarray, facts: Mapping[str, np.ndarray], found: Analysis
) -> pa.Table:
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
    for name in FACTS:
        if name in facts:
            columns[name] = pa.array(facts[name].tolist(), from_pandas=True)
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
