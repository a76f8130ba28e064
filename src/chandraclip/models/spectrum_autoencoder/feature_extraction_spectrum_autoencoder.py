"""Count spectra of any instrument to fixed-length inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from transformers.feature_extraction_utils import BatchFeature

from chandraclip.catalog.quality import good_channels
from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.catalog.resampling import (
    ENERGY_MAX,
    ENERGY_MIN,
    GROUP_COUNTS,
    NUM_POINTS,
    NetChannels,
    channel_edges,
    interpolate_rows,
    net_channels,
    resample,
    smoothed_background,
)
from chandraclip.data.schema import MODALITY_COLUMNS
from chandraclip.models.batches import as_columns
from chandraclip.models.columns import background_columns, column_names, exposure_column, list_column
from chandraclip.models.feature_extraction import ColumnFeatureExtractor

NORMALIZATIONS = ("min_max", "sqrt", "asinh")


class SpectrumFeatureExtractor(ColumnFeatureExtractor):
    """Background-subtracted count rates per keV, grouped, resampled at log-spaced energies and normalised a row.

    As the published pipeline (`catalog.resampling`): the channels of 0.5-8 keV that are not bad, less the background,
    grouped to at least 5 source counts, interpolated as counts/s/keV to 400 points.

    Args:
        num_points: energies resampled at.
        energy_min, energy_max: keV, the band; also the first and last point.
        group_counts: least source counts a group; 1 or less for no grouping.
        normalization: "min_max" (published): to [0, 1]. "sqrt": signed square root over its largest magnitude. "asinh":
            arcsinh of the rate over its mean magnitude, which keeps negative net rates and compresses lines.

    Channels on ``channel_energy_edges`` (keV; increasing or decreasing), or the ACIS grid where that is null.
    """

    model_input_names = ["spectrum_values", "spectrum_summary", "spectrum_mask"]  # noqa: RUF012
    columns = MODALITY_COLUMNS["spectrum"]
    optional_columns = columns[1:]
    value_unit = "counts/s/keV, normalised"

    def __init__(
        self,
        num_points: int = NUM_POINTS,
        energy_min: float = ENERGY_MIN,
        energy_max: float = ENERGY_MAX,
        group_counts: int = GROUP_COUNTS,
        normalization: str = "min_max",
        **kwargs: Any,
    ):
        if normalization not in NORMALIZATIONS:
            raise ValueError(f"normalization must be one of {NORMALIZATIONS}, it is {normalization!r}")
        if num_points < 2:
            raise ValueError(f"num_points must be 2 or more, it is {num_points}")
        if not 0 < energy_min < energy_max:
            raise ValueError(f"the band {energy_min}-{energy_max} keV is empty")
        super().__init__(**kwargs)
        self.num_points = num_points
        self.energy_min = energy_min
        self.energy_max = energy_max
        self.group_counts = group_counts
        self.normalization = normalization

    @property
    def energies(self) -> np.ndarray:
        """(num_points,) keV, where spectra are resampled."""
        return np.geomspace(self.energy_min, self.energy_max, self.num_points)

    def __call__(self, batch: Any, return_tensors: str | None = "pt") -> BatchFeature:
        """
        Args:
            batch: one row, a list of rows, dataset columns or a `Dataset` (see `as_columns`) with spectrum_counts
                (required); spectrum_background, background_scale (no subtraction where null), exposure in s,
                channel_energy_edges in keV; spectrum_quality and spectrum_grouping (OGIP's), by which bad channels are
                left out as if they did not exist (`catalog.quality.good_channels`). Where the exposure is null, or
                there is no such column, the count rate is not known; the values do not depend on it.
            return_tensors: "pt", "np" or None.

        Returns:
            spectrum_values (B, num_points) float32; spectrum_summary (B, 3) float32: log10 net counts/s (of at least
            half a count; NaN where the exposure is not known, which the models read as an average rate), log10 counts
            (of at least 0.5), background / source counts in [0, 1]; spectrum_mask (B,) bool, False where counts are
            null or have no good channel in the band. Those rows are 0.

        Raises:
            KeyError: no column spectrum_counts.
            ValueError: an exposure that is given and not positive; lengths that do not match; a column that holds
                something else.
        """
        batch = as_columns(batch)
        counts, exposure, channels = self._read(batch)
        mask = channels.mask
        values, summary = np.zeros((len(counts), self.num_points)), np.zeros((len(counts), 3))
        if mask.any():
            known = np.nan_to_num(exposure, nan=1.0)  # every normalisation divides it out again
            values[mask] = self._normalize(resample(channels, known, self.energies, self.group_counts))
            summary[mask] = self._summary(channels, exposure)
        return BatchFeature(
            {
                "spectrum_values": values.astype(np.float32),
                "spectrum_summary": summary.astype(np.float32),
                "spectrum_mask": mask,
            },
            tensor_type=return_tensors,
        )

    def expected_counts(self, batch: Any, values: np.ndarray, *, keep_total: bool = True) -> Ragged:
        """The counts that values like those of `__call__` stand for: its inverse, with what it took from each row.

        The normalisation is undone with the least and largest rate (or the scale) of the row's own spectrum, which are
        thereby known and not reconstructed; the net rate, interpolated between the points and at least 0, is multiplied
        by exposure and channel width; the row's background is added, smoothed (`smoothed_background`). Beyond the band
        only the background is expected.

        Args:
            batch: as `__call__`.
            values: (B, num_points), e.g. a reconstruction.
            keep_total: scale the source to the net counts of the row in the band, where these are above 0. Lines
                between the centres of groups do not keep them: the points of 10-100 counts hold a quarter more.

        Returns:
            Counts >= 0 in every channel of spectrum_counts, in its lengths; empty where the row has no spectrum. Bad
            channels have what their neighbours suggest, and no background.

        Raises:
            KeyError, ValueError: as `__call__`.
        """
        batch = as_columns(batch)
        counts, exposure, channels = self._read(batch)
        mask = channels.mask
        rows = row_index(counts)
        known = np.nan_to_num(exposure, nan=1.0)
        rate = np.zeros((len(counts), self.num_points))
        if mask.any():
            observed = resample(channels, known, self.energies, self.group_counts)
            rate[mask] = self._denormalize(np.asarray(values, dtype=np.float64)[mask], observed)
        low, high, good, background = self._all_channels(batch, counts)
        width, middle = high - low, 0.5 * (low + high)
        energies = self.energies
        left = np.clip(np.searchsorted(energies, middle) - 1, 0, self.num_points - 2)
        share = np.clip((middle - energies[left]) / (energies[left + 1] - energies[left]), 0.0, 1.0)
        net = rate[rows, left] * (1.0 - share) + rate[rows, left + 1] * share
        net[(middle < self.energy_min) | (middle > self.energy_max)] = 0.0
        source = np.maximum(net, 0.0) * known[rows] * width
        if keep_total:
            seen = np.bincount(channels.rows, channels.counts - channels.background, minlength=len(counts))
            total = np.bincount(rows, source if good is None else source * good, minlength=len(counts))
            scale = np.divide(seen, total, out=np.ones(len(counts)), where=(seen > 0) & (total > 0))
            source *= scale[rows]
        return Ragged(source + background, counts.offsets, counts.valid)

    def values_of(self, batch: Any, expected: Ragged) -> np.ndarray:
        """Expected counts of any model on the points and scale of the row's own values: what the two have in common.

        The smoothed background is subtracted, the net rate per keV interpolated, and the row's own normalisation
        applied, so that for "min_max" an error is a share of the observed spectrum's range.

        Args:
            batch: as `__call__`.
            expected: total counts in every channel of spectrum_counts.

        Returns:
            (B, num_points) float64; 0 where the mask of `__call__` is False.

        Raises:
            KeyError, ValueError: as `__call__`; other lengths than those of spectrum_counts.
        """
        batch = as_columns(batch)
        counts, exposure, channels = self._read(batch)
        mask = channels.mask
        if not np.array_equal(expected.offsets, counts.offsets):
            raise ValueError("the expected counts have other lengths than spectrum_counts")
        result = np.zeros((len(counts), self.num_points))
        if not mask.any():
            return result
        known = np.nan_to_num(exposure, nan=1.0)
        low, high, good, background = self._all_channels(batch, counts)
        rate = expected.values - background
        rows, middle = row_index(counts), 0.5 * (low + high)
        rate = rate / (known[rows] * (high - low))
        keep = (middle >= self.energy_min) & (middle <= self.energy_max)
        keep = np.flatnonzero(keep if good is None else keep & good)
        keep = keep[np.lexsort((middle[keep], rows[keep]))]
        resampled = interpolate_rows(
            rows[keep],
            middle[keep],
            rate[keep],
            np.flatnonzero(mask)[:, None],
            self.energies[None],
            (0.0, 2.0 * self.energy_max),
        )
        result[mask] = self._normalize(resampled, resample(channels, known, self.energies, self.group_counts))
        return result

    def _read(self, batch: Mapping[str, Any] | pa.Table) -> tuple[Ragged, np.ndarray, NetChannels]:
        """spectrum_counts, (B,) exposure, and the channels of the band."""
        counts = list_column(batch, "spectrum_counts", np.float64)
        if counts is None:
            raise KeyError(f"a spectrum needs the column spectrum_counts, the batch has {column_names(batch)}")
        exposure = exposure_column(batch, counts)

        channels = net_channels(
            counts,
            list_column(batch, "channel_energy_edges", np.float64),
            *background_columns(batch),
            list_column(batch, "spectrum_quality", np.int64),
            list_column(batch, "spectrum_grouping", np.int64),
            self.energy_min,
            self.energy_max,
        )
        return counts, exposure, channels

    def _all_channels(
        self, batch: Mapping[str, Any] | pa.Table, counts: Ragged
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
        """(total,) each, in the band or not: lower and upper edges, which are good (None: all), smoothed background."""
        low, high = channel_edges(counts, list_column(batch, "channel_energy_edges", np.float64))
        quality, grouping = (list_column(batch, f"spectrum_{name}", np.int64) for name in ("quality", "grouping"))
        good = good_channels(counts, quality, grouping)
        return low, high, good, smoothed_background(counts, *background_columns(batch), high - low, good)

    def _normalize(self, rate: np.ndarray, observed: np.ndarray | None = None) -> np.ndarray:
        """(rows, num_points) rates on the scale of the row's own, or of another spectrum of the row."""
        low, scale = self._scale(rate if observed is None else observed)
        if self.normalization == "sqrt":
            rate = np.sign(rate) * np.sqrt(np.abs(rate))
        values = np.divide(rate - low, scale, out=np.zeros_like(rate), where=scale > 0)
        return np.arcsinh(values) if self.normalization == "asinh" else values

    def _denormalize(self, values: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """The rates that values stand for on the scale of observed ones, (rows, num_points) both."""
        low, scale = self._scale(observed)
        if self.normalization == "asinh":  # clipped, since a decoder is free to give what overflows
            values = np.sinh(np.clip(values, -50.0, 50.0))
        rate = low + scale * values
        return np.sign(rate) * rate**2 if self.normalization == "sqrt" else rate

    def _scale(self, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(rows, 1) zero point and unit of the normalised values."""
        if self.normalization == "min_max":
            low = rate.min(axis=1, keepdims=True)
            return low, rate.max(axis=1, keepdims=True) - low
        magnitude = np.abs(rate)
        if self.normalization == "sqrt":
            return np.zeros((len(rate), 1)), np.sqrt(magnitude.max(axis=1, keepdims=True))
        return np.zeros((len(rate), 1)), magnitude.mean(axis=1, keepdims=True)

    def _summary(self, channels: NetChannels, exposure: np.ndarray) -> np.ndarray:
        mask = channels.mask
        first = np.flatnonzero(np.diff(channels.rows, prepend=-1))
        total, background = (np.add.reduceat(values, first) for values in (channels.counts, channels.background))
        share = np.divide(background, total, out=np.where(background > 0, 1.0, 0.0), where=total > 0)
        net = np.maximum(total - background, 0.5)
        return np.stack(
            [np.log10(net / exposure[mask]), np.log10(np.maximum(total, 0.5)), np.clip(share, 0.0, 1.0)], axis=1
        )
