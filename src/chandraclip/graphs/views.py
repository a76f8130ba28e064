"""The vectors of which graphs are made: of the photons, of the texts, and of both."""

from __future__ import annotations

import numpy as np

from chandraclip.errors import QueryError
from chandraclip.evaluation.embeddings import EmbeddingTable

# "both" is the two unit vectors side by side, as the papers combine modalities after alignment (arXiv:2603.04516); its
# cosine is the mean of the two cosines.
VIEWS = {
    "events": ("event_embedding",),
    "spectrum": ("spectrum_embedding",),
    "xray": ("xray_embedding",),  # of the joint head
    "text": ("text_embedding",),
    "both": ("event_embedding", "text_embedding"),
}
PUBLISHED_VIEWS = ("events", "text", "both")


def view_of(table: EmbeddingTable, view: str) -> tuple[np.ndarray, np.ndarray]:
    """(M, D) vectors of the rows that have all that a view of `VIEWS` needs, and (M,) which rows of the table they are.

    Raises:
        QueryError: no such view, or no row has it.
    """
    if view not in VIEWS:
        raise QueryError(f"there is no representation {view!r}; there are {', '.join(VIEWS)}")
    names = VIEWS[view]
    lacking = [name for name in names if name not in table.arrays]
    if lacking:
        raise QueryError(f"{table.path}: no row has {' and '.join(lacking)}, which the representation {view!r} needs")
    vectors, mask = table.joint(names)
    if not mask.any():
        raise QueryError(f"{table.path}: no row has all of {', '.join(names)}, which the representation {view!r} needs")
    return vectors[mask], np.flatnonzero(mask)
