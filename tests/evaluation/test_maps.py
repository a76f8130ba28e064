"""Maps: the same for the same seed, near points near, and an error that names the extra."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from chandraclip.errors import OptionError
from chandraclip.evaluation.maps import TSNE, layout, plane_of, plot_maps, turned_to


def two_clouds(rows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    group = np.repeat([0, 1], rows // 2)
    points = 6.0 * np.eye(8)[group] + np.random.default_rng(0).normal(size=(rows, 8))
    return points, group


def test_a_layout_keeps_clouds_apart_and_is_the_same_again():
    pytest.importorskip("umap")
    points, group = two_clouds()
    plane = layout(points, seed=3)
    assert plane.shape == (60, 2)
    assert 0.85 < (np.abs(plane).max(axis=1) <= 1 + 1e-9).mean() < 1
    centres = np.stack([plane[group == number].mean(axis=0) for number in (0, 1)])
    scatter = max(plane[group == number].std() for number in (0, 1))
    assert np.linalg.norm(centres[0] - centres[1]) > 2 * scatter
    assert np.array_equal(plane, layout(points, seed=3))
    with pytest.raises(ValueError, match="15 detections are too few"):
        layout(points[:15])


def test_the_published_layout_keeps_clouds_apart_in_its_own_units():
    points, group = two_clouds()
    plane = plane_of(points, 505, TSNE)
    assert np.array_equal(plane, plane_of(points, 505, TSNE))
    centres = np.stack([plane[group == number].mean(axis=0) for number in (0, 1)])
    assert np.linalg.norm(centres[0] - centres[1]) > plane[group == 0].std()
    assert (np.abs(layout(points, 505, TSNE)).max(axis=1) <= 1 + 1e-9).mean() == pytest.approx(0.9, abs=0.05)
    with pytest.raises(ValueError, match="50 detections are too few for a map with 50 neighbours"):
        plane_of(points[:50], 505, TSNE)


def test_turning_undoes_a_turn_and_a_mirror():
    plane = np.random.default_rng(0).normal(size=(50, 2))
    turn = np.array([[0.6, -0.8], [0.8, 0.6]]) @ np.diag([1, -1])
    assert turned_to(plane @ turn, plane) == pytest.approx(plane)


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(OptionError, match=r"pip install 'chandraclip\[maps\]'"):
        layout(two_clouds()[0])


def test_maps_are_drawn_with_what_there_is(tmp_path):
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(80, 2))
    columns = {
        "source_class": np.where(rng.random(80) < 0.3, -1.0, rng.integers(0, 8, 80).astype(float)),
        "hard_hs": rng.normal(size=80),
        "true_nh": np.full(80, np.nan),
        "powlaw_nh": 10 ** rng.normal(size=80),
        "src_cnts_aper_b": 10 ** rng.normal(size=80) - 0.1,
    }
    drawn = plot_maps({"before": plane, "after": plane[::-1]}, columns, tmp_path / "maps.png", "Maps")
    assert list(drawn) == ["source_class", "hard_hs", "powlaw_nh", "src_cnts_aper_b"]
    assert (tmp_path / "maps.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
