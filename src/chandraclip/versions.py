"""Versions of packages, for the records beside datasets, models and embeddings."""

from __future__ import annotations

from importlib import metadata

import chandraclip


def installed_versions(*names: str) -> dict[str, str]:
    """Package -> version, "not installed" where there is none.

    The package itself is known by its own `__version__`: run from a checkout through PYTHONPATH it has no metadata.
    """
    return {name: chandraclip.__version__ if name == "chandraclip" else _version(name) for name in names}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
