"""A scan for the one interval of good time in which the rate was most unlike the rest: bursts, dips, eclipses.

Of N photons in good time T, n in a window of width w speak against a constant rate by the log likelihood ratio

    L = n ln(n T / (N w)) + (N - n) ln((N - n) / N / (1 - w / T)).

Windows have no grid of times: those of a burst begin and end with a photon, those of a dip lie between two, of as many
photons as a geometric series has, so that one of a frame is seen in an observation of any length. There are about T / w
windows of a width that do not overlap, and the statistic is what is left of L after these: S = L - ln(T / w), its
maximum over all windows (as Duembgen & Spokoiny 2001, Ann. Stat. 29, 124, weigh the scales). Given N its distribution
for a constant rate depends on nothing else; `scan_chance` has it from simulated lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import xlogy

from chandraclip.catalog.good_photons import GoodPhotons

MIN_PHOTONS = 3  # of a list, and of a burst: two events in a row may be one particle (afterglow)
STEP = 1.2  # of the series of photons a window
PHOTONS_PER_BLOCK = 1_000_000
# Of constant lists of this many photons: S that 1/2, 1/10, 1/100 and 1/1000 of them reach, as `simulated_table` finds
# them; of 10 photons and more on straight lines in ln N, within 0.3 of the simulated ones.
TABLE_PHOTONS = (3, 5, 10, 20, 50, 100, 300, 1000, 3000, 10_000)
TABLE_CHANCES = (0.5, 0.1, 0.01, 0.001)
TABLE = (
    (2.15, 4.15, 6.71, 9.05),
    (2.52, 4.63, 7.19, 10.03),
    (2.80, 5.08, 7.85, 10.28),
    (2.98, 5.26, 8.00, 10.42),
    (3.21, 5.50, 8.19, 10.62),
    (3.39, 5.69, 8.34, 10.76),
    (3.67, 5.97, 8.57, 11.00),
    (3.98, 6.29, 8.83, 11.25),
    (4.27, 6.58, 9.06, 11.48),
    (4.58, 6.89, 9.31, 11.74),
)


class Scan(NamedTuple):
    """The window that differs most from the rest of its list; (N,) each, NaN with fewer than `MIN_PHOTONS`.

    Attributes:
        statistic: S, nats.
        log10_chance: log10 of the chance that a constant rate has as large an S anywhere, in any width, up or down.
        start, stop: s of good time elapsed; `good_photons.clock_time` tells when that was.
        num_inside: photons in it (`in_window`). expected: of the rate outside of it.
        is_dip: bool, fewer photons than expected.
    """

    statistic: np.ndarray
    log10_chance: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    num_inside: np.ndarray
    expected: np.ndarray
    is_dip: np.ndarray


def scan(photons: GoodPhotons, frame: float | np.ndarray = 0.0) -> Scan:
    """The most unlikely window of each list.

    Args:
        photons: of N lists.
        frame: s, scalar or (N,): the readout frame in whose middle the times are; windows are of whole frames.
    """
    num_rows = len(photons.num_photons)
    frame = np.broadcast_to(np.asarray(frame, np.float64), (num_rows,))
    found = np.full((4, num_rows), np.nan)  # S, start, stop, photons inside
    found[0] = -np.inf
    dip = np.zeros(num_rows, bool)
    ends = np.cumsum(photons.num_photons)
    begin = 0
    while begin < num_rows:
        base = int(ends[begin - 1]) if begin else 0
        end = max(int(np.searchsorted(ends, base + PHOTONS_PER_BLOCK, side="right")), begin + 1)
        rows = slice(begin, end)
        place = photons.elapsed[base : ends[end - 1]]
        _scan_block(place, photons.num_photons[rows], photons.good_time[rows], frame[rows], found[:, rows], dip[rows])
        begin = end
    usable = (photons.num_photons >= MIN_PHOTONS) & (photons.good_time > 0) & np.isfinite(found[0])
    found[:, ~usable] = np.nan
    statistic, start, stop, _ = found
    # Of photons in one frame the series may have counted some only.
    row = photons.row
    within = in_window(photons.elapsed, start[row], stop[row], dip[row], photons.good_time[row])
    inside = np.where(usable, np.bincount(row[within], minlength=num_rows), np.nan)
    width = stop - start
    rest = np.maximum(photons.good_time - width, 1e-9 * np.maximum(photons.good_time, 1e-300))
    expected = (photons.num_photons - inside) * width / rest
    chance = np.where(usable, scan_chance(np.nan_to_num(statistic), photons.num_photons), np.nan)
    return Scan(statistic, chance, start, stop, inside, expected, dip & usable)


def in_window(
    elapsed: np.ndarray, start: np.ndarray, stop: np.ndarray, is_dip: np.ndarray, good_time: np.ndarray
) -> np.ndarray:
    """Which photons are in a window: those that a burst begins and ends with are, those that bound a dip are not.

    Args:
        elapsed: (T,) s of good time.
        start, stop, is_dip, good_time: (T,) or (), of the window and its list. A dip may begin or end with the
            observation, and what comes at that very moment is in it.
    """
    burst = (elapsed >= start) & (elapsed <= stop)
    dip = ((elapsed > start) | (start <= 0)) & ((elapsed < stop) | (stop >= good_time))
    return np.where(is_dip, dip, burst)


def _scan_block(
    place: np.ndarray, number: np.ndarray, good_time: np.ndarray, frame: np.ndarray, found: np.ndarray, dip: np.ndarray
) -> None:
    """Fills `found` (4, rows) and `dip` (rows,) of some lists, whose photons lie at `place`, list by list."""
    # Both ends of the good time bound dips, half a frame outside, as photons stand in the middle of theirs.
    offset = np.concatenate([[0], np.cumsum(number + 2)])
    row = np.repeat(np.arange(number.size), number + 2)
    edge = np.empty(offset[-1])
    inner = np.ones(offset[-1], bool)
    inner[offset[:-1]] = inner[offset[1:] - 1] = False
    edge[inner] = place
    edge[offset[:-1]], edge[offset[1:] - 1] = -0.5 * frame, good_time + 0.5 * frame
    largest = int(number.max(initial=0))
    for count in _series(0, largest):
        # Between two photons with so many in between, and from a photon to one with so many of both and in between.
        _take_best(count, count + 1, -1.0, edge, row, inner, number, good_time, frame, found, dip)
    for count in _series(MIN_PHOTONS, largest):
        _take_best(count, count - 1, +1.0, edge, row, inner, number, good_time, frame, found, dip)


def _series(first: int, last: int) -> Iterator[int]:
    count = first
    while count <= last:
        yield count
        count = max(count + 1, int(count * STEP))


def _take_best(
    count: int,
    distance: int,
    sign: float,
    edge: np.ndarray,
    row: np.ndarray,
    inner: np.ndarray,
    number: np.ndarray,
    good_time: np.ndarray,
    frame: np.ndarray,
    found: np.ndarray,
    dip: np.ndarray,
) -> None:
    """The best window of `count` photons from edge i to edge i + distance, a burst (+1) or a dip (-1)."""
    if edge.size <= distance:
        return
    last = edge.size - distance
    valid = row[:last] == row[distance:]
    if sign > 0:
        valid &= inner[:last] & inner[distance:]
    left = np.flatnonzero(valid)
    if not left.size:
        return
    of = row[left]
    total, time = number[of].astype(np.float64), good_time[of]
    # Of a list in one frame, or a window that is all of it, nothing is left to differ from.
    width = np.minimum(edge[left + distance] - edge[left] + sign * frame[of], time)
    share = width / np.maximum(time, 1e-300)
    possible = (width > 0) & (share < 1.0 - 1e-9) & (sign * (count - total * share) > 0)
    left, of, total, share = left[possible], of[possible], total[possible], share[possible]
    if not left.size:
        return
    inside = count / total
    value = total * (xlogy(inside, inside / share) + xlogy(1 - inside, (1 - inside) / (1 - share))) + np.log(share)
    first = np.flatnonzero(np.diff(of, prepend=-1))
    highest = np.maximum.reduceat(value, first)
    rows = of[first]
    better = highest > found[0, rows]
    wanted = np.full(number.size, np.inf)
    wanted[rows[better]] = highest[better]
    hits = np.flatnonzero(value == wanted[of])
    # Written backwards, so that of equal windows the first stays.
    hits = hits[::-1]
    at = of[hits]
    start = edge[left[hits]] - sign * 0.5 * frame[at]
    stop = edge[left[hits] + distance] + sign * 0.5 * frame[at]
    found[0, at], found[3, at], dip[at] = value[hits], count, sign < 0
    found[1, at], found[2, at] = np.maximum(start, 0.0), np.minimum(stop, good_time[at])


def scan_chance(statistic: np.ndarray, num_photons: np.ndarray) -> np.ndarray:
    """log10 of the chance that a constant rate reaches S, between the table's values on straight lines.

    Below 1/1000 the chance falls on as it does from 1/10 to 1/1000, or as e^-S where that is slower.

    Args:
        statistic: (M,) nats. num_photons: (M,).
    """
    axis, known = np.log(np.maximum(num_photons, TABLE_PHOTONS[0])), np.log(TABLE_PHOTONS)
    # Beyond the table S grows on with ln N as it does over its last decade.
    last_decade = TABLE_PHOTONS.index(TABLE_PHOTONS[-1] // 10)
    beyond = np.maximum(axis - known[-1], 0.0) / (known[-1] - known[last_decade])
    knots = np.stack([np.interp(axis, known, one) + beyond * (one[-1] - one[last_decade]) for one in np.array(TABLE).T])
    levels = np.log10(TABLE_CHANCES)
    slope = np.maximum((levels[-1] - levels[1]) / (knots[-1] - knots[1]), -1.0 / np.log(10.0))
    result = levels[-1] + slope * (statistic - knots[-1])
    for low in range(len(levels) - 2, -1, -1):
        share = (statistic - knots[low]) / (knots[low + 1] - knots[low])
        between = levels[low] + share * (levels[low + 1] - levels[low])
        result = np.where(statistic < knots[low + 1], between, result)
    return np.minimum(result, 0.0)


def simulated_table(
    num_photons: tuple[int, ...] = TABLE_PHOTONS, num_lists: int = 20_000, seed: int = 0
) -> list[tuple[float, ...]]:
    """What `TABLE` holds: for each number of photons the S that the shares `TABLE_CHANCES` of constant lists reach."""
    rng = np.random.default_rng(seed)
    table = []
    for number in num_photons:
        lists = int(min(num_lists, max(3e6 / number, 1000)))
        values = []
        at_once = int(np.clip(PHOTONS_PER_BLOCK // number, 1, 2000))
        for block in range(0, lists, at_once):
            size = min(at_once, lists - block)
            place = np.sort(rng.random((size, number)), axis=1).ravel()
            ones = np.ones(size)
            found = np.full((4, size), -np.inf)
            _scan_block(place, np.full(size, number), ones, 0.0 * ones, found, np.zeros(size, bool))
            values.append(found[0])
        table.append(tuple(np.round(np.quantile(np.concatenate(values), 1.0 - np.array(TABLE_CHANCES)), 2).tolist()))
    return table
