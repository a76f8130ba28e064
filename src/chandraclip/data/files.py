"""Finds the detections in a folder of mission files, and reads one into a row of the dataset."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chandraclip.catalog.photometry import CSC_PSF_SHARE
from chandraclip.data.rows import detection_columns, region_id_of
from chandraclip.errors import InputFileError
from chandraclip.ogip.aperture import read_aperture
from chandraclip.ogip.companions import file_facts, find_companion
from chandraclip.ogip.csc import csc_key, csc_product, newest
from chandraclip.ogip.events import read_events
from chandraclip.ogip.fits import FitsFile
from chandraclip.ogip.pha import PhaRecord, read_pha, spec_numbers, spectrum_tables
from chandraclip.ogip.region_reader import read_region
from chandraclip.ogip.response import Response
from chandraclip.ogip.spectrum import read_spectrum

logger = logging.getLogger(__name__)

_BACKGROUND_NAME = re.compile(r"(^|[_.-])(bkg|bgd|bg|back|background)\d*([_.-]|$)", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class DetectionFiles:
    """The files of one detection, or one file that holds none and why.

    Attributes:
        label: the main file relative to the folder searched, with ``#SPEC_NUM`` for a row of a type II file; unique.
        spectrum: PHA file, or None.
        arf, rmf: responses in another folder than the spectrum; None: `read_spectrum` finds them.
        events: event list, or None.
        region: region file that cuts the events, or None.
        spec_num: row of a type II file, or None.
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
    name: str | None = None
    problem: str | None = None


def find_detections(input_dir: str | Path) -> list[DetectionFiles]:
    """Every spectrum and event list under a folder.

    CSC products (pha3, regevt3, reg3, arf3, rmf3) of one ObsID, OBI and region are one detection, whatever their
    version tags and folders, and are told by name, unopened. Other files are told by their HDUCLAS keywords. A
    spectrum that another one names as its background is no detection. A file that cannot be used is listed with its
    `problem`.

    Args:
        input_dir: searched with its subfolders; hidden files and folders are passed over.

    Returns:
        Sorted by label; the same for the same files.
    """
    root = Path(input_dir)
    csc: dict[tuple[str, int, int, str], list[Path]] = defaultdict(list)
    others: list[Path] = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            key = csc_key(path)
            if key is not None:
                csc[key].append(path)
            elif not name.startswith(".") and path.is_file():
                others.append(path)
    found = [item for paths in csc.values() for item in _csc_detections(root, paths)]
    return sorted([*found, *_other_detections(root, others)])


def read_detection(item: DetectionFiles) -> tuple[dict[str, Any], Response | None]:
    """A detection's row of the dataset and the response it folds through.

    Names: a CSC product's OBJECT is ``CSC`` or the pointing's target, never the source, so its name comes from the
    position of its region (``CXO J...``), else from ObsID, OBI and region (``CSC 1575_001_r0085``); other files are
    named by OBJECT, with the file's name where one observation has several spectra of one OBJECT.

    Returns:
        ({schema column: value}, response or None where the spectrum has none).

    Raises:
        InputFileError: a file of it cannot be used, or `item.problem`.
    """
    main = item.spectrum or item.events
    if main is None or item.problem is not None:
        raise InputFileError(main or item.label, item.problem or "neither a spectrum nor events")
    spectrum = None
    if item.spectrum is not None:
        spectrum = read_spectrum(item.spectrum, item.arf, item.rmf, spec_num=item.spec_num)
    key = csc_key(main)
    events = None
    if item.events is not None:
        # A regevt3 covers a box around the source: without an aperture the source's photons cannot be told.
        if key is not None and item.region is None and not _tells_aperture(item.spectrum):
            reason = "the region file (reg3) that tells the source's photons from the box around it is missing"
            if spectrum is None:
                raise InputFileError(item.events, reason)
            logger.warning("%s: %s; only the spectrum is used", item.events, reason)
        else:
            events = read_events(item.events, item.region, item.spectrum, item.spec_num)
    facts: dict[str, Any] = {"name": item.name, "region_id": region_id_of(item.label)}
    if key is not None:
        _, obsid, obi, region_name = key
        number = int(re.sub(r"\D", "", region_name))
        facts = {"obsid": obsid, "obi": obi, "region_id": number}
        region = events.region if events is not None else None
        if region is None and item.region is not None:
            region = read_region(item.region)
        if region is not None and region.ra is not None and region.dec is not None:
            facts["position"] = (region.ra, region.dec)
        elif events is None or events.sky is None:
            facts["name"] = f"CSC {obsid}_{obi:03d}_r{region_name}"
    row = detection_columns(spectrum, events, **facts)
    if key is not None and spectrum is not None:
        row["psf_frac_aper_b"] = CSC_PSF_SHARE
    return row, None if spectrum is None else spectrum.response


