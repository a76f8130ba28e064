"""The SHA-256 sums that a data set was published with, against the files that arrived.

| file | what it says |
|---|---|
| `manifest.json`, `files` | of axia: name -> `path`, `sha256_uncompressed` (or `sha256`) |
| `manifest.json`, `shards` | of our datasets: `path`, `sha256` |
| `SHA256SUMS`, `sha256sums.txt`, `*.sha256` | lines of ``sha256sum`` |
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chandraclip.errors import InputFileError
from chandraclip.files import sha256_of

_LINE = re.compile(r"^(?P<sum>[0-9a-fA-F]{64}) [ *](?P<path>.+)$")


@dataclass(frozen=True)
class PublishedSum:
    """Of one file; `of_content`: of what it holds when it is unpacked."""

    path: str
    sha256: str
    of_content: bool = False


def published_sums(folder: Path) -> list[PublishedSum]:
    """All sums that a folder has.

    Raises:
        InputFileError: manifest.json is not JSON.
    """
    found: list[PublishedSum] = []
    manifest = folder / "manifest.json"
    if manifest.is_file():
        try:
            content = json.loads(manifest.read_text())
        except (OSError, ValueError) as error:
            raise InputFileError(manifest, f"not readable JSON: {error}") from error
        found += _of_manifest(content if isinstance(content, dict) else {})
    for path in sorted({*folder.glob("SHA256SUMS"), *folder.glob("sha256sums*"), *folder.glob("*.sha256")}):
        matches = map(_LINE.match, path.read_text().splitlines())
        found += [PublishedSum(match["path"], match["sum"].lower()) for match in matches if match]
    return found


def check_sums(folder: Path, paths: Sequence[Path]) -> dict[Path, str]:
    """Hold files to the sums that they were published with.

    Args:
        folder: of the data set.
        paths: files in it.

    Returns:
        SHA-256 of the bytes of each file, whether a sum was published or not.

    Raises:
        InputFileError: sums differ; all such files, with both sums.
    """
    sums = published_sums(folder) if folder.is_dir() else []
    found, wrong = {}, []
    for path in paths:
        found[path] = sha256_of(path)
        for one in (one for one in sums if _is_of(one, path, folder)):
            actual = _content_sha256(path) if one.of_content else found[path]
            if actual != one.sha256:
                what = "content has" if one.of_content else "has"
                wrong.append(f"{one.path} {what} {actual}, published as {one.sha256}")
    if wrong:
        reason = f"wrong SHA-256, so that these are not the files that were published: {'; '.join(wrong)}"
        raise InputFileError(folder, f"{reason}. Remove them and fetch them again")
    return found


def _of_manifest(content: dict[str, Any]) -> list[PublishedSum]:
    entries: list[Any] = []
    files = content.get("files")
    if isinstance(files, dict):
        entries += [{"path": name, **entry} for name, entry in files.items() if isinstance(entry, dict)]
    entries += [entry for entry in content.get("shards") or [] if isinstance(entry, dict)]
    found = []
    for entry in entries:
        for key in ("sha256", "sha256_uncompressed"):
            if isinstance(entry.get(key), str):
                found.append(PublishedSum(str(entry["path"]), entry[key].lower(), key.endswith("uncompressed")))
    return found


def _is_of(one: PublishedSum, path: Path, folder: Path) -> bool:
    """A manifest may name a file without the folder that it was uploaded to."""
    inside = path.relative_to(folder).as_posix()
    return one.path in (inside, path.name) or f"./{inside}" == one.path


def _content_sha256(path: Path) -> str:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
        try:
            digest = hashlib.sha256()
            while block := stream.read(2**20):
                digest.update(block)
        except (OSError, EOFError) as error:
            raise InputFileError(path, f"cannot be unpacked: {error}") from error
    return digest.hexdigest()
