"""Data sets that others published: real detections of axia, and tables of every form with all that can be wrong."""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from chandraclip.data.foreign import build as foreign_build
from chandraclip.data.foreign import files, json_lines
from chandraclip.data.foreign.build import build_from_tables
from chandraclip.data.foreign.mapping import find_mapping, load_mapping, mapping_of, preset
from chandraclip.data.foreign.paths import column_at, type_at
from chandraclip.data.foreign.sums import check_sums
from chandraclip.data.splits import split_of
from chandraclip.errors import InputFileError

MET = 3e8  # s
ENERGIES = [600.0, 900.0, 1500.0, 3000.0, 5000.0, 6500.0]  # eV


def axia_row(number=0, **changed):
    """In axia's form, of a list that is whole."""
    times = MET + np.linspace(0.0, 5000.0, 60)
    pairs = np.column_stack([times, np.resize(ENERGIES, 60)]).tolist()
    row = {
        "_id": f"{number:024x}",
        "obsid": 100 + number,
        "obi": 0,
        "region_id": 7,
        "source_name": f"2CXO J0000{number // 2:02d}.0+000000",
        "source_type": "QSO",
        "ra": 10.0,
        "dec": -20.0,
        "theta": 1.5,
        "gti_mjd_obs": 54000.5,
        "event_list": [[0.0, 600.0]],
        "original_event_list": pairs,
        "hard_hs": 0.25,
        "hard_hm": None,
        "powlaw_nh": 12.5,
        "src_cnts_aper_b": 58.0,
        "pca_64d": [0.1, 0.2],
    }
    return {**row, **changed}


def write_lines(path, rows):
    content = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return content


def read(output):
    return sorted(pq.read_table(output / "data").to_pylist(), key=lambda row: row["obsid"])


def build(dataset, output, mapping=None, **options):
    return build_from_tables(dataset, output, mapping, progress=False, **options)


# Real rows


