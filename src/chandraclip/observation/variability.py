"""Whether a source varied within an observation, as the catalogue tests it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chandraclip.catalog.kuiper import kuiper_probability
from chandraclip.catalog.ragged import Ragged
from chandraclip.catalog.variability import averaged_light_curve, gregory_loredo
from chandraclip.observation.light_curve import GoodTimeClock, LightCurve, bin_of
from chandraclip.ogip.events import EventList
from chandraclip.ogip.facts import Described, range_of

# CSC's words for var_index (https://cxc.cfa.harvard.edu/csc/columns/variability.html).
INDEX_WORDS = (
    "definitely not variable",
    "considered not variable",
    "probably not variable",
    "may be variable",
    "likely variable",
    "considered variable",
    *["definitely variable"] * 5,
)


@dataclass(frozen=True, eq=False, repr=False)
class Variability(Described):
    """Tests of a constant rate.

    Attributes:
        var_prob: Gregory-Loredo probability that the rate varied; NaN below 10 photons, as CSC has none.
        var_index: 0 (not variable) to 10, CSC's rules; NaN as `var_prob`.
        odds_log10: log10 of the odds behind them; NaN without a photon.
        kuiper_prob: 1 - the chance that a constant rate gives so large a Kuiper statistic (CSC's kp_prob); NaN as
            `var_prob`.
        num_photons: that were tested.
        energy: keV, from, to; None: all.
        light_curve: the one the Gregory-Loredo rules look at: odds-weighted mean of those in 2 to 30 bins, its limits
            one standard deviation off; None without a photon.
    """

    var_prob: float
    var_index: float
    odds_log10: float
    kuiper_prob: float
    num_photons: int
    energy: tuple[float, float] | None
    light_curve: LightCurve | None

    @property
    def title(self) -> str:
        return "Variability"

    @property
    def facts(self) -> dict[str, str]:
        band = "" if self.energy is None else f" in {range_of(*self.energy, 'keV')}"
        facts = {"photons": f"{self.num_photons}{band}"}
        if np.isnan(self.var_prob):
            return facts | {"var_prob": "none: fewer than 10 photons"}
        return facts | {
            "var_prob": f"{self.var_prob:.4f} (log10 odds {self.odds_log10:.2f})",
            "var_index": f"{self.var_index:.0f}: {INDEX_WORDS[int(self.var_index)]}",
            "kuiper_prob": f"{self.kuiper_prob:.4f}",
        }


def variability(events: EventList, energy: tuple[float, float] | None) -> Variability:
    """The catalogue's tests of the photons of a band (keV; None: all)."""
    kept = np.ones(len(events), dtype=bool)
    if energy is not None:
        kept = (events.energy >= energy[0]) & (events.energy < energy[1])
    start, stop = (Ragged(events.gti[:, side], np.array([0, len(events.gti)])) for side in (0, 1))
    time = events.time[kept]
    times = Ragged(time, np.array([0, time.size]))
    tested = gregory_loredo(times, start, stop)
    return Variability(
        var_prob=float(tested.var_prob[0]),
        var_index=float(tested.var_index[0]),
        odds_log10=float(tested.odds_log10[0]),
        kuiper_prob=float(kuiper_probability(times, start, stop, np.ones(time.size, dtype=bool))[0]),
        num_photons=int(tested.num_photons[0]),
        energy=energy,
        light_curve=_averaged(events, time, energy) if tested.num_photons[0] else None,
    )


def _averaged(events: EventList, time: np.ndarray, energy: tuple[float, float] | None) -> LightCurve:
    averaged = averaged_light_curve(time, events.gti)
    clock = GoodTimeClock(events)
    start, stop = averaged.edges[:-1], averaged.edges[1:]
    exposure = (clock.at(stop) - clock.at(start)) * clock.live_fraction
    rate, sigma = averaged.rate / clock.live_fraction, averaged.sigma / clock.live_fraction
    return LightCurve(
        start=start,
        stop=stop,
        exposure=exposure,
        counts=np.bincount(bin_of(time, start, exposure), minlength=start.size),
        rate=rate,
        rate_low=rate - sigma,
        rate_high=rate + sigma,
        energy=energy,
        gti=events.gti,
        mjd_start=events.mjd_obs,
        method="mean of light curves in 2 to 30 bins, weighted by their odds (Gregory & Loredo 1992); limits 1 sigma",
    )
