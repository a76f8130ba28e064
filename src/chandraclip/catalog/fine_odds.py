"""Gregory-Loredo's odds of 31 to 3000 bins, of every number of bins that can change their mean."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

from chandraclip.catalog.fine_bins import (
    GAINS,
    SMALLEST_SHARE,
    empty_bins,
    expected_log_odds,
    highest_odds,
    log_arrangements,
    negligible,
    stages,
    steps,
)

COARSE_BINS = 30  # up to which `variability` counts otherwise
DECIDED = 31.0 * np.log(10.0)  # ln odds: those of the highest index, and the sqrt(e) that m_max may take of a mean


class FineOdds:
    """Photon lists that are treated together, R of T photons; phase is 0 ... 1 over each observation.

    Attributes:
        num_photons: (R,). row, phase: (T,) of each photon, by list and then by time.
        good_share: (R,) of the time.
    """

    def __init__(
        self,
        num_photons: np.ndarray,
        phase: np.ndarray,
        good_share: np.ndarray,
        interval_row: np.ndarray,
        start: np.ndarray,
        stop: np.ndarray,
    ):
        """Besides: row and phases of the good-time intervals, (G,) each, of rows that have more than one."""
        self.num_photons, self.phase, self.good_share = num_photons, phase, good_share
        self.row = np.repeat(np.arange(num_photons.size), num_photons)
        # One increasing axis for all rows, two units apart.
        self.key = np.append(2.0 * self.row + phase, np.inf)
        good = np.cumsum((stop - start) / good_share[interval_row])
        self.time_knots = np.stack([2.0 * interval_row + start, 2.0 * interval_row + stop], axis=1).ravel()
        self.good_before = np.concatenate([[0.0], np.repeat(good, 2)])[:-1]
        # Where gaps begin and end, and the photons before and after; far from any bin where there is none.
        between = np.flatnonzero(interval_row[1:] == interval_row[:-1])
        self.knot_row = np.repeat(interval_row[between], 2)
        self.knot = np.stack([stop[between], start[between + 1]], axis=1).ravel()
        after = np.searchsorted(self.key, 2.0 * self.knot_row + self.knot)
        before_phase, after_phase = self.key[after - 1] - 2.0 * self.knot_row, self.key[after] - 2.0 * self.knot_row
        self.photon_before = np.where((after > 0) & (before_phase >= 0.0), before_phase, -1.0)
        self.photon_after = np.where(after_phase <= 1.0, after_phase, -1.0)
        self.with_gaps = np.zeros(num_photons.size, dtype=bool)
        self.with_gaps[interval_row] = True

    def log_odds(self, longest: np.ndarray, coarse: np.ndarray) -> np.ndarray:
        """(R, M) ln O_m of 2 to M + 1 bins.

        Args:
            longest: (R,) the most bins of each row; M + 1 is the highest.
            coarse: (R, COARSE_BINS - 1) ln O_m of 2 to COARSE_BINS bins. For odds that are negligible beside theirs,
                and all odds once the mean is beyond 10^31, -inf stands.
        """
        most = max(int(longest.max()), COARSE_BINS)
        result = np.full((len(coarse), most - 1), -np.inf)
        result[:, : COARSE_BINS - 1] = coarse
        total = _log_sum(coarse)
        decided = total - np.log(COARSE_BINS - 1) > DECIDED
        self.log_factorial = gammaln(np.arange(int(self.num_photons.max(initial=0)) + most + 1) + 1.0)
        for numbers in steps(COARSE_BINS + 1, most):
            asked = np.flatnonzero(~decided & (longest >= numbers[0]))
            mean = total - np.log(numbers[0])
            odds, expected = np.empty((asked.size, 0)), np.empty((asked.size, 0))
            for chosen, gain in zip(stages(numbers.size), GAINS):
                if not (asked.size and chosen.size):
                    break
                found, exposed = self._log_odds_of(asked, numbers[chosen])
                result[asked[:, None], numbers[chosen].astype(np.int64) - 2] = found
                total[asked] = np.logaddexp(total[asked], _log_sum(found))
                if gain is None:
                    break
                constant = expected_log_odds(
                    np.maximum(self.num_photons[asked], 1), self.good_share[asked], exposed, numbers[chosen]
                )
                odds, expected = np.concatenate([odds, found], axis=1), np.concatenate([expected, constant], axis=1)
                worth = ~negligible(odds.max(axis=1) - mean[asked], highest_odds(odds, expected, gain) - mean[asked])
                asked, odds, expected = asked[worth], odds[worth], expected[worth]
            decided |= total - np.log(numbers[-1] - 1.0) > DECIDED
        return result

    def _log_odds_of(self, asked: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln O_m of those rows that are asked for, and their bins with good time; (len(asked), M) each."""
        place = np.full(self.num_photons.size, -1)
        place[asked] = np.arange(asked.size)
        row, phase = place[self.row], self.phase
        if asked.size < self.num_photons.size:
            kept = row >= 0
            row, phase = row[kept], phase[kept]
        num_photons = self.num_photons[asked]
        odds = log_arrangements(row, phase, asked.size, numbers) + num_photons[:, None] * np.log(numbers)
        exposed = np.broadcast_to(numbers.astype(np.int64), odds.shape).copy()
        if self.with_gaps[asked].any():
            exposed_where, correction = self._gap_correction(asked, place, numbers)
            gaps = np.flatnonzero(self.with_gaps[asked])
            exposed[gaps] = exposed_where
            odds[gaps] += correction
        odds += self.log_factorial[exposed - 1] - self.log_factorial[num_photons[:, None] + exposed - 1]
        return odds, exposed

    def _gap_correction(
        self, asked: np.ndarray, place: np.ndarray, numbers: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Bins with good time, and -sum_j n_j ln(m g_j), of the rows with gaps among those asked for; (.., M) each.

        Only bins that a gap begins or ends in have another share than the rest, and only those with photons count.

        Args:
            place: (R,) the place of each row among those asked for, or -1.
        """
        rows = asked[self.with_gaps[asked]]
        number = np.full(place.size, -1)
        number[rows] = np.arange(rows.size)
        knots = np.flatnonzero(number[self.knot_row] >= 0)
        own, gap = number[self.knot_row[knots]], self.knot[knots]
        empty = empty_bins(gap[::2], gap[1::2], numbers)
        exposed = numbers - np.add.reduceat(empty, np.flatnonzero(np.diff(own[::2], prepend=-1)))

        full = self.good_share[rows]  # m g_j of a bin without gaps is 1 / this
        result = np.tile((self.num_photons[rows] * np.log(full))[:, None], (1, numbers.size))
        bins, before, after = (
            np.floor(values[knots, None] * numbers) for values in (self.knot, self.photon_before, self.photon_after)
        )
        used = ((bins == before) | (bins == after)) & (bins < numbers)
        used[1:] &= (own[1:] != own[:-1])[:, None] | (bins[1:] != bins[:-1])
        which, column = np.nonzero(used)
        edge, size, own = bins[which, column], numbers[column], own[which]
        begin, end = (2.0 * rows[own] + (edge + side) / size for side in (0.0, 1.0))
        counts = np.searchsorted(self.key, end) - np.searchsorted(self.key, begin)
        share = np.interp(end, self.time_knots, self.good_before) - np.interp(begin, self.time_knots, self.good_before)
        term = np.log(np.where(share > SMALLEST_SHARE, share, 1.0)) + np.log(full[own] * size)
        result -= np.bincount(own * numbers.size + column, counts * term, minlength=result.size).reshape(result.shape)
        return exposed, result


def _log_sum(log_odds: np.ndarray) -> np.ndarray:
    """(R,) ln of the sum of the odds (R, M)."""
    highest = log_odds.max(axis=1)
    return highest + np.log(np.exp(log_odds - highest[:, None]).sum(axis=1))