def test_the_axia_sample_is_what_its_rows_say(real_data, tmp_path):
    source = real_data / "events" / "axia_sample"
    with gzip.open(source / "corpus.jsonl.gz", "rt") as stream:
        theirs = sorted(map(json.loads, stream), key=lambda row: row["obsid"])
    result = build(source, tmp_path / "out")
    ours = read(tmp_path / "out")
    assert (len(ours), result.manifest["skipped"], result.manifest["license"]) == (15, [], "cc-by-4.0")
    for row, own in zip(theirs, ours):
        pairs = np.array(row["original_event_list"])
        assert (own["name"], own["obsid"], own["region_id"]) == (row["source_name"], row["obsid"], row["region_id"])
        assert own["split"] == split_of(row["source_name"])
        assert own["tstart"] == pairs[:, 0].min()
        assert np.array_equal(np.array(own["event_time"]) + own["tstart"], np.sort(pairs[:, 0]))
        assert np.allclose(np.sort(own["event_energy"]), np.sort(pairs[:, 1]) / 1000, rtol=1e-6)
        # Counted by their own energies: 14.6 eV a channel, the last has all above.
        channel = np.minimum(pairs[:, 1] // 14.6, 1023).astype(int)
        assert own["spectrum_counts"] == np.bincount(channel, minlength=1024).tolist()
        for name in ("hard_hs", "hard_hm", "hard_ms", "powlaw_gamma", "powlaw_nh", "var_prob_b", "apec_kt"):
            assert own[name] == (None if row[name] is None else pytest.approx(row[name], rel=1e-6)), name
        # Thinned where it was published: nobody knows when these photons could have come.
        assert (own["gti_start"], own["gti_stop"], own["livetime"], own["exposure"]) == (None, None, None, None)
        assert own["events_note"].startswith("800 photons of a longer list")
        assert own["bb_nh"] == (None if row["bb_nh"] is None else pytest.approx(row["bb_nh"], rel=1e-6))
        assert (own["brems_nh"], own["nh_gal"], own["summary"]) == (None, None, None)  # axia has no such columns
    classes = {row["source_type"]: own["source_class"] for row, own in zip(theirs, ours)}
    assert (classes["Seyfert1"], classes["LowMassXBin"], classes["Radio"], classes["SB*"]) == (0, 5, None, None)


def test_others_open_the_dataset(real_data, tmp_path, monkeypatch):
    import datasets
    import duckdb
    import polars

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    build(real_data / "events" / "axia_sample", tmp_path / "out")
    pattern = str(tmp_path / "out" / "data" / "*.parquet")
    names = {row["name"] for row in read(tmp_path / "out")}
    streamed = datasets.load_dataset(str(tmp_path / "out"), "events", streaming=True)
    assert {row["name"] for rows in streamed.values() for row in rows} == names
    assert set(polars.scan_parquet(pattern).select("name").collect()["name"]) == names
    found = duckdb.sql(f"SELECT DISTINCT name FROM '{pattern}' WHERE len(event_time) = 800").fetchall()
    assert {name for (name,) in found} == names
    assert "flux_density" in datasets.load_dataset(str(tmp_path / "out"), "flux_spectra", split="train").features


# What is known of a list


def test_good_time_is_what_the_photons_tell_and_no_more(tmp_path):
    one = [[MET, 600.0]]
    rows = [
        axia_row(0),
        axia_row(1, _event_list_capped=True, _event_list_original_size=9),
        axia_row(2, src_cnts_aper_b=1000.0),  # a list of 60 is not all of it
        axia_row(3, original_event_list=one, src_cnts_aper_b=1.0),
    ]
    write_lines(tmp_path / "in" / "corpus.jsonl", rows)
    build(tmp_path / "in", tmp_path / "out")
    whole, capped, short, single = read(tmp_path / "out")
    assert (whole["gti_start"], whole["gti_stop"], whole["tstart"]) == ([0.0], [5000.0], MET)
    assert whole["events_note"] == "good time not given: from the first photon to the last"
    assert whole["livetime"] is None  # dead time and gaps are not known
    assert capped["gti_start"] is short["gti_start"] is single["gti_start"] is None
    assert short["events_note"].startswith("60 photons in 0.5-7 keV, where the catalogue has 1000 counts")
    assert single["events_note"] == "good time unknown"
    assert single["event_time"] == [0.0]
    # Evenly spaced photons do not vary; where the list is not whole, and where the catalogue has no value, none is.
    assert whole["var_prob_b"] < 0.5
    assert capped["var_prob_b"] is short["var_prob_b"] is single["var_prob_b"] is None
    write_lines(tmp_path / "in" / "corpus.jsonl", [axia_row(0, var_prob_b=None), axia_row(1, var_prob_b=0.75)])
    build(tmp_path / "in", tmp_path / "given")
    assert [row["var_prob_b"] for row in read(tmp_path / "given")] == [None, 0.75]


def test_a_mapping_says_which_column_is_what_in_which_unit(tmp_path):
    table = pa.table(
        {
            "target": ["a source", "a source", None, " "],
            "RA": [600.0, 600.0, 1200.0, None],
            "DEC": [-60.0, -60.0, 0.0, None],
            "when": [[30.0, 10.0, 70.0], [1.0, 2.0, 3.0], [5.0, 6.0], [1.0]],
            "what": [[1.0e-16, 2.0e-16, 3.0e-16]] * 2 + [[1.0e-16, 2.0e-16], [1.0e-16]],
            "begin": [[0.0, 50.0], [0.0], None, [0.0]],
            "end": [[40.0, 60.0], [4.0], None, [4.0]],
            "column": [1.5e21, None, 2e20, 1e20],
            "kind": ["quasar", "star", "quasar", None],
            "obs": [1, 2, 3, 4],
        }
    )
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "lists.parquet", row_group_size=3)
    columns = {
        "name": "target",
        "ra": {"column": "RA", "unit": "arcmin"},
        "dec": {"column": "DEC", "unit": "arcmin"},
        "obsid": "obs",
        "event_time": {"column": "when", "unit": "min"},
        "event_energy": {"column": "what", "unit": "J"},
        "gti_start": {"column": "begin", "unit": "min"},
        "gti_stop": {"column": "end", "unit": "min"},
        "nh_gal": {"column": "column", "unit": "cm-2"},
        "source_class": {"column": "kind", "values": {"quasar": "AGN"}},
        "instrument": {"value": "EPIC-pn"},
    }
    (tmp_path / "columns.yaml").write_text(yaml.safe_dump({"columns": columns}))
    result = build(tmp_path / "in", tmp_path / "out", tmp_path / "columns.yaml", license_id="mit")
    assert [entry["reason"] for entry in result.manifest["skipped"]] == ["no name of the source, and no position"]
    assert result.manifest["skipped"][0]["file"] == "lists.parquet, row 3"
    assert "1 rows of 3 have no name" in result.manifest["notes"][0]["note"]
    first, second, third = read(tmp_path / "out")
    assert (first["ra"], first["dec"], first["nh_gal"]) == (10.0, -1.0, 15.0)
    assert first["event_time"] == [600.0, 1800.0]  # that of 70 min is in no good time
    assert np.allclose(first["event_energy"], [2e-16 / 1.602176634e-16, 1e-16 / 1.602176634e-16])
    assert (first["gti_start"], first["gti_stop"]) == ([0.0, 3000.0], [2400.0, 3600.0])
    assert (first["source_class"], second["source_class"], second["nh_gal"]) == (0, None, None)
    assert third["name"] == "CXO J012000.0+000000"
    assert (third["gti_start"], third["events_note"]) == (None, "good time unknown")
    assert first["spectrum_counts"] is None  # nobody asked for one
    assert first["instrument"] == "EPIC-pn"
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| `nh_gal` | `column` | cm-2 |" in card
    assert "license: mit" in card


