"""How well models know the count rate of photon lists: the likelihood of photons that they were not shown.

A list is an inhomogeneous Poisson process, so its log-likelihood is the sum of ln rate over its photons less the
photons that the rate expects in the good time. Every model is given one half of a list's photons and judged on the
other, whose expected rate is the same. Beside the models stand a constant rate and the Bayesian blocks (Scargle et al.
2013, ApJ 764, 167) of the half that they were shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.stats import bayesian_blocks
from tqdm.auto import tqdm

from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.evaluation.bootstrap import interval, resampled_sums
from chandraclip.evaluation.rate_tables import RateTable
from chandraclip.evaluation.reconstruction import decade_name, decade_of

CONSTANT, BLOCKS = "constant rate", "Bayesian blocks"
FALSE_ALARM = 0.05  # of a change of the rate, Scargle's p0
NUM_BANDS = 3
_PRIOR = 0.5  # photons a band: a band without a photon in one half may have one in the other


@dataclass(frozen=True, eq=False)
class Likelihoods:
    """ln likelihood of N lists by one model; of the whole list, not a photon.

    Attributes:
        held_out: (N,) of the half that it was not shown.
        own: (N,) of all photons, given all of them.
    """

    held_out: np.ndarray
    own: np.ndarray


@dataclass(frozen=True, eq=False)
class LightCurve:
    """A rate that is constant in pieces of the good time of one list.

    Attributes:
        edges: (K + 1,) s of good time elapsed, from 0 to all of it.
        rate: (K,) photons/s.
    """

    edges: np.ndarray
    rate: np.ndarray

    def __call__(self, elapsed: np.ndarray) -> np.ndarray:
        place = np.searchsorted(self.edges, elapsed, side="right") - 1
        return np.asarray(self.rate[np.clip(place, 0, len(self.rate) - 1)])


def model_likelihoods(table: RateTable) -> Likelihoods:
    """What the model of a table says of its lists."""
    held_out, own = table.lists["held_out_log_rate"], table.lists["own_log_rate"]
    return Likelihoods(
        _sums(held_out, held_out.values) - table.lists["held_out_expected"].values.reshape(-1, NUM_BANDS).sum(axis=1),
        _sums(own, own.values) - table.lists["own_expected"].values.reshape(-1, NUM_BANDS).sum(axis=1),
    )


def simple_likelihoods(table: RateTable, progress: bool = True) -> dict[str, Likelihoods]:
    """Of a constant rate and of Bayesian blocks, each with constant shares of the bands, on the lists of a table."""
    bands = {name: table.lists[f"{name}_band"] for name in ("seen", "held_out")}
    per_band = {name: _band_counts(band) for name, band in bands.items()}
    has_bands = {name: _sums(band, band.values >= 0) > 0 for name, band in bands.items()}
    coloured = has_bands["seen"] | has_bands["held_out"]
    good_time = _sums(table.lists["gti_start"], table.lists["gti_stop"].values - table.lists["gti_start"].values)

    def of_constant(given: np.ndarray, judged: np.ndarray) -> np.ndarray:
        """The likelihood of counts a band (N, 4) by the rate of others; the fourth are those without a band."""
        rate = np.where(
            coloured[:, None],
            np.pad(given[:, :NUM_BANDS] + _PRIOR, ((0, 0), (0, 1))),
            np.pad(given[:, NUM_BANDS:] + _PRIOR, ((0, 0), (NUM_BANDS, 0))),
        )
        with np.errstate(divide="ignore", invalid="ignore"):  # bands that a list does not have
            log_rate = np.log(rate) - np.log(good_time)[:, None]
            terms = np.where(judged > 0, judged * log_rate, 0.0)
        return terms.sum(axis=1) - rate.sum(axis=1)

    everything = per_band["seen"] + per_band["held_out"]
    found = {
        CONSTANT: Likelihoods(of_constant(per_band["seen"], per_band["held_out"]), of_constant(everything, everything))
    }
    # Of blocks the constant's likelihood changes by what the shape of the light curve adds.
    shape = np.zeros((2, len(table)))
    for row in tqdm(range(len(table)), desc=BLOCKS, unit="list", disable=not progress):
        elapsed = {name: elapsed_times(table, f"{name}_time", row) for name in ("seen", "held_out")}
        both = np.concatenate([elapsed["seen"], elapsed["held_out"]])
        for place, (given, judged) in enumerate(((elapsed["seen"], elapsed["held_out"]), (both, both))):
            if len(given):
                curve = blocks(given, good_time[row])
                shape[place, row] = np.log(curve(judged) / (len(given) / good_time[row])).sum()
    constant = found[CONSTANT]
    found[BLOCKS] = Likelihoods(constant.held_out + shape[0], constant.own + shape[1])
    return found


def blocks(elapsed: np.ndarray, good_time: float) -> LightCurve:
    """Bayesian blocks of photons at (n,) s of good time elapsed, n at least 1; the mean rate is n / good_time."""
    elapsed = np.sort(elapsed)
    edges = bayesian_blocks(elapsed, fitness="events", p0=FALSE_ALARM)[1:-1] if np.unique(elapsed).size > 1 else []
    edges = np.concatenate([[0.0], edges, [good_time]])
    counts = np.histogram(np.clip(elapsed, 0.0, good_time), edges)[0]
    return LightCurve(edges, counts / np.diff(edges))


def elapsed_times(table: RateTable, name: str, row: int) -> np.ndarray:
    """(n,) s of good time before each photon of a list, in order of time."""
    start, stop, time = (_list(table.lists[column], row) for column in ("gti_start", "gti_stop", name))
    before = np.concatenate([[0.0], np.cumsum(stop - start)])[:-1]
    time = np.sort(time)
    place = np.clip(np.searchsorted(start, time, side="right") - 1, 0, len(start) - 1)
    return np.asarray(before[place] + np.clip(time, start[place], stop[place]) - start[place])


def summarize_rates(
    found: Mapping[str, Likelihoods],
    table: RateTable,
    groups: Mapping[str, np.ndarray],
    num_resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Gains over the constant rate in nats a photon, by decade of counts and in groups, paired on the same photons.

    Args:
        found: model -> likelihoods of N lists, with `CONSTANT` and `BLOCKS` among them.
        table: the lists.
        groups: title -> (N,) bool, e.g. those that vary; each is also cut by decades where it is "all".
        num_resamples, seed: of the bootstrap, over sources.

    Returns:
        A record a group and model. ``gain`` and ``gain_over_blocks`` are means over the held-out photons of all lists
        of the group; ``own_gain`` is of the photons that the model was shown, against the constant of the same: it
        rises with every parameter and compares no models. ``better`` is the share of lists that gain.
    """
    names, photons = table.name, table.num_photons
    held_out = np.diff(table.lists["held_out_time"].offsets).astype(np.float64)
    decade = decade_of(photons)
    parts: dict[str, np.ndarray] = {}
    for title, rows in groups.items():
        parts[title] = rows
        if title == "all":
            parts |= {f"{decade_name(number)} photons": rows & (decade == number) for number in np.unique(decade)}
    records = []
    for title, rows in parts.items():
        rows = rows & (held_out > 0)
        if not rows.any():
            continue
        for model, likelihoods in found.items():
            gain = (likelihoods.held_out - found[CONSTANT].held_out)[rows]
            over_blocks = (likelihoods.held_out - found[BLOCKS].held_out)[rows]
            values = np.stack([gain, over_blocks, held_out[rows]], axis=1)
            sums = resampled_sums(values, names[rows], num_resamples, seed)
            total = held_out[rows].sum()
            record: dict[str, Any] = {
                "group": title,
                "model": model,
                "num_lists": int(rows.sum()),
                "num_sources": int(np.unique(names[rows]).size),
                "photons": int(total),
                "log_likelihood": float(likelihoods.held_out[rows].sum() / total),
            }
            for place, name in enumerate(("gain", "gain_over_blocks")):
                low, high = interval(sums[:, place] / sums[:, 2])
                record |= {name: float(values[:, place].sum() / total), f"{name}_low": low, f"{name}_high": high}
            own = (likelihoods.own - found[CONSTANT].own)[rows].sum() / photons[rows].sum()
            records.append({**record, "own_gain": float(own), "better": float((gain > 0).mean())})
    return records


def _band_counts(band: Ragged) -> np.ndarray:
    """(N, 4) photons in s, m and h, and without a band."""
    place = np.where(band.values < 0, NUM_BANDS, band.values).astype(np.int64)
    cells = row_index(band) * (NUM_BANDS + 1) + place
    return np.bincount(cells, minlength=len(band) * (NUM_BANDS + 1)).reshape(-1, NUM_BANDS + 1).astype(np.float64)


def _sums(lists: Ragged, values: np.ndarray) -> np.ndarray:
    return np.bincount(row_index(lists), np.asarray(values, dtype=np.float64), minlength=len(lists))


def _list(lists: Ragged, row: int) -> np.ndarray:
    return np.asarray(lists.values[lists.offsets[row] : lists.offsets[row + 1]])
