"""Run training/pretrain.py and keep the loss and gradients of its first step: FILE CONFIG OUTPUT_DIR [...].

Parameters that start at zero are drawn first: behind them no gradient passes, and a rate that starts at the best
constant has gradients that cancel to the rounding of their sums.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "training"))

import pretrain
from chandraclip.program import run_program
from chandraclip.training import step as training_step

JOBS = list(zip(sys.argv[1::3], sys.argv[2::3], sys.argv[3::3], strict=True))
train_step = training_step.train_step


@torch.no_grad()
def draw_what_is_zero(model: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad and not parameter.any():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))


def main() -> None:
    for file, config, output in JOBS:

        def train_step_kept(accelerator, model, optimizer, micro_batches, step, arguments, file=file, **schedule):
            draw_what_is_zero(accelerator.unwrap_model(model))
            values = train_step(accelerator, model, optimizer, micro_batches, step, arguments, **schedule)
            if accelerator.is_main_process:
                parameters = accelerator.unwrap_model(model).named_parameters()
                gradients = {name: value.grad.clone() for name, value in parameters if value.grad is not None}
                parts = torch.tensor(len(micro_batches))
                save_file({**gradients, "loss": torch.tensor(values["loss"]), "micro_batches": parts}, file)
            return values

        training_step.train_step = train_step_kept
        pretrain.main(["--config", config, "--output_dir", output, "--max_steps", "1", "--max_grad_norm", "1e9"])


run_program(main)
