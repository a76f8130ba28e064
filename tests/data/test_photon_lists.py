"""Tables of photon lists: real arrival times, and rows of every kind that cannot be used."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chandraclip.data import build_from_lists
from chandraclip.data.build_from_lists import build_from_lists as build
from chandraclip.data.loading import load_splits
from chandraclip.data.row_checks import find_bad_rows
from chandraclip.data.splits import split_of
from chandraclip.errors import InputFileError

TIMES = np.linspace(10.0, 980.0, 40)


def row(number, **changed):
    good = {
        "name": f"J0000{number // 2:02d}",
        "obsid": 100 + number,
        "event_time": (TIMES + number).tolist(),
        "gti_start": [0.0],
        "gti_stop": [1000.0 + number],
        "exposure": 950.0,
        "tstart": 5e8,
        "energy_lo": 1.5,
        "energy_hi": 7.0,
        "galaxy": "M33",
    }
    return {**good, **changed}


def write(path, rows):
    columns = list(dict.fromkeys(name for one in rows for name in one))
    pq.write_table(pa.table({name: [one.get(name) for one in rows] for name in columns}), path)
    return path


def read(output):
    return pq.read_table(output / "data").to_pylist()


BAD = {
    "no name": {"name": ""},
    "no photon": {"event_time": []},
    "event_time has a value that is not finite": {"event_time": [1.0, float("nan"), 3.0]},
    "event_energy is not as long as event_time": {"event_energy": [1.0, 2.0]},
    "event_energy has a value that is not positive": {"event_energy": [0.0] * 40},
    "no good times (gti_start, gti_stop)": {"gti_start": [], "gti_stop": []},
    "gti_start and gti_stop differ in length": {"gti_stop": [1.0, 2.0]},
    "a good time ends before it begins (gti_stop < gti_start)": {"gti_start": [1000.0], "gti_stop": [0.0]},
    "good times overlap (gti_start, gti_stop)": {"gti_start": [0.0, 400.0], "gti_stop": [500.0, 1000.0]},
    "the good times have no length": {"gti_start": [10.0], "gti_stop": [10.0]},
    "exposure is not positive and finite": {"exposure": -950.0},
    "exposure is longer than the good times": {"exposure": 2000.0},
    "no photon lies in the good times": {"gti_start": [5000.0], "gti_stop": [6000.0]},
    "dec is not in -90 to 90": {"ra": 10.0, "dec": 91.0},
    "obsid does not fit the dataset's int32": {"obsid": 2**40},
    "the same photons as row 1": {"event_time": (TIMES + 1).tolist(), "obsid": 999},
    "the same source and observation as row 0": {"name": "J000000", "obsid": 100},
}


def test_bad_rows_are_listed_with_their_reason_and_good_ones_kept(tmp_path):
    rows = [row(0), row(1), *(row(10 + number, **changed) for number, changed in enumerate(BAD.values()))]
    result = build(write(tmp_path / "lists.parquet", rows), tmp_path / "out", progress=False)
    found = {entry["reason"]: entry["file"] for entry in result.manifest["skipped"]}
    assert list(found) == list(BAD)
    assert found["no photon"].startswith("lists.parquet, row 3 (J")
    assert sorted(one["obsid"] for one in read(tmp_path / "out")) == [100, 101]
    assert sum(result.manifest["num_rows"].values()) == 2


def test_a_row_is_what_the_table_says(tmp_path):
    gti = {"gti_start": [700.0, 100.0], "gti_stop": [1100.0, 500.0]}  # in any order, as the photons
    times = [120.0, 110.0, 600.0, 1000.0, 500.0]
    energies = [1.0, 2.0, 3.0, 4.0, 5.0]
    rows = [
        row(0, event_time=times, **gti, exposure=700.0, hard_hs=0.5, ra=10.0, dec=-20.0, source_class="YSO"),
        row(1, event_time=times[:2], event_energy=energies[:2], **gti, exposure=None, livetime=650.0, obsid=None),
    ]
    build(write(tmp_path / "lists.parquet", rows), tmp_path / "out", progress=False)
    first, second = sorted(read(tmp_path / "out"), key=lambda one: -one["obsid"])
    assert first["event_time"] == [10.0, 20.0, 400.0, 900.0]  # the photon at 600 is in no good time
    assert (first["gti_start"], first["gti_stop"], first["tstart"]) == ([0.0, 600.0], [400.0, 1000.0], 5e8 + 100.0)
    assert first["event_energy"] is None
    assert first["events_note"] == (
        "no energies of the photons, which are of 1.5-7 keV; 1 photons outside the good times left out"
    )
    assert (first["livetime"], first["hard_hs"], first["source_class"]) == (700.0, 0.5, 7)
    assert first["healpix"] is not None
    assert second["event_energy"] == [2.0, 1.0]
    assert (second["obsid"], second["livetime"], second["events_note"]) == (1, 650.0, None)
    assert second["region_id"] == first["region_id"] < 0
    assert {first["split"], second["split"]} == {split_of("J000000")}


def test_lists_without_energies_are_measured_and_are_no_bad_rows(tmp_path):
    flare = np.sort(np.concatenate([np.linspace(1, 999, 30), np.linspace(500, 520, 60)]))
    rows = [row(0, event_time=flare.tolist()), row(1)]
    build(write(tmp_path / "lists.parquet", rows), tmp_path / "out", progress=False)
    flaring, constant = sorted(read(tmp_path / "out"), key=lambda one: one["obsid"])
    assert (flaring["var_prob_b"] > 0.99, flaring["var_index_b"] >= 6) == (True, True)
    assert constant["var_prob_b"] < 0.5
    for rows_of_split in load_splits(str(tmp_path / "out"), "pairs").values():
        assert not find_bad_rows(rows_of_split, ["event"]).counts


def test_bytes_do_not_depend_on_processes_and_a_killed_build_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(build_from_lists, "ROWS_PER_CHUNK", 3)
    table = pa.Table.from_pylist([row(number) for number in range(12)])
    path = tmp_path / "lists.parquet"
    pq.write_table(table, path, row_group_size=5)
    one = build(path, tmp_path / "one", progress=False)
    two = build(path, tmp_path / "two", num_processes=2, progress=False)
    assert one.manifest["shards"] == two.manifest["shards"]

    real = build_from_lists._read_rows
    made = []

    def dies(path, group, first, begin, stop, repeated):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append((group, begin))
        return real(path, group, first, begin, stop, repeated)

    monkeypatch.setattr(build_from_lists, "_read_rows", dies)
    with pytest.raises(KeyboardInterrupt):
        build(path, tmp_path / "three", progress=False)
    made.clear()
    monkeypatch.setattr(build_from_lists, "_read_rows", lambda *given: made.append(given[1:4:2]) or real(*given))
    three = build(path, tmp_path / "three", progress=False)
    assert made == [(1, 0), (1, 3), (2, 0)]
    assert three.manifest["shards"] == one.manifest["shards"]
    assert build(path, tmp_path / "three", progress=False).already_built
    assert sum(json.loads((tmp_path / "three" / "manifest.json").read_text())["num_rows"].values()) == 12


def test_tables_that_are_none(tmp_path):
    (tmp_path / "text.parquet").write_text("name,event_time")
    with pytest.raises(InputFileError, match="not a readable Parquet"):
        build(tmp_path / "text.parquet", tmp_path / "out")
    without = [{name: value for name, value in row(0).items() if name != "gti_stop"}]
    with pytest.raises(InputFileError, match="gti_stop"):
        build(write(tmp_path / "a.parquet", without), tmp_path / "out")
    with pytest.raises(InputFileError, match=r"event_time.*holds string"):
        build(write(tmp_path / "b.parquet", [row(0, event_time="1 2 3")]), tmp_path / "out")
    with pytest.raises(InputFileError, match="no detection to write"):
        build(write(tmp_path / "c.parquet", [row(0, exposure=-1.0)]), tmp_path / "out", progress=False)


def test_the_real_arrival_times(real_data, tmp_path):
    path = tmp_path / "some.parquet"
    whole = pq.read_table(real_data / "events" / "chandra_arrival_times.parquet")
    pq.write_table(whole.slice(0, 60), path)
    result = build(path, tmp_path / "out", progress=False)
    assert result.manifest["skipped"] == []
    found = {(one["name"], one["obsid"]): one for one in read(tmp_path / "out")}
    assert len(found) == 60
    for one in whole.slice(0, 60).to_pylist():
        made = found[one["name"], one["obsid"]]
        np.testing.assert_array_equal(made["event_time"], one["event_time"])
        assert (made["livetime"], made["tstart"]) == (one["exposure"], one["tstart"])
        assert 0 <= made["var_prob_b"] <= 1
    assert "lists some.parquet OUTPUT_DIR" in (tmp_path / "out" / "README.md").read_text()


def reasons_of(result):
    return {int(entry["file"].split("row ")[1].split()[0]): entry["reason"] for entry in result.manifest["skipped"]}


def test_the_first_usable_row_of_a_key_is_kept_and_the_others_are_listed(tmp_path):
    rows = [
        row(0, obi=0, region_id=1, exposure=-1.0),  # cannot be used, so that the next with its key is
        row(0, obi=0, region_id=1, event_time=(TIMES + 3).tolist()),
        row(0, obi=0, region_id=1, event_time=(TIMES + 4).tolist()),  # another list of that key
        row(0, obi=1, region_id=1, event_time=(TIMES + 4).tolist()[::-1]),  # its photons: it is not kept, these are
        row(0, obi=2, region_id=1, event_time=(TIMES + 4).tolist()),
        row(5, name="N", obsid=6, obi=0),
        row(6, name="N", obsid=None, obi=None),  # becomes 6 and 0
    ]
    skipped = reasons_of(result := build(write(tmp_path / "lists.parquet", rows), tmp_path / "out", progress=False))
    assert skipped == {
        0: "exposure is not positive and finite",
        2: "the same source and observation as row 1",
        4: "the same photons as row 3",
        6: "the same source and observation as row 5",
    }
    made = read(tmp_path / "out")
    assert sorted((one["name"], one["obsid"], one["obi"]) for one in made) == [
        ("J000000", 100, 0),
        ("J000000", 100, 1),
        ("N", 6, 0),
    ]
    assert sum(result.manifest["num_rows"].values()) + len(skipped) == len(rows)


@pytest.mark.parametrize("number", [np.int64, np.uint64, str], ids=["int64", "uint64", "texts"])
def test_ids_may_be_numbers_or_texts(tmp_path, number):
    rows = [
        row(place, name=number(7000 + place), obsid=number(one), region_id=None if place else number(2))
        for place, one in enumerate((10027, 2**60, 10028))
    ]
    result = build(write(tmp_path / "lists.parquet", rows), tmp_path / "out", progress=False)
    assert reasons_of(result) == {1: "obsid does not fit the dataset's int32"}
    made = {one["name"]: one for one in read(tmp_path / "out")}
    assert {name: one["obsid"] for name, one in made.items()} == {"7000": 10027, "7002": 10028}
    assert made["7000"]["region_id"] == 2
    assert made["7000"]["split"] == split_of("7000")


def test_texts_that_are_no_integers_are_listed(tmp_path):
    rows = [row(place, obsid=text) for place, text in enumerate(("+12", " 13 ", "1e4", None, "9" * 30, "x"))]
    result = build(write(tmp_path / "lists.parquet", rows), tmp_path / "out", progress=False)
    no_integer = "obsid is no integer"
    assert reasons_of(result) == {2: no_integer, 4: "obsid does not fit the dataset's int32", 5: no_integer}
    assert sorted(one["obsid"] for one in read(tmp_path / "out")) == [3, 12, 13]


def test_a_table_that_changed_is_read_anew(tmp_path):
    path = write(tmp_path / "lists.parquet", [row(0)])
    build(path, tmp_path / "one", progress=False)
    build(write(path, [row(7)]), tmp_path / "two", progress=False)
    assert [one["obsid"] for one in read(tmp_path / "two")] == [107]
