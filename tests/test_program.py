"""How programs end: one line, the right status, and what comes next."""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from chandraclip.errors import InputFileError
from chandraclip.program import explain, goes_on_from

PROGRAM = """
import os, signal, sys
from pathlib import Path
from chandraclip.errors import InputFileError
from chandraclip.program import goes_on_from, now_try, run_program

def main():
    {body}

run_program(main)
"""


@pytest.fixture
def run(tmp_path):
    """Run a program with this `main`: its status, stdout and stderr."""

    def start(body: str, **environment: str) -> tuple[int, str, str]:
        script = tmp_path / "repository" / "scripts" / "program.py"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(PROGRAM.format(body=body))
        variables = {**os.environ, **environment}
        done = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, env=variables, cwd=tmp_path
        )
        return done.returncode, done.stdout, done.stderr

    return start


@pytest.mark.parametrize(("number", "status", "name"), [("SIGINT", 130, "Ctrl-C"), ("SIGTERM", 1, "SIGTERM")])
def test_a_signal_is_one_line_that_says_how_to_go_on(run, number, status, name):
    stop = f"os.kill(os.getpid(), signal.{number})"
    generic = "run the same command again: what was finished is kept, and nothing is half written"
    assert run(stop) == (status, "", f"stopped by {name}; {generic}\n")
    inside = f"with goes_on_from(Path('outputs/align'), lambda: 'step 40'): {stop}"
    expected = f"stopped by {name}; run the same command again: outputs/align goes on from step 40\n"
    assert run(inside) == (status, "", expected)
    found, _, said = run(stop, CHANDRACLIP_DEBUG="1")
    assert found == status
    assert "Traceback" in said


def test_errors_of_the_user_are_one_line_and_faults_a_traceback(run):
    bad = 'raise InputFileError("a.fits", "has no rows", 1)'
    assert run(bad) == (1, "", "error: a.fits[1]: has no rows\n")
    assert "Traceback" in run(bad, CHANDRACLIP_DEBUG="1")[2]
    assert run('raise ValueError("no such thing")')[2] == "error: no such thing (CHANDRACLIP_DEBUG=1 shows where)\n"
    status, _, said = run("{}['absent']")
    assert status == 1
    assert "Traceback" in said
    assert run("return 3")[0] == 3


def test_of_several_processes_only_one_speaks(run):
    stop = "os.kill(os.getpid(), signal.SIGINT)"
    assert run(stop, RANK="1") == (130, "", "")
    assert run(stop, RANK="0")[2].startswith("stopped")
    lost = 'raise RuntimeError("[pair.cc:537] Connection closed by peer [127.0.0.1]:3")'
    assert run(lost, RANK="1") == (1, "", "")
    assert "Traceback" in run(lost)[2]
    other = "from chandraclip.program import OtherProcessError; raise OtherProcessError()"
    assert run(other, RANK="1") == (1, "", "")


def test_what_comes_next_is_printed_only_when_all_went_well(run, tmp_path):
    hint = 'now_try(["eval/retrieval.py", Path("my embeddings")])'
    status, said, _ = run(hint)
    first, command = said.splitlines()
    assert (status, first) == (0, "now try:")
    python, *arguments = shlex.split(command)
    assert arguments == ["repository/eval/retrieval.py", "my embeddings"]
    who = [python, "-c", "import sys; print(sys.executable)"]
    assert subprocess.run(who, capture_output=True, text=True, cwd=tmp_path).stdout.strip() == sys.executable
    assert run(f"{hint}; return 1")[1] == ""
    assert run(hint, RANK="1")[1] == ""


def test_a_full_disk_is_named_wherever_it_hides():
    full = OSError(errno.ENOSPC, "No space left on device", "outputs/a/.model.safetensors.123.tmp")
    said = "outputs/a/model.safetensors: the disk is full; make room, then run the same command again"
    assert explain(full).startswith(said)
    wrapped = InputFileError("dataset", "does not load")
    wrapped.__cause__ = full
    assert explain(wrapped).startswith(said)
    rust = RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(RuntimeError) as raised, goes_on_from(Path("out"), lambda: "step 2"):
        raise rust
    assert explain(raised.value).endswith("run the same command again: out goes on from step 2")
    assert "read-only" in explain(OSError(errno.EROFS, "Read-only file system", "x"))
    assert explain(PermissionError(errno.EACCES, "Permission denied", "x/y")).startswith(
        "x/y: permission denied; change"
    )
    assert explain(NotADirectoryError(errno.ENOTDIR, "Not a directory", "x/y")).startswith("x/y: a file stands where")
    assert "fewer processes" in explain(BrokenProcessPool("gone"))
    assert explain(KeyError("x")) is None
    assert explain(FileNotFoundError(errno.ENOENT, "No such file or directory", "z")) == "z: No such file or directory"


def test_a_safetensors_file_on_a_full_disk_says_so(tmp_path):
    """Its error holds the number only in words, which `explain` reads: those of the version at hand."""
    code = (
        "import resource, signal, sys, torch\nfrom safetensors.torch import save_file\n"
        "from chandraclip.program import run_program\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "run_program(lambda: save_file({'x': torch.zeros(10000)}, sys.argv[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x")], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: a file grew larger than is allowed here; ")
    assert done.stderr.count("\n") == 1


def test_the_signal_twice_at_once_is_one(run):
    """As `timeout` and launchers send it: to the process and to its group."""
    body = "try: os.kill(os.getpid(), signal.SIGINT)\n    finally: os.kill(os.getpid(), signal.SIGINT)"
    assert run(body)[0] == 130
    assert "stopped by Ctrl-C" in run(body)[2]
