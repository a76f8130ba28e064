"""SIMBAD's TAP, ADS' bigquery and a chat model's endpoint on loopback, in one server, with faults to order.

    with LiteratureServer() as server:
        server.add_object("V* V404 Cyg", ra, dec, papers=["2015ApJ...813L..37K"])
        ... LiteratureOptions("token", simbad_url=server.simbad_url, ads_url=server.ads_url)

ADQL runs as it is, by SQLite on tables of SIMBAD's names; points and circles are functions there. The chat model is a
stand-in that computes its answer from the request alone: see `stand_in`.
"""

from __future__ import annotations

import io
import json
import math
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

from astropy.io.votable import parse_single_table

from faulty_server import FaultyHandler, FaultyServer

FAULTS = ("500", "429", "drop", "truncated", "in_band", "stall")
SERVICES = {"/simbad/sync": "simbad", "/v1/search/bigquery": "ads", "/v1/chat/completions": "chat"}
IN_BAND = {
    "simbad": b'<?xml version="1.0"?><VOTABLE xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE type="results">'
    b'<INFO name="QUERY_STATUS" value="ERROR">the database is away</INFO></RESOURCE></VOTABLE>',
    "ads": b'{"error": {"msg": "the index is away", "code": 500}}',
    "chat": b'{"error": {"message": "the model is overloaded", "type": "server_error"}}',
}
INTEGERS = ("row_id", "oid", "oidref", "pub_year", "nbobject")
DOUBLES = ("object_ra", "object_dec")


def data_of(messages: list[dict[str, str]]) -> dict[str, Any]:
    """The papers in a request: what stands between the marks of the data."""
    found = re.search(r"^BEGIN DATA (\w+)$\n(.*)\n^END DATA \1$", messages[-1]["content"], re.MULTILINE)
    assert found is not None, messages
    return json.loads(found[2])


def stand_in(request: dict[str, Any]) -> str:
    """A summary made of sentences of the papers, shortest first, without any that looks as if it had a name in it."""
    papers = data_of(request["messages"])["papers"]
    sentences = [part for paper in papers for part in re.split(r"(?<=[.!?]) ", paper["abstract"] or "")]
    plain = [part for part in sentences if not re.search(r"\d[A-Z+-]|[A-Z]\w* ?\w*[ -]?\d|[A-Z]{2}|[NM] ?\d", part)]
    chosen = sorted(plain, key=lambda part: (len(part), part))[:3]
    return f"A) X-ray properties: {' '.join(chosen) or 'Not discussed.'}\n\nB) Hypotheses: Not discussed."


