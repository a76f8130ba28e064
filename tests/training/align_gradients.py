"""Run training/align.py and keep the loss and gradients of its first step: FILE OPTIONS..."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "training"))

import align
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


training_step.train_step = train_step_kept
run_program(lambda: align.main(OPTIONS))
