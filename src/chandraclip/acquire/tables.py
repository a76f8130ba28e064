"""Catalogue columns of detections by an ADQL query: from the archive's TAP service, or from ``getProperties``."""

from __future__ import annotations

import io
import logging
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from chandraclip.acquire.csccli import ArchiveClient
from chandraclip.acquire.http import TransientError, in_words, patiently, shown
from chandraclip.acquire.tap import RefusedError, RowLimitError, ask_tap
from chandraclip.data.schema import CATALOG_COLUMNS
from chandraclip.errors import InputFileError, OptionError

logger = logging.getLogger(__name__)

TAP_PATH = "/csc21tap"  # below the archive's address: CSC 2.1 and nothing else
KEY_LIMITS = {"obsid": 2**31 - 1, "obi": 2**15 - 1, "region_id": 2**31 - 1}  # of the dataset's types
POSITION_COLUMNS = ("ra", "dec", "theta")
SERVICES = ("tap", "properties")
_QUERIES = files("chandraclip.acquire") / "queries"


def presets() -> list[str]:
    """Names of the queries that come along."""
    return sorted(path.name.removesuffix(".adql") for path in _QUERIES.iterdir() if path.name.endswith(".adql"))


def preset_query(name: str) -> str:
    """A query that comes along.

    Raises:
        OptionError: there is none of this name.
    """
    if name not in presets():
        raise OptionError(f"no preset {name!r}; there are {', '.join(presets())}")
    return bare((_QUERIES / f"{name}.adql").read_text())


