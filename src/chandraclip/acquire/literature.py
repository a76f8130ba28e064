"""What is known of sources on the sky: names around each (SIMBAD) and the papers about them (ADS), as one table.

    OUT.parquet                    a row a source
    OUT.cache/literature.sqlite    what was asked for, by position and by bibcode; nothing is asked for twice

| column | |
|---|---|
| `name`, `ra`, `dec`, `radius` | of the source; deg, ICRS; arcsec around it that SIMBAD was asked about |
| `main_id`, `object_type`, `separation` | of SIMBAD's nearest object within; arcsec; null where there is none |
| `num_objects`, `identifiers` | objects within the radius, and all names of all of them |
| `num_bibcodes` | papers that SIMBAD has of them |
| `bibcodes`, `titles`, `abstracts`, `years` | those taken, of equal length; a title, abstract or year may be null |
| `retrieved` | date (UTC) of the newest of these facts |
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from chandraclip.acquire import ads, simbad
from chandraclip.acquire.ads import AdsClient
from chandraclip.acquire.http import Manners
from chandraclip.acquire.simbad import SimbadClient
from chandraclip.acquire.store import Store, today
from chandraclip.errors import InputFileError, OptionError
from chandraclip.files import atomic_path
from chandraclip.lock import locked

logger = logging.getLogger(__name__)

SOURCES_PER_REQUEST = 500
SOURCES_PER_ROW_GROUP = 2000
ERROR_COLUMNS = ("err_ellipse_r0", "position_error")  # arcsec; the first is CSC's, of 95 %
SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("ra", pa.float64(), nullable=False),
        pa.field("dec", pa.float64(), nullable=False),
        pa.field("radius", pa.float64(), nullable=False),
        pa.field("main_id", pa.string()),
        pa.field("object_type", pa.string()),
        pa.field("separation", pa.float64()),
        pa.field("num_objects", pa.int32()),
        pa.field("identifiers", pa.list_(pa.string())),
        pa.field("num_bibcodes", pa.int32()),
        pa.field("bibcodes", pa.list_(pa.string())),
        pa.field("titles", pa.list_(pa.string())),
        pa.field("abstracts", pa.list_(pa.string())),
        pa.field("years", pa.list_(pa.int16())),
        pa.field("retrieved", pa.string()),
    ]
)


@dataclass(frozen=True)
class Radii:
    """arcsec around a source in which an object counts.

    Attributes:
        default: of sources whose position error is not known; the published 3".
        least, most: of those with one: their error, within these.
    """

    default: float = 3.0
    least: float = 1.0
    most: float = 10.0

    def __post_init__(self) -> None:
        if not 0.0 < self.least <= self.most <= 3600.0 or not 0.0 < self.default <= 3600.0:
            raise OptionError("radii must be positive, the least not above the most, and none above a degree")


@dataclass(frozen=True)
class LiteratureOptions:
    """How SIMBAD and ADS are asked.

    Attributes:
        token: for ADS; None leaves titles and abstracts away.
        max_papers: of a source: those that speak of the fewest objects, then the newest.
        simbad_url, ads_url: of the services or of mirrors.
        manners: for either.
    """

    token: str | None = field(default=None, repr=False)
    max_papers: int = 20
    simbad_url: str = simbad.BASE_URL
    ads_url: str = ads.BASE_URL
    manners: Manners = field(default_factory=lambda: Manners(seconds_between=1.0, read_timeout=300.0))


@dataclass(frozen=True)
class Collected:
    """What became of the sources: all, those with an object of SIMBAD, with a paper, and with an abstract."""

    num_sources: int
    num_named: int
    num_with_papers: int
    num_with_abstracts: int


def read_sources(path: str | Path, radii: Radii | None = None) -> pd.DataFrame:
    """Sources to look up, each once.

    Args:
        path: a dataset's folder, or a table (Parquet or CSV) with name, ra and dec (deg, ICRS) and perhaps one of
            `ERROR_COLUMNS`.

    Returns:
        name, ra, dec and radius (arcsec), sorted by name. Of several rows with a name the first with a position counts.

    Raises:
        InputFileError: there is no such table, or a column or every position is missing, or one is out of range.
    """
    path, radii = Path(path), radii or Radii()
    frame = _read_table(path)
    if missing := [name for name in ("name", "ra", "dec") if name not in frame.columns]:
        raise InputFileError(path, f"has no column {', '.join(missing)}")
    error = next((name for name in ERROR_COLUMNS if name in frame.columns), None)
    columns: dict[str, Any] = {"name": frame["name"].where(frame["name"].notna(), "").astype(str).str.strip()}
    for name in ("ra", "dec"):
        columns[name] = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    radius = np.full(len(frame), np.nan)
    if error is not None:
        radius = pd.to_numeric(frame[error], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    columns["radius"] = np.where(
        np.isfinite(radius) & (radius > 0), np.clip(radius, radii.least, radii.most), radii.default
    )
    sources = pd.DataFrame(columns)
    known = np.isfinite(sources["ra"]) & np.isfinite(sources["dec"]) & (sources["name"] != "")
    bad = known & ~(sources["ra"].between(0.0, 360.0) & sources["dec"].between(-90.0, 90.0))
    if bad.any():
        raise InputFileError(path, "is no position (deg, ICRS)", f"row {int(np.argmax(bad)) + 1}")
    if not known.any():
        raise InputFileError(path, "has no row with a name and a position")
    if lost := sources["name"].nunique() - sources["name"][known].nunique():
        logger.warning("%s: %d name(s) without a position are left out", path, lost)
    return sources[known].drop_duplicates("name").sort_values("name", ignore_index=True)


def collect_literature(
    sources: pd.DataFrame,
    output: str | Path,
    options: LiteratureOptions | None = None,
    cache: str | Path | None = None,
    progress: bool = True,
) -> Collected:
    """Asks SIMBAD and ADS about sources and writes the table of this module.

    Goes on where a run that was killed, or that ADS' quota ended, has stopped; the bytes do not depend on that.

    Args:
        sources: as `read_sources` gives them.
        output: Parquet file.
        cache: folder for what was asked for; None for the one beside `output`.

    Raises:
        InputFileError: a service does not answer, or refuses the token, or the quota is spent: run the same again.
    """
    output, options = Path(output), options or LiteratureOptions()
    folder = Path(cache) if cache is not None else cache_of(output)
    if options.max_papers < 1 or options.max_papers > simbad.KEPT_PAPERS:
        raise OptionError(f"--max_papers must be from 1 to {simbad.KEPT_PAPERS}, got {options.max_papers}")
    with locked(folder), Store(folder / "literature.sqlite") as store:
        _ask_simbad(store, sources, options, progress)
        if options.token is not None:
            _ask_ads(store, sources, options, progress)
        return _write(store, sources, output, options)


def cache_of(output: Path) -> Path:
    return output.with_suffix(".cache")


def requests_to_make(
    sources: pd.DataFrame, output: Path, options: LiteratureOptions, cache: Path | None = None
) -> dict[str, int]:
    """How many requests are left for SIMBAD and, as far as the papers are known, for ADS; nothing is asked."""
    with Store((cache or cache_of(output)) / "literature.sqlite") as store:
        places = len(store.missing("simbad", _keys(sources)))
        papers = len(store.missing("ads", _bibcodes(store, sources, options))) if options.token else 0
    return {
        "SIMBAD": 3 * -(-places // SOURCES_PER_REQUEST),
        "ADS": -(-papers // ads.BIBCODES_PER_REQUEST),
        "new positions": places,
        "new papers": papers,
    }


def _read_table(path: Path) -> pd.DataFrame:
    wanted = ("name", "ra", "dec", *ERROR_COLUMNS)
    try:
        if path.is_dir() or path.suffix.lower() in (".parquet", ".pq"):
            files = sorted((path / "data").glob("*.parquet")) if path.is_dir() else [path]
            if not files:
                raise InputFileError(path, "is no dataset: there are no data/*.parquet in it")
            table = pa_dataset.dataset(files, format="parquet")
            return table.to_table(columns=[name for name in wanted if name in table.schema.names]).to_pandas()
        frame = pd.read_csv(path, comment="#", skipinitialspace=True)
        return frame.rename(columns=lambda name: str(name).strip().lower())
    except (pa.ArrowInvalid, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputFileError(path, f"is no readable table ({' '.join(str(error).split())})") from None


def _keys(sources: pd.DataFrame) -> list[str]:
    return [
        f"{ra!r} {dec!r} {radius!r}" for ra, dec, radius in zip(*(sources[n].tolist() for n in ("ra", "dec", "radius")))
    ]


def _ask_simbad(store: Store, sources: pd.DataFrame, options: LiteratureOptions, progress: bool) -> None:
    keys = _keys(sources)
    missing = store.missing("simbad", keys)
    client = SimbadClient(options.simbad_url, options.manners)
    places = dict(zip(keys, sources[["ra", "dec", "radius"]].itertuples(index=False, name=None)))
    known = len(places) - len(missing)
    with tqdm(total=len(places), initial=known, desc="SIMBAD", unit="source", disable=not progress) as bar:
        for begin in range(0, len(missing), SOURCES_PER_REQUEST):
            part = missing[begin : begin + SOURCES_PER_REQUEST]
            found = client.objects_near(*zip(*(places[key] for key in part)))
            store.put("simbad", {key: {"objects": item, "date": today()} for key, item in zip(part, found)})
            bar.update(len(part))


def _ask_ads(store: Store, sources: pd.DataFrame, options: LiteratureOptions, progress: bool) -> None:
    wanted = _bibcodes(store, sources, options)
    missing = store.missing("ads", wanted)
    if not missing:
        return
    assert options.token is not None
    client = AdsClient(options.token, options.ads_url, options.manners)
    with tqdm(
        total=len(wanted), initial=len(wanted) - len(missing), desc="ADS", unit="paper", disable=not progress
    ) as bar:
        for begin in range(0, len(missing), ads.BIBCODES_PER_REQUEST):
            part = missing[begin : begin + ads.BIBCODES_PER_REQUEST]
            try:
                found = client.papers(part)
            except ads.QuotaSpentError as error:
                left = len(missing) - begin
                reason = f"{error}; {left:,} papers are left, run the same command again then: what arrived is kept"
                raise InputFileError("ADS", reason) from None
            store.put("ads", {bibcode: {"paper": paper, "date": today()} for bibcode, paper in found.items()})
            bar.update(len(part))


def _bibcodes(store: Store, sources: pd.DataFrame, options: LiteratureOptions) -> list[str]:
    """All papers to ask for, in order."""
    wanted: set[str] = set()
    for _, records in _parts(store, sources):
        for record in records:
            wanted.update(bibcode for bibcode, *_ in _chosen(record["objects"], options.max_papers))
    return sorted(wanted)


def _parts(store: Store, sources: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, list[dict[str, Any]]]]:
    """Some sources at a time, with SIMBAD's answers, those that there are."""
    for begin in range(0, len(sources), SOURCES_PER_ROW_GROUP):
        part = sources.iloc[begin : begin + SOURCES_PER_ROW_GROUP]
        keys = _keys(part)
        found = store.get("simbad", set(keys))
        yield part, [found[key] for key in keys if key in found]


