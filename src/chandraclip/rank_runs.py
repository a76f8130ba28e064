"""Ranks of a program (`ranks`) run by an executor of datatrove: on this machine, by Slurm, or by Ray.

    LOGS/ranks/output/00003.txt   what rank 3 printed; 00003.err: on stderr, run after run
    LOGS/ranks/failed/00003       the last line of that, where its last run failed
    LOGS/ranks/, LOGS/merge/      what datatrove writes: logs, the pickled executor, Slurm's script

What is done and what is missing is read from the program's own output folder, not from datatrove's marks: every rank is
started again, and one that has nothing to do ends at once.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chandraclip.errors import InputFileError
from chandraclip.files import write_text

EXECUTORS = ("local", "slurm", "ray")
_PR_SET_PDEATHSIG = 1  # of Linux's prctl


class RankError(RuntimeError):
    """A rank of a program has failed; its output says why."""


@dataclass(frozen=True)
class RunRank:
    """A step of a pipeline of datatrove: runs a program with the options of the rank.

    Attributes:
        command: the program and its options.
        logs: see the module.
        merge: run it with `--merge` instead.
        raises: fail where the program does; else the failure is only on record.
        folder: to run it in.
    """

    command: tuple[str, ...]
    logs: Path
    merge: bool = False
    raises: bool = True
    folder: str = field(default_factory=os.getcwd)

    def __call__(self, data: Any, rank: int = 0, world_size: int = 1) -> None:
        options = ["--merge"] if self.merge else ["--rank", str(rank), "--num_ranks", str(world_size)]
        output, failed = self.logs / "output" / f"{rank:05d}.txt", self.logs / "failed" / f"{rank:05d}"
        errors = output.with_suffix(".err")
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("wb") as stream, errors.open("ab") as error_stream:
            done = subprocess.run(
                [sys.executable, *self.command, *options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=error_stream,
                preexec_fn=_end_with_parent,
                check=False,
            )
        if not done.returncode:
            failed.unlink(missing_ok=True)
            return
        ended = f"was killed by {signal.Signals(-done.returncode).name}" if done.returncode < 0 else ""
        lines = errors.read_text(errors="replace").splitlines() or [""]
        reason = ended or lines[-1].removeprefix("error: ") or f"ended with status {done.returncode}"
        write_text(failed, reason + "\n")
        if self.raises:
            raise RankError(f"{'the merge' if self.merge else f'rank {rank} of {world_size}'}: {reason}; see {errors}")


def _end_with_parent() -> None:
    """Between fork and exec: a rank whose executor was killed is told to end, and does not hold its lock for ever."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def failures(logs: Path) -> dict[int, str]:
    """Rank -> why its last run failed."""
    return {int(path.name): path.read_text().strip() for path in sorted((logs / "failed").glob("[0-9]*"))}


def run_here(
    command: Sequence[str], num_ranks: int, workers: int, logs: Path, executor: str = "local", **options: Any
) -> None:
    """Run all ranks to their ends, and then the merge.

    Args:
        command: the program and its options, without those of ranks.
        num_ranks: processes in all.
        workers: at a time.
        logs: folder for what they say.
        executor: ``"local"`` or ``"ray"``.
        options: of datatrove's executor.

    Raises:
        InputFileError: ranks have failed, or the merge has; the first of them is told.
    """
    for part, merge in (("ranks", False), ("merge", True)):
        folder = logs / part
        for marks in ("completions", "failed"):  # of an earlier run
            shutil.rmtree(folder / marks, ignore_errors=True)
        tasks = 1 if merge else num_ranks
        step = RunRank(tuple(command), folder.resolve(), merge, raises=False)
        runner = _executor(executor)(
            [step],
            tasks=tasks,
            workers=min(workers, tasks),
            logging_dir=str(folder.resolve()),
            skip_completed=False,
            **options,
        )
        runner.run()
        failed = failures(folder)
        failed |= dict.fromkeys(runner.get_incomplete_ranks(skip_completed=True), "its worker died") | failed
        if failed:
            rank, reason = next(iter(sorted(failed.items())))
            what = "the merge" if merge else f"{len(failed)} of {num_ranks} ranks failed; rank {rank}"
            log = folder / "output" / f"{rank:05d}.err"
            raise InputFileError(logs, f"{what}: {reason} ({log}); the same command goes on")


def submit(command: Sequence[str], num_ranks: int, workers: int, logs: Path, **options: Any) -> tuple[str, str]:
    """Hand the ranks to Slurm as an array of jobs, and the merge as one that waits for them; the ids of the jobs.

    Args:
        command, num_ranks, workers, logs: see `run_here`.
        options: of `datatrove.executor.SlurmPipelineExecutor`.

    Raises:
        InputFileError: there is no sbatch, or it refuses.
    """
    common: dict[str, Any] = {"skip_completed": False, **options}
    executor, folders = _executor("slurm"), (logs / "ranks", logs / "merge")
    ranks, merge = (
        executor(
            [RunRank(tuple(command), folder.resolve(), merge)],
            tasks=1 if merge else num_ranks,
            workers=1 if merge else workers,
            logging_dir=str(folder.resolve()),
            job_name=f"{Path(command[0]).stem}_{'merge' if merge else 'rank'}",
            **common,
        )
        for folder, merge in zip(folders, (False, True))
    )
    merge.depends = ranks
    try:
        merge.run()
    except FileNotFoundError as error:
        raise InputFileError("sbatch", "is not on the PATH: is this a machine that submits to Slurm?") from error
    except subprocess.CalledProcessError as error:
        raise InputFileError("sbatch", f"refused, with status {error.returncode}: see what it said above") from error
    return str(ranks.job_id), str(merge.job_id)


def _executor(name: str) -> Any:
    try:
        from datatrove import executor
    except ImportError as error:
        raise InputFileError("datatrove", "is not installed: pip install 'chandraclip[scale]'") from error
    names = {"local": "LocalPipelineExecutor", "slurm": "SlurmPipelineExecutor", "ray": "RayPipelineExecutor"}
    return getattr(executor, names[name])
