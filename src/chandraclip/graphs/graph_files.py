"""A graph on disk: Parquet for tables and databases, GraphML for Gephi, Cytoscape, networkx and yEd."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_array

from chandraclip.errors import InputFileError
from chandraclip.files import atomic_path
from chandraclip.graphs.libraries import library

NODES_FILE, EDGES_FILE, GRAPHML_FILE = "nodes.parquet", "edges.parquet", "graph.graphml"
# networkx holds about 2 KB an edge while it writes, and no program draws more.
MAX_GRAPHML_EDGES = 100_000


def write_graph(folder: Path, graph: csr_array, nodes: pa.Table) -> list[Path]:
    """Write nodes, edges (``source``, ``target``: row numbers of the nodes; ``similarity``), and GraphML where it is
    small enough.

    Args:
        folder: made where there is none.
        graph: (N, N) symmetric; each edge is written once.
        nodes: N rows of what is known of each.

    Returns:
        The files written.
    """
    row = np.repeat(np.arange(graph.shape[0], dtype=np.int32), np.diff(graph.indptr))
    once = row < graph.indices
    ends = row[once], graph.indices[once].astype(np.int32)
    edges = pa.table({"source": ends[0], "target": ends[1], "similarity": graph.data[once].astype(np.float32)})
    for name, table in ((NODES_FILE, nodes), (EDGES_FILE, edges)):
        with atomic_path(folder / name) as temporary:
            pq.write_table(table, temporary, compression="zstd")
    written = [folder / NODES_FILE, folder / EDGES_FILE]
    if edges.num_rows <= MAX_GRAPHML_EDGES:
        with atomic_path(folder / GRAPHML_FILE) as temporary:
            library("networkx").write_graphml_xml(to_networkx(graph, nodes), temporary)
        written.append(folder / GRAPHML_FILE)
    else:
        (folder / GRAPHML_FILE).unlink(missing_ok=True)  # of an earlier graph
    return written


def read_graph(folder: Path) -> tuple[csr_array, pa.Table]:
    """The graph and the nodes that `write_graph` wrote.

    Raises:
        InputFileError: a file is missing or unreadable, or an edge has an end that is no node.
    """
    tables = []
    for name in (NODES_FILE, EDGES_FILE):
        try:
            tables.append(pq.read_table(folder / name))
        except (OSError, pa.ArrowInvalid) as error:
            raise InputFileError(folder / name, f"not a readable Parquet file of a graph ({error})") from error
    nodes, edges = tables
    source, target = edges["source"].to_numpy(), edges["target"].to_numpy()
    if len(source) and not (min(source.min(), target.min()) >= 0 and max(source.max(), target.max()) < nodes.num_rows):
        raise InputFileError(folder / EDGES_FILE, f"an edge has an end that is none of the {nodes.num_rows} nodes")
    value = edges["similarity"].to_numpy()
    both = np.concatenate([source, target]), np.concatenate([target, source])
    graph = csr_array((np.concatenate([value, value]), both), shape=(nodes.num_rows, nodes.num_rows))
    graph.sort_indices()
    return graph, nodes


def to_networkx(graph: csr_array, nodes: pa.Table):
    """A `networkx.Graph` with the nodes' columns and the edges' similarity as attributes; nulls are left out."""
    networkx = library("networkx")
    result = networkx.Graph()
    for number, facts in enumerate(nodes.to_pylist()):
        result.add_node(number, **{name: value for name, value in facts.items() if value is not None})
    upper = csr_array(graph).tocoo()
    once = upper.row < upper.col
    result.add_weighted_edges_from(
        zip(upper.row[once].tolist(), upper.col[once].tolist(), upper.data[once].astype(float).tolist()),
        weight="similarity",
    )
    return result
