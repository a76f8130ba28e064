"""The pictures of classes and clusters: confusion matrices, reliability, contingency, accuracy against k."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chandraclip.evaluation.figures import save_figure

_SHOWN_SHARE = 0.02  # of the rows in a bin of confidence: the share that is right of fewer is noise


def confusion_figure(scores: Mapping[str, Mapping[str, Any]], columns: int = 2) -> Any:
    """Confusion matrices, each row in % of the true class, a panel each; a matplotlib figure.

    Args:
        scores: title -> labels, confusion (C, C) or, with a last column for no class, (C, C + 1), and
            balanced_accuracy, low, high.
        columns: panels side by side.
    """
    from matplotlib.figure import Figure

    lines = max(-(-len(scores) // columns), 1)
    figure = Figure(figsize=(5.25 * columns, 5.2 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in panels[len(scores) :]:
        axes.set_axis_off()
    for axes, (title, score) in zip(panels, scores.items()):
        counts = np.array(score["confusion"], dtype=float)
        total = counts.sum(axis=1, keepdims=True)
        share = 100 * np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
        axes.imshow(share, vmin=0, vmax=100, cmap="YlOrBr")
        for y, x in np.argwhere(share >= 0.5):
            colour = "white" if share[y, x] > 55 else "black"
            axes.text(x, y, f"{share[y, x]:.0f}", ha="center", va="center", color=colour, fontsize=9)
        labels = score["labels"]
        names = [*labels, "none"][: counts.shape[1]]
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(labels)), [f"{name} ({count:.0f})" for name, count in zip(labels, total[:, 0])])
        axes.tick_params(length=0)
        interval = f"[{score['low']:.2f}, {score['high']:.2f}]"
        axes.set_title(f"{title}\nbalanced accuracy {score['balanced_accuracy']:.2f} {interval}", fontsize=10.5)
        axes.set_xlabel("predicted (% of the true class)")
    return figure


def plot_confusion(scores: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """`confusion_figure` of `classes.score_predictions`, as PNG."""
    panels = {
        title: {**score, "low": score["balanced_accuracy_low"], "high": score["balanced_accuracy_high"]}
        for title, score in scores.items()
    }
    save_figure(confusion_figure(panels, columns=min(max(len(panels), 1), 4)), path)


def _colour(number: int, of: int) -> Any:
    """One of ten colours, or of twenty where there are more."""
    from matplotlib import colormaps

    return f"C{number}" if of <= 10 else colormaps["tab20"](number % 20)


def plot_reliability(scores: Mapping[str, Mapping[str, Mapping[str, Any]]], path: Path) -> None:
    """Share right against confidence, a panel a task and a line a classifier; the area of a dot is its share of rows.

    Args:
        scores: task -> title -> `calibration.calibration`.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6 * len(scores), 6.4), layout="constrained")
    for axes, (task, members) in zip(figure.subplots(1, len(scores), squeeze=False)[0], scores.items()):
        axes.plot([0, 1], [0, 1], ":", color="0.4", label="right as often as it says")
        for number, (title, found) in enumerate(members.items()):
            shown = [one for one in found["bins"] if one["share"] >= _SHOWN_SHARE]
            x, y, share = (np.array([one[name] for one in shown]) for name in ("confidence", "right", "share"))
            label = f"{title}: {found['error']:.3f} (floor {found['floor']:.3f})"
            colour = _colour(number, len(members))
            axes.plot(x, y, color=colour, linewidth=1, label=label)
            axes.scatter(x, y, s=10 + 400 * share, color=colour, alpha=0.5, linewidths=0)
        axes.set(xlim=(0, 1), ylim=(0, 1), title=task, xlabel="confidence", ylabel="share that is right")
        axes.set_aspect("equal")
        axes.grid(alpha=0.3)
        axes.legend(
            fontsize="x-small",
            loc="upper center",
            bbox_to_anchor=(0.5, -0.12),
            title="expected calibration error",
            title_fontsize="x-small",
        )
    save_figure(figure, path)


