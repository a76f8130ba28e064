"""A catalogue that is asked by key, name, text and files: the right answers, and one sentence where there is none."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import chandraclip
import warm_python
from chandraclip.data.row_objects import row_to_ogip
from chandraclip.errors import InputFileError, OptionError, QueryError
from chandraclip.evaluation.embeddings import EmbeddingTable
from chandraclip.search import Catalog, QueryModel


@pytest.fixture(scope="module")
def catalog(made, tmp_path_factory) -> Catalog:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        return Catalog.from_pretrained(made.embeddings, made.dataset)


def dataset_rows(made) -> list[dict]:
    return pq.read_table(made.dataset / "data", columns=None).to_pylist()


def key_of(row) -> tuple:
    return row["name"], row["obsid"], row["obi"], row["region_id"]


def complete_row(catalog) -> int:
    """A detection with everything and an own source."""
    masks = catalog.table.masks
    everything = np.logical_and.reduce([masks[f"{kind}_embedding"] for kind in ("spectrum", "event", "text")])
    return int(np.flatnonzero(everything)[0])


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_by_key_is_the_sorted_mean_cosine_without_itself(catalog):
    table, row = catalog.table, complete_row(catalog)
    answer = catalog.search(key=tuple(table.keys[name][row] for name in ("obsid", "obi", "region_id")), k=7)
    names = ("spectrum_embedding", "event_embedding")
    similarity = np.mean([table.arrays[name] @ table.arrays[name][row] for name in names], axis=0)
    similarity[~np.logical_and.reduce([table.masks[name] for name in names])] = -2
    similarity[row] = -2
    expected = np.argsort(-similarity, kind="stable")[:7]
    assert list(answer["obsid"]) == table.keys["obsid"][expected].tolist()
    np.testing.assert_allclose(answer["similarity"], similarity[expected], atol=1e-6)
    assert answer.attrs["compared"] == list(names)
    facts = {"name", "obsid", "obi", "region_id", "source_class", "similarity", "src_cnts_aper_b", "hard_hm", "summary"}
    assert facts | {"hard_ms", "hard_hs", "var_prob_b"} <= set(answer.columns)
    assert isinstance(answer, pd.DataFrame)
    # Facts are those of the row, not of its neighbour in the file.
    stored = {key_of(entry): entry for entry in dataset_rows_of(catalog)}
    for entry in answer.to_dict("records"):
        assert entry["summary"] == stored[key_of(entry)]["summary"] or entry["summary"] is None
        np.testing.assert_allclose(entry["src_cnts_aper_b"], stored[key_of(entry)]["src_cnts_aper_b"] or np.nan)


def dataset_rows_of(catalog) -> list[dict]:
    return pq.read_table(os.path.join(catalog.table.provenance["dataset"], "data")).to_pylist()


def test_by_name_is_the_mean_of_the_source_and_none_of_its_own(catalog):
    table = catalog.table
    names, counts = np.unique(table.name, return_counts=True)
    name = names[counts.argmax()]
    assert counts.max() > 1
    answer = catalog.search(name=name)
    assert name not in set(answer["name"])
    rows = table.name == name
    columns = ("spectrum_embedding", "event_embedding")
    if all(table.masks[column][rows].any() for column in columns):
        asked = [unit(table.arrays[column][rows & table.masks[column]].mean(axis=0)) for column in columns]
        similarity = np.mean([table.arrays[column] @ part for column, part in zip(columns, asked)], axis=0)
        similarity[rows | ~np.logical_and.reduce([table.masks[column] for column in columns])] = -2
        np.testing.assert_allclose(answer["similarity"], np.sort(similarity)[::-1][:10], atol=1e-6)
    loosely = catalog.search(name=f"  {name.lower()} ")
    pd.testing.assert_frame_equal(loosely, answer)


def test_by_text_goes_through_the_text_tower_against_spectrum_and_events_together(catalog, made):
    import torch
    from transformers import AutoModel, AutoProcessor

    text = "a soft, highly variable, ultraluminous source"
    network = AutoModel.from_pretrained(made.model, dtype=torch.float32).eval()
    with torch.inference_mode():
        asked = network.get_text_features(**AutoProcessor.from_pretrained(made.model)(text=[text]))[0].numpy()
    table = catalog.table
    xrays = unit(table.arrays["spectrum_embedding"] + table.arrays["event_embedding"])
    answer = catalog.search(text=text, k=5)
    np.testing.assert_allclose(answer["similarity"], np.sort(xrays @ asked)[::-1][:5], atol=1e-5)
    by_text = catalog.search(text=text, k=5, by="text")
    similarity = np.where(table.masks["text_embedding"], table.arrays["text_embedding"] @ asked, -2)
    np.testing.assert_allclose(by_text["similarity"], np.sort(similarity)[::-1][:5], atol=1e-5)


def test_the_text_of_a_detection_finds_itself_among_distinct_texts(catalog):
    row = complete_row(catalog)
    summary = catalog.facts["summary"][row]
    texts = catalog.search_texts(text=summary, k=4)
    assert texts["summary"][0] == summary
    assert texts["similarity"][0] == pytest.approx(1, abs=1e-4)
    assert texts["summary"].is_unique


@pytest.mark.parametrize("parts", [("spectrum",), ("events",), ("spectrum", "events")])
def test_own_files_find_the_detection_they_were_written_from(catalog, made, tmp_path, parts):
    row = next(row for row in dataset_rows(made) if row["spectrum_counts"] and row["event_time"])
    written = row_to_ogip(tmp_path, row)
    files = [shutil.copy(written[part], tmp_path / f"moved_{part}.fits") for part in parts]
    answer = catalog.search(files=files, k=3)
    assert key_of(answer.iloc[0]) == key_of(row)
    assert answer["similarity"][0] == pytest.approx(1, abs=1e-3)
    wanted = {"spectrum": "spectrum_embedding", "events": "event_embedding"}
    assert answer.attrs["compared"] == [wanted[part] for part in parts]
    opened = chandraclip.open(*files)
    pd.testing.assert_frame_equal(catalog.search(files=opened, k=3), answer)


def test_questions_leave_out_of_the_context_what_the_embeddings_left_out(made, tmp_path, monkeypatch):
    table = EmbeddingTable.load(made.embeddings)
    without = dataclasses.replace(table, provenance=table.provenance | {"without_context": ["nh_gal"]})
    model = QueryModel.of(without)
    seen: dict = {}

    def embeddings(self, network, processor, **options):
        seen.update(options)
        return {"spectrum": np.ones(64), "xray": np.zeros(64)}

    monkeypatch.setattr(chandraclip.Observation, "embeddings", embeddings)
    row = next(row for row in dataset_rows(made) if row["spectrum_counts"])
    observation = chandraclip.open(row_to_ogip(tmp_path, row)["spectrum"])
    assert set(model.of_observation(observation, 3.0)) == {"spectrum_embedding", "xray_embedding"}
    assert seen == {"nh_gal": 3.0, "without_context": ("nh_gal",)}
    assert QueryModel.of(table).without_context == ()


def test_faiss_gives_the_same_and_says_how_much_it_finds(catalog):
    pytest.importorskip("faiss")
    key = tuple(catalog.table.keys[name][0] for name in ("obsid", "obi", "region_id"))
    for kind in ("flat", "hnsw", "ivf"):
        other = Catalog(catalog.table, catalog.facts, index=kind)
        answer = other.search(key=key)
        recall = other.references.recall(10)
        assert all(0.3 < share <= 1 for share in recall.values())
        if kind == "flat":
            pd.testing.assert_frame_equal(answer, catalog.search(key=key), atol=1e-6)
            assert set(recall.values()) == {1.0}
    with pytest.raises(OptionError, match="no index 'tree'"):
        Catalog(catalog.table, catalog.facts, index="tree")


def test_a_model_without_its_folder_is_given_by_name_and_another_is_refused(catalog, made, tmp_path):
    moved = tmp_path / "embeddings"
    shutil.copytree(made.embeddings, moved)
    provenance = json.loads((moved / "embeddings.json").read_text())
    (moved / "embeddings.json").write_text(json.dumps(provenance | {"model": "no/where"}))
    with pytest.raises(InputFileError, match="no/where"):
        Catalog.from_pretrained(moved).search(text="a quasar")
    given = Catalog.from_pretrained(moved, model=made.model).search(text="a quasar", k=2)
    assert list(given["similarity"]) == list(catalog.search(text="a quasar", k=2)["similarity"])
    (moved / "embeddings.json").write_text(json.dumps(provenance | {"model_id": "0" * 64}))
    with pytest.raises(InputFileError, match="not the one that made"):
        Catalog.from_pretrained(moved, model=made.model)
    (moved / "embeddings.json").unlink()
    with pytest.raises(InputFileError, match="which model made it"):
        Catalog.from_pretrained(moved).search(text="a quasar")


def test_a_relative_model_is_found_from_any_working_folder(made, tmp_path, monkeypatch):
    shutil.copytree(made.embeddings, tmp_path / "outputs" / "embeddings" / "default")
    shutil.copytree(made.model, tmp_path / "outputs" / "align")
    file = tmp_path / "outputs" / "embeddings" / "default" / "embeddings.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model": "outputs/align"}))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(Catalog.from_pretrained(file.parent).search(text="a quasar", k=2)) == 2


def test_model_and_embeddings_from_the_hub(made, tmp_path, hub_server):
    """As a stranger has them: ids, no folders."""
    hub_server.add("tester/model", {file.name: file.read_bytes() for file in made.model.iterdir()})
    provenance = json.loads((made.embeddings / "embeddings.json").read_text()) | {"model": "tester/model"}
    files = {
        "embeddings.json": json.dumps(provenance).encode(),
        "embeddings.parquet": (made.embeddings / "embeddings.parquet").read_bytes(),
    }
    hub_server.add("tester/embeddings", files)
    code = (
        "from chandraclip import Catalog\n"
        "print(Catalog.from_pretrained('tester/embeddings').search(text='a quasar', k=3)['similarity'].tolist())"
    )
    environment = {**os.environ, **hub_server.environment(tmp_path / "hub")}
    done = warm_python.run([sys.executable, "-c", code], env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = Catalog.from_pretrained(made.embeddings).search(text="a quasar", k=3)["similarity"].tolist()
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-6)


@pytest.mark.parametrize(
    "question, message",
    [
        ({}, "ask by one of"),
        ({"text": "a", "name": "b"}, "given text and name"),
        ({"text": "   "}, "the text is empty"),
        ({"text": "丏丏"}, "no word of"),
        ({"name": "2CXO J000000.0+000000"}, "no source is named"),
        ({"name": " "}, "the name is empty"),
        ({"key": (1, 2, 3)}, "none is of obsid 1"),
        ({"key": (1, 2)}, r"a key is \(obsid, obi, region_id\)"),
        ({"key": ("x", "y", "z")}, "whole numbers"),
        ({"files": []}, "no file"),
        ({"files": "nowhere.fits"}, "nowhere.fits: no such file"),
        ({"text": "a quasar", "k": 0}, "k is 0"),
        ({"text": "a quasar", "by": "colour"}, "by is 'colour'"),
    ],
)
def test_a_question_without_an_answer_is_one_sentence(catalog, question, message):
    with pytest.raises(QueryError, match=message) as caught:
        catalog.search(**question)
    assert "\n" not in str(caught.value)


def test_a_name_nearly_right_is_suggested(catalog):
    name = catalog.table.name[0]
    with pytest.raises(QueryError, match=name.replace("+", r"\+").replace(".", r"\.")):
        catalog.search(name=name[:-1] + "x")


def test_a_key_that_two_have_needs_the_name(catalog):
    table = catalog.table
    keys = {name: value.copy() for name, value in table.keys.items()}
    other = int(np.flatnonzero(table.name != table.name[0])[0])
    for name in ("obsid", "obi", "region_id"):
        keys[name][other] = keys[name][0]
    twice = Catalog(
        EmbeddingTable(keys, table.split, table.source_class, table.text_id, table.arrays, table.masks), catalog.facts
    )
    key = tuple(keys[name][0] for name in ("obsid", "obi", "region_id"))
    with pytest.raises(QueryError, match="2 detections have the key"):
        twice.search(key=key)
    assert len(twice.search(key=(table.name[0], *key))) == 10


def test_files_without_photons_and_of_other_missions(catalog, ogip, real_data):
    from astropy.io import fits

    empty = ogip.events(time=np.zeros(0), columns=[fits.Column("PI", "J", array=np.zeros(0, int))])
    with pytest.raises(QueryError, match="there is no photon in it"):
        catalog.search(files=empty)
    none = ogip.pha("none.pi", counts=(0, 0, 0, 0))
    with pytest.raises(QueryError, match="there is no photon in it"):
        catalog.search(files=none)
    nicer = real_data / "events" / "nicer" / "ngc300nicer_bary.evt"
    with pytest.raises(QueryError, match="of NICER XTI, and the catalogue and its model are of ACIS"):
        catalog.search(files=nicer)
    broken = ogip.folder / "broken.fits"
    broken.write_bytes(gzip.compress(b"SIMPLE  = nonsense"))
    with pytest.raises(QueryError, match=r"broken\.fits") as caught:
        catalog.search(files=broken)
    assert "\n" not in str(caught.value)


def run(repository, *arguments) -> subprocess.CompletedProcess:
    return warm_python.run([sys.executable, "eval/neighbours.py", *arguments], cwd=repository)


def test_the_program_ends_with_status_2_and_one_line(repository, made, real_data, tmp_path):
    for question, message in (
        (["--key", "1", "2", "3"], "no detection has the key"),
        (["--text", ""], "the text is empty"),
        (["--files", real_data / "events" / "nicer" / "ngc300nicer_bary.evt"], "NICER"),
    ):
        done = run(repository, made.embeddings, *question, "--output", tmp_path / "out")
        assert done.returncode == 2, done.stderr
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("error: ")
        assert message in last
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    assert run(repository, made.embeddings).returncode == 2  # nothing asked
    assert run(repository, tmp_path).returncode == 2


def test_the_program_answers_a_text_and_a_key(repository, made, catalog, tmp_path):
    done = run(
        repository,
        *(made.embeddings, "--dataset", made.dataset, "--text", "a soft, variable star", "--num_neighbours", 4),
        *("--output", tmp_path),
    )
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads((tmp_path / "neighbours.json").read_text())["queries"]
    expected = catalog.search(text="a soft, variable star", k=4)
    assert [found["name"] for found in entry["neighbours"]] == list(expected["name"])
    assert len(entry["texts"]) == 3
    assert entry["neighbours"][0]["name"] in done.stdout
    row = complete_row(catalog)
    key = [catalog.table.keys[name][row] for name in ("obsid", "obi", "region_id")]
    done = run(repository, made.embeddings, "--key", *key, "--index", "exact", "--output", tmp_path / "key")
    assert done.returncode == 0, done.stderr
    assert "Compared by spectrum_embedding and event_embedding" in done.stdout
