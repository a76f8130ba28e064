"""One optimizer step, the same in every loop."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import nn

from chandraclip.training.arguments import RunArguments
from chandraclip.training.gradient_accumulation import Batch, accumulate_gradients
from chandraclip.training.optimizer import learning_rate_at, set_learning_rate
from chandraclip.training.randomness import seed_step

# The scaler halves its scale with every overflow. Below 1 it is not the scale that overflows (as in DeepSpeed).
MIN_LOSS_SCALE = 1.0


def train_step(
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    micro_batches: Sequence[Batch],
    step: int,
    arguments: RunArguments,
    learning_rate: float | None = None,
    frozen: tuple[str, ...] = (),
) -> dict[str, float]:
    """Forward, backward and update; what happens is a function of the weights, the batch and the step alone.

    Args:
        accelerator: that prepared model and optimizer.
        model: as `accumulate_gradients` takes it.
        optimizer: over the model's trainable parameters.
        micro_batches: keyword arguments of the model, this process' share of the rows, in one part or more.
        step: from 0; seeds dropout and sets the learning rate.
        arguments: of the run.
        learning_rate: in place of the schedule's.
        frozen: beginnings of the names of parameters that stay as they are.

    Returns:
        loss, its parts and logit_scale where the model gives them, all of the whole batch; grad_norm (before clipping)
        and learning_rate; in fp16 loss_scale, too. There grad_norm is not finite in a step that was skipped: its
        gradient overflowed at that scale, the next step has half of it.

    Raises:
        FloatingPointError: the gradient is not finite, whatever the scale; the weights are as they were.
    """
    if learning_rate is None:
        learning_rate = learning_rate_at(step, arguments.learning_rate, arguments.warmup_steps, arguments.max_steps)
    set_learning_rate(optimizer, learning_rate)
    model.train()
    optimizer.zero_grad()
    parts = accumulate_gradients(
        accelerator,
        model,
        micro_batches,
        lambda number: seed_step(arguments.seed, step, accelerator.process_index, number),
    )
    if frozen:  # their gradients are there, since DDP waits for all; without them the optimizer passes them by
        for name, parameter in accelerator.unwrap_model(model).named_parameters():
            if name.startswith(frozen):
                parameter.grad = None
    grad_norm = accelerator.clip_grad_norm_(model.parameters(), arguments.max_grad_norm)
    whole = accelerator.reduce(torch.stack(list(parts.values())), reduction="mean")
    values = dict(zip(parts, whole.tolist()))
    scale = None if accelerator.scaler is None else accelerator.scaler.get_scale()
    if grad_norm is None or (not torch.isfinite(grad_norm) and (scale is None or scale < MIN_LOSS_SCALE)):
        at_scale = "" if scale is None else f", the loss scale {scale}"
        raise FloatingPointError(f"the gradient of step {step} is not finite, the loss is {values['loss']}{at_scale}")
    optimizer.step()
    values |= {"grad_norm": grad_norm.item(), "learning_rate": learning_rate}
    return values if scale is None else {**values, "loss_scale": scale}
