"""Scores of reconstructions of which the truth is known, and the program on a small simulated dataset."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import warm_python
from chandraclip.catalog.ragged import Ragged
from chandraclip.errors import InputFileError
from chandraclip.evaluation.count_spectra import FIRST_BIN, NUM_BINS, BandSpectra, ShapeModel
from chandraclip.evaluation.reconstruction import (
    CONSTANT,
    MEAN,
    Observed,
    decade_name,
    decade_of,
    differences,
    score_models,
    summarize,
)
from chandraclip.evaluation.reconstruction_figures import choose_examples
from chandraclip.evaluation.reconstructions import (
    RECONSTRUCTIONS_FILE,
    RECONSTRUCTIONS_SCHEMA,
    ReconstructionTable,
    load_tables,
)
from training_files import dataset  # noqa: F401, a fixture


def truth(num_rows: int = 400, seed: int = 0) -> tuple[Observed, np.ndarray]:
    """Spectra of 5 to 5,000 counts drawn from a falling shape, halved, and their expected counts (rows, 1024)."""
    generator = np.random.default_rng(seed)
    shape = np.exp(-0.0146 * np.arange(1024))
    expected = 10.0 ** generator.uniform(0.7, 3.7, num_rows)[:, None] * shape / shape[34:479].sum()
    counts = generator.poisson(expected)
    held_out = counts - generator.binomial(counts, 0.5)
    lists = Ragged(counts.reshape(-1), np.arange(num_rows + 1) * 1024)
    band = BandSpectra.of(pa.table({"spectrum_counts": lists.to_arrow(pa.list_(pa.int32()))}))
    flat = [values.reshape(-1)[band.channels].astype(float) for values in (counts, held_out)]
    return Observed(band, *flat), expected


def test_the_truth_scores_what_a_true_model_should():
    observed, expected = truth()
    flat = expected.reshape(-1)[observed.band.channels]
    scores = observed.score(flat, flat / 2)
    assert scores.cash.mean() == pytest.approx(scores.perfect.mean(), rel=0.02)
    assert scores.held_out_cash.mean() == pytest.approx(scores.held_out_perfect.mean(), rel=0.02)
    assert abs(scores.excess.mean()) < 0.2
    assert scores.excess.std() == pytest.approx(1.0, abs=0.15)
    assert np.isnan(scores.mae).all()


def test_a_copy_of_the_noise_is_good_on_what_it_saw_alone():
    observed, expected = truth()
    flat = expected.reshape(-1)[observed.band.channels]
    copy = observed.score(observed.counts, observed.counts - observed.held_out)
    true = observed.score(flat, flat / 2)
    assert copy.cash.mean() < 0.05 < true.cash.mean()
    assert copy.held_out_cash.mean() > 3 * true.held_out_cash.mean()
    assert np.isfinite(copy.held_out_cash).all()


def test_decades():
    np.testing.assert_array_equal(decade_of(np.array([0, 9.9, 10, 999, 1e4, 1e9])), [0, 0, 1, 2, 4, 4])
    assert [decade_name(number) for number in range(5)] == [
        "0-10",
        "10-100",
        "100-1000",
        "1000-10000",
        "10000+",
    ]
    observed, expected = truth()
    flat = expected.reshape(-1)[observed.band.channels]
    scores = {"true": observed.score(flat, flat / 2), "twice": observed.score(2 * flat, flat)}
    names = np.repeat([f"source {number}" for number in range(200)], 2)
    records = summarize(scores, observed.totals, names, num_resamples=200)
    assert records[-1]["counts"] == "all"
    assert sum(r["num_rows"] for r in records if r["model"] == "true") == 2 * 400
    for record in records:
        assert record["cash_low"] <= record["cash"] <= record["cash_high"]
        assert np.isnan(record["mae"])
    compared = differences(scores, "true", ["twice"], observed.totals, names, num_resamples=200)
    assert all(record["held_out_cash_low"] > 0 for record in compared if record["counts"] != "0-10")


def test_simple_models_stand_beside():
    observed, expected = truth()
    num_rows = len(expected)
    lists = Ragged(expected.reshape(-1), np.arange(num_rows + 1) * 1024)
    half = Ragged(lists.values / 2, lists.offsets)
    held_out = Ragged(np.zeros(len(lists.values), int), lists.offsets)
    points = np.random.default_rng(0).normal(size=(num_rows, 3)).astype(np.float32) @ np.eye(3, 20, dtype=np.float32)
    table = ReconstructionTable(
        keys={"name": np.array([f"s{number}" for number in range(num_rows)])},
        split=np.full(num_rows, "test"),
        expected=lists,
        half_expected=half,
        held_out=held_out,
        points=points,
        reconstruction=points + 0.5,
        train_points=(points.mean(axis=0), np.cov(points.T)),
        provenance={"model_type": "true", "num_latents": 3},
    )
    shapes = ShapeModel.fit([(observed.band, observed.counts)])
    scores, counts = score_models({"true 3": table}, observed, shapes)
    assert list(scores) == ["true 3", CONSTANT, MEAN, "PCA 3"]
    held_out_cash = {name: values.held_out_cash.mean() for name, values in scores.items()}
    assert held_out_cash["true 3"] < held_out_cash[MEAN] < held_out_cash[CONSTANT]
    assert held_out_cash["PCA 3"] < 1.02 * held_out_cash[MEAN]
    assert scores["true 3"].mae.mean() == pytest.approx(0.5)
    assert scores["PCA 3"].mae.max() < 1e-4  # three numbers are all that the points have
    assert scores[MEAN].mae.mean() > 0.05
    for name in (CONSTANT, MEAN, "PCA 3"):
        np.testing.assert_allclose(observed.band.sums(counts[name]), observed.totals, rtol=1e-6)
    assert list(score_models({"true 3": replace(table, train_points=None)}, observed, None)[0]) == ["true 3", CONSTANT]


def test_examples():
    totals, scores = np.geomspace(2, 5e4, 100), np.zeros(100)
    chosen = choose_examples(totals, scores, each=3)
    assert len(chosen) == 15
    assert len(set(decade_of(totals[chosen]))) == 5
    np.testing.assert_array_equal(choose_examples(totals[::-1][:20], scores[:20]), np.arange(20)[::-1])


@pytest.fixture
def program(repository):
    spec = importlib.util.spec_from_file_location("evaluate_reconstruction", repository / "eval" / "reconstruction.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def reconstructions(tmp_path, monkeypatch, dataset):  # noqa: F811
    """Two models of the test rows of the dataset: the counts smoothed over a window, and a flat spectrum."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    rows = pq.read_table(next(iter(sorted((dataset / "data").glob("test-*")))))
    counts = Ragged.from_arrow(rows["spectrum_counts"])
    table = counts.values.reshape(len(counts), -1)
    generator = np.random.default_rng(0)
    kept = generator.binomial(table, 0.5)
    window = np.ones(61) / 61

    def smooth(values):
        return np.apply_along_axis(lambda row: np.convolve(row, window, mode="same"), 1, values)

    def flat(values):
        inside = values[:, FIRST_BIN : FIRST_BIN + NUM_BINS].sum(axis=1, keepdims=True) / NUM_BINS
        return np.repeat(inside, values.shape[1], axis=1)

    points = generator.uniform(size=(len(table), 400))
    folders = []
    for name, model in (("smooth", smooth), ("flat", flat)):
        lists = {
            "expected_counts": model(table),
            "half_expected_counts": model(kept),
            "held_out_counts": table - kept,
            "points": points,
            "reconstruction": points + 0.1,
        }
        written = {key: rows[key] for key in ("name", "obsid", "obi", "region_id", "split")}
        for key, values in lists.items():
            ragged = Ragged(values.reshape(-1), np.arange(len(values) + 1) * values.shape[1])
            written[key] = ragged.to_arrow(RECONSTRUCTIONS_SCHEMA.field(key).type)
        folder = tmp_path / name
        folder.mkdir()
        pq.write_table(pa.table(written).cast(RECONSTRUCTIONS_SCHEMA), folder / RECONSTRUCTIONS_FILE)
        provenance = {"model_type": name, "num_latents": 4, "simulated_rows": len(table)}
        (folder / "reconstructions.json").write_text(json.dumps(provenance))
        folders.append(str(folder))
    return folders


