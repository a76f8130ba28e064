"""The batch sampler: no two rows of a group in a batch, full batches, coverage, purity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chandraclip.data.sampler import BatchSampler, conflict_groups, epoch_batches

GROUP_SIZES = st.lists(st.integers(0, 12), min_size=1, max_size=40)


def groups_of(sizes: list[int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))


@settings(max_examples=200, deadline=None)
@given(sizes=GROUP_SIZES, batch_size=st.integers(1, 8), seed=st.integers(0, 5), epoch=st.integers(0, 3))
def test_batches_are_full_apart_and_as_many_as_possible(sizes, batch_size, seed, epoch):
    groups = groups_of(sizes, seed)
    possible = [k for k in range(1, len(groups) + 1) if sum(min(size, k) for size in sizes) >= k * batch_size]
    if not possible:
        with pytest.raises(ValueError, match="batch_size"):
            epoch_batches(groups, batch_size, seed, epoch)
        return
    batches = epoch_batches(groups, batch_size, seed, epoch)
    assert batches.shape == (max(possible), batch_size)
    assert len(np.unique(batches)) == batches.size
    assert batches.min() >= 0
    assert batches.max() < len(groups)
    for batch in batches:
        assert len(np.unique(groups[batch])) == batch_size
    assert np.array_equal(batches, epoch_batches(groups, batch_size, seed, epoch))


def test_epochs_and_seeds_differ_and_every_row_comes_up():
    groups = groups_of([1] * 50 + [3] * 20 + [40], 0)
    first, second = epoch_batches(groups, 8, 0, 0), epoch_batches(groups, 8, 0, 1)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, epoch_batches(groups, 8, 1, 0))
    seen = np.unique(np.concatenate([epoch_batches(groups, 8, 0, epoch).ravel() for epoch in range(60)]))
    assert np.array_equal(seen, np.arange(len(groups)))


def test_pairs_of_rows_meet_at_random():
    """Over many epochs every pair of rows of different groups shares a batch equally often."""
    groups = np.repeat(np.arange(12), 2)
    together = np.zeros((24, 24))
    for epoch in range(4000):
        for batch in epoch_batches(groups, 4, 0, epoch):
            together[np.ix_(batch, batch)] += 1
    different = groups[:, None] != groups[None, :]
    assert (together[~different & ~np.eye(24, dtype=bool)] == 0).all()
    expected = 4000 * 3 / 22  # 3 companions a batch, of the 22 rows of other groups
    assert abs(together[different] - expected).max() < 6 * expected**0.5


def test_conflict_groups_join_sources_texts_and_chains():
    names = ["A", "A", "B", "C", "D", "E", "F"]
    texts = ["x", "y", "x", None, "z", "  ", ""]
    groups = conflict_groups(names, texts)
    assert groups[0] == groups[1] == groups[2]  # A twice; B shares x
    assert len({groups[0], *groups[3:]}) == 5  # no text, or a blank one, joins nothing
    chain = conflict_groups(["A", "A", "B", "B", "C"], ["x", "y", "y", "w", "w"])
    assert len(set(chain)) == 1
    assert len(set(conflict_groups(names))) == 6


def test_slices_of_the_processes_make_up_the_batch():
    sampler = BatchSampler(np.arange(37), batch_size=12, seed=4)
    assert (sampler.num_batches, sampler.num_dropped) == (3, 1)
    assert sampler.position(7) == (2, 1)
    whole = sampler.batch(7)
    assert np.array_equal(whole, epoch_batches(np.arange(37), 12, 4, 2)[1])
    assert np.array_equal(np.concatenate([sampler.batch(7, rank, 3) for rank in range(3)]), whole)
    assert np.array_equal(sampler.batch(1), BatchSampler(np.arange(37), 12, 4).batch(1))  # going back is as good
    with pytest.raises(ValueError, match="multiple"):
        sampler.batch(0, 0, 5)


def test_too_few_groups_says_so():
    with pytest.raises(ValueError, match="there are 3"):
        BatchSampler(np.array([0, 0, 1, 2]), batch_size=4, seed=0)
