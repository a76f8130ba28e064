"""Absorbed power-law, blackbody, bremsstrahlung and plasma fits of many spectra at once, by chi-square as in CSC.

CSC fits detections of 150 net counts or more by chi-square (Evans et al. 2010, ApJS 189, 37; 2024), and where a model
is wrong the statistic decides: black bodies fitted to simulated AGN have .47 to .78 keV (16 to 84 %) by the Cash
statistic, .39 to .74 by chi-square, and AGN in CSC .38 to .74. Bins are grouped to `GROUP_COUNTS` and more, whose
variance is their counts; the background, measured in a larger region, is scaled and held fixed. All rows step together,
each with its own damping.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse

from chandraclip.ogip.response import Response
from chandraclip.simulate.emission.absorption import cross_section
from chandraclip.simulate.emission.incident import blackbody, bremsstrahlung, powerlaw
from chandraclip.simulate.emission.plasma import plasma_components
from chandraclip.simulate.instrument.response import builtin_response

MIN_NET_COUNTS = 150.0
FIT_BAND = (0.5, 7.0)  # keV
MAX_NH, MAX_ABUNDANCE = 1.0e4, 5.0  # 1e20 cm-2, solar
START_ABUNDANCE = 0.4
NUM_ITERATIONS = 9
ROWS_PER_BLOCK = 512
GROUP_COUNTS = 20.0
NH_STARTS = (2.0, 60.0, 400.0)  # 1e20 cm-2
NUM_TEMPLATES = 800  # of a model, over its range: steps of 0.016 in the slope, 0.01 in log kT
# About half the energy resolution over 0.5 to 7 keV, and the photon-energy bins that feed them; keV, from and step.
CHANNEL_STEPS = ((0.5, 0.0584), (2.0, 0.0876), (3.0, 0.1752))
ENERGY_STEPS = ((0.0, 0.02), (2.3, 0.06))
END_ENERGY = 8.6  # keV; photons of more do not show below 7


class FitModel(NamedTuple):
    """A spectrum with one shape parameter (the slope, or ln kT), its range, and where fits start.

    `spectrum` gives one or two additive parts (S, E) of (energy_lo, energy_hi, slope or kT); the second, where there is
    one, is multiplied by an abundance.
    """

    spectrum: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, ...]]
    shape_column: str
    low: float
    high: float
    starts: tuple[float, ...]

    @property
    def is_temperature(self) -> bool:
        return self.shape_column.endswith("_kt")


# As in CSC, powlaw_gamma ends at 10 and brems_kt at 100 keV.
MODELS = {
    "powlaw": FitModel(lambda *p: (powerlaw(*p),), "powlaw_gamma", -3.0, 10.0, (0.5, 1.7, 3.0, 5.0)),
    "bb": FitModel(lambda *p: (blackbody(*p),), "bb_kt", np.log(0.03), np.log(10.0), (-2.1, -1.2, -0.4, 0.5)),
    "brems": FitModel(lambda *p: (bremsstrahlung(*p),), "brems_kt", np.log(0.05), np.log(100.0), (-1.2, 0.0, 1.4, 3.4)),
    "apec": FitModel(plasma_components, "apec_kt", np.log(0.08), np.log(40.0), (-1.5, -0.5, 0.6, 2.0)),
}


def fit_spectra(
    counts: np.ndarray,
    background: np.ndarray,
    background_scale: np.ndarray,
    area: np.ndarray,
    response: Response | None = None,
    psf_share: float = 1.0,
) -> dict[str, np.ndarray]:
    """Best-fit parameters of four absorbed models.

    Args:
        counts, background: (D, C) int.
        background_scale: (D,) source / background.
        area: (D, E) cm2, on the response's energy grid.
        response: energy grid, matrix and channels (its ARF is not read); the built-in one by default.
        psf_share: of the PSF in the aperture.

    Returns:
        (D,) float64 a column: powlaw_gamma, bb_kt, brems_kt, apec_kt, apec_abund, and *_nh, *_stat of each; nh in
        1e20 cm-2, kt in keV, abundance of the metals in solar units, stat chi-square per degree of freedom.
        NaN below 150 net counts in 0.5-7 keV, over psf_share.
    """
    grid = _grid(response or builtin_response())
    num_rows = len(counts)
    columns = [model.shape_column for model in MODELS.values()] + ["apec_abund"]
    columns += [f"{name}_{part}" for name in MODELS for part in ("nh", "stat")]
    result = {name: np.full(num_rows, np.nan) for name in columns}
    grouped, outside = grid.group(counts), grid.group(background)
    scaled_background = outside * background_scale[:, None]
    net = (grouped.sum(axis=1) - background_scale * outside.sum(axis=1)) / psf_share
    fitted = np.flatnonzero(net >= MIN_NET_COUNTS)
    for begin in range(0, fitted.size, ROWS_PER_BLOCK):
        rows = fitted[begin : begin + ROWS_PER_BLOCK]
        mean_area = grid.mean_area(area[rows])
        for name, model in MODELS.items():
            problem = _Problem(name, grid, grouped[rows], scaled_background[rows], mean_area)
            parameters, statistic = problem.solve()
            shape = parameters[:, 1]
            result[model.shape_column][rows] = np.exp(shape) if model.is_temperature else shape
            result[f"{name}_nh"][rows] = parameters[:, 2]
            result[f"{name}_stat"][rows] = statistic / np.maximum(problem.groups.number - parameters.shape[1], 1)
            if parameters.shape[1] == 4:
                result["apec_abund"][rows] = parameters[:, 3]
    return result


class _Grid:
    """Coarser photon-energy and channel bins of one response, and what depends on them alone."""

    def __init__(self, response: Response):
        lo, hi = np.asarray(response.energy_lo, np.float64), np.asarray(response.energy_hi, np.float64)
        end = int(np.searchsorted(hi, END_ENERGY, side="right"))
        self.energy_groups, self.end_energy = _groups(lo[:end], ENERGY_STEPS), end
        self.energy_edges = np.append(lo[self.energy_groups], hi[end - 1])
        middle = 0.5 * (np.asarray(response.channel_energy_lo) + np.asarray(response.channel_energy_hi))
        first, last = np.searchsorted(middle, FIT_BAND)
        self.channels = slice(int(first), int(last))
        self.channel_groups = _groups(np.asarray(response.channel_energy_lo, np.float64)[self.channels], CHANNEL_STEPS)
        widths = np.diff(np.append(self.energy_groups, end))
        self.widths = widths
        dense = response.matrix[:end].toarray()[:, self.channels]
        grouped = np.add.reduceat(dense, self.channel_groups, axis=1)
        matrix = np.add.reduceat(grouped, self.energy_groups, axis=0) / widths[:, None]
        self.matrix = sparse.csr_array(np.where(matrix > 1e-4, matrix, 0.0))  # weak tails cut
        energy = 0.5 * (self.energy_edges[1:] + self.energy_edges[:-1])
        self.depth = 1e20 * cross_section(np.clip(energy, 0.03, 10.0))  # a 1e20 cm-2
        self.templates = {name: self._templates(model) for name, model in MODELS.items()}

    def _templates(self, model: FitModel) -> tuple[np.ndarray, ...]:
        """Parts (NUM_TEMPLATES, E) of unabsorbed spectra on a uniform grid of the shape; each row peaks near 1."""
        shape = np.linspace(model.low, model.high, NUM_TEMPLATES)
        parameter = np.exp(shape) if model.is_temperature else shape
        parts = model.spectrum(self.energy_edges[:-1], self.energy_edges[1:], parameter)
        peak = sum(parts).max(axis=1, keepdims=True)  # type: ignore[union-attr]
        return tuple(part / peak for part in parts)

    def group(self, counts: np.ndarray) -> np.ndarray:
        """(D, C) to (D, B)."""
        return np.add.reduceat(counts[:, self.channels], self.channel_groups, axis=1).astype(np.float64)

    def mean_area(self, area: np.ndarray) -> np.ndarray:
        """(D, fine E) to (D, E)."""
        return np.add.reduceat(area[:, : self.end_energy], self.energy_groups, axis=1) / self.widths


def _groups(edges: np.ndarray, steps: tuple[tuple[float, float], ...]) -> np.ndarray:
    """First indices of groups of bins (lower edges given): a new one where the step's count of widths is full."""
    number = np.zeros(len(edges))
    for begin, step in steps:
        number = np.where(edges >= begin, np.floor((edges - begin) / step + 1e-6) + 1e4 * (begin + 1.0), number)
    return np.flatnonzero(np.append(True, number[1:] != number[:-1]))


