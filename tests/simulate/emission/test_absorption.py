from itertools import pairwise

import numpy as np
import pytest
from astropy.io import fits

from chandraclip.simulate.emission.absorption import (
    ABUNDANCES,
    EDGES,
    abundance_table,
    cross_section,
    element_cross_sections,
    interstellar_cross_section,
    partial_covering,
    transmission,
)

# Atomic number and K edge, keV, and the L edges of iron, cobalt and nickel (Verner & Yakovlev 1995).
K_EDGES = {"C": (6, 0.291), "N": (7, 0.4048), "O": (8, 0.538), "Ne": (10, 0.8701), "Na": (11, 1.079), "Mg": (12, 1.311)}
K_EDGES |= {"Al": (13, 1.567), "Si": (14, 1.846), "P": (15, 2.154), "S": (16, 2.477), "Cl": (17, 2.83)}
K_EDGES |= {"Ar": (18, 3.203), "Ca": (20, 4.043), "Ti": (22, 4.972), "Cr": (24, 5.996), "Mn": (25, 6.55)}
K_EDGES |= {"Fe": (26, 7.124), "Co": (27, 7.725), "Ni": (28, 8.348)}
L_EDGES = [0.724, 0.8, 0.857, 0.876, 0.94, 1.024]
ATOM_EDGES = np.sort([edge for _, edge in K_EDGES.values()] + L_EDGES)
# keV: what the reference resolves (measured resonances and edge structure) and a step at the edge cannot follow.
FINE_STRUCTURE = [(0.525, 0.557), (0.706, 0.726), (0.866, 0.871)]  # oxygen K, iron L, neon K
MODELS = [("wabs", None), ("tbabs", "wilm"), ("tbabs", "angr"), ("tbabs", "aspl")]


def reference(real_data, name):
    table = fits.getdata(real_data / "catalog" / f"xsect_{name}.fits", 1)
    energy, sigma = table["ENERGY"].astype(np.float64), 1e-22 * table["SIGMA"].astype(np.float64)
    in_range = (energy > 0.3) & (energy < 8.0)
    return energy[in_range], sigma[in_range]


def far_from(energy, edges, relative):
    return (np.abs(energy[:, None] / edges - 1.0) > relative).all(axis=1)


def test_wabs_is_that_of_the_table(real_data):
    energy, expected = reference(real_data, "wabs_angr")
    # A bin of the table (0.05 % wide) that an edge falls in has the mean of both sides.
    away = far_from(energy, EDGES, 5e-4)
    assert away.mean() > 0.99
    np.testing.assert_allclose(cross_section(energy[away]), expected[away], rtol=1e-4)


def test_tbabs_is_that_of_the_table(real_data):
    energy, expected = reference(real_data, "tbabs_wilm")
    away = far_from(energy, ATOM_EDGES, 1e-3)
    for low, high in FINE_STRUCTURE:
        away &= (energy < low) | (energy > high)
    assert away.mean() > 0.92
    deviation = np.abs(cross_section(energy[away], "tbabs") / expected[away] - 1.0)
    assert deviation.max() < 0.05
    assert np.quantile(deviation, 0.95) < 0.015


def test_tbabs_has_as_many_photons_through_oxygen_and_iron_edges_as_the_table(real_data):
    """What the fine structure takes is small in a band: the residual that CCD spectra see."""
    energy, expected = reference(real_data, "tbabs_wilm")
    weight = np.gradient(energy) * energy**-2.0
    band = (energy > 0.5) & (energy < 1.2)
    for nh in (1e21, 5e21, 1e22):
        through, expected_through = (
            (weight * np.exp(-nh * sigma))[band].sum() for sigma in (cross_section(energy, "tbabs"), expected)
        )
        assert through == pytest.approx(expected_through, rel=0.015)


@pytest.mark.parametrize("model, abundances", MODELS)
def test_falls_between_edges_and_rises_at_them(model, abundances):
    edges = EDGES[EDGES > 0.3] if model == "wabs" else ATOM_EDGES[ATOM_EDGES > 0.3]
    for low, high in pairwise([*edges, 9.9]):
        sigma = cross_section(np.linspace(low * 1.0001, high * 0.9999, 50), model, abundances)
        assert (np.diff(sigma) < 0).all()
    oxygen, neon, silicon, iron = (0.532, 0.867, 1.840, 7.111) if model == "wabs" else (0.538, 0.8701, 1.846, 7.124)
    for edge in (oxygen, neon, silicon, iron):
        below, above = cross_section(np.array([edge - 1e-3, edge + 1e-3]), model, abundances)
        assert above > 1.01 * below


def test_atoms_absorb_as_their_nuclear_charge_says():
    """A slip in one coefficient of one element would break the smooth run from carbon to nickel."""
    table = abundance_table()
    elements = list(table["element"])
    charge = np.array([charge for charge, _ in K_EDGES.values()])
    jumps = []
    for element, (_, edge) in K_EDGES.items():
        below, above = element_cross_sections(np.array([0.9999, 1.0001]) * edge)[elements.index(element)]
        jumps.append(above - below)
    # Two 1s electrons, seen from their edge: hydrogen's Z^-2, weakened by screening.
    scaled = 1e18 * np.array(jumps) * charge**2
    np.testing.assert_allclose(scaled, np.polyval(np.polyfit(charge, scaled, 2), charge), rtol=0.07)
    assert np.ptp(scaled) < 13.0
    # Above all edges the heavier atom absorbs more.
    assert (np.diff(element_cross_sections(np.array([20.0])), axis=0) > 0).all()


