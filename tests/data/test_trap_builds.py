"""Builds of folders with bad files and with copies: every bad file is listed, no build ends, no copy is a row."""

from __future__ import annotations

import gzip
import json
import logging
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

import chandraclip
from chandraclip.data import build_from_files as builds
from chandraclip.data import files
from chandraclip.data.files import find_detections, read_detection
from chandraclip.data.problems import reason_of
from chandraclip.data.schema import TABLE_SCHEMA
from chandraclip.errors import InputFileError

RESPONSES = {"ANCRFILE": "source.arf", "RESPFILE": "source.rmf"}


def build(folder, output):
    """Rows and what was skipped, {file: reason}."""
    result = builds.build_from_files(folder, output, progress=False)
    rows = pq.read_table(output / "data", schema=TABLE_SCHEMA).to_pylist()
    skipped = {entry["file"]: entry["reason"] for entry in result.manifest["skipped"]}
    assert len(skipped) == len(result.manifest["skipped"])
    assert str(folder) not in json.dumps(result.manifest)
    return rows, skipped


@pytest.fixture
def folder(ogip):
    """One good spectrum with its responses."""
    ogip.folder = ogip.folder / "in"
    ogip.arf(), ogip.rmf(), ogip.pha("good.pi", OBJECT="Good", **RESPONSES)
    return ogip.folder


def test_obi_num_beyond_the_table(traps, ogip, folder, tmp_path):
    shutil.copytree(traps / "S17_obi_in_a_build" / "in", folder / "trap")
    ogip.pha("good.pi", counts=[1, 2, 3, 4], OBJECT="Good", **RESPONSES)  # the trap has the counts of the other one
    rows, skipped = build(folder, tmp_path / "out")
    assert [row["name"] for row in rows] == ["Good"]
    assert list(skipped) == ["trap/a.pi"]  # its RESPFILE is none, too
    for keyword, name in (("RESPFILE", "a.rmf"), ("ANCRFILE", "a.arf")):
        (folder / "trap" / "a.pi").chmod(0o644)
        fits.setval(folder / "trap" / "a.pi", keyword, value=name, ext=1)
    rows, skipped = build(folder, tmp_path / "named")
    assert [row["name"] for row in rows] == ["Good"]
    assert "99999999999" in skipped["trap/a.pi"]


def test_a_good_file_beside_a_bad_one(traps, tmp_path):
    shutil.copytree(traps / "X05_one_bad_file_ends_the_build" / "in", tmp_path / "in")
    rows, skipped = build(tmp_path / "in", tmp_path / "out")
    assert len(rows) == 1
    assert rows[0]["spectrum_counts"] == [3, 0, 5, 1]
    assert list(skipped) == ["bad.pi"]
    assert "BACKSCAL" in skipped["bad.pi"]


