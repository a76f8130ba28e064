"""Photon lists to the packed times and bands that PPAD is fitted to."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from transformers.feature_extraction_utils import BatchFeature

from chandraclip.catalog.bands import BANDS
from chandraclip.catalog.photon_lists import PhotonLists, photons_in_band
from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.catalog.resampling import channel_edges, scaled_background
from chandraclip.models.batches import as_columns
from chandraclip.models.columns import column_names, list_column, scalar_column
from chandraclip.models.feature_extraction import ColumnFeatureExtractor
from chandraclip.models.poisson_autodecoder.good_time import GoodTime

RATE_BANDS = ("s", "m", "h")
BAND_EDGES = (*(BANDS[name][0] for name in RATE_BANDS), BANDS["h"][1])  # keV
BACKGROUND_COLUMNS = ("spectrum_counts", "spectrum_background", "background_scale", "exposure", "channel_energy_edges")


class PoissonAutodecoderFeatureExtractor(ColumnFeatureExtractor):
    """Times in units of 8 h and CSC bands, all lists end to end, and what the rate is integrated over.

    As published: photons of 0.5-7 keV in the first 8 h; the rate is integrated from time 0 to the last photon, as if
    all of it were good time, and every photon is the source's. The options add what that leaves out. Time 0 is the
    start of the good time, that of `event_time` where a row has none; the published code takes the first photon, and
    shifts lists at random while training (`windows.cut_windows`).

    Args:
        time_scale: s, the unit of time.
        max_duration: s, photons after it are left out; None for lists of any length.
        use_good_time: whether the rate is integrated over the good time intervals alone, from their start to their
            end, and not from 0 to the last photon.
        use_background: whether the spectrum's background, scaled to the source region, is a known constant rate.
        mesh_size: steps of the mesh whose share of good time is given; as the model's.
    """

    model_input_names = ["event_time", "event_cu_seqlens", "event_mask"]  # noqa: RUF012
    columns: tuple[str, ...] = ("event_time", "event_energy", "gti_start", "gti_stop")
    optional_columns = ("gti_start", "gti_stop", *BACKGROUND_COLUMNS)

    def __init__(
        self,
        time_scale: float = 28_800.0,
        max_duration: float | None = 28_800.0,
        use_good_time: bool = False,
        use_background: bool = False,
        mesh_size: int = 2048,
        **kwargs: Any,
    ):
        if not time_scale > 0 or (max_duration is not None and not max_duration > 0) or mesh_size < 1:
            raise ValueError(
                f"time_scale {time_scale}, max_duration {max_duration}, mesh_size {mesh_size}: not positive"
            )
        super().__init__(**kwargs)
        self.time_scale = time_scale
        self.max_duration = max_duration
        self.use_good_time = use_good_time
        self.use_background = use_background
        self.mesh_size = mesh_size
        if use_background:
            self.columns = (*type(self).columns, *BACKGROUND_COLUMNS)

    def to_dict(self) -> dict[str, Any]:
        """What is saved: the options."""
        clone = copy(self)
        vars(clone).pop("columns", None)
        return super(PoissonAutodecoderFeatureExtractor, clone).to_dict()

    def __call__(self, batch: Any, return_tensors: str | None = "pt") -> BatchFeature:
        """
        Args:
            batch: one row, a list of rows, dataset columns or a `Dataset` (see `as_columns`) with event_time (s),
                event_energy (keV), gti_start, gti_stop (s, same zero), and with `use_background` the spectrum's
                columns. A row without good time intervals has one, from 0 to its last photon.
            return_tensors: "pt", "np" or None.

        Returns:
            event_time (T,) float32 in units of `time_scale`, in order, and event_band (T,) int64, 0, 1, 2 for 0.5-1.2,
            1.2-2 and 2-7 keV, of the photons that are kept; event_cu_seqlens (B + 1,) int64, row i is
            event_time[cu[i]:cu[i + 1]]; event_mask (B,) bool, False where the list is null, no energy of it is known,
            or it has no photon and, with `use_good_time`, no good time either; event_duration (B,) float32, what the
            loss integrates over;
            event_start (B,) float64, s, time 0; good_duration (B,) float32, the span of good time within
            `max_duration`, and good_after (B,) float32, good time past it; good_share (B, mesh_size) float32, of equal
            steps of good_duration. With `use_good_time` event_share, which is good_share for the loss; with
            `use_background` event_background (B, 3) float32, photons a unit of time.

        Raises:
            KeyError: a column is missing.
            ValueError: lists of different lengths in one row; a column that holds something else.
        """
        batch = as_columns(batch)
        time, energy, *interval = (list_column(batch, name, np.float64) for name in type(self).columns)
        if time is None or energy is None:
            raise KeyError(f"events need the columns event_time and event_energy, the batch has {column_names(batch)}")
        num_rows = len(time)
        without = Ragged(np.zeros(0), np.zeros(num_rows + 1, dtype=np.int64), np.zeros(num_rows, dtype=bool))
        gti_start, gti_stop = (without if column is None else column for column in interval)
        photons, usable = photons_in_band(time, energy, BAND_EDGES[0], BAND_EDGES[-1])
        _check_lengths(gti_start, gti_stop, "gti_start", "gti_stop")

        good_time = GoodTime.from_intervals(gti_start, gti_stop)
        rows, times, band = self._photons(photons, good_time.start)
        counts = np.bincount(rows, minlength=num_rows)
        last = np.zeros(num_rows)
        np.maximum.at(last, rows, times)
        limit = np.inf if self.max_duration is None else self.max_duration
        span = np.where(good_time.given, good_time.span, last)
        good_duration = np.minimum(span, limit)
        mesh = good_duration[:, None] * np.linspace(0.0, 1.0, self.mesh_size + 1)
        passed = np.where(good_time.given[:, None], good_time.before(mesh), mesh)
        steps = np.where(good_duration > 0, good_duration, 1.0)[:, None] / self.mesh_size
        good_after = np.where(good_time.given, good_time.before(span[:, None])[:, 0] - passed[:, -1], 0.0)
        mask = usable & ((counts > 0) | (self.use_good_time & good_time.given))
        tensors = {
            "event_time": (times / self.time_scale).astype(np.float32),
            "event_band": band,
            "event_cu_seqlens": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            "event_mask": mask,
            "event_duration": ((good_duration if self.use_good_time else last) / self.time_scale).astype(np.float32),
            "event_start": good_time.start,
            "good_duration": (good_duration / self.time_scale).astype(np.float32),
            "good_after": (np.maximum(good_after, 0.0) / self.time_scale).astype(np.float32),
            "good_share": np.clip(np.diff(passed, axis=1) / steps, 0.0, 1.0).astype(np.float32),
        }
        if self.use_good_time:
            tensors["event_share"] = tensors["good_share"]
        if self.use_background:
            tensors["event_background"] = (background_rates(batch) * self.time_scale).astype(np.float32)
        return BatchFeature(tensors, tensor_type=return_tensors)

    def _photons(self, photons: PhotonLists, start: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(T,) row, time in s since the start, and band of the photons that are kept, in order of row and time."""
        times = np.maximum(photons.time - start[photons.rows], 0.0)  # rounding puts some before the good time
        band = np.minimum(np.searchsorted(BAND_EDGES, photons.energy, "right") - 1, len(RATE_BANDS) - 1)
        keep = times <= (np.inf if self.max_duration is None else self.max_duration)
        return photons.rows[keep], times[keep], band[keep]