@dataclass
class LiteratureServer(FaultyServer):
    """Serves from entering the context to leaving it.

    Attributes:
        token: that ADS wants; and the endpoint, where it is asked with one.
        answer: what the chat model says to a request.
        plan: service -> faults of its next requests, in order ("" for none); then `fault_rate` decides.
        quota: requests that ADS answers until `reset`.
        echo: services whose errors repeat the headers that they were sent, as some do.
        requests: (service, facts) of all requests.
    """

    fault_kinds = FAULTS

    token: str = "ads-token-of-the-tests"
    answer: Callable[[dict[str, Any]], str] = stand_in
    most_rows: int = 10**9
    quota: int = 10**9
    reset: float = 4e9
    echo: bool = False
    finish_reason: str = "stop"
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    objects: list[dict[str, Any]] = field(default_factory=list)
    papers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def handler(self) -> type[FaultyHandler]:
        return _handler(self)

    @property
    def simbad_url(self) -> str:
        return f"{self.url}/simbad"

    @property
    def ads_url(self) -> str:
        return f"{self.url}/v1"

    chat_url = ads_url

    def add_object(
        self, main_id: str, ra: float, dec: float, papers: list[str], others: tuple[str, ...] = (), kind: str = "X"
    ) -> None:
        self.objects.append(
            {"main_id": main_id, "otype": kind, "ra": ra, "dec": dec, "papers": papers, "ids": (main_id, *others)}
        )

    def add_paper(self, bibcode: str, title: str, abstract: str | None, **more: Any) -> None:
        self.papers[bibcode] = {"bibcode": bibcode, "title": [title], "abstract": abstract, "year": bibcode[:4], **more}

    def add_sample(self, path: Path) -> list[dict[str, Any]]:
        """The real abstracts: an object and a position a source; the rows of a table of sources."""
        rows: dict[str, dict[str, Any]] = {}
        for number, line in enumerate(path.read_text().splitlines()):
            entry = json.loads(line)
            bibcode = f"{2000 + number}ApJ...{100 + number}..{1 + number}X"
            self.add_paper(bibcode, entry["title"], entry["text"])
            main_id = entry["source"]
            if main_id not in rows:
                place = len(rows)
                ra, dec = 10.0 + 20.0 * place, 5.0 * place
                rows[main_id] = {"name": f"2CXO J{place:06d}.0+000000", "ra": ra, "dec": dec}
                self.add_object(main_id, ra, dec + 0.5 / 3600, [], tuple(entry["aliases"]))
            next(item for item in self.objects if item["main_id"] == main_id)["papers"].append(bibcode)
        return list(rows.values())

    def count(self, service: str) -> int:
        return sum(name == service for name, _ in self.requests)

    # One method a service: the request in, status and body out.

    def simbad(self, headers: Any, query: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        mail = message_from_bytes(b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body)
        form: dict[str, bytes] = {}
        for part in mail.get_payload():
            form[str(part.get_param("name", header="content-disposition"))] = part.get_payload(decode=True)
        name, _, place = form["UPLOAD"].decode().partition(",param:")
        upload = parse_single_table(io.BytesIO(form[place])).to_table()
        adql = form["QUERY"].decode()
        self.requests.append(("simbad", {"query": adql, "rows": len(upload)}))
        with sqlite3.connect(":memory:") as base:
            base.create_function("POINT", 3, lambda frame, ra, dec: f"{ra} {dec}")
            base.create_function("CIRCLE", 4, lambda frame, ra, dec, radius: f"{ra} {dec} {radius}")
            base.create_function("CONTAINS", 2, _contains)
            base.execute("ATTACH ':memory:' AS TAP_UPLOAD")
            base.execute(f"CREATE TABLE TAP_UPLOAD.{name} ({', '.join(upload.colnames)})")
            for row in upload:
                _insert(base, f"TAP_UPLOAD.{name}", [value.item() for value in row])
            base.execute("CREATE TABLE basic (oid, main_id, otype, ra, dec)")
            base.execute("CREATE TABLE ident (oidref, id)")
            base.execute("CREATE TABLE has_ref (oidref, oidbibref)")
            base.execute('CREATE TABLE ref (oidbib, bibcode, "year", nbobject)')
            numbers: dict[str, int] = {}
            for oid, item in enumerate(self.objects, start=100):
                _insert(base, "basic", [oid, *(item[column] for column in ("main_id", "otype", "ra", "dec"))])
                for other in item["ids"]:
                    _insert(base, "ident", [oid, other])
                for bibcode in item["papers"]:
                    _insert(base, "has_ref", [oid, numbers.setdefault(bibcode, len(numbers))])
            for bibcode, number in numbers.items():
                size = sum(bibcode in item["papers"] for item in self.objects)
                _insert(base, "ref", [number, bibcode, int(bibcode[:4]), size])
            cursor = base.execute(adql)
            names, rows = [entry[0] for entry in cursor.description], cursor.fetchall()
        self._random.shuffle(rows)  # SQL promises no order
        limit = min(int(form["MAXREC"]), self.most_rows)
        info = '<INFO name="QUERY_STATUS" value="OVERFLOW"/>' if len(rows) > limit else ""
        kinds = {**dict.fromkeys(INTEGERS, 'datatype="long"'), **dict.fromkeys(DOUBLES, 'datatype="double"')}
        words = 'datatype="char" arraysize="*"'
        fields = "".join(f'<FIELD name="{column}" {kinds.get(column, words)}/>' for column in names)
        cells = "".join(
            "<TR>" + "".join(f"<TD>{'' if value is None else escape(str(value))}</TD>" for value in row) + "</TR>"
            for row in rows[:limit]
        )
        answer = (
            '<?xml version="1.0"?><VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
            f'<RESOURCE type="results"><INFO name="QUERY_STATUS" value="OK"/><TABLE>{fields}<DATA><TABLEDATA>{cells}'
            f"</TABLEDATA></DATA></TABLE>{info}</RESOURCE></VOTABLE>"
        )
        return 200, answer.encode(), {}

    def ads(self, headers: Any, query: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        form = {name: values[0] for name, values in parse_qs(query).items()}
        first, *bibcodes = body.decode().splitlines()
        self.requests.append(("ads", {"bibcodes": bibcodes, **form}))
        if headers["Authorization"] != f"Bearer {self.token}":
            return 401, json.dumps({"error": f"Unauthorized: {headers['Authorization']}"}).encode(), {}
        assert first == "bibcode"
        assert headers["Content-Type"] == "big-query/csv"
        limits = {"X-RateLimit-Limit": "100", "X-RateLimit-Reset": f"{self.reset:.0f}"}
        if self.quota <= 0:
            return 429, b'{"error": "Too many requests"}', {**limits, "X-RateLimit-Remaining": "0"}
        self.quota -= 1
        wanted = set(bibcodes)
        found = [
            paper
            for paper in self.papers.values()
            if wanted & {paper["bibcode"], *paper.get("alternate_bibcode", ()), *paper.get("identifier", ())}
        ]
        start, rows = int(form["start"]), min(int(form["rows"]), self.most_rows)
        documents = [{name: value for name, value in paper.items() if value is not None} for paper in found]
        response = {"numFound": len(found), "start": start, "docs": documents[start : start + rows]}
        answer = {"responseHeader": {"status": 0, "QTime": 12}, "response": response}
        return 200, json.dumps(answer).encode(), {**limits, "X-RateLimit-Remaining": str(min(self.quota, 100))}

    def chat(self, headers: Any, query: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        request = json.loads(body)
        self.requests.append(("chat", request))
        text = self.answer(request)
        usage = {"prompt_tokens": len(body) // 4, "completion_tokens": len(text) // 4, "total_tokens": 0}
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": self.finish_reason}
        answer = {"id": "1", "object": "chat.completion", "created": 0, "model": request["model"], "usage": usage}
        return 200, json.dumps({**answer, "system_fingerprint": "", "choices": [choice]}).encode(), {}


@lru_cache(maxsize=100_000)
def _radians(words: str) -> tuple[float, ...]:
    return tuple(math.radians(float(word)) for word in words.split())


def _contains(point: str, circle: str) -> int:
    ra, dec = _radians(point)
    ra0, dec0, radius = _radians(circle)
    if abs(dec - dec0) > radius:  # most are, and each is a call from SQLite
        return 0
    half = math.sin((dec - dec0) / 2) ** 2 + math.cos(dec) * math.cos(dec0) * math.sin((ra - ra0) / 2) ** 2
    return int(2 * math.asin(min(1.0, math.sqrt(half))) <= radius)


def _insert(base: sqlite3.Connection, table: str, values: list[Any]) -> None:
    base.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)


def _handler(server: LiteratureServer) -> type[FaultyHandler]:
    class Handler(FaultyHandler):
        stall = server.stall

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            place = urlsplit(self.path)
            service = SERVICES.get(place.path, "")
            server.headers.append(dict(self.headers))
            if not service:
                return self._send(404, b"not here")
            fault = server.next_fault(service)
            said = f" {dict(self.headers)}".encode() if server.echo else b""
            if fault:
                server.requests.append((service, {}))
            if fault.isdigit():
                pause = {"Retry-After": server.retry_after} if fault == "429" else {}
                return self._send(int(fault), b"something is wrong" + said, pause)
            if fault == "drop":
                self.close_connection = True
                return None
            if fault == "in_band":
                return self._send(200, said.strip() or IN_BAND[service])
            if fault:
                server.requests.pop()
            status, body, headers = getattr(server, service)(self.headers, place.query, body)
            return self._send(status, body, headers, fault)

        def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, fault: str = "") -> None:
            self.send(status, body, {"Content-Type": "application/json", **(headers or {})}, fault)

    return Handler
