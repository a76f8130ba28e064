"""Attention of queries to packed photon lists: by chunks, and by PyTorch's flash kernel for lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from chandraclip.models import EventFeatureExtractor, EventTransformerConfig, EventTransformerModel
from chandraclip.models.event_transformer import event_encoder
from chandraclip.models.event_transformer.packed_attention import packed_attention, split_into_chunks
from chandraclip.models.event_transformer.varlen_attention import as_lists, varlen_applies, varlen_attention
from gpu_stages.job import Job, autocast, median_seconds, peak_memory_gib, reset_peak_memory, row

CHUNK_SIZE = 64
Attention = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def list_offsets(num_lists: int) -> Tensor:
    """(B + 1,) offsets of lists as in the catalogue: log-normal lengths, median 110, a few empty."""
    generator = torch.Generator().manual_seed(0)
    lengths = (110 * torch.randn(num_lists, generator=generator).mul(1.3).exp()).long().clamp(max=20_000)
    lengths[::97] = 0
    return torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])


def by_chunks(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor) -> Tensor:
    chunks = split_into_chunks(offsets, CHUNK_SIZE)
    key, value = (photons[chunks.index].transpose(1, 2).contiguous() for photons in (key, value))
    return packed_attention(query, key, value, chunks, query.shape[-1] ** -0.5)


def by_lists(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor) -> Tensor:
    return varlen_attention(query, key, value, as_lists(offsets))


def compare(job: Job) -> list[dict[str, Any]]:
    """Time and error of each, forward and with backward, and of the whole event encoder either way."""
    offsets = list_offsets(job.how_much.attention_lists)
    config = EventTransformerConfig()
    heads, head_dim = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    generator = torch.Generator().manual_seed(1)
    shapes = [(len(offsets) - 1, heads, config.num_queries, head_dim), *[(int(offsets[-1]), heads, head_dim)] * 2]
    inputs = [torch.randn(shape, generator=generator).to(job.device, torch.bfloat16) for shape in shapes]
    offsets = offsets.to(job.device)
    expected = _with_gradients(by_chunks, [tensor.float() for tensor in inputs], offsets)

    size = f"{len(offsets) - 1:,} lists, {int(offsets[-1]):,} photons, {config.num_queries} queries, {heads} heads"
    rows, chunk_seconds = [], None
    candidates: dict[str, Attention] = {
        "chunks": by_chunks,
        "varlen_attn": by_lists,
    }
    for name, attention in candidates.items():
        measure = f"packed attention by {name}, forward and backward"
        try:
            rows.append(_time(job, measure, size, attention, inputs, offsets, expected, chunk_seconds))
        except Exception as error:  # a kernel this device has not: said, and the others go on
            rows.append(row(measure, size, note=f"not here: {type(error).__name__}: {error}".splitlines()[0][:160]))
        chunk_seconds = chunk_seconds or rows[-1].get("seconds")
    return rows + _encoder(job, offsets)


def _time(
    job: Job,
    measure: str,
    size: str,
    attention: Attention,
    inputs: list[Tensor],
    offsets: Tensor,
    expected: list[Tensor],
    chunk_seconds: float | None,
) -> dict[str, Any]:
    found = _with_gradients(attention, inputs, offsets)
    error = max(
        float((ours.float() - theirs).abs().max() / theirs.abs().max()) for ours, theirs in zip(found, expected)
    )

    query, key, value = inputs

    def forward() -> None:
        with torch.no_grad():
            attention(query, key, value, offsets)

    forward_seconds = median_seconds(forward, job)
    reset_peak_memory(job)
    seconds = median_seconds(lambda: _with_gradients(attention, inputs, offsets), job)
    faster = f"; {chunk_seconds / seconds:.2g}x the chunks' speed" if chunk_seconds else ""
    return row(
        measure,
        size,
        dtype="bf16",
        seconds=seconds,
        throughput=int(offsets[-1]) / seconds,
        unit="photons/s",
        peak_memory_gib=peak_memory_gib(job),
        equal=error < 0.03,
        note=f"forward {1e3 * forward_seconds:.3g} ms; largest difference from float32 {error:.1e}{faster}",
    )


def _with_gradients(attention: Attention, inputs: list[Tensor], offsets: Tensor) -> list[Tensor]:
    query, key, value = (tensor.detach().requires_grad_() for tensor in inputs)
    output = attention(query, key, value, offsets)
    return [output.detach(), *torch.autograd.grad(output.float().square().sum(), (query, key, value))]


def _encoder(job: Job, offsets: Tensor) -> list[dict[str, Any]]:
    """The encoder with all around the attention, in bfloat16, by chunks and by what it chooses itself."""
    torch.manual_seed(0)
    config = EventTransformerConfig()
    encoder = EventTransformerModel(config).encoder.to(job.device)
    rng = np.random.default_rng(0)
    times = [np.sort(rng.uniform(0.0, 3e4, length)) for length in offsets.diff().tolist()]
    energies = [rng.uniform(0.5, 7.0, len(time)) for time in times]
    ends = {"gti_start": [[0.0]] * len(times), "gti_stop": [[3e4]] * len(times)}
    made = EventFeatureExtractor()({"event_time": times, "event_energy": energies, **ends})
    batch = {name: value.to(job.device) for name, value in made.items()}
    values = batch["event_values"]

    def forward() -> Tensor:
        with autocast(job, torch.bfloat16):
            return encoder(**batch)

    def forward_only() -> None:
        with torch.no_grad():
            forward()

    def with_backward() -> None:
        encoder.zero_grad()
        forward().float().square().sum().backward()

    with torch.no_grad(), autocast(job, torch.bfloat16):
        heads = config.num_attention_heads
        applies = varlen_applies(values, heads, config.hidden_size // heads)
    ways = {"chunks": False, **({"varlen_attn": True} if applies else {})}
    passes: dict[str, Callable[[], None]] = {"forward": forward_only, "forward and backward": with_backward}
    rows = []
    for what, one_pass in passes.items():
        for name, by_kernel in ways.items():
            with mock.patch.object(event_encoder, "varlen_applies", return_value=by_kernel):
                reset_peak_memory(job)
                seconds = median_seconds(one_pass, job)
            rows.append(
                row(
                    f"event encoder by {name}, {what}",
                    f"{len(offsets) - 1:,} lists, {len(values):,} photons",
                    dtype="bf16",
                    seconds=seconds,
                    throughput=len(values) / seconds,
                    unit="photons/s",
                    peak_memory_gib=peak_memory_gib(job),
                    note="" if applies else "the only way here",
                )
            )
    return rows