def test_bad_files_of_every_sort_are_listed(ogip, folder, tmp_path):
    """Damaged, lying, of the wrong type, without a companion or with a bad one: all are skipped by their name."""
    good = (folder / "good.pi").read_bytes()
    (folder / "cut.pi").write_bytes(good[:4000])
    (folder / "empty.pi").write_bytes(b"")
    (folder / "packed.pi.gz").write_bytes(gzip.compress(good)[:-30])
    ogip.pha("text.pi", counts=[1, 1, 1, 1], EXPOSURE="long", **RESPONSES)
    ogip.pha("negative.pi", counts=[1, -1, 1, 1], **RESPONSES)
    ogip.pha("interval.pi", counts=[1, 2, 1, 1], OBI_NUM=70000, **RESPONSES)  # an int16 in the table
    ogip.pha("scale.pi", counts=[1, 2, 2, 1], BACKSCAL=1e-300, BACKFILE="sky.pi", **RESPONSES)
    ogip.pha("sky.pi", counts=[7, 7, 7, 7], BACKSCAL=1e-300)
    ogip.pha("huge_scale.pi", counts=[1, 2, 2, 2], BACKSCAL=1e300, BACKFILE="sky.pi", **RESPONSES)
    ogip.pha("no_sky.pi", counts=[1, 2, 3, 1], BACKFILE="bad_sky.pi", **RESPONSES)
    (folder / "bad_sky.pi").write_bytes(good[:5000])
    ogip.arf("bad.arf", area=[1.0, np.nan, 1.0])
    ogip.pha("bad_area.pi", counts=[1, 2, 3, 2], ANCRFILE="bad.arf", RESPFILE="source.rmf")
    ogip.pha("alone/lost.pi", counts=[1, 2, 3, 3], ANCRFILE="source.arf", RESPFILE="lost.rmf")
    rows, skipped = build(folder, tmp_path / "out")
    # A source is not lost for its background; the log says so.
    assert sorted(row["name"] for row in rows) == ["Good", "Test source no_sky.pi"]
    assert all(row["spectrum_background"] is None for row in rows)
    assert set(skipped) == {
        "cut.pi", "empty.pi", "packed.pi.gz", "text.pi", "negative.pi", "interval.pi", "scale.pi", "huge_scale.pi",
        "sky.pi", "bad_sky.pi", "bad_area.pi", "alone/lost.pi",
    }  # fmt: skip
    assert "70000" in skipped["interval.pi"]
    assert skipped["bad_area.pi"].startswith("bad.arf[SPECRESP,1]: ")
    assert all("BACKSCAL" in skipped[file] for file in ("scale.pi", "huge_scale.pi", "sky.pi"))
    for file, reason in skipped.items():
        assert "unexpected" not in reason
        assert file not in reason  # the path stands once, before the reason


def test_each_bad_row_of_a_type_two_file_is_listed(ogip, folder, tmp_path):
    columns = [
        fits.Column("SPEC_NUM", "J", array=[3, 5, 7]),
        fits.Column("CHANNEL", "4J", array=np.tile([1, 2, 3, 4], (3, 1))),
        fits.Column("COUNTS", "4J", array=[[1, 2, 3, 4], [1, -2, 3, 4], [5, 6, 7, 8]]),
        fits.Column("ANCRFILE", "10A", array=["source.arf", "source.arf", "bad.arf"]),
        fits.Column("RESPFILE", "10A", array=["source.rmf"] * 3),
    ]
    facts = {
        "HDUCLAS1": "SPECTRUM",
        "DETCHANS": 4,
        "EXPOSURE": 9.0,
        "TELESCOP": "CHANDRA",
        "INSTRUME": "ACIS",
        "OBS_ID": "7",
    }
    ogip.arf("bad.arf", area=[1.0, np.nan, 1.0])
    ogip.write("rows.pha2", ogip.table("SPECTRUM", columns, **facts))
    rows, skipped = build(folder, tmp_path / "out")
    assert {row["name"] for row in rows} == {"Good", "rows.pha2#3"}
    assert set(skipped) == {"rows.pha2#5", "rows.pha2#7"}
    assert "negative" in skipped["rows.pha2#5"]
    assert skipped["rows.pha2#7"].startswith("bad.arf[SPECRESP,1]: ")
    # A row's key is the file's and its SPEC_NUM, whichever other rows are good.
    number = next(row["region_id"] for row in rows if row["name"] == "rows.pha2#3")
    assert number == files.region_id_of("rows.pha2#3")


