"""How alike two vectors of one source are: a Gaussian model of its observations, learned on sources of train.

Distances in latents weigh everything alike that the latents hold. What differs from one observation of a source to the
next, such as when its photons came, then hides what stays, such as their energies. Who wants to know whether two
observations are of one source can learn both from sources that were observed more than once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from sklearn.covariance import ledoit_wolf

from chandraclip.evaluation.regression import Standardizer

MIN_PAIRS = 50  # observations beyond the first of a source; of fewer a scatter is mostly noise


@dataclass(frozen=True)
class SourceMetric:
    """Log likelihood ratio of "one source" to "two" for pairs of vectors, in a basis in which it is a sum.

    A source has a mean of its own, drawn from a Gaussian, and its observations scatter around it by another, the same
    for all sources: probabilistic linear discriminant analysis (Ioffe 2006, ECCV, LNCS 3954, 531) with a full basis.

    Attributes:
        standardizer: of the vectors as they come.
        basis: (D, D); columns in which the scatter within sources is 1 and that of their means is diagonal.
        between: (D,) variances of the means in that basis, 0 where observations differ no less than sources do.
    """

    standardizer: Standardizer
    basis: np.ndarray
    between: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray, sources: np.ndarray) -> SourceMetric | None:
        """
        Args:
            values: (N, D), NaN where missing. sources: (N,) names.

        Returns:
            None where fewer than `MIN_PAIRS` observations are of a source that has another.
        """
        _, source, count = np.unique(sources, return_inverse=True, return_counts=True)
        if len(sources) - len(count) < MIN_PAIRS:
            return None
        standardizer = Standardizer.fit(values)
        scaled = standardizer(values)
        means = np.zeros((len(count), scaled.shape[1]))
        np.add.at(means, source, scaled)
        means /= count[:, None]
        several = count[source] > 1
        # Deviations from a mean of n are too small by 1 - 1/n; noise of the scatter is shrunk (Ledoit & Wolf 2004).
        freedom = np.sqrt(count / np.maximum(count - 1, 1))[source]
        within, _ = ledoit_wolf(((scaled - means[source]) * freedom[:, None])[several], assume_centered=True)
        # Every source counts once, however often it was observed.
        weights = (1.0 / count)[source]
        centre = np.average(scaled, axis=0, weights=weights)
        total = np.cov(scaled, rowvar=False, aweights=weights, ddof=0).reshape(within.shape)
        floor = 1e-6 * np.trace(within) / len(within) + 1e-12  # columns that never differ
        within = within + floor * np.eye(len(within))
        variances, basis = scipy.linalg.eigh(total - within, within)
        shifted = Standardizer(standardizer.mean + centre * standardizer.scale, standardizer.scale)
        return cls(shifted, basis, np.maximum(variances, 0.0))

    def sides(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of (N, D) vectors those as queries (N, D) and as candidates (N, D), and (N,) offsets: query @ candidate -
        the candidate's offset is the log likelihood ratio, up to what is the same for all candidates of a query."""
        places, b = self.standardizer(values) @ self.basis, self.between
        product = b / (1.0 + 2.0 * b)
        square = 0.5 * b**2 / ((1.0 + b) * (1.0 + 2.0 * b))
        return places * product, places, (places**2) @ square
