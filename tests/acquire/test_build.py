"""From the archive's servers to a dataset: the same bytes whatever goes wrong on the way, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from archive_server import ArchiveServer
from chandraclip.acquire import tables
from chandraclip.acquire.build import ArchiveOptions, build_from_archive
from chandraclip.acquire.http import Manners
from chandraclip.data.packaging import BuildResult
from chandraclip.errors import InputFileError, OptionError
from chandraclip.ranks import Share
from ogip_files import OgipFiles

HASTY = Manners(attempts=4, first_wait=0.001, longest_wait=0.01, read_timeout=0.3, connect_timeout=2.0)
QUERY = tables.preset_query("multimodal_universe")
NUM_DETECTIONS = 6
PRODUCTS = ("spectrum", "arf", "rmf", "regevt3", "srcreg")


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, Path]:
    """The files of one detection, four channels and three photons inside the region."""
    ogip = OgipFiles(tmp_path_factory.mktemp("sources"))
    header = {"ANCRFILE": "none", "RESPFILE": "none", "OBJECT": "a field"}
    background = ogip.spectrum(counts=[4, 4, 4, 4], HDUCLAS2="BKG", BACKSCAL=8.0)
    spectrum = ogip.write("pha3.fits", ogip.spectrum(BACKFILE="pha3.fits", **header), background)
    columns = [
        fits.Column("ENERGY", "E", unit="eV", array=[1000.0, 2000.0, 3000.0, 4000.0]),
        *ogip.sky_columns([4100.0, 4101.0, 4160.0, 4100.0], [4100.0, 4100.0, 4100.0, 4101.0]),
    ]
    events = ogip.events("regevt3.fits", time=[12.0, 24.0, 13.0, 11.0], columns=columns)
    region = ogip.write("reg3.fits", ogip.region_table("SRCREG", [("Ellipse", 4100, 4100, (10, 5), 0, 1)]))
    return {"spectrum": spectrum, "arf": ogip.arf(), "rmf": ogip.rmf(), "regevt3": events, "srcreg": region}


@contextmanager
def archive(sources: dict[str, Path]) -> Iterator[ArchiveServer]:
    with ArchiveServer() as running:
        for number in range(NUM_DETECTIONS):
            ra = 10.0 + number
            row = {"name": f"2CXO J00{number}000.0+410000 ", "ra": ra, "dec": 41.0, "obsid": 100 + number, "obi": 0}
            row |= {"region_id": 7 + number, "hard_hm": None if number == 2 else 0.25}
            running.add(row, sources)
        yield running


@pytest.fixture
def server(sources):
    with archive(sources) as running:
        yield running


@pytest.fixture(scope="module")
def clean(sources, tmp_path_factory) -> Path:
    """The dataset when nothing goes wrong."""
    output = tmp_path_factory.mktemp("clean") / "out"
    with archive(sources) as running:
        build(running, output)
    return output


def build(server: ArchiveServer, output: Path, **options: Any) -> BuildResult:
    asked = {name: options.pop(name) for name in ("table_service", "keep_files") if name in options}
    how = ArchiveOptions(server.url, requests_per_second=1e5, manners=options.pop("manners", HASTY), **asked)
    return build_from_archive(output, options.pop("query", QUERY), options=how, progress=False, **options)


def build_until_done(server: ArchiveServer, output: Path, manners: Manners) -> None:
    """The same command again while it asks for that, as a user would."""
    for _ in range(30):
        try:
            if not build(server, output, manners=manners).manifest.get("failed"):
                return
        except InputFileError as error:
            if "run the same command again" not in str(error):
                raise
    pytest.fail("it does not end")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rows(folder: Path) -> list[dict[str, Any]]:
    table = pa.concat_tables([pq.read_table(path) for path in sorted((folder / "data").glob("*.parquet"))])
    return sorted(table.to_pylist(), key=lambda row: row["obsid"])


def test_rows_have_the_photons_of_the_files_and_the_columns_of_the_catalogue(server, tmp_path):
    result = build(server, tmp_path / "out")
    found = rows(tmp_path / "out")
    assert [row["name"] for row in found] == [f"2CXO J00{number}000.0+410000" for number in range(NUM_DETECTIONS)]
    assert found[3]["spectrum_counts"] == [3, 0, 5, 1]
    assert len(found[3]["event_time"]) == 3
    assert (found[3]["obsid"], found[3]["obi"], found[3]["region_id"]) == (103, 0, 10)
    assert (found[3]["ra"], found[3]["theta"]) == (13.0, 2.0)
    assert (found[3]["hard_hm"], found[3]["nh_gal"], found[3]["src_cnts_aper_b"]) == (0.25, 2.5, 100.0)
    assert found[2]["hard_hm"] is None  # CSC has none, and ours would pass for CSC's
    assert found[3]["effective_area_s"] is not None  # measured here
    assert result.manifest["parameters"]["release"] == "rel2.1"
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Measured by CSC" in card
    assert "`hard_hm`" in card
    assert server.count("retrieve") == 1  # one request for up to 50 detections
    assert server.count("browse") == server.count("retrieveFile") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"README.md", "data", "manifest.json", "responses"}
    again = build(server, tmp_path / "out")
    assert again.already_built
    assert len(server.requests) == 2


@pytest.mark.parametrize("fault", ["500", "429", "drop", "truncated", "damaged", "in_band", "stall"])
def test_a_fault_of_every_request_leaves_no_trace(server, tmp_path, fault, clean):
    server.stall = 0.3
    server.plan = {"sync": [fault], "retrieve": [fault] * 2, "browse": [fault, "", fault], "retrieveFile": [fault, ""]}
    build_until_done(server, tmp_path / "faulty", replace(HASTY, attempts=2, read_timeout=0.15))
    assert len(server.faults) >= 3
    assert content(tmp_path / "faulty") == content(clean)


@pytest.mark.parametrize("seed", [1, 3])
def test_faults_at_random_leave_no_trace(server, tmp_path, seed, clean):
    server.fault_rate, server.stall = 0.6, 0.1
    server._random.seed(seed)
    build_until_done(server, tmp_path / "out", replace(HASTY, read_timeout=0.05))
    assert len(server.faults) > 2
    assert content(tmp_path / "out") == content(clean)


def test_kept_files_change_nothing(server, tmp_path, clean):
    build(server, tmp_path / "kept", keep_files=tmp_path / "files")
    assert content(tmp_path / "kept") == content(clean)
    names = sorted(path.name for path in (tmp_path / "files" / "101.0.8").iterdir())
    assert names[0] == "acisf00101_000N001_r0008_arf3.fits.gz"
    assert len(names) == 5
    assert not (tmp_path / "files" / ".lock").exists()
    before = server.count("retrieve")
    build(server, tmp_path / "again", keep_files=tmp_path / "files")
    assert server.count("retrieve") == before
    assert content(tmp_path / "again") == content(clean)


def test_ranks_fetch_what_one_process_fetches(server, tmp_path, clean):
    """They ask for the table once, and share a folder of kept files."""
    options = {"keep_files": tmp_path / "files"}
    for rank, own in ((1, 0), (0, 1)):  # there is one chunk
        assert build(server, tmp_path / "out", share=Share(rank, 2), **options).num_staged == (own, own)
    assert server.count("sync") == 1
    assert not build(server, tmp_path / "out", share=Share(only_merge=True), **options).already_built
    assert server.count("sync") == 1
    assert content(tmp_path / "out") == content(clean)
    assert not [path for path in tmp_path.rglob(".*") if path.name in (".lock", ".ranks", ".archive", ".building")]


def test_tables_of_getProperties_are_those_of_tap(server, tmp_path, clean):
    server.plan = {"getProperties": ["in_band", "truncated"]}
    build(server, tmp_path / "properties", table_service="properties")
    assert rows(tmp_path / "properties") == rows(clean)


def test_what_failed_is_listed_and_tried_again_by_the_same_command(server, tmp_path, clean):
    lost = ("103.0.10", "rmf")
    server.rewrite = {"retrieve": lambda body: b"Error: this package cannot be made"}
    original = ArchiveServer.retrieveFile

    def lacks_one(self: ArchiveServer, form: dict[str, str]) -> bytes | None:
        return None if form["filename"] == server.files[lost][0] else original(self, form)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ArchiveServer, "retrieveFile", lacks_one)
        result = build(server, tmp_path / "out")
    assert [entry["file"] for entry in result.manifest["failed"]] == ["103.0.10"]
    assert "404" in result.manifest["failed"][0]["reason"]
    assert len(rows(tmp_path / "out")) == NUM_DETECTIONS - 1
    assert "1 more could not be fetched yet" in (tmp_path / "out" / "README.md").read_text()
    server.rewrite.clear()
    server.requests.clear()
    again = build(server, tmp_path / "out")
    assert not again.already_built
    assert [form["packageset"] for name, form in server.requests] == ["103.0.10/rmf/b"]  # and nothing else
    assert content(tmp_path / "out") == content(clean)


def test_what_the_archive_lacks_is_a_note_and_what_it_has_damaged_is_skipped(server, tmp_path, sources):
    del server.files["101.0.8", "regevt3"]
    for product in PRODUCTS:
        del server.files["102.0.9", product]
    bad = tmp_path / "bad.fits"
    bad.write_bytes(sources["spectrum"].read_bytes()[:-2880])
    server.files["104.0.11", "spectrum"] = (server.files["104.0.11", "spectrum"][0], bad)
    server.rows.append({**server.rows[5], "name": "2CXO J010000.0+410000", "ra": 15.0})
    result = build(server, tmp_path / "out")
    assert "failed" not in result.manifest
    reasons = {entry["file"]: entry["reason"] for entry in result.manifest["skipped"]}
    assert "neither a spectrum nor photons" in reasons["102.0.9"]
    assert "several sources" in reasons["105.0.12"]
    assert "2880" in reasons["acisf00104_000N001_r0011_pha3.fits.gz"] or "cut off" in str(reasons)
    assert {"file": "101.0.8", "note": "the archive has no regevt3 of it"} in result.manifest["notes"]
    assert [row["obsid"] for row in rows(tmp_path / "out")] == [100, 101, 103]
    assert server.count("retrieve") == 2  # the damaged one again, to see that it is so in the archive


def test_a_killed_build_goes_on(server, tmp_path, clean, repository):
    """Killed at a request that stalls: what had arrived is not asked for again."""
    server.plan["retrieve"] = ["stall"]
    server.stall = 20.0
    command = [
        sys.executable,
        "scripts/build_dataset.py",
        "csc",
        "--preset",
        "multimodal_universe",
        "--base_url",
        server.url,
    ]
    command += ["--requests_per_second", "1000", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(repository / "src")}
    process = subprocess.Popen(command, cwd=repository, env=environment, stderr=subprocess.PIPE)
    waiting = tmp_path / "out" / ".building" / "downloads" / "000000"
    try:
        for _ in range(600):
            if process.poll() is not None or len(list(waiting.glob("*/*"))) >= 10:
                break
            time.sleep(0.05)
        assert process.poll() is None, process.stderr.read()
    finally:
        process.kill()
        process.wait()
    there = {path.name for path in waiting.glob("*/*.gz")}
    server.requests.clear()
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (asked,) = [form["packageset"] for name, form in server.requests if name == "retrieve"]
    assert len(there) >= 8
    assert len(asked.split(",")) == NUM_DETECTIONS * 5 - len(there)
    assert server.count("sync") == 0  # the table is kept
    assert content(tmp_path / "out") == content(clean)


def test_an_archive_that_is_away_ends_the_build_in_one_line(server, tmp_path):
    server.plan["retrieve"] = ["500"] * 3 + ["429"]
    server.fault_rate = 0.0
    with pytest.raises(InputFileError, match=r"does not answer: HTTP status 429; run the same command again"):
        build(server, tmp_path / "out")
    build(server, tmp_path / "out")
    assert len(rows(tmp_path / "out")) == NUM_DETECTIONS


def test_wrong_options_and_answers_are_refused(server, tmp_path):
    with pytest.raises(OptionError, match="image"):
        build(server, tmp_path / "out", products=["image"])
    with pytest.raises(OptionError, match="keep_files"):
        build(server, tmp_path / "out", products=["spectrum", "lightcurve"])
    with pytest.raises(OptionError, match="spectrum or regevt3"):
        build(server, tmp_path / "out", products=["rmf"])
    with pytest.raises(OptionError, match="attempts"):
        build(server, tmp_path / "out", manners=replace(HASTY, attempts=0))
    with pytest.raises(OptionError, match="limit"):
        build(server, tmp_path / "out", limit=0)
    with pytest.raises(InputFileError, match=r"refused.*no such column: o\.colour"):
        build(server, tmp_path / "out", query="SELECT o.colour FROM csc21.observation_source o")
    with pytest.raises(InputFileError, match="no column name, obi"):
        build(server, tmp_path / "out", query="SELECT o.obsid, o.region_id FROM csc21.observation_source o")
    server.most_rows = 2
    with pytest.raises(InputFileError, match="cut off at the service's limit"):
        build(server, tmp_path / "out")
    assert not (tmp_path / "out" / "data").exists()
    assert json.dumps(server.requests).count("cur") == 0
    shutil.rmtree(tmp_path / "out", ignore_errors=True)


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def test_a_kill_at_any_step_of_the_second_try_loses_nothing(server, tmp_path, clean, monkeypatch):
    """A dataset that lacks a detection is completed: every rename and deletion is a step at which that dies once."""
    lacking = tmp_path / "lacking"
    with monkeypatch.context() as patch:
        patch.delitem(server.files, ("103.0.10", "rmf"))
        server.plan["browse"] = ["500"] * 2
        assert build(server, lacking, manners=replace(HASTY, attempts=2)).manifest["failed"]
    originals = {(os, "rename"): os.rename, (shutil, "rmtree"): shutil.rmtree}
    step, finished = 0, False
    while not finished:
        output = tmp_path / "killed"
        shutil.copytree(lacking, output)
        with monkeypatch.context() as patch:
            calls = iter(range(1000))
            for (module, name), original in originals.items():

                def die_or_go_on(*arguments, original=original, calls=calls, last=step, **options):
                    if next(calls) == last:
                        raise Killed
                    return original(*arguments, **options)

                patch.setattr(module, name, die_or_go_on)
            try:
                build(server, output)
                finished = True
            except Killed:
                pass
        assert (output / "manifest.json").exists()
        build(server, output)
        assert content(output) == content(clean)
        shutil.rmtree(output)
        step += 1
    assert step > 5
