"""Rows of the real catalogue that a mock is made from: CSC detections and sources, checked and put in order."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from chandraclip.data.names import position_of_name
from chandraclip.data.schema import SOURCE_CLASSES
from chandraclip.errors import InputFileError

BANDS = ("b", "h", "m", "s")
DETECTION_COLUMNS = (
    "name",
    "obsid",
    "obi",
    "region_id",
    "gti_obs",
    "gti_end",
    "theta",
    "src_cnts_aper90_b",
    *(f"flux_aper90_{part}{band}_obs" for band in BANDS for part in ("", "lolim_", "hilim_")),
    "var_prob_b",
    "Class",
)
# How a detection varied, where the table tells: Gregory-Loredo's index, and the rates of its light curve, 1/s.
VARIABILITY_COLUMNS = ("var_index_b", "var_mean_b", "var_sigma_b", "var_min_b", "var_max_b")
SOURCE_COLUMNS = ("name", "nh_gal", "powlaw_gamma", "powlaw_nh")
NO_NUMBERS = ("name", "gti_obs", "gti_end", "Class")
KEY_LIMITS = {"obsid": 2**31 - 1, "obi": 2**15 - 1, "region_id": 2**31 - 1}  # of the schema's types
LONGEST_EXPOSURE = 2.0e5  # s


@dataclass(frozen=True)
class CatalogRows:
    """D detections of S sources, sorted by name and date.

    Attributes:
        detections: frame of D rows: name, obsid, obi, region_id, source (row of `sources`), mjd, exposure (s), theta,
            counts, flux_b and flux_error_b (erg/s/cm2, a missing one NaN), var_prob_b, `VARIABILITY_COLUMNS`.
        sources: frame of S rows: name, ra, dec, source_class (index, -1 unknown), nh_gal, powlaw_gamma, powlaw_nh (NaN
            where there is no fit), counts (of all detections), and flux_*, flux_error_* for h, m, s: means over the
            detections, weighted by exposure.
    """

    detections: pd.DataFrame
    sources: pd.DataFrame

    def chunk(self, first: int, last: int) -> CatalogRows:
        """Sources `first` to `last` - 1 and their detections."""
        rows = self.detections[(self.detections["source"] >= first) & (self.detections["source"] < last)]
        rows = rows.assign(source=rows["source"] - first)
        return CatalogRows(rows.reset_index(drop=True), self.sources.iloc[first:last].reset_index(drop=True))

    def chunk_bounds(self, rows_per_chunk: int) -> list[tuple[int, int]]:
        """Ranges of sources of about so many detections each."""
        total = np.cumsum(np.bincount(self.detections["source"], minlength=len(self.sources)))
        cuts = np.unique(np.searchsorted(total, np.arange(rows_per_chunk, total[-1], rows_per_chunk)) + 1)
        edges = [0, *(int(cut) for cut in cuts if cut < len(self.sources)), len(self.sources)]
        return list(pairwise(edges))


@lru_cache(maxsize=2)
def read_catalog_rows(detections: Path, sources: Path | None = None) -> CatalogRows:
    """The tables of a mock.

    Args:
        detections: CSV (gzipped or not) with `DETECTION_COLUMNS`, one row a detection. Class may be empty;
            `VARIABILITY_COLUMNS` may be missing.
        sources: CSV with `SOURCE_COLUMNS`, one row a source; None: no fits, and Galactic columns of a plain disc.

    Raises:
        InputFileError: a file is missing, not CSV, empty, lacks a column, or has a bad name, key, date, number, angle,
            probability or class (the row is named).
    """
    table = _read(detections, DETECTION_COLUMNS, VARIABILITY_COLUMNS)
    if table.empty:
        raise InputFileError(detections, "has no rows")
    for name, limit in KEY_LIMITS.items():
        whole = (table[name] >= 0) & (table[name] <= limit) & (table[name] % 1 == 0)
        _refuse(detections, ~whole, f"{name} is not a whole number of 0 to {limit}")
    position = {name: _position(name) for name in table["name"].unique()}
    _refuse(detections, table["name"].map(lambda name: position[name] is None), "no position in the name")
    begin, end = (_dates(detections, table[name]) for name in ("gti_obs", "gti_end"))
    exposure = (end - begin).dt.total_seconds()
    _refuse(detections, ~(exposure > 0), "gti_end is not after gti_obs")
    _refuse(detections, ~((table["theta"] >= 0) & (table["theta"] < 60)), "theta is not an off-axis angle in arcmin")
    probable = table["var_prob_b"].isna() | table["var_prob_b"].between(0.0, 1.0)
    _refuse(detections, ~probable, "var_prob_b is not a probability")
    known = table["Class"].isna() | table["Class"].isin(SOURCE_CLASSES)
    _refuse(detections, ~known, f"Class is none of {', '.join(SOURCE_CLASSES)}")
    several = table.groupby("name")["Class"].transform("nunique") > 1
    _refuse(detections, several, "the source has another Class in another row")
    frame = pd.DataFrame(
        {
            "name": table["name"],
            "obsid": table["obsid"].astype(np.int64),
            "obi": table["obi"].astype(np.int64),
            "region_id": table["region_id"].astype(np.int64),
            "class": table["Class"],
            "mjd": begin.dt.as_unit("s").astype(np.int64) / 86400.0 + 40587.0,
            "exposure": np.minimum(exposure, LONGEST_EXPOSURE),
            "theta": table["theta"],
            "counts": table["src_cnts_aper90_b"],
            "var_prob_b": table["var_prob_b"],
            **{name: table[name] for name in VARIABILITY_COLUMNS},
        }
    )
    for band in BANDS:
        frame[f"flux_{band}"] = table[f"flux_aper90_{band}_obs"]
        width = table[f"flux_aper90_hilim_{band}_obs"] - table[f"flux_aper90_lolim_{band}_obs"]
        # Of an upper limit the lower one is 0: half the interval is its error all the same.
        frame[f"flux_error_{band}"] = 0.5 * width
    frame = frame.sort_values(["name", "mjd", "obsid", "obi", "region_id"], kind="stable").reset_index(drop=True)
    frame["source"] = (frame["name"] != frame["name"].shift()).cumsum() - 1
    return CatalogRows(frame, _source_frame(frame, sources))


def _source_frame(frame: pd.DataFrame, sources: Path | None) -> pd.DataFrame:
    groups = frame.groupby("source", sort=True)
    result = pd.DataFrame({"name": groups["name"].first(), "counts": groups["counts"].sum()})
    result["ra"], result["dec"] = np.array([position_of_name(name) for name in result["name"]]).T
    number = {name: index for index, name in enumerate(SOURCE_CLASSES)}
    result["source_class"] = groups["class"].first().map(number).fillna(-1).astype(np.int64)
    for band in ("h", "m", "s"):
        measured = frame[f"flux_{band}"].notna() & (frame[f"flux_error_{band}"] > 0)
        weight = frame["exposure"].where(measured, 0.0)
        total = weight.groupby(frame["source"]).sum()
        mean = (frame[f"flux_{band}"].fillna(0.0) * weight).groupby(frame["source"]).sum() / total
        variance = (frame[f"flux_error_{band}"].fillna(0.0) * weight).pow(2).groupby(frame["source"]).sum() / total**2
        result[f"flux_{band}"], result[f"flux_error_{band}"] = mean, np.sqrt(variance)
    if sources is None:
        return result.assign(nh_gal=np.nan, powlaw_gamma=np.nan, powlaw_nh=np.nan)
    master = _read(sources, SOURCE_COLUMNS)
    for name in ("nh_gal", "powlaw_nh"):
        _refuse(sources, master[name] < 0, f"{name} is below zero")
    master = master.drop_duplicates("name").set_index("name")
    return result.join(master[list(SOURCE_COLUMNS[1:])], on="name")


def _read(path: Path, columns: tuple[str, ...], optional: tuple[str, ...] = ()) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, low_memory=False)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise InputFileError(path, f"not readable as CSV ({error})") from error
    if missing := [name for name in columns if name not in table.columns]:
        raise InputFileError(path, f"columns {', '.join(missing)} are not in it")
    table = table.reindex(columns=[*columns, *optional])  # an optional one that is not in it: NaN
    for name in table.columns:
        if name not in NO_NUMBERS:
            numbers = pd.to_numeric(table[name], errors="coerce")
            _refuse(path, (numbers.isna() & table[name].notna()) | np.isinf(numbers), f"{name} is not a number")
            table[name] = numbers
    # Services fill names up with blanks; a source's split is a hash of its name.
    table["name"] = table["name"].map(lambda name: name.strip() if isinstance(name, str) else name)
    return table


def _dates(path: Path, values: pd.Series) -> pd.Series:
    # As text: pandas takes a number, such as seconds since 1998, for nanoseconds since 1970.
    dates = pd.to_datetime(values.astype("string"), format="ISO8601", utc=True, errors="coerce")
    _refuse(path, dates.isna(), f"{values.name} is not an ISO 8601 date")
    return dates


def _position(name: object) -> tuple[float, float] | None:
    """Right ascension and declination, deg; None where the name has none."""
    try:
        ra, dec = position_of_name(str(name))
    except ValueError:
        return None
    return (ra, dec) if ra < 360.0 and abs(dec) <= 90.0 else None


def _refuse(path: Path, wrong: pd.Series, reason: str) -> None:
    if wrong.any():
        row = int(np.flatnonzero(wrong.to_numpy())[0])
        raise InputFileError(path, f"{reason} ({int(wrong.sum())} rows in all)", extension=f"row {row + 2}")
