"""The programs, end to end with a tiny model on simulated campaigns; and what they say of questions without answer."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import warm_python
from chandraclip.data.response_table import read_responses, responses_to_table
from chandraclip.errors import InputFileError, QueryError
from chandraclip.evaluation.embeddings import EmbeddingTable
from chandraclip.evaluation.trajectories.selection import (
    class_centres,
    joint_points,
    select_paths,
    xray_representations,
)
from chandraclip.simulate.campaigns import simulate_campaigns
from chandraclip.simulate.instrument.response import builtin_instrument

SOURCES, OBSERVATIONS = 12, 3


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a tiny model, a dataset of campaigns with its responses, and its embeddings."""
    from chandraclip.embedding.dataset import embed_dataset
    from chandraclip.embedding.embedder import EmbedConfig
    from embedding_files import write_dataset

    repository = Path(__file__).resolve().parents[3]
    folder = tmp_path_factory.mktemp("trajectories")
    load(repository / "scripts" / "smoke_wheel.py").make_model(folder / "model", ["a quasar", "a binary"])
    rows = simulate_campaigns(2, "states", SOURCES, OBSERVATIONS, (50, 500))
    alone = simulate_campaigns(3, "states", 1, 2, (50, 500)).slice(0, 1)
    rows = pa.concat_tables([rows, alone])
    dates = rows["mjd_obs"].to_numpy().copy()
    dates[1] = np.nan  # the first source keeps two observations
    index = rows.column_names.index("mjd_obs")
    rows = rows.set_column(index, rows.schema.field(index), pa.array(dates, from_pandas=True))
    write_dataset(folder / "dataset", rows)
    (folder / "dataset" / "responses").mkdir()
    pq.write_table(
        responses_to_table(builtin_instrument().responses), folder / "dataset" / "responses" / "responses-0.parquet"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "cache")
        embed_dataset(EmbedConfig(str(folder / "model"), str(folder / "dataset")), folder / "embeddings")
        yield folder


@pytest.fixture
def main(repository):
    return load(repository / "eval" / "trajectories.py").main


def test_paths_are_of_sources_with_company_in_order_of_time(place):
    table = EmbeddingTable.load(place / "embeddings")
    names = xray_representations(table)
    responses = read_responses(place / "dataset")
    selection = select_paths(str(place / "dataset"), table, responses, names)
    paths = selection.paths
    assert len(paths.source) == SOURCES * OBSERVATIONS - 1
    assert selection.left_out == {"no date (mjd_obs)": 1, "of sources with fewer than 2": 1}
    assert (np.diff(paths.mjd)[np.diff(paths.source) == 0] > 0).all()
    assert paths.rows["name"].to_pylist() == table.name[selection.row].tolist()
    assert paths.rows["obsid"].to_pylist() == table.keys["obsid"][selection.row].tolist()
    assert "summary" not in paths.rows.column_names
    assert not any(name.startswith("true_") for name in paths.rows.column_names)
    more = select_paths(str(place / "dataset"), table, responses, names, min_observations=3)
    assert more.paths.source.max() == SOURCES - 2


def test_rows_without_area_or_good_times_are_no_path(place):
    """One of them would take the area of the whole source away, or leave a photonless list without an embedding."""
    from chandraclip.evaluation.trajectories.selection import _has_area, _has_times

    responses = read_responses(place / "dataset")
    selection = select_paths(
        str(place / "dataset"), *[EmbeddingTable.load(place / "embeddings"), responses],
        xray_representations(EmbeddingTable.load(place / "embeddings")),
    )  # fmt: skip
    rows = selection.paths.rows
    assert _has_area(rows, responses).all()
    assert _has_times(rows).all()

    def without(name: str) -> pa.Table:
        values = rows[name].to_pylist()
        values[1] = None
        return rows.set_column(rows.column_names.index(name), name, pa.array(values, rows[name].type))

    expected = np.arange(rows.num_rows) != 1
    for name in ("arf", "exposure"):
        np.testing.assert_array_equal(_has_area(without(name), responses), expected)
    np.testing.assert_array_equal(_has_times(without("gti_start")), expected)


