"""Detections and sources of the real catalogues, and of a dataset, in one form: a frame with the schema's column names.

The real tables are CSC 2 detections and sources with the labels of the MUWCLASS training set, and that training set
itself (Yang et al. 2022, ApJ 941, 104). They are not part of the project. A frame of detections has `COLUMNS`;
source_class is the name of the class, a value that the catalogue or the dataset does not have is NaN.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from chandraclip.catalog.bands import BANDS
from chandraclip.catalog.kuiper import kuiper_probability
from chandraclip.catalog.ragged import Ragged
from chandraclip.data.schema import SOURCE_CLASSES
from chandraclip.errors import InputFileError

KEY = ("obsid", "obi", "region_id")
FITTED = ("powlaw_gamma", "powlaw_nh", "bb_kt", "bb_nh", "brems_kt", "brems_nh")
MEASURED = (
    "src_cnts_aper_b",
    "flux_aper_b",
    "flux_aper_h",
    "flux_aper_m",
    "flux_aper_s",
    "flux_significance_b",
    "hard_hm",
    "hard_hs",
    "hard_ms",
    "var_prob_b",
    "var_index_b",
    *FITTED,
)
# livetime: from the first to the last good-time interval, s, which is all that the real table has (of a dataset's row
# without events its livetime). flux_error_b: erg/s/cm2, 1 sigma. kp_prob_b: Kuiper probability of variability within
# the observation.
COLUMNS = ("name", *KEY, "source_class", "theta", "mjd_obs", "livetime", *MEASURED, "flux_error_b", "kp_prob_b")

DETECTIONS_FILE = "csc2_detections.csv.gz"
SOURCES_FILE = "csc2_master_labelled.csv.gz"
PUBLISHED_FILE = "TD_v03022023_Xray.csv"
STATISTICS_FILE = "class_statistics.json"
_EVENTS = ("event_time", "event_energy", "gti_start", "gti_stop")


def catalog_frame(table: pa.Table | pd.DataFrame) -> pd.DataFrame:
    """A frame of detections with `COLUMNS`, from rows of the dataset.

    Args:
        table: rows with columns of the schema. With the event columns kp_prob_b is measured (0.5-7 keV). A frame that
            has `COLUMNS` already comes back as it is; columns it lacks are NaN.

    Returns:
        Rows with a class of `SOURCE_CLASSES`; the others (rare classes, unlabelled) are left out.
    """
    if isinstance(table, pa.Table):
        scalars = [name for name in COLUMNS if name in table.column_names]
        frame = table.select(scalars).to_pandas()
        if set(_EVENTS) <= set(table.column_names):
            times, energies, start, stop = (Ragged.from_arrow(table.column(name)) for name in _EVENTS)
            inside = (energies.values >= BANDS["b"][0]) & (energies.values < BANDS["b"][1])
            frame["kp_prob_b"] = kuiper_probability(times, start, stop, inside)
            if "livetime" in frame:
                some = np.diff(stop.offsets) > 0
                first, last = start.values[start.offsets[:-1][some]], stop.values[stop.offsets[1:][some] - 1]
                frame["livetime"] = frame["livetime"].astype(np.float64)
                frame.loc[some, "livetime"] = last - first
    else:
        frame = table
    frame = frame.reindex(columns=list(COLUMNS))
    if pd.api.types.is_numeric_dtype(frame["source_class"]):
        numbers = frame["source_class"]
        frame = frame[numbers.notna()].assign(
            source_class=np.array(SOURCE_CLASSES, dtype=object)[numbers[numbers.notna()].astype(int)]
        )
    frame = frame[frame["source_class"].isin(SOURCE_CLASSES)].copy()
    numeric = [name for name in COLUMNS if name not in ("name", "source_class")]
    frame[numeric] = frame[numeric].astype(np.float64)
    # CSC gives limits, the dataset gives flux over error.
    from_significance = frame["flux_aper_b"] / frame["flux_significance_b"].where(frame["flux_significance_b"] > 0)
    frame["flux_error_b"] = frame["flux_error_b"].fillna(from_significance)
    return frame.reset_index(drop=True)


def read_dataset(folder: Path) -> pd.DataFrame:
    """The detections of a dataset folder, as `catalog_frame` makes them.

    Raises:
        InputFileError: there is no Parquet file in its data/, or one cannot be read.
    """
    files = sorted((folder / "data").glob("*.parquet"))
    if not files:
        raise InputFileError(folder, "no data/*.parquet here, so no dataset that scripts/build_dataset.py built")
    frames = []
    for file in files:
        try:
            wanted = [name for name in pq.read_schema(file).names if name in {*COLUMNS, *_EVENTS}]
            for group in range(pq.ParquetFile(file).num_row_groups):
                frames.append(catalog_frame(pq.ParquetFile(file).read_row_group(group, columns=wanted)))
        except (OSError, pa.ArrowInvalid) as error:
            raise InputFileError(file, f"not readable as Parquet ({error})") from error
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)


def read_real_detections(folder: Path) -> pd.DataFrame:
    """CSC 2 detections with ACIS of sources with a class, as `catalog_frame` makes them.

    The spectral fits are those of the source (master table), repeated on its detections.

    Args:
        folder: with catalog/csc2_detections.csv.gz and catalog/csc2_master_labelled.csv.gz.

    Raises:
        InputFileError: a file is missing or lacks a column.
    """
    path = folder / "catalog" / DETECTIONS_FILE
    table, sources = read_csv(path), read_csv(folder / "catalog" / SOURCES_FILE)
    try:
        table = table[(table["instrument"] == "ACIS") & table["Class"].notna()]
        begin, end = (pd.to_datetime(table[name]) for name in ("gti_obs", "gti_end"))
        columns: dict[str, Any] = {
            name: table[name] for name in ("name", *KEY, "theta", "var_prob_b", "var_index_b", "kp_prob_b")
        }
        columns |= {f"flux_aper_{band}": table[f"flux_aper90_{band}_obs"] for band in BANDS}
        columns |= {
            "source_class": table["Class"],
            "livetime": (end - begin).dt.total_seconds(),
            "mjd_obs": (begin - pd.Timestamp("1858-11-17")).dt.total_seconds() / 86400.0,
            "src_cnts_aper_b": table["src_cnts_aper90_b"],
            "flux_significance_b": table["flux_significance_b"],
            "flux_error_b": 0.5 * (table["flux_aper90_hilim_b_obs"] - table["flux_aper90_lolim_b_obs"]),
        }
        fits = sources.drop_duplicates("name").set_index("name")[list(FITTED)]
    except KeyError as error:
        raise InputFileError(path, f"column {error} is not in it or in {SOURCES_FILE}") from error
    return catalog_frame(pd.DataFrame(columns).join(fits, on="name"))


def read_published_sources(folder: Path) -> pd.DataFrame:
    """The published training set as it is: Fcsc_s, Fcsc_m, Fcsc_h, powlaw_gamma_mean, var_*_prob, Class, name.

    Raises:
        InputFileError: catalog/TD_v03022023_Xray.csv is missing or lacks one of these.
    """
    path = folder / "catalog" / PUBLISHED_FILE
    wanted = ["Fcsc_s", "Fcsc_m", "Fcsc_h", "powlaw_gamma_mean", "var_intra_prob", "var_inter_prob", "Class", "name"]
    table = read_csv(path)
    if missing := set(wanted) - set(table.columns):
        raise InputFileError(path, f"columns {sorted(missing)} are not in it")
    return table[wanted][table["Class"].isin(SOURCE_CLASSES)].reset_index(drop=True)


def photon_hardness(folder: Path) -> dict[tuple[str, str], dict[str, float]]:
    """(class, "hard_hm" ...) -> n, p16, median, p84 of CSC's own hardness ratios (photon fluxes), a source each.

    From class_statistics.json, whose VizieR columns are those of CSC 2; only where it has the three percentiles.

    Raises:
        InputFileError: the file is missing or is not JSON.
    """
    path = folder / STATISTICS_FILE
    try:
        classes = json.loads(path.read_text())["classes"]
    except (OSError, ValueError, KeyError) as error:
        raise InputFileError(path, f"not readable as statistics of the classes ({error})") from error
    found = {}
    for name in SOURCE_CLASSES:
        for ratio in ("hm", "hs", "ms"):
            entry = classes.get(name, {}).get("VIZIER", {}).get(f"HR_{ratio}_photon", {})
            if {"n", "p16", "median", "p84"} <= set(entry):
                found[name, f"hard_{ratio}"] = entry
    return found


def read_csv(path: Path) -> pd.DataFrame:
    """A CSV file, gzipped or not.

    Raises:
        InputFileError: missing or not CSV.
    """
    try:
        return pd.read_csv(path, low_memory=False)
    except (OSError, ValueError) as error:
        raise InputFileError(path, f"not readable as CSV ({error})") from error
