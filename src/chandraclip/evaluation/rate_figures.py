"""The pictures of count rates: what is gained by decade of counts, and light curves with the rates over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chandraclip.evaluation.figures import save_figure
from chandraclip.evaluation.rate_tables import NUM_CURVE_CELLS, RateTable
from chandraclip.evaluation.rates import BLOCKS, CONSTANT, Likelihoods, blocks, elapsed_times

NUM_EXAMPLES = 9
_MOST_BINS, _PHOTONS_A_BIN = 60, 8


def plot_gains(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Gain over the constant rate of each group, a marker a model.

    Args:
        records: of `summarize_rates`.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    groups = list(dict.fromkeys(record["group"] for record in records))
    models = [name for name in dict.fromkeys(record["model"] for record in records) if name != CONSTANT]
    cell = {(record["group"], record["model"]): record for record in records}
    figure = Figure(figsize=(1.8 + 1.6 * len(groups), 4.4), layout="constrained")
    axes = figure.subplots()
    for position, model in enumerate(models):
        place = np.arange(len(groups)) + 0.7 * ((position + 0.5) / len(models) - 0.5)
        rows = [cell[group, model] for group in groups]
        value, low, high = (np.array([row[key] for row in rows]) for key in ("gain", "gain_low", "gain_high"))
        error = np.clip([value - low, high - value], 0, None)
        axes.errorbar(place, value, yerr=error, fmt="o", color=f"C{position}", markersize=4, label=model)
    axes.axhline(0.0, color="0.3", linewidth=0.8)
    axes.set(xticks=range(len(groups)), ylabel="gain over the constant rate, nats a held-out photon")
    axes.set_yscale("symlog", linthresh=0.05)
    axes.set_xticklabels(groups, fontsize="small")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize="small")
    save_figure(figure, path)


def choose_lists(found: Mapping[str, Likelihoods], table: RateTable, number: int = NUM_EXAMPLES) -> np.ndarray:
    """Rows to draw, of as many sources: those where the Bayesian blocks of all photons gain most over the constant."""
    gain = found[BLOCKS].own - found[CONSTANT].own
    order = np.argsort(-gain, kind="stable")
    first = np.unique(table.name[order], return_index=True)[1]
    return order[np.sort(first)[:number]]


def plot_light_curves(tables: Mapping[str, RateTable], rows: np.ndarray, path: Path) -> None:
    """Light curves of a few lists, the rate of each model over them; time without good time is grey.

    Args:
        tables: label -> rates of the same lists.
        rows: which.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    first = next(iter(tables.values()))
    columns = min(3, len(rows))
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(5.2 * columns, 2.9 * lines), layout="constrained")
    for axes, row in zip(figure.subplots(lines, columns, squeeze=False).ravel(), rows.tolist()):
        one = {name: lists.take(np.array([row])).values for name, lists in first.lists.items()}
        start, stop = one["gti_start"], one["gti_stop"]
        time = np.concatenate([one["seen_time"], one["held_out_time"]])
        edges = np.linspace(start[0], stop[-1], int(np.clip(len(time) / _PHOTONS_A_BIN, 5, _MOST_BINS)) + 1)
        live = np.clip(np.minimum(edges[1:, None], stop) - np.maximum(edges[:-1, None], start), 0, None).sum(axis=1)
        counts = np.histogram(time, edges)[0]
        shown = live > 0.2 * np.diff(edges)
        rate, middle = counts[shown] / live[shown], 0.5 * (edges[1:] + edges[:-1])[shown]
        error = np.sqrt(np.maximum(counts[shown], 1)) / live[shown]
        axes.errorbar(middle / 1e3, rate, yerr=error, fmt=".", color="0.4", markersize=3, linewidth=0.8)
        cells = start[0] + (stop[-1] - start[0]) * (np.arange(NUM_CURVE_CELLS) + 0.5) / NUM_CURVE_CELLS
        for position, (label, table) in enumerate(tables.items()):
            own = {name: table.lists[name].take(np.array([row])).values for name in ("curve_time", "curve_log_rate")}
            gaps = np.searchsorted(own["curve_time"], stop[:-1])  # no line across them
            drawn = np.insert(own["curve_time"], gaps, np.nan), np.insert(np.exp(own["curve_log_rate"]), gaps, np.nan)
            axes.plot(drawn[0] / 1e3, drawn[1], color=f"C{position}", linewidth=1.2, label=label)
        both = [elapsed_times(first, name, row) for name in ("seen_time", "held_out_time")]
        elapsed = np.concatenate(both)
        good_time = float((stop - start).sum())
        curve = blocks(elapsed, good_time)
        inside = (cells[:, None] >= start) & (cells[:, None] <= stop)
        gone = np.clip(cells[:, None] - start, 0, stop - start).sum(axis=1)
        steps = np.where(inside.any(axis=1), curve(gone), np.nan)
        axes.plot(cells / 1e3, steps, color="0.2", linewidth=0.8, linestyle=":", label=BLOCKS)
        for left, right in zip(stop[:-1], start[1:]):
            axes.axvspan(left / 1e3, right / 1e3, color="0.92")
        axes.set_title(f"{first.name[row]}, {first.keys['obsid'][row]}: {len(time)} photons", fontsize="small")
        axes.set(xlabel="ks", ylabel="photons/s", ylim=(0.0, 1.3 * max(float((rate + error).max()), 1e-9)))
    figure.axes[0].legend(fontsize="x-small")
    for axes in figure.axes[len(rows) :]:
        axes.set_axis_off()
    save_figure(figure, path)
