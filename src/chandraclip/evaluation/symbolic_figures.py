"""The picture of symbolic regression: how much a longer formula explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chandraclip.evaluation.figures import save_figure
from chandraclip.evaluation.symbolic import FormulaFit

NUM_NAMED = 8


def plot_fronts(fits: Mapping[str, Sequence[FormulaFit]], path: Path) -> None:
    """R2 on test against complexity, a line a Pareto front; the formula chosen, and gradient boosting, as markers.

    Args:
        fits: title of a panel -> what was found; the best few have a name and colour.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2 * len(fits), 4.4), layout="constrained")
    for axes, (title, found) in zip(figure.subplots(1, len(fits), squeeze=False)[0], fits.items()):
        best = sorted(found, key=lambda fit: -fit.chosen.r2["test"])
        for position, fit in enumerate(reversed(best)):
            rank = len(best) - 1 - position
            named = rank < NUM_NAMED
            colour, label = (f"C{rank}", fit.target) if named else ("0.8", None)
            place = [formula.complexity for formula in fit.front]
            axes.plot(
                place, [formula.r2["test"] for formula in fit.front], ".-", color=colour, linewidth=1, label=label
            )
            axes.plot(fit.chosen.complexity, fit.chosen.r2["test"], "o", color=colour, markersize=7)
            axes.plot(1.02, fit.boosted, "<", color=colour, markersize=5, clip_on=False, transform=_right(axes))
        axes.axhline(0, color="0.4", linewidth=0.8)
        axes.set(xlabel="complexity", ylabel="R2 on test sources", title=title, ylim=(-0.1, 1.02))
        axes.plot([], [], "o", color="0.4", label="chosen on validation")
        axes.plot([], [], "<", color="0.4", label="gradient boosting")
        handles, labels = axes.get_legend_handles_labels()
        order = sorted(range(len(labels)), key=lambda i: labels[i] in ("chosen on validation", "gradient boosting"))
        axes.legend(
            [handles[i] for i in order], [labels[i] for i in order], fontsize="x-small", loc="lower right", ncols=2
        )
        axes.grid(alpha=0.3)
    save_figure(figure, path)


def _right(axes: Any) -> Any:
    """x in shares of the axes' width, y in data."""
    from matplotlib.transforms import blended_transform_factory

    return blended_transform_factory(axes.transAxes, axes.transData)
