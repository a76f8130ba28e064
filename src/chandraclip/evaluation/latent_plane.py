"""The plane of two latents, or of the first two principal components of more: heat map, classes, what is alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chandraclip.evaluation.figures import save_figure

# Share of the points that the drawn limits leave out at each side.
_OUTSIDE = 0.002


@dataclass(frozen=True, eq=False)
class Plane:
    """How latents lie in a plane: ``(latents - middle) @ axes.T``.

    Attributes:
        middle: (D,).
        axes: (2, D), orthonormal.
        explained: (2,) share of the latents' variance along each.
        labels: of the axes.
    """

    middle: np.ndarray
    axes: np.ndarray
    explained: np.ndarray
    labels: tuple[str, str]

    @classmethod
    def of(cls, latents: np.ndarray) -> Plane:
        """Of (N, D) latents: their own axes where D is 2, the first two principal components otherwise.

        Raises:
            ValueError: fewer than 3 rows or 2 latents, or latents that are all alike.
        """
        num_rows, size = latents.shape
        if num_rows < 3 or size < 2:
            raise ValueError(f"a plane needs 3 detections and 2 latents, there are {num_rows} and {size}")
        centred = np.asarray(latents, dtype=np.float64) - latents.mean(axis=0)
        total = centred.var(axis=0).sum()
        if not total > 0:
            raise ValueError("the latents of all detections are the same")
        if size == 2:
            return cls(np.zeros(2), np.eye(2), centred.var(axis=0) / total, ("latent 1", "latent 2"))
        _, singular, axes = np.linalg.svd(centred, full_matrices=False)
        explained = singular[:2] ** 2 / num_rows / total
        first, second = (f"principal component {n + 1} ({100 * share:.0f} %)" for n, share in enumerate(explained))
        return cls(latents.mean(axis=0), axes[:2], explained, (first, second))

    def points(self, latents: np.ndarray) -> np.ndarray:
        """(N, D) latents to (N, 2)."""
        return (latents - self.middle) @ self.axes.T

    def latents(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) points to the (N, D) latents of the plane that lie there."""
        return points @ self.axes + self.middle


def paths_across(points: np.ndarray, num_points: int = 7) -> list[np.ndarray]:
    """Two straight paths through the median, along each axis from the 2nd to the 98th percentile; (num_points, 2)."""
    middle = np.median(points, axis=0)
    paths = []
    for axis in (0, 1):
        path = np.tile(middle, (num_points, 1))
        low, high = np.quantile(points[:, axis], [0.02, 0.98])
        path[:, axis] = np.linspace(low, high, num_points)
        paths.append(path)
    return paths


def soft_neighbours(
    hardness: np.ndarray, seeds: np.ndarray, neighbours: np.ndarray, soft_share: float
) -> tuple[np.ndarray, float]:
    """Of each seed's neighbours, the share that are among the softest.

    Args:
        hardness: (N,) hard_hs; the softest are those below its quantile `soft_share`.
        seeds: (S,) rows.
        neighbours: (N, k) rows.
        soft_share: e.g. 0.05.

    Returns:
        (S,) shares, and the limit in hardness.
    """
    limit = float(np.quantile(hardness, soft_share))
    return (hardness[neighbours[seeds]] <= limit).mean(axis=1), limit


def plot_plane(
    plane: Plane,
    points: np.ndarray,
    classes: np.ndarray,
    hardness: np.ndarray,
    seed: int,
    neighbours: np.ndarray,
    path: Path,
    title: str,
    decoded: tuple[np.ndarray, Sequence[np.ndarray], str] | None = None,
) -> None:
    """Density with classes over it, hardness with the search from one source, and decoded spectra along two paths.

    Args:
        plane: that the points lie in.
        points: (N, 2).
        classes: (N,) class names, None where not known.
        hardness: (N,) hard_hs, NaN where not known.
        seed, neighbours: row that was searched from, (k,) rows found.
        path: PNG to write.
        title: of the figure.
        decoded: energies (M,) keV, spectra (P, M) along each of `paths_across`, and the unit of a spectrum.
    """
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    low, high = np.quantile(points, [_OUTSIDE, 1 - _OUTSIDE], axis=0)
    margin = 0.05 * (high - low)
    low, high = low - margin, high + margin
    figure = Figure((11.0, 10.5 if decoded else 5.8), layout="constrained")
    grid = figure.subplots(2 if decoded else 1, 2, squeeze=False)
    ranges = [(low[0], high[0]), (low[1], high[1])]
    counts, *edges = np.histogram2d(points[:, 0], points[:, 1], bins=70, range=ranges)
    for axes in grid[0]:
        axes.set(xlim=ranges[0], ylim=ranges[1], xlabel=plane.labels[0], ylabel=plane.labels[1])
    axes = grid[0, 0]
    image = axes.pcolormesh(
        *edges, np.where(counts > 0, counts, np.nan).T, cmap="Greys", norm=LogNorm(1, max(counts.max(), 2))
    )
    figure.colorbar(image, ax=axes, label="detections a cell", shrink=0.8)
    for number, name in enumerate(sorted({name for name in classes if name})):
        own = points[classes == name]
        inside = ((own >= low) & (own <= high)).all(axis=1)
        colour = colormaps["tab20"]((2 * number) % 20 + (2 * number) // 20)
        axes.scatter(*own[inside].T, s=5, color=colour, alpha=0.55, linewidths=0)
        # So that the classes on top do not hide the others.
        axes.scatter(*np.median(own, axis=0), s=90, color=colour, edgecolors="black", marker="*", label=name, zorder=3)
    axes.set_title("detections and classes (stars: class medians)")
    axes.legend(fontsize="x-small", ncols=2, markerscale=0.7)
    axes = grid[0, 1]
    known = np.isfinite(hardness)
    image = axes.scatter(*points[known].T, s=4, c=hardness[known], cmap="coolwarm_r", vmin=-1, vmax=1, linewidths=0)
    figure.colorbar(image, ax=axes, label="hardness h - s", shrink=0.8)
    axes.scatter(*points[neighbours].T, s=45, facecolors="none", edgecolors="black", label="its neighbours")
    axes.scatter(*points[seed], s=140, color="gold", edgecolors="black", marker="*", label="a very soft source")
    axes.set_title("hardness, and a search from a very soft source")
    axes.legend(fontsize="small")
    if decoded:
        energies, spectra, unit = decoded
        for place, (axes, lines, path_points) in enumerate(zip(grid[1], spectra, paths_across(points))):
            for line, value in zip(lines, path_points[:, place]):
                share = (value - path_points[0, place]) / max(np.ptp(path_points[:, place]), 1e-12)
                axes.plot(energies, line, color=colormaps["viridis"](0.92 * share), label=f"{value:.2g}")
            axes.set(xscale="log", xlabel="energy (keV)", ylabel=unit, title=f"decoded along {plane.labels[place]}")
            if min(np.min(line) for line in lines) > 0:
                axes.set(yscale="log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.legend(fontsize="x-small", title=plane.labels[place].partition(" (")[0], title_fontsize="x-small")
    figure.suptitle(title)
    save_figure(figure, path)


def class_counts(classes: np.ndarray, rows: np.ndarray) -> Mapping[str, int]:
    """Class -> how many of the rows are of it, most first; those without one are "unknown"."""
    names, numbers = np.unique([name or "unknown" for name in classes[rows]], return_counts=True)
    return {str(names[place]): int(numbers[place]) for place in np.argsort(-numbers, kind="stable")}
