"""One embedding space for X-ray photons, X-ray spectra and the literature about the same sources.

Importing is cheap: names load on first use. The Auto classes of transformers know our models as soon as both packages
are imported, in either order.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chandraclip.registration import register_models

if TYPE_CHECKING:
    from chandraclip.models import (
        ChandraClipConfig,
        ChandraClipModel,
        ChandraClipProcessor,
        EventFeatureExtractor,
        EventTransformerConfig,
        EventTransformerModel,
        SpectrumAutoencoderConfig,
        SpectrumAutoencoderModel,
        SpectrumFeatureExtractor,
    )

__version__ = "0.1.0"

__all__ = [
    "ChandraClipConfig",
    "ChandraClipModel",
    "ChandraClipProcessor",
    "EventFeatureExtractor",
    "EventTransformerConfig",
    "EventTransformerModel",
    "SpectrumAutoencoderConfig",
    "SpectrumAutoencoderModel",
    "SpectrumFeatureExtractor",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module("chandraclip.models"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_models()
