"""The training programs as users start them, under `accelerate launch` in bfloat16, data loading included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from gpu_stages.job import REPOSITORY, Job, Unavailable, mfu, row

TIMEOUT_S = 75  # a run that takes longer is measured by the steps it did


def spectrum_run(job: Job) -> list[dict[str, Any]]:
    """Pre-training of the spectrum autoencoder."""
    how_much = job.how_much
    return _run(job, "spectrum", "spectrum pre-training", how_much.spectrum_batch, how_much.spectrum_steps)


def event_run(job: Job) -> list[dict[str, Any]]:
    """Pre-training of the event transformer."""
    return _run(job, "events", "event pre-training", job.how_much.event_batch, job.how_much.event_steps)


def align_run(job: Job) -> list[dict[str, Any]]:
    """The alignment, from the towers of the two pre-trainings, or untrained ones where they did not end."""
    towers = []
    for option, name in (("spectrum", "spectrum"), ("event", "events")):
        folders = [job.work / "runs" / name, job.model(name)]
        folder = next((folder for folder in folders if (folder / "model.safetensors").exists()), None)
        if folder is None:
            raise Unavailable(f"needs a {option} tower, and no stage left one")
        towers += [f"--{option}_model_name_or_path", str(folder)]
    return _run(job, "align", "alignment", job.how_much.align_batch, job.how_much.align_steps, towers)


def _run(
    job: Job, name: str, measure: str, batch_size: int, max_steps: int, options: list[str] | None = None
) -> list[dict[str, Any]]:
    import datasets  # noqa: F401, the programs need it, and so does this

    output, log = job.work / "runs" / name, job.work / f"{name}.log"
    log_every = max(1, max_steps // 6)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", "accelerate_config.yaml"]
    command += ["--mixed_precision", "bf16", *program(name), "--dataset", str(job.dataset), "--output_dir", str(output)]
    command += ["--overwrite_output_dir", "--batch_size", str(batch_size), "--max_steps", str(max_steps)]
    command += ["--warmup_steps", str(max_steps // 5), "--eval_steps", str(max_steps), "--save_steps", str(max_steps)]
    command += ["--logging_steps", str(log_every), *(options or [])]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(job.work / "cache")}
    note = "data loading included"
    with log.open("w") as stream:
        try:
            done = subprocess.run(
                command,
                cwd=REPOSITORY,
                env=environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=TIMEOUT_S * job.patience,
                check=False,
            )
        except subprocess.TimeoutExpired:
            note += f"; stopped after {TIMEOUT_S * job.patience} s"
        else:
            if done.returncode:
                raise RuntimeError(f"exit code {done.returncode}: {_last_line(log)} (see {log})")
    lines = _training_lines(output / "metrics.jsonl")
    if len(lines) < 2:
        raise RuntimeError(f"no step was logged{note.removeprefix('data loading included')}: {_last_line(log)}")
    per_second = median(line["train/rows_per_second"] for line in lines[1:])  # the first waits for the first batch
    flops = job.flops(name)
    return [
        row(
            f"{measure}, the program",
            f"{batch_size:,} rows x {max_steps} steps",
            dtype="bf16",
            seconds=batch_size / per_second,
            throughput=per_second,
            unit="rows/s",
            flops=flops,
            mfu=mfu(flops, batch_size / per_second, job),
            note=f"{note}; loss {lines[0]['train/loss']:.3g} to {lines[-1]['train/loss']:.3g}",
        )
    ]


def program(name: str) -> list[str]:
    """Script and config of a run."""
    if name == "align":
        return ["training/align.py"]
    config = {"spectrum": "spectrum_autoencoder", "events": "events_transformer"}[name]
    return ["training/pretrain.py", "--config", f"training/configs/{config}.yaml"]


def _training_lines(file: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    return [line for line in lines if "train/rows_per_second" in line]


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text().splitlines() if line.strip() and "CalledProcessError" not in line]
    errors = [line for line in lines if line.startswith("error:") or "Error:" in line]
    return (errors or lines or ["no output"])[-1].strip()[:300]
