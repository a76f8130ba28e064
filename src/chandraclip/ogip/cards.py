"""The cards of a FITS header as values (FITS standard 4.0, section 4), parsed one by one when asked for.

Own parser, not astropy's `Header`: that makes an object of every card, mends some damage with a warning and meets other
damage with any of a dozen exceptions. Here a value is read by the standard's grammar or it is damaged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

CARD = 80
_VALUE = re.compile(
    r"""\ *(?:
        '(?P<text>(?:[^']|'')*)'
      | (?P<logical>[TF])
      | \(\ *(?P<real>[^,/()]+),(?P<imaginary>[^,/()]+)\)
      | (?P<number>[+-]?\ *(?:\d+\.?\d*|\.\d+)(?:\ *[EDed]\ *[+-]?\ *\d+)?)
    )?\ *(?:/.*)?""",
    re.VERBOSE | re.DOTALL,
)


class DamagedCard(ValueError):
    """A keyword whose value cannot be told; the message says why."""


class Cards:
    """Keywords and values of one header.

    Args:
        content: the cards up to END, 80 bytes each.
    """

    def __init__(self, content: bytes):
        text = self._text = content.decode("latin-1")
        places = range(0, len(text), CARD)
        keywords = [text[place : place + 8] for place in places]
        self._places = dict(zip(reversed(keywords), reversed(places)))  # the first card of each keyword
        self._repeated: dict[str, list[int]] = {}
        if len(self._places) < len(keywords):
            for keyword, place in zip(keywords, places):
                if self._places[keyword] != place:
                    self._repeated.setdefault(keyword, []).append(place)
        self._known: dict[str, Any] = {}

    def __iter__(self) -> Iterator[str]:
        """The keywords, each once."""
        return (keyword.rstrip() for keyword in reversed(self._places))

    def __len__(self) -> int:
        """Number of cards."""
        return len(self._text) // CARD

    def get(self, keyword: str) -> Any:
        """A keyword's value, None where it is absent or has none.

        Returns:
            str without trailing blanks, bool, int, float or complex.

        Raises:
            DamagedCard: what is written is no value, or the keyword is given twice with different values.
        """
        if keyword in self._known:
            return self._known[keyword]
        padded = keyword.upper().ljust(8)
        place = self._places.get(padded)
        if place is None:
            self._known[keyword] = None
            return None
        value = self._value(place)
        others = [self._value(other) for other in self._repeated.get(padded, ())]
        if any(other != value for other in others):
            raise DamagedCard(f"is given {len(others) + 1} times, as {value!r} and {others[-1]!r}")
        self._known[keyword] = value
        return value

    def card(self, keyword: str) -> tuple[int, str] | None:
        """Where the first card of a keyword begins, in bytes, and its 80 characters."""
        place = self._places.get(keyword.ljust(8))
        return None if place is None else (place, self._text[place : place + CARD])

    def _value(self, place: int) -> Any:
        if self._text[place + 8 : place + 10] != "= ":
            return None  # a comment, by the standard
        written = self._text[place + 10 : place + CARD]
        match = _VALUE.fullmatch(written)
        if match is None:
            raise DamagedCard(f"is written {written.strip()!r}, which is no FITS value")
        if match["text"] is not None:
            # Old writers fill strings with NULs, which end a string where C reads it.
            return self._continued(match["text"], place).replace("''", "'").partition("\0")[0].rstrip()
        if match["logical"]:
            return match["logical"] == "T"
        try:
            if match["real"]:
                return complex(_number(match["real"]), _number(match["imaginary"]))
            return _number(match["number"]) if match["number"] else None
        except ValueError:
            raise DamagedCard(f"is written {written.strip()!r}, which is no FITS value") from None

    def _continued(self, text: str, place: int) -> str:
        """A string with the CONTINUE cards that follow it (section 4.2.1.2)."""
        parts = [text]
        while parts[-1].endswith("&"):
            place += CARD
            match = _VALUE.fullmatch(self._text[place + 8 : place + CARD])
            if self._text[place : place + 8] != "CONTINUE" or match is None or match["text"] is None:
                break
            parts[-1] = parts[-1][:-1]
            parts.append(match["text"])
        return "".join(parts)


def _number(written: str) -> int | float:
    plain = written.replace(" ", "").upper().replace("D", "E")
    return float(plain) if any(mark in plain for mark in ".E") else int(plain)
