"""The pictures of the anomaly search: scores against counts, raw and given them, and what the top of each holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chandraclip.evaluation.figures import save_figure


def plot_scores(
    raw: np.ndarray,
    given: np.ndarray,
    counts: np.ndarray,
    classes: np.ndarray,
    rare: Sequence[str],
    title: str,
    path: Path,
) -> None:
    """One score against counts, raw and given counts and off-axis angle; rare classes stand out.

    Args:
        raw, given, counts: (N,). classes: (N,) names or None.
        rare: classes that are drawn by name.
        title: which score.
        path: PNG to write.
    """
    from matplotlib.figure import Figure
    from scipy.stats import rankdata

    known = np.isfinite(raw) & np.isfinite(given) & (counts > 0)
    figure = Figure(figsize=(9.5, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    rank = rankdata(raw[known]) / known.sum()
    for axes, values, label in (
        (left, rank, "rank of the raw score"),
        (right, given[known], "rank given counts and angle"),
    ):
        is_rare = np.isin(classes[known].astype(str), rare)
        axes.plot(
            counts[known][~is_rare],
            values[~is_rare],
            ".",
            color="0.75",
            markersize=1.5,
            rasterized=True,
            label="others",
        )
        for position, name in enumerate(rare):
            own = classes[known].astype(str) == name
            axes.plot(
                counts[known][own], values[own], "o", color=f"C{position}", markersize=3, label=f"{name} ({own.sum()})"
            )
        axes.axhline(0.99, color="0.3", linestyle=":", linewidth=1)
        axes.set(xscale="log", xlim=(0.5, None), xlabel="net counts, 0.5-7 keV", ylabel=label, ylim=(0, 1.01))
    left.set_title(title, fontsize="medium")
    right.legend(fontsize="small", markerscale=1.5, loc="lower right")
    save_figure(figure, path)


def plot_enrichment(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Enrichment of the rare classes in the top 1 %, one line a representation and method: given counts, and raw.

    Args:
        records: with representation, method and the metrics "raw" and "given" of `rarity_metrics`.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    shown = [record for record in records if record["given"]["enrichment"] and record["raw"]["enrichment"]]
    figure = Figure(figsize=(8, 1.4 + 0.24 * max(len(shown), 4)), layout="constrained")
    axes = figure.subplots()
    for kind, color, shift in (("raw", "0.6", 0.15), ("given", "C3", -0.15)):
        found = [record[kind]["enrichment"] for record in shown]
        value, low, high = (np.array([item[name] for item in found]) for name in ("value", "low", "high"))
        axes.errorbar(
            value,
            np.arange(len(shown)) + shift,
            xerr=np.nan_to_num(np.clip([value - low, high - value], 0, None)),
            fmt="o",
            color=color,
            markersize=4,
            linewidth=1,
            label={"raw": "raw", "given": "given counts and angle"}[kind],
        )
    axes.axvline(1, color="0.3", linestyle=":", linewidth=1)
    labels = [f"{record['representation']}, {record['method'].replace('_', ' ')}" for record in shown]
    axes.set(yticks=range(len(shown)), yticklabels=labels, ylim=(len(shown) - 0.5, -0.5))
    axes.set(xlabel="enrichment of rare classes in the top 1 % (1: chance)")
    axes.tick_params(axis="y", labelsize="small")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize="small")
    save_figure(figure, path)
