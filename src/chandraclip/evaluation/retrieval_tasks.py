"""The retrieval directions an embeddings table can answer: spectrum and events against text and each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from chandraclip.evaluation.bootstrap import NUM_RESAMPLES
from chandraclip.evaluation.embeddings import EmbeddingTable
from chandraclip.evaluation.retrieval import retrieval_metrics, unit_vectors

# Name of a side -> the embeddings whose mean it is.
SIDES = {
    "spectrum": ("spectrum_embedding",),
    "events": ("event_embedding",),
    "spectrum+events": ("spectrum_embedding", "event_embedding"),
    "xray": ("xray_embedding",),  # the joint head, of whichever of the two a detection has
    "text": ("text_embedding",),
}
PAIRS = (
    ("spectrum", "text"),
    ("events", "text"),
    ("spectrum+events", "text"),
    ("xray", "text"),
    ("spectrum", "events"),
)


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a direction.

    Attributes:
        vectors: (M, D) unit vectors.
        group: (M,) int, equal where query and candidate belong together.
        source: (M,) source names.
        source_class: (M,) int, -1 where unknown.
    """

    vectors: np.ndarray
    group: np.ndarray
    source: np.ndarray
    source_class: np.ndarray


def side_vectors(table: EmbeddingTable, side: str) -> tuple[np.ndarray, np.ndarray] | None:
    """(N, D) unit vectors of a side and (N,) bool, True where the row has all it needs; None if no row has."""
    names = SIDES[side]
    if not all(name in table.arrays for name in names):
        return None
    mask = np.logical_and.reduce([table.masks[name] for name in names])
    if not mask.any():
        return None
    return unit_vectors(np.sum([table.arrays[name] for name in names], axis=0)), mask


def text_groups(table: EmbeddingTable) -> np.ndarray:
    """(N,) int, equal where two rows have the same text; by source name where the file has no `text_id`."""
    labels = np.where(table.text_id != "", table.text_id, table.name)
    return np.unique(labels, return_inverse=True)[1]


def retrieval_tasks(table: EmbeddingTable) -> Iterator[tuple[str, Side, Side]]:
    """Every direction ``(name, queries, candidates)`` of the rows of `table`, which should be those of one split.

    Only rows with both modalities take part as queries; text candidates are distinct texts, one each.
    """
    for left, right in PAIRS:
        left_side, right_side = side_vectors(table, left), side_vectors(table, right)
        if left_side is None or right_side is None or not (left_side[1] & right_side[1]).any():
            continue
        group = text_groups(table) if right == "text" else np.arange(len(table))
        left_rows, right_rows = np.flatnonzero(left_side[1]), np.flatnonzero(right_side[1])
        if right == "text":
            right_rows = right_rows[np.unique(group[right_rows], return_index=True)[1]]
        pools = {left: (left_side[0], left_rows), right: (right_side[0], right_rows)}
        for query, candidate in ((left, right), (right, left)):
            vectors, rows = pools[query]
            answered = rows[np.isin(group[rows], group[pools[candidate][1]])]
            yield (
                f"{query} -> {candidate}",
                _side(table, vectors, answered, group),
                _side(table, *pools[candidate], group),
            )


def _side(table: EmbeddingTable, vectors: np.ndarray, rows: np.ndarray, group: np.ndarray) -> Side:
    return Side(vectors[rows], group[rows], table.name[rows], table.source_class[rows])


def evaluate_retrieval(
    table: EmbeddingTable, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Direction -> `retrieval_metrics`; the class oracle stands beside where any class is known.

    Raises:
        ValueError: no row has two modalities.
    """
    results = {}
    for direction, queries, candidates in tqdm(list(retrieval_tasks(table)), desc="retrieval", unit="direction"):
        known = (queries.source_class >= 0).any()
        results[direction] = retrieval_metrics(
            queries.vectors,
            candidates.vectors,
            queries.group,
            candidates.group,
            query_source=queries.source,
            query_class=queries.source_class if known else None,
            candidate_class=candidates.source_class if known else None,
            num_resamples=num_resamples,
            seed=seed,
        )
    if not results:
        raise ValueError(f"no row of {table.path} has two modalities, so there is nothing to retrieve")
    return results
