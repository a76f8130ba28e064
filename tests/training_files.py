"""A small simulated dataset, options that train on it in seconds, and how the loops are started: fixtures."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

TINY = {"batch_size": 16, "max_steps": 6, "warmup_steps": 2, "eval_steps": 3, "save_steps": 2, "logging_steps": 1}
TINY_MODELS = {
    "spectrum": {
        "model_type": "spectrum_autoencoder",
        **{"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "latent_size": 8},
    },
    "events": {
        "model_type": "event_transformer",
        **{"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "latent_size": 8},
        **{"num_queries": 2, "decoder_hidden_size": 8, "num_decoder_blocks": 1},
    },
}


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """250 simulated detections, packaged."""
    from chandraclip.simulate.dataset import build_from_simulation

    folder = tmp_path_factory.mktemp("data") / "simulated"
    build_from_simulation(folder, 250, seed=5, progress=False)
    return folder


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Environment of a loop: one thread, no GPU, no network."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="session")
def loop_command(repository: Path) -> Callable[[str], list[str]]:
    """The command that starts a loop."""
    return lambda loop: [sys.executable, str(repository / "training" / f"{loop}.py")]


@pytest.fixture(scope="session")
def run_loop(repository: Path) -> Iterator[Callable[..., None]]:
    """Run a loop to its end, here: ``run_loop("align", "--max_steps", 3)``. On the CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        patch.syspath_prepend(str(repository / "training"))

        def run(loop: str, *options: object) -> None:
            importlib.import_module(loop).main([str(option) for option in options])

        yield run


@pytest.fixture(scope="session")
def text_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small BERT and its tokenizer, as from the Hub: with a pooler, which we do not use."""
    from transformers import BertModel

    from chandraclip.models import small_text_config, train_tokenizer

    folder = tmp_path_factory.mktemp("text") / "encoder"
    tokenizer = train_tokenizer(["a bright quasar", "a flaring star", "an X-ray binary with a neutron star"], 200, 96)
    config = small_text_config(len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def towers(dataset: Path, tmp_path_factory: pytest.TempPathFactory, run_loop: Callable) -> Path:
    """A folder with the options of tiny loops, `align.yaml`, and the towers that align finds: `spectrum`, `events`."""
    folder = tmp_path_factory.mktemp("towers")
    for name, options in TINY_MODELS.items():
        options = dict(options)
        content = {**TINY, "model_type": options.pop("model_type"), "model_options": options}
        content |= {"dataset": str(dataset), "output_dir": str(folder / name)}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
        run_loop("pretrain", "--config", folder / f"{name}.yaml")
    content = {
        **TINY,
        "dataset": str(dataset),
        "output_dir": str(folder / "align"),
        "spectrum_model_name_or_path": str(folder / "spectrum"),
        "event_model_name_or_path": str(folder / "events"),
        "model_options": {"projection_hidden_size": 16},
        "max_text_length": 96,
    }
    (folder / "align.yaml").write_text(yaml.safe_dump(content))
    return folder