def plot_by_counts(tasks: Mapping[str, Mapping[str, Mapping[str, Any]]], path: Path) -> None:
    """Balanced accuracy by decade of counts, a panel a task and a line a representation, beside chance.

    Args:
        tasks: task -> title -> decades, of `classification.score_classifier`.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2 * len(tasks), 4.9), layout="constrained")
    for axes, (task, members) in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks.items()):
        decades = list(dict.fromkeys(name for found in members.values() for name in found))
        for number, (title, found) in enumerate(members.items()):
            names = [name for name in decades if name in found]
            x = np.array([decades.index(name) for name in names]) + 0.6 * ((number + 0.5) / len(members) - 0.5)
            value, low, high = (
                np.array([found[name][f"balanced_accuracy{end}"] for name in names]) for end in ("", "_low", "_high")
            )
            bars = np.clip([value - low, high - value], 0, None)
            colour = _colour(number, len(members))
            axes.errorbar(x, value, yerr=bars, fmt="o", color=colour, markersize=4, linewidth=1, label=title)
        for place, name in enumerate(decades):
            level = next(found[name]["chance"] for found in members.values() if name in found)
            axes.hlines(level, place - 0.4, place + 0.4, color="0.4", linestyle=":", label=None if place else "chance")
        axes.set(xticks=range(len(decades)), xticklabels=decades, title=task, xlabel="net counts, 0.5-7 keV")
        axes.set(ylim=(0, 1), ylabel="balanced accuracy")
        axes.grid(axis="y", alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), fontsize="small", loc="outside lower center", ncols=4)
    save_figure(figure, path)


def plot_sizes(tasks: Mapping[str, Sequence[Mapping[str, Any]]], published: Mapping[str, float], path: Path) -> None:
    """Balanced accuracy against the number of clusters, a row a task and a panel a representation.

    Args:
        tasks: task -> records with representation, method, num_clusters, balanced_accuracy, chance, in order of size.
        published: task -> the published figure.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(record["representation"] for records in tasks.values() for record in records))
    figure = Figure(figsize=(2.2 + 2.1 * len(names), 1.0 + 2.6 * len(tasks)), layout="constrained")
    grid = figure.subplots(len(tasks), len(names), sharex=True, sharey="row", squeeze=False)
    for row, (task, records) in enumerate(tasks.items()):
        for axes, name in zip(grid[row], names):
            own = [record for record in records if record["representation"] == name]
            for number, method in enumerate(dict.fromkeys(record["method"] for record in records)):
                points = [(one["num_clusters"], one["balanced_accuracy"]) for one in own if one["method"] == method]
                if points:
                    style = "o" if method == "HDBSCAN" else "o-"  # its numbers of clusters are found, not asked for
                    axes.plot(*zip(*points), style, color=f"C{number}", markersize=3, linewidth=1, label=method)
            axes.axhline(own[0]["chance"] if own else 0.0, color="0.4", linestyle=":", label="chance")
            if task in published:
                axes.axhline(published[task], color="0.4", linestyle="--", label="published, real, in-sample")
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:g}")
            axes.grid(alpha=0.3)
            if row == 0:
                axes.set_title(name.replace(": ", ":\n"), fontsize="small")
            if row == len(grid) - 1:
                axes.set_xlabel("clusters")
        grid[row][0].set_ylabel(f"{task}\nbalanced accuracy", fontsize="small")
    handles: dict[str, Any] = {}
    for axes in grid.ravel():
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=6, fontsize="small")
    save_figure(figure, path)


def plot_contingency(panels: Mapping[str, tuple[np.ndarray, Sequence[str], np.ndarray]], path: Path) -> None:
    """Contingency matrices in % of the class, the cluster that a class was given framed.

    Args:
        panels: title -> counts (C, K), the C classes, and the class of each cluster (K,), -1 for none.
        path: PNG to write.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    lines = -(-len(panels) // 2)
    height = 1.2 + 0.32 * max(len(names) for _, names, _ in panels.values())
    figure = Figure(figsize=(14.0, lines * height + 0.3), layout="constrained")
    grid = figure.subplots(lines, 2, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    for axes, (title, (counts, names, assigned)) in zip(grid, panels.items()):
        order = np.lexsort((np.arange(len(assigned)), np.where(assigned < 0, len(names), assigned)))
        total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
        share = 100.0 * counts[:, order] / total
        axes.imshow(share, vmin=0, vmax=100, cmap="YlOrBr", aspect="auto")
        for y, x in np.argwhere(share >= 0.5):
            colour = "white" if share[y, x] > 55 else "black"
            axes.text(x, y, f"{share[y, x]:.0f}", ha="center", va="center", color=colour, fontsize=7)
        for x, number in enumerate(assigned[order]):
            if number >= 0:
                axes.add_patch(Rectangle((x - 0.5, number - 0.5), 1, 1, fill=False, edgecolor="C0", linewidth=1.8))
        axes.set_xticks(range(len(order)), order + 1, fontsize=7)
        labels = [f"{name} ({number})" for name, number in zip(names, counts.sum(axis=1))]
        axes.set_yticks(range(len(names)), labels, fontsize=8)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("cluster (% of the class; framed: the class it was given on train)", fontsize=8)
        axes.tick_params(length=0)
    save_figure(figure, path)
