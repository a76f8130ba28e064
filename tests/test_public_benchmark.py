"""`make benchmark-real`, every command of it, on photons of real detections: tiny, and without a process for each."""

from __future__ import annotations

import gzip
import json
import runpy
import shlex
import shutil
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed"),
]
NUM_PHOTONS, NUM_NAMES = 20, 10


@pytest.fixture
def sample(real_data, tmp_path):
    """The 15 rows under several names each, so that every split has some; a score on them means nothing."""
    with gzip.open(real_data / "events" / "axia_sample" / "corpus.jsonl.gz", "rt") as stream:
        rows = [json.loads(line) for line in stream]
    folder = tmp_path / "a copy"
    folder.mkdir()
    with gzip.open(folder / "corpus.jsonl.gz", "wt") as stream:
        for number in range(NUM_NAMES):
            for row in rows:
                photons = row["original_event_list"][number :: len(row["original_event_list"]) // NUM_PHOTONS]
                changed = {"source_name": f"{row['source_name']} {number}", "original_event_list": photons}
                stream.write(json.dumps({**row, **changed}) + "\n")
    return folder


@pytest.fixture
def commands(repository, tmp_path):
    """(script, options) of each command that `make` would run, in a folder where its environment is made already."""
    folder = tmp_path / "checkout"
    (folder / ".venv").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(repository / name, folder)
    (folder / ".venv" / ".installed").touch()

    def told(*words):
        recipe = subprocess.run(
            ["make", "-n", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=60
        ).stdout
        lines = [shlex.split(line) for line in recipe.splitlines() if line.startswith(".venv/bin/")]
        starts = [next(place for place, word in enumerate(line) if word.endswith(".py")) for line in lines]
        return [(line[start], line[start + 1 :]) for line, start in zip(lines, starts)]

    return told


def test_the_public_benchmark_from_a_local_copy_to_its_tables(
    repository, commands, sample, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    found = commands("benchmark-real", f"DATASET={sample}", "STEPS=2", "BATCH=8")
    assert [script for script, _ in found] == [
        "scripts/build_dataset.py", "eval/hardness.py", "training/align.py", "scripts/embed.py", "eval/regression.py",
        "eval/retrieval.py",
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in ("scripts", "eval", "training"):
        (tmp_path / name).symlink_to(repository / name)
    shorter = {
        "scripts/embed.py": ["--num_processes", "1"],
        "eval/regression.py": ["--num_resamples", "20", "--variables", "hard_hm", "hard_ms"],
        "eval/retrieval.py": ["--num_resamples", "20"],
    }
    for script, options in found:
        with monkeypatch.context() as inner:
            inner.setattr(sys, "argv", [script, *options, *shorter.get(script, [])])
            inner.syspath_prepend(str(repository / script.split("/")[0]))
            with pytest.raises(SystemExit) as stop:
                runpy.run_path(str(repository / script), run_name="__main__")
        assert stop.value.code in (None, 0), (script, capsys.readouterr())
    results = tmp_path / "outputs" / "results" / "a copy"
    hardness = json.loads((results / "hardness" / "metrics.json").read_text())
    assert hardness["differences"]["ACIS-I"]["hard_hm"]["num_rows"] == 15 * NUM_NAMES
    assert abs(hardness["differences"]["ACIS-I"]["hard_hm"]["median"]) < 0.1
    regression = (results / "regression" / "regression.md").read_text()
    assert "hand" in regression
    retrieval = json.loads((results / "retrieval" / "metrics.json").read_text())
    assert "spectrum -> event" in json.dumps(retrieval)
    assert "chance" in capsys.readouterr().out


def test_the_benchmark_of_the_hub_itself_and_a_dataset_of_ones_own(commands):
    hub = commands("benchmark-real")
    assert hub[0][1][:2] == ["hub", "astromindinc/axia-csc-corpus"]
    assert "--max_steps" not in hub[2][1]
    own = commands("align", "DATASET=some where/mine")
    assert own[0] == ("training/align.py", ["--dataset", "some where/mine", "--output_dir", "outputs/mine/mine",
                                            "--modalities", "spectrum", "event", "text"])  # fmt: skip
    assert own[1][1] == ["outputs/mine/mine", "some where/mine", "outputs/embeddings/mine/mine"]
    assert len(own) == 6
    assert commands("align")[0] == ("training/align.py", [])
