"""`DetectionFiles`: which files make a detection, and those that are found by what is in them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chandraclip.data.problems import sentence_of
from chandraclip.data.twins import Content, clusters, events_content, spectrum_content
from chandraclip.errors import InputFileError
from chandraclip.ogip.companions import file_facts, find_companion
from chandraclip.ogip.csc import csc_key
from chandraclip.ogip.events import read_events
from chandraclip.ogip.fits import FitsFile
from chandraclip.ogip.pha import PhaRecord, read_pha, spec_numbers, spectrum_tables
from chandraclip.ogip.spectrum import read_spectrum
from chandraclip.ogip.writer import written_beside

_BACKGROUND_NAME = re.compile(r"(^|[_.-])(bkg|bgd|bg|back|background)\d*([_.-]|$)", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class DetectionFiles:
    """The files of one detection, or one file that holds none and why.

    Attributes:
        label: the main file relative to the folder searched, with ``[EXTENSION]`` where it has several spectra and
            ``#SPEC_NUM`` for a row of a type II table; unique.
        spectrum: PHA file, or None.
        arf, rmf: responses in another folder than the spectrum; None: `read_spectrum` finds them.
        events: event list, or None.
        region: region file that cuts the events, or None.
        spec_num: row of a type II file, or None.
        extension: number of the extension in a file of several spectra, or None.
        name: the source, where OBJECT is not enough.
        problem: why nothing can be read; `read_detection` raises it.
    """

    label: str
    spectrum: Path | None = None
    arf: Path | None = None
    rmf: Path | None = None
    events: Path | None = None
    region: Path | None = None
    spec_num: int | None = None
    extension: int | None = None
    name: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class _Candidate:
    """A detection before copies are told apart, its content, and its spectrum if it is one."""

    item: DetectionFiles
    content: Content
    record: PhaRecord | None = None


def label_of(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def other_detections(root: Path, paths: Iterable[Path], csc: Sequence[DetectionFiles]) -> list[DetectionFiles]:
    """The detections among files that are no CSC products; those that are none, with their `problem`.

    PHA files that another one names as its background are neither. A spectrum and the photons that one call of
    `to_ogip` wrote are one detection. Of copies (`data.twins`) one is kept, the best by `_rank`; the others say which
    it is.

    Args:
        root: folder searched.
        paths: in it.
        csc: detections of CSC products: a copy of one is no detection.
    """
    found: list[DetectionFiles] = []
    candidates: list[_Candidate] = []
    backgrounds: set[Path] = set()
    for path in paths:
        label = label_of(root, path)
        try:
            facts = file_facts(path)
            if facts.problem is not None:
                found.append(DetectionFiles(label, spectrum=path, problem=facts.problem))
            elif "pha" in facts.kinds:
                candidates += _spectra(label, path, found, backgrounds)
            elif "events" in facts.kinds:
                item, content = DetectionFiles(label, events=path), events_content(FitsFile(path))
                if content is None:
                    found.append(item)
                else:
                    candidates.append(_Candidate(item, content))
            elif not facts.kinds:
                reason = "no spectrum, event list or response in it"
                found.append(DetectionFiles(label, spectrum=path, problem=reason))
        except Exception as error:  # one bad file never ends a build; `sentence_of` tells what was foreseen
            found.append(DetectionFiles(label, spectrum=path, problem=sentence_of(error, path, label)))
    found = [item for item in found if not _is_fine_as_background(item, backgrounds)]
    sources = []
    for candidate in candidates:
        pha, record = candidate.item.spectrum, candidate.record
        if pha is not None and pha.resolve() in backgrounds:
            continue
        if pha is not None and record is not None and _BACKGROUND_NAME.search(pha.name) and not record.background_name:
            reason = "by its name a background, and no spectrum names it as its own"
            found.append(replace(candidate.item, problem=reason))
        else:
            sources.append(candidate)
    kept = []
    own = {candidate.item.label for candidate in sources}
    for copies in clusters([(one, one.content) for one in [*_csc_candidates(csc, sources), *sources]]):
        best, fate = copies[0], "which is used"
        if len(copies) > 1:
            rank, best = min(((_rank(copy), copy) for copy in copies), key=lambda ranked: ranked[0])
            fate = "which cannot be used either" if rank[0] == _UNREADABLE else fate
        for copy in copies:
            if copy is not best and copy.item.label in own:
                what = "counts" if copy.record is not None else "photons"
                reason = f"the same {what} of the same observation as {best.item.label}, {fate}"
                found.append(replace(copy.item, problem=reason))
        if best.item.label in own:
            kept.append(best)
    named = _named(_paired(kept, sources, found))
    return [*found, *named]


def _spectra(label: str, path: Path, found: list[DetectionFiles], backgrounds: set[Path]) -> list[_Candidate]:
    """The spectra of a PHA file; what cannot be read goes to `found`, backgrounds that are named to `backgrounds`."""
    tables, _ = spectrum_tables(FitsFile(path))
    candidates = []
    for table in tables:
        whole = DetectionFiles(label, spectrum=path)
        if len(tables) > 1:
            whole = replace(whole, label=f"{label}[{table.index}]", extension=table.index)
        try:
            rows: Sequence[int | None] = spec_numbers(table) or (None,)
        except Exception as error:  # as in `other_detections`, for each table and row
            found.append(replace(whole, problem=sentence_of(error, path, whole.label)))
            continue
        for number in rows:
            item = replace(whole, label=f"{whole.label}#{number}", spec_num=number) if len(rows) > 1 else whole
            try:
                record = read_pha(table, number)
                companion = find_companion(path, "background", record.background_name, record.header).path
                content = spectrum_content(record)
            except Exception as error:
                found.append(replace(item, problem=sentence_of(error, path, item.label)))
                continue
            candidates.append(_Candidate(item, content, record))
            if companion is not None and companion != path:
                backgrounds.add(companion.resolve())
    return candidates


def _is_fine_as_background(item: DetectionFiles, backgrounds: set[Path]) -> bool:
    """Whether what is no source is a background that a spectrum names: real-valued counts are none of a source's."""
    if item.spectrum is None or item.spectrum.resolve() not in backgrounds:
        return False
    try:
        tables = spectrum_tables(FitsFile(item.spectrum))[0]
        return bool([read_pha(table, item.spec_num, as_background=True) for table in tables])
    except InputFileError:
        return False


