"""Photoelectric absorption by cold gas and dust.

Two models of the cross section per hydrogen atom:

- `wabs`: the polynomials of Morrison & McCammon 1983, ApJ 270, 119, Table 2, with their fixed abundances (Anders &
  Ebihara 1982), the `wabs` of XSPEC.
- `tbabs`: the interstellar medium of Wilms, Allen & McCray 2000, ApJ 542, 914, for a table of abundances by choice:
  atoms, 20 % of hydrogen nuclei in H2, and grains that shade their own insides. Atoms follow the fits of Verner &
  Yakovlev 1995, A&AS 109, 125, for each subshell and, below the innermost edge, those of Verner et al. 1996, ApJ 465,
  487, for the outer shell (H, C to Ni: `tables/photoionization.csv`; eV, Mb); He and H2 follow Yan, Sadeghpour &
  Dalgarno 1998, ApJ 496, 1044, eqs. 14 and 19 (the latter holds above 85 eV). Edges are sharp steps here. Left out:
  the resonances and fine structure of the oxygen K, neon K and iron L edges that later versions of TBabs have
  (0.525-0.557, 0.866-0.870 and 0.706-0.726 keV), He's autoionization lines, shifts of edges in solids, and scattering
  by dust.

`tables/abundances.csv` has atoms per H as the XSPEC manual tabulates them (`wilm`: Wilms et al. 2000, `angr`: Anders &
Grevesse 1989, `aspl`: Asplund et al. 2009), the gas's share of each element (Wilms et al. 2000, Table 2), and weights.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

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

ENERGY_RANGE = {"wabs": (0.03, 10.0), "tbabs": (0.1, 50.0)}  # keV, of the published fits
ABUNDANCES = ("wilm", "angr", "aspl")
NUM_TABLE_POINTS = 4000  # of the cross section that redshifted absorbers share

MEGABARN = 1e-18  # cm2
ATOMIC_MASS = 1.66053907e-24  # g
HELIUM = (-4.7416, 14.8200, -30.8678, 37.3584, -23.4585, 5.9133)  # Yan et al. 1998, Table 4
MOLECULAR_HYDROGEN = (-2.003, -4.806, 50.577, -171.044, 231.608, -81.885)  # the same, eq. 19
MOLECULAR_SHARE = 0.2  # of hydrogen nuclei
GRAIN_DENSITY = 1.0  # g/cm3
GRAIN_RADIUS = (0.025e-4, 0.25e-4)  # cm; their number falls as radius^-3.5 (Mathis, Rumpl & Nordsieck 1977)
NUM_GRAIN_NODES = 16


def cross_section(energy: np.ndarray, model: str = "wabs", abundances: str | None = None) -> np.ndarray:
    """Photoelectric cross section per hydrogen atom.

    Args:
        energy: (...) keV; 0.03 to 10 for `wabs`, 0.1 to 50 for `tbabs`.
        model: "wabs" or "tbabs".
        abundances: "wilm", "angr" or "aspl", for `tbabs` only; None is "wilm" there.

    Returns:
        (...) cm2.

    Raises:
        ValueError: an energy outside the range of the published fits, an unknown model or table of abundances, or
            abundances given for `wabs`, whose own are part of its fit.
    """
    abundances = _checked_abundances(model, abundances)
    energy = np.asarray(energy, dtype=np.float64)
    low, high = ENERGY_RANGE[model]
    if energy.size and not (energy.min() >= low and energy.max() <= high):
        raise ValueError(f"the {model} cross section is published for {low:g} to {high:g} keV only")
    if abundances is None:
        _, c0, c1, c2 = INTERVALS[np.searchsorted(EDGES, energy, side="right")].T
        return (c0.T + c1.T * energy + c2.T * energy**2) / energy**3 * 1e-24
    return interstellar_cross_section(energy, abundance_table()[abundances])


def transmission(
    energy: np.ndarray,
    nh: np.ndarray,
    model: str = "wabs",
    abundances: str | None = None,
    redshift: np.ndarray | None = None,
) -> np.ndarray:
    """Share of photons that a column lets through.

    Args:
        energy: (E,) keV, as observed.
        nh: (S,) hydrogen columns, 1e20 cm-2.
        model, abundances: as in `cross_section`.
        redshift: (S,) of the absorbers, which photons pass at ``energy * (1 + redshift)``; None for zero.

    Returns:
        (S, E) in 0 to 1. The `wabs` cross section goes on as E^-3 above 10 keV.

    Raises:
        ValueError: as `cross_section`, but for `wabs` above 10 keV.
    """
    energy, nh = np.asarray(energy, dtype=np.float64), np.asarray(nh, dtype=np.float64)
    if redshift is None and model == "wabs" and energy.size and energy.max() > ENERGY_RANGE["wabs"][1]:
        redshift = np.zeros(nh.shape)
    depth = 1e20 * (
        cross_section(energy, model, abundances)
        if redshift is None
        else _redshifted(energy, np.asarray(redshift, dtype=np.float64), model, abundances)
    )
    return np.exp(-nh[:, None] * depth)


def partial_covering(
    energy: np.ndarray,
    nh: np.ndarray,
    covering_fraction: np.ndarray,
    model: str = "wabs",
    abundances: str | None = None,
    redshift: np.ndarray | None = None,
) -> np.ndarray:
    """Share of photons let through by a column that covers a fraction of the source: ``1 - f + f exp(-N sigma)``.

    Args:
        covering_fraction: (S,) in 0 to 1.
        energy, nh, model, abundances, redshift: as in `transmission`.

    Returns:
        (S, E) in 0 to 1.

    Raises:
        ValueError: as `transmission`, and for a covering fraction outside 0 to 1.
    """
    fraction = np.asarray(covering_fraction, dtype=np.float64)
    if not ((fraction >= 0.0) & (fraction <= 1.0)).all():
        raise ValueError("a covering fraction must be from 0 to 1")
    return 1.0 - fraction[:, None] * (1.0 - transmission(energy, nh, model, abundances, redshift))


def interstellar_cross_section(energy: np.ndarray, abundance: np.ndarray) -> np.ndarray:
    """Cross section per hydrogen nucleus of atoms, H2 and grains (Wilms, Allen & McCray 2000, sect. 2 and appendix).

    The mean column of a grain stands for its whole disc, as there. Grains make the cross section not quite linear in
    the abundance of one element, but it is linear in a common factor on all metals.

    Args:
        energy: (...) keV, 0.1 to 50.
        abundance: (21,) atoms per H nucleus, in the order of `abundance_table()["element"]`.

    Returns:
        (...) cm2.
    """
    energy = np.asarray(energy, dtype=np.float64)
    table = abundance_table()
    atoms = element_cross_sections(energy)
    gas = abundance * table["gas_share"]
    gas[0] *= 1.0 - MOLECULAR_SHARE
    molecules = 0.5 * MOLECULAR_SHARE * abundance[0] * _sum_rule_fit(energy, 45.57e-24, 0.0154, MOLECULAR_HYDROGEN)
    solid = abundance - abundance * table["gas_share"]
    grains = np.tensordot(solid, atoms, axes=1)
    total = np.tensordot(gas, atoms, axes=1) + molecules
    if not solid.any():
        return total
    # Atoms in a grain are shaded by those before them: the mean path through a sphere is 4/3 of its radius.
    per_gram = grains / (solid @ table["weight"] * ATOMIC_MASS)
    return total + grains * _grain_shading(4.0 / 3.0 * GRAIN_DENSITY * per_gram)


def element_cross_sections(energy: np.ndarray) -> np.ndarray:
    """Cross sections of neutral atoms.

    Args:
        energy: (...) keV, 0.1 to 50.

    Returns:
        (21, ...) cm2 an atom, in the order of `abundance_table()["element"]`.
    """
    energy = np.asarray(energy, dtype=np.float64)
    electronvolts = 1e3 * energy.ravel()
    fit = {name: column[:, None] for name, column in _photoionization_table().items()}
    # Verner et al. 1996, eq. 1; with y_0 = y_1 = 0 it is Verner & Yakovlev 1995, eq. 1.
    x = electronvolts / fit["e0"] - fit["y_0"]
    y = np.hypot(x, fit["y_1"])
    power = 0.5 * fit["p"] - 5.5 - fit["l"]
    sigma = fit["sigma0"] * ((x - 1.0) ** 2 + fit["y_w"] ** 2) * y**power / (1.0 + np.sqrt(y / fit["y_a"])) ** fit["p"]
    sigma *= (electronvolts >= fit["low"]) & (electronvolts < fit["high"])
    elements = np.arange(len(abundance_table()["element"]))
    atoms = MEGABARN * (elements[:, None] == fit["element"].T) @ sigma
    atoms[1] = _sum_rule_fit(energy.ravel(), 733e-24, 0.02458, HELIUM)
    return atoms.reshape(len(elements), *energy.shape)


@cache
def abundance_table() -> dict[str, np.ndarray]:
    """Columns (21,) by element, H and He first: element, weight (u), gas_share, and the tables of `ABUNDANCES`."""
    rows = _read_rows("abundances")
    columns = {name: np.array([float(row[name]) for row in rows]) for name in ("weight", "gas_share", *ABUNDANCES)}
    return {"element": np.array([row["element"] for row in rows]), **columns}


@cache
def _photoionization_table() -> dict[str, np.ndarray]:
    """The fits' parameters as columns (L,); low and high are the energies (eV) between which a fit counts."""
    rows = _read_rows("photoionization")
    names = [name for name in rows[0] if name not in ("element", "shell")]
    columns = {name: np.array([float(row[name] or "inf") for row in rows]) for name in names}
    order = {element: index for index, element in enumerate(abundance_table()["element"])}
    return {"element": np.array([order[row["element"]] for row in rows]), **columns}


