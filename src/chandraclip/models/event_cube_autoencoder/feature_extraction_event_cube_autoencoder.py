"""Photon lists to E-t maps and E-t-dt cubes."""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers.feature_extraction_utils import BatchFeature

from chandraclip.catalog.event_cubes import histograms, min_max
from chandraclip.catalog.photon_lists import photons_in_band
from chandraclip.models.batches import as_columns
from chandraclip.models.columns import column_names, list_column
from chandraclip.models.feature_extraction import ColumnFeatureExtractor

MIN_MAX, RAW = "min_max", "none"


class EventCubeFeatureExtractor(ColumnFeatureExtractor):
    """Counts in bins of time and energy, and of intervals where `num_interval_bins` is given (`catalog.event_cubes`).

    As published (Dillmann et al. 2025), a list is scaled to its own first and last photon, and knows neither its
    duration nor its good time. A list without energies has no map: it is masked out, as one that is null. An empty
    list, and one without a photon of the band, is a map of zeros.

    Args:
        num_time_bins, num_energy_bins: of a map or cube.
        num_interval_bins: of a cube (16 as published); 0 for maps.
        energy_min, energy_max: keV.
        normalization: "min_max", each map or cube scaled to [0, 1], as the published autoencoders have it; or "none",
            the counts, of which the published principal components are.
    """

    model_input_names = ["event_values", "event_mask"]  # noqa: RUF012
    columns = ("event_time", "event_energy")

    def __init__(
        self,
        num_time_bins: int = 24,
        num_energy_bins: int = 16,
        num_interval_bins: int = 0,
        energy_min: float = 0.5,
        energy_max: float = 7.0,
        normalization: str = MIN_MAX,
        **kwargs: Any,
    ):
        if not 0 < energy_min < energy_max:
            raise ValueError(f"the band {energy_min}-{energy_max} keV is empty")
        if min(num_time_bins, num_energy_bins) < 1 or num_interval_bins < 0:
            raise ValueError(f"{num_time_bins} x {num_energy_bins} x {num_interval_bins} bins: there are none")
        if normalization not in (MIN_MAX, RAW):
            raise ValueError(f"normalization must be one of {(MIN_MAX, RAW)}, it is {normalization!r}")
        super().__init__(**kwargs)
        self.num_time_bins = num_time_bins
        self.num_energy_bins = num_energy_bins
        self.num_interval_bins = num_interval_bins
        self.energy_min = energy_min
        self.energy_max = energy_max
        self.normalization = normalization

    @property
    def num_bins(self) -> tuple[int, ...]:
        """Bins of time, energy and, of a cube, intervals."""
        bins = self.num_time_bins, self.num_energy_bins
        return (*bins, self.num_interval_bins) if self.num_interval_bins else bins

    def __call__(self, batch: Any, return_tensors: str | None = "pt") -> BatchFeature:
        """
        Args:
            batch: one row, a list of rows, dataset columns or a `Dataset` (see `as_columns`) with event_time (s) and
                event_energy (keV).
            return_tensors: "pt", "np" or None.

        Returns:
            event_values (B, time, energy) or (B, time, energy, interval) float32; event_mask (B,) bool, False where
            times or energies are null, or no energy of a list is known. Those rows are 0.

        Raises:
            KeyError: a column is missing.
            ValueError: lists of different lengths in one row; a column that holds something else.
        """
        batch = as_columns(batch)
        time, energy = (list_column(batch, name, np.float64) for name in self.columns)
        if time is None or energy is None:
            raise KeyError(f"maps need the columns event_time and event_energy, the batch has {column_names(batch)}")
        photons, mask = photons_in_band(time, energy, self.energy_min, self.energy_max)
        values = histograms(photons, self.num_bins, (self.energy_min, self.energy_max))
        scaled = min_max(values) if self.normalization == MIN_MAX else values.astype(np.float32)
        return BatchFeature({"event_values": scaled, "event_mask": mask}, tensor_type=return_tensors)
