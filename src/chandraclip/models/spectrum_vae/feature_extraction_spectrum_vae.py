"""Count spectra of any instrument to unfolded spectra on common energy bins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from transformers.feature_extraction_utils import BatchFeature

from chandraclip.catalog.quality import good_channels
from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.catalog.resampling import channel_edges, group_starts, interpolate_rows, scaled_background
from chandraclip.data.schema import MODALITY_COLUMNS
from chandraclip.models.columns import background_columns, column_names, list_column
from chandraclip.models.feature_extraction import ResponseFeatureExtractor
from chandraclip.models.spectrum_vae.folding import fold_rows


class UnfoldedSpectrumFeatureExtractor(ResponseFeatureExtractor):
    """Photons/cm2/s in logarithmic energy bins, the instrument divided out, each spectrum in units of its mean.

    After Quintin (talk): "unfolded spectra", 238 bins in 0.3-10 keV, scaled. How they were unfolded is not published;
    here as ISIS does it without a model (Nowak et al. 2005, ApJ 626, 1006, eq. 1), in groups of channels:

        density = sum of (counts - scaled background) / sum over channels of integral A(E) R(E, channel) dE

    with the row's own ARF A and RMF R: the counts over those of a flat spectrum, photons/cm2/keV; over the exposure,
    which the scaling divides out again, a flux. Channels are those of the band that are not bad and in which the
    instrument sees anything: an area of `min_area_share` of its largest or more. They are grouped to at least 5 source
    counts. A bin takes the mean density of the channels in it times its width; bins without such channels have
    `spectrum_seen_bins` False and the density of their neighbours. Negative values (background fluctuations) become 0,
    which a loss of the Poisson kind needs, and the row is divided by its mean.

    Responses come as `ResponseFeatureExtractor` says.

    Args:
        num_bins: logarithmic energy bins.
        energy_min, energy_max: keV, edges of the first and last.
        group_counts: least source counts a group of channels; 1 or less for no grouping.
        min_area_share: of the largest area of a row's channels, below which a channel is left out.
    """

    model_input_names = ["spectrum_values", "spectrum_seen_bins", "spectrum_mask"]  # noqa: RUF012
    columns = (*MODALITY_COLUMNS["spectrum"], "arf", "response_id")
    optional_columns = MODALITY_COLUMNS["spectrum"][1:]
    value_unit = "photons/cm2/s in a bin, over the mean"

    def __init__(
        self,
        num_bins: int = 238,
        energy_min: float = 0.3,
        energy_max: float = 10.0,
        group_counts: int = 5,
        min_area_share: float = 0.05,
        **kwargs: Any,
    ):
        if not 0 < energy_min < energy_max:
            raise ValueError(f"the band {energy_min}-{energy_max} keV is empty")
        if num_bins < 1 or not 0 <= min_area_share < 1:
            raise ValueError(f"num_bins {num_bins} must be positive and min_area_share {min_area_share} in [0, 1)")
        super().__init__(**kwargs)
        self.num_bins = num_bins
        self.energy_min = energy_min
        self.energy_max = energy_max
        self.group_counts = group_counts
        self.min_area_share = min_area_share

    @property
    def energy_edges(self) -> np.ndarray:
        """(num_bins + 1,) keV."""
        return np.geomspace(self.energy_min, self.energy_max, self.num_bins + 1)

    @property
    def energies(self) -> np.ndarray:
        """(num_bins,) keV, the logarithmic middles of the bins."""
        edges = self.energy_edges
        return np.sqrt(edges[:-1] * edges[1:])

    def __call__(self, batch: Any, return_tensors: str | None = "pt") -> BatchFeature:
        """
        Args:
            batch: one row, a list of rows, dataset columns or a `Dataset` (see `as_columns`) with spectrum_counts
                (required); spectrum_background, background_scale (no subtraction where null), channel_energy_edges in
                keV, spectrum_quality and spectrum_grouping; arf in cm2, and response_id or `response`.
            return_tensors: "pt", "np" or None.

        Returns:
            spectrum_values (B, num_bins) float32, not negative, of mean 1 over the bins that count, 0 throughout where
            no net counts are left; spectrum_seen_bins (B, num_bins) bool, bins that the instrument saw, of rows that
            have net counts; spectrum_mask (B,) bool, False where counts, arf or RMF are null or no channel is left.
            Those rows are 0.

        Raises:
            KeyError: no column spectrum_counts.
            ValueError: lengths that do not match; a response that is not at hand; a column that holds something
                else.
        """
        batch = self.resolve(batch)
        counts = list_column(batch, "spectrum_counts", np.float64)
        if counts is None:
            raise KeyError(f"a spectrum needs the column spectrum_counts, the batch has {column_names(batch)}")
        values = np.zeros((len(counts), self.num_bins))
        seen, mask = np.zeros(values.shape, dtype=bool), np.zeros(len(counts), dtype=bool)
        flat = self._channels(batch, counts)
        if len(flat["rows"]):
            mask[flat["rows"]] = True
            values[mask], seen[mask] = self._bins(flat, mask)
        return BatchFeature(
            {"spectrum_values": values.astype(np.float32), "spectrum_seen_bins": seen, "spectrum_mask": mask},
            tensor_type=return_tensors,
        )

    def _channels(self, batch: Mapping[str, Any], counts: Ragged) -> dict[str, np.ndarray]:
        """Row, counts, net counts, edges and rate of a flat spectrum of the channels in use, in order of energy."""
        low, high = channel_edges(counts, list_column(batch, "channel_energy_edges", np.float64))
        rows = row_index(counts)
        # Counts/s of one photon/cm2/s/keV at all energies.
        area = fold_rows(batch, counts, lambda _, edges: np.diff(edges))
        keep = (high > self.energy_min) & (low < self.energy_max) & np.isfinite(area) & (high > low)
        quality, grouping = (list_column(batch, f"spectrum_{name}", np.int64) for name in ("quality", "grouping"))
        good = good_channels(counts, quality, grouping)
        if good is not None:
            keep &= good
        square_cm = np.divide(area, high - low, out=np.zeros_like(area), where=keep)
        largest = np.zeros(len(counts))
        np.maximum.at(largest, rows, square_cm)
        keep &= (square_cm > 0) & (square_cm >= self.min_area_share * largest[rows])
        flat = {
            "rows": rows,
            "counts": counts.values,
            "net": counts.values - scaled_background(counts, *background_columns(batch)),
            "low": low,
            "high": high,
            "flat_rate": area,
        }
        order = np.flatnonzero(keep)
        order = order[np.lexsort((low[order], rows[order]))]  # a grating's energies may decrease
        return {name: column[order] for name, column in flat.items()}

    def _bins(self, flat: dict[str, np.ndarray], mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(valid rows, num_bins) scaled values, and whether the instrument saw the bin."""
        starts = group_starts(flat["counts"], flat["rows"], self.group_counts)
        density = np.add.reduceat(flat["net"], starts) / np.add.reduceat(flat["flat_rate"], starts)
        density = np.repeat(density, np.diff(np.append(starts, len(flat["rows"]))))
        # What a bin holds of a row is the difference of two running integrals at its edges.
        width = flat["high"] - flat["low"]
        knots = np.stack([flat["low"], flat["high"]], axis=1).ravel()
        edges, valid = self.energy_edges, np.flatnonzero(mask)[:, None]
        limits = 0.0, max(2.0 * self.energy_max, knots.max())
        photons, covered = (
            np.diff(
                interpolate_rows(np.repeat(flat["rows"], 2), knots, _running(values), valid, edges[None], limits),
                axis=1,
            )
            for values in (density * width, width)
        )
        seen = covered > 0.5 * np.diff(edges)
        seen[~seen.any(axis=1)] = covered[~seen.any(axis=1)] > 0
        density = np.divide(photons, covered, out=np.zeros_like(photons), where=seen)
        filled = _from_neighbours(density, seen) * np.diff(edges)
        values = np.maximum(filled, 0.0)
        mean = (values * seen).sum(axis=1, keepdims=True) / np.maximum(seen.sum(axis=1, keepdims=True), 1)
        has_photons = mean > 0
        return np.divide(values, mean, out=np.zeros_like(values), where=has_photons), seen & has_photons


def _running(values: np.ndarray) -> np.ndarray:
    """(2N,) the running sum before and after each of N values."""
    total = np.cumsum(values)
    return np.stack([np.append(0.0, total[:-1]), total], axis=1).ravel()


def _from_neighbours(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(N, M) values, those not known interpolated from a row's own; constant beyond its outermost."""
    rows, places = np.nonzero(known)
    have = np.flatnonzero(known.any(axis=1))
    result = np.zeros_like(values)
    if have.size:
        query, limits = np.arange(values.shape[1])[None], (0.0, float(values.shape[1]))
        result[have] = interpolate_rows(rows, places.astype(float), values[known], have[:, None], query, limits)
    return result
