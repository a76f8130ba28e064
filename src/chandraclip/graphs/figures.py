"""Pictures of graphs: degrees, k-cores, the network itself, and the numbers beside those of the nulls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from chandraclip.evaluation.figures import save_figure
from chandraclip.graphs.libraries import library
from chandraclip.graphs.nulls import rewired
from chandraclip.graphs.structure import Structure, structure_of
from chandraclip.graphs.tables import UNKNOWN

MAX_DRAWN_NODES = 1500
_NULL_COLOURS = {"rewired": "C1", "gaussian": "C2", "turned": "C4", "shuffled": "C5", "matched": "C9"}


def plot_degrees(structures: Mapping[str, Mapping[str, Structure]], path: Path) -> None:
    """Share of detections with at least a degree: a panel a representation, a line a threshold.

    Args:
        structures: representation -> name of the graph -> its structure.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(structures), 3.6), layout="constrained")
    for axes, (name, graphs) in zip(
        figure.subplots(1, len(structures), sharey=True, squeeze=False)[0], structures.items()
    ):
        for label, structure in graphs.items():
            degree = np.sort(structure.degree)
            share = 1 - np.arange(len(degree)) / len(degree)
            axes.step(np.maximum(degree, 0.7), share, where="pre", label=label)
        axes.set(xscale="log", yscale="log", xlabel="degree (none: at the left edge)", title=name)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.axes[0].set_ylabel("share of detections with at least it")
    save_figure(figure, path)


