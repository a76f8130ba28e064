"""Programs that start warm run as those that start cold."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import warm_python

TELL = """
import json, os, random, sys
import numpy
print(json.dumps({
    "argv": sys.argv, "path": sys.path[0], "cwd": os.getcwd(), "name": __name__, "file": globals().get("__file__"),
    "told": os.environ.get("TOLD"), "home": os.environ.get("HOME"), "stdin": sys.stdin.read(),
    "ours": [name for name in sys.modules if name.split(".")[0] in ("chandraclip", "huggingface_hub", "transformers")],
    "files": sorted(os.listdir("/proc/self/fd"))[:3], "main": sys.modules["__main__"].__dict__ is globals(),
}))
print("warned", file=sys.stderr)
"""


def both(command, **options):
    cold = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, **options)
    return warm_python.run(command, **options), cold


@pytest.mark.parametrize("how", ["-c", "script", "-m"])
def test_a_program_finds_what_it_would_find_started_cold(tmp_path, how):
    (tmp_path / "tell.py").write_text(TELL)
    words = {"-c": ["-c", TELL], "script": [str(tmp_path / "tell.py")], "-m": ["-m", "tell"]}[how]
    environment = {name: value for name, value in os.environ.items() if name != "HOME"} | {"TOLD": "this"}
    warm, cold = both([sys.executable, *words, "--option", "a b"], env=environment, cwd=tmp_path)
    assert cold.returncode == 0, cold.stderr
    assert (warm.returncode, warm.stdout, warm.stderr) == (cold.returncode, cold.stdout, cold.stderr)


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.exit(3)",
        "raise SystemExit('no')",
        "import os; os._exit(7)",
        "import os; os.kill(os.getpid(), 9)",
    ],
)
def test_the_status_is_the_programs(code):
    warm, cold = both([sys.executable, "-c", code])
    assert (warm.returncode, warm.stderr) == (cold.returncode, cold.stderr)


def test_an_error_ends_in_its_traceback():
    warm, cold = both([sys.executable, "-c", "import atexit; atexit.register(print, 'last'); 1 / 0"])
    assert (warm.returncode, warm.stdout) == (cold.returncode, cold.stdout) == (1, "last\n")
    assert warm.stderr.splitlines()[-1] == cold.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_draws_differ_from_program_to_program():
    code = "import random, tempfile, uuid; print(random.random(), tempfile.mktemp(), uuid.uuid4())"
    one, two = (warm_python.run([sys.executable, "-c", code]).stdout.split() for _ in range(2))
    assert not set(one) & set(two)


def test_a_program_that_does_not_end_is_killed():
    with pytest.raises(subprocess.TimeoutExpired):
        warm_python.run([sys.executable, "-c", "import time; time.sleep(600)"], timeout=0.5)


def test_the_ranks_of_a_run_find_each_other():
    code = "import torch, torch.distributed as d; d.init_process_group('gloo'); t = torch.ones(1) * (1 + d.get_rank())"
    code += "; d.all_reduce(t); print(d.get_world_size(), t.item()); d.destroy_process_group()"
    assert [done.stdout for done in warm_python.run_ranks([sys.executable, "-c", code], 2)] == ["2 3.0\n"] * 2


def test_another_thread_count_starts_cold():
    """The program's own number, not that of the packages that were loaded before it."""
    code = "import torch; print(torch.get_num_threads())"
    done = warm_python.run([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "2"})
    assert done.stdout == "2\n"
