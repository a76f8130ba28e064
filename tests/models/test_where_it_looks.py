"""Where models look: a planted dependence on one band is found in that band."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from chandraclip.models import SpectrumFeatureExtractor, UnfoldedSpectrumFeatureExtractor
from chandraclip.models.contract import make_feature_extractor, make_model
from chandraclip.models.where_it_looks import attention, bin_edges, saliency, share_in_band, shares_in_bins
from detection_columns import made_up_responses, make_columns

VAE = {"encoder_hidden_sizes": [16], "branch_hidden_sizes": [8], "trunk_hidden_sizes": [8], "num_templates": 4}
TRANSFORMER = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "latent_size": 3}
GRU = {"hidden_size": 8, "latent_size": 3}
FAMILIES = {
    "spectrum_vae": VAE,
    "spectrum_autoencoder": TRANSFORMER,
    "spectrum_recurrent_autoencoder": GRU,
    "folded_spectrum_autoencoder": {**TRANSFORMER, "decoder_hidden_size": 16, "num_energies": 40},
}
COUNTS = (400, 900, 200, 3000, 700, 50)


def made(model_type: str) -> tuple[Any, Any, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    model = make_model(model_type, FAMILIES[model_type]).eval()
    extractor: Any = make_feature_extractor(type(model), {})
    if extractor.reads_responses:
        extractor.use_responses(made_up_responses())
    return model, extractor, dict(extractor(make_columns(2, COUNTS)))


@pytest.mark.parametrize("num_steps", [1, 8])
@pytest.mark.parametrize("model_type", FAMILIES)
@pytest.mark.parametrize("band", [(0.5, 1.2), (6.2, 7.1)])
def test_a_planted_dependence_on_a_band_is_found_there(model_type: str, band: tuple[float, float], num_steps: int):
    """The encoder is given the energies of the band alone; all else is made the same for all rows."""
    model, extractor, batch = made(model_type)
    inside = torch.tensor((extractor.energies > band[0]) & (extractor.energies < band[1]))
    encoder, key = model.encode, model.encoder_class.main_input_name
    model.encode = lambda **inputs: encoder(**{**inputs, key: inputs[key] * inside})
    batch[key] = 5 * torch.rand(batch[key].shape, generator=torch.Generator().manual_seed(0))
    found = saliency(model, batch, num_steps)
    assert found.shape == batch[key].shape
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    # A bin that the band's border crosses counts in part.
    assert (share_in_band(found, extractor.energies, band) > 0.9).all()
    elsewhere = (2.0, 4.0)
    assert (share_in_band(found, extractor.energies, elsewhere) < 1e-12).all()


def test_the_gradient_of_a_linear_encoder_is_its_weights():
    model, _, batch = made("spectrum_vae")
    weights = torch.zeros(2, 238)
    weights[0, 10], weights[1, 200] = 3.0, -5.0
    model.encode = lambda spectrum_values, **_: spectrum_values @ weights.T
    found = saliency(model, batch)
    # One input makes one latent: whatever its weight, a scatter of the input is a scatter of the latent.
    np.testing.assert_allclose(found[:, [10, 200]], 0.5, rtol=1e-2)  # the totals of rows differ by as much
    assert np.count_nonzero(found) == 2 * len(found)


def test_integrated_gradients_add_up_to_the_change_of_a_latent():
    model, _, batch = made("spectrum_vae")
    model.encode = lambda spectrum_values, **_: spectrum_values[:, :2] ** 2
    values = batch["spectrum_values"]
    total = values.sum(dim=1, keepdim=True)
    middle = torch.where(total > 0, values / total, 0.0).mean(dim=0) * total
    # Of squares the change is known: (x - m)(x + m) for each.
    change = ((values - middle) * (values + middle))[:, :2].abs() / (values[:, :2] ** 2).std(dim=0)
    found = saliency(model, batch, 64)
    expected = change / change.sum(dim=1, keepdim=True)
    np.testing.assert_allclose(found[:, :2], expected.numpy(), rtol=1e-4, atol=1e-6)


def test_one_row_has_no_scatter(columns: dict[str, Any]):
    model, _, batch = made("spectrum_vae")
    with pytest.raises(ValueError, match="two rows or more, spectrum_values is \\(1, 238\\)"):
        saliency(model, {name: value[:1] for name, value in batch.items()})


def test_attention_of_any_transformer_covers_its_energies():
    model, extractor, batch = made("folded_spectrum_autoencoder")
    found = attention(model, batch)
    assert found is not None
    assert found.shape == (len(COUNTS), len(extractor.energies))
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


def test_attention_is_that_of_the_layers():
    model, _, batch = made("spectrum_autoencoder")
    kept: list[torch.Tensor] = []
    layers = model.encoder.layers

    def keep(module: Any, inputs: Any, _: Any) -> None:
        hidden, query_and_key = inputs[0], []
        for projection in (module.q_proj, module.k_proj):
            query_and_key.append(projection(hidden).reshape(len(hidden), -1, 2, 8))
        scores = torch.einsum("bqhd,bkhd->bhqk", *query_and_key) / 8**0.5
        kept.append(scores.softmax(dim=-1).mean(dim=1))

    hooks = [layer.self_attn.register_forward_hook(keep) for layer in layers]
    with torch.no_grad():
        model.encode(**batch)
    for hook in hooks:
        hook.remove()
    first, second = (0.5 * weights + 0.5 * torch.eye(51) for weights in kept)
    expected = (second @ first).mean(dim=1)[:, 1:].double().numpy()
    found = attention(model, batch)
    assert found is not None
    assert found.shape == (6, 400)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    np.testing.assert_allclose(found[:, ::8], expected / expected.sum(axis=1, keepdims=True) / 8, rtol=1e-4)
    assert (found[:, 0] == found[:, 7]).all()


def test_attention_finds_the_patch_that_every_token_asks_for():
    model, extractor, batch = made("spectrum_autoencoder")
    plain = attention(model, batch)
    for layer in model.encoder.layers:
        # Keys along one direction, which only patch 30 has, and queries that all point there.
        direction = torch.zeros(16)
        direction[0] = 1.0
        for projection in (layer.self_attn.q_proj, layer.self_attn.k_proj):
            torch.nn.init.zeros_(projection.weight)
            torch.nn.init.zeros_(projection.bias)
        layer.self_attn.q_proj.bias.data.fill_(20.0)
        layer.self_attn.k_proj.weight.data[:, 0] = 1.0
    with torch.no_grad():
        model.encoder.position_embedding[:, 0] = -5.0
        model.encoder.position_embedding[31, 0] = 30.0
    found = attention(model, batch)
    assert plain is not None
    assert found is not None
    patch = slice(30 * 8, 31 * 8)
    assert (found[:, patch].sum(axis=1) > 10 * plain[:, patch].sum(axis=1)).all()
    energy = extractor.energies[patch]
    assert (share_in_band(found, extractor.energies, (energy[0], energy[-1])) > 0.4).all()


def test_models_without_attention_have_none():
    model, _, batch = made("spectrum_recurrent_autoencoder")
    assert attention(model, batch) is None


def test_shares_do_not_depend_on_the_grid():
    for extractor in (SpectrumFeatureExtractor(), UnfoldedSpectrumFeatureExtractor()):
        energies = extractor.energies
        width = np.diff(np.log10(bin_edges(energies)))
        even = (width / width.sum())[None]
        expected = np.log(1.2 / 0.6) / np.log(bin_edges(energies)[-1] / bin_edges(energies)[0])
        assert share_in_band(even, energies, (0.6, 1.2))[0] == pytest.approx(expected, rel=1e-6)
        edges, shares = shares_in_bins(even, energies)
        assert shares.sum() == pytest.approx(1.0)
        np.testing.assert_allclose(np.log10(edges[1:] / edges[:-1]), 1 / 24)
        assert np.ptp(shares[0, 1:-1]) < 1e-9  # those that the energies cover whole
