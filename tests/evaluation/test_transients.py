"""The search for planted transients: numbers by hand, learned and classical scores of one dataset, the script."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chandraclip.data.keys import KEY
from chandraclip.data.loading import load_splits
from chandraclip.errors import InputFileError, OptionError
from chandraclip.evaluation.embeddings import EMBEDDINGS_SCHEMA, EmbeddingTable
from chandraclip.evaluation.transients import (
    ANY,
    CONSTANT,
    alike,
    classical_scores,
    compare_recalls,
    detection_metrics,
    judge,
    probe_scores,
    purity_by_kind,
    roc_curve,
)
from chandraclip.simulate.dataset import build_planted


def names(number: int) -> np.ndarray:
    return np.array([f"source {row}" for row in range(number)])


def test_recall_and_precision_by_hand():
    # 200 constant lists with scores 0 ... 199; 1 % of them, two, may alarm: positives above 197 are found.
    positive = np.arange(205) >= 200
    score = np.append(np.arange(200.0), [500, 198.5, 197.5, 10, np.nan])
    found = detection_metrics(score, positive, names(205), num_resamples=200)
    assert found["recall"]["value"] == pytest.approx(3 / 5)
    assert found["recall"]["low"] < 0.6 <= found["recall"]["high"]
    assert found["precision"]["10"] == pytest.approx(3 / 10)
    assert found["base_rate"] == pytest.approx(5 / 205)
    below = [1, 199 / 200, 198 / 200, 10.5 / 200, 0]
    assert found["auc"]["value"] == pytest.approx(np.mean(below))
    # Equal scores go together: all constant lists at one score cannot be told from positives there.
    tied = detection_metrics(np.where(positive, 1.0, 1.0), positive, names(205), num_resamples=20)
    assert tied["recall"]["value"] == 0
    assert tied["auc"]["value"] == 0.5
    assert detection_metrics(score, np.zeros(205, bool), names(205))["recall"] is None
    alarms, recall = roc_curve(score, positive)
    assert (np.diff(alarms) >= 0).all()
    assert (np.diff(recall) >= 0).all()
    assert alarms[-1] == recall[-1] == 1
    assert recall[alarms <= 0.01].max() == pytest.approx(0.6)


def test_a_difference_of_recalls_is_of_the_same_resamples():
    rng = np.random.default_rng(0)
    kinds = np.where(np.arange(600) < 500, CONSTANT, "flare")
    score = rng.normal(size=600) + 3.0 * (kinds == "flare")
    probes, judged = {"latents": {"flare": score, ANY: score}}, np.ones(600, bool)
    tests = {"same": score, "noise": rng.normal(size=600)}
    found = compare_recalls(probes, tests, kinds, names(600), judged, 200)
    assert [one["kind"] for one in found] == ["flare"] * 2 + [ANY] * 2
    assert found[0]["difference"] == found[0]["low"] == found[0]["high"] == 0
    assert found[1]["low"] > 0.2
    assert found[1]["recall"] - found[1]["recall_of_test"] == pytest.approx(found[1]["difference"])


def test_neighbours_count_among_lists_of_like_colour_alone():
    rng = np.random.default_rng(1)
    number = 600
    kinds = np.where(rng.random(number) < 0.1, "flare", CONSTANT)
    colour = np.where(kinds == "flare", 1.0, 0.0) + 0.01 * rng.normal(size=number)
    counts = np.full(number, 100.0)
    # Vectors that are colour alone: pure among all, but not among lists of like colour.
    vectors = colour[:, None]
    everyone = np.tile(np.arange(number), (number, 1))
    queries = np.ones(number, bool)
    pure = {one["kind"]: one for one in purity_by_kind(vectors, kinds, names(number), everyone, queries)}
    assert pure["flare"]["times_chance"] > 8
    mixed = kinds[rng.permutation(number)]
    likes = alike(counts, colour[:, None], 100)
    assert (likes[:, 0] == np.arange(number)).mean() > 0.9
    matched = {one["kind"]: one for one in purity_by_kind(vectors, mixed, names(number), likes, queries)}
    assert matched["flare"]["times_chance"] == pytest.approx(1, abs=0.5)
    assert matched["flare"]["chance"] == pytest.approx(0.1, abs=0.05)
    # Vectors that know the kind, and a source that is no neighbour of itself.
    knows = (mixed == "flare")[:, None] + 0.01 * rng.normal(size=(number, 1))
    known = {one["kind"]: one for one in purity_by_kind(knows, mixed, names(number), likes, queries, k=5)}
    assert known["flare"]["purity"] > 0.9
    pairs = np.repeat(names(number // 2), 2)
    two = np.repeat(rng.normal(size=(number // 2, 8)), 2, axis=0)
    own = {one["kind"]: one for one in purity_by_kind(two, np.repeat(mixed[::2], 2), pairs, everyone, queries, k=1)}
    assert own["flare"]["purity"] < 0.4


def test_a_probe_is_chosen_on_validation_and_asked_elsewhere():
    rng = np.random.default_rng(2)
    kinds = rng.choice([CONSTANT, "dip", "flare"], 900, p=[0.6, 0.2, 0.2])
    split = rng.choice(["train", "validation", "test"], 900, p=[0.6, 0.2, 0.2])
    vectors = np.stack([kinds == "dip", kinds == "flare", np.zeros(900)], 1) * 3.0 + rng.normal(size=(900, 3))
    scores, choice = probe_scores(vectors, kinds, split, ("linear", "knn"))
    assert set(scores) == {"dip", "flare", ANY}
    assert choice["classifier"] in ("linear", "knn")
    test = split == "test"
    for score in scores.values():
        assert (np.isfinite(score) == test).all()
    records = judge({("latents", "probe"): scores, ("t", "none"): np.full(900, np.nan)}, kinds, names(900), test, 50)
    auc = {(one["kind"], one["method"]): one["auc"]["value"] for one in records}
    assert auc["dip", "probe"] > 0.9
    assert auc["flare", "none"] == 0.5
    with pytest.raises(ValueError, match="validation split has no list of kind flare"):
        probe_scores(vectors, kinds, np.where((split == "validation") & (kinds == "flare"), "train", split))


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A planted dataset and embeddings of it that know the kinds of some rows."""
    folder = tmp_path_factory.mktemp("planted")
    shares = {"flare": 0.2, "transient": 0.2}
    build_planted(folder / "data", 240, shares, (20.0, 200.0), seed=1, progress=False)
    rows = pa.concat_tables([part[:] for part in load_splits(str(folder / "data"), "catalog").values()])
    rng = np.random.default_rng(0)
    kinds = np.array(rows["true_variability"].to_pylist())
    latents = np.stack([kinds == "flare", kinds == "transient"], 1) * 4.0 + rng.normal(size=(len(kinds), 2))
    columns = {name: rows[name] for name in (*KEY, "split")}
    columns["event_latents"] = pa.array(list(latents.astype(np.float32)), pa.list_(pa.float32()))
    schema = pa.schema([field for field in EMBEDDINGS_SCHEMA if field.name in columns])
    (folder / "embeddings").mkdir()
    pq.write_table(pa.table(columns).select(schema.names).cast(schema), folder / "embeddings" / "embeddings.parquet")
    return folder


