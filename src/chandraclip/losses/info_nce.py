"""Symmetric InfoNCE with negatives from all processes."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from chandraclip.losses.gather import all_gather_mask, all_gather_with_gradient, num_processes


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision raised to float32; float32 and float64 as they are."""
    return values if values.dtype == torch.float64 else values.float()


def symmetric_info_nce(left: Tensor, right: Tensor, logit_scale: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of finding each row's partner among all rows, left to right and right to left.

    .. math:: -\\frac{1}{2N} \\sum_i \\Big[ \\log \\frac{e^{s\\, l_i \\cdot r_i}}{\\sum_j e^{s\\, l_i \\cdot r_j}}
              + \\log \\frac{e^{s\\, l_i \\cdot r_i}}{\\sum_j e^{s\\, l_j \\cdot r_i}} \\Big]

    Only the N rows valid on both sides count, as positives and as negatives; the others get a gradient of exactly 0.
    In a run of several processes each computes its own rows against the columns of all, weighted so that the mean over
    processes of the value, and of every gradient (DDP's), is that of one process with the whole batch.

    Args:
        left: (B, D) unit vectors; B equal on all processes.
        right: (B, D) unit vectors, row i the partner of `left`'s row i.
        logit_scale: scalar multiplier of the cosine: 1 / temperature, the exponential of CLIP's parameter.
        valid: (B,) bool, rows that have both sides; all of them by default.

    Returns:
        Scalar, 0 where no row of the batch is valid. Float32 or wider, whatever the inputs and autocast.

    Source: van den Oord et al. 2018 (arXiv:1807.03748) eq. 4; Radford et al. 2021 (arXiv:2103.00020) fig. 3.
    """
    if left.shape != right.shape or left.dim() != 2:
        raise ValueError(f"left {tuple(left.shape)} and right {tuple(right.shape)} must both be (B, D)")
    if valid is None:
        valid = torch.ones(len(left), dtype=torch.bool, device=left.device)
    with torch.autocast(left.device.type, enabled=False):
        left = at_least_float32(left).masked_fill(~valid[:, None], 0.0)
        right = at_least_float32(right).masked_fill(~valid[:, None], 0.0)
        all_valid = all_gather_mask(valid)
        first_row = dist.get_rank() * len(left) if num_processes() > 1 else 0
        positive = torch.arange(first_row, first_row + len(left), device=left.device)

        total = left.new_zeros(())
        for rows, columns in ((left, right), (right, left)):
            logits = logit_scale * rows @ all_gather_with_gradient(columns).T  # (B, processes x B)
            logits = logits.masked_fill(~all_valid, torch.finfo(logits.dtype).min)
            total = total + (F.cross_entropy(logits, positive, reduction="none") * valid).sum()
        return 0.5 * total * num_processes() / all_valid.sum().clamp(min=1)
