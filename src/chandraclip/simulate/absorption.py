"""Photoelectric absorption by cold gas of solar abundance.

Source: Morrison & McCammon 1983, ApJ 270, 119, Table 2 (abundances of Anders & Ebihara 1982), the `wabs` of XSPEC.
"""

from __future__ import annotations

import numpy as np

# Upper edge of each interval (keV) and c0, c1, c2 of sigma(E) = (c0 + c1 E + c2 E^2) / E^3 in 1e-24 cm2 per H atom.
INTERVALS = np.array(
    [
        [0.100, 17.3, 608.1, -2150.0],
        [0.284, 34.6, 267.9, -476.1],  # carbon K edge
        [0.400, 78.1, 18.8, 4.3],  # nitrogen K edge
        [0.532, 71.4, 66.8, -51.4],  # oxygen K edge
        [0.707, 95.5, 145.8, -61.1],  # iron L edge
        [0.867, 308.9, -380.6, 294.0],  # neon K edge
        [1.303, 120.6, 169.3, -47.7],  # magnesium K edge
        [1.840, 141.3, 146.8, -31.5],  # silicon K edge
        [2.471, 202.7, 104.7, -17.0],  # sulphur K edge
        [3.210, 342.7, 18.7, 0.0],  # argon K edge
        [4.038, 352.2, 18.7, 0.0],  # calcium K edge
        [7.111, 433.9, -2.4, 0.75],  # iron K edge
        [8.331, 629.0, 30.9, 0.0],  # nickel K edge
        [10.000, 701.2, 25.2, 0.0],
    ]
)
EDGES = INTERVALS[:-1, 0]


def cross_section(energy: np.ndarray) -> np.ndarray:
    """Photoelectric cross section per hydrogen atom.

    Args:
        energy: (...) keV, 0.03 to 10.

    Returns:
        (...) cm2.

    Raises:
        ValueError: an energy outside the 0.03 to 10 keV of the published fit.
    """
    energy = np.asarray(energy, dtype=np.float64)
    if energy.size and (energy.min() < 0.03 or energy.max() > 10.0):
        raise ValueError("the cross section is published for 0.03 to 10 keV only")
    _, c0, c1, c2 = INTERVALS[np.searchsorted(EDGES, energy, side="right")].T
    return (c0.T + c1.T * energy + c2.T * energy**2) / energy**3 * 1e-24


def transmission(energy: np.ndarray, nh: np.ndarray) -> np.ndarray:
    """Share of photons that a column lets through.

    Args:
        energy: (E,) keV.
        nh: (S,) hydrogen columns, 1e20 cm-2.

    Returns:
        (S, E) in 0 to 1.
    """
    return np.exp(-np.asarray(nh, dtype=np.float64)[:, None] * (1e20 * cross_section(energy)))