# Spectra without counts


def universe_row(number, **changed):
    row = {
        "object_id": f"2CXO J0100{number:02d}.0+100000",
        "name": None,
        "spectrum": {
            "ene_center_bin": [0.6, 1.0],
            "ene_low_bin": [0.5, 0.7],
            "ene_high_bin": [0.7, 1.3],
            "flux": [-1e-4, 2e-3],
            "flux_error": [1e-4, 3e-4],
        },
        "flux_aper_b": 1e-14,
        "flux_significance_b": 7.0,
        "hard_hs": 0.5,
        "var_prob_b": float("nan"),
    }
    return {**row, **changed}


def check_universe(row):
    assert row["spectrum_counts"] is row["spectrum_background"] is row["exposure"] is None
    assert np.allclose(row["flux_energy_lo"], [0.5, 0.7])
    assert np.allclose(row["flux_energy_hi"], [0.7, 1.3])
    assert np.allclose(row["flux_density"], [-1e-4, 2e-3])
    assert np.allclose(row["flux_error"], [1e-4, 3e-4])
    assert row["flux_unit"] == "ct / (keV s)"
    assert (row["hard_hs"], row["var_prob_b"]) == (0.5, None)
    assert row["name"].startswith("2CXO J0100")


def test_spectra_without_counts_stay_what_they_are_in_both_forms(tmp_path):
    rows = [universe_row(number) for number in range(4)]
    rows[3]["spectrum"] = {**rows[3]["spectrum"], "flux_error": [1e-4]}
    (tmp_path / "v1" / "spectra").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "v1" / "spectra" / "a.parquet")
    first = build(tmp_path / "v1", tmp_path / "one")
    assert [entry["reason"] for entry in first.manifest["skipped"]] == ["flux_error is not as long as flux_density"]
    assert "3 rows of 4" in first.manifest["notes"][0]["note"] or "4 rows of 4" in first.manifest["notes"][0]["note"]
    # A collection: the primary catalogue alone, not its margin; lists of structs, as nested columns come, too.
    nested = [dict(zip(rows[0]["spectrum"], values)) for values in zip(*rows[0]["spectrum"].values())]
    primary = tmp_path / "hats" / "spectra" / "dataset"
    margin = tmp_path / "hats" / "margin" / "dataset"
    places = [
        primary / "Norder=1" / "Dir=0" / "Npix=4.parquet",
        primary / "Norder=1" / "Dir=0" / "Npix=5" / "0.parquet",
    ]
    for number, place in enumerate([*places, margin / "Norder=1" / "Dir=0" / "Npix=5.parquet"]):
        place.parent.mkdir(parents=True, exist_ok=True)
        row = universe_row(number, spectrum=nested, ra=15.0, dec=10.0)
        pq.write_table(pa.Table.from_pylist([row]), place)
    pq.write_table(pa.table({"x": [1]}), primary / "data_thumbnail.parquet")
    (tmp_path / "hats" / "collection.properties").write_text("#HATS\nobs_name=x\nhats_primary_table_url=spectra\n")
    (tmp_path / "hats" / "spectra" / "hats.properties").write_text("dataproduct_type=object\n")
    build(tmp_path / "hats", tmp_path / "two")
    assert len(read(tmp_path / "two")) == 2
    for row in read(tmp_path / "one"):
        check_universe(row)
    for row in read(tmp_path / "two"):
        check_universe({**row, "name": "2CXO J0100"})
        assert row["name"] == "CXO J010000.0+100000"  # by its position: object_id may be a detection's


