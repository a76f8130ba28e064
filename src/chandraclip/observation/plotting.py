"""Pictures of an observation. matplotlib loads with this module."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure, SubFigure

from chandraclip.observation.energy_time import EnergyTimeMap
from chandraclip.observation.grouping import GroupedSpectrum, group_spectrum
from chandraclip.observation.light_curve import LightCurve
from chandraclip.ogip.facts import title_of
from chandraclip.ogip.response import Response
from chandraclip.ogip.spectrum import Spectrum
from chandraclip.simulate.emission.incident import KEV_TO_ERG

# Where the effective area is above this share of its highest: outside there is little but background.
SMALLEST_AREA = 0.01
UNFOLDED = ("photons", "energy")
LABELS = {
    False: r"counts s$^{-1}$ keV$^{-1}$",
    "photons": r"photons cm$^{-2}$ s$^{-1}$ keV$^{-1}$",
    "energy": r"$E F_E$ (erg cm$^{-2}$ s$^{-1}$)",
}
ROUND_ENERGIES = (0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5, 7, 10, 20, 30, 50, 100)
DATA_COLOUR, BACKGROUND_COLOUR, MODEL_COLOUR, GAP_COLOUR = "#1f3b57", "0.6", "#c1440e", "0.92"


def plot_spectrum(
    spectrum: Spectrum,
    *,
    unfolded: bool | str = False,
    min_significance: float | None = 3.0,
    min_counts: int | None = None,
    oversample: float | None = 3.0,
    background: bool = True,
    expected: np.ndarray | None = None,
    label: str = "model",
    residuals: bool = True,
    energy: tuple[float, float] | None = None,
    figure: Figure | SubFigure | None = None,
) -> Axes:
    """A spectrum against energy on logarithmic axes, the background taken away; `Observation.plot` tells the rest.

    Args:
        expected: (C,) source counts of a model, without background.
        label: of the model.
        figure: to draw in; None: a new one.

    Raises:
        ValueError: no response, no good channel or nothing above 0 in the band, or an `unfolded` of another name.
    """
    kind = "energy" if unfolded is True else unfolded
    if kind not in LABELS:
        raise ValueError(f"unfolded is True, False or one of {UNFOLDED}, not {unfolded!r}")
    response = spectrum.response
    if response is None:
        raise ValueError(f"{spectrum.path} has no response: {spectrum.response_problem}")
    band = _useful_band(response) if energy is None else energy
    groups = group_spectrum(spectrum, band, min_significance, min_counts, oversample)
    per_count = _per_count(spectrum, groups, kind)
    if not (groups.net_high * per_count > 0).any():
        raise ValueError(f"{spectrum.path} has nothing above 0 in {band[0]:g}-{band[1]:g} keV for a logarithmic axis")
    if expected is None:
        residuals = False
    figure = figure or plt.figure(figsize=(6.4, 5.6 if residuals else 4.4), layout="constrained")
    if expected is not None and residuals:
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        _draw_residuals(below, groups, groups.sums(expected))
    else:
        axes = below = figure.subplots()

    _draw_background(axes, spectrum, groups, per_count, background)
    _draw_data(axes, groups, per_count)
    if expected is not None:
        steps = np.repeat(groups.sums(expected) * per_count, 2)
        axes.plot(_step_edges(groups), steps, color=MODEL_COLOUR, linewidth=1.4, label=label, zorder=4)
    axes.set(xscale="log", yscale="log", ylabel=LABELS[kind], title=title_of(spectrum.header))
    first = max(groups.energy_lo[0], min(groups.energy_hi[0] / 2, 0.1))  # a first channel may begin at 0 keV
    axes.set_xlim(first, groups.energy_hi[-1])
    below.set_xlabel("energy (keV)")
    _mark_energies(below.xaxis, below.get_xlim())
    if len(axes.get_legend_handles_labels()[1]) > 1:
        axes.legend(frameon=False, fontsize="small", ncols=3, loc="upper right")
    return axes


def plot_light_curve(
    curve: LightCurve, *, title: str = "", band: bool = False, figure: Figure | SubFigure | None = None
) -> Axes:
    """Rate against time; `LightCurve.plot` tells the rest."""
    figure = figure or plt.figure(figsize=(7.6, 3.6), layout="constrained")
    axes = figure.subplots()
    scale, unit = _time_unit(curve.stop[-1] - curve.start[0])
    gaps = np.column_stack([curve.gti[:-1, 1], curve.gti[1:, 0] - curve.gti[:-1, 1]]) / scale
    axes.broken_barh(
        gaps.tolist(), (0, 1), transform=axes.get_xaxis_transform(), color=GAP_COLOUR, linewidth=0, zorder=0
    )
    # Each bin is a line of its own, from start to stop and then a NaN; bins that touch are drawn as steps in a band.
    places = np.column_stack([curve.start, curve.stop, curve.stop]).ravel() / scale

    def steps(values: np.ndarray) -> np.ndarray:
        broken = np.append(curve.start[1:] != curve.stop[:-1], True) if band else np.ones(len(curve), dtype=bool)
        return np.column_stack([values, values, np.where(broken, np.nan, values)]).ravel()

    axes.plot(places, steps(curve.rate), color=DATA_COLOUR, linewidth=1.2)
    if band:
        limits = steps(curve.rate_low), steps(curve.rate_high)
        axes.fill_between(places, *limits, color=DATA_COLOUR, alpha=0.2, linewidth=0)
    else:
        middle = (curve.start + curve.stop) / 2 / scale
        axes.vlines(middle, curve.rate_low, curve.rate_high, color=DATA_COLOUR, linewidth=0.8)
    zero = "start" if curve.mjd_start is None else f"MJD {curve.mjd_start:.5f}"
    energies = "" if curve.energy is None else f", {curve.energy[0]:g}-{curve.energy[1]:g} keV"
    axes.set(xlabel=f"time since {zero} ({unit})", ylabel=f"counts s$^{{-1}}${energies}", title=title)
    axes.set_xlim(curve.start[0] / scale, curve.stop[-1] / scale)
    axes.set_ylim(bottom=0)
    return axes


def plot_energy_time_map(cells: EnergyTimeMap, *, title: str = "", figure: Figure | SubFigure | None = None) -> Axes:
    """Photons a cell; `EnergyTimeMap.plot` tells the rest."""
    figure = figure or plt.figure(figsize=(7.2, 3.8), layout="constrained")
    axes = figure.subplots()
    scale, unit = _time_unit(np.ptp(cells.time_edges))
    exposed = np.ma.masked_array(cells.counts, np.repeat(cells.exposure[:, None] <= 0, cells.counts.shape[1], axis=1))
    image = axes.pcolormesh(
        cells.time_edges / scale, cells.energy_edges, exposed.T, cmap="magma", vmin=0, rasterized=True
    )
    axes.set_facecolor(GAP_COLOUR)
    figure.colorbar(image, ax=axes, label="photons a cell", pad=0.02)
    axes.set(yscale="log", xlabel=f"time since the first good time ({unit})", ylabel="energy (keV)", title=title)
    _mark_energies(axes.yaxis, axes.get_ylim())
    return axes


def _useful_band(response: Response) -> tuple[float, float]:
    useful = np.flatnonzero(response.arf >= SMALLEST_AREA * response.arf.max())
    low = max(response.energy_lo[useful[0]], response.channel_energy_lo[0])
    return float(low), float(response.energy_hi[useful[-1]])


def _per_count(spectrum: Spectrum, groups: GroupedSpectrum, kind: bool | str) -> np.ndarray:
    """(n,) what one count of a group is worth in the units of the axis; NaN where the area is 0."""
    response = spectrum.response
    assert response is not None
    if kind is False:
        area_scale = np.broadcast_to(np.asarray(spectrum.area_scale, np.float64), spectrum.counts.shape)
        used = groups.sums(area_scale) / groups.sums(np.ones(area_scale.shape))  # mean AREASCAL, as in Sherpa
        seen = spectrum.exposure * groups.width * used
        return np.divide(1.0, seen, out=np.full(seen.shape, np.nan), where=seen > 0)
    # Counts of 1 photon/cm2/s/keV at all energies: ISIS's flux-corrected spectrum (Nowak et al. 2005, ApJ 626, 1006).
    flat = groups.sums(spectrum.expected_counts(response.energy_hi - response.energy_lo))
    per_count = np.divide(1.0, flat, out=np.full(flat.shape, np.nan), where=flat > 0)
    if kind == "energy":
        per_count = per_count * groups.energy_lo * groups.energy_hi * KEV_TO_ERG  # E^2 at the geometric mean
    return per_count


def _draw_data(axes: Axes, groups: GroupedSpectrum, per_count: np.ndarray) -> None:
    middle = np.sqrt(np.maximum(groups.energy_lo, 1e-6) * groups.energy_hi)
    value, low, high = (part * per_count for part in (groups.net, groups.net_low, groups.net_high))
    shown = (value > 0) & np.isfinite(value)
    lowest = np.where(low > 0, low, value * 1e-3)  # an error that reaches 0 runs to the foot of the axis
    style: dict[str, Any] = {"color": DATA_COLOUR, "linewidth": 1.0, "zorder": 3}
    axes.hlines(value[shown], groups.energy_lo[shown], groups.energy_hi[shown], label="source", **style)
    axes.vlines(middle[shown], lowest[shown], high[shown], **style)
    limit = ~shown & (high > 0) & np.isfinite(high)
    axes.hlines(high[limit], groups.energy_lo[limit], groups.energy_hi[limit], **style)
    axes.plot(middle[limit], high[limit], marker=r"$\downarrow$", linestyle="none", color=DATA_COLOUR, markersize=7)
    floor = np.concatenate([low[shown & (low > 0)], high[limit], value[shown] / 3])
    if floor.size:
        axes.set_ylim(floor.min() / 1.5, np.nanmax(high[shown | limit]) * 4)  # room for the legend


def _draw_background(
    axes: Axes, spectrum: Spectrum, groups: GroupedSpectrum, per_count: np.ndarray, wanted: bool
) -> None:
    if not wanted or spectrum.background_counts is None or not (groups.background > 0).any():
        return
    value = np.where(groups.background > 0, groups.background, np.nan) * per_count
    axes.plot(
        _step_edges(groups), np.repeat(value, 2), color=BACKGROUND_COLOUR, linewidth=1.0, label="background", zorder=2
    )


def _draw_residuals(axes: Axes, groups: GroupedSpectrum, expected: np.ndarray) -> None:
    """(data - model) over the data's error on the model's side."""
    above = groups.net >= expected
    error = np.where(above, groups.net - groups.net_low, groups.net_high - groups.net)
    error = np.where(error > 0, error, groups.net_high - groups.net)
    residual = (groups.net - expected) / error
    middle = np.sqrt(np.maximum(groups.energy_lo, 1e-6) * groups.energy_hi)
    axes.axhline(0, color=MODEL_COLOUR, linewidth=1.0)
    axes.hlines(residual, groups.energy_lo, groups.energy_hi, color=DATA_COLOUR, linewidth=1.0)
    axes.vlines(middle, residual - 1, residual + 1, color=DATA_COLOUR, linewidth=0.8)
    axes.set(ylabel=r"residual ($\sigma$)")


def _step_edges(groups: GroupedSpectrum) -> np.ndarray:
    return np.column_stack([groups.energy_lo, groups.energy_hi]).ravel()


def _mark_energies(axis: Axis, limits: tuple[float, float]) -> None:
    """Round energies, keV, where the decades of a logarithmic axis are too few to read."""
    ticks = [tick for tick in ROUND_ENERGIES if limits[0] <= tick <= limits[1]]
    if len(ticks) >= 2:
        axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        axis.set_ticks([], minor=True)


def _time_unit(span: float) -> tuple[float, str]:
    return (1e3, "ks") if span >= 1e4 else (1.0, "s")
