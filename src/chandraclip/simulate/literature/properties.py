"""The facts of section A in words: each function writes what papers say of one of them."""

from __future__ import annotations

import numpy as np

from chandraclip.simulate.literature.grammar import LISTS as lists
from chandraclip.simulate.literature.grammar import Choices
from chandraclip.simulate.literature.papers import CM_PER_KPC, Paper
from chandraclip.simulate.literature.quantities import (
    FLUX_UNITS,
    LUMINOSITY_UNITS,
    duration,
    figures,
    length,
    measured,
    scientific,
    slope,
    temperature,
)

WORDS_ONLY_SHARE = {"flux": 0.06, "column": 0.10, "shape": 0.08}
MORE_SHARE = {"flux": 0.30, "column": 0.35, "shape": 0.55, "variability": 0.45}  # of a word on how it was found

# Half a decade each: log flux from -15 up, log NH from 20 up.
BRIGHTNESS = (
    "ultra-faint", "very faint", "faint", "dim", "moderately bright", "fairly bright", "bright",
    "intense", "exceptionally bright",
)  # fmt: skip
ABSORPTION = (
    "negligible", "low", "small", "modest", "moderate", "substantial", "heavy", "very heavy", "extreme",
)  # fmt: skip
SLOPES = ("remarkably flat", "flat", "rather flat", "canonical", "rather steep", "steep", "remarkably steep")
SLOPE_LIMITS = np.array([0.8, 1.3, 1.65, 1.95, 2.25, 2.7])
HEAT = {
    "blackbody": ("supersoft", "soft", "tepid", "warm", "hot"),
    "diskbb": ("cold", "cool", "warm", "hot"),
    "bremsstrahlung": ("cool", "warm", "hot", "very hot", "superhot"),
    "plasma": ("cold", "cool", "mild", "warm", "hot", "superhot"),
}
HEAT_LIMITS = {
    "blackbody": np.array([0.1, 0.2, 0.4, 0.8]),
    "diskbb": np.array([0.2, 0.6, 1.2]),
    "bremsstrahlung": np.array([1.0, 3.0, 6.0, 12.0]),
    "plasma": np.array([0.35, 0.65, 1.1, 2.0, 5.0]),
}
HARD_LIMITS = np.array([0.15, 0.45, 0.70, 0.90])  # of the share above 2 keV: very soft to very hard

SPINNING, ROTATING = ("CV", "HMXB", "LMXB", "NS", "ULX"), ("HM-STAR", "LM-STAR", "YSO")
# Periods of dips, eclipses and eruptions, said of other classes, would be nonsense.
BINARIES = (*SPINNING, *ROTATING)


def flux(paper: Paper, choice: Choices) -> list[str]:
    level = level_of(BRIGHTNESS, 2.0 * (np.log10(paper.flux) + 15.0) + 1.0)
    when = ""
    side = "bright" if paper.epoch else "faint"
    if paper.amplitude > 1.5 and f"when.{paper.long_term}.{side}" in lists and choice.share() < 0.6:
        when = choice.of(lists[f"when.{paper.long_term}.{side}"])
    only_words = choice.share() < WORDS_ONLY_SHARE["flux"]
    sentence = choice.say(
        "flux.words" if only_words else "flux",
        level=level,
        when=when,
        mission=paper.mission,
        band=paper.band,
        flux=f"{measured(paper.band_flux, choice)} {choice.of(FLUX_UNITS)}",
    )
    return _more("flux", [sentence], choice)


def column(paper: Paper, choice: Choices) -> list[str]:
    log_nh = 20.0 + np.log10(paper.nh)
    meaning = "low" if log_nh < 21.0 else "moderate" if log_nh < 22.0 else "high"
    sentences = [_column_value(paper, choice)]
    if choice.share() < 0.6:
        sentences.append(choice.say(f"column.{meaning}"))
    return _more("column", sentences, choice)


def _column_value(paper: Paper, choice: Choices) -> str:
    level = level_of(ABSORPTION, 2.0 * np.log10(paper.nh) + 1.0)
    nh, style = 1e20 * paper.nh, choice.share()
    if style < WORDS_ONLY_SHARE["column"]:
        return choice.say("column.words", level=level)
    if paper.nh < 6.0 and choice.share() < 0.5:
        limit = scientific(nh * (1.3 + choice.share()), choice, 1)
        return choice.say("column.limit", level=level, limit=f"{limit} cm^-2")
    if style < 0.20:
        exponent = int(np.floor(np.log10(nh)))
        low, high = (f"{nh * 10.0 ** (shift - exponent):.1f} x 10^{exponent} cm^-2" for shift in (-0.12, 0.12))
        return choice.say("column.range", level=level, low=low, high=high)
    if style < 0.28:
        return choice.say("column.logarithm", level=level, value=f"{np.log10(nh):.1f}")
    unit = 20 + choice.next() % 3
    if 0.1 <= nh / 10.0**unit < 100.0 and choice.share() < 0.4:  # all columns of a table in one unit
        value = f"{figures(nh / 10.0**unit, 2)} x 10^{unit}"
    else:
        value = measured(nh, choice)
    return choice.say("column", level=level, nh=f"{value} {choice.of(('cm^-2', 'cm-2'))}")


