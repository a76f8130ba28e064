"""The programs when something goes wrong: Ctrl-C, a full disk, a folder in use; and what they say comes next."""

from __future__ import annotations

import importlib.util
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SMALL_CHUNKS = """
import sys
from chandraclip.simulate import dataset
dataset.SIMULATED_ROWS_PER_CHUNK = 40
sys.argv.pop(0)
import runpy
if __name__ == "__main__":
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def build(repository, tmp_path):
    """The command that simulates 400 detections in chunks of 40 into a folder."""
    wrapper = tmp_path / "small_chunks.py"
    wrapper.write_text(SMALL_CHUNKS)
    script = str(repository / "scripts" / "build_dataset.py")
    command = [sys.executable, str(wrapper), script, "simulate", "--num_detections", "400"]
    return lambda output, *options: [*command, *options, str(output)]


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def chunks_of(output: Path) -> int:
    return len(list((output / ".building" / "chunks").glob("*.json")))


def start_until(command, reached, **options) -> subprocess.Popen:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    end = time.monotonic() + 100
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    return process


@pytest.mark.parametrize(
    ("num_processes", "number", "status"), [(1, signal.SIGTERM, 1), (2, signal.SIGINT, 130)], ids=["one", "two"]
)
def test_an_interrupted_build_says_where_it_goes_on_and_does(build, tmp_path, number, status, num_processes):
    output = tmp_path / "out"
    command = build(output, "--num_processes", str(num_processes))
    process = start_until(command, lambda: chunks_of(output) >= 2, start_new_session=True)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == status
    assert "Traceback" not in said
    last = said.splitlines()[-1]
    found = re.fullmatch(rf"stopped by .*; run the same command again: {output} goes on from chunk (\d+) of 10", last)
    assert found, last
    assert int(found[1]) == chunks_of(output) + 1
    assert not list(output.rglob("*.tmp"))
    assert not (output / ".lock").exists()
    done = run(command)
    assert done.returncode == 0
    assert f"simulate:  {chunks_of(output) or int(found[1]) - 1}0%" in done.stderr
    assert run(build(tmp_path / "whole")).returncode == 0
    assert (output / "manifest.json").read_text() == (tmp_path / "whole" / "manifest.json").read_text()


def test_two_builds_into_one_folder_are_refused(build, tmp_path):
    output = tmp_path / "out"
    first = start_until(build(output), lambda: chunks_of(output) >= 1)
    first.send_signal(signal.SIGSTOP)  # else it may be done before the second has started
    second = run(build(output))
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 1
    assert re.fullmatch(rf"error: {output}: is being written by process {first.pid} on .* since .*\n", second.stderr)
    assert first.wait(timeout=60) == 0
    first.communicate()
    assert {path.name for path in output.iterdir()} == {"README.md", "manifest.json", "data", "responses"}
    assert "already built" in run(build(output)).stdout


def full_disk(folder: Path, size: str) -> list[str]:
    """The front of a command: it gets a small file system of its own on `folder`. Skips where that may not be."""
    if subprocess.run(["unshare", "-Urm", "true"], capture_output=True).returncode:
        pytest.skip("no namespaces of one's own here, so no small file system")
    return [
        "unshare",
        "-Urm",
        "sh",
        "-c",
        f'mount -t tmpfs -o {size} tmpfs {shlex.quote(str(folder))} && exec "$@"',
        "sh",
    ]


@pytest.mark.parametrize("num_processes", ["1", "2"])
def test_a_full_disk_is_one_line(build, tmp_path, num_processes):
    (tmp_path / "small").mkdir()
    front = full_disk(tmp_path / "small", "size=200k")
    done = run([*front, *build(tmp_path / "small" / "out", "--num_processes", num_processes)])
    assert done.returncode == 1
    expected = (
        r"error: .*the disk is full; make room, then run the same command again: .*/out goes on from chunk \d+ of 10"
    )
    assert re.fullmatch(expected, done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr


def test_a_read_only_disk_is_one_line_and_a_finished_dataset_on_it_is_used(build, tmp_path):
    (tmp_path / "disk").mkdir()
    output = tmp_path / "disk" / "out"
    assert run(build(output)).returncode == 0
    front = full_disk(tmp_path, "size=1k")[:4]
    folder = shlex.quote(str(tmp_path / "disk"))
    front.append(f'mount --bind {folder} {folder} && mount -o remount,bind,ro {folder} && exec "$@"')
    done = run([*front, "sh", *build(output)])
    assert (done.returncode, done.stderr) == (0, "")
    assert "already built" in done.stdout
    done = run([*front, "sh", *build(output, "--seed", "1")])
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert re.fullmatch("error: .*the file system is read-only; choose another output folder\n", done.stderr)


def test_a_limit_on_files_and_a_file_in_the_way_are_one_line(build, tmp_path):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = run(build(tmp_path / "out"), preexec_fn=limit)
    assert done.returncode == 1
    assert re.match("error: .*a file grew larger than is allowed", done.stderr.splitlines()[-1])
    assert not list((tmp_path / "out").rglob("*.tmp"))
    (tmp_path / "file").write_text("not a folder")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        done = run(build(output))
        assert (done.returncode, done.stderr) == (
            1,
            f"error: {output}: a file stands where a folder is needed; choose another folder\n",
        )


def parse_hints(repository: Path, stdout: str, cwd: Path) -> list[str]:
    """The scripts of the commands after "now try:"; each exists, and its parser takes the arguments."""
    lines = stdout[stdout.index("now try:\n") :].splitlines()[1:]
    assert lines
    scripts = []
    for line in lines:
        python, script, *arguments = shlex.split(line)
        assert subprocess.run([python, "--version"], cwd=cwd, capture_output=True).returncode == 0
        path = (cwd / script).resolve()
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(repository / "training"))
            patch.setitem(sys.modules, path.stem, module)
            spec.loader.exec_module(module)
            if path.parent.name == "training":
                from chandraclip.training.arguments import parse_arguments

                parse_arguments(module.AlignArguments, module.DEFAULT_CONFIG, arguments)
            else:
                module.parse_arguments(arguments)
        scripts.append(f"{path.parent.name}/{path.name}")
    return scripts


def test_a_build_ends_with_what_can_be_done_next(build, repository, tmp_path):
    done = run(build(tmp_path / "my data" / "out"), cwd=tmp_path)
    assert parse_hints(repository, done.stdout, tmp_path) == ["training/align.py"]
    assert f"'{tmp_path}/my data/out'" in done.stdout
    (tmp_path / "outputs" / "align").mkdir(parents=True)
    (tmp_path / "outputs" / "align" / "config.json").write_text("{}")
    done = run(build(tmp_path / "my data" / "out"), cwd=tmp_path)
    assert parse_hints(repository, done.stdout, tmp_path) == ["training/align.py", "scripts/embed.py"]
