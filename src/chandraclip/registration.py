"""Makes `AutoModel.from_pretrained` know our models without importing torch before it is needed.

Registration needs the classes, and the classes need torch and transformers: 5 s that a reader of FITS files, or a
script asked for ``--help``, should not pay. So the models are imported when transformers' Auto classes are: at once
where those are loaded already, else when the import that loads them has finished.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_MODELS = "chandraclip.models"
_AUTO_CLASSES = "transformers.models.auto.configuration_auto"  # every Auto class imports it
_depth = threading.local()  # transformers' modules being executed in this thread, one inside the other


class _CountingLoader(Loader):
    """A module's own loader; registers the models when the outermost import of transformers is done.

    Not sooner: its modules import each other, and one that is half executed cannot be used.
    """

    def __init__(self, loader: Loader):
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        module.__loader__ = self.loader
        _depth.value = getattr(_depth, "value", 0) + 1
        try:
            self.loader.exec_module(module)
        finally:
            _depth.value -= 1
        if _depth.value == 0 and _AUTO_CLASSES in sys.modules:
            _register()


class _TransformersFinder(MetaPathFinder):
    """Finds transformers' modules as the import system does, and leaves all others to it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "transformers" and not fullname.startswith("transformers."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _CountingLoader(spec.loader)
        return spec


def _register() -> None:
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _TransformersFinder)]
    if _MODELS in sys.modules:  # being imported by the user, and registers itself
        return
    try:
        import_module(_MODELS)
    except Exception as error:  # not the user's import: transformers must stay usable
        warnings.warn(f"chandraclip could not register its models with transformers: {error!r}", stacklevel=2)


def register_models() -> None:
    """Register now where the Auto classes are loaded, else as soon as they are. Harmless to call again."""
    if _AUTO_CLASSES in sys.modules:
        _register()
    elif not any(isinstance(finder, _TransformersFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TransformersFinder())