def _tells_aperture(spectrum: Path | None) -> bool:
    """Whether a spectrum's header has the aperture (CSC 2: with the neighbours cut out)."""
    return spectrum is not None and read_aperture(FitsFile(spectrum)) is not None


def _label(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _csc_detections(root: Path, paths: list[Path]) -> list[DetectionFiles]:
    """One detection from the CSC products of one ObsID, OBI and region."""
    products: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        products[csc_product(path) or ""].append(path)

    def best(product: str, folder: Path | None = None) -> Path | None:
        near = [path for path in products[product] if path.parent == folder]
        return next(iter(sorted(newest(near or products[product]))), None)

    spectrum, events = best("pha3"), best("regevt3")
    main = spectrum or events
    if main is None:
        return []
    region = best("reg3", main.parent)

    def elsewhere(product: str) -> Path | None:
        path = best(product, main.parent)
        return path if spectrum is not None and path is not None and path.parent != main.parent else None

    found = [DetectionFiles(_label(root, main), spectrum, elsewhere("arf3"), elsewhere("rmf3"), events, region)]
    for product, used in (("pha3", spectrum), ("regevt3", events)):
        for path in products[product]:
            if path != used:
                reason = f"another copy or version, {used.name if used else ''}, is used"
                found.append(DetectionFiles(_label(root, path), spectrum=path, problem=reason))
    return found


def _other_detections(root: Path, paths: Iterable[Path]) -> list[DetectionFiles]:
    found: list[DetectionFiles] = []
    spectra: list[Path] = []
    for path in paths:
        facts = file_facts(path)
        label = _label(root, path)
        if facts.problem is not None:
            found.append(DetectionFiles(label, spectrum=path, problem=facts.problem))
        elif "pha" in facts.kinds:
            spectra.append(path)
        elif "events" in facts.kinds:
            found.append(DetectionFiles(label, events=path))
        elif not facts.kinds:
            reason = "no spectrum, event list or response in it"
            found.append(DetectionFiles(label, spectrum=path, problem=reason))
    return [*found, *_spectrum_detections(root, spectra)]


def _spectrum_detections(root: Path, paths: list[Path]) -> list[DetectionFiles]:
    """PHA files that are not another's background; each content once."""
    found: list[DetectionFiles] = []
    records: list[tuple[DetectionFiles, PhaRecord]] = []
    backgrounds: set[Path] = set()
    for path in paths:
        label = _label(root, path)
        try:
            table = spectrum_tables(FitsFile(path))[0][0]
            rows: Sequence[int | None] = spec_numbers(table) or (None,)
            for number in rows:
                suffix = f"#{number}" if len(rows) > 1 else ""
                record = read_pha(table, number)
                records.append((DetectionFiles(label + suffix, spectrum=path, spec_num=number), record))
        except InputFileError as error:
            found.append(DetectionFiles(label, spectrum=path, problem=_reason(error)))
            continue
        companion = find_companion(path, "background", record.background_name, record.header).path
        if companion is not None and companion != path:
            backgrounds.add(companion.resolve())

    by_target: dict[tuple[str, ...], list[DetectionFiles]] = defaultdict(list)
    seen: dict[str, DetectionFiles] = {}
    # Ungrouped files first: of two with the same counts the plain one is kept.
    for item, record in sorted(records, key=lambda pair: (pair[1].grouping is not None, pair[0].label)):
        path = item.spectrum or root
        if path.resolve() in backgrounds:
            continue
        twin = seen.setdefault(f"{path.parent} {_fingerprint(record)}", item)
        if twin is not item:
            found.append(replace(item, problem=f"the same counts of the same observation as {twin.label}"))
        elif _BACKGROUND_NAME.search(path.name) and not record.background_name:
            found.append(replace(item, problem="by its name a background, and no spectrum names it as its own"))
        else:
            header = record.header
            by_target[(header.telescope, header.instrument, header.obs_id, header.object_name or "")].append(item)
    for (_, _, _, target), items in by_target.items():
        for item in items:
            stem = item.label.rsplit("/", 1)[-1]
            several = bool(target) and len(items) > 1
            found.append(replace(item, name=f"{target} {stem}" if several else target or stem))
    return found


def _reason(error: InputFileError) -> str:
    return error.reason if error.extension is None else f"extension {error.extension}: {error.reason}"


def _fingerprint(record: PhaRecord) -> str:
    digest = hashlib.sha256(record.counts.tobytes())
    digest.update(repr((record.exposure, record.header.obs_id, record.header.instrument, record.backscal)).encode())
    return digest.hexdigest()
