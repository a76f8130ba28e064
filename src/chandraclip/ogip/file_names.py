"""What a BACKFILE, ANCRFILE or RESPFILE says, and the file on disk that it means."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

# Endings under which one FITS file is found: XMM's PPS headers say .FIT where the archive serves .FTZ.
_FITS_ENDINGS = (".fits", ".fit", ".fts", ".ftz", ".fits.gz", ".fit.gz", ".fts.gz")
# The name, then a filter or extension in brackets, then the row of a type II file in braces (OGIP/92-007, 92-007a).
_NAME = re.compile(r"(?P<file>[^\[{]*)(?P<brackets>(\[[^\]]*\])*)(\{(?P<row>[^}]*)\})?\s*")
_EXTENSION = re.compile(r"\[\s*(?P<name>[A-Za-z0-9_ -]+?)\s*(,\s*(?P<version>\d+)\s*)?\]")


@dataclass(frozen=True)
class FileName:
    """A name taken apart.

    Attributes:
        file: the path as written, without what follows it.
        extension: ``"2"``, ``"SPECTRUM2"`` or ``"SPECTRUM,2"`` (name, EXTVER) of ``[...]``; None without.
        row: of ``{2}``, counted as SPEC_NUM is; None without.
        problem: why what follows the name cannot be understood, or None.
    """

    file: str
    extension: str | None = None
    row: int | None = None
    problem: str | None = None


def parse_name(text: str) -> FileName:
    """``back.pha2{2}``, ``file.fits[SPECTRUM2]``, ``file.fits[2]``; other brackets are CIAO filters, and dropped."""
    text = text.strip()
    match = _NAME.fullmatch(text)
    if match is None or not match["file"].strip():
        return FileName(text)
    extension = _EXTENSION.match(match["brackets"])
    label = None
    if extension is not None:
        label = extension["name"] + (f",{extension['version']}" if extension["version"] else "")
    row = match["row"]
    if row is not None and not re.fullmatch(r"\s*[0-9]{1,9}\s*", row):
        return FileName(match["file"].strip(), label, problem=f"{{{row}}} is not one row of a type II file")
    return FileName(match["file"].strip(), label, None if row is None else int(row))


def places_of(name: str, folder: Path) -> list[Path]:
    """Where a name may mean: as it is written, from `folder`, ``$VARIABLES`` and ``~`` put in; then beside, by its last
    part (a path of another machine)."""
    expanded = os.path.expanduser(os.path.expandvars(name))
    candidates = [folder / expanded, folder / expanded.replace("\\", "/"), folder / re.split(r"[/\\]", expanded)[-1]]
    return list(dict.fromkeys(candidates))


def files_named(path: Path) -> list[Path]:
    """The files that `path` may mean: itself; else with ``.gz`` added or taken off; else those whose names differ only
    in case or in how FITS files end. More than one: which cannot be told."""
    lower = path.name.lower()
    if lower in ("", ".", ".."):
        return []
    exact = [path, path.with_name(path.name + ".gz")]
    if lower.endswith(".gz"):
        exact.append(path.with_name(path.name[:-3]))
    for option in exact:
        if _is_file(option):
            return [option]
    wanted = {option.name.lower() for option in exact}
    in_other_case = [entry for entry in files_in(path.parent) if entry.name.lower() in wanted]
    if in_other_case:
        return in_other_case
    ending = max((ending for ending in _FITS_ENDINGS if lower.endswith(ending)), key=len, default=None)
    if ending is None:
        return []
    wanted = {lower.removesuffix(ending) + other for other in _FITS_ENDINGS}
    return [entry for entry in files_in(path.parent) if entry.name.lower() in wanted]


def files_in(folder: Path) -> list[Path]:
    """The files of a folder, sorted; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_file())
    except (OSError, ValueError):
        return []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name longer than the system allows, or with a NUL in it
        return False
