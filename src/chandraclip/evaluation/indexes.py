"""An index to search many times: exact by our own blocks, or one of faiss with its recall measured."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from chandraclip.errors import OptionError
from chandraclip.evaluation.neighbours import nearest
from chandraclip.evaluation.retrieval import unit_vectors

EXACT = "exact"
KINDS = (EXACT, "flat", "ivf", "hnsw")
# As faiss' own guidelines have them: lists ~ 4 sqrt(N), an eighth of them visited; links and breadths of a graph.
_LISTS_PER_ROOT, _VISITED_SHARE = 4, 1 / 8
_TRAINING_ROWS_A_LIST = 64
_HNSW_LINKS, _HNSW_BUILD_BREADTH, _HNSW_BREADTH = 32, 80, 128
_RECALL_QUERIES = 500


@dataclass(frozen=True, eq=False)
class Index:
    """Vectors ready to be searched by cosine; made by `build_index`.

    Attributes:
        kind: of `KINDS`.
        vectors: (N, D) float32.
        device: torch device.
        of_faiss: its index; None for the exact one.
    """

    kind: str
    vectors: np.ndarray
    device: str = "cpu"
    of_faiss: Any = None

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """(Q, k) rows, most similar first, and their cosines; of an inexact index, row -1 where it found no more."""
        k = min(k, len(self))
        if self.of_faiss is None:
            return nearest(queries, self.vectors, k, self.device)
        similarity, rows = self.of_faiss.search(unit_vectors(queries), k)
        return rows, similarity

    def recall(self, k: int, num_queries: int = _RECALL_QUERIES, seed: int = 0) -> float:
        """Share of the exact k nearest that this index finds, for some of its own vectors as queries; 1 if exact.

        A neighbour as similar as the exact k-th counts as found, since which of equal ones comes first says nothing.
        """
        if self.of_faiss is None:
            return 1.0
        k = min(k, len(self))
        chosen = np.random.default_rng(seed).choice(len(self), min(num_queries, len(self)), replace=False)
        exact = nearest(self.vectors[chosen], self.vectors, k, self.device)[1]
        found, similarity = self.search(self.vectors[chosen], k)
        return float(((found >= 0) & (similarity >= exact[:, -1:] - 1e-5)).mean())


def check_kind(kind: str) -> None:
    """Raise `OptionError` for an index that `build_index` would not build here."""
    if kind not in KINDS:
        raise OptionError(f"there is no index {kind!r}, only {', '.join(KINDS)}")
    if kind != EXACT:
        _faiss()


def build_index(vectors: np.ndarray, kind: str = EXACT, device: str = "cpu") -> Index:
    """An index over vectors of any length.

    Args:
        vectors: (N, D).
        kind: ``"exact"``; of faiss ``"flat"`` (exact too), ``"ivf"`` (inverted lists) or ``"hnsw"`` (a graph).
        device: ``"cuda"``: on the GPU, where faiss is built for one and has this kind there.

    Raises:
        OptionError: no such kind, or faiss is not installed.
        ValueError: there is no vector.
    """
    check_kind(kind)
    if not len(vectors):
        raise ValueError("an index needs a vector")
    vectors = unit_vectors(vectors)
    if kind == EXACT:
        return Index(kind, vectors, device)
    return Index(kind, vectors, device, _of_faiss(_faiss(), vectors, kind, device))


def _of_faiss(faiss: ModuleType, vectors: np.ndarray, kind: str, device: str) -> Any:
    num_rows, num_dimensions = vectors.shape
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(num_dimensions, _HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = _HNSW_BUILD_BREADTH, _HNSW_BREADTH
    elif kind == "ivf":
        num_lists = max(
            1, min(int(_LISTS_PER_ROOT * num_rows**0.5), num_rows // 39)
        )  # faiss warns below 39 rows a list
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(num_dimensions), num_dimensions, num_lists, faiss.METRIC_INNER_PRODUCT
        )
        index.nprobe = max(1, round(num_lists * _VISITED_SHARE))
        index.cp.seed, index.cp.max_points_per_centroid = 0, _TRAINING_ROWS_A_LIST
        index.train(vectors)
    else:
        index = faiss.IndexFlatIP(num_dimensions)
    if kind != "hnsw" and device.startswith("cuda") and getattr(faiss, "get_num_gpus", lambda: 0)():
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), int(device.partition(":")[2] or 0), index)
    index.add(vectors)
    return index


def _faiss() -> ModuleType:
    try:
        import faiss
    except ImportError as error:
        raise OptionError(f"faiss is not installed: pip install 'chandraclip[faiss]' ({error})") from error
    return faiss
