"""Gregory-Loredo variability, for many detections at once (Gregory & Loredo 1992, ApJ 398, 146; CSC's glvary).

N photons in m equal time bins, n_j in bin j, which holds the share g_j of the good time. Against a constant rate, the
odds of a rate free in every bin are

    O_m = (m' - 1)! prod_j n_j! / (N + m' - 1)! * prod_j g_j^-n_j

with m' the bins that have good time. Without gaps g_j = 1/m and this is CSC's m^N (m - 1)! prod n_j! / (N + m - 1)!;
with gaps it carries the exposure correction of Gregory & Loredo. The odds are their mean over m = 2 ... max_bins.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit, gammaln, logsumexp

from chandraclip.data.schema import Ragged

DEFAULT_MAX_BINS = 30
PHOTONS_PER_BLOCK = 2_000_000
ROWS_PER_BLOCK = 4_096
NUM_LIGHT_CURVE_CELLS = 256
# A bin with less of the good time than this touches a good-time interval only by rounding.
SMALLEST_SHARE = 1e-9


class GregoryLoredo(NamedTuple):
    """(N,) each.

    Attributes:
        odds_log10: log10 of the odds for variability; NaN where there is no photon or no good time.
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
    max_bins: int = DEFAULT_MAX_BINS,
    min_photons: int = 10,
) -> GregoryLoredo:
    """Odds that each detection's rate varied.

    Args:
        times: N lists of photon times, s, in any order. Photons outside the good-time intervals are left out.
        gti_start, gti_stop: N lists of good-time intervals, s, sorted and disjoint.
        max_bins: the odds are averaged over 2 ... max_bins bins of the time from the first start to the last stop.
            glvary goes on to 50 s a bin; a fixed number makes the odds independent of the unit of time.
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
    if max_bins < 2:
        raise ValueError(f"max_bins must be at least 2, not {max_bins}")
    odds_log10, first_fraction, second_fraction = (np.full(num_rows, np.nan) for _ in range(3))
    num_photons = np.zeros(num_rows, dtype=np.int64)
    begin = 0
    while begin < num_rows:
        end = int(np.searchsorted(times.offsets, times.offsets[begin] + PHOTONS_PER_BLOCK, side="right")) - 1
        end = min(max(end, begin + 1), begin + ROWS_PER_BLOCK, num_rows)
        rows = slice(begin, end)
        block = _Block(times, gti_start, gti_stop, begin, end)
        log_odds = np.stack([block.log_odds(num_bins) for num_bins in range(2, max_bins + 1)])
        total = logsumexp(log_odds, axis=0) - np.log(max_bins - 1)
        usable = block.has_good_time & (block.num_photons > 0)
        odds_log10[rows] = np.where(usable, total / np.log(10.0), np.nan)
        num_photons[rows] = block.num_photons
        # The rules look at the light curve only for odds of 1 to 9.
        unsure = np.flatnonzero(usable & (total > 0.0) & (total < np.log(9.0)))
        if unsure.size:
            weight = np.exp(log_odds[:, unsure] - logsumexp(log_odds[:, unsure], axis=0))
            taken = [_take(lists, begin + unsure) for lists in (times, gti_start, gti_stop)]
            few = _Block(taken[0], taken[1], taken[2], 0, unsure.size)
            fractions = few.light_curve_fractions(weight)
            first_fraction[begin + unsure], second_fraction[begin + unsure] = fractions
        begin = end
    enough = num_photons >= min_photons
    var_prob = np.where(enough, expit(odds_log10 * np.log(10.0)), np.nan)
    var_index = np.where(enough, variability_index(odds_log10, first_fraction, second_fraction), np.nan)
    return GregoryLoredo(odds_log10, var_prob, var_index, first_fraction, second_fraction, num_photons)


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


class _Block:
    """Rows begin ... end - 1: photons as (row, phase), phase 0 ... 1 from the first start to the last stop."""

    def __init__(self, times: Ragged, gti_start: Ragged, gti_stop: Ragged, begin: int, end: int):
        self.num_rows = end - begin
        lengths = np.diff(times.offsets[begin : end + 1])
        row = np.repeat(np.arange(self.num_rows), lengths)
        time = np.asarray(times.values[times.offsets[begin] : times.offsets[end]], dtype=np.float64)

        offsets = np.asarray(gti_start.offsets[begin : end + 1])
        flat = slice(offsets[0], offsets[-1])
        start = np.asarray(gti_start.values[flat], dtype=np.float64)
        stop = np.asarray(gti_stop.values[flat], dtype=np.float64)
        num_intervals = np.diff(offsets)
        interval_row = np.repeat(np.arange(self.num_rows), num_intervals)
        self._check_intervals(start, stop, interval_row, begin)

        good = np.bincount(interval_row, stop - start, minlength=self.num_rows)
        self.has_good_time = good > 0
        first, span = np.zeros(self.num_rows), np.ones(self.num_rows)
        present = num_intervals > 0
        first[present] = start[(offsets[:-1] - offsets[0])[present]]
        span[present] = stop[(offsets[1:] - offsets[0])[present] - 1] - first[present]
        span[~self.has_good_time] = 1.0
        good[~self.has_good_time] = 1.0

        phase = (time - first[row]) / span[row]
        inside = (phase >= 0) & (phase <= 1) & self.has_good_time[row]
        self.rows_with_gaps = np.flatnonzero(num_intervals > 1)
        if self.rows_with_gaps.size:
            # One increasing axis for all rows, two units apart: row r has its intervals in [2 r, 2 r + 1].
            start_key = 2.0 * interval_row + (start - first[interval_row]) / span[interval_row]
            stop_key = 2.0 * interval_row + (stop - first[interval_row]) / span[interval_row]
            key = 2.0 * row + phase
            interval = np.maximum(np.searchsorted(start_key, key, side="right") - 1, 0)
            inside &= key <= stop_key[interval]
            self.knots = np.stack([start_key, stop_key], axis=1).ravel()
            share = (stop - start) / good[interval_row]
            self.knot_values = np.concatenate([[0.0], np.repeat(np.cumsum(share), 2)])[:-1]
        # A photon at the last stop belongs to the last bin.
        phase = np.minimum(phase, np.nextafter(1.0, 0.0))
        self.row, self.phase = row[inside], phase[inside]
        self.num_photons = np.bincount(self.row, minlength=self.num_rows)
        highest = int(self.num_photons.max(initial=0))
        self.log_factorial = gammaln(np.arange(highest + 1) + 1.0)

    @staticmethod
    def _check_intervals(start: np.ndarray, stop: np.ndarray, row: np.ndarray, begin: int) -> None:
        backwards = ~(stop >= start)  # also where one is NaN
        overlapping = (row[1:] == row[:-1]) & (start[1:] < stop[:-1])
        for wrong, what in (
            (backwards, "ends before it starts"),
            (overlapping, "overlaps the next or is out of order"),
        ):
            if wrong.any():
                raise ValueError(f"a good-time interval of row {begin + int(row[wrong.argmax()])} {what}")

    def counts(self, num_bins: int) -> np.ndarray:
        """(rows, num_bins) photons a bin."""
        bins = (self.phase * num_bins).astype(np.int64)
        bins += self.row * num_bins
        return np.bincount(bins, minlength=self.num_rows * num_bins).reshape(self.num_rows, num_bins)

    def good_time_share(self, num_bins: int, rows: np.ndarray) -> np.ndarray:
        """(len(rows), num_bins) share of the good time in each bin, of rows with gaps; the others' is 1 / num_bins."""
        edges = 2.0 * rows[:, None] + np.arange(num_bins + 1) / num_bins
        cumulative = np.interp(edges.ravel(), self.knots, self.knot_values).reshape(edges.shape)
        share = np.diff(cumulative, axis=1)
        return np.where(share > SMALLEST_SHARE, share, 0.0)

    def log_odds(self, num_bins: int) -> np.ndarray:
        """(rows,) ln O_m of this many bins."""
        counts = self.counts(num_bins)
        exposed = np.full(self.num_rows, num_bins)
        correction = self.num_photons * np.log(num_bins)
        if (gaps := self.rows_with_gaps).size:
            share = self.good_time_share(num_bins, gaps)
            exposed[gaps] = np.maximum((share > 0).sum(1), 1)
            correction[gaps] = -(counts[gaps] * np.log(np.where(share > 0, share, 1.0))).sum(1)
        odds = self.log_factorial[counts].sum(1) + correction
        return odds + gammaln(exposed) - gammaln(self.num_photons + exposed)

    def light_curve_fractions(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(rows,) share of good time within 3 and within 5 sigma of the mean rate.

        The light curve is the mean over m, weighted by O_m, of the posterior mean rates (n_j + 1) / (N + m') / g_j.

        Args:
            weight: (max_bins - 1, rows), the normalized O_m.
        """

        def good_time(num_bins: int) -> np.ndarray:
            share = np.full((self.num_rows, num_bins), 1.0 / num_bins)
            if self.rows_with_gaps.size:
                share[self.rows_with_gaps] = self.good_time_share(num_bins, self.rows_with_gaps)
            return share

        cell = (np.arange(NUM_LIGHT_CURVE_CELLS) + 0.5) / NUM_LIGHT_CURVE_CELLS
        mean = np.zeros((self.num_rows, cell.size))
        square = np.zeros_like(mean)
        for num_bins, weight_of_bins in enumerate(weight, start=2):
            share = good_time(num_bins)
            exposed = np.maximum((share > 0).sum(1, keepdims=True), 1)
            total = self.num_photons[:, None] + exposed
            fraction = (self.counts(num_bins) + 1) / total
            share = np.where(share > 0, share, np.inf)  # no rate where there is no good time
            rate = fraction / share
            variance = fraction * (1.0 - fraction) / (total + 1) / share**2
            column = (cell * num_bins).astype(np.int64)
            mean += weight_of_bins[:, None] * rate[:, column]
            square += weight_of_bins[:, None] * (variance + rate**2)[:, column]
        sigma = np.sqrt(np.maximum(square - mean**2, 0.0))
        exposure = good_time(NUM_LIGHT_CURVE_CELLS)
        total_exposure = exposure.sum(1)
        within = [(exposure * (np.abs(mean - 1.0) <= limit * sigma)).sum(1) / total_exposure for limit in (3.0, 5.0)]
        return within[0], within[1]


def _take(lists: Ragged, rows: np.ndarray) -> Ragged:
    """Some rows of a column of lists."""
    offsets = np.asarray(lists.offsets)
    lengths = np.diff(offsets)[rows]
    taken = np.concatenate([[0], np.cumsum(lengths)])
    index = np.arange(taken[-1]) + np.repeat(offsets[rows] - taken[:-1], lengths)
    return Ragged(np.asarray(lists.values)[index], taken)
