"""What an astronomer would measure of a photon list without any learning, and what models of lists are asked for.

Of the photons themselves, not of a catalogue: PPAD's targets are the hardness of the raw counts and the Gregory-Loredo
probabilities of its windows (arXiv:2502.01627), and its eight hand features are made of the same.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from tqdm.auto import tqdm

from chandraclip.catalog.ragged import row_index
from chandraclip.catalog.variability import gregory_loredo
from chandraclip.data.good_lists import RATE_BANDS, GoodLists
from chandraclip.data.schema import MODALITY_COLUMNS
from chandraclip.evaluation.dataset import Detections, column_batches

PHOTONS, RATE = "log10_photons", "log10_rate"
RAW_HARDNESS = ("raw_hard_hm", "raw_hard_hs", "raw_hard_ms")
VARIABILITY = ("var_prob_b", "var_prob_s", "var_prob_m", "var_prob_h", "var_index_b")
PUBLISHED_FEATURES = (*RAW_HARDNESS, *VARIABILITY)  # the eight of PPAD
_LARGEST_LOGIT = 14.0  # of 1e-6; probabilities of bright variable sources are 1 in every digit


def photon_facts(dataset: str, table: Detections, bands: str = "smh") -> dict[str, np.ndarray]:
    """Measured of the photon lists of a table's rows.

    Args:
        dataset: folder or Hub id.
        table: N rows.
        bands: in which the variability is measured beside b.

    Returns:
        name -> (N,) float64, NaN where a list does not tell: `PHOTONS` and `RATE` (log10 of the photons of 0.5-7 keV in
        the good time, and of them a second of it; the good time of a list without is from 0 to its last photon),
        `RAW_HARDNESS` ((x - y) / (x + y) of the counts; NaN without energies or photons) and `VARIABILITY`
        (Gregory-Loredo, `catalog.variability`).

    Raises:
        InputFileError: as `column_batches`.
    """
    names = (PHOTONS, RATE, *RAW_HARDNESS, *(f"var_prob_{band}" for band in ("b", *bands)), "var_index_b")
    found = {name: np.full(len(table), np.nan) for name in names}
    bar = tqdm(total=len(table), desc="photon lists", unit="detection", delay=5.0)
    for rows, part in column_batches(dataset, "pairs", MODALITY_COLUMNS["event"], table, batch_rows=1024):
        if "event_time" in part.column_names:
            for name, values in facts_of(part, bands).items():
                found[name][rows] = values
        bar.update(len(rows))
    bar.close()
    return found


def facts_of(part: pa.Table, bands: str) -> dict[str, np.ndarray]:
    """`photon_facts` of the rows of a table that has the columns of photon lists."""
    lists = GoodLists.of(part)
    start, stop, band = lists.gti_start, lists.gti_stop, lists.band
    row, number = row_index(lists.time), len(part)
    good_time = np.bincount(row_index(start), stop.values - start.values, minlength=number)
    photons = np.bincount(row, minlength=number)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            PHOTONS: np.where(lists.mask, np.log10(photons), np.nan),
            RATE: np.where(lists.mask & (good_time > 0), np.log10(photons / good_time), np.nan),
        }
    kept = {name: band == place for place, name in enumerate(RATE_BANDS)} | {"b": np.ones(len(row), dtype=bool)}
    counts = {name: np.bincount(row, kept[name], minlength=number) for name in RATE_BANDS}
    for harder, softer in ("hm", "hs", "ms"):
        total = counts[harder] + counts[softer]
        ratio = np.divide(counts[harder] - counts[softer], total, out=np.full(number, np.nan), where=total > 0)
        found[f"raw_hard_{harder}{softer}"] = ratio
    for name in ("b", *bands):
        variability = gregory_loredo(lists.select(kept[name]).time, start, stop)
        found[f"var_prob_{name}"] = variability.var_prob
        if name == "b":
            found["var_index_b"] = variability.var_index
    return found


def features(facts: Mapping[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    """(N, len(names)) facts side by side, without those that no row has; a missing value is NaN."""
    values = [facts[name] for name in names if name in facts and np.isfinite(facts[name]).any()]
    return np.stack(values, axis=1) if values else np.zeros((len(next(iter(facts.values()))), 0))


def logit(probability: np.ndarray) -> np.ndarray:
    """ln p / (1 - p), between -14 and 14."""
    with np.errstate(divide="ignore"):
        value = np.log(probability) - np.log1p(-probability)
    return np.clip(value, -_LARGEST_LOGIT, _LARGEST_LOGIT)
