"""The wordings of `wording/*.txt`, composed: a sentence has choices within it, and words from shared lists.

A file has sections ``## name``, one wording a line. ``[a|b]`` is a choice, ``<list>`` a word of the section of that
name, ``{field}`` a fact. A section without choices or fields, whose one line has bars, is a list: ``a|b|c``.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

import numpy as np

PART = re.compile(r"\[([^]]*)]|<(\w+)>")
OPEN_ARTICLE = re.compile(r"\b[Aa] (?:$|\{)")
# No wording has "a" before a vowel that sounds as a consonant.
VOWEL = re.compile(r"\b([Aa]) (?=[aeiouX])")
Part = str | tuple[str, ...]


class Sentence:
    """A wording with its choices; `write` decodes a number into one of them.

    Attributes:
        parts: text, or what stands in its place. An article before a choice or a fact is made to suit.
    """

    __slots__ = ("_has_article", "_has_fields", "parts")

    def __init__(self, parts: tuple[Part, ...]) -> None:
        self.parts = parts
        options = [option for part in parts for option in ((part,) if isinstance(part, str) else part)]
        self._has_fields = any("{" in option for option in options)
        self._has_article = any(OPEN_ARTICLE.search(option) for option in options)

    def write(self, number: int, /, **fields: str) -> str:
        """The sentence: choices by the digits of the number, in the mixed base of their sizes; facts filled in."""
        text = ""
        for part in self.parts:
            if part.__class__ is tuple:
                number, digit = divmod(number, len(part))
                text += part[digit]
            else:
                text += part  # type: ignore[operator]
        if self._has_fields:
            text = text.format_map(fields)
        if self._has_article:
            text = VOWEL.sub(r"\1n ", text)
        return text if text[0] <= "Z" else text[0].upper() + text[1:]


class Choices:
    """The random numbers of one text, taken one after the other."""

    __slots__ = ("next",)

    def __init__(self, numbers: list[int]) -> None:
        self.next = iter(numbers).__next__

    def share(self) -> float:
        """Between 0 and 1."""
        return self.next() / 2**62

    def of(self, options: tuple[str, ...]) -> str:
        return options[self.next() % len(options)]

    def say(self, section: str, /, **fields: str) -> str:
        """One of a section's sentences."""
        sentences = SECTIONS[section]
        number, row = divmod(self.next(), len(sentences))
        return sentences[row].write(number, **fields)


def numbers(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """What `Choices` takes: integers of 62 bits."""
    return rng.integers(0, 2**62, size)


@cache
def read_wordings() -> dict[str, tuple[str, ...]]:
    """Section -> lines, of all files.

    Raises:
        ValueError: a section stands twice, or a line before any.
    """
    sections: dict[str, list[str]] = {}
    folder = resources.files("chandraclip.simulate.literature").joinpath("wording")
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        name = ""
        for line in file.read_text().splitlines():
            if line.startswith("## "):
                name = line.removeprefix("## ")
                if name in sections:
                    raise ValueError(f"{file.name}: section {name} stands twice")
                sections[name] = []
            elif line and not line.startswith("#"):
                if not name:
                    raise ValueError(f"{file.name}: a line before the first section")
                sections[name].append(line)
    return {name: tuple(lines) for name, lines in sections.items()}


def is_list(lines: tuple[str, ...]) -> bool:
    return len(lines) == 1 and "|" in lines[0] and not re.search(r"[\[{<]", lines[0])


def compiled(line: str, lists: dict[str, tuple[str, ...]]) -> Sentence:
    """A line as a sentence.

    Raises:
        ValueError: it asks for a list that is not there.
    """
    parts: list[Part] = []
    end = 0
    for match in PART.finditer(line):
        parts.append(line[end : match.start()])
        options, name = match.groups()
        if name and name not in lists:
            raise ValueError(f"no list <{name}>, asked for by {line!r}")
        if name:
            parts.append(lists[name])
        else:
            # A list within a choice: every word of it is an option of its own.
            spread = [_spread(option, lists) for option in options.split("|")]
            parts.append(tuple(option for several in spread for option in several))
        end = match.end()
    parts.append(line[end:])
    return Sentence(tuple(part for part in parts if part))


def _spread(option: str, lists: dict[str, tuple[str, ...]]) -> list[str]:
    found = re.search(r"<(\w+)>", option)
    if not found:
        return [option]
    return [option.replace(found[0], word) for word in lists[found[1]]]


def _lists() -> dict[str, tuple[str, ...]]:
    return {name: tuple(lines[0].split("|")) for name, lines in read_wordings().items() if is_list(lines)}


LISTS = _lists()
SECTIONS = {
    name: tuple(compiled(line, LISTS) for line in lines) for name, lines in read_wordings().items() if name not in LISTS
}
