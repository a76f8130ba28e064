"""The spectrum autoencoder learns, and its attention backends agree."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from chandraclip.models import SpectrumAutoencoderConfig, SpectrumAutoencoderModel, SpectrumFeatureExtractor

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "latent_size": 4, "patch_size": 40}


@pytest.fixture
def batch(columns: dict[str, Any]) -> dict[str, torch.Tensor]:
    return dict(SpectrumFeatureExtractor()(columns))


def make_model(**options: Any) -> SpectrumAutoencoderModel:
    torch.manual_seed(0)
    return SpectrumAutoencoderModel(SpectrumAutoencoderConfig(**{**SMALL, **options}))


def test_eager_and_sdpa_agree(batch: dict) -> None:
    model = make_model(attn_implementation="eager").eval()
    expected = model(**batch)
    model.set_attn_implementation("sdpa")
    result = model(**batch)
    torch.testing.assert_close(result.latents, expected.latents, rtol=1e-5, atol=1e-6)
    # Every patch is seen by every other: a causal mask, the backends' default, would hide the last from the summary.
    values = batch["spectrum_values"].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(
        model.encoder.layers[0](model.encoder.patch_projection(values.unflatten(-1, (10, -1))))[:, 0].sum(), values
    )
    assert gradient[:, -40:].any()


@pytest.mark.parametrize("reconstruction_loss", ["mae", "mse"])
def test_loss_is_of_the_rows_that_count(batch: dict, reconstruction_loss: str) -> None:
    model = make_model(reconstruction_loss=reconstruction_loss).eval()
    mask = torch.arange(8) < 3
    output = model(**{**batch, "spectrum_mask": mask})
    error = output.reconstruction[:3] - batch["spectrum_values"][:3]
    expected = error.abs().mean() if reconstruction_loss == "mae" else error.square().mean()
    torch.testing.assert_close(output.loss, expected)
    assert output.latents.shape == (8, 4)


def test_learns_to_reconstruct(batch: dict) -> None:
    model = make_model().train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    rows = slice(3, 7)
    batch = {name: value[rows] for name, value in batch.items()}
    mean_spectrum = (batch["spectrum_values"] - batch["spectrum_values"].mean(dim=0)).abs().mean()
    for _ in range(150):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5 * mean_spectrum
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_gradient_checkpointing_changes_nothing(batch: dict) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = make_model().train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        model(**batch).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"patch_size": 7}, "multiple of patch_size"),
        ({"num_attention_heads": 3}, "multiple of num_attention_heads"),
        ({"reconstruction_loss": "cash"}, "reconstruction_loss"),
        ({"latent_size": 0}, "latent_size must be positive"),
    ],
)
def test_impossible_configurations_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpectrumAutoencoderConfig(**{**SMALL, **options})


def test_an_unknown_option_is_reported(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.utils import logging

    monkeypatch.setattr(logging.get_logger("transformers"), "propagate", True)
    monkeypatch.setattr("chandraclip.models.configuration.logger.propagate", True)
    SpectrumAutoencoderConfig(**SMALL, hiden_size=3)
    assert "hiden_size" in caplog.text


def test_wrong_number_of_points_is_refused(batch: dict) -> None:
    with pytest.raises(ValueError, match="400 points"):
        make_model()(batch["spectrum_values"][:, :100], batch["spectrum_summary"])
