#!/usr/bin/env python
"""The archive client under faults: mock detections through loopback servers, a share of all requests going wrong, the
program killed (kill -9) again and again; is the dataset the one that it is when nothing goes wrong, byte by byte?

    python benchmarks/archive_faults.py ../shared/data/spectra --num_detections 2000 --kill_every 60

The files are real CSC sets (pha3, arf3, rmf3) under other names. What is measured is the client and the packaging, not
a network: loopback has none. Not among those of run_all.py, which have no real files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))

from archive_server import ArchiveServer  # noqa: E402

PRODUCTS = {"spectrum": "pha3", "arf": "arf3", "rmf": "rmf3"}


def real_sets(folder: Path) -> list[dict[str, Path]]:
    """The archive's type -> file, of each CSC set below a folder."""
    found = []
    for place in sorted({path.parent for path in folder.rglob("acisf*_pha3.fits*")}):
        paths = {name: next(place.glob(f"*_{suffix}.fits*"), None) for name, suffix in PRODUCTS.items()}
        found.append({name: path for name, path in paths.items() if path is not None})
    if not found:
        sys.exit(f"no CSC sets below {folder}")
    return found


def fill(server: ArchiveServer, sets: list[dict[str, Path]], num_detections: int) -> None:
    """Mocks of two observations a source, each with the files of one real set."""
    for number in range(num_detections):
        source = number // 2
        row = {
            "name": f"2CXO J{source:06d}.0+000000",
            "ra": (source * 7.3) % 360.0,
            "dec": (source * 3.1) % 180.0 - 90.0,
        }
        row |= {"obsid": 1 + number, "obi": 0, "region_id": 1 + number % 300}
        server.add(row, sets[number % len(sets)])


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run(command: list[str], log: Path, is_time: Callable[[float], bool] = lambda seconds: False) -> int | None:
    """The program's status; None: it was killed, since it was time."""
    with log.open("ab") as stream:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY / "src")}
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=stream, stderr=stream)
        begin = time.perf_counter()
        while process.poll() is None:
            if is_time(time.perf_counter() - begin):
                process.send_signal(signal.SIGKILL)
                process.wait()
                return None
            time.sleep(0.02)
        return process.returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spectra", type=Path, help="folder with CSC sets")
    parser.add_argument("--num_detections", type=int, default=2000)
    parser.add_argument("--fault_rate", type=float, default=0.05)
    parser.add_argument("--kill_every", type=float, default=60.0, help="s")
    parser.add_argument("--kill_requests", type=int, default=10**9, help="or after so many requests, if that is sooner")
    parser.add_argument("--num_processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one_by_one", action="store_true", help="the faulty server has no tars: many more requests")
    options = parser.parse_args()
    sets = real_sets(options.spectra)
    with tempfile.TemporaryDirectory() as folder, ArchiveServer(seed=options.seed, stall=4.0) as server:
        fill(server, sets, options.num_detections)
        query = Path(folder, "query.adql")
        query.write_text((REPOSITORY / "src/chandraclip/acquire/queries/multimodal_universe.adql").read_text())
        log = Path(folder, "log")

        def command(output: Path, num_processes: int) -> list[str]:
            words = ["csc", "--adql", query, "--products", ",".join(PRODUCTS), "--base_url", server.url]
            words += ["--requests_per_second", 1000, "--read_timeout", 2, "--num_processes", num_processes, output]
            return [sys.executable, "scripts/build_dataset.py", *map(str, words)]

        begin = time.perf_counter()
        clean = Path(folder, "clean")
        if run(command(clean, 1), log):
            sys.exit(log.read_text())
        clean_seconds, clean_requests = time.perf_counter() - begin, Counter(name for name, _ in server.requests)
        print(f"fault-free, 1 process: {clean_seconds:.0f} s, requests {dict(clean_requests)}", flush=True)

        server.requests.clear()
        server.fault_rate = options.fault_rate
        if options.one_by_one:
            server.rewrite["retrieve"] = lambda good: b"Error: no packages today\n"
        kills, starts, begin = 0, 0, time.perf_counter()
        faulty = Path(folder, "faulty")
        while True:
            starts += 1
            until = len(server.requests) + options.kill_requests
            status = run(
                command(faulty, options.num_processes),
                log,
                lambda seconds: seconds > options.kill_every or len(server.requests) >= until,  # noqa: B023
            )
            kills += status is None
            if status == 0:
                break
            if starts > 50 + options.num_detections / 10:
                sys.exit(f"does not end; the log:\n{log.read_text()[-5000:]}")
        seconds = time.perf_counter() - begin
        same = digests(clean) == digests(faulty)
        manifest = json.loads((faulty / "manifest.json").read_text())
        result = {
            "num_detections": options.num_detections,
            "rows": sum(manifest["num_rows"].values()),
            "fault_rate": options.fault_rate,
            "requests": dict(Counter(name for name, _ in server.requests)),
            "faults": dict(Counter(fault for _, fault in server.faults)),
            "starts": starts,
            "kills": kills,
            "seconds": round(seconds, 1),
            "seconds_fault_free": round(clean_seconds, 1),
            "identical": same,
            "files": len(digests(faulty)),
        }
        print(json.dumps(result, indent=2))
        left = [name for name in digests(faulty) if re.match(r"\.(archive|building|lock)", name)]
        if left or not same:
            ours, theirs = digests(clean), digests(faulty)
            sys.exit(f"not the same: {left or [name for name in ours | theirs if ours.get(name) != theirs.get(name)]}")


if __name__ == "__main__":
    main()
