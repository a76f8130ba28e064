"""Photon lists to what Axia's encoder reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers.feature_extraction_utils import BatchFeature

from chandraclip.catalog.photon_lists import photons_in_band
from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.models.axia_encoder import photon_features
from chandraclip.models.batches import as_columns
from chandraclip.models.columns import column_names, list_column
from chandraclip.models.event_transformer.feature_extraction_event_transformer import EventFeatureExtractor
from chandraclip.models.feature_extraction import ColumnFeatureExtractor

TIME_COLUMN = 0  # of the event transformer's `event_values`: the place of a photon in [0, 1]


class AxiaFeatureExtractor(ColumnFeatureExtractor):
    """The first photons of a list, a histogram of energies, a periodogram and three numbers (`photon_features`).

    As published, photons later than `window` after the first and beyond `energy_min`-`energy_max` keV are left out, and
    of the rest the first `max_events` are read one by one; good time is not known. What the loss needs is made from the
    whole list and its good time, as for the event transformer. A list without energies is masked out, as one that is
    null.

    Args:
        max_events: photons a list that are read one by one.
        window: s (8 h).
        energy_min, energy_max: keV.
        num_spectrum_bins: equal bins of 0.5-7 keV.
        num_frequencies: of the periodogram.
        mesh_size: equal cells of the observation over which the loss integrates the rate.
    """

    model_input_names = [  # noqa: RUF012
        "event_values", "event_cu_seqlens", "event_mask", "event_spectrum", "event_periodogram", "event_meta",
    ]  # fmt: skip
    columns = ("event_time", "event_energy", "gti_start", "gti_stop")
    optional_columns = ("gti_start", "gti_stop")

    def __init__(
        self,
        max_events: int = 512,
        window: float = 28_800.0,
        energy_min: float = 0.5,
        energy_max: float = 8.0,
        num_spectrum_bins: int = 64,
        num_frequencies: int = 50,
        mesh_size: int = 128,
        **kwargs: Any,
    ):
        if not photon_features.SPECTRUM_BAND[0] <= energy_min < energy_max:
            raise ValueError(f"the band {energy_min}-{energy_max} keV is empty, or begins below that of the histogram")
        if min(max_events, num_spectrum_bins, num_frequencies, mesh_size) < 1 or not window > 0:
            raise ValueError("max_events, window, num_spectrum_bins, num_frequencies and mesh_size must be positive")
        super().__init__(**kwargs)
        self.max_events = max_events
        self.window = window
        self.energy_min = energy_min
        self.energy_max = energy_max
        self.num_spectrum_bins = num_spectrum_bins
        self.num_frequencies = num_frequencies
        self.mesh_size = mesh_size

    def __call__(self, batch: Any, return_tensors: str | None = "pt") -> BatchFeature:
        """
        Args:
            batch: one row, a list of rows, dataset columns or a `Dataset` (see `as_columns`) with event_time (s),
                event_energy (keV) and, if there are any, gti_start and gti_stop (s, same zero).
            return_tensors: "pt", "np" or None.

        Returns:
            event_values (T, 5) float32 and event_cu_seqlens (B + 1,) int64, row i is event_values[cu[i]:cu[i + 1]];
            event_spectrum (B, num_spectrum_bins), event_periodogram (B, num_frequencies), event_meta (B, 3) float32;
            event_mask (B,) bool, False where times or energies are null, or no energy of a list is known. To train on,
            of the whole list: event_time (N,) float32 in [0, 1], event_band (N,) int64, likelihood_cu_seqlens
            (B + 1,) int64 and mesh_weight (B, mesh_size), see `EventFeatureExtractor`; event_span (B, 2) float64 s,
            where [0, 1] begins, with the zero of the dataset's event_time, and how long it is.

        Raises:
            KeyError: a column is missing.
            ValueError: lists of different lengths in one row; a column that holds something else.
        """
        batch = as_columns(batch)
        time, energy = (list_column(batch, name, np.float64) for name in self.columns[:2])
        if time is None or energy is None:
            raise KeyError(f"events need the columns event_time and event_energy, the batch has {column_names(batch)}")
        whole, mask = photons_in_band(time, energy, self.energy_min, self.energy_max)
        photons = whole.take(photon_features.from_first_photon(whole) <= self.window)
        values = photon_features.photon_values(photons)
        rank = np.arange(len(photons.rows)) - photons.offsets[photons.rows]
        read = np.minimum(photons.counts, self.max_events)
        branches = {
            "event_spectrum": photon_features.log_histogram(photons, self.num_spectrum_bins),
            "event_periodogram": photon_features.log_periodogram(photons, self.num_frequencies),
            "event_meta": photon_features.meta_values(photons),
        }
        return BatchFeature(
            {
                "event_values": values[rank < self.max_events].astype(np.float32),
                "event_cu_seqlens": np.concatenate([[0], np.cumsum(read)]).astype(np.int64),
                "event_mask": mask,
                **{name: value.astype(np.float32) for name, value in branches.items()},
                **self._likelihood(batch, time, energy, mask),
            },
            tensor_type=return_tensors,
        )

    def _likelihood(self, batch: Any, time: Ragged, energy: Ragged, mask: np.ndarray) -> dict[str, np.ndarray]:
        """The whole lists in their good time, as the event transformer is trained on them."""
        start, stop = (list_column(batch, name, np.float64) for name in self.columns[2:])
        columns = {"event_time": _only(time, mask), "event_energy": _only(energy, mask)}
        if start is not None and stop is not None:
            columns |= {"gti_start": start, "gti_stop": stop}
        made = EventFeatureExtractor(mesh_size=self.mesh_size)(columns, "np")
        return {
            "event_time": made["event_values"][:, TIME_COLUMN],
            "event_band": made["event_band"],
            "likelihood_cu_seqlens": made["event_cu_seqlens"],
            "mesh_weight": made["mesh_weight"],
            "event_span": made["event_span"],
        }


def _only(column: Ragged, rows: np.ndarray) -> Ragged:
    """The lists of a (B,) mask; the others null."""
    lengths = np.where(rows, np.diff(column.offsets), 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Ragged(column.values[rows[row_index(column)]], offsets, rows)
