"""A photon list screened for a burst, a dip, an eclipse or pulses, with a chance that has paid for its trials.

Two tests look at each list, `catalog.scan` over all windows and widths and the H-test over all periods; each gives the
chance that a constant rate anywhere looks as unlikely, and a list's chance is that of the smaller among two. So of
constant lists a share p at most has a chance below p, which `false_alarms` turns into a number for as many lists as
were looked at.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import fisher_exact

from chandraclip.catalog.good_photons import clock_time, good_photons
from chandraclip.catalog.periodicity import of_many, periodicity, refined_period, whole_frames
from chandraclip.catalog.ragged import Ragged
from chandraclip.catalog.scan import MIN_PHOTONS, in_window, scan
from chandraclip.ogip.events import EventList
from chandraclip.ogip.header import SECONDS_PER_DAY

BURST, DIP, ECLIPSE, PULSATION = "burst", "dip", "eclipse", "pulsation"
NUM_TESTS = 2
ECLIPSED = 0.1  # of the expected photons that are left at most
SOFT, HARD = (0.5, 2.0), (2.0, 7.0)  # keV
LONG_FRAME = 0.1  # s, of a CCD, in which a particle leaves several events
# Steps between photons that tell a frame; frames in the least of them; what a step may be off, of a frame.
LEAST_STEPS, MOST_STEPS, MOST_FRAMES, OFF_FRAME = 10, 50, 1000, 0.05
NO_FRAME = "no frame: the file has no TIMEDEL that its times agree with, and they tell none; they are taken as exact"
FINEST = 2**20  # time steps in an observation, for periods
# s, of Chandra's dither: a source near an edge or a bad column comes and goes with them and their harmonics.
DITHER_PERIODS = (1000.0, 707.1)
# In a low orbit background and good time come and go with it, every 90 to 97 minutes.
LOW_ORBIT = ("NICER", "NUSTAR", "XTE", "SWIFT", "ASCA", "SUZAKU", "ROSAT", "IXPE")
ORBITS = (5400.0, 5850.0)  # s


@dataclass(frozen=True)
class Screening:
    """What is most unlike a constant rate in one list. Times in s since `tstart` of the list.

    Attributes:
        kind: ``"burst"``, ``"dip"``, ``"eclipse"`` or ``"pulsation"``, whichever test has the smaller chance.
        log10_chance: log10 of the chance that a constant list is as unlikely, after all trials within the list.
        window_log10_chance, period_log10_chance: of either test, each after its own trials; None where it had none.
        start, stop: of the window; of a pulsation, of the observation. duration: s of good time in it.
        mjd: of the start, in the file's time system; None where that is not known.
        num_inside, num_expected: photons in the window, and as many as the rate outside of it gives.
        period: s, the most significant one; None where none was tried.
        hardness_inside, hardness_outside, hardness_of_excess: (H - S) / (H + S) of counts in 2-7 and 0.5-2 keV; the
            last of what is more, or less, in the window than outside; None without such photons.
        colour_log10_chance: log10 of the chance of such different colours inside and outside (Fisher's exact test).
        doubt: what else it may be: a period of Chandra's dither or a telescope's orbit, a burst in one frame, such as a
            cosmic ray leaves; None where nothing speaks against it.
        notes: what was odd about the file.
        num_photons, good_time (s), frame (s, 0: none is known): of the list; times are not told finer.
    """

    kind: str
    log10_chance: float
    window_log10_chance: float | None
    period_log10_chance: float | None
    start: float
    stop: float
    duration: float
    mjd: float | None
    num_inside: int
    num_expected: float
    period: float | None
    hardness_inside: float | None
    hardness_outside: float | None
    hardness_of_excess: float | None
    colour_log10_chance: float | None
    doubt: str | None
    notes: tuple[str, ...]
    num_photons: int
    good_time: float
    frame: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


def frame_of(time: np.ndarray, time_step: float | None = None) -> float:
    """s, the readout frame of photons' times; 0 where there is none, or none that they tell.

    It is what the header has (TIMEDEL), unless photons are closer to each other than that allows, as in lists that were
    merged. Where it has none, it is the longest time of which the steps between photons are whole multiples: ten steps
    at least, of which each would be so by chance one time in ten.

    Args:
        time: (N,) s. time_step: s, `EventList.time_step`.
    """
    steps = np.sort(np.diff(np.unique(time)))
    if time_step is not None and (steps < 0.5 * time_step).sum() <= 0.01 * steps.size:
        return time_step
    steps = steps[:MOST_STEPS]
    if steps.size < LEAST_STEPS:
        return 0.0
    frames = steps[0] / np.arange(1.0, MOST_FRAMES + 1.0)
    multiples = steps / frames[:, None]
    whole = (np.abs(multiples - np.round(multiples)) <= OFF_FRAME).all(axis=1)
    return float(frames[whole.argmax()]) if whole.any() else 0.0


def screen(events: EventList) -> Screening:
    """The event of a list that is most unlike a constant rate.

    Raises:
        ValueError: fewer than three photons, or all good time in one frame.
    """
    frame = frame_of(events.time, events.time_step)
    times, gti_start, gti_stop = (
        Ragged.from_rows([values]) for values in (events.time, events.gti[:, 0], events.gti[:, 1])
    )
    photons = good_photons(times, gti_start, gti_stop, frame=frame)
    number = int(photons.num_photons[0])
    if number < MIN_PHOTONS:
        raise ValueError(f"{number} photons in the good time; {MIN_PHOTONS} are the least that tell an event")
    window = scan(photons, frame)
    if not np.isfinite(window.statistic[0]):
        raise ValueError("no window to look at: all good time is one frame")
    finest = float(photons.span[0]) / FINEST
    pulses = periodicity(
        photons, gti_start, gti_stop, whole_frames(np.array(frame), np.array(finest)) if frame > 0 else finest
    )
    window_chance, period_chance = float(window.log10_chance[0]), float(pulses.h_log10_chance[0])
    has_period = bool(np.isfinite(period_chance))
    period = float(pulses.h_period[0]) if has_period else None
    best = min(window_chance, period_chance) if has_period else window_chance
    chance = float(of_many(np.array(best * np.log(10.0)), NUM_TESTS if has_period else 1)) / np.log(10.0)
    is_pulse = has_period and period_chance < window_chance
    if is_pulse and period is not None:
        period = refined_period(photons.time, events.gti - events.gti[0, 0], period, frame)
    inside, expected = int(window.num_inside[0]), float(window.expected[0])
    kind = BURST
    if is_pulse:
        kind = PULSATION
    elif window.is_dip[0]:
        kind = ECLIPSE if inside <= ECLIPSED * expected else DIP
    gti = events.gti[:, 0], events.gti[:, 1]
    start = float(clock_time(window.start[:1], *gti)[0])
    stop = float(clock_time(window.stop[:1], *gti, ends=True)[0])
    duration = float(window.stop[0] - window.start[0])
    edges = window.start[0], window.stop[0], window.is_dip[0], photons.good_time[0]
    colours = _colours(
        events.energy[photons.index], in_window(photons.elapsed, *edges), duration / float(photons.good_time[0])
    )
    if is_pulse:
        start, stop, duration = float(gti[0][0]), float(gti[1][-1]), float(photons.good_time[0])
        inside, expected = number, float(number)
        colours = dict.fromkeys(colours)
    doubt = _doubt(events, period, float(photons.span[0])) if is_pulse and period is not None else None
    if kind == BURST and frame > LONG_FRAME and duration < 1.5 * frame:
        doubt = "one frame"
    mjd = None if events.mjd_obs is None else events.mjd_obs + start / SECONDS_PER_DAY
    return Screening(
        kind=kind,
        log10_chance=chance,
        window_log10_chance=window_chance,
        period_log10_chance=period_chance if has_period else None,
        start=start,
        stop=stop,
        duration=duration,
        mjd=mjd,
        num_inside=inside,
        num_expected=expected,
        period=period,
        **colours,
        doubt=doubt,
        notes=(*events.notes, *events.aperture_notes, *([] if frame > 0 else [NO_FRAME])),
        num_photons=number,
        good_time=float(photons.good_time[0]),
        frame=frame,
    )


def _doubt(events: EventList, period: float, span: float) -> str | None:
    """Whose a period is, where it or a few of it is the telescope's own within the observation's resolution."""
    parts = np.array([2.0, 1.0, 1 / 2, 1 / 3, 1 / 4])
    telescope = events.header.telescope
    if telescope in ("CHANDRA", "AXAF"):
        ratios = np.outer(DITHER_PERIODS, parts) / period
        if (np.abs(ratios - 1.0) * span / period < 1.0).any():
            return "Chandra's dither"
    elif telescope in LOW_ORBIT:
        low, high = (edge * parts for edge in ORBITS)
        if ((period > low - period**2 / span) & (period < high + period**2 / span)).any():
            return f"the orbit of {telescope}"
    return None


def _colours(energy: np.ndarray, inside: np.ndarray, share: float) -> dict[str, float | None]:
    """Hardness of the photons (N,) inside a window, which is that share of the good time, and outside."""
    counts = np.array(
        [[((energy >= low) & (energy < high) & part).sum() for low, high in (SOFT, HARD)] for part in (inside, ~inside)]
    )
    # What the rate outside would have given within the window.
    excess = counts[0] - counts[1] * share / max(1.0 - share, 1e-9)
    total = float(excess.sum())
    of_excess = float((excess[1] - excess[0]) / total) if abs(total) > 0 else None
    different = None
    if counts.sum(axis=1).all():
        different = float(np.log10(max(fisher_exact(counts).pvalue, 1e-300)))
    return {
        "hardness_inside": _hardness(counts[0]),
        "hardness_outside": _hardness(counts[1]),
        "hardness_of_excess": of_excess if of_excess is None else float(np.clip(of_excess, -1.0, 1.0)),
        "colour_log10_chance": different,
    }


def _hardness(counts: np.ndarray) -> float | None:
    total = int(counts.sum())
    return float((counts[1] - counts[0]) / total) if total else None


def false_alarms(log10_chance: float, num_lists: int) -> float:
    """Constant lists, of so many, that would be as unlikely: what the number of lists does to one list's chance."""
    return float(num_lists * 10.0**log10_chance)
