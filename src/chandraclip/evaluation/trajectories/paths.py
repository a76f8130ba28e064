"""The observations of a source in order of time as a path: how long, how far, how straight, how far from its class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# name -> whether a larger value is what noise does not give
PATH_STATISTICS = {"length": True, "displacement": True, "turning": False, "class_distance": True}


def source_bounds(source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(S,) first and (S,) last row of each source.

    Args:
        source: (N,) int, non-decreasing.
    """
    first = np.flatnonzero(np.diff(source, prepend=source[:1] - 1))
    return first, np.append(first[1:], len(source)) - 1


def path_statistics(
    points: np.ndarray, source: np.ndarray, class_centres: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """What a path is like; distances are those of the space (of unit vectors 2 at most).

    Args:
        points: (R, N, D), R versions of the paths of all sources.
        source: (N,) int, non-decreasing: whose path a point is on, in order of time.
        class_centres: (N, D), the centre of the class of each point's source, NaN where it has none.

    Returns:
        name -> (R, S) float64: ``length``, the sum of all steps; ``displacement``, from the first observation to the
        last; ``turning``, degrees between a step and the next, the mean over the path (0: straight on; 120: what
        noise about one place gives; NaN of two observations); ``class_distance``, of the observations from the
        centre of the class, the mean (NaN without class).
    """
    points = np.asarray(points, dtype=np.float64)
    first, last = source_bounds(source)
    step = np.diff(points, axis=1)
    within = source[1:] == source[:-1]
    size = np.where(within, np.linalg.norm(step, axis=-1), 0.0)
    nothing = np.zeros((len(points), 1))
    length = np.add.reduceat(np.append(size, nothing, axis=1), first, axis=1)
    displacement = np.linalg.norm(points[:, last] - points[:, first], axis=-1)

    angle = np.zeros((len(points), len(source)))
    if len(source) > 2:
        product = size[:, 1:] * size[:, :-1]
        cosine = np.divide(
            (step[:, 1:] * step[:, :-1]).sum(axis=-1), product, out=np.zeros_like(product), where=product > 0
        )
        turns = within[1:] & within[:-1]
        angle[:, 1:-1] = np.where(turns, np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))), 0.0)
    turned = np.add.reduceat(angle, first, axis=1)
    turning = np.divide(turned, last - first - 1, out=np.full_like(turned, np.nan), where=last - first > 1)

    class_distance = np.full_like(length, np.nan)
    if class_centres is not None:
        distance = np.linalg.norm(points - class_centres, axis=-1)
        class_distance = np.add.reduceat(distance, first, axis=1) / (last - first + 1)
    return {"length": length, "displacement": displacement, "turning": turning, "class_distance": class_distance}


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """Where photon noise puts each observation of a source that does not change, estimated once from pilot draws.

    Attributes:
        source: (N,) int, non-decreasing.
        mean: (N, D), the mean over the draws.
        scatter: (N,) root of the mean square distance from it, in units of `whitening`.
        whitening: (D, D), which makes the noise of all observations together round.
    """

    source: np.ndarray
    mean: np.ndarray
    scatter: np.ndarray
    whitening: np.ndarray

    def take(self, row: np.ndarray, source: np.ndarray) -> NoiseModel:
        """Of some observations, whose sources are numbered anew."""
        return NoiseModel(source, self.mean[row], self.scatter[row], self.whitening)

    def departure(self, points: np.ndarray) -> np.ndarray:
        """How far observations of one source lie apart, beyond what their exposures, areas and backgrounds explain.

        The residual of each observation is what is left of it after `mean`; of these the source's own mean is taken
        off, since what all its observations share (pile-up, a pulsation) is no movement. The sum over its observations
        of the squares, each in units of its scatter.

        Args:
            points: (R, N, D).

        Returns:
            (R, S) float64, about the number of observations less one where nothing but noise moves the source.
        """
        first, last = source_bounds(self.source)
        residual = (np.asarray(points, dtype=np.float64) - self.mean) @ self.whitening
        weight = 1.0 / np.maximum(self.scatter, 1e-12) ** 2
        common = np.add.reduceat(weight[:, None] * residual, first, axis=1)
        common /= np.add.reduceat(weight, first)[:, None]
        residual -= np.repeat(common, last - first + 1, axis=1)
        return np.add.reduceat(weight * (residual**2).sum(axis=-1), first, axis=1)


def whitening_of(covariance: np.ndarray, floor: float) -> np.ndarray:
    """(D, D) root of the inverse of a covariance, whose eigenvalues are taken as `floor` times their mean at least."""
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, floor * values.mean())
    return (vectors / np.sqrt(values)) @ vectors.T
