"""A small catalogue: simulated detections, a tiny aligned model, and what it makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Made:
    """Folders of a dataset, of a model, and of the model's embeddings of the dataset."""

    dataset: Path
    model: Path
    embeddings: Path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    from chandraclip.embedding.dataset import embed_dataset
    from chandraclip.embedding.embedder import EmbedConfig
    from chandraclip.simulate.dataset import build_from_simulation
    from registered_models import build, processor

    folder = tmp_path_factory.mktemp("catalogue")
    parts = Made(folder / "dataset", folder / "model", folder / "embeddings")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "cache")
        build_from_simulation(parts.dataset, 120, seed=5, progress=False)
        build("chandraclip").save_pretrained(parts.model)
        processor().save_pretrained(parts.model)
        embed_dataset(EmbedConfig(str(parts.model), str(parts.dataset)), parts.embeddings)
    return parts
