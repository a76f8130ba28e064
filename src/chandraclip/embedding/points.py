"""Rows of the dataset to points of latent space: the one function by which trajectories call a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from chandraclip.catalog.ragged import Ragged
from chandraclip.embedding.embedder import Embedder


def limit_photons(embedder: Embedder, max_events: int | None) -> None:
    """Let a model see at most so many photons of each list, drawn at random; None: all.

    Photons cost most of the time of bright detections. Counts, exposure and intervals stay those of the full list.
    """
    extractor: Any = getattr(embedder.processor, "event_feature_extractor", embedder.processor)
    if hasattr(extractor, "max_events"):
        extractor.max_events = max_events


def embed_points(embedder: Embedder, rows: pa.Table, names: Sequence[str]) -> np.ndarray:
    """Representations side by side, each over the root of their number: of unit vectors, a unit vector.

    Args:
        embedder: the model.
        rows: N detections, with the columns of `data.keys.with_keys`.
        names: of representations that the model gives, e.g. ``("spectrum_embedding", "event_embedding")``.

    Returns:
        (N, D) float32; NaN in rows that lack one of them.

    Raises:
        ValueError: an embedding is not finite.
    """
    embedded = embedder(rows)
    parts = []
    for name in names:
        lists = Ragged.from_arrow(embedded[name])
        given = np.diff(lists.offsets) > 0
        width = int(np.diff(lists.offsets).max(initial=0))
        part = np.full((rows.num_rows, width), np.nan, dtype=np.float32)
        part[given] = np.asarray(lists.values, dtype=np.float32).reshape(-1, max(width, 1))[:, :width]
        parts.append(part)
    return np.concatenate(parts, axis=1) / np.float32(np.sqrt(len(names)))