def test_classical_scores_are_those_of_each_row(planted):
    from chandraclip.catalog.ragged import Ragged
    from chandraclip.catalog.rate_tests import rate_tests

    table = EmbeddingTable.load(planted / "embeddings")
    scores = classical_scores(str(planted / "data"), table, 3.24104)
    rows = load_splits(str(planted / "data"), "events")["test"][:]
    own = rate_tests(*(Ragged.from_arrow(rows[name]) for name in ("event_time", "gti_start", "gti_stop")), 3.24104)
    place = {name: row for row, name in enumerate(table.name.tolist())}
    index = [place[name] for name in rows["name"].to_pylist()]
    for name, values in own.items():
        np.testing.assert_allclose(scores[name][index], values, rtol=1e-4, atol=1e-4, err_msg=name)


def test_the_script_tells_every_kind_beside_the_tests(planted, script, capsys):
    run = script("eval/transients.py")
    run([str(planted / "embeddings"), str(planted / "data"), "--num_like", "100", "--num_resamples", "50",
         "--classifiers", "linear"])  # fmt: skip
    output = planted / "embeddings" / "transients"
    metrics = json.loads((output / "metrics.json").read_text())
    kinds = {record["kind"] for record in metrics["results"]["scores"]}
    assert kinds == {"flare", "transient", ANY}
    assert {"gregory_loredo", "kolmogorov_smirnov", "kuiper", "scan", "h_test", "z2", "probe"} <= {
        record["method"] for record in metrics["results"]["scores"]
    }
    headline = {one["metric"]: one for one in metrics["headline"]}
    recall = headline["flare: recall at 1 % false alarms, event_latents"]
    assert recall["chance"] == 0.01
    assert recall["baseline_name"] in ("scan", "kuiper", "kolmogorov_smirnov", "gregory_loredo", "h_test", "z2")
    assert headline["flare: purity of neighbours, event_latents"]["value"] > 0.6
    scores = pq.read_table(output / "scores.parquet").column_names
    assert {"event_latents/probe/flare", "classical tests/scan", "hand features/mahalanobis"} <= set(scores)
    assert (output / "roc.png").stat().st_size > 10_000
    said = capsys.readouterr().out
    assert "chance: AUC .5" in said
    assert "less gregory_loredo" in said
    with pytest.raises(OptionError, match="has no xray_embedding"):
        run([str(planted / "embeddings"), str(planted / "data"), "--representation", "xray_embedding"])


