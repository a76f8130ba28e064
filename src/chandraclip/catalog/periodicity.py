"""A search for pulsations: Z2_n (Buccheri et al. 1983, A&A 128, 245) and the H-test, for many detections at once.

With phi_i = f t_i, Z2_n = sum over harmonics k = 1 ... n of (2 / N) |sum_i exp(2 pi i k phi_i)|^2, and H is the
largest of Z2_m - 4 m + 4 over m = 1 ... 20 (de Jager, Raubenheimer & Swanepoel 1989, A&A 221, 180). Photons are counted
in bins of the readout frame, in whose middle they are, so one FFT has every frequency up to Nyquist's and every
harmonic, exactly.

Gaps beat with any constant rate. So what the good time itself gives at each frequency is taken away, and the rest
measured in the scatter that photons in just this good time have: without gaps, and above the lowest frequencies, that
is the formula above. A harmonic above Nyquist's frequency is not there to be summed, and one that gaps tie to those
before it is not summed (`LARGEST_WINDOW`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.fft import next_fast_len, rfft
from scipy.special import gammaincc, gammaln, xlogy

from chandraclip.catalog.good_photons import GoodPhotons
from chandraclip.catalog.ragged import Ragged

MIN_PHOTONS = 10
MAX_HARMONICS = 20
MIN_CYCLES = 3.0  # in the observation: slower, a flare is as good as a pulse
OVERSAMPLING = 2.0  # frequencies per 1 / span
# H looks at no more harmonics than this share of the photons: ten photons in one fortieth of a phase are likelier than
# exp(-0.4 H), which is of many photons, has it.
HARMONICS_PER_PHOTON = 0.2
# Harmonics of a frequency go together where the good time alone has more than that, of 1, at their differences and
# sums: m of them are not chi-square of 2 m degrees then, and H looks at fewer. If it did not, 2 % of constant lists of
# twelve or fifteen short orbits would have a chance of 1 in 1000.
LARGEST_WINDOW = 0.2
HARMONIC_MARGIN = (
    10.0,
    0.2,
)  # in H, a factor of 50 in chance; and the share that gaps move from a pulse to other periods
FOLDED_PARTS, FOLDED_PHASES = 128, 128  # so that 20 harmonics are turned by 1/6 of a cycle a part at most
MAX_BINS = 2**22
CELLS_PER_BLOCK = 2**18


class Periodicity(NamedTuple):
    """The best period of each list, by either test; (N,) each, NaN with fewer than `MIN_PHOTONS` or no frequency.

    Attributes:
        h, z2: the largest H, and Z2_n of the number of harmonics asked for.
        h_log10_chance, z2_log10_chance: log10 of the chance that a constant rate has as large a one at any of the
            frequencies that were looked at.
        h_period, z2_period: s.
        num_frequencies: that were looked at.
    """

    h: np.ndarray
    h_log10_chance: np.ndarray
    h_period: np.ndarray
    z2: np.ndarray
    z2_log10_chance: np.ndarray
    z2_period: np.ndarray
    num_frequencies: np.ndarray


def periodicity(
    photons: GoodPhotons,
    gti_start: Ragged,
    gti_stop: Ragged,
    frame: float | np.ndarray,
    num_harmonics: int = 2,
    min_cycles: float = MIN_CYCLES,
) -> Periodicity:
    """The most significant period of each list, between two frames and the observation over `min_cycles`.

    Args:
        photons: of N lists, on the wall's clock: a pulse does not wait for the good time.
        gti_start, gti_stop: N lists, s, as `good_photons` had them.
        frame: s, scalar or (N,): the readout frame, or the time resolution that is enough. A list of more than
            `MAX_BINS` of them is binned more coarsely.
        num_harmonics: n of Z2_n.
        min_cycles: periods are shorter than the observation over this.

    Raises:
        ValueError: a frame that is not positive, or no harmonic.
    """
    num_rows = len(photons.num_photons)
    frames = np.broadcast_to(np.asarray(frame, np.float64), (num_rows,))
    if not (frames > 0).all() or num_harmonics < 1:
        raise ValueError("a search for periods needs a frame above 0 s, and a harmonic")
    frames = whole_frames(frames, photons.span / MAX_BINS)
    bins = np.maximum(np.ceil(photons.span / frames - 1e-6), 1).astype(np.int64)
    # Lists of about as many bins go together; twice as long, for the frequencies between those of the FFT.
    rounded = np.ceil(1.05 ** np.ceil(np.log(np.maximum(bins, 16)) / np.log(1.05))).astype(np.int64)
    result = np.full((7, num_rows), np.nan)
    enough = (photons.num_photons >= MIN_PHOTONS) & (photons.good_time > 0)
    for size in np.unique(rounded[enough]):
        length = next_fast_len(int(OVERSAMPLING * size), real=True)
        rows = np.flatnonzero(enough & (rounded == size))
        step = max(CELLS_PER_BLOCK // length, 1)
        for begin in range(0, rows.size, step):
            block = rows[begin : begin + step]
            result[:, block] = _search(
                block, photons, gti_start, gti_stop, frames[block], length, num_harmonics, min_cycles
            )
    return Periodicity(*result)


def refined_period(time: np.ndarray, gti: np.ndarray, period: float, frame: float = 0.0, num_steps: int = 101) -> float:
    """The period near one that was found, or near a half, a third and so on of it, that has the highest H.

    A search may find a multiple of a period, whose harmonics lie on a finer grid than the period itself. A multiple has
    all the harmonics of a period, and noise besides: the shortest period whose H is within a margin of the highest is
    the answer. What the good time alone gives is taken away.

    Args:
        time: (N,) s, of one list. gti: (k, 2) s, on the same clock. period: s.
        frame: s, of the readout: no harmonic above its Nyquist frequency is looked at.
        num_steps: frequencies around each, up to one over the observation away.
    """
    steps = np.linspace(-1.0, 1.0, num_steps) / float(np.ptp(gti))
    frequency = np.arange(1, MAX_HARMONICS + 1)[:, None] / period + steps
    frequency = np.where(frequency > 0, frequency, 1.0 / period)
    h = np.stack([_h_around(time, gti, own, frame) for own in frequency])
    best = h.argmax(axis=1)
    good = h.max(axis=1) >= h.max() - max(HARMONIC_MARGIN[0], HARMONIC_MARGIN[1] * h.max())
    last = int(np.flatnonzero(good)[-1])
    nearby = frequency[last, best[last]] + np.linspace(-1.0, 1.0, num_steps) * (steps[1] - steps[0])
    return float(1.0 / nearby[_h_around(time, gti, nearby, frame).argmax()])


def _h_around(time: np.ndarray, gti: np.ndarray, frequency: np.ndarray, frame: float) -> np.ndarray:
    """H at frequencies (F,) that lie within a few over the observation of each other.

    Photons are folded once, at the middle frequency, into the phase profile of each of many parts of the observation;
    at another frequency these profiles are turned by how far it has run ahead of the middle one.
    """
    allowed = int(np.clip(HARMONICS_PER_PHOTON * time.size, 1, MAX_HARMONICS))
    first, span = float(gti.min()), float(np.ptp(gti))
    middle = float(frequency[frequency.size // 2])
    part = np.clip((time - first) / span * FOLDED_PARTS, 0, FOLDED_PARTS - 1).astype(np.int64)
    place = part * FOLDED_PHASES + (middle * time % 1.0 * FOLDED_PHASES).astype(np.int64) % FOLDED_PHASES
    counts = np.bincount(place, minlength=FOLDED_PARTS * FOLDED_PHASES).reshape(FOLDED_PARTS, FOLDED_PHASES)
    profile = rfft(counts, axis=1).conj() * np.exp(1j * np.pi * np.arange(FOLDED_PHASES // 2 + 1) / FOLDED_PHASES)
    when = first + (np.arange(FOLDED_PARTS) + 0.5) * span / FOLDED_PARTS
    turn = np.exp(2j * np.pi * ((frequency - middle)[:, None] * when % 1.0))
    edge_turn = [np.exp(2j * np.pi * (frequency[:, None] * gti[:, side] % 1.0)) for side in (0, 1)]
    good_time = float((gti[:, 1] - gti[:, 0]).sum())
    ahead, edges = np.ones_like(turn), [np.ones_like(one) for one in edge_turn]
    windows = np.empty((2 * allowed, frequency.size), complex)
    for multiple in range(1, 2 * allowed):
        for edge, one in zip(edges, edge_turn):
            edge *= one
        windows[multiple] = (edges[1] - edges[0]).sum(axis=1) / (2j * np.pi * multiple * frequency * good_time)
    total, h = np.zeros(frequency.size), np.full(frequency.size, -np.inf)
    seen = np.ones(frequency.size, bool)
    for harmonic in range(1, allowed + 1):
        ahead *= turn
        if harmonic > 1:
            seen &= (np.abs(windows[2 * harmonic - 2 : 2 * harmonic]) <= LARGEST_WINDOW).all(axis=0)
            seen &= harmonic * frequency * frame <= 0.5
        wave = ahead @ profile[:, harmonic] / time.size
        total += 2.0 * time.size * np.abs(wave - windows[harmonic]) ** 2
        h = np.where(seen, np.maximum(h, total - 4.0 * (harmonic - 1)), h)
    return h


def whole_frames(frame: np.ndarray, least: np.ndarray) -> np.ndarray:
    """s, so many frames as last `least` or longer: in other bins the number of frames beats with that of bins."""
    return frame * np.maximum(np.ceil(least / frame - 1e-9), 1.0)


def _search(
    rows: np.ndarray,
    photons: GoodPhotons,
    gti_start: Ragged,
    gti_stop: Ragged,
    frame: np.ndarray,
    length: int,
    num_harmonics: int,
    min_cycles: float,
) -> np.ndarray:
    """(7, rows) what `Periodicity` holds."""
    power, told, window = _powers(rows, photons, gti_start, gti_stop, frame, length)
    num_frequencies = power.shape[1]
    number = photons.num_photons[rows]
    gapless = window <= LARGEST_WINDOW
    independent = np.ones_like(gapless)
    total, h, z2 = np.zeros_like(power), np.full_like(power, -np.inf), np.zeros_like(power)
    for harmonic in range(1, MAX_HARMONICS + 1):
        part = power[:, ::harmonic]
        if harmonic > 1:
            # Harmonics j and k go together as W of their sum and difference: here those up to 2 m - 1.
            for multiple in (2 * harmonic - 2, 2 * harmonic - 1):
                independent[:, : part.shape[1]] &= gapless[:, _mirrored(multiple * np.arange(part.shape[1]), length)]
            part = np.where(independent[:, : part.shape[1]], part, 0.0)
        total[:, : part.shape[1]] += part
        allowed = np.flatnonzero(harmonic <= np.maximum(HARMONICS_PER_PHOTON * number, 1.0))
        value = total[allowed, : part.shape[1]] - 4.0 * (harmonic - 1)  # without a new part never the largest
        h[allowed, : part.shape[1]] = np.maximum(h[allowed, : part.shape[1]], value)
        if harmonic == num_harmonics:
            z2[:] = total  # of frequencies whose harmonics are above Nyquist's, those that there are
    frequency = np.arange(num_frequencies) / (length * frame[:, None])
    looked_at = (frequency >= min_cycles / photons.span[rows, None]) & told
    # Every frequency of the grid is a trial, though neighbours say half the same: chances are somewhat too high.
    tried = looked_at.sum(axis=1)
    answers = []
    for values, log_chance in ((h, _h_chance), (z2, lambda value: _z2_chance(value, num_harmonics))):
        values = np.where(looked_at, values, -np.inf)
        best = values.argmax(axis=1)
        highest = values[np.arange(rows.size), best]
        with np.errstate(divide="ignore"):
            period = 1.0 / frequency[np.arange(rows.size), best]
        answers += [highest, of_many(log_chance(highest), tried) / np.log(10.0), period]
    answers = [np.where(looked_at.any(axis=1), answer, np.nan) for answer in answers]
    return np.stack([*answers, looked_at.sum(axis=1)])


def _powers(
    rows: np.ndarray,
    photons: GoodPhotons,
    gti_start: Ragged,
    gti_stop: Ragged,
    frame: np.ndarray,
    length: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows, F) power at each frequency, chi-square of two degrees for a constant rate; whether it tells any; and |W|,
    what the good time alone gives."""
    first = photons.first[rows]
    number = photons.num_photons[rows]
    own = np.repeat(np.arange(rows.size), number)
    index = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number) + np.repeat(first, number)
    bin_of = np.minimum((photons.time[index] / frame[own] + 1e-6).astype(np.int64), length - 1)
    counts = np.bincount(own * length + bin_of, minlength=rows.size * length)
    counts = counts.reshape(rows.size, length).astype(np.float32)
    seen = rfft(counts, axis=1) / number[:, None].astype(np.float32)
    exposed = _exposures(rows, gti_start, gti_stop, frame, length)
    exposed /= exposed.sum(axis=1, keepdims=True)
    window = rfft(exposed.astype(np.float32), axis=1)
    used = window.shape[1]
    # At twice the frequency; beyond the last it is the mirror image.
    twice = 2 * np.arange(used)
    mirrored = twice > length // 2
    double = window[:, np.where(mirrored, length - twice, twice)]
    double = np.where(mirrored, double.conj(), double)
    difference = seen - window
    real = 0.5 * (1.0 + double.real) - window.real**2
    imaginary = 0.5 * (1.0 - double.real) - window.imag**2
    mixed = 0.5 * double.imag - window.real * window.imag
    determinant = real * imaginary - mixed**2
    power = imaginary * difference.real**2 + real * difference.imag**2
    power -= 2.0 * mixed * difference.real * difference.imag
    # Not where one phase alone is seen, as at frequency 0 and Nyquist's.
    told = determinant > 1e-3
    power = np.where(told, power * number[:, None].astype(np.float32) / np.where(told, determinant, 1.0), 0.0)
    return power, told, np.abs(window)


