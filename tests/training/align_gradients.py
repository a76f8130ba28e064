"""Run training/align.py in float64 and keep the loss and gradients of its first step: FILE OPTIONS...

In float32 the order of the sums alone moves gradients by 1e-6. (Embeddings and the loss stay float32, as everywhere.)
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "training"))

from accelerate import Accelerator

import align
from chandraclip.models import ChandraClipModel
from chandraclip.program import run_program
from chandraclip.training import step as training_step

FILE, OPTIONS = sys.argv[1], sys.argv[2:]
train_step = training_step.train_step


def train_step_kept(accelerator, model, optimizer, micro_batches, step, arguments):
    values = train_step(accelerator, model, optimizer, micro_batches, step, arguments)
    if step == 0 and accelerator.is_main_process:
        parameters = accelerator.unwrap_model(model).named_parameters()
        gradients = {name: parameter.grad.clone() for name, parameter in parameters if parameter.grad is not None}
        rows = torch.tensor([len(batch["spectrum_mask"]) for batch in micro_batches])
        save_file({**gradients, "loss": torch.tensor(values["loss"]), "rows": rows}, FILE)
    return values


def prepare_in_double(accelerator, *parts, **options):
    return prepare(
        accelerator, *(part.double() if isinstance(part, torch.nn.Module) else part for part in parts), **options
    )


def doubled(value):
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def forward_in_double(model, *values, **named):
    return forward(model, *map(doubled, values), **{name: doubled(value) for name, value in named.items()})


prepare, forward = Accelerator.prepare, ChandraClipModel.forward
Accelerator.prepare, ChandraClipModel.forward = prepare_in_double, forward_in_double
training_step.train_step = train_step_kept
run_program(lambda: align.main(OPTIONS))
