"""The libraries of the extra ``graphs``, asked for where they are used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from chandraclip.errors import OptionError


def library(name: str) -> ModuleType:
    """Import a module of the extra ``graphs``.

    Raises:
        OptionError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        reason = f"{name.partition('.')[0]} is not installed: pip install 'chandraclip[graphs]' ({error})"
        raise OptionError(reason) from error
