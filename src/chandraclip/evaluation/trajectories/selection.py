"""Which observations make paths: of sources with two and more that have photons, a date and a response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.keys import KEY, with_keys
from chandraclip.data.loading import load_splits
from chandraclip.errors import InputFileError, QueryError
from chandraclip.evaluation.embeddings import EmbeddingTable
from chandraclip.evaluation.trajectories.movement import Paths

# What X-rays alone give, the best first: all that a detection has together, else spectrum and photons side by side.
XRAY = (("xray_embedding",), ("spectrum_embedding", "event_embedding"), ("spectrum_latents", "event_latents"))
_LIGHT = ("mjd_obs", "events_note", "response_id")
# Columns of texts and of the simulator's truth, which no X-ray model reads.
_UNREAD = ("summary", "bibcodes", "summary_model", "prompt_version")


@dataclass(frozen=True, eq=False)
class Selection:
    """What `select_paths` found.

    Attributes:
        paths: of S sources.
        row: (N,) row of each observation in the embeddings table.
        left_out: why -> how many observations of the split.
    """

    paths: Paths
    row: np.ndarray
    left_out: dict[str, int]


def xray_representations(table: EmbeddingTable, wanted: Sequence[str] | None = None) -> tuple[str, ...]:
    """The representations that paths are of.

    Args:
        table: embeddings.
        wanted: names, or None for the best that the table has.

    Raises:
        QueryError: a wanted one is not in the table or is of texts, which do not change with the observation.
        InputFileError: the table has none of X-rays.
    """
    known = [name for name in table.arrays if not name.startswith("text_")]
    if wanted:
        if unknown := [name for name in wanted if name not in known]:
            raise QueryError(f"{table.path}: there is no X-ray representation {unknown[0]!r}, only {', '.join(known)}")
        return tuple(wanted)
    for names in XRAY:
        if all(name in known for name in names):
            return names
    if known:
        return (known[0],)
    raise InputFileError(table.path, "there is no embedding of spectra or photons in it, so no source has a path")


def select_paths(
    dataset: str,
    table: EmbeddingTable,
    responses: Mapping[str, Any],
    representations: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    min_observations: int = 2,
) -> Selection:
    """The observations of a table's sources, in order of time.

    Args:
        dataset: that was embedded.
        table: embeddings; all rows of it are looked through.
        responses: of the dataset.
        representations: that an observation must have; a photon list that is not of the spectrum (`events_note`) does
            not count where photons are among them.
        names: of the sources wanted; None for all.
        min_observations: of a source, 2 at least.

    Raises:
        InputFileError: the dataset lacks detections or columns.
        QueryError: a name that no detection has, or no source with that many observations.
    """
    if names is not None and (unknown := sorted(set(names) - set(table.name.tolist()))):
        raise QueryError(f"{table.path}: no detection is of a source named {unknown[0]!r}")
    whole, position = _rows_of(dataset, table)
    reasons: dict[str, np.ndarray] = {}
    facts = {name: whole[name].to_numpy() for name in _LIGHT}
    mjd = np.asarray(facts["mjd_obs"], dtype=np.float64)
    reasons["no date (mjd_obs)"] = ~np.isfinite(mjd)
    known = np.array([str(value) in responses for value in facts["response_id"]])
    reasons["no response"] = ~known
    photons_matter = any(name.startswith(("event", "xray")) for name in representations)
    if photons_matter:
        reasons["photons that are not those of the spectrum (events_note)"] = np.array(
            [value is not None for value in facts["events_note"]]
        )
    reasons["no " + " and ".join(representations)] = ~np.logical_and.reduce(
        [table.masks[name] for name in representations]
    )
    wanted = np.ones(len(table), bool) if names is None else np.isin(table.name, list(names))
    usable, left_out = wanted.copy(), {}
    for reason, affected in reasons.items():
        left_out[reason] = int((usable & affected).sum())
        usable &= ~affected
    row = _with_company(np.flatnonzero(usable), table.name, min_observations)
    rows = position.read(row)
    same = _common_grid(rows)
    left_out["another channel grid"] = int((~same).sum())
    has_area = _has_area(rows, responses)
    left_out["no effective area (arf on the grid of its response, exposure)"] = int((same & ~has_area).sum())
    same &= has_area
    if photons_matter:
        # Dealt no photon, a list without good times has no embedding.
        has_times = _has_times(rows)
        left_out["photons without good times"] = int((same & ~has_times).sum())
        same &= has_times
    kept = _with_company(row[same], table.name, min_observations)
    if kept.size == 0:
        said = ", ".join(f"{number} with {reason}" for reason, number in left_out.items() if number) or "none left out"
        raise QueryError(
            f"{dataset}: no source has {min_observations} observations that can be compared ({said} of "
            f"{int(wanted.sum())} detections)"
        )
    order = np.lexsort((mjd[kept], table.name[kept]))
    kept = kept[order]
    place = {number: index for index, number in enumerate(row.tolist())}
    rows = rows.take(pa.array([place[number] for number in kept.tolist()]))
    source = np.unique(table.name[kept], return_inverse=True)[1]
    left_out[f"of sources with fewer than {min_observations}"] = int(usable.sum()) - int((~same).sum()) - len(kept)
    return Selection(
        Paths(rows, source, mjd[kept], class_centres(table, representations, kept)),
        kept,
        {reason: number for reason, number in left_out.items() if number},
    )


def joint_points(table: EmbeddingTable, representations: Sequence[str]) -> np.ndarray:
    """(N, D) points as `embedding.points.embed_points` gives them; NaN in rows that lack a representation."""
    values, mask = table.joint(representations)
    return np.where(mask[:, None], values / np.sqrt(len(representations)), np.nan)


def class_centres(table: EmbeddingTable, representations: Sequence[str], row: np.ndarray) -> np.ndarray:
    """(len(row), D) mean of the class of each of some rows, its own source left out; NaN where the class is unknown."""
    points = joint_points(table, representations)
    centres = np.full((len(row), points.shape[1]), np.nan)
    there = np.isfinite(points).all(axis=1)
    for number in np.unique(table.source_class[row]):
        member = there & (table.source_class == number)
        own = np.flatnonzero(table.source_class[row] == number)
        if number < 0 or not member.any():
            continue
        name, group = np.unique(table.name[member], return_inverse=True)
        sums = np.zeros((len(name), points.shape[1]))
        np.add.at(sums, group, points[member])
        size = np.bincount(group)
        of_own = np.searchsorted(name, table.name[row[own]])
        left = size.sum() - size[of_own]
        mean = (sums.sum(axis=0) - sums[of_own]) / np.maximum(left, 1)[:, None]
        centres[own] = np.where(left[:, None] > 0, mean, np.nan)
    return centres


@dataclass(frozen=True, eq=False)
class _Position:
    """Where the rows of a table lie in a dataset."""

    dataset: Any
    at: np.ndarray
    keys: pa.Table

    def read(self, row: np.ndarray) -> pa.Table:
        """All that models read of some rows, with the key columns."""
        names = [
            name for name in self.dataset.column_names if name not in (*_UNREAD, *self.keys.column_names)
            and not name.startswith("true_")
        ]  # fmt: skip
        rows = self.dataset.select_columns(names).select(self.at[row])[:].combine_chunks()
        own = self.keys.take(pa.array(row))
        return pa.table({**{name: own[name] for name in own.column_names}, **{name: rows[name] for name in names}})


def _rows_of(dataset: str, table: EmbeddingTable) -> tuple[pa.Table, _Position]:
    """Light columns and the place of the rows of a table.

    Raises:
        InputFileError: the dataset lacks a detection, or a column that redrawing needs.
    """
    import datasets

    splits = load_splits(dataset, "pairs", table.provenance.get("dataset_config"))
    available = next(iter(splits.values())).column_names
    if lacking := [name for name in ("spectrum_counts", "arf", "response_id", "exposure", "mjd_obs")
                   if name not in available]:  # fmt: skip
        raise InputFileError(dataset, f"without {', '.join(lacking)} photons cannot be drawn anew", lacking[0])
    light = [name for name in (*KEY, "source_class", *_LIGHT) if name in available]
    parts = [with_keys(dataset, rows.select_columns(light)[:], name) for name, rows in splits.items()]
    whole = pa.concat_tables(parts).combine_chunks()
    for name in _LIGHT:
        if name not in whole.column_names:
            whole = whole.append_column(name, pa.nulls(whole.num_rows, pa.string()))
    index = pd.MultiIndex.from_arrays([_plain(whole[name].to_numpy(), name) for name in KEY])
    if not index.is_unique:
        raise InputFileError(dataset, f"two rows have the key {index[index.duplicated()][0]}")
    at = index.get_indexer(pd.MultiIndex.from_arrays([_plain(table.keys[name], name) for name in KEY]))
    if (at < 0).any():
        lost, name = int((at < 0).sum()), table.name[at < 0][0]
        raise InputFileError(
            dataset, f"{lost} of {len(table)} embedded detections are not in it, the first of {name!r}"
        )
    own = whole.take(pa.array(at))
    together = datasets.concatenate_datasets(list(splits.values())).with_format("arrow")
    return own, _Position(together, at, own.select([*KEY, "split", "source_class"]))


def _plain(values: np.ndarray, name: str) -> np.ndarray:
    return values.astype(str) if name == "name" else values.astype(np.int64)


def _with_company(row: np.ndarray, name: np.ndarray, least: int) -> np.ndarray:
    """Those of some rows whose source has at least `least` of them."""
    _, group, size = np.unique(name[row], return_inverse=True, return_counts=True)
    return row[size[group] >= least]


def _has_area(rows: pa.Table, responses: Mapping[str, Any]) -> np.ndarray:
    """(N,) bool, whether the arf is on the grid of the response, and that on the row's channels, with an exposure."""
    area, channels = (np.diff(Ragged.from_arrow(rows[name]).offsets) for name in ("arf", "spectrum_counts"))
    known = [responses[str(value)] for value in rows["response_id"].to_pylist()]
    grid = np.array([(np.size(one.energy_lo), one.num_channels) for one in known], dtype=np.int64).reshape(-1, 2)
    exposure = np.asarray(rows["exposure"].cast(pa.float64()).fill_null(0.0))
    return (area == grid[:, 0]) & (channels == grid[:, 1]) & (exposure > 0)


