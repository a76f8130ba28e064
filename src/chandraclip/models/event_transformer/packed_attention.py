"""Attention from a few queries to each list of a packed batch, exact, at a cost linear in photons."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chandraclip.models.layers import at_least_float32


@dataclass(frozen=True)
class Chunks:
    """A packed batch cut into pieces of one size.

    Attributes:
        index: (chunks, size) int64, the photon in each place; some photon of the batch where there is none.
        valid: (chunks, size) bool, places that hold a photon; at least one a chunk.
        row: (chunks,) int64, non-decreasing, the list that a chunk belongs to.
    """

    index: Tensor
    valid: Tensor
    row: Tensor


def split_into_chunks(cu_seqlens: Tensor, chunk_size: int) -> Chunks:
    """Cut every list into chunks of `chunk_size`, the last one padded; an empty list has none.

    Args:
        cu_seqlens: (B + 1,) int64, list i is photons cu_seqlens[i] to cu_seqlens[i + 1].
        chunk_size: photons a chunk.
    """
    lengths = cu_seqlens.diff()
    num_chunks = (lengths + chunk_size - 1) // chunk_size
    row = torch.repeat_interleave(num_chunks)
    rank = torch.arange(len(row), device=row.device) - (num_chunks.cumsum(0) - num_chunks)[row]
    start = cu_seqlens[:-1][row] + rank * chunk_size
    index = start[:, None] + torch.arange(chunk_size, device=row.device)
    valid = index < cu_seqlens[1:][row][:, None]
    return Chunks(torch.where(valid, index, start[:, None]), valid, row)


def packed_attention(query: Tensor, key: Tensor, value: Tensor, chunks: Chunks, scaling: float) -> Tensor:
    """Softmax attention of each list's queries over its photons.

    Scores are taken chunk by chunk, shifted by the list's largest score, and the exponentials and weighted values of a
    list's chunks are added: the same number as one softmax over the list, in floating point to rounding, with no
    padding to the longest list.

    Args:
        query: (B, heads, queries, head_dim).
        key, value: (chunks, heads, size, head_dim); places that are not valid must be finite.
        chunks: where they belong.
        scaling: factor of the scores.

    Returns:
        (B, heads, queries, head_dim) float32; 0 for an empty list.
    """
    num_rows, num_heads, num_queries, head_dim = query.shape
    num_chunks, size = chunks.valid.shape
    bias = torch.zeros((num_chunks, 1, 1, size), dtype=query.dtype, device=query.device)
    bias = bias.masked_fill(~chunks.valid[:, None, None], float("-inf")).expand(-1, num_heads, -1, -1)
    scores = torch.baddbmm(  # scale and mask in the product itself: passes over the scores are what costs
        bias.reshape(-1, 1, size),
        query.index_select(0, chunks.row).flatten(0, 1),
        key.flatten(0, 1).transpose(1, 2),
        alpha=scaling,
    )
    scores = at_least_float32(scores.view(num_chunks, num_heads, num_queries, size))
    with torch.no_grad():  # the shift cancels, so it needs no gradient
        shape = (num_rows, num_heads, num_queries)
        index = chunks.row[:, None, None].expand(-1, *shape[1:])
        lowest = scores.new_full(shape, torch.finfo(scores.dtype).min)
        largest = lowest.scatter_reduce(0, index, scores.amax(dim=-1), "amax")
    weights = (scores - largest[chunks.row][..., None]).exp()
    total = scores.new_zeros(shape).index_add(0, chunks.row, weights.sum(dim=-1))
    weighted = at_least_float32(weights.to(value.dtype) @ value)
    summed = scores.new_zeros((*shape, head_dim)).index_add(0, chunks.row, weighted)
    return summed / total.clamp(min=torch.finfo(total.dtype).tiny)[..., None]
