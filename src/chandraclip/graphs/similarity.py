"""The similarity graph of a set of vectors: an edge where the cosine of two reaches a threshold.

Similarities are computed a tile at a time and only those that reach the threshold are kept, so that memory grows with
the edges and never with the square of the rows. The threshold is given, as published (.5, .7, .9), or follows from the
mean degree.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from scipy.sparse import csr_array
from tqdm.auto import tqdm

from chandraclip.errors import OptionError

PUBLISHED_THRESHOLDS = (0.5, 0.7, 0.9)
MAX_EDGES = 100_000_000  # about 4 GB while the graph is built
# A tile of the CPU stays in its cache; one of a device is large, since each costs a wait for its number of edges.
_TILE, _DEVICE_TILE = (512, 1024), (16_384, 65_536)
_SAMPLED_PAIRS = 1_000_000


def similarity_graph(
    vectors: np.ndarray, threshold: float, device: str = "cpu", max_edges: int = MAX_EDGES
) -> csr_array:
    """The graph with an edge between any two rows whose cosine is at least `threshold`.

    Args:
        vectors: (N, D), of any length but zero.
        threshold: cosine, from -1 to 1.
        device: torch device of the work; the vectors and one tile must fit on it.
        max_edges: where to stop.

    Returns:
        (N, N) symmetric CSR with sorted indices; its data are the cosines in float32, the diagonal is empty. A cosine
        of exactly 0 is no edge.

    Raises:
        OptionError: a vector of no length, a threshold out of range, or more than `max_edges` edges.
    """
    if not -1 <= threshold <= 1:
        raise OptionError(f"the threshold is a cosine, from -1 to 1, and not {threshold:g}")
    return _symmetric(_upper_triangle(_unit(vectors), threshold, device, max_edges))


def graph_of_mean_degree(
    vectors: np.ndarray, mean_degree: float, device: str = "cpu", max_edges: int = MAX_EDGES
) -> tuple[csr_array, float]:
    """The graph of the most similar pairs, as many as give a mean degree, and the threshold that does.

    The threshold is first estimated from the pairs of some rows, low enough, and then taken exactly among the edges
    found.

    Args:
        vectors, device, max_edges: as `similarity_graph`.
        mean_degree: wanted, above 0 and at most N - 1.

    Returns:
        The graph, and the lowest similarity among its edges.

    Raises:
        OptionError: as `similarity_graph`, or a mean degree out of range.
    """
    unit = _unit(vectors)
    num_rows = len(unit)
    if not 0 < mean_degree <= num_rows - 1:
        raise OptionError(f"a mean degree of {mean_degree:g} is not possible among {num_rows} rows")
    wanted = min(max(round(num_rows * mean_degree / 2), 1), num_rows * (num_rows - 1) // 2)
    num_sampled = min(max(_SAMPLED_PAIRS // num_rows, 1), num_rows)
    rows = np.random.default_rng(0).choice(num_rows, num_sampled, replace=False)
    sample = (unit[rows] @ unit.T).numpy().ravel()
    share = 2 * wanted / (num_rows * (num_rows - 1))
    excess = 1.1
    while True:
        place = int(share * excess * len(sample)) + num_sampled + 10  # each row is found once itself
        low = -float(np.partition(-sample, place)[place]) if place < len(sample) else -2.0
        upper = _upper_triangle(unit, low, device, max_edges)
        if upper.nnz >= wanted:
            break
        excess *= 2
    threshold = float(np.partition(upper.data, upper.nnz - wanted)[upper.nnz - wanted])
    upper.data[upper.data < threshold] = 0
    upper.eliminate_zeros()
    return _symmetric(upper), threshold


def _unit(vectors: np.ndarray) -> torch.Tensor:
    """(N, D) float32 rows of length one."""
    vectors = np.asarray(vectors, dtype=np.float32)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    usable = np.isfinite(length) & (length > 0)
    if not usable.all():
        raise OptionError(f"row {int(np.argmin(usable))} of the vectors has no finite length, so it has no direction")
    return torch.from_numpy(vectors / length)


def _upper_triangle(unit: torch.Tensor, threshold: float, device: str, max_edges: int) -> csr_array:
    """The edges with a row before their column, as CSR."""
    place, num_rows = torch.device(device), len(unit)
    left = unit.to(place)
    right = left.T.contiguous()
    height, width = _TILE if place.type == "cpu" else _DEVICE_TILE
    starts = range(0, num_rows, height)
    degree = np.zeros(num_rows + 1, dtype=np.int64)
    columns, values, num_edges = [], [], 0
    with _workers(place) as workers:
        blocks = workers.map(lambda start: _row_block(left, right, start, height, width, threshold), starts)
        for start, (count, column, value) in zip(
            starts, tqdm(blocks, total=len(starts), desc="similarities", unit="row block", delay=5)
        ):
            stop = start + len(count)
            num_edges += len(column)
            if num_edges > max_edges:
                workers.shutdown(cancel_futures=True)
                expected = num_edges / (1 - (1 - stop / num_rows) ** 2)
                raise OptionError(
                    f"at a threshold of {threshold:.3g}, {num_rows:,} rows have about {expected:.2g} edges, more than "
                    f"{max_edges:,}; raise the threshold, or select fewer rows"
                )
            columns.append(column)
            values.append(value)
            degree[start + 1 : stop + 1] = count
    offsets = degree.cumsum().astype(np.int32 if num_edges < 2**31 else np.int64)
    indices = np.concatenate(columns).astype(offsets.dtype, copy=False)
    return csr_array((np.concatenate(values), indices, offsets), shape=(num_rows, num_rows))


@contextmanager
def _workers(place: torch.device) -> Iterator[ThreadPoolExecutor]:
    """As many threads as PyTorch would use, each with row blocks of its own and one thread for their arithmetic.

    Threads that share every small product wait for each other after each, which takes many times as long on cores that
    have other work too.
    """
    threads = torch.get_num_threads()
    count = threads if place.type == "cpu" else 1
    try:
        torch.set_num_threads(1)
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as workers:
            yield workers
    finally:
        torch.set_num_threads(threads)


def _row_block(
    left: torch.Tensor, right: torch.Tensor, start: int, height: int, width: int, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the rows from `start`: number of edges of each, their columns (int32, ascending) and their similarities."""
    num_rows = len(left)
    stop = min(start + height, num_rows)
    rows, columns, values = [], [], []
    for first in range(start, num_rows, width):
        tile = torch.mm(left[start:stop], right[:, first : first + width])
        mask = tile >= threshold
        if first < stop:  # the diagonal and what lies below it
            mask.triu_(start - first + 1)
        row, column, value = _edges(tile, mask)
        rows.append(row)
        columns.append(column + np.int32(first))
        values.append(value)
    row = np.concatenate(rows)
    order = np.argsort(row, kind="stable")  # columns ascend within a row already
    return np.bincount(row, minlength=stop - start), np.concatenate(columns)[order], np.concatenate(values)[order]


def _edges(tile: torch.Tensor, mask: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row and column within the tile (int32) and value of each edge, in order."""
    if tile.device.type == "cpu":
        flat = np.flatnonzero(mask.numpy())
        row, column = np.divmod(flat, mask.shape[1])
        return row.astype(np.int32), column.astype(np.int32), tile.numpy().ravel()[flat]
    found = mask.nonzero()
    value = tile[mask].cpu().numpy()
    row, column = found.int().cpu().numpy().T
    return row, column, value


def _symmetric(upper: csr_array) -> csr_array:
    """Both halves of a graph of which the upper is given."""
    graph = csr_array(upper + upper.T)
    graph.sort_indices()
    return graph
