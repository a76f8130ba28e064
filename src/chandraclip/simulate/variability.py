"""Rate shapes within an observation, and photon arrival times drawn from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

VARIABILITY_KINDS = ("constant", "flare", "dip", "periodic")
CONSTANT, FLARE, DIP, PERIODIC = range(4)


@dataclass(frozen=True)
class RateShape:
    """How each detection's rate runs; (D,) arrays.

    Attributes:
        kind: int, index into `VARIABILITY_KINDS`.
        amplitude: flare: peak over quiescence, less one; dip: depth in 0 to 1; periodic: semi-amplitude in 0 to 1.
        start: s; the flare's peak, the middle of a dip, or the time of a pulse maximum.
        width: s; the flare's decay time, or how long a dip lasts.
        period: s; of the pulse, or between dips (infinite: only one).
    """

    kind: np.ndarray
    amplitude: np.ndarray
    start: np.ndarray
    width: np.ndarray
    period: np.ndarray

    def relative_rate(self, row: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Rate over its maximum, in (0, 1].

        A flare rises exponentially in a tenth of its decay time, as stellar flares do (FRED); a dip is a box, an
        eclipse where its depth is 1; a pulse is a sine.

        Args:
            row: (T,) the detection of each time.
            time: (T,) s.
        """
        kind, amplitude = self.kind[row], self.amplitude[row]
        elapsed = time - self.start[row]
        rate = np.ones(len(time))
        at = np.flatnonzero(kind == FLARE)
        if at.size:
            since = elapsed[at] / self.width[row[at]]
            rate[at] = (1.0 + amplitude[at] * np.exp(-np.maximum(since, -10.0 * since))) / (1.0 + amplitude[at])
        at = np.flatnonzero(kind == DIP)
        if at.size:
            period = self.period[row[at]]
            with np.errstate(invalid="ignore"):
                cycles = np.where(np.isfinite(period), np.round(elapsed[at] / period) * period, 0.0)
            inside = np.abs(elapsed[at] - cycles) < 0.5 * self.width[row[at]]
            rate[at] = 1.0 - amplitude[at] * inside
        at = np.flatnonzero(kind == PERIODIC)
        if at.size:
            phase = 2.0 * np.pi * elapsed[at] / self.period[row[at]]
            rate[at] = (1.0 + amplitude[at] * np.cos(phase)) / (1.0 + amplitude[at])
        return rate


def arrival_times(
    rng: np.random.Generator,
    row: np.ndarray,
    shape: RateShape,
    gti_start: np.ndarray,
    gti_stop: np.ndarray,
    steady: np.ndarray | None = None,
) -> np.ndarray:
    """Arrival times of photons, each drawn from its detection's rate over its good time (by rejection: exact, no grid).

    Args:
        row: (T,) the detection of each photon.
        shape: the rates; a photon of a detection that is not in good time at all would never be accepted, so rates
            are positive everywhere (`draw_shapes`).
        gti_start, gti_stop: (D, G) s, in order; unused intervals have start = stop.
        steady: (T,) bool, photons that come at a constant rate whatever the shape (background); None: none.

    Returns:
        (T,) s, on the clock of the GTIs, inside them.
    """
    lengths = gti_stop - gti_start
    good_before = np.concatenate([np.zeros((len(lengths), 1)), np.cumsum(lengths, axis=1)], axis=1)
    gaps = gti_start - good_before[:, :-1]  # clock minus good time, interval by interval

    def uniform(of: np.ndarray) -> np.ndarray:
        good_time = rng.random(of.size) * good_before[of, -1]
        time = good_time + gaps[of, 0]
        for interval in range(1, lengths.shape[1]):
            later = good_time >= good_before[of, interval]
            time = np.where(later & (lengths[of, interval] > 0), good_time + gaps[of, interval], time)
        return time

    times = uniform(row)
    follows = shape.kind[row] != CONSTANT
    pending = np.flatnonzero(follows if steady is None else follows & ~steady)
    while pending.size:
        accepted = rng.random(pending.size) < shape.relative_rate(row[pending], times[pending])
        pending = pending[~accepted]
        times[pending] = uniform(row[pending])
    return times


def draw_shapes(
    rng: np.random.Generator, kind: np.ndarray, period: np.ndarray, duration: np.ndarray, strength: np.ndarray
) -> RateShape:
    """Shapes of one observation each: when and how strongly a source of that kind varies.

    Args:
        kind: (D,) int, index into `VARIABILITY_KINDS`.
        period: (D,) s, of a pulsation or an orbit; NaN where there is none.
        duration: (D,) s, from the first to the last good time.
        strength: (D,) typical amplitude of the class in 0 to 1: the pulsed semi-amplitude, the depth of a dip; a flare
            peaks at 1 + 10 strength times quiescence, within a factor of two.
    """
    num_rows = len(kind)
    spread = rng.standard_normal(num_rows)
    # Dips leave 3 % and pulses 2 %: no rate is ever zero.
    amplitude = np.select(
        [kind == FLARE, kind == DIP, kind == PERIODIC],
        [
            np.clip(10.0 * strength * 2.0**spread, 0.5, 30.0),
            np.clip(strength + 0.15 * spread, 0.2, 0.97),
            np.clip(strength + 0.15 * spread, 0.05, 0.98),
        ],
        0.0,
    )
    start = duration * rng.random(num_rows)
    share = rng.random(num_rows)
    width = np.where(
        kind == FLARE,
        np.clip(duration * 0.04 * 6.0**share, 300.0, 3.0e4),
        np.clip(duration * (0.08 + 0.25 * share), 200.0, None),
    )
    # An orbit's dip takes 10 to 25 % of it; without an orbit there is one dip.
    orbit = np.where(np.isfinite(period), period, np.inf)
    width = np.where((kind == DIP) & np.isfinite(period), orbit * (0.10 + 0.15 * share), width)
    return RateShape(kind=kind, amplitude=amplitude, start=start, width=width, period=orbit)
