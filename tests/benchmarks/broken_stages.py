"""Stages as they can go, for the worker of benchmarks/gpu.py."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def good(job: Path) -> list[dict[str, Any]]:
    return [{"measure": "good", "process": os.getpid()}]


def raises(job: Path) -> None:
    raise RuntimeError("CUDA error: an illegal memory access was encountered\nand more")


def lacks_a_package(job: Path) -> None:
    import no_such_package.part  # noqa: F401


def lacks_a_module_of_ours(job: Path) -> None:
    import chandraclip.no_such_module  # noqa: F401


def dies(job: Path) -> None:
    os._exit(7)


def hangs(job: Path) -> None:
    """With a program it has started."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (job / "child").write_text(str(child.pid))
    time.sleep(600)
