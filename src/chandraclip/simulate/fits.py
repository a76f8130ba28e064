"""Absorbed power-law, blackbody and bremsstrahlung fits of many spectra at once, by the Cash statistic.

CSC fits detections of 150 net counts or more (by chi-square; Evans et al. 2024). Here the likelihood is Poisson (Cash
1979, ApJ 228, 939), which needs no grouping to be unbiased; the background, measured in a larger region, is scaled and
held fixed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse

from chandraclip.data.statistics import cash

from .absorption import cross_section, transmission
from .emission import blackbody, bremsstrahlung, powerlaw
from .response import ENERGY_EDGES, redistribution_matrix

MIN_NET_COUNTS = 150.0
MAX_NH = 1.0e4
NUM_ITERATIONS = 9
SMALLEST_EXPECTED = 1e-9  # counts a bin
EMPTY_BIN_COUNTS = 0.25  # added to the background region's: no bin is impossible for having been empty there

# Channels (from 0) where the bins of the fit begin: about half the energy resolution, over 0.5 to 7 keV.
CHANNEL_GROUPS = np.concatenate([np.arange(34, 138, 4), np.arange(138, 204, 6), np.arange(204, 480, 12)])
END_CHANNEL = 480
# Photon-energy bins of the built-in grid where the fit's coarser ones begin: 20 eV to 2.3 keV, 60 eV to 8.6 keV.
ENERGY_GROUPS = np.concatenate([np.arange(100), np.arange(100, 415, 3)])
END_ENERGY = 415


class FitModel(NamedTuple):
    """A spectrum with one shape parameter (the slope, or log kT), its range, and where fits start."""

    spectrum: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    is_temperature: bool
    low: float
    high: float
    starts: tuple[float, ...]


# As in CSC, powlaw_gamma ends at 10 and brems_kt at 100 keV.
MODELS = {
    "powlaw": FitModel(powerlaw, False, -3.0, 10.0, (0.5, 1.7, 3.0, 5.0)),
    "bb": FitModel(blackbody, True, np.log(0.03), np.log(10.0), (-2.1, -1.2, -0.4, 0.5)),
    "brems": FitModel(bremsstrahlung, True, np.log(0.05), np.log(100.0), (-1.2, 0.0, 1.4, 3.4)),
}
NUM_TEMPLATES = 800  # of a model, over its range: steps of 0.016 in the slope, 0.01 in log kT
NH_STARTS = (2.0, 60.0, 400.0)  # 1e20 cm-2


def fit_spectra(
    counts: np.ndarray, background: np.ndarray, background_scale: np.ndarray, area: np.ndarray
) -> dict[str, np.ndarray]:
    """Best-fit parameters of three absorbed models.

    Args:
        counts, background: (D, 1024) int.
        background_scale: (D,) source / background.
        area: (D, 450) cm2, on the built-in energy grid.

    Returns:
        (D,) float64 a column: powlaw_gamma, powlaw_nh, powlaw_stat, bb_kt, bb_nh, bb_stat, brems_kt, brems_nh,
        brems_stat; nh in 1e20 cm-2, kt in keV, stat the Cash statistic per degree of freedom. NaN
        below 150 net counts in 0.5-7 keV.
    """
    grouped = _group(counts, CHANNEL_GROUPS, END_CHANNEL)
    outside = _group(background, CHANNEL_GROUPS, END_CHANNEL)
    scaled_background = (outside + EMPTY_BIN_COUNTS) * background_scale[:, None]
    net = grouped.sum(axis=1) - scaled_background.sum(axis=1)
    rows = np.flatnonzero(net >= MIN_NET_COUNTS)
    result = {}
    for name, model in MODELS.items():
        shape, nh, stat = (np.full(len(counts), np.nan) for _ in range(3))
        if rows.size:
            problem = _Problem(name, grouped[rows], scaled_background[rows], _mean_area(area[rows]))
            shape[rows], nh[rows], stat[rows] = problem.solve()
        result["powlaw_gamma" if name == "powlaw" else f"{name}_kt"] = np.exp(shape) if model.is_temperature else shape
        result[f"{name}_nh"], result[f"{name}_stat"] = nh, stat
    return result


class _Problem:
    """N fits of one model, stepped together (Fisher scoring with Levenberg's damping, each row its own)."""

    def __init__(self, name: str, counts: np.ndarray, background: np.ndarray, area: np.ndarray):
        self.model, self.templates = MODELS[name], _templates(name)
        self.counts, self.background, self.area = counts, background, area
        self.energy = 0.5 * (_energy_edges()[1:] + _energy_edges()[:-1])
        self.depth = 1e20 * cross_section(self.energy)  # a 1e20 cm-2

    def fold(self, incident: np.ndarray) -> np.ndarray:
        """(N, B) counts of any scale from (N, E) photon spectra."""
        return (incident * self.area) @ _grouped_matrix()

    def profile(self, shape: np.ndarray, nh: np.ndarray) -> np.ndarray:
        """(3, N, B): share of the source's counts in each bin, its derivatives in the shape and in the column."""
        incident, by_shape = self.incident(shape, nh)
        folded = np.stack([self.fold(part) for part in (incident, by_shape, -self.depth * incident)])
        total = np.maximum(folded[0].sum(axis=1, keepdims=True), 1e-300)
        folded /= total
        folded[1:] -= folded[0] * folded[1:].sum(axis=2, keepdims=True)  # quotient rule
        return folded

    def incident(self, shape: np.ndarray, nh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Absorbed spectra (N, E), linear between templates, and their derivative in the shape."""
        step = (self.model.high - self.model.low) / (NUM_TEMPLATES - 1)
        position = (shape - self.model.low) / step
        below = np.clip(position.astype(np.int64), 0, NUM_TEMPLATES - 2)
        absorbed = transmission(self.energy, nh)
        first = self.templates[below] * absorbed
        difference = self.templates[below + 1] * absorbed - first
        return first + difference * (position - below)[:, None], difference / step

    def statistic(self, total: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Cash statistic (N,) for `total` (N,) source counts shared out over the bins (N, B)."""
        return cash(self.counts, np.maximum(total[:, None] * share + self.background, SMALLEST_EXPECTED)).sum(axis=1)

    def start(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The best of the starts for each row."""
        shapes, columns = (grid.ravel() for grid in np.meshgrid(self.model.starts, NH_STARTS))
        total = np.maximum(self.counts.sum(axis=1) - self.background.sum(axis=1), 1.0)
        templates, _ = self.incident(shapes, columns)
        folded = (self.fold(template) for template in templates)
        statistic = np.stack([self.statistic(total, part / part.sum(axis=1, keepdims=True)) for part in folded])
        best = statistic.argmin(axis=0)
        return total, shapes[best], columns[best]

    def solve(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Shape, NH and Cash per degree of freedom."""
        total, shape, nh = self.start()
        profile = self.profile(shape, nh)
        statistic = self.statistic(total, profile[0])
        damping = np.full(len(total), 1e-2)
        diagonal = np.arange(3)
        for _ in range(NUM_ITERATIONS):
            expected = np.maximum(total[:, None] * profile[0] + self.background, SMALLEST_EXPECTED)
            jacobian = np.stack([profile[0], total[:, None] * profile[1], total[:, None] * profile[2]], axis=1)
            weighted = jacobian / expected[:, None, :]
            gradient = (weighted * (self.counts - expected)[:, None, :]).sum(axis=2)
            fisher = np.einsum("nib,njb->nij", weighted, jacobian)
            fisher[:, diagonal, diagonal] *= 1.0 + damping[:, None]
            fisher[:, diagonal, diagonal] += np.array([1e-9, 1e-4, 1e-7])  # bounds what the data leave free
            step = np.linalg.solve(fisher, gradient[..., None])[..., 0]
            new_total = np.maximum(total + step[:, 0], 1.0)
            new_shape = np.clip(shape + np.clip(step[:, 1], -1.0, 1.0), self.model.low, self.model.high)
            new_nh = np.clip(nh + np.clip(step[:, 2], -0.5 * nh - 10.0, 2.0 * nh + 30.0), 0.0, MAX_NH)
            new_profile = self.profile(new_shape, new_nh)
            new_statistic = self.statistic(new_total, new_profile[0])
            better = new_statistic <= statistic
            damping = np.where(better, 0.2 * damping, 10.0 * damping)
            total, shape = np.where(better, new_total, total), np.where(better, new_shape, shape)
            nh, statistic = np.where(better, new_nh, nh), np.where(better, new_statistic, statistic)
            profile = np.where(better[:, None], new_profile, profile)
        return shape, nh, statistic / (self.counts.shape[1] - 3)


def _energy_edges() -> np.ndarray:
    return ENERGY_EDGES[np.append(ENERGY_GROUPS, END_ENERGY)]


@cache
def _templates(name: str) -> np.ndarray:
    """(NUM_TEMPLATES, E) unabsorbed spectra of a model on a uniform grid of its shape; each scaled to a peak of 1."""
    model, edges = MODELS[name], _energy_edges()
    shape = np.linspace(model.low, model.high, NUM_TEMPLATES)
    flux = model.spectrum(edges[:-1], edges[1:], np.exp(shape) if model.is_temperature else shape)
    return flux / flux.max(axis=1, keepdims=True)


@cache
def _grouped_matrix() -> sparse.csr_array:
    """The redistribution matrix on the fit's energy and channel bins; weak tails cut."""
    dense = redistribution_matrix().toarray()
    channels = np.add.reduceat(dense[:, :END_CHANNEL], CHANNEL_GROUPS, axis=1)
    matrix = np.add.reduceat(channels[:END_ENERGY], ENERGY_GROUPS, axis=0) / _widths()[:, None]
    return sparse.csr_array(np.where(matrix > 1e-4, matrix, 0.0))


def _widths() -> np.ndarray:
    return np.diff(np.append(ENERGY_GROUPS, END_ENERGY))


def _mean_area(area: np.ndarray) -> np.ndarray:
    return np.add.reduceat(area[:, :END_ENERGY], ENERGY_GROUPS, axis=1) / _widths()


def _group(counts: np.ndarray, groups: np.ndarray, end: int) -> np.ndarray:
    return np.add.reduceat(counts[:, :end], groups, axis=1).astype(np.float64)
