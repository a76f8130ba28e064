"""The attention of `packed_attention` by PyTorch's flash kernel for lists: on GPUs, in half precision, no gradient.

The kernel reads each list where it lies, so nothing is padded and no score is ever written to memory. It has no CPU
version and takes float16 and bfloat16 only; elsewhere, and wherever it fails or disagrees, the chunks do the work.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chandraclip.models.event_transformer.packed_attention import packed_attention, split_into_chunks

logger = logging.getLogger(__name__)

_HALF = (torch.float16, torch.bfloat16)
# Lists of the trial: empty, shorter than a tile of the kernel, and longer.
_TRIAL_LENGTHS = (0, 1, 63, 0, 300, 128)


@dataclass(frozen=True)
class Lists:
    """A packed batch as it lies.

    Attributes:
        cu_seqlens: (B + 1,) int32, list i is photons cu_seqlens[i] to cu_seqlens[i + 1].
        max_length: photons of the longest list.
    """

    cu_seqlens: Tensor
    max_length: int


def as_lists(cu_seqlens: Tensor) -> Lists:
    """The batch of (B + 1,) int64 offsets."""
    return Lists(cu_seqlens.to(torch.int32), int(cu_seqlens.diff().max()))


def varlen_attention(query: Tensor, key: Tensor, value: Tensor, lists: Lists) -> Tensor:
    """Softmax attention of each list's queries over its photons, scores scaled by head_dim ** -0.5.

    Args:
        query: (B, heads, queries, head_dim) float16 or bfloat16, on a GPU.
        key, value: (T, heads, head_dim) of the same dtype.
        lists: where they belong.

    Returns:
        (B, heads, queries, head_dim); 0 for an empty list.
    """
    num_rows, _, num_queries, _ = query.shape
    query_offsets = torch.arange(num_rows + 1, device=query.device, dtype=torch.int32) * num_queries
    output = _kernel()(
        query.transpose(1, 2).flatten(0, 1).contiguous(),
        key.contiguous(),
        value.contiguous(),
        query_offsets,
        lists.cu_seqlens,
        num_queries,
        lists.max_length,
    )
    return output.unflatten(0, (num_rows, num_queries)).transpose(1, 2)


def varlen_applies(photons: Tensor, num_heads: int, head_dim: int) -> bool:
    """Whether attention over these photons, in the precision that autocast sets, goes by the kernel: outside training.

    Args:
        photons: (T, ...) values of the photons, on the device and of the dtype of the model.
        num_heads, head_dim: of the attention.
    """
    # Measured on an H200 (benchmarks/RESULTS.md): forward in a quarter of the chunks' time, with its backward pass in
    # twice as much. So training goes by chunks.
    if photons.device.type != "cuda" or not len(photons) or torch.is_grad_enabled():
        return False
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else photons.dtype
    return dtype in _HALF and _passes_trial(photons.device, dtype, num_heads, head_dim)


@functools.cache
def _passes_trial(device: torch.device, dtype: torch.dtype, num_heads: int, head_dim: int) -> bool:
    """Whether the kernel runs here and gives what the chunks give, forward and backward; says why not, once."""
    try:
        # Whatever the caller is under, the trial needs gradients and no further rounding.
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
            error = _trial_error(device, dtype, num_heads, head_dim)
    except Exception as problem:  # an old torch, a card or a shape the kernel does not take: training must go on
        reason = f"{type(problem).__name__}: {problem}".splitlines()[0]
    else:
        if error < 0.05:
            return True
        reason = f"it differs from the plain computation by {error:.2g}"
    logger.warning("flash attention over lists is not used on %s in %s (%s)", device, dtype, reason)
    return False


def _trial_error(device: torch.device, dtype: torch.dtype, num_heads: int, head_dim: int) -> float:
    """Largest difference from float32 chunks, of output and gradients, in units of their largest value."""
    generator = torch.Generator().manual_seed(0)
    offsets = torch.tensor([0, *_TRIAL_LENGTHS]).cumsum(0)
    shapes = [(len(_TRIAL_LENGTHS), num_heads, 3, head_dim), *[(int(offsets[-1]), num_heads, head_dim)] * 2]
    drawn = [torch.randn(shape, generator=generator) for shape in (*shapes, shapes[0])]
    *inputs, weight = (tensor.to(device, dtype) for tensor in drawn)
    offsets = offsets.to(device)

    def by_kernel(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return varlen_attention(query, key, value, as_lists(offsets))

    def by_chunks(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        chunks = split_into_chunks(offsets, 64)
        key, value = (photons[chunks.index].transpose(1, 2) for photons in (key, value))
        return packed_attention(query, key, value, chunks, head_dim**-0.5)

    found, expected = (
        _output_and_gradients(function, [tensor.detach().to(kind) for tensor in inputs], weight)
        for function, kind in ((by_kernel, dtype), (by_chunks, torch.float32))
    )
    differences = [(ours.float() - theirs).abs().max() / theirs.abs().max() for ours, theirs in zip(found, expected)]
    return float(torch.stack(differences).nan_to_num(torch.inf).max())


def _output_and_gradients(function: Callable[..., Tensor], inputs: list[Tensor], weight: Tensor) -> list[Tensor]:
    leaves = [tensor.requires_grad_() for tensor in inputs]
    output = function(*leaves)
    gradients = torch.autograd.grad((output.float() * weight.float()).sum(), leaves)
    return [output.detach(), *gradients]


@functools.cache
def _kernel() -> Callable[..., Any]:
    """Raises ImportError where this PyTorch has none."""
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn
