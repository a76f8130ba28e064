"""What every registered family is held to (docs/adding_an_encoder.md). A new one needs its line in `TINY`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoFeatureExtractor, AutoModel

import warm_python
from chandraclip.models import FAMILIES, ChandraClipModel, ChandraClipProcessor
from chandraclip.models.contract import make_feature_extractor, make_model
from detection_columns import made_up_responses, make_columns
from training_files import TINY as RUN

CHECKPOINTS = Path(__file__).with_name("checkpoints")
# Options that make a model of each family small.
TINY: dict[str, dict[str, Any]] = {
    "spectrum_autoencoder": {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "latent_size": 8},
    "spectrum_recurrent_autoencoder": {"hidden_size": 12, "num_hidden_layers": 2, "latent_size": 8, "patch_size": 40},
    "folded_spectrum_autoencoder": {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2,
                                    "latent_size": 8, "decoder_hidden_size": 16, "patch_size": 12, "num_energies": 40},
    "spectrum_vae": {"encoder_hidden_sizes": [16], "branch_hidden_sizes": [16], "trunk_hidden_sizes": [16],
                     "num_templates": 8},
    "event_transformer": {"hidden_size": 16, "intermediate_size": 16, "num_queries": 4, "latent_size": 8,
                          "decoder_hidden_size": 8, "num_decoder_blocks": 1, "chunk_size": 16},
    "poisson_autodecoder": {"decoder_hidden_size": 8, "num_decoder_blocks": 1, "num_fit_steps": 2},
    "event_cube_autoencoder": {"channels": [4, 4], "hidden_sizes": [16, 8]},
    "axia_encoder": {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
                     "branch_size": 8, "fused_size": 16, "latent_size": 8, "hidden_dropout": 0.0,
                     "attention_dropout": 0.0, "decoder_hidden_size": 8, "num_decoder_blocks": 1},
}  # fmt: skip
# Options without which what is drawn while training, or a batch's statistics, depend on how a batch is cut.
NOT_DRAWN: dict[str, dict[str, Any]] = {
    "spectrum_vae": {"variational": False},
    "event_cube_autoencoder": {"batch_norm": False},
}
ALL = [*TINY, "chandraclip"]
PREVIOUS = sorted(CHECKPOINTS.glob("*.json"))

Prepare = Callable[[dict[str, Any]], dict[str, Tensor]]
Family = tuple[Any, Prepare]

# Loads each folder of argv[1:], and writes the outputs of its rows beside it.
LOAD = """
import sys
from pathlib import Path
import chandraclip, torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel
for folder in map(Path, sys.argv[1:]):
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    batch = load_file(folder / "batch.safetensors")
    with torch.no_grad():
        output = model(**batch)
    fields = {field: getattr(output, field) for field, _ in model.embedding_outputs().values()}
    save_file({name: value.contiguous() for name, value in fields.items()}, folder / "result.safetensors")
"""


def test_every_registered_family_is_here():
    assert set(TINY) == set(FAMILIES)


@pytest.fixture(params=ALL)
def family(request: pytest.FixtureRequest, model: ChandraClipModel, processor: ChandraClipProcessor) -> Family:
    """A small model with random weights, in evaluation, and what makes its batches."""
    if request.param == "chandraclip":
        return model, lambda columns: dict(processor(columns))
    return tower(request.param)


def tower(model_type: str) -> Family:
    torch.manual_seed(0)
    model = make_model(model_type, TINY[model_type]).eval()
    extractor = make_feature_extractor(type(model), {})
    if extractor.reads_responses:
        extractor.use_responses(made_up_responses())
    return model, lambda columns: dict(extractor(columns))


def outputs(model: Any, batch: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Field of the model's output -> its rows and their mask."""
    with torch.no_grad():
        output = model(**batch)
    return {field: (getattr(output, field), batch[mask]) for field, mask in model.embedding_outputs().values()}


def take(columns: dict[str, Any], rows: Any) -> dict[str, Any]:
    return {name: [values[row] for row in rows] for name, values in columns.items()}


def assert_rows_equal(found: dict, expected: dict, rows: Any, of: Any, tolerance: float = 2e-6) -> None:
    """Rows `rows` of one are rows `of` of the other, where they are present."""
    assert found.keys() == expected.keys()
    for name in found:
        (left, left_mask), (right, right_mask) = found[name], expected[name]
        assert torch.equal(left_mask[rows], right_mask[of]), name
        mask = left_mask[rows]
        torch.testing.assert_close(left[rows][mask], right[of][mask], rtol=1e-5, atol=tolerance, msg=name)


def test_a_row_does_not_depend_on_its_batch(family: Family, columns: dict[str, Any]):
    model, prepare = family
    whole = outputs(model, prepare(columns))
    for row in range(len(columns["exposure"])):  # alone: no padding to the longest, no neighbours
        assert_rows_equal(outputs(model, prepare(take(columns, [row]))), whole, [0], [row])


