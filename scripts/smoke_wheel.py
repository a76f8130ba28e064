"""Tries an installed chandraclip as its user would, no checkout at hand: `make wheel` runs it in a new environment.

Opens the sample and writes it anew, simulates and packages five detections, makes a tiny model with the package's own
code and loads it in a fresh process by `AutoModel.from_pretrained`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np

import chandraclip

# What the package needs and the tests' environment has anyway: an import of one of these is a missing dependency.
NOT_DEPENDENCIES = (
    "pytest",
    "hypothesis",
    "ruff",
    "mypy",
    "mkdocs",
    "peft",
    "sherpa",
    "stingray",
    "regions",
    "gradio",
    "playwright",
    "polars",
)
LOAD = """
import sys
import torch
from transformers import AutoModel, AutoProcessor
import chandraclip
model = AutoModel.from_pretrained(sys.argv[1], dtype=torch.float32)
processor = AutoProcessor.from_pretrained(sys.argv[1])
batch = processor({"spectrum_counts": [[1] * 1024], "exposure": [1e4]}, modalities=["spectrum"])
with torch.no_grad():
    embedding = model.get_spectrum_features(**batch)
assert abs(float(embedding.norm()) - 1) < 1e-5, embedding
print(type(model).__name__, tuple(embedding.shape))
"""


def check_installation(version: str | None) -> None:
    """The installed package, not a checkout; its data files; nothing of the development set beside it."""
    place = Path(chandraclip.__file__).resolve()
    assert place.is_relative_to(Path(sys.prefix).resolve()), f"{place} is not in the environment {sys.prefix}"
    assert chandraclip.__version__ == metadata.version("chandraclip")
    assert version in (None, chandraclip.__version__), f"{chandraclip.__version__} is not {version}"
    files = [str(file) for file in metadata.files("chandraclip") or []]
    for name in (
        "chandraclip/py.typed",
        "templates/model_card.md",
        "templates/dataset_card.md",
        "templates/report.html",
    ):
        assert any(file.endswith(name) for file in files), f"{name} is not in the wheel"
    assert any(file.endswith(".csv") for file in files), "the simulator's tables are not in the wheel"
    assert sum(file.endswith(".fits.gz") for file in files) == 6, "the sample is not in the wheel"
    assert not any(file.startswith("tests/") for file in files), "the tests are in the wheel"
    assert resources.files(chandraclip).joinpath("templates", "model_card.md").read_text().strip()
    present = {distribution.name for distribution in metadata.distributions()}
    assert not present & set(NOT_DEPENDENCIES), f"the environment is not empty: {present & set(NOT_DEPENDENCIES)}"


def check_sample(folder: Path) -> None:
    """The sample opens, is written as OGIP files, and reads back the same."""
    observation: Any = chandraclip.open(chandraclip.sample())
    written = observation.to_ogip(folder, name="again")
    assert len(written) == 6, written
    again: Any = chandraclip.open(written["spectrum"])
    np.testing.assert_array_equal(again.spectrum.counts, observation.spectrum.counts)
    np.testing.assert_array_equal(again.spectrum.response.arf, observation.spectrum.response.arf)
    np.testing.assert_array_equal(again.events.time, observation.events.time)
    assert again.events.region.components == observation.region.components


def check_simulator(folder: Path) -> list[str]:
    """Five detections, packaged with their card; gives their texts."""
    from datasets import load_dataset

    from chandraclip.simulate.dataset import build_from_simulation

    build_from_simulation(folder, 5, seed=1, progress=False)
    assert (folder / "README.md").read_text().startswith("---")
    splits = load_dataset(str(folder), "pairs", cache_dir=str(folder.parent / "cache"))
    rows = [row for split in splits.values() for row in split]
    assert len(rows) == 5
    assert sum(map(sum, (row["spectrum_counts"] for row in rows))) > 0
    return [row["summary"] for row in rows if row["summary"]]


def make_model(folder: Path, texts: list[str]) -> None:
    """A tiny model with its processor, in a folder."""
    from chandraclip.models import (
        ChandraClipConfig,
        ChandraClipModel,
        ChandraClipProcessor,
        EventFeatureExtractor,
        SpectrumFeatureExtractor,
        small_text_config,
        train_tokenizer,
    )

    tokenizer = train_tokenizer([*texts, "0 1 2 3 4 5 6 7 8 9"], vocab_size=200)
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "latent_size": 8}
    config = ChandraClipConfig(
        spectrum_config={**tower, "patch_size": 40},
        event_config={**tower, "num_queries": 4},
        text_config=small_text_config(len(tokenizer), hidden_size=16, intermediate_size=16),
        projection_dim=8,
    )
    ChandraClipModel(config).save_pretrained(folder)
    ChandraClipProcessor(SpectrumFeatureExtractor(), EventFeatureExtractor(), tokenizer).save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", help="the version it must be, e.g. 0.1.0; default: any")
    options = parser.parse_args()
    check_installation(options.version)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        check_sample(folder / "files")
        make_model(folder / "model", check_simulator(folder / "dataset"))
        subprocess.run([sys.executable, "-I", "-c", LOAD, folder / "model"], cwd=folder, check=True)
    print(f"chandraclip {chandraclip.__version__} works in {sys.prefix}")


if __name__ == "__main__":
    main()