def test_program(program, reconstructions, dataset, tmp_path, capsys):  # noqa: F811
    out = tmp_path / "results"
    arguments = ["--dataset", str(dataset), "--output", str(out), "--num_fits", "1", "--num_resamples", "50"]
    program.main([*reconstructions, *arguments])
    content = json.loads((out / "metrics.json").read_text())
    last = {r["model"]: r for r in content["results"]["by_counts"] if r["counts"] == "all"}
    assert set(last) == {"smooth 4", "flat 4", "constant", "mean of train", "PCA 4"}
    assert last["smooth 4"]["held_out_cash"] < last["flat 4"]["held_out_cash"]
    assert last["flat 4"]["held_out_cash"] == pytest.approx(last["constant"]["held_out_cash"], rel=1e-3)
    assert last["smooth 4"]["mae"] == pytest.approx(0.1, rel=1e-3)
    fitted = {r["model"] for r in content["results"]["power_law_fits"]}
    assert fitted == {"power-law fit", *last}
    assert content["results"]["power_law_fits"][0]["mae"] is None
    first = content["headline"][0]
    assert first["metric"].startswith("smooth 4: held-out Cash a bin")
    assert first["baseline_name"] == "PCA 4"
    assert first["chance"] is not None
    for name in ("reconstruction.png", "reconstruction_examples.png", "reconstruction_residuals.png"):
        assert (out / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert (out / name).stat().st_size > 10_000
    lines = (out / "spectra.csv").read_text().splitlines()
    assert len(lines) == 1 + len(ReconstructionTable.load(reconstructions[0]))
    printed = capsys.readouterr().out
    assert "less that of smooth 4" in printed
    assert "power-law fit" in (out / "reconstruction.md").read_text()


def test_fits_made_elsewhere(program, reconstructions, dataset, tmp_path, capsys):  # noqa: F811
    rows = pq.read_table(next(iter(sorted((dataset / "data").glob("test-*")))))
    total = int(np.sum(rows["spectrum_counts"][2].as_py()))
    fit = {"counts": total, "exposure_s": rows["exposure"][2].as_py(), "cstat": 890.0, "nbins": 445}
    path = tmp_path / "fits.json"
    path.write_text(json.dumps({"one": fit, "of no response": {"counts": 7}}))
    arguments = ["--dataset", str(dataset), "--output", str(tmp_path / "out"), "--num_fits", "0"]
    program.main([reconstructions[0], *arguments, "--fits", str(path), "--num_resamples", "10"])
    row = next(line for line in (tmp_path / "out" / "spectra.csv").read_text().splitlines() if ",2.0," in line)
    assert rows["name"][2].as_py() in row
    assert "beside the fits of" in capsys.readouterr().out
    path.write_text(json.dumps({"one": {**fit, "counts": total + 1}}))
    with pytest.raises(InputFileError, match="none of these fits"):
        program.main([reconstructions[0], *arguments, "--fits", str(path)])
    for wrong in ("[]", "{", json.dumps({"one": {**fit, "nbins": 0}}), json.dumps({"one": {"counts": 3}})):
        path.write_text(wrong)
        with pytest.raises(InputFileError, match=r"no JSON of fits|none of these"):
            program.main([reconstructions[0], *arguments, "--fits", str(path)])


def test_refusals(program, reconstructions, dataset, tmp_path, repository):  # noqa: F811
    first, second = reconstructions
    file = Path(second) / RECONSTRUCTIONS_FILE
    table = pq.read_table(file)

    def rewrite(name: str, column) -> None:
        pq.write_table(table.set_column(table.column_names.index(name), name, column), file)

    halves = Ragged.from_arrow(table["held_out_counts"])
    rewrite("held_out_counts", Ragged(halves.values[::-1].copy(), halves.offsets).to_arrow(pa.list_(pa.int32())))
    with pytest.raises(InputFileError, match="write both with one --seed"):
        load_tables([first, second])
    rewrite("name", pa.array(["nobody"] * len(table)))
    with pytest.raises(InputFileError, match="no detection is also in"):
        load_tables([first, second])
    with pytest.raises(InputFileError, match="are not in it"):
        program.main([second, "--dataset", str(dataset)])
    more = Ragged(halves.values + 1_000_000, halves.offsets)
    rewrite("held_out_counts", more.to_arrow(pa.list_(pa.int32())))
    with pytest.raises(InputFileError, match=r"not what .* was made of: halves of spectra have more counts"):
        program.main([second, "--dataset", str(dataset)])
    assert list(load_tables([first, first.replace("smooth", "./smooth")])) == [
        f"smooth 4 (smooth) ({path})" for path in (first, first.replace("smooth", "./smooth"))
    ]
    command = [sys.executable, "eval/reconstruction.py", str(tmp_path), "--dataset", str(dataset)]
    done = warm_python.run(command, cwd=repository)
    assert done.returncode == 1
    assert "no reconstructions here" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    for wrong in (["--num_resamples", "0"], ["--num_fits", "-1"]):
        with pytest.raises(SystemExit) as stopped:
            program.parse_arguments([first, "--dataset", str(dataset), *wrong])
        assert stopped.value.code == 2
