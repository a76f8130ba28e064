"""Section B: what the properties are used for. Arguments follow from what section A told; a class's own questions are
named where the class is."""

from __future__ import annotations

import numpy as np

from chandraclip.simulate.literature.grammar import LISTS as lists
from chandraclip.simulate.literature.grammar import SECTIONS, Choices
from chandraclip.simulate.literature.papers import UNDECIDED, Paper
from chandraclip.simulate.literature.properties import HARD_LIMITS, beat

ARGUMENTS = 4  # at most
OUTLOOK_SHARE = 0.6


def hypotheses(paper: Paper, choice: Choices, said: set[str]) -> list[str]:
    """Sentences, of a paper that told the facts in `said`."""
    options = arguments(paper, said)
    column = f"10^{20.0 + np.log10(paper.nh):.0f} cm^-2"
    flux = f"10^{np.log10(paper.flux):.0f} erg/s/cm2"
    luminosity = f"10^{paper.log_lx:.0f} erg/s" if np.isfinite(paper.log_lx) else ""
    sentences = []
    for _ in range(min(ARGUMENTS, len(options))):
        argument = options.pop(choice.next() % len(options))
        sentences.append(choice.say(f"arg.{argument}", column=column, flux=flux, luminosity=luminosity))
    if paper.stance in UNDECIDED:
        both = [(paper.kind, paper.label), (paper.rival_kind, paper.rival)]
        (kind, label), (rival_kind, rival) = both if choice.share() < 0.5 else reversed(both)
        hypothesis, rival_hypothesis = choice.of(lists[f"hyp.{label}"]), choice.of(lists[f"hyp.{rival}"])
        sentences.append(
            choice.say(
                "versus",
                kind=kind,
                rival_kind=rival_kind,
                hypothesis=hypothesis,
                rival_hypothesis=rival_hypothesis,
            )
        )
    elif paper.stance != "silent":
        sentences.append(choice.say("frame", hypothesis=choice.of(lists[f"hyp.{paper.label}"])))
    if paper.variability != "transient" and (choice.share() < OUTLOOK_SHARE or not sentences):
        sentences.append(choice.say("outlook"))
    return sentences


def arguments(paper: Paper, said: set[str]) -> list[str]:
    """Sections ``arg.*`` that the facts allow."""
    found = []
    if "column" in said:
        found.append("column.low" if paper.nh < 10.0 else "column.moderate" if paper.nh < 100.0 else "column.high")
    if "shape" in said:
        value = paper.gamma if paper.main == "powerlaw" else paper.kt
        if paper.main == "powerlaw" and np.isfinite(value):
            found.append(f"slope.{'flat' if value < 1.4 else 'typical' if value < 2.3 else 'steep'}")
        elif paper.main in ("plasma", "bremsstrahlung") and np.isfinite(value):
            found.append("thermal.cool" if value < 1.0 else "thermal.hot")
        elif paper.main in ("blackbody", "diskbb"):
            found.append(paper.main)
    if "colour" in said:
        hard = HARD_LIMITS.searchsorted(paper.hard_share)
        found.append(f"colour.{'soft' if hard < 2 else 'hard' if hard > 2 else 'middle'}")
    if "flux" in said:
        found.append("flux.faint" if paper.flux < 1e-14 else "flux.bright" if paper.flux > 3e-13 else "flux.middle")
    if "distance" in said and np.isfinite(paper.log_lx):
        level = np.searchsorted([30.0, 33.0, 42.5], paper.log_lx)
        found.append(f"energy.{('low', 'middle', 'high', 'extreme')[level]}")
    if "variability" in said:
        kind = beat(paper) if paper.variability == "pulsation" else paper.variability
        if f"arg.{kind}" in SECTIONS:
            found.append(kind)
    kind = paper.long_term
    changes = kind == "steady" or (kind != "red_noise" and paper.amplitude > 1.5)
    if "long_term" in said and changes and paper.variability != "transient":
        found.append(kind)
    return found