@pytest.mark.parametrize("place", ["find", "read", "measure"])
def test_what_nobody_foresaw_is_listed_and_logged(ogip, folder, tmp_path, monkeypatch, caplog, place):
    """A fault of ours, or memory that runs out, costs the one file and leaves a traceback."""
    ogip.pha("odd.pi", counts=[1, 2, 3, 4], OBJECT="Odd", **RESPONSES)

    def failing(original, is_odd):
        def call(*arguments):
            if is_odd(*arguments):
                raise ZeroDivisionError("a bug")
            return original(*arguments)

        return call

    from chandraclip.data import detection_files

    original = {"find": detection_files.file_facts, "read": files.read_detection, "measure": builds.fill_measured}[
        place
    ]
    target, name, is_odd = {
        "find": (detection_files, "file_facts", lambda path: path.name == "odd.pi"),
        "read": (files, "read_detection", lambda item: item.label == "odd.pi"),
        "measure": (builds, "fill_measured", lambda table, _: "Odd" in table["name"].to_pylist()),
    }[place]
    monkeypatch.setattr(target, name, failing(original, is_odd))
    with caplog.at_level(logging.ERROR):
        rows, skipped = build(folder, tmp_path / "out")
    assert [row["name"] for row in rows] == ["Good"]
    assert skipped == {"odd.pi": "unexpected ZeroDivisionError: a bug; please report it"}
    assert "please report it" in caplog.text
    assert "Traceback" in caplog.text
    assert "in call" in caplog.text


def test_a_fault_that_is_no_rows_ends_the_build(folder, tmp_path, monkeypatch):
    calls = iter([True])

    def fails_once(table, responses):
        if next(calls, False):
            raise ZeroDivisionError("not one of the rows")
        return table

    monkeypatch.setattr(builds, "fill_measured", fails_once)
    with pytest.raises(ZeroDivisionError):
        build(folder, tmp_path / "out")


def test_reasons_name_the_file_once():
    assert reason_of(InputFileError("/x/a.pi", "bad", "S,1"), "/x/a.pi", "a.pi") == ("bad", "S,1")
    assert reason_of(InputFileError("/x/a.arf", "bad", "S,1"), "/x/a.pi", "a.pi") == ("/x/a.arf[S,1]: bad", None)
    assert reason_of(MemoryError(), "/x/a.pi", "a.pi")[0].startswith("unexpected MemoryError")


def test_a_spectrum_twice_with_its_exposure_rounded(traps, tmp_path):
    shutil.copytree(traps / "X04_twins_rounded_exposure" / "in", tmp_path / "in")
    rows, skipped = build(tmp_path / "in", tmp_path / "out")
    assert len(rows) == 1
    assert rows[0]["exposure"] == pytest.approx(479310.7655395)
    assert skipped == {"src_grp.pi": "the same counts of the same observation as src.pi, which is used"}


def kept(folder):
    return sorted(item.label for item in find_detections(folder) if item.problem is None)


@pytest.mark.parametrize(
    "change",
    [
        {"EXPOSURE": 1000.4},
        {"EXPOSURE": 1001.0, "OBJECT": "Another name"},
        {"OBS_ID": "00012", "DATE": "2026-01-01"},
        {"OBS_ID": None, "INSTRUME": None, "TELESCOP": None},
        {"channel": [0, 1, 2, 3]},
        {"extra": [fits.Column("GROUPING", "I", array=[1, -1, 1, 1]), fits.Column("QUALITY", "I", array=[0, 0, 2, 0])]},
    ],
)
def test_copies_in_other_clothes(ogip, folder, change):
    for name in ("a_copy/good.pi", "sub/good.pi"):  # the one with its responses is kept, whatever its name
        ogip.pha(name, **{"OBJECT": "Good", "ANCRFILE": "gone.arf", "RESPFILE": "gone.rmf"} | change)
    packed = folder / "sub" / "good.pi.gz"
    packed.write_bytes(gzip.compress((folder / "sub" / "good.pi").read_bytes()))
    assert kept(folder) == ["good.pi"]
    problems = [item.problem for item in find_detections(folder) if item.problem]
    assert problems == ["the same counts of the same observation as good.pi, which is used"] * 3


@pytest.mark.parametrize(
    "change",
    [
        {"EXPOSURE": 1100.0},
        {"OBS_ID": "13"},
        {"INSTRUME": "HRC"},
        {"counts": (3, 0, 4, 2)},
    ],
)
def test_what_is_no_copy(ogip, folder, change):
    ogip.pha("other.pi", **{"OBJECT": "Good", **RESPONSES} | change)
    assert kept(folder) == ["good.pi", "other.pi"]


