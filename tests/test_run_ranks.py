"""scripts/run_ranks.py: ranks by every executor of datatrove, killed ones too, give what one process gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("datatrove", reason="no datatrove, which the extra scale installs")

# Builds a dataset of small chunks; a rank that the environment names is killed in its second one.
BUILD = """
import argparse, os, signal
from functools import partial
from chandraclip.ranks import add_rank_options, share_of
import numpy as np
import pyarrow as pa
from chandraclip.data import shards
from chandraclip.data.packaging import build_dataset
from chandraclip.data.schema import TABLE_SCHEMA
from chandraclip.data.shards import Chunk

def make_chunk(index):
    rng = np.random.default_rng(index)
    keys = {"obi": 0, "region_id": index, "split": "train", "source_class": None}
    rows = [{**keys, "name": f"source {index} {row}", "obsid": row, "healpix": int(rng.integers(3000)),
             "event_time": rng.uniform(0, 9, 50).tolist()} for row in range(20)]
    return Chunk(pa.Table.from_pylist(rows, TABLE_SCHEMA))

parser = argparse.ArgumentParser()
parser.add_argument("output")
add_rank_options(parser)
options = parser.parse_args()
share = share_of(parser, options)
write, calls = shards.write_json, []

def write_or_die(*arguments):
    calls.append(0)
    if len(calls) == 2 and os.environ.get("KILLED_RANK") == str(share.rank):
        os.kill(os.getpid(), signal.SIGKILL)
    write(*arguments)

shards.write_json = write_or_die
tasks = [partial(make_chunk, index) for index in range(5)]
build_dataset(options.output, {"source": "files", "input": "x"}, tasks, "mit", progress=False, share=share)
print("ended well")
"""
# Leaves its rank in a file, and joins the files: no import that takes time.
JOIN = """
import pathlib, sys
folder, *options = sys.argv[1:]
folder = pathlib.Path(folder)
if options == ["--merge"]:
    (folder / "all").write_text(" ".join(sorted(path.read_text() for path in folder.glob("rank-*"))))
    print("joined")
else:
    assert options[0] == "--rank" and options[2] == "--num_ranks"
    if (folder / "refuses").exists() and options[1] == "1":
        sys.exit("error: this rank has no photons")
    (folder / f"rank-{options[1]}").write_text(f"{options[1]}/{options[3]}")
"""
SBATCH = """#!/bin/bash
# What sbatch is given is kept; the array of jobs is run at once.
echo "$@" >> "{folder}/sbatch.log"
script="${{@: -1}}"
number=$(ls "{folder}" | grep -c '^script')
cp "$script" "{folder}/script-$number"
if grep -q launch_pickled_pipeline "$script"; then
    last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
    for task in $(seq 0 "$last"); do
        SLURM_ARRAY_TASK_ID=$task SLURM_NODELIST=here RUN_OFFSET=0 bash "$script" >> "{folder}/jobs.log" 2>&1
    done
