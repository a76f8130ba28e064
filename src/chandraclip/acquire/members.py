"""Files out of a tar that comes over the line: plain files of the names asked for, within limits; nothing is unpacked.

An archive is not trusted: paths, links, devices, sparse members and headers of any size are what others have written.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import IO, Any

from chandraclip.acquire.http import TransientError

MAX_FILE_BYTES = 1 << 30  # as stored; the largest event lists of one source have some ten megabytes
MAX_HEADER_BYTES = 1 << 16  # of a long name or of pax records, which are read into memory
_NOWHERE = "/nowhere"  # members are checked as if unpacked here; none is
_TAR_ERRORS = (tarfile.TarError, EOFError, ValueError, OverflowError)
_EXTENDED = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class HostileArchiveError(TransientError):
    """A tar with something in it that no archive of FITS files has; what came before it was good."""

    def __init__(self, reason: str):
        super().__init__(reason, is_final=True)


class _CheckedInfo(tarfile.TarInfo):
    """Refuses a header block that claims more memory than a name takes."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        found = super().frombuf(buf, encoding, errors)
        if found.type in _EXTENDED and found.size > MAX_HEADER_BYTES:
            raise HostileArchiveError(f"a tar header of {found.size:,} bytes")
        return found


class PieceStream(io.RawIOBase):
    """Pieces of bytes as a file to read from."""

    def __init__(self, source: Iterator[bytes], first: bytes = b""):
        self._source, self._rest = source, first

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._source, None)
            if piece is None:
                return 0
            self._rest = piece
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def members(stream: PieceStream, accepts: Callable[[str], bool], most: int) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The members that are wanted, in the order of the tar.

    Args:
        stream: an uncompressed tar, read once from front to end.
        accepts: whether a file of this name, without its folders, is wanted.
        most: members of any kind that are looked at.

    Yields:
        (name without folders, pieces of its content, to be read before the next one; it raises as this does).

    Raises:
        HostileArchiveError: a member with an absolute path or one that leaves the folder, a link, a device, a sparse
            file, one larger than `MAX_FILE_BYTES`, one that was not asked for or comes twice, or more than `most`.
        TransientError: the tar is cut off or damaged.
    """
    seen: set[str] = set()
    count = 0
    try:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_CheckedInfo, errorlevel=2) as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined] # tarfile keeps all that it has seen
                count += 1
                if count > most:
                    raise HostileArchiveError(f"more than {most} members")
                try:
                    tarfile.data_filter(member, _NOWHERE)
                except tarfile.FilterError as error:
                    raise HostileArchiveError(f"a member that is refused ({type(error).__name__})") from None
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    raise HostileArchiveError("a member that is a link or no plain file")
                if member.size > MAX_FILE_BYTES:
                    raise HostileArchiveError(f"a member of {member.size:,} bytes")
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
                    raise HostileArchiveError("a member whose path leaves its folder")
                name = path.name
                if not accepts(name) or name in seen:
                    raise HostileArchiveError(f"a member that was not asked for: {_printable(name)}")
                seen.add(name)
                content = archive.extractfile(member)
                if content is not None:
                    yield name, _pieces_of(content)
    except _TAR_ERRORS as error:
        raise _damaged(error) from None
    if not count:
        raise TransientError("no tar, or an empty one")


def _pieces_of(content: IO[bytes]) -> Iterator[bytes]:
    try:
        while piece := content.read(1 << 20):
            yield piece
    except _TAR_ERRORS as error:
        raise _damaged(error) from None


def _damaged(error: Exception) -> TransientError:
    return TransientError(f"the tar is cut off or damaged ({type(error).__name__})")


def _printable(name: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in name[:80])
