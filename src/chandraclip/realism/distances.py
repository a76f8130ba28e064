"""Simulated against real detections: the distributions of catalogue quantities, class by class.

Both sides pass through `detection_quantities`, so a flux at a limit means the same on both. The distance of two
distributions is that of Kolmogorov and Smirnov, between rows; its interval and the floor it is compared with are over
sources, since the detections of one source are not independent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from chandraclip.data.schema import SOURCE_CLASSES
from chandraclip.realism.catalog_tables import catalog_frame

FLUX_FLOOR = 1e-17  # erg/s/cm2; the published training set marks an upper limit by a flux below it
COUNTS_FLOOR = 1.0
NH_FLOOR = 0.1  # 1e20 cm-2; fits without absorption end anywhere below
MIN_COUNTS_OF_VARIABILITY = 10.0
MIN_SOURCES = 5  # on either side, for a distance
MOST_DETECTIONS = 3  # of a source: a few deep fields have half of CSC's detections of AGN, tens of each


@dataclass(frozen=True)
class Quantity:
    """A compared quantity: its column, its name in the report, the range drawn, and whether it is one a source."""

    column: str
    label: str
    low: float
    high: float
    of_source: bool = False


QUANTITIES = (
    Quantity("energy_hm", "hardness h/m (energy)", -1.0, 1.0),
    Quantity("energy_hs", "hardness h/s (energy)", -1.0, 1.0),
    Quantity("energy_ms", "hardness m/s (energy)", -1.0, 1.0),
    Quantity("log_flux_b", "log flux 0.5-7 keV", -16.5, -11.0),
    Quantity("log_counts_b", "log net counts", 0.0, 4.5),
    Quantity("theta", "off-axis angle (arcmin)", 0.0, 15.0),
    Quantity("var_prob_b", "variability, Gregory-Loredo", 0.0, 1.0),
    Quantity("kp_prob_b", "variability, Kuiper", 0.0, 1.0),
    Quantity("powlaw_gamma", "photon index", -1.0, 8.0, True),
    Quantity("log_powlaw_nh", "log NH of the power law", 19.0, 23.5, True),
    Quantity("log_bb_kt", "log kT, black body", -1.0, 0.7, True),
    Quantity("log_brems_kt", "log kT, bremsstrahlung", -1.0, 2.0, True),
    Quantity("log_num_detections", "log detections a source", 0.0, 1.6, True),
)


def not_later(simulated: pd.DataFrame, real: pd.DataFrame) -> pd.DataFrame:
    """The simulated detections that are not later than the last real one: the instrument has changed since.

    Both of `catalog_tables.catalog_frame`; without dates, all.
    """
    return simulated[~(simulated["mjd_obs"] > real["mjd_obs"].max())].reset_index(drop=True)


def detection_quantities(detections: pa.Table | pd.DataFrame, most_detections: int | None = None) -> pd.DataFrame:
    """The compared quantities, a row a detection, by the same rules for real and simulated ones.

    Hardness is (x - y) / (x + y) of the aperture energy fluxes, a flux below zero counting as zero as in CSC, whose
    fluxes are modes of a posterior over positive fluxes; NaN where a flux is missing or both are zero. Variability
    needs `MIN_COUNTS_OF_VARIABILITY` net counts. Quantities of a source (fits, number of detections) stand in the row
    of its detection with most counts, NaN in the others. Logarithms are decimal, with floors 1e-17 erg/s/cm2, 1 count
    and 1e19 cm-2.

    Args:
        detections: anything `catalog_tables.catalog_frame` takes.
        most_detections: of a source; which ones a hash of the obsid says, so the same on both sides if both have the
            source. Its quantities are then in the first of them, and its number of detections is still that of all.

    Returns:
        Columns name, source_class and those of `QUANTITIES`.
    """
    frame = catalog_frame(detections)
    flux = {band: frame[f"flux_aper_{band}"].clip(lower=0.0) for band in "hmsb"}
    counts = frame["src_cnts_aper_b"]
    result = frame[["name", "source_class", "theta", "powlaw_gamma"]].copy()
    for x, y in ("hm", "hs", "ms"):
        total = flux[x] + flux[y]
        result[f"energy_{x}{y}"] = (flux[x] - flux[y]) / total.where(total > 0)
    result["log_flux_b"] = np.log10(flux["b"].clip(lower=FLUX_FLOOR))
    result["log_counts_b"] = np.log10(counts.clip(lower=COUNTS_FLOOR))
    for name in ("var_prob_b", "kp_prob_b"):
        result[name] = frame[name].where(counts >= MIN_COUNTS_OF_VARIABILITY)
    result["log_powlaw_nh"] = 20.0 + np.log10(frame["powlaw_nh"].clip(lower=NH_FLOOR))
    for name in ("bb_kt", "brems_kt"):
        result[f"log_{name}"] = np.log10(frame[name].where(frame[name] > 0))
    result["log_num_detections"] = np.log10(frame.groupby("name")["name"].transform("size"))
    order = counts.fillna(-np.inf).sort_values(ascending=False, kind="stable").index
    brightest = ~frame.loc[order, "name"].duplicated()
    of_source = [quantity.column for quantity in QUANTITIES if quantity.of_source]
    result.loc[~brightest.reindex(frame.index), of_source] = np.nan
    if most_detections is not None:
        key = (frame["obsid"].fillna(0).to_numpy(np.int64) * 2654435761) % 2**32
        number = frame.iloc[np.argsort(key, kind="stable")].groupby("name").cumcount().reindex(frame.index)
        moved = result.groupby("name")[of_source].transform("max")
        result[of_source] = moved.where(number == 0)
        result = result[number < most_detections]
    return result[["name", "source_class", *(quantity.column for quantity in QUANTITIES)]]


def ks_table(real: pd.DataFrame, simulated: pd.DataFrame, num_resamples: int = 200, seed: int = 0) -> pd.DataFrame:
    """Distance of simulated from real, a row a class and quantity that `MIN_SOURCES` have on each side.

    Args:
        real, simulated: of `detection_quantities`.
        num_resamples: of the sources of both sides for the interval, and splits of the real ones in halves for the
            floor; 0 leaves both NaN, for a quick look.
        seed: of both.

    Returns:
        Columns source_class, quantity, {real,simulated}_{sources,rows,p16,median,p84}; ks; ks_low and ks_high, the
        95 % basic bootstrap interval (2 ks - quantiles: resampling adds noise to a distance, which percentiles would
        count as signal); floor, the median distance of a random half of the real sources from the other, scaled from
        n/2 and n/2 sources to the n and m compared, (1/n + 1/m)^(1/2); beyond_floor, whether ks_low exceeds it.
    """
    generator = np.random.default_rng(seed)
    sides = {"real": real, "simulated": simulated}
    of_class = {side: dict(list(frame.groupby("source_class"))) for side, frame in sides.items()}
    rows = []
    for name in SOURCE_CLASSES:
        if any(name not in classes for classes in of_class.values()):
            continue
        for quantity in QUANTITIES:
            row: dict[str, Any] = {"source_class": name, "quantity": quantity.column}
            sample: list[tuple[np.ndarray, np.ndarray]] = []
            for side, classes in of_class.items():
                present = classes[name][classes[name][quantity.column].notna()]
                values = present[quantity.column].to_numpy()
                sources = np.unique(present["name"].to_numpy().astype(str), return_inverse=True)[1]
                sample.append((values, sources))
                percentiles = np.percentile(values, [16, 50, 84]) if len(values) else [np.nan] * 3
                row |= {f"{side}_sources": len(set(sources)), f"{side}_rows": len(values)}
                row |= {f"{side}_{key}": value for key, value in zip(("p16", "median", "p84"), percentiles)}
            if min(row["real_sources"], row["simulated_sources"]) < MIN_SOURCES:
                continue
            rows.append(row | _distance(sample, num_resamples, generator))
    sides_of = [f"{side}_{key}" for side in sides for key in ("sources", "rows", "p16", "median", "p84")]
    columns = ["source_class", "quantity", *sides_of, "ks", "ks_low", "ks_high", "floor", "beyond_floor"]
    return pd.DataFrame(rows, columns=columns).astype({"beyond_floor": bool})


def _distance(
    sample: list[tuple[np.ndarray, np.ndarray]], num_resamples: int, generator: np.random.Generator
) -> dict[str, float | bool]:
    """ks, its interval and the floor, of ((values, source numbers) of real, of simulated)."""
    sizes = [int(sources.max()) + 1 for _, sources in sample]
    ks = float(_ks(sample, [np.ones((1, size)) for size in sizes])[0])
    if not num_resamples:
        return {"ks": ks, "ks_low": np.nan, "ks_high": np.nan, "floor": np.nan, "beyond_floor": False}
    draws = [generator.multinomial(size, np.full(size, 1.0 / size), size=num_resamples) for size in sizes]
    high, low = 2.0 * ks - np.quantile(_ks(sample, draws), [0.025, 0.975])
    half = generator.permuted(np.tile(np.arange(sizes[0]) % 2, (num_resamples, 1)), axis=1)
    num_real, num_simulated = sizes
    noise_ratio = np.sqrt((1.0 / num_real + 1.0 / num_simulated) / (4.0 / num_real))
    floor = float(noise_ratio * np.median(_ks([sample[0], sample[0]], [half, 1 - half])))
    low, high = max(float(low), 0.0), min(float(high), 1.0)
    return {"ks": ks, "ks_low": low, "ks_high": high, "floor": floor, "beyond_floor": low > floor}


def _ks(sample: list[tuple[np.ndarray, np.ndarray]], weights: Iterable[np.ndarray]) -> np.ndarray:
    """(B,) largest difference of two cumulative distributions, their sources weighted (B, sources of the side)."""
    values = np.concatenate([values for values, _ in sample])
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    last = np.append(ordered[1:] != ordered[:-1], True)  # of equal values only the last is a point of the curve
    signed = []
    for sign, (_, sources), weight in zip((1.0, -1.0), sample, weights):
        of_row = weight[:, sources].astype(np.float64)
        signed.append(sign * of_row / of_row.sum(axis=1, keepdims=True))
    return np.abs(np.cumsum(np.concatenate(signed, axis=1)[:, order], axis=1)[:, last]).max(axis=1)


def differences_in_words(table: pd.DataFrame) -> list[str]:
    """The rows of `ks_table` beyond the floor as sentences, a quantity each, the farthest first."""
    beyond = table[table["beyond_floor"]]
    labels = {quantity.column: quantity.label for quantity in QUANTITIES}
    found = []
    for column, rows in beyond.groupby("quantity"):
        rows = rows.assign(excess=rows["ks_low"] - rows["floor"]).sort_values("excess", ascending=False)
        parts = [f"{row.source_class} {_difference(row)}" for row in rows.itertuples()]
        found.append((float(rows["excess"].max()), f"**{labels[str(column)]}**: {'; '.join(parts)}."))
    return [sentence for _, sentence in sorted(found, reverse=True)]


def _difference(row: Any) -> str:
    """E.g. "higher and wider (median 0.62 against 0.53; KS 0.31 [0.25, 0.37], floor 0.06)"."""
    width, simulated_width = row.real_p84 - row.real_p16, row.simulated_p84 - row.simulated_p16
    shift = row.simulated_median - row.real_median
    words = []
    if abs(shift) > 0.1 * width:
        words.append("higher" if shift > 0 else "lower")
    if simulated_width > 1.25 * width:
        words.append("wider")
    elif simulated_width < 0.8 * width:
        words.append("narrower")
    numbers = f"KS {row.ks:.2f} [{row.ks_low:.2f}, {row.ks_high:.2f}], floor {row.floor:.2f}"
    medians = f"median {row.simulated_median:.2f} against {row.real_median:.2f}"
    return f"{' and '.join(words) or 'of another shape'} ({medians}; {numbers})"
