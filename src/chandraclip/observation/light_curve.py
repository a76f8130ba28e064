"""Light curves: counts, live time and rate in bins of one width, or in Bayesian blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
from astropy.stats import Events, bayesian_blocks, poisson_conf_interval
from astropy.table import QTable
from scipy.special import xlogy

from chandraclip.ogip.events import EventList
from chandraclip.ogip.facts import Described, duration, range_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

DEFAULT_COUNTS, MOST_DEFAULT_BINS = 20, 100  # of a light curve whose bin nobody chose
MAX_BINS = 10_000_000
HIGHEST_ENERGY = 1000.0  # keV: no photon here has more
# The blocks cost the square of the number of places where one may begin: 0.4 s for these.
MAX_CELLS = 8000


@dataclass(frozen=True, eq=False, repr=False)
class LightCurve(Described):
    """Rates in n bins, in order.

    Attributes:
        start, stop: (n,) s since the start of the first good time.
        exposure: (n,) s, good time in the bin less dead time.
        counts: (n,) int64 photons, background included.
        rate: (n,) counts/s of exposure; NaN where the bin has no good time.
        rate_low, rate_high: (n,) counts/s, limits of 68.3 %; NaN as `rate`.
        energy: keV, photons from the first to below the second; None: all.
        gti: (k, 2) s, the good times, in order.
        mjd_start: MJD of the zero of the times, or None.
        method: how bins and limits were made.
    """

    start: np.ndarray
    stop: np.ndarray
    exposure: np.ndarray
    counts: np.ndarray
    rate: np.ndarray
    rate_low: np.ndarray
    rate_high: np.ndarray
    energy: tuple[float, float] | None
    gti: np.ndarray
    mjd_start: float | None
    method: str

    def __len__(self) -> int:
        return self.start.size

    @property
    def title(self) -> str:
        return f"LightCurve of {len(self)} bins"

    @property
    def facts(self) -> dict[str, str]:
        exposed = self.exposure > 0
        zero = "" if self.mjd_start is None else f" since MJD {self.mjd_start:.6f}"
        width = duration(float(np.median(self.stop - self.start)))
        facts = {
            "time": f"{self.start[0]:.6g} to {self.stop[-1]:.6g} s{zero}",
            "bins": f"{width} (median), {int((~exposed).sum())} without good time",
            "energy": "all" if self.energy is None else range_of(*self.energy, "keV"),
            "photons": f"{self.counts.sum()} in {duration(float(self.exposure.sum()))} of live time",
        }
        if exposed.any():
            low, high = np.nanmin(self.rate), np.nanmax(self.rate)
            mean = self.counts.sum() / self.exposure.sum()
            facts["rate"] = f"{mean:.4g} counts/s on average, {low:.4g} to {high:.4g}"
        return {**facts, "method": self.method}

    def plot(self, *, title: str = "", band: bool = False, figure: Figure | SubFigure | None = None) -> Axes:
        """Rate against time, times without good time in grey.

        Args:
            title: of the picture.
            band: limits as a band, not as bars.
            figure: to draw in; None: a new one.
        """
        from chandraclip.observation.plotting import plot_light_curve

        return plot_light_curve(self, title=title, band=band, figure=figure)

    def to_table(self) -> QTable:
        """Columns start, stop, exposure, counts, rate, rate_low and rate_high with their units."""
        times = {name: getattr(self, name) * u.s for name in ("start", "stop", "exposure")}
        rates = {name: getattr(self, name) * (u.ct / u.s) for name in ("rate", "rate_low", "rate_high")}
        meta = {"energy_keV": self.energy, "mjd_start": self.mjd_start, "method": self.method}
        return QTable({**times, "counts": self.counts * u.ct, **rates}, meta=meta)


def light_curve(
    events: EventList,
    bin: float | u.Quantity | str | None = None,
    energy: tuple[float, float] | u.Quantity | None = None,
    p0: float = 0.05,
) -> LightCurve:
    """Rates of a photon list.

    Limits are those of the exact central interval for the counts of a bin (Gehrels 1986, ApJ 303, 336, eqs. 1 and 2),
    good for any number of them. Bayesian blocks (Scargle et al. 2013, ApJ 764, 167) are found on a clock of good time,
    so that a gap is neither a dip nor an edge; a block may reach across one, and its exposure says so.

    Args:
        events: the photons.
        bin: width in s, or a time with its unit, or ``"bayesian_blocks"``; None: some `DEFAULT_COUNTS` photons a bin on
            average, and `MOST_DEFAULT_BINS` bins at most.
        energy: from, to, in keV or with a unit; None: all.
        p0: of Bayesian blocks, the chance of a block too many that their prior is set for (their eq. 21).

    Raises:
        ValueError: a width that is not positive or gives more than `MAX_BINS` bins, another word, or energies that do
            not increase.
    """
    band = band_of(energy)
    time = events.time if band is None else events.time[(events.energy >= band[0]) & (events.energy < band[1])]
    clock = GoodTimeClock(events)
    if isinstance(bin, str):
        if bin != "bayesian_blocks":
            raise ValueError(f"bin is a width in s, a time with its unit or 'bayesian_blocks', not {bin!r}")
        start, stop = clock.time_of(_blocks(clock.at(time), clock.total, p0))
        method = f"Bayesian blocks (Scargle et al. 2013), fitness of events, p0 = {p0:g}"
    else:
        width = _width(bin, time.size, clock)
        first, last = events.gti[0, 0], events.gti[-1, 1]
        start = first + width * np.arange(_num_bins(last - first, width))
        stop = np.append(start[1:], last)
        method = f"bins of {duration(width)}"
    exposure = (clock.at(stop) - clock.at(start)) * clock.live_fraction
    counts = np.bincount(bin_of(time, start, exposure), minlength=start.size)
    return LightCurve(
        start, stop, exposure, counts, *rates(counts, exposure),
        energy=band, gti=events.gti, mjd_start=events.mjd_obs, method=f"{method}; exact Poisson limits (Gehrels 1986)",
    )  # fmt: skip


def rates(counts: np.ndarray, exposure: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts/s and their 68.3 % limits, (n,) each; NaN without exposure."""
    low, high = poisson_conf_interval(counts, interval="frequentist-confidence")
    per_second = np.divide(1.0, exposure, out=np.full(np.shape(exposure), np.nan), where=exposure > 0)
    return counts * per_second, low * per_second, high * per_second


