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
from chandraclip.ogip.dispersed_order import DispersedOrder, belongs, order_in_name, order_of
from chandraclip.ogip.events import event_table
from chandraclip.ogip.file_names import files_in, files_named, parse_name, places_of
from chandraclip.ogip.fits import FitsFile, FitsTable, file_name, looks_like_fits
from chandraclip.ogip.header import ObservationHeader, observation_header
from chandraclip.ogip.matrix import matrix_tables
from chandraclip.ogip.pha import spectrum_tables
from chandraclip.ogip.response_reader import arf_tables

_KINDS = {"arf": "ANCRFILE", "rmf": "RESPFILE", "background": "BACKFILE"}
_BACKGROUND_WORDS = ("bkg", "bg", "bgd", "back", "background")


@dataclass(frozen=True)
class Companion:
    """Where a companion file was found.

    Attributes:
        path: the file, or None.
        origin: how it was found, or where it was sought in vain.
        named: the header names a file (so its absence is a fault, not a choice).
        extension: the extension that the name asks for (`file_names.FileName`), or None.
        row: the row of a type II file that the name asks for, or None.
    """

    path: Path | None
    origin: str
    named: bool
    extension: str | None = None
    row: int | None = None


def given_companion(name: str | Path) -> Companion:
    """A companion that the caller names; ``file[extension]`` and ``file{row}`` as headers write them."""
    path = Path(name)
    if os.path.exists(path):
        return Companion(path, "given", named=True)
    parsed = parse_name(str(name))
    if parsed.problem is not None:
        raise InputFileError(path, parsed.problem)
    return Companion(Path(parsed.file), "given", True, parsed.extension, parsed.row)


def find_companion(
    pha: Path, kind: str, name: str | None, header: ObservationHeader, order: DispersedOrder | None = None
) -> Companion:
    """The file that goes with a spectrum.

    A name in the header is that file: as written, then beside the PHA, with and without ``.gz``, in other case, or with
    another ending of FITS files. A name that is not there is not replaced by a guess, except that a CSC product stands
    for another version of itself. Where the keyword is absent: the CSC product of the same ObsID, OBI and region; a
    file of the same stem; the only one of its kind in the folder. Where it says "none" (as CIAO writes before the
    responses are made), only a response whose header or name has the spectrum's OBS_ID, never a background. A response
    that another spectrum in the folder names is no guess, unless its stem is the spectrum's.

    Args:
        pha: the spectrum.
        kind: ``"arf"``, ``"rmf"`` or ``"background"``.
        name: what the header names; '' for "none", None where the keyword is absent.
        header: the spectrum's facts; a guess must not contradict its OBS_ID and instrument.
        order: of a grating spectrum; a guess must say the same order.
    """
    keyword = _KINDS[kind]
    if name:
        named = _named(pha, keyword, name)
        if named.path is not None:
            other = file_facts(named.path).order if order is not None and order.is_dispersed else None
            if other is not None and not belongs(order, other):
                # One keyword may serve all the rows of a type II file.
                return Companion(None, f"{keyword} names {name}, which is of {other}, and this is {order}", named=False)
            return named
    doubt = ""
    for origin, candidates in _guesses(pha, kind, name, header, order):
        if len(candidates) == 1:
            note = f"{keyword} {name} was not found; " if name else f"{keyword} is none; " if name == "" else ""
            return Companion(candidates[0], note + origin, named=bool(name))
        if len(candidates) > 1 and not doubt:
            doubt = (
                f"; {len(candidates)} could be it, none was taken: {', '.join(path.name for path in candidates[:5])}"
            )
    if name:
        return Companion(None, named.origin + doubt, named=True)
    state = "is absent" if name is None else "is none"
    wanted = [f"of OBS_ID {header.obs_id}"] if name == "" and header.obs_id else []
    wanted += [f"of {order}"] if order is not None and order.is_dispersed else []
    which = f" ({', '.join(wanted)})" if wanted and kind != "background" else ""
    return Companion(None, f"{keyword} {state} and no file in {pha.parent} matches{which}{doubt}", named=False)


def _named(pha: Path, keyword: str, name: str) -> Companion:
    """The file that a header names; without a path, why not."""
    parsed = parse_name(name)
    sought: list[str] = []
    # A file may really be called so, brackets and all.
    for whole in dict.fromkeys([name, parsed.file]):
        for candidate in places_of(whole, pha.parent):
            found = files_named(candidate)
            if len(found) > 1:
                names = ", ".join(path.name for path in found)
                return Companion(None, f"{keyword} names {name}, which may be any of {names}", named=True)
            if found and (whole == name or parsed.problem is None):
                described = (None, None) if whole == name else (parsed.extension, parsed.row)
                return Companion(found[0], f"{keyword} {name}", True, *described)
            if found:
                return Companion(None, f"{keyword} names {name}: {parsed.problem}", named=True)
            if whole == parsed.file:
                sought.append(str(candidate))
    reason = f"{keyword} names {name}, which is not at {' and '.join(sought)}, with or without .gz"
    return Companion(None, reason, named=True)