def test_the_centre_of_a_class_leaves_the_source_itself_out(place):
    table = EmbeddingTable.load(place / "embeddings")
    names = xray_representations(table)
    points = joint_points(table, names)
    assert np.linalg.norm(points, axis=1) == pytest.approx(1, abs=1e-3)
    centres = class_centres(table, names, np.array([4]))
    others = (table.source_class == table.source_class[4]) & (table.name != table.name[4])
    assert centres[0] == pytest.approx(points[others].mean(axis=0), abs=1e-6)


def test_points_of_a_model_are_those_of_its_embeddings(place):
    from chandraclip.embedding.embedder import EmbedConfig, Embedder
    from chandraclip.embedding.points import embed_points, limit_photons

    table = EmbeddingTable.load(place / "embeddings")
    names = xray_representations(table)
    selection = select_paths(str(place / "dataset"), table, read_responses(place / "dataset"), names)
    embedder = Embedder(EmbedConfig(str(place / "model"), "dataset"))
    limit_photons(embedder, None)
    points = embed_points(embedder, selection.paths.rows, names)
    assert points == pytest.approx(joint_points(table, names)[selection.row], abs=1e-5)
    limit_photons(embedder, 5)
    assert np.abs(embed_points(embedder, selection.paths.rows, names) - points).max() > 1e-4


def test_the_ranking_and_its_pictures(main, place, capsys):
    output = place / "results"
    options = [str(place / "embeddings"), str(place / "dataset"), "--output", str(output), "--split", "all"]
    main([*options, "--num_draws", "39", "--num_shown", "5"])
    said = capsys.readouterr().out
    assert "12 sources, 35 observations; left out: 1 no date (mjd_obs), 1 of sources with fewer than 2" in said
    with (output / "trajectories.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == SOURCES
    p_values = [float(row["p_value"]) for row in rows]
    assert p_values == sorted(p_values)
    assert all(0 < value <= 1 for value in p_values)
    assert {row["class"] for row in rows} <= {"LMXB", "HMXB"}
    assert all(float(row["true_flux_range"]) > 0.3 for row in rows[1:] if row["observations"] == "3")
    content = json.loads((output / "metrics.json").read_text())
    assert content["evaluation"] == "trajectories"
    assert [item["chance"] for item in content["headline"]] == [0.01, 0.05]
    assert content["results"]["sources"] == SOURCES
    for picture in ("paths.png", "ranking.png"):
        assert (output / picture).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    name = rows[3]["name"]
    main([*options[:4], "--sources", name, "--num_draws", "39"])
    with (output / "trajectories.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == [name]


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        (["--sources", "2CXO J000000.0+000000"], QueryError, "no detection is of a source named '2CXO J000000.0"),
        (
            ["--min_observations", "9", "--split", "all"],
            QueryError,
            "no source has 9 observations that can be compared",
        ),
        (["--representation", "text_embedding"], QueryError, "there is no X-ray representation 'text_embedding'"),
        (["--split", "neither"], InputFileError, "no row of split 'neither'"),
        (["--model", "."], InputFileError, "no config.json"),
    ],
)
def test_a_question_without_answer_is_one_sentence(main, place, options, error, reason):
    with pytest.raises(error, match=re.escape(reason)) as caught:
        main([str(place / "embeddings"), str(place / "dataset"), *options])
    assert "\n" not in str(caught.value)


def test_another_model_than_the_one_that_embedded_is_refused(main, place):
    provenance = place / "embeddings" / "embeddings.json"
    facts = json.loads(provenance.read_text())
    provenance.write_text(json.dumps({**facts, "model_id": "another"}))
    try:
        with pytest.raises(InputFileError, match="embedded with another model"):
            main([str(place / "embeddings"), str(place / "dataset")])
    finally:
        provenance.write_text(json.dumps(facts))


def test_a_dataset_without_responses_is_refused(main, place, tmp_path):
    from embedding_files import write_dataset

    write_dataset(tmp_path / "bare", simulate_campaigns(2, "states", 2, 2, (50, 500)))
    with pytest.raises(InputFileError, match="has no responses"):
        main([str(place / "embeddings"), str(tmp_path / "bare")])


def test_the_program_ends_with_2_and_one_line(repository, place):
    command = [sys.executable, "eval/trajectories.py", place / "embeddings", place / "dataset", "--sources", "nobody"]
    done = warm_python.run(command, cwd=repository)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].endswith("no detection is of a source named 'nobody'")


