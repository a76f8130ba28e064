"""Paths whose length, turns and distances are known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from chandraclip.evaluation.trajectories.paths import NoiseModel, path_statistics, source_bounds, whitening_of

SOURCE = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
POINTS = np.array(
    [[0, 0], [3, 0], [3, 4], [1, 1], [1, 2], [0, 0], [1, 0], [2, 0], [3, 0]],
    dtype=float,
)


def test_statistics_of_known_paths():
    first, last = source_bounds(SOURCE)
    assert first.tolist() == [0, 3, 5]
    assert last.tolist() == [2, 4, 8]
    centres = np.array([[0.0, 0.0]] * 3 + [[np.nan, np.nan]] * 2 + [[0.0, 1.0]] * 4)
    found = path_statistics(np.stack([POINTS, 2 * POINTS]), SOURCE, centres)
    assert found["length"].tolist() == [[7, 1, 3], [14, 2, 6]]
    assert found["displacement"].tolist() == [[5, 1, 3], [10, 2, 6]]
    assert found["turning"][0] == pytest.approx([90, np.nan, 0], nan_ok=True)
    assert found["class_distance"][0] == pytest.approx(
        [(0 + 3 + 5) / 3, np.nan, np.mean(np.hypot([0, 1, 2, 3], 1))], nan_ok=True
    )


def test_statistics_do_not_depend_on_other_sources():
    whole = path_statistics(POINTS[None], SOURCE)
    alone = path_statistics(POINTS[None, 5:], np.zeros(4, int))
    for name in ("length", "displacement", "turning"):
        assert whole[name][0, 2] == pytest.approx(alone[name][0, 0])


def test_noise_about_one_place_turns_by_120_degrees():
    points = np.random.default_rng(0).normal(size=(500, 6, 40))
    assert path_statistics(points, np.zeros(6, int))["turning"].mean() == pytest.approx(120, abs=2)


def test_what_all_observations_share_is_no_departure():
    rng = np.random.default_rng(1)
    noise = NoiseModel(np.zeros(5, int), rng.normal(size=(5, 3)), np.array([1, 1, 2, 2, 5.0]), np.eye(3))
    assert noise.departure(noise.mean[None] + 7.0) == pytest.approx(0, abs=1e-9)
    moved = noise.mean.copy()
    moved[0] += 3.0
    assert noise.departure(moved[None])[0, 0] > 10
    # A move of the observation that noise scatters most counts least.
    moved = noise.mean.copy()
    moved[4] += 3.0
    assert noise.departure(moved[None])[0, 0] < 2


def test_departure_of_noise_is_one_less_than_the_observations():
    rng = np.random.default_rng(2)
    source = np.repeat([0, 1], [3, 6])
    spread = np.array([1, 2, 3, 1, 1, 1, 2, 2, 2.0])
    noise = NoiseModel(source, np.zeros((9, 8)), spread * np.sqrt(8), np.eye(8))
    drawn = spread[:, None] * rng.normal(size=(4000, 9, 8))
    assert noise.departure(drawn).mean(axis=0) == pytest.approx([2, 5], rel=0.03)


def test_whitening_makes_noise_round_down_to_the_floor():
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(20_000, 4)) * [1.0, 2.0, 0.5, 1e-6]
    white = noise @ whitening_of(noise.T @ noise / len(noise), 0.01)
    assert white.std(axis=0)[:3] == pytest.approx([1, 1, 1], rel=0.02)
    assert white.std(axis=0)[3] < 1e-3
