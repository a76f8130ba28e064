"""The archive of the Chandra Source Catalog on loopback: ``/csccli/`` and TAP, files behind them, faults to order.

    with ArchiveServer() as server:
        server.add(row, {"spectrum": path, "arf": path, "rmf": path})
        ... ArchiveOptions(base_url=server.url)

Queries are run as they are, by SQLite on tables of the archive's names.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import sqlite3
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from faulty_server import FaultyHandler, FaultyServer

GZIP = b"\x1f\x8b"
SUFFIXES = {
    "spectrum": "pha3",
    "arf": "arf3",
    "rmf": "rmf3",
    "regevt3": "regevt3",
    "srcreg": "reg3",
    "lightcurve": "lc3",
}
FAULTS = ("500", "429", "drop", "truncated", "damaged", "in_band", "stall")
KEY = ("obsid", "obi", "region_id")
SOURCE_COLUMNS = ("name", "ra", "dec", "nh_gal")
DEFAULTS = {
    "src_cnts_aper_b": 100.0,
    "flux_significance_b": 12.0,
    "theta": 2.0,
    "flux_aper_b": 1e-14,
    "flux_aper_h": 5e-15,
    "flux_aper_m": 3e-15,
    "flux_aper_s": 2e-15,
    "flux_bb_aper_b": 1e-14,
    "hard_hm": 0.1,
    "hard_hs": 0.2,
    "hard_ms": 0.1,
    "var_prob_b": 0.3,
    "var_index_b": 0.0,
    "powlaw_gamma": 1.8,
    "bb_kt": 0.7,
}


@dataclass
class ArchiveServer(FaultyServer):
    """Serves from entering the context to leaving it.

    Attributes:
        plan: service -> faults of its next requests, in order ("" for none); then `fault_rate` decides.
        fault_rate: share of all other requests that go wrong, in a way drawn from `FAULTS`.
        stall: s that a stalled answer takes.
        retry_after: s, of 429.
        rewrite: service -> what changes the bytes of a good answer, for archives that are hostile.
        most_rows: of a TAP answer; beyond it the service overflows.
        requests: (service, form) of all requests.
        faults: faults that were made.
    """

    fault_kinds = FAULTS

    rewrite: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    most_rows: int = 10**9
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    files: dict[tuple[str, str], tuple[str, Path]] = field(default_factory=dict)

    def handler(self) -> type[FaultyHandler]:
        return _handler(self)

    def add(self, row: dict[str, Any], files: dict[str, Path]) -> None:
        """A detection: name, ra, dec, obsid, obi, region_id and other columns; the archive's type -> file."""
        self.rows.append({**DEFAULTS, "nh_gal": 2.5, "match_type": "u", **row})
        stem = f"acisf{row['obsid']:05d}_{row['obi']:03d}N001_r{row['region_id']:04d}"
        for filetype, path in files.items():
            self.files[_identifier(row), filetype] = f"{stem}_{SUFFIXES[filetype]}.fits", path

    def count(self, service: str) -> int:
        return sum(name == service for name, _ in self.requests)

    # One method a service: the form in, the body out; None where there is nothing of the kind.

    def getProperties(self, form: dict[str, str]) -> bytes:
        try:
            names, rows = self._query(form["query"])
        except sqlite3.Error as error:
            return f"Error executing query: {error}\n".encode()
        lines = [f"#Column\t{name}\t(G)" for name in names] + ["\t".join(names)]
        lines += ["\t".join("NaN" if value is None else str(value).ljust(8) for value in row) for row in rows]
        return ("\n".join(lines) + "\n\n").encode()

    def sync(self, form: dict[str, str]) -> bytes:
        try:
            names, rows = self._query(form["QUERY"])
        except sqlite3.Error as error:
            return _votable("", "", f'<INFO name="QUERY_STATUS" value="ERROR">{error}</INFO>')
        after = '<INFO name="QUERY_STATUS" value="OVERFLOW"/>' if len(rows) > self.most_rows else ""
        rows = rows[: self.most_rows]
        kinds = {"name": 'datatype="char" arraysize="*"', **dict.fromkeys(KEY, 'datatype="int"')}
        fields = "".join(
            f'<FIELD name="{name}" {kinds.get(name, "datatype=" + chr(34) + "double" + chr(34))}/>' for name in names
        )
        cells = ["".join(f"<TD>{'' if value is None else value}</TD>" for value in row) for row in rows]
        return _votable(fields, "".join(f"<TR>{row}</TR>" for row in cells), after)

    def browse(self, form: dict[str, str]) -> bytes:
        identifier, filetype, _ = form["packageset"].split("/")
        found = self.files.get((identifier, filetype))
        return json.dumps([{"filename": found[0]}] if found else []).encode()

    def retrieveFile(self, form: dict[str, str]) -> bytes | None:
        for name, path in self.files.values():
            if name == form["filename"]:
                content = path.read_bytes()
                return content if content.startswith(GZIP) else gzip.compress(content, 1, mtime=0)
        return None

    def retrieve(self, form: dict[str, str]) -> bytes:
        body = io.BytesIO()
        packages = form["packageset"].split(",")
        assert len({package.split("/")[0] for package in packages}) <= 50
        with tarfile.open(fileobj=body, mode="w") as archive:
            for package in packages:
                identifier, filetype, band = package.split("/")
                assert band == "b"
                found = self.files.get((identifier, filetype))
                if found is not None:
                    content = self.retrieveFile({"filename": found[0]}) or b""
                    member = tarfile.TarInfo(f"package/{identifier}/{found[0]}.gz")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        return body.getvalue()

    def _query(self, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Runs a query on the five tables of the catalogue, a stack a detection."""
        with sqlite3.connect(":memory:") as base:
            if "csc21." in query:
                base.execute("ATTACH ':memory:' AS csc21")
            place = "csc21" if "csc21." in query else "main"
            columns = [*KEY, *DEFAULTS]
            base.execute(f"CREATE TABLE {place}.observation_source ({', '.join(columns)})")
            base.execute(f"CREATE TABLE {place}.master_source ({', '.join(SOURCE_COLUMNS)})")
            base.execute(f"CREATE TABLE {place}.master_stack_assoc (name, match_type, detect_stack_id, region_id)")
            base.execute(f"CREATE TABLE {place}.stack_source (detect_stack_id, region_id)")
            base.execute(f"CREATE TABLE {place}.stack_observation_assoc (detect_stack_id, region_id, obsid, obi)")
            stacks, sources = set(), set()
            for row in self.rows:
                stack = f"stack{row['obsid']}.{row['obi']}"
                if row["name"] not in sources:
                    sources.add(row["name"])
                    _insert(base, f"{place}.master_source", [row[name] for name in SOURCE_COLUMNS])
                _insert(base, f"{place}.master_stack_assoc", [row["name"], row["match_type"], stack, row["region_id"]])
                if _identifier(row) not in stacks:
                    stacks.add(_identifier(row))
                    _insert(base, f"{place}.observation_source", [row[name] for name in columns])
                    _insert(base, f"{place}.stack_source", [stack, row["region_id"]])
                    _insert(
                        base, f"{place}.stack_observation_assoc", [stack, row["region_id"], row["obsid"], row["obi"]]
                    )
            cursor = base.execute(query)
            return [entry[0] for entry in cursor.description], cursor.fetchall()


def _identifier(row: dict[str, Any]) -> str:
    return ".".join(str(row[name]) for name in KEY)


def _insert(base: sqlite3.Connection, table: str, values: list[Any]) -> None:
    base.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)


def _votable(fields: str, rows: str, info: str) -> bytes:
    table = f"<TABLE>{fields}<DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE>" if fields else ""
    first, last = ("", info) if fields else (info, "")
    status = '<INFO name="QUERY_STATUS" value="OK"/>' if fields else first
    return (
        '<?xml version="1.0"?><VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
        f'<RESOURCE type="results">{status}{table}{last}</RESOURCE></VOTABLE>'
    ).encode()


def _handler(server: ArchiveServer) -> type[FaultyHandler]:
    class Handler(FaultyHandler):
        stall = server.stall

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            form = {name: values[0] for name, values in parse_qs(data, keep_blank_values=True).items()}
            found = re.fullmatch(r"/(?:csccli|csc21tap)/(\w+)", self.path)
            service = found[1] if found else ""
            server.requests.append((service, form))
            server.headers.append(dict(self.headers))
            if not hasattr(ArchiveServer, service) or (service != "sync" and form.get("version") != "rel2.1"):
                return self.send(404, b"not here")
            fault = server.next_fault(service)
            if fault == "500":
                return self.send(500, b"Internal Server Error")
            if fault == "429":
                return self.send(429, b"slow down", {"Retry-After": server.retry_after})
            if fault == "drop":
                self.close_connection = True
                return None
            if fault == "in_band":
                return self.send(200, b"Error executing query: the database is away\n")
            body = getattr(server, service)(form)
            if body is None:
                return self.send(404, b"no such file")
            body = server.rewrite.get(service, lambda good: good)(body)
            if fault == "damaged":
                place = server._random.randrange(len(body) // 4, max(len(body) * 3 // 4, len(body) // 4 + 1))
                body = body[:place] + bytes([body[place] ^ 0x55]) + body[place + 1 :]
            return self.send(200, body, fault=fault)

    return Handler
