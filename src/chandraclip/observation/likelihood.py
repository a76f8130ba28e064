"""The likelihood of a spectrum as a function of a model's shape, column and norm: what a fit minimises.

The norm enters linearly and the statistics are convex in it, so the best one for given shape and column is found by
itself, and the search is left with two parameters at most. `Amount` says in which quantity the norm is counted: itself,
or the model's flux in a band, whose limits are found just so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sparse
from scipy.optimize import minimize

from chandraclip.observation.profile import Point, profile_limits
from chandraclip.observation.spectral_models import COLUMN_RANGE, COLUMN_STARTS, AbsorbedModel
from chandraclip.observation.statistics import Statistic
from chandraclip.ogip.response import Response

# Half the interval of a numerical derivative, of the shape (or of ln kT) and of nH.
DERIVATIVE_STEPS = np.array([1e-3, 1e-4])
NUM_POLISHED = 3  # local minima of the grid of starts that are followed
# Of a response's numbers that are not 0, from which on it is folded with as a dense matrix: of ACIS, where six in ten
# are, that takes a third of the time.
DENSE_SHARE = 0.2

# Of shape (S,) and column (S,) -> the quantity (S,) at norm 1.
Amount = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Likelihood:
    """Statistic of one spectrum under one model.

    Args:
        response: of the spectrum.
        exposure_area: (C,) exposure times AREASCAL, s; multiplies the folded rates.
        chosen: (C,) bool, channels that count.
        statistic: of those N channels.
        model: the emission and its absorber.
        fixed: shape parameter and nH where they do not vary, else NaN, (2,).
    """

    def __init__(
        self,
        response: Response,
        exposure_area: np.ndarray,
        chosen: np.ndarray,
        statistic: Statistic,
        model: AbsorbedModel,
        fixed: np.ndarray,
    ):
        self.model, self.statistic = model, statistic
        self.channels = channels = np.flatnonzero(chosen)
        matrix = sparse.csr_array(response.matrix)[:, channels].multiply(response.arf[:, None])
        matrix = sparse.csr_array(matrix.multiply(exposure_area[channels][None, :]))
        # Photons that reach no channel of the band need not be computed.
        reached = np.flatnonzero(np.diff(matrix.indptr))
        first, last = (int(reached[0]), int(reached[-1]) + 1) if reached.size else (0, 0)
        matrix = matrix[first:last]
        is_dense = matrix.nnz > DENSE_SHARE * matrix.shape[0] * matrix.shape[1]
        self.matrix = matrix.toarray() if is_dense else matrix
        self.energy_lo, self.energy_hi = response.energy_lo[first:last], response.energy_hi[first:last]
        emission = model.emission
        self.low = np.array([self._inner(emission.low), COLUMN_RANGE[0]])
        self.high = np.array([self._inner(emission.high), COLUMN_RANGE[1]])
        self.free = np.isnan(fixed)
        self.fixed = np.array([self._inner(fixed[0]), fixed[1]])

    def _inner(self, shape: Any) -> Any:
        return np.log(shape) if self.model.emission.is_temperature else shape

    def outer(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shape parameter (S,) and nH (S,) of positions (S, 2)."""
        shape = positions[:, 0]
        if self.model.emission.is_temperature:
            shape = np.exp(shape)
        return np.clip(shape, self.model.emission.low, self.model.emission.high), positions[:, 1]

    def source(self, positions: np.ndarray, amount: Amount | None = None) -> np.ndarray:
        """Expected source counts (S, N) for an amount of 1 (None: the norm) at positions (S, 2)."""
        shape, column = self.outer(positions)
        folded = self.model.photon_flux(self.energy_lo, self.energy_hi, shape, column) @ self.matrix
        return folded if amount is None else folded / np.maximum(amount(shape, column), 1e-300)[:, None]

    def best_norm(self, source: np.ndarray, start: float | None = None) -> np.ndarray:
        """The factors (S,), >= 0, of source counts (S, N) that minimise the statistic: Newton's method in brackets.

        Args:
            start: a factor that is near, if one is known: fewer steps, and the same result.
        """
        statistic, total = self.statistic, source.sum(axis=1)
        low = np.zeros(len(source))
        # At this one the model has all the counts: a background only lowers it.
        all_counts = statistic.counts.sum() / np.where(total > 0, total, np.inf)
        high, norm = all_counts.copy(), all_counts.copy()
        if start:  # from far below, Newton's steps do no more than double it
            norm = np.clip(start, 1e-6 * all_counts, all_counts)
        for _ in range(100):
            slopes, curvatures = statistic.slope_and_curvature(norm[:, None] * source)
            slope, curvature = (source * slopes).sum(axis=1), (source**2 * curvatures).sum(axis=1)
            high, low = np.where(slope > 0, norm, high), np.where(slope > 0, low, norm)
            step = np.divide(slope, curvature, out=np.full(len(norm), np.inf), where=curvature > 0)
            new = np.where((norm - step > low) & (norm - step < high), norm - step, low + 0.1 * (high - low))
            done = (np.abs(new - norm) <= 1e-10 * norm) | (new <= 1e-12 * all_counts)
            norm = new
            if done.all():
                break
        return np.where(norm <= 1e-12 * all_counts, 0.0, norm)

    def evaluate(self, position: np.ndarray, amount: Amount | None = None, value: float | None = None) -> Point:
        """The point at a position (2,): with its best norm, or with the amount held at a value."""
        source = self.source(position[None], amount)
        norm = float(self.best_norm(source)[0]) if value is None else value
        return Point(position, norm, float(self.statistic.value(norm * source)[0]))

    def minimise(
        self,
        start: np.ndarray,
        *,
        held: int | None = None,
        amount: Amount | None = None,
        value: float | None = None,
    ) -> Point:
        """The best point near a position (2,).

        Args:
            start: where to begin.
            held: 0 or 1: shape or nH stays as it is in `start`.
            amount, value: hold this quantity at this value, in place of the best norm.

        Returns:
            `norm` counts the amount, if one is given.
        """
        free = self.free.copy()
        if held is not None:
            free[held] = False
        free = np.flatnonzero(free)
        best = self.evaluate(start, amount, value)
        if not free.size:
            return best
        scale = self._scale(best, free, amount)

        def objective(scaled: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal best
            position = start.copy()
            position[free] = np.clip(scaled * scale, self.low[free], self.high[free])
            source, derivative = self._with_derivatives(position, free, amount)
            norm = float(self.best_norm(source[None], best.norm)[0]) if value is None else value
            statistic = float(self.statistic.value(norm * source))
            if statistic < best.statistic:
                best = Point(position, norm, statistic)
            # At the best norm the statistic does not change with it: no term of its derivative.
            return statistic, norm * scale * (derivative @ self.statistic.slope(norm * source))

        bounds = list(zip(self.low[free] / scale, self.high[free] / scale))
        options = {"ftol": 1e-12, "gtol": 1e-5, "maxiter": 60}
        for _ in range(4):  # the tables of some models have small kinks, at which a line search can end early
            before = best.statistic
            minimize(
                objective, best.position[free] / scale, jac=True, method="L-BFGS-B", bounds=bounds, options=options
            )
            if before - best.statistic < 1e-4:
                break
        return best

    def _with_derivatives(
        self, position: np.ndarray, free: np.ndarray, amount: Amount | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Source counts (N,) for an amount of 1, and their derivatives (F, N) in the free coordinates."""
        above, below = np.tile(position, (free.size, 1)), np.tile(position, (free.size, 1))
        row = np.arange(free.size)
        above[row, free] = np.minimum(position[free] + DERIVATIVE_STEPS[free], self.high[free])
        below[row, free] = np.maximum(position[free] - DERIVATIVE_STEPS[free], self.low[free])
        source = self.source(np.concatenate([position[None], above, below]), amount)
        width = (above - below)[row, free]
        return source[0], (source[1 : 1 + free.size] - source[1 + free.size :]) / width[:, None]

    def tangent(self, point: Point) -> tuple[np.ndarray, np.ndarray]:
        """Expected source counts (N,) at a point, and their derivatives (F + 1, N) in the norm and free coordinates.

        A coordinate at the end of its range is left out: it is not free to move.
        """
        inside = (point.position > self.low) & (point.position < self.high)
        source, derivative = self._with_derivatives(point.position, np.flatnonzero(self.free & inside), None)
        return point.norm * source, np.concatenate([source[None], point.norm * derivative])

    def standard_errors(self, point: Point) -> np.ndarray:
        """About the standard errors (2,) of shape and nH, each by itself; where the search for limits begins."""
        errors = np.zeros(2)
        free = np.flatnonzero(self.free)
        errors[free] = self._scale(point, free, None) if free.size else 0.0
        return errors

    def amount_limits(
        self, best: Point, value: float, amount: Amount | None, rise: float
    ) -> tuple[float | None, float | None]:
        """Limits of the norm (amount None) or of a flux, whose best value is `value`; see `profile.profile_limits`.

        Raises:
            BetterMinimum: the profile goes below `best`.
        """
        source = self.source(best.position[None], amount)[0]
        expected = np.maximum(value * source + self.statistic.background(value * source), 1e-10)
        total = max(float(source.sum()), 1e-300)
        step = max(1.0 / np.sqrt(float((source**2 / expected).sum()) + 1e-300), 0.3 / total)

        def refit(at: float, start: np.ndarray) -> Point:
            return self.minimise(start, amount=amount, value=at)

        return profile_limits(refit, best, value, step, (0.0, np.inf), rise)

    def _scale(self, point: Point, free: np.ndarray, amount: Amount | None) -> np.ndarray:
        """About the standard errors (F,) of the free coordinates at a point: the search takes steps of this size."""
        source, derivative = self._with_derivatives(point.position, free, amount)
        expected = np.maximum(point.norm * source + self.statistic.background(point.norm * source), 1e-10)
        information = ((point.norm * derivative) ** 2 / expected).sum(axis=1)
        span = (self.high - self.low)[free]
        return np.clip(1.0 / np.sqrt(np.maximum(information, 1e-30)), 1e-5 * span, 0.1 * span)

    def best(self) -> Point:
        """The best point of all: the local minima of a grid over the free parameters, followed to the end."""
        shapes = self._inner(self.model.emission.starts) if self.free[0] else self.fixed[:1]
        columns = COLUMN_STARTS if self.free[1] else self.fixed[1:]
        grid = np.stack(np.meshgrid(shapes, columns, indexing="ij"), axis=-1).reshape(-1, 2)
        source = self.source(grid)
        norm = self.best_norm(source)
        statistic = self.statistic.value(norm[:, None] * source).reshape(shapes.size, columns.size)
        padded = np.pad(statistic, 1, constant_values=np.inf)
        lowest = np.min([padded[i : i + shapes.size, j : j + columns.size] for i in range(3) for j in range(3)], axis=0)
        minima = np.flatnonzero((statistic <= lowest).ravel())
        minima = minima[np.argsort(statistic.ravel()[minima], kind="stable")][:NUM_POLISHED]
        return min((self.minimise(grid[index]) for index in minima), key=lambda point: point.statistic)
