"""Where a benchmark leaves its result, for `run_all.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def write_result(
    script: str, result: dict[str, Any], unequal: str = "the two sides differ", lines: bool = False
) -> None:
    """Write results/<script>.json; print the lines of `result`, unless the benchmark has printed a table of its own.

    Args:
        script: `__file__` of the benchmark.
        result: ratio, equal, against and whatever else `run_all.render` shows.
        unequal: said where `equal` is false.
        lines: print the result, a line a number.

    Raises:
        SystemExit: it is.
    """
    if lines:
        width = max(map(len, result)) + 2
        for name, value in result.items():
            print(f"{name:<{width}}{value:.4g}" if isinstance(value, float) else f"{name:<{width}}{value}")
    path = RESULTS / f"{Path(script).stem}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"wrote {path}")
    if not result["equal"]:
        raise SystemExit(unequal)