def _has_times(rows: pa.Table) -> np.ndarray:
    """(N,) bool, whether a row with photons has good times, too."""
    if "event_time" not in rows.column_names:
        return np.ones(rows.num_rows, bool)
    photons = np.asarray(rows["event_time"].is_valid())
    if "gti_start" not in rows.column_names:
        return ~photons
    return ~photons | (np.diff(Ragged.from_arrow(rows["gti_start"]).offsets) > 0)


def _common_grid(rows: pa.Table) -> np.ndarray:
    """(N,) bool, whether a row has the channels that most rows have."""
    if rows.num_rows == 0:
        return np.zeros(0, bool)
    size = np.diff(Ragged.from_arrow(rows["spectrum_counts"]).offsets)
    grid = size.astype(np.float64)
    if "channel_energy_edges" in rows.column_names and rows["channel_energy_edges"].null_count < rows.num_rows:
        edges = Ragged.from_arrow(rows["channel_energy_edges"])
        has = np.flatnonzero(np.diff(edges.offsets) > 0)
        # The sum of its edges tells one grid of as many channels from another.
        total = np.concatenate([[0.0], np.cumsum(edges.values, dtype=np.float64)])
        grid[has] += 1e-9 * np.round(total[edges.offsets[has + 1]] - total[edges.offsets[has]], 3)
    _, group, number = np.unique(grid, return_inverse=True, return_counts=True)
    return (group == np.argmax(number)) & (size > 0)
