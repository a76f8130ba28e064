"""Chunked attention over packed lists equals one softmax a list."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chandraclip.models.event_transformer.packed_attention import Chunks, packed_attention, split_into_chunks

LENGTHS = (0, 1, 3, 4, 5, 0, 17, 2)
SCALING = 0.5


def offsets(lengths: tuple[int, ...]) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0)


def in_chunks(photons: Tensor, chunks: Chunks) -> Tensor:
    """(T, heads, head_dim) to (chunks, heads, size, head_dim)."""
    return photons[chunks.index].transpose(1, 2)


def padded_attention(query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """One list after the other, padded to the longest: the plain way."""
    longest = max(lengths)
    rows = []
    for row, length in enumerate(lengths):
        start = sum(lengths[:row])
        pad = (0, 0, 0, 0, 0, longest - length)
        keys = torch.nn.functional.pad(key[start : start + length], pad).transpose(0, 1)
        values = torch.nn.functional.pad(value[start : start + length], pad).transpose(0, 1)
        scores = query[row] @ keys.transpose(-1, -2) * SCALING
        scores[..., length:] = float("-inf")
        rows.append(torch.nan_to_num(scores.softmax(dim=-1)) @ values)
    return torch.stack(rows)


def draw(dtype: torch.dtype = torch.float32, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    total = sum(LENGTHS)
    shapes = ((len(LENGTHS), 2, 3, 4), (total, 2, 4), (total, 2, 4))
    query, key, value = (torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes)
    return scale * query, key, value


@pytest.mark.parametrize("chunk_size", [1, 4, 64])
@pytest.mark.parametrize("scale", [1.0, 200.0])  # the second needs the shift: exp(200) is past float32
def test_equals_padded_softmax_attention(chunk_size: int, scale: float) -> None:
    query, key, value = draw(scale=scale)
    chunks = split_into_chunks(offsets(LENGTHS), chunk_size)
    output = packed_attention(query, in_chunks(key, chunks), in_chunks(value, chunks), chunks, SCALING)
    torch.testing.assert_close(output, padded_attention(query, key, value, LENGTHS), rtol=1e-5, atol=1e-5)
    assert not output[[0, 5]].any()  # empty lists


def test_gradient_equals_padded_softmax_attention() -> None:
    chunks = split_into_chunks(offsets(LENGTHS), 4)
    weight = torch.randn((len(LENGTHS), 2, 3, 4), generator=torch.Generator().manual_seed(1))
    gradients = []
    for packed in (True, False):
        query, key, value = (tensor.requires_grad_() for tensor in draw())
        if packed:
            output = packed_attention(query, in_chunks(key, chunks), in_chunks(value, chunks), chunks, SCALING)
        else:
            output = padded_attention(query, key, value, LENGTHS)
        gradients.append(torch.autograd.grad((output * weight).sum(), (query, key, value)))
    for left, right in zip(*gradients):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def test_chunks_hold_every_photon_once() -> None:
    chunks = split_into_chunks(offsets(LENGTHS), 4)
    assert chunks.index[chunks.valid].tolist() == list(range(sum(LENGTHS)))
    assert chunks.row.tolist() == [1, 2, 3, 4, 4, 6, 6, 6, 6, 6, 7]
    assert chunks.valid.any(dim=1).all()


def test_no_photon_at_all() -> None:
    chunks = split_into_chunks(offsets((0, 0)), 4)
    empty = torch.zeros(0, 2, 4, 4)
    assert (
        packed_attention(torch.ones(2, 2, 3, 4), empty, empty, chunks, SCALING).tolist()
        == torch.zeros(2, 2, 3, 4).tolist()
    )