@dataclass(frozen=True)
class FileFacts:
    """What a FITS file is: any of ``"arf"``, ``"rmf"``, ``"pha"`` (a source spectrum), ``"background"`` (of HDUCLAS2
    BKG), ``"events"``, ``"region"``; and its observation. `problem`: why it cannot be opened. `order`: the grating
    order that a response is of. `responses`: what its spectra name as theirs, without folders, in lower case."""

    kinds: frozenset[str]
    header: ObservationHeader
    problem: str | None = None
    order: DispersedOrder | None = None
    responses: frozenset[str] = frozenset()


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
        responses = matrix_tables(file)
        if responses:
            kinds.add("rmf")
        else:
            responses = arf_tables(file)
            if responses:
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
        header = observation_header((tables or responses or file.tables)[0]) if file.tables else ObservationHeader()
        order = order_of(responses[0]) if responses else None
        named = frozenset(name for table in (*source, *background) for name in _response_names(table))
    except InputFileError as error:
        place = "" if error.extension is None else f"extension {error.extension}: "
        return FileFacts(frozenset(), ObservationHeader(), f"{place}{error.reason}")
    return FileFacts(frozenset(kinds), header, order=order, responses=named)


def _response_names(table: FitsTable) -> list[str]:
    """The responses that the spectra of a table name, by `_bare` names."""
    found: list[str] = []
    for keyword in ("ANCRFILE", "RESPFILE"):
        cells = table.column(keyword) if table.has(keyword) else [table.key(keyword)]
        names = (file_name(value) for value in cells if isinstance(value, str))
        found += [_bare(Path(re.split(r"[/\\]", parse_name(name).file)[-1])).name for name in names if name]
    return found


def _guesses(
    pha: Path, kind: str, name: str | None, header: ObservationHeader, order: DispersedOrder | None
) -> Iterator[tuple[str, list[Path]]]:
    """(how, candidates) in order of trust; a guess holds only where it is the only candidate."""
    if kind == "background":
        if name is None:
            yield "found by its name beside the spectrum", _background_candidates(pha, header)
        return
    files = [path for path in files_in(pha.parent) if path != pha]
    key = csc_key(pha)
    if key is not None:
        same = [path for path in files if csc_key(path) == key and csc_product(path) == f"{kind}3"]
        yield "the CSC product of the same ObsID, OBI and region", newest(same)
        return  # a folder of CSC products holds other sources' responses
    if name or (name == "" and not header.obs_id):
        return
    candidates = [path for path in files if _is_kind(path, kind, header) and _is_of_order(path, order)]
    stem = _stem(pha)
    if name is None:
        yield "the file of the same stem", [path for path in candidates if _stem(path) == stem]
    # What another spectrum names as its own is that one's, though both may be of one observation.
    theirs = {response for path in files for response in file_facts(path).responses}
    free = [path for path in candidates if _stem(path) == stem or _bare(path).name not in theirs]
    if name == "":
        yield "it is of the same OBS_ID", [path for path in free if _has_obs_id(path, header)]
    else:
        yield f"the only {kind.upper()} in the folder", free


def _is_kind(path: Path, kind: str, header: ObservationHeader) -> bool:
    facts = file_facts(path)
    if kind not in facts.kinds:
        return False
    pairs = [(facts.header.obs_id, header.obs_id), (facts.header.instrument, header.instrument)]
    return all(mine == other for mine, other in pairs if mine and other)


def _is_of_order(path: Path, order: DispersedOrder | None) -> bool:
    return belongs(order, file_facts(path).order or order_in_name(path))


def _has_obs_id(path: Path, header: ObservationHeader) -> bool:
    """Whether a response's header, or its name, has the spectrum's OBS_ID."""
    own = file_facts(path).header.obs_id
    in_name = len(header.obs_id) > 2 and re.search(rf"(?<!\d){re.escape(header.obs_id)}(?!\d)", path.name) is not None
    return own == header.obs_id or (not own and in_name)


def _background_candidates(pha: Path, header: ObservationHeader) -> list[Path]:
    stem, suffix = _stem(pha), _suffix(pha)
    names = set(_BACKGROUND_WORDS) | {f"{stem}_{word}" for word in _BACKGROUND_WORDS}
    names |= {re.sub("src|source", word, stem) for word in _BACKGROUND_WORDS if re.search("src|source", stem)}
    return [
        path
        for path in files_in(pha.parent)
        if path != pha
        and _stem(path) in names - {stem}
        and _suffix(path) == suffix
        and (_is_kind(path, "pha", header) or _is_kind(path, "background", header))
    ]


def _bare(path: Path) -> Path:
    """The name in lower case without ``.gz``."""
    name = path.name.lower()
    return Path(name[:-3] if name.endswith(".gz") else name)


def _stem(path: Path) -> str:
    return _bare(path).stem


def _suffix(path: Path) -> str:
    return _bare(path).suffix
