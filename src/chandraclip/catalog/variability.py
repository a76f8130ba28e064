"""Gregory-Loredo variability, for many detections at once (Gregory & Loredo 1992, ApJ 398, 146; CSC's glvary).

N photons in m equal time bins, n_j in bin j, which holds the share g_j of the good time. Against a constant rate, the
odds of a rate free in every bin are

    O_m = (m' - 1)! prod_j n_j! / (N + m' - 1)! * prod_j g_j^-n_j

with m' the bins that have good time. Without gaps g_j = 1/m and this is CSC's m^N (m - 1)! prod n_j! / (N + m - 1)!;
with gaps it carries the exposure correction of Gregory & Loredo. The odds are their mean over m = 2 ... m_max, where
m_max is glvary's: of the means for every m_max down to 50 s a bin, the last that is above the highest one over sqrt(e)
(from memory of its help page; the probabilities of CSC's constant sources come out so, and not without it). No number
of bins is left out but those whose odds are too low to change the mean; `fine_odds` has those above 30.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit, gammaln, logsumexp

from chandraclip.catalog.fine_bins import SMALLEST_SHARE, on_edges, ranges, tiles
from chandraclip.catalog.fine_odds import COARSE_BINS, FineOdds
from chandraclip.catalog.ragged import Ragged

VARIABLE_INDEX = 6  # var_index from which CSC calls a source definitely variable
MAX_BINS, SHORTEST_BIN = 3000, 50.0  # glvary's: the most bins, and their shortest, s
PHOTONS_PER_BLOCK = 2_000_000
TABLE_CELLS_PER_BLOCK = 2**18  # photons before each edge, rows x edges of int64: 2 MB
NUM_LIGHT_CURVE_CELLS = 256


class GregoryLoredo(NamedTuple):
    """(N,) each.

    Attributes:
        odds_log10: log10 of the odds for variability; NaN where there is no photon or no good time. Above 30, where
            nothing is left to be decided, of as many numbers of bins as it takes to say so.
        var_prob: odds / (1 + odds); NaN also below `min_photons`.
        var_index: 0 to 10, CSC's rules, as float; NaN where var_prob is.
        fraction_3_sigma, fraction_5_sigma: share of good time in which the light curve is within 3 and 5 sigma of the
            mean rate; only for var_prob in 1/2 ... 0.9, where the rules ask for them, else NaN.
        num_photons: int64, photons in the good-time intervals.
    """

    odds_log10: np.ndarray
    var_prob: np.ndarray
    var_index: np.ndarray
    fraction_3_sigma: np.ndarray
    fraction_5_sigma: np.ndarray
    num_photons: np.ndarray


def gregory_loredo(
    times: Ragged,
    gti_start: Ragged,
    gti_stop: Ragged,
    max_bins: int | None = None,
    min_photons: int = 10,
) -> GregoryLoredo:
    """Odds that each detection's rate varied.

    Args:
        times: N lists of photon times, s, in any order. Photons outside the good-time intervals are left out.
        gti_start, gti_stop: N lists of good-time intervals, s, sorted and disjoint.
        max_bins: the most bins of the time from the first start to the last stop. By default glvary's: 3000, of 50 s
            at least.
        min_photons: with fewer, var_prob and var_index are NaN, the odds are still given. CSC 2 has them for 1 in 4
            detections of 5 to 8 net counts and for 9 in 10 above 15.

    Returns:
        `GregoryLoredo`; NaN for rows that are null, have no good time, or no photon in it.

    Raises:
        ValueError: the columns differ in length, max_bins < 2, or intervals overlap or end before they start.
    """
    num_rows = len(times)
    if len(gti_start) != num_rows or len(gti_stop) != num_rows:
        raise ValueError(f"{num_rows} photon lists, but {len(gti_start)} and {len(gti_stop)} lists of intervals")
    if not np.array_equal(gti_start.offsets, gti_stop.offsets):
        raise ValueError("gti_start and gti_stop differ in length in some row")
    if max_bins is not None and max_bins < 2:
        raise ValueError(f"max_bins must be at least 2, not {max_bins}")
    by_length = max_bins is None
    max_bins = COARSE_BINS if max_bins is None else max_bins
    edges = np.unique(np.concatenate([_edges(num_bins) for num_bins in range(2, max_bins + 1)]))
    rows_per_block = max(TABLE_CELLS_PER_BLOCK // edges.size, 1)
    odds_log10, first_fraction, second_fraction = (np.full(num_rows, np.nan) for _ in range(3))
    num_photons = np.zeros(num_rows, dtype=np.int64)
    begin = 0
    while begin < num_rows:
        end = int(np.searchsorted(times.offsets, times.offsets[begin] + PHOTONS_PER_BLOCK, side="right")) - 1
        end = min(max(end, begin + 1), begin + rows_per_block, num_rows)
        block = _Block(times, gti_start, gti_stop, begin, end, edges, max_bins)
        coarse = np.stack([block.log_odds(num_bins) for num_bins in range(2, max_bins + 1)])
        longest = np.full(end - begin, max_bins)
        if by_length:
            longest = np.clip(block.span / SHORTEST_BIN, 2, MAX_BINS).astype(np.int64)
        total, num_averaged = np.zeros(end - begin), np.zeros(end - begin, dtype=np.int64)
        for rows in tiles(block.num_photons):
            log_odds = coarse[:, rows].T.copy()
            if by_length:
                log_odds = block.fine_odds(rows).log_odds(longest[rows], log_odds)
            total[rows], num_averaged[rows] = _mean_odds(log_odds, longest[rows])
        usable = block.has_good_time & (block.num_photons > 0)
        odds_log10[begin:end] = np.where(usable, total / np.log(10.0), np.nan)
        num_photons[begin:end] = block.num_photons
        # The rules look at the light curve only for odds of 1 to 9.
        unsure = np.flatnonzero(usable & (total > 0.0) & (total < np.log(9.0)))
        if unsure.size:
            weight = _odds_weights(coarse[:, unsure], num_averaged[unsure])
            fractions = block.light_curve_fractions(unsure, weight)
            first_fraction[begin + unsure], second_fraction[begin + unsure] = fractions
        begin = end
    enough = num_photons >= min_photons
    var_prob = np.where(enough, expit(odds_log10 * np.log(10.0)), np.nan)
    var_index = np.where(enough, variability_index(odds_log10, first_fraction, second_fraction), np.nan)
    return GregoryLoredo(odds_log10, var_prob, var_index, first_fraction, second_fraction, num_photons)


class AveragedLightCurve(NamedTuple):
    """The light curve that the rules of var_index look at: the mean over m, weighted by O_m, of those in m bins.

    Attributes:
        edges: (n + 1,) s.
        rate, sigma: (n,) photons a second of good time, mean and standard deviation of the posterior; NaN where there
            is no good time.
    """

    edges: np.ndarray
    rate: np.ndarray
    sigma: np.ndarray


def averaged_light_curve(time: np.ndarray, gti: np.ndarray) -> AveragedLightCurve:
    """The light curve of one detection as `gregory_loredo` averages it, over 2 to 30 bins.

    Args:
        time: (N,) photon times, s, in any order; at least one in the good time.
        gti: (k, 2) good-time intervals, s, sorted and disjoint.

    Raises:
        ValueError: no good time, or no photon in it; intervals overlap or end before they start.
    """
    start, stop = (Ragged(gti[:, side], np.array([0, len(gti)])) for side in (0, 1))
    edges = np.unique(np.concatenate([_edges(num_bins) for num_bins in range(2, COARSE_BINS + 1)]))
    block = _Block(Ragged(time, np.array([0, len(time)])), start, stop, 0, 1, edges, COARSE_BINS)
    if not (block.has_good_time[0] and block.num_photons[0]):
        raise ValueError("a light curve needs a photon in the good time")
    log_odds = np.stack([block.log_odds(number) for number in range(2, COARSE_BINS + 1)])
    longest = np.clip(block.span / SHORTEST_BIN, 2, MAX_BINS).astype(np.int64)
    # How many numbers of bins count is decided over all, as `gregory_loredo` does; the curve has the coarse ones.
    every = block.fine_odds(np.zeros(1, dtype=np.int64)).log_odds(longest, log_odds.T)
    _, num_averaged = _mean_odds(every, longest)
    mean, sigma, share = block.light_curve(np.zeros(1, dtype=np.int64), _odds_weights(log_odds, num_averaged))
    good_time = float((gti[:, 1] - gti[:, 0]).sum())
    per_second = np.where(share[:, 0] > 0, block.num_photons[0] / good_time, np.nan)
    places = block.first[0] + block.span[0] * _edges(NUM_LIGHT_CURVE_CELLS)
    return AveragedLightCurve(places, mean[:, 0] * per_second, sigma[:, 0] * per_second)


def _odds_weights(log_odds: np.ndarray, num_averaged: np.ndarray) -> np.ndarray:
    """(M, rows) the normalized O_m of the first `num_averaged` (rows,) numbers of bins."""
    averaged = np.arange(len(log_odds))[:, None] < num_averaged
    weight = np.where(averaged, log_odds, -np.inf)
    return np.exp(weight - logsumexp(weight, axis=0))


def _mean_odds(log_odds: np.ndarray, longest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ln of the mean odds over 2 ... m_max bins (rows,), and how many numbers of bins that takes.

    Args:
        log_odds: (rows, M) ln O_m for m = 2 ... M + 1.
        longest: (rows,) the most bins of each.
    """
    number = np.arange(1, log_odds.shape[1] + 1)
    too_many = number[longest.min() - 1 :] >= longest[:, None]
    log_odds[:, longest.min() - 1 :][too_many] = -np.inf
    highest = log_odds.max(axis=1)
    # Means that underflow beside the highest odds are far below the highest mean: there are at most 3000.
    means = log_odds - highest[:, None]
    np.cumsum(np.exp(means, out=means), axis=1, out=means)
    means /= number
    means[:, longest.min() - 1 :][too_many] = 0.0
    high = means > means.max(axis=1, keepdims=True) * np.exp(-0.5)
    num_averaged = log_odds.shape[1] - high[:, ::-1].argmax(axis=1)
    return highest + np.log(means[np.arange(len(longest)), num_averaged - 1]), num_averaged


