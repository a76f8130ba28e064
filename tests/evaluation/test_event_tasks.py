"""Latents of photon lists of which the truth is known: what is in them is found, what is not is not."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.schema import SOURCE_CLASSES, build_table
from chandraclip.data.splits import assign_splits
from chandraclip.evaluation.embeddings import EMBEDDINGS_FILE, EMBEDDINGS_SCHEMA
from chandraclip.evaluation.event_tasks import find_own_source
from chandraclip.evaluation.photon_facts import PHOTONS, RATE, facts_of, features, logit, photon_facts

NUM_SOURCES, OBSERVATIONS = 150, 2


@pytest.fixture
def lists(tmp_path, monkeypatch, write_dataset):
    """A dataset of photon lists, soft or hard sources, every fifth list with a flare; and two embeddings folders."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    generator = np.random.default_rng(0)
    number = NUM_SOURCES * OBSERVATIONS
    source = np.repeat(np.arange(NUM_SOURCES), OBSERVATIONS)
    hard = generator.uniform(0.1, 0.9, NUM_SOURCES)[source]
    flares = np.arange(number) % 5 == 0
    times = [np.sort(np.r_[generator.uniform(0, 1e4, 60), generator.uniform(5e3, 5.2e3, 60 * flare)])
             for flare in flares]  # fmt: skip
    energies = [np.where(generator.uniform(size=len(one)) < share, 4.0, 0.9) for one, share in zip(times, hard)]
    names = [f"2CXO J{one:06d}" for one in source]
    columns = {
        "name": names,
        "obsid": np.arange(number),
        "obi": np.zeros(number, np.int64),
        "region_id": np.ones(number, np.int64),
        "split": assign_splits(names),
        "source_class": (hard > 0.5).astype(np.int64),
        "event_time": Ragged.from_rows(times),
        "event_energy": Ragged.from_rows(energies),
        "gti_start": Ragged.from_rows([np.zeros(1)] * number),
        "gti_stop": Ragged.from_rows([np.full(1, 1e4)] * number),
    }
    dataset = write_dataset(tmp_path / "lists", build_table(columns))
    place = generator.normal(size=(2, NUM_SOURCES))[:, source] + generator.normal(0, 0.02, (2, number))
    known = np.stack([hard, flares, *place], axis=1)
    for folder, values in {"knowing": known, "blind": generator.normal(size=known.shape)}.items():
        table = {name: pa.array(columns[name]) for name in ("name", "obsid", "obi", "region_id", "split")}
        table |= {"source_class": pa.array(columns["source_class"]), "text_id": pa.nulls(number, pa.string())}
        latents = Ragged(values.ravel(), np.arange(number + 1) * 4).to_arrow(pa.list_(pa.float32()))
        arrays = [latents if name == "event_latents" else table.get(name, pa.nulls(number))
                  for name in EMBEDDINGS_SCHEMA.names]  # fmt: skip
        (tmp_path / folder).mkdir()
        whole = pa.table(arrays, names=EMBEDDINGS_SCHEMA.names).cast(EMBEDDINGS_SCHEMA)
        pq.write_table(whole, tmp_path / folder / EMBEDDINGS_FILE)
    hardness = np.array([2 * np.mean(one > 2.0) - 1 for one in energies])
    return tmp_path, dataset, hardness, flares


def test_what_latents_know_is_found(script, lists, tmp_path, capsys):
    folder, dataset, _, _ = lists
    arguments = [str(folder / "knowing"), str(folder / "blind"), str(dataset), "--num_resamples", "20"]
    script("eval/event_tasks.py")([*arguments, "--output", str(tmp_path / "r")])
    content = json.loads((tmp_path / "r" / "metrics.json").read_text())
    results = content["results"]

    def best(task, key, model, **wanted):
        return max(
            record[key] for record in results[task]
            if record["model"].startswith(model) and all(record[name] == value for name, value in wanted.items())
        )  # fmt: skip

    hard = {model: best("regression", "r2", model, target="raw_hard_hs") for model in ("knowing", "blind", "hand")}
    assert hard["knowing"] > 0.7 > 0.3 > hard["blind"]
    assert hard["hand"] < 0.3  # they are not told the answer
    assert best("variable", "auc", "knowing") > 0.95
    assert best("variable", "auc", "blind") < 0.75
    assert best("source type", "balanced_accuracy", "knowing") > 0.9
    assert best("source type", "balanced_accuracy", "hand") > 0.9  # PPAD's eight features have the hardness
    for by in ("distance", "learned on train"):
        wanted = {"nearest by": by}
        own = {model: best("same source", "mean_reciprocal_rank", model, **wanted) for model in ("knowing", "blind")}
        assert own["knowing"] > 2 * own["blind"]
    figures = {item["metric"]: item for item in content["headline"]}
    assert figures["knowing: R2 of raw_hard_hs, random forest"]["published"] == 0.93
    # Chance of a macro F1 is that of guesses as often of each class as the model's: no constant.
    guessed = {
        model: figures[f"{model}: macro F1 of var_index_b >= 6, random forest"] for model in ("knowing", "blind")
    }
    assert 0.3 < guessed["blind"]["chance"] < guessed["knowing"]["chance"] <= 0.5
    assert guessed["blind"]["value"] == pytest.approx(guessed["blind"]["chance"], abs=0.15)
    assert set(results["skipped"]) == {"raw_hard_hm", "raw_hard_ms"}  # no photon of m, so one value for all
    assert not any(item["comparable"] for item in content["headline"])
    assert "arXiv:2502.01627" in capsys.readouterr().out


