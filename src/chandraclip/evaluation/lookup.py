"""Which detections, and which texts, of an embeddings table are nearest to what is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chandraclip.data.keys import KEY
from chandraclip.evaluation.dataset import join_columns
from chandraclip.evaluation.embeddings import EmbeddingTable
from chandraclip.evaluation.indexes import EXACT, Index, build_index, check_kind
from chandraclip.evaluation.regression import Standardizer
from chandraclip.evaluation.retrieval import unit_vectors
from chandraclip.evaluation.retrieval_tasks import text_groups

TEXT = "text_embedding"
JOINT = "xray_embedding"  # of whichever of spectrum and events a detection has
# Of an aligned model; of a model of one modality, whose space no text shares.
_EMBEDDINGS, _LATENTS = ("spectrum_embedding", "event_embedding"), ("spectrum_latents", "event_latents")
FACTS = (
    *("src_cnts_aper_b", "hard_hm", "hard_hs", "hard_ms", "var_prob_b", "var_index_b", "theta"),
    *("true_class", "true_spectrum", "true_nh", "true_variability"),
)
SUMMARY = "summary"


# (N, D) vectors and (N,) bool, the rows that are searched.
_Pool = tuple[np.ndarray, np.ndarray]


def xray_columns(table: EmbeddingTable) -> tuple[str, ...]:
    """The representations of X-rays that a table is searched by."""
    for columns in (_EMBEDDINGS, _LATENTS):
        if present := tuple(name for name in columns if name in table.arrays):
            return present
    return ()


def xray_directions(table: EmbeddingTable) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) where each row's X-rays lie in the space of the texts, and (N,) bool, True where it has X-rays there."""
    columns = [name for name in (JOINT, *_EMBEDDINGS) if name in table.arrays]
    if not columns:
        return np.zeros((len(table), 1), np.float32), np.zeros(len(table), bool)
    # A row that lacks one has zeros for it, and its direction is that of the others.
    return direction({name: table.arrays[name] for name in columns}), np.logical_or.reduce(
        [table.masks[name] for name in columns]
    )


def direction(vectors: Mapping[str, np.ndarray]) -> np.ndarray:
    """(Q, D) unit vectors that stand for what is asked in the space of the texts.

    The joint head's where a row has it, else the mean direction of spectrum and events, or of what there is.

    Args:
        vectors: column of the embeddings file -> (Q, D), zeros where a row lacks it.
    """
    joint = unit_vectors(vectors[JOINT]) if JOINT in vectors else None
    others = [unit_vectors(rows) for name, rows in vectors.items() if name != JOINT]
    if not others:
        assert joint is not None
        return joint
    mean = unit_vectors(np.sum(others, axis=0))
    return mean if joint is None else np.where(joint.any(axis=1, keepdims=True), joint, mean)


@dataclass(frozen=True, eq=False)
class Found:
    """Answers to Q questions.

    Attributes:
        rows: (Q, k) of the table, the most similar first.
        similarity: (Q, k) cosines; of several representations their mean.
        compared: what of the table was compared.
    """

    rows: np.ndarray
    similarity: np.ndarray
    compared: tuple[str, ...]


class References:
    """An embeddings table that is asked; indexes are built when first needed, and kept.

    Args:
        table: what is searched.
        kind, device: as `build_index` has them.

    Raises:
        OptionError: no such index, or faiss is not installed.
    """

    def __init__(self, table: EmbeddingTable, kind: str = EXACT, device: str = "cpu"):
        check_kind(kind)
        self.table, self.kind, self.device = table, kind, device
        self._indexes: dict[tuple[str, ...], tuple[Index, np.ndarray]] = {}

    def like_xrays(self, vectors: Mapping[str, np.ndarray], k: int, without: np.ndarray | None = None) -> Found:
        """Detections with X-rays like these, by the representations given, of those that have the same.

        Embeddings are compared by their directions; latents, which have no common origin or unit, by the directions
        they have from the mean of the references, each number in units of its scatter there.

        Args:
            vectors: column of the embeddings file -> (Q, D).
            k: how many.
            without: (Q, W) rows of the table that are no answer, -1 for none.

        Raises:
            ValueError: no detection of the table has them all.
        """
        names = tuple(vectors)
        if not all(name in self.table.arrays for name in names):
            raise ValueError(f"no detection of {self.table.path} has {' and '.join(names)}")

        def side_by_side() -> _Pool:
            mask = np.logical_and.reduce([self.table.masks[name] for name in names])
            return self._side_by_side({name: self.table.arrays[name] for name in names}), mask

        index, pool = self._index(names, side_by_side)
        asked = self._side_by_side(vectors)
        return _search(index, pool, asked, k, without, names)

    def along(self, directions: np.ndarray, k: int, by: str = "xray", without: np.ndarray | None = None) -> Found:
        """Detections whose X-rays (``by="xray"``) or texts (``"text"``) lie in a direction of the shared space.

        With ``"distinct text"`` each text is one answer, whichever detections share it.

        Args:
            directions: (Q, D).
            k, without: as `like_xrays`.

        Raises:
            ValueError: no detection of the table has such an embedding.
        """

        def xrays() -> _Pool:
            return xray_directions(self.table)

        def texts() -> _Pool:
            if TEXT not in self.table.arrays:
                return np.zeros((len(self.table), 1), np.float32), np.zeros(len(self.table), bool)
            mask = self.table.masks[TEXT]
            if by == "distinct text":
                rows = np.flatnonzero(mask)
                first = rows[np.unique(text_groups(self.table)[rows], return_index=True)[1]]
                mask = np.isin(np.arange(len(self.table)), first)
            return self.table.arrays[TEXT], mask

        index, pool = self._index((by,), xrays if by == "xray" else texts)
        return _search(index, pool, directions, k, without, (by,))

    def recall(self, k: int) -> dict[str, float]:
        """What was compared -> share of the exact k nearest that its index finds, of the indexes in use."""
        return {"+".join(names): index.recall(k) for names, (index, _) in self._indexes.items()}

    def _side_by_side(self, vectors: Mapping[str, np.ndarray]) -> np.ndarray:
        """Each representation of length one, so that the cosine of all together is the mean of theirs."""
        parts = []
        for name, values in vectors.items():
            known = self.table.arrays[name][self.table.masks[name]]
            if name in _LATENTS and len(known) and values.shape[1] == known.shape[1]:
                values = Standardizer.fit(known)(values)
            parts.append(unit_vectors(values))
        return np.concatenate(parts, axis=1)

    def _index(self, names: tuple[str, ...], values: Callable[[], _Pool]) -> tuple[Index, np.ndarray]:
        if names not in self._indexes:
            vectors, mask = values()
            pool = np.flatnonzero(mask)
            if not pool.size:
                raise ValueError(f"no detection of {self.table.path} has {' and '.join(names)}")
            self._indexes[names] = build_index(vectors[pool], self.kind, self.device), pool
        return self._indexes[names]


