"""The picture of an alert: the whole light curve with the window marked, and beside it the event or the pulse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chandraclip.observation.light_curve import GoodTimeClock, bin_of, light_curve
from chandraclip.observation.plotting import DATA_COLOUR, plot_light_curve
from chandraclip.observation.screening import PULSATION, Screening
from chandraclip.ogip.events import EventList

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARK = "#d95f02"
MARGIN = 2.0  # durations on either side of the event
NUM_PHASES = 16


def draw_alert(events: EventList, found: Screening, title: str) -> Figure:
    """Light curve and event of a list.

    Args:
        found: of `screening.screen`. title: in words, over the picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.8), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    left, right = figure.subfigures(1, 2, width_ratios=(3, 2), squeeze=False)[0]
    axes = plot_light_curve(light_curve(events), figure=left)
    scale = 1e3 if "(ks)" in axes.get_xlabel() else 1.0
    if found.kind == PULSATION:
        _draw_pulse(events, found, right)
    else:
        # A window of seconds is a line in hours: never thinner than one can see.
        low, high = axes.get_xlim()
        least = 0.004 * (high - low)
        middle, half = 0.5 * (found.start + found.stop) / scale, 0.5 * (found.stop - found.start) / scale
        axes.axvspan(middle - max(half, least), middle + max(half, least), color=MARK, alpha=0.3, linewidth=0)
        _draw_event(events, found, right)
    return figure


def _draw_event(events: EventList, found: Screening, figure: object) -> None:
    """Photons around the window, in bins of a few frames or of a twelfth of it."""
    axes = figure.subplots()  # type: ignore[attr-defined]
    width = found.stop - found.start
    low = max(found.start - MARGIN * width, float(events.gti[0, 0]))
    high = min(found.stop + MARGIN * width, float(events.gti[-1, 1]))
    step = max(width / 12.0, found.frame)
    edges = low + step * np.arange(max(int(np.ceil((high - low) / step - 1e-9)), 1) + 1)
    clock = GoodTimeClock(events)
    exposure = np.diff(clock.at(edges))
    own = events.time[(events.time >= low) & (events.time < edges[-1])]
    counts = np.bincount(bin_of(own, edges[:-1], exposure), minlength=len(exposure)) if own.size else 0.0 * exposure
    rate = np.divide(counts, exposure, out=np.full(len(exposure), np.nan), where=exposure > 0)
    axes.stairs(rate, edges - found.start, baseline=None, color=DATA_COLOUR)
    axes.plot(own - found.start, np.full(own.size, 0.97), "|", color="0.4", transform=axes.get_xaxis_transform())
    outside = found.num_expected / max(found.duration, 1e-300)
    axes.axhline(outside, color="0.4", linestyle=":", label=f"outside: {outside:.3g}/s")
    axes.axvspan(0.0, width, color=MARK, alpha=0.2, linewidth=0, label=f"{found.num_inside} photons")
    axes.set(xlim=(low - found.start, high - found.start), xlabel="time since the window's start (s)")
    axes.set_ylim(0, 1.15 * max(float(np.nanmax(rate)), outside))
    axes.legend(frameon=False, fontsize="small")


def _draw_pulse(events: EventList, found: Screening, figure: object) -> None:
    """The profile at the period, over two cycles, with the good time of each phase taken into account."""
    axes = figure.subplots()  # type: ignore[attr-defined]
    period = found.period or 1.0
    counts = np.bincount((events.time / period % 1.0 * NUM_PHASES).astype(int) % NUM_PHASES, minlength=NUM_PHASES)
    sampled = np.linspace(0.0, 1.0, 200 * NUM_PHASES, endpoint=False)
    starts, stops = events.gti[:, :1], events.gti[:, 1:]
    # Good time at a phase: how often each interval passes it.
    passes = np.floor(stops / period - sampled) - np.floor(starts / period - sampled)
    exposure = (passes.sum(axis=0) * period / sampled.size).reshape(NUM_PHASES, -1).sum(axis=1)
    rate = np.divide(counts, exposure, out=np.full(NUM_PHASES, np.nan), where=exposure > 0)
    error = np.divide(np.sqrt(counts), exposure, out=np.full(NUM_PHASES, np.nan), where=exposure > 0)
    phase = (np.arange(2 * NUM_PHASES) + 0.5) / NUM_PHASES
    axes.errorbar(phase, np.tile(rate, 2), yerr=np.tile(error, 2), fmt="o", markersize=3, color=DATA_COLOUR)
    # No step where no good time is: not zero, but unknown.
    axes.stairs(np.tile(rate, 2), np.arange(2 * NUM_PHASES + 1) / NUM_PHASES, baseline=None, color=DATA_COLOUR)
    axes.set(xlim=(0, 2), xlabel=f"phase at {period:.6g} s", ylabel="counts s$^{-1}$")
    axes.set_ylim(bottom=0)
