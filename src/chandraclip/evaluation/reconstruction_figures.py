"""The pictures of reconstructions: scores by decade of counts, examples, and where in energy models are wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chandraclip.evaluation.count_spectra import BAND
from chandraclip.evaluation.figures import save_figure
from chandraclip.evaluation.reconstruction import Observed, decade_name, decade_of

_SHOWN_BINS = 40
_RESIDUAL_BINS = 60
_ENERGY_TICKS = (0.5, 1, 2, 5)


def plot_by_decade(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Cash a bin of the counts seen and held out, and the MAE, by decade of counts, a marker a model.

    Args:
        records: of `summarize`.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    decades = [name for name in dict.fromkeys(record["counts"] for record in records) if name != "all"]
    models = list(dict.fromkeys(record["model"] for record in records))
    cell = {(record["counts"], record["model"]): record for record in records}
    figure = Figure(figsize=(13, 4.4), layout="constrained")
    titles = {
        "cash": "Cash a bin, counts seen",
        "held_out_cash": "Cash a bin, the half held out",
        "mae": "MAE, min-max",
    }
    for axes, (name, title) in zip(figure.subplots(1, 3), titles.items()):
        for position, model in enumerate(models):
            place = np.arange(len(decades)) + 0.7 * ((position + 0.5) / len(models) - 0.5)
            rows = [cell[decade, model] for decade in decades]
            value, low, high = (np.array([row[key] for row in rows]) for key in (name, f"{name}_low", f"{name}_high"))
            error = np.clip([value - low, high - value], 0, None)
            axes.errorbar(place, value, yerr=error, fmt="o", color=f"C{position}", markersize=4, label=model)
            if name != "mae":
                perfect = [row["perfect" if name == "cash" else "held_out_perfect"] for row in rows]
                axes.plot(place, perfect, "_", color=f"C{position}", markersize=9)
        axes.set(yscale="log", xticks=range(len(decades)), xlabel="counts, 0.5-7 keV", title=title)
        axes.set_xticklabels(decades, fontsize="small")
        axes.grid(axis="y", alpha=0.3)
        for line in np.arange(0.5, len(decades) - 1):
            axes.axvline(line, color="0.9", linewidth=0.8)
    figure.axes[0].plot([], [], "_", color="0.3", markersize=9, label="if it were the truth")
    figure.axes[0].legend(fontsize="small")
    save_figure(figure, path)


def choose_examples(totals: np.ndarray, scores: np.ndarray, each: int = 2, all_up_to: int = 30) -> np.ndarray:
    """Rows to draw: all of a few; else, of each decade of counts, those nearest to its median score.

    Args:
        totals: (N,) counts. scores: (N,), e.g. held-out Cash a bin of the first model.
        each: rows a decade.
        all_up_to: rows that are all drawn.
    """
    if len(totals) <= all_up_to:
        return np.argsort(totals)
    decade, chosen = decade_of(totals), []
    for number in np.unique(decade):
        rows = np.flatnonzero(decade == number)
        nearest = rows[np.argsort(np.abs(scores[rows] - np.median(scores[rows])), kind="stable")]
        chosen.extend(sorted(nearest[:each].tolist(), key=lambda row: totals[row]))
    return np.array(chosen)


def plot_examples(
    observed: Observed,
    expected: Mapping[str, np.ndarray],
    titles: Sequence[str],
    rows: np.ndarray,
    path: Path,
) -> None:
    """Spectra as counts/keV in wide bins, and what models expect there.

    Args:
        observed: N spectra.
        expected: model -> (total,) expected counts.
        titles: (N,) of each panel.
        rows: which to draw.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    columns = min(4, max(2, int(np.ceil(np.sqrt(len(rows))))))
    height = int(np.ceil(len(rows) / columns))
    figure = Figure(figsize=(3.6 * columns, 2.7 * height), layout="constrained")
    edges = np.geomspace(*BAND, _SHOWN_BINS + 1)
    band = observed.band
    for axes, row in zip(figure.subplots(height, columns, squeeze=False).flat, rows):
        own = slice(*np.searchsorted(band.rows, [row, row + 1]))
        middle, width = 0.5 * (band.low[own] + band.high[own]), band.high[own] - band.low[own]
        bins = np.clip(np.digitize(middle, edges) - 1, 0, _SHOWN_BINS - 1)
        size = np.bincount(bins, width, _SHOWN_BINS)

        def a_kilovolt(values: np.ndarray, bins: np.ndarray = bins, size: np.ndarray = size) -> np.ndarray:
            total = np.bincount(bins, values, _SHOWN_BINS)
            return np.divide(total, size, out=np.full(_SHOWN_BINS, np.nan), where=size > 0)

        counts = np.bincount(bins, observed.counts[own], _SHOWN_BINS)
        seen = (counts > 0) & (size > 0)
        centre = np.sqrt(edges[:-1] * edges[1:])
        # Gehrels 1986, ApJ 303, 336: one sigma up, and a lower end that stays on a logarithmic axis.
        up, down = 1.0 + np.sqrt(counts[seen] + 0.75), np.minimum(np.sqrt(counts[seen]), 0.9 * counts[seen])
        axes.errorbar(
            centre[seen],
            counts[seen] / size[seen],
            yerr=np.stack([down, up]) / size[seen],
            fmt=".",
            color="0.45",
            markersize=4,
            linewidth=0.8,
            label="observed",
        )
        for position, (model, values) in enumerate(expected.items()):
            axes.step(centre, a_kilovolt(values[own]), where="mid", color=f"C{position}", linewidth=1.1, label=model)
        least = 0.1 * (counts[seen] / size[seen]).min() if seen.any() else 0.1
        axes.set(xscale="log", yscale="log", xlim=BAND, ylim=(least, None))
        axes.set_title(titles[row], fontsize="small")
        _mark_energies(axes)
    for axes in list(figure.axes)[len(rows) :]:
        axes.remove()
    figure.axes[0].legend(fontsize="x-small")
    figure.supxlabel("keV", fontsize="small")
    figure.supylabel("counts/keV", fontsize="small")
    save_figure(figure, path)


