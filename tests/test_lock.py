"""The lock of an output folder: who holds it, how it ends, and that two never hold it."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from chandraclip import lock
from chandraclip.errors import InputFileError
from chandraclip.lock import LOCK_FILE, locked

HOLD = """
import sys, time
from pathlib import Path
from chandraclip.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
# Each makes a file that must not be there yet, while it holds the lock.
RACE = """
import os, sys, time
from pathlib import Path
from chandraclip.errors import InputFileError
from chandraclip.lock import locked
folder, done = Path(sys.argv[1]), 0
end = time.monotonic() + 30
while done < 100 and time.monotonic() < end:
    try:
        with locked(folder):
            os.close(os.open(folder / "critical", os.O_CREAT | os.O_EXCL))
            os.unlink(folder / "critical")
            done += 1
    except InputFileError:
        time.sleep(0.0005)
print(done)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of `tmp_path`/out."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "out")], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_and_told_by_whom(tmp_path, holder):
    expected = (
        rf"out: is being written by process {holder.pid} on {re.escape(socket.gethostname())} since 20\d\d-.*; wait"
    )
    with pytest.raises(InputFileError, match=expected), locked(tmp_path / "out"):
        pass


def test_a_killed_process_leaves_no_lock(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "out" / LOCK_FILE).exists()
    with locked(tmp_path / "out"):
        assert f'"pid": {os.getpid()}' in (tmp_path / "out" / LOCK_FILE).read_text()
    assert not list((tmp_path / "out").iterdir())


def test_a_process_may_hold_it_twice(tmp_path):
    with locked(tmp_path):
        with locked(tmp_path):
            pass
        assert (tmp_path / LOCK_FILE).exists()
    assert not (tmp_path / LOCK_FILE).exists()
    lock.acquire(tmp_path)
    lock.acquire(tmp_path)
    lock.release_all()
    assert not (tmp_path / LOCK_FILE).exists()
    lock.release(tmp_path)


def test_removing_the_file_lets_no_two_in(tmp_path):
    command = [sys.executable, "-c", RACE, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert not err
        assert int(out) > 0


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
@pytest.mark.filterwarnings("ignore:flock not supported")
def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog, number):
    def no_locks(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with locked(tmp_path):
        pass
    assert "no locks" in caplog.text
    assert not list(tmp_path.iterdir())
