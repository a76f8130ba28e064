"""Tables and datasets that the tests embed and evaluate, and the scripts that do."""

from __future__ import annotations

import importlib.util

import pytest

from embedding_files import dataset, embeddings_table, make_embeddings, write_dataset_fixture  # noqa: F401


@pytest.fixture
def script(repository):
    """The `main` of a script, by its path."""

    def load(path: str):
        spec = importlib.util.spec_from_file_location(f"script_{path.replace('/', '_')[:-3]}", repository / path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.main

    return load
