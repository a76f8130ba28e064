"""X-ray spectrum of a hot, optically thin plasma in collisional ionisation equilibrium.

Hydrogen and helium are computed (`bremsstrahlung.thermal_continuum`). The metals come from two tables condensed from
APEC (Smith et al. 2001, ApJ 556, L91; AtomDB 3.0.8, Foster et al. 2012, ApJ 756, 128), at low density and the solar
abundances of Anders & Grevesse 1989 (GCA 53, 197):

- `tables/lines.csv`: 150 groups of lines, of one ion within 20 eV each, at their mean energy: log10 of the photons
  cm3/s for unit n_e n_H (-20: nothing) against log10 of the temperature in K. They are those that matter most in any
  band of 0.3 to 12 keV, and hold 71 to 85 % of the metals' line energy there.
- `tables/metal_continuum.csv`: all else of the metals (recombination, bremsstrahlung, two-photon, the weaker ones of
  some 40,000 lines): log10 of the ratio to the computed H and He continuum, in 96 bins of energy.

Against APEC of that version, solar, 0.3 to 9.3 keV, kT 0.07 to 70 keV: energy within 1 %; smeared to ACIS resolution,
within 7 % wherever it is above 1e-3 of its peak (but 10 % at 1 keV for kT 0.1), 1 to 3 % rms. Atomic data are worse:
by 10 to 30 % for many lines, and more in Fe L (from memory). Thermal widths are far below ACIS resolution
and are left out.
"""

from __future__ import annotations

import csv
from functools import cache, lru_cache
from importlib import resources
from typing import NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator

from chandraclip.simulate.emission.bremsstrahlung import thermal_continuum

HELIUM_SOLAR = 0.0977  # He / H by number, Anders & Grevesse 1989
KELVIN_PER_KEV = 1.160452e7
APEC_NORM = 1e14  # XSPEC `apec`: norm 1 is 1e-14 / (4 pi D^2) int n_e n_H dV = 1 cm-5

# Spectra are interpolated between these: steps of 0.005 dex err by less than 0.5 % up to 10 kT.
LOG_KT = np.linspace(-1.5, 2.0, 701)


class MetalTables(NamedTuple):
    """The two tables. log_temperature (T,), K; line_energy (L,), keV; edges (B + 1,), keV.

    Interpolators of log10 T: log10 emissivity (L,) of lines, and log10 ratio (B,) to the H and He continuum.
    """

    ion: tuple[str, ...]
    line_energy: np.ndarray
    line_emissivity: PchipInterpolator
    edges: np.ndarray
    ratio: PchipInterpolator
    log_temperature: np.ndarray


@cache
def metal_tables() -> MetalTables:
    """`tables/lines.csv` and `tables/metal_continuum.csv`."""
    (_, *head), lines = _read("lines")
    log_temperature = np.array(head[1:], dtype=np.float64)
    values = np.array([row[1:] for row in lines], dtype=np.float64)
    _, bins = _read("metal_continuum")
    ratios = np.array(bins, dtype=np.float64)
    return MetalTables(
        ion=tuple(row[0] for row in lines),
        line_energy=values[:, 0],
        line_emissivity=PchipInterpolator(log_temperature, values[:, 1:].T),
        edges=np.append(ratios[:, 0], ratios[-1, 1]),
        ratio=PchipInterpolator(log_temperature, ratios[:, 2:].T),
        log_temperature=log_temperature,
    )


def _read(name: str) -> tuple[list[str], list[list[str]]]:
    with resources.files("chandraclip.simulate.emission").joinpath(f"tables/{name}.csv").open() as file:
        head, *rows = csv.reader(file)
    return head, rows


def plasma(energy_lo: np.ndarray, energy_hi: np.ndarray, kt: np.ndarray, abundance: np.ndarray | float) -> np.ndarray:
    """Collisionally ionised plasma (as XSPEC `apec`, norm 1).

    Args:
        energy_lo, energy_hi: (E,) or (S, E) keV, contiguous. A row of its own for each spectrum takes redshifts
            (source-frame edges). Metals are tabulated from 0.3 keV up; below, only their continuum goes on.
        kt: (S,) keV, 0.032 to 100. Below 0.054 and above 86 keV the metals stay as they are there.
        abundance: (S,) or one number, of all metals, solar (Anders & Grevesse 1989) = 1.

    Returns:
        (S, E) photons/cm2/s in each bin.

    Raises:
        ValueError: a temperature outside 0.032 to 100 keV.
    """
    continuum, metals = plasma_components(energy_lo, energy_hi, kt)
    return continuum + np.broadcast_to(abundance, (len(continuum),))[:, None] * metals


