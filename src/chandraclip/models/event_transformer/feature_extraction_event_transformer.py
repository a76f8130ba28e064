"""Photon lists of any length to packed inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers.feature_extraction_utils import BatchFeature

from chandraclip.catalog.bands import BANDS
from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.models.batches import as_columns
from chandraclip.models.columns import column_names, list_column, scalar_column
from chandraclip.models.draws import UNSIGNED_GOLDEN, mix_array
from chandraclip.models.event_transformer.photon_lists import (
    OUT_OF_BAND,
    UNKNOWN_BAND,
    GoodTime,
    Photons,
    frame_times,
)
from chandraclip.models.feature_extraction import ColumnFeatureExtractor

# Numbers a photon, in the order of `event_values`.
FEATURES = ("time", "exposure_time", "log_energy")
RATE_BANDS = ("s", "m", "h")


class EventFeatureExtractor(ColumnFeatureExtractor):
    """Times and energies, and the good time intervals around them, as one packed array for the batch.

    A photon's features: its place between the first GTI start and the last GTI stop, in [0, 1]; the same counting good
    time only; log10 of its energy in keV, scaled to unit order, 0 where it is not known. What its neighbours say, and
    what a list as a whole says, is worked out by the model, which thins lists while training. Photons are put in order
    of time first, so the order of the input does not matter, and a gap between GTIs is not a lull.

    Photons outside `energy_min`-`energy_max` keV, or whose time is not finite, are left out; `event_summary` counts
    those that stay. A NaN is an energy that is not known, and a list without energies (null, or the column missing) has
    none: its photons stay. Times outside the GTIs (rounding) are moved to the nearest end of the observation.

    Args:
        energy_min, energy_max: keV, photons that are kept.
        mesh_size: equal cells of [0, 1] that `mesh_weight` describes.
        max_events: None, or the most photons a list to return, drawn at random, always the same ones: for speed, at a
            loss. `event_share` says which share of the list they are.
    """

    model_input_names = [  # noqa: RUF012
        "event_values", "event_cu_seqlens", "event_mask", "event_summary", "event_time", "event_band", "event_frame",
        "event_share",
    ]  # fmt: skip
    columns = ("event_time", "event_energy", "gti_start", "gti_stop")
    optional_columns = ("event_energy", "gti_start", "gti_stop")

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
                event_energy (keV; null or missing where it is not known), gti_start, gti_stop (s, same zero). Where a
                row has no GTI, or there are no such columns, its good time is from 0 to its last photon. `frame_time`
                (s, no column of the dataset) is estimated from the times where it is missing or null (`frame_times`).
            return_tensors: "pt", "np" or None.

        Returns:
            event_values (T, 3) float32; event_cu_seqlens (B + 1,) int64, row i is event_values[cu[i]:cu[i + 1]];
            event_mask (B,) bool, False where the list is null, or there is neither photon nor good time; event_summary
            (B, 3) float32: log10 photons (of at least 0.5), log10 exposure in s, log10 duration in s (each of at least
            1 ms); event_time (T,) float64, s of good time before the photon; event_band (T,) int64, 0, 1, 2 for
            0.5-1.2, 1.2-2 and 2-7 keV, -1 outside of them, -2 where energy is not known; event_frame (B,) float32 s;
            event_share (B,) float32, of the photons, that are here. To train on and to decode: event_key (B,) int64,
            a hash of the list; mesh_weight (B, mesh_size) float32, the good-time share of each cell; event_span (B, 2)
            float64 s, where [0, 1] begins, with the zero of event_time in the dataset, and how long it is; event_gti
            (G, 2) float64, good time in [0, 1], and event_gti_row (G,) int64, the list of each.

        Raises:
            KeyError: a column is missing.
            ValueError: lists of different lengths in one row; a column that holds something else.
        """
        batch = as_columns(batch)
        time, energy, gti_start, gti_stop = (
            list_column(batch, name, np.float64) for name in ("event_time", "event_energy", "gti_start", "gti_stop")
        )
        if time is None:
            raise KeyError(f"events need the column event_time, the batch has {column_names(batch)}")
        energy = _with_unknown(energy, time)
        without = Ragged(np.zeros(0), np.zeros(len(time) + 1, dtype=np.int64), np.zeros(len(time), dtype=bool))
        gti_start, gti_stop = (without if column is None else column for column in (gti_start, gti_stop))
        _check_lengths(time, energy, "event_time", "event_energy")
        _check_lengths(gti_start, gti_stop, "gti_start", "gti_stop")

        photons = self._photons(time, energy)
        good_time = GoodTime.from_columns(gti_start, gti_stop, photons, len(time))
        mask = np.asarray(time.valid) & ((photons.counts > 0) | good_time.given)
        frame = frame_times(photons, len(time))
        given = scalar_column(batch, "frame_time")
        if given is not None:
            frame = np.where(given >= 0, given, frame)
        counts = photons.counts
        summary = np.log10(
            [np.maximum(counts, 0.5), np.maximum(good_time.exposure, 1e-3), np.maximum(good_time.duration, 1e-3)]
        )
        share = np.ones(len(time))
        if self.max_events is not None and np.any(counts > self.max_events):
            photons = _at_random(photons, self.max_events)
            share = photons.counts / np.maximum(counts, 1)
        position = good_time.position(photons.rows, photons.time)
        elapsed = good_time.elapsed(photons.rows, position)
        log_energy = np.nan_to_num((np.log10(photons.energy) - 0.2) / 0.35)
        starts, stops = good_time.knots[0::2], good_time.knots[1::2]
        return BatchFeature(
            {
                "event_values": np.stack([position, elapsed, log_energy], axis=1).astype(np.float32),
                "event_cu_seqlens": np.concatenate([[0], np.cumsum(photons.counts)]).astype(np.int64),
                "event_mask": mask,
                "event_summary": np.where(mask, summary, 0.0).T.astype(np.float32),
                "event_time": elapsed * good_time.exposure[photons.rows],
                "event_band": _bands(photons.energy),
                "event_frame": frame.astype(np.float32),
                "event_share": np.where(counts > 0, share, 1.0).astype(np.float32),
                "event_key": _keys(photons),
                "mesh_weight": np.where(mask[:, None], good_time.cell_shares(self.mesh_size), 0.0).astype(np.float32),
                "event_span": np.stack([good_time.start, good_time.duration], axis=1),
                "event_gti": np.stack([starts, stops], axis=1),
                "event_gti_row": good_time.knot_rows[0::2].astype(np.int64),
            },
            tensor_type=return_tensors,
        )

    def _photons(self, time: Ragged, energy: Ragged) -> Photons:
        rows = row_index(time)
        outside = (energy.values < self.energy_min) | (energy.values > self.energy_max)  # False for NaN
        keep = np.isfinite(time.values) & ~outside
        rows, times, energies = rows[keep], time.values[keep], energy.values[keep]
        if np.any((np.diff(times) <= 0) & (np.diff(rows) == 0)):  # ties too: equal times are put in order of energy
            order = np.lexsort((energies, times, rows))
            times, energies = times[order], energies[order]
        return Photons(rows, times, energies, np.bincount(rows, minlength=len(time)))