def band_of(energy: Any) -> tuple[float, float] | None:
    """keV, from two numbers or a quantity; who gives eV without saying so is told.

    Raises:
        ValueError: not two energies, or they do not increase.
    """
    if energy is None:
        return None
    try:
        low, high = (float(u.Quantity(part, u.keV).value) for part in energy)
    except (TypeError, ValueError) as error:
        raise ValueError(f"energy is two energies in keV, from and to, not {energy!r}") from error
    if not low < high:
        raise ValueError(f"energy goes from {low:g} to {high:g} keV, and must increase")
    if low > HIGHEST_ENERGY or np.inf > high > HIGHEST_ENERGY:
        raise ValueError(
            f"energy goes from {low:g} to {high:g} keV, must be up to {HIGHEST_ENERGY:g} keV: eV need their unit"
        )
    return low, high


class GoodTimeClock:
    """A clock that runs in good time only.

    Attributes:
        total: s of good time.
        live_fraction: exposure over good time: what dead time leaves.
    """

    def __init__(self, events: EventList):
        length = events.gti[:, 1] - events.gti[:, 0]
        self._knots = events.gti.ravel()
        self._elapsed = np.repeat(np.append(0.0, np.cumsum(length)), 2)[1:-1]
        self._gti = events.gti
        self.total = float(length.sum())
        self.live_fraction = events.exposure / self.total

    def at(self, time: np.ndarray) -> np.ndarray:
        """Good time before each time, s."""
        return np.interp(time, self._knots, self._elapsed)

    def time_of(self, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) times at which the n spans between n + 1 readings begin and end; at a gap, one ends before it."""
        stops = self._elapsed[1::2]
        first = np.searchsorted(stops * (1 + 1e-12), edges[:-1], side="right").clip(0, stops.size - 1)
        last = np.searchsorted(stops, edges[1:] * (1 - 1e-12)).clip(0, stops.size - 1)
        starts = self._elapsed[::2]
        return self._gti[first, 0] + edges[:-1] - starts[first], self._gti[last, 0] + edges[1:] - starts[last]


class _Counts(Events):
    """Fitness of counted events, of cells without any too (Scargle et al. 2013, eq. 19; 0 ln 0 is 0)."""

    def fitness(self, N_k: np.ndarray, T_k: np.ndarray) -> np.ndarray:
        return xlogy(N_k, N_k / T_k)


def _blocks(time: np.ndarray, total: float, p0: float) -> np.ndarray:
    """Edges of the blocks on the clock of good time, from 0 to `total`."""
    if not 0 < p0 < 1:
        raise ValueError(f"p0 is {p0}, and must be between 0 and 1")
    cells, counts = np.unique(time, return_counts=True)
    if cells.size > MAX_CELLS:
        counts, edges = np.histogram(time, MAX_CELLS, (0.0, total))
        cells = (edges[1:] + edges[:-1]) / 2
    # Empty cells at both ends: the good time before the first photon and after the last counts.
    cells, index = np.unique(np.concatenate([[0.0, total], cells]), return_inverse=True)
    counts = np.bincount(index, np.concatenate([[0, 0], counts]))
    return bayesian_blocks(cells, counts, fitness=_Counts(p0=p0))


def _width(bin: Any, num_photons: int, clock: GoodTimeClock) -> float:
    if bin is None:
        return _round_up(max(clock.total * DEFAULT_COUNTS / max(num_photons, 1), clock.total / MOST_DEFAULT_BINS))
    try:
        width = float(u.Quantity(bin, u.s).value)
    except (TypeError, u.UnitsError) as error:
        raise ValueError(f"bin is a width in s, a time with its unit or 'bayesian_blocks', not {bin!r}") from error
    if not (np.isfinite(width) and width > 0):
        raise ValueError(f"bin is {width:g} s, and must be positive")
    return width


def _round_up(width: float) -> float:
    """To 1, 2 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(width))
    return float(power * next(step for step in (1, 2, 5, 10) if step * power >= width * (1 - 1e-9)))


def _num_bins(span: float, width: float) -> int:
    number = span / width
    if number > MAX_BINS:
        raise ValueError(f"bins of {width:g} s are {number:.3g} in {span:g} s; {MAX_BINS} at most")
    return max(int(np.ceil(number - 1e-9)), 1)


def bin_of(time: np.ndarray, start: np.ndarray, exposure: np.ndarray) -> np.ndarray:
    """(N,) the bin of each photon: from its start on, but one at the very end of a good time belongs to that."""
    index = np.searchsorted(start, time, side="right") - 1
    return np.where(exposure[index] > 0, index, np.maximum(index - 1, 0))
