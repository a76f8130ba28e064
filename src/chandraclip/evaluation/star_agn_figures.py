"""The picture of stars against AGN: accuracy by what a spectrum is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chandraclip.evaluation.figures import save_figure
from chandraclip.evaluation.star_agn import BINS, HARDNESS, NETWORK

_LABELS = {
    "net_counts": "net counts",
    "background_share": "background share of the counts",
    "log_nh": "log N_H (cm-2)",
    "kt": "kT (keV), stars",
    "gamma": "Gamma, AGN",
    "redshift": "redshift, AGN",
}


def plot_accuracy(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A panel a quantity: accuracy of network and hardness ratios in its bins, and chance.

    Args:
        records: of `accuracy_records`.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    quantities = [name for name in BINS if any(record["quantity"] == name for record in records)]
    columns = min(3, len(quantities))
    height = int(np.ceil(len(quantities) / columns))
    figure = Figure(figsize=(4.2 * columns, 3.1 * height), layout="constrained")
    panels = figure.subplots(height, columns, squeeze=False, sharey=True).flat
    for axes, quantity in zip(panels, quantities):
        own = [record for record in records if record["quantity"] == quantity]
        for position, name in enumerate((NETWORK, HARDNESS)):
            value, low, high = (np.array([record[f"{name}{end}"] for record in own]) for end in ("", "_low", "_high"))
            place = np.arange(len(own)) + 0.12 * (position - 0.5)
            error = np.clip([value - low, high - value], 0, None)
            axes.errorbar(place, value, yerr=error, fmt="o-", color=f"C{position}", markersize=4, label=name)
        chance = [record["chance"] for record in own]
        if max(chance) < 1:  # of one class alone, the accuracy is its recall
            axes.plot(range(len(own)), chance, ":", color="0.4", label="larger class")
        axes.set_xticks(range(len(own)), [record["range"] for record in own], fontsize="small")
        axes.set(xlabel=_LABELS[quantity], ylim=(0.3, 1.02))
        axes.grid(axis="y", alpha=0.3)
    for axes in list(figure.axes)[len(quantities) :]:
        axes.remove()
    for axes in figure.axes[::columns]:
        axes.set_ylabel("accuracy")
    figure.axes[0].legend(fontsize="small", loc="lower right")
    save_figure(figure, path)
