"""The published layers of the E-t map's autoencoder, its components, and what is counted in its statistics."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from transformers import AutoFeatureExtractor, AutoModel

from chandraclip.models import EventCubeAutoencoderConfig, EventCubeAutoencoderModel, EventCubeFeatureExtractor
from chandraclip.models.contract import make_feature_extractor, make_model

CUBES = {
    "architecture": "fully_connected", "num_interval_bins": 16, "hidden_sizes": [512, 128], "latent_size": 24,
    "kernel_penalty": 0.0, "sparsity_weight": 1e-4,
}  # fmt: skip


def test_the_layers_are_those_of_the_stored_keras_file():
    encoder = EventCubeAutoencoderModel(EventCubeAutoencoderConfig()).eval().encoder
    shapes = []
    stages = [*encoder.stages.layers, *encoder.layers, encoder.latent_layer]
    hooks = [layer.register_forward_hook(lambda *call: shapes.append(tuple(call[2].shape[1:]))) for layer in stages]
    assert encoder(torch.rand(2, 24, 16)).shape == (2, 12)
    for hook in hooks:
        hook.remove()
    assert shapes == [
        *[(32, 24, 16)] * 2, (32, 12, 8), *[(16, 12, 8)] * 2, (16, 6, 4), (192,), (48,), (12,),
    ]  # fmt: skip
    # As Keras counts: the moving mean and variance of both batch normalisations among them.
    moving = sum(value.numel() for name, value in encoder.named_buffers() if "running" in name)
    assert sum(value.numel() for value in encoder.parameters()) + moving == 94_076


def test_cubes_go_through_a_fully_connected_network():
    with torch.device("meta"):
        model = EventCubeAutoencoderModel(EventCubeAutoencoderConfig(**CUBES))
    encoder = sum(value.numel() for value in model.encoder.parameters())
    assert encoder == 6144 * 512 + 512 + 512 * 128 + 128 + 128 * 24 + 24
    output = model.to_empty(device="cpu").eval()(torch.zeros(3, 24, 16, 16))
    assert output.latents.shape == (3, 24)
    assert output.reconstruction.shape == (3, 24, 16, 16)


def test_the_penalties_are_in_the_loss_and_apart_from_the_error():
    torch.manual_seed(0)
    values = torch.rand(4, 24, 16)
    model = EventCubeAutoencoderModel(EventCubeAutoencoderConfig(sparsity_weight=0.5)).eval()
    output = model(values)
    error = (output.reconstruction - values).square().mean()
    kernel = model.encoder.latent_layer.layer.weight.square().sum()
    torch.testing.assert_close(output.loss_parts["reconstruction_loss"], error)
    torch.testing.assert_close(output.loss, error + 0.1 * kernel + 0.5 * output.latents.abs().mean())


def test_rows_without_photons_do_not_move_the_statistics(columns: dict[str, Any]):
    torch.manual_seed(0)
    options = {"channels": [4, 4], "hidden_sizes": [16, 8]}
    model = make_model("event_cube_autoencoder", options).train()
    batch = dict(EventCubeFeatureExtractor()(columns))
    missing = batch["event_mask"].clone()
    missing[[2, 5]] = False
    with torch.no_grad():
        whole = model.encoder(batch["event_values"], missing)
        moved = [value.clone() for name, value in model.named_buffers() if "running" in name]
        fresh = make_model("event_cube_autoencoder", options).train()
        fresh.load_state_dict({**model.state_dict(), **{
            name: value for name, value in fresh.state_dict().items() if "running" in name
        }})  # fmt: skip
        alone = fresh.encoder(batch["event_values"][missing])
    torch.testing.assert_close(whole[missing], alone)
    assert torch.isfinite(whole).all()
    found = [value for name, value in fresh.named_buffers() if "running" in name]
    assert any((value != 0).any() for value in found)
    for one, other in zip(moved, found):
        torch.testing.assert_close(one, other)
    nobody = model(batch["event_values"], torch.zeros_like(missing))
    assert nobody.loss.item() == pytest.approx(0.1 * model.encoder.kernel_of_latents.square().sum().item())


def test_components_are_those_of_scikit_learn(columns: dict[str, Any]):
    rng = np.random.default_rng(0)
    cells = rng.poisson(0.2, (40, 24, 16)).astype(np.float32)
    config = EventCubeAutoencoderConfig(architecture="principal_components", latent_size=15)
    model = EventCubeAutoencoderModel(config)
    with pytest.raises(ValueError, match="fitted, not trained"):
        model.train()(torch.from_numpy(cells))
    share = model.eval().fit_components([cells[:25], cells[25:]])
    expected = PCA(15, svd_solver="full").fit(cells.reshape(40, -1).astype(np.float64))
    assert share == pytest.approx(expected.explained_variance_ratio_.sum(), rel=1e-6)
    with torch.no_grad():
        found = model(torch.from_numpy(cells))
    latents = expected.transform(cells.reshape(40, -1))
    signs = np.sign((found.latents.numpy() * latents).sum(axis=0))
    assert found.latents.numpy() == pytest.approx(latents * signs, abs=1e-4)
    assert found.reconstruction.numpy().reshape(40, -1) == pytest.approx(expected.inverse_transform(latents), abs=1e-4)
    with pytest.raises(ValueError, match="15 photon lists are too few for 15 components"):
        model.fit_components([cells[:15]])
    with pytest.raises(ValueError, match=r"is trained: training/pretrain\.py"):
        make_model("event_cube_autoencoder", {}).fit_components([cells])


def test_the_program_fits_components_that_embed(dataset: Path, tmp_path: Path, repository: Path, monkeypatch, capsys):
    from chandraclip.data.loading import load_splits

    monkeypatch.syspath_prepend(str(repository / "training"))
    import fit_event_components

    fit_event_components.main([str(dataset), str(tmp_path / "model"), "--cubes", "--num_components", "5"])
    model = AutoModel.from_pretrained(tmp_path / "model", dtype=torch.float32).eval()
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "model")
    assert (extractor.num_bins, extractor.normalization) == ((24, 16, 16), "none")
    batch = extractor(load_splits(str(dataset), "pairs")["train"].with_format("arrow")[:])
    latents = model(**batch).latents[batch["event_mask"]].detach()
    assert latents.shape[1] == 5
    # Of the very rows they were fitted on, those with photons: no mean, no correlation.
    has_photons = batch["event_values"][batch["event_mask"]].flatten(1).sum(dim=1) > 0
    covariance = torch.cov(latents[has_photons].double().T)
    assert (covariance - torch.diag(covariance.diag())).abs().max() < 0.02 * covariance.diag().max()
    sys.modules.pop("fit_event_components")


def test_lists_without_energies_are_masked_out(columns: dict[str, Any]):
    columns = {**columns, "event_energy": [None, *columns["event_energy"][1:]]}
    columns["event_time"][0] = np.arange(5.0)
    columns["event_energy"][6] = np.full(400, np.nan, dtype=np.float32)
    batch = EventCubeFeatureExtractor()(columns)
    assert batch["event_mask"].tolist() == [False, *[True] * 5, False, True]
    assert not batch["event_values"][[0, 6]].any()
    with pytest.raises(KeyError, match="event_time and event_energy"):
        EventCubeFeatureExtractor()({"event_time": [np.arange(3.0)]})


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"num_interval_bins": 16}, "reads maps"),
        ({"num_time_bins": 30}, "need multiples of 4"),
        ({"architecture": "recurrent"}, "must be one of"),
        ({"channels": [4]}, "two positive widths"),
        ({"hidden_sizes": []}, "one or more positive widths"),
        ({"kernel_penalty": -1.0}, "must not be negative"),
    ],
)
def test_configurations_that_no_model_can_be_built_from(options: dict[str, Any], reason: str):
    with pytest.raises(ValueError, match=reason):
        EventCubeAutoencoderConfig(**options)


def test_features_that_a_model_cannot_read_are_refused():
    model = make_model("event_cube_autoencoder", {"channels": [4, 4], "hidden_sizes": [16, 8]})
    with pytest.raises(ValueError, match="the model reads bins"):
        model.check_feature_extractor(make_feature_extractor(type(model), {"num_interval_bins": 16}))
    with pytest.raises(ValueError, match="need the normalization 'min_max'"):
        model.check_feature_extractor(make_feature_extractor(type(model), {"normalization": "none"}))
    with pytest.raises(ValueError, match=r"bins \(24, 16\) are read, these are \(16, 24\)"):
        model(torch.zeros(2, 16, 24))
    for options in ({"energy_min": 8.0}, {"normalization": "log"}, {"num_time_bins": 0}):
        with pytest.raises(ValueError):  # noqa: PT011
            EventCubeFeatureExtractor(**options)