def test_the_order_of_rows_is_the_order_of_outputs(family: Family, columns: dict[str, Any]):
    model, prepare = family
    order = np.random.default_rng(1).permutation(len(columns["exposure"])).tolist()
    shuffled = outputs(model, prepare(take(columns, order)))
    assert_rows_equal(shuffled, outputs(model, prepare(columns)), list(range(len(order))), order)


def test_photons_come_in_any_order(family: Family, columns: dict[str, Any]):
    model, prepare = family
    expected = outputs(model, prepare(columns))
    shuffled = dict(columns)
    orders = [np.random.default_rng(row).permutation(len(time)) for row, time in enumerate(columns["event_time"])]
    for name in ("event_time", "event_energy"):
        shuffled[name] = [values[order] for values, order in zip(columns[name], orders)]
    rows = list(range(len(orders)))
    assert_rows_equal(outputs(model, prepare(shuffled)), expected, rows, rows)


def test_missing_rows_are_masked_finite_and_touch_no_other(family: Family, columns: dict[str, Any]):
    model, prepare = family
    expected = outputs(model, prepare(columns))
    missing = {name: list(values) for name, values in columns.items()}
    for name in ("spectrum_counts", "event_time", "event_energy", "summary"):
        missing[name][5] = None
    batch = prepare(missing)
    found = outputs(model, batch)
    others = [row for row in range(len(columns["exposure"])) if row != 5]
    assert_rows_equal(found, expected, others, others)
    for name, (values, mask) in found.items():
        assert not mask[5], name
        assert torch.isfinite(values).all(), name
    model.train()
    loss = model(**batch, **({"return_loss": True} if isinstance(model, ChandraClipModel) else {})).loss
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("counts", [0, 1, 100_000])
def test_finite_at_any_number_of_counts(family: Family, counts: int):
    model, prepare = family
    batch = prepare(make_columns(3, (counts, 40, counts, 7)))
    for name, (values, _) in outputs(model, batch).items():
        assert torch.isfinite(values).all(), name
    loss = model.train()(**batch, **({"return_loss": True} if isinstance(model, ChandraClipModel) else {})).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters() if parameter.grad is not None)


def test_no_gradient_is_summed_by_advanced_indexing(family: Family, columns: dict[str, Any]):
    """That of `values[rows]` adds what belongs to one row in whatever order two threads of a CPU come to it, so that
    two runs of one seed would differ; that of `index_select` does not."""
    model, prepare = family
    options = {"return_loss": True} if isinstance(model, ChandraClipModel) else {}
    to_see, seen, names = [model.train()(**prepare(columns), **options).loss.grad_fn], set(), set()
    while to_see:
        node = to_see.pop()
        if node is not None and node not in seen:
            seen.add(node)
            names.add(node.name())
            to_see.extend(parent for parent, _ in node.next_functions)
    assert len(names) > 5
    assert "IndexBackward0" not in names


def test_gradient_checkpointing_changes_nothing(family: Family, columns: dict[str, Any]):
    model, prepare = family
    batch = prepare(columns)
    options = {"return_loss": True} if isinstance(model, ChandraClipModel) else {}
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    found = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable()
            layers = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
            assert layers
        model.train().zero_grad()
        torch.manual_seed(3)  # the decoder's place in its cells
        loss = model(**batch, **options).loss
        loss.backward()
        gradients = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
        found.append((loss.detach(), gradients))
    torch.testing.assert_close(found[1][0], found[0][0])
    assert found[0][1].keys() == found[1][1].keys()
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_round_trip_in_a_fresh_process(
    model: ChandraClipModel, processor: ChandraClipProcessor, columns: dict[str, Any], tmp_path: Path
):
    folders = []
    for name in ALL:
        built, prepare = (model, lambda rows: dict(processor(rows))) if name == "chandraclip" else tower(name)
        batch = prepare(columns)
        folders.append(tmp_path / name)
        built.save_pretrained(folders[-1])
        save_file({key: value.contiguous() for key, value in batch.items()}, folders[-1] / "batch.safetensors")
        expected = {key: value.contiguous() for key, (value, _) in outputs(built, batch).items()}
        save_file(expected, folders[-1] / "expected.safetensors")
    warm_python.run([sys.executable, "-c", LOAD, *folders], check=True)
    for folder in folders:
        expected, found = load_file(folder / "expected.safetensors"), load_file(folder / "result.safetensors")
        assert expected.keys() == found.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6, msg=f"{folder.name} {name}")


@pytest.mark.parametrize("model_type", TINY)
def test_feature_extractor_comes_back_by_its_auto_class(model_type: str, tmp_path: Path, columns: dict[str, Any]):
    model, _ = tower(model_type)
    extractor = make_feature_extractor(type(model), {})
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    loaded = AutoFeatureExtractor.from_pretrained(tmp_path)
    assert type(loaded) is type(extractor)
    assert loaded.to_dict() == extractor.to_dict()
    absent = {"channel_energy_edges", "spectrum_quality", "spectrum_grouping"}
    assert set(extractor.columns) <= set(columns) | absent


