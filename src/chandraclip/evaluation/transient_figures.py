"""The picture of a search for transients: what is found of each kind, against how many constant lists alarm."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from chandraclip.evaluation.figures import save_figure
from chandraclip.evaluation.transients import ANY, CONSTANT, FALSE_ALARMS, roc_curve


def plot_roc(
    scores: Mapping[str, Mapping[str, np.ndarray] | np.ndarray], kinds: np.ndarray, judged: np.ndarray, path: Path
) -> None:
    """ROC curves by kind, false alarms in the log, since few are what a search can bear.

    Args:
        scores: label -> (N,), or kind -> (N,); learned ones first, drawn thick.
        kinds: (N,) str. judged: (N,) bool.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    shown = [*sorted(set(kinds[judged].tolist()) - {CONSTANT}), ANY]
    columns = 3
    figure = Figure(figsize=(4.0 * columns, 3.6 * -(-len(shown) // columns)), layout="constrained")
    axes = figure.subplots(-(-len(shown) // columns), columns, squeeze=False, sharex=True, sharey=True)
    for panel, kind in zip(axes.ravel(), shown):
        rows = np.flatnonzero(judged & ((kinds == CONSTANT) | (kinds == kind) | (kind == ANY)))
        positive = kinds[rows] != CONSTANT
        for position, (label, score) in enumerate(scores.items()):
            own = score.get(kind) if isinstance(score, Mapping) else score
            if own is not None:
                alarms, found = roc_curve(own[rows], positive)
                width = 2.2 if isinstance(score, Mapping) else 1.1
                panel.step(alarms, found, where="post", color=f"C{position % 10}", linewidth=width, label=label)
        grid = np.geomspace(1e-3, 1, 50)
        panel.plot(grid, grid, ":", color="0.4", label="chance")
        panel.axvline(FALSE_ALARMS, color="0.8", linewidth=0.8, zorder=0)
        panel.set(xscale="log", xlim=(1e-3, 1), ylim=(0, 1.01), title=f"{kind}: {positive.sum()} lists")
    for panel in axes.ravel()[len(shown) :]:
        panel.set_axis_off()
    figure.supxlabel("constant lists that alarm")
    figure.supylabel("lists of the kind that are found")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize="small")
    save_figure(figure, path)
