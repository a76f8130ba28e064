"""Batches of rows for contrastive training, without false negatives, as a pure function of (seed, epoch).

Two detections of one source, or two sources with one text, are positives of each other; in one batch they would be
counted as negatives. Rows are therefore put in groups that must not meet, and a batch takes at most one of a group.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def conflict_groups(names: Sequence[str], texts: Sequence[str | None] | None = None) -> np.ndarray:
    """The group of each row: rows of one source, or sharing one text, or joined by a chain of such rows.

    Args:
        names: (N,) source names.
        texts: (N,) texts, None or blank for rows without one; None for data without texts.

    Returns:
        (N,) int64, group numbers from 0.
    """
    source, sources = pd.factorize(np.asarray(names, dtype=object))
    source = source.astype(np.int64)
    if texts is None:
        return source
    texts = [text if text and text.strip() else None for text in texts]
    text, distinct_texts = pd.factorize(np.asarray(texts, dtype=object))  # -1 for None
    present = text >= 0
    nodes = len(sources) + len(distinct_texts)
    edges = (np.ones(present.sum()), (source[present], len(sources) + text[present]))
    _, component = connected_components(coo_array(edges, shape=(nodes, nodes)), directed=False)
    return component[source].astype(np.int64)


def epoch_batches(groups: np.ndarray, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """The batches of one epoch: every batch full, no two rows of a group in one, each row at most once.

    Groups are laid end to end in random order and dealt to the K batches in turn, so that the (at most K) members of a
    group fall in different ones. K is the largest number that can be filled. What is left over, under one batch unless
    a group has more than K rows, is another random choice in every epoch.

    Args:
        groups: (N,) int, from `conflict_groups`, or ``np.arange(N)`` where any rows may meet.
        batch_size: rows a batch, over all processes.
        seed: of the run.
        epoch: from 0.

    Returns:
        (K, batch_size) int64 row numbers.

    Raises:
        ValueError: batch_size is under 1 or there are fewer groups than that, so that not one batch can be filled.
    """
    sizes = np.bincount(groups)
    num_batches = _num_batches(sizes, batch_size)
    if num_batches == 0:
        raise ValueError(
            f"batch_size {batch_size} needs as many rows of different sources and texts, and there are "
            f"{(sizes > 0).sum()} to train on; give a smaller --batch_size, or --pretrain_batch_size where align.py "
            "pre-trains"
        )
    generator = np.random.default_rng([seed, epoch])
    shuffled = generator.permutation(len(groups))
    place = generator.permutation(len(sizes))[groups[shuffled]]
    order = shuffled[np.argsort(place, kind="stable")]  # groups end to end in random order, members in random order
    in_order = groups[order]
    first = np.flatnonzero(np.r_[True, in_order[1:] != in_order[:-1]])
    member = np.arange(len(order)) - np.repeat(first, np.diff(np.r_[first, len(order)]))
    order = order[member < num_batches][: num_batches * batch_size]
    return generator.permutation(order.reshape(batch_size, num_batches).T)


def _num_batches(sizes: np.ndarray, batch_size: int) -> int:
    """Largest K with sum(min(size, K)) >= K x batch_size; the difference is concave in K, so halving finds it."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    low, high = 0, int(sizes.sum()) // batch_size
    while low < high:
        middle = (low + high + 1) // 2
        if np.minimum(sizes, middle).sum() >= middle * batch_size:
            low = middle
        else:
            high = middle - 1
    return low


class BatchSampler:
    """The batch of every step of a run. Its whole state is the step.

    Attributes:
        num_batches: batches, hence steps, an epoch.
        num_dropped: rows left out of an epoch (never the same ones for long; see `epoch_batches`).
    """

    def __init__(self, groups: np.ndarray, batch_size: int, seed: int):
        self.groups = np.asarray(groups, dtype=np.int64)
        self.batch_size = batch_size
        self.seed = seed
        self._epoch = 0
        self._batches = epoch_batches(self.groups, batch_size, seed, 0)
        self.num_batches = len(self._batches)
        self.num_dropped = len(self.groups) - self._batches.size

    def position(self, step: int) -> tuple[int, int]:
        """(epoch, position in it) of a step, both from 0."""
        return divmod(step, self.num_batches)

    def batch(self, step: int, process: int = 0, num_processes: int = 1) -> np.ndarray:
        """Row numbers of a step, from 0: the whole batch, or a process' contiguous slice of it.

        Raises:
            ValueError: batch_size is no multiple of num_processes.
        """
        if self.batch_size % num_processes:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of the {num_processes} processes")
        epoch, position = self.position(step)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, epoch_batches(self.groups, self.batch_size, self.seed, epoch)
        share = self.batch_size // num_processes
        return self._batches[position, process * share : (process + 1) * share]
