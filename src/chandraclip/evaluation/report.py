"""A results folder as one Markdown text: every number beside its published figure, every table and picture.

Whatever evaluations have written is shown, known or not: of each folder with a metrics.json (`results.write_metrics`),
Markdown, CSV or PNG its headline, the tables of its results, its texts, its tables and its pictures.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chandraclip.errors import InputFileError
from chandraclip.evaluation.report_tables import as_text, results_tables
from chandraclip.evaluation.results import METRICS_FILE, has_headline, markdown_table, number, read_metrics
from chandraclip.files import content_hash
from chandraclip.model_folder import model_id

PAGE_FILE, MARKDOWN_FILE, REPORT_FOLDER = "index.html", "report.md", "report"
_SHOWN = (".md", ".csv", ".png")
_CSV_ROWS = 50
# What would end a cell, begin a tag, or be a link or a picture.
_SPECIAL = re.compile(r"[|\\`*<]|\[(?=[^\]]*\]\()")
_PICTURE = re.compile(r"!\[([^\]]*)\]\([^)]*\)")
_HEADING = re.compile(r"^(#{1,6}) ", re.MULTILINE)


@dataclass(frozen=True)
class Evaluation:
    """What one folder holds.

    Attributes:
        title: of the evaluation, with its folder where several are shown.
        folder: where it is.
        metrics: its metrics.json, empty without one.
        files: name of a suffix (".md", ".csv", ".png") -> its files; "other": what the report only names.
        is_part: it has no numbers and lies in the folder of an evaluation that has, as a part of it.
    """

    title: str
    folder: Path
    metrics: dict[str, Any]
    files: dict[str, list[Path]] = field(default_factory=dict)
    is_part: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """Where the numbers come from."""
        return {**self.metrics.get("embeddings", {}), **self.metrics.get("run", {})}


def find_evaluations(folders: Iterable[Path]) -> list[Evaluation]:
    """Every evaluation at or under some folders, in order of path; what a report wrote is none.

    Raises:
        InputFileError: no such folder, a metrics.json that cannot be read, or nothing to show in one of the folders.
    """
    found: dict[Path, Evaluation] = {}
    for root in folders:
        if not root.is_dir():
            raise InputFileError(root, "no such folder; a report is of what eval/*.py wrote with --output")
        here: dict[Path, Evaluation] = {}
        for folder in sorted([root, *(path for path in root.rglob("*") if path.is_dir())]):
            is_report = all((folder / name).is_file() for name in (PAGE_FILE, MARKDOWN_FILE))
            if not is_report and (one := _evaluation(folder, root)):
                whole = any(parent in here and here[parent].metrics for parent in folder.resolve().parents)
                here[folder.resolve()] = replace(one, is_part=whole and not one.metrics)
        if not here:
            raise InputFileError(root, f"no evaluation has written a {METRICS_FILE}, Markdown, CSV or PNG here")
        found |= {path: one for path, one in here.items() if path not in found}
    return list(found.values())


def _evaluation(folder: Path, root: Path) -> Evaluation | None:
    files: dict[str, list[Path]] = {}
    for path in sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")):
        files.setdefault(path.suffix if path.suffix in _SHOWN else "other", []).append(path)
    metrics = folder / METRICS_FILE
    # A training run writes a metrics.json of its own; only what an evaluation wrote has a headline.
    content = read_metrics(metrics) if metrics.is_file() and has_headline(metrics) else {}
    if not content and not any(suffix in files for suffix in _SHOWN):
        return None
    files["other"] = [path for path in files.get("other", []) if not content or path != metrics]
    place = folder.relative_to(root).as_posix()
    name = content.get("evaluation") or folder.resolve().name.replace("_", " ")
    return Evaluation(name if place in (".", name) else f"{name} ({place})", folder, content, files)


def report_text(evaluations: Sequence[Evaluation], beside: Path) -> str:
    """The report as Markdown; its pictures are links.

    Args:
        evaluations: of `find_evaluations`.
        beside: the folder that the text will lie in, from which pictures are linked.
    """
    models = dict.fromkeys(str(one.facts["model"]) for one in evaluations if one.facts.get("model"))
    parts = [f"# Results of {' and '.join(models) or 'evaluations'}", _overview(evaluations)]
    if compared := headline_rows(evaluations, only_published=True):
        parts += ["## Beside published figures", _table(compared)]
    parts += [_section(one, beside) for one in evaluations]
    parts.append(_provenance(evaluations))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def headline_rows(evaluations: Sequence[Evaluation], only_published: bool = False) -> list[dict[str, str]]:
    """The headline of every evaluation, a row a number: value with its interval, chance, baseline, published figure."""
    return [
        {"evaluation": one.title, **_headline_row(item)}
        for one in evaluations
        for item in one.metrics.get("headline", [])
        if not only_published or item.get("published") is not None
    ]


def _overview(evaluations: Sequence[Evaluation]) -> str:
    rows = []
    for one in evaluations:
        if one.is_part:
            continue
        headline = one.metrics.get("headline", [])
        rows.append(
            {
                "evaluation": one.title,
                "numbers": len(headline),
                "with a published figure": sum(item.get("published") is not None for item in headline),
                "pictures": len(one.files.get(".png", [])),
                "dataset": one.facts.get("dataset"),
                "rows": _rows_in_words(one.facts.get("rows")),
            }
        )
    return (
        f"{_table(rows)}\n\nIntervals are 95 %. Each number stands beside its chance level, a baseline that does "
        "without the model where there is one, and the published figure where there is one; *comparable* says whether "
        "that is of comparable data, which no simulated dataset is."
    )


def _rows_in_words(rows: Any) -> str:
    return ", ".join(f"{name} {count}" for name, count in rows.items()) if isinstance(rows, dict) else as_text(rows)


def _headline_row(item: dict[str, Any]) -> dict[str, str]:
    value, low, high = item["value"], item.get("low"), item.get("high")
    interval = "" if low is None and high is None else f" [{number(low)}, {number(high)}]"
    baseline = item.get("baseline")
    named = f" ({item['baseline_name']})" if baseline is not None and item.get("baseline_name") else ""
    return {
        "metric": item["metric"],
        "value": number(value) + interval,
        "chance": number(item.get("chance")),
        "baseline": number(baseline) + named,
        "published": as_text(item.get("published")),
        "comparable": as_text(item.get("comparable")),
    }


def _section(one: Evaluation, beside: Path) -> str:
    level = 3 if one.is_part else 2
    parts = [f"{'#' * level} {one.title[:1].upper()}{one.title[1:]}"]
    below = "#" * (level + 1)
    if headline := one.metrics.get("headline"):
        parts.append(_table([_headline_row(item) for item in headline]))
    for path in one.files.get(".png", []):
        link = os.path.relpath(path.resolve(), beside.resolve()).replace(os.sep, "/").replace(" ", "%20")
        parts.append(f"![{path.stem.replace('_', ' ')}](<{link}>)")
    for path in one.files.get(".md", []):
        # Its headings go below this one; its pictures stand above already, those of its folder.
        text = _HEADING.sub(lambda found: f"{'#' * min(len(found[1]) + level + 1, 6)} ", path.read_text())
        text = _PICTURE.sub(r"\1", text)
        parts += [f"{below} {path.name}", text]
    for path in one.files.get(".csv", []):
        parts += [f"{below} {path.name}", _csv_table(path)]
    for title, rows in results_tables(one.metrics.get("results", {})):
        parts += [f"{below} {title or 'values'}", _table(rows)]
    if other := one.files.get("other"):
        parts.append("Beside it: " + ", ".join(f"`{path.name}` ({_size(path)})" for path in other) + ".")
    return "\n\n".join(parts)


def _csv_table(path: Path) -> str:
    import pandas as pd

    try:
        frame = pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise InputFileError(path, f"not readable as CSV ({' '.join(str(error).split())})") from error
    shown = frame.head(_CSV_ROWS)
    text = _table(shown.astype(object).where(shown.notna(), None).to_dict("records"))
    return text if len(frame) <= _CSV_ROWS else f"{text}\n\nThe first {_CSV_ROWS} of {len(frame)} rows."


def _provenance(evaluations: Sequence[Evaluation]) -> str:
    rows: list[dict[str, Any]] = []
    texts: dict[str, str] = {}
    for one in evaluations:
        facts = one.facts
        if not facts:
            continue
        rows.append(
            {
                "evaluation": one.title,
                "model": facts.get("model"),
                "model_id": facts.get("model_id"),
                "dataset": facts.get("dataset"),
                "dataset_id": facts.get("dataset_id"),
                "context left out": ", ".join(facts.get("without_context") or ()) or "nothing",
                "commit": facts.get("commit"),
                "command": facts.get("command"),
                "versions": ", ".join(f"{name} {version}" for name, version in facts.get("versions", {}).items()),
            }
        )
        for name, section in (("model", _training), ("dataset", _data)):
            if facts.get(name):
                texts.setdefault(*section(facts))
    known = "\n\n".join(f"### {title}\n\n{text}" for title, text in texts.items())
    note = (
        "`model_id` and `dataset_id` are SHA-256 of the model's configuration, weights and processor, and of the "
        "dataset's manifest, which holds those of its shards; `commit` is of the code that evaluated."
    )
    return f"## Provenance\n\n{_table(rows)}\n\n{note}\n\n{known}"


def _training(facts: dict[str, Any]) -> tuple[str, str]:
    """How the model was trained, where its folder still holds the model that was evaluated."""
    folder = Path(str(facts.get("model")))
    title = f"Configuration of {folder} ({str(facts.get('model_id'))[:12]})"
    config = folder / "train_config.yaml"
    if not config.is_file():
        return title, f"No `{config.name}` lies beside it here."
    if model_id(folder) != facts.get("model_id"):
        return title, "The folder now holds another model than the one that was evaluated."
    return title, _code(config.read_text(), "yaml")


def _data(facts: dict[str, Any]) -> tuple[str, str]:
    """How the dataset was made, where its folder still holds the dataset that was evaluated."""
    folder = Path(str(facts.get("dataset")))
    title = f"Parameters of {folder} ({str(facts.get('dataset_id'))[:12]})"
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return title, f"No `{manifest.name}` lies beside it here."
    if content_hash([manifest], folder) != facts.get("dataset_id"):
        return title, "The folder now holds another dataset than the one that was evaluated."
    import json

    content = json.loads(manifest.read_text())
    return title, _code(json.dumps(content.get("parameters", {}), indent=2), "json")


def _code(text: str, language: str) -> str:
    return f"```{language}\n{text.strip()}\n```"


def _table(rows: Iterable[dict[str, Any]]) -> str:
    """`markdown_table` of whatever text: what would end a cell or begin a tag is written so that it does not."""
    return markdown_table({_one_line(name): _one_line(as_text(value)) for name, value in row.items()} for row in rows)


def _one_line(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", " ".join(str(text).split()))


def _size(path: Path) -> str:
    size = path.stat().st_size
    power = min(len(str(size)) - 1, 9) // 3
    return f"{size / 1000**power:.3g} {('bytes', 'kB', 'MB', 'GB')[power]}"
