"""Which detections a dataset keeps: the cuts of published samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Selection:
    """Cuts on what the catalogue gives of a detection; a row passes all of them.

    Attributes:
        min_counts: of src_cnts_aper_b, net counts in 0.5-7 keV.
        min_significance: of flux_significance_b.
        max_theta: arcmin off axis.
        min_events, max_events: photons in the event list, whatever their energy.
        min_livetime, max_livetime: s.
    """

    min_counts: float = -np.inf
    min_significance: float = -np.inf
    max_theta: float = np.inf
    min_events: int = 0
    max_events: float = np.inf
    min_livetime: float = 0.0
    max_livetime: float = np.inf

    def passes(self, columns: dict[str, Any]) -> np.ndarray:
        """(D,) bool, from columns of the dataset's schema.

        Args:
            columns: src_cnts_aper_b, flux_significance_b, theta, livetime, event_time (`Ragged`).
        """
        num_events = np.diff(columns["event_time"].offsets)
        return (
            (columns["src_cnts_aper_b"] >= self.min_counts)
            & (columns["flux_significance_b"] >= self.min_significance)
            & (columns["theta"] <= self.max_theta)
            & (num_events >= self.min_events)
            & (num_events <= self.max_events)
            & (columns["livetime"] >= self.min_livetime)
            & (columns["livetime"] <= self.max_livetime)
        )


SELECTIONS = {
    # Whatever was looked at: sources bright enough for one detection, in all their observations.
    "all": Selection(),
    # Multimodal Universe, scripts/chandra: the recommended cuts of its spectra.
    "multimodal_universe": Selection(min_counts=40.0, min_significance=4.0, max_theta=10.0),
    # Sources with papers: McCormick & Martinez-Galarza, arXiv:2511.14685.
    "literature": Selection(min_significance=5.0, max_theta=5.0),
    # Perez-Diaz et al. 2024, MNRAS 528, 4852: a power-law and a blackbody fit, which take 150 net counts.
    "spectral_fits": Selection(min_counts=150.0, min_significance=5.0),
    # Song et al. 2025, arXiv:2502.01627: event lists of the PPAD.
    "event_lists": Selection(min_events=10, max_events=10_000, min_livetime=28_800.0),
}
