"""`eval/graph.py` end to end on synthetic embeddings: what it prints and writes, and how it ends on bad input."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import networkx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import warm_python
from chandraclip.graphs.graph_files import read_graph
from chandraclip.graphs.similarity import similarity_graph
from chandraclip.program import run_program


@pytest.fixture
def main(repository):
    spec = importlib.util.spec_from_file_location("graph_program", repository / "eval" / "graph.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def embeddings(tmp_path, embeddings_table) -> Path:
    folder = tmp_path / "embeddings"
    folder.mkdir()
    pq.write_table(embeddings_table, folder / "embeddings.parquet")
    (folder / "embeddings.json").write_text(json.dumps({"model": "m", "dataset": "d", "simulated_rows": 800}))
    return folder


@pytest.fixture
def rare_dataset(tmp_path, dataset, write_dataset) -> Path:
    """The dataset with some highly variable detections, of which a few are of rare classes."""
    table = pa.concat_tables(pq.read_table(file) for file in sorted((dataset / "data").glob("*.parquet")))
    number = np.array([int(name[6:]) for name in table["name"].to_pylist()])
    probability = pa.array(np.where(number < 150, 0.99, 0.2), pa.float32())
    rare = pa.array([{3: "ULX", 4: "TDE"}.get(source, None if source % 9 == 0 else "AGN") for source in number])
    counts = pa.array(1000.0 - number, pa.float32())
    for name, values in (("var_prob_b", probability), ("true_class", rare), ("src_cnts_aper_b", counts)):
        table = table.set_column(table.column_names.index(name), name, values.cast(table.schema.field(name).type))
    return write_dataset(tmp_path / "rare", table)


def test_graphs_of_the_highly_variable(main, embeddings, rare_dataset, tmp_path, capsys, embeddings_table):
    output = tmp_path / "g"
    main([str(embeddings), str(rare_dataset), "--output", str(output), "--num_nulls", "3", "--mean_degrees", "8"])
    printed = capsys.readouterr().out
    assert "300 detections, var_prob_b > 0.9, split all" in printed
    content = json.loads((output / "metrics.json").read_text())
    graphs = content["results"]["graphs"]
    names = ["tau 0.5", "tau 0.7", "tau 0.9", "mean degree 8"]
    assert list(graphs) == [f"{view}, {name}" for view in ("events", "text", "both") for name in names]
    assert graphs["text, mean degree 8"]["summary"]["mean_degree"] == pytest.approx(8, abs=0.1)  # ties are kept
    for found in graphs.values():
        types = {row["type"]: row for row in found["types"]}
        assert sum(row["detections"] for row in types.values()) == found["summary"]["nodes"] == 300
        assert (types["ULX"]["detections"], types["ULX"]["sources"]) == (2, 1)
        assert "unknown" not in types  # source_class fills in where the simulation says nothing
        assert types["AGN"]["high_share_low"] <= types["AGN"]["high_share"] <= types["AGN"]["high_share_high"]
        assert {row["null"] for row in found["nulls"]} == {"rewired", "gaussian", "turned", "shuffled", "matched"}
    metrics = [item["metric"] for item in content["headline"]]
    assert "rare types outward, AUC (both, mean degree 8)" in metrics
    for name in ("degrees.png", "cores.png", "nulls.png", "network.png"):
        assert (output / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "YSO_Candidate" in printed
    assert "Rank correlation with counts: degree " in printed
    for found in graphs.values():
        assert set(found["counts"]) == {"degree", "core_score"}
    assert (output / "graph.md").read_text().count("## ") == 12

    graph, nodes = read_graph(output / "text" / "tau_0.7")
    assert graph.nnz / 2 == graphs["text, tau 0.7"]["summary"]["edges"]
    assert nodes.num_rows == 300
    keys = {(row["name"], row["obsid"]): place for place, row in enumerate(nodes.select(["name", "obsid"]).to_pylist())}
    rows = [row for row in embeddings_table.to_pylist() if (row["name"], row["obsid"]) in keys]
    vectors = np.array([row["text_embedding"] for row in rows])
    assert (similarity_graph(vectors, 0.7) != graph).nnz == 0
    assert networkx.read_graphml(output / "text" / "tau_0.7" / "graph.graphml").number_of_nodes() == 300
    lists = (output / "text" / "tau_0.7" / "core_and_periphery.md").read_text()
    assert "## Core: 25 of" in lists
    assert "2CXO J" in lists


def test_both_is_the_mean_of_the_two_cosines(main, embeddings, rare_dataset, tmp_path, embeddings_table):
    where = ["--where", "hard_hs > -100", "--split", "test"]
    options = ["--views", "both", "--thresholds", "0.4", "--mean_degrees", "--num_nulls", "0"]
    main([str(embeddings), str(rare_dataset), *where, *options, "--output", str(tmp_path / "g")])
    graph, nodes = read_graph(tmp_path / "g" / "both" / "tau_0.4")
    rows = [row for row in embeddings_table.to_pylist() if row["split"] == "test"]
    assert nodes["name"].to_pylist() == [row["name"] for row in rows]
    cosines = []
    for name in ("event_embedding", "text_embedding"):
        vectors = np.array([row[name] for row in rows])
        cosines.append(vectors @ vectors.T)
    row, column = graph.nonzero()
    np.testing.assert_allclose(graph.data, ((cosines[0] + cosines[1]) / 2)[row, column], atol=1e-5)
    assert not (tmp_path / "g" / "nulls.png").exists()


def test_a_graph_without_edges_has_no_nulls(main, embeddings, rare_dataset, tmp_path):
    options = ["--views", "events", "--thresholds", "0.9999999", "--mean_degrees", "--num_nulls", "2"]
    main([str(embeddings), str(rare_dataset), *options, "--output", str(tmp_path / "g")])
    (found,) = json.loads((tmp_path / "g" / "metrics.json").read_text())["results"]["graphs"].values()
    assert found["summary"]["edges"] == 0
    assert found["nulls"] == []
    assert "no edges" in (tmp_path / "g" / "graph.md").read_text()


def test_a_graph_of_too_many_edges_is_left_out_and_said(main, embeddings, rare_dataset, tmp_path, capsys):
    options = [
        "--views",
        "text",
        "--thresholds",
        "-1",
        "0.9",
        "--mean_degrees",
        "--max_edges",
        "2000",
        "--num_nulls",
        "0",
    ]
    main([str(embeddings), str(rare_dataset), *options, "--output", str(tmp_path / "g")])
    assert "text, tau -1: left out, at a threshold of -1" in capsys.readouterr().out
    assert "text, tau 0.9" in json.loads((tmp_path / "g" / "metrics.json").read_text())["results"]["graphs"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--where", "var_prob_b above .9"], "'var_prob_b above .9' is no condition"),
        (["--where", "colour > 1"], "has no column 'colour'"),
        (["--where", "var_prob_b > 2"], "none of the 800 detections meets 'var_prob_b > 2'"),
        (["--where", "var_prob_b > high"], "'high' is no number"),
        (["--where", "true_class > AGN"], "compared by == or !="),
        (["--views", "radio"], "there is no representation 'radio'"),
        (["--thresholds", "1.5"], "a threshold is a cosine, from -1 to 1, and not 1.5"),
        (["--mean_degrees", "-3"], "a mean degree is above 0, and not -3"),
        (["--thresholds", "--mean_degrees"], "give a threshold or a mean degree"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    main, embeddings, rare_dataset, arguments, message, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["eval/graph.py", str(embeddings), str(rare_dataset), *arguments])
    with pytest.raises(SystemExit) as ended:
        run_program(main)
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert message in said.splitlines()[-1]
    assert "Traceback" not in said


def test_a_folder_without_embeddings(repository, tmp_path):
    command = [sys.executable, "eval/graph.py", str(tmp_path), str(tmp_path)]
    done = warm_python.run(command, cwd=repository)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "no embeddings here" in done.stderr
