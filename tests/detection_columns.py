"""Dataset columns of a few made-up detections."""

from __future__ import annotations

from typing import Any

import numpy as np

from chandraclip.ogip.response import Response

NUM_PHOTONS = (0, 1, 2, 63, 64, 65, 400, 7)


def made_up_responses() -> dict[str, Response]:
    """The responses that the rows of `make_columns` name."""
    from chandraclip.simulate.instrument.response import builtin_response

    return {f"response of {name}": builtin_response(name) for name in ("ACIS-S", "ACIS-I")}


def make_columns(seed: int = 0, num_photons: tuple[int, ...] = NUM_PHOTONS, exposure: float = 3e4) -> dict[str, Any]:
    """Dataset columns as `datasets` gives them with numpy lists: good time with a gap, ACIS channels."""
    rng = np.random.default_rng(seed)
    half = 0.5 * exposure
    mean = np.where(np.arange(1024) < 500, 1.0, 0.0)
    time = [np.sort(rng.uniform(0.0, half, count)) for count in num_photons]
    responses = made_up_responses()
    named = [list(responses)[row % 2] for row in range(len(num_photons))]
    return {
        "response_id": named,
        "arf": [responses[name].arf.astype(np.float32) for name in named],
        "psf_frac_aper_b": [0.9] * len(num_photons),
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
