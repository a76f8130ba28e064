"""One optimizer step, the same in every loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from chandraclip.training.arguments import RunArguments
from chandraclip.training.optimizer import learning_rate_at, set_learning_rate
from chandraclip.training.randomness import seed_step


def train_step(
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Mapping[str, Any],
    step: int,
    arguments: RunArguments,
) -> dict[str, float]:
    """Forward, backward and update; what happens is a function of the weights, the batch and the step alone.

    Args:
        accelerator: that prepared model and optimizer.
        model: its output has `loss`, of which the mean over processes is the loss of the whole batch.
        optimizer: over the model's trainable parameters.
        batch: keyword arguments of the model, this process' share of the rows.
        step: from 0; seeds dropout and sets the learning rate.
        arguments: of the run.

    Returns:
        loss, its parts and logit_scale where the model gives them, all of the whole batch; grad_norm (before clipping)
        and learning_rate.

    Raises:
        FloatingPointError: the gradient is not finite; the weights are as they were.
    """
    seed_step(arguments.seed, step, accelerator.process_index)
    learning_rate = learning_rate_at(step, arguments.learning_rate, arguments.warmup_steps, arguments.max_steps)
    set_learning_rate(optimizer, learning_rate)
    model.train()
    optimizer.zero_grad()
    output = model(**batch)
    accelerator.backward(output.loss)
    grad_norm = accelerator.clip_grad_norm_(model.parameters(), arguments.max_grad_norm)
    if grad_norm is None or not torch.isfinite(grad_norm):
        raise FloatingPointError(f"the gradient of step {step} is not finite, the loss is {output.loss.item()}")
    optimizer.step()

    parts = {"loss": output.loss, **(getattr(output, "loss_parts", None) or {})}
    if getattr(output, "logit_scale", None) is not None:
        parts["logit_scale"] = output.logit_scale
    whole = accelerator.reduce(torch.stack([part.detach().float() for part in parts.values()]), reduction="mean")
    return {**dict(zip(parts, whole.tolist())), "grad_norm": grad_norm.item(), "learning_rate": learning_rate}
