"""What every evaluation writes: `metrics.json` with one common part, the headline, for `scripts/report.py` to show."""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chandraclip.errors import InputFileError
from chandraclip.files import write_json
from chandraclip.versions import source_commit

if TYPE_CHECKING:
    from chandraclip.evaluation.embeddings import EmbeddingTable
    from chandraclip.evaluation.rate_tables import RateTable
    from chandraclip.evaluation.reconstructions import ReconstructionTable

METRICS_FILE = "metrics.json"


@dataclass(frozen=True)
class Headline:
    """One number, never without its chance level, with its baseline and published figure where there are.

    Attributes:
        metric: what it is, e.g. ``"spectrum -> text recall@1%"``.
        value, low, high: the number and its 95 % interval.
        chance: what guessing gives.
        baseline, baseline_name: what a method without this model gives, and which.
        published: the published figure.
        comparable: whether the published figure is of comparable data.
    """

    metric: str
    value: float
    low: float | None
    high: float | None
    chance: float
    baseline: float | None = None
    baseline_name: str | None = None
    published: float | None = None
    comparable: bool | None = None


def is_simulated(table: EmbeddingTable) -> bool:
    """Whether published figures of real detections do not apply; also where the provenance does not say."""
    return table.provenance.get("simulated_rows", 1) > 0


def write_metrics(
    output: Path,
    evaluation: str,
    table: EmbeddingTable | ReconstructionTable | RateTable,
    headline: Iterable[Headline],
    results: dict[str, Any],
) -> Path:
    """Write ``output/metrics.json``: evaluation, provenance of the embeddings, headline, results; NaN becomes null.

    The report shows the headline, and as a table whatever in `results` has the form of one (`report_tables`); of the
    folder also every .png, .md and .csv.
    """
    return _write(output, evaluation, table.provenance or {"path": str(table.path)}, headline, results)


def write_simulated_metrics(
    output: Path, evaluation: str, facts: dict[str, Any], headline: Iterable[Headline], results: dict[str, Any]
) -> Path:
    """As `write_metrics`, of an evaluation that reads no embeddings but draws its data: `facts` say what it drew."""
    return _write(output, evaluation, facts, headline, results)


def _write(
    output: Path, evaluation: str, data: dict[str, Any], headline: Iterable[Headline], results: dict[str, Any]
) -> Path:
    path = output / METRICS_FILE
    content = {
        "evaluation": evaluation,
        "embeddings": data,
        "run": {"command": shlex.join(sys.argv), "commit": source_commit()},
        "headline": [asdict(item) for item in headline],
        "results": results,
    }
    write_json(path, _finite(content))
    return path


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_metrics(path: Path) -> dict[str, Any]:
    """One `metrics.json`.

    Raises:
        InputFileError: not JSON, or not what `write_metrics` writes.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputFileError(path, f"not readable as JSON ({error})") from error
    if not isinstance(content, dict) or not {"evaluation", "headline"} <= set(content):
        raise InputFileError(path, "there is no evaluation and headline in it, so no evaluation wrote it")
    return content


def has_headline(path: Path) -> bool:
    """Whether an evaluation wrote this metrics.json; training writes one of its own."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return True  # `read_metrics` says what is wrong
    return isinstance(content, dict) and "headline" in content


def number(value: float | None) -> str:
    """Three significant digits, a dash for none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:#.3g}".rstrip(".")


def markdown_table(rows: Iterable[dict[str, Any]]) -> str:
    """Rows as a Markdown table, padded so that it reads in a terminal too; floats by `number`."""
    rows = [
        {key: number(value) if isinstance(value, float) or value is None else str(value) for key, value in row.items()}
        for row in rows
    ]
    if not rows:
        return "(none)"
    width = {key: max(len(key), *(len(row[key]) for row in rows)) for key in rows[0]}
    lines = ["| " + " | ".join(key.ljust(width[key]) for key in width) + " |"]
    lines.append("|" + "|".join("-" * (size + 2) for size in width.values()) + "|")
    lines += ["| " + " | ".join(row[key].ljust(width[key]) for key in width) + " |" for row in rows]
    return "\n".join(lines)
