"""Paths over the density of all detections, and what the ranking of all sources looks like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chandraclip.evaluation.figures import save_figure
from chandraclip.evaluation.trajectories.movement import Movement
from chandraclip.evaluation.trajectories.paths import source_bounds

_NOISE_SHARE = 0.9  # of draws that a drawn ellipse of noise holds


def principal_plane(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(D,) centre and (D, 2) axes of the plane in which points (M, D) are widest."""
    centre = points.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov((points - centre).T))
    axes = vectors[:, ::-1][:, :2]
    # The sign of an axis is free: its largest component is positive, so that a picture is the same each time.
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)[0]
    return centre, axes * np.where(largest < 0, -1.0, 1.0)


def plot_paths(
    movement: Movement,
    source: np.ndarray,
    mjd: np.ndarray,
    background: np.ndarray,
    shown: Sequence[tuple[str, int]],
    path: Path,
) -> None:
    """Paths of some sources over the density of all detections, in its principal plane.

    Each observation has a number in order of time and, dashed, the ellipse that holds 90 % of what photon noise makes
    of it if the source is the same in all.

    Args:
        movement: of `measure_movement`.
        source: (N,) int, non-decreasing: of its points.
        mjd: (N,) d.
        background: (M, D) points of all detections.
        shown: title and number of each source to draw, six at most.
        path: PNG to write.
    """
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Ellipse

    centre, axes_of_plane = principal_plane(background)
    first, last = source_bounds(source)
    everyone = (background - centre) @ axes_of_plane
    low, high = np.quantile(everyone, [0.001, 0.999], axis=0)
    margin = 0.08 * (high - low)
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(4.6 * columns, 4.4 * lines + 0.5), layout="constrained")
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.ravel()[len(shown) :]:
        axes.set_visible(False)
    by_path = movement.table.set_index("path")
    for axes, (title, number) in zip(grid.ravel(), shown):
        axes.hexbin(
            *everyone.T,
            gridsize=60,
            extent=(low[0] - margin[0], high[0] + margin[0], low[1] - margin[1], high[1] + margin[1]),
            norm=LogNorm(),
            cmap="Greys",
            linewidths=0,
            alpha=0.8,
        )
        rows = np.arange(first[number], last[number] + 1)
        place = (movement.points[rows] - centre) @ axes_of_plane
        cloud = (movement.cloud[:, rows] - centre) @ axes_of_plane
        since = mjd[rows] - mjd[rows[0]]
        colours = Normalize(0.0, max(float(since[-1]), 1.0))
        from matplotlib import colormaps

        palette = colormaps["plasma"]
        for order, (here, draws) in enumerate(zip(place, np.moveaxis(cloud, 1, 0))):
            colour = palette(0.9 * colours(since[order]))
            values, vectors = np.linalg.eigh(np.cov(draws.T))
            width = 2.0 * np.sqrt(-2.0 * np.log(1.0 - _NOISE_SHARE) * np.maximum(values, 0.0))
            angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
            axes.add_patch(
                Ellipse(
                    draws.mean(axis=0), width[1], width[0], angle=angle, fill=False, edgecolor=colour, linestyle="--"
                )
            )
            if order:
                axes.annotate(
                    "", here, place[order - 1], arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 1.3}
                )
            axes.plot(*here, "o", color=colour, markersize=5, markeredgecolor="black", markeredgewidth=0.5)
            axes.annotate(str(order + 1), here, xytext=(4, 4), textcoords="offset points", fontsize=8)
        facts = by_path.loc[number]
        axes.set_title(
            f"{title}\n{facts['name']}, {int(facts['least_counts'])} to {int(facts['most_counts'])} counts, "
            f"{since[-1]:.0f} d\np = {facts['p_value']:.3g}, q = {facts['q_value']:.2g}",
            fontsize="small",
        )
        axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
    for axes in grid[-1]:
        axes.set_xlabel("first principal axis")
    for axes in grid[:, 0]:
        axes.set_ylabel("second principal axis")
    figure.suptitle(
        "Observations 1, 2, ... from dark (first) to bright (last); dashed: 90 % of photon noise if constant",
        fontsize="small",
    )
    save_figure(figure, path)


def plot_ranking(table: pd.DataFrame, path: Path) -> None:
    """Every source: its departure over what noise gives, by its counts; and its p-values, by which noise is even.

    Args:
        table: of `measure_movement`.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    ratio = table["departure"] / table["departure_noise"]
    for moved, colour, label in ((False, "0.6", "noise would do"), (True, "#c1440e", "moved")):
        part = table["moved"] == moved
        left.plot(
            table["total_counts"][part], ratio[part], ".", color=colour, markersize=4, label=f"{label} ({part.sum()})"
        )
    left.axhline(1.0, color="black", linestyle=":", linewidth=1)
    left.set(xscale="log", yscale="log", xlabel="counts of all observations", ylabel="departure / its mean from noise")
    left.legend(fontsize="small")
    right.hist(table["p_value"], bins=np.linspace(0, 1, 21), color="0.7")
    right.axhline(len(table) / 20, color="black", linestyle=":", linewidth=1, label="if no source had moved")
    right.set(xlabel="p-value", ylabel="sources", xlim=(0, 1))
    right.legend(fontsize="small")
    save_figure(figure, path)


def plot_validation(scores: dict[str, dict[str, Any]], path: Path) -> None:
    """Of simulated campaigns: p-values of what does not change, and recall against false alarms of what does.

    Args:
        scores: kind -> ``"changed"`` and twin -> p-values (S,), and ``"curves"``: twin -> (false alarms, recall).
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    grid = np.linspace(0, 1, 101)
    for position, (kind, part) in enumerate(scores.items()):
        for twin, style in {"total": "-", "each": "--"}.items():
            if twin not in part:
                continue
            values = np.asarray(part[twin])
            left.plot(
                grid,
                (values[:, None] <= grid).mean(axis=0),
                style,
                color=f"C{position}",
                label=f"twins of {kind}, {twin}",
            )
            false_alarms, recall = part["curves"][twin]
            right.plot(false_alarms, recall, style, color=f"C{position}", label=f"{kind} against {twin}")
    left.plot([0, 1], [0, 1], ":", color="black", label="exact")
    left.set(xlabel="p-value", ylabel="share of constant sources at or below it", xlim=(0, 1), ylim=(0, 1))
    right.plot([0, 1], [0, 1], ":", color="black", label="chance")
    right.set(xlabel="false alarms", ylabel="changed sources found", xlim=(0, 1), ylim=(0, 1.01))
    for axes in (left, right):
        axes.legend(fontsize="x-small")
    save_figure(figure, path)
