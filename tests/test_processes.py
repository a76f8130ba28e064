"""Worker processes end with the program, silently."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from chandraclip.processes import task_runner

SCRIPT = """
import os, sys, time
from functools import partial
from chandraclip.processes import task_runner
from chandraclip.program import run_program

def work(seconds):
    print(os.getpid(), flush=True)
    time.sleep(seconds)

def main():
    with task_runner(2) as run:
        list(run([partial(work, 60)] * 2))

if __name__ == "__main__":
    run_program(main)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.parametrize(
    ("number", "to_group", "status"),
    [(signal.SIGINT, True, 130), (signal.SIGTERM, False, 1), (signal.SIGTERM, True, 1), (signal.SIGKILL, False, -9)],
)
def test_workers_end_with_the_program(tmp_path, number, to_group, status):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with open(tmp_path / "out", "w+b") as out, open(tmp_path / "err", "w+b") as err:
        process = subprocess.Popen([sys.executable, str(script)], stdout=out, stderr=err, start_new_session=True)
        end = time.monotonic() + 60
        while (tmp_path / "out").read_text().count("\n") < 2 and time.monotonic() < end:
            time.sleep(0.05)
        workers = [int(line) for line in (tmp_path / "out").read_text().split()]
        assert len(workers) == 2
        if to_group:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        assert process.wait(timeout=20) == status
    end = time.monotonic() + 10
    while any(alive(pid) for pid in workers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in workers)
    said = (tmp_path / "err").read_text()
    assert "Traceback" not in said
    if number != signal.SIGKILL:
        assert said.startswith("stopped by ")
        assert said.count("\n") == 1


def test_one_process_needs_no_worker():
    found = []
    with task_runner(1, found.append, ("started",)) as run:
        assert list(run([lambda: 1, lambda: 2])) == [1, 2]
    assert found == ["started"]


def test_the_environment_is_as_it_was(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    with task_runner(2) as run:
        assert sorted(run([os.getpid, os.getpid])) != [os.getpid()] * 2
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "TOKENIZERS_PARALLELISM" not in os.environ
