"""The background of a spectrum: in the same file, beside the counts, in BACKFILE or given; and its scale."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from chandraclip.errors import InputFileError
from chandraclip.ogip.companions import Companion, find_companion, given_companion
from chandraclip.ogip.fits import FitsFile, FitsTable
from chandraclip.ogip.matrix import chosen_tables
from chandraclip.ogip.pha import PhaRecord, background_columns, is_type_two, read_pha, spectrum_tables

logger = logging.getLogger(__name__)


def read_background(
    file: FitsFile,
    table: FitsTable,
    record: PhaRecord,
    background: str | Path | bool | None,
    companions: dict[str, Path],
    notes: list[str],
) -> tuple[np.ndarray, float | np.ndarray] | None:
    """The background of a source's spectrum.

    Args:
        file: of the source; a background in the same file is taken whatever BACKFILE says (CSC's pha3).
        table, record: the source's extension and spectrum.
        background: background PHA; None: found; False: read none.
        companions: told of the file it is read from.
        notes: told how it was found or why it was left out.

    Returns:
        (C,) counts on the source's channels and the factor that scales them to the source region; None where there is
        none, none is wanted, or the one found cannot be used (it has other channels, say), which the log says too.

    Raises:
        InputFileError: the background that was given cannot be used.
    """

    def left_out(reason: str) -> None:
        notes.append(f"no background: {reason}")
        logger.warning("%s: no background: %s", file.path, reason)

    if background is False:
        return None
    if record.net:
        if isinstance(background, (str, Path)):
            raise table.error("HDUCLAS2 NET: the background is subtracted, and the one given would be once more")
        left_out("HDUCLAS2 NET, it is subtracted already")
        return None
    if isinstance(background, (str, Path)):
        chosen = given_companion(background)
        given = _read_background(chosen, record)
        companions["background"] = chosen.path or Path(background)
        _check_same_channels(file.path, record, given)
        return given.counts, _background_scale(file.path, record, given)
    # The source's counts are what they are, whatever is wrong with its background.
    try:
        found, place, note = _find_background(file, table, record)
    except InputFileError as error:
        left_out(str(error))
        return None
    if found is None:
        if note:
            left_out(note)
        return None
    try:
        _check_same_channels(file.path, record, found)
        scale = _background_scale(file.path, record, found)
    except InputFileError as error:
        left_out(str(error))
        return None
    if place is not None:
        companions["background"] = place
    notes.append(f"background {note}")
    return found.counts, scale


def _find_background(file: FitsFile, table: FitsTable, record: PhaRecord) -> tuple[PhaRecord | None, Path | None, str]:
    """The background's record, the file it is in unless it is beside the counts, and how it was found.

    Where there is none: None, None, and why if the header names one, else ''.
    """
    path = file.path
    own = [candidate for candidate in spectrum_tables(file)[1] if candidate.index != table.index]
    several_sources = len(spectrum_tables(file)[0]) > 1
    if len(own) > 1 or (own and several_sources and own[0].own_key("EXTVER") is not None):
        # Several sources with a background each; or one background, which may be another source's.
        versions = [
            candidate for candidate in own if candidate.own_key("EXTVER") == table.own_key("EXTVER") is not None
        ]
        if len(versions) != 1:
            labels = ", ".join(candidate.label for candidate in own)
            return None, None, f"the file has {labels} for several sources, none of them of this one's EXTVER"
        own = versions
    if own:  # CSC pha3: source and background in one file, whatever BACKFILE says
        note = f"extension {own[0].label}: of the same file"
        return _background_record(own[0], record), path, note
    beside = background_columns(table, record)
    if beside is not None:
        return beside, None, "BACKGROUND_UP and BACKGROUND_DOWN: columns beside the counts"
    found = find_companion(path, "background", record.background_name, record.header)
    part = found.extension is not None or found.row is not None  # a part of this very file may be meant
    if found.path is not None and (part or found.path.resolve() != path.resolve()):
        note = f"{found.path.name}: {found.origin}"
        return _read_background(found, record), found.path, note
    return None, None, found.origin if found.named else ""


def _read_background(found: Companion, source: PhaRecord) -> PhaRecord:
    assert found.path is not None
    file = FitsFile(found.path)
    sources, backgrounds = spectrum_tables(file)
    tables = backgrounds or sources
    if not tables:
        raise file.error(f"no spectrum to serve as background; extensions: {file.describe()}")
    if found.extension is not None:
        tables = chosen_tables(file, [*backgrounds, *sources], found.extension)
    if len(tables) > 1:
        labels = ", ".join(table.label for table in tables)
        raise file.error(f"{len(tables)} spectra are in it, {labels}: which is the background is not known")
    return _background_record(tables[0], source, found.row)


def _background_record(table: FitsTable, source: PhaRecord, row: int | None = None) -> PhaRecord:
    """A background: of a type II, the row that is named, else the source's, which may also share a type I."""
    if row is None or (row == 1 and not is_type_two(table)):
        row = source.spec_num if is_type_two(table) else None
    record = read_pha(table, row, as_background=True)
    if record.net:
        raise table.error("HDUCLAS2 NET: no background, but a spectrum that one has been subtracted from")
    return record


def _check_same_channels(path: Path, source: PhaRecord, background: PhaRecord) -> None:
    """Raises InputFileError where channels of the two cannot be compared."""
    sizes = source.counts.size, background.counts.size
    first = source.first_channel, background.first_channel
    if sizes[0] != sizes[1] or first[0] != first[1]:
        reason = f"{sizes[0]} channels from {first[0]}, its background has {sizes[1]} from {first[1]}"
        raise InputFileError(path, reason, source.extension)


def _background_scale(path: Path, source: PhaRecord, background: PhaRecord) -> float | np.ndarray:
    """The factor that scales background counts to the source region."""
    counts, area = background.counts, background.backscal * background.areascal
    numerator = np.asarray(source.backscal * source.areascal * source.exposure, dtype=np.float64)
    denominator = np.asarray(area * background.exposure, dtype=np.float64)
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    # A channel that neither region covers has no background; one that only the source covers has an unknown one.
    unknown = (denominator <= 0) & ((numerator > 0) if denominator.ndim else np.asarray(True))
    if unknown.any() and (denominator.ndim == 0 or counts[unknown].any()):
        raise InputFileError(path, "BACKSCAL x AREASCAL of the background is 0", source.extension)
    scale = np.divide(numerator, denominator, out=np.zeros_like(denominator), where=denominator > 0)
    return scale if scale.ndim else float(scale)
