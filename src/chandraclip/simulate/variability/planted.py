"""Events planted in light curves at known times: what searches for transients are tried on.

kind       rate                                                                        colour of the event
flare      fast rise, exponential decay of 300 to 5000 s                               harder
dip        ragged, 40 to 95 % of the light, 3 to 30 % of the observation               harder
eclipse    sharp edges, 97 % of the light, 3 to 20 % of the observation                the same
pulsation  1 + cos, 20 to 95 % of the light, from 10 s to a sixth of the observation   slightly harder at its peak
transient  fast rise, exponential decay, 90 % of its photons in 3 to 60 s              harder

The time-averaged spectrum is the source's own, whatever its kind: what is harder within an event is softer outside. So
the energies alone, without their times, do not tell the kinds apart.
"""

from __future__ import annotations

import numpy as np

from chandraclip.simulate.instrument.detector import GoodTime
from chandraclip.simulate.variability.kinds import (
    CONSTANT,
    DIP,
    ECLIPSE,
    FLARE,
    NUM_NODES,
    PULSATION,
    TRANSIENT,
    VARIABILITY_KINDS,
    Variable,
    box,
    fred,
)
from chandraclip.simulate.variability.light_curves import LightCurves, nodes_around

PLANTED_KINDS = tuple(VARIABILITY_KINDS[kind] for kind in (FLARE, DIP, ECLIPSE, PULSATION, TRANSIENT))
DECAYS = (300.0, 5.0e3)  # s, of flares
FLARE_SIGNIFICANCE = (3.0, 30.0)  # photons over the noise of twice the decay's
FAST = (3.0, 60.0)  # s, of transients
FAST_PHOTONS = (4.0, 40.0)
PERIODS = (10.0, 1.0 / 6.0)  # s, and of the observation
LARGEST_SHARE = 0.8  # of the source's photons in one flare or transient
# Photons of an event against those of the rest: their ratio rises with energy to this power.
TILTS = {FLARE: 0.6, DIP: 1.0, ECLIPSE: 0.0, PULSATION: 0.3, TRANSIENT: 0.8}
PIVOT = 1.5  # keV


def plant(rng: np.random.Generator, kind: np.ndarray, counts: np.ndarray, good_time: GoodTime) -> Variable:
    """Light curves of D detections with an event each, the constant ones left out.

    Args:
        kind: (D,) int, index into `VARIABILITY_KINDS`: constant, or of `PLANTED_KINDS`.
        counts: (D,) photons expected of the source, which the size of an event is drawn for.
        good_time: of D detections; events begin in it.

    Returns:
        `Variable`, with the time and duration of each event. Periods are those of its second light curve.
    """
    row = np.flatnonzero(kind != CONSTANT)
    kind, counts = kind[row], counts[row]
    start, stop, end = good_time.start[row], good_time.stop[row], good_time.duration[row]
    total = (stop - start).sum(axis=1)

    def between(low: float | np.ndarray, high: float | np.ndarray) -> np.ndarray:
        return np.exp(rng.uniform(np.log(low), np.log(high), row.size))

    duration = np.select(
        [kind == FLARE, kind == DIP, kind == ECLIPSE, kind == TRANSIENT],
        [between(*DECAYS), total * between(0.03, 0.3), total * between(0.03, 0.2), between(*FAST)],
        between(PERIODS[0], PERIODS[1] * total),
    )
    # In good time, and what is short before a gap.
    elapsed = total * rng.random(row.size)
    before = np.cumsum(stop - start, axis=1)
    interval = (elapsed[:, None] > before).sum(axis=1).clip(0, start.shape[1] - 1)
    rows = np.arange(row.size)
    begin, finish = start[rows, interval], stop[rows, interval]
    time = begin + elapsed - (before - (stop - start))[rows, interval]
    time = np.where(kind == TRANSIENT, np.maximum(np.minimum(time, finish - duration), begin), time)

    noise = np.sqrt(counts * np.minimum(2.0 * duration / total, 1.0) + 1.0)
    photons = np.where(kind == FLARE, between(*FLARE_SIGNIFICANCE) * noise, between(*FAST_PHOTONS))
    share = np.minimum(photons / counts, LARGEST_SHARE)
    depth = np.where(kind == ECLIPSE, 0.97, rng.uniform(0.4, 0.95, row.size))
    # 90 % of an exponential's photons are in 2.3 decay times.
    decay = np.where(kind == FLARE, duration, duration / 2.3)
    nodes = nodes_around(end, time, np.where(kind == FLARE, decay, duration), NUM_NODES - 192, 192)
    burst = fred(nodes, time[:, None], 0.1 * decay[:, None], decay[:, None])
    still = {"period": np.full(row.size, np.inf), "epoch": np.zeros(row.size), "amplitude": np.zeros(row.size)}
    mean = LightCurves(nodes, burst, **still).mean_rate(start, stop)
    burst *= (share / (1.0 - share) / np.maximum(mean, 1e-300))[:, None]

    edge = np.where(kind == ECLIPSE, 0.02, 0.1)[:, None]
    inside = box(nodes, time[:, None], duration[:, None], np.inf, edge)
    clumps = 1.0 - 0.4 * 0.5 * (1.0 + np.sin(2.0 * np.pi * 4.0 * (nodes - time[:, None]) / duration[:, None]))
    cover = inside * np.where(kind == DIP, 1.0, 0.0)[:, None] * clumps + inside * (kind == ECLIPSE)[:, None]
    pulsed = rng.uniform(0.2, 0.95, row.size)[:, None] * np.ones_like(nodes)
    is_burst, is_pulse = np.isin(kind, [FLARE, TRANSIENT])[:, None], (kind == PULSATION)[:, None]
    first = np.select([is_burst, is_pulse], [1.0, 1.0 - pulsed], 1.0 - cover)
    second = np.select([is_burst, is_pulse], [burst, pulsed], cover * (1.0 - depth[:, None]))
    pulses = {
        "period": np.where(kind == PULSATION, duration, np.inf),
        "epoch": duration * rng.random(row.size),
        "amplitude": (kind == PULSATION).astype(np.float64),
    }
    is_event = kind != PULSATION
    return Variable(
        row,
        kind,
        LightCurves(nodes, first, **still),
        LightCurves(nodes, second, **pulses),
        np.where(is_event, time, np.nan),
        np.where(is_event, duration, np.nan),
    )


def planted_spectra(
    spectrum: np.ndarray, kind: np.ndarray, second_share: np.ndarray, energy: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The two spectra of V planted events, which give `spectrum` together: (V, E) each, of as many photons.

    Args:
        spectrum: (V, E) photons/s/bin, averaged over the good time.
        kind: (V,) int.
        second_share: (V,) of the photons that are of the second light curve, below 1.
        energy: (E,) keV, of the bins.
    """
    tilt = np.zeros(len(kind))
    for number, power in TILTS.items():
        tilt[kind == number] = power
    ratio = (np.asarray(energy)[None, :] / PIVOT) ** tilt[:, None]
    ratio *= (spectrum.sum(axis=1) / np.maximum((spectrum * ratio).sum(axis=1), 1e-300))[:, None]
    # Nowhere may the second have more photons than there are on average: a large event is tilted less.
    highest = ratio.max(axis=1) - 1.0
    most = 0.95 / np.maximum(second_share, 1e-9) - 1.0
    strength = np.clip(most / np.maximum(highest, 1e-9), 0.0, 1.0)
    second = spectrum * (1.0 + strength[:, None] * (ratio - 1.0))
    first = (spectrum - second_share[:, None] * second) / (1.0 - second_share)[:, None]
    return np.maximum(first, 0.0), second