def _read_rows(name: str) -> list[dict[str, str]]:
    with resources.files("chandraclip.simulate.emission").joinpath(f"tables/{name}.csv").open() as file:
        return list(csv.DictReader(file))


def _sum_rule_fit(energy: np.ndarray, scale: float, threshold: float, coefficients: tuple[float, ...]) -> np.ndarray:
    """Yan et al. 1998: ``scale E^-3.5 (1 + sum a_n x^(-n/2))`` cm2, x = E / threshold, energies in keV."""
    root = np.sqrt(threshold / energy)
    return scale * energy**-3.5 * np.polynomial.polynomial.polyval(root, (1.0, *coefficients))


def _grain_shading(depth_per_length: np.ndarray) -> np.ndarray:
    """Cross section of grains, relative to that of their atoms apart; optical depth per cm of grain radius (...)."""
    nodes, weights = np.polynomial.legendre.leggauss(NUM_GRAIN_NODES)
    low, high = np.log(GRAIN_RADIUS)
    radius = np.exp(low + 0.5 * (high - low) * (nodes + 1.0))
    # area x number x d(radius) = radius^(2 - 3.5 + 1) d(ln radius)
    blocked = -np.expm1(-depth_per_length[..., None] * radius) @ (weights * radius**-0.5)
    return blocked / (depth_per_length * (weights @ radius**0.5))


