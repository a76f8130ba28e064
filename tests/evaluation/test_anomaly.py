"""Anomaly scores: as defined, free of brightness where they should be, and what they find judged right."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.schema import build_table
from chandraclip.errors import InputFileError, OptionError
from chandraclip.evaluation.anomaly import (
    anomaly_scores,
    disagreement,
    find_likes,
    given_likes,
    isolation_forest,
    mahalanobis,
    neighbour_scores,
)
from chandraclip.evaluation.bootstrap import resampled_auc
from chandraclip.evaluation.rarity import (
    Truth,
    area_under_curve,
    class_enrichment,
    judge,
    rank_correlation,
    rarity_metrics,
    top_rows,
)


def cloud(seed: int = 0, num_rows: int = 400, num_dimensions: int = 6) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(num_rows, num_dimensions)) + 3
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_far_row_is_the_most_unusual_by_every_method():
    vectors = cloud()
    vectors[17] = -vectors[17]
    sources = np.arange(len(vectors)).astype(str)
    scores = {"forest": isolation_forest(vectors), "mahalanobis": mahalanobis(vectors)}
    scores |= neighbour_scores(vectors, sources, k=10)
    assert {name: int(score.argmax()) for name, score in scores.items()} == dict.fromkeys(scores, 17)


def test_neighbour_scores_are_the_textbook_ones_where_every_row_is_its_own_source():
    vectors = cloud(1)
    found = neighbour_scores(vectors, np.arange(len(vectors)).astype(str), k=12)
    distance = 1 - vectors @ vectors.T
    np.fill_diagonal(distance, np.inf)
    np.testing.assert_allclose(found["knn_distance"], np.sort(distance, axis=1)[:, :12].mean(axis=1), atol=1e-6)
    np.fill_diagonal(distance, 0)
    factor = LocalOutlierFactor(n_neighbors=12, metric="precomputed").fit(np.clip(distance, 0, None))
    np.testing.assert_allclose(found["local_outlier_factor"], -factor.negative_outlier_factor_, rtol=1e-3)


def test_a_rare_source_observed_often_is_no_less_rare():
    vectors = cloud(2)
    vectors[:30] = -vectors[0] + 1e-3 * cloud(3, 30)
    sources = np.where(np.arange(400) < 30, "often", np.arange(400).astype(str))
    often = neighbour_scores(vectors, sources, k=10)
    alone = neighbour_scores(vectors, np.arange(400).astype(str), k=10)
    assert (often["knn_distance"][:30] > often["knn_distance"][30:].max()).all()
    assert (alone["knn_distance"][:30] < alone["knn_distance"][30:].min()).all()


def test_disagreement_is_the_cosine_distance():
    left, right = cloud(4), cloud(5)
    np.testing.assert_allclose(disagreement(2 * left, right), 1 - (left * right).sum(axis=1), atol=1e-6)


def test_given_brightness_a_score_knows_neither_counts_nor_angle():
    generator = np.random.default_rng(6)
    counts, theta = 10 ** generator.uniform(0.5, 4, 3000), generator.uniform(0, 15, 3000)
    noise = generator.gamma(2, size=3000)
    score = noise * 10 / np.sqrt(counts) + 0.3 * theta
    sources = np.arange(3000).astype(str)
    assert rank_correlation(score, counts) < -0.2
    assert rank_correlation(score, theta) > 0.5
    given = given_brightness(score, counts, theta, sources, num_like=50)
    assert abs(rank_correlation(given, counts)) < 0.05
    assert abs(rank_correlation(given, theta)) < 0.05
    assert rank_correlation(given, noise) > 0.6  # what is left is what was not brightness
    assert given.min() > 0
    assert given.max() < 1
    assert np.unique(given).size == 3000


def given_brightness(score, counts, theta, sources, num_like=200):
    return given_likes(score, find_likes(counts, theta, sources, num_like))


def test_the_most_unusual_for_its_brightness_comes_first_and_of_equal_ranks_the_farthest():
    generator = np.random.default_rng(7)
    counts = 10 ** generator.uniform(1, 3, 2000)
    score = generator.normal(size=2000) + 5 * np.log10(counts)
    score[[3, 4]] = 40, 60
    given = given_brightness(score, counts, np.full(2000, np.nan), np.arange(2000).astype(str), num_like=50)
    assert np.argsort(-given)[:2].tolist() == [4, 3]


def test_given_brightness_without_counts_or_score_is_missing_and_own_detections_are_no_likes():
    score, counts = np.array([1.0, 2, 3, np.nan, 5, 6]), np.array([10.0, 10, 10, 10, np.nan, 10])
    given = given_brightness(score, counts, np.zeros(6), np.array(list("abcdef")))
    assert np.isnan(given).tolist() == [False, False, False, True, True, False]
    assert np.argsort(given[[0, 1, 2, 5]]).tolist() == [0, 1, 2, 3]
    assert np.isnan(given_brightness(score[:1], counts[:1], np.zeros(1), np.array(["a"]))).all()
    # Ten high detections of one source among ten low ones of others: none is below another of its own.
    score = np.concatenate([np.linspace(5, 6, 10), np.linspace(0, 1, 10)])
    sources = np.array(["one"] * 10 + [f"other {n}" for n in range(10)])
    given = given_brightness(score, np.full(20, 50.0), np.zeros(20), sources)
    assert (given[:10] > given[10:].max()).all()


def test_scores_of_a_table_are_of_the_rows_that_have_the_representation(make_embeddings):
    missing = np.arange(300) < 40
    table = make_embeddings(num_sources=150, event_embedding=missing, text_latents=missing)
    facts = {"hard_hm": np.arange(300.0) ** 2, "hard_hs": np.zeros(300), "var_prob_b": np.full(300, np.nan)}
    scores = anomaly_scores(table, facts, k=5)
    assert np.isnan(scores["event_embedding", "mahalanobis"]).tolist() == missing.tolist()
    assert np.isfinite(scores["spectrum_embedding", "isolation_forest"]).all()
    assert scores["hand_features", "knn_distance"].argmax() == 299
    against = scores["disagreement", "spectrum against events"]
    assert np.isnan(against).tolist() == missing.tolist()
    expected = 1 - (table.arrays["spectrum_embedding"] * table.arrays["event_embedding"]).sum(axis=1)
    np.testing.assert_allclose(against[~missing], expected[~missing], atol=1e-5)
    with pytest.raises(ValueError, match="too few to be unusual in"):
        anomaly_scores(make_embeddings(num_sources=4, detections=100))


def test_area_under_the_curve_and_its_resamples():
    generator = np.random.default_rng(8)
    score, positive = np.round(generator.normal(size=300), 1), generator.random(300) < 0.2
    score[positive] += 0.5
    assert area_under_curve(score, positive) == pytest.approx(roc_auc_score(positive, score))
    groups = np.repeat(np.arange(100), 3)
    areas = resampled_auc(score, positive, groups, 200, seed=3)
    draws = np.random.default_rng(3).multinomial(100, np.full(100, 0.01), size=200)
    for row in (0, 57, 199):
        weight = draws[row][groups]
        assert areas[row] == pytest.approx(roc_auc_score(positive, score, sample_weight=weight))


def test_rarity_is_counted_in_the_top():
    score, rare = np.arange(1000.0), np.zeros(1000, bool)
    rare[[10, 500, 991, 993, 995]] = True
    score[3] = np.nan
    result = rarity_metrics(score, rare, np.arange(1000).astype(str), num_resamples=200)
    assert (result["num_top"], result["num_rare_in_top"], result["num_rare"]) == (10, 3, 5)
    assert result["enrichment"]["value"] == pytest.approx(0.3 / (5 / 999))
    assert result["enrichment"]["low"] <= result["enrichment"]["value"] <= result["enrichment"]["high"]
    assert result["auc"]["low"] < result["auc"]["value"] < result["auc"]["high"]
    assert result["precision"] == {"10": 0.3, "50": 0.06, "100": 0.03}
    nothing = rarity_metrics(score, np.zeros(1000, bool), np.arange(1000).astype(str))
    assert (nothing["enrichment"], nothing["auc"], nothing["num_rare"]) == (None, None, 0)
    assert top_rows(np.array([1.0, np.nan, 3, 2])).tolist() == [False, False, True, False]
    classes = class_enrichment(score, ["rare" if own else "common" for own in rare])
    assert [(row["class"], row["in_top"]) for row in classes] == [("common", 7), ("rare", 3)]


def test_intervals_are_of_sources():
    """Ten detections of one rare source high up and ten of another low down are two sources, not twenty."""
    score = np.arange(2000.0)
    rare = (score >= 1990) | (score < 10)
    sources = np.where(rare, np.where(score < 10, "low", "high"), score.astype(int).astype(str))
    two = rarity_metrics(score, rare, sources, num_resamples=300)
    twenty = rarity_metrics(score, rare, score.astype(int).astype(str), num_resamples=300)
    assert two["num_rare_sources"] == 2
    assert two["auc"]["value"] == twenty["auc"]["value"] == 0.5
    assert two["auc"]["high"] - two["auc"]["low"] > 0.95
    assert twenty["auc"]["high"] - twenty["auc"]["low"] < 0.6


def test_only_detections_of_enough_counts_and_known_class_are_judged():
    counts = np.array([10.0, 200, 300, np.nan, 400])
    classes = np.array(["ULX", "ULX", "AGN", "AGN", None], dtype=object)
    truth = Truth(counts, np.zeros(5), np.array(list("abcde")), classes, ["ULX"], 100)
    assert truth.judged.tolist() == [False, True, True, False, False]
    score = {("x", "y"): np.array([1.0, 5, 2, 9, 9])}
    (record,) = judge({"raw": score, "given": score}, truth, 20)
    assert record["raw"]["num_rows"] == 2
    assert record["given"]["auc"]["value"] == 1
    without = Truth(counts, np.zeros(5), np.array(list("abcde")), None, ["ULX"], 100)
    assert judge({"raw": score}, without)[0]["raw"]["auc"] is None


@pytest.fixture
def main(repository):
    spec = importlib.util.spec_from_file_location("eval_anomaly", repository / "eval" / "anomaly.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def folders(tmp_path, monkeypatch, embeddings_table, write_dataset) -> tuple[Path, Path]:
    """Embeddings in which ten detections lie where no other does, and their dataset, in which these are ULXs."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "embeddings"
    folder.mkdir()
    planted = np.arange(100, 110)
    for name in ("spectrum_embedding", "event_embedding"):
        values = np.array(embeddings_table[name].to_pylist(), np.float32)
        values[planted] = np.linalg.svd(values)[2][-1]
        index = embeddings_table.schema.get_field_index(name)
        embeddings_table = embeddings_table.set_column(
            index, embeddings_table.schema.field(index), Ragged.from_rows(list(values)).to_arrow(pa.list_(pa.float32()))
        )
    pq.write_table(embeddings_table, folder / "embeddings.parquet")
    generator = np.random.default_rng(9)
    num_rows = embeddings_table.num_rows
    columns = {name: embeddings_table[name].to_pylist() for name in ("name", "obsid", "obi", "region_id", "split")}
    columns["source_class"] = embeddings_table["source_class"].to_pylist()
    columns["src_cnts_aper_b"] = 10 ** generator.uniform(1.5, 3.5, num_rows)
    columns["theta"] = generator.uniform(0, 10, num_rows)
    columns["hard_hm"] = generator.normal(size=num_rows)
    columns["true_class"] = ["ULX" if row in planted else "AGN" for row in range(num_rows)]
    return folder, write_dataset(tmp_path / "judged", build_table(columns))