def shape(paper: Paper, choice: Choices) -> list[str]:
    value = paper.gamma if paper.main == "powerlaw" else paper.kt
    only_words, style = choice.share() < WORDS_ONLY_SHARE["shape"], choice.share()
    if np.isnan(value):
        sentences = [choice.say(f"second.words.{paper.main}")]
    elif paper.main == "powerlaw":
        level = SLOPES[int(SLOPE_LIMITS.searchsorted(value))]
        section = "gamma.words" if only_words else "gamma"
        sentences = [choice.say(section, level=level, gamma=slope(value, choice), mission=paper.mission)]
    else:
        section = f"words.{paper.main}" if only_words else f"kt.{paper.main}"
        if paper.main in ("plasma", "bremsstrahlung") and value > 8.0 and not only_words and style < 0.3:
            section = "kt.limit"  # above the bands of most missions
        sentence = choice.say(
            section,
            level=heat(paper.main, value),
            kt=temperature(value, paper.main, choice),
            limit=figures(value / 1.5, 1),
            mission=paper.mission,
        )
        sentences = [sentence.replace("= about ", "~ ")]
    if paper.second and choice.share() < 0.7:
        sentences.append(_second(paper, choice, only_words or bool(np.isnan(value))))
    return _more("shape", sentences, choice)


def heat(model: str, kt: float) -> str:
    return HEAT[model][int(HEAT_LIMITS[model].searchsorted(kt))]


def _second(paper: Paper, choice: Choices, only_words: bool) -> str:
    # Both thermal: the one temperature known is the main component's.
    known = paper.gamma if paper.second == "powerlaw" else paper.kt if paper.main == "powerlaw" else np.nan
    if (paper.second == paper.main == "powerlaw") or np.isnan(known) or only_words:
        return choice.say(f"second.words.{paper.second}")
    return choice.say(f"second.{paper.second}", gamma=slope(known, choice), kt=temperature(known, paper.second, choice))


def colour(paper: Paper, choice: Choices) -> list[str]:
    if choice.share() < 0.15:
        percent = 5 * round(20.0 * paper.hard_share)
        if 5 <= percent <= 95:
            return [choice.say("colour.number", percent=str(percent))]
    return [choice.say(f"colour.{HARD_LIMITS.searchsorted(paper.hard_share)}")]


def variability(paper: Paper, choice: Choices) -> list[str]:
    kind, sentence = paper.variability, ""
    if np.isfinite(paper.period):
        if kind == "pulsation":
            sentence = choice.say(f"period.{beat(paper)}", period=duration(paper.period))
        elif kind == "eruption" or (kind in ("dip", "eclipse") and paper.label in BINARIES):
            sentence = choice.say(f"periodic.{kind}", period=duration(paper.period))
    return _more("variability", [sentence or choice.say(f"variability.{kind}")], choice)


def beat(paper: Paper) -> str:
    """What a periodic signal is taken for; papers that do not say what the source is do not say."""
    if paper.stance == "silent":
        return "other"
    return "spin" if paper.label in SPINNING else "rotation" if paper.label in ROTATING else "other"


def long_term(paper: Paper, choice: Choices) -> list[str]:
    if paper.long_term == "steady":
        return [] if paper.variability == "transient" else [choice.say("long_term.steady")]
    if paper.amplitude < 1.3 or choice.share() < 0.15:
        return [choice.say("long_term.words")]
    if paper.amplitude > 2.0 and choice.share() < 0.2:
        middle = paper.band_flux / 10.0 ** ((paper.epoch - 0.5) * np.log10(paper.amplitude))
        low, high = (scientific(middle * paper.amplitude**power, choice, 1) for power in (-0.5, 0.5))
        unit = choice.of(FLUX_UNITS)
        return [choice.say("long_term.range", low=low, high=f"{high} {unit} ({paper.band} keV)")]
    factor = figures(paper.amplitude, 2 if paper.amplitude < 10.0 else 1)
    return [choice.say(f"long_term.{paper.long_term}", factor=factor)]


def distance(paper: Paper, choice: Choices) -> list[str]:
    """Distance or redshift, and perhaps the luminosity there."""
    style = choice.share()
    if paper.distance == 0.0:
        return []
    luminosity = 4.0 * np.pi * (paper.distance * CM_PER_KPC) ** 2 * paper.band_flux
    if np.isfinite(paper.redshift):
        photometric = choice.share() < 0.3
        redshift = f"{paper.redshift:.1f}" if photometric and paper.redshift > 0.3 else figures(paper.redshift, 3)
        place = f"z = {redshift}"
        alone = choice.say("redshift", origin="photometric" if photometric else "spectroscopic", redshift=redshift)
    else:
        place = f"a distance of {length(paper.distance)}"
        section = "distance.host" if paper.label == "ULX" else "distance"
        alone = choice.say(section, distance=length(paper.distance))
    if style < 0.3:
        return [alone]
    value = f"{scientific(luminosity, choice, 1 + (style > 0.7))} {choice.of(LUMINOSITY_UNITS)}"
    return [choice.say("luminosity", place=place, band=paper.band, luminosity=value)]


def _more(fact: str, sentences: list[str], choice: Choices) -> list[str]:
    if choice.share() < MORE_SHARE[fact]:
        sentences.append(choice.say(f"{fact}.more"))
    return sentences


def level_of(levels: tuple[str, ...], number: float) -> str:
    return levels[min(max(int(number // 1), 0), len(levels) - 1)]
