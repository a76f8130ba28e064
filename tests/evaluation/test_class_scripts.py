"""eval/classification.py and eval/clustering.py end to end, and what all such evaluations share."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chandraclip.errors import InputFileError, OptionError
from chandraclip.evaluation.compared import (
    HAND_OF_PHOTONS,
    Representation,
    compare_folders,
    folder_names,
    resampled_spectra,
    spectrum_components,
)
from chandraclip.evaluation.embeddings import EmbeddingTable
from chandraclip.evaluation.regression import HAND
from class_files import class_table, dataset_rows, planted


@pytest.fixture
def compared_folders(tmp_path, monkeypatch, write_dataset):
    """Two embeddings folders, `good/latents` and `noise/latents`, and their dataset; spectra tell the class."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    vectors, source, label = planted(num_sources=500)
    label = np.where(source % 25 == 0, -1, label)
    for name, values in {"good": vectors, "noise": np.random.default_rng(9).normal(size=vectors.shape)}.items():
        folder = tmp_path / name / "latents"
        folder.mkdir(parents=True)
        table = class_table(values, source, label)
        if name == "noise":  # in another order, and without one detection
            table = table.take(np.random.default_rng(2).permutation(table.num_rows)[1:])
        pq.write_table(table, folder / "embeddings.parquet")
        facts = {"model": name, "dataset": "d", "model_id": name, "simulated_rows": 1000}
        (folder / "embeddings.json").write_text(json.dumps(facts))
    dataset = write_dataset(tmp_path / "dataset", dataset_rows(class_table(vectors, source, label)))
    return [str(tmp_path / name / "latents") for name in ("good", "noise")], str(dataset)


