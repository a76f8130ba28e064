"""Models and processors come back exactly, in a fresh process, from a folder and from a Hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoFeatureExtractor, AutoModel, AutoProcessor

import warm_python
from chandraclip.models import (
    ChandraClipModel,
    ChandraClipProcessor,
    EventFeatureExtractor,
    EventTransformerConfig,
    EventTransformerModel,
    SpectrumAutoencoderConfig,
    SpectrumAutoencoderModel,
    SpectrumFeatureExtractor,
)

EMBEDS = ("spectrum_embeds", "event_embeds", "text_embeds")

# Loads argv[1] (a folder or a repo id), embeds the rows of argv[2], and writes argv[3].
EMBED = """
import sys
import chandraclip, numpy as np, torch
from safetensors.torch import save_file
from transformers import AutoModel, AutoProcessor
source, rows, output = sys.argv[1:]
model = AutoModel.from_pretrained(source, dtype=torch.float32).eval()
processor = AutoProcessor.from_pretrained(source)
assert type(processor).__name__ == "ChandraClipProcessor", type(processor)
flat = np.load(rows)
columns = {}
for name in sorted({key.split("/")[0] for key in flat}):
    values = [flat[key] for key in sorted(flat, key=lambda key: int(key.split("/")[1])) if key.startswith(name + "/")]
    columns[name] = [str(value) for value in values] if name == "summary" else values
with torch.no_grad():
    result = model(**processor(columns))
