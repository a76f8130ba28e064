"""Photon lists of any length to packed inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers.feature_extraction_utils import BatchFeature

from chandraclip.catalog.bands import BANDS
from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.catalog.resampling import interpolate_rows
from chandraclip.models.batches import as_columns
from chandraclip.models.columns import column_names, list_column
from chandraclip.models.feature_extraction import ColumnFeatureExtractor

# Numbers a photon, in the order of `event_values`.
FEATURES = ("time", "exposure_time", "log_energy", "log_interval_before", "log_interval_after")
RATE_BANDS = ("s", "m", "h")
_SHORTEST_INTERVAL = 1e-4  # of the mean interval; two photons of one readout frame have interval 0


class EventFeatureExtractor(ColumnFeatureExtractor):
    """Times and energies, and the good time intervals around them, as one packed array for the batch.

    A photon's features: its place between the first GTI start and the last GTI stop, in [0, 1]; the same counting good
    time only; log10 of its energy in keV, scaled to unit order; log10 of the good time since the photon before and
    until the next, in mean intervals (from the start and to the end of the good time for the outermost). Photons are
    put in order of time first, so the order of the input does not matter, and a gap between GTIs is not a lull.

    Photons outside `energy_min`-`energy_max` keV, or whose time or energy is not finite, are left out; `event_summary`
    counts those that stay. Times outside the GTIs (rounding) are moved to the nearest end of the observation.

    Args:
        energy_min, energy_max: keV, photons that are kept.
        mesh_size: equal cells of [0, 1] that `mesh_weight` describes.
        max_events: None, or the most photons a list to return, evenly spaced in order (the first half-step in, then
            every N/max_events-th): for speed, at a loss; features and summary are those of the full list.
    """

    model_input_names = ["event_values", "event_cu_seqlens", "event_mask", "event_summary"]  # noqa: RUF012
    columns = ("event_time", "event_energy", "gti_start", "gti_stop")
    optional_columns = ("gti_start", "gti_stop")

    def __init__(
        self,
        energy_min: float = 0.3,
        energy_max: float = 10.0,
        mesh_size: int = 128,
        max_events: int | None = None,
        **kwargs: Any,
    ):
        if not 0 < energy_min < energy_max:
            raise ValueError(f"the band {energy_min}-{energy_max} keV is empty")
        if mesh_size < 1 or (max_events is not None and max_events < 1):
            raise ValueError(f"mesh_size {mesh_size} and max_events {max_events} must be positive")
        super().__init__(**kwargs)
        self.energy_min = energy_min
        self.energy_max = energy_max
        self.mesh_size = mesh_size
        self.max_events = max_events

    def __call__(self, batch: Any, return_tensors: str | None = "pt") -> BatchFeature:
        """
        Args:
            batch: one row, a list of rows, dataset columns or a `Dataset` (see `as_columns`) with event_time (s),
                event_energy (keV), gti_start, gti_stop (s, same zero). Where a row has no GTI, or there are no such
                columns, its good time is from 0 to its last photon.
            return_tensors: "pt", "np" or None.

        Returns:
            event_values (T, 5) float32; event_cu_seqlens (B + 1,) int64, row i is event_values[cu[i]:cu[i + 1]];
            event_mask (B,) bool, False where the list is null, or there is neither photon nor good time; event_summary
            (B, 3) float32: log10 photons (of at least 0.5), log10 exposure in s, log10 duration in s (each of at least
            1 ms). To train on: event_time (T,) float32 in [0, 1]; event_band (T,) int64, 0, 1, 2 for 0.5-1.2, 1.2-2 and
            2-7 keV, else -1; mesh_weight (B, mesh_size) float32, the good-time share of each cell.

        Raises:
            KeyError: a column is missing.
            ValueError: lists of different lengths in one row; a column that holds something else.
        """
        batch = as_columns(batch)
        time, energy, gti_start, gti_stop = (
            list_column(batch, name, np.float64) for name in ("event_time", "event_energy", "gti_start", "gti_stop")
        )
        if time is None or energy is None:
            raise KeyError(f"events need the columns event_time and event_energy, the batch has {column_names(batch)}")
        without = Ragged(np.zeros(0), np.zeros(len(time) + 1, dtype=np.int64), np.zeros(len(time), dtype=bool))
        gti_start, gti_stop = (without if column is None else column for column in (gti_start, gti_stop))
        _check_lengths(time, energy, "event_time", "event_energy")
        _check_lengths(gti_start, gti_stop, "gti_start", "gti_stop")

        photons = self._photons(time, energy)
        good_time = _GoodTime.from_columns(gti_start, gti_stop, photons, len(time))
        mask = np.asarray(time.valid) & ((photons.counts > 0) | good_time.given)
        values, position = self._features(photons, good_time)
        band = (
            np.searchsorted([BANDS["s"][0], BANDS["m"][0], BANDS["h"][0], BANDS["h"][1]], photons.energy, "right") - 1
        )
        band[band == len(RATE_BANDS)] = -1

        counts = photons.counts
        if self.max_events is not None and np.any(counts > self.max_events):
            keep, counts = _evenly_spaced(photons.counts, self.max_events)
            values, position, band = values[keep], position[keep], band[keep]
        summary = np.log10(
            [
                np.maximum(photons.counts, 0.5),
                np.maximum(good_time.exposure, 1e-3),
                np.maximum(good_time.duration, 1e-3),
            ]
        )
        return BatchFeature(
            {
                "event_values": values.astype(np.float32),
                "event_cu_seqlens": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
                "event_mask": mask,
                "event_summary": np.where(mask, summary, 0.0).T.astype(np.float32),
                "event_time": position.astype(np.float32),
                "event_band": band.astype(np.int64),
                "mesh_weight": np.where(mask[:, None], good_time.cell_shares(self.mesh_size), 0.0).astype(np.float32),
            },
            tensor_type=return_tensors,
        )

    def _photons(self, time: Ragged, energy: Ragged) -> _Photons:
        rows = row_index(time)
        keep = (
            np.isfinite(time.values)
            & (energy.values >= self.energy_min)  # False for NaN
            & (energy.values <= self.energy_max)
        )
        rows, times, energies = rows[keep], time.values[keep], energy.values[keep]
        if np.any((np.diff(times) <= 0) & (np.diff(rows) == 0)):  # ties too: equal times are put in order of energy
            order = np.lexsort((energies, times, rows))
            times, energies = times[order], energies[order]
        return _Photons(rows, times, energies, np.bincount(rows, minlength=len(time)))

    def _features(self, photons: _Photons, good_time: _GoodTime) -> tuple[np.ndarray, np.ndarray]:
        """(T, 5) features, and the (T,) place in [0, 1]."""
        rows = photons.rows
        position = good_time.position(rows, photons.time)
        elapsed = good_time.elapsed(rows, position)  # share of the good time
        first = np.diff(rows, prepend=-1) > 0
        last = np.roll(first, -1)  # the first photon of all is a first, so this holds at the end too
        before = np.where(first, elapsed, np.diff(elapsed, prepend=0.0))
        after = np.where(last, 1.0 - elapsed, np.roll(before, -1))
        mean_interval = 1.0 / (photons.counts[rows] + 1.0)
        values = np.stack(
            [
                position,
                elapsed,
                (np.log10(photons.energy) - 0.2) / 0.35,
                np.log10(np.maximum(before / mean_interval, _SHORTEST_INTERVAL)),
                np.log10(np.maximum(after / mean_interval, _SHORTEST_INTERVAL)),
            ],
            axis=1,
        )
        return values, position


@dataclass
class _Photons:
    """Photons that are kept, in order of row and time: rows, time (s), energy (keV) are (T,), counts is (B,)."""

    rows: np.ndarray
    time: np.ndarray
    energy: np.ndarray
    counts: np.ndarray


@dataclass
class _GoodTime:
    """Good time of every row as a piecewise linear table over [0, 1], the span of its GTIs.

    `start`, `duration` and `exposure` are (B,) in s; `given` (B,) bool is False where the row had no GTI; `knots` and
    `shares` (K,), two or more a row, are places and the share of the good time elapsed there.
    """

    start: np.ndarray
    duration: np.ndarray
    exposure: np.ndarray
    given: np.ndarray
    knot_rows: np.ndarray
    knots: np.ndarray
    shares: np.ndarray

    @classmethod
    def from_columns(cls, gti_start: Ragged, gti_stop: Ragged, photons: _Photons, num_rows: int) -> _GoodTime:
        rows = row_index(gti_start)
        keep = gti_stop.values > gti_start.values
        rows, start, stop = rows[keep], gti_start.values[keep], gti_stop.values[keep]
        given = np.bincount(rows, minlength=num_rows) > 0
        last_time = np.zeros(num_rows)
        np.maximum.at(last_time, photons.rows, photons.time)
        without = np.flatnonzero(~given)
        rows = np.concatenate([rows, without])
        start = np.concatenate([start, np.zeros(len(without))])
        stop = np.concatenate([stop, np.where(last_time > 0, last_time, 1.0)[without]])
        order = np.lexsort((start, rows))
        rows, start, stop = rows[order], start[order], stop[order]

        first = np.flatnonzero(np.diff(rows, prepend=-1))
        origin = start[first]
        duration = np.maximum.reduceat(stop, first) - origin if num_rows else np.zeros(0)
        low, high = ((edge - origin[rows]) / duration[rows] for edge in (start, stop))
        # The union of the intervals, should some overlap: one begins where those before it end.
        reached = np.maximum.accumulate(high + 2.0 * rows) - 2.0 * rows
        low = np.maximum(low, np.where(np.diff(rows, prepend=-1) > 0, 0.0, np.append(0.0, reached[:-1])[: len(low)]))
        high = np.maximum(high, low)
        length = high - low
        share = np.bincount(rows, length, minlength=num_rows)
        elapsed = np.cumsum(length)
        elapsed -= (elapsed[first] - length[first])[rows] if num_rows else 0.0
        return cls(
            start=origin,
            duration=duration,
            exposure=share * duration,
            given=given,
            knot_rows=np.repeat(rows, 2),
            knots=np.stack([low, high], axis=1).reshape(-1),
            shares=np.stack([elapsed - length, elapsed], axis=1).reshape(-1) / np.repeat(share[rows], 2),
        )

    def position(self, rows: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Place of `time` (s) in [0, 1]."""
        return np.clip((time - self.start[rows]) / self.duration[rows], 0.0, 1.0)

    def elapsed(self, rows: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Share of the good time that lies before `position`."""
        if not len(self.start):
            return np.zeros_like(position)
        return interpolate_rows(self.knot_rows, self.knots, self.shares, rows, position, (0.0, 1.0))

    def cell_shares(self, num_cells: int) -> np.ndarray:
        """(B, num_cells) good-time share of equal cells of [0, 1]."""
        edges = np.linspace(0.0, 1.0, num_cells + 1)
        elapsed = self.elapsed(
            np.arange(len(self.start))[:, None], np.broadcast_to(edges, (len(self.start), len(edges)))
        )
        share = np.divide(self.exposure, self.duration)
        return np.clip(np.diff(elapsed, axis=1) * num_cells * share[:, None], 0.0, 1.0)


def _evenly_spaced(counts: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of at most `most` photons a row, evenly spaced in order, and how many each row keeps."""
    kept = np.minimum(counts, most)
    rows = np.repeat(np.arange(len(counts)), kept)
    rank = np.arange(kept.sum()) - np.repeat(np.cumsum(kept) - kept, kept)
    offset = np.cumsum(counts) - counts
    return offset[rows] + ((2 * rank + 1) * counts[rows]) // (2 * kept[rows]), kept


def _check_lengths(left: Ragged, right: Ragged, left_name: str, right_name: str) -> None:
    wrong = np.flatnonzero(np.diff(left.offsets) != np.diff(right.offsets))
    if wrong.size:
        row = wrong[0]
        lengths = [np.diff(column.offsets)[row] for column in (left, right)]
        raise ValueError(f"row {row}: {lengths[0]} values of {left_name} and {lengths[1]} of {right_name}")