def test_classification(script, compared_folders, tmp_path, capsys):
    folders, dataset = compared_folders
    script("eval/classification.py")([*folders, dataset, "--output", str(tmp_path / "c"), "--num_resamples", "20"])
    content = json.loads((tmp_path / "c" / "metrics.json").read_text())
    rows = content["results"]["tasks"]["8 classes"]["scores"]
    score = {(row["representation"], row["method"]): row["balanced_accuracy"] for row in rows}
    for method in ("linear", "knn", "random_forest"):
        assert score["good/latents: spectrum_latents", method] > 0.97
        assert score["noise/latents: spectrum_latents", method] < 0.3
        assert score[HAND, method] < 0.3
        assert score["pca_8", method] > 0.8  # the spectra have a line at an energy of the class
    first = content["headline"][0]
    assert first["metric"] == "8 classes balanced accuracy (linear, good/latents: spectrum_latents)"
    assert first["baseline_name"] == "hand features"
    assert first["low"] <= first["value"] <= first["high"]
    assert set(content["results"]["folders"]) == {"good/latents", "noise/latents"}
    left_out = content["results"]["tasks"]["8 classes"]["left_out"]
    assert left_out["no class, or one too rare"] in (39, 40)  # of 20 sources, less the one detection
    for name in ("confusion.png", "reliability.png", "counts.png"):
        assert (tmp_path / "c" / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    out = capsys.readouterr().out
    assert "no: simulated detections" in out
    assert "AGN or compact, votes" in out
    script("scripts/report.py")([str(tmp_path / "c")])
    assert "good/latents: spectrum_latents" in capsys.readouterr().out


def test_clustering(script, compared_folders, tmp_path, capsys):
    folders, dataset = compared_folders
    options = ["--output", str(tmp_path / "c"), "--num_resamples", "20", "--sizes", "2", "8", "--folds", "3"]
    script("eval/clustering.py")([*folders, dataset, *options, "--methods", "k-means", "agglomerative"])
    content = json.loads((tmp_path / "c" / "metrics.json").read_text())
    best = {(row["representation"], row["assignment"]): row for row in content["results"]["tasks"]["8 classes"]["best"]}
    assert best["good/latents: spectrum_latents", "one to one"]["balanced_accuracy"] > 0.97
    assert best["good/latents: spectrum_latents", "one to one"]["num_clusters"] == 8
    assert best["noise/latents: spectrum_latents", "one to one"]["balanced_accuracy"] < 0.25
    assert best["pca_8", "one to one"]["balanced_accuracy"] > 0.4
    published = {row["metric"]: row["published"] for row in content["headline"]}
    assert published["8 classes balanced accuracy (clusters, good/latents: spectrum_latents)"] == 0.40
    assert published["AGN or compact balanced accuracy (clusters, good/latents: spectrum_latents)"] == 0.69
    assert not any(row["comparable"] for row in content["headline"])
    assert set(content["results"]["tasks"]["8 classes"]["umlcaxs"]["lacking"]) >= {"var_ratio_b", "bb_kt"}
    for name in ("sizes.png", "contingency.png"):
        assert (tmp_path / "c" / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "class-normalised" in capsys.readouterr().out


def test_folders_are_compared_on_what_they_share(compared_folders, tmp_path):
    folders, dataset = compared_folders
    compared = compare_folders(folders, dataset)
    assert len(compared.table) == 999
    assert list(compared.representations) == [
        "good/latents: spectrum_latents",
        "noise/latents: spectrum_latents",
        HAND,
        HAND_OF_PHOTONS,
        "pca_8",
    ]
    sizes = [compared.representations[name].values.shape[1] for name in (HAND, HAND_OF_PHOTONS)]
    assert sizes == [3, 2]  # counts and a hardness ratio; theta is of the observation
    assert "noise/latents: xray_embedding" in compared.skipped
    noise = EmbeddingTable.load(folders[1])
    where = {key: row for row, key in enumerate(zip(noise.name, noise.keys["obsid"]))}
    order = [where[key] for key in zip(compared.table.name, compared.table.keys["obsid"])]
    values = compared.representations["noise/latents: spectrum_latents"].values
    np.testing.assert_array_equal(values, noise.arrays["spectrum_latents"][order])
    assert compared.representations["pca_8"].values.shape == (999, 8)
    assert compare_folders(folders, dataset, num_components=3).representations["pca_3"].values.shape == (999, 3)


def test_components_and_scales_are_of_train_alone():
    rng = np.random.default_rng(0)
    spectra, train = rng.normal(size=(200, 30)).astype(np.float32), np.arange(200) < 120
    mask = np.arange(200) % 7 > 0
    other = np.where(train[:, None], spectra, 100 * rng.normal(size=spectra.shape)).astype(np.float32)
    first, second = (spectrum_components(values, mask, train, 4)[train] for values in (spectra, other))
    np.testing.assert_array_equal(first, second)
    assert not first[~mask[train]].any()
    assert first[mask[train]].std(axis=0).min() > 0.5
    scaled = [Representation(values, mask).scaled(np.flatnonzero(train))[train] for values in (spectra, other)]
    np.testing.assert_array_equal(*scaled)
    assert scaled[0].std(axis=0) == pytest.approx(np.ones(30))


def test_what_cannot_be_compared_is_refused(compared_folders, tmp_path):
    folders, dataset = compared_folders
    with pytest.raises(OptionError, match="given twice"):
        compare_folders([folders[0], folders[0]], dataset)
    with pytest.raises(InputFileError, match=r"no representation.*event_latents in 0%"):
        compare_folders(folders[:1], dataset, ["event_latents"])
    table = pq.read_table(f"{folders[0]}/embeddings.parquet")
    moved = tmp_path / "moved"
    moved.mkdir()
    split = pa.array(np.where(np.asarray(table["split"]) == "test", "train", np.asarray(table["split"])))
    index = table.column_names.index("split")
    pq.write_table(table.set_column(index, table.schema.field("split"), split), moved / "embeddings.parquet")
    with pytest.raises(InputFileError, match="other splits"):
        compare_folders([folders[0], moved], dataset)
    other = tmp_path / "other"
    other.mkdir()
    renamed = pa.array([f"{name}x" for name in table["name"].to_pylist()])
    pq.write_table(table.set_column(0, table.schema.field("name"), renamed), other / "embeddings.parquet")
    with pytest.raises(InputFileError, match="no detection is also in"):
        compare_folders([folders[0], other], dataset)


def test_folder_names_are_the_shortest_that_differ(tmp_path):
    paths = [tmp_path / name for name in ("a/default", "b/default", "c/other")]
    assert folder_names(paths) == ["a/default", "b/default", "c/other"]
    assert folder_names(paths[:1]) == ["default"]
    assert folder_names(paths[1:]) == ["default", "other"]


def test_spectra_of_the_baseline_are_those_the_models_see(compared_folders):
    """Of every row, whatever the order of the embeddings."""
    from datasets import load_dataset

    from chandraclip.models import SpectrumFeatureExtractor

    folders, dataset = compared_folders
    table = EmbeddingTable.load(folders[1])
    values, mask = resampled_spectra(dataset, table)
    assert mask.all()
    rows = pa.concat_tables([part.with_format("arrow")[:] for part in load_dataset(dataset, "pairs").values()])
    seen = SpectrumFeatureExtractor()(rows, return_tensors="np")["spectrum_values"]
    place = {key: row for row, key in enumerate(zip(rows["name"].to_pylist(), rows["obsid"].to_pylist()))}
    order = [place[key] for key in zip(table.name.tolist(), table.keys["obsid"].tolist())]
    np.testing.assert_allclose(values, seen[order], atol=1e-6)  # rows are read in other batches


def test_classes_in_no_split_end_in_one_sentence(script, compared_folders, tmp_path):
    folders, dataset = compared_folders
    table = pq.read_table(f"{folders[0]}/embeddings.parquet")
    index = table.column_names.index("source_class")
    unknown = pa.nulls(table.num_rows, pa.int64())
    pq.write_table(
        table.set_column(index, table.schema.field("source_class"), unknown), f"{folders[0]}/embeddings.parquet"
    )
    for name in ("classification", "clustering"):
        with pytest.raises(InputFileError, match="no class has detections enough"):
            script(f"eval/{name}.py")([folders[0], dataset, "--output", str(tmp_path / "x")])