def _with_unknown(energy: Ragged | None, time: Ragged) -> Ragged:
    """Energies in the lengths of the times, NaN in rows that have none."""
    lengths = np.diff(time.offsets)
    if energy is None:
        return Ragged(np.full(len(time.values), np.nan), time.offsets)
    absent = ~np.asarray(energy.valid) & (lengths > 0)
    if not absent.any():
        return energy
    lengths = np.where(absent, lengths, np.diff(energy.offsets))
    values = np.full(lengths.sum(), np.nan)
    values[np.repeat(~absent, lengths)] = energy.values
    return Ragged(values, np.concatenate([[0], np.cumsum(lengths)]), energy.valid)


def _bands(energy: np.ndarray) -> np.ndarray:
    edges = [BANDS["s"][0], BANDS["m"][0], BANDS["h"][0], BANDS["h"][1]]
    band = np.searchsorted(edges, energy, "right") - 1
    band[band == len(RATE_BANDS)] = OUT_OF_BAND
    band[np.isnan(energy)] = UNKNOWN_BAND
    return band.astype(np.int64)


def _ranks(counts: np.ndarray) -> np.ndarray:
    """(T,) uint64 place of each photon in its list, from 1."""
    return (np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + 1).astype(np.uint64)


def _keys(photons: Photons) -> np.ndarray:
    """(B,) int64, a hash of each list's times: the same in any batch."""
    bits = np.ascontiguousarray(photons.time, dtype=np.float64).view(np.uint64)
    with np.errstate(over="ignore"):
        total = np.cumsum(mix_array(bits + _ranks(photons.counts) * UNSIGNED_GOLDEN), dtype=np.uint64)
        total = np.concatenate([np.zeros(1, dtype=np.uint64), total])
        end = np.cumsum(photons.counts)
        return (total[end] - total[end - photons.counts]).view(np.int64)


def _at_random(photons: Photons, most: int) -> Photons:
    """At most `most` photons a row: those whose place in the list has the smallest hashes."""
    with np.errstate(over="ignore"):
        drawn = mix_array(_ranks(photons.counts) * UNSIGNED_GOLDEN)
    order = np.lexsort((drawn, photons.rows))
    keep = np.sort(order[_ranks(photons.counts) <= most])
    return Photons(photons.rows[keep], photons.time[keep], photons.energy[keep], np.minimum(photons.counts, most))


def _check_lengths(left: Ragged, right: Ragged, left_name: str, right_name: str) -> None:
    wrong = np.flatnonzero(np.diff(left.offsets) != np.diff(right.offsets))
    if wrong.size:
        row = wrong[0]
        lengths = [np.diff(column.offsets)[row] for column in (left, right)]
        raise ValueError(f"row {row}: {lengths[0]} values of {left_name} and {lengths[1]} of {right_name}")
