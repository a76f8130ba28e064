"""Classifiers of stars and AGN: features, scores, the program on simulated spectra and on a dataset."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from chandraclip.errors import InputFileError
from chandraclip.evaluation.count_spectra import FIRST_BIN, NUM_BINS
from chandraclip.evaluation.star_agn import (
    HARDNESS,
    NETWORK,
    NUM_ENERGIES,
    StarAgnClassifier,
    accuracy_records,
    hardness_features,
    spectral_features,
)
from training_files import dataset  # noqa: F401, a fixture


def spectra(num_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A smooth continuum, and for stars a line at 1 keV that hardness ratios do not see, for as many counts."""
    generator = np.random.default_rng(seed)
    energy = 0.0146 * (FIRST_BIN + 0.5 + np.arange(NUM_BINS))
    smooth = np.exp(-energy)
    soft = (energy > 0.5) & (energy < 1.2)
    line = np.exp(-0.5 * ((energy - 0.9) / 0.05) ** 2) * soft
    line *= smooth[soft].sum() / line.sum()
    star = np.where(soft, 0.4 * smooth + 0.6 * line, smooth)
    is_agn = generator.random(num_rows) < 0.5
    shape = np.where(is_agn[:, None], smooth, star)
    counts = generator.poisson(200 * shape / shape.sum(axis=1, keepdims=True) + 0.05)
    return counts, np.full((num_rows, NUM_BINS), 0.05), is_agn


def test_features():
    counts, background, _ = spectra(20, 0)
    features = spectral_features(counts, background)
    assert features.shape == (20, NUM_ENERGIES + 2)
    np.testing.assert_allclose((features[:, :NUM_ENERGIES] ** 2).sum(axis=1), 1.0)
    np.testing.assert_allclose(features[:, -2], np.log10(counts.sum(axis=1)))
    assert np.isfinite(spectral_features(np.zeros((1, NUM_BINS)), np.zeros((1, NUM_BINS)))).all()
    bands = hardness_features(np.eye(NUM_BINS)[[0, 100, 300]] * 1000, np.zeros((3, NUM_BINS)))
    np.testing.assert_allclose(bands[:, 1], [-0.999, 0, 0.999], atol=1e-3)
    with pytest.raises(ValueError, match="445 channels, these have 1024"):
        spectral_features(np.zeros((1, 1024)), np.zeros((1, 1024)))


def test_a_line_is_seen_by_the_network_and_not_by_hardness():
    counts, background, is_agn = spectra(1500, 1)
    classifier = StarAgnClassifier.fit(counts, background, is_agn, max_epochs=60)
    counts, background, is_agn = spectra(800, 2)
    truth = {"net_counts": np.where(np.arange(800) < 790, 200.0, 20.0)}
    predicted = classifier.predict(counts, background)
    records = accuracy_records(predicted, is_agn, truth, np.arange(800), num_resamples=100)
    assert [(r["quantity"], r["range"]) for r in records] == [
        ("all", ""),
        ("net_counts", "100-300"),  # ten spectra of 20 counts are too few to tell
        ("moderate brightness", "100-1000 net counts"),
    ]
    assert records[0][NETWORK] > 0.97
    assert abs(records[0][HARDNESS] - 0.5) < 0.1
    for record in records:
        assert record[f"{NETWORK}_low"] <= record[NETWORK] <= record[f"{NETWORK}_high"]
        assert 0.5 <= record["chance"] < 0.6
    with pytest.raises(ValueError, match="one class only"):
        StarAgnClassifier.fit(counts, background, np.ones(800, bool))


@pytest.fixture
def program(repository):
    spec = importlib.util.spec_from_file_location("star_agn_program", repository / "eval" / "star_agn.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_program(program, dataset, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    output = tmp_path / "out"
    options = ["--num_spectra", "2000", "--max_epochs", "15", "--num_resamples", "50", "--dataset", str(dataset)]
    program.main(["--output", str(output), *options, "--split", "train"])
    content = json.loads((output / "metrics.json").read_text())
    assert content["embeddings"]["num_spectra"] == 2000
    simulated = content["results"]["simulated"]
    assert {record["quantity"] for record in simulated} >= {
        "all",
        "net_counts",
        "background_share",
        "log_nh",
        "kt",
        "gamma",
    }
    assert simulated[0]["num_spectra"] == 600
    assert simulated[0][NETWORK] > simulated[0]["chance"] + 0.1
    moderate = next(item for item in content["headline"] if "simulated, moderate" in item["metric"])
    assert (moderate["published"], moderate["comparable"]) == (0.92, False)
    assert moderate["baseline_name"] == HARDNESS
    rows = pq.read_table(next(iter(sorted((dataset / "data").glob("train-*")))), columns=["source_class"])
    wanted = np.isin(rows["source_class"].fill_null(-1).to_numpy(), [0, 4, 7])  # AGN, LM-STAR, YSO
    assert 0 <= wanted.sum() - content["results"]["dataset"][0]["num_spectra"] <= 5  # without counts in the band
    assert (output / "star_agn.png").stat().st_size > 10_000
    assert "larger class" in (output / "star_agn.md").read_text()
    assert "moderate brightness" in capsys.readouterr().out


def test_refusals(program, dataset, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    with pytest.raises(InputFileError, match="no split 'tests'"):
        program.dataset_rows(str(dataset), "tests")
    folder = tmp_path / "agn"
    folder.mkdir()
    rows = pq.read_table(next(iter(sorted((dataset / "data").glob("train-*")))))
    agn = rows.filter(np.asarray(rows["source_class"].fill_null(-1)) == 0)
    pq.write_table(agn, folder / "train.parquet")
    with pytest.raises(InputFileError, match=r"no spectra of both AGN and LM-STAR or YSO"):
        program.dataset_rows(str(folder), "train")
    pq.write_table(rows.drop_columns(["spectrum_counts"]), folder / "train.parquet")
    with pytest.raises(InputFileError, match=r"spectrum_counts.*missing"):
        program.dataset_rows(str(folder), "train")
    for wrong in (["--num_spectra", "10"], ["--max_epochs", "0"], ["--num_resamples", "0"], ["--seed", "-1"]):
        with pytest.raises(SystemExit) as stopped:
            program.parse_arguments(["--output", str(tmp_path), *wrong])
        assert stopped.value.code == 2
