"""The training set of PPAD: windows of 8 h, the bright ones, and rows of the dataset made of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from chandraclip.catalog.ragged import Ragged
from chandraclip.models.poisson_autodecoder.window_rows import window_rows
from chandraclip.models.poisson_autodecoder.windows import Windows, bright_probability, cut_windows, shift_windows

LIMITS = {"length": 100.0, "duration": (150.0, 900.0), "num_photons": (5, 60), "more_than": 3}


def direct_windows(times: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """(number, times) of one list's windows, photon by photon."""
    if not 5 <= len(times) <= 60 or not 150 <= times[-1] - times[0] <= 900:
        return []
    windows: list[list[float]] = []
    for time in times:
        if not windows or time > windows[-1][0] + 100:
            windows.append([])
        windows[-1].append(time)
    return [(number, np.array(window) - window[0]) for number, window in enumerate(windows) if len(window) > 3]


def lists() -> Ragged:
    rng = np.random.default_rng(0)
    rows = [np.sort(rng.uniform(5, rng.uniform(100, 1000), rng.integers(0, 70))) for _ in range(60)]
    rows[3], rows[4] = np.zeros(0), np.array([7.0, 107.0, 107.0, 207.5, 208.0, 208.5, 209.0])  # the end is inside
    return Ragged.from_rows(rows)


def window_times(windows: Windows) -> list[np.ndarray]:
    return np.split(windows.time, windows.offsets[1:-1])


def test_windows_are_those_of_a_loop_over_photons():
    time = lists()
    windows = cut_windows(time, **LIMITS)
    rows = [time.values[start:stop] for start, stop in zip(time.offsets, time.offsets[1:])]
    expected = [(row, number, times) for row, values in enumerate(rows) for number, times in direct_windows(values)]
    assert len(expected) > 40
    assert windows.row.tolist() == [row for row, _, _ in expected]
    assert windows.number.tolist() == [number for _, number, _ in expected]
    for found, (_, _, times) in zip(window_times(windows), expected, strict=True):
        np.testing.assert_allclose(found, times, rtol=0, atol=1e-9)
    np.testing.assert_allclose(time.values[windows.photon] - np.repeat(windows.start, windows.counts), windows.time)


@pytest.mark.parametrize("rows", [[], [np.zeros(0), None], [np.arange(4.0)]])
def test_no_windows_of_lists_that_are_left_out(rows):
    windows = cut_windows(Ragged.from_rows(rows), **LIMITS)
    assert len(windows.row) == len(windows.photon) == len(windows.start) == 0
    assert windows.offsets.tolist() == [0]


def test_a_shift_is_within_the_first_interval_and_drops_what_it_moves_past_the_end():
    windows = cut_windows(lists(), **LIMITS)
    shifted = shift_windows(windows, np.random.default_rng(1))
    shares = []
    for before, after, moved in zip(window_times(windows), window_times(shifted), windows.start - shifted.start):
        np.testing.assert_allclose(after, before[: len(after)] + moved, rtol=0, atol=1e-9)
        assert after[-1] <= before[-1]
        assert np.all(before[len(after) :] + moved > before[-1])
        shares.append(moved / (before[1] - before[0]) if before[1] > before[0] else 0.5)
    assert 0 <= min(shares) < max(shares) < 1
    assert 0.35 < np.mean(shares) < 0.65


def test_the_filter_prefers_bright_windows_by_the_published_formula():
    counts = np.array([1, 11, 100, 900, 7944])
    direct = 1 - 1 / (1 + np.exp(900**0.99 * counts**0.01 - 900))
    np.testing.assert_allclose(bright_probability(counts), direct, rtol=1e-6, atol=1e-15)
    assert bright_probability(np.array([900])) == pytest.approx(0.5)
    assert bright_probability(np.array([300]), location=300.0) == pytest.approx(0.5)


def test_rows_of_windows_have_their_photons_energies_and_good_time():
    rng = np.random.default_rng(2)
    time = np.sort(rng.uniform(1000, 61_000, 200))
    time = time[(time < 20_000) | (time > 25_000)]
    energy = rng.uniform(0.3, 8.0, len(time)).astype(np.float32)
    table = pa.table(
        {
            "name": ["short", "long"],
            "event_time": pa.array([[1.0, 2.0], time.tolist()], pa.list_(pa.float64())),
            "event_energy": pa.array([[1.0, 2.0], energy.tolist()], pa.list_(pa.float32())),
            "gti_start": pa.array([[0.0], [900.0, 25_000.0]], pa.list_(pa.float64())),
            "gti_stop": pa.array([[3.0], [20_000.0, 62_000.0]], pa.list_(pa.float64())),
        }
    )
    rows = window_rows(table, np.random.default_rng(3), (28_800.0, 2e5), (10, 10_000))
    found = rows[:]
    assert found["name"].to_pylist() == ["long", "long"]
    assert found["window"].to_pylist() == [0, 1]
    in_band = (energy >= 0.5) & (energy <= 7)
    assert len(found["event_energy"][0]) == len(found["event_time"][0])
    assert found["event_energy"][0].as_py()[:5] == energy[in_band][:5].tolist()
    times, starts, stops = (found[name].to_pylist() for name in ("event_time", "gti_start", "gti_stop"))
    for window in range(2):
        inside = [(low, high) for low, high in zip(starts[window], stops[window]) if high > low]
        assert inside[0][0] == 0
        assert inside[-1][1] == pytest.approx(times[window][-1])
        good = np.any([(low - 1e-6 <= np.array(times[window])) & (np.array(times[window]) <= high + 1e-6)
                       for low, high in inside], axis=0)  # fmt: skip
        assert good.all()
    assert sum(low > 0 for low in starts[0]) == 1  # the gap, moved
    assert stops[0][0] - starts[0][1] == pytest.approx(-5000)


def test_lists_without_energies_have_no_windows():
    rng = np.random.default_rng(1)
    times = [np.sort(rng.uniform(0.0, 40_000.0, 60)) for _ in range(3)]
    energies = [np.full(60, 1.0, dtype=np.float32), None, np.full(60, 3.0, dtype=np.float32)]
    columns = {
        "event_time": pa.array(times, pa.list_(pa.float64())),
        "event_energy": pa.array(energies, pa.list_(pa.float32())),
        "gti_start": pa.array([[0.0]] * 3, pa.list_(pa.float64())),
        "gti_stop": pa.array([[40_000.0]] * 3, pa.list_(pa.float64())),
    }
    windows = window_rows(pa.table(columns), rng, (28_800.0, 2e5), (10, 10_000))[:]
    assert set(windows["list_row"].to_pylist()) == {0, 2}  # of the rows given, not of those that were kept
    for row, energy in zip(windows["list_row"].to_pylist(), windows["event_energy"].to_pylist()):
        assert set(energy) == ({1.0} if row == 0 else {3.0})