def variability_index(odds_log10: np.ndarray, fraction_3_sigma: np.ndarray, fraction_5_sigma: np.ndarray) -> np.ndarray:
    """CSC's variability index, 0 (not variable) to 10, from the odds and the light curve; NaN where the odds are.

    The last five rows of the table apply to log10(odds): a plain odds below 2 would contradict var_prob >= 0.9.
    """
    probability = expit(np.asarray(odds_log10) * np.log(10.0))
    quiet = (fraction_3_sigma > 0.997) & (fraction_5_sigma >= 1.0 - 1e-9)
    index = np.select(
        [
            np.isnan(odds_log10),
            probability <= 0.5,
            probability >= 0.9,
            quiet & (probability < 2 / 3),
            quiet,
            probability < 0.6,
            probability < 2 / 3,
        ],
        [np.nan, 0.0, 6.0 + np.searchsorted([2.0, 4.0, 10.0, 30.0], odds_log10, side="right"), 1.0, 2.0, 3.0, 4.0],
        default=5.0,
    )
    return index


def _edges(num_bins: int) -> np.ndarray:
    """(num_bins + 1,) phases; j / m and 2 j / 2 m are the same double."""
    return np.arange(num_bins + 1) / num_bins


class _Block:
    """Rows begin ... end - 1, with the photons before each edge of any number of bins.

    Phase is 0 ... 1 from the first start to the last stop. The bins of every number up to max_bins have few distinct
    edges between them (`edges`: 279 for 30, the Farey sequence, not 464), so each photon is placed once.
    """

    def __init__(
        self,
        times: Ragged,
        gti_start: Ragged,
        gti_stop: Ragged,
        begin: int,
        end: int,
        edges: np.ndarray,
        max_bins: int,
    ):
        self.num_rows, self.edges = end - begin, edges
        self._read_intervals(gti_start, gti_stop, begin, end)
        lengths = np.diff(times.offsets[begin : end + 1])
        row = np.repeat(np.arange(self.num_rows), lengths)
        time = np.asarray(times.values[times.offsets[begin] : times.offsets[end]], dtype=np.float64)
        phase = (time - np.repeat(self.first, lengths)) / np.repeat(self.span, lengths)
        inside = (phase >= 0) & (phase <= 1)
        if not self.has_good_time.all():
            inside &= np.repeat(self.has_good_time, lengths)
        if self.rows_with_gaps.size:
            gaps = np.flatnonzero(np.repeat(self.gap_number >= 0, lengths))
            key = 2.0 * row[gaps] + phase[gaps]
            interval = np.maximum(np.searchsorted(self.start_key, key, side="right") - 1, 0)
            inside[gaps] &= key <= self.stop_key[interval]
        if not inside.all():
            row, phase = row[inside], phase[inside]
        # A photon at the last stop belongs to the last bin.
        phase = np.minimum(phase, np.nextafter(1.0, 0.0))
        self.num_photons = np.bincount(row, minlength=self.num_rows)
        self.photons_before = self._count_before_edges(row, phase, max_bins)
        order = np.argsort(2.0 * row + phase, kind="stable")
        self.phase = on_edges(phase[order])
        self.last_photon = np.cumsum(self.num_photons)
        self.log_factorial = gammaln(np.arange(int(self.num_photons.max(initial=0)) + max_bins) + 1.0)
        if self.rows_with_gaps.size:
            self.good_time_before = self._good_time_before(edges, self.rows_with_gaps)

    def _read_intervals(self, gti_start: Ragged, gti_stop: Ragged, begin: int, end: int) -> None:
        offsets = np.asarray(gti_start.offsets[begin : end + 1])
        flat = slice(offsets[0], offsets[-1])
        start = np.asarray(gti_start.values[flat], dtype=np.float64)
        stop = np.asarray(gti_stop.values[flat], dtype=np.float64)
        num_intervals = np.diff(offsets)
        self.first_interval = np.asarray(offsets - offsets[0])
        row = np.repeat(np.arange(self.num_rows), num_intervals)
        backwards = ~(stop >= start)  # also where one is NaN
        overlapping = (row[1:] == row[:-1]) & (start[1:] < stop[:-1])
        for wrong, what in (
            (backwards, "ends before it starts"),
            (overlapping, "overlaps the next or is out of order"),
        ):
            if wrong.any():
                raise ValueError(f"a good-time interval of row {begin + int(row[wrong.argmax()])} {what}")
        good = np.bincount(row, stop - start, minlength=self.num_rows)
        self.has_good_time = good > 0
        self.first, self.span = np.zeros(self.num_rows), np.ones(self.num_rows)
        present = num_intervals > 0
        self.first[present] = start[(offsets[:-1] - offsets[0])[present]]
        self.span[present] = stop[(offsets[1:] - offsets[0])[present] - 1] - self.first[present]
        self.span[~self.has_good_time] = 1.0
        good[~self.has_good_time] = 1.0
        self.good_share = good / self.span

        self.rows_with_gaps = np.flatnonzero(num_intervals > 1)
        self.gap_number = np.full(self.num_rows, -1)  # column of good_time_before
        self.gap_number[self.rows_with_gaps] = np.arange(self.rows_with_gaps.size)
        # One increasing axis for all rows, two units apart: row r has its intervals in [2 r, 2 r + 1].
        self.start_key = 2.0 * row + (start - self.first[row]) / self.span[row]
        self.stop_key = 2.0 * row + (stop - self.first[row]) / self.span[row]
        self.knots = np.stack([self.start_key, self.stop_key], axis=1).ravel()
        self.knot_values = np.concatenate([[0.0], np.repeat(np.cumsum((stop - start) / good[row]), 2)])[:-1]

    def _count_before_edges(self, row: np.ndarray, phase: np.ndarray, max_bins: int) -> np.ndarray:
        """(edges, rows) photons before each edge."""
        # Two edges are at least 1 / (max_bins (max_bins - 1)) apart, so a cell this small holds one at most; a power
        # of two makes the cell of a phase exact.
        num_cells = 1 << (max_bins**2 - 1).bit_length()
        first = np.searchsorted(self.edges, np.arange(num_cells) / num_cells, side="right") - 1
        cell = (phase * num_cells).astype(np.int32)
        number = np.take(first, cell)
        number += phase >= np.take(self.edges[first + 1], cell)
        number += row * self.edges.size + 1
        counts = np.bincount(number, minlength=self.num_rows * self.edges.size)
        return np.cumsum(counts.reshape(self.num_rows, self.edges.size).T, axis=0)

    def _good_time_before(self, edges: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(edges, len(rows)) share of the good time before each phase."""
        phase = 2.0 * rows[:, None] + edges
        return np.interp(phase.ravel(), self.knots, self.knot_values).reshape(phase.shape).T

    def _positions(self, num_bins: int) -> np.ndarray:
        return np.searchsorted(self.edges, _edges(num_bins))

    def log_odds(self, num_bins: int) -> np.ndarray:
        """(rows,) ln O_m of this many bins."""
        position = self._positions(num_bins)
        counts = np.diff(self.photons_before[position], axis=0)
        exposed = np.full(self.num_rows, num_bins)
        correction = self.num_photons * np.log(num_bins)
        if (gaps := self.rows_with_gaps).size:
            share = _share(self.good_time_before[position])
            exposed[gaps] = np.maximum((share > 0).sum(0), 1)
            correction[gaps] = -(counts[:, gaps] * np.log(np.where(share > 0, share, 1.0))).sum(0)
        odds = np.take(self.log_factorial, counts).sum(0) + correction
        return odds + self.log_factorial[exposed - 1] - self.log_factorial[self.num_photons + exposed - 1]

    def fine_odds(self, rows: np.ndarray) -> FineOdds:
        """Those rows, for more bins than `log_odds` is for."""
        photons, _ = ranges(self.last_photon[rows] - self.num_photons[rows], self.num_photons[rows])
        number = np.diff(self.first_interval)[rows]
        interval, own = ranges(self.first_interval[rows], np.where(number > 1, number, 0))
        start, stop = (key[interval] - 2.0 * rows[own] for key in (self.start_key, self.stop_key))
        return FineOdds(self.num_photons[rows], self.phase[photons], self.good_share[rows], own, start, stop)

    def light_curve(self, rows: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(cells, len(rows)) rate over the mean rate, its standard deviation, and the share of the good time.

        The light curve is the mean over m, weighted by O_m, of the posterior mean rates (n_j + 1) / (N + m') / g_j.

        Args:
            rows: of this block.
            weight: (max_bins - 1, len(rows)), the normalized O_m.
        """
        with_gaps = np.flatnonzero(self.gap_number[rows] >= 0)
        cell = (np.arange(NUM_LIGHT_CURVE_CELLS) + 0.5) / NUM_LIGHT_CURVE_CELLS
        mean = np.zeros((cell.size, rows.size))
        square = np.zeros_like(mean)
        for num_bins, weight_of_bins in enumerate(weight, start=2):
            position = self._positions(num_bins)
            share = np.full((num_bins, rows.size), 1.0 / num_bins)
            if with_gaps.size:
                share[:, with_gaps] = _share(self.good_time_before[position][:, self.gap_number[rows[with_gaps]]])
            exposed = np.maximum((share > 0).sum(0), 1)
            total = self.num_photons[rows] + exposed
            fraction = (np.diff(self.photons_before[position][:, rows], axis=0) + 1) / total
            share = np.where(share > 0, share, np.inf)  # no rate where there is no good time
            rate = fraction / share
            variance = fraction * (1.0 - fraction) / (total + 1) / share**2
            column = (cell * num_bins).astype(np.int64)
            mean += (weight_of_bins * rate)[column]
            square += (weight_of_bins * (variance + rate**2))[column]
        sigma = np.sqrt(np.maximum(square - mean**2, 0.0))
        exposure = np.full(mean.shape, 1.0 / cell.size)
        if with_gaps.size:
            exposure[:, with_gaps] = _share(self._good_time_before(_edges(cell.size), rows[with_gaps]))
        return mean, sigma, exposure

    def light_curve_fractions(self, rows: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(len(rows),) share of good time within 3 and within 5 sigma of the mean rate; arguments as `light_curve`."""
        mean, sigma, exposure = self.light_curve(rows, weight)
        total_exposure = exposure.sum(0)
        within = [(exposure * (np.abs(mean - 1.0) <= limit * sigma)).sum(0) / total_exposure for limit in (3.0, 5.0)]
        return within[0], within[1]


def _share(good_time_before: np.ndarray) -> np.ndarray:
    """Share of the good time in each bin, from that before each of its edges."""
    share = np.diff(good_time_before, axis=0)
    return np.where(share > SMALLEST_SHARE, share, 0.0)
