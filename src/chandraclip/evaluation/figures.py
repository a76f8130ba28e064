"""The figures of the first answers: recall curves, and regression errors against the hand-made features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chandraclip.evaluation.regression import SELECTED
from chandraclip.files import atomic_path


def plot_recall(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Share of queries whose own candidate is among the first x % of the pool, beside chance and the class oracle.

    Args:
        results: direction -> `retrieval_metrics`.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    panels: dict[str, list[str]] = {}
    for direction in results:
        query, _, candidate = direction.partition(" -> ")
        title = "to text" if candidate == "text" else "from text" if query == "text" else "between X-ray views"
        panels.setdefault(title, []).append(direction)
    figure = Figure(figsize=(4.2 * len(panels), 4.2), layout="constrained")
    for axes, (title, directions) in zip(
        figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items()
    ):
        for position, direction in enumerate(directions):
            curve, num_candidates = results[direction]["curve"], results[direction]["num_candidates"]
            share = 100 * np.array(curve["items"]) / num_candidates
            axes.plot(share, 100 * np.array(curve["value"]), color=f"C{position}", label=direction)
            if position == 0:
                for name, style in {"class_oracle": "-.", "chance": ":"}.items():
                    if name in curve:
                        label = name.replace("_", " ")
                        axes.plot(share, 100 * np.array(curve[name]), style, color="0.4", label=label)
        axes.set(xscale="log", xlim=(share[0], 100), ylim=(0, 100), title=title, xlabel="first x % of the pool")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.axes[0].set_ylabel("queries that found their own (%)")
    save_figure(figure, path)


def plot_regression(records: Sequence[Mapping[str, Any]], representations: Sequence[str], path: Path) -> None:
    """kNN error relative to hand-made features, a row a variable, a dot a representation with its 95 % interval.

    Args:
        records: of `regression_metrics`.
        representations: which to draw, in order.
        path: PNG to write.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    shown = [
        record for record in records if record["method"] == "knn" and record.get("mae_over_hand_features") is not None
    ]
    variables = list(dict.fromkeys(record["variable"] for record in shown))
    names = [*representations, SELECTED]
    figure = Figure(figsize=(8.5, 1.6 + 0.42 * max(len(variables), 3)), layout="constrained")
    axes = figure.subplots()
    for position, name in enumerate(names):
        own = [record for record in shown if record["representation"] == name]
        ratio = np.array([record["mae_over_hand_features"] for record in own])
        low = np.array([record["mae_over_hand_features_low"] for record in own])
        high = np.array([record["mae_over_hand_features_high"] for record in own])
        row = np.array([variables.index(record["variable"]) for record in own], dtype=float)
        row += 0.7 * ((position + 0.5) / len(names) - 0.5)
        chosen = name == SELECTED
        axes.errorbar(
            ratio,
            row,
            xerr=np.clip([ratio - low, high - ratio], 0, None),
            fmt="D" if chosen else "o",
            color="black" if chosen else f"C{position}",
            markersize=4,
            linewidth=1,
            label="selected on validation" if chosen else name,
        )
    axes.axvline(1, color="0.4", linestyle=":")
    axes.set(yticks=range(len(variables)), yticklabels=variables, ylim=(len(variables) - 0.5, -0.5), xscale="log")
    axes.set(xlabel="kNN mean absolute error relative to hand-made features (left is better)")
    for line in np.arange(0.5, len(variables) - 1):
        axes.axhline(line, color="0.9", linewidth=0.8)
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    figure.legend(loc="outside right upper", fontsize="small")
    save_figure(figure, path)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
