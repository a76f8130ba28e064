"""Requests: their distance, their patience, and that no secret of theirs is told."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

import pytest

from archive_server import ArchiveServer
from chandraclip.acquire import http, tables
from chandraclip.acquire.build import ArchiveOptions, build_from_archive
from chandraclip.acquire.csccli import PRODUCTS, ArchiveClient, Detection
from chandraclip.acquire.http import Manners, TransientError, check_base_url, in_words, patiently, shown
from chandraclip.errors import InputFileError, OptionError

HASTY = Manners(seconds_between=0.0, attempts=3, first_wait=0.001, longest_wait=0.01, read_timeout=0.3)
DETECTION = Detection(12, 0, 7)


def browse(server: ArchiveServer, manners: Manners = HASTY) -> list[str]:
    client = ArchiveClient(server.url, manners)
    return patiently(manners, "browse", lambda: client.browse(DETECTION, PRODUCTS["arf"]))


def test_attempts_are_counted_and_pauses_grow(monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    with ArchiveServer(plan={"browse": ["500"] * 4}) as server:
        with pytest.raises(TransientError, match="500"):
            browse(server, replace(HASTY, attempts=4, first_wait=1.0, longest_wait=3.0))
        assert server.count("browse") == 4
    assert [pause for pause in pauses if pause >= 1.0] == [1.0, 2.0, 3.0]


def test_retry_after_is_kept_and_too_long_a_pause_is_a_failure(monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with ArchiveServer(plan={"browse": ["429", ""]}, retry_after="7") as server:
        assert browse(server) == []
        assert [pause for pause in pauses if pause >= 7.0]
        server.plan["browse"], server.retry_after = ["429", ""], "86400"
        with pytest.raises(TransientError, match="429"):
            browse(server)
        server.plan["browse"], server.retry_after = ["429", ""], "not a number"
        assert browse(server) == []
    assert max(pauses) < 100


def test_requests_keep_their_distance():
    options = ArchiveOptions(requests_per_second=20.0)
    assert options.shared_by(1).manners.seconds_between == 0.05
    assert options.shared_by(4).manners.seconds_between == 0.2  # each process a share
    with ArchiveServer() as server:
        client = ArchiveClient(server.url, options.shared_by(1).manners)
        begin = time.monotonic()
        for _ in range(4):
            client.browse(DETECTION, PRODUCTS["arf"])
        assert time.monotonic() - begin >= 0.15


def test_an_answer_that_drips_or_is_too_long_is_given_up(monkeypatch):
    with ArchiveServer() as server:
        server.rewrite["browse"] = lambda good: b" " * (2 << 20)
        with pytest.raises(TransientError, match="longer than"):
            browse(server)
        now = iter(range(0, 10**6, 61))
        monkeypatch.setattr(http.time, "monotonic", lambda: float(next(now)))
        server.rewrite.clear()
        with pytest.raises(TransientError, match="stalls"):
            ArchiveClient(server.url, HASTY).browse(DETECTION, PRODUCTS["arf"])


def test_what_a_server_says_is_told_in_one_short_line():
    assert in_words("Error\x1b[31m executing\n query:\t at http://me:secret@host/x") == (
        "Error [31m executing query: at http://host/x"
    )
    assert len(in_words("x" * 10_000)) < 300


@pytest.mark.parametrize(
    "url", ["", "cda.cfa.harvard.edu", "ftp://host", "https://", "http://host:99999", "file:///etc"]
)
def test_addresses_that_are_none_are_refused(url):
    with pytest.raises(InputFileError, match="address"):
        check_base_url(url)


def test_a_secret_of_the_address_is_told_nowhere(tmp_path, caplog, capfd, monkeypatch):
    """Not in messages, logs of any level, the manifest or the card, whatever goes wrong."""
    caplog.set_level(logging.DEBUG)
    assert shown("https://me:hunter2@host:8443/path?token=hunter2#hunter2") == "https://host:8443/path"
    with pytest.raises(InputFileError) as failed:
        check_base_url("https://me:hunter2@host/path?token=hunter2")
    said = [str(failed.value)]
    for fault in ("500", "drop", "in_band", "truncated", "429"):
        with ArchiveServer(plan={"sync": [fault] * 3, "getProperties": [fault] * 3}) as server:
            base_url = server.url.replace("//", "//me:hunter2@")
            for service in tables.SERVICES:
                options = ArchiveOptions(base_url, service, 1e5, manners=HASTY)
                with pytest.raises(InputFileError) as failed:
                    build_from_archive(tmp_path / "out", "SELECT 1", options=options, progress=False)
                said += [str(failed.value), repr(failed.value)]
            assert server.headers[0]["Authorization"].startswith("Basic")  # it was sent, where it belongs
    options = ArchiveOptions("http://me:hunter2@127.0.0.1:9", "tap", 1e5, manners=HASTY)
    with pytest.raises(InputFileError) as failed:
        build_from_archive(tmp_path / "out", "SELECT 1", options=options, progress=False)
    written = [path.read_text(errors="replace") for path in Path(tmp_path).rglob("*") if path.is_file()]
    text = "\n".join([*said, str(failed.value), caplog.text, *capfd.readouterr(), *written])
    assert "127.0.0.1" in text
    assert "hunter2" not in text


def test_presets_are_those_of_the_script_and_comments_do_not_matter(repository):
    import runpy

    script = runpy.run_path(str(repository / "scripts" / "build_dataset.py"), run_name="script")
    assert list(script["PRESETS"]) == tables.presets()
    assert script["ROW_PRODUCTS"].split(",") == [*PRODUCTS][:5]
    for name in tables.presets():
        query = tables.preset_query(name)
        assert "--" not in query
        with ArchiveServer() as server:  # each runs on the tables and columns that there are
            server.add({"name": "2CXO J1", "ra": 1.0, "dec": 1.0, "obsid": 12, "obi": 0, "region_id": 7}, {})
            assert tables.fetch_table(ArchiveClient(server.url, HASTY), query).num_rows == 1
    assert tables.bare("SELECT '--x' -- why\n FROM t") == "SELECT '--x' FROM t"
    with pytest.raises(OptionError, match="agn_like"):
        tables.preset_query("all")


def test_tables_are_checked_row_by_row():
    import pandas as pd

    good = {"name": ["2CXO J1"], "obsid": [12], "obi": [0], "region_id": [7], "ra": [10.0], "dec": [5.0]}
    table = tables.detections_of(pd.DataFrame(good), "TAP")
    assert table.to_pylist() == [{name: values[0] for name, values in good.items()} | {"ambiguous": False}]
    for change, said in (
        ({"name": [" "]}, "row 1: name is empty"),
        ({"obsid": [2**31]}, "row 1: obsid is 2147483648"),
        ({"obi": ["x"]}, "row 1: obi is x"),
        ({"region_id": [None]}, "row 1: region_id is nan"),
        ({"dec": [91.0]}, "row 1: dec is 91"),
        ({"ra": [float("nan")]}, "row 1: ra is nan"),
    ):
        with pytest.raises(InputFileError, match=said):
            tables.detections_of(pd.DataFrame({**good, **change}), "TAP")
    with pytest.raises(InputFileError, match="finds no detection"):
        tables.detections_of(pd.DataFrame(good).iloc[:0], "TAP")
    mixed = pd.DataFrame([{"name": name, "obsid": 2, "obi": 0, "region_id": 1} for name in "BAA"])
    assert tables.detections_of(mixed, "TAP").to_pylist() == [
        {"name": name, "obsid": 2, "obi": 0, "region_id": 1, "ambiguous": True} for name in "AB"
    ]
