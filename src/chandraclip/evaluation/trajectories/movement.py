"""Which sources really moved: every path against what photon noise alone makes of it, with p-values of the ranking.

For each source photons are dealt anew (`photon_noise`) and embedded. Pilot draws say where noise puts each observation
and how wide (`paths.NoiseModel`); they are used for nothing else. Then the statistics of the observed path are compared
with those of further draws, of which the observed one is just another where the source is constant: p = (1 + k) /
(1 + draws) for k draws that are as extreme (Davison & Hinkley 1997, section 4.2). Sources that `FEW_EXCEED` draws or
more have outdone are drawn no further (Besag & Clifford 1991, Biometrika 78, 301); the others go on to `num_draws`.
P-values are corrected for the number of sources by their false discovery rate (Benjamini & Hochberg 1995, JRSS B 57,
289).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.stats import false_discovery_control
from tqdm.auto import tqdm

from chandraclip.catalog.ragged import Ragged
from chandraclip.evaluation.trajectories.paths import (
    PATH_STATISTICS,
    NoiseModel,
    path_statistics,
    source_bounds,
    whitening_of,
)
from chandraclip.evaluation.trajectories.photon_noise import CALIBRATION_SCATTER, PhotonNoise, channel_areas

NUM_PILOT = 24
NUM_DRAWS = 999
FIRST_DRAWS = 39
FEW_EXCEED = 8
WHITENING_FLOOR = 0.1  # of the mean eigenvalue of the noise
FALSE_DISCOVERY_RATE = 0.05  # of the sources called moved, the share that is not
ROWS_AT_ONCE, PHOTONS_AT_ONCE = 4096, 2_000_000  # drawn and embedded together

# (rows of the dataset) -> (N, D) points in latent space, the same for the same row
Embed = Callable[[pa.Table], np.ndarray]


@dataclass(frozen=True, eq=False)
class Paths:
    """Observations of S sources with two or more each, by source and time.

    Attributes:
        rows: N detections: the columns that models read, `arf`, `response_id`, `psf_frac_aper_b` and the key.
        source: (N,) int, non-decreasing from 0.
        mjd: (N,) d, increasing within a source.
        class_centres: (N, D) of `path_statistics`, or None.
    """

    rows: pa.Table
    source: np.ndarray
    mjd: np.ndarray
    class_centres: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Movement:
    """What `measure_movement` found.

    Attributes:
        table: a row a source, what moved most first.
        points: (N, D), the observed paths.
        noise: where noise alone puts them.
        cloud: (NUM_PILOT, N, D) float32, the pilot draws.
    """

    table: pd.DataFrame
    points: np.ndarray
    noise: NoiseModel
    cloud: np.ndarray


def measure_movement(
    paths: Paths,
    responses: Mapping[str, Any],
    embed: Embed,
    *,
    num_draws: int = NUM_DRAWS,
    calibration_scatter: float = CALIBRATION_SCATTER,
    flux_free: bool = False,
    whitening_floor: float = WHITENING_FLOOR,
    seed: int = 0,
    progress: bool = True,
) -> Movement:
    """Every path against photon noise alone.

    Args:
        paths: what was observed; all rows of one channel grid.
        responses: of the dataset by response_id.
        embed: rows to points.
        num_draws: of a source that few draws outdo; the smallest p-value is 1 / (num_draws + 1).
        calibration_scatter: dex of effective area between observations that is no change of the source.
        flux_free: a source may change in brightness without moving: only changes of the spectrum count.
        whitening_floor: see `paths.whitening_of`.
        seed: of the draws.

    Returns:
        `Movement`. Its table has: name; observations; first_mjd, last_mjd; least_counts, most_counts and total_counts
        in the aperture; for each path statistic its value, ``_noise`` (the median of the draws) and ``_p``; departure
        (see `NoiseModel.departure`), departure_noise, departure_sigma (in standard deviations of the draws), draws,
        p_value and q_value: of the departure, by which the rows are ordered; moved: q_value at `FALSE_DISCOVERY_RATE`
        or below; path, the number of the source in `paths`.

    Raises:
        ValueError: fewer than `FIRST_DRAWS` draws, or no path.
    """
    if num_draws < FIRST_DRAWS:
        raise ValueError(f"num_draws {num_draws}: at least {FIRST_DRAWS}, else no p-value is small")
    if paths.rows.num_rows == 0:
        raise ValueError("there is no path: no source has two observations")
    first, last = source_bounds(paths.source)
    num_sources = len(first)
    counts = _totals(paths.rows)
    # What a draw of a source costs, in rows of 500 photons.
    cost = np.add.reduceat(1.0 + counts / 500.0, first)
    areas = channel_areas(paths.rows, responses, paths.source)

    def noise_of(sources: np.ndarray) -> tuple[np.ndarray, PhotonNoise]:
        row = np.concatenate([np.arange(first[number], last[number] + 1) for number in sources])
        own = np.repeat(np.arange(len(sources)), last[sources] - first[sources] + 1)
        rows = paths.rows.take(pa.array(row))
        return row, PhotonNoise(rows, own, areas[row], calibration_scatter, flux_free)

    def draw(sources: np.ndarray, draws: int, stage: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the sources, and (draws, rows, D) points."""
        row, noise = noise_of(sources)
        rng = np.random.default_rng([seed, stage, int(sources[0])])
        size = max(1, min(draws, ROWS_AT_ONCE // len(row), int(PHOTONS_AT_ONCE // max(counts[row].sum(), 1.0))))
        parts = [min(size, draws - at) for at in range(0, draws, size)]
        drawn = np.concatenate([embed(noise.draw(rng, part)).reshape(part, len(row), -1) for part in parts])
        if not np.isfinite(drawn).all():
            lost = int(row[~np.isfinite(drawn).all(axis=(0, 2))][0])
            raise ValueError(f"{paths.rows['name'][lost]}: photons drawn anew have no embedding")
        return row, drawn

    points = np.concatenate(
        [embed(paths.rows.slice(at, ROWS_AT_ONCE)) for at in range(0, len(paths.source), ROWS_AT_ONCE)]
    )
    cloud = np.empty((NUM_PILOT, *points.shape), dtype=np.float32)
    everyone = np.arange(num_sources)
    for sources in _bar(_batches(everyone, cost, NUM_PILOT), "noise", progress):
        row, drawn = draw(sources, NUM_PILOT, 0)
        cloud[:, row] = drawn
    noise = noise_model(cloud, paths.source, whitening_floor)

    observed = _statistics(points[None], paths.source, paths.class_centres, noise)
    drawn_statistics: list[list[dict[str, np.ndarray]]] = [[] for _ in everyone]
    exceed, done = np.zeros(num_sources, np.int64), np.zeros(num_sources, np.int64)
    active = everyone
    for stage, upto in enumerate(_stages(num_draws), start=1):
        draws = upto - (done[active[0]] if active.size else 0)
        for sources in _bar(_batches(active, cost, draws), f"draws to {upto}", progress):
            row, drawn = draw(sources, draws, stage)
            own = np.repeat(np.arange(len(sources)), last[sources] - first[sources] + 1)
            centres = None if paths.class_centres is None else paths.class_centres[row]
            part = _statistics(drawn, own, centres, noise.take(row, own))
            exceed[sources] += (part["departure"] >= observed["departure"][0, sources]).sum(axis=0)
            done[sources] = upto
            for place, number in enumerate(sources):
                drawn_statistics[number].append({name: values[:, place] for name, values in part.items()})
        active = active[exceed[active] < FEW_EXCEED]
    table = _table(paths, counts, observed, drawn_statistics, exceed, done)
    return Movement(table, points, noise, cloud)


def noise_model(cloud: np.ndarray, source: np.ndarray, whitening_floor: float = WHITENING_FLOOR) -> NoiseModel:
    """From pilot draws (P, N, D) of N observations; the whitening is that of all of them together."""
    mean = cloud.mean(axis=0, dtype=np.float64)
    residual = cloud - mean
    scatter = np.sqrt((residual**2).sum(axis=-1).mean(axis=0))
    scaled = (residual / np.maximum(scatter, 1e-12)[:, None]).reshape(-1, cloud.shape[-1])
    whitening = whitening_of(scaled.T @ scaled / len(scaled), whitening_floor)
    scatter = np.sqrt(((residual @ whitening) ** 2).sum(axis=-1).mean(axis=0))
    return NoiseModel(source, mean, np.maximum(scatter, 0.2 * np.median(scatter)), whitening)


def _statistics(
    points: np.ndarray, source: np.ndarray, centres: np.ndarray | None, noise: NoiseModel
) -> dict[str, np.ndarray]:
    return {**path_statistics(points, source, centres), "departure": noise.departure(points)}


def _stages(num_draws: int) -> list[int]:
    """Draws after which it is looked who goes on: each some five times the last."""
    stages = [FIRST_DRAWS]
    while 5 * (stages[-1] + 1) < num_draws:
        stages.append(5 * (stages[-1] + 1) - 1)
    return stages if stages[-1] == num_draws else [*stages, num_draws]


def _batches(sources: np.ndarray, cost: np.ndarray, draws: int) -> list[np.ndarray]:
    """The sources in order, cut so that a batch costs about `ROWS_AT_ONCE` rows; a source is never cut."""
    if sources.size == 0:
        return []
    batch = np.floor((np.cumsum(cost[sources]) - cost[sources[0]]) * draws / ROWS_AT_ONCE)
    return np.split(sources, np.flatnonzero(np.diff(batch)) + 1)


def _bar(batches: Sequence[np.ndarray], description: str, progress: bool) -> Any:
    return tqdm(batches, desc=description, unit="batch", disable=not progress)


def _table(
    paths: Paths,
    counts: np.ndarray,
    observed: dict[str, np.ndarray],
    drawn: list[list[dict[str, np.ndarray]]],
    exceed: np.ndarray,
    done: np.ndarray,
) -> pd.DataFrame:
    first, last = source_bounds(paths.source)
    columns: dict[str, Any] = {
        "name": np.array(paths.rows["name"].to_pylist(), dtype=object)[first],
        "observations": last - first + 1,
        "first_mjd": paths.mjd[first],
        "last_mjd": paths.mjd[last],
        "least_counts": np.minimum.reduceat(counts, first),
        "most_counts": np.maximum.reduceat(counts, first),
        "total_counts": np.add.reduceat(counts, first),
    }
    draws = {name: [np.concatenate([part[name] for part in parts]) for parts in drawn] for name in observed}
    for name, larger in PATH_STATISTICS.items():
        value = observed[name][0]
        columns[name] = value
        columns[f"{name}_noise"] = np.array([np.median(values) for values in draws[name]])
        extreme = [np.sum(values >= own if larger else values <= own) for values, own in zip(draws[name], value)]
        columns[f"{name}_p"] = np.where(np.isfinite(value), (1.0 + np.array(extreme)) / (1.0 + done), np.nan)
    departure = observed["departure"][0]
    mean, std = (np.array([function(values) for values in draws["departure"]]) for function in (np.mean, np.std))
    columns["departure"], columns["departure_noise"] = departure, mean
    columns["departure_sigma"] = (departure - mean) / np.maximum(std, 1e-12)
    columns["draws"] = done
    columns["p_value"] = (1.0 + exceed) / (1.0 + done)
    columns["q_value"] = false_discovery_control(columns["p_value"], method="bh")
    columns["moved"] = columns["q_value"] <= FALSE_DISCOVERY_RATE
    columns["path"] = np.arange(len(first))
    return pd.DataFrame(columns).sort_values(
        ["p_value", "departure_sigma"], ascending=[True, False], kind="stable", ignore_index=True
    )


def _totals(rows: pa.Table) -> np.ndarray:
    lists = Ragged.from_arrow(rows["spectrum_counts"])
    sums = np.concatenate([[0], np.cumsum(lists.values, dtype=np.float64)])
    return sums[lists.offsets[1:]] - sums[lists.offsets[:-1]]