def test_validation_tells_change_from_twins(repository, place, capsys):
    output = place / "validation"
    options = ["--kinds", "states", "--num_sources", "8", "--num_observations", "2", "--num_draws", "39"]
    load(repository / "scripts" / "validate_trajectories.py").main(
        [str(place / "model"), "--output", str(output), "--counts", "200", "900", *options]
    )
    content = json.loads((output / "metrics.json").read_text())
    rows = {(row["twins"], row["method"]): row for row in content["results"]["rows"]}
    assert set(rows) == {(twin, method) for twin in ("total", "each") for method in ("model", "rate and hardness")}
    assert all(row["low"] <= row["AUC"] <= row["high"] for row in rows.values())
    assert rows["total", "rate and hardness"]["AUC"] > 0.8
    assert {item["chance"] for item in content["headline"]} == {0.5}
    alarms = [row for row in content["results"]["alarms"] if row["stated"] == 0.05]
    assert all(row["constant sources"] == 16 and row["low"] <= row["measured"] <= row["high"] for row in alarms)
    assert (output / "validation.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "rate and hardness" in capsys.readouterr().out


def test_maps(repository, place, capsys):
    pytest.importorskip("umap")
    output = place / "maps"
    options = [str(place / "embeddings"), str(place / "dataset"), "--split", "all", "--num_resamples", "20"]
    load(repository / "eval" / "maps.py").main([*options, "--num_neighbours", "3", "--output", str(output)])
    content = json.loads((output / "metrics.json").read_text())
    changes = content["results"]["changes"]
    assert {row["neighbours"] for row in changes} >= {"spectrum", "events", "text"}
    assert {"hard_hs", "texts", "classes"} <= {row["quantity"] for row in changes}
    # Twenty resamples of so few rows may give none, or a spread of zero before, and with it no highest ratio.
    told = [row for row in changes if row["low"] is not None and row["high"] is not None]
    assert len(told) > len(changes) / 2
    assert all(row["low"] <= row["ratio"] <= row["high"] for row in told)
    pictures = {path.name for path in output.glob("*.png")}
    assert {"maps_spectrum.png", "maps_events.png", "maps_text.png"} <= pictures
    assert len((output / "layouts.csv").read_text().splitlines()) == content["results"]["detections"] + 1
    assert "after / before" in capsys.readouterr().out


def test_maps_of_latents_that_were_not_aligned_by_the_published_layout(
    repository, place, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("chandraclip.evaluation.maps.PERPLEXITY", 10)  # there are 37 detections
    table = pq.read_table(place / "embeddings" / "embeddings.parquet")
    kept = [name for name in table.column_names if not name.endswith("_embedding") and name != "spectrum_latents"]
    pq.write_table(table.select(kept), tmp_path / "embeddings.parquet")
    options = [str(tmp_path), str(place / "dataset"), "--split", "all", "--num_resamples", "20"]
    options += ["--layout", "t-SNE", "--num_neighbours", "3"]
    load(repository / "eval" / "maps.py").main([*options, "--seed", "505", "--output", str(tmp_path / "maps")])
    content = json.loads((tmp_path / "maps" / "metrics.json").read_text())
    assert not content["results"]["changes"]
    assert all(item["low"] <= item["value"] <= item["high"] for item in content["headline"])
    assert {path.name for path in (tmp_path / "maps").glob("*.png")} == {
        "maps_event_latents.png",
        "maps_text_features.png",
    }
    assert "event_latents_x" in (tmp_path / "maps" / "layouts.csv").read_text()
    assert "after" not in capsys.readouterr().out


def test_maps_of_one_side_alone_are_refused(repository, place, tmp_path):
    table = pq.read_table(place / "embeddings" / "embeddings.parquet")
    kept = [name for name in table.column_names if not name.endswith(("_latents", "_features"))]
    pq.write_table(table.select(kept), tmp_path / "embeddings.parquet")
    with pytest.raises(QueryError, match="before and after alignment"):
        load(repository / "eval" / "maps.py").main([str(tmp_path), str(place / "dataset"), "--split", "all"])
