"""Names and papers of sources: SIMBAD and ADS on loopback, whatever goes wrong on the way, and the token nowhere."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chandraclip.acquire import literature, simbad
from chandraclip.acquire.ads import AdsClient
from chandraclip.acquire.http import Manners
from chandraclip.acquire.literature import (
    LiteratureOptions,
    Radii,
    collect_literature,
    read_sources,
    requests_to_make,
)
from chandraclip.acquire.secrets import private_url, redacted, token_of
from chandraclip.acquire.store import Store
from chandraclip.errors import InputFileError, OptionError
from literature_server import LiteratureServer

HASTY = Manners(seconds_between=0.0, attempts=6, first_wait=0.001, longest_wait=0.01, read_timeout=0.3)


class Killed(BaseException):
    """What no except clause of ours catches, as nothing catches kill -9."""


@pytest.fixture(autouse=True)
def date(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")


@pytest.fixture
def server():
    with LiteratureServer(stall=0.6) as running:
        fill(running)
        yield running


def fill(server: LiteratureServer, num_sources: int = 12) -> None:
    for number in range(num_sources):
        ra, dec = 15.0 + 10.0 * number, -70.0 + 12.0 * number
        own = [f"{2000 + number}ApJ...{100 + number}....{1 + number}A", "2010MNRAS.400..100S"]
        server.add_object(f"V*  V{number}  Her", ra, dec + 1.0 / 3600, own, (f"HD {1000 + number}",), "CV*")
        if number % 3 == 0:
            server.add_object(f"[ABC2001] {number}", ra, dec - 2.5 / 3600, [f"1990A&A...{200 + number}....1B"])
            server.add_paper(f"1990A&A...{200 + number}....1B", "A survey", None)
        server.add_paper(own[0], f"The source {number}", f"Its flux is {number} x 10<SUP>-13</SUP> erg/s/cm2.")
    server.add_paper("2010MNRAS.400..100S", "A catalogue", "We list many sources.")


def table(num_sources: int = 12) -> pd.DataFrame:
    number = np.arange(num_sources)
    names = [f"2CXO J{index:06d}.0+000000" for index in number]
    return pd.DataFrame({"name": names, "ra": 15.0 + 10.0 * number, "dec": -70.0 + 12.0 * number, "radius": 3.0})


def how(server: LiteratureServer, manners: Manners = HASTY, **options: Any) -> LiteratureOptions:
    given = {"token": server.token, "simbad_url": server.simbad_url, "ads_url": server.ads_url, **options}
    return LiteratureOptions(manners=manners, **given)


def rows(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def test_a_source_has_the_names_and_papers_of_what_lies_around_it(server, tmp_path):
    done = collect_literature(table(), tmp_path / "out.parquet", how(server), progress=False)
    found = rows(tmp_path / "out.parquet")
    assert [row["name"] for row in found] == table()["name"].tolist()
    assert (done.num_sources, done.num_named, done.num_with_papers, done.num_with_abstracts) == (12, 12, 12, 12)
    first, second = found[:2]
    assert (first["main_id"], first["object_type"], first["num_objects"]) == ("V* V0 Her", "CV*", 2)  # one space
    assert first["separation"] == pytest.approx(1.0, abs=1e-3)
    assert first["identifiers"] == ["HD 1000", "V* V0 Her", "[ABC2001] 0"]
    assert first["num_bibcodes"] == 3
    # Papers that speak of the fewest objects first, then the newest.
    assert first["bibcodes"] == ["2000ApJ...100....1A", "1990A&A...200....1B", "2010MNRAS.400..100S"]
    assert first["abstracts"] == ["Its flux is 0 x 10<SUP>-13</SUP> erg/s/cm2.", None, "We list many sources."]
    assert first["years"] == [2000, 1990, 2010]
    assert (second["num_objects"], len(second["bibcodes"])) == (1, 2)
    assert first["retrieved"] == "2027-01-15"
    assert server.count("simbad") == 3
    assert server.count("ads") == 1
    assert {"Authorization": f"Bearer {server.token}"}.items() <= server.headers[-1].items()
    assert all("Authorization" not in headers for headers in server.headers[:-1])  # SIMBAD wants none, and gets none


def test_radius_follows_the_position_error_and_sources_stand_once(tmp_path):
    frame = table(3).drop(columns="radius").assign(err_ellipse_r0=[0.2, np.nan, 99.0])
    frame = pd.concat([frame, frame.iloc[:1].assign(ra=1.0), frame.iloc[:1].assign(name="X", ra=np.nan)])
    frame.to_csv(tmp_path / "table.csv", index=False)
    found = read_sources(tmp_path / "table.csv")
    assert found["radius"].tolist() == [1.0, 3.0, 10.0]
    assert found["ra"].tolist() == [15.0, 25.0, 35.0]
    (tmp_path / "dataset" / "data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), tmp_path / "dataset/data/train-0.parquet")
    assert read_sources(tmp_path / "dataset").equals(found)
    assert read_sources(tmp_path / "dataset", Radii(2.0, 0.5, 5.0))["radius"].tolist() == [0.5, 2.0, 5.0]
    for content, said in (
        ("a,b\n1,2\n", "no column name, ra, dec"),
        ("name,ra,dec\nX,1,99\n", "row 1"),
        ("", "no read"),
    ):
        (tmp_path / "bad.csv").write_text(content)
        with pytest.raises(InputFileError, match=said):
            read_sources(tmp_path / "bad.csv")


def test_nothing_is_asked_twice(server, tmp_path):
    output = tmp_path / "out.parquet"
    assert requests_to_make(table(), output, how(server))["SIMBAD"] == 3
    collect_literature(table(10), output, how(server), progress=False)
    before = output.read_bytes()
    asked = len(server.requests)
    collect_literature(table(10), output, how(server), progress=False)
    assert len(server.requests) == asked
    assert output.read_bytes() == before
    collect_literature(table(), output, how(server), progress=False)
    assert server.requests[asked][1]["rows"] == 2  # the two that are new
    assert server.requests[-1][1]["bibcodes"] == ["2010ApJ...110....11A", "2011ApJ...111....12A"]
    collect_literature(table(), output, how(server, max_papers=1), progress=False)
    assert all(len(row["bibcodes"]) == 1 for row in rows(output))
    assert requests_to_make(table(), output, how(server)) == {
        "SIMBAD": 0,
        "ADS": 0,
        "new positions": 0,
        "new papers": 0,
    }


def test_faults_and_kills_leave_no_trace(tmp_path, monkeypatch):
    """One request in five goes wrong, and the program dies at every place where something is kept."""
    monkeypatch.setattr(literature, "SOURCES_PER_REQUEST", 2)
    monkeypatch.setattr(literature.ads, "BIBCODES_PER_REQUEST", 3)
    with LiteratureServer() as calm:
        fill(calm)
        collect_literature(table(), tmp_path / "clean.parquet", how(calm), progress=False)
    put, deaths, said = Store.put, [], []

    def put_and_die(self: Store, kind: str, records: dict[str, Any]) -> None:
        number = len(deaths)
        if number % 2:
            put(self, kind, records)
        deaths.append(kind)
        raise Killed

    with LiteratureServer(seed=3, fault_rate=0.2, stall=0.6) as server:
        fill(server)
        for _ in range(40):
            monkeypatch.setattr(Store, "put", put_and_die if len(deaths) < 8 else put)
            try:
                collect_literature(table(), tmp_path / "out.parquet", how(server), progress=False)
                break
            except Killed:
                continue
            except InputFileError as error:
                said.append(str(error))
        assert len({fault for _, fault in server.faults}) >= 4
    assert all("run the same command again" in line for line in said)
    assert len(deaths) == 8
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "clean.parquet").read_bytes()


def test_an_answer_that_simbad_cuts_off_is_asked_for_in_halves(server, tmp_path):
    server.most_rows = 12
    collect_literature(table(), tmp_path / "out.parquet", how(server), progress=False)
    server.most_rows = 10**9
    collect_literature(table(), tmp_path / "all.parquet", how(server), progress=False)
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "all.parquet").read_bytes()
    server.most_rows = 1
    with pytest.raises(InputFileError, match="around one position"):
        collect_literature(table(), tmp_path / "none.parquet", how(server), progress=False)


def test_papers_are_found_by_their_other_bibcodes_and_page_by_page(server):
    server.most_rows = 2
    server.add_paper("2020ApJ...900....1Z", "Published", "An abstract.", alternate_bibcode=["2020arXiv200000001Z"])
    client = AdsClient(server.token, server.ads_url, HASTY)
    asked = ["2020arXiv200000001Z", "2010MNRAS.400..100S", "2000ApJ...100....1A", "1900none..........X"]
    found = client.papers(asked)
    assert list(found) == asked
    assert found["2020arXiv200000001Z"]["bibcode"] == "2020ApJ...900....1Z"
    assert found["1900none..........X"] is None
    assert server.count("ads") == 2


@pytest.mark.parametrize("quota", [0, 1])
def test_a_spent_quota_ends_the_run_and_the_same_command_goes_on(server, tmp_path, monkeypatch, quota):
    monkeypatch.setattr(literature.ads, "BIBCODES_PER_REQUEST", 6)
    output = tmp_path / "out.parquet"
    server.quota, server.reset = quota, time.time() + 3600
    begin = time.monotonic()
    with pytest.raises(InputFileError, match=r"quota is spent; it is renewed at 20\d\d-.* UTC; \d+ papers are left"):
        collect_literature(table(), output, how(server), progress=False)
    assert time.monotonic() - begin < 5  # nothing is waited for
    assert server.count("ads") == max(quota, 1)  # not asked again once it is known
    server.quota = 100
    collect_literature(table(), output, how(server), progress=False)
    assert all(any(row["abstracts"]) for row in rows(output))


def test_what_is_no_list_of_papers_is_not_kept(server, tmp_path, monkeypatch):
    for answer in (
        {},
        [],
        {"responseHeader": {"status": 0, "partialResults": True}, "response": {"numFound": 0, "docs": []}},
        {"responseHeader": {"status": 0}, "response": {"numFound": 1, "docs": [{"bibcode": 7}]}},
        {"responseHeader": {"status": 0}, "response": {"numFound": 1, "docs": [{"bibcode": "x", "abstract": [1]}]}},
    ):
        monkeypatch.setattr(server, "ads", lambda *request, answer=answer: (200, json.dumps(answer).encode(), {}))
        with pytest.raises(InputFileError, match="no list of papers"):
            collect_literature(
                table(1), tmp_path / "out.parquet", how(server, replace(HASTY, attempts=2)), progress=False
            )
    assert not (tmp_path / "out.parquet").exists()


def test_the_token_is_told_nowhere(server, tmp_path, caplog, capfd, monkeypatch):
    """Not in messages, logs of any level, the cache or the table, even where servers repeat it in their errors."""
    caplog.set_level(logging.DEBUG)
    server.echo = True
    said = []
    for fault in ("500", "429", "drop", "truncated", "in_band", "stall", "401"):
        server.plan["ads"] = [fault] * 2
        with pytest.raises(InputFileError) as failed:
            collect_literature(
                table(1), tmp_path / fault / "out.parquet", how(server, replace(HASTY, attempts=2)), progress=False
            )
        said += [str(failed.value), repr(failed.value), repr(failed.value.__cause__)]
    server.echo = False
    wrong = how(server, token="wrong-" + server.token)
    with pytest.raises(InputFileError, match="refuses the token in ADS_API_TOKEN"):
        collect_literature(table(1), tmp_path / "wrong/out.parquet", wrong, progress=False)
    collect_literature(table(1), tmp_path / "out.parquet", how(server), progress=False)
    said.append(repr(how(server)))
    written = [path.read_bytes().decode(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    text = "\n".join([*said, caplog.text, *capfd.readouterr(), *written])
    assert "127.0.0.1" in text
    assert server.token not in text
    assert redacted(f"wrong key {server.token}!", server.token) == "wrong key [token]!"


def test_a_token_is_checked_and_goes_to_nobody_in_clear(monkeypatch):
    monkeypatch.delenv("ADS_API_TOKEN", raising=False)
    assert token_of("ADS_API_TOKEN") is None
    for bad in ("two words", "line\nbreak", "tok\u00e9n-of-mine", "abc"):
        monkeypatch.setenv("ADS_API_TOKEN", bad)
        with pytest.raises(OptionError, match="ADS_API_TOKEN holds no token") as failed:
            token_of("ADS_API_TOKEN")
        assert bad not in str(failed.value)
    monkeypatch.setenv("ADS_API_TOKEN", " a-good-token\n")
    assert token_of("ADS_API_TOKEN") == "a-good-token"
    with pytest.raises(InputFileError, match="unencrypted"):
        AdsClient("a-good-token", "http://api.example.org/v1")
    with pytest.raises(InputFileError, match="without user and password") as failed:
        private_url("https://me:hunter2@host/v1", has_token=False)
    assert "hunter2" not in str(failed.value)
    assert private_url("http://localhost:8000/v1/", has_token=True) == "http://localhost:8000/v1"


def test_a_redirect_is_not_followed_with_the_token(server, monkeypatch):
    with LiteratureServer() as other:
        monkeypatch.setattr(
            server, "ads", lambda *request: (302, b"", {"Location": f"{other.ads_url}/search/bigquery"})
        )
        with pytest.raises(InputFileError, match="302"):
            AdsClient(server.token, server.ads_url, HASTY).papers(["2000ApJ...100....1A"])
        assert not other.headers


def test_a_cache_that_is_none_is_told(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/literature.sqlite").write_text("this is no database, however long it is" * 100)
    with pytest.raises(InputFileError, match="cannot be used as a cache"):
        Store(tmp_path / "cache/literature.sqlite")


def test_queries_are_adql_that_names_tables_of_simbad():
    for query in (simbad.NEAR, simbad.NAMES, simbad.PAPERS):
        assert "TAP_UPLOAD." in query
    assert simbad.BASE_URL.startswith("https://")
