"""Versions of packages, for the records beside datasets, models and embeddings."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

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


def source_commit() -> str | None:
    """The commit of the checkout that the code runs from, with "-dirty" where files differ; None: it is no checkout."""
    package = Path(chandraclip.__file__).resolve().parent
    if not (package.parents[1] / ".git").exists():  # installed, perhaps inside another project's checkout
        return None
    command = ["git", "-C", str(package), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