def plot_residuals(observed: Observed, expected: Mapping[str, np.ndarray], path: Path) -> None:
    """Where in energy expectations are too low or too high: relative residuals of all spectra of a decade together.

    Args:
        observed: N spectra.
        expected: model -> (total,) expected counts.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    band, decade = observed.band, decade_of(observed.totals)
    numbers = np.unique(decade)
    figure = Figure(figsize=(3.4 * len(numbers), 3.6), layout="constrained")
    edges = np.geomspace(*BAND, _RESIDUAL_BINS + 1)
    bins = np.clip(np.digitize(0.5 * (band.low + band.high), edges) - 1, 0, _RESIDUAL_BINS - 1)
    centre = np.sqrt(edges[:-1] * edges[1:])
    for axes, number in zip(figure.subplots(1, len(numbers), squeeze=False)[0], numbers):
        own = decade[band.rows] == number
        counts = np.bincount(bins[own], observed.counts[own], _RESIDUAL_BINS)
        for position, (model, values) in enumerate(expected.items()):
            total = np.bincount(bins[own], values[own], _RESIDUAL_BINS)
            ratio = np.divide(counts - total, total, out=np.full(_RESIDUAL_BINS, np.nan), where=total > 0)
            axes.plot(centre, 100 * ratio, color=f"C{position}", linewidth=1.1, label=model)
        noise = np.divide(1.0, np.sqrt(counts), out=np.full(_RESIDUAL_BINS, np.nan), where=counts > 0)
        axes.fill_between(centre, -100 * noise, 100 * noise, color="0.85", label="Poisson, one sigma")
        axes.axhline(0, color="0.4", linewidth=0.8)
        axes.set(xscale="log", xlim=BAND, ylim=(-60, 60), xlabel="keV", title=f"{decade_name(number)} counts")
        _mark_energies(axes)
        axes.title.set_fontsize("medium")
    figure.axes[0].set_ylabel("(observed - expected) / expected, %")
    figure.axes[0].legend(fontsize="x-small")
    save_figure(figure, path)


def _mark_energies(axes: Any) -> None:
    from matplotlib.ticker import NullFormatter

    axes.set_xticks(_ENERGY_TICKS, [f"{energy:g}" for energy in _ENERGY_TICKS])
    axes.xaxis.set_minor_formatter(NullFormatter())
    if axes.get_yscale() == "log":
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(labelsize="small")
