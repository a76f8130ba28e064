"""Run every benchmark of this folder and rewrite RESULTS.md from what they wrote under results/."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


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
    names = parser.parse_args().names or sorted(path.stem for path in HERE.glob("*.py") if path.stem != "run_all")
    failed = [
        name for name in names if subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=False).returncode
    ]
    results = {path.stem: json.loads(path.read_text()) for path in sorted((HERE / "results").glob("*.json"))}
    (HERE / "RESULTS.md").write_text(render(results))
    print(f"wrote {HERE / 'RESULTS.md'}")
    unequal = [name for name, result in results.items() if not result["equal"]]
    if failed or unequal:
        print(f"failed: {failed}; the two sides differ: {unequal}", file=sys.stderr)
    return 1 if failed or unequal else 0


if __name__ == "__main__":
    sys.exit(main())
