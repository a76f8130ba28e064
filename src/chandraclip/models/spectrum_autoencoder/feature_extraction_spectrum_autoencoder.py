"""Count spectra of any instrument to fixed-length inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from transformers.feature_extraction_utils import BatchFeature

from chandraclip.catalog.ragged import Ragged
from chandraclip.catalog.resampling import (
    ENERGY_MAX,
    ENERGY_MIN,
    GROUP_COUNTS,
    NUM_POINTS,
    NetChannels,
    min_max,
    net_channels,
    resample,
)
from chandraclip.data.schema import MODALITY_COLUMNS
from chandraclip.models.batches import as_columns
from chandraclip.models.columns import column_names, is_null, list_column, scalar_column
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
        counts = list_column(batch, "spectrum_counts", np.float64)
        if counts is None:
            raise KeyError(f"a spectrum needs the column spectrum_counts, the batch has {column_names(batch)}")
        exposure = self._exposure(batch, counts)

        channels = net_channels(
            counts,
            list_column(batch, "channel_energy_edges", np.float64),
            list_column(batch, "spectrum_background", np.float64),
            scalar_column(batch, "background_scale"),
            list_column(batch, "spectrum_quality", np.int64),
            list_column(batch, "spectrum_grouping", np.int64),
            self.energy_min,
            self.energy_max,
        )
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

    def _exposure(self, batch: Mapping[str, Any] | pa.Table, counts: Ragged) -> np.ndarray:
        """(B,) s, NaN where not known."""
        exposure = scalar_column(batch, "exposure")
        if exposure is None:
            return np.full(len(counts), np.nan)
        wrong = np.flatnonzero((np.diff(counts.offsets) > 0) & ~(exposure > 0) & ~is_null(batch, "exposure"))
        if wrong.size:
            raise ValueError(
                f"row {wrong[0]}: a spectrum needs a positive exposure, this is {exposure[wrong[0]]} s "
                "(null or None where it is not known)"
            )
        return exposure

    def _normalize(self, rate: np.ndarray) -> np.ndarray:
        if self.normalization == "min_max":
            return min_max(rate)
        if self.normalization == "sqrt":
            root = np.sign(rate) * np.sqrt(np.abs(rate))
            scale = np.abs(root).max(axis=1, keepdims=True)
            return np.divide(root, scale, out=np.zeros_like(rate), where=scale > 0)
        scale = np.abs(rate).mean(axis=1, keepdims=True)
        return np.arcsinh(np.divide(rate, scale, out=np.zeros_like(rate), where=scale > 0))

    def _summary(self, channels: NetChannels, exposure: np.ndarray) -> np.ndarray:
        mask = channels.mask
        first = np.flatnonzero(np.diff(channels.rows, prepend=-1))
        total, background = (np.add.reduceat(values, first) for values in (channels.counts, channels.background))
        share = np.divide(background, total, out=np.where(background > 0, 1.0, 0.0), where=total > 0)
        net = np.maximum(total - background, 0.5)
        return np.stack(
            [np.log10(net / exposure[mask]), np.log10(np.maximum(total, 0.5)), np.clip(share, 0.0, 1.0)], axis=1
        )
