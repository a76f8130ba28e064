"""Randomness as a function of where the run is, so that a resumed run needs no generator state."""

from __future__ import annotations

import numpy as np
import torch


def seed_step(seed: int, step: int, process: int = 0, micro_batch: int = 0) -> None:
    """Seed torch (dropout) on all devices for one micro-batch; other steps, processes and micro-batches draw otherwise.

    Neighbouring seeds of a generator may give related streams, so the four numbers are hashed.
    """
    place = [seed, step, process, *([micro_batch] if micro_batch else [])]
    state = np.random.SeedSequence(place).generate_state(2, np.uint32)
    torch.manual_seed((int(state[0]) << 32) | int(state[1]))
