"""Where a benchmark leaves its result, for `run_all.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def write_result(script: str, result: dict[str, Any], unequal: str = "the two sides differ") -> None:
    """Write results/<script>.json.

    Args:
        script: `__file__` of the benchmark.
        result: ratio, equal, against and whatever else `run_all.render` shows.
        unequal: said where `equal` is false.

    Raises:
        SystemExit: it is.
    """
    path = RESULTS / f"{Path(script).stem}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"wrote {path}")
    if not result["equal"]:
        raise SystemExit(unequal)