def read_query(path: Path) -> str:
    """A query from a file.

    Raises:
        InputFileError: it cannot be read, or is empty.
    """
    try:
        query = bare(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(path, f"cannot be read: {error}") from error
    if not query:
        raise InputFileError(path, "no query in it")
    return query


def bare(query: str) -> str:
    """A query without comments (``--`` to the end of the line) and line breaks: the same text is the same build."""
    return " ".join(re.sub(r"('[^']*')|--[^\n]*", lambda found: found[1] or "", query).split())


def fetch_table(client: ArchiveClient, query: str, service: str = "tap") -> pa.Table:
    """What the archive answers to a query, one row a detection.

    Args:
        client: asks the archive.
        query: ADQL, with name, obsid, obi and region_id among its columns.
        service: "tap", with pyvo (extra ``archive``), or "properties".

    Returns:
        See `detections_of`.

    Raises:
        InputFileError: the archive does not answer or refuses the query, or its answer is not what is expected.
        OptionError: pyvo is missing.
    """
    place = f"{shown(client.base_url)}{TAP_PATH if service == 'tap' else '/csccli/getProperties'}"
    ask = _ask_tap if service == "tap" else _ask_properties
    try:
        frame = patiently(client.manners, place, lambda: ask(client, query))
    except TransientError as error:
        raise InputFileError(place, f"{error.reason}; run the same command again") from None
    return detections_of(frame, place)


def detections_of(frame: pd.DataFrame, place: str) -> pa.Table:
    """The table of an answer, checked and in order.

    Returns:
        Sorted by name, obsid, obi and region_id, each row once: name, obsid, obi, region_id, then of ra, dec (deg),
        theta (arcmin) and `CATALOG_COLUMNS` those that the answer has, float64, null where it has no value; and the
        bool column ``ambiguous``: the detection is that of several sources.

    Raises:
        InputFileError: a key column is missing or a value in it is none, a position is none, or there are no rows.
    """
    frame = frame.rename(columns=lambda name: str(name).strip().lower())
    needed = ("name", *KEY_LIMITS)
    if missing := [name for name in needed if name not in frame.columns]:
        raise InputFileError(
            place, f"the query's answer has no column {', '.join(missing)}; it has {list(frame.columns)}"
        )
    if twice := sorted(set(frame.columns[frame.columns.duplicated()])):
        raise InputFileError(place, f"two columns are named {', '.join(twice)}; rename one in the query (AS)")
    if frame.empty:
        raise InputFileError(place, "the query finds no detection")
    columns: dict[str, np.ndarray] = {"name": frame["name"].astype(str).str.strip().to_numpy()}
    for name, limit in KEY_LIMITS.items():
        values = _numbers(frame, name, place)
        bad = ~((values >= 0) & (values <= limit) & (values == np.floor(values)))
        _refuse(bad, place, name, values)
        columns[name] = values.astype(np.int64)
    _refuse(np.isin(columns["name"], ["", "nan", "None"]), place, "name", columns["name"])
    kept = [name for name in (*POSITION_COLUMNS, *CATALOG_COLUMNS) if name in frame.columns]
    for name in kept:
        values = _numbers(frame, name, place)
        values[~np.isfinite(values)] = np.nan
        columns[name] = values
    for name, (low, high) in {"ra": (0.0, 360.0), "dec": (-90.0, 90.0)}.items():
        if name in columns:
            _refuse(~((columns[name] >= low) & (columns[name] <= high)), place, name, columns[name])
    if ("ra" in columns) != ("dec" in columns):
        raise InputFileError(place, "ra and dec go together; the query asks for one")
    if others := [name for name in frame.columns if name not in columns]:
        logger.info("%s: columns that the dataset has no place for: %s", place, ", ".join(others))
    result = pd.DataFrame(columns).drop_duplicates().sort_values([*needed, *kept], ignore_index=True)
    result = result.drop_duplicates([*needed], ignore_index=True)  # equal keys, values that differ: the first
    result["ambiguous"] = result.duplicated(list(KEY_LIMITS), keep=False)
    table = pa.Table.from_pandas(result, preserve_index=False).replace_schema_metadata(None)
    fields = [pa.field(item.name, pa.string() if item.name == "name" else item.type) for item in table.schema]
    return table.cast(pa.schema(fields))


def _numbers(frame: pd.DataFrame, name: str, place: str) -> np.ndarray:
    """float64 of a column, NaN where it has nothing."""
    column = frame[name]
    if not pd.api.types.is_numeric_dtype(column):
        text = column.astype(object).where(column.notna(), "NaN").astype(str).str.strip()
        column = pd.to_numeric(text.replace("", "NaN"), errors="coerce")
        _refuse(
            (column.isna() & ~text.str.lower().isin(["nan", "", "none", "null", "<na>"])).to_numpy(), place, name, text
        )
    return column.to_numpy(np.float64, na_value=np.nan).copy()


def _refuse(bad: np.ndarray, place: str, column: str, values: np.ndarray | pd.Series) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise InputFileError(
            place, f"row {row + 1}: {column} is {in_words(str(np.asarray(values)[row])) or 'empty'}", column
        )


def _ask_tap(client: ArchiveClient, query: str) -> pd.DataFrame:
    url = f"{client.base_url}{TAP_PATH}"
    try:
        advice = "pip install 'chandraclip[archive]', or --table_service properties"
        return ask_tap(client.session, url, query, advice=advice)
    except RowLimitError:
        reason = (
            "the answer was cut off at the service's limit of rows; ask for a part at a time (m.ra BETWEEN ... AND ...)"
        )
        raise InputFileError(shown(url), reason) from None
    except RefusedError as error:
        raise InputFileError(shown(url), f"the query is refused: {error}") from None


def _ask_properties(client: ArchiveClient, query: str) -> pd.DataFrame:
    """A line ``#Column ...`` a column, the names, the rows; the tables without the schema that TAP puts before them."""
    text = client.get_properties(query.replace("csc21.", ""))
    lines = text.splitlines()
    body = [line for line in lines if line.strip() and not line.startswith("#")]
    announced = sum(line.startswith("#Column") for line in lines)
    if not body or len(body[0].split("\t")) != announced:
        raise TransientError(f"getProperties: {in_words(text) or 'an empty answer'}")
    if not text.endswith("\n"):
        raise TransientError("getProperties: the table is cut off")
    try:
        return pd.read_csv(io.StringIO("\n".join(body)), sep="\t", dtype=str, keep_default_na=False, quoting=3)
    except (pd.errors.ParserError, ValueError):
        raise TransientError("getProperties: a row of the table is damaged") from None
