"""The counts that reconstructions are scored on, and the models of them that need no training but sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH, BANDS
from chandraclip.catalog.quality import good_channels
from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.catalog.resampling import channel_edges

BAND = BANDS["b"]
# The shapes of the mean and of PCA are on the channels of ACIS in the band; those of other detectors interpolate them.
FIRST_BIN = int(np.ceil(BAND[0] / ACIS_CHANNEL_WIDTH - 0.5))
NUM_BINS = int(np.floor(BAND[1] / ACIS_CHANNEL_WIDTH - 0.5)) - FIRST_BIN + 1
MIN_COUNTS = 50  # in the band, for a spectrum of train to tell of shapes
LEAST_SHARE = 1e-3  # no bin of a shape has less than this of an equal share of the counts
COLUMNS = ("spectrum_counts", "channel_energy_edges", "spectrum_quality", "spectrum_grouping")


@dataclass(frozen=True, eq=False)
class BandSpectra:
    """The good channels in 0.5-7 keV of N spectra, end to end.

    Attributes:
        rows: (total,) non-decreasing spectrum of each channel.
        channels: (total,) its place in the flat lists of the whole spectra.
        low, high: (total,) keV.
        num_rows: N.
    """

    rows: np.ndarray
    channels: np.ndarray
    low: np.ndarray
    high: np.ndarray
    num_rows: int

    @classmethod
    def of(cls, columns: Mapping[str, Any] | pa.Table) -> BandSpectra:
        """From Arrow columns of the dataset: spectrum_counts, and the others of `COLUMNS` where there are.

        Raises:
            ValueError: lists of one row that do not fit each other.
        """
        names = columns.column_names if isinstance(columns, pa.Table) else list(columns)
        lists = {
            name: Ragged.from_arrow(columns[name])
            for name in COLUMNS
            if name in names and not pa.types.is_null(columns[name].type)
        }
        counts = lists["spectrum_counts"]
        low, high = channel_edges(counts, lists.get("channel_energy_edges"))
        middle = 0.5 * (low + high)
        keep = (middle >= BAND[0]) & (middle <= BAND[1])
        good = good_channels(counts, lists.get("spectrum_quality"), lists.get("spectrum_grouping"))
        channels = np.flatnonzero(keep if good is None else keep & good)
        rows = row_index(counts)[channels]
        return cls(rows, channels, low[channels], high[channels], len(counts))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(N,) sums of (total,) values over the channels of each spectrum."""
        return np.bincount(self.rows, values, minlength=self.num_rows)

    @property
    def num_channels(self) -> np.ndarray:
        """(N,) channels scored."""
        return np.bincount(self.rows, minlength=self.num_rows)

    def binned(self, counts: np.ndarray) -> np.ndarray:
        """(N, NUM_BINS) counts on the channels of ACIS; a channel that spans several is shared by width.

        Args:
            counts: (total,).
        """
        edge_low, edge_high = self.low / ACIS_CHANNEL_WIDTH, self.high / ACIS_CHANNEL_WIDTH
        aligned = (np.abs(edge_low - edge_low.round()) < 1e-3) & (np.abs(edge_high - edge_low.round() - 1.0) < 1e-3)
        parts = np.where(aligned, 1, np.ceil(8.0 * (edge_high - edge_low))).astype(np.int64)
        part = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
        share = (part + 0.5) / np.repeat(parts, parts)
        place = np.repeat(edge_low, parts) + share * np.repeat(edge_high - edge_low, parts)
        bins = np.clip(np.floor(place).astype(np.int64) - FIRST_BIN, 0, NUM_BINS - 1)
        flat = np.repeat(self.rows, parts) * NUM_BINS + bins
        total = np.bincount(flat, np.repeat(counts / parts, parts), minlength=self.num_rows * NUM_BINS)
        return total.reshape(self.num_rows, NUM_BINS)

    def spread(self, shapes: np.ndarray, totals: np.ndarray) -> np.ndarray:
        """(total,) counts expected a channel where spectra have these shapes and totals.

        Args:
            shapes: (N, NUM_BINS) or (NUM_BINS,) >= 0, counts a channel of ACIS up to a factor.
            totals: (N,) counts in the band.
        """
        width = self.high - self.low
        place = np.clip(0.5 * (self.low + self.high) / ACIS_CHANNEL_WIDTH - 0.5 - FIRST_BIN, 0.0, NUM_BINS - 1.0)
        left = np.minimum(place.astype(np.int64), NUM_BINS - 2)
        share = place - left
        shapes = np.broadcast_to(shapes, (self.num_rows, NUM_BINS))
        density = (1.0 - share) * shapes[self.rows, left] + share * shapes[self.rows, left + 1]
        expected = density * width
        scale = np.divide(totals, self.sums(expected), out=np.zeros(self.num_rows), where=self.sums(expected) > 0)
        return expected * scale[self.rows]


