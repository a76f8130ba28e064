#!/usr/bin/env python
"""From the archive to texts under faults: mock detections through the archive (TAP and csccli), SIMBAD, ADS and a chat
model on loopback, a share of all requests going wrong, the programs killed (kill -9) again and again; is the dataset
the one that it is when nothing goes wrong, byte by byte?

    python benchmarks/catalogue_faults.py ../shared/data --num_detections 2000 --kill_every 60

The files are real CSC sets (pha3, arf3, rmf3) under other names; every source has one of the real abstracts and one of
its own; the chat model is a stand-in that answers from the request alone. What is measured is our side: not a network,
nor a model. Not among those of run_all.py, which have no real files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))

from archive_server import ArchiveServer  # noqa: E402
from literature_server import LiteratureServer  # noqa: E402

PRODUCTS = {"spectrum": "pha3", "arf": "arf3", "rmf": "rmf3"}
TOKENS = {"ADS_API_TOKEN": "ads-token-of-the-benchmark", "CHAT_API_TOKEN": "chat-token-of-the-benchmark"}
# s that a stalled answer takes; the programs wait half as long. SIMBAD's joins take SQLite some seconds.
STALL = {"archive": 4.0, "literature": 40.0, "summaries": 4.0, "texts": 4.0}
# 500 positions take three requests of SIMBAD, 2,000 papers one of ADS: who is killed sooner gets nowhere.
FEWEST_REQUESTS = 4


@dataclass
class Services:
    """Both servers, and what they hold: two detections a source, each with the files of one real set; an object of
    SIMBAD near each source, a second near every fifth."""

    archive: ArchiveServer
    literature: LiteratureServer
    starts: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)

    def fill(self, data: Path, num_detections: int) -> None:
        sets = real_sets(data / "spectra")
        sample = data / "literature" / "source_abstracts_sample.jsonl"
        abstracts = [json.loads(line) for line in sample.read_text().splitlines()]
        self.literature.token = TOKENS["ADS_API_TOKEN"]
        for number, entry in enumerate(abstracts):
            self.literature.add_paper(f"2015ApJ...{100 + number}....1R", entry["title"], entry["text"])
        for number in range(num_detections):
            source = number // 2
            ra, dec = (source * 7.3) % 360.0, (source * 3.1) % 160.0 - 80.0 + source * 1e-3
            row = {"name": f"2CXO J{source:06d}.0+000000", "ra": ra, "dec": dec}
            row |= {"obsid": 1 + number, "obi": 0, "region_id": 1 + number % 300}
            self.archive.add(row, sets[number % len(sets)])
            if number % 2:
                continue
            own = f"{1990 + source % 35}A&A...{source:05d}..1B"
            real = f"2015ApJ...{100 + source % len(abstracts)}....1R"
            self.literature.add_object(f"HD {source}", ra, dec + 1.0 / 3600, [own, real], kind="X")
            said = f"The source has a flux of {1 + source % 9}.{source % 10} x 10<SUP>-13</SUP> erg/s/cm2. It is soft."
            self.literature.add_paper(own, f"On source {source}", said)
            if source % 5 == 0:
                self.literature.add_object(f"[BBB] {source}", ra, dec - 2.0 / 3600, [real], kind="*")

    @property
    def num_requests(self) -> int:
        return len(self.archive.requests) + len(self.literature.requests)

    def requests(self) -> dict[str, int]:
        return dict(Counter(name for name, _ in (*self.archive.requests, *self.literature.requests)))

    def faults(self) -> dict[str, int]:
        return dict(Counter(fault for _, fault in (*self.archive.faults, *self.literature.faults)))

    def go_wrong(self, rate: float, one_by_one: bool) -> None:
        for server in (self.archive, self.literature):
            server.requests.clear()
            server.fault_rate = rate
        if one_by_one:
            self.archive.rewrite["retrieve"] = lambda good: b"Error: no packages today\n"

    def commands(self, place: Path, num_processes: int, is_faulty: bool) -> dict[str, list[str]]:
        """Stage -> program, in order; the last one's output is the dataset."""
        query = REPOSITORY / "src/chandraclip/acquire/queries/multimodal_universe.adql"
        detections, found, written = (place / name for name in ("detections", "found.parquet", "summaries.parquet"))
        fast: dict[str, list[Any]] = {
            stage: ["--requests_per_second", 1000, "--read_timeout", seconds / 2 if is_faulty else 600.0]
            for stage, seconds in STALL.items()
        }
        build, processes = "scripts/build_dataset.py", ["--num_processes", num_processes]
        asked = ["--adql", query, "--products", ",".join(PRODUCTS), "--base_url", self.archive.url]
        services = ["--simbad_url", self.literature.simbad_url, "--ads_url", self.literature.ads_url]
        model = ["--base_url", self.literature.chat_url, "--model", "stand-in"]
        stages: dict[str, list[Any]] = {
            "archive": [build, "csc", *asked, *fast["archive"], *processes, detections],
            "literature": ["scripts/literature.py", detections, found, *services, *fast["literature"]],
            "summaries": ["scripts/summarize.py", found, written, *model, *fast["summaries"]],
            "texts": [build, "texts", detections, written, place / "dataset", *processes],
        }
        return {stage: [sys.executable, *map(str, words)] for stage, words in stages.items()}

    def run(self, stage: str, command: list[str], log: Path, seconds: float, requests: int, most_starts: int) -> None:
        """A program to its end, killed after so many seconds or requests and begun again, as often as it takes."""
        environment = {**os.environ, **TOKENS, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY / "src")}
        environment["SOURCE_DATE_EPOCH"] = "1800000000"  # a run over midnight is the same run
        self.archive.stall = self.literature.stall = STALL[stage]
        with tqdm(desc=stage, unit="request", mininterval=2.0) as bar, log.open("ab") as stream:
            while True:
                self.starts[stage] += 1
                process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=stream, stderr=stream)
                begin, until = time.perf_counter(), self.num_requests + requests
                while process.poll() is None and time.perf_counter() - begin < seconds and self.num_requests < until:
                    time.sleep(0.02)
                    bar.update(self.num_requests - bar.n)
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                    self.kills[stage] += 1
                if process.wait() == 0:
                    return
                bar.set_postfix(starts=self.starts[stage], kills=self.kills[stage])
                if self.starts[stage] >= most_starts:
                    sys.exit(f"{stage} does not end; the log:\n{log.read_text()[-5000:]}")


