"""ARF and RMF files to a `Response` (CAL/GEN/92-002, with the 92-002a addendum), without a loop over rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sparse

from chandraclip.errors import InputFileError
from chandraclip.ogip.fits import FitsFile, FitsTable
from chandraclip.ogip.response import Response

MATRIX_NAMES = ("MATRIX", "SPECRESP MATRIX", "RSP_MATRIX")
_KEV = {"": 1.0, "kev": 1.0, "ev": 1e-3, "mev": 1e3}  # MeV: the case is lost, and nobody writes milli-eV
_CM2 = {"": 1.0, "cm2": 1.0, "cm**2": 1.0, "cm^2": 1.0, "m2": 1e4, "m**2": 1e4, "m^2": 1e4}
# Two files describe one energy grid where edges differ by less than this share of a bin (float32 rounding is 1e-4).
_GRID_TOLERANCE = 0.05
# No row of a redistribution matrix sums to more than this; a sum above says that the area is in it.
_MAX_PROBABILITY = 2.0


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


def combine(redistribution: Redistribution, area: EffectiveArea | None) -> Response:
    """The `Response` of an RMF and an ARF that are read already; raises as `read_response` does."""
    matrix = redistribution.matrix
    if area is None:
        if not (redistribution.includes_area or redistribution.declared_full):
            raise InputFileError(redistribution.path, "the effective area is not in the matrix: an ARF is needed")
        arf = np.asarray(matrix.sum(axis=1)).ravel()
        scale = np.divide(1.0, arf, out=np.zeros_like(arf), where=arf > 0)
        data = matrix.data * np.repeat(scale, np.diff(matrix.indptr))
        matrix = sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
    else:
        if redistribution.includes_area:
            raise InputFileError(
                area.path, f"{redistribution.path.name} includes the effective area already: this ARF would count twice"
            )
        _check_same_grid(redistribution, area)
        arf = area.area
    return Response(
        energy_lo=redistribution.energy_lo,
        energy_hi=redistribution.energy_hi,
        arf=arf,
        matrix=matrix,
        channel_energy_lo=redistribution.channel_energy_lo,
        channel_energy_hi=redistribution.channel_energy_hi,
        first_channel=redistribution.first_channel,
    )


def read_arf(path: str | Path) -> EffectiveArea:
    """An effective area: the extension HDUCLAS1 RESPONSE, HDUCLAS2 SPECRESP, or named SPECRESP.

    Raises:
        InputFileError: not an ARF, or energies or areas that cannot be.
    """
    file = FitsFile(path)
    table = arf_table(file)
    if table is None:
        raise file.error(f"no effective area (HDUCLAS2 SPECRESP) in it; extensions: {file.describe()}")
    table.require("ENERG_LO", "ENERG_HI", "SPECRESP")
    low, high, order = _energies(table)
    area = _in_units(table, "SPECRESP", _CM2)[order]
    if not np.isfinite(area).all() or (area < 0).any():
        raise table.error("SPECRESP is negative or not a number")
    return EffectiveArea(file.path, low, high, area)


def read_rmf(path: str | Path) -> Redistribution:
    """A redistribution matrix and its EBOUNDS.

    Raises:
        InputFileError: not an RMF, EBOUNDS missing, groups outside the channels, values negative or not finite.
    """
    file = FitsFile(path)
    table, bounds = rmf_table(file), _ebounds_table(file)
    if table is None:
        raise file.error(f"no response matrix (HDUCLAS2 RSP_MATRIX) in it; extensions: {file.describe()}")
    if bounds is None:
        raise file.error(f"no EBOUNDS in it; extensions: {file.describe()}")
    table.require("ENERG_LO", "ENERG_HI", "N_GRP", "F_CHAN", "N_CHAN", "MATRIX")
    bounds.require("E_MIN", "E_MAX")
    low, high, order = _energies(table)
    channel_low, channel_high = _in_units(bounds, "E_MIN", _KEV), _in_units(bounds, "E_MAX", _KEV)
    descending = channel_low.size > 1 and channel_low[0] > channel_low[-1]
    for name, values in (("E_MIN", channel_low), ("E_MAX", channel_high)):
        steps = -np.diff(values) if descending else np.diff(values)
        if not np.isfinite(values).all() or (steps < 0).any():
            raise bounds.error(f"{name} is not monotonic or not a number")
    if (channel_low > channel_high).any():
        raise bounds.error("E_MIN exceeds E_MAX")
    first = _first_channel(table, bounds)
    matrix = _sparse_matrix(table, channel_low.size, first)
    if order.step == -1:
        matrix = matrix[::-1]
    if descending:
        matrix = matrix[:, ::-1].tocsr()
        channel_low, channel_high = channel_low[::-1], channel_high[::-1]
    matrix.sort_indices()
    return Redistribution(
        path=file.path,
        energy_lo=low,
        energy_hi=high,
        matrix=matrix,
        channel_energy_lo=channel_low,
        channel_energy_hi=channel_high,
        first_channel=first,
        descending=bool(descending),
        # The extension's name does not tell (SPECRESP MATRIX is written for pure redistribution too), and FULL is
        # also written, wrongly, on normalised matrices that need their ARF.
        includes_area=bool(matrix.sum(axis=1).max(initial=0.0) > _MAX_PROBABILITY),
        declared_full=table.hduclas(3) == "FULL",
    )


def arf_table(file: FitsFile) -> FitsTable | None:
    """The effective area extension: by HDUCLAS, then by name, then by its columns."""
    for test in (
        lambda table: table.hduclas(1) == "RESPONSE" and table.hduclas(2) == "SPECRESP",
        lambda table: table.extname == "SPECRESP",
        lambda table: table.has("ENERG_LO", "ENERG_HI", "SPECRESP") and not table.has("MATRIX"),
    ):
        found = [table for table in file if test(table) and not table.has("MATRIX")]
        if found:
            if len(found) > 1:
                raise file.error(f"{len(found)} effective areas in one file; give a file with one")
            return found[0]
    return None


def rmf_table(file: FitsFile) -> FitsTable | None:
    """The matrix extension: by HDUCLAS, then by name, then by its columns."""
    for test in (
        lambda table: table.hduclas(1) == "RESPONSE" and table.hduclas(2) == "RSP_MATRIX",
        lambda table: table.extname in MATRIX_NAMES,
        lambda table: table.has("F_CHAN", "N_CHAN", "MATRIX"),
    ):
        found = [table for table in file if test(table)]
        if found:
            if len(found) > 1:
                raise file.error(f"{len(found)} matrices in one file, to be summed; give a file with one")
            return found[0]
    return None


def _ebounds_table(file: FitsFile) -> FitsTable | None:
    # Old CIAO files write HDUCLAS2 = PI_EBOUNDS.
    for test in (
        lambda table: table.hduclas(1) == "RESPONSE" and table.hduclas(2).endswith("EBOUNDS"),
        lambda table: table.extname == "EBOUNDS",
    ):
        found = [table for table in file if test(table)]
        if found:
            return found[0]
    return None


def _in_units(table: FitsTable, name: str, factors: dict[str, float]) -> np.ndarray:
    unit = table.unit(name)
    factor = factors.get(unit.lower().replace(" ", ""))
    if factor is None:
        raise table.error(f"column {name} is in {unit!r}; known units: {', '.join(filter(None, factors))}")
    values = table.column(name).astype(np.float64)
    if values.ndim != 1:
        raise table.error(f"column {name} holds arrays; one number a row is expected")
    return values * factor


def _energies(table: FitsTable) -> tuple[np.ndarray, np.ndarray, slice]:
    """ENERG_LO and ENERG_HI in keV, increasing, and the slice that puts rows in that order."""
    low, high = _in_units(table, "ENERG_LO", _KEV), _in_units(table, "ENERG_HI", _KEV)
    if not low.size:
        raise table.error("no rows")
    order = slice(None, None, -1) if low[0] > low[-1] else slice(None)
    low, high = low[order], high[order]
    if not (np.isfinite(low).all() and np.isfinite(high).all()) or (low < 0).any():
        raise table.error("energies are negative or not numbers")
    if (high <= low).any() or (np.diff(low) <= 0).any():
        raise table.error("energy bins are empty or not monotonic")
    return low, high, order


def _first_channel(table: FitsTable, bounds: FitsTable) -> int:
    """TLMIN of F_CHAN; where absent, the channel EBOUNDS begins with; else 1, which the standard assumes."""
    limit = table.column_key("TLMIN", "F_CHAN")
    if limit is not None:
        first = table.as_number("TLMIN of F_CHAN", limit)
        if first != int(first) or abs(first) > 2**31:
            raise table.error(f"TLMIN of F_CHAN is {limit}, not a channel")
        return int(first)
    if bounds.has("CHANNEL"):
        channel = bounds.numbers("CHANNEL")
        if not (np.abs(channel) < 2**31).all():
            raise bounds.error("CHANNEL is not a channel in each row")
        return int(channel.min())
    return 1


def _sparse_matrix(table: FitsTable, num_channels: int, first_channel: int) -> sparse.csr_array:
    """The (E, C) matrix from channel groups: row e has N_GRP groups of N_CHAN channels from F_CHAN."""
    groups = table.column("N_GRP").astype(np.int64).reshape(table.num_rows, -1)[:, 0]
    if (groups < 0).any():
        raise table.error("N_GRP is negative")
    starts = _leading(table, "F_CHAN", groups) - first_channel
    sizes = _leading(table, "N_CHAN", groups)
    if (sizes < 0).any():
        raise table.error("N_CHAN is negative")
    used = sizes > 0
    if (starts[used] < 0).any() or ((starts + sizes)[used] > num_channels).any():
        raise table.error(f"a channel group lies outside the {num_channels} channels of EBOUNDS, from {first_channel}")
    group_ends = np.concatenate([[0], np.cumsum(sizes)])
    row_ends = group_ends[np.concatenate([[0], np.cumsum(groups)])]
    data = _leading(table, "MATRIX", np.diff(row_ends)).astype(np.float64)
    if not np.isfinite(data).all() or (data < 0).any():
        raise table.error("MATRIX is negative or not a number")
    indices = np.repeat(starts - group_ends[:-1], sizes) + np.arange(group_ends[-1])
    matrix = sparse.csr_array((data, indices, row_ends), shape=(table.num_rows, num_channels))
    matrix.sum_duplicates()  # a row's groups may overlap; they add up
    return matrix


def _leading(table: FitsTable, name: str, wanted: np.ndarray) -> np.ndarray:
    """The first wanted[e] values of each row of an array column, end to end; rows may be padded beyond them."""
    lengths, values = table.ragged(name)
    if (lengths < wanted).any():
        row = int(np.argmax(lengths < wanted))
        raise table.error(f"column {name} has {lengths[row]} values in row {row + 1}, {wanted[row]} are needed")
    if (lengths != wanted).any():
        within = np.arange(values.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        values = values[within < np.repeat(wanted, lengths)]
    return values.astype(np.int64) if name != "MATRIX" else values


def _check_same_grid(redistribution: Redistribution, area: EffectiveArea) -> None:
    if area.area.size != redistribution.energy_lo.size:
        raise InputFileError(
            area.path,
            f"{area.area.size} energy bins, and {redistribution.path.name} has {redistribution.energy_lo.size}",
        )
    width = redistribution.energy_hi - redistribution.energy_lo
    for mine, other in ((area.energy_lo, redistribution.energy_lo), (area.energy_hi, redistribution.energy_hi)):
        difference = np.abs(mine - other) / width
        if difference.max() > _GRID_TOLERANCE:
            row = int(difference.argmax())
            raise InputFileError(
                area.path,
                f"energies differ from those of {redistribution.path.name} (row {row + 1}: {mine[row]:g}, "
                f"{other[row]:g} keV)",
                "SPECRESP",
            )
