"""Finding the ARF, RMF and background that belong to a spectrum."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from chandraclip.errors import InputFileError
from chandraclip.ogip.csc import csc_key, csc_product, newest
from chandraclip.ogip.events import event_table
from chandraclip.ogip.fits import FitsFile, looks_like_fits
from chandraclip.ogip.header import ObservationHeader, observation_header
from chandraclip.ogip.pha import spectrum_tables
from chandraclip.ogip.response_reader import arf_table, rmf_table

_KINDS = {"arf": "ANCRFILE", "rmf": "RESPFILE", "background": "BACKFILE"}
_SUFFIXES = {"arf": (".arf", ".warf"), "rmf": (".rmf", ".wrmf", ".rsp")}
_BACKGROUND_WORDS = ("bkg", "bg", "bgd", "back", "background")


@dataclass(frozen=True)
class Companion:
    """Where a companion file was found.

    Attributes:
        path: the file, or None.
        origin: how it was found, or where it was sought in vain.
        named: the header names a file (so its absence is a fault, not a choice).
    """

    path: Path | None
    origin: str
    named: bool


def find_companion(pha: Path, kind: str, name: str | None, header: ObservationHeader) -> Companion:
    """The file that goes with a spectrum.

    In order: the name in the header, then with and without ``.gz`` and in other case, beside the PHA (a folder in
    the name is tried first); the CSC product of the same ObsID, OBI and region; a file of the same stem; the only file
    of its kind in the folder. A background is guessed only where BACKFILE is absent, not where it is "none".

    Args:
        pha: the spectrum.
        kind: ``"arf"``, ``"rmf"`` or ``"background"``.
        name: what the header names; '' for "none", None where the keyword is absent.
        header: the spectrum's facts; a guess must not contradict its OBS_ID and instrument.
    """
    keyword = _KINDS[kind]
    sought: list[str] = []
    if name:
        plain = name.split("[")[0].strip()  # a CIAO filter may follow the name
        for candidate in dict.fromkeys([pha.parent / plain, pha.parent / re.split(r"[/\\]", plain)[-1]]):
            sought.append(str(candidate))
            found = with_or_without_gz(candidate)
            if found is not None:
                return Companion(found, f"{keyword} {name}", named=True)
    for origin, candidates in _guesses(pha, kind, name, header):
        if len(candidates) == 1:
            note = f"{keyword} {name} was not found; " if name else ""
            return Companion(candidates[0], note + origin, named=bool(name))
    if name:
        places = " and ".join(sought)
        return Companion(None, f"{keyword} names {name}, which is not at {places}, with or without .gz", named=True)
    state = "is absent" if name is None else "is none"
    return Companion(None, f"{keyword} {state} and no file in {pha.parent} matches", named=False)


def with_or_without_gz(path: Path) -> Path | None:
    """`path`, else with ``.gz`` added or taken off, else the one file whose name differs only in case."""
    options = [path, path.with_name(path.name + ".gz")]
    if path.name.lower().endswith(".gz"):
        options.append(path.with_name(path.name[:-3]))
    for option in options:
        if option.is_file():
            return option
    wanted = {option.name.lower() for option in options}
    same = [entry for entry in _files_in(path.parent) if entry.name.lower() in wanted]
    return same[0] if len(same) == 1 else None


@dataclass(frozen=True)
class FileFacts:
    """What a FITS file is: any of ``"arf"``, ``"rmf"``, ``"pha"`` (a source spectrum), ``"background"`` (of HDUCLAS2
    BKG), ``"events"``, ``"region"``; and its observation. `problem`: why it cannot be opened."""

    kinds: frozenset[str]
    header: ObservationHeader
    problem: str | None = None


def file_facts(path: Path) -> FileFacts:
    """What a file is, by HDUCLAS before names; remembered until the file changes."""
    try:
        stat = os.stat(path)
    except OSError as error:
        return FileFacts(frozenset(), ObservationHeader(), f"cannot be read: {error.strerror}")
    return _file_facts(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=65536)
def _file_facts(path: Path, modified: int, size: int) -> FileFacts:
    if not looks_like_fits(path):
        return FileFacts(frozenset(), ObservationHeader(), "not a FITS file")
    try:
        file = FitsFile(path)
        kinds = set()
        if rmf_table(file) is not None:
            kinds.add("rmf")
        elif arf_table(file) is not None:
            kinds.add("arf")
        source, background = spectrum_tables(file)
        tables = [*source, *background]
        if source:
            kinds.add("pha")
        elif background:
            kinds.add("background")
        photons = event_table(file)
        if photons is not None:
            kinds.add("events")
            tables.append(photons)
        if not source and any(table.hduclas(1) == "REGION" for table in file):
            kinds.add("region")
        header = observation_header((tables or file.tables)[0]) if file.tables else ObservationHeader()
    except InputFileError as error:
        place = "" if error.extension is None else f"extension {error.extension}: "
        return FileFacts(frozenset(), ObservationHeader(), f"{place}{error.reason}")
    return FileFacts(frozenset(kinds), header)


def _guesses(pha: Path, kind: str, name: str | None, header: ObservationHeader) -> Iterator[tuple[str, list[Path]]]:
    """(how, candidates) in order of trust; a guess holds only where it is the only candidate."""
    if kind == "background":
        if name is None:
            yield "found by its name beside the spectrum", _background_candidates(pha, header)
        return
    files = [path for path in _files_in(pha.parent) if path != pha]
    key = csc_key(pha)
    if key is not None:
        same = [path for path in files if csc_key(path) == key and csc_product(path) == f"{kind}3"]
        yield "the CSC product of the same ObsID, OBI and region", newest(same)
        return  # a folder of CSC products holds other sources' responses
    stem = _stem(pha)
    by_stem = [path for path in files if _stem(path) == stem and _suffix(path) in _SUFFIXES[kind]]
    yield "the file of the same stem", by_stem
    yield f"the only {kind.upper()} in the folder", [path for path in files if _is_kind(path, kind, header)]


def _is_kind(path: Path, kind: str, header: ObservationHeader) -> bool:
    if not looks_like_fits(path):
        return False
    facts = file_facts(path)
    if kind not in facts.kinds:
        return False
    pairs = [(facts.header.obs_id, header.obs_id), (facts.header.instrument, header.instrument)]
    return all(mine == other for mine, other in pairs if mine and other)


def _background_candidates(pha: Path, header: ObservationHeader) -> list[Path]:
    stem, suffix = _stem(pha), _suffix(pha)
    names = set(_BACKGROUND_WORDS) | {f"{stem}_{word}" for word in _BACKGROUND_WORDS}
    names |= {re.sub("src|source", word, stem) for word in _BACKGROUND_WORDS if re.search("src|source", stem)}
    return [
        path
        for path in _files_in(pha.parent)
        if path != pha
        and _stem(path) in names - {stem}
        and _suffix(path) == suffix
        and (_is_kind(path, "pha", header) or _is_kind(path, "background", header))
    ]


def _files_in(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if entry.is_file())
    except OSError:
        return []


def _bare(path: Path) -> Path:
    """The name in lower case without ``.gz``."""
    name = path.name.lower()
    return Path(name[:-3] if name.endswith(".gz") else name)


def _stem(path: Path) -> str:
    return _bare(path).stem


def _suffix(path: Path) -> str:
    return _bare(path).suffix
