from __future__ import annotations

import networkx
import numpy as np
import pyarrow as pa
import pytest

from chandraclip.errors import InputFileError
from chandraclip.graphs import graph_files
from chandraclip.graphs.graph_files import read_graph, to_networkx, write_graph
from chandraclip.graphs.similarity import similarity_graph


@pytest.fixture
def nodes() -> pa.Table:
    return pa.table(
        {
            "name": ["2CXO J1 <&>", "b", "c", "d"],
            "degree": np.array([1, 1, 0, 0]),
            "core": [True, False, False, False],
            "hard_hm": pa.array([0.5, None, 1.0, 2.0]),
        }
    )


@pytest.fixture
def graph():
    return similarity_graph(np.array([[1, 0.1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]]), 0.5)


def test_a_graph_reads_back_equal(tmp_path, graph, nodes):
    files = write_graph(tmp_path / "g", graph, nodes)
    assert [file.name for file in files] == ["nodes.parquet", "edges.parquet", "graph.graphml"]
    again, table = read_graph(tmp_path / "g")
    assert (again != graph).nnz == 0
    assert table.equals(nodes)


def test_graphml_is_read_by_networkx(tmp_path, graph, nodes):
    write_graph(tmp_path, graph, nodes)
    read = networkx.read_graphml(tmp_path / "graph.graphml")
    assert read.nodes["0"] == {"name": "2CXO J1 <&>", "degree": 1, "core": True, "hard_hm": 0.5}
    assert "hard_hm" not in read.nodes["1"]
    assert read.edges["0", "1"]["similarity"] == pytest.approx(graph[0, 1])
    assert read.number_of_edges() == 1
    drawn = to_networkx(graph, nodes)
    assert networkx.relabel_nodes(read, int).nodes == drawn.nodes
    assert networkx.relabel_nodes(read, int).edges == drawn.edges


def test_large_graphs_have_no_graphml_and_lose_an_earlier_one(tmp_path, graph, nodes, monkeypatch):
    write_graph(tmp_path, graph, nodes)
    monkeypatch.setattr(graph_files, "MAX_GRAPHML_EDGES", 0)
    assert [file.name for file in write_graph(tmp_path, graph, nodes)] == ["nodes.parquet", "edges.parquet"]
    assert not (tmp_path / "graph.graphml").exists()


def test_damage_is_named(tmp_path, graph, nodes):
    with pytest.raises(InputFileError, match=r"nodes\.parquet: not a readable"):
        read_graph(tmp_path)
    write_graph(tmp_path, graph, nodes)
    write_graph(tmp_path / "few", graph[:0][:, :0], nodes[:1])
    (tmp_path / "edges.parquet").replace(tmp_path / "few" / "edges.parquet")
    with pytest.raises(InputFileError, match="an end that is none of the 1 nodes"):
        read_graph(tmp_path / "few")
