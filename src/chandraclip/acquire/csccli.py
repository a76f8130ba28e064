"""The command line interface of the Chandra Source Catalog's archive, release 2.1 (https://cxc.cfa.harvard.edu/csc/cli).

Form POSTs below ``/csccli/``, as CIAO's own client (`ciao_contrib.cda.csccli`) makes them: ``getProperties`` (tables),
``browse`` (names of files), ``retrieveFile`` (one file, gzip) and ``retrieve`` (a tar of at most 50 detections). Errors
may come as text with status 200.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import requests

from chandraclip.acquire.http import (
    Manners,
    PoliteSession,
    TransientError,
    check_base_url,
    in_words,
    pieces,
    read_text,
    shown,
)
from chandraclip.acquire.members import MAX_FILE_BYTES, PieceStream, members
from chandraclip.ogip.csc import CSC_NAME

BASE_URL = "https://cda.cfa.harvard.edu"
VERSION = "rel2.1"  # never "cur", which is another catalogue tomorrow
MAX_DETECTIONS = 50  # of one tar
MAX_TABLE_BYTES = 4 << 30
_MAX_REPLY_BYTES = 1 << 20
_QUERY_ERROR = "Error executing query:"


@dataclass(frozen=True)
class Product:
    """A kind of file. `suffix` ends its name; `band` as `browse` expects it, "" where the file has all bands."""

    filetype: str
    suffix: str
    band: str = ""


# The archive's names (`fileTypes_cur` of CIAO's client). The first five make rows; the others are files to keep.
PRODUCTS = {
    product.filetype: product
    for product in (
        Product("spectrum", "pha3"),
        Product("arf", "arf3"),
        Product("rmf", "rmf3"),
        Product("regevt3", "regevt3"),
        Product("srcreg", "reg3"),
        Product("lightcurve", "lc3", "b"),
        Product("aperphot", "phot3", "b"),
        Product("draws", "draws3", "b"),
    )
}
ROW_PRODUCTS = ("spectrum", "arf", "rmf", "regevt3", "srcreg")


@dataclass(frozen=True, order=True)
class Detection:
    """A source region of an observation interval: what the archive keeps files of."""

    obsid: int
    obi: int
    region_id: int

    def __str__(self) -> str:
        return f"{self.obsid}.{self.obi}.{self.region_id}"


Wanted = tuple[Detection, Product]


def wanted_of_name(name: str) -> tuple[Detection, str] | None:
    """The detection and the suffix (``pha3``) that a file's name gives; None for names of another form."""
    found = CSC_NAME.fullmatch(name)
    if found is None:
        return None
    region = re.sub(r"\D", "", found["region"])
    return Detection(int(found["obsid"]), int(found["obi"]), int(region)), found["product"].lower()


class ArchiveClient:
    """Asks one server. Every method makes one request and raises `TransientError` for what may be tried again.

    Args:
        base_url: of the archive or of a mirror.
        manners: how it is asked.

    Attributes:
        fruitless_tars: in a row, of which no file came in any attempt.
    """

    def __init__(self, base_url: str = BASE_URL, manners: Manners | None = None):
        self.fruitless_tars = 0
        self.base_url = check_base_url(base_url)
        self.manners = manners or Manners()
        self.session = PoliteSession(self.manners)

    def get_properties(self, query: str) -> str:
        """A table as tab-separated text, nulls as NaN, coordinates in degrees."""
        form = {"query": " ".join(query.split()), "coordFormat": "decimal", "nullAppearance": "NaN"}
        text = read_text(self._post("getProperties", form), MAX_TABLE_BYTES)
        if _QUERY_ERROR in text[:_MAX_REPLY_BYTES]:
            raise TransientError(in_words(text[text.index(_QUERY_ERROR) :]))
        return text

    def browse(self, detection: Detection, product: Product) -> list[str]:
        """Names of the files of one kind, e.g. ``acisf01575_001N001_r0085_pha3.fits``; none where the archive has none.

        A name that is not of this detection and kind is an error of the server: it goes on to become a path.
        """
        form = {"packageset": f"{detection}/{product.filetype}/{product.band}"}
        text = read_text(self._post("browse", form), _MAX_REPLY_BYTES)
        try:
            names = [entry["filename"] for entry in json.loads(text)]
            are_right = all(wanted_of_name(name) == (detection, product.suffix) for name in names)
        except (ValueError, TypeError, KeyError, RecursionError):
            raise TransientError(f"browse: {in_words(text) or 'an empty answer'}") from None
        if not are_right:
            raise TransientError("browse: names of other files than those asked for")
        return names

    def retrieve_file(self, name: str, product: Product) -> Iterator[bytes]:
        """The bytes of one file, gzip."""
        response = self._post("retrieveFile", {"filetype": product.filetype, "filename": name})
        return pieces(response, MAX_FILE_BYTES)

    def retrieve(self, wanted: Iterable[Wanted]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The files of at most 50 detections out of one tar; what the archive lacks is not among them.

        Yields:
            As `members.members`.

        Raises:
            ValueError: more than 50 detections.
        """
        asked = list(wanted)
        if len({detection for detection, _ in asked}) > MAX_DETECTIONS:
            raise ValueError(f"a tar has at most {MAX_DETECTIONS} detections")
        keys = {(detection, product.suffix) for detection, product in asked}
        packages = ",".join(f"{detection}/{product.filetype}/b" for detection, product in asked)
        response = self._post("retrieve", {"packageset": packages})
        stream = pieces(response, len(asked) * MAX_FILE_BYTES)
        first = b""
        while len(first) < 512 and (piece := next(stream, None)):
            first += piece
        if first[257:262] != b"ustar":  # of every tar since 1988; an error comes as text
            raise TransientError(
                f"retrieve: {in_words(first[:_MAX_REPLY_BYTES].decode('utf-8', 'replace')) or 'nothing'}"
            )
        yield from members(PieceStream(stream, first), lambda name: wanted_of_name(name) in keys, 3 * len(asked) + 10)

    def _post(self, service: str, form: dict[str, str]) -> requests.Response:
        url = f"{self.base_url}/csccli/{service}"
        response = self.session.post(url, data={**form, "version": VERSION}, stream=True)
        if response.status_code != 200:
            status = response.status_code
            response.close()
            is_away = service != "retrieveFile"  # which may lack one file; the others are there or are not
            raise TransientError(f"HTTP status {status} of {shown(url)}", is_away=is_away, is_final=True)
        return response