@dataclass(frozen=True, eq=False)
class ShapeModel:
    """Mean and principal components of the shapes of many spectra, in units of their Poisson noise.

    A spectrum of n counts with shares p of them a bin scatters by sqrt(p / n): in that unit noise is alike in all bins
    and directions, and what exceeds it is how spectra differ.

    Attributes:
        mean: (NUM_BINS,) shares p, their mean over spectra.
        components: (K, NUM_BINS) orthonormal, the largest first.
        variance: (K,) of the components, above that of noise (Marchenko & Pastur 1967).
        num_rows: spectra it is of.
    """

    mean: np.ndarray
    components: np.ndarray
    variance: np.ndarray
    num_rows: int

    @classmethod
    def fit(cls, batches: Iterable[tuple[BandSpectra, np.ndarray]]) -> ShapeModel | None:
        """From the counts of train, batch after batch: (total,) each; None where no spectrum has `MIN_COUNTS`."""
        num_rows, inverse, total, products = 0, 0.0, np.zeros(NUM_BINS), np.zeros((NUM_BINS, NUM_BINS))
        for band, counts in batches:
            binned = band.binned(counts)
            number = binned.sum(axis=1)
            shares = binned[number >= MIN_COUNTS] / number[number >= MIN_COUNTS, None]
            num_rows += len(shares)
            inverse += (1.0 / number[number >= MIN_COUNTS]).sum()
            total += shares.sum(axis=0)
            products += shares.T @ shares
        if not num_rows:
            return None
        mean = np.maximum(total / num_rows, LEAST_SHARE / NUM_BINS)
        covariance = products / num_rows - np.outer(total, total) / num_rows**2
        values, vectors = np.linalg.eigh(covariance / np.sqrt(np.outer(mean, mean)))
        # Poisson noise adds its variance to every direction; of so many spectra, its largest chance direction has this.
        noise = inverse / num_rows * (1.0 + np.sqrt(NUM_BINS / num_rows)) ** 2
        variance = np.maximum(values[::-1] - noise, 0.0)
        return cls(mean, vectors[:, ::-1].T, variance, num_rows)

    def shapes(self, binned: np.ndarray, num_components: int) -> np.ndarray:
        """(N, NUM_BINS) shares of spectra given their counts, by the first components.

        A component counts by how much of it is signal at the spectrum's counts (the mean of the posterior of
        probabilistic PCA, Tipping & Bishop 1999), so that more components never fit noise.

        Args:
            binned: (N, NUM_BINS) counts.
        """
        number = np.maximum(binned.sum(axis=1, keepdims=True), 1.0)
        root = np.sqrt(self.mean)
        components, variance = self.components[:num_components], self.variance[:num_components]
        coordinates = ((binned / number - self.mean) / root) @ components.T
        coordinates *= variance / (variance + 1.0 / number)
        shapes = self.mean + root * (coordinates @ components)
        return np.maximum(shapes, LEAST_SHARE / NUM_BINS)
