"""Whether a summary may be kept: it has the form, tells no name, and has nothing that the papers have not."""

from __future__ import annotations

import re
from dataclasses import dataclass

from chandraclip.summaries.cleaning import plain_text, speaks_to_a_model
from chandraclip.summaries.names import Names
from chandraclip.summaries.numbers import lacking

MAX_TOKENS = 600  # as published
CHARACTERS_PER_TOKEN = 4.0  # of English, roughly: for models whose tokens cannot be counted here
MAX_CHARACTERS = 4000
NOT_DISCUSSED = "Not discussed."
_SECTIONS = re.compile(
    r"\W*A\)\W*X-ray properties\W*?:(?P<a>.*?)(?:(?<=\s)|(?<=[.*]))\W{0,10}?B\)\W*Hypotheses\W*?:(?P<b>.*)",
    re.IGNORECASE | re.DOTALL,
)
_HEADING = re.compile(r"\b[A-Z]\)\s*(?:X-ray properties|Hypotheses)\b", re.IGNORECASE)
# What no summary has: addresses, code, keys, marks of templates and of our own data.
_FOREIGN = {
    "an address": re.compile(r"https?:|www\.|\w@\w|\barxiv\s*:", re.IGNORECASE),
    "code or markup": re.compile(r"```|<\||<[/!]?[a-z]+ ?/?>|\|>|\[/?INST\]|\{\"|\\u[0-9a-f]{4}", re.IGNORECASE),
    "a long string without spaces": re.compile(r"[^\s]{60,}|\b(?=[A-Za-z]*\d)[A-Za-z0-9+/=_]{32,}"),
    "words about its making": re.compile(
        r"\b(?:as an AI|language model|I (?:cannot|can't)|I'm|here's|the (?:text|data|JSON) (?:asks|orders|instructs)"
        r"|instruct(?:ion|ed)s?|system prompt|your prompt|password|api key)\b",
        re.IGNORECASE,
    ),
}
# Kinds of object. A summary that names one which no paper does was led astray, whether by a text or by itself.
KINDS = {
    "magnetar": r"magnetars?|soft gamma[- ]?(?:ray )?repeaters?|anomalous X-ray pulsars?|SGRs?|AXPs?",
    "pulsar": r"puls\w+|PULXs?",
    "neutron star": r"neutron[- ]stars?|NSs?|pulsars?|magnetars?",
    "white dwarf": r"white[- ]dwar(?:f|fs|ves)|WDs?|cataclysmic|novae?|polars?|CVs?",
    "cataclysmic variable": r"cataclysmic|CVs?|polars?|dwarf novae?",
    "black hole": r"black[- ]holes?|BHs?|IMBHs?|SMBHs?|AGNs?|quasars?|blazars?",
    "active nucleus": r"AGNs?|active galactic|active nucle\w+|quasars?|QSOs?|Seyferts?|blazars?|LINERs?|BL Lac\w*",
    "quasar": r"quasars?|QSOs?|quasi-stellar",
    "blazar": r"blazars?|BL Lac\w*|FSRQs?",
    "X-ray binary": r"X-ray binar\w+|HMXBs?|LMXBs?|XRBs?|binar(?:y|ies)",
    "ultraluminous source": r"ultra-?luminous|ULXs?",
    "young star": r"young stell\w+|YSOs?|protostars?|T Tauri|pre-main-sequence|Herbig\w*",
    "supernova": r"supernovae?|SNe?|SNRs?",
    "tidal disruption": r"tidal(?:ly)? disrupt\w+|TDEs?",
    "gamma-ray burst": r"gamma[- ]?ray bursts?|GRBs?|afterglows?",
    "cluster of galaxies": r"clusters? of galaxies|galaxy clusters?|intracluster|ICM",
    "planet": r"(?:exo)?planets?|planetary",
    "brown dwarf": r"brown[- ]dwar(?:f|fs|ves)",
    "dark matter": r"dark[- ]matter",
    "extraterrestrial": r"extraterrestrial\w*|aliens?|technosignatures?",
}
_KINDS = {kind: re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE) for kind, pattern in KINDS.items()}


@dataclass(frozen=True)
class Judged:
    """A summary on one line, as datasets have it, and what is wrong with it; nothing, where it may be kept."""

    summary: str
    problems: list[str]


def judge(answer: str, evidence: str, names: Names, num_tokens: int | None, is_cut_off: bool) -> Judged:
    """Holds an answer against what the model was shown.

    Args:
        answer: of the model.
        evidence: titles and abstracts, cleaned.
        names: of the source.
        num_tokens: of the answer; None where they cannot be counted.
        is_cut_off: the model was stopped at its limit.

    Returns:
        "A) X-ray properties: ... B) Hypotheses: ..." and the problems, in words that can be sent back to the model.
    """
    if len(answer) > 4 * MAX_CHARACTERS:
        return Judged("", [f"it is longer than {MAX_TOKENS} tokens"])
    text = plain_text(answer)
    found = _SECTIONS.fullmatch(text)
    problems = []
    if is_cut_off:
        problems.append("it was cut off at the limit of its length")
    if found is None:
        return Judged(
            text, [*problems, "it has not the two sections A) X-ray properties: and B) Hypotheses:, in this order"]
        )
    if len(_HEADING.findall(text)) != 2:
        problems.append("it has more than the two sections")
    sections = [_section(found[name]) for name in ("a", "b")]
    if not all(sections):
        problems.append(f'a section is empty; "{NOT_DISCUSSED}" belongs there')
    summary = f"A) X-ray properties: {sections[0]} B) Hypotheses: {sections[1]}"
    tokens = num_tokens if num_tokens is not None else len(summary) / CHARACTERS_PER_TOKEN
    if tokens > MAX_TOKENS or len(summary) > MAX_CHARACTERS:
        problems.append(f"it is longer than {MAX_TOKENS} tokens")
    body = " ".join(sections)
    if (name := names.told_in(body)) is not None:
        problems.append(f'it tells a name or a position ("{name}")')
    if missing := lacking(body, evidence):
        problems.append(f"it has numbers that the papers have not ({', '.join(missing[:5])})")
    if strange := [kind for kind, pattern in _KINDS.items() if pattern.search(body) and not pattern.search(evidence)]:
        problems.append(f"it speaks of what the papers do not ({', '.join(strange[:5])})")
    problems += [f"it has {what}" for what, pattern in _FOREIGN.items() if pattern.search(body)]
    if speaks_to_a_model(body):
        problems.append("it repeats an instruction")
    return Judged(summary, problems)


def _section(text: str) -> str:
    text = text.strip(" *#_\n")
    return NOT_DISCUSSED if re.fullmatch(r"not discussed\.?", text, re.IGNORECASE) else text
