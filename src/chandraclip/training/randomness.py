"""Randomness as a function of where the run is, so that a resumed run needs no generator state."""

from __future__ import annotations

import numpy as np
import torch


def seed_step(seed: int, step: int, process: int = 0) -> None:
    """Seed torch (dropout) on all devices for one step of one process; different steps and processes draw differently.

    Neighbouring seeds of a generator may give related streams, so the three numbers are hashed.
    """
    state = np.random.SeedSequence([seed, step, process]).generate_state(2, np.uint32)
    torch.manual_seed((int(state[0]) << 32) | int(state[1]))
