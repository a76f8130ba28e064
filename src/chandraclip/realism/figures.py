"""The pictures of the simulator's validation: histograms, the distances at a glance, confusion matrices."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chandraclip.data.schema import SOURCE_CLASSES
from chandraclip.evaluation.class_figures import confusion_figure
from chandraclip.files import atomic_path
from chandraclip.realism.distances import MIN_SOURCES, QUANTITIES
from chandraclip.realism.points import Point

SHOWN = (
    "energy_hm",
    "energy_ms",
    "log_flux_b",
    "log_counts_b",
    "kp_prob_b",
    "powlaw_gamma",
    "log_powlaw_nh",
    "log_bb_kt",
)
REAL_COLOUR, SIMULATED_COLOUR = "0.75", "#c1440e"


def plot_distributions(real: pd.DataFrame, simulated: pd.DataFrame, path: Path) -> None:
    """Histograms of real (filled) and simulated rows (line), a row a class and a column a quantity.

    Args:
        real, simulated: of `detection_quantities`. A side with fewer than `MIN_SOURCES` values is left out; values
            outside a quantity's range are in its end bins.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    quantities = [quantity for quantity in QUANTITIES if quantity.column in SHOWN]
    figure = Figure(figsize=(13, 11.5), layout="constrained")
    grid = figure.subplots(len(SOURCE_CLASSES), len(quantities), sharex="col", squeeze=False)
    handles: dict[str, Any] = {}
    for line, name in zip(grid, SOURCE_CLASSES):
        for axes, quantity in zip(line, quantities):
            edges = np.linspace(quantity.low, quantity.high, 21)
            for side, frame in {"real": real, "simulated": simulated}.items():
                values = frame.loc[frame["source_class"] == name, quantity.column].dropna()
                if len(values) < MIN_SOURCES:
                    continue
                share = np.histogram(values.clip(quantity.low, quantity.high), edges)[0] / len(values)
                filled = side == "real"
                colour = REAL_COLOUR if filled else SIMULATED_COLOUR
                handles[side] = axes.stairs(share, edges, fill=filled, color=colour, linewidth=1.3)
            axes.set(xlim=(quantity.low, quantity.high), yticks=[])
            axes.set_ylim(bottom=0)
            axes.tick_params(labelsize=9)
        line[0].set_ylabel(name, fontsize=11)
    for axes, quantity in zip(grid[-1], quantities):
        axes.set_xlabel(quantity.label.replace(" (", "\n(").replace(" of ", "\nof "), fontsize=10)
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=2, fontsize=11)
    _save(figure, path)


def plot_distances(table: pd.DataFrame, path: Path) -> None:
    """The distances of `ks_table`, a row a quantity and a column a class; framed where beyond the floor.

    Args:
        table: of `ks_table`.
        path: PNG to write.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    columns = [quantity.column for quantity in QUANTITIES]
    values = np.full((len(columns), len(SOURCE_CLASSES)), np.nan)
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    for row in table.itertuples():
        y, x = columns.index(str(row.quantity)), SOURCE_CLASSES.index(str(row.source_class))
        values[y, x] = row.ks
        axes.text(x, y, f"{row.ks:.2f}", ha="center", va="center", color="white" if row.ks > 0.33 else "black")
        if row.beyond_floor:
            axes.add_patch(Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, fill=False, edgecolor="black", linewidth=1.6))
    image = axes.imshow(values, vmin=0, vmax=0.6, cmap="YlOrBr", aspect="auto")
    axes.set_xticks(range(len(SOURCE_CLASSES)), SOURCE_CLASSES)
    axes.set_yticks(range(len(columns)), [quantity.label for quantity in QUANTITIES])
    axes.tick_params(length=0)
    figure.colorbar(image, label="KS distance of simulated from real; framed: beyond the noise floor", extend="max")
    _save(figure, path)


def plot_apart(sides: Mapping[str, list[dict[str, Any]]], path: Path) -> None:
    """AUC of telling real from simulated a class, with intervals, and that of halves of the real sources.

    Args:
        sides: title -> `apart.telling_apart`.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    names = [name for name in SOURCE_CLASSES if any(e["source_class"] == name for of in sides.values() for e in of)]
    halves = [("halves of the real ones", [dict(e["real_halves"], source_class=e["source_class"]) for e in of])
              for of in list(sides.values())[:1]]  # fmt: skip
    colours = (SIMULATED_COLOUR, "#2b6a99", "0.5")
    for place, (title, entries) in enumerate([*sides.items(), *halves]):
        entries = [entry for entry in entries if "auc" in entry]
        y = np.array([names.index(entry["source_class"]) for entry in entries]) + 0.22 * (place - 1)
        auc, low, high = (np.array([entry[key] for entry in entries]) for key in ("auc", "low", "high"))
        bars = np.maximum([auc - low, high - auc], 0.0)
        axes.errorbar(auc, y, xerr=bars, fmt="o", color=colours[place % 3], label=title, markersize=5)
    axes.axvline(0.5, color="0.6", linewidth=0.8)
    axes.axvline(0.75, color="0.6", linewidth=0.8, linestyle=":")
    axes.set(yticks=range(len(names)), yticklabels=names, xlabel="area under the ROC curve, real or not (dotted: aim)")
    axes.set_xlim(0.25, 1.0)
    axes.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=3, fontsize=9)
    _save(figure, path)


def plot_points(points: list[Point], path: Path) -> None:
    """The points of the audit, a panel each: real or right (bar), before (hollow), now (filled).

    Args:
        points: of `points.points`.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 11), layout="constrained")
    panels = figure.subplots(3, 3).ravel()
    handles: dict[str, Any] = {}
    for axes, point in zip(panels, points):
        y = np.arange(len(point.rows))
        styles = {
            "real or right": ("real", "|", "black", 16),
            "before": ("before", "o", "none", 8),
            "now": ("after", "o", SIMULATED_COLOUR, 7),
        }
        for title, (name, marker, face, size) in styles.items():
            edge = "black" if name == "real" else SIMULATED_COLOUR
            values = np.array([getattr(row, name) for row in point.rows], dtype=float)
            (handles[title],) = axes.plot(
                values, y, marker, markersize=size, markerfacecolor=face, markeredgecolor=edge, markeredgewidth=1.6
            )
        axes.set_yticks(y, [row.label for row in point.rows], fontsize=8)
        axes.set_ylim(len(point.rows) - 0.4, -0.6)
        axes.margins(x=0.1)
        axes.grid(axis="x", color="0.9")
        axes.set_title(f"{point.number}. {point.title}", fontsize=10)
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3)
    _save(figure, path)


def plot_confusion(scores: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Confusion matrices, each row in % of the true class, a panel a training.

    Args:
        scores: title -> `transfer_score`; those that are empty are left out.
        path: PNG to write.
    """
    _save(confusion_figure({title: score for title, score in scores.items() if score}), path)


def _save(figure: Any, path: Path) -> None:
    """A palette is enough for these, at a third of the bytes."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    with atomic_path(path) as temporary, Image.open(buffer) as image:
        image.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(temporary, format="png", optimize=True)
