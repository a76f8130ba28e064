#!/usr/bin/env python
"""Everything a GPU is for, measured in one command of at most 8 minutes: `make gpu`.

Tests marked gpu, an optimizer step of every model and the training programs in bfloat16, packed attention, embedding,
nearest neighbours, similarity graph. It needs this checkout and a Python with PyTorch; no installation and no network:
packages that are missing are named, and what does not need them goes on. A stage that fails or hangs says so in its
line of the table and the next one starts in a fresh process. Results are written after every stage.

    make gpu                       on the GPU; writes results/gpu.json and the GPU section of RESULTS.md
    make gpu PYTHON=python3        with the machine's own Python
    make gpu DEVICE=cpu SIZE=tiny  a rehearsal without a GPU; writes outputs/gpu/rehearsal.json
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
RESULT = HERE / "results" / "gpu.json"
for folder in (HERE, REPOSITORY / "src"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from gpu_stages.job import SIZES, Job  # noqa: E402
from gpu_stages.table import render, write_section  # noqa: E402
from gpu_stages.worker import Worker  # noqa: E402


@dataclass(frozen=True)
class Stage:
    """A function of a module, and the seconds it may take."""

    name: str
    module: str
    function: str
    timeout_s: float


# What later ones need comes first, then what is most worth knowing.
STAGES = (
    Stage("tests", "gpu_stages.environment", "gpu_tests", 120),
    Stage("data", "gpu_stages.data", "simulate", 90),
    Stage("spectrum_step", "gpu_stages.steps", "spectrum_step", 120),
    Stage("event_step", "gpu_stages.steps", "event_step", 60),
    Stage("align_step", "gpu_stages.steps", "align_step", 60),
    Stage("attention", "gpu_stages.attention", "compare", 60),
    Stage("embedding", "gpu_stages.search", "embedding", 60),
    Stage("neighbours", "gpu_stages.search", "neighbours", 90),
    Stage("graph", "gpu_stages.graphs", "similarity", 90),
    Stage("spectrum_run", "gpu_stages.runs", "spectrum_run", 90),
    Stage("event_run", "gpu_stages.runs", "event_run", 90),
    Stage("align_run", "gpu_stages.runs", "align_run", 90),
)


def main(argv: list[str] | None = None) -> int:
    options = parse_arguments(argv)
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # of the stages and the programs they start
    places = [str(REPOSITORY / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(places)
    try:
        import torch
    except ModuleNotFoundError:
        print(f"error: {sys.executable} has no PyTorch; name another, e.g. make gpu PYTHON=python3", file=sys.stderr)
        return 1
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        print("error: PyTorch sees no CUDA device; a rehearsal goes by --device cpu", file=sys.stderr)
        return 1
    size = options.size or ("full" if device == "cuda" else "tiny")
    work: Path = options.work.resolve()
    if not options.stages:
        for name in ("data", "rows", "models", "runs", "cache"):  # of the run before
            shutil.rmtree(work / name, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    output: Path = options.output or (RESULT if (device, size) == ("cuda", "full") else work / "rehearsal.json")

    from gpu_stages.environment import describe

    result: dict[str, Any] = {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), "size": size}
    job = Job(device, size, work)
    budget_s = options.budget_s or 480 * job.patience
    result |= {**describe(device), "budget_s": budget_s, "stages": {}}
    print(f"{result['device_name']}, torch {result['versions'].get('torch')}, {size} size, results in {output}")
    if result["missing"]:
        print(f"missing packages, what needs them is left out: {', '.join(result['missing'])}")
    run_stages(job, options.stages or [stage.name for stage in STAGES], result, output)
    if output == RESULT:
        write_section(HERE / "RESULTS.md", result)
    print("\n" + render(result))
    failed = [name for name, stage in result["stages"].items() if stage["status"] == "failed" or unequal(stage)]
    if failed:
        print(f"failed: {', '.join(failed)}; logs are in {work}", file=sys.stderr)
    return 1 if failed else 0


def run_stages(job: Job, names: list[str], result: dict[str, Any], output: Path) -> None:
    """Run the stages in order, as long as the budget lasts; `result` and its file grow with each."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the stages end with this
    begin, worker = perf_counter(), Worker()
    try:
        for stage in STAGES:
            if stage.name not in names:
                continue
            left = result["budget_s"] - (perf_counter() - begin)
            started = perf_counter()
            print(f"{stage.name} ...", flush=True)
            if left < 5:
                status, answer = "unavailable", "the time was used up before"
            else:
                status, answer = worker.run(
                    stage.module, stage.function, job, min(stage.timeout_s * job.patience, left)
                )
            done: dict[str, Any] = {"status": status, "seconds": round(perf_counter() - started, 1)}
            done |= {"rows": answer} if status == "rows" else {"reason": answer}
            result["stages"][stage.name] = done
            result["seconds"] = round(perf_counter() - begin, 1)
            print(f"{stage.name}: {status if status != 'rows' else 'done'} in {done['seconds']:.0f} s", flush=True)
            if status != "rows":
                print(f"  {answer}", flush=True)
            output.parent.mkdir(parents=True, exist_ok=True)
            temporary = output.with_suffix(".tmp")
            temporary.write_text(json.dumps(result, indent=2) + "\n")
            temporary.replace(output)
    finally:
        worker.stop()


def unequal(stage: dict[str, Any]) -> bool:
    """Whether a row of the stage was computed, and wrongly."""
    return any(row.get("equal") is False for row in stage.get("rows", []))


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: cuda where there is one")
    parser.add_argument("--size", choices=tuple(SIZES), help="default: full on cuda, tiny on the CPU")
    parser.add_argument("--budget_s", type=float, help="seconds for all stages (default: 480, on a CPU 1920)")
    parser.add_argument("--output", type=Path, help="JSON file; default: benchmarks/results/gpu.json for a full run")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "outputs" / "gpu", help="dataset, models and logs")
    parser.add_argument("--stages", nargs="+", choices=[stage.name for stage in STAGES], help="default: all")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