def plot_core_profiles(graphs: Mapping[str, csr_array], path: Path, num_rewired: int = 5, seed: int = 0) -> None:
    """Share of the nodes in each k-core, beside graphs of the same degrees.

    Args:
        graphs: name -> graph.
        path: PNG to write.
        num_rewired, seed: of the graphs beside.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(graphs), 3.6), layout="constrained")
    for axes, (name, graph) in zip(figure.subplots(1, len(graphs), sharey=True, squeeze=False)[0], graphs.items()):
        for number in range(num_rewired):
            k, count = structure_of(rewired(graph, seed + number)).core_profile()
            label = "rewired, same degrees" if number == 0 else None
            axes.step(k, count / graph.shape[0], where="post", color="C1", alpha=0.6, linewidth=1, label=label)
        k, count = structure_of(graph).core_profile()
        axes.step(k, count / graph.shape[0], where="post", color="C0", linewidth=2, label="the graph")
        axes.set(xlabel="k", title=name, ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.axes[0].set_ylabel("share of detections in the k-core")
    save_figure(figure, path)


def plot_network(
    graph: csr_array,
    core: np.ndarray,
    object_type: np.ndarray,
    marked: Sequence[str],
    path: Path,
    title: str = "",
    seed: int = 0,
) -> None:
    """The graph by networkx's spring layout: core in full colour, periphery hollow, the marked types as stars.

    Of more than `MAX_DRAWN_NODES` nodes some are drawn by chance, and all of the marked types; the title says so.

    Args:
        graph: (N, N).
        core: (N,) bool.
        object_type: (N,) str.
        marked: types to draw as stars.
        path: PNG to write.
        title: of the picture.
        seed: of the choice and the layout.
    """
    from matplotlib.figure import Figure

    networkx = library("networkx")
    generator = np.random.default_rng(seed)
    num_nodes = graph.shape[0]
    chosen = generator.permutation(num_nodes)[:MAX_DRAWN_NODES]
    chosen = np.union1d(chosen, np.flatnonzero(np.isin(object_type, list(marked))))
    part = csr_array(graph[chosen][:, chosen])
    drawn = networkx.from_scipy_sparse_array(part)
    place = networkx.spring_layout(drawn, seed=seed, iterations=60, weight=None, k=2.5 / np.sqrt(len(chosen)))
    position = np.array([place[node] for node in range(len(chosen))])
    names, count = np.unique(object_type[chosen], return_counts=True)
    common = [str(name) for name in names[np.argsort(-count)] if name not in marked and name != UNKNOWN][:8]
    figure = Figure(figsize=(8, 7), layout="constrained")
    axes = figure.subplots()
    lines = networkx.draw_networkx_edges(drawn, place, ax=axes, width=0.2, alpha=0.25, edge_color="0.5")
    if hasattr(lines, "set_rasterized"):
        lines.set_rasterized(True)
    inside = core[chosen]
    for number, name in enumerate([*common, *marked]):
        star = name in marked
        for kind, rows in (("core", inside), ("periphery", ~inside)):
            rows = rows & (object_type[chosen] == name)
            colour = f"C{number % 10}" if not star else ("black", "red", "magenta")[list(marked).index(name) % 3]
            label = f"{name}, {kind} ({rows.sum()})" if rows.any() else None
            axes.scatter(
                position[rows, 0],
                position[rows, 1],
                s=50 if star else 14,
                marker="*" if star else "o",
                facecolors=colour if kind == "core" else "none",
                edgecolors=colour,
                linewidths=0.8,
                zorder=3 if star else 2,
                label=label,
            )
    rest = ~np.isin(object_type[chosen], [*common, *marked])
    axes.scatter(
        position[rest, 0],
        position[rest, 1],
        s=6,
        color="0.6",
        zorder=1,
        label=f"other ({rest.sum()})" if rest.any() else None,
    )
    some = "" if len(chosen) == num_nodes else f" ({len(chosen):,} of {num_nodes:,} detections)"
    axes.set(title=title + some, xticks=[], yticks=[])
    figure.legend(loc="outside right upper", fontsize="x-small")
    save_figure(figure, path)


def plot_nulls(comparisons: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Each number of a graph (diamond) beside the mean and the 95 % range of each null, a row a statistic.

    Every row has its own scale: 0 is the least and 1 the largest of all that is drawn in it.

    Args:
        comparisons: name of the graph -> rows of `compare_with_nulls`.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    statistics = list(dict.fromkeys(row["statistic"] for rows in comparisons.values() for row in rows))
    figure = Figure(figsize=(3 + 3.4 * len(comparisons), 1.4 + 0.42 * len(statistics)), layout="constrained")
    panels = figure.subplots(1, len(comparisons), sharey=True, squeeze=False)[0]
    for axes, (title, rows) in zip(panels, comparisons.items()):
        for line, name in enumerate(statistics):
            own = [row for row in rows if row["statistic"] == name and np.isfinite(row["null_mean"])]
            ends = [value for row in own for value in (row["null_low"], row["null_high"], row["observed"])]
            if not ends:
                continue
            low, span = min(ends), max(max(ends) - min(ends), 1e-12)
            for row in own:
                height = line + 0.15 * (list(_NULL_COLOURS).index(row["null"]) - 2)
                low_end, mean, high_end = ((row[key] - low) / span for key in ("null_low", "null_mean", "null_high"))
                axes.plot([low_end, high_end], [height] * 2, color=_NULL_COLOURS[row["null"]], linewidth=2)
                axes.plot(mean, height, "o", color=_NULL_COLOURS[row["null"]], markersize=4)
            axes.plot((own[0]["observed"] - low) / span, line, "D", color="black", markersize=5, zorder=3)
        axes.set(
            title=title,
            xlim=(-0.05, 1.05),
            ylim=(len(statistics) - 0.5, -0.5),
            xticks=[],
            xlabel="least to largest of the row",
        )
        for border in np.arange(0.5, len(statistics) - 1):
            axes.axhline(border, color="0.9", linewidth=0.8)
    panels[0].set(yticks=range(len(statistics)), yticklabels=[name.replace("_", " ") for name in statistics])
    handles = [panels[0].plot([], [], "o-", color=colour, label=name)[0] for name, colour in _NULL_COLOURS.items()]
    handles.insert(0, panels[0].plot([], [], "D", color="black", label="the graph")[0])
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize="small")
    save_figure(figure, path)
