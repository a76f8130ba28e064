"""DATASUM and CHECKSUM (FITS standard 4.0, section 4.4.2.7 and appendix J; Seaman, Pence & Rots 2012)."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np

from chandraclip.errors import InputFileError
from chandraclip.ogip.cards import DamagedCard
from chandraclip.ogip.hdus import Hdu

logger = logging.getLogger(__name__)

_ALL_ONES = 0xFFFFFFFF


def ones_complement_sum(content: bytes, start: int, end: int, total: int = 0) -> int:
    """The 32-bit ones' complement sum of bytes, a multiple of four of them, added to `total`."""
    words = np.frombuffer(content, ">u4", (end - start) // 4, start)
    total += int(words.sum(dtype=np.uint64))  # a sum of 2**32 words fits
    while total > _ALL_ONES:
        total = (total & _ALL_ONES) + (total >> 32)
    return total


def check_sums(path: Path, hdu: Hdu, content: bytes) -> None:
    """Compares a unit with its DATASUM and CHECKSUM, where it has them.

    Data that miss DATASUM are damaged. Only where CHECKSUM says that the header is not the one that was summed either
    has a program written other rows under an old header and not summed them again (ftmerge does): those data are as
    good as any without sums, and a warning says so. A header edited under an old CHECKSUM is common; the log notes it.

    Raises:
        InputFileError: the data are not those that were summed.
    """
    try:
        stated, checksum = hdu.cards.get("DATASUM"), hdu.cards.get("CHECKSUM")
    except DamagedCard as error:
        raise InputFileError(path, f"damaged FITS header: DATASUM or CHECKSUM {error}", hdu.label) from None
    has_checksum = isinstance(checksum, str) and bool(checksum.strip("0 "))
    if stated is None or (isinstance(stated, str) and not stated):  # CIAO leaves it blank where there are no data
        return
    if not re.fullmatch(r"\d{1,10}", str(stated).strip()):
        raise InputFileError(path, f"DATASUM is {stated!r}, not a number", hdu.label)
    wanted, found = int(stated), ones_complement_sum(content, hdu.data_start, hdu.end)
    header_as_summed = ones_complement_sum(content, hdu.start, hdu.data_start, wanted) in (0, _ALL_ONES)
    if found % _ALL_ONES == wanted % _ALL_ONES:
        if has_checksum and not header_as_summed:
            logger.info("%s[%s]: the header was edited after its CHECKSUM was written", path, hdu.label)
        return
    if not has_checksum or header_as_summed or _only_datasum_differs(hdu, content, found):
        reason = f"the data are damaged: their sum is {found}, and DATASUM says {wanted}"
        raise InputFileError(path, reason, hdu.label)
    logger.warning(
        "%s[%s]: header and data were both rewritten after DATASUM and CHECKSUM, which cannot vouch for them",
        path,
        hdu.label,
    )


def _only_datasum_differs(hdu: Hdu, content: bytes, found: int) -> bool:
    """Whether CHECKSUM holds for these data under a header that states their sum: then DATASUM alone is wrong."""
    card = hdu.cards.card("DATASUM")
    if card is None:
        return False
    place, text = card
    header = bytearray(content[hdu.start : hdu.data_start])
    header[place : place + len(text)] = (text[:10] + f"'{found:<8}'".ljust(20) + text[30:]).encode("latin-1")
    return ones_complement_sum(bytes(header), 0, len(header), found) in (0, _ALL_ONES)
