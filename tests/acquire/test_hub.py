"""A data set of the Hub in one command, from a Hub on loopback; and ours, which others load from there as a stream."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys

import pytest

import warm_python

AXIA = "astromindinc/axia-csc-corpus"
CARD = """---
license: cc-by-4.0
configs:
- config_name: corpus
  data_files:
  - split: train
    path: data/corpus.jsonl.gz
---

# Axia
"""
STREAM = """
import datasets
from chandraclip.acquire.hub import build_from_hub, fetch
from chandraclip.errors import InputFileError
from huggingface_hub import DatasetCard, HfApi

HfApi().create_repo("tester/axia", repo_type="dataset")
HfApi().upload_folder(folder_path="out", repo_id="tester/axia", repo_type="dataset")
rows = datasets.load_dataset("tester/axia", "events", streaming=True)
print(sorted(row["obsid"] for split in rows.values() for row in split))
build_from_hub("astromindinc/axia-csc-corpus", "again")
for name in ("nobody/nothing", "not an id"):
    try:
        fetch(name)
    except InputFileError as error:
        print(error)
card = DatasetCard.load("tester/axia")
card.validate(repo_type="dataset")  # its YAML; the Hub's own rules are the Hub's
print(card.data.license, card.data.configs[0]["config_name"])
"""


@pytest.fixture
def run(repository, hub_server, tmp_path):
    environment = {
        **os.environ,
        **hub_server.environment(tmp_path / "cache"),
        "HF_DATASETS_CACHE": str(tmp_path / "cache" / "datasets"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }

    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *words]
        return warm_python.run(command, cwd=tmp_path, env={**environment, **more})

    script = str(repository / "scripts" / "build_dataset.py")
    return lambda *words, **more: run(*([script, "hub", *words] if words[0] != "-c" else words), **more)


def test_a_data_set_of_the_hub_in_one_command(real_data, hub_server, run, tmp_path):
    content = (real_data / "events" / "axia_sample" / "corpus.jsonl.gz").read_bytes()
    entry = {"path": "corpus.jsonl.gz", "sha256_uncompressed": hashlib.sha256(gzip.decompress(content)).hexdigest()}
    files = {
        "README.md": CARD.encode(),
        "manifest.json": json.dumps({"files": {"corpus": entry}}).encode(),
        "data/corpus.jsonl.gz": content,
        "data/metadata_records.json": b"[]",
        "data/picture.png": b"large",
    }
    hub_server.add(AXIA, files)
    done = run(AXIA, "out")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    parameters = manifest["parameters"]
    assert (sum(manifest["num_rows"].values()), manifest["license"]) == (15, "cc-by-4.0")
    assert (parameters["input"], parameters["revision"]) == (AXIA, hub_server.repos[AXIA][-1].oid)
    assert list(parameters["files_sha256"]) == ["data/corpus.jsonl.gz"]
    fetched = {path for _, path in hub_server.requests if "/resolve/" in path}
    assert not [path for path in fetched if path.endswith((".png", "metadata_records.json"))]
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"build_dataset.py hub {AXIA} --revision {parameters['revision']} OUTPUT_DIR" in card

    # Ours on the Hub, as anybody else loads it.
    loaded = run("-c", STREAM)
    assert loaded.returncode == 0, loaded.stderr
    obsids, absent, no_id, header = loaded.stdout.splitlines()[-4:]
    rows = [json.loads(line) for line in gzip.decompress(content).splitlines()]
    assert json.loads(obsids) == sorted(row["obsid"] for row in rows)
    assert header == "cc-by-4.0 pairs"
    assert "the Hub says" in absent
    assert "no id of the Hub" in no_id
    assert json.loads((tmp_path / "again" / "manifest.json").read_text()) == manifest  # fetched once, the same bytes
    assert len([path for method, path in hub_server.requests if method == "GET" and path.endswith("jsonl.gz")]) == 1
    assert ("POST", "/api/validate-yaml") in hub_server.requests

    # Another's bytes under the same name.
    files["data/corpus.jsonl.gz"] = gzip.compress(gzip.decompress(content)[:-1])
    hub_server.add(AXIA, files)
    refused = run(AXIA, "wrong")
    assert refused.returncode == 1
    assert "wrong SHA-256" in refused.stderr
    assert not (tmp_path / "wrong" / "data").exists()