def _csc_candidates(csc: Sequence[DetectionFiles], others: Sequence[_Candidate]) -> list[_Candidate]:
    """Spectra and photons of the CSC detections that share an ObsID with other files; the rest stays unopened."""
    obs_ids = {candidate.content.obs_id for candidate in others}
    found = []
    for item in csc:
        for path in (item.spectrum, item.events):
            key = None if path is None else csc_key(path)
            if path is None or key is None or item.problem or not ({str(key[1]), ""} & obs_ids):
                continue
            try:
                file = FitsFile(path)
                if path == item.events:
                    content, record = events_content(file), None
                else:
                    record = read_pha(spectrum_tables(file)[0][0])
                    content = spectrum_content(record)
            except InputFileError:  # `read_detection` will meet it, and say so
                continue
            except Exception as error:
                sentence_of(error, path, item.label)  # on the log: nobody foresaw it
                continue
            if content is not None:
                found.append(_Candidate(item, content, record))
    return found


def _paired(kept: list[_Candidate], sources: list[_Candidate], found: list[DetectionFiles]) -> list[_Candidate]:
    """Spectra joined with the photons and the region that `to_ogip` wrote with them.

    Args:
        kept: of `sources`, those that are no copies.
        found: gets the photons whose spectrum is a copy: they are photons of what it is a copy of.
    """
    spectra = {one.item.spectrum for one in kept if one.record is not None}
    copies = {one.item.spectrum for one in sources if one.record is not None} - spectra
    photons: dict[Path | None, tuple[Path, Path | None]] = {}  # spectrum -> event list and region
    lists = []
    for one in kept:
        if one.record is not None:
            continue
        beside = {} if one.item.events is None else written_beside(one.item.events)
        spectrum = beside.get("spectrum")
        if spectrum is not None and spectrum in copies:
            reason = f"written with {spectrum.name}, which is a copy of another spectrum"
            found.append(replace(one.item, problem=reason))
        elif spectrum is not None and spectrum in spectra:
            photons[spectrum] = beside["events"], beside.get("region")
        else:
            lists.append(one)
    return [*lists, *(_with_photons(one, photons) for one in kept if one.record is not None)]


def _with_photons(candidate: _Candidate, photons: dict[Path | None, tuple[Path, Path | None]]) -> _Candidate:
    events, region = photons.get(candidate.item.spectrum, (None, None))
    return (
        candidate if events is None else replace(candidate, item=replace(candidate.item, events=events, region=region))
    )


_WHOLE, _WITHOUT_RESPONSE, _UNREADABLE = range(3)


def _rank(candidate: _Candidate) -> tuple[int, bool, bool, bool, str]:
    """The least is the best copy: one that can be read, a spectrum with a response, a CSC product, ungrouped, photons
    written with a spectrum, first by label."""
    item, record = candidate.item, candidate.record
    path = item.spectrum if record is not None else item.events
    grouped = record is not None and record.grouping is not None
    alone = record is None and path is not None and "spectrum" not in written_beside(path)
    return _state(candidate), path is None or csc_key(path) is None, grouped, alone, item.label


def _state(candidate: _Candidate) -> int:
    """Whether a copy can be used: a good one must not be left out for one whose responses are damaged, say."""
    item = candidate.item
    try:
        if candidate.record is not None and item.spectrum is not None:
            part: dict[str, Any] = {"spec_num": item.spec_num, "extension": item.extension}
            spectrum = read_spectrum(item.spectrum, item.arf, item.rmf, require_response=False, **part)
            return _WHOLE if spectrum.response is not None else _WITHOUT_RESPONSE
        if item.events is not None:
            read_events(item.events)
    except Exception:  # whatever it is, `read_detection` meets it again and says so
        return _UNREADABLE
    return _WHOLE


def _named(candidates: Iterable[_Candidate]) -> list[DetectionFiles]:
    """Spectra named by OBJECT, and by their file where one observation has several of one OBJECT."""
    found = []
    by_target: dict[tuple[str, ...], list[DetectionFiles]] = defaultdict(list)
    for candidate in candidates:
        if candidate.record is None:
            found.append(candidate.item)
        else:
            header = candidate.record.header
            target = header.object_name or ""
            by_target[(header.telescope, header.instrument, header.obs_id, target)].append(candidate.item)
    for (_, _, _, target), items in by_target.items():
        for item in items:
            stem = item.label.rsplit("/", 1)[-1]
            several = bool(target) and len(items) > 1
            found.append(replace(item, name=f"{target} {stem}" if several else target or stem))
    return found
