"""Any family by its config, from pre-training to embeddings; and what is no tower is refused, never replaced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from chandraclip.embedding.dataset import embed_dataset
from chandraclip.embedding.embedder import EmbedConfig
from chandraclip.errors import InputFileError
from chandraclip.evaluation.embeddings import EmbeddingTable
from training_files import TINY

pytestmark = pytest.mark.slow
CONFIGS = Path(__file__).resolve().parents[2] / "training" / "configs"
GRU = {"hidden_size": 8, "latent_size": 6, "patch_size": 40}


FOLDED = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "latent_size": 6, "patch_size": 12}


@pytest.fixture(scope="module")
def folded(dataset, tmp_path_factory, run_loop):
    """A folded spectrum autoencoder, pre-trained by the file that is shipped, but small."""
    folder = tmp_path_factory.mktemp("folded") / "folded"
    shipped = CONFIGS / "folded_spectrum_autoencoder.yaml"
    content = {**yaml.safe_load(shipped.read_text()), **TINY, "model_options": FOLDED, "dataset": str(dataset)}
    (folder.parent / "folded.yaml").write_text(yaml.safe_dump(content))
    run_loop("pretrain", "--config", folder.parent / "folded.yaml", "--output_dir", folder)
    return folder


def test_a_tower_that_needs_responses_is_aligned_and_embeds(folded, towers, dataset, tmp_path, run_loop):
    output = tmp_path / "align"
    run_loop("align", "--config", towers / "align.yaml", "--output_dir", output, "--max_steps", 3,
             "--spectrum_model_name_or_path", folded)  # fmt: skip
    assert json.loads((output / "config.json").read_text())["spectrum_config"]["model_type"] == (
        "folded_spectrum_autoencoder"
    )
    for model, columns in ((output, ("spectrum_embedding", "spectrum_latents")), (folded, ("spectrum_latents",))):
        folder = tmp_path / f"embeddings-{model.name}"
        embed_dataset(EmbedConfig(str(model), str(dataset)), folder)
        table = EmbeddingTable.load(folder)
        for name in columns:
            assert table.masks[name].any(), name


@pytest.fixture(scope="module")
def recurrent(dataset, tmp_path_factory, run_loop):
    """A recurrent autoencoder, pre-trained by its config."""
    folder = tmp_path_factory.mktemp("recurrent")
    content = {**TINY, "model_type": "spectrum_recurrent_autoencoder", "model_options": GRU, "dataset": str(dataset)}
    (folder / "gru.yaml").write_text(yaml.safe_dump(content))
    run_loop("pretrain", "--config", folder / "gru.yaml", "--output_dir", folder / "gru")
    return folder / "gru"


def test_a_recurrent_tower_is_aligned_and_embeds(recurrent, towers, dataset, tmp_path, run_loop):
    output = tmp_path / "align"
    run_loop("align", "--config", towers / "align.yaml", "--output_dir", output, "--max_steps", 3,
             "--spectrum_model_name_or_path", recurrent)  # fmt: skip
    config = json.loads((output / "config.json").read_text())
    assert config["spectrum_config"]["model_type"] == "spectrum_recurrent_autoencoder"
    names = set(load_file(output / "model.safetensors"))
    tower = {name.removeprefix("encoder.") for name in load_file(recurrent / "model.safetensors") if "encoder." in name}
    assert {f"spectrum_encoder.{name}" for name in tower if not name.startswith("decoder.")} <= names
    assert "gru (spectrum_recurrent_autoencoder)" in (output / "README.md").read_text()
    for model, columns in ((output, ("spectrum_embedding", "spectrum_latents")), (recurrent, ("spectrum_latents",))):
        folder = tmp_path / f"embeddings-{model.name}"
        embed_dataset(EmbedConfig(str(model), str(dataset)), folder)
        table = EmbeddingTable.load(folder)
        for name in columns:
            assert table.masks[name].any(), name
        assert table.arrays["spectrum_latents"].shape[1] == 6


def test_the_aligned_tower_starts_from_the_pretrained_weights(recurrent, towers):
    from chandraclip.models import ChandraClipModel

    model = ChandraClipModel.from_pretrained_towers(str(recurrent), str(towers / "events"), None)
    state = load_file(recurrent / "model.safetensors")
    for name, value in model.spectrum_encoder.state_dict().items():
        assert torch.equal(value, state[f"encoder.{name}"]), name


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("spectrum", "events", "a spectrum tower must be of one of the families"),
        ("event", "gru", "an? event tower must be of one of the families"),
        ("spectrum", "text", "not 'bert'"),
        ("spectrum", "absent", "no model loads from here"),
    ],
)
def test_what_is_no_such_tower_is_refused(recurrent, towers, text_encoder, tmp_path, run_loop, kind, given, message):
    paths = {"events": towers / "events", "gru": recurrent, "text": text_encoder, "absent": tmp_path / "absent"}
    with pytest.raises(InputFileError, match=message):
        run_loop("align", "--config", towers / "align.yaml", "--output_dir", tmp_path / "align",
                 f"--{kind}_model_name_or_path", paths[given])  # fmt: skip
    assert not (tmp_path / "align").exists()


def test_weights_that_are_missing_are_not_drawn_at_random(recurrent, towers, tmp_path, run_loop):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in ("config.json", "preprocessor_config.json"):
        (broken / file).write_text((recurrent / file).read_text())
    state = load_file(recurrent / "model.safetensors")
    del state["encoder.latent_projection.weight"]
    save_file(state, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputFileError, match=r"lacks the weights encoder\.latent_projection\.weight"):
        run_loop("align", "--config", towers / "align.yaml", "--output_dir", tmp_path / "align",
                 "--spectrum_model_name_or_path", broken)  # fmt: skip


@pytest.mark.parametrize(
    ("loop", "options", "message"),
    [
        ("pretrain", ["--model_options", '{"model_type": "event_transformer"}'], "no option model_type"),
        ("pretrain", ["--model_options", '{"hiden_size": 8}'], "no option hiden_size; it has .*hidden_size"),
        ("pretrain", ["--model_type", "spectrum_autoencodr"], "model_type must be one of"),
        ("pretrain", ["--feature_extractor_options", '{"points": 8}'], "no option points; it has .*num_points"),
        ("pretrain", ["--feature_extractor_options", '{"num_points": 80}'], "reads 400 points.*gives 80"),
        ("align", ["--model_options", '{"model_type": "clip"}'], "no option model_type"),
    ],
)
def test_options_that_nothing_reads_are_refused(towers, tmp_path, run_loop, loop, options, message):
    config = towers / ("spectrum.yaml" if loop == "pretrain" else "align.yaml")
    with pytest.raises(ValueError, match=message):
        run_loop(loop, "--config", config, "--output_dir", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_a_family_must_be_named(run_loop, capsys):
    with pytest.raises(SystemExit):
        run_loop("pretrain")
    assert "training/configs/NAME.yaml" in capsys.readouterr().err
