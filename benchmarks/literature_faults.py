#!/usr/bin/env python
"""The literature under faults: mock detections through SIMBAD, ADS and a chat model on loopback, a share of requests
going wrong, the programs killed (kill -9) again and again; are names, abstracts and summaries the ones that they are
when nothing goes wrong, byte by byte?

    python benchmarks/literature_faults.py ../shared/data/literature --num_detections 2000 --kill_every 60

Every source has one of the real abstracts and one of its own; the chat model is a stand-in that answers from the
request alone. What is measured is our side, not a network or a model. Not among those of run_all.py, which have no
real files.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))

from literature_server import LiteratureServer  # noqa: E402

# 500 positions take three requests of SIMBAD, 2,000 papers one of ADS: a program that is killed sooner gets nowhere.
FEW_REQUESTS = 4
STALLS = (40.0, 4.0)  # s of names and abstracts, and of summaries: SIMBAD's joins take SQLite some seconds
TOKENS = {"ADS_API_TOKEN": "ads-token-of-the-benchmark", "CHAT_API_TOKEN": "chat-token-of-the-benchmark"}


def fill(server: LiteratureServer, abstracts: list[dict], table: Path, num_detections: int) -> None:
    """Two detections a source, as in a catalogue; an object of SIMBAD near each, a second near every fifth."""
    server.token = TOKENS["ADS_API_TOKEN"]
    for number, entry in enumerate(abstracts):
        server.add_paper(f"2015ApJ...{100 + number}....1R", entry["title"], entry["text"])
    rows = []
    for source in range(-(-num_detections // 2)):
        ra, dec = (source * 7.3) % 360.0, (source * 3.1) % 160.0 - 80.0 + source * 1e-3
        name = f"2CXO J{source:06d}.0+000000"
        rows += [{"name": name, "ra": ra, "dec": dec, "obsid": 2 * source + place} for place in range(2)]
        own = f"{1990 + source % 35}A&A...{source:05d}..1B"
        real = f"2015ApJ...{100 + source % len(abstracts)}....1R"
        server.add_object(f"HD {source}", ra, dec + 1.0 / 3600, [own, real], kind="X")
        said = f"The source has a flux of {1 + source % 9}.{source % 10} x 10<SUP>-13</SUP> erg/s/cm2. It is soft."
        server.add_paper(own, f"On source {source}", said)
        if source % 5 == 0:
            server.add_object(f"[BBB] {source}", ra, dec - 2.0 / 3600, [real], kind="*")
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows[:num_detections])


def run(command: list[str], log: Path, server: LiteratureServer, seconds: float, requests: int) -> int | None:
    """The program's status; None: it was killed, since so many seconds or requests were over."""
    environment = {**os.environ, **TOKENS, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY / "src")}
    environment["SOURCE_DATE_EPOCH"] = "1800000000"  # a run over midnight is the same run
    with log.open("ab") as stream:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=stream, stderr=stream)
        begin, until = time.perf_counter(), len(server.requests) + requests
        while process.poll() is None:
            if time.perf_counter() - begin > seconds or len(server.requests) >= until:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return None
            time.sleep(0.01)
        return process.returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("literature", type=Path, help="folder with source_abstracts_sample.jsonl")
    parser.add_argument("--num_detections", type=int, default=2000)
    parser.add_argument("--fault_rate", type=float, default=0.05)
    parser.add_argument("--kill_every", type=float, default=60.0, help="s")
    parser.add_argument("--kill_requests", type=int, default=10**9, help="or after so many requests, if that is sooner")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sample = options.literature / "source_abstracts_sample.jsonl"
    abstracts = [json.loads(line) for line in sample.read_text().splitlines()]
    with tempfile.TemporaryDirectory() as folder, LiteratureServer(seed=options.seed) as server:
        table, log = Path(folder, "detections.csv"), Path(folder, "log")
        fill(server, abstracts, table, options.num_detections)

        def commands(place: Path) -> list[list[str]]:
            place.mkdir()
            fast = ["--requests_per_second", 1000, "--read_timeout"]
            services = ["--simbad_url", server.simbad_url, "--ads_url", server.ads_url, *fast, STALLS[0] / 2]
            model = ["--base_url", server.chat_url, "--model", "stand-in", *fast, STALLS[1] / 2]
            found, written = place / "literature.parquet", place / "summaries.parquet"
            return [
                [sys.executable, *map(str, words)]
                for words in (
                    ["scripts/literature.py", table, found, *services],
                    ["scripts/summarize.py", found, written, *model],
                )
            ]

        seconds = []
        for command in commands(Path(folder, "clean")):
            begin = time.perf_counter()
            if run(command, log, server, 3600, 10**9):
                sys.exit(log.read_text())
            seconds.append(time.perf_counter() - begin)
        print(
            f"fault-free: names and abstracts {seconds[0]:.0f} s, summaries {seconds[1]:.0f} s, "
            f"requests {dict(Counter(name for name, _ in server.requests))}",
            flush=True,
        )
        server.requests.clear()
        server.fault_rate = options.fault_rate
        kills, starts, begin = 0, 0, time.perf_counter()
        for number, command in enumerate(commands(Path(folder, "faulty"))):
            most = options.kill_requests if number else min(options.kill_requests, FEW_REQUESTS)
            server.stall = STALLS[number]
            while True:
                starts += 1
                status = run(command, log, server, options.kill_every, most)
                kills += status is None
                if status == 0:
                    break
                if starts > 50 + options.num_detections / 10:
                    sys.exit(f"does not end; the log:\n{log.read_text()[-5000:]}")
        digests = {
            name: [hashlib.sha256(Path(folder, run, name).read_bytes()).hexdigest() for run in ("clean", "faulty")]
            for name in ("literature.parquet", "summaries.parquet")
        }
        everything = b"".join(path.read_bytes() for path in Path(folder).rglob("*") if path.is_file())
        result = {
            "num_detections": options.num_detections,
            "fault_rate": options.fault_rate,
            "requests": dict(Counter(name for name, _ in server.requests)),
            "faults": dict(Counter(fault for _, fault in server.faults)),
            "starts": starts,
            "kills": kills,
            "seconds": round(time.perf_counter() - begin, 1),
            "identical": {name: first == second for name, (first, second) in digests.items()},
            "tokens_told": [name for name, token in TOKENS.items() if token.encode() in everything],
        }
        print(json.dumps(result, indent=2))
        if not all(result["identical"].values()) or result["tokens_told"]:
            sys.exit("not the same, or a token was told")


if __name__ == "__main__":
    main()
