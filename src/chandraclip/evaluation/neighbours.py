"""Exact nearest neighbours of vectors by cosine, of any number of them in bounded memory, on a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from chandraclip.evaluation.retrieval import unit_vectors

if TYPE_CHECKING:
    from torch import Tensor

# Similarities held at once: 8 MiB of float32, which stay in a CPU's cache, and 4 GiB where a device has its own memory.
_CPU_TILE, _DEVICE_TILE = (1024, 2048), (16384, 65536)
_GROUP = 32
_GATHERED_ELEMENTS, _DEVICE_GATHERED_ELEMENTS = 2**23, 2**29  # of the vectors whose similarities are taken again
SHOWN_AFTER = 5.0  # s, of the bar

Search = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def nearest(queries: np.ndarray, references: np.ndarray, k: int, device: str = "cpu") -> tuple[np.ndarray, np.ndarray]:
    """The k most similar references by cosine, exact, in memory that grows with Q + R, not with Q x R.

    Similarities are taken tile by tile, and of each only the largest of every `_GROUP` neighbouring references is kept:
    the k best of a query lie in the k groups with the largest ones, whose similarities are then taken again.

    Args:
        queries: (Q, D), references: (R, D) of any length; a row of zeros has similarity 0 with all.
        k: at least 1; at most R are given.
        device: torch device of the work; references, and two tiles of similarities, must fit on it.

    Returns:
        (Q, k) indices, most similar first, and (Q, k) similarities. Which of equally similar ones are given is not
        defined; those given stand by index.

    Raises:
        ValueError: no reference, vectors of different lengths, k below 1, or a value that is not finite.
    """
    import torch

    _check(queries, references, k)
    place = torch.device(device)
    on_cpu = place.type == "cpu"
    num_rows, num_columns = _CPU_TILE if on_cpu else _DEVICE_TILE
    left = torch.from_numpy(unit_vectors(queries))
    right = torch.from_numpy(unit_vectors(references)).to(place)
    num_references, k = len(right), min(k, len(right))
    num_groups = -(-num_references // _GROUP)
    num_columns = min(num_columns, num_groups * _GROUP)
    num_best = min(k, num_groups)
    num_gathered = _GATHERED_ELEMENTS if on_cpu else _DEVICE_GATHERED_ELEMENTS
    num_at_once = max(1, num_gathered // (num_best * _GROUP * right.shape[1]))

    indices = torch.empty((len(left), k), dtype=torch.int64)
    similarities = torch.empty((len(left), k), dtype=torch.float32)
    tile = torch.empty((min(num_rows, len(left)), num_columns), device=place)
    largest = torch.empty((len(tile), num_groups), device=place)
    inside = torch.arange(_GROUP, device=place)
    # Drawn where it takes long: of many queries, or of many references.
    bar = tqdm(total=len(left), desc="neighbours", unit="row", unit_scale=True, delay=SHOWN_AFTER)
    for start in range(0, len(left), num_rows):
        rows = left[start : start + num_rows].to(place)
        for first in range(0, num_references, num_columns):
            part = right[first : first + num_columns]
            _largest_of_groups(rows, part, tile[: len(rows)], largest[: len(rows), first // _GROUP :])
        # Sorted, so that candidates stand in order of index and the sorts below keep ties so.
        groups = largest[: len(rows)].topk(num_best, dim=1).indices.sort(dim=1).values
        for at in range(0, len(rows), num_at_once):
            candidates = (groups[at : at + num_at_once, :, None] * _GROUP + inside).flatten(1)
            if num_references <= num_columns:  # all of them stand in the one tile
                similarity = tile[: len(rows)][at : at + num_at_once].gather(1, candidates)
            else:
                beyond = candidates >= num_references
                vectors = right[candidates.clamp(max=num_references - 1)]
                similarity = torch.bmm(vectors, rows[at : at + num_at_once, :, None])[..., 0]
                similarity = similarity.masked_fill(beyond, -torch.inf)
            # The k best in order of index, then by value: sorting all candidates takes a third of the whole time.
            best = similarity.topk(k, dim=1).indices.sort(dim=1).values
            value, order = similarity.gather(1, best).sort(dim=1, descending=True, stable=True)
            order = best.gather(1, order)
            done = slice(start + at, start + at + len(value))
            indices[done] = candidates.gather(1, order).cpu()
            similarities[done] = value.cpu()
        bar.update(len(rows))
    bar.close()
    return indices.numpy(), similarities.numpy()


def nearest_elsewhere(search: Search, groups: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest rows of each row among those of another group, such as of other sources.

    Args:
        search: (rows (Q,), k) -> (Q, k) nearest rows of all, the nearest first, and how near or far they are.
        groups: (N,) of each row.

    Returns:
        (N, k) rows, and how near or far they are, as `search` gives it.

    Raises:
        ValueError: some row has fewer than k rows of other groups.
    """
    ids = np.unique(groups, return_inverse=True)[1]
    size = np.bincount(ids)
    if len(ids) - size.max() < k:
        raise ValueError(f"{len(ids)} rows, {size.max()} of them of one source: there are no {k} neighbours elsewhere")
    indices = np.empty((len(ids), k), np.int64)
    closeness = np.empty((len(ids), k), np.float32)
    todo, wanted = np.arange(len(ids)), k + 1 + int(np.median(size[ids]))
    while todo.size:
        # Few sources have very many detections, and only those among one's own are asked for more.
        found, close = search(todo, min(wanted, len(ids)))
        own = ids[found] == ids[todo][:, None]
        enough = (~own).sum(axis=1) >= k
        order = np.argsort(own[enough], axis=1, kind="stable")[:, :k]
        indices[todo[enough]] = np.take_along_axis(found[enough], order, axis=1)
        closeness[todo[enough]] = np.take_along_axis(close[enough], order, axis=1)
        todo, wanted = todo[~enough], 2 * wanted
    return indices, closeness


def _largest_of_groups(rows: Tensor, part: Tensor, tile: Tensor, largest: Tensor) -> None:
    """The largest similarity with each group of a part of the references, into the first columns of `largest`."""
    import torch

    used = tile[:, : len(part)]
    if len(part) == tile.shape[1]:
        torch.mm(rows, part.T, out=tile)
    else:
        used.copy_(rows @ part.T)
    num_groups = -(-len(part) // _GROUP)
    tile[:, len(part) : num_groups * _GROUP] = -torch.inf
    torch.amax(tile[:, : num_groups * _GROUP].unflatten(1, (num_groups, _GROUP)), dim=2, out=largest[:, :num_groups])


def _check(queries: np.ndarray, references: np.ndarray, k: int) -> None:
    shapes = np.shape(queries), np.shape(references)
    if len(shapes[0]) != 2 or len(shapes[1]) != 2 or shapes[0][1] != shapes[1][1] or not shapes[1][0] or k < 1:
        raise ValueError(f"nearest neighbours of {shapes[0]} among {shapes[1]} with k = {k}: not (Q, D), (R, D), k > 0")
    for name, values in (("queries", queries), ("references", references)):
        if not np.isfinite(np.asarray(values).sum(dtype=np.float64)):
            raise ValueError(f"the {name} have a value that is not finite")