@pytest.mark.parametrize("file", PREVIOUS, ids=lambda file: file.stem)
def test_a_checkpoint_of_an_earlier_config_version_loads(file: Path, tmp_path: Path):
    """`checkpoints/TYPE-VERSION.json` has the configuration and the weights' shapes as that version wrote them."""
    written = json.loads(file.read_text())
    version = int(file.stem.rpartition("-")[2])
    assert written["config"].get("config_version", 1) == version
    generator = torch.Generator().manual_seed(0)
    state = {name: torch.randn(shape, generator=generator) for name, shape in written["shapes"].items()}
    (tmp_path / "config.json").write_text(json.dumps(written["config"]))
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model, facts = AutoModel.from_pretrained(tmp_path, dtype=torch.float32, output_loading_info=True)
    assert not facts["missing_keys"]
    assert not facts["unexpected_keys"]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert model.config.config_version == model.config.current_version
    model.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["config_version"] > version


@pytest.mark.parametrize("model_type", ALL)
def test_every_version_before_the_present_one_is_tried(model_type: str):
    """A family that raises its version leaves a file of the one before here."""
    from transformers import CONFIG_MAPPING

    config_class = CONFIG_MAPPING[model_type]
    kept = {int(file.stem.rpartition("-")[2]) for file in PREVIOUS if file.stem.rpartition("-")[0] == model_type}
    assert kept == set(range(config_class.first_version, config_class.current_version))


@pytest.mark.parametrize("model_type", ALL)
def test_a_configuration_of_a_later_version_is_refused(model_type: str, tmp_path: Path):
    from transformers import CONFIG_MAPPING

    content = CONFIG_MAPPING[model_type]().to_dict()
    (tmp_path / "config.json").write_text(json.dumps({**content, "config_version": 99}))
    with pytest.raises(ValueError, match="install a newer one"):
        AutoModel.from_pretrained(tmp_path)


def write_config(folder: Path, model_type: str, dataset: Path, **options: Any) -> Path:
    content = {**RUN, "model_type": model_type, "model_options": TINY[model_type], "dataset": str(dataset), **options}
    file = folder / f"{model_type}.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.mark.slow
@pytest.mark.parametrize("model_type", TINY)
def test_a_run_that_ended_goes_on_to_the_same_weights(
    model_type: str, dataset: Path, run_loop: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from chandraclip.training import step as training_step

    config = write_config(tmp_path, model_type, dataset)
    run_loop("pretrain", "--config", config, "--output_dir", tmp_path / "whole")
    train_step = training_step.train_step

    def end_at_step_five(
        accelerator: Any, model: Any, optimizer: Any, batch: Any, step: int, arguments: Any, **schedule: Any
    ) -> Any:
        if step == 4:
            raise KeyboardInterrupt
        return train_step(accelerator, model, optimizer, batch, step, arguments, **schedule)

    with monkeypatch.context() as patch:
        patch.setattr(training_step, "train_step", end_at_step_five)
        with pytest.raises(KeyboardInterrupt):
            run_loop("pretrain", "--config", config, "--output_dir", tmp_path / "ended")
    assert not (tmp_path / "ended" / "metrics.json").exists()
    run_loop("pretrain", "--config", config, "--output_dir", tmp_path / "ended")
    whole, ended = load_file(tmp_path / "whole/model.safetensors"), load_file(tmp_path / "ended/model.safetensors")
    assert whole.keys() == ended.keys()
    assert all(torch.equal(value, ended[name]) for name, value in whole.items())
    assert (tmp_path / "whole/metrics.json").read_text() == (tmp_path / "ended/metrics.json").read_text()


@pytest.mark.slow
def test_two_processes_with_micro_batches_and_one_without_give_the_same_loss_and_gradients(
    dataset: Path, tmp_path: Path, environment: dict[str, str]
):
    script = Path(__file__).with_name("pretrain_gradients.py")
    for number, name in enumerate(("one", "two"), start=1):
        jobs, told = [], {**environment, "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": str(number)}
        for model_type in TINY:
            model_options = {**TINY[model_type], **NOT_DRAWN.get(model_type, {})}
            config = write_config(tmp_path, model_type, dataset, model_options=model_options)
            output = tmp_path / f"{model_type}-{name}"
            jobs += [f"{output}.safetensors", str(config), str(output)]
        warm_python.run_ranks([sys.executable, script, *jobs], number, env=told)
    for model_type in TINY:
        one, two = (load_file(tmp_path / f"{model_type}-{name}.safetensors") for name in ("one", "two"))
        assert one.keys() == two.keys()
        assert (one.pop("micro_batches"), two.pop("micro_batches")) == (1, 2)
        torch.testing.assert_close(one.pop("loss"), two.pop("loss"), rtol=1e-6, atol=0, msg=model_type)
        whole = torch.cat([gradient.double().flatten() for gradient in one.values()])
        difference = whole - torch.cat([gradient.double().flatten() for gradient in two.values()])
        assert whole.norm() > 0
        # float32 sums of thousands of terms that cancel (photons against the integral of the rate), in another order:
        # 2.3e-6 for axia_encoder on one processor, below 1e-6 on another. A row that counts wrongly gives 1e-2.
        assert difference.norm() <= 5e-6 * whole.norm(), model_type
