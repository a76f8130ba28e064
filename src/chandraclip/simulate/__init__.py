"""Simulated X-ray detections: physics in, rows of the dataset's schema out.

Imports are lazy: the physics loads when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chandraclip.simulate.detections import simulate_chunk, simulate_detections
    from chandraclip.simulate.response import builtin_response

__all__ = ["builtin_response", "simulate_chunk", "simulate_detections"]

_HOMES = {"simulate_chunk": "detections", "simulate_detections": "detections", "builtin_response": "response"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
