#!/usr/bin/env python
"""Runs a program as independent ranks and merges what they make: here, by Slurm or by Ray (datatrove, extra `scale`).

    python scripts/run_ranks.py --num_ranks 8 --workers 2 scripts/build_dataset.py files INPUT_DIR outputs/data/mine
    python scripts/run_ranks.py --num_ranks 100 --executor slurm --partition cpu --time 02:00:00 \\
        scripts/embed.py outputs/align outputs/data/mine outputs/embeddings/mine

Any program will do that has the options --rank, --num_ranks and --merge. Give the same command again after a failure.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path

from chandraclip.errors import InputFileError
from chandraclip.program import run_program
from chandraclip.rank_runs import EXECUTORS, run_here, submit

OWN = ("--rank", "--num_ranks", "--merge")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_ranks", type=int, required=True, metavar="N", help="processes in all")
    parser.add_argument("--workers", type=int, help="processes at a time (default: all)")
    parser.add_argument("--executor", default="local", choices=EXECUTORS, help="(default: %(default)s)")
    parser.add_argument(
        "--logging_dir", type=Path, help="what the ranks print (default: outputs/ranks/, named by the command)"
    )
    parser.add_argument("--cpus_per_rank", type=int, default=1, help="Slurm, Ray (default: %(default)s)")
    parser.add_argument("--gpus_per_rank", type=int, default=0, help="Slurm, Ray (default: %(default)s)")
    parser.add_argument("--memory_gb", type=int, default=4, help="a CPU; Slurm, Ray (default: %(default)s)")
    parser.add_argument("--partition", help="of Slurm, which needs it")
    parser.add_argument("--time", default="01:00:00", help="limit of a rank; Slurm (default: %(default)s)")
    parser.add_argument("--qos", help="of Slurm")
    parser.add_argument("--sbatch", action="append", metavar="NAME=VALUE", help="more options of sbatch")
    parser.add_argument("--ray_address", help="of a Ray cluster (default: one on this machine)")
    parser.add_argument("program", metavar="PROGRAM", help="and its options")
    parser.add_argument("options", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.sbatch = options.sbatch or []
    for name in ("num_ranks", "workers", "cpus_per_rank", "memory_gb"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    if options.gpus_per_rank < 0:
        parser.error("--gpus_per_rank must not be negative")
    if given := [word for word in options.options if word.split("=")[0] in OWN]:
        parser.error(f"{', '.join(given)}: given to each rank by this program")
    if options.executor == "slurm" and not options.partition:
        parser.error("--executor slurm needs --partition")
    if wrong := [item for item in options.sbatch if "=" not in item]:
        parser.error(f"--sbatch {wrong[0]}: NAME=VALUE is meant")
    if any(re.search(r"://[^/\s]*@", word) for word in options.options):
        parser.error("a user or password in a URL would stand in the files of the executor: give one without")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    if not Path(options.program).exists():
        raise InputFileError(options.program, "there is no such program")
    command = [options.program, *options.options]
    digest = hashlib.sha256(json.dumps(command).encode()).hexdigest()[:12]
    logs = options.logging_dir or Path("outputs/ranks") / f"{Path(options.program).stem}_{digest}"
    workers = options.workers or options.num_ranks
    if options.executor == "local":
        run_here(command, options.num_ranks, workers, logs)
    elif options.executor == "ray":
        start_ray(options.ray_address)
        run_here(
            *(command, options.num_ranks, workers, logs, "ray"),
            cpus_per_task=options.cpus_per_rank,
            gpus_per_task=options.gpus_per_rank,
            mem_per_cpu_gb=options.memory_gb,
        )
    else:
        activate = Path(sys.prefix) / "bin" / "activate"
        job, merge = submit(
            *(command, options.num_ranks, workers, logs),
            partition=options.partition,
            time=options.time,
            qos=options.qos,
            cpus_per_task=options.cpus_per_rank,
            gpus_per_task=options.gpus_per_rank,
            mem_per_cpu_gb=options.memory_gb,
            venv_path=str(activate) if activate.exists() else None,
            sbatch_args=dict(item.split("=", 1) for item in options.sbatch),
        )
        print(f"{options.num_ranks} ranks are job {job}, the merge, after them, job {merge}; what they print: {logs}")
        return
    print((logs / "merge" / "output" / "00000.txt").read_text(), end="")


def start_ray(address: str | None) -> None:
    try:
        import ray
    except ImportError as error:
        raise InputFileError("ray", "is not installed: pip install 'chandraclip[scale]' ray") from error
    ray.init(address=address, log_to_driver=False)


if __name__ == "__main__":
    run_program(main)
