"""Whether detections were observed or simulated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from chandraclip.data.provenance import provenance_of


def rows(*true_spectrum: str | None) -> datasets.Dataset:
    features = datasets.Features({"true_spectrum": datasets.Value("string")})
    return datasets.Dataset.from_dict({"true_spectrum": list(true_spectrum)}, features=features)


@pytest.mark.parametrize(
    "split, simulated, sentence",
    [
        (rows("powerlaw", "plasma"), 2, "**Simulated data**: all 2 detections were simulated; nothing was observed."),
        (rows("powerlaw", None, None), 1, "**Mixed data**: 1 of the 3 detections were simulated, 2 are real."),
        (rows(None, None), 0, "as far as the dataset tells"),
        (datasets.Dataset.from_dict({"name": ["a"]}), 0, "as far as the dataset tells"),
    ],
)
@pytest.mark.parametrize("kind", [None, "arrow", "numpy"])
def test_the_rows_tell(split: datasets.Dataset, simulated: int, sentence: str, kind: Any, tmp_path: Path) -> None:
    found = provenance_of(str(tmp_path), split.with_format(kind))
    assert (found.num_rows, found.num_simulated) == (len(split), simulated)
    assert sentence in found.sentence
    assert found.command is None


@pytest.mark.parametrize(
    "parameters, word, command",
    [
        ({"source": "files", "input": "mission"}, "were observed", "files mission OUTPUT_DIR"),
        (
            {"source": "catalog", "detections": "csc.csv", "sources": None, "pileup": True, "seed": 3},
            "all 2 detections were simulated",
            "simulate --from_catalog csc.csv --seed 3 OUTPUT_DIR",
        ),
    ],
)
def test_the_manifest_tells(parameters: dict, word: str, command: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"parameters": parameters, "license": "cc0-1.0"}))
    found = provenance_of(str(tmp_path), datasets.Dataset.from_dict({"name": ["a", "b"]}))
    assert word in found.sentence
    assert found.command == f"python scripts/build_dataset.py {command}"
    assert found.license == "cc0-1.0"


@pytest.mark.parametrize("content", ["{", "[]", "{}", "null", '{"parameters": 1}'])
def test_another_manifest_is_none_of_ours(content: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(content)
    assert provenance_of(str(tmp_path), rows(None)).command is None