def test_the_program_writes_scores_tables_and_pictures(main, folders, tmp_path, capsys):
    embeddings, dataset = folders
    options = ["--output", str(tmp_path / "a"), "--num_resamples", "50"]
    main([str(embeddings), str(dataset), *options])
    content = json.loads((tmp_path / "a" / "metrics.json").read_text())
    records = {(row["representation"], row["method"]): row for row in content["results"]["scores"]}
    assert all(abs(row["given"]["rho_counts"]) < 0.1 for row in records.values())
    assert {"isolation_forest", "knn_distance", "local_outlier_factor", "mahalanobis"} <= {name for _, name in records}
    assert ("disagreement", "X-ray against text") in records
    assert ("hand_features", "isolation_forest") in records
    chosen = records["spectrum+event_embedding", "mahalanobis"]["given"]
    assert chosen["auc"]["value"] > 0.99
    assert chosen["enrichment"]["value"] > 50
    assert any("AUC of rare" in item["metric"] and item["chance"] == 0.5 for item in content["headline"])
    scores = pq.read_table(tmp_path / "a" / "scores.parquet").to_pandas()
    assert len(scores) == 800
    assert scores["spectrum_embedding/mahalanobis given counts"].between(0, 1).all()
    lines = (tmp_path / "a" / "top.md").read_text().splitlines()
    enough = pq.read_table(dataset / "data", columns=["src_cnts_aper_b", "name", "obsid"]).to_pandas()
    joined = scores.merge(enough, on=["name", "obsid"]).query("src_cnts_aper_b >= 100")
    best = joined.loc[joined["spectrum+event_embedding/mahalanobis given counts"].idxmax(), "name"]
    assert best in lines[4]
    for name in ("scores.png", "enrichment.png"):
        assert (tmp_path / "a" / name).read_bytes()[:4] == b"\x89PNG"
    out = capsys.readouterr().out
    assert "rho counts" in out
    assert "enrichment 1, AUC .5" in out


