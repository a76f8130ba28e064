"""A literature summary per source: what papers of other epochs would have said of it.

The form is the published one (arXiv:2511.14685): A) X-ray properties, B) use for testing hypotheses, "Not discussed"
where papers say nothing, never the source's name. Values are the source's own, scattered as the literature scatters;
many are left out, and a few texts take the source for something else. Nothing here sees what a detection measured.
"""

from __future__ import annotations

import numpy as np

from chandraclip.data.schema import SOURCE_CLASSES

from .emission import SPECTRAL_MODELS
from .population import Sources
from .variability import CONSTANT, DIP, FLARE
from .wording import (
    ABSORPTION,
    BRIGHTNESS,
    CLASS_PHRASES,
    CLASS_SENTENCES,
    COLOUR_PHRASES,
    COLUMN_PHRASES,
    CONSTANT_PHRASES,
    CONTEXT_PHRASES,
    CONTEXT_SENTENCES,
    DIP_PHRASES,
    FLARE_PHRASES,
    FLUX_PHRASES,
    GAMMA_PHRASES,
    HYPOTHESES,
    HYPOTHESIS_SENTENCES,
    PERIOD_PHRASES,
    SLOPES,
    TEMPERATURE_PHRASES,
)

# 1 sigma of published values about a source's own: dex, but for the slope.
NH_SCATTER, GAMMA_SCATTER, KT_SCATTER, FLUX_SCATTER = 0.15, 0.20, 0.08, 0.25
COLOUR_LIMITS, COLOUR_SCATTER = (
    np.array([0.15, 0.45, 0.70, 0.90]),
    0.06,
)  # of the share above 2 keV: very soft to very hard
WRONG_CLASS_SHARE = 0.04
NOT_DISCUSSED_SHARE = 0.15  # of sections B; of sections A, only where every fact is left out

SLOPE_LIMITS = np.array([1.0, 1.5, 1.8, 2.1, 2.6])

# How often a paper gives each fact.
FACT_SHARES = {
    "class": 0.85,
    "context": 0.55,
    "flux": 0.92,
    "column": 0.80,
    "shape": 0.88,
    "colour": 0.75,
    "variability": 0.70,
}


def write_summaries(
    rng: np.random.Generator, sources: Sources, mean_flux: np.ndarray, hard_share: np.ndarray
) -> list[str]:
    """One text a source, about 60 to 120 words.

    Args:
        sources: what they are.
        mean_flux: (S,) observed 0.5-7 keV flux over all epochs, erg/s/cm2.
        hard_share: (S,) share of that flux above 2 keV.

    Returns:
        S texts.
    """
    num_sources = len(mean_flux)

    def scattered(value: np.ndarray, dex: float) -> np.ndarray:
        return value * 10.0 ** (dex * rng.standard_normal(num_sources))

    flux = scattered(mean_flux, FLUX_SCATTER)
    nh = scattered(sources.nh, NH_SCATTER)
    gamma = sources.gamma + GAMMA_SCATTER * rng.standard_normal(num_sources)
    kt = scattered(sources.kt, KT_SCATTER)
    colour = np.searchsorted(COLOUR_LIMITS, hard_share + COLOUR_SCATTER * rng.standard_normal(num_sources))
    period = scattered(sources.period, 0.003)
    wrong = rng.random(num_sources) < WRONG_CLASS_SHARE
    stated_class = np.where(
        wrong,
        (sources.source_class + rng.integers(1, len(SOURCE_CLASSES), num_sources)) % len(SOURCE_CLASSES),
        sources.source_class,
    )
    given = {fact: rng.random(num_sources) < share for fact, share in FACT_SHARES.items()}
    discussed = rng.random(num_sources) >= NOT_DISCUSSED_SHARE
    order = rng.random((num_sources, len(FACT_SHARES))).argsort(axis=1)
    picks = rng.integers(0, 2**31, (num_sources, 2 * len(FACT_SHARES) + 3))

    def fact(name: str, row: int, choice: int) -> str:
        label = SOURCE_CLASSES[stated_class[row]]
        if name == "class":
            return _pick(CLASS_SENTENCES, choice).format(kind=_pick(CLASS_PHRASES[label], choice // 64))
        if name == "context":
            return _pick(CONTEXT_SENTENCES, choice).format(context=_pick(CONTEXT_PHRASES[label], choice // 64))
        if name == "flux":
            level = BRIGHTNESS[int(np.clip(2.0 * (np.log10(flux[row]) + 15.0), 0, len(BRIGHTNESS) - 1))]
            return _pick(FLUX_PHRASES, choice).format(level=level, flux=_scientific(flux[row], choice // 64))
        if name == "column":
            level = ABSORPTION[int(np.clip(np.floor(2.0 * np.log10(nh[row])) + 1, 0, len(ABSORPTION) - 1))]
            return _pick(COLUMN_PHRASES, choice).format(level=level, nh=_scientific(nh[row] * 1e20, choice // 64))
        if name == "colour":
            return _pick(COLOUR_PHRASES[int(colour[row])], choice)
        if name == "shape":
            if sources.model[row] == SPECTRAL_MODELS.index("powerlaw"):
                return _pick(GAMMA_PHRASES, choice).format(
                    gamma=f"{gamma[row]:.1f}", level=SLOPES[int(np.searchsorted(SLOPE_LIMITS, gamma[row]))]
                )
            model = SPECTRAL_MODELS[sources.model[row]]
            return _pick(TEMPERATURE_PHRASES[model], choice).format(kt=f"{kt[row]:.2g}")
        if sources.kind[row] == CONSTANT:
            return _pick(CONSTANT_PHRASES, choice)
        if sources.kind[row] == FLARE:
            return _pick(FLARE_PHRASES, choice)
        phrases = DIP_PHRASES if sources.kind[row] == DIP else PERIOD_PHRASES
        if np.isnan(period[row]):
            return _pick(phrases["single"], choice)
        return _pick(phrases["periodic"], choice).format(period=_duration(period[row]))

    names = list(FACT_SHARES)
    texts = []
    for row in range(num_sources):
        chosen = [names[number] for number in order[row] if given[names[number]][row]]
        sentences = [fact(name, row, int(picks[row, names.index(name)])) for name in chosen]
        properties = " ".join(sentences) or "Not discussed."
        hypothesis = "Not discussed."
        if discussed[row]:
            label = SOURCE_CLASSES[stated_class[row]]
            hypothesis = _pick(HYPOTHESIS_SENTENCES, int(picks[row, -1])).format(
                hypothesis=_pick(HYPOTHESES[label], int(picks[row, -2]))
            )
        texts.append(f"A) X-ray properties: {properties} B) Hypotheses: {hypothesis}")
    return texts


def _pick(options: tuple[str, ...], number: int) -> str:
    return options[number % len(options)]


def _scientific(value: float, style: int) -> str:
    """A number to one significant figure, in one of the notations papers use."""
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}" if style % 2 else f"{mantissa} x 10^{int(exponent)}"


def _duration(seconds: float) -> str:
    """Three figures, in the unit that suits."""
    if seconds < 1.0:
        return f"{1e3 * seconds:.3g} ms"
    if seconds < 5000.0:
        return f"{seconds:.3g} s"
    return f"{seconds / 3600.0:.3g} h" if seconds < 172800.0 else f"{seconds / 86400.0:.3g} d"
