"""A dataset reconstructed with a real, tiny model: the file, the halves, what is refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from chandraclip.catalog.ragged import Ragged
from chandraclip.embedding.reconstruction import reconstruct_dataset, thin_to_halves
from chandraclip.errors import InputFileError
from chandraclip.evaluation.reconstructions import RECONSTRUCTIONS_FILE, ReconstructionTable
from chandraclip.models import FAMILIES, SpectrumAutoencoderConfig, SpectrumAutoencoderModel, SpectrumFeatureExtractor
from training_files import dataset  # noqa: F401, a fixture


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "latent_size": 8}
    SpectrumAutoencoderModel(SpectrumAutoencoderConfig(**small)).save_pretrained(folder)
    SpectrumFeatureExtractor().save_pretrained(folder)
    return str(folder)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def test_halves_are_of_the_whole() -> None:
    counts = Ragged.from_rows([np.array([0, 1, 1000, 7]), None, np.array([100_000])])
    rows = pa.table(
        {
            "spectrum_counts": counts.to_arrow(pa.list_(pa.int32())),
            "exposure": pa.array([1000.0, None, 3.0], pa.float32()),
            "background_scale": pa.array([0.5, None, None], pa.float32()),
            "background": pa.array([4, 5, 6]),
        }
    )
    half, rest = thin_to_halves(rows, np.random.default_rng(1))
    kept = Ragged.from_arrow(half["spectrum_counts"])
    np.testing.assert_array_equal(kept.values + rest.values, counts.values)
    assert (rest.values >= 0).all()
    assert abs(kept.values[-1] - 50_000) < 1000
    assert half["exposure"].to_pylist() == [500.0, None, 1.5]
    assert half["background_scale"].to_pylist() == [0.25, None, None]
    assert half["spectrum_counts"].null_count == 1
    assert half["background"].to_pylist() == [4, 5, 6]
    assert half.schema.names == rows.schema.names


def test_file_has_every_row_whatever_the_batch(model, dataset, tmp_path) -> None:  # noqa: F811
    facts = reconstruct_dataset(model, str(dataset), tmp_path / "a", split="all", batch_size=64)
    reconstruct_dataset(model, str(dataset), tmp_path / "b", split="all", batch_size=13)
    assert sum(facts["rows"].values()) == 250
    assert (facts["model_type"], facts["num_latents"]) == ("spectrum_autoencoder", 8)
    table, other = (ReconstructionTable.load(tmp_path / name) for name in "ab")
    assert len(table) == 250
    np.testing.assert_array_equal(table.held_out.values, other.held_out.values)
    np.testing.assert_allclose(table.expected.values, other.expected.values, rtol=1e-4, atol=1e-5)
    # The rows in the file are the dataset's, with the numbers of the model.
    rows = pq.read_table(next(iter(sorted((dataset / "data").glob("test-*")))))
    part = rows.slice(3, 2)
    extractor = SpectrumFeatureExtractor()
    network = SpectrumAutoencoderModel.from_pretrained(model).eval()
    network.feature_extractor = extractor
    expected = network.expected_counts(part, extractor(part))
    test = ReconstructionTable.load(tmp_path / "a", "test")
    assert test.keys["obsid"][3] == part["obsid"][0].as_py()
    span = slice(test.expected.offsets[3], test.expected.offsets[5])
    np.testing.assert_allclose(test.expected.values[span], expected.values, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        reconstruction = network(**extractor(part)).reconstruction.numpy()
    np.testing.assert_allclose(test.reconstruction[3:5], reconstruction, rtol=1e-4, atol=1e-5)
    mean, covariance = table.train_points
    assert mean.shape == (400,)
    np.testing.assert_allclose(covariance, covariance.T)
    train = ReconstructionTable.load(tmp_path / "a", "train")
    np.testing.assert_allclose(mean, train.points.mean(axis=0), atol=1e-5)


def test_points_of_other_features_come_from_the_counts(model, dataset, tmp_path) -> None:  # noqa: F811
    """All models are compared on the published points, whatever they read."""
    shutil.copytree(model, tmp_path / "model")
    SpectrumFeatureExtractor(normalization="sqrt").save_pretrained(tmp_path / "model")
    reconstruct_dataset(str(tmp_path / "model"), str(dataset), tmp_path / "out")
    table = ReconstructionTable.load(tmp_path / "out")
    rows = pq.read_table(next(iter(sorted((dataset / "data").glob("test-*")))))
    extractor = SpectrumFeatureExtractor()
    np.testing.assert_allclose(table.points, extractor(rows, return_tensors="np")["spectrum_values"])
    expected = Ragged(table.expected.values, table.expected.offsets)
    np.testing.assert_allclose(table.reconstruction, extractor.values_of(rows, expected), rtol=1e-3, atol=1e-3)


def test_refusals(model, dataset, tmp_path) -> None:  # noqa: F811
    with pytest.raises(InputFileError, match="no split 'tests'"):
        reconstruct_dataset(model, str(dataset), tmp_path / "out", split="tests")
    with pytest.raises(InputFileError, match=r"expected reconstructions\.parquet"):
        ReconstructionTable.load(tmp_path)
    with pytest.raises(InputFileError, match="a spectrum_autoencoder does not fit its latents to counts"):
        reconstruct_dataset(model, str(dataset), tmp_path / "out", fit_steps=5)
    reconstruct_dataset(model, str(dataset), tmp_path / "out")
    with pytest.raises(InputFileError, match="no row of 'train' has a spectrum"):
        ReconstructionTable.load(tmp_path / "out", "train")
    file = tmp_path / "out" / RECONSTRUCTIONS_FILE
    table = pq.read_table(file)

    def refused(changed: pa.Table, reason: str) -> None:
        pq.write_table(changed, file)
        with pytest.raises(InputFileError, match=reason):
            ReconstructionTable.load(tmp_path / "out")

    refused(table.drop_columns(["held_out_counts"]), "held_out_counts.*missing")
    refused(pa.concat_tables([table, table]), "repeat the key")
    rows = [np.array(row) for row in table["expected_counts"].to_pylist()]
    place = table.column_names.index("expected_counts")
    for values, reason in (
        ([-row - 1 for row in rows], "negative or not finite"),
        ([row * np.nan for row in rows], "negative or not finite"),
        ([row[1:] for row in rows], "another length than held_out_counts"),
    ):
        column = Ragged.from_rows(values).to_arrow(pa.list_(pa.float32()))
        refused(table.set_column(place, "expected_counts", column), reason)
    file.write_text("no Parquet")
    with pytest.raises(InputFileError, match="not a readable Parquet file"):
        ReconstructionTable.load(tmp_path / "out")


def test_program(model, dataset, tmp_path, repository, capsys) -> None:  # noqa: F811
    spec = importlib.util.spec_from_file_location("reconstruct", repository / "scripts" / "reconstruct.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    program.main([model, str(dataset), str(tmp_path / "out"), "--split", "validation", "--device", "cpu"])
    facts = json.loads((tmp_path / "out" / "reconstructions.json").read_text())
    assert list(facts["rows"]) == ["validation"]
    assert facts["simulated_rows"] == facts["rows"]["validation"]
    assert "reconstructions.parquet" in capsys.readouterr().out
    for wrong in (["--batch_size", "0"], ["--seed", "-1"], ["--fit_steps", "-1"]):
        with pytest.raises(SystemExit) as stopped:
            program.main([model, str(dataset), str(tmp_path / "out"), *wrong])
        assert stopped.value.code == 2


def test_a_family_that_folds_needs_the_response_of_each_row(dataset, tmp_path) -> None:  # noqa: F811
    """It gets the dataset's responses; a row that has none is null in the file and left out of what is read."""
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

    torch.manual_seed(0)
    config = AutoConfig.for_model("folded_spectrum_autoencoder", latent_size=4)
    AutoModel.from_config(config).save_pretrained(tmp_path / "model")
    FAMILIES["folded_spectrum_autoencoder"].feature_extractor_class().save_pretrained(tmp_path / "model")
    assert AutoFeatureExtractor.from_pretrained(tmp_path / "model").reads_responses
    folder = tmp_path / "dataset"
    shutil.copytree(dataset, folder)
    file = next(iter(sorted((folder / "data").glob("test-*"))))
    rows = pq.read_table(file)
    names = rows["response_id"].to_pylist()
    names[1] = None
    changed = rows.set_column(rows.column_names.index("response_id"), "response_id", pa.array(names, pa.string()))
    pq.write_table(changed, file)
    reconstruct_dataset(str(tmp_path / "model"), str(folder), tmp_path / "out")
    written = pq.read_table(tmp_path / "out" / RECONSTRUCTIONS_FILE)
    assert written.num_rows == len(rows)
    for name in ("expected_counts", "half_expected_counts", "held_out_counts", "points", "reconstruction"):
        assert written[name].null_count == 1
        assert not written[name][1].is_valid
    table = ReconstructionTable.load(tmp_path / "out")
    assert len(table) == len(rows) - 1
    assert np.isfinite(table.reconstruction).all()
    total = np.add.reduceat(table.expected.values, table.expected.offsets[:-1])
    assert (total > 0).all()