def test_the_program_without_true_classes_or_counts_or_such_a_score(main, folders, dataset, tmp_path):
    embeddings, other = folders
    with pytest.raises(OptionError, match="there is no score tree of"):
        main([str(embeddings), str(other), "--method", "tree", "--output", str(tmp_path / "b")])
    with pytest.raises(OptionError, match="--min_counts"):
        main([str(embeddings), str(other), "--min_counts", "1e9", "--output", str(tmp_path / "b")])
    assert not (tmp_path / "b").exists()
    with pytest.raises((InputFileError, OptionError)):  # counts are null in all of its rows
        main([str(embeddings), str(dataset), "--output", str(tmp_path / "b")])


def test_real_detections_are_scored_though_no_true_class_is_known(main, folders, tmp_path, write_dataset, capsys):
    """`true_class` is a column of every dataset of ours, null where nobody knows."""
    embeddings, planted = folders
    table = pa.concat_tables(pq.read_table(file) for file in sorted((planted / "data").glob("*.parquet")))
    place = table.column_names.index("true_class")
    real = table.set_column(place, "true_class", pa.nulls(table.num_rows, table.schema.field("true_class").type))
    output = tmp_path / "real"
    main(
        [
            str(embeddings),
            str(write_dataset(tmp_path / "real_data", real)),
            "--output",
            str(output),
            "--num_resamples",
            "20",
        ]
    )
    assert pq.read_metadata(output / "scores.parquet").num_rows == 800
    assert all(row["given"]["enrichment"] is None for row in
               json.loads((output / "metrics.json").read_text())["results"]["scores"])  # fmt: skip
    assert "2CXO" in (output / "top.md").read_text()
