"""Hostile archives: nothing leaves its folder, nothing grows without bound, and what is good is still had."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from archive_server import ArchiveServer
from chandraclip.acquire import csccli, fetching, members
from chandraclip.acquire.csccli import PRODUCTS, ArchiveClient, Detection
from chandraclip.acquire.http import Manners, TransientError
from chandraclip.acquire.members import HostileArchiveError, PieceStream

NAME = "acisf00012_000N001_r0007_pha3.fits"
HASTY = Manners(seconds_between=0.0, attempts=2, first_wait=0.001, longest_wait=0.01, read_timeout=1.0)


def tar(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w", format=form) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return body.getvalue()


def entry(name: str, content: bytes = b"photons", **facts: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in facts.items():
        setattr(info, key, value)
    return info, content


def read(body: bytes, accepts: Callable[[str], bool] = lambda name: name.endswith(".fits")) -> dict[str, bytes]:
    pieces = iter([body[begin : begin + 1000] for begin in range(0, len(body), 1000)])
    return {name: b"".join(content) for name, content in members.members(PieceStream(pieces), accepts, 20)}


def lying(size: int) -> bytes:
    """A header that claims so many bytes, and a few of them."""
    info, content = entry(NAME)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + content.ljust(512, b"\0")


def huge_pax() -> bytes:
    info = tarfile.TarInfo("./PaxHeaders/x")
    info.type, info.size = tarfile.XHDTYPE, 8 << 30
    return info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 5000


def sparse() -> bytes:
    info = tarfile.TarInfo(NAME)
    info.size = 0
    headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": NAME}
    info.pax_headers = {**headers, "GNU.sparse.size": "9000000000000", "GNU.sparse.map": "0,0"}
    return tar((info, b""), form=tarfile.PAX_FORMAT)


LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
HOSTILE = {
    "traversal": lambda: tar(entry(f"../../{NAME}")),
    "traversal within": lambda: tar(entry(f"a/../../{NAME}")),
    "backslashes": lambda: tar(entry(f"..\\{NAME}")),
    "absolute": lambda: tar(entry(f"/tmp/{NAME}")),
    "symbolic link": lambda: tar(entry(NAME, b"", **LINK)),
    "link within": lambda: tar(entry(NAME, b"", type=tarfile.SYMTYPE, linkname="other")),
    "hard link": lambda: tar(entry(NAME, b"", type=tarfile.LNKTYPE, linkname="other")),
    "device": lambda: tar(entry(NAME, b"", type=tarfile.CHRTYPE)),
    "pipe": lambda: tar(entry(NAME, b"", type=tarfile.FIFOTYPE)),
    "other name": lambda: tar(entry("acisf00012_000N001_r0007.sh")),
    "twice": lambda: tar(entry(NAME), entry(NAME)),
    "many": lambda: tar(*(entry(f"{number}.fits", b"") for number in range(21))),
    "too large": lambda: lying(members.MAX_FILE_BYTES + 1),
    "sparse": sparse,
    "long header": huge_pax,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_member_ends_the_archive(kind):
    with pytest.raises(HostileArchiveError) as refused:
        read(HOSTILE[kind]())
    assert refused.value.is_final  # the same is not asked for again


def test_a_good_archive_is_read_whatever_its_folders():
    folder = entry("package", b"", type=tarfile.DIRTYPE)
    good = tar(folder, entry(f"package/12.0.7/{NAME}", b"x" * 5000), form=tarfile.PAX_FORMAT)
    assert read(good) == {NAME: b"x" * 5000}


@pytest.mark.parametrize(
    "body", [b"", b"\0" * 10240, b"Error executing query", tar(entry(NAME, b"x" * 5000))[:3000], lying(9000)]
)
def test_what_is_cut_off_or_no_tar_may_be_tried_again(body):
    with pytest.raises(TransientError):
        read(body)


def paths_under(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "kind", ["traversal", "absolute", "symbolic link", "device", "other name", "too large", "long header"]
)
def test_the_files_are_had_in_spite_of_a_hostile_tar(kind, ogip, tmp_path):
    """By `retrieveFile`; nothing is written but what was asked for."""
    spectrum = ogip.pha("pha3.fits")
    detection = Detection(12, 0, 7)
    with ArchiveServer() as server:
        server.add(
            {"name": "2CXO J1", "ra": 1.0, "dec": 1.0, "obsid": 12, "obi": 0, "region_id": 7}, {"spectrum": spectrum}
        )
        server.rewrite["retrieve"] = lambda good: HOSTILE[kind]()
        client = ArchiveClient(server.url, HASTY)
        before = paths_under(tmp_path)
        result = fetching.Fetcher(client, [PRODUCTS["spectrum"]], tmp_path / "root").fetch([detection])
    assert result[detection].failed is None
    assert paths_under(tmp_path) - before == {"root", "root/12.0.7", f"root/12.0.7/{NAME}.gz"}
    assert not os.path.exists(f"/tmp/{NAME}")


def test_an_archive_that_makes_no_packages_is_not_asked_for_them_again(ogip, tmp_path):
    """Of its process; one that brings something is asked again."""
    spectrum = ogip.pha("pha3.fits")
    detections = [Detection(number, 0, 7) for number in range(1, 5)]
    with ArchiveServer() as server:
        for number in range(1, 5):
            row = {"name": f"2CXO J{number}", "ra": 1.0 + number, "dec": 1.0, "obsid": number, "obi": 0, "region_id": 7}
            server.add(row, {"spectrum": spectrum})
        client = ArchiveClient(server.url, HASTY)

        def fetch(detection):
            fetcher = fetching.Fetcher(client, [PRODUCTS["spectrum"]], tmp_path / str(detection))
            assert fetcher.fetch([detection])[detection].failed is None
            return server.count("retrieve")

        server.rewrite["retrieve"] = lambda good: b"Error: no packages today"
        assert fetch(detections[0]) == HASTY.attempts
        del server.rewrite["retrieve"]
        assert fetch(detections[1]) == HASTY.attempts + 1
        server.rewrite["retrieve"] = lambda good: b"Error: no packages today"
        tars = [fetch(Detection(number, 0, 7)) for number in (3, 4)]
        assert tars == [2 * HASTY.attempts + 1, 3 * HASTY.attempts + 1]
        shutil.rmtree(tmp_path / str(detections[0]))
        assert fetch(detections[0]) == tars[-1]


def test_a_decompression_bomb_is_not_unpacked(tmp_path, ogip, monkeypatch):
    """It is what the archive has, twice alike, so it is left to the reader, which refuses it."""
    from chandraclip.ogip import fits

    monkeypatch.setattr(fits, "MAX_BOMB_BYTES", 1 << 20)
    bomb = tmp_path / "bomb"
    bomb.write_bytes(gzip.compress(b"\0" * (8 << 20), 9))
    detection = Detection(12, 0, 7)
    with ArchiveServer() as server:
        server.add(
            {"name": "2CXO J1", "ra": 1.0, "dec": 1.0, "obsid": 12, "obi": 0, "region_id": 7}, {"spectrum": bomb}
        )
        fetcher = fetching.Fetcher(ArchiveClient(server.url, HASTY), [PRODUCTS["spectrum"]], tmp_path / "root")
        assert fetcher.fetch([detection])[detection].failed is None
    path = tmp_path / "root" / "12.0.7" / f"{NAME}.gz"
    assert path.stat().st_size < 20_000
    with pytest.raises(fits.InputFileError, match="grow beyond"):
        fits.FitsFile(path)


@pytest.mark.parametrize(
    "names", ['[{"filename": "../../x"}]', f'[{{"filename": "{NAME.replace("12", "13")}"}}]', "[1]", "{}x", "[" * 10**5]
)
def test_names_that_browse_makes_up_are_refused(names, tmp_path):
    with ArchiveServer() as server:
        server.rewrite["browse"] = lambda good: names.encode()
        with pytest.raises(TransientError, match="browse"):
            ArchiveClient(server.url, HASTY).browse(Detection(12, 0, 7), PRODUCTS["spectrum"])


def test_a_tar_has_at_most_fifty_detections():
    wanted = [(Detection(number, 0, 1), PRODUCTS["arf"]) for number in range(csccli.MAX_DETECTIONS + 1)]
    with pytest.raises(ValueError, match="50"):
        next(ArchiveClient("http://127.0.0.1:9", HASTY).retrieve(wanted))
