"""Datasets as HATS collections, which the public lsdb opens: row for row, all columns, lists too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from chandraclip.data.hats_export import HatsOptions, export_hats
from chandraclip.data.schema import TABLE_SCHEMA
from chandraclip.errors import InputFileError, OptionError

KEY = [(name, "ascending") for name in ("name", "obsid", "obi", "region_id")]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows all over the sky, two of them without a position, and some beside the edge of a cell of order 0."""
    folder = tmp_path_factory.mktemp("hats") / "dataset"
    (folder / "data").mkdir(parents=True)
    (folder / "responses").mkdir()
    (folder / "manifest.json").write_text("{}")
    rng = np.random.default_rng(5)
    ra, dec = rng.uniform(0, 360, 120), np.degrees(np.arcsin(rng.uniform(-1, 1, 120)))
    ra[:10], dec[:10] = 90.0 + np.linspace(-1e-3, 1e-3, 10), 60.0  # 3.6 arcsec on both sides of an edge
    rows = [
        {
            **{"name": f"source {number // 2:03d}", "obsid": number, "obi": 0, "region_id": number, "split": "train"},
            **{"ra": ra[number], "dec": dec[number], "source_class": number % 8, "summary": f"text {number} µ"},
            "spectrum_counts": rng.poisson(1, 1024).tolist(),
            "event_time": np.sort(rng.uniform(0, 9, number % 7)).tolist() if number % 3 else None,
        }
        for number in range(120)
    ]
    rows[50]["ra"], rows[51]["dec"] = None, float("nan")
    table = pa.Table.from_pylist(rows, TABLE_SCHEMA)
    for number, part in enumerate((table[:70], table[70:])):
        pq.write_table(part, folder / "data" / f"train-{number:05d}-of-00002.parquet", row_group_size=30)
    pq.write_table(pa.table({"response_id": ["a"]}), folder / "responses" / "responses-00000-of-00001.parquet")
    return folder


@pytest.fixture(scope="module")
def collection(dataset: Path) -> Path:
    pytest.importorskip("hats_import", reason="no hats-import, which the extra hats installs")
    output = dataset.parent / "sky"
    done = export_hats(dataset, output, HatsOptions(rows_per_file=15, margin=10.0))
    assert done["rows"] == 118
    assert done["without_position"] == 2
    assert done["files"] == len(list((output / "sky" / "dataset").rglob("Npix=*.parquet"))) > 5
    assert sorted(path.name for path in dataset.parent.iterdir()) == ["dataset", "sky"]
    return output


def with_positions(dataset: Path) -> pa.Table:
    table = pa.concat_tables([pq.read_table(path) for path in sorted((dataset / "data").glob("*.parquet"))])
    return table.filter(pc.and_(pc.is_valid(table["ra"]), pc.is_finite(table["dec"])))


def test_rows_come_back_from_the_files_sorted_by_the_sky(dataset: Path, collection: Path) -> None:
    files = sorted((collection / "sky" / "dataset").rglob("Npix=*.parquet"))
    parts = [pq.read_table(path, partitioning=None) for path in files]
    assert all(part.num_rows <= 15 for part in parts)
    for part in parts:
        index = part["_healpix_29"].to_pylist()
        assert index == sorted(index)
    table = pa.concat_tables(parts)
    assert table.drop(["_healpix_29"]).sort_by(KEY).cast(TABLE_SCHEMA) == with_positions(dataset).sort_by(KEY)
    assert (collection / "responses" / "responses-00000-of-00001.parquet").exists()


def test_lsdb_opens_it(dataset: Path, collection: Path) -> None:
    lsdb = pytest.importorskip("lsdb", reason="no lsdb, which the extra hats installs")
    expected = with_positions(dataset).sort_by(KEY)
    catalog = lsdb.open_catalog(str(collection), columns="all")
    assert set(TABLE_SCHEMA.names) <= set(catalog.columns)
    frame = catalog.compute().sort_values(["name", "obsid"])
    assert frame["obsid"].tolist() == expected["obsid"].to_pylist()
    for name in ("summary", "ra", "source_class"):
        assert frame[name].tolist() == expected[name].to_pylist()
    for name in ("spectrum_counts", "event_time"):
        for found, wanted in zip(frame[name], expected[name].to_pylist()):
            assert (found is None or found is pd.NA) if wanted is None else np.array_equal(found, wanted)
    near = lsdb.open_catalog(str(collection)).cone_search(ra=90.0, dec=60.0, radius_arcsec=20.0).compute()
    assert sorted(near["obsid"]) == list(range(10))
    # Neighbours on both sides of the edge of a cell are found, by the margin that goes along by default.
    crossed = lsdb.open_catalog(str(collection)).crossmatch(
        lsdb.open_catalog(str(collection)), radius_arcsec=5.0, n_neighbors=20, suffixes=("_a", "_b")
    )
    pairs = crossed.compute()
    assert len(pairs[(pairs["obsid_a"] < 10)]) == 100


def test_what_cannot_be_exported(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"there is no data/\*.parquet"):
        export_hats(tmp_path, tmp_path / "out")
    with pytest.raises(InputFileError, match="is there already"):
        export_hats(dataset, tmp_path)
    with pytest.raises(OptionError, match="highest order"):
        export_hats(dataset, tmp_path / "out", HatsOptions(highest_order=40))
    nowhere = tmp_path / "nowhere"
    (nowhere / "data").mkdir(parents=True)
    rows = [{"name": "a", "obsid": 1, "obi": 0, "region_id": 1, "split": "train"}]
    pq.write_table(pa.Table.from_pylist(rows, TABLE_SCHEMA), nowhere / "data" / "train-00000-of-00001.parquet")
    with pytest.raises(InputFileError, match="no row has a position"):
        export_hats(nowhere, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_hats_import_one_line_says_so(repository: Path, dataset: Path, tmp_path: Path) -> None:
    blocked = "import sys, runpy; sys.modules['hats_import'] = None; sys.argv = sys.argv[1:]; "
    command = [sys.executable, "-c", blocked + "runpy.run_path(sys.argv[0], run_name='__main__')"]
    script = repository / "scripts" / "export_hats.py"
    done = subprocess.run([*command, script, dataset, tmp_path / "out"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["error: hats-import: is not installed: pip install 'chandraclip[hats]'"]
    assert list(tmp_path.iterdir()) == []
