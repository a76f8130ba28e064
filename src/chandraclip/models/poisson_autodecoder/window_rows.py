"""Rows of the dataset, a row a window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from chandraclip.catalog.bands import BANDS
from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.models.poisson_autodecoder.windows import cut_windows, shift_windows

WINDOW_COLUMNS = ("list_row", "window")


def window_rows(
    rows: Any, generator: np.random.Generator, duration: tuple[float, float], num_photons: tuple[int, int]
) -> Any:
    """The lists of a dataset cut in windows of 8 h, shifted at random (`windows`), as a dataset.

    Args:
        rows: in Arrow format, with event_time, event_energy and, if there are such, gti_start and gti_stop.
        generator: of the shifts.
        duration, num_photons: of the lists that are cut, see `cut_windows`.

    Returns:
        In Arrow format: the columns of `rows`, with times of the windows; and list_row and window, the row that each
        was cut from and its place in it. Lists without energies are left out.
    """
    from datasets import Dataset

    table = rows[:]
    has_energies = np.asarray(Ragged.from_arrow(table["event_energy"]).valid)
    table = table.filter(pa.array(has_energies))  # a list without energies has no bands
    time, energy = (Ragged.from_arrow(table[name]) for name in ("event_time", "event_energy"))
    in_band = np.flatnonzero((energy.values >= BANDS["b"][0]) & (energy.values <= BANDS["b"][1]))
    at, times = row_index(time)[in_band], np.asarray(time.values)[in_band]
    order = np.lexsort((times, at))
    in_band, times = in_band[order], times[order]
    lists = Ragged(times, np.concatenate([[0], np.cumsum(np.bincount(at, minlength=len(time)))]))
    windows = shift_windows(cut_windows(lists, duration=duration, num_photons=num_photons), generator)
    cut = table.take(pa.array(windows.row))
    columns = {name: cut[name] for name in cut.column_names}
    kept = Ragged(windows.time, windows.offsets)
    columns["event_time"] = kept.to_arrow(table.schema.field("event_time").type)
    columns["event_energy"] = Ragged(energy.values[in_band[windows.photon]], windows.offsets).to_arrow(
        table.schema.field("event_energy").type
    )
    first, last = kept.values[kept.offsets[:-1]], kept.values[kept.offsets[1:] - 1]
    for name in ("gti_start", "gti_stop"):
        if name in columns and not pa.types.is_null(columns[name].type):
            edges = Ragged.from_arrow(columns[name])
            row = row_index(edges)
            moved = np.clip(edges.values - windows.start[row], 0.0, last[row])
            if name == "gti_start":  # the one of the first photon begins where the window does
                moved = np.where(moved <= first[row], 0.0, moved)
            columns[name] = Ragged(moved, edges.offsets, edges.valid).to_arrow(columns[name].type)
    list_row = np.flatnonzero(has_energies)[windows.row]
    columns |= dict(zip(WINDOW_COLUMNS, (pa.array(list_row), pa.array(windows.number))))
    return Dataset(pa.table(columns)).with_format("arrow")
