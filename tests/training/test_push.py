"""scripts/push.py: finished folders go to the Hub, others are refused in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub_server import HubServer

pytestmark = pytest.mark.slow

LOAD = """
import sys, datasets
print(len(datasets.load_dataset("tester/data", "pairs", split="test")))
"""


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def push(repository: Path, hub: HubServer, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def push(*options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(repository / "scripts" / "push.py"), *map(str, options)],
            env={**os.environ, **hub.environment(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )

    return push


def test_model_and_dataset_are_published(
    push: Callable[..., subprocess.CompletedProcess[str]], hub: HubServer, towers: Path, dataset: Path, tmp_path: Path
) -> None:
    done = push(towers / "spectrum", "tester/spectrum")
    assert "published at" in done.stdout, done.stderr
    files = hub.repos["tester/spectrum"][-1].files
    assert {"README.md", "metrics.json", "preprocessor_config.json", "model.safetensors"} <= set(files)
    assert not [name for name in files if "train_config" in name or "checkpoints" in name]

    done = push(dataset, "tester/data", "--dataset")
    assert "published at" in done.stdout, done.stderr
    environment = {**os.environ, **hub.environment(tmp_path / "other")}
    loaded = subprocess.run([sys.executable, "-c", LOAD], env=environment, capture_output=True, text=True, check=False)
    assert int(loaded.stdout) > 10, loaded.stderr[-2000:]


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
