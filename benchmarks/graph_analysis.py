#!/usr/bin/env python
"""Components, k-cores, clustering and assortativity of a graph of a million edges, against networkx.

Both begin with the CSR of one thresholded cloud and must agree: core numbers and components exactly, the rest to 1e-9.
Building the library's own graph counts for both. CPU seconds.
"""

from __future__ import annotations

import argparse
from time import process_time
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from result_files import write_result


def by_networkx(graph: csr_array) -> dict[str, Any]:
    import networkx

    own = networkx.from_scipy_sparse_array(graph)
    nodes = range(graph.shape[0])
    clustering, core = networkx.clustering(own), networkx.core_number(own)
    return {
        "core_number": np.array([core[node] for node in nodes]),
        "clustering": np.array([clustering[node] for node in nodes]),
        "components": networkx.number_connected_components(own),
        "assortativity": networkx.degree_assortativity_coefficient(own),
    }


def main() -> None:
    from chandraclip.graphs.similarity import graph_of_mean_degree
    from chandraclip.graphs.structure import structure_of

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_nodes", type=int, default=20_000)
    parser.add_argument("--num_edges", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    vectors = np.random.default_rng(options.seed).normal(size=(options.num_nodes, 16)) + 0.3
    graph, _ = graph_of_mean_degree(vectors, 2 * options.num_edges / options.num_nodes)
    graph.data[:] = 1  # networkx.clustering counts triangles alike, and then without weights

    structure_of(graph[:100][:, :100])
    seconds = []
    for _ in range(3):
        begin = process_time()
        ours = structure_of(graph)
        seconds.append(process_time() - begin)
    begin = process_time()
    theirs = by_networkx(graph)
    networkx_s = process_time() - begin
    difference = max(
        float(abs(ours.clustering - theirs["clustering"]).max()), abs(ours.assortativity - theirs["assortativity"])
    )
    same = (ours.core_number == theirs["core_number"]).all() and ours.component.max() + 1 == theirs["components"]
    result = {
        "ratio": networkx_s / min(seconds),
        "equal": bool(same and difference < 1e-9),
        "against": "networkx, the same quantities",
        "num_nodes": options.num_nodes,
        "num_edges": graph.nnz // 2,
        "ours_s": min(seconds),
        "networkx_s": networkx_s,
        "largest_difference": difference,
        "max_core_number": int(ours.core_number.max()),
    }
    write_result(__file__, result, lines=True)


if __name__ == "__main__":
    main()
