"""Energy-time maps: photons counted in cells of time and of the logarithm of the energy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
from numpy.typing import ArrayLike

from chandraclip.catalog.bands import BANDS
from chandraclip.observation.light_curve import GoodTimeClock
from chandraclip.ogip.events import EventList
from chandraclip.ogip.facts import Described, range_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Dillmann et al. 2025, MNRAS 537, 931: 24 times x 16 energies, log10 E from 0.5 to 7 keV.
TIME_BINS, ENERGY_BINS = 24, 16


@dataclass(frozen=True, eq=False, repr=False)
class EnergyTimeMap(Described):
    """Attributes:
    counts: (T, E) int64.
    time_edges: (T + 1,) s since the start of the first good time.
    energy_edges: (E + 1,) keV.
    exposure: (T,) s, good time less dead time.
    """

    counts: np.ndarray
    time_edges: np.ndarray
    energy_edges: np.ndarray
    exposure: np.ndarray

    @property
    def title(self) -> str:
        return f"EnergyTimeMap of {self.counts.shape[0]} times x {self.counts.shape[1]} energies"

    @property
    def facts(self) -> dict[str, str]:
        return {
            "photons": f"{self.counts.sum()}, {self.counts.max()} in a cell at most",
            "time": range_of(self.time_edges[0], self.time_edges[-1], "s"),
            "energy": range_of(self.energy_edges[0], self.energy_edges[-1], "keV"),
        }

    def plot(self, *, title: str = "", figure: Figure | SubFigure | None = None) -> Axes:
        """Photons a cell in colour, times without good time in grey; `figure` to draw in, else a new one."""
        from chandraclip.observation.plotting import plot_energy_time_map

        return plot_energy_time_map(self, title=title, figure=figure)


def energy_time_map(
    events: EventList, energy_bins: int | ArrayLike = ENERGY_BINS, time_bins: int | ArrayLike = TIME_BINS
) -> EnergyTimeMap:
    """Photons in cells of time and log energy (Dillmann et al. 2025, MNRAS 537, 931).

    Args:
        events: the photons.
        energy_bins: how many, of equal ratio from 0.5 to 7 keV, or their edges in keV or with a unit.
        time_bins: how many, from the start of the first good time to the end of the last (theirs go from the first
            photon to the last), or their edges in s or with a unit.

    Raises:
        ValueError: fewer than one bin, or edges that do not increase.
    """
    first, last = events.gti[0, 0], events.gti[-1, 1]
    low, high = BANDS["b"]
    energy_edges = _edges("energy_bins", energy_bins, u.keV, lambda number: np.geomspace(low, high, number))
    time_edges = _edges("time_bins", time_bins, u.s, lambda number: np.linspace(first, last, number))
    counts, _, _ = np.histogram2d(events.time, events.energy.astype(np.float64), (time_edges, energy_edges))
    clock = GoodTimeClock(events)
    return EnergyTimeMap(
        counts.astype(np.int64), time_edges, energy_edges, np.diff(clock.at(time_edges)) * clock.live_fraction
    )


def _edges(name: str, bins: int | ArrayLike, unit: u.Unit, spaced: Callable[[int], np.ndarray]) -> np.ndarray:
    """The edges given, or `spaced` for the number of edges that so many bins have."""
    try:
        edges = np.asarray(bins.to_value(unit) if isinstance(bins, u.Quantity) else bins, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is a number of bins, or their edges, not {bins!r}") from error
    if edges.ndim == 0:
        if not (edges >= 1 and edges == np.floor(edges)):
            raise ValueError(f"{name} is {edges}, and must be a whole number from 1 on, or edges")
        return spaced(int(edges) + 1)
    if edges.ndim != 1 or edges.size < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"{name} must be edges that increase, two at least")
    return edges
