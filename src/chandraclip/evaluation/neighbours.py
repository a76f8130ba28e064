"""Nearest neighbours of detections in the shared space, and the texts nearest to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from chandraclip.data.schema import SOURCE_CLASSES
from chandraclip.evaluation.embeddings import KEY, EmbeddingTable
from chandraclip.evaluation.retrieval import unit_vectors
from chandraclip.evaluation.retrieval_tasks import text_groups

# X-rays first: a detection is looked up by its text only where it has nothing else.
_XRAY = ("spectrum_embedding", "event_embedding")
_TEXT = ("text_embedding",)
# Similarities held at once: 64 MiB of float32, and 4 GiB where a device has its own memory.
_BLOCK_ELEMENTS, _DEVICE_BLOCK_ELEMENTS = 2**24, 2**30
_GROUP = 64
SHOWN_AFTER = 5.0  # s, of the bar


def nearest(queries: np.ndarray, references: np.ndarray, k: int, device: str = "cpu") -> tuple[np.ndarray, np.ndarray]:
    """The k most similar references by cosine, exact, in bounded memory.

    Similarities are taken a block of queries at a time. To find the best of a row without sorting it, the largest of
    each group of `_GROUP` neighbouring references is taken first: the k best lie in the k groups with the largest ones.

    Args:
        queries: (Q, D), references: (R, D) of any length.
        k: at most R.
        device: torch device of the work; references and one block of similarities must fit on it.

    Returns:
        (Q, k) indices, most similar first, ties by index, and (Q, k) similarities.
    """
    import torch

    place = torch.device(device)
    left = torch.as_tensor(unit_vectors(queries), dtype=torch.float32)
    right = torch.as_tensor(unit_vectors(references), dtype=torch.float32).to(place)
    num_references, k = len(right), min(k, len(right))
    num_groups = -(-num_references // _GROUP)
    right = torch.nn.functional.pad(right, (0, 0, 0, num_groups * _GROUP - num_references)).T.contiguous()
    indices = torch.empty((len(left), k), dtype=torch.int64)
    similarities = torch.empty((len(left), k), dtype=torch.float32)
    block = max(1, (_BLOCK_ELEMENTS if place.type == "cpu" else _DEVICE_BLOCK_ELEMENTS) // max(right.shape[1], 1))
    buffer = torch.empty((min(block, len(left)), right.shape[1]), device=place)
    # Drawn where it takes long: of many queries, or of many references.
    for start in tqdm(range(0, len(left), block), desc="neighbours", unit="block", delay=SHOWN_AFTER):
        rows = left[start : start + block].to(place)
        similarity = torch.mm(rows, right, out=buffer[: len(rows)])
        similarity[:, num_references:] = -torch.inf
        if num_groups > k:
            groups = similarity.unflatten(1, (num_groups, _GROUP))
            best_groups = groups.amax(dim=2).topk(k, dim=1).indices
            candidates = (best_groups[:, :, None] * _GROUP + torch.arange(_GROUP, device=place)).flatten(1)
            candidates = candidates.gather(1, similarity.gather(1, candidates).topk(k, dim=1).indices)
        else:
            candidates = similarity.topk(k, dim=1).indices
        candidates = candidates.sort(dim=1).values  # so that the stable sort below puts ties in order of index
        value, order = similarity.gather(1, candidates).sort(dim=1, descending=True, stable=True)
        indices[start : start + block] = candidates.gather(1, order).cpu()
        similarities[start : start + block] = value.cpu()
    return indices.numpy(), similarities.numpy()


@dataclass(frozen=True, eq=False)
class Lookup:
    """What `find_neighbours` found for some queries that have the same modalities.

    Attributes:
        rows: (Q,) rows of the query table.
        modalities: the embeddings that were compared.
        neighbours, similarity: (Q, k) rows of the reference table, and cosine (mean over the modalities).
        texts, text_similarity: (Q, t) rows of the reference table, each with a distinct text; empty without texts.
    """

    rows: np.ndarray
    modalities: tuple[str, ...]
    neighbours: np.ndarray
    similarity: np.ndarray
    texts: np.ndarray
    text_similarity: np.ndarray


def find_neighbours(
    queries: EmbeddingTable, references: EmbeddingTable, num_neighbours: int = 5, num_texts: int = 3
) -> list[Lookup]:
    """Nearest reference detections and reference texts of every query.

    A query is compared by every X-ray modality it has, with the references that have the same ones, so that no
    similarity mixes modalities; a reference with the query's own key is left out.

    Raises:
        ValueError: no reference has what some query has.
    """
    xray = np.stack([queries.masks.get(name, np.zeros(len(queries), bool)) for name in (*_XRAY, *_TEXT)], axis=1)
    xray[xray[:, : len(_XRAY)].any(axis=1), len(_XRAY) :] = False
    lookups = []
    for pattern in np.unique(xray, axis=0):
        rows = np.flatnonzero((xray == pattern).all(axis=1))
        names = tuple(name for name, used in zip((*_XRAY, *_TEXT), pattern) if used)
        if names:
            lookups.append(_look_up(queries, references, rows, names, num_neighbours, num_texts))
    return lookups


def _look_up(
    queries: EmbeddingTable,
    references: EmbeddingTable,
    rows: np.ndarray,
    names: tuple[str, ...],
    num_neighbours: int,
    num_texts: int,
) -> Lookup:
    if not all(name in references.arrays for name in names):
        raise ValueError(f"no reference of {references.path} has {names}, which {len(rows)} queries need")
    vectors, mask = references.joint(names)
    pool = np.flatnonzero(mask)
    if pool.size == 0:
        raise ValueError(f"no reference of {references.path} has all of {names}, which {len(rows)} queries need")
    wanted = queries.joint(names)[0][rows]
    # One more than asked, so that the query itself can be dropped where it is among the references.
    found, similarity = nearest(wanted, vectors[pool], num_neighbours + 1)
    found = pool[found]
    itself = np.logical_and.reduce([references.keys[name][found] == queries.keys[name][rows][:, None] for name in KEY])
    order = np.argsort(itself, axis=1, kind="stable")[:, : min(num_neighbours, found.shape[1] - int(itself.any()))]

    texts, text_similarity = np.empty((len(rows), 0), np.int64), np.empty((len(rows), 0), np.float32)
    if num_texts and "text_embedding" in references.arrays:
        having = np.flatnonzero(references.masks["text_embedding"])
        having = having[np.unique(text_groups(references)[having], return_index=True)[1]]
        mean = np.sum([queries.arrays[name][rows] for name in names], axis=0)
        texts, text_similarity = nearest(mean, references.arrays["text_embedding"][having], num_texts)
        texts = having[texts]
    return Lookup(
        rows=rows,
        modalities=names,
        neighbours=np.take_along_axis(found, order, axis=1),
        similarity=np.take_along_axis(similarity, order, axis=1),
        texts=texts,
        text_similarity=text_similarity,
    )


def describe(table: EmbeddingTable, row: int, facts: Mapping[str, np.ndarray], wanted: Sequence[str]) -> dict[str, Any]:
    """One detection in plain values: key, class, and those of the wanted facts that it has."""
    known = int(table.source_class[row])
    result: dict[str, Any] = {name: table.keys[name][row].item() for name in KEY}
    result["source_class"] = SOURCE_CLASSES[known] if 0 <= known < len(SOURCE_CLASSES) else None
    for name in wanted:
        value = facts[name][row] if name in facts else None
        if value is not None and value == value:  # not NaN
            result[name] = value.item() if isinstance(value, np.generic) else value
    return result
