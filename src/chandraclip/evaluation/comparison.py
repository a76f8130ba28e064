"""Comparisons of models: programs one after the other for each seed, and one table of their numbers over the seeds.

What is finished is not repeated, so that a comparison that was killed goes on; another one in its folder is refused.
A program is finished where its product was made by the same command of the same dataset, models and files, all by their
content: a model that was trained anew is embedded anew.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chandraclip.errors import OptionError
from chandraclip.evaluation.results import markdown_table, read_metrics
from chandraclip.files import sha256_of, write_json, write_text
from chandraclip.lock import locked
from chandraclip.model_folder import model_id

# A program with its options, and the file that it writes last.
Step = tuple[list[str], Path]
FINISHED = "finished.json"
# What programs write last into a folder that others read.
_RECORDS = ("embeddings.json", "rates.json", "reconstructions.json")


def check_settings(output: Path, settings: Mapping[str, Any]) -> None:
    """Record what a comparison is of.

    Raises:
        OptionError: `output` holds one of other settings.
    """
    record = output / "settings.json"
    before = json.loads(record.read_text()) if record.is_file() else settings
    other = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
    if other:
        raise OptionError(
            f"{output} holds a comparison with other options ({', '.join(other)}; {record}): choose another --output"
        )
    write_json(record, dict(settings))


def run_steps(steps: Iterable[Step], repository: Path, output: Path, contents: Mapping[str, str]) -> None:
    """Run the programs whose product is not there yet; ends where one fails, with its exit status.

    Args:
        steps: in order.
        repository: where the programs are.
        output: of the comparison; its `FINISHED` says what each product was made of.
        contents: word of the commands, e.g. a dataset -> what it is, by its content.
    """
    with locked(output):
        record = output / FINISHED
        finished = json.loads(record.read_text()) if record.is_file() else {}
        for command, product in steps:
            key = step_key(command, product, repository, contents)
            if product.exists() and finished.get(str(product)) == key:
                print(f"{product} is there")
                continue
            print(f"\n$ {shlex.join(command)}", flush=True)
            done = subprocess.run([sys.executable, *command], cwd=repository, check=False)
            if done.returncode:
                raise SystemExit(done.returncode)
            finished[str(product)] = key
            write_json(record, finished)


def step_key(command: Sequence[str], product: Path, repository: Path, contents: Mapping[str, str]) -> str:
    """Hash of a command and of what it reads: files, models, and folders that earlier programs wrote."""
    read = dict(contents)
    for word in command[1:]:
        place = repository / word
        if word in contents or place == product.parent:
            continue
        records = [place / name for name in _RECORDS if (place / name).is_file()]
        if place.is_file():
            read[word] = sha256_of(place)
        elif (place / "config.json").is_file():
            read[word] = model_id(place)
        elif records:
            read[word] = sha256_of(records[0])
    return hashlib.sha256(json.dumps([list(command), read], sort_keys=True).encode()).hexdigest()


def contents_of(dataset: str) -> dict[str, str]:
    """The dataset as commands name it -> its id by content, for `run_steps`.

    Raises:
        InputFileError: it does not load.
    """
    from chandraclip.data.loading import dataset_id, load_splits

    place = place_of(dataset)
    return {place: dataset_id(place, load_splits(place, "pairs"))}


def place_of(dataset: str) -> str:
    """A folder by its whole path, since the programs run elsewhere; a Hub id as it is."""
    return str(Path(dataset).resolve()) if Path(dataset).is_dir() else dataset


def headlines(path: Path) -> list[dict[str, Any]]:
    """The headline of an evaluation's folder."""
    return list(read_metrics(path / "metrics.json")["headline"])


def over_seeds(found: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """A row a number: what is measured, its mean and deviation over the seeds, chance, baseline, published figure.

    Args:
        found: (evaluation, number) -> headlines of it, one a seed.
    """
    rows = []
    for (name, metric), items in found.items():
        values = [item["value"] for item in items if item["value"] is not None]
        first = items[0]
        mean = f"{np.mean(values):.3f}" if values else "-"
        if len(values) > 1:
            mean += f" +- {np.std(values, ddof=1):.3f}"
        baseline = first.get("baseline")
        rows.append(
            {
                "evaluation": name,
                "number": metric,
                "mean": mean,
                "chance": short(first.get("chance")),
                "baseline": "-" if baseline is None else f"{short(baseline)} ({first.get('baseline_name')})",
                "published, not comparable": short(first.get("published")),
                "values": values,
            }
        )
    return rows


def write_comparison(output: Path, facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], heading: str) -> None:
    """Write comparison.json and comparison.md, and print the latter."""
    write_json(output / "comparison.json", {**facts, "rows": list(rows)})
    shown = [{name: value for name, value in row.items() if name != "values"} for row in rows]
    text = f"{heading}\n\n{markdown_table(shown)}\n"
    write_text(output / "comparison.md", text)
    print(f"\n{text}\nwrote {output / 'comparison.md'}, {output / 'comparison.json'}")


def short(value: Any) -> str:
    """Three decimals of a number, a dash for none."""
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