def test_hdf5_of_the_first_version(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "in" / "healpix=3").mkdir(parents=True)
    with h5py.File(tmp_path / "in" / "healpix=3" / "001-of-001.hdf5", "w") as file:
        file["object_id"] = np.array([b"2CXO J010000.0+100000", b"2CXO J010001.0+100000"])
        columns = {"ene_lo": [0.5, 0.7], "ene_hi": [0.7, 1.3], "flux": [-1e-4, 2e-3], "flux_err": [1e-4, 3e-4]}
        for name, values in columns.items():
            if name in ("ene_lo", "flux"):  # lists of any length
                column = file.create_dataset(f"spectrum_{name}", (2,), dtype=h5py.special_dtype(vlen=np.dtype("f8")))
                column[0] = column[1] = [*values, 0.0]
            else:  # padded
                file[f"spectrum_{name}"] = np.array([[*values, 0.0]] * 2)
        file["hard_hs"], file["var_prob_b"] = np.array([0.5, 0.5]), np.array([np.nan, np.nan])
    build(tmp_path / "in", tmp_path / "out")
    rows = read(tmp_path / "out")
    assert len(rows) == 2
    for row in rows:
        check_universe(row)


# Rows, lines and files that are wrong


BAD = {
    "no name of the source, and no position": {"source_name": None, "ra": None},
    "neither photons nor a spectrum": {"original_event_list": []},
    "event_time has a value that is not finite": {"original_event_list": [[MET, 600.0], [None, 700.0], [MET + 2, 5.0]]},
    "event_energy has a value that is not finite": {"original_event_list": [[MET, 600.0], [MET + 1]]},
    "event_energy has a value that is not positive": {"original_event_list": [[MET, 600.0], [MET + 1, -5.0]]},
    "dec is not in -90 to 90": {"dec": -91.0},
    "obsid does not fit the dataset's int32": {"obsid": 2**40},
    "obi is no whole number": {"obi": 0.5},
    "the same source and observation as row 0 of corpus.jsonl.gz": axia_row(0),
}


def test_bad_rows_and_lines_are_listed_and_the_others_kept(tmp_path):
    changed = [axia_row(10 + number, **row) for number, row in enumerate(BAD.values())]
    lines = ['{"obsid": 5, "source', "[1, 2]", json.dumps(axia_row(30, original_event_list="none")), "", "  "]
    with_nan = json.dumps(axia_row(40)).replace('"hard_hm": null', '"hard_hm": NaN')
    write_lines(tmp_path / "corpus.jsonl.gz", [axia_row(0), *changed, *lines, with_nan])
    result = build(tmp_path / "corpus.jsonl.gz", tmp_path / "out")
    reasons = [entry["reason"] for entry in result.manifest["skipped"]]
    assert reasons[: len(BAD)] == list(BAD)
    places = [entry["file"] for entry in result.manifest["skipped"]]
    assert places[1] == "corpus.jsonl.gz, row 2 (2CXO J000005.0+000000)"
    assert [place for place in places if ", line " in place] == [f"corpus.jsonl.gz, line {n}" for n in (11, 12, 13)]
    assert [row["obsid"] for row in read(tmp_path / "out")] == [100, 140]
    assert not (tmp_path / "out" / foreign_build.SPOOL).exists()


