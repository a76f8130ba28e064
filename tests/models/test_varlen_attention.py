"""The event encoder gives one result by either layout of the photons; a kernel that is missing or wrong is not used."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from chandraclip.models import EventFeatureExtractor, EventTransformerConfig, EventTransformerModel
from chandraclip.models.event_transformer import event_encoder, varlen_attention

CPU = torch.device("cpu")


def reference_kernel(
    query: Tensor, key: Tensor, value: Tensor, query_offsets: Tensor, offsets: Tensor, max_query: int, max_key: int
) -> Tensor:
    """What `torch.nn.attention.varlen.varlen_attn` computes, one list after the other."""
    assert query_offsets.dtype == offsets.dtype == torch.int32
    assert max_query == query_offsets.diff().max()
    assert max_key == offsets.diff().max()
    assert query.is_contiguous()
    rows = []
    for row in range(len(offsets) - 1):
        queries = query[query_offsets[row] : query_offsets[row + 1]].transpose(0, 1)
        keys, values = (part[offsets[row] : offsets[row + 1]].transpose(0, 1) for part in (key, value))
        empty = not keys.shape[1]
        result = torch.zeros_like(queries) if empty else F.scaled_dot_product_attention(queries, keys, values)
        rows.append(result.transpose(0, 1))
    return torch.cat(rows)


@pytest.fixture
def model() -> EventTransformerModel:
    torch.manual_seed(0)
    config = EventTransformerConfig(hidden_size=16, intermediate_size=16, latent_size=8, num_queries=3, chunk_size=16)
    return EventTransformerModel(config)


@pytest.fixture(autouse=True)
def no_memory_of_trials() -> None:
    varlen_attention._passes_trial.cache_clear()


def loss_and_gradients(model: EventTransformerModel, batch: dict[str, Any]) -> tuple[Tensor, list[Tensor]]:
    torch.manual_seed(1)
    loss = model.train()(**batch).loss
    return loss.detach(), list(torch.autograd.grad(loss, list(model.parameters())))


def test_lists_and_chunks_give_the_same_loss_and_gradients(
    model: EventTransformerModel, columns: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = dict(EventFeatureExtractor(mesh_size=32)(columns))
    assert 0 in batch["event_cu_seqlens"].diff()
    expected, gradients = loss_and_gradients(model, batch)
    calls = []
    monkeypatch.setattr(
        varlen_attention, "_kernel", lambda: lambda *args: (calls.append(1), reference_kernel(*args))[1]
    )
    monkeypatch.setattr(event_encoder, "varlen_applies", lambda *args: True)
    found, found_gradients = loss_and_gradients(model, batch)
    assert len(calls) == 2 * model.config.num_hidden_layers  # of two parts of each list
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for left, right in zip(found_gradients, gradients):
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-5)


def test_it_applies_to_half_precision_on_a_gpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen_attention, "_passes_trial", lambda *args: True)
    photons = torch.zeros(3, 5)
    assert not varlen_attention.varlen_applies(photons, 4, 16)
    assert not varlen_attention.varlen_applies(photons.bfloat16(), 4, 16)

    class OnGpu:
        device, dtype = torch.device("cuda", 0), torch.float32

        def __init__(self, length: int) -> None:
            self.length = length

        def __len__(self) -> int:
            return self.length

    some: Any = OnGpu(3)
    monkeypatch.setattr(torch, "is_grad_enabled", lambda: False)
    assert not varlen_attention.varlen_applies(some, 4, 16)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: kind == "cuda")
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda kind: torch.bfloat16)
    assert varlen_attention.varlen_applies(some, 4, 16)
    none: Any = OnGpu(0)
    assert not varlen_attention.varlen_applies(none, 4, 16)
    monkeypatch.setattr(torch, "is_grad_enabled", lambda: True)  # training is faster by chunks
    assert not varlen_attention.varlen_applies(some, 4, 16)


@pytest.mark.parametrize("surroundings", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_a_kernel_that_is_right_passes_the_trial(surroundings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen_attention, "_kernel", lambda: reference_kernel)
    with surroundings(), torch.autocast("cpu", torch.bfloat16):
        assert varlen_attention._passes_trial(CPU, torch.bfloat16, 4, 16)


def test_a_kernel_that_is_wrong_or_missing_is_refused_and_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(*args: Any) -> Tensor:
        return reference_kernel(*args) * 1.2

    def not_finite(*args: Any) -> Tensor:
        return reference_kernel(*args) * np.nan

    def missing() -> Any:
        raise ImportError("this PyTorch has no varlen_attn")

    for kernel, reason in (
        (lambda: wrong, "differs"),
        (lambda: not_finite, "differs"),
        (missing, "has no varlen_attn"),
    ):
        varlen_attention._passes_trial.cache_clear()
        monkeypatch.setattr(varlen_attention, "_kernel", kernel)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert not varlen_attention._passes_trial(CPU, torch.bfloat16, 4, 16)
            assert not varlen_attention._passes_trial(CPU, torch.bfloat16, 4, 16)
        assert len(caplog.records) == 1
        assert reason in caplog.text
