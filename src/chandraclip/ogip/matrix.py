"""The MATRIX extensions of an RMF and its EBOUNDS as arrays (CAL/GEN/92-002), without a loop over rows."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse

from chandraclip.ogip.energy_grid import KEV, in_units, photon_energies, same_edges
from chandraclip.ogip.fits import FitsFile, FitsTable

# Matrices of one file that differ in one of these are several responses (of epochs, orders, detectors), no sum.
_TELLS_APART = ("TSTART", "TSTOP", "TG_M", "TG_PART", "TELESCOP", "INSTRUME", "DETNAM", "CCD_ID", "FILTER")


def summed_matrix(
    tables: list[FitsTable], num_channels: int, first_channel: int
) -> tuple[np.ndarray, np.ndarray, sparse.csr_array]:
    """Energies (E,), (E,) keV increasing, and the (E, C) matrix: the sum of all the MATRIX extensions of a file.

    Raises:
        InputFileError: the extensions describe several responses or have several energy grids; see also
            `sparse_matrix` and `photon_energies`.
    """
    low, high, order = photon_energies(tables[0])
    matrix = _in_order(sparse_matrix(tables[0], num_channels, first_channel), order)
    for table in tables[1:]:
        for keyword in (*_TELLS_APART, "HDUCLAS3"):
            mine, other = tables[0].own_key(keyword), table.own_key(keyword)
            if mine is not None and other is not None and mine != other:
                raise table.error(
                    f"{keyword} is {other!r}, and {mine!r} in {tables[0].label}: several responses, no sum"
                )
        other_low, other_high, order = photon_energies(table)
        width = high - low
        if not (same_edges(low, other_low, width) and same_edges(high, other_high, width)):
            raise table.error(f"its energy grid is not that of {tables[0].label}, so they cannot be summed")
        matrix = sparse.csr_array(matrix + _in_order(sparse_matrix(table, num_channels, first_channel), order))
    return low, high, matrix


def _in_order(matrix: sparse.csr_array, order: slice) -> sparse.csr_array:
    return matrix if order.step is None else sparse.csr_array(matrix[order])  # a slice copies


def channel_energies(tables: list[FitsTable]) -> tuple[np.ndarray, np.ndarray, int | None, bool]:
    """E_MIN, E_MAX (C,) keV in increasing energy, the lowest CHANNEL (None without), and whether channels run down.

    Args:
        tables: the EBOUNDS extensions of a file, at least one; several must say the same.

    Raises:
        InputFileError: energies not numbers or not monotonic; channels repeated or left out; two that differ.
    """
    bounds = tables[0]
    bounds.require("E_MIN", "E_MAX")
    low, high = in_units(bounds, "E_MIN", KEV), in_units(bounds, "E_MAX", KEV)
    if not low.size:
        raise bounds.error("no rows")
    lowest = None
    if bounds.has("CHANNEL"):
        channel = whole_numbers(bounds, "CHANNEL", np.ones(bounds.num_rows, dtype=np.int64))
        order = np.argsort(channel, kind="stable")
        if (np.diff(channel[order]) != 1).any():
            raise bounds.error("CHANNEL repeats a channel or leaves one out")
        low, high, lowest = low[order], high[order], int(channel[order[0]])
    descending = low.size > 1 and low[0] > low[-1]
    for name, values in (("E_MIN", low), ("E_MAX", high)):
        steps = -np.diff(values) if descending else np.diff(values)
        if not np.isfinite(values).all() or (steps < 0).any():
            raise bounds.error(f"{name} is not monotonic or not a number")
    if (low > high).any():
        raise bounds.error("E_MIN exceeds E_MAX")
    for other in tables[1:]:
        other_low, other_high, other_lowest, _ = channel_energies([other])
        turned = (low[::-1], high[::-1]) if descending else (low, high)
        width = turned[1] - turned[0]
        if other_lowest != lowest or not (
            same_edges(turned[0], other_low, width) and same_edges(turned[1], other_high, width)
        ):
            raise other.error(f"it says other energies than {bounds.label}: which one counts cannot be told")
    if descending:
        low, high = low[::-1], high[::-1]
    return low, high, lowest, bool(descending)


def declared_first_channel(table: FitsTable) -> int | None:
    """TLMIN of F_CHAN; None where absent.

    Raises:
        InputFileError: it is no whole number.
    """
    value = table.column_key("TLMIN", "F_CHAN")
    if value is None:
        return None
    keyword = f"TLMIN{table.column_number('F_CHAN')}"
    try:
        number = float("nan") if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not number.is_integer() or abs(number) >= 2**31:
        raise table.error(f"{keyword} is {value!r}, not a channel number")
    return int(number)


def matrix_tables(file: FitsFile) -> list[FitsTable]:
    """The matrix extensions, which add up: by HDUCLAS and by name, else by their columns."""
    found = [
        table
        for table in file
        if (table.hduclas(1) == "RESPONSE" and table.hduclas(2) == "RSP_MATRIX")
        or (not table.hduclas(2) and table.extname in ("MATRIX", "SPECRESP MATRIX", "RSP_MATRIX"))
    ]
    return found or [table for table in file if table.has("F_CHAN", "N_CHAN", "MATRIX")]


def chosen_tables(file: FitsFile, tables: list[FitsTable], extension: str | None) -> list[FitsTable]:
    """Those that a name's ``[extension]`` chooses: by number (the primary is 0), by name, or by name and EXTVER.

    Raises:
        InputFileError: none of them is that extension.
    """
    if extension is None:
        return tables
    name, _, version = extension.upper().partition(",")
    chosen = [
        table
        for table in tables
        if table.label.rsplit(",", 1)[-1] == name
        or (table.extname == name and (not version or str(table.own_key("EXTVER") or 1) == version))
    ]
    if not chosen:
        known = ", ".join(table.label for table in tables)
        raise file.error(f"extension [{extension}] is not one of those that could be meant: {known}")
    return chosen


def ebounds_tables(file: FitsFile) -> list[FitsTable]:
    """The EBOUNDS extensions; old CIAO files write HDUCLAS2 = PI_EBOUNDS."""
    found = [table for table in file if table.hduclas(1) == "RESPONSE" and table.hduclas(2).endswith("EBOUNDS")]
    return found or [table for table in file if table.extname == "EBOUNDS"]


def sparse_matrix(table: FitsTable, num_channels: int, first_channel: int) -> sparse.csr_array:
    """The (E, C) matrix from channel groups: row e has N_GRP groups of N_CHAN channels from F_CHAN.

    Raises:
        InputFileError: columns missing or of another kind; fewer values than the groups need; a group outside the
            channels of EBOUNDS; elements that are not numbers.
    """
    table.require("N_GRP", "F_CHAN", "N_CHAN", "MATRIX")
    groups = whole_numbers(table, "N_GRP", np.ones(table.num_rows, dtype=np.int64))
    if (groups < 0).any():
        raise table.error("N_GRP is negative")
    starts = whole_numbers(table, "F_CHAN", groups) - first_channel
    sizes = whole_numbers(table, "N_CHAN", groups)
    if (sizes < 0).any():
        raise table.error("N_CHAN is negative")
    used = sizes > 0
    outside = used & ((starts < 0) | (starts + sizes > num_channels))
    if outside.any():
        group = int(np.argmax(outside))
        row = int(np.searchsorted(np.cumsum(groups), group, side="right"))
        begin = starts[group] + first_channel
        raise table.error(
            f"a channel group lies outside the {num_channels} channels of EBOUNDS, from {first_channel}: row {row + 1} "
            f"has channels {begin} to {begin + sizes[group] - 1}"
        )
    group_ends = np.concatenate([[0], np.cumsum(sizes)])
    row_ends = group_ends[np.concatenate([[0], np.cumsum(groups)])]
    data = _leading(table, "MATRIX", np.diff(row_ends)).astype(np.float64)
    if not np.isfinite(data).all():
        row = int(np.searchsorted(row_ends, np.argmin(np.isfinite(data)), side="right"))
        raise table.error(f"MATRIX is not a number in row {row}")
    kind = np.int32 if max(num_channels, data.size) < 2**31 else np.int64  # as scipy chooses it, to save it a copy
    indices = np.repeat((starts - group_ends[:-1]).astype(kind), sizes)
    indices += np.arange(data.size, dtype=kind)
    matrix = sparse.csr_array((data, indices, row_ends.astype(kind)), shape=(table.num_rows, num_channels))
    matrix.sum_duplicates()  # a row's groups may overlap; they add up
    return matrix


def whole_numbers(table: FitsTable, name: str, wanted: np.ndarray) -> np.ndarray:
    """The first wanted[e] values of each row of a column, end to end, int64."""
    values = _leading(table, name, wanted)
    if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.round(values))).all():
        raise table.error(f"column {name} is not whole numbers")
    if (np.abs(values) >= 2.0**31).any():
        raise table.error(f"column {name} holds numbers that no channel has")
    return values.astype(np.int64)


def _leading(table: FitsTable, name: str, wanted: np.ndarray) -> np.ndarray:
    """The first wanted[e] values of each row of an array column, end to end; rows may be padded beyond them."""
    lengths, values = table.ragged(name)
    if values.dtype.kind not in "iuf":
        raise table.error(f"column {name} does not hold numbers")
    if (lengths < wanted).any():
        row = int(np.argmax(lengths < wanted))
        raise table.error(f"column {name} has {lengths[row]} values in row {row + 1}, {wanted[row]} are needed")
    if (lengths != wanted).any():
        within = np.arange(values.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        values = values[within < np.repeat(wanted, lengths)]
    return values
