"""What is said around the facts: what the source is, how it was observed, and what it is compared with."""

from __future__ import annotations

from chandraclip.simulate.literature.grammar import LISTS as lists
from chandraclip.simulate.literature.grammar import Choices
from chandraclip.simulate.literature.papers import UNDECIDED, Paper
from chandraclip.simulate.literature.properties import HARD_LIMITS

WELL_STUDIED_FLUX, WELL_STUDIED_VISITS = 1e-12, 4  # at least, erg/s/cm2 and observations
UNNAMED_SHARE = 0.5  # of papers that do not classify a source, that say so
# Of counterparts described, that fit the class only; the others could be anything's.
TELLING_CONTEXT = {"named": 0.85, "tentative": 0.5, "argued": 0.1, "disputed": 0.1, "silent": 0.0}
LIKENESS_SHARE = {"named": 0.45, "tentative": 0.25, "argued": 0.0, "disputed": 0.0, "silent": 0.0}

# First and last year of pointed or survey observations.
ERAS = {
    "Chandra": (2000, 2021),
    "XMM-Newton": (2000, 2021),
    "Swift": (2005, 2021),
    "NuSTAR": (2012, 2021),
    "ROSAT": (1990, 1998),
    "eROSITA": (2019, 2021),
}


def identity(paper: Paper, choice: Choices) -> list[str]:
    """What papers take the source for; nothing, in some that do not."""
    if paper.stance == "silent":
        return [choice.say("silent")] if choice.share() < UNNAMED_SHARE else []
    stance = paper.stance
    if stance == "named" and paper.flux > WELL_STUDIED_FLUX and paper.num_visits >= WELL_STUDIED_VISITS:
        stance = "named.bright" if choice.share() < 0.3 else stance
    kind, rival_kind = paper.kind, paper.rival_kind
    if paper.stance in UNDECIDED and choice.share() < 0.5:
        kind, rival_kind = rival_kind, kind
    return [choice.say(stance, kind=kind, rival_kind=rival_kind)]


def context(paper: Paper, choice: Choices) -> list[str]:
    """The counterpart."""
    return [choice.say("context", context=surroundings(paper, choice))]


def surroundings(paper: Paper, choice: Choices) -> str:
    if choice.share() >= TELLING_CONTEXT[paper.stance]:
        return choice.of(lists["context.neutral"])
    options = lists[f"context.{paper.label}"]
    if paper.label == "AGN" and paper.nh < 100.0 and paper.log_lx > 44.0:  # broad lines are seen, the host is outshone
        options = options + 2 * lists["context.AGN.bright"]
    return choice.of(options)


def field(paper: Paper, choice: Choices) -> str:
    """Where a survey that lists the source looked."""
    telling = 0.5 * TELLING_CONTEXT[paper.stance]
    return choice.of(lists[f"field.{paper.label}" if choice.share() < telling else "field.neutral"])


def morphology(paper: Paper, choice: Choices) -> list[str]:
    """Whether it is a point on the sky; said rather of what was seen with good optics."""
    return [choice.say("morphology")]


def motive(paper: Paper, choice: Choices) -> list[str]:
    """What the data were taken for: seldom for this source."""
    return [choice.say("motive")]


def derived(paper: Paper, choice: Choices) -> list[str]:
    """Quantities that need a model of the source, and processes discussed."""
    share = choice.share()
    return [choice.say("derive")] * (share < 0.6) + [choice.say("invoke")] * (share > 0.4)


def other_wavebands(paper: Paper, choice: Choices) -> list[str]:
    return [choice.say("other.waveband")]


def observations(paper: Paper, choice: Choices) -> list[str]:
    """The history of observations."""
    first, last = ERAS[paper.mission]
    first_year = first + choice.next() % (last - first)
    last_year = first_year + 1 + choice.next() % (2022 - first_year)
    said = {
        "mission": paper.mission,
        "first_mission": paper.mission,
        "first_year": str(first_year),
        "last_year": str(last_year),
        "exposure": str(5 + choice.next() % 95),
        "num_epochs": _counted(paper.num_visits),
    }
    sentences = [choice.say("history.first", **said)]
    share = choice.share()
    if share < 0.6:
        sentences.append(choice.say("history.more", **said))
    if share < 0.2 or share > 0.7:
        sentences.append(choice.say("reduction"))
    if 0.3 < share < 0.6:
        sentences.append(choice.say("remark" if share < 0.45 else "technique"))
    return list(dict.fromkeys(sentences))


def comparison(paper: Paper, choice: Choices) -> list[str]:
    """With other sources, by colour, brightness or variability, and with a prototype where the class is told."""
    sentences = []
    if choice.share() < LIKENESS_SHARE[paper.stance]:
        sentences.append(choice.say("like", prototype=choice.of(lists[f"prototype.{paper.label}"])))
    style = choice.share()
    if style < 0.35:
        hard = HARD_LIMITS.searchsorted(paper.hard_share)
        sentences.append(choice.say(f"compare.{'soft' if hard < 1 else 'hard' if hard > 3 else 'middle'}"))
    elif style < 0.6 and not 3e-14 < paper.flux < 1e-12:
        sentences.append(choice.say("compare.faint" if paper.flux < 3e-14 else "compare.bright"))
    elif style < 0.75 and paper.variability != "constant":
        sentences.append(choice.say("compare.variable"))
    else:
        sentences.append(choice.say("compare.any"))
    return sentences


def population(paper: Paper, choice: Choices) -> list[str]:
    """Of a paper about many sources; its numbers are the sample's."""
    size = choice.of(lists["number.small" if choice.share() < 0.4 else "number.large"])
    sentences = [choice.say("population", field=field(paper, choice), number=size)]
    sentences += [choice.say("population.what") for _ in range(2 + choice.next() % 2)]
    return list(dict.fromkeys(sentences))


def _counted(number: int) -> str:
    words = ("Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")
    return words[min(max(number - 2, 0), 8)] if number < 11 else "A dozen"
