"""Text of strangers, made harmless: markup in plain characters, nothing invisible, no token of a chat model, and
sentences that speak to a model withheld.

None of this is a proof: a claim about the source that is false but sounds as a paper does cannot be told from one.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

_RAISED = re.compile(r"<(SUP|SUB)>([^<]{0,200})</\1>", re.IGNORECASE)
# The tags that ADS has in titles and abstracts; others stand for "less than", or are text.
_TAG = re.compile(
    r"</?(?:sub|sup|p|br|i|b|em|strong|a|span|div|inline-formula|tex-math|mml:\w+|jats:\w+|list|list-item|astrobj|pre)"
    r"(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_RAISED_DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_RAISED_RUN = re.compile("[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
# What opens a token of a chat template: "<|im_end|>", "<s>", "[INST]", "<<SYS>>", "<｜User｜>".
_TOKEN = re.compile(r"<(?=[|｜/<A-Za-z_▁])|(?<=[\w|｜])>(?=>|\s*$)|\[(?=/?[A-Z_]{3,}\])")

# Of sentences that speak to who reads them by a machine, not to astronomers.
_SPEAKS = re.compile(
    r"""\b(?:ignor|disregard|forget|overrid|bypass)\w*\W+(?:\w+\W+){0,4}?
        (?:instruc|directive|anweisung|consigne|your\s+rules|the\s+rules|prompts?\b(?!\s+(?:emission|phase|gamma|x-ray|spectr|flux|optical|high))
        |(?:everything|anything|all)\s+(?:above|before|you)|(?:above|previous|prior)\s+(?:text|message|task))
    |\b(?:previous|prior|above|earlier|new|following|these|your|system|hidden)\s+(?:instruction|directive|command)s?\b
    |\b(?:your|system|hidden|developer)\s+(?:prompt|message|override)s?\b
    |\b(?:as|you\s+are|act\s+as|pretend\s+to\s+be|you're)\s+an?\s+(?:\w+\s+){0,3}(?:AI|LLM|assistant|language\s+model|chatbot)\b
    |\b(?:AI|LLM|language\s+model|assistant|chatbot|summari[sz]er)s?\b\W+(?:\w+\W+){0,5}?(?:must|should|shall|will|please|have\s+to|reading|process|summari)
    |\b(?:note|attention|message|instruction|memo)\w*\s+(?:to|for)\s+(?:the\s+|all\s+|any\s+)*(?:AI|LLM|assistant|language|summari|chatbot)
    |\byou\s+(?:must|should|shall|will\s+now|have\s+to|are\s+(?:now|required|asked|to|free))\b
    |\b(?:your|the|this)\s+summary\s+(?:must|should|shall|has\s+to|is\s+to|will)\b
    |\byour\s+(?:answer|response|reply|output)\b
    |\b(?:respond|reply|answer|print|repeat|reveal|write|say)\b[^.]{0,40}\b(?:only\s+with|exactly|verbatim|the\s+words?|the\s+phrase|the\s+string|password|secret|token|api\s+key)\b
    |\b(?:begin|end|include|add|mention|insert|state|write)\b[^.]{0,60}\bin\s+(?:the|your|this|any)\s+(?:answer|summary|response|reply)\b
    |\b(?:BEGIN|END)\s+DATA\b
    |^\W*(?:system|assistant|user|human|developer)\W*:\s
    |\#\#\#\s*(?:instruction|response|system|human|assistant)
    |<\|\w+\|>|\[/?INST\]|<</?SYS>>
    |\b(?:jailbreak|prompt\s+injection|do\s+anything\s+now)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+|\n+")


@dataclass(frozen=True)
class Cleaned:
    """A text as a model is shown it, and how many sentences of it were withheld."""

    text: str
    num_withheld: int


def plain_text(text: str) -> str:
    """One line of visible characters: markup as ``10^37``, no control, formatting or private characters."""
    text = html.unescape(html.unescape(text))  # ADS escapes twice now and then
    for _ in range(3):  # one within the other
        text = _RAISED.sub(lambda found: f"{'^' if found[1].lower() == 'sup' else '_'}{found[2].strip()}", text)
    text = _TAG.sub(" ", text)
    text = _RAISED_RUN.sub(lambda found: f"^{found[0].translate(_RAISED_DIGITS)}", text)
    text = unicodedata.normalize("NFKC", text)  # letters in disguise
    text = "".join(
        " " if character.isspace() or unicodedata.category(character) == "Cc" else character
        for character in text
        if character.isspace() or unicodedata.category(character) not in ("Cf", "Co", "Cs", "Cn")
    )
    return " ".join(text.split())


@lru_cache(maxsize=20_000)  # a survey's abstract comes with each of its sources
def clean(text: str) -> Cleaned:
    """What a model may be shown of a stranger's text."""
    sentences = _SENTENCE.split(plain_text(text))
    kept = [sentence for sentence in sentences if sentence and not speaks_to_a_model(sentence)]
    return Cleaned(without_tokens(" ".join(kept)), sum(bool(sentence) for sentence in sentences) - len(kept))


def speaks_to_a_model(sentence: str) -> bool:
    """Whether it is written for who summarises it."""
    return _SPEAKS.search(sentence) is not None


def without_tokens(text: str, tokens: tuple[str, ...] = ()) -> str:
    """The text without special tokens of chat models: those of usual templates, and `tokens`, are taken apart."""
    text = _TOKEN.sub(lambda found: f" {found[0]}" if found[0] == ">" else f"{found[0]} ", text)
    for token in sorted((token for token in tokens if len(token) > 1), key=len, reverse=True):
        while token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text
