"""Maps: representations before and after alignment laid out in the plane.

By UMAP (McInnes, Healy & Melville 2018), or by t-SNE (van der Maaten & Hinton 2008) as Dillmann et al. 2025
(arXiv:2412.01150) have it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chandraclip.data.schema import SOURCE_CLASSES
from chandraclip.errors import OptionError
from chandraclip.files import atomic_path

# Of both axes of every map, in units of the distance from the middle that `_WITHIN` of its points keep. What lies
# beyond, as islands may far away, is drawn at the border.
LIMIT, _WITHIN = 1.3, 0.9
# Column -> title, whether its logarithm is drawn. Of two columns with one title the first that a dataset has is drawn.
COLOURS = {
    "source_class": ("class", False),
    "hard_hs": ("hardness h - s", False),
    "true_nh": ("NH (1e20 cm-2)", True),
    "powlaw_nh": ("NH (1e20 cm-2)", True),
    "var_prob_b": ("probability of variability", False),
    "src_cnts_aper_b": ("counts", True),
}


MAP_NEIGHBOURS, MIN_DISTANCE = 15, 0.1  # of UMAP
UMAP, TSNE = "UMAP", "t-SNE"
LAYOUTS = (UMAP, TSNE)
# Published: sklearn's t-SNE with these, a random start and seed 505. The perplexity is the smooth number of neighbours.
PERPLEXITY = 50
_TSNE_OPTIONS: dict[str, Any] = {"learning_rate": 100.0, "max_iter": 1000, "early_exaggeration": 1.0, "init": "random"}


def layout(points: np.ndarray, seed: int = 0, method: str = UMAP) -> np.ndarray:
    """(N, 2) layout about its median, most of it within 1; the same for the same input and seed.

    Args:
        points: (N, D), see `neighbourhoods.standardized`.
        seed: of the layout.
        method: of `LAYOUTS`.

    Raises:
        OptionError: umap-learn is not installed.
        ValueError: fewer points than neighbours.
    """
    plane = plane_of(points, seed, method)
    plane -= np.median(plane, axis=0)
    return plane / np.quantile(np.abs(plane).max(axis=1), _WITHIN)


def plane_of(points: np.ndarray, seed: int = 0, method: str = UMAP) -> np.ndarray:
    """`layout` in the method's own units, in which published clusters are found."""
    needed = MAP_NEIGHBOURS if method == UMAP else PERPLEXITY
    if len(points) <= needed:
        raise ValueError(f"{len(points)} detections are too few for a map with {needed} neighbours")
    points = np.asarray(points, dtype=np.float32)
    if method == TSNE:
        from sklearn import manifold

        reducer = manifold.TSNE(2, perplexity=PERPLEXITY, random_state=seed, **_TSNE_OPTIONS)
        return np.asarray(reducer.fit_transform(points), dtype=np.float64)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numba's and of TensorFlow, which parametric UMAP alone needs
            import umap
    except ImportError as error:
        raise OptionError(f"maps need UMAP: pip install 'chandraclip[maps]' ({error})") from error
    # It begins with the two principal components.
    reducer = umap.UMAP(
        n_neighbors=MAP_NEIGHBOURS, min_dist=MIN_DISTANCE, init="pca", random_state=seed, n_jobs=1, low_memory=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(reducer.fit_transform(points), dtype=np.float64)


def turned_to(plane: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A layout turned and mirrored, which changes nothing in it, to lie as near as it can to another of the same rows.

    Args:
        plane, other: (N, 2) of `layout`.
    """
    left, _, right = np.linalg.svd(plane.T @ other)
    return plane @ (left @ right)


def plot_maps(
    planes: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray], path: Path, title: str
) -> Sequence[str]:
    """A row a layout, a column a colouring; all of the same rows, with the same limits.

    Args:
        planes: title of a layout -> (N, 2).
        columns: of `COLOURS`, (N,) each; NaN (or -1, a class) is grey and lies below.
        path: PNG to write.
        title: of the figure.

    Returns:
        The columns drawn.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.lines import Line2D

    drawn: dict[str, str] = {}
    for name, (label, _) in COLOURS.items():
        if name in columns and np.isfinite(np.asarray(columns[name], dtype=np.float64)).any():
            drawn.setdefault(label, name)
    size_of_figure = (3.3 * len(drawn), 3.3 * len(planes) + 1.1)
    figure = Figure(size_of_figure, layout=ConstrainedLayoutEngine(rect=(0, 0.04, 1, 0.96)))
    grid = figure.subplots(len(planes), len(drawn), sharex=True, sharey=True, squeeze=False)
    size = float(np.clip(6000.0 / len(next(iter(planes.values()))), 0.8, 12.0))
    for place, (label, name) in enumerate(drawn.items()):
        values = np.asarray(columns[name], dtype=np.float64)
        if COLOURS[name][1]:
            values = np.log10(np.where(values > 0, values, np.nan))
        artist: Any = None
        for axes, (plane_title, whole) in zip(grid[:, place], planes.items()):
            plane = np.clip(whole, -0.98 * LIMIT, 0.98 * LIMIT)
            there = values >= 0 if name == "source_class" else np.isfinite(values)
            axes.scatter(*plane[~there].T, s=size, c="0.85", linewidths=0, rasterized=True)
            if name == "source_class":
                colours = np.array([f"C{number}" for number in range(len(SOURCE_CLASSES))])
                axes.scatter(*plane[there].T, s=size, c=colours[values[there].astype(int)], linewidths=0)
            else:
                low, high = np.nanquantile(values, [0.02, 0.98])
                artist = axes.scatter(
                    *plane[there].T, s=size, c=values[there], vmin=low, vmax=high, cmap="viridis", linewidths=0
                )
            axes.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), xticks=[], yticks=[], aspect="equal")
            if place == 0:
                axes.set_ylabel(plane_title)
        grid[0, place].set_title(f"{'log ' * COLOURS[name][1]}{label}", fontsize="medium")
        if name == "source_class":
            handles = [Line2D([], [], marker="o", linestyle="", color=f"C{number}", markersize=4, label=known)
                       for number, known in enumerate(SOURCE_CLASSES) if (values == number).any()]  # fmt: skip
            legend = grid[-1, place].legend(
                handles=handles, fontsize="x-small", ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.02),
                columnspacing=0.8, handletextpad=0.1,
            )  # fmt: skip
            legend.set_in_layout(False)  # it stands beside the colour bars
        else:
            figure.colorbar(artist, ax=grid[:, place].tolist(), location="bottom", shrink=0.85, aspect=25, pad=0.02)
    figure.suptitle(title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)
    return tuple(drawn.values())