def test_facts_are_those_of_the_photons(lists):
    from chandraclip.evaluation.embeddings import EmbeddingTable

    folder, dataset, hardness, flares = lists
    table = EmbeddingTable.load(folder / "knowing")
    facts = photon_facts(str(dataset), table)
    np.testing.assert_allclose(10 ** facts["log10_photons"], 60 + 60 * flares)
    np.testing.assert_allclose(facts["raw_hard_hs"], hardness)
    assert np.nanmin(facts["var_index_b"][flares]) >= 6
    assert np.median(facts["var_prob_b"][~flares]) < 0.5
    assert np.isnan(facts["var_prob_m"]).all()  # no photon of m
    assert features(facts, ("var_prob_m", "raw_hard_hs")).shape == (len(table), 1)
    np.testing.assert_allclose(logit(np.array([0.0, 0.5, 1.0])), [-14, 0, 14])


def test_good_times_are_a_rows_own_and_only_their_photons_count():
    kind = pa.list_(pa.float64())
    times = np.linspace(1.0, 1000.0, 50)
    rows = {
        "without": {"event_time": times[::-1]},
        "half": {"event_time": times, "gti_start": [700.0, 0.0], "gti_stop": [750.0, 450.0]},
        "none good": {"event_time": times, "gti_start": [2000.0], "gti_stop": [3000.0]},
        "null": {"gti_start": [0.0], "gti_stop": [10.0]},
        "energies": {"event_time": times, "event_energy": np.where(times < 500, 1.0, 4.0),
                     "gti_start": [0.0], "gti_stop": [500.0]},
    }  # fmt: skip

    def facts(*names):
        columns = ("event_time", "event_energy", "gti_start", "gti_stop")
        values = {column: pa.array([rows[name].get(column) for name in names], kind) for column in columns}
        return facts_of(pa.table(values), "s")

    found = facts(*rows)
    inside = np.sum(times <= 450) + np.sum((times >= 700) & (times <= 750))
    np.testing.assert_allclose(10 ** found[PHOTONS], [50, inside, np.nan, np.nan, 25])
    np.testing.assert_allclose(10 ** found[RATE], [50 / 1000, inside / 500, np.nan, np.nan, 25 / 500])
    assert found["raw_hard_hs"][4] == -1  # what is hard comes after the good time
    for place, name in enumerate(rows):  # whatever other rows have
        for title, value in facts(name).items():
            np.testing.assert_array_equal(value, found[title][[place]], err_msg=f"{title}, {name}")


def test_own_source_by_hand():
    values = np.array([[0.0], [0.1], [5.0], [5.2], [9.0]])
    sources = np.array(["a", "a", "b", "c", "b"])
    found = find_own_source(values, sources, values, num_resamples=5)
    # a: each is the other's nearest. b at 5: c is nearer. b at 9: c is nearer than its own.
    assert (found["num_queries"], found["num_candidates"]) == (4, 4)
    assert found["metrics"]["mean_reciprocal_rank"]["value"] == pytest.approx((1 + 1 + 1 / 2 + 1 / 2) / 4)
    assert found["metrics"]["mean_reciprocal_rank"]["chance"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    same = find_own_source(np.zeros((5, 2)), sources, np.ones((3, 2)), num_resamples=5)["metrics"]
    assert same["mean_reciprocal_rank"]["value"] == pytest.approx(same["mean_reciprocal_rank"]["chance"])
    assert find_own_source(values[:2], np.array(["a", "b"]), values, num_resamples=5) is None
    assert len(SOURCE_CLASSES) == 8


def test_unusual_lists_are_ranked_against_the_variables(script, lists, tmp_path, capsys):
    folder, dataset, _, flares = lists
    output = tmp_path / "u"
    splits = ["--splits", "train", "validation", "test", "--num_resamples", "20", "--num_listed", "5"]
    script("eval/unusual_lists.py")([str(folder / "knowing"), str(dataset), "--output", str(output), *splits])
    content = json.loads((output / "metrics.json").read_text())["results"]
    scores = {record["score"]: record for record in content["scores"]}
    assert scores["event_latents, mahalanobis"]["auc"] > 0.8  # a fifth of the lists flares, so they are not so rare
    assert scores["event_latents, mahalanobis"]["variable"] == pytest.approx(flares.sum(), abs=6)
    assert scores["hand_features, mahalanobis"]["auc"] < 0.75
    assert scores["number of photons"]["auc"] > 0.95
    assert len(content["top"]) == 5
    ranking = pd.read_csv(output / "ranking.csv")
    assert (list(ranking)[:3], len(ranking)) == (["rank", "name", "obsid"], len(flares))
    assert ranking.iloc[0]["name"] == content["top"][0]["name"]
    assert (output / "top.png").read_bytes()[:4] == b"\x89PNG"
    assert content["top"][0]["name"] in capsys.readouterr().out
    script("eval/unusual_lists.py")([str(folder / "blind"), str(dataset), "--output", str(output), *splits])
    content = json.loads((output / "metrics.json").read_text())["results"]
    assert max(one["auc"] for one in content["scores"] if one["score"].startswith("event_latents, m")) < 0.75
