"""Numbers in texts, by their value: ``4.7 x 10^{39}``, ``4.7e39`` and ``4.7×10³⁹`` are the same."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

_TEN_TO = r"10\s*(?:\^|\*\*)\s*[{(]?\s*"
_EXPONENT = r"[-+]?\s*\d{1,3}"
_PLAIN = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"(?P<mantissa>{_PLAIN})\s*(?:x|×|\*|·|\\times|\btimes\b)\s*{_TEN_TO}(?P<exponent>{_EXPONENT})\s*[}})]?"
    rf"|(?P<float>(?:{_PLAIN})[eE][-+]?\d{{1,3}})(?!\w|\.\d)"
    rf"|(?<![\d.]){_TEN_TO}(?P<power>{_EXPONENT})\s*[}})]?"
    rf"|(?P<plain>{_PLAIN})",
)
# An exponent of a unit, which is no number: cm^-2, erg s-1, Mpc3, s^{-1}, M_sun^2.
_UNIT = re.compile(
    r"\b(?:[fpnµumkMGT]?(?:eV|Hz|pc|Jy|m|s|g|G)|[ckm]m|erg|ergs|yr|sr|deg|arcsec|arcmin|sec|counts?|photons?|ph|cts|ks|keV|M_?sun|K|T)"
    r"\s?(?:\^\s?)?(?:\{\s?[-+]?\s?\d\s?\}|\(\s?[-+]?\s?\d\s?\)|[-+]?\d)(?![\d.])"
)
_FROM_THREE = ("three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_WORDS = {word: Decimal(number) for number, word in enumerate(_FROM_THREE, start=3)}
_WORD = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b", re.IGNORECASE)
_ENUMERATION = re.compile(r"(?:^|(?<=[.:;!?]\s)|(?<=\s))(\d{1,2})[.)]\s+(?=[A-Z])")


def values_in(text: str) -> set[Decimal]:
    """The values of all numbers in a text, without their signs; of a power of ten also what it is made of."""
    found: set[Decimal] = set()
    for value, parts in _numbers(text):
        found |= {value, *parts}
    return found


def lacking(text: str, source: str) -> list[str]:
    """Numbers of a text that another has not, as they stand there, each once.

    Numbers of an enumeration (1. 2. 3.) do not count, nor do the words one and two, which are more than numbers.
    """
    known = values_in(source)
    result = []
    for value, _, shown in _spelled(_without_enumeration(text)):
        if value not in known:
            result.append(shown)
    return list(dict.fromkeys(result))


def _numbers(text: str) -> list[tuple[Decimal, list[Decimal]]]:
    return [(value, parts) for value, parts, _ in _spelled(text)]


def _spelled(text: str) -> list[tuple[Decimal, list[Decimal], str]]:
    """(value, the values of its parts, as it is written) of each number."""
    text = text.replace("−", "-").replace("–", "-").replace("‐", "-").replace("\u00a0", " ")
    text = _UNIT.sub(" ", text)
    result = []
    for match in _NUMBER.finditer(text):
        groups = match.groupdict()
        exponent = (groups["exponent"] or groups["power"] or "0").replace(" ", "")
        try:
            if groups["mantissa"] is not None:
                mantissa = _decimal(groups["mantissa"])
                entry = (mantissa.scaleb(int(exponent)), [mantissa, abs(Decimal(exponent))])
            elif groups["float"] is not None:
                entry = (_decimal(groups["float"]), [])
            elif groups["power"] is not None:
                entry = (Decimal(1).scaleb(int(exponent)), [abs(Decimal(exponent))])
            else:
                entry = (_decimal(groups["plain"]), [])
        except InvalidOperation:  # an exponent beyond all reason
            entry = (Decimal("NaN"), [])
        result.append((*entry, " ".join(match[0].split())))
    return result + [(_WORDS[match[0].lower()], [], match[0]) for match in _WORD.finditer(text)]


def _decimal(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


def _without_enumeration(text: str) -> str:
    """Takes 1. 2. 3. away where they follow each other from 1; what is out of step is a number."""
    expected = 1

    def drop(match: re.Match[str]) -> str:
        nonlocal expected
        number = int(match[1])
        if number not in (expected, 1):
            return match[0]
        expected = number + 1
        return " "

    return _ENUMERATION.sub(drop, text)
