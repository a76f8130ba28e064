"""Run every benchmark of this folder and rewrite RESULTS.md from what they wrote under results/.

What needs a GPU is `gpu.py`'s, which runs by itself (`make gpu`) and has its own section; this keeps it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from gpu_stages.table import render as render_gpu
from gpu_stages.table import without_section

HERE = Path(__file__).resolve().parent
# The last two need real files; docs/fits.md and docs/archive.md have what they print.
NOT_HERE = ("run_all", "result_files", "gpu", "fits_against_sherpa", "catalogue_faults")


def render(results: dict[str, dict]) -> str:
    """RESULTS.md from the result of each benchmark, name -> JSON object."""
    import numpy
    import torch

    lines = [
        "# Benchmarks",
        "",
        "Ours against the public peer or the obvious implementation, in one run on one machine; `ratio` > 1: ours is",
        "faster. `equal` says that both sides computed the same thing. Rewritten by `make bench`.",
        "",
        f"{datetime.date.today().isoformat()}, {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, numpy {numpy.__version__}, torch {torch.__version__}.",
        "",
        "| benchmark | against | ratio | equal | details | command |",
        "|---|---|---|---|---|---|",
    ]
    for name, result in sorted(results.items()):
        details = ", ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in result.items()
            if key not in ("ratio", "equal", "against") and isinstance(value, (int, float, str))
        )
        lines.append(
            f"| {name} | {result.get('against', '')} | {result['ratio']:.1f} | {result['equal']} | {details} "
            f"| `python benchmarks/{name}.py` |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="benchmarks to run, e.g. gregory_loredo (default: all)")
    parser.add_argument("--gpu_section", action="store_true", help="only the GPU section, from results/gpu.json")
    options = parser.parse_args()
    everything = [] if options.gpu_section else sorted(path.stem for path in HERE.glob("*.py"))
    names = options.names or [name for name in everything if name not in NOT_HERE]
    failed = [
        name for name in names if subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=False).returncode
    ]
    results = {path.stem: json.loads(path.read_text()) for path in sorted((HERE / "results").glob("*.json"))}
    on_gpu = results.pop("gpu", None)
    text = render(results) if not options.gpu_section else without_section((HERE / "RESULTS.md").read_text())
    (HERE / "RESULTS.md").write_text(text + ("" if on_gpu is None else f"\n{render_gpu(on_gpu)}"))
    print(f"wrote {HERE / 'RESULTS.md'}")
    unequal = [name for name, result in results.items() if not result["equal"]]
    if failed or unequal:
        print(f"failed: {failed}; the two sides differ: {unequal}", file=sys.stderr)
    return 1 if failed or unequal else 0


if __name__ == "__main__":
    sys.exit(main())
