"""Many files screened, one after another: results are kept, so that a run goes on where it stopped; none is fatal."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from chandraclip.errors import InputFileError
from chandraclip.files import write_json
from chandraclip.observation.opening import open as open_observation
from chandraclip.observation.opening import read_beside
from chandraclip.observation.screening import Screening, screen
from chandraclip.ogip.companions import file_facts
from chandraclip.ogip.events import EventList

KEPT = "lists"  # folder of the finished lists
_FORM = 2  # of what is kept; another is screened again


@dataclass(frozen=True)
class Screened:
    """One file.

    Attributes:
        path: the file. found: its event, or None. reason: why there is none.
    """

    path: Path
    found: Screening | None
    reason: str | None = None


def photon_files(given: Iterable[str | Path]) -> tuple[list[Path], dict[Path, str], int]:
    """Event lists among files and folders.

    Args:
        given: files, and folders that are searched with their subfolders; hidden ones are passed over.

    Returns:
        The lists in order, each once; files that cannot be used -> why; how many files of the folders are no photon
        list (spectra, responses, texts).
    """
    lists: dict[Path, None] = {}
    bad: dict[Path, str] = {}
    num_others = 0
    for name in given:
        path = Path(name)
        if not path.exists():
            bad[path] = "no such file"
            continue
        named = not path.is_dir()
        for file in [path] if named else _files_in(path):
            facts = file_facts(file)
            if "events" in facts.kinds:
                lists[file] = None
            elif named or (facts.problem is not None and facts.problem != "not a FITS file"):
                bad[file] = _without(facts.problem or "no event list in it", file)
            else:
                num_others += 1
    return list(lists), bad, num_others


def _files_in(root: Path) -> Iterable[Path]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def read_list(path: Path) -> EventList:
    """The photons of a file, in the aperture that belongs to it (`chandraclip.open`).

    Raises:
        InputFileError: the file cannot be used.
        ValueError: so, as `open` says it.
    """
    events = open_observation(path).events
    if events is None:
        raise InputFileError(path, "no event list in it")
    return events


def screen_files(files: Iterable[Path], output: Path, progress: bool = True) -> list[Screened]:
    """`screen` of each file. Results go to `output`/lists; files that were screened and have not changed are not read.

    A file has changed, too, where the spectrum or the region beside it has, whose aperture cuts its photons. A file
    that could not be read this time, by the system's word, is read again by the next run.

    Args:
        files: event lists. output: folder.
        progress: show a progress bar.

    Returns:
        One for each file, in order.
    """
    results = []
    for path in tqdm(list(files), desc="screen", unit="list", disable=not progress):
        try:
            # Named before it is read: what changes meanwhile is read again by the next run.
            kept = output / KEPT / f"{_name(path)}.json"
            result = _read(kept, path) or _screened(path, kept)
        except OSError as error:
            result = _unusable(path, error)
        results.append(result)
    return results


def _screened(path: Path, kept: Path) -> Screened:
    try:
        result, lasts = Screened(path, screen(read_list(path))), True
    except ValueError as error:  # InputFileError is one
        result, lasts = _unusable(path, error), _lasts(path, error)
    if lasts:
        content: dict[str, Any] = {"form": _FORM, "file": str(path), "reason": result.reason, "found": None}
        if result.found is not None:
            content["found"] = result.found.as_dict()
        write_json(kept, content)
    return result


def _unusable(path: Path, error: Exception) -> Screened:
    return Screened(path, None, _without(" ".join(str(error).split()), path))


def _lasts(path: Path, error: BaseException) -> bool:
    """Whether a list will be unusable the next time, too: by its content, not by the system, nor by another file."""
    if isinstance(error, InputFileError) and Path(error.path) != path:
        return False
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (OSError, MemoryError)):
            return False
        cause = cause.__cause__ or cause.__context__
    return True


def _read(kept: Path, path: Path) -> Screened | None:
    """What a run before has found, None where there is none or it cannot be used."""
    try:
        content = json.loads(kept.read_text())
        if content["form"] != _FORM:
            return None
        found = content["found"]
        return Screened(
            path, None if found is None else Screening(**{**found, "notes": tuple(found["notes"])}), content["reason"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _name(path: Path) -> str:
    """A name for what was found in a file as it, and what is read with it, are now."""
    parts = []
    for file in (path, *sorted(read_beside(path))):
        stat = file.stat()
        parts.append(f"{file.resolve()} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _without(reason: str, path: Path) -> str:
    return reason.removeprefix(f"{path}: ").removeprefix(str(path))