def test_few_counts_need_more_to_be_copies(ogip):
    for name, counts, scale, target in (
        ("a.pi", (0, 1, 0, 0), 1.0, "A"),
        ("b.pi", (0, 1, 0, 0), 1.0, "B"),
        ("c.pi", (0, 1, 0, 0), 1.1, "A"),
        ("d.pi", (0, 1, 0, 0), 1.001, "A"),
        ("e.pi", (0, 0, 0, 0), 1.0, "A"),
        ("f.pi", (0, 0, 0, 0), 1.0, "A"),
    ):
        ogip.pha(name, counts=counts, BACKSCAL=scale, OBJECT=target)
    assert kept(ogip.folder) == ["a.pi", "b.pi", "c.pi", "e.pi", "f.pi"]


def test_a_rebinned_copy(ogip):
    counts = np.random.default_rng(3).poisson(4.0, 64)
    for name, size in (("fine.pi", 1), ("coarse.pi", 4)):
        binned = counts.reshape(-1, size).sum(axis=1)
        ogip.pha(name, counts=binned, channel=np.arange(binned.size) + 1, DETCHANS=binned.size)
    shuffled = np.random.default_rng(4).permutation(counts)
    ogip.pha("other.pi", counts=shuffled, channel=np.arange(64) + 1, DETCHANS=64)
    assert len(kept(ogip.folder)) == 2
    assert "other.pi" in kept(ogip.folder)


def test_copies_of_event_lists(ogip):
    columns = [fits.Column("PI", "J", array=[100, 200, 300, 50])]
    path = ogip.events("first.evt", columns=columns, OBJECT="X")
    ogip.events("barycentred.evt", time=[112.0, 110.5, 118.0, 131.0], gti=[ogip.gti((110.0, 130.0))], columns=columns)
    (ogip.folder / "sub").mkdir()
    (ogip.folder / "sub" / "packed.evt.gz").write_bytes(gzip.compress(path.read_bytes()))
    ogip.events("other.evt", columns=[fits.Column("PI", "J", array=[100, 200, 300, 51])])
    assert kept(ogip.folder) == ["barycentred.evt", "other.evt"]
    problems = {item.label: item.problem for item in find_detections(ogip.folder) if item.problem}
    assert problems["first.evt"] == "the same photons of the same observation as barycentred.evt, which is used"
    assert set(problems) == {"first.evt", "sub/packed.evt.gz"}


def test_a_renamed_copy_of_a_csc_product(ogip):
    stem = "acisf00012_000N001_r0007"
    names = {"ANCRFILE": f"{stem}_arf3.fits", "RESPFILE": f"{stem}_rmf3.fits", "BACKFILE": "none"}
    ogip.arf(f"csc/{stem}_arf3.fits"), ogip.rmf(f"csc/{stem}_rmf3.fits")
    path = ogip.pha(f"csc/{stem}_pha3.fits", **names)
    (ogip.folder / "mine").mkdir()
    shutil.copy(path, ogip.folder / "mine" / "copy.pi")
    ogip.pha("mine/other.pi", counts=[1, 2, 3, 4])
    assert kept(ogip.folder) == [f"csc/{stem}_pha3.fits", "mine/other.pi"]
    row, _ = read_detection(next(item for item in find_detections(ogip.folder) if "pha3" in item.label))
    assert row["name"] == "CSC 12_000_r0007"


def test_the_real_folder_beside_a_copy_of_itself(real_data, tmp_path):
    """Every spectrum of two real sets is found once, from whichever folder."""
    for name in ("q0740_bubble_obs3098", "4c19.44_obs6903"):
        for copy in ("one", "two"):
            shutil.copytree(real_data / "spectra" / name, tmp_path / copy / name)
    assert kept(tmp_path) == ["one/4c19.44_obs6903/obs1.pi", "one/q0740_bubble_obs3098/bubble.pi"]


