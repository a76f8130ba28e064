"""A literature summary per source, as a language model would write it from the papers about that source.

The form is the published one (arXiv:2511.14685; at most 600 tokens): A) X-ray properties, numbered, with values; B) use
for testing hypotheses, argued from those; "Not discussed" where papers say nothing, never the source's name. What the
papers found is `papers`'; here it is put in words, in units and to a precision that vary. Facts come first in A: a text
tower that reads the beginning only reads them. Many are left out, some are given in words only, as ranges or limits,
some papers are about a whole population, a few about something else. How often is chosen, not measured.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chandraclip.simulate.literature import properties, setting
from chandraclip.simulate.literature.grammar import LISTS as lists
from chandraclip.simulate.literature.grammar import Choices, numbers
from chandraclip.simulate.literature.hypotheses import hypotheses
from chandraclip.simulate.literature.papers import UNDECIDED, LiteratureFacts, Paper, literature_scatter, publish

__all__ = ["LiteratureFacts", "literature_scatter", "write_summaries"]

NOT_DISCUSSED_SHARE = 0.15  # of sections B; of sections A, where every fact is left out
POPULATION_SHARE, SURROUNDINGS_SHARE = 0.12, 0.03  # papers about many sources; about something else
POPULATION_FACTOR, SURROUNDINGS_FACTOR = 0.6, 0.15  # of `FACT_SHARES`, in those papers
OMISSION_SHARE = 0.6  # of facts left out, that a text says so of

# How often a paper gives each fact; a fact may still come out in words only.
FACT_SHARES = {
    "flux": 0.94,
    "distance": 0.50,
    "shape": 0.95,
    "colour": 0.84,
    "column": 0.90,
    "variability": 0.78,
    "long_term": 0.50,
    "identity": 1.00,
    "context": 0.45,
    "other_wavebands": 0.40,
    "observations": 0.70,
    "motive": 0.22,
    "morphology": 0.25,
    "comparison": 0.50,
    "derived": 0.30,
}
# Papers that do not say what the source is seldom know how far it is.
UNIDENTIFIED_DISTANCE_SHARE = 0.25

# Items of section A, by the titles of their sections; the first four are facts, in any order.
ITEMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("flux", ("flux", "distance")),
    ("spectrum", ("shape", "colour")),
    ("absorption", ("column",)),
    ("variability", ("variability", "long_term")),
    ("identity", ("identity", "context", "other_wavebands")),
    ("observations", ("observations", "morphology", "motive")),
    ("comparison", ("comparison", "derived")),
)
NUM_FACT_ITEMS = 4
# Facts that lose their item's company now and then.
OWN_TITLE_SHARE = {"distance": 0.35, "long_term": 0.35, "motive": 0.5, "derived": 0.5}
WRITERS: dict[str, Callable[[Paper, Choices], list[str]]] = {
    "flux": properties.flux,
    "distance": properties.distance,
    "shape": properties.shape,
    "colour": properties.colour,
    "column": properties.column,
    "variability": properties.variability,
    "long_term": properties.long_term,
    "identity": setting.identity,
    "context": setting.context,
    "other_wavebands": setting.other_wavebands,
    "observations": setting.observations,
    "motive": setting.motive,
    "morphology": setting.morphology,
    "comparison": setting.comparison,
    "derived": setting.derived,
}
NOT_DISCUSSED = {"flux", "column", "shape", "variability"}  # what a text may say is missing
TITLED_BY_PART = ("flux", "variability")  # items called after their second fact where it stands alone
NUM_CHOICES = 160  # more than a text ever makes


def write_summaries(rng: np.random.Generator, facts: LiteratureFacts) -> list[str]:
    """One text a source, mostly 150 to 300 words."""
    num_sources = len(facts)
    papers = publish(rng, facts)
    chance = rng.random(num_sources)
    population, surroundings = chance < POPULATION_SHARE, chance > 1.0 - SURROUNDINGS_SHARE
    share = np.tile(list(FACT_SHARES.values()), (num_sources, 1))
    names = list(FACT_SHARES)
    unidentified = [paper.stance in ("silent", *UNDECIDED) for paper in papers]
    share[unidentified, names.index("distance")] = UNIDENTIFIED_DISTANCE_SHARE
    share[population] *= POPULATION_FACTOR
    share[surroundings] *= SURROUNDINGS_FACTOR
    given = rng.random((num_sources, len(names))) < share
    order = rng.random((num_sources, NUM_FACT_ITEMS)).argsort(axis=1).tolist()
    discussed = (rng.random(num_sources) >= NOT_DISCUSSED_SHARE).tolist()
    choices = numbers(rng, (num_sources, NUM_CHOICES))
    texts = []
    for row, paper in enumerate(papers):
        choice = Choices(choices[row].tolist())
        said = {name for name, is_given in zip(names, given[row].tolist()) if is_given}
        items = _items(paper, choice, said, order[row], bool(population[row]), bool(surroundings[row]))
        told = " ".join(f"{number}. {title}: {text}" for number, (title, text) in enumerate(items, start=1))
        if surroundings[row]:
            about = choice.say(
                "surroundings", field=setting.field(paper, choice), context=setting.surroundings(paper, choice)
            )
            argued = [about]
        else:
            argued = hypotheses(paper, choice, said) if discussed[row] else ["Not discussed."]
        texts.append(f"A) X-ray properties: {told or 'Not discussed.'} B) Hypotheses: {' '.join(argued)}")
    return texts


def _items(
    paper: Paper, choice: Choices, said: set[str], order: list[int], population: bool, surroundings: bool
) -> list[tuple[str, str]]:
    """Titles and texts of section A."""
    items: list[tuple[str, str]] = []
    later: list[tuple[str, str]] = []
    # Luminosities and ranges of flux tell of the flux, too.
    known = {*said, "flux"} if {"distance", "long_term"} & said else said
    missing = set() if population or surroundings else NOT_DISCUSSED - known
    for number in (*order, *range(NUM_FACT_ITEMS, len(ITEMS))):
        name, parts = ITEMS[number]
        sentences: list[str] = []
        title = name
        if name in TITLED_BY_PART and name not in said:
            title = next((part for part in parts if part in said), name)
        for part in parts:
            if part in said:
                written = WRITERS[part](paper, choice)
                if written and part in OWN_TITLE_SHARE and choice.share() < OWN_TITLE_SHARE[part]:
                    later.append((choice.of(lists[f"title.{part}"]), _begun(written)))
                else:
                    sentences += written
            elif part in missing and choice.share() < OMISSION_SHARE:
                sentences.append(choice.say(f"not_discussed.{part}"))
        if sentences:
            items.append((choice.of(lists[f"title.{title}"]), _begun(sentences)))
        if number == order[-1] or number >= NUM_FACT_ITEMS:
            items += later
            later = []
    if population:
        sample = setting.population(paper, choice)
        if not {"shape", "variability"} & said:
            sample.append(choice.say("sparse"))
        place = len(items) if choice.share() < 0.5 else 0
        items.insert(place, (choice.of(lists["title.population"]), _begun(sample)))
    return items


def _begun(sentences: list[str]) -> str:
    """An item cannot begin with what "it" has."""
    text = " ".join(sentences)
    for begin, instead in (("It ", "The source "), ("Its ", "The ")):
        if text.startswith(begin):
            return f"{instead}{text[len(begin) :]}"
    return text