def real_sets(folder: Path) -> list[dict[str, Path]]:
    """The archive's type -> file, of each CSC set below a folder."""
    found = []
    for place in sorted({path.parent for path in folder.rglob("acisf*_pha3.fits*")}):
        paths = {name: next(place.glob(f"*_{suffix}.fits*"), None) for name, suffix in PRODUCTS.items()}
        found.append({name: path for name, path in paths.items() if path is not None})
    if not found:
        sys.exit(f"no CSC sets below {folder}")
    return found


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".cache" not in str(path.relative_to(folder))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with spectra (CSC sets) and literature")
    parser.add_argument("--num_detections", type=int, default=2000)
    parser.add_argument("--fault_rate", type=float, default=0.05)
    parser.add_argument("--kill_every", type=float, default=60.0, help="s")
    parser.add_argument("--kill_requests", type=int, default=10**9, help="or after so many requests, if that is sooner")
    parser.add_argument("--num_processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one_by_one", action="store_true", help="the faulty archive has no tars: many more requests")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        ArchiveServer(seed=options.seed) as archive,
        LiteratureServer(seed=options.seed) as literature,
    ):
        services, log = Services(archive, literature), Path(folder, "log")
        services.fill(options.data, options.num_detections)
        places, seconds = {name: Path(folder, name) for name in ("clean", "faulty")}, {}
        for name, place in places.items():
            place.mkdir()
            is_faulty = name == "faulty"
            if is_faulty:
                services.starts.clear()
                services.go_wrong(options.fault_rate, options.one_by_one)
            for stage, command in services.commands(
                place, options.num_processes if is_faulty else 1, is_faulty
            ).items():
                begin = time.perf_counter()
                requests = (
                    min(options.kill_requests, FEWEST_REQUESTS) if stage == "literature" else options.kill_requests
                )
                limits = (
                    (options.kill_every, requests, 50 + options.num_detections // 10)
                    if is_faulty
                    else (7200.0, 10**9, 1)
                )
                services.run(stage, command, log, *limits)
                seconds[f"{name} {stage}"] = round(time.perf_counter() - begin, 1)
            print(f"{name}: seconds {seconds}, requests {services.requests()}", flush=True)
        clean, faulty = (digests(place) for place in places.values())
        different = [name for name in sorted(clean | faulty) if clean.get(name) != faulty.get(name)]
        everything = b"".join(path.read_bytes() for path in Path(folder).rglob("*") if path.is_file())
        result = {
            "num_detections": options.num_detections,
            "rows": sum(json.loads((places["faulty"] / "dataset/manifest.json").read_text())["num_rows"].values()),
            "fault_rate": options.fault_rate,
            "requests": services.requests(),
            "faults": services.faults(),
            "starts": dict(services.starts),
            "kills": dict(services.kills),
            "seconds": seconds,
            "files": len(faulty),
            "different": different,
            "tokens_told": [name for name, token in TOKENS.items() if token.encode() in everything],
        }
        print(json.dumps(result, indent=2))
        if different or result["tokens_told"]:
            sys.exit("not the same, or a token was told")


if __name__ == "__main__":
    main()
