"""Real and simulated X-ray data: readers, schema, packaging, splits. Names load on first use: importing is cheap."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chandraclip.data.events import EventList, read_events
    from chandraclip.data.hardness import hardness_ratios
    from chandraclip.data.response import Response
    from chandraclip.data.response_reader import read_response
    from chandraclip.data.spectrum import Spectrum, read_spectrum
    from chandraclip.data.variability import gregory_loredo

_MODULES = {
    "EventList": "events",
    "Response": "response",
    "Spectrum": "spectrum",
    "gregory_loredo": "variability",
    "hardness_ratios": "hardness",
    "read_events": "events",
    "read_response": "response_reader",
    "read_spectrum": "spectrum",
}

__all__ = [
    "EventList",
    "Response",
    "Spectrum",
    "gregory_loredo",
    "hardness_ratios",
    "read_events",
    "read_response",
    "read_spectrum",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
