"""What the literature has of each source, as columns: typical values of all epochs, never what a detection measured."""

from __future__ import annotations

from typing import Any

import numpy as np

from chandraclip.catalog.bands import BANDS
from chandraclip.catalog.ragged import Ragged
from chandraclip.simulate.emission.incident import SPECTRAL_MODELS, energy_flux
from chandraclip.simulate.emission.spectra import photon_spectra, unit_spectra
from chandraclip.simulate.instrument.area import ENERGY_HI, ENERGY_LO
from chandraclip.simulate.literature.papers import LiteratureFacts
from chandraclip.simulate.literature.summaries import write_summaries
from chandraclip.simulate.population.observations import Observations
from chandraclip.simulate.population.sources import CLASSES, Sources
from chandraclip.simulate.variability.epochs import LONG_TERM_KINDS
from chandraclip.simulate.variability.kinds import VARIABILITY_KINDS

MISSING_TEXT_SHARE = 0.05  # of sources: nobody wrote about them


def literature_facts(sources: Sources, typical_flux: np.ndarray, long_term_range: np.ndarray) -> LiteratureFacts:
    """Facts of S sources.

    Args:
        typical_flux: (S,) observed 0.5-7 keV, erg/s/cm2.
        long_term_range: (S,) highest over lowest flux of the epochs.
    """
    spectrum = sources.spectrum
    unit = unit_spectra(photon_spectra(spectrum, ENERGY_LO, ENERGY_HI), ENERGY_LO, ENERGY_HI)
    models = np.array(SPECTRAL_MODELS, dtype=object)
    second = np.where(spectrum.second_model >= 0, "+" + models[np.maximum(spectrum.second_model, 0)], "")
    main_is_powerlaw = spectrum.model == SPECTRAL_MODELS.index("powerlaw")
    second_is_powerlaw = spectrum.second_model == SPECTRAL_MODELS.index("powerlaw")
    return LiteratureFacts(
        source_class=np.array(CLASSES)[sources.source_class],
        spectrum=(models[spectrum.model] + second).astype(str),
        nh=spectrum.nh,
        gamma=np.where(main_is_powerlaw, spectrum.gamma, np.where(second_is_powerlaw, spectrum.second_gamma, np.nan)),
        kt=np.where(main_is_powerlaw, np.where(second_is_powerlaw, np.nan, spectrum.second_kt), spectrum.kt),
        redshift=np.where(spectrum.redshift > 0, spectrum.redshift, np.nan),
        flux=typical_flux,
        hard_share=energy_flux(unit, ENERGY_LO, ENERGY_HI, BANDS["h"]),
        variability=np.array(VARIABILITY_KINDS)[sources.kind],
        period=sources.period,
        long_term=np.array(LONG_TERM_KINDS)[sources.long_term],
        long_term_amplitude=long_term_range,
    )


def write_texts(
    rng: np.random.Generator, sources: Sources, observations: Observations, typical_flux: np.ndarray
) -> dict[str, Any]:
    """The text columns of D detections; all detections of a source share its text.

    Args:
        typical_flux: (S,) of the sources, erg/s/cm2.
    """
    # What papers of other epochs would find: the range of the kind of variability, not of these observations.
    long_term_range = 10.0 ** np.clip(sources.long_term_amplitude * rng.uniform(0.7, 2.0, len(sources)), 0.0, 3.0)
    summary = write_summaries(rng, literature_facts(sources, typical_flux, long_term_range))
    has_text = rng.random(len(sources)) >= MISSING_TEXT_SHARE
    texts = [summary[row] if has_text[row] else None for row in observations.source.tolist()]
    written = has_text[observations.source]
    return {
        "summary": texts,
        "bibcodes": Ragged(np.array([], dtype=str), np.zeros(len(texts) + 1, np.int64), written),
        "summary_model": [None if text is None else "simulated" for text in texts],
        "prompt_version": [None if text is None else "simulated-3" for text in texts],
    }
