"""Dataset columns of a few made-up detections."""

from __future__ import annotations

from typing import Any

import numpy as np

NUM_PHOTONS = (0, 1, 2, 63, 64, 65, 400, 7)


def make_columns(seed: int = 0, num_photons: tuple[int, ...] = NUM_PHOTONS, exposure: float = 3e4) -> dict[str, Any]:
    """Dataset columns as `datasets` gives them with numpy lists: good time with a gap, ACIS channels."""
    rng = np.random.default_rng(seed)
    half = 0.5 * exposure
    mean = np.where(np.arange(1024) < 500, 1.0, 0.0)
    time = [np.sort(rng.uniform(0.0, half, count)) for count in num_photons]
    return {
        "spectrum_counts": [rng.poisson(mean * count / 500).astype(np.int32) for count in num_photons],
        "spectrum_background": [rng.poisson(0.05, 1024).astype(np.int32) for _ in num_photons],
        "background_scale": [0.1] * len(num_photons),
        "exposure": [half] * len(num_photons),
        "event_time": [np.where(row < 0.25 * exposure, row, row + half) for row in time],
        "event_energy": [rng.uniform(0.5, 7.0, count).astype(np.float32) for count in num_photons],
        "gti_start": [np.array([0.0, 0.75 * exposure])] * len(num_photons),
        "gti_stop": [np.array([0.25 * exposure, exposure])] * len(num_photons),
        "summary": [f"A source of {count} photons, a quasar with N_H 21.{count}" for count in num_photons],
    }
