from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from chandraclip.observation.spectral_models import AbsorbedModel
from chandraclip.ogip import Spectrum, read_spectrum


@pytest.fixture(scope="session")
def draw(real_data) -> Callable[..., Spectrum]:
    """Poisson draws of a model through a real ACIS response, with a flat background of `mean` counts a channel."""
    template = read_spectrum(real_data / "spectra" / "pks0537_obs4274" / "qso.pi.gz", background=False)
    response = template.response
    centre = (response.channel_energy_lo + response.channel_energy_hi) / 2

    def make(
        model: str,
        shape: float,
        column: float,
        counts: float,
        *,
        mean: float = 0.0,
        scale: float = 0.1,
        seed: int = 0,
        redshift: float = 0.0,
    ) -> tuple[Spectrum, float]:
        """The spectrum, and the norm it was drawn from; `counts` are expected in 0.5-7 keV."""
        rng = np.random.default_rng(seed)
        absorbed = AbsorbedModel(model, "tbabs", redshift)
        flux = absorbed.photon_flux(response.energy_lo, response.energy_hi, np.array([shape]), np.array([column]))[0]
        expected = template.expected_counts(flux)
        norm = counts / expected[(centre >= 0.5) & (centre <= 7)].sum()
        drawn = rng.poisson(norm * expected + scale * mean)
        outside = rng.poisson(np.full(drawn.size, mean)) if mean else None
        spectrum = dataclasses.replace(
            template, counts=drawn, background_counts=outside, background_scale=scale if mean else 1.0
        )
        return spectrum, norm

    return make