class _Groups:
    """Groups of neighbouring bins, `GROUP_COUNTS` together and more, of N spectra; what is left over joins the last."""

    def __init__(self, counts: np.ndarray):
        left, held = counts.sum(axis=1), np.zeros(len(counts))
        first = np.zeros(counts.shape, dtype=bool)
        first[:, 0] = True
        for column in range(1, counts.shape[1]):
            held, left = held + counts[:, column - 1], left - counts[:, column - 1]
            first[:, column] = (held >= GROUP_COUNTS) & (left >= GROUP_COUNTS)
            held[first[:, column]] = 0.0
        self.number = first.sum(axis=1)  # (N,)
        self.starts = np.flatnonzero(first.ravel())
        self.sizes = np.diff(np.append(self.starts, first.size))

    def means(self, values: np.ndarray) -> np.ndarray:
        """(..., N, B) with each bin's value the mean of its group."""
        flat = values.reshape(*values.shape[:-2], -1)
        means = np.add.reduceat(flat, self.starts, axis=-1) / self.sizes
        return np.repeat(means, self.sizes, axis=-1).reshape(values.shape)


_GRIDS: dict[str, _Grid] = {}


def _grid(response: Response) -> _Grid:
    if response.response_id not in _GRIDS:
        if len(_GRIDS) == 2:  # as many as the built-in instrument has; a grid is some MB
            _GRIDS.clear()
        _GRIDS[response.response_id] = _Grid(response)
    return _GRIDS[response.response_id]


