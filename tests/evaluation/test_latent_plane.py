"""The plane of latents, and what its program finds beside a source that is planted as soft."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.schema import build_table
from chandraclip.errors import QueryError
from chandraclip.evaluation.embeddings import EMBEDDINGS_FILE, EMBEDDINGS_SCHEMA
from chandraclip.evaluation.latent_plane import Plane, class_counts, paths_across, plot_plane, soft_neighbours
from embedding_files import write_dataset


def test_two_latents_are_their_own_plane():
    latents = np.random.default_rng(0).normal(size=(50, 2)) * [3.0, 1.0]
    plane = Plane.of(latents)
    np.testing.assert_array_equal(plane.points(latents), latents)
    np.testing.assert_array_equal(plane.latents(latents), latents)
    assert plane.labels == ("latent 1", "latent 2")


def test_of_more_latents_the_plane_has_the_most_variance():
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(6, 6)))[0][:2]
    latents = rng.normal(size=(400, 2)) * [5.0, 2.0] @ axes + 0.1 * rng.normal(size=(400, 6)) + 7.0
    plane = Plane.of(latents)
    np.testing.assert_allclose(np.abs(plane.axes @ axes.T), np.eye(2), atol=0.05)
    assert plane.explained.sum() > 0.99
    points = plane.points(latents)
    np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(plane.latents(points), latents, atol=0.6)
    np.testing.assert_allclose(plane.points(plane.latents(points)), points)
    assert "principal component 1 (8" in plane.labels[0]


@pytest.mark.parametrize(
    "latents, message",
    [(np.zeros((9, 3)), "are the same"), (np.zeros((9, 1)), "a plane needs"), (np.eye(2), "needs 3")],
)
def test_what_is_no_plane_is_refused(latents: np.ndarray, message: str):
    with pytest.raises(ValueError, match=message):
        Plane.of(latents)


def test_paths_go_through_the_middle_along_each_axis():
    points = np.random.default_rng(1).normal((2.0, -3.0), size=(1000, 2))
    first, second = paths_across(points, 5)
    middle = np.median(points, axis=0)
    assert (first[:, 1] == middle[1]).all()
    assert (second[:, 0] == middle[0]).all()
    np.testing.assert_allclose(first[[0, -1], 0], np.quantile(points[:, 0], [0.02, 0.98]))


def test_soft_neighbours_are_counted():
    hardness = np.array([-1.0, -0.9, 0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0])
    neighbours = np.array([[1, 2]] + [[0, 5]] + [[3, 4]] * 8)
    shares, limit = soft_neighbours(hardness, np.array([0, 1, 2]), neighbours, 0.2)
    assert shares.tolist() == [0.5, 0.5, 0.0]
    assert -0.9 <= limit < 0.0
    assert class_counts(np.array(["AGN", None, "CV", "AGN"], dtype=object), np.arange(4)) == {
        "AGN": 2, "CV": 1, "unknown": 1,
    }  # fmt: skip


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Embeddings of three latents and their dataset: hardness is the first of the latents, in all but faint sources."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    rng = np.random.default_rng(0)
    number = 300
    latents = rng.normal(size=(number, 3)).astype(np.float32)
    latents[:, 0] *= 4
    counts = np.where(np.arange(number) % 5 == 0, 10.0, 500.0)
    hardness = np.clip(latents[:, 0] / 12.0, -0.99, 0.99)
    hardness[counts < 100] = -1.0
    names = [f"SIM J{row:06d}" for row in range(number)]
    keys = {"name": names, "obsid": np.arange(number), "obi": np.zeros(number, int), "region_id": np.ones(number, int),
            "split": ["test"] * number}  # fmt: skip
    classes = pa.array(np.arange(number) % 3)
    columns = {name: pa.array(values) for name, values in keys.items()} | {"source_class": classes}
    lists = Ragged.from_rows(list(latents)).to_arrow(pa.list_(pa.float32()))
    arrays = [
        columns.get(field.name, lists if field.name == "spectrum_latents" else pa.nulls(number, field.type))
        for field in EMBEDDINGS_SCHEMA
    ]
    (tmp_path / "embeddings").mkdir()
    table = pa.table(arrays, names=EMBEDDINGS_SCHEMA.names).cast(EMBEDDINGS_SCHEMA)
    pq.write_table(table, tmp_path / "embeddings" / EMBEDDINGS_FILE)
    facts = {"hard_hs": hardness, "src_cnts_aper_b": counts, "source_class": classes}
    write_dataset(tmp_path / "dataset", build_table({**keys, **facts}))
    return tmp_path / "embeddings", tmp_path / "dataset"


def test_the_program_searches_from_the_softest_bright_source(planted, script, tmp_path: Path):
    embeddings, dataset = planted
    script("eval/latent_plane.py")([str(embeddings), str(dataset), "--output", str(tmp_path / "out")])
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    headline, results = metrics["headline"][0], metrics["results"]
    assert 0.04 < headline["chance"] < 0.05  # a source is no neighbour of its own
    assert headline["low"] <= headline["value"] <= headline["high"]
    assert headline["value"] > 3 * headline["chance"]  # the softest lie together, in a plane of noise beside
    assert results["detections"] == 240
    first, *others = results["search"]
    assert first["src_cnts_aper_b"] == 500.0  # faint ones are softer still
    assert len(others) == 10
    assert max(row["hard_hs"] for row in others) < 0.0
    assert all(row["name"] != first["name"] for row in others)
    found = pd.read_csv(tmp_path / "out" / "neighbours.csv")
    assert found["name"].tolist() == [row["name"] for row in results["search"]]
    assert (tmp_path / "out" / "latent_plane.png").stat().st_size > 10_000


def test_few_bright_detections_are_no_plane(planted, script):
    embeddings, dataset = planted
    with pytest.raises(QueryError, match="0 detections of split test have latents, a hardness and 9999 counts"):
        script("eval/latent_plane.py")([str(embeddings), str(dataset), "--min_counts", "9999"])


def test_decoded_spectra_are_drawn_along_the_plane(tmp_path: Path):
    points = np.random.default_rng(0).normal(size=(100, 2))
    energies = np.geomspace(0.3, 10, 50)
    lines = [np.outer(np.linspace(1, 2, 7), energies**-1.0)] * 2
    classes = np.array(["AGN", None] * 50, dtype=object)
    with_spectra, without = tmp_path / "with.png", tmp_path / "without.png"
    common = (Plane.of(points), points, classes, points[:, 0], 3, np.arange(5))
    plot_plane(*common, with_spectra, "title", (energies, lines, "unit"))
    plot_plane(*common, without, "title")
    assert with_spectra.stat().st_size > without.stat().st_size > 10_000
