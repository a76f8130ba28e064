"""Maps and cubes of a whole dataset are what numpy gives of each list."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from chandraclip.catalog.event_cubes import (
    energy_time_interval_cubes,
    energy_time_maps,
    min_max,
    uniform_bins,
)
from chandraclip.catalog.photon_lists import photons_in_band
from chandraclip.catalog.ragged import Ragged, ranks_in_rows

LOG_RANGE = [np.log10(500.0), np.log10(7000.0)]


def scaled(values: np.ndarray) -> np.ndarray:
    span = values.max() - values.min()
    return (values - values.min()) / (span if span > 0 else 1.0)


def by_numpy(time: np.ndarray, energy: np.ndarray, num_bins: tuple[int, ...]) -> np.ndarray:
    """One list as published: order, scale, histogram."""
    energy = energy.astype(np.float64)
    inside = (energy >= 0.5) & (energy <= 7.0) & np.isfinite(time)
    time, energy = time[inside], energy[inside]
    order = np.lexsort((energy, time))
    time, energy = time[order], energy[order]
    interval = np.diff(time)
    if len(num_bins) == 3:
        time, energy = time[:-1], energy[:-1]
    if not len(time):
        return np.zeros(num_bins)
    columns = [scaled(time), np.log10(1000.0 * energy)]
    limits = [[0.0, 1.0], LOG_RANGE]
    if len(num_bins) == 3:
        columns, limits = [*columns, scaled(interval)], [*limits, [0.0, 1.0]]
    return np.histogramdd(tuple(columns), bins=num_bins, range=limits)[0]


# Few distinct values: ties, and values on the edges of bins, are frequent.
TIMES = st.one_of(st.integers(0, 24).map(float), st.floats(0.0, 3e4), st.just(np.nan))
EDGES = np.geomspace(0.5, 7.0, 17).tolist()
ENERGIES = st.one_of(st.sampled_from([0.5, 7.0, 0.49, 7.01, *EDGES]), st.floats(0.3, 8.0), st.just(np.nan))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(TIMES, ENERGIES), max_size=30), min_size=1, max_size=6))
def test_what_numpy_gives_list_by_list(lists):
    times = [np.array([time for time, _ in photons]) for photons in lists]
    energies = [np.array([energy for _, energy in photons]) for photons in lists]
    columns = Ragged.from_rows(times), Ragged.from_rows(energies)
    maps, cubes = energy_time_maps(*columns), energy_time_interval_cubes(*columns)
    assert maps.shape == (len(lists), 24, 16)
    assert cubes.shape == (len(lists), 24, 16, 16)
    for row, (time, energy) in enumerate(zip(times, energies)):
        assert np.array_equal(maps[row], by_numpy(time, energy, (24, 16)))
        assert np.array_equal(cubes[row], by_numpy(time, energy, (24, 16, 16)))


def test_lists_longer_than_a_block():
    rng = np.random.default_rng(0)
    lengths = (70_000, 0, 3, 90_000, 40_000)
    times = [rng.uniform(0, 1e5, number) for number in lengths]
    energies = [rng.uniform(0.4, 8.0, number).astype(np.float32) for number in lengths]
    found = energy_time_maps(Ragged.from_rows(times), Ragged.from_rows(energies))
    for row, (time, energy) in enumerate(zip(times, energies)):
        assert np.array_equal(found[row], by_numpy(time, energy, (24, 16)))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.floats(-5, 5), st.floats(1e-3, 1e3), st.integers(0, 2**31))
def test_bins_are_those_of_numpy_at_their_edges(num_bins, low, width, seed):
    high = low + width
    edges = np.linspace(low, high, num_bins + 1)
    values = np.concatenate([edges, np.nextafter(edges[1:], low), np.nextafter(edges[:-1], high)])
    values = np.concatenate([values, np.random.default_rng(seed).uniform(low, high, 20)]).clip(low, high)
    found = np.bincount(uniform_bins(values, low, high, num_bins), minlength=num_bins)
    assert np.array_equal(found, np.histogram(values, bins=num_bins, range=(low, high))[0])


def test_one_photon_one_time_and_none():
    lists = [[5.0], [7.0, 7.0, 7.0], [], [1.0, 2.0], [9.0]]
    energies = [[1.0], [1.0, 2.0, 6.0], [], [1.0, 1.0], [9.0]]  # the last is out of the band
    columns = [Ragged.from_rows([np.array(row) for row in rows]) for rows in (lists, energies)]
    maps, cubes = energy_time_maps(*columns), energy_time_interval_cubes(*columns)
    assert maps.sum(axis=(1, 2)).tolist() == [1, 3, 0, 2, 0]
    assert maps[1, 0].sum() == 3
    assert cubes.sum(axis=(1, 2, 3)).tolist() == [0, 2, 0, 1, 0]  # the last photon has no interval
    assert min_max(maps).max(axis=(1, 2)).tolist() == [1, 1, 0, 1, 0]
    assert np.isfinite(min_max(cubes)).all()
    assert min_max(np.zeros((0, 24, 16), np.int32)).shape == (0, 24, 16)
    assert energy_time_maps(Ragged.from_rows([]), Ragged.from_rows([])).shape == (0, 24, 16)


def test_which_lists_have_energies():
    times = Ragged.from_rows([np.arange(3.0), np.arange(2.0), None, np.zeros(0), np.arange(2.0), np.arange(4.0)])
    known = np.array([1.0, 2.0, 3.0, 4.0])
    energies = Ragged.from_rows([None, np.full(2, np.nan), np.ones(2), np.zeros(0), np.array([np.nan, 1.0]), known])
    photons, usable = photons_in_band(times, energies, 0.5, 7.0)
    assert usable.tolist() == [False, False, False, True, True, True]
    assert photons.counts.tolist() == [0, 0, 0, 0, 1, 4]
    assert photons.energy.tolist() == [1, 1, 2, 3, 4]  # those of the lists before have not moved them
    assert photons.rows.tolist() == [4, 5, 5, 5, 5]
    with pytest.raises(ValueError, match="row 1: 2 values of event_time and 3 of event_energy"):
        photons_in_band(
            Ragged.from_rows([np.zeros(1), np.zeros(2)]), Ragged.from_rows([np.ones(1), np.ones(3)]), 0.5, 7.0
        )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 5).map(float), max_size=12), max_size=5))
def test_ranks_are_those_of_scipy_list_by_list(lists):
    lengths = [len(values) for values in lists]
    expected = np.concatenate([rankdata(values) for values in lists]) if lists else np.zeros(0)
    rows = np.repeat(np.arange(len(lists)), lengths)
    found = ranks_in_rows(np.concatenate([*map(np.array, lists), np.zeros(0)]), rows)
    assert found.tolist() == expected.tolist()
