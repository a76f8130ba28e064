from __future__ import annotations

import chandraclip
from chandraclip.versions import installed_versions


def test_versions_of_a_checkout_that_is_not_installed(monkeypatch):
    from importlib import metadata

    def version(name: str) -> str:
        if name in ("chandraclip", "datasets"):
            raise metadata.PackageNotFoundError(name)
        return "1.2"

    monkeypatch.setattr(metadata, "version", version)
    assert installed_versions("chandraclip", "torch", "datasets") == {
        "chandraclip": chandraclip.__version__,
        "torch": "1.2",
        "datasets": "not installed",
    }