def _chosen(objects: list[dict[str, Any]], max_papers: int) -> list[list[Any]]:
    """Papers of a source, [bibcode, year, objects in it]: those of the fewest objects, then the newest."""
    papers = {paper[0]: paper for item in objects for paper in item["papers"]}

    def rank(paper: list[Any]) -> tuple[float, float, str]:
        bibcode, year, size = paper
        return (np.inf if size is None else size, 0 if year is None else -year, bibcode)

    return sorted(papers.values(), key=rank)[:max_papers]


def _write(store: Store, sources: pd.DataFrame, output: Path, options: LiteratureOptions) -> Collected:
    facts = {"max_papers": options.max_papers, "abstracts": options.token is not None}
    schema = SCHEMA.with_metadata({"chandraclip_literature": json.dumps(facts, sort_keys=True)})
    counts = np.zeros(4, np.int64)
    with atomic_path(output) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for part, records in _parts(store, sources):
            chosen = [_chosen(record["objects"], options.max_papers) for record in records]
            known = store.get("ads", {bibcode for papers in chosen for bibcode, *_ in papers}) if options.token else {}
            rows = [
                {**source, **_row(record, papers, known)}
                for source, record, papers in zip(part.to_dict("records"), records, chosen)
            ]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            counts += [
                len(rows),
                sum(row["num_objects"] > 0 for row in rows),
                sum(bool(row["bibcodes"]) for row in rows),
                sum(any(row["abstracts"]) for row in rows),
            ]
    return Collected(*counts.tolist())


def _row(record: dict[str, Any], papers: list[list[Any]], known: dict[str, Any]) -> dict[str, Any]:
    objects = record["objects"]
    nearest = objects[0] if objects else {}
    entries = [known.get(bibcode) for bibcode, *_ in papers]
    found = [(entry or {}).get("paper") or {} for entry in entries]
    return {
        "main_id": nearest.get("main_id"),
        "object_type": nearest.get("object_type"),
        "separation": nearest.get("separation"),
        "num_objects": len(objects),
        "identifiers": sorted({name for item in objects for name in (item["main_id"], *item["identifiers"]) if name}),
        "num_bibcodes": sum(item["num_bibcodes"] for item in objects),
        "bibcodes": [bibcode for bibcode, *_ in papers],
        "titles": [paper.get("title") for paper in found],
        "abstracts": [paper.get("abstract") for paper in found],
        "years": [paper.get("year") or year for paper, (_, year, _) in zip(found, papers)],
        "retrieved": max([record["date"], *(entry["date"] for entry in entries if entry)]),
    }