def background_rates(batch: Any) -> np.ndarray:
    """(B, 3) background photons/s in the source region and the bands s, m and h; 0 where a row has no background.

    A channel counts in the band that its middle lies in.

    Args:
        batch: columns of the spectrum (`BACKGROUND_COLUMNS`).
    """
    counts, background = (list_column(batch, name, np.float64) for name in BACKGROUND_COLUMNS[:2])
    scale, exposure = (scalar_column(batch, name) for name in BACKGROUND_COLUMNS[2:4])
    if counts is None or background is None or scale is None or exposure is None:
        raise KeyError(f"a background needs the columns {BACKGROUND_COLUMNS[:4]}, the batch has {column_names(batch)}")
    low, high = channel_edges(counts, list_column(batch, "channel_energy_edges", np.float64))
    expected = scaled_background(counts, background, scale)
    band = np.searchsorted(BAND_EDGES, 0.5 * (low + high), "right") - 1
    inside = (band >= 0) & (band < len(RATE_BANDS))
    place = row_index(counts)[inside] * len(RATE_BANDS) + band[inside]
    total = np.bincount(place, expected[inside], minlength=len(counts) * len(RATE_BANDS))
    rate = total.reshape(-1, len(RATE_BANDS)) / exposure[:, None]
    return np.where(np.isfinite(rate), np.maximum(rate, 0.0), 0.0)


def _check_lengths(left: Ragged, right: Ragged, left_name: str, right_name: str) -> None:
    wrong = np.flatnonzero(np.diff(left.offsets) != np.diff(right.offsets))
    if wrong.size:
        lengths = [np.diff(column.offsets)[wrong[0]] for column in (left, right)]
        raise ValueError(f"row {wrong[0]}: {lengths[0]} values of {left_name} and {lengths[1]} of {right_name}")