def plasma_components(energy_lo: np.ndarray, energy_hi: np.ndarray, kt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is of hydrogen and helium, and what is of the metals at solar abundance: `plasma` is the sum.

    Args, raises: as `plasma`.

    Returns:
        Two (S, E), photons/cm2/s in each bin.
    """
    kt = np.asarray(kt, dtype=np.float64)
    log_kt = np.log10(kt)
    if kt.size and not (log_kt.min() >= LOG_KT[0] and log_kt.max() <= LOG_KT[-1]):
        raise ValueError("plasma temperatures must lie in 0.032 to 100 keV")
    if energy_lo.ndim == 2:
        return _components(energy_lo, energy_hi, kt)
    templates = _templates(energy_lo.astype(np.float64).tobytes(), energy_hi.astype(np.float64).tobytes())
    position = (log_kt - LOG_KT[0]) / (LOG_KT[1] - LOG_KT[0])
    below = np.minimum(position.astype(np.intp), len(LOG_KT) - 2)
    weight = (position - below)[:, None]
    mixed = [(1.0 - weight) * template[below] + weight * template[below + 1] for template in templates]
    return mixed[0], mixed[1]


@lru_cache(maxsize=4)
def _templates(energy_lo: bytes, energy_hi: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The components on `LOG_KT` for one grid of energies."""
    return _components(np.frombuffer(energy_lo), np.frombuffer(energy_hi), 10.0**LOG_KT)


def _components(energy_lo: np.ndarray, energy_hi: np.ndarray, kt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    tables = metal_tables()
    log_temperature = np.log10(kt * KELVIN_PER_KEV).clip(tables.log_temperature[0], tables.log_temperature[-1])
    continuum = APEC_NORM * thermal_continuum(energy_lo, energy_hi, kt, HELIUM_SOLAR, recombination=True)
    edges = np.concatenate([energy_lo, energy_hi[..., -1:]], axis=-1)
    edges = np.broadcast_to(edges, (len(kt), edges.shape[-1]))
    metals = continuum * _mean_ratio(edges, 10.0 ** tables.ratio(log_temperature))
    metals += _lines(edges, APEC_NORM * 10.0 ** tables.line_emissivity(log_temperature))
    return continuum, metals


def _mean_ratio(edges: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Mean (S, E), between edges (S, E + 1), of the ratios (S, B), which go on beyond the table's ends."""
    bounds = metal_tables().edges
    sums = np.pad(np.cumsum(ratio * np.diff(bounds), axis=1), ((0, 0), (1, 0)))
    which = np.clip(np.searchsorted(bounds, edges, side="right") - 1, 0, len(bounds) - 2)
    below = np.take_along_axis(sums, which, axis=1)
    return np.diff(below + np.take_along_axis(ratio, which, axis=1) * (edges - bounds[which])) / np.diff(edges)


def _lines(edges: np.ndarray, emissivity: np.ndarray) -> np.ndarray:
    """Every line (S, L) in the bin that it falls in, (S, E)."""
    num_rows, num_edges = edges.shape
    row = np.arange(num_rows)[:, None]
    # One sorted array of all rows' edges: each row is lifted above the one before.
    lift = 2.0 * max(edges.max(initial=0.0), metal_tables().line_energy.max()) * row
    place = np.searchsorted((edges + lift).ravel(), (metal_tables().line_energy + lift).ravel(), side="right")
    column = place.reshape(emissivity.shape) - 1 - row * num_edges
    inside = (column >= 0) & (column < num_edges - 1)
    cell = (row * (num_edges - 1) + column)[inside]
    total = np.bincount(cell, weights=emissivity[inside], minlength=num_rows * (num_edges - 1))
    return total.reshape(num_rows, num_edges - 1)
