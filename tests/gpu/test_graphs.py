from __future__ import annotations

import numpy as np
import pytest

from chandraclip.graphs import similarity
from chandraclip.graphs.similarity import similarity_graph


@pytest.mark.parametrize("tile", [(64, 100), (1000, 1000)])
def test_the_graph_is_that_of_the_cpu(monkeypatch: pytest.MonkeyPatch, tile: tuple[int, int]) -> None:
    monkeypatch.setattr(similarity, "_DEVICE_TILE", tile)
    vectors = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32)
    ours, theirs = (similarity_graph(vectors, 0.7, device) for device in ("cuda", "cpu"))
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    sure = abs(unit @ unit.T - 0.7) > 1e-5
    assert theirs.nnz > 1000
    assert ((ours.toarray() != 0) == (theirs.toarray() != 0))[sure].all()
    common = (ours.toarray() != 0) & (theirs.toarray() != 0)
    np.testing.assert_allclose(ours.toarray()[common], theirs.toarray()[common], atol=1e-5)
