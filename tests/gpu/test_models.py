"""Models on CUDA give what they give on the CPU, and train in bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from chandraclip.models.event_transformer import event_encoder, varlen_attention
from registered_models import build, inputs, on_device, registered


def loss_and_gradients(model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    # Copies: moving the model to another device moves its gradients in place.
    gradients = {name: value.grad.cpu().clone() for name, value in model.named_parameters() if value.grad is not None}
    return loss.detach().cpu(), gradients


@pytest.mark.parametrize("model_type", registered())
def test_loss_and_gradients_are_those_of_the_cpu(model_type: str) -> None:
    model, batch = build(model_type), inputs(model_type)
    expected, expected_gradients = loss_and_gradients(model, batch)
    loss, gradients = loss_and_gradients(model.cuda(), on_device(batch, "cuda"))
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    assert gradients.keys() == expected_gradients.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected_gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            gradient,
            expected_gradients[name],
            rtol=1e-3,
            atol=1e-4 * largest,
            msg=lambda text, name=name: f"{name}: {text}",
        )


@pytest.mark.parametrize("model_type", registered())
def test_bfloat16_trains_and_is_close_to_float32(model_type: str) -> None:
    model, batch = build(model_type).cuda(), on_device(inputs(model_type), "cuda")
    with torch.no_grad():
        expected = model(**batch).loss
        with torch.autocast("cuda", dtype=torch.bfloat16):
            half = model(**batch).loss
    torch.testing.assert_close(half.float(), expected.float(), rtol=0.05, atol=0.05)

    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    losses = []
    for _ in range(30):
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        assert all(torch.isfinite(value.grad).all() for value in model.parameters() if value.grad is not None)
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_the_flash_kernel_reads_lists_as_the_chunks_do(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch.nn.attention.varlen")
    model, batch = build("event_transformer").cuda(), on_device(inputs("event_transformer"), "cuda")
    heads, head_dim = model.config.num_attention_heads, model.config.hidden_size // model.config.num_attention_heads
    varlen_attention._passes_trial.cache_clear()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        with torch.no_grad():
            assert varlen_attention.varlen_applies(batch["event_values"], heads, head_dim)
        monkeypatch.setattr(event_encoder, "varlen_applies", lambda *args: True)
        loss, gradients = loss_and_gradients(model, batch)
        monkeypatch.setattr(event_encoder, "varlen_applies", lambda *args: False)
        expected, expected_gradients = loss_and_gradients(model, batch)
    torch.testing.assert_close(loss, expected, rtol=0.01, atol=0.01)
    found, wanted = (
        torch.cat([value.flatten() for value in values.values()]) for values in (gradients, expected_gradients)
    )
    assert (found - wanted).norm() < 0.05 * wanted.norm()
