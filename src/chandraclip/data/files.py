"""Finds the detections in a folder of mission files, and reads one into a row of the dataset."""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from chandraclip.data.detection_files import DetectionFiles, label_of, other_detections
from chandraclip.data.rows import detection_columns, region_id_of
from chandraclip.errors import InputFileError
from chandraclip.ogip.aperture import read_aperture
from chandraclip.ogip.csc import csc_key, csc_product, newest
from chandraclip.ogip.events import read_events
from chandraclip.ogip.fits import FitsFile
from chandraclip.ogip.region_reader import read_region
from chandraclip.ogip.response import Response
from chandraclip.ogip.spectrum import read_spectrum

logger = logging.getLogger(__name__)


def find_detections(input_dir: str | Path) -> list[DetectionFiles]:
    """Every spectrum and event list under a folder.

    CSC products (pha3, regevt3, reg3, arf3, rmf3) of one ObsID, OBI and region are one detection, whatever their
    version tags and folders, and are told by name, unopened. Other files are told by their HDUCLAS keywords. A
    spectrum that another one names as its background is no detection, what `to_ogip` wrote together is one, and of
    copies of one spectrum or event list only one is (`data.twins`). A file that cannot be used is listed with its
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
    return sorted([*found, *other_detections(root, others, found)])


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
        spectrum = read_spectrum(item.spectrum, item.arf, item.rmf, spec_num=item.spec_num, extension=item.extension)
    key = csc_key(main)
    events = None
    if item.events is not None:
        # A regevt3 covers a box around the source: without an aperture the source's photons cannot be told.
        tells = item.region is None and _tells_aperture(item.spectrum)
        if key is not None and item.region is None and not tells:
            reason = "the region file (reg3) that tells the source's photons from the box around it is missing"
            if spectrum is None:
                raise InputFileError(item.events, reason)
            logger.warning("%s: %s; only the spectrum is used", item.events, reason)
        elif item.spectrum is None or item.region is not None or tells:
            events = read_events(item.events, item.region, item.spectrum, item.spec_num)
        else:  # photons that were cut when they were written
            events = read_events(item.events)
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
    return row, None if spectrum is None else spectrum.response


def _tells_aperture(spectrum: Path | None) -> bool:
    """Whether a spectrum's header has the aperture (CSC 2: with the neighbours cut out)."""
    try:
        return spectrum is not None and read_aperture(FitsFile(spectrum)) is not None
    except InputFileError as error:
        logger.warning("%s: its aperture is not used: %s", spectrum, error.reason)
        return False


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

    found = [DetectionFiles(label_of(root, main), spectrum, elsewhere("arf3"), elsewhere("rmf3"), events, region)]
    for product, used in (("pha3", spectrum), ("regevt3", events)):
        for path in products[product]:
            if path != used:
                reason = f"another copy or version, {used.name if used else ''}, is used"
                found.append(DetectionFiles(label_of(root, path), spectrum=path, problem=reason))
    return found