def _search(
    index: Index, pool: np.ndarray, asked: np.ndarray, k: int, without: np.ndarray | None, names: tuple[str, ...]
) -> Found:
    if asked.shape[1] != index.vectors.shape[1]:
        raise ValueError(
            f"what is asked has {asked.shape[1]} numbers, what it is compared with {index.vectors.shape[1]}: two models"
        )
    without = np.full((len(asked), 0), -1) if without is None else without
    found, similarity = index.search(asked, k + without.shape[1])
    rows = np.where(found >= 0, pool[found], -1)
    # At the end, whichever are no answer; then as many as every question has.
    unwanted = (rows < 0) | (rows[:, :, None] == without[:, None, :]).any(axis=2)
    order = np.argsort(unwanted, axis=1, kind="stable")[:, : min(k, int((~unwanted).sum(axis=1).min(initial=k)))]
    return Found(np.take_along_axis(rows, order, axis=1), np.take_along_axis(similarity, order, axis=1), names)


@dataclass(frozen=True, eq=False)
class Answers:
    """What `find_neighbours` found for the rows of a query table that have the same modalities.

    Attributes:
        rows: (Q,) of the query table.
        neighbours: of the references.
        texts: of the references, each a distinct text; None without texts.
    """

    rows: np.ndarray
    neighbours: Found
    texts: Found | None


def find_neighbours(
    queries: EmbeddingTable, references: References, num_neighbours: int = 5, num_texts: int = 3
) -> list[Answers]:
    """Nearest reference detections and reference texts of every query.

    A query is compared by every X-ray modality it has, with the references that have the same ones, so that no
    similarity mixes modalities; by its text only where it has nothing else. A reference with its own key is no answer.

    Raises:
        ValueError: no reference has what some query has.
    """
    columns = (*xray_columns(queries), TEXT)
    has = np.stack([queries.masks.get(name, np.zeros(len(queries), bool)) for name in columns], axis=1)
    has[has[:, :-1].any(axis=1), -1] = False
    itself = key_index(references.table).get_indexer(key_index(queries))
    answers = []
    for pattern in np.unique(has, axis=0)[::-1]:
        rows = np.flatnonzero((has == pattern).all(axis=1))
        names = tuple(name for name, used in zip(columns, pattern) if used)
        if not names:
            continue
        vectors = {name: queries.arrays[name][rows] for name in names}
        neighbours = references.like_xrays(vectors, num_neighbours, itself[rows, None])
        texts = None
        if num_texts and TEXT in references.table.arrays and names[0] not in _LATENTS:
            if JOINT in queries.arrays and names != (TEXT,):
                vectors[JOINT] = queries.arrays[JOINT][rows]
            texts = references.along(direction(vectors), num_texts, "distinct text")
        answers.append(Answers(rows, neighbours, texts))
    return answers


def key_index(table: EmbeddingTable) -> pd.MultiIndex:
    """The keys of a table's rows, which do not repeat."""
    return pd.MultiIndex.from_arrays([table.keys[name] for name in KEY], names=KEY)


def describe(table: EmbeddingTable, dataset: str | None = None, facts: Sequence[str] = FACTS) -> pd.DataFrame:
    """One row a detection of the table: key, split, class, and of its dataset the wanted facts and the text.

    Raises:
        InputFileError: the dataset does not load, or lacks a detection of the table.
    """
    frame = pd.DataFrame({name: table.keys[name] for name in KEY})
    frame["split"] = table.split
    frame["source_class"] = table.class_names
    if dataset is not None:
        for config, wanted in (("catalog", facts), ("texts", (SUMMARY,))):
            for name, values in join_columns(dataset, config, wanted, table).items():
                frame[name] = values
    return frame
