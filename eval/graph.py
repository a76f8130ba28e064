"""Similarity graphs of detections: degrees by type of object, core and periphery, and what of it is more than chance.

    python eval/graph.py outputs/embeddings/align/default outputs/data/default --output outputs/results/align/graph

An edge joins two detections whose cosine is at least a threshold: .5, .7 and .9 as published, and the one that gives a
mean degree. Without --where the highly variable detections are taken (var_prob_b > 0.9), as published. Writes
metrics.json, graph.md, four pictures, and a folder a graph with nodes.parquet, edges.parquet, graph.graphml and the
lists of its core and periphery.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from chandraclip.program import now_try, run_program


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", help="folder written by scripts/embed.py")
    parser.add_argument("dataset", help="folder or Hub id of the dataset they are of")
    parser.add_argument("--output", type=Path, help="folder for the results; default EMBEDDINGS/graph")
    parser.add_argument(
        "--where",
        nargs="*",
        metavar="CONDITION",
        help="which detections, by catalogue columns; none after it: all (default: 'var_prob_b > 0.9')",
    )
    parser.add_argument("--split", default="all", help="train, validation, test or all (default: %(default)s)")
    parser.add_argument(
        "--views",
        nargs="+",
        help="events, spectrum, xray, text, both; default: events, text and both, as published, where there are",
    )
    parser.add_argument(
        "--thresholds", nargs="*", type=float, default=[0.5, 0.7, 0.9], help="cosines (default: %(default)s)"
    )
    parser.add_argument(
        "--mean_degrees", nargs="*", type=float, default=[20.0], help="other graphs (default: %(default)s)"
    )
    parser.add_argument(
        "--num_nulls", type=int, default=200, help="random graphs of each null; 0: none (default: %(default)s)"
    )
    parser.add_argument(
        "--null_edges", type=int, default=100_000, help="graphs with more have no nulls (default: %(default)s)"
    )
    parser.add_argument(
        "--max_edges", type=int, default=20_000_000, help="graphs with more are left out (default: %(default)s)"
    )
    parser.add_argument("--device", default="cpu", help="torch device of the similarities (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    options = parser.parse_args(arguments)
    if not options.thresholds and not options.mean_degrees:
        parser.error("give a threshold or a mean degree")
    for threshold in options.thresholds:
        if not -1 <= threshold <= 1:
            parser.error(f"a threshold is a cosine, from -1 to 1, and not {threshold:g}")
    if min([*options.mean_degrees, 1.0]) <= 0:
        parser.error(f"a mean degree is above 0, and not {min(options.mean_degrees):g}")
    if options.num_nulls < 0:
        parser.error(f"--num_nulls must not be negative, got {options.num_nulls}")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    from chandraclip.data.schema import RARE_CLASSES
    from chandraclip.errors import OptionError, QueryError
    from chandraclip.evaluation.embeddings import EmbeddingTable
    from chandraclip.evaluation.results import markdown_table, write_metrics
    from chandraclip.evaluation.selection import HIGHLY_VARIABLE, select_rows
    from chandraclip.files import write_text
    from chandraclip.graphs import figures
    from chandraclip.graphs.detections import (
        COUNTS,
        describe_detections,
        facts_of,
        object_types,
        rank_correlation_with_counts,
    )
    from chandraclip.graphs.graph_files import write_graph
    from chandraclip.graphs.report import analyse, headline_of, lists_of, to_markdown
    from chandraclip.graphs.similarity import graph_of_mean_degree, similarity_graph
    from chandraclip.graphs.views import PUBLISHED_VIEWS, VIEWS, view_of

    table = EmbeddingTable.load(options.embeddings).in_split(options.split)
    conditions = [HIGHLY_VARIABLE] if options.where is None else options.where
    table = table.select(select_rows(options.dataset, table, conditions))
    views = options.views or [name for name in PUBLISHED_VIEWS if all(part in table.arrays for part in VIEWS[name])]
    if not views:
        raise QueryError(f"{table.path}: the {len(table):,} detections have neither event nor text embeddings")
    output: Path = options.output or Path(options.embeddings) / "graph"
    results: dict[str, Any] = {}
    structures: dict[str, dict[str, Any]] = {}
    drawn: dict[str, tuple[str, Any, Any, Any]] = {}  # of each view, the last graph that has nulls
    print(f"{len(table):,} detections, {' and '.join(conditions) or 'all'}, split {options.split}")
    of_views = {view: view_of(table, view) for view in views}  # one that is lacking is said before the work begins
    known = facts_of(options.dataset, table)
    for view, (vectors, rows) in of_views.items():
        chosen = table.select(rows)
        facts = {fact: values[rows] for fact, values in known.items()}
        types = object_types(chosen, facts)
        counts = facts.get(COUNTS)
        wanted = [(f"tau {threshold:g}", threshold, None) for threshold in options.thresholds]
        wanted += [(f"mean degree {degree:g}", None, degree) for degree in options.mean_degrees]
        for name, threshold, degree in wanted:
            title = f"{view}, {name}"
            try:
                if degree is None:
                    graph = similarity_graph(vectors, threshold, options.device, options.max_edges)
                else:
                    graph, threshold = graph_of_mean_degree(vectors, degree, options.device, options.max_edges)
            except OptionError as error:  # of one graph; the others may be smaller
                results[title] = {"left_out": str(error)}
                print(f"\n{title}: left out, {error}")
                continue
            num_nulls = options.num_nulls if 0 < graph.nnz / 2 <= options.null_edges else 0
            found = analyse(graph, vectors, chosen.name, types, RARE_CLASSES, num_nulls, options.seed, counts)
            nodes = describe_detections(chosen, types, facts, found)
            brightness = rank_correlation_with_counts(nodes)
            results[title] = {"view": view, "threshold": threshold, "counts": brightness, **found.results}
            text = to_markdown(title, results[title])
            print(f"\n{text}")
            folder = output / view / name.replace(" ", "_")
            files = write_graph(folder, graph, nodes)
            write_text(folder / "core_and_periphery.md", lists_of(title, nodes))
            print(f"wrote {', '.join(map(str, [*files, folder / 'core_and_periphery.md']))}")
            structures.setdefault(view, {})[name] = found.structure
            if found.results["nulls"]:
                drawn[view] = title, graph, found, types
    if not structures:
        raise QueryError("every graph has too many edges; raise the thresholds, or select fewer detections")
    pictures = [output / "degrees.png"]
    figures.plot_degrees(structures, pictures[0])
    if drawn:
        pictures += [output / name for name in ("cores.png", "nulls.png", "network.png")]
        named = {title: graph for title, graph, _, _ in drawn.values()}
        figures.plot_core_profiles(named, pictures[1], seed=options.seed)
        figures.plot_nulls({title: found.results["nulls"] for title, _, found, _ in drawn.values()}, pictures[2])
        title, graph, found, types = list(drawn.values())[-1]
        marked = [name for name in RARE_CLASSES if (types == name).any()]
        figures.plot_network(graph, found.core, types, marked, pictures[3], title, options.seed)
    path = write_metrics(output, "graph", table, headline_of(results), {"where": conditions, "graphs": results})
    whole = "\n".join(to_markdown(title, found) for title, found in results.items())
    write_text(output / "graph.md", f"{whole}\n{markdown_table(published_rows())}\n")
    print("\npublished (conference talk, real detections; its high degree is not defined: not comparable)\n")
    print(markdown_table(published_rows()))
    print(f"wrote {path}, {output / 'graph.md'}, {', '.join(map(str, pictures))}")
    now_try(["scripts/report.py", output])


def published_rows() -> list[dict[str, Any]]:
    from chandraclip.graphs.tables import PUBLISHED_DEGREES

    return [
        {"object type": name, "degree": first, "high degree": count, "share": share}
        for name, (first, count, share) in PUBLISHED_DEGREES.items()
    ]


if __name__ == "__main__":
    run_program(main)
