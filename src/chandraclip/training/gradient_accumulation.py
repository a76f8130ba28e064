"""The gradient of a whole batch from micro-batches, of which one at a time has its activations in memory.

A mean over rows is the sum of the micro-batches' means, weighted by the rows that count. The alignment's loss is no
such sum: each row is contrasted with all others. There a first pass without gradient gives all embeddings, the loss on
them gives the gradient of each embedding, and a second pass with the same random state propagates these, micro-batch
by micro-batch, into the weights: GradCache, Gao et al. 2021 (arXiv:2101.06983) sect. 3. Both are exact.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from chandraclip.losses.gather import SharedDraws

if TYPE_CHECKING:
    from chandraclip.models import ChandraClipModel

Batch = Mapping[str, Any]


def accumulate_gradients(
    accelerator: Accelerator, model: nn.Module, micro_batches: Sequence[Batch], seed: Callable[[int], None]
) -> dict[str, Tensor]:
    """Add the gradient of the whole batch's loss to the parameters.

    Args:
        accelerator: that prepared the model.
        model: its output has `loss`: that of embeddings where the model has `loss_of_embeddings`, else a mean over the
            rows that the batch's one boolean `<modality>_mask` marks.
        micro_batches: keyword arguments of the model; the rows of this process, cut into parts; equally many parts,
            with as many rows, on all processes.
        seed: sets the random state for a micro-batch, from 0.

    Returns:
        loss, its parts and logit_scale where the model gives them, without gradient: this process' share, whose mean
        over processes is that of the whole batch.
    """
    if len(micro_batches) == 1:
        seed(0)
        output = model(**{**micro_batches[0], "return_loss": True})
        accelerator.backward(output.loss)
        return reported(output)
    unwrapped = accelerator.unwrap_model(model)
    if hasattr(unwrapped, "loss_of_embeddings"):
        return _contrastive(accelerator, model, unwrapped, micro_batches, seed)
    return _mean(accelerator, model, micro_batches, seed)


def reported(output: Any) -> dict[str, Tensor]:
    """loss, its parts and logit_scale where the output has them, detached."""
    parts = {"loss": output.loss, **(getattr(output, "loss_parts", None) or {})}
    if getattr(output, "logit_scale", None) is not None:
        parts["logit_scale"] = output.logit_scale
    return {name: part.detach().float() for name, part in parts.items()}


def _mean(
    accelerator: Accelerator, model: nn.Module, micro_batches: Sequence[Batch], seed: Callable[[int], None]
) -> dict[str, Tensor]:
    draws = SharedDraws()
    # Each micro-batch's loss is the mean over its rows of all processes that count, so these are its weight.
    counts = accelerator.reduce(torch.stack([_valid_rows(batch).sum() for batch in micro_batches]), reduction="sum")
    weights = counts / counts.sum().clamp(min=1)
    total: dict[str, Tensor] = {}
    for number, batch in enumerate(micro_batches):
        with _synchronised(accelerator, model, number == len(micro_batches) - 1), draws.micro_batch():
            seed(number)
            output = model(**batch, return_loss=True)
            accelerator.backward(weights[number] * output.loss)
        for name, part in reported(output).items():
            total[name] = total.get(name, 0.0) + weights[number] * part
    return total


def _contrastive(
    accelerator: Accelerator,
    model: nn.Module,
    unwrapped: ChandraClipModel,
    micro_batches: Sequence[Batch],
    seed: Callable[[int], None],
) -> dict[str, Tensor]:
    parts: dict[str, list[Tensor]] = {}
    draws = SharedDraws()
    for number, batch in enumerate(micro_batches):
        with torch.no_grad(), draws.micro_batch():
            seed(number)
            output = unwrapped(**batch)  # not through DDP, which would send the buffers around
        for name, value in output.items():
            parts.setdefault(name, []).append(value)
    # All have rows but the scale of the logits, which is the same every time.
    whole = {name: torch.cat(values) if values[0].dim() else values[0] for name, values in parts.items()}
    names = [name.removesuffix("_embeds") for name in whole if name.endswith("_embeds")]
    leaves = [whole[f"{name}_embeds"].requires_grad_() for name in names] + [whole["logit_scale"].requires_grad_()]
    masks = {
        name: whole[f"{name}_mask"]  # the joint embedding's
        if f"{name}_mask" in whole
        else torch.cat([batch[f"{name}_mask"] for batch in micro_batches]).bool()
        for name in names
    }
    loss, loss_parts = unwrapped.loss_of_embeddings(type(output)(**whole), masks)
    *of_embeds, of_logit_scale = torch.autograd.grad(loss, leaves)
    sizes = [len(rows) for rows in parts[f"{names[0]}_embeds"]]
    of_rows = [gradient.split(sizes) for gradient in of_embeds]

    for number, batch in enumerate(micro_batches):
        last = number == len(micro_batches) - 1
        with _synchronised(accelerator, model, last), draws.micro_batch():
            seed(number)
            output = model(**batch)
            terms = [(output[f"{name}_embeds"] * rows[number]).sum() for name, rows in zip(names, of_rows)]
            if last:  # with which DDP averages, and to which the gradient of the scale is added once
                terms.append(output.logit_scale * of_logit_scale)
            accelerator.backward(torch.stack(terms).sum())
    parts_of_loss = {"loss": loss, **loss_parts, "logit_scale": whole["logit_scale"]}
    return {name: part.detach().float() for name, part in parts_of_loss.items()}


def _synchronised(accelerator: Accelerator, model: nn.Module, last: bool) -> contextlib.AbstractContextManager[None]:
    """Gradients are averaged over processes once, with the last micro-batch's."""
    return contextlib.nullcontext() if last else accelerator.no_sync(model)


def _valid_rows(batch: Batch) -> Tensor:
    """(B,) bool, the rows that count in a mean loss."""
    masks = {name: value for name, value in batch.items() if name.endswith("_mask") and value.dtype == torch.bool}
    if len(masks) != 1:
        raise ValueError(f"a mean loss needs one mask of rows in the batch to be accumulated, this has {list(masks)}")
    return next(iter(masks.values()))