class _Problem:
    """N fits of one model, stepped together (Gauss and Newton's steps with Levenberg's damping, each row its own).

    Parameters (N, P): counts of the source, shape, column (1e20 cm-2) and, for two-part models, abundance.
    """

    def __init__(self, name: str, grid: _Grid, counts: np.ndarray, background: np.ndarray, area: np.ndarray):
        self.model, self.grid, self.parts = MODELS[name], grid, grid.templates[name]
        self.counts, self.background, self.area = counts, background, area
        self.groups = _Groups(counts)
        self.variance = self.groups.means(counts)
        self.net = self.groups.means(counts - background)
        has_abundance = len(self.parts) == 2
        self.low = np.array([1.0, self.model.low, 0.0, 0.0][: 3 + has_abundance])
        self.high = np.array([np.inf, self.model.high, MAX_NH, MAX_ABUNDANCE][: 3 + has_abundance])

    def fold(self, incident: np.ndarray) -> np.ndarray:
        """(N, B) counts of any scale from (N, E) photon spectra."""
        return (incident * self.area) @ self.grid.matrix

    def incident(self, parameters: np.ndarray) -> list[np.ndarray]:
        """Absorbed spectra (N, E), linear between templates, and their derivatives in shape, column and abundance."""
        shape, nh = parameters[:, 1], parameters[:, 2]
        step = (self.model.high - self.model.low) / (NUM_TEMPLATES - 1)
        position = (shape - self.model.low) / step
        below = np.clip(position.astype(np.int64), 0, NUM_TEMPLATES - 2)
        share = (position - below)[:, None]
        absorbed = np.exp(-nh[:, None] * self.grid.depth)
        values, slopes = [], []
        for part in self.parts:
            first = part[below] * absorbed
            difference = part[below + 1] * absorbed - first
            values.append(first + difference * share)
            slopes.append(difference / step)
        if len(values) == 1:
            return [values[0], slopes[0], -self.grid.depth * values[0]]
        abundance = parameters[:, 3, None]
        total = values[0] + abundance * values[1]
        return [total, slopes[0] + abundance * slopes[1], -self.grid.depth * total, values[1]]

    def profile(self, parameters: np.ndarray) -> np.ndarray:
        """(P, N, B) group means: share of the source's counts in each bin, its derivatives in all but the total."""
        folded = np.stack([self.fold(part) for part in self.incident(parameters)])
        total = np.maximum(folded[0].sum(axis=1, keepdims=True), 1e-300)
        folded /= total
        folded[1:] -= folded[0] * folded[1:].sum(axis=2, keepdims=True)  # quotient rule
        return self.groups.means(folded)

    def statistic(self, total: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Chi-square (N,) for `total` (N,) source counts shared out over the groups, (N, B) means a bin."""
        return ((self.net - total[:, None] * share) ** 2 / self.variance).sum(axis=1)

    def start(self) -> np.ndarray:
        """The best of the starts for each row."""
        total = np.maximum(self.counts.sum(axis=1) - self.background.sum(axis=1), 1.0)
        starts = np.array(
            [[1.0, shape, nh, START_ABUNDANCE][: len(self.low)] for shape in self.model.starts for nh in NH_STARTS]
        )
        incident = self.incident(starts)[0]
        folded = (self.fold(spectrum) for spectrum in incident)
        shares = (self.groups.means(part / part.sum(axis=1, keepdims=True)) for part in folded)
        statistic = np.stack([self.statistic(total, share) for share in shares])
        result = starts[statistic.argmin(axis=0)]
        result[:, 0] = total
        return result

    def solve(self) -> tuple[np.ndarray, np.ndarray]:
        """Parameters (N, P) and chi-square (N,)."""
        parameters = self.start()
        profile = self.profile(parameters)
        statistic = self.statistic(parameters[:, 0], profile[0])
        damping = np.full(len(parameters), 1e-2)
        diagonal = np.arange(len(self.low))
        ridge = np.array([1e-9, 1e-4, 1e-7, 1e-3])[: len(self.low)]  # bounds what the data leave free
        for _ in range(NUM_ITERATIONS):
            total = parameters[:, 0, None]
            jacobian = np.stack([profile[0], *(total * part for part in profile[1:])], axis=1)
            weighted = jacobian / self.variance[:, None, :]
            gradient = np.einsum("nib,nb->ni", weighted, self.net - total * profile[0])
            fisher = weighted @ jacobian.transpose(0, 2, 1)
            fisher[:, diagonal, diagonal] *= 1.0 + damping[:, None]
            fisher[:, diagonal, diagonal] += ridge
            # A column that is 0 and would be less stays; the others must not step as if it went along.
            bound = ((parameters <= self.low) & (gradient < 0)) | ((parameters >= self.high) & (gradient > 0))
            gradient[bound] = 0.0
            fisher[bound] = 0.0
            fisher.transpose(0, 2, 1)[bound] = 0.0
            fisher[:, diagonal, diagonal] += bound
            step = np.linalg.solve(fisher, gradient[..., None])[..., 0]
            new = parameters + np.clip(step, *self._trust(parameters))
            new = np.clip(new, self.low, self.high)
            new_profile = self.profile(new)
            new_statistic = self.statistic(new[:, 0], new_profile[0])
            better = new_statistic <= statistic
            damping = np.where(better, 0.2 * damping, 10.0 * damping)
            parameters = np.where(better[:, None], new, parameters)
            statistic = np.where(better, new_statistic, statistic)
            profile = np.where(better[:, None], new_profile, profile)
        return parameters, statistic

    def _trust(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest step (N, P): the total is free, a shape moves by 1, a column by its size and more."""
        low, high = np.full(parameters.shape, -1.0), np.full(parameters.shape, 1.0)
        low[:, 0], high[:, 0] = -np.inf, np.inf
        low[:, 2], high[:, 2] = -0.5 * parameters[:, 2] - 10.0, 2.0 * parameters[:, 2] + 30.0
        return low, high
