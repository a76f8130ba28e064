"""scripts/push.py: finished folders go to the Hub, others are refused in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import warm_python
from hub_server import HubServer

pytestmark = pytest.mark.slow

# What a stranger does with what was published, in a process that has none of it.
LOAD = """
import json, datasets, huggingface_hub, transformers
import chandraclip
from huggingface_hub import DatasetCard, ModelCard

rows = datasets.load_dataset("tester/data", "pairs", split="test")
configs = datasets.get_dataset_config_names("tester/data")
streamed = {}
for config in configs:
    split = "train" if config == "responses" else "test"
    streamed[config] = list(datasets.load_dataset("tester/data", config, split=split, streaming=True))
assert streamed["pairs"] == list(rows)
model = transformers.AutoModel.from_pretrained("tester/spectrum")
extractor = transformers.AutoFeatureExtractor.from_pretrained("tester/spectrum")
latents = model.encode(**extractor(rows[:4]))
cards = DatasetCard.load("tester/data"), ModelCard.load("tester/spectrum")
for card, repo_type in zip(cards, ("dataset", "model")):
    card.validate(repo_type=repo_type)
print(json.dumps({
    "rows": len(rows), "configs": {name: len(part) for name, part in streamed.items()}, "latents": len(latents),
    "license": cards[0].data.license, "config_names": [item["config_name"] for item in cards[0].data.configs],
    "described": [item["config_name"] for item in cards[0].data.dataset_info],
    "library": cards[1].data.library_name, "tag": cards[1].data.pipeline_tag,
    "text": cards[0].text, "model_text": cards[1].text,
}))
"""
TOKEN = "hf_" + "k7PqWmZtYs" * 3


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def push(repository: Path, hub: HubServer, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def push(*options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, repository / "scripts" / "push.py", *options]
        return warm_python.run(command, env={**os.environ, **hub.environment(tmp_path / "cache")})

    return push


def test_model_and_dataset_are_published(
    push: Callable[..., subprocess.CompletedProcess[str]], hub: HubServer, towers: Path, dataset: Path, tmp_path: Path
) -> None:
    done = push(towers / "spectrum", "tester/spectrum")
    assert "published at" in done.stdout, done.stderr
    files = hub.repos["tester/spectrum"][-1].files
    assert {"README.md", "metrics.json", "preprocessor_config.json", "model.safetensors"} <= set(files)
    assert not [name for name in files if "train_config" in name or "checkpoints" in name]

    notes = dataset / "notes.txt"
    notes.write_text("mine")
    try:
        hub.add("tester/data", {"data/test-00000-of-00009.parquet": b"of an earlier push", "kept.txt": b"its own"})
        done = push(dataset, "tester/data", "--dataset")
    finally:
        notes.unlink()
    assert "published at" in done.stdout, done.stderr
    files = hub.repos["tester/data"][-1].files
    assert {"README.md", "manifest.json", "data/test-00000-of-00001.parquet", "kept.txt"} <= set(files)
    assert not {"notes.txt", "data/test-00000-of-00009.parquet"} & set(files)
    environment = {**os.environ, **hub.environment(tmp_path / "other")}
    loaded = warm_python.run([sys.executable, "-c", LOAD], env=environment)
    assert loaded.returncode == 0, loaded.stderr[-3000:]
    found = json.loads(loaded.stdout)
    assert found["rows"] > 10
    assert found["latents"] == 4
    names = ["pairs", "catalog", "spectra", "flux_spectra", "events", "texts", "responses"]
    assert list(found["configs"]) == found["config_names"] == found["described"] == names
    assert {found["configs"][name] for name in names[:-1]} == {found["rows"]}
    assert found["configs"]["responses"] > 0
    assert 'load_dataset("tester/data", "pairs")' in found["text"]
    assert "path/or/repo_id" not in found["text"]
    assert (found["library"], found["tag"]) == ("transformers", "feature-extraction")
    assert 'path = "tester/spectrum"' in found["model_text"]
    assert "More Information Needed" not in found["model_text"]
    assert not hub.unknown


@pytest.mark.parametrize(
    ("fails", "options", "message"),
    [
        ({"POST /api/repos/create": 401}, [], "401"),
        ({"/preupload/": 403}, [], "403"),
        ({"/commit/": 400}, [], "Bad request"),
        ({}, ["https://me:password@hub.org/tester/data"], "USER/NAME is meant"),
        ({}, [TOKEN], "looks like a token"),
        ({}, [f"tester/{TOKEN}"], "looks like a token"),
    ],
)
def test_no_message_tells_a_secret(
    push: Callable[..., subprocess.CompletedProcess[str]],
    hub: HubServer,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails: dict[str, int],
    options: list[str],
    message: str,
) -> None:
    """Though the Hub's own answers do, and though all is told of an error (CHANDRACLIP_DEBUG)."""
    monkeypatch.setattr(hub, "environment", lambda cache: {**HubServer.environment(hub, cache), "HF_TOKEN": TOKEN})
    monkeypatch.setenv("CHANDRACLIP_DEBUG", "1")
    hub.fails.update(fails)
    done = push(dataset, *(options or ["tester/data"]), "--dataset")
    assert done.returncode == 1
    assert message in done.stderr
    assert fails or not hub.repos
    for secret in (TOKEN, TOKEN[3:], "password"):
        assert secret not in done.stdout + done.stderr
    cached = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert not cached


def test_a_hub_that_is_away_is_one_line(
    push: Callable[..., subprocess.CompletedProcess[str]],
    hub: HubServer,
    dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away = {"HF_ENDPOINT": "http://me:password@127.0.0.1:9", "HF_TOKEN": TOKEN}
    monkeypatch.setattr(hub, "environment", lambda cache: {**HubServer.environment(hub, cache), **away})
    done = push(dataset, "tester/data", "--dataset")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: tester/data: ")
    assert "password" not in done.stderr
    assert TOKEN not in done.stderr


@pytest.mark.parametrize(
    "files, options, message",
    [
        ([], [], "no config.json"),
        (["train_config.yaml"], [], "run is not finished"),
        ([".building/x"], ["--dataset"], "build is not finished"),
        ([], ["--dataset"], "no README.md"),
    ],
)
def test_an_unfinished_folder_is_refused(
    push: Callable[..., subprocess.CompletedProcess[str]],
    hub: HubServer,
    tmp_path: Path,
    files: list[str],
    options: list[str],
    message: str,
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    done = push(folder, "tester/x", *options)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not hub.repos
