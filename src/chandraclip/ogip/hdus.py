"""Where the header-data units of a FITS file lie (FITS standard 4.0, sections 3 and 4.4), told from its headers alone.

Every size that a header states is checked against the bytes that are there before anything is made of it, so that a
header that lies costs neither memory nor time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chandraclip.errors import InputFileError
from chandraclip.ogip.cards import CARD, Cards, DamagedCard

BLOCK = 2880
MAX_HDUS = 10_000
MAX_CARDS = 100_000
_END = b"END     "
_BITPIX = (8, 16, 32, 64, -32, -64)
_TABLES = ("BINTABLE", "A3DTABLE")  # the second is what binary tables were called before the standard


@dataclass(frozen=True, eq=False)
class Hdu:
    """One header-data unit.

    Attributes:
        index: 0 for the primary one.
        kind: ``"PRIMARY"``, ``"COMPRESSED IMAGE"`` (a table that stands for an image), or the value of XTENSION.
        name: EXTNAME, or ''.
        cards: the header.
        start, data_start, data_size, end: bytes from the beginning of the file; `end` is that of the last block.
    """

    index: int
    kind: str
    name: str
    cards: Cards
    start: int
    data_start: int
    data_size: int
    end: int

    @property
    def label(self) -> str:
        """Name and number, as errors give it, e.g. ``"SPECTRUM,1"``."""
        return f"{self.name},{self.index}" if self.name else str(self.index)

    @property
    def is_table(self) -> bool:
        """A binary table."""
        return self.kind in _TABLES


def find_hdus(path: Path, content: bytes) -> list[Hdu]:
    """The units of a file, the primary one first.

    Raises:
        InputFileError: not FITS; cut off, or bytes lost or added; a mandatory keyword missing or impossible.
    """
    if not content.startswith(b"SIMPLE  ="):
        begins = content[:20].decode("latin-1")
        raise InputFileError(path, f"not a FITS file: it begins with {begins!r}, not with SIMPLE")
    if len(content) % BLOCK:
        raise InputFileError(
            path,
            f"{len(content)} bytes are no multiple of {BLOCK}, the FITS block: the file is cut off, or bytes were lost "
            "or added",
        )
    found: list[Hdu] = []
    position = 0
    while position < len(content):
        if found and not content.startswith(b"XTENSION", position):
            _check_rest(path, content, position, found[-1])
            break
        if len(found) == MAX_HDUS:
            raise InputFileError(path, f"more than {MAX_HDUS} extensions")
        found.append(_read_hdu(path, content, position, len(found)))
        position = found[-1].end
    return found


def _read_hdu(path: Path, content: bytes, start: int, index: int) -> Hdu:
    num_cards = _cards_before_end(path, content, start, index)
    cards = Cards(content[start : start + num_cards * CARD])

    def fault(reason: str, name: str = "") -> InputFileError:
        return InputFileError(path, reason, f"{name},{index}" if name else index)

    def value(keyword: str) -> Any:
        try:
            return cards.get(keyword)
        except DamagedCard as error:
            raise fault(f"damaged FITS header: keyword {keyword} {error}") from None

    def whole(keyword: str, default: int | None = None, low: int = 0) -> int:
        number = value(keyword)
        number = default if number is None else number
        if number is None:
            raise fault(f"damaged FITS header: no {keyword}")
        if not isinstance(number, int) or isinstance(number, bool):
            raise fault(f"damaged FITS header: {keyword} is {number!r}, not a whole number")
        if number < low:
            raise fault(f"damaged FITS header: {keyword} is {number}")
        return number

    if index == 0:
        kind, name = "PRIMARY", ""
        if value("SIMPLE") is not True:
            raise fault(f"SIMPLE is {value('SIMPLE')!r}, not T: by its own word no standard FITS file")
    else:
        kind, name = str(value("XTENSION")).strip().upper(), _name(cards)
        if kind == "IUEIMAGE":
            kind = "IMAGE"
    bitpix = whole("BITPIX", low=-64)
    if bitpix not in _BITPIX:
        raise fault(f"damaged FITS header: BITPIX is {bitpix}", name)
    num_axes = whole("NAXIS")
    if num_axes > 999:
        raise fault(f"damaged FITS header: NAXIS is {num_axes}, and 999 is the most", name)
    axes = [whole(f"NAXIS{number}") for number in range(1, num_axes + 1)]
    parameters, groups = whole("PCOUNT", 0), whole("GCOUNT", 1, low=1)
    if kind in _TABLES:
        if bitpix != 8 or num_axes != 2 or groups != 1:
            reason = f"a binary table has BITPIX 8, NAXIS 2, GCOUNT 1, not {bitpix}, {num_axes}, {groups}"
            raise fault(f"damaged FITS header: {reason}", name)
        if axes[0] == 0 and axes[1] > 0:
            raise fault(f"damaged FITS header: NAXIS2 gives {axes[1]} rows of no bytes", name)
        if whole("TFIELDS") > 999:
            raise fault(f"damaged FITS header: TFIELDS is {whole('TFIELDS')}, and 999 columns are the most", name)
        if value("ZIMAGE") is True:
            kind = "COMPRESSED IMAGE"
    if index == 0 and axes and axes[0] == 0 and value("GROUPS") is True:
        axes = axes[1:]  # random groups (section 6)
    size = 0
    if axes:
        size = groups * parameters
        product = groups
        for axis in axes:
            product *= axis
        size = (size + product) * abs(bitpix) // 8
    data_start = start + -(-(num_cards + 1) * CARD // BLOCK) * BLOCK
    if data_start + size > len(content):
        reason = f"the file is cut off, or its header lies: {len(content)} bytes of at least {data_start + size}"
        raise fault(reason, name)
    end = data_start + -(-size // BLOCK) * BLOCK
    fill = content[data_start + size : end]
    if fill.strip(b"\0") and fill.strip(b" "):
        raise fault(
            "the data's last block is not filled with zeros: bytes were lost or added, or the header lies", name
        )
    return Hdu(index, kind, name, cards, start, data_start, size, end)


def _name(cards: Cards) -> str:
    try:
        name = cards.get("EXTNAME")
    except DamagedCard:
        return ""
    return "" if name is None else str(name).strip()


def _cards_before_end(path: Path, content: bytes, start: int, index: int) -> int:
    """Number of cards before END."""
    limit = start + min((len(content) - start) // CARD, MAX_CARDS) * CARD
    place = content.find(_END, start, limit)
    while place >= 0 and (place - start) % CARD:  # within a card's text
        place = content.find(_END, place + 1, limit)
    # A header in which another extension begins has lost its END: the one found is that extension's.
    if place >= 0 and content.find(b"XTENSION= ", start + CARD, place) < 0:
        return (place - start) // CARD
    raise InputFileError(path, "damaged FITS header: it has no END, or the file is cut off inside it", index)


def _check_rest(path: Path, content: bytes, position: int, last: Hdu) -> None:
    """Blocks of zeros or blanks may follow the last extension, as tapes left them; nothing else may."""
    rest = np.frombuffer(content, np.uint8, offset=position)
    if (rest == rest[0]).all() and rest[0] in (0, 32):
        return
    near = content.find(b"XTENSION= ", max(0, position - BLOCK), position + BLOCK)
    side = "before" if near < position else "after"
    hint = "" if near < 0 else f"; an extension begins {abs(near - position)} bytes {side}"
    reason = f"what follows its data is no extension{hint}: bytes were lost or added, or the file is cut off"
    raise InputFileError(path, reason, last.label)
