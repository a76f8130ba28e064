"""Train, validation and test, as a pure function of the source name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

SPLITS = ("train", "validation", "test")
TRAIN_SHARE = 0.70
VALIDATION_SHARE = 0.15


def split_of(name: str) -> str:
    """The split of a source: a hash of its name, so that all its detections fall together in every release.

    Shares are 70 / 15 / 15 %, close to the published 69 / 1 + 15 / 15 % (arXiv:2603.04516, where the 1 % calibrates).

    Args:
        name: source name, e.g. ``"2CXO J004722.6-252050"``.

    Raises:
        ValueError: the name is empty, which would put all nameless sources in one split.
    """
    if not name:
        raise ValueError("a split needs a source name, and this one is empty")
    fraction = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    if fraction < TRAIN_SHARE:
        return "train"
    return "validation" if fraction < TRAIN_SHARE + VALIDATION_SHARE else "test"


def assign_splits(names: Iterable[str]) -> list[str]:
    """`split_of` for every name, each name hashed once."""
    names = list(names)
    known = {name: split_of(name) for name in set(names)}
    return [known[name] for name in names]
