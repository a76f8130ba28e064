"""`Spectrum`: a source's counts with its background and response, and its reader."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chandraclip.errors import InputFileError
from chandraclip.ogip.background import read_background
from chandraclip.ogip.companions import Companion, find_companion, given_companion
from chandraclip.ogip.dispersed_order import DispersedOrder, order_of
from chandraclip.ogip.facts import Described, duration, header_facts, range_of
from chandraclip.ogip.fits import FitsFile
from chandraclip.ogip.header import ObservationHeader
from chandraclip.ogip.pha import PhaRecord, choose_table, read_pha, spec_numbers
from chandraclip.ogip.quality import is_good, is_grouped, turned_groups
from chandraclip.ogip.response import Response
from chandraclip.ogip.response_reader import Redistribution, combine, read_arf, read_rmf


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum(Described):
    """Ungrouped counts of one source in one observation.

    Arrays of C channels run in increasing energy (a grating's are turned round, `channel` with them).

    Attributes:
        counts: (C,) int64, source region, background included.
        channel: (C,) int64, the detector's channel numbers.
        exposure: s, dead time taken off.
        background_counts: (C,) int64 of the background region, float64 where they are not whole (models and means of
            several regions are not), or None.
        background_scale: source / background of BACKSCAL x AREASCAL x exposure, float or (C,); expected background
            in the source region is ``background_scale * background_counts``. 1.0 without a background.
        area_scale: AREASCAL of the source, float or (C,): multiplies the effective area.
        response: ARF and RMF, or None; `response_problem` says why.
        response_problem: why there is no response, or None.
        grouping, quality: (C,) int16 of the file, or None; never applied to the counts.
        header: observation facts.
        path: the PHA file.
        spec_num: SPEC_NUM in a type II file, else None.
        companions: ``"arf"``, ``"rmf"`` and ``"background"`` -> the file that was read for it.
        notes: how each companion file was found, and what was missing, one sentence each.
    """

    counts: np.ndarray
    channel: np.ndarray
    exposure: float
    background_counts: np.ndarray | None
    background_scale: float | np.ndarray
    area_scale: float | np.ndarray
    response: Response | None
    response_problem: str | None
    grouping: np.ndarray | None
    quality: np.ndarray | None
    header: ObservationHeader
    path: Path
    spec_num: int | None = None
    companions: dict[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def channel_energy_edges(self) -> np.ndarray | None:
        """(C + 1,) keV, increasing; None without a response."""
        return None if self.response is None else self.response.channel_energy_edges

    @property
    def good_channels(self) -> np.ndarray:
        """(C,) bool, the channels that fits and features use: all where the file has no QUALITY, else see `is_good`."""
        if self.quality is None:
            return np.ones(self.counts.size, dtype=bool)
        return is_good(self.quality, is_grouped(self.grouping))

    @property
    def expected_background(self) -> np.ndarray:
        """(C,) expected background counts in the source region; zeros without a background."""
        if self.background_counts is None:
            return np.zeros(self.counts.size)
        return self.background_scale * self.background_counts

    @property
    def title(self) -> str:
        return f"Spectrum {self.path.name}" + ("" if self.spec_num is None else f", SPEC_NUM {self.spec_num}")

    @property
    def facts(self) -> dict[str, str]:
        facts = header_facts(self.header)
        channels = f"{self.counts.size} channels ({self.channel.min()} to {self.channel.max()})"
        edges = self.channel_energy_edges
        if edges is not None:
            channels += f", {range_of(edges[0], edges[-1], 'keV')}"
        facts |= {"counts": f"{self.counts.sum():.6g} in {channels}", "exposure": duration(self.exposure)}
        if self.background_counts is None:
            facts["background"] = "none"
        else:
            expected = f"{self.expected_background.sum():.4g} expected among the source's"
            facts["background"] = f"{self.background_counts.sum():.6g} counts, {expected}"
        facts["response"] = f"none: {self.response_problem}" if self.response is None else self.response.summary
        if self.quality is not None and (self.quality != 0).any():
            facts["quality"] = f"{(self.quality != 0).sum()} channels are marked bad"
        if self.notes:
            facts["notes"] = f"{len(self.notes)} (see .notes)"
        return facts

    def expected_counts(self, photon_flux: np.ndarray) -> np.ndarray:
        """Expected source counts a channel for an incident spectrum, background not included.

        Args:
            photon_flux: (..., E) photons/cm2/s in each photon-energy bin of the response.

        Returns:
            (..., C) counts.

        Raises:
            ValueError: the spectrum has no response.
        """
        if self.response is None:
            raise ValueError(f"{self.path} has no response: {self.response_problem}")
        return self.response.fold(photon_flux) * self.exposure * self.area_scale


def read_spectrum(
    path: str | Path,
    arf: str | Path | None = None,
    rmf: str | Path | None = None,
    background: str | Path | bool | None = None,
    *,
    spec_num: int | None = None,
    extension: int | str | None = None,
    require_response: bool = True,
) -> Spectrum:
    """A spectrum with the background and responses that its header names (OGIP/92-007, CAL/GEN/92-002).

    Args:
        path: PHA file, type I or II.
        arf, rmf: responses; None: found from the header and the folder (see `companions.find_companion`).
        background: background PHA; None: found; False: read none.
        spec_num: which spectrum of a type II file.
        extension: which of several SPECTRUM extensions: its number in the file (the primary HDU is 0) or EXTNAME.
        require_response: where the header names a response that cannot be found, raise (the default) or leave
            `response` None. A file that is found and unusable is always an error.

    Returns:
        Where the header names no response and none lies beside it, `response` is None and `response_problem` says so.
        A background that the header names and nobody has, or that cannot be used, is left out, with a warning in the
        log and in `notes`; so is that of a NET spectrum, which has been subtracted already.

    Raises:
        InputFileError: a file is missing, damaged or inconsistent, or a background that was given cannot be used; it
            names the file, the extension and the reason.
    """
    path = Path(path)
    file = FitsFile(path)
    table = choose_table(file, extension, spec_num)
    record = read_pha(table, spec_num)
    rows = None if record.spec_num is None else spec_numbers(table)
    order = order_of(table, None if rows is None or record.spec_num is None else rows.index(record.spec_num))
    notes: list[str] = []
    companions: dict[str, Path] = {}

    given = {"arf": arf, "rmf": rmf}
    redistribution, response, problem = _response(path, record, order, given, require_response, companions, notes)
    background_counts, scale = read_background(file, table, record, background, companions, notes) or (None, 1.0)
    counts = record.counts
    channel = np.arange(counts.size) + record.first_channel
    if redistribution is not None:
        _check_channels(path, record, redistribution, notes)
    turn = slice(None, None, -1) if redistribution is not None and redistribution.descending else slice(None)

    def turned(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else np.ascontiguousarray(values[turn])

    return Spectrum(
        counts=np.ascontiguousarray(counts[turn]),
        channel=np.ascontiguousarray(channel[turn]),
        exposure=record.exposure,
        background_counts=turned(background_counts),
        background_scale=_turn_scale(scale, turn),
        area_scale=_turn_scale(record.areascal, turn),
        response=response,
        response_problem=problem,
        grouping=record.grouping if turn.step is None else turned_groups(record.grouping),
        quality=turned(record.quality),
        header=record.header,
        path=path,
        spec_num=record.spec_num,
        companions=companions,
        notes=tuple(notes),
    )


def _turn_scale(scale: float | np.ndarray, turn: slice) -> float | np.ndarray:
    return np.ascontiguousarray(scale[turn]) if isinstance(scale, np.ndarray) else float(scale)


def _response(
    path: Path,
    record: PhaRecord,
    order: DispersedOrder | None,
    given: dict[str, str | Path | None],
    required: bool,
    companions: dict[str, Path],
    notes: list[str],
) -> tuple[Redistribution | None, Response | None, str | None]:
    """The RMF, the response, or why there is none."""

    def find(kind: str, name: str | None) -> Companion:
        chosen = given[kind]
        if chosen is not None:
            found = given_companion(chosen)
        else:
            found = find_companion(path, kind, name, record.header, order)
        if found.row is not None:
            raise InputFileError(found.path or path, f"row {{{found.row}}} of a response: rows are for spectra")
        return found

    rmf_file, arf_file = find("rmf", record.rmf_name), find("arf", record.arf_name)
    if rmf_file.path is None:
        if rmf_file.named and required:
            raise InputFileError(path, f"no RMF: {rmf_file.origin}", record.extension)
        return None, None, f"no RMF: {rmf_file.origin}"
    redistribution = read_rmf(rmf_file.path, rmf_file.extension)
    companions["rmf"] = rmf_file.path
    notes.append(f"RMF {rmf_file.path.name}: {rmf_file.origin}")
    notes.extend(f"RMF {rmf_file.path.name}: {note}" for note in redistribution.notes)
    if arf_file.path is None:
        # FULL alone is no proof where an ARF is named: it is also written on matrices that need theirs.
        if redistribution.includes_area or (redistribution.declared_full and not arf_file.named):
            if arf_file.named:
                notes.append(f"no ARF: {arf_file.origin}; the area is in {rmf_file.path.name}")
            return redistribution, combine(redistribution, None), None
        if arf_file.named and required:
            raise InputFileError(path, f"no ARF: {arf_file.origin}", record.extension)
        return redistribution, None, f"no ARF: {arf_file.origin}"
    if redistribution.includes_area and not arf_file.named:
        return redistribution, combine(redistribution, None), None  # an ARF that lies about is not this matrix's
    companions["arf"] = arf_file.path
    notes.append(f"ARF {arf_file.path.name}: {arf_file.origin}")
    return redistribution, combine(redistribution, read_arf(arf_file.path, arf_file.extension)), None


def _check_channels(path: Path, record: PhaRecord, rmf: Redistribution, notes: list[str]) -> None:
    channels = rmf.channel_energy_lo.size
    if channels != record.counts.size:
        raise InputFileError(
            path, f"{record.counts.size} channels (DETCHANS), and {rmf.path.name} has {channels}", record.extension
        )
    if rmf.first_channel == record.first_channel:
        return
    if not record.listed.all():
        raise InputFileError(
            path,
            f"channels begin at {record.first_channel}, those of {rmf.path.name} at {rmf.first_channel}, and the file "
            "leaves channels out, so they cannot be matched",
            record.extension,
        )
    notes.append(
        f"channels are numbered from {record.first_channel} here and from {rmf.first_channel} in {rmf.path.name}: "
        "matched in order"
    )
