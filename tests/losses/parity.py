"""Loss and DDP gradients of a small model, written by rank 0: run with one process, and with torchrun with two."""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import save_file

from chandraclip.losses import REGULARIZERS, alignment_loss
from chandraclip.losses.gather import num_processes
from chandraclip.training.distributed import shut_down

ROWS, INPUT, DIMENSION = 12, 7, 5
# First half all but empty, second half full: a mean over each process' own valid rows would be wrong.
MASKS = {
    "spectrum": torch.tensor([1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 1]).bool(),
    "events": torch.tensor([1, 0, 0, 1, 0, 0, 1, 1, 1, 1, 1, 1]).bool(),
    "text": torch.tensor([1, 1, 0, 0, 0, 1, 1, 0, 1, 1, 1, 1]).bool(),
}


class Towers(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.towers = torch.nn.ModuleDict({name: torch.nn.Linear(INPUT, DIMENSION) for name in MASKS})
        self.log_scale = torch.nn.Parameter(torch.tensor(2.0))
        self.double()

    def forward(self, inputs, masks, regularizer, neighbourhood_weights):
        embeds = {name: F.normalize(tower(inputs[name]), dim=1) for name, tower in self.towers.items()}
        options = {"features": inputs, "neighbourhood_weights": neighbourhood_weights}
        loss, _ = alignment_loss(embeds, masks, self.log_scale.exp(), 0.7, regularizer, **options)
        return loss


def main(output: str) -> None:
    world = num_processes()
    rank = dist.get_rank() if world > 1 else 0
    share = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(ROWS, INPUT, generator=generator, dtype=torch.float64) for name in MASKS}
    results = {}
    kept = {"events": 0.6, "text": 0.4}
    for name, regularizer, weights in [
        *((name, name, None) for name in REGULARIZERS),
        ("neighbourhoods", "none", kept),
    ]:
        towers = Towers()
        model = torch.nn.parallel.DistributedDataParallel(towers) if world > 1 else towers
        loss = model(
            {name: values[share] for name, values in inputs.items()},
            {name: mask[share] for name, mask in MASKS.items()},
            regularizer,
            weights,
        )
        loss.backward()
        value = loss.detach().clone()
        if world > 1:
            dist.all_reduce(value)
        results[f"{name}.loss"] = value / world
        results |= {f"{name}.{key}": parameter.grad for key, parameter in towers.named_parameters()}
        del model, towers
    if rank == 0:
        save_file(results, output)


if __name__ == "__main__":
    import os

    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    main(sys.argv[1])
    shut_down()
