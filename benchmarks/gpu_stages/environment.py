"""What runs here: versions, the card, and what of the package's requirements is missing."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from typing import Any

from gpu_stages.job import REPOSITORY, Job, row

REPORTED = ("torch", "transformers", "accelerate", "datasets", "numpy", "pyarrow", "triton")


def requirements() -> list[str]:
    """Names of the packages that the package requires."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return [re.split(r"[^A-Za-z0-9_.-]", line)[0] for line in project["dependencies"]]


def missing_packages() -> list[str]:
    return [name for name in requirements() if not _version(name)]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def describe(device: str) -> dict[str, Any]:
    """Facts for the head of the table; loads torch."""
    import torch

    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "versions": {name: version for name in REPORTED if (version := _version(name))},
        "missing": missing_packages(),
        "cores": len(os.sched_getaffinity(0)),
        "device": device,
        "device_name": torch.cuda.get_device_name() if device == "cuda" else platform.machine(),
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        facts |= {
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
            "driver": _driver(),
        }
    return facts


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return (found.stdout.strip().splitlines() or ["unknown"])[0]


def gpu_tests(job: Job) -> list[dict[str, Any]]:
    """`pytest -m gpu`."""
    log = job.work / "pytest.log"
    # Only the folder of these tests and its own conftest: others need packages that may be missing here.
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    command += ["--confcutdir", "tests/gpu", "tests/gpu"]
    with log.open("w") as stream:
        done = subprocess.run(command, cwd=REPOSITORY, stdout=stream, stderr=subprocess.STDOUT, check=False)
    lines = log.read_text().strip().splitlines() or ["no output"]
    summary = lines[-1].strip("= ")
    if done.returncode:
        failed = [line.split(" - ")[0] for line in lines if line.startswith(("FAILED", "ERROR"))]
        raise RuntimeError(f"pytest -m gpu: {summary}; {'; '.join(failed[:8])} (see {log})")
    return [row("pytest -m gpu", note=summary)]
