"""`import chandraclip` registers the models with the Auto classes of transformers, which takes torch and seconds.

Wings that know no model skip it where one of them is what is imported first: a reader of FITS files, a worker of the
simulator and a program asked for ``--help`` need neither. `chandraclip.models` registers in any case.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import FrameType

LIGHT = (
    *("errors", "files", "lock", "processes", "program", "ranks", "rank_runs"),
    *("acquire", "ogip", "catalog", "simulate", "observation", "evaluation", "graphs", "realism"),
    *("summaries", "training.arguments", "training.align_arguments"),
)
_AUTO_CLASSES = "transformers.models.auto.configuration_auto"
_PACKAGE = __name__.rpartition(".")[0]


def register_models() -> None:
    """Register all families with AutoConfig, AutoModel, AutoFeatureExtractor and AutoProcessor. Harmless to repeat."""
    import_module(f"{_PACKAGE}.models")


def register_unless_light() -> None:
    """Register, unless a wing of `LIGHT` is being imported and nobody in this process has loaded the Auto classes."""
    submodule = _submodule_being_imported()
    light = any(submodule == name or submodule.startswith(f"{name}.") for name in LIGHT)
    if not light or _AUTO_CLASSES in sys.modules:
        register_models()


def _submodule_being_imported() -> str:
    """The submodule whose import made Python import the package first; "" for the package itself.

    Python offers no other way to tell ``import chandraclip.ogip`` from ``import chandraclip`` while the package is
    being imported. Should the import system look different one day, the answer is "", and the models are registered.
    """
    frame: FrameType | None = sys._getframe()
    asked = ""
    while frame is not None:
        code = frame.f_code
        if code.co_filename == "<frozen importlib._bootstrap>" and code.co_name == "_find_and_load":
            name = str(frame.f_locals.get("name", ""))
            if name == _PACKAGE or name.startswith(f"{_PACKAGE}."):
                asked = name
            else:
                break
        frame = frame.f_back
    return asked.removeprefix(_PACKAGE).lstrip(".")