def test_what_no_reader_foresaw_costs_one_row(tmp_path, monkeypatch):
    write_lines(tmp_path / "corpus.jsonl", [axia_row(number) for number in range(4)])
    real = foreign_build.read_part.__globals__["assign_splits"]

    def fails(names):
        if "2CXO J000001.0+000000" in names:
            raise RuntimeError("out of luck")
        return real(names)

    monkeypatch.setitem(foreign_build.read_part.__globals__, "assign_splits", fails)
    result = build(tmp_path / "corpus.jsonl", tmp_path / "out")
    assert [row["obsid"] for row in read(tmp_path / "out")] == [100, 101]
    assert all(entry["reason"].startswith("unexpected RuntimeError") for entry in result.manifest["skipped"])


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path):
    content = write_lines(tmp_path / "data" / "corpus.jsonl.gz", [axia_row(0)])
    right = hashlib.sha256(content).hexdigest()
    entry = {"path": "corpus.jsonl.gz", "n_docs": 1, "sha256_uncompressed": right}
    (tmp_path / "manifest.json").write_text(json.dumps({"files": {"corpus": entry, "extras": {"path": "no.gz"}}}))
    path = tmp_path / "data" / "corpus.jsonl.gz"
    own = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{own}  data/corpus.jsonl.gz\n")
    assert check_sums(tmp_path, [path]) == {path: own}
    changed = write_lines(path, [axia_row(0, hard_hs=0.5)])
    with pytest.raises(InputFileError) as error:
        build(tmp_path, tmp_path.parent / "out_of_wrong")
    wrong = hashlib.sha256(changed).hexdigest()
    assert f"corpus.jsonl.gz content has {wrong}, published as {right}" in str(error.value)
    assert f"has {hashlib.sha256(path.read_bytes()).hexdigest()}, published as {own}" in str(error.value)
    path.write_bytes(path.read_bytes()[:-9])
    (tmp_path / "SHA256SUMS").unlink()
    with pytest.raises(InputFileError, match="cannot be unpacked"):
        build(tmp_path, tmp_path.parent / "out_of_wrong")


def test_which_files_a_folder_means(tmp_path):
    for name in ("a/train.parquet", "b/other.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"x": [1]}), tmp_path / name)
    assert files.find_tables(tmp_path) == (
        "Parquet",
        [tmp_path / "a" / "train.parquet", tmp_path / "b" / "other.parquet"],
    )
    configs = [{"config_name": "first", "data_files": [{"split": "train", "path": "a/*.parquet"}]},
               {"config_name": "second", "data_files": "b/*.parquet"}]  # fmt: skip
    (tmp_path / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs, 'license': 'mit'})}---\n\n# x\n")
    assert files.find_tables(tmp_path, "second")[1] == [tmp_path / "b" / "other.parquet"]
    with pytest.raises(InputFileError, match="choose with --dataset_config"):
        files.find_tables(tmp_path)
    (tmp_path / "README.md").unlink()
    (tmp_path / "c.jsonl").write_text("{}\n")
    with pytest.raises(InputFileError, match="1 of JSON lines and 2 of Parquet"):
        files.find_tables(tmp_path)
    with pytest.raises(InputFileError, match="no such file or folder"):
        files.find_tables(tmp_path / "nowhere")
    (tmp_path / "collection.properties").write_text("hats_primary_table_url=../elsewhere\n")
    with pytest.raises(InputFileError, match="is not a folder in it"):
        files.find_tables(tmp_path)


@pytest.mark.parametrize(
    "content, match",
    [
        ("columns: [a]", "needs `columns:`"),
        ("columns: {nam: x}", "no dataset takes this column; near: name"),
        ("columns: {name: x, event_time: {column: t, unit: keV}}", "unit keV"),
        ("columns: {name: x, event_time: {column: t, unit: fortnite}}", "unit fortnite"),
        ("columns: {name: {unit: s}}", "needs either column or value"),
        ("columns: {name: x, source_class: {column: c, values: {a: QSO}}}", "QSO: there are AGN"),
        ("columns: {name: x}\ngood_times: 3", "has good_times; it takes"),
        ("columns: {name: x}\ngood_time: always", "it may be first_to_last_photon"),
        ("columns: {", "not a readable YAML file"),
    ],
)
def test_a_mapping_that_is_none_says_so(tmp_path, content, match):
    (tmp_path / "columns.yaml").write_text(content)
    with pytest.raises(InputFileError, match=match):
        load_mapping(tmp_path / "columns.yaml")


