"""The map of all detections: places by UMAP, neighbours, facts and texts, shown by Embedding Atlas."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from chandraclip.data.keys import KEY
from chandraclip.errors import OptionError
from chandraclip.evaluation.lookup import xray_directions
from chandraclip.files import atomic_path, sha256_of
from chandraclip.search import Catalog

NUM_NEIGHBOURS, SEED = 15, 0
LAYOUT_FILE = "layout.parquet"
_MADE_OF = b"embeddings_sha256"
_ID = "row"


def map_table(catalog: Catalog, layout: np.ndarray | None = None) -> pd.DataFrame:
    """Every detection with X-rays: its facts, place and nearest neighbours, as Embedding Atlas reads them.

    Args:
        catalog: of N detections, M of them with an X-ray embedding.
        layout: (M, 2) places; None: `umap_layout` finds them.

    Returns:
        M rows: the facts, ``row`` (of the embeddings), ``x``, ``y``, ``neighbors`` (rows and cosine distances).
    """
    rows, neighbours, distances = _neighbours(catalog)
    if layout is None:
        layout = umap_layout(catalog, rows, neighbours, distances)
    frame = catalog.facts.iloc[rows].reset_index(drop=True)
    lists = [{"ids": ids.tolist(), "distances": far.tolist()} for ids, far in zip(neighbours, distances)]
    places = pd.DataFrame({_ID: rows, "x": layout[:, 0], "y": layout[:, 1], "neighbors": lists})
    keys = [name for name in (*KEY, "split") if name in frame]  # last: the charts of the map are in order of columns
    return pd.concat([frame.drop(columns=keys), frame[keys], places], axis=1)


def _neighbours(catalog: Catalog) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(M,) rows with X-rays, (M, k) rows of the nearest others, and (M, k) cosine distances."""
    directions, present = xray_directions(catalog.table)
    rows = np.flatnonzero(present)
    k = min(NUM_NEIGHBOURS, len(rows) - 1)
    found = catalog.references.along(directions[rows], k, without=rows[:, None])
    return rows, found.rows, np.clip(1.0 - found.similarity, 0.0, None)


def umap_layout(catalog: Catalog, rows: np.ndarray, neighbours: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Places of detections in a plane by UMAP (McInnes et al. 2018, arXiv:1802.03426) over their exact neighbours.

    Kept as `LAYOUT_FILE` beside the embeddings, and read from there while these stay the same.

    Args:
        rows: (M,) of the catalogue.
        neighbours, distances: (M, k) rows and cosine distances of the nearest others.

    Returns:
        (M, 2) float32.

    Raises:
        OptionError: umap-learn is not installed.
    """
    source = Path(catalog.table.path)
    kept, made_of = source.with_name(LAYOUT_FILE), sha256_of(source)
    if kept.is_file() and (pq.read_schema(kept).metadata or {}).get(_MADE_OF) == made_of.encode():
        table = pq.read_table(kept)
        return np.column_stack([table["x"].to_numpy(), table["y"].to_numpy()])
    try:
        import umap
    except ImportError as error:
        raise OptionError("the map needs umap-learn: pip install 'chandraclip[explore]'") from error

    position = np.full(len(catalog), -1)
    position[rows] = np.arange(len(rows))
    itself = np.arange(len(rows))[:, None]
    known = np.hstack([itself, position[neighbours]]), np.hstack([np.zeros(itself.shape), distances])
    reducer = umap.UMAP(
        n_neighbors=known[0].shape[1], metric="cosine", random_state=SEED, n_jobs=1,
        precomputed_knn=(known[0].astype(np.int32), known[1].astype(np.float32)),
        init="spectral" if len(rows) > 10 * NUM_NEIGHBOURS else "random",
    )  # fmt: skip
    with warnings.catch_warnings():
        # That places cannot be found for further detections, or that one seed means one thread: both are meant.
        warnings.simplefilter("ignore", UserWarning)
        layout = reducer.fit_transform(xray_directions(catalog.table)[0][rows]).astype(np.float32)
    table = pa.table({_ID: rows, "x": layout[:, 0], "y": layout[:, 1]}).replace_schema_metadata({_MADE_OF: made_of})
    with atomic_path(kept) as temporary:
        pq.write_table(table, temporary)
    return layout


def atlas_app(frame: pd.DataFrame) -> Any:
    """A web application (ASGI) that shows a `map_table`: map, filters, search, neighbours of a point.

    Its queries are answered here, by a DuckDB without files or network: the one in the browser would load extensions.

    Raises:
        OptionError: embedding-atlas is not installed.
    """
    try:
        import embedding_atlas
        from embedding_atlas.data_source import DataSource
        from embedding_atlas.options import make_embedding_atlas_props
        from embedding_atlas.server import make_server
    except ImportError as error:
        raise OptionError("the map needs embedding-atlas: pip install 'chandraclip[explore]'") from error
    text = {"text": "summary"} if "summary" in frame else {}
    props = make_embedding_atlas_props(row_id=_ID, x="x", y="y", neighbors="neighbors", labels="disabled", **text)
    static = Path(embedding_atlas.__file__).parent / "static"
    source = DataSource("chandraclip", frame, {"props": props})
    return make_server(source, static_path=str(static), duckdb_uri="server", cors=False)