def test_is_linear_in_the_abundance_of_metals():
    energy = np.geomspace(0.3, 10.0, 200)
    solar = abundance_table()["wilm"]
    metals = np.arange(len(solar)) > 1
    none, one, three = (
        interstellar_cross_section(energy, np.where(metals, factor * solar, solar)) for factor in (0.0, 1.0, 3.0)
    )
    np.testing.assert_allclose(three - none, 3.0 * (one - none), rtol=1e-10)
    # Gas without grains is linear in each element; oxygen's own edge goes with it.
    neon_only = np.where(abundance_table()["element"] == "Ne", solar, 0.0)
    np.testing.assert_allclose(
        interstellar_cross_section(energy, neon_only), neon_only @ element_cross_sections(energy)
    )


def test_grains_shade_themselves_only_where_they_are_thick():
    energy = np.array([0.3, 0.55, 5.0])
    table = abundance_table()
    solid = np.where(np.arange(21) > 1, table["wilm"] * (1.0 - table["gas_share"]), 0.0)
    free = solid @ element_cross_sections(energy)
    gas = np.where(np.arange(21) > 1, table["wilm"] * table["gas_share"], 0.0) @ element_cross_sections(energy)
    metals = np.where(np.arange(21) > 1, table["wilm"], 0.0)
    shading = (interstellar_cross_section(energy, metals) - gas) / free
    assert (shading < 1.0).all()
    assert shading[2] > 0.99
    assert shading[1] < 0.97


def test_tables_of_abundances_differ_as_their_metals_do():
    energy = np.array([1.0, 2.0, 6.0])
    wilm, angr, aspl = (cross_section(energy, "tbabs", name) for name in ABUNDANCES)
    assert (angr > 1.3 * wilm).all()
    assert (aspl > wilm).all()
    np.testing.assert_array_equal(cross_section(energy, "tbabs"), wilm)


@pytest.mark.parametrize("model, abundances", MODELS)
def test_transmission_is_exponential_in_the_column(model, abundances):
    energy = np.array([0.5, 1.0, 5.0])
    result = transmission(energy, np.array([0.0, 10.0, 20.0, 30.0, 1e-9]), model, abundances)
    assert result.shape == (5, 3)
    np.testing.assert_array_equal(result[0], 1.0)
    np.testing.assert_allclose(result[4], 1.0, atol=1e-10)
    np.testing.assert_allclose(result[1] * result[2], result[3])
    np.testing.assert_allclose(result[1], np.exp(-1e21 * cross_section(energy, model, abundances)))


def test_partial_covering_goes_from_nothing_to_all():
    energy, nh = np.linspace(0.5, 8.0, 40), np.array([100.0, 100.0, 100.0, 1e6])
    result = partial_covering(energy, nh, np.array([0.0, 1.0, 0.6, 0.6]), "tbabs")
    np.testing.assert_array_equal(result[0], 1.0)
    np.testing.assert_allclose(result[1], transmission(energy, nh[:1], "tbabs")[0])
    np.testing.assert_allclose(result[2], 0.4 + 0.6 * result[1])
    assert result[3, 0] == pytest.approx(0.4)  # a thick cover leaves what it does not cover


@pytest.mark.parametrize("model, abundances", MODELS)
def test_redshift_moves_the_absorber(model, abundances):
    energy, nh = np.linspace(0.3, 4.0, 500), np.array([30.0, 30.0, 3.0])
    redshift = np.array([0.0, 1.0, 0.37])
    result = transmission(energy, nh, model, abundances, redshift)
    np.testing.assert_allclose(result[0], transmission(energy, nh[:1], model, abundances)[0], rtol=1e-4)
    for row in (1, 2):
        expected = np.exp(-1e20 * nh[row] * cross_section(energy * (1.0 + redshift[row]), model, abundances))
        np.testing.assert_allclose(result[row], expected, rtol=1e-4)
    covered = partial_covering(energy, nh, np.full(3, 0.5), model, abundances, redshift)
    np.testing.assert_allclose(covered, 0.5 + 0.5 * result)


def test_redshifted_wabs_falls_as_the_cube_above_its_range():
    energy, nh = np.array([5.0, 8.0]), np.array([1e5])
    depth = -np.log(transmission(energy, nh, redshift=np.array([3.0])))[0] / 1e25
    np.testing.assert_allclose(depth, cross_section(np.array([10.0])) * (10.0 / (4.0 * energy)) ** 3)


@pytest.mark.parametrize(
    "model, energy, message",
    [
        ("wabs", 0.01, "0.03 to 10"),
        ("wabs", 10.5, "0.03 to 10"),
        ("wabs", np.nan, "0.03"),
        ("tbabs", 0.05, "0.1 to 50"),
    ],
)
def test_refuses_energies_without_a_published_value(model, energy, message):
    with pytest.raises(ValueError, match=message):
        cross_section(np.array([1.0, energy]), model)


def test_refuses_what_it_does_not_know():
    energy, nh = np.array([1.0, 8.0]), np.array([1.0])
    with pytest.raises(ValueError, match="unknown absorption model"):
        cross_section(energy, "phabs")
    with pytest.raises(ValueError, match="unknown abundances"):
        cross_section(energy, "tbabs", "solar")
    with pytest.raises(ValueError, match="fixed"):
        transmission(energy, nh, "wabs", "wilm")
    with pytest.raises(ValueError, match="fixed"):
        transmission(energy, nh, "wabs", "wilm", np.array([1.0]))
    with pytest.raises(ValueError, match="at the absorber"):
        transmission(energy, nh, "tbabs", redshift=np.array([9.0]))
    for redshift in (-1.0, np.nan):
        with pytest.raises(ValueError, match="at the absorber"):
            transmission(energy, nh, redshift=np.array([redshift]))
    for fraction in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="covering fraction"):
            partial_covering(energy, nh, np.array([fraction]))