save_file({name: result[name] for name in ("spectrum_embeds", "event_embeds", "text_embeds")}, output)
"""

PUSH = """
import sys
import chandraclip, torch
from transformers import AutoModel, AutoProcessor
source, repo = sys.argv[1:]
AutoModel.from_pretrained(source, dtype=torch.float32).push_to_hub(repo)
AutoProcessor.from_pretrained(source).push_to_hub(repo)
"""


def run(code: str, *arguments: object, environment: dict[str, str] | None = None) -> str:
    """A fresh interpreter; its standard output."""
    command = [sys.executable, "-c", code, *arguments]
    process = warm_python.run(command, env={**os.environ, **(environment or {})})
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout


def save_rows(columns: dict[str, Any], path: Path) -> None:
    np.savez(path, **{f"{name}/{row}": value for name, rows in columns.items() for row, value in enumerate(rows)})


@pytest.fixture
def saved(model: ChandraClipModel, processor: ChandraClipProcessor, columns: dict[str, Any], tmp_path: Path) -> Path:
    """A folder with the model, its processor, rows and their embeddings."""
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    save_rows(columns, tmp_path / "rows.npz")
    with torch.no_grad():
        result = model(**processor(columns))
    save_file({name: result[name] for name in EMBEDS}, tmp_path / "expected.safetensors")
    return tmp_path


def assert_same_embeddings(left: Path, right: Path) -> None:
    expected, result = load_file(left), load_file(right)
    for name in EMBEDS:
        torch.testing.assert_close(result[name], expected[name], rtol=0, atol=1e-6)


def test_a_fresh_process_gives_the_same_embeddings(saved: Path) -> None:
    run(EMBED, saved / "model", saved / "rows.npz", saved / "result.safetensors")
    assert_same_embeddings(saved / "expected.safetensors", saved / "result.safetensors")


def test_push_to_hub_and_back_by_repo_id(saved: Path, hub_server: Any) -> None:
    environment = hub_server.environment(saved / "cache")
    run(PUSH, saved / "model", "tester/chandraclip", environment=environment)
    files = hub_server.repos["tester/chandraclip"][-1].files
    assert {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json"} <= set(files)
    # Another cache, and no folder: everything comes from the Hub.
    environment = hub_server.environment(saved / "other_cache")
    run(EMBED, "tester/chandraclip", saved / "rows.npz", saved / "result.safetensors", environment=environment)
    assert_same_embeddings(saved / "expected.safetensors", saved / "result.safetensors")
    assert not hub_server.unknown


def test_every_tensor_comes_back_from_the_meta_device(model: ChandraClipModel, tmp_path: Path) -> None:
    state = model.state_dict()
    assert state["event_standardize.mean"].tolist() == pytest.approx(model.config.event_config.summary_mean)
    assert (
        not {name for name, _ in model.named_buffers()}
        - set(state)
        - {name for name, _ in model.named_buffers() if name.startswith("text_encoder")}
    )
    model.save_pretrained(tmp_path)
    loaded = ChandraClipModel.from_pretrained(tmp_path, dtype=torch.float32)
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_weights_absent_from_the_file_are_initialised(model: ChandraClipModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    absent = ["logit_scale", "event_encoder.query_embedding", "spectrum_standardize.std", "event_projection.fc2.weight"]
    save_file(
        {name: value for name, value in state.items() if name not in absent},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )
    loaded = ChandraClipModel.from_pretrained(tmp_path, dtype=torch.float32)
    assert loaded.logit_scale.item() == pytest.approx(model.config.logit_scale_init_value)
    assert loaded.spectrum_standardize.std.tolist() == pytest.approx(model.config.spectrum_config.summary_std)
    assert 0.5 < loaded.event_encoder.query_embedding.std() < 2.0
    assert 0.0 < loaded.event_projection.fc2.weight.abs().max() < 2.0


def test_frozen_text_stays_frozen(model: ChandraClipModel, tmp_path: Path) -> None:
    model.config.freeze_text = True
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path, dtype=torch.float32)
    frozen = {parameter.requires_grad for parameter in loaded.text_encoder.parameters()}
    assert frozen == {False}
    assert loaded.logit_scale.requires_grad


@pytest.mark.parametrize(
    "model_class, config, extractor",
    [
        (
            SpectrumAutoencoderModel,
            SpectrumAutoencoderConfig(latent_size=8),
            SpectrumFeatureExtractor(group_counts=7, normalization="asinh"),
        ),
        (EventTransformerModel, EventTransformerConfig(latent_size=8), EventFeatureExtractor(max_events=50)),
    ],
)
def test_a_tower_and_its_feature_extractor(
    model_class: Any, config: Any, extractor: Any, columns: dict[str, Any], tmp_path: Path
) -> None:
    model = model_class(config).eval()
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path, dtype=torch.float32)
    extractor_loaded = AutoFeatureExtractor.from_pretrained(tmp_path)
    assert type(loaded) is model_class
    assert extractor_loaded.to_dict() == extractor.to_dict()
    with torch.no_grad():
        expected, result = model(**extractor(columns)), loaded(**extractor_loaded(columns))
    assert torch.equal(result.latents, expected.latents)
    assert torch.equal(result.loss, expected.loss)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == config.model_type


def test_processor_options_come_back(processor: ChandraClipProcessor, tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(loaded, ChandraClipProcessor)
    assert loaded.event_feature_extractor.mesh_size == 32
    assert loaded.max_text_length == processor.max_text_length
    assert loaded.tokenizer("N_H 21.4")["input_ids"] == processor.tokenizer("N_H 21.4")["input_ids"]


@pytest.mark.parametrize(
    "imports",
    [
        "import chandraclip; from transformers import AutoModel",
        *(
            pytest.param(code, marks=pytest.mark.slow)
            for code in (
                "from transformers import AutoModel; import chandraclip",
                "import chandraclip.data; from transformers import AutoProcessor",
                "from chandraclip import ChandraClipModel",
                "import chandraclip.models",
                "import chandraclip; from transformers import PreTrainedModel",
                "import chandraclip, peft",
            )
        ),
    ],
)
def test_auto_classes_know_the_models_in_any_order_of_imports(imports: str) -> None:
    if "peft" in imports:
        pytest.importorskip("peft")
    code = f"{imports}; from transformers import CONFIG_MAPPING; print('chandraclip' in CONFIG_MAPPING)"
    assert run(code).strip() == "True"


def test_importing_is_cheap() -> None:
    code = "import sys, chandraclip.ogip, chandraclip.catalog; print({'torch', 'transformers'} & set(sys.modules))"
    cold = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert cold.stdout.strip() == "set()"