fi
echo "Submitted batch job $((100 + number))"
"""


@pytest.fixture
def run_ranks(repository: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*options: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(repository / "scripts" / "run_ranks.py"), *map(str, options)],
            env={**os.environ, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_rank_that_is_killed_and_run_again_leaves_no_trace(run_ranks, tmp_path):
    script = tmp_path / "build.py"
    script.write_text(BUILD)
    subprocess.run([sys.executable, script, tmp_path / "whole"], check=True)
    command = ("--num_ranks", 2, "--workers", 2, "--logging_dir", "logs", script, "out")
    died = run_ranks(*command, KILLED_RANK="1")
    assert died.returncode == 1
    last = died.stderr.splitlines()[-1]
    assert "1 of 2 ranks failed; rank 1: was killed by SIGKILL" in last
    assert not (tmp_path / "out" / "data").exists()
    records = tmp_path / "out" / ".building" / "chunks"
    assert sorted(path.stem for path in records.glob("*.json")) == ["000000", "000001", "000002", "000004"]
    done = run_ranks(*command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("ended well\n")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_one_rank_that_fails_is_told_and_nothing_is_merged(run_ranks, tmp_path):
    script = tmp_path / "join.py"
    script.write_text(JOIN)
    (tmp_path / "refuses").touch()
    command = ("--num_ranks", 3, "--workers", 1, "--logging_dir", "logs", script, ".")
    failed = run_ranks(*command)
    assert failed.returncode == 1
    assert "1 of 3 ranks failed; rank 1: this rank has no photons (logs/ranks/output/00001.err)" in failed.stderr
    assert not (tmp_path / "all").exists()
    (tmp_path / "refuses").unlink()
    assert run_ranks(*command).returncode == 0
    assert (tmp_path / "all").read_text() == "0/3 1/3 2/3"


def test_slurm_gets_an_array_of_ranks_and_a_merge_that_waits_for_it(run_ranks, tmp_path):
    """The programs of Slurm are stand-ins, which run at once what they are given."""
    script, programs = tmp_path / "join.py", tmp_path / "programs"
    script.write_text(JOIN)
    programs.mkdir()
    launch = f'"{sys.executable}" -m datatrove.tools.launch_pickled_pipeline "${{@: -1}}"'
    for name, text in {
        "sbatch": SBATCH.format(folder=programs),
        "srun": f"#!/bin/bash\n{launch}\n",
        "scontrol": "#!/bin/bash\necho here\n",
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    options = ("--num_ranks", 2, "--workers", 1, "--executor", "slurm", "--partition", "cpu", "--time", "02:00:00")
    more = ("--cpus_per_rank", 3, "--memory_gb", 6, "--sbatch", "account=xray", "--logging_dir", "logs")
    done = run_ranks(*options, *more, script, ".", PATH=path)
    assert done.returncode == 0, done.stderr
    assert "2 ranks are job 100, the merge, after them, job 102" in done.stdout
    assert (tmp_path / "all").read_text() == "0/2 1/2", (programs / "jobs.log").read_text()
    text = (tmp_path / "logs" / "ranks" / "launch_script.slurm").read_text()
    for line in (
        "--array=0-1%1",
        "--partition=cpu",
        "--time=02:00:00",
        "--cpus-per-task=3",
        "--mem-per-cpu=6G",
        "--account=xray",
        "--job-name=join_rank",
    ):
        assert f"#SBATCH {line}\n" in text
    assert f"srun  -l -n 1 launch_pickled_pipeline {tmp_path}/logs/ranks/executor.pik" in text
    submitted = (programs / "sbatch.log").read_text().splitlines()
    assert "--dependency=afterok:100" in submitted[2]  # 1 joins datatrove's statistics of the ranks

    refused = run_ranks(*options, *more, script, ".", PATH=str(tmp_path))
    assert refused.stderr.splitlines()[-1].startswith("error: sbatch: is not on the PATH")


def test_ray(run_ranks, tmp_path):
    pytest.importorskip("ray", reason="no ray")
    script = tmp_path / "join.py"
    script.write_text(JOIN)
    done = run_ranks("--num_ranks", 2, "--executor", "ray", "--memory_gb", 1, "--logging_dir", "logs", script, ".")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("joined\n")
    assert (tmp_path / "all").read_text() == "0/2 1/2"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num_ranks", "2", "x.py", "--rank", "1"], "--rank: given to each rank by this program"),
        (["--num_ranks", "0", "x.py"], "--num_ranks must be at least 1"),
        (["--num_ranks", "2", "x.py", "--base_url", "https://me:secret@archive.org"], "a user or password in a URL"),
        (["--num_ranks", "2", "--executor", "slurm", "x.py"], "needs --partition"),
    ],
)
def test_options_that_do_not_go(run_ranks, tmp_path, options, message):
    refused = run_ranks(*options)
    assert refused.returncode == 2
    assert message in refused.stderr
    assert "secret" not in refused.stderr
    assert not (tmp_path / "outputs").exists()


def test_what_datatrove_writes_is_of_the_job(run_ranks, tmp_path):
    """Its description of the job is readable, so that one can see later what was run."""
    script = tmp_path / "join.py"
    script.write_text(JOIN)
    assert run_ranks("--num_ranks", 1, script, ".").returncode == 0
    (logs,) = (tmp_path / "outputs" / "ranks").iterdir()
    described = json.loads((logs / "ranks" / "executor.json").read_text())
    assert described["world_size"] == 1
    assert str(script) in json.dumps(described["pipeline"])