def test_folders_are_judged_side_by_side_before_and_after_alignment(planted, script, tmp_path):
    table = pq.read_table(planted / "embeddings" / "embeddings.parquet")
    latents = np.stack(table["event_latents"].to_pylist())
    noise = np.random.default_rng(3).normal(size=latents.shape)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    aligned = table.append_column("event_embedding", pa.array(list(noise.astype(np.float32)), pa.list_(pa.float32())))
    (tmp_path / "aligned").mkdir()
    schema = pa.schema([field for field in EMBEDDINGS_SCHEMA if field.name in aligned.column_names])
    # Fewer rows, in another order.
    aligned = aligned.select(schema.names).cast(schema).take(np.arange(table.num_rows - 1)[::-1])
    pq.write_table(aligned, tmp_path / "aligned" / "embeddings.parquet")
    run = script("eval/transients.py")
    run([str(planted / "embeddings"), str(tmp_path / "aligned"), str(planted / "data"), "--num_like", "100",
         "--representation", "event_latents", "event_embedding", "--num_resamples", "20", "--classifiers", "linear",
         "--output", str(tmp_path / "out")])  # fmt: skip
    results = json.loads((tmp_path / "out" / "metrics.json").read_text())["results"]
    purity = {name: {one["kind"]: one for one in found} for name, found in results["purity"].items()}
    before, latents_after, after = (
        purity[name]["flare"]
        for name in ("embeddings: event_latents", "aligned: event_latents", "aligned: event_embedding")
    )
    assert "embeddings: event_embedding" not in purity
    assert before["purity"] == latents_after["purity"] > 0.6
    assert before["chance"] == after["chance"]
    assert after["times_chance"] == pytest.approx(1, abs=0.5)
    assert set(results["folders"]) == {"embeddings", "aligned"}


def test_a_dataset_without_counts_and_colours_is_refused(planted, script, monkeypatch):
    from chandraclip.evaluation import dataset

    whole = dataset.join_columns
    kept = ["true_variability", "hard_ms"]
    monkeypatch.setattr(dataset, "join_columns", lambda data, config, columns, table: whole(data, config, kept, table))
    with pytest.raises(InputFileError, match="no src_cnts_aper_b, hard_hm"):
        script("eval/transients.py")([str(planted / "embeddings"), str(planted / "data")])


def test_a_dataset_without_planted_kinds_is_refused(planted, script, tmp_path):
    from chandraclip.simulate.dataset import build_planted

    build_planted(tmp_path / "constant", 20, dict.fromkeys(("flare",), 0.0), progress=False)
    table = pq.read_table(planted / "embeddings" / "embeddings.parquet")
    rows = pa.concat_tables([part[:] for part in load_splits(str(tmp_path / "constant"), "catalog").values()])
    columns = {name: rows[name] for name in (*KEY, "split")}
    columns["event_latents"] = table["event_latents"][: rows.num_rows]
    pq.write_table(pa.table(columns), tmp_path / "embeddings.parquet")
    with pytest.raises(InputFileError, match="no planted kinds"):
        script("eval/transients.py")([str(tmp_path / "embeddings.parquet"), str(tmp_path / "constant")])
