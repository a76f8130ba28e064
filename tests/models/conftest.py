"""A small batch of dataset columns, with lists of very different lengths and modalities missing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from chandraclip.models import (
    ChandraClipConfig,
    ChandraClipModel,
    ChandraClipProcessor,
    EventFeatureExtractor,
    SpectrumFeatureExtractor,
    small_text_config,
    train_tokenizer,
)
from detection_columns import make_columns
from training_files import dataset, environment, run_loop, towers  # noqa: F401


@pytest.fixture
def columns() -> dict[str, Any]:
    return make_columns()


@pytest.fixture(scope="session")
def processor() -> ChandraClipProcessor:
    texts = [text for seed in range(3) for text in make_columns(seed)["summary"]]
    tokenizer = train_tokenizer([*texts, "0 1 2 3 4 5 6 7 8 9"], vocab_size=200)
    return ChandraClipProcessor(SpectrumFeatureExtractor(), EventFeatureExtractor(mesh_size=32), tokenizer)


@pytest.fixture
def model(processor: ChandraClipProcessor) -> ChandraClipModel:
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "latent_size": 8}
    config = ChandraClipConfig(
        spectrum_config={**small, "patch_size": 40},
        event_config={**small, "num_queries": 4, "chunk_size": 16},
        text_config=small_text_config(len(processor.tokenizer), hidden_size=16, intermediate_size=32),
        projection_dim=8,
        projection_hidden_size=16,
    )
    return ChandraClipModel(config).eval()
