"""ARF and RMF files to a `Response` (CAL/GEN/92-002, with the 92-002a addendum), without a loop over rows."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sparse

from chandraclip.errors import InputFileError
from chandraclip.ogip.energy_grid import CM2, common_grid, in_units, photon_energies
from chandraclip.ogip.fits import FitsFile, FitsTable
from chandraclip.ogip.matrix import (
    channel_energies,
    chosen_tables,
    declared_first_channel,
    ebounds_tables,
    matrix_tables,
    summed_matrix,
)
from chandraclip.ogip.response import Response

logger = logging.getLogger(__name__)

# No row of a redistribution matrix sums to more than this; a sum above says that the area is in it.
_MAX_PROBABILITY = 2.0
_MAX_AREA = 1e10  # cm2, a square kilometre: what is above is damage


def read_response(arf: str | Path | None, rmf: str | Path) -> Response:
    """An instrument's response.

    Args:
        arf: effective area file; None only for an RMF that includes the area (HDUCLAS3 FULL).
        rmf: redistribution matrix file. The matrix is found by HDUCLAS1/HDUCLAS2, then by the names MATRIX,
            SPECRESP MATRIX and RSP_MATRIX.

    Returns:
        Photon energies and channels in increasing energy: a grating's channels, which run down in energy, are turned
        round. Where the matrix includes the area, its row sums become the ARF and its rows are normalised.

    Raises:
        InputFileError: a file is missing, damaged or not what it should be; the ARF's and RMF's energies differ; the
            area is counted twice or not at all.
    """
    if rmf is None:
        raise InputFileError(arf or "", "a response needs an RMF, and none was given")
    return combine(read_rmf(rmf), None if arf is None else read_arf(arf))


@dataclass(frozen=True, eq=False)
class EffectiveArea:
    """An ARF: energy_lo, energy_hi (E,) keV increasing, area (E,) cm2."""

    path: Path
    energy_lo: np.ndarray
    energy_hi: np.ndarray
    area: np.ndarray


@dataclass(frozen=True, eq=False)
class Redistribution:
    """An RMF as read.

    Attributes:
        energy_lo, energy_hi: (E,) keV, increasing.
        matrix: (E, C) CSR, float64, columns in increasing energy.
        channel_energy_lo, channel_energy_hi: (C,) keV, increasing.
        first_channel: lowest channel number.
        descending: the file's channels run down in energy: column c is channel first_channel + C - 1 - c.
        includes_area: the matrix is in cm2: its row sums cannot be probabilities.
        declared_full: HDUCLAS3 is FULL: the file says that the area is in the matrix.
        notes: what a user should know of the file, one clause each; it was said on the log.
    """

    path: Path
    energy_lo: np.ndarray
    energy_hi: np.ndarray
    matrix: sparse.csr_array
    channel_energy_lo: np.ndarray
    channel_energy_hi: np.ndarray
    first_channel: int
    descending: bool
    includes_area: bool
    declared_full: bool
    notes: tuple[str, ...] = ()


def combine(redistribution: Redistribution, area: EffectiveArea | None) -> Response:
    """The `Response` of an RMF and an ARF that are read already; raises as `read_response` does."""
    matrix = redistribution.matrix
    low, high = redistribution.energy_lo, redistribution.energy_hi
    if area is None:
        if not (redistribution.includes_area or redistribution.declared_full):
            raise InputFileError(redistribution.path, "the effective area is not in the matrix: an ARF is needed")
        arf = np.asarray(matrix.sum(axis=1)).ravel()
        # Negative elements may outweigh a row: the product of area and matrix stays what the file says.
        arf = np.where(arf > 0, arf, np.asarray(abs(matrix).sum(axis=1)).ravel())
        scale = np.divide(1.0, arf, out=np.zeros_like(arf), where=arf > 0)
        data = matrix.data * np.repeat(scale, np.diff(matrix.indptr))
        matrix = sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
    else:
        if redistribution.includes_area:
            raise InputFileError(
                area.path, f"{redistribution.path.name} includes the effective area already: this ARF would count twice"
            )
        low, high = _common_grid(redistribution, area)
        arf = area.area
    return Response(
        energy_lo=low,
        energy_hi=high,
        arf=arf,
        matrix=matrix,
        channel_energy_lo=redistribution.channel_energy_lo,
        channel_energy_hi=redistribution.channel_energy_hi,
        first_channel=redistribution.first_channel,
    )


def read_arf(path: str | Path, extension: str | None = None) -> EffectiveArea:
    """An effective area: the extension HDUCLAS1 RESPONSE, HDUCLAS2 SPECRESP, or named SPECRESP.

    Args:
        path: the file.
        extension: of several, ``"2"`` (the second after the primary), ``"SPECRESP2"`` or ``"SPECRESP,2"`` (EXTVER).

    Raises:
        InputFileError: not an ARF, or energies or areas that cannot be.
    """
    file = FitsFile(path)
    tables = arf_tables(file)
    if not tables:
        raise file.error(f"no effective area (HDUCLAS2 SPECRESP) in it; extensions: {file.describe()}")
    tables = chosen_tables(file, tables, extension)
    if len(tables) > 1:
        raise file.error(f"{len(tables)} effective areas in one file; give a file with one, or name the extension")
    table = tables[0]
    table.require("ENERG_LO", "ENERG_HI", "SPECRESP")
    low, high, order = photon_energies(table)
    area = in_units(table, "SPECRESP", CM2)[order]
    bad = ~np.isfinite(area) | (area < 0) | (area > _MAX_AREA)
    if bad.any():
        energy = low[np.argmax(bad)]
        worst = area[np.argmax(bad)]
        what = "larger than any telescope's" if _MAX_AREA < worst < np.inf else "negative or not a number"
        raise table.error(f"SPECRESP is {what} ({worst:g} at {energy:g} keV)")
    return EffectiveArea(file.path, low, high, area)


def read_rmf(path: str | Path, extension: str | None = None) -> Redistribution:
    """A redistribution matrix and its EBOUNDS.

    Several MATRIX extensions are summed (CAL/GEN/92-002a). Negative elements, which real EPIC matrices have, are used
    as they are and said on the log.

    Args:
        path: the file.
        extension: one of several matrices, as for `read_arf`.

    Raises:
        InputFileError: not an RMF, EBOUNDS missing, groups outside the channels, elements that are not finite, or
            several matrices that are not one response.
    """
    file = FitsFile(path)
    tables, bounds = matrix_tables(file), ebounds_tables(file)
    if tables:
        tables = chosen_tables(file, tables, extension)
    else:
        raise file.error(f"no response matrix (HDUCLAS2 RSP_MATRIX) in it; extensions: {file.describe()}")
    if not bounds:
        raise file.error(f"no EBOUNDS in it; extensions: {file.describe()}")
    for table in tables:
        table.require("ENERG_LO", "ENERG_HI", "N_GRP", "F_CHAN", "N_CHAN", "MATRIX")
    notes: list[str] = []
    channel_low, channel_high, lowest, descending = channel_energies(bounds)
    declared = [declared_first_channel(table) for table in tables]
    if len(set(declared)) > 1:
        raise tables[-1].error("TLMIN of F_CHAN differs between the MATRIX extensions")
    # TLMIN; where absent, the channel EBOUNDS begins with; else 1, which the standard assumes.
    first = next((number for number in (declared[0], lowest) if number is not None), 1)
    if lowest is not None and lowest != first:
        notes.append(f"F_CHAN counts channels from {first}, and EBOUNDS from {lowest}: matched in order")
    low, high, matrix = summed_matrix(tables, channel_low.size, first)
    if len(tables) > 1:
        total = matrix.sum(axis=1).max(initial=0.0)
        notes.append(f"the sum of its {len(tables)} matrices; the largest sum of a row is {total:.3g}")
    if descending:
        matrix = sparse.csr_array(matrix[:, ::-1])
    matrix.sort_indices()
    largest = np.abs(matrix.data).max(initial=0.0)
    if largest > _MAX_AREA:
        raise tables[0].error(f"MATRIX holds {largest:g}, no probability and no area in cm2")
    negative = matrix.data < 0
    if negative.any():
        notes.append(f"{negative.sum()} elements are negative, to {matrix.data.min():g}, and used as they are")
    for note in notes:
        logger.warning("%s: %s", file.path, note)
    return Redistribution(
        path=file.path,
        energy_lo=low,
        energy_hi=high,
        matrix=matrix,
        channel_energy_lo=channel_low,
        channel_energy_hi=channel_high,
        first_channel=first,
        descending=descending,
        # The extension's name does not tell (SPECRESP MATRIX is written for pure redistribution too), and FULL is
        # also written, wrongly, on normalised matrices that need their ARF.
        includes_area=bool(matrix.sum(axis=1).max(initial=0.0) > _MAX_PROBABILITY * len(tables)),
        declared_full=tables[0].hduclas(3) == "FULL",
        notes=tuple(notes),
    )


def arf_tables(file: FitsFile) -> list[FitsTable]:
    """The effective area extensions: by HDUCLAS, then by name, then by their columns."""
    for test in (
        lambda table: table.hduclas(1) == "RESPONSE" and table.hduclas(2) == "SPECRESP",
        lambda table: table.extname == "SPECRESP",
        lambda table: table.has("ENERG_LO", "ENERG_HI", "SPECRESP"),
    ):
        found = [table for table in file if test(table) and not table.has("MATRIX")]
        if found:
            return found
    return []


def _common_grid(redistribution: Redistribution, area: EffectiveArea) -> tuple[np.ndarray, np.ndarray]:
    name = redistribution.path.name
    if area.area.size != redistribution.energy_lo.size:
        raise InputFileError(
            area.path, f"{area.area.size} energy bins, and {name} has {redistribution.energy_lo.size}", "SPECRESP"
        )
    bins = redistribution.energy_lo, redistribution.energy_hi
    grid = common_grid(bins, (area.energy_lo, area.energy_hi), area.area)
    if isinstance(grid, int):
        mine = f"{area.energy_lo[grid]:g}-{area.energy_hi[grid]:g}"
        other = f"{bins[0][grid]:g}-{bins[1][grid]:g}"
        raise InputFileError(
            area.path, f"energies differ from those of {name} (bin {grid + 1}: {mine}, {other} keV)", "SPECRESP"
        )
    return grid
