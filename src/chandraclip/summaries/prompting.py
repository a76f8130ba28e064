"""What a model is asked: a prompt of `prompts/`, by its version, around papers that are data and nothing else.

The papers are one line of JSON between two marks that hold its SHA-256: no text within can end the data, since it would
have to know the hash of itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from chandraclip.errors import OptionError
from chandraclip.summaries.cleaning import clean

Message = dict[str, str]
DEFAULT = "ab-1"
MAX_CHARACTERS = 24_000  # of the papers, about 6,000 tokens: whole papers beyond are left out
MAX_ABSTRACT = 6000
_PROMPTS = files("chandraclip.summaries") / "prompts"


@dataclass(frozen=True)
class Prompt:
    """A version of the prompt; what it says never changes under its name.

    Attributes:
        again: what is added when an answer was not accepted.
    """

    version: str
    system: str
    user: str
    again: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(json.dumps([self.system, self.user, self.again]).encode()).hexdigest()


@dataclass(frozen=True)
class Question:
    """What papers say, ready to be asked about.

    Attributes:
        data: the papers as one line of JSON.
        evidence: all that the model is shown of them, as text.
        bibcodes: of the papers that are in it.
        num_withheld: sentences that speak to a model and were left out.
    """

    data: str
    evidence: str
    bibcodes: tuple[str, ...]
    num_withheld: int
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", hashlib.sha256(self.data.encode()).hexdigest())

    def messages(self, prompt: Prompt, problems: Sequence[str] = ()) -> list[Message]:
        """The conversation; `problems` of the answer before."""
        mark = self.key[:16]
        block = f"BEGIN DATA {mark}\n{self.data}\nEND DATA {mark}"
        user = prompt.user.replace("{num_papers}", str(len(self.bibcodes))).replace("{data}", block)
        if problems:
            user += "\n\n" + prompt.again.replace("{reasons}", "; ".join(problems))
        return [{"role": "system", "content": prompt.system}, {"role": "user", "content": user}]


def versions() -> list[str]:
    return sorted(path.name.removesuffix(".md") for path in _PROMPTS.iterdir() if path.name.endswith(".md"))


@cache
def read_prompt(version: str = DEFAULT) -> Prompt:
    """A prompt that comes along.

    Raises:
        OptionError: there is none of this version.
    """
    if version not in versions():
        raise OptionError(f"no prompt {version!r}; there are {', '.join(versions())}")
    text = (_PROMPTS / f"{version}.md").read_text()
    parts = re.split(r"^# (system|user|again)\n", text, flags=re.MULTILINE)[1:]
    sections = {name: body.strip() for name, body in zip(parts[::2], parts[1::2])}
    return Prompt(version, **sections)


def ask_about(
    bibcodes: Sequence[str], titles: Sequence[str | None], abstracts: Sequence[str | None]
) -> Question | None:
    """The question that some papers make; None where none has an abstract.

    Papers without an abstract are left out, and those beyond `MAX_CHARACTERS`.
    """
    papers: list[dict[str, str]] = []
    taken: list[str] = []
    texts: list[str] = []
    num_withheld = size = 0
    for bibcode, title, abstract in zip(bibcodes, titles, abstracts, strict=True):
        said, named = clean((abstract or "")[: 2 * MAX_ABSTRACT]), clean((title or "")[:1000])
        text = said.text[:MAX_ABSTRACT]
        if not text:
            num_withheld += said.num_withheld
            continue
        if papers and size + len(text) > MAX_CHARACTERS:
            break
        size += len(text) + len(named.text)
        papers.append({"title": named.text, "abstract": text})
        texts += [named.text, text]
        taken.append(bibcode)
        num_withheld += said.num_withheld + named.num_withheld
    if not papers:
        return None
    return Question(json.dumps({"papers": papers}, ensure_ascii=False), "\n".join(texts), tuple(taken), num_withheld)
