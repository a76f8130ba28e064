"""AdamW, and the learning rate as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn


def build_optimizer(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    scales: Mapping[str, float] | None = None,
    beta2: float = 0.98,
) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; matrices decay; biases, norms and scalars do not.

    Args:
        scales: beginning of a parameter's name -> what the learning rate of those is multiplied by; 1 for all others.
        beta2: decay of the mean squared gradient.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            scale = next((value for start, value in (scales or {}).items() if name.startswith(start)), 1.0)
            groups.setdefault((scale, weight_decay if parameter.dim() >= 2 else 0.0), []).append(parameter)
    # Sorting compares the keys, which differ; those that decay come first.
    return torch.optim.AdamW(
        [
            {"params": parameters, "weight_decay": decay, "lr_scale": scale, "lr": scale * learning_rate}
            for (scale, decay), parameters in sorted(groups.items(), reverse=True)
        ],
        lr=learning_rate,
        betas=(0.9, beta2),
    )


def learning_rate_at(step: int, peak: float, warmup_steps: int, max_steps: int) -> float:
    """Linear rise to `peak` over `warmup_steps`, then half a cosine to 0 at `max_steps`.

    Source: Loshchilov & Hutter 2017 (arXiv:1608.03983) eq. 5, one cycle.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, max_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """The learning rate of all parameters; a group with `lr_scale` gets that many times as much."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("lr_scale", 1.0)
