"""Whether a text tells a source's name, however it is spelled: "NGC 300 ULX-1" is "NGC300-ULX1"."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_GROUP = re.compile(r"[a-z]+|\d+")
# What SIMBAD puts before a name: "NAME Crab", "V* AM Her", "** STF 1", "EM* AS 209", "SV* HV 5", "[ABC2001] 12".
_PREFIX = re.compile(r"^(?:NAME|Cl\*|\*\*|\*|[A-Z]{1,3}\*)\s+", re.IGNORECASE)
# Every run is bounded: what a hostile text makes a model say must not take minutes.
# A designation by coordinates, of whatever catalogue: J132943+47115, 1E 1207.4-5209, 2CXO J004722.6-252050; no years.
_COORDINATES = re.compile(
    r"\b[JBG]\s?\d{3,}(?:\.\d+)?\s?[-+−–]\s?\d{2,}(?:\.\d+)?\b"
    r"|\b(?=[a-z0-9]{0,11}[A-Z])[A-Za-z0-9]{1,12}\s?(?!(?:19|20)\d\d\s?[-−–]\s?(?:19|20)\d\d\b)"
    r"\d{4}(?:\.\d+)?\s?[-+−–]\s?\d{2,4}\b"
)
_LEAST = 3  # letters and digits; what is shorter stands in any text


class Names:
    """Names that a text must not have.

    Args:
        names: a source's, as catalogues write them. One of less than three letters and digits is left out, unless it is
            a letter and a number (M 1), and one that is a number alone.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._known: dict[tuple[str, ...], str] = {}
        for name in names:
            for form in {name, _PREFIX.sub("", name)}:
                groups = _groups(form)
                letters = "".join(groups)
                is_short = len(letters) < _LEAST and not re.fullmatch(r"[a-z]\d", letters)
                if groups and not is_short and not letters.isdigit():
                    self._known[groups] = name
        self._lengths = sorted({len(groups) for groups in self._known})

    def told_in(self, text: str) -> str | None:
        """What of the text is a name: one of these, or any designation by coordinates; None where there is none."""
        groups = _groups(text)
        for length in self._lengths:
            for begin in range(len(groups) - length + 1):
                if groups[begin : begin + length] in self._known:
                    return " ".join(groups[begin : begin + length])
        found = _COORDINATES.search(text)
        return found[0] if found else None


def _groups(text: str) -> tuple[str, ...]:
    """Runs of letters and of digits, in small letters without accents."""
    text = unicodedata.normalize("NFKD", text).casefold()
    return tuple(_GROUP.findall("".join(character for character in text if not unicodedata.combining(character))))