def test_a_good_copy_is_not_left_out_for_a_bad_one(ogip, folder, tmp_path):
    ogip.rmf("bad.rmf", TLMIN4=9)
    for name, arf, rmf in (("a_damaged.pi", "source.arf", "bad.rmf"), ("b_lost.pi", "gone.arf", "source.rmf")):
        ogip.pha(name, OBJECT="Good", ANCRFILE=arf, RESPFILE=rmf)
    rows, skipped = build(folder, tmp_path / "out")
    assert [row["name"] for row in rows] == ["Good"]
    used = "the same counts of the same observation as good.pi, which is used"
    assert skipped == {"a_damaged.pi": used, "b_lost.pi": used}
    ogip.pha("good.pi", OBJECT="Good", ANCRFILE="source.arf", RESPFILE="bad.rmf")
    (folder / "b_lost.pi").unlink()
    ogip.pha("other.pi", counts=[1, 2, 3, 4], **RESPONSES)
    _, skipped = build(folder, tmp_path / "none_good")
    assert "channel group" in skipped["a_damaged.pi"]
    assert skipped["good.pi"] == "the same counts of the same observation as a_damaged.pi, which cannot be used either"


def test_a_good_copy_of_events_beside_a_bad_one(ogip, folder, tmp_path):
    columns = [fits.Column("PI", "J", array=[100, 200, 300, 50])]
    ogip.events("a.evt", columns=columns, OBJECT="Photons", DTCOR=1.5)
    ogip.events("b.evt", columns=columns, OBJECT="Photons")
    rows, skipped = build(folder, tmp_path / "out")
    assert sorted(row["name"] for row in rows) == ["Good", "Photons"]
    assert skipped == {"a.evt": "the same photons of the same observation as b.evt, which is used"}


def test_many_equal_counts_are_a_copy_whatever_the_exposure(ogip):
    counts = np.random.default_rng(3).poisson(4.0, 64)
    for name, exposure, obs_id in (("a.pi", 1000.0, "12"), ("ontime.pi", 1300.0, "12"), ("other.pi", 1300.0, "13")):
        channel = np.arange(64) + 1
        ogip.pha(name, counts=counts, channel=channel, DETCHANS=64, EXPOSURE=exposure, OBS_ID=obs_id)
    assert kept(ogip.folder) == ["a.pi", "other.pi"]


@pytest.mark.parametrize("number", [12, 15, 20, 30])
def test_faint_spectra_of_one_observation_are_no_copies(ogip, number):
    """Every number up to the total is a running sum of single counts, and so of any spectrum with as many."""
    rng = np.random.default_rng(number)
    places = np.sort(rng.choice(256, number, replace=False))
    counts = np.zeros((2, 256), dtype=int)
    counts[0, places] = 1
    np.add.at(counts[1], places[:-1] // 2 * 2 + 1, 1)
    counts[1, 0] += number - counts[1].sum()
    for name, values, scale in (("a.pi", counts[0], 1.0), ("b.pi", counts[1], 3.0)):
        ogip.pha(name, counts=values, channel=np.arange(256) + 1, DETCHANS=256, BACKSCAL=scale)
    assert kept(ogip.folder) == ["a.pi", "b.pi"]


def test_a_damaged_file_that_to_ogip_wrote_does_not_end_the_build(folder, tmp_path):
    chandraclip.open(chandraclip.sample()).to_ogip(folder, name="cut")
    damaged = folder / "cut_arf.fits"
    damaged.write_bytes(damaged.read_bytes()[:4000])
    rows, skipped = build(folder, tmp_path / "out")
    assert [row["name"] for row in rows] == ["Good"]
    assert set(skipped) == {"cut_arf.fits", "cut_pha.fits"}
    assert all("2880" in reason for reason in skipped.values())
