"""Random numbers that are a row's own, whatever batch it is in.

Processes and micro-batches seed their dropout each for itself; a draw that decides which photons a copy has must not
depend on how a batch is cut. So it is a hash of what the row holds and of one number that the whole batch shares.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 of splitmix64, as a signed number
UNSIGNED_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(state: Tensor) -> Tensor:
    """Finalizer of splitmix64 (Steele, Lea & Flood 2014), on int64 that wraps around."""

    def shifted(value: Tensor, by: int) -> Tensor:
        return (value >> by) & ((1 << (64 - by)) - 1)

    state = (state ^ shifted(state, 30)) * -4658895280553007687
    state = (state ^ shifted(state, 27)) * -7723592293110705685
    return state ^ shifted(state, 31)


def mix_array(state: np.ndarray) -> np.ndarray:
    """As `mix`, of uint64 in numpy, which counts modulo 2^64."""
    with np.errstate(over="ignore"):
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def keyed_uniforms(key: Tensor, draw: Tensor, number: Tensor, stream: int) -> Tensor:
    """Uniform numbers, a function of a row's key, the shared draw, the number and the stream.

    Args:
        key: int64 of the row's content; broadcasts with `number`.
        draw: scalar in [0, 1), the same for the whole batch (`losses.gather.shared_uniform`).
        number: int64 from 1, which of the row's numbers.
        stream: tells one use from another.

    Returns:
        float32 in (0, 1), of the broadcast shape.
    """
    seed = (draw.double() * (1 << 24)).long() + stream * (1 << 32)
    state = mix(mix(mix(key) ^ (seed * GOLDEN)) + number * GOLDEN)
    return (((state >> 41) & ((1 << 23) - 1)).float() + 0.5) / (1 << 23)
