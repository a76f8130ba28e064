"""A literature summary per source, as a language model would write it from the papers about that source.

The form is the published one (arXiv:2511.14685): A) X-ray properties, B) use for testing hypotheses, "Not discussed"
where papers say nothing, never the source's name. What the papers found is `literature`'s; here it is put in words, in
units and to a precision that vary. Many facts are left out, some are given in words only, as ranges or limits, and a
few papers are about something else. How often is chosen, not measured.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chandraclip.simulate.literature import wording as words
from chandraclip.simulate.literature.papers import CM_PER_KPC, LiteratureFacts, Paper, literature_scatter, publish
from chandraclip.simulate.literature.wording_classes import CLASS_PHRASES, CONTEXT_PHRASES, FIELDS, HYPOTHESES

__all__ = ["LiteratureFacts", "literature_scatter", "write_summaries"]

NOT_DISCUSSED_SHARE = 0.15  # of sections B; of sections A, where every fact is left out
CATALOGUE_SHARE, SURROUNDINGS_SHARE = 0.06, 0.03  # papers that hardly speak of the source
SPARSE_FACTOR = 0.15  # of `FACT_SHARES`, in those papers

# How often a paper gives each fact; a fact may still come out in words only.
FACT_SHARES = {
    "class": 0.87,
    "context": 0.42,
    "flux": 0.88,
    "column": 0.80,
    "shape": 0.88,
    "colour": 0.75,
    "variability": 0.70,
    "long_term": 0.45,
    "distance": 0.42,
    "method": 0.20,
}
WORDS_ONLY_SHARE = {"flux": 0.10, "column": 0.12, "shape": 0.10}
OMISSION_SHARE = 0.25  # of facts left out, that a text says so of

HARD_LIMITS = np.array([0.15, 0.45, 0.70, 0.90])  # of the share above 2 keV: very soft to very hard
SLOPE_LIMITS = np.array([1.0, 1.5, 1.8, 2.1, 2.6])
HEAT_LIMITS = {
    "blackbody": np.array([0.1, 0.25, 0.7]),
    "diskbb": np.array([0.2, 0.6, 1.2]),
    "bremsstrahlung": np.array([1.0, 3.0, 8.0]),
    "plasma": np.array([0.5, 1.2, 4.0]),
}

SPINNING, ROTATING = ("CV", "HMXB", "LMXB", "NS", "ULX"), ("HM-STAR", "LM-STAR", "YSO")
# Periods of dips, eclipses and eruptions, said of other classes, would be nonsense.
BINARIES = (*SPINNING, *ROTATING)

MEGAKELVIN_PER_KEV = 11.605
NUM_CHOICES = 96  # more than a text ever makes


def write_summaries(rng: np.random.Generator, facts: LiteratureFacts) -> list[str]:
    """One text a source, mostly 60 to 150 words."""
    num_sources = len(facts)
    papers = publish(rng, facts)
    chance = rng.random(num_sources)
    catalogue, surroundings = chance < CATALOGUE_SHARE, chance > 1.0 - SURROUNDINGS_SHARE
    share = np.array(list(FACT_SHARES.values())) * np.where(catalogue | surroundings, SPARSE_FACTOR, 1.0)[:, None]
    given = rng.random((num_sources, len(FACT_SHARES))) < share
    order = rng.random((num_sources, len(FACT_SHARES))).argsort(axis=1)
    discussed = rng.random(num_sources) >= NOT_DISCUSSED_SHARE
    choices = rng.integers(0, 2**31, (num_sources, NUM_CHOICES))
    names = list(FACT_SHARES)
    texts = []
    for row, paper in enumerate(papers):
        choice = _Choices(choices[row].tolist())
        said = [names[number] for number in order[row].tolist() if given[row, number]]
        sentences = [sentence for name in said if (sentence := _FACTS[name](paper, choice))]
        if catalogue[row]:
            field = choice.of(FIELDS[paper.label])
            sentences.insert(0, choice.of(words.CATALOGUE_SENTENCES).format(field=field))
            sentences += [choice.of(words.CATALOGUE_DETAILS), choice.of(words.SPARSE_SENTENCES)]
        elif not surroundings[row]:
            # Luminosities and ranges of flux tell of the flux, too.
            told = {*said, "flux"} if {"distance", "long_term"} & set(said) else set(said)
            for name, options in words.NOT_DISCUSSED_SENTENCES.items():
                if name not in told and choice.share() < OMISSION_SHARE:
                    sentences.append(choice.of(options))
        properties = _polished(" ".join(sentences)) or "Not discussed."
        if surroundings[row]:
            hypotheses = choice.of(words.SURROUNDINGS_SENTENCES).format(
                field=choice.of(FIELDS[paper.label]), context=choice.of(CONTEXT_PHRASES[paper.label])
            )
        else:
            hypotheses = _hypotheses(paper, choice, said) if discussed[row] else "Not discussed."
        texts.append(f"A) X-ray properties: {properties} B) Hypotheses: {hypotheses}")
    return texts


class _Choices:
    """The random numbers of one text, taken one after the other."""

    def __init__(self, numbers: list[int]) -> None:
        self.next = iter(numbers).__next__

    def of(self, options: tuple[str, ...]) -> str:
        return options[self.next() % len(options)]

    def share(self) -> float:
        return self.next() / 2**31


def _class(paper: Paper, choice: _Choices) -> str:
    return choice.of(words.CLASS_SENTENCES).format(kind=choice.of(CLASS_PHRASES[paper.label]))


def _context(paper: Paper, choice: _Choices) -> str:
    return choice.of(words.CONTEXT_SENTENCES).format(context=choice.of(CONTEXT_PHRASES[paper.label]))


def _method(paper: Paper, choice: _Choices) -> str:
    return choice.of(words.METHOD_SENTENCES).format(mission=paper.mission)


def _flux(paper: Paper, choice: _Choices) -> str:
    level = _level(words.BRIGHTNESS, 2.0 * (np.log10(paper.flux) + 15.0) + 1.0)
    when = ""
    if paper.amplitude > 1.5 and paper.long_term in words.EPOCHS and choice.share() < 0.6:
        when = choice.of(words.EPOCHS[paper.long_term][paper.epoch])
    only_words = choice.share() < WORDS_ONLY_SHARE["flux"]
    return choice.of(words.FLUX_WORDS if only_words else words.FLUX_SENTENCES).format(
        level=level,
        a_level=_article(level),
        when=when,
        mission=paper.mission,
        band=paper.band,
        flux=f"{_measured(paper.band_flux, choice)} {choice.of(words.FLUX_UNITS)}",
    )


def _column(paper: Paper, choice: _Choices) -> str:
    level = _level(words.ABSORPTION, 2.0 * np.log10(paper.nh) + 1.0)
    nh, style = 1e20 * paper.nh, choice.share()
    if style < WORDS_ONLY_SHARE["column"]:
        return choice.of(words.COLUMN_WORDS).format(level=level)
    if paper.nh < 6.0 and choice.share() < 0.5:
        limit = _scientific(nh * (1.3 + choice.share()), choice, 1)
        return choice.of(words.COLUMN_LIMITS).format(level=level, limit=f"{limit} cm^-2")
    if style < 0.20:
        low, high = (nh * 10.0**shift for shift in (-0.12, 0.12))
        exponent = int(np.floor(np.log10(nh)))
        low_text, high_text = (f"{value / 10.0**exponent:.1f} x 10^{exponent} cm^-2" for value in (low, high))
        return choice.of(words.COLUMN_RANGES).format(level=level, low=low_text, high=high_text)
    if style < 0.28:
        return choice.of(words.COLUMN_LOGARITHMS).format(level=level, value=f"{np.log10(nh):.1f}")
    unit = 20 + choice.next() % 3
    if 0.1 <= nh / 10.0**unit < 100.0 and choice.share() < 0.4:  # all columns of a table in one unit
        value = f"{_figures(nh / 10.0**unit, 2)} x 10^{unit}"
    else:
        value = _measured(nh, choice)
    return choice.of(words.COLUMN_SENTENCES).format(level=level, nh=f"{value} {choice.of(('cm^-2', 'cm-2'))}")


def _shape(paper: Paper, choice: _Choices) -> str:
    value = paper.gamma if paper.main == "powerlaw" else paper.kt
    only_words, style = choice.share() < WORDS_ONLY_SHARE["shape"], choice.share()
    if np.isnan(value):
        sentence = choice.of(words.SECOND_WORDS[paper.main])
    elif paper.main == "powerlaw":
        level = words.SLOPES[int(np.searchsorted(SLOPE_LIMITS, value))]
        sentence = choice.of(words.GAMMA_WORDS if only_words else words.GAMMA_SENTENCES).format(
            level=level, gamma=_slope(value, choice), mission=paper.mission
        )
    else:
        level = words.HEAT[paper.main][int(np.searchsorted(HEAT_LIMITS[paper.main], value))]
        options = words.TEMPERATURE_WORDS[paper.main] if only_words else words.TEMPERATURE_SENTENCES[paper.main]
        if paper.main in ("plasma", "bremsstrahlung") and value > 8.0 and not only_words and style < 0.3:
            options = words.TEMPERATURE_LIMITS  # above the bands of most missions
        sentence = choice.of(options).format(
            level=level,
            a_level=_article(level),
            a_level_start=_article(level).capitalize(),
            kt=_temperature(value, paper.main, choice),
            limit=f"{_figures(value / 1.5, 1)}",
            mission=paper.mission,
        )
    if not paper.second or choice.share() > 0.7:
        return sentence
    # Both thermal: the one temperature known is the main component's.
    known = paper.gamma if paper.second == "powerlaw" else paper.kt if paper.main == "powerlaw" else np.nan
    if (paper.second == paper.main == "powerlaw") or np.isnan(known) or only_words:
        return f"{sentence} {choice.of(words.SECOND_WORDS[paper.second])}"
    return f"{sentence} {choice.of(words.SECOND_SENTENCES[paper.second])}".format(
        gamma=_slope(known, choice), kt=_temperature(known, paper.second, choice)
    )


def _colour(paper: Paper, choice: _Choices) -> str:
    if choice.share() < 0.15:
        percent = 5 * round(20.0 * paper.hard_share)
        if 5 <= percent <= 95:
            return choice.of(words.COLOUR_NUMBERS).format(percent=percent)
    return choice.of(words.COLOUR_SENTENCES[int(np.searchsorted(HARD_LIMITS, paper.hard_share))])


def _variability(paper: Paper, choice: _Choices) -> str:
    kind = paper.variability
    if np.isfinite(paper.period):
        if kind == "pulsation":
            return choice.of(words.PULSATION_SENTENCES[_beat(paper)]).format(period=_duration(paper.period))
        if kind == "eruption" or (kind in words.PERIODIC_SENTENCES and paper.label in BINARIES):
            return choice.of(words.PERIODIC_SENTENCES[kind]).format(period=_duration(paper.period))
    return choice.of(words.VARIABILITY_SENTENCES[kind])


def _long_term(paper: Paper, choice: _Choices) -> str | None:
    if paper.long_term == "steady":
        return None if paper.variability == "transient" else choice.of(words.LONG_TERM_SENTENCES["steady"])
    if paper.amplitude < 1.3 or choice.share() < 0.15:
        return choice.of(words.LONG_TERM_WORDS)
    if paper.amplitude > 2.0 and choice.share() < 0.2:
        middle = paper.band_flux / 10.0 ** ((paper.epoch - 0.5) * np.log10(paper.amplitude))
        low, high = (_scientific(middle * paper.amplitude**power, choice, 1) for power in (-0.5, 0.5))
        unit = choice.of(words.FLUX_UNITS)
        return choice.of(words.LONG_TERM_RANGES).format(low=low, high=f"{high} {unit} ({paper.band} keV)")
    factor = _figures(paper.amplitude, 2 if paper.amplitude < 10.0 else 1)
    return choice.of(words.LONG_TERM_SENTENCES[paper.long_term]).format(factor=factor)


def _place(paper: Paper, choice: _Choices) -> str | None:
    """Distance or redshift, and perhaps the luminosity there."""
    style = choice.share()
    if paper.distance == 0.0:
        return None
    luminosity = 4.0 * np.pi * (paper.distance * CM_PER_KPC) ** 2 * paper.band_flux
    if np.isfinite(paper.redshift):
        photometric = choice.share() < 0.3
        redshift = f"{paper.redshift:.1f}" if photometric and paper.redshift > 0.3 else f"{_figures(paper.redshift, 3)}"
        place = f"z = {redshift}"
        origin = "photometric" if photometric else "spectroscopic"
        alone = choice.of(words.REDSHIFT_SENTENCES).format(origin=origin, redshift=redshift)
    else:
        distance = _length(paper.distance)
        place = f"a distance of {distance}"
        options = words.HOST_DISTANCE_SENTENCES if paper.label == "ULX" else words.DISTANCE_SENTENCES
        alone = choice.of(options).format(distance=distance)
    if style < 0.4:
        return alone
    unit = choice.of(words.LUMINOSITY_UNITS)
    return choice.of(words.LUMINOSITY_SENTENCES).format(
        place=place, band=paper.band, luminosity=f"{_scientific(luminosity, choice, 1 + (style > 0.7))} {unit}"
    )


_FACTS: dict[str, Callable[[Paper, _Choices], str | None]] = {
    "class": _class,
    "context": _context,
    "flux": _flux,
    "column": _column,
    "shape": _shape,
    "colour": _colour,
    "variability": _variability,
    "long_term": _long_term,
    "distance": _place,
    "method": _method,
}


def _hypotheses(paper: Paper, choice: _Choices, said: list[str]) -> str:
    first = choice.next()
    options = HYPOTHESES[paper.label]
    sentences = [choice.of(words.HYPOTHESIS_SENTENCES).format(hypothesis=options[first % len(options)])]
    behaviours = []
    if "variability" in said:
        behaviours.append(_beat(paper) if paper.variability == "pulsation" else paper.variability)
    if "long_term" in said and paper.amplitude > 1.5 and paper.long_term != "red_noise":
        behaviours.append(paper.long_term)
    for behaviour in behaviours:
        if behaviour in words.BEHAVIOUR_HYPOTHESES and choice.share() < 0.5:
            sentences.append(choice.of(words.BEHAVIOUR_HYPOTHESES[behaviour]))
    if paper.variability != "transient" and choice.share() < 0.25:
        sentences.append(choice.of(words.OUTLOOK_SENTENCES))
    return " ".join(sentences)


def _beat(paper: Paper) -> str:
    return "spin" if paper.label in SPINNING else "rotation" if paper.label in ROTATING else "other"


def _level(levels: tuple[str, ...], number: float) -> str:
    return levels[int(np.clip(np.floor(number), 0, len(levels) - 1))]


def _article(phrase: str) -> str:
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def _polished(text: str) -> str:
    """A text cannot begin with what "it" has, and what is about equal does not equal."""
    for begin, instead in (("It ", "The source "), ("Its ", "The ")):
        if text.startswith(begin):
            text = f"{instead}{text[len(begin) :]}"
    return text.replace("= about ", "~ ").replace("= roughly ", "~ ").replace("= ~", "~ ")


def _figures(value: float, figures: int) -> str:
    """Rounded to significant figures, without an exponent."""
    return f"{float(f'{value:.{figures}g}'):g}"


def _scientific(value: float, choice: _Choices, figures: int) -> str:
    """A number in one of the notations papers use."""
    mantissa, exponent = f"{value:.{figures - 1}e}".split("e")
    return f"{mantissa} x 10^{int(exponent)}" if choice.share() < 0.75 else f"{mantissa}e{int(exponent)}"


def _measured(value: float, choice: _Choices) -> str:
    """As `_scientific`, of one or two figures or with an uncertainty of 10 to 30 per cent."""
    style = choice.share()
    if style < 0.65:
        return _scientific(value, choice, 1 if style < 0.2 else 2)
    if style < 0.8:
        return f"{choice.of(('about', 'roughly', '~'))} {_scientific(value, choice, 1)}".replace("~ ", "~")
    exponent = int(np.floor(np.log10(value)))
    mantissa = value / 10.0**exponent
    return f"({mantissa:.1f} +- {max(mantissa * (0.1 + 0.2 * choice.share()), 0.1):.1f}) x 10^{exponent}"


def _slope(gamma: float, choice: _Choices) -> str:
    style = choice.share()
    if style < 0.45:
        return f"{gamma:.1f}"
    if style < 0.6:
        return f"about {gamma:.1f}"
    if style < 0.75:
        return f"{gamma:.2f}"
    return f"{gamma:.1f} +- {0.1 + 0.3 * choice.share():.1f}"


def _temperature(kt: float, model: str, choice: _Choices) -> str:
    style = choice.share()
    if kt < 0.3 and style < 0.4:
        return f"{_figures(1e3 * kt, 2)} eV"
    if model == "plasma" and 0.2 < kt < 4.0 and style < 0.15:
        return f"{_figures(kt, 2)} keV ({MEGAKELVIN_PER_KEV * kt:.0f} MK)"
    if style < 0.75:
        return f"{_figures(kt, 2)} keV"
    decimals = 0 if kt >= 10.0 else 1 if kt >= 2.0 else 2
    error = max(kt * (0.05 + 0.1 * choice.share()), 10.0**-decimals)
    return f"{kt:.{decimals}f} +- {error:.{decimals}f} keV"


def _duration(seconds: float) -> str:
    """Three figures, in the unit that suits."""
    if seconds < 1.0:
        return f"{_figures(1e3 * seconds, 3)} ms"
    if seconds < 1000.0:
        return f"{_figures(seconds, 3)} s"
    if seconds < 5000.0:
        return f"{seconds:.0f} s"
    return f"{_figures(seconds / 3600.0, 3)} h" if seconds < 172800.0 else f"{_figures(seconds / 86400.0, 3)} d"


def _length(kpc: float) -> str:
    if kpc < 1.0:
        return f"{_figures(1e3 * kpc, 2)} pc"
    if kpc < 1000.0:
        return f"{_figures(kpc, 2)} kpc"
    return f"{_figures(kpc / 1e3, 2)} Mpc"
