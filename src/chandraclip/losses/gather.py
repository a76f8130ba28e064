"""Rows of all processes, with the gradient each row is due."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def num_processes() -> int:
    """Processes of the run; 1 unless torch.distributed is initialised."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _AllGather(torch.autograd.Function):
    """Forward: concatenate. Backward: sum the gradients all processes have for our rows, and keep those rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.num_rows = rows.shape[0]
        return _all_gather(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)  # autograd may still own the buffer
        dist.all_reduce(total)
        start = dist.get_rank() * ctx.num_rows
        return total[start : start + ctx.num_rows]


def all_gather_with_gradient(rows: Tensor) -> Tensor:
    """Rows of every process in rank order, differentiable; the identity in a run of one process.

    Where each process backpropagates its own loss, a row's gradient is the sum over processes, so DDP's mean over
    processes makes it that of the mean of the losses.

    Args:
        rows: (B, ...), B equal on all processes.

    Returns:
        (processes x B, ...).
    """
    return rows if num_processes() == 1 else _AllGather.apply(rows)


def all_gather_mask(mask: Tensor) -> Tensor:
    """The masks (B,) bool of every process in rank order, (processes x B,) bool."""
    if num_processes() == 1:
        return mask
    return _all_gather(mask.to(torch.uint8)).bool()


def _all_gather(rows: Tensor) -> Tensor:
    parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(num_processes())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


class SharedDraws:
    """What a whole batch draws once, for its micro-batches: each gets in `micro_batch` what the first one drew."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []
        self.place = 0

    @contextmanager
    def micro_batch(self) -> Iterator[None]:
        self.place = 0
        token = _DRAWS.set(self)
        try:
            yield
        finally:
            _DRAWS.reset(token)


_DRAWS: ContextVar[SharedDraws | None] = ContextVar("shared draws", default=None)


def shared_uniform(device: torch.device) -> Tensor:
    """Scalar in [0, 1), drawn by process 0 and the same in all: what a whole batch draws once.

    Processes and micro-batches seed their own dropout; a draw of their own here would tie the loss to their number.
    """
    value, draws = torch.rand((), device=device), _DRAWS.get()  # drawn in any case: the generator goes on alike
    if draws is not None and draws.place < len(draws.values):
        value = draws.values[draws.place]
    else:
        if num_processes() > 1:
            dist.broadcast(value, 0)
        if draws is not None:
            draws.values.append(value)
    if draws is not None:
        draws.place += 1
    return value
