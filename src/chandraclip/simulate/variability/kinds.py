"""How a source varies within an observation: eight kinds, each a pair of light curves with spectra of their own.

A detection's photon rate is ``r1(t) S1(E) + r2(t) S2(E)``. One spectrum cannot change in time; two can: a flare is
hotter than the quiescent corona, a dip more absorbed, a burst's tail softer than its peak. Which spectra belong to a
kind is `spectra.varying_spectra`'s.

    kind        r1                                r2
    constant    1                                 0
    red_noise   log-normal, power spectrum f^-b   a steady, harder component (softer when brighter)
    flare       1                                 fast rise, exponential decay; 1 to 3 flares; hotter
    dip         1 - c(t)                          c(t), behind more gas
    eclipse     1 outside, 0 inside               scattered light, steady
    pulsation   the unpulsed share                the pulsed share, 1 + cos; harder
    eruption    1                                 quasi-periodic eruptions; hotter
    transient   a hard peak of seconds            its tail, softer and oscillating
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chandraclip.simulate.variability.light_curves import LightCurves, nodes_around

VARIABILITY_KINDS = ("constant", "red_noise", "flare", "dip", "eclipse", "pulsation", "eruption", "transient")
CONSTANT, RED_NOISE, FLARE, DIP, ECLIPSE, PULSATION, ERUPTION, TRANSIENT = range(len(VARIABILITY_KINDS))
PERIODIC_KINDS = (DIP, ECLIPSE, PULSATION, ERUPTION)  # where their period is finite

NUM_NODES = 384
NUM_NOISE_STEPS = 256  # Timmer & Koenig series, twice the observation long: power leaks in from below 1 / duration
STEADY_SHARE = 0.3  # of a red-noise source's flux that does not vary
SCATTERED_SHARE = 0.03  # of an eclipsed source's light that reaches us around the companion


@dataclass(frozen=True)
class Variable:
    """The detections that vary.

    Attributes:
        row: (V,) int, which detections.
        kind: (V,) int, index into `VARIABILITY_KINDS`.
        first, second: `LightCurves` of V rows, for the two spectra; 1 is the quiescent flux.
        event_time, event_duration: (V,) s, of the one event that was planted (`planted.plant`: a flare's or transient's
            peak and decay or 90 %, a dip's or eclipse's middle and width), NaN for pulsations; None: none was.
    """

    row: np.ndarray
    kind: np.ndarray
    first: LightCurves
    second: LightCurves
    event_time: np.ndarray | None = None
    event_duration: np.ndarray | None = None


def draw_variability(
    rng: np.random.Generator, kind: np.ndarray, strength: np.ndarray, period: np.ndarray, duration: np.ndarray
) -> Variable:
    """Light curves of D detections.

    Args:
        kind: (D,) int, index into `VARIABILITY_KINDS`.
        strength: (D,) > 0, how strongly: red_noise: fractional rms within the observation, on average; flare and
            eruption: peak over quiescence, less one; dip: largest covered share; pulsation: pulsed fraction; eclipse
            and transient: not read.
        period: (D,) s; pulsation, and the recurrence of dips, eclipses and eruptions; NaN: draws one that shows in the
            observation (dips then need not recur).
        duration: (D,) s, from the first to the last good time.

    Returns:
        `Variable`, the constant ones left out.
    """
    row = np.flatnonzero(kind != CONSTANT)
    kind, strength, period, duration = (np.asarray(part)[row] for part in (kind, strength, period, duration))
    num_rows = len(row)
    time, first, second = (np.zeros((num_rows, NUM_NODES)) for _ in range(3))
    modulation = {name: np.zeros(num_rows) for name in ("amplitude", "epoch")} | {"period": np.full(num_rows, np.inf)}
    for number, shape in SHAPES.items():
        chosen = np.flatnonzero(kind == number)
        if chosen.size:
            part = shape(rng, strength[chosen], period[chosen], duration[chosen])
            time[chosen], first[chosen], second[chosen] = part.time, part.first, part.second
            for name, values in part.modulation.items():
                modulation[name][chosen] = values
    still = {"period": np.full(num_rows, np.inf), "epoch": np.zeros(num_rows), "amplitude": np.zeros(num_rows)}
    return Variable(row, kind, LightCurves(time, first, **still), LightCurves(time, second, **modulation))


@dataclass(frozen=True)
class _Shape:
    """Nodes (N, K), the two rates on them, and the second's modulation (N,) by name."""

    time: np.ndarray
    first: np.ndarray
    second: np.ndarray
    modulation: dict[str, np.ndarray]


def timmer_koenig(rng: np.random.Generator, num_rows: int, num_steps: int, slope: float | np.ndarray) -> np.ndarray:
    """Gaussian noise whose power spectrum is ``f^-slope`` (Timmer & Koenig 1995, A&A 300, 707).

    Args:
        slope: scalar or (num_rows,).

    Returns:
        (num_rows, num_steps), mean 0; the variance expected over many series is 1.
    """
    frequency = np.arange(1, num_steps // 2 + 1, dtype=np.float64)
    power = frequency ** -np.broadcast_to(np.asarray(slope, dtype=np.float64), (num_rows,))[:, None]
    amplitude = np.sqrt(power / power.sum(axis=1, keepdims=True) / 2.0)
    parts = rng.standard_normal((2, num_rows, frequency.size)) * amplitude
    spectrum = np.concatenate([np.zeros((num_rows, 1)), parts[0] + 1j * parts[1]], axis=1)
    if num_steps % 2 == 0:  # the Nyquist frequency is real, and counts once
        spectrum[:, -1] = 2.0 * spectrum[:, -1].real
    return np.fft.irfft(spectrum * num_steps / np.sqrt(2.0), n=num_steps)


def _share_within_half(slope: np.ndarray) -> np.ndarray:
    """(N,) share of the variance of a Timmer & Koenig series that is within one half of it, about the half's mean."""
    frequency = np.arange(1.0, NUM_NOISE_STEPS + 1.0)
    power = frequency ** -slope[:, None]
    return 1.0 - (power * np.sinc(0.5 * frequency) ** 2).sum(axis=1) / power.sum(axis=1)


def _red_noise(rng: np.random.Generator, strength: np.ndarray, period: np.ndarray, duration: np.ndarray) -> _Shape:
    num_rows = len(duration)
    slope = rng.uniform(1.0, 2.0, num_rows)
    noise = timmer_koenig(rng, num_rows, 2 * NUM_NOISE_STEPS, slope)
    # Of the log, for that fractional rms within the observation, of both components together: what varies more slowly
    # is not seen, and the steady component dilutes.
    seen = np.log1p(np.minimum(strength / (1.0 - STEADY_SHARE), 3.0) ** 2) / _share_within_half(slope)
    series = np.exp(np.sqrt(seen)[:, None] * noise[:, : NUM_NOISE_STEPS + 1])
    series /= np.trapezoid(series, axis=1)[:, None] / NUM_NOISE_STEPS
    position = np.linspace(0.0, 1.0, NUM_NODES)
    index = np.minimum((position * NUM_NOISE_STEPS).astype(np.int64), NUM_NOISE_STEPS - 1)
    share = position * NUM_NOISE_STEPS - index
    rate = series[:, index] * (1.0 - share) + series[:, index + 1] * share
    return _Shape(position * duration[:, None], (1.0 - STEADY_SHARE) * rate, np.full_like(rate, STEADY_SHARE), {})


def _flare(rng: np.random.Generator, strength: np.ndarray, period: np.ndarray, duration: np.ndarray) -> _Shape:
    num_rows = len(duration)
    # Stellar flares decay in 0.3 to 30 ks (Getman et al. 2008, ApJ 688, 418; Pye et al. 2015, A&A 581, A28).
    decay = np.clip(duration * 0.03 * 10.0 ** rng.random(num_rows), 300.0, 3.0e4)
    # A flare may have begun before the observation: a peak up to one decay time early leaves its tail.
    peak = -decay + (duration + decay) * rng.random(num_rows)
    time = nodes_around(duration, peak, decay)
    rate = fred(time, peak[:, None], decay[:, None] / rng.uniform(3.0, 15.0, num_rows)[:, None], decay[:, None])
    for weaker in (0.5, 0.3):  # two out of three have a second, fewer a third
        again = (rng.random(num_rows) < weaker)[:, None] * 10.0 ** -rng.random(num_rows)[:, None]
        rate += again * fred(time, (duration * rng.random(num_rows))[:, None], 0.1 * decay[:, None], decay[:, None])
    return _Shape(time, np.ones_like(rate), strength[:, None] * rate, {})


def fred(time: np.ndarray, peak: np.ndarray, rise: np.ndarray, decay: np.ndarray) -> np.ndarray:
    """Fast rise, exponential decay; 1 at the peak."""
    since = time - peak
    return np.exp(-np.where(since < 0, -since / rise, since / decay))


def _dip(rng: np.random.Generator, strength: np.ndarray, period: np.ndarray, duration: np.ndarray) -> _Shape:
    num_rows = len(duration)
    recurrence = np.where(np.isfinite(period), period, 10.0 * duration)
    width = np.where(np.isfinite(period), 0.25 * period, duration) * rng.uniform(0.2, 0.8, num_rows)
    middle = duration * rng.random(num_rows)
    time = nodes_around(duration, middle, width, num_uniform=NUM_NODES - 128)
    inside = box(time, middle[:, None], width[:, None], recurrence[:, None], edge=0.1)
    # Dips are ragged: clumps of gas with gaps between.
    clumps = 1.0 - 0.5 * (1.0 + np.sin(time * (2.0 * np.pi * rng.uniform(2.0, 6.0, num_rows) / width)[:, None])) * 0.4
    cover = np.clip(strength, 0.1, 1.0)[:, None] * inside * clumps
    return _Shape(time, 1.0 - cover, cover, {})


def _eclipse(rng: np.random.Generator, strength: np.ndarray, period: np.ndarray, duration: np.ndarray) -> _Shape:
    num_rows = len(duration)
    recurrence = np.where(np.isfinite(period), period, duration * rng.uniform(0.4, 2.0, num_rows))
    width = recurrence * rng.uniform(0.06, 0.2, num_rows)
    middle = np.minimum(recurrence, duration) * rng.random(num_rows)
    time = nodes_around(duration, middle, width, num_uniform=NUM_NODES - 128)
    inside = box(time, middle[:, None], width[:, None], recurrence[:, None], edge=0.02)
    return _Shape(time, 1.0 - inside, np.full_like(inside, SCATTERED_SHARE), {})


def box(
    time: np.ndarray, middle: np.ndarray, width: np.ndarray, recurrence: np.ndarray | float, edge: np.ndarray | float
) -> np.ndarray:
    """1 inside the recurring intervals, 0 outside, with linear edges a share `edge` of the width."""
    elapsed = time - middle
    finite = np.isfinite(recurrence)
    distance = np.abs(elapsed - np.round(elapsed / recurrence) * np.where(finite, recurrence, 0.0))
    return np.clip((0.5 * width - distance) / (edge * width) + 0.5, 0.0, 1.0)


def _pulsation(rng: np.random.Generator, strength: np.ndarray, period: np.ndarray, duration: np.ndarray) -> _Shape:
    num_rows = len(duration)
    period = np.where(np.isfinite(period), period, duration / rng.uniform(3.0, 30.0, num_rows))
    pulsed = np.clip(strength, 0.02, 0.98)[:, None]
    time = np.linspace(0.0, 1.0, NUM_NODES) * duration[:, None]
    modulation = {"period": period, "epoch": period * rng.random(num_rows), "amplitude": np.ones(num_rows)}
    return _Shape(time, np.repeat(1.0 - pulsed, NUM_NODES, axis=1), np.repeat(pulsed, NUM_NODES, axis=1), modulation)


def _eruption(rng: np.random.Generator, strength: np.ndarray, period: np.ndarray, duration: np.ndarray) -> _Shape:
    """GSN 069 and its kin: every 2 to 19 h (Miniutti et al. 2019, Nature 573, 381; Arcodia et al. 2021)."""
    num_rows = len(duration)
    recurrence = np.where(np.isfinite(period), period, 3.2e4 * 10.0 ** rng.uniform(-0.6, 0.3, num_rows))
    width = recurrence * rng.uniform(0.04, 0.10, num_rows)
    time = np.linspace(0.0, 1.0, NUM_NODES) * duration[:, None]
    cycle = time / recurrence[:, None] - rng.random(num_rows)[:, None]
    number = np.round(cycle)
    # Long and short intervals, strong and weak eruptions alternate.
    odd = np.mod(number, 2.0)
    elapsed = (cycle - number + 0.04 * (odd - 0.5)) * recurrence[:, None] / width[:, None]
    rate = np.exp(-0.5 * (elapsed * np.where(elapsed < 0, 1.5, 1.0)) ** 2) * (1.0 - 0.3 * odd)
    return _Shape(time, np.ones_like(rate), np.maximum(strength, 0.5)[:, None] * rate, {})


def _transient(rng: np.random.Generator, strength: np.ndarray, period: np.ndarray, duration: np.ndarray) -> _Shape:
    """Half like XRT 200515, half like CDF-S XT1.

    A hard burst of seconds and an oscillating tail of some 800 s (Dillmann et al. 2025, MNRAS 537, 931); a rise of
    100 s, then t^-1.5 for ks (Bauer et al. 2017, MNRAS 467, 4841).
    """
    num_rows = len(duration)
    burst = (rng.random(num_rows) < 0.5)[:, None]
    peak = duration * rng.uniform(0.05, 0.9, num_rows)
    rise = np.where(burst, 10.0 ** rng.uniform(0.0, 1.0, (num_rows, 1)), 10.0 ** rng.uniform(1.5, 2.2, (num_rows, 1)))
    tail = np.where(burst, 10.0 ** rng.uniform(2.5, 3.0, (num_rows, 1)), 10.0 ** rng.uniform(2.5, 3.5, (num_rows, 1)))
    time = nodes_around(duration, peak, tail[:, 0] / 3.0, num_uniform=128, num_clustered=NUM_NODES - 128)
    since = time - peak[:, None]
    started = 1.0 / (1.0 + np.exp(-np.clip(4.0 * since / rise, -60.0, 60.0)))
    hard = np.where(since < 0, np.exp(np.minimum(since / rise, 0.0)), np.exp(-np.maximum(since, 0.0) / (3.0 * rise)))
    after = np.maximum(since, 0.0) / tail
    soft = started * np.where(burst, 0.3 * np.exp(-after), (1.0 + 3.0 * after) ** -1.5)
    modulation = {
        "period": np.where(burst[:, 0], tail[:, 0] / rng.uniform(4.0, 12.0, num_rows), np.inf),
        "epoch": peak,
        "amplitude": np.where(burst[:, 0], rng.uniform(0.3, 0.8, num_rows), 0.0),
    }
    return _Shape(time, hard + 1e-5, soft + 1e-5, modulation)


SHAPES: dict[int, Callable[[np.random.Generator, np.ndarray, np.ndarray, np.ndarray], _Shape]] = {
    RED_NOISE: _red_noise,
    FLARE: _flare,
    DIP: _dip,
    ECLIPSE: _eclipse,
    PULSATION: _pulsation,
    ERUPTION: _eruption,
    TRANSIENT: _transient,
}