def _checked_abundances(model: str, abundances: str | None) -> str | None:
    if model not in ENERGY_RANGE:
        raise ValueError(f"unknown absorption model {model!r}: {', '.join(ENERGY_RANGE)}")
    if model == "wabs":
        if abundances is not None:
            raise ValueError("the abundances of wabs are fixed")
        return None
    if abundances is not None and abundances not in ABUNDANCES:
        raise ValueError(f"unknown abundances {abundances!r}: {', '.join(ABUNDANCES)}")
    return abundances or "wilm"


@cache
def _logarithmic_table(model: str, abundances: str | None) -> tuple[np.ndarray, np.ndarray]:
    """ln of energies (keV) over the model's range, two at each edge, and ln of the cross section (cm2)."""
    low, high = ENERGY_RANGE[model]
    edges = EDGES if model == "wabs" else 1e-3 * _photoionization_table()["low"]
    edges = edges[(edges > low) & (edges < high)]
    energy = np.concatenate([np.geomspace(low, high, NUM_TABLE_POINTS), edges * (1.0 - 1e-9), edges * (1.0 + 1e-9)])
    energy = np.unique(np.clip(energy, low, high))
    return np.log(energy), np.log(cross_section(energy, model, abundances))


def _redshifted(energy: np.ndarray, redshift: np.ndarray, model: str, abundances: str | None) -> np.ndarray:
    """Cross sections (S, E), cm2, at ``energy (1 + redshift)``, read from one table: fast for many sources."""
    abundances = _checked_abundances(model, abundances)
    at_rest = np.asarray(energy, dtype=np.float64) * (1.0 + redshift[:, None])
    low, high = ENERGY_RANGE[model]
    if at_rest.size and not (at_rest.min() >= low and (model == "wabs" or at_rest.max() <= high)):
        raise ValueError(f"at the absorber, the {model} cross section is published for {low:g} to {high:g} keV only")
    log_energy, log_sigma = _logarithmic_table(model, abundances)
    log_at_rest = np.log(at_rest)
    beyond = np.maximum(log_at_rest - log_energy[-1], 0.0)
    return np.exp(np.interp(log_at_rest, log_energy, log_sigma) - 3.0 * beyond)
