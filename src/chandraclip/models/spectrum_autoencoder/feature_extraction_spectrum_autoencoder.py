"""Count spectra of any instrument to fixed-length inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from transformers.feature_extraction_utils import BatchFeature

from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH
from chandraclip.catalog.quality import good_channels
from chandraclip.catalog.ragged import Ragged
from chandraclip.data.schema import MODALITY_COLUMNS
from chandraclip.models.batches import as_columns
from chandraclip.models.columns import column_names, interpolate_rows, is_null, list_column, row_index, scalar_column
from chandraclip.models.feature_extraction import ColumnFeatureExtractor

NORMALIZATIONS = ("min_max", "sqrt", "asinh")


class SpectrumFeatureExtractor(ColumnFeatureExtractor):
    """Background-subtracted count rates per keV, grouped, resampled at log-spaced energies and normalised a row.

    As the published pipeline (Pinciroli Vago et al. 2025, arXiv:2510.14102; MultimodalUniverse scripts/chandra): keep
    the channels of 0.5-8 keV that are not bad, subtract the background, group to at least 5 source counts as Sherpa's
    ``group_counts`` does, interpolate counts/s/keV to 400 points. Beyond the outermost group centres the value is that
    of the outermost group; a last group short of counts is kept.

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

    def __init__(
        self,
        num_points: int = 400,
        energy_min: float = 0.5,
        energy_max: float = 8.0,
        group_counts: int = 5,
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

        rows = row_index(counts)
        low, high = self._channel_edges(counts, list_column(batch, "channel_energy_edges", np.float64))
        background = self._scaled_background(batch, counts)
        middle = 0.5 * (low + high)
        keep = (middle >= self.energy_min) & (middle <= self.energy_max)
        flat = {"rows": rows, "counts": counts.values, "background": background, "low": low, "high": high}
        quality, grouping = (list_column(batch, f"spectrum_{name}", np.int64) for name in ("quality", "grouping"))
        good = good_channels(counts, quality, grouping)
        if good is not None:
            # The width of the bad channels up to each one: what a group that spans some does not cover.
            flat["bad_width"] = np.cumsum(np.where(good, 0.0, high - low))
            keep &= good
        flat = {name: values[keep] for name, values in flat.items()}
        if len(low) and np.any((np.diff(low) < 0) & (np.diff(rows) == 0)):  # a grating's decreasing energies
            order = np.lexsort((flat["low"], flat["rows"]))
            flat = {name: values[order] for name, values in flat.items()}

        mask = np.bincount(flat["rows"], minlength=len(counts)) > 0
        values, summary = np.zeros((len(counts), self.num_points)), np.zeros((len(counts), 3))
        if mask.any():
            known = np.nan_to_num(exposure, nan=1.0)  # every normalisation divides it out again
            values[mask] = self._normalize(self._resample(flat, known, mask))
            summary[mask] = self._summary(flat, exposure, mask)
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

    def _channel_edges(self, counts: Ragged, edges: Ragged | None) -> tuple[np.ndarray, np.ndarray]:
        """(total,) keV: lower and upper edge of every channel of every row."""
        lengths = np.diff(counts.offsets)
        rows = row_index(counts)
        channel = np.arange(len(counts.values)) - counts.offsets[rows]  # from 0
        low, high = ACIS_CHANNEL_WIDTH * channel, ACIS_CHANNEL_WIDTH * (channel + 1)
        if edges is None or not np.any(edges.valid):
            return low, high
        num_edges, given_rows = np.diff(edges.offsets), np.asarray(edges.valid)
        wrong = np.flatnonzero(given_rows & (lengths > 0) & (num_edges != lengths + 1))
        if wrong.size:
            raise ValueError(
                f"row {wrong[0]}: {lengths[wrong[0]]} channels need {lengths[wrong[0]] + 1} energy edges, "
                f"channel_energy_edges has {num_edges[wrong[0]]}"
            )
        given = given_rows[rows]
        first = edges.offsets[rows[given]] + channel[given]
        pair = edges.values[first], edges.values[first + 1]
        low[given], high[given] = np.minimum(*pair), np.maximum(*pair)
        return low, high

    def _scaled_background(self, batch: Mapping[str, Any] | pa.Table, counts: Ragged) -> np.ndarray:
        """(total,) background counts expected in the source region; 0 where there is no background."""
        scaled = np.zeros(len(counts.values))
        background = list_column(batch, "spectrum_background", np.float64)
        scale = scalar_column(batch, "background_scale")
        if background is None or scale is None:
            return scaled
        lengths, num_background = np.diff(counts.offsets), np.diff(background.offsets)
        has = (num_background > 0) & (lengths > 0) & np.isfinite(scale)
        wrong = np.flatnonzero(has & (num_background != lengths))
        if wrong.size:
            raise ValueError(
                f"row {wrong[0]}: {lengths[wrong[0]]} source and {num_background[wrong[0]]} background channels, of "
                "spectrum_counts and spectrum_background"
            )
        scaled[has[row_index(counts)]] = (background.values * np.nan_to_num(scale)[row_index(background)])[
            has[row_index(background)]
        ]
        return scaled

    def _resample(self, flat: dict[str, np.ndarray], exposure: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """(valid rows, num_points) net counts/s/keV, grouped and interpolated."""
        starts = _group_starts(flat["counts"], flat["rows"], self.group_counts)
        rows = flat["rows"][starts]
        net = np.add.reduceat(flat["counts"] - flat["background"], starts)
        last = np.append(starts[1:], len(flat["low"])) - 1
        low, high = flat["low"][starts], flat["high"][last]
        width = high - low
        if "bad_width" in flat:
            width = width - np.abs(flat["bad_width"][last] - flat["bad_width"][starts])
        rate = net / (exposure[rows] * width)
        valid = np.flatnonzero(mask)[:, None]
        limits = 0.0, 2.0 * self.energy_max
        return interpolate_rows(rows, 0.5 * (low + high), rate, valid, self.energies[None], limits)

    def _normalize(self, rate: np.ndarray) -> np.ndarray:
        if self.normalization == "min_max":
            low, high = rate.min(axis=1, keepdims=True), rate.max(axis=1, keepdims=True)
            return np.divide(rate - low, high - low, out=np.zeros_like(rate), where=high > low)
        if self.normalization == "sqrt":
            root = np.sign(rate) * np.sqrt(np.abs(rate))
            scale = np.abs(root).max(axis=1, keepdims=True)
            return np.divide(root, scale, out=np.zeros_like(rate), where=scale > 0)
        scale = np.abs(rate).mean(axis=1, keepdims=True)
        return np.arcsinh(np.divide(rate, scale, out=np.zeros_like(rate), where=scale > 0))

    def _summary(self, flat: dict[str, np.ndarray], exposure: np.ndarray, mask: np.ndarray) -> np.ndarray:
        total = np.bincount(flat["rows"], flat["counts"], minlength=len(mask))[mask]
        background = np.bincount(flat["rows"], flat["background"], minlength=len(mask))[mask]
        share = np.divide(background, total, out=np.where(background > 0, 1.0, 0.0), where=total > 0)
        net = np.maximum(total - background, 0.5)
        return np.stack(
            [np.log10(net / exposure[mask]), np.log10(np.maximum(total, 0.5)), np.clip(share, 0.0, 1.0)], axis=1
        )


def _group_starts(counts: np.ndarray, rows: np.ndarray, group_counts: int) -> np.ndarray:
    """First channel of every group: a group ends with the channel where its counts reach `group_counts`.

    One step a channel, all rows at once.

    Args:
        counts: (total,) counts, row after row.
        rows: (total,) non-decreasing row of each channel.
        group_counts: least counts a group.

    Returns:
        (groups,) increasing indices into `counts`; each row begins a group.
    """
    begins = np.diff(rows, prepend=-1) > 0
    first = np.flatnonzero(begins)
    lengths = np.diff(np.append(first, len(rows)))
    position = np.arange(len(rows)) - np.repeat(first, lengths)
    column = np.repeat(np.arange(len(first)), lengths)
    table = np.zeros((lengths.max(), len(first)))
    table[position, column] = counts
    closed = np.zeros(table.shape, dtype=bool)
    running = np.zeros(len(first))
    for channel, row in enumerate(table):
        running += row
        np.greater_equal(running, group_counts, out=closed[channel])
        running[closed[channel]] = 0.0
    return np.flatnonzero(begins | np.concatenate([[True], closed[position, column][:-1]]))
