"""The files of some detections on the disk, each whole and verified; what cannot be had, with the reason.

First one tar for all that is missing, then, for what it did not bring, ``browse`` and ``retrieveFile``, file by file:
they tell what the archive does not have from what did not arrive. A file takes its name when it has been read, so that
a kill at any point costs the one that was on its way.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chandraclip.acquire.csccli import ArchiveClient, Detection, Product, Wanted, wanted_of_name
from chandraclip.acquire.http import TransientError, patiently
from chandraclip.acquire.members import MAX_FILE_BYTES
from chandraclip.errors import InputFileError
from chandraclip.files import sha256_of
from chandraclip.ogip.fits import GZIP_MAGIC, FitsFile

logger = logging.getLogger(__name__)

GIVE_UP = 3  # files in a row that fail in all attempts: the others of this round are not tried
# Tars in a row of which nothing came in any attempt: this process asks for files one by one from then on. An archive
# that makes no packages would else cost the pauses between all attempts for every 50 detections.
GIVE_UP_TARS = 2


class ArchiveAwayError(Exception):
    """The archive answered nothing at all; the reason is its argument."""


@dataclass
class Fetched:
    """Of one detection.

    Attributes:
        folder: with its files.
        absent: kinds of files that the archive does not have of it.
        failed: why it is not complete, None where it is.
    """

    folder: Path
    absent: list[str] = field(default_factory=list)
    failed: str | None = None


class Fetcher:
    """Brings files into `root`, a folder a detection.

    Args:
        client: asks the archive.
        products: the kinds of files.
        root: files that are there already are not asked for again.
    """

    def __init__(self, client: ArchiveClient, products: Sequence[Product], root: Path):
        self.client, self.products, self.root = client, list(products), root
        self._damaged: dict[str, set[str]] = {}  # name -> SHA-256 of what came and could not be read
        self._brought = 0

    def folder_of(self, detection: Detection) -> Path:
        return self.root / str(detection)

    def fetch(self, detections: Iterable[Detection]) -> dict[Detection, Fetched]:
        """What became of each.

        Raises:
            ArchiveAwayError: nothing arrived, since the archive does not answer.
            OSError: the disk cannot be written.
        """
        results = {detection: Fetched(self.folder_of(detection)) for detection in detections}
        if self._missing(results):
            self._fetch_tar(results)
            self._fetch_singly(results)
        return results

    def _missing(self, detections: Iterable[Detection]) -> list[Wanted]:
        missing = []
        for detection in detections:
            folder = self.folder_of(detection)
            names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
            there = {wanted_of_name(name) for name in names}
            missing += [(detection, product) for product in self.products if (detection, product.suffix) not in there]
        return missing

    def _fetch_tar(self, results: dict[Detection, Fetched]) -> None:
        if self.client.fruitless_tars >= GIVE_UP_TARS:
            return
        brought_before = self._brought

        def attempt() -> None:
            missing = self._missing(results)  # what an earlier attempt brought is not asked for again
            if not missing:
                return
            damaged = ""
            for name, content in self.client.retrieve(missing):
                found = wanted_of_name(name)
                assert found is not None  # `retrieve` accepts no other names
                damaged = self._save(found[0], name, content) or damaged
            if damaged:
                raise TransientError(damaged)

        try:
            patiently(self.client.manners, "retrieve", attempt)
            self.client.fruitless_tars = 0
        except TransientError as error:
            if self._brought > brought_before:
                self.client.fruitless_tars = 0
            elif not error.is_away:  # it answers, but makes no packages
                self.client.fruitless_tars += 1
            more = ", from now on" if self.client.fruitless_tars >= GIVE_UP_TARS else ""
            logger.info("retrieve: %s; what is missing is asked for file by file%s", error, more)
            if error.is_away and not self._brought:
                raise ArchiveAwayError(error.reason) from None

    def _fetch_singly(self, results: dict[Detection, Fetched]) -> None:
        in_a_row = 0
        for detection, product in self._missing(results):
            result = results[detection]
            if in_a_row >= GIVE_UP:
                result.failed = result.failed or f"{product.filetype}: not tried after {GIVE_UP} failures in a row"
                continue
            try:
                if not self._fetch_one(detection, product):
                    result.absent.append(product.filetype)
                in_a_row = 0
            except TransientError as error:
                in_a_row += 1
                result.failed = f"{product.filetype}: {error.reason}"

    def _fetch_one(self, detection: Detection, product: Product) -> bool:
        """Whether the archive has it; if so, it is here."""
        manners, what = self.client.manners, f"{detection}/{product.filetype}"
        names = patiently(manners, what, lambda: self.client.browse(detection, product))
        if not names:
            return False
        name = max(names)  # the newest version, should there be several

        def attempt() -> None:
            damaged = self._save(detection, name, self.client.retrieve_file(name, product))
            if damaged:
                raise TransientError(damaged)

        patiently(manners, what, attempt)
        return True

    def _save(self, detection: Detection, name: str, content: Iterable[bytes]) -> str | None:
        """Writes and verifies a file; why it is damaged, else None.

        What is damaged in the same way twice is what the archive has: it is kept, and its reader says what is wrong.
        """
        name = name.removesuffix(".gz")
        folder = self.folder_of(detection)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f".{name}.tmp"
        try:
            size = 0
            with path.open("wb") as stream:
                for piece in content:
                    size += len(piece)
                    if size > MAX_FILE_BYTES:
                        raise TransientError(f"{name}: more than {MAX_FILE_BYTES:,} bytes")
                    stream.write(piece)
            with path.open("rb") as stream:
                is_gzip = stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            try:
                FitsFile(path)  # unpacked within bounds; its CRC, the structure and DATASUM are checked
            except InputFileError as error:
                digest, known = sha256_of(path), self._damaged.setdefault(name, set())
                if digest not in known:
                    known.add(digest)
                    return f"{name}: {error.reason}"
            path.replace(folder / (f"{name}.gz" if is_gzip else name))
        finally:
            path.unlink(missing_ok=True)
        self._brought += 1
        return None


def discard(root: Path) -> None:
    """Removes a folder of files, if it is there."""
    shutil.rmtree(root, ignore_errors=True)