def _mirrored(index: np.ndarray, length: int) -> np.ndarray:
    """The frequencies of an FFT that those beyond Nyquist's are mirror images of."""
    index = index % length
    return np.minimum(index, length - index)


def _exposures(rows: np.ndarray, gti_start: Ragged, gti_stop: Ragged, frame: np.ndarray, length: int) -> np.ndarray:
    """(rows, length) good time in each bin, in frames."""
    number = np.diff(gti_start.offsets)[rows]
    own = np.repeat(np.arange(rows.size), number)
    index = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
    index += np.repeat(gti_start.offsets[rows], number)
    origin = np.repeat(np.asarray(gti_start.values, np.float64)[gti_start.offsets[rows]], number)
    result = np.zeros((rows.size, length + 1))
    for values, sign in ((gti_start.values, 1.0), (gti_stop.values, -1.0)):
        place = np.minimum((np.asarray(values, np.float64)[index] - origin) / frame[own], length)
        whole = np.minimum(place.astype(np.int64), length - 1)
        # A step at a place within a bin: so much of this bin, and all of those after it.
        np.add.at(result, (own, whole), sign * (1.0 - (place - whole)))
        np.add.at(result, (own, whole + 1), sign * (place - whole))
    return np.cumsum(result[:, :-1], axis=1)


def _h_chance(h: np.ndarray) -> np.ndarray:
    """ln of the chance of one frequency: exp(-0.4 H) (de Jager & Buesching 2010, A&A 517, L9)."""
    return np.minimum(-0.4 * h, 0.0)


def _z2_chance(z2: np.ndarray, num_harmonics: int) -> np.ndarray:
    """ln of the chance of one frequency: chi-square of 2 n degrees; its leading terms where it underflows."""
    half = 0.5 * np.maximum(z2, 0.0)
    far = half > 600.0
    log_far = -half + xlogy(num_harmonics - 1, half) - gammaln(num_harmonics)
    return np.where(far, log_far, np.log(gammaincc(num_harmonics, np.where(far, 1.0, half))))


def of_many(log_chance: np.ndarray, trials: np.ndarray | float) -> np.ndarray:
    """ln of the chance that one of so many independent trials or more is as unlikely: 1 - (1 - p)^n, of any small p."""
    with np.errstate(divide="ignore"):
        none = trials * np.log1p(-np.exp(np.minimum(log_chance, -1e-300)))
        small = np.exp(log_chance) * trials < 1e-6
        return np.where(small, log_chance + np.log(np.maximum(trials, 1e-300)), np.log(-np.expm1(none)))
