"""The thin scripts, end to end on synthetic embeddings: what they print and write."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import warm_python
from chandraclip.errors import InputFileError, QueryError


@pytest.fixture
def embeddings(tmp_path, embeddings_table):
    folder = tmp_path / "embeddings"
    folder.mkdir()
    pq.write_table(embeddings_table, folder / "embeddings.parquet")
    (folder / "embeddings.json").write_text(
        json.dumps({"model": "m", "dataset": "d", "model_id": "1", "simulated_rows": 800})
    )
    return str(folder)


def is_png(path) -> bool:
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and path.stat().st_size > 10_000


def test_retrieval(script, embeddings, tmp_path, capsys):
    script("eval/retrieval.py")([embeddings, "--output", str(tmp_path / "r"), "--num_resamples", "100"])
    content = json.loads((tmp_path / "r" / "metrics.json").read_text())
    metric = content["results"]["directions"]["spectrum -> text"]["metrics"]["recall@1%"]
    assert metric["low"] <= metric["value"] <= metric["high"]
    assert metric["value"] > 10 * metric["chance"]
    first = content["headline"][0]
    assert first["metric"] == "spectrum -> text recall@1%"
    assert (first["published"], first["comparable"]) == (0.20, False)
    assert content["embeddings"]["model"] == "m"
    assert is_png(tmp_path / "r" / "recall.png")
    out = capsys.readouterr().out
    assert re.search(r"spectrum -> text .* class oracle", out)
    assert "not comparable data" in out


def test_regression(script, embeddings, dataset, tmp_path, capsys):
    script("eval/regression.py")([embeddings, str(dataset), "--output", str(tmp_path / "r"), "--num_resamples", "100"])
    content = json.loads((tmp_path / "r" / "metrics.json").read_text())
    records = {(r["variable"], r["representation"], r["method"]): r for r in content["results"]["records"]}
    assert records["hard_hs", "spectrum_latents", "ridge"]["r2"] > 0.999
    assert records["powlaw_gamma", "all_embeddings", "ridge"]["r2"] < 0.1
    assert "too few" in content["results"]["skipped"]["bb_kt"]
    assert {item["metric"] for item in content["headline"]} == {
        f"{name} MAE (kNN, selected)" for name in ("hard_hs", "powlaw_gamma", "flux_aper_b")
    }
    assert is_png(tmp_path / "r" / "regression.png")
    out = capsys.readouterr().out
    assert re.search("left out, too few rows with a value: 0 train.*bb_kt", out)
    assert "not comparable" in out
    with pytest.raises(ValueError, match="not in the catalogue"):
        script("eval/regression.py")([embeddings, str(dataset), "--variables", "colour"])


def test_regression_of_some_detections(script, embeddings, dataset, tmp_path):
    options = ["--variables", "hard_hs", "--num_resamples", "50", "--output", str(tmp_path / "r")]
    rows = {}
    for name, where in (("all", []), ("hard", ["--where", "hard_hs > 0"])):
        script("eval/regression.py")([embeddings, str(dataset), *options, *where])
        rows[name] = json.loads((tmp_path / "r" / "metrics.json").read_text())["results"]["counts"]["hard_hs"]
    assert all(0 < rows["hard"][split] < rows["all"][split] for split in ("train", "validation", "test"))
    with pytest.raises(QueryError, match="no column 'colour'"):
        script("eval/regression.py")([embeddings, str(dataset), *options, "--where", "colour > 0"])


def test_report(script, embeddings, dataset, tmp_path, capsys):
    results = tmp_path / "all"
    script("eval/retrieval.py")([embeddings, "--output", str(results / "a"), "--num_resamples", "20"])
    (results / "training").mkdir()
    (results / "training" / "metrics.json").write_text('{"loss": 1.0}')  # not of an evaluation
    for _ in range(2):  # the second one does not show what the first one wrote
        capsys.readouterr()
        script("scripts/report.py")([str(results)])
        page, text = (results / "report" / name for name in ("index.html", "report.md"))
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1] == f"wrote {page}, {text}"
        assert len({line.count("|") for line in lines[:-1]}) == 1
        assert sum("spectrum -> text recall@1%" in line for line in lines) == 1
        assert text.read_text().count("## Retrieval") == 1
    assert "data:image/png;base64," in page.read_text()
    other = results / "a" / "page"
    script("scripts/report.py")([str(results / "a"), "--output", str(other)])
    assert "](<../recall.png>)" in (other / "report.md").read_text()
    with pytest.raises(InputFileError, match=r"dataset.*no evaluation has written"):
        script("scripts/report.py")([str(dataset / "data")])


def test_neighbours(script, embeddings, dataset, tmp_path, capsys):
    arguments = [embeddings, embeddings, "--dataset", str(dataset), "--query_dataset", str(dataset)]
    script("eval/neighbours.py")([*arguments, "--output", str(tmp_path / "n"), "--num_neighbours", "2"])
    entries = json.loads((tmp_path / "n" / "neighbours.json").read_text())["queries"]
    assert len(entries) == 800
    assert len(entries[0]["neighbours"]) == 2
    assert entries[0]["texts"][0]["summary"].startswith("A text about 2CXO")
    right = sum(entry["texts"][0]["name"] == entry["query"]["name"] for entry in entries)
    assert right > 700
    assert "A text about" in capsys.readouterr().out


def test_neighbours_of_another_model(script, embeddings, tmp_path, embeddings_table):
    other = tmp_path / "other"
    other.mkdir()
    pq.write_table(embeddings_table, other / "embeddings.parquet")
    (other / "embeddings.json").write_text('{"model_id": "2"}')
    with pytest.raises(ValueError, match="different models"):
        script("eval/neighbours.py")([embeddings, str(other)])


def test_neighbours_of_other_context(script, embeddings, tmp_path, embeddings_table):
    """The same model, told of the observations there and not here: a detection is not where its twin is."""
    other = tmp_path / "other"
    other.mkdir()
    pq.write_table(embeddings_table, other / "embeddings.parquet")
    facts = json.loads((Path(embeddings) / "embeddings.json").read_text())
    (other / "embeddings.json").write_text(json.dumps({**facts, "without_context": ["nh_gal"]}))
    with pytest.raises(ValueError, match=r"left out nothing and nh_gal|left out nh_gal and nothing"):
        script("eval/neighbours.py")([str(embeddings), str(other)])


def test_errors_are_one_line(repository, tmp_path):
    command = [sys.executable, "eval/retrieval.py", str(tmp_path)]
    done = warm_python.run(command, cwd=repository)
    assert done.returncode == 1
    assert re.fullmatch(r"error: .*no embeddings here.*\n", done.stderr)


@pytest.mark.parametrize(
    "path",
    [
        "scripts/embed.py",
        "scripts/explore.py",
        "scripts/report.py",
        "eval/retrieval.py",
        "eval/regression.py",
        "eval/neighbours.py",
    ],
)
def test_help_loads_nothing_heavy(repository, path):
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{path!r}, '--help']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as done:\n    assert done.code == 0\n"
        "heavy = {'torch', 'transformers', 'datasets', 'pandas', 'matplotlib', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def hints(stdout: str) -> list[list[str]]:
    return [shlex.split(line) for line in stdout[stdout.index("now try:\n") :].splitlines()[1:]]


def test_each_evaluation_ends_with_a_command_that_runs(repository, embeddings, dataset, tmp_path):
    options = {
        "eval/retrieval.py": [embeddings, "--num_resamples", "20", "--output", str(tmp_path / "my results" / "a")],
        "eval/neighbours.py": [embeddings, embeddings, "--output", str(tmp_path / "my results" / "n")],
    }
    expected = {"eval/retrieval.py": "scripts/report.py", "eval/neighbours.py": "eval/retrieval.py"}
    for program, arguments in options.items():
        done = warm_python.run([sys.executable, program, *arguments], cwd=repository)
        assert done.returncode == 0, done.stderr
        (command,) = hints(done.stdout)
        assert command[1] == expected[program]
        following = warm_python.run(command, cwd=repository)
        assert following.returncode == 0, following.stderr


@pytest.mark.parametrize(
    ("rows", "aligned", "expected"),
    [
        ({"train": 500, "validation": 50, "test": 50}, True, ["regression", "retrieval", "neighbours"]),
        ({"train": 500, "validation": 50, "test": 50}, False, ["regression"]),
        ({"train": 20, "test": 5}, True, ["neighbours"]),
    ],
)
def test_embedding_suggests_what_its_rows_and_model_allow(repository, rows, aligned, expected):
    from chandraclip.evaluation.embeddings import EMBEDDINGS, LATENTS

    def load(path: str):
        spec = importlib.util.spec_from_file_location(f"parsed_{Path(path).stem}", repository / path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    embed = load("scripts/embed.py")
    options = embed.parse_arguments(["outputs/align", "my data", "outputs/embeddings"])
    missing = dict.fromkeys(LATENTS, 0) | dict.fromkeys(EMBEDDINGS, 0 if aligned else sum(rows.values()))
    commands = embed.next_commands(options, {"rows": rows, "missing": missing})
    assert [Path(script).stem for script, *_ in commands] == expected
    for script, *arguments in commands:
        parsed = load(script).parse_arguments([str(argument) for argument in arguments])
        assert parsed.embeddings == "outputs/embeddings"