def test_a_mapping_must_fit_the_table():
    schema = pa.schema([("name", pa.string()), ("event_time", pa.string()), ("hard_hs", pa.string())])
    with pytest.raises(InputFileError, match="holds string, and hard_hs needs"):
        find_mapping("x", schema).check("x", schema)
    with pytest.raises(InputFileError, match="there is no event_time, spectrum_counts or flux_density and no name"):
        mapping_of("m.yaml", {"columns": {"theta": "theta"}}).check("x", schema)
    axia = pa.schema([("source_name", pa.string()), ("original_event_list", pa.list_(pa.list_(pa.float64())))])
    assert (
        find_mapping("a/copy", axia).label == find_mapping("AstroMindInc/axia-csc-corpus", schema).label == "axia.yaml"
    )
    assert preset("multimodal_universe").columns["name"].columns == ("name", "object_id")


def test_columns_within_columns():
    pairs = [[[1.0, 10.0], [2.0, 20.0]], None, [], [[3.0]]]
    structs = [{"a": [1, 2]}, {"a": None}, None, {"a": []}]
    lists = [[{"a": 1}], [], None, [{"a": 2}, {"a": None}]]
    table = pa.table({"pairs": pairs, "s": structs, "l": lists, "d.t": [1, 2, 3, 4]})
    sliced = pa.concat_tables([table.slice(0, 2), table.slice(2)])
    assert column_at(sliced, "pairs.1").to_pylist() == [[10.0, 20.0], None, [], [None]]
    assert column_at(sliced, "s.a").to_pylist() == [[1, 2], None, None, []]
    assert column_at(sliced, "l.a").to_pylist() == [[1], [], None, [2, None]]
    assert column_at(sliced, "d.t").to_pylist() == [1, 2, 3, 4]
    assert type_at(table.schema, "l.a") == pa.list_(pa.int64())
    assert type_at(table.schema, "s.b") is type_at(table.schema, "d.t.x") is type_at(table.schema, "d") is None


def test_a_killed_build_goes_on_and_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ROWS_PER_PART", 2)
    monkeypatch.setattr(json_lines, "BLOCK_BYTES", 5000)
    write_lines(tmp_path / "corpus.jsonl.gz", [axia_row(number) for number in range(9)])
    one = build(tmp_path / "corpus.jsonl.gz", tmp_path / "one")
    part = files.ParquetPart(tmp_path / "a.parquet", "a", 0, 0, 0, 1)
    assert copy.deepcopy((part, preset("axia"))) == (part, preset("axia"))  # as chunks that go to other processes
    made, unpacked, real, to_parquet = [], [], foreign_build.read_part, json_lines.to_parquet

    def dies(part, *rest):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(part.first)
        return real(part, *rest)

    monkeypatch.setattr(json_lines, "to_parquet", lambda *given: unpacked.append(1) or to_parquet(*given))
    monkeypatch.setattr(foreign_build, "read_part", dies)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "corpus.jsonl.gz", tmp_path / "three")
    before = list(made)
    made.clear()
    monkeypatch.setattr(foreign_build, "read_part", lambda *given: made.append(given[0].first) or real(*given))
    three = build(tmp_path / "corpus.jsonl.gz", tmp_path / "three")
    assert (three.manifest["shards"], unpacked) == (one.manifest["shards"], [1])
    assert not set(before) & set(made)
    assert build(tmp_path / "corpus.jsonl.gz", tmp_path / "three").already_built
    assert sum(build(tmp_path / "corpus.jsonl.gz", tmp_path / "few", limit=3).manifest["num_rows"].values()) == 3
    with pytest.raises(InputFileError, match="was built with other parameters"):
        build(tmp_path / "corpus.jsonl.gz", tmp_path / "three", limit=3)
    shutil.copy(tmp_path / "corpus.jsonl.gz", tmp_path / "one" / "corpus.jsonl.gz")
    with pytest.raises(InputFileError, match="which it would change"):
        build(tmp_path / "one", tmp_path / "one" / "out")


def test_texts_join_by_name(tmp_path):
    write_lines(tmp_path / "corpus.jsonl", [axia_row(0), axia_row(2)])
    text = {"name": "2CXO J000000.0+000000", "summary": "a quasar", "bibcodes": ["2020A"], "summary_model": "someone"}
    (tmp_path / "texts.jsonl").write_text(json.dumps(text) + "\n")
    build(tmp_path / "corpus.jsonl", tmp_path / "out", texts=tmp_path / "texts.jsonl")
    first, second = read(tmp_path / "out")
    assert (first["summary"], first["bibcodes"], first["summary_model"]) == ("a quasar", ["2020A"], "someone")
    assert second["summary"] is None
