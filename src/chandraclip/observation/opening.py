"""`open`: files in any order to an `Observation`, what belongs to them found beside them."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal

from chandraclip.errors import InputFileError
from chandraclip.observation.observation import Observation
from chandraclip.ogip.aperture import read_aperture
from chandraclip.ogip.companions import file_facts, find_companion
from chandraclip.ogip.csc import csc_key, csc_product, newest
from chandraclip.ogip.events import EventList, read_events
from chandraclip.ogip.fits import FitsFile, looks_like_fits
from chandraclip.ogip.pha import is_type_two, read_pha, spectrum_tables
from chandraclip.ogip.region_reader import read_region
from chandraclip.ogip.regions import Region
from chandraclip.ogip.spectrum import Spectrum, read_spectrum
from chandraclip.ogip.writer import written_beside

logger = logging.getLogger(__name__)

_PRODUCTS = {"spectrum": "pha3", "events": "regevt3", "region": "reg3"}
# What a file may be -> its role; the first that fits, since a PHA file may carry its region.
_ROLES = {
    "pha": "spectrum",
    "events": "events",
    "rmf": "rmf",
    "arf": "arf",
    "background": "background",
    "region": "region",
}
# What makes a text a region: a shape with its brackets. `regions` and `region_text` have the names.
_SHAPE = re.compile(
    rb"\b(circle|annulus|ellipse|(rot)?box|(rot)?rectangle|pie|sector|polygon|field)\s*\(", re.IGNORECASE
)
_CHARACTERS_LOOKED_AT = 65536


def open(
    *files: str | Path,
    spectrum: str | Path | Spectrum | Literal[False] | None = None,
    events: str | Path | EventList | Literal[False] | None = None,
    region: str | Path | Region | Literal[False] | None = None,
    arf: str | Path | None = None,
    rmf: str | Path | None = None,
    background: str | Path | Literal[False] | None = None,
    spec_num: int | None = None,
) -> Observation:
    """A source in an observation, from a spectrum, an event list, or both.

    What is not given is looked for: responses and background as `read_spectrum` does; where a file has the name of a
    CSC product, the `pha3`, `regevt3` and `reg3` of the same ObsID, OBI and region beside it. The photons of a CSC
    event list, which covers a box around the source, are cut with the region that is given, else with the spectrum's
    own aperture, else with the `reg3`.

    Args:
        files: in any order, told apart by their content: PHA spectrum, event list, region (FITS or text), ARF, RMF.
        spectrum, events, region: by name; or objects that are read already, or False: none is read, nor looked
            for. A region may be text, ``"circle(4096,4100,20)"``.
        arf, rmf, background, spec_num: as `read_spectrum` has them.

    Raises:
        InputFileError: a file is missing, damaged or of no such kind. A response that the header names and nobody has
            is only said, in `notes`, the log and `repr`: counts, hardness of ACIS and light curves need none.
        ValueError: two files of one kind, neither a spectrum nor events, or what is no name of a file.
    """
    given: dict[str, Any] = {
        "spectrum": spectrum, "events": events, "region": region, "arf": arf, "rmf": rmf, "background": background
    }  # fmt: skip
    _check_names(files, given)
    for role, file in _roles(files).items():
        if given[role] is not None:
            raise ValueError(f"{role} is given twice: {file} and {given[role]}")
        given[role] = file
    return _read(given, spec_num)


def read_beside(events: Path) -> list[Path]:
    """The files beside an event list that `open` cuts its photons by: spectrum and region of the same detection."""
    given: dict[str, Any] = {**dict.fromkeys(_PRODUCTS), "events": events}
    _add_csc_products(given, [])
    _add_written_beside(given, [])
    return [Path(file) for role, file in given.items() if role != "events" and file is not None]


def _check_names(files: tuple[Any, ...], given: dict[str, Any]) -> None:
    """Tells who hands over a list, or None, what a file is named by."""
    objects = {"spectrum": Spectrum, "events": EventList, "region": Region}
    for file in files:
        if not isinstance(file, (str, Path)):
            raise ValueError(f"files are given by their names, one by one: open(a, b), not open({file!r})")
    for role, value in given.items():
        optional = value is None or (value is False and role not in ("arf", "rmf"))
        if not optional and not isinstance(value, (str, Path, objects.get(role, Path))):
            raise ValueError(f"{role} is the name of a file, not {value!r}")


def _roles(files: tuple[str | Path, ...]) -> dict[str, str | Path]:
    """Role -> file, by content."""
    found: dict[str, list[str | Path]] = defaultdict(list)
    for file in files:
        found[_role(file)].append(file)
    if len(found["spectrum"]) == 2:  # background files older than HDUCLAS2 are told by who names them
        for source, other in (found["spectrum"], found["spectrum"][::-1]):
            if _named_by(Path(source), "background", [other]):
                found["spectrum"], found["background"] = [source], [*found["background"], other]
                break
    for role in ("arf", "rmf"):  # the background may have responses of its own
        if len(found[role]) > 1 and len(found["spectrum"]) == 1:
            found[role] = _named_by(Path(found["spectrum"][0]), role, found[role]) or found[role]
    for role, paths in found.items():
        if len(paths) > 1:
            raise ValueError(f"{len(paths)} files for one {role}: {', '.join(map(str, paths))}")
    if found["background"] and not found["spectrum"]:
        found["spectrum"] = found.pop("background")  # a background alone is looked at as any spectrum
    return {role: paths[0] for role, paths in found.items() if paths}


def _role(file: str | Path) -> str:
    path = Path(file)
    if isinstance(file, str) and "(" in file and not _exists(path):
        return "region"  # text such as "circle(4096,4100,20)"
    if not path.exists():
        raise InputFileError(path, "no such file")
    if path.is_dir():
        raise InputFileError(path, "a folder; name the files in it")
    if path.is_file() and not looks_like_fits(path):
        content = path.read_bytes()[:_CHARACTERS_LOOKED_AT]
        if _SHAPE.search(content) and b"\0" not in content:
            return "region"
        raise InputFileError(path, "neither a FITS file nor a region in text")
    facts = file_facts(path)
    if facts.problem is not None:
        raise InputFileError(path, facts.problem.removeprefix(f"{path}: "))
    for kind, role in _ROLES.items():
        if kind in facts.kinds:
            return role
    raise InputFileError(path, f"no spectrum, event list, region or response in it; it has {FitsFile(path).describe()}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # longer than a name may be
        return False


def _named_by(spectrum: Path, role: str, files: list[str | Path]) -> list[str | Path]:
    """Those of the files that a spectrum has for its background, ARF or RMF: one, or none."""
    table = spectrum_tables(FitsFile(spectrum))[0][0]
    if is_type_two(table):
        return []
    record = read_pha(table)
    names = {"background": record.background_name, "arf": record.arf_name, "rmf": record.rmf_name}
    found = find_companion(spectrum, role, names[role], record.header).path
    return [] if found is None else [file for file in files if Path(file).resolve() == found.resolve()]


def _read(given: dict[str, Any], spec_num: int | None) -> Observation:
    notes: list[str] = []
    files: dict[str, Path] = {}
    asked_region = given["region"]
    _add_csc_products(given, notes)
    _add_written_beside(given, notes)
    spectrum, events, region = (given[role] for role in _PRODUCTS)
    if isinstance(events, EventList) and asked_region:
        raise ValueError("the photons are read already: cut them when reading, read_events(file, region)")
    if spectrum and not isinstance(spectrum, Spectrum):
        responses = given["arf"], given["rmf"], given["background"]
        spectrum = read_spectrum(spectrum, *responses, spec_num=spec_num, require_response=False)
        if spectrum.response is None:
            notes.append(f"spectrum: no response ({spectrum.response_problem})")
            logger.warning("%s: %s", spectrum.path, notes[-1])
    else:
        _check_companions(given, spec_num)
    if isinstance(spectrum, Spectrum):
        files |= {"spectrum": spectrum.path, **spectrum.companions}
        notes += spectrum.notes
    if isinstance(region, (str, Path)) and _exists(Path(region)):
        files["region"] = Path(region)
    if isinstance(events, (str, Path)):
        # The photons are the spectrum's, unless a region, or none (False), was asked for.
        own = asked_region is None or _is_own_region(asked_region, events)
        if isinstance(spectrum, Spectrum) and own and (region or _tells_aperture(spectrum)):
            events = read_events(events, region, spectrum.path, spectrum.spec_num)
        else:
            events = read_events(events, region or None)
        if events.region is None and csc_key(events.path) is not None:
            notes.append("events: no region, so all photons of the box around the source are here, background included")
            logger.warning("%s: %s", events.path, notes[-1])
    elif isinstance(region, (str, Path)):  # nothing to cut: its shapes are all that can be known
        region = read_region(region, sky=events.sky if isinstance(events, EventList) else None)
    if isinstance(events, EventList):
        files["events"] = events.path
        notes += (*events.notes, *events.aperture_notes)
        region = events.region or region
        if isinstance(spectrum, Spectrum):
            _note_other_observation(spectrum, events, notes)
    # An event list without a photon left is one all the same, and its length is 0.
    photons = events if isinstance(events, EventList) else None
    return Observation(spectrum or None, photons, region or None, files, tuple(notes))


def _check_companions(given: dict[str, Any], spec_num: int | None) -> None:
    """Refuses what goes with the file of a spectrum, and a region alone, where there is none to go with."""
    lone = {role: given[role] for role in ("arf", "rmf", "background") if given[role] is not None}
    if spec_num is not None:
        lone["spec_num"] = spec_num
    if lone:
        named = ", ".join(f"{role} ({value})" for role, value in lone.items())
        raise ValueError(f"{named}: goes with the file of a spectrum, and none was given")
    if given["region"] and not isinstance(given["events"], (str, Path, EventList)) and not given["spectrum"]:
        raise ValueError(f"region ({given['region']}): no spectrum or events were given, and none lie beside it")


def _tells_aperture(spectrum: Spectrum) -> bool:
    try:
        return read_aperture(FitsFile(spectrum.path)) is not None
    except InputFileError as error:
        logger.warning("%s: its aperture is not used: %s", spectrum.path, error.reason)
        return False


def _is_own_region(region: Any, events: Any) -> bool:
    """Whether a region is the ``reg3`` of the photons' own CSC detection: it stands for the spectrum's aperture."""
    if not (isinstance(region, (str, Path)) and _exists(Path(region))):
        return False
    key = csc_key(Path(region))
    return key is not None and key == csc_key(Path(events))


def _note_other_observation(spectrum: Spectrum, events: EventList, notes: list[str]) -> None:
    """Says where a spectrum and photons are of different observations: they may be meant so, or not."""
    for name, what in (("obs_id", "OBS_ID"), ("telescope", "TELESCOP"), ("instrument", "INSTRUME")):
        one, other = getattr(spectrum.header, name), getattr(events.header, name)
        if one and other and one != other:
            notes.append(f"the spectrum is of {what} {one}, the photons of {other}")
            logger.warning("%s and %s: %s", spectrum.path, events.path, notes[-1])


def _add_csc_products(given: dict[str, Any], notes: list[str]) -> None:
    """The spectrum, events and region of one CSC detection that lie beside one of them."""
    paths = [Path(given[role]) for role in _PRODUCTS if isinstance(given[role], (str, Path))]
    main = next((path for path in paths if csc_key(path) is not None), None)
    if main is None or not main.parent.is_dir():
        return
    key = csc_key(main)
    beside = [path for path in main.parent.iterdir() if csc_key(path) == key]
    for role, product in _PRODUCTS.items():
        found = newest([path for path in beside if csc_product(path) == product])
        if given[role] is None and found:
            given[role] = sorted(found)[0]
            notes.append(f"{role} {given[role].name}: the CSC product of the same ObsID, OBI and region")


def _add_written_beside(given: dict, notes: list[str]) -> None:
    """The spectrum, events and region that `to_ogip` wrote together with one of them."""
    paths = [Path(given[role]) for role in _PRODUCTS if isinstance(given[role], (str, Path))]
    beside = next((found for path in paths if (found := written_beside(path))), {})
    for role in _PRODUCTS:
        if given[role] is None and role in beside:
            given[role] = beside[role]
            notes.append(f"{role} {beside[role].name}: written with the other files")
