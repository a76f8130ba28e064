import numpy as np
import pytest
from astropy.io import fits

from chandraclip.simulate.absorption import EDGES, cross_section, transmission


def test_cross_section_is_that_of_the_table(real_data):
    table = fits.getdata(real_data / "catalog" / "xsect_wabs_angr.fits", 1)
    energy, expected = table["ENERGY"].astype(np.float64), 1e-22 * table["SIGMA"].astype(np.float64)
    in_range = (energy > 0.3) & (energy < 8.0)
    # The table is smoothed over the edges: 1 % of the energy to either side is left out.
    away = in_range & (np.abs(energy[:, None] - EDGES) > 0.01 * energy[:, None]).all(axis=1)
    assert away.sum() > 0.7 * in_range.sum()
    np.testing.assert_allclose(cross_section(energy[away]), expected[away], rtol=0.01)


def test_edges_absorb_more_above_than_below():
    oxygen, neon, silicon, iron = 0.532, 0.867, 1.840, 7.111
    for edge in (oxygen, neon, silicon, iron):
        below, above = cross_section(np.array([edge - 1e-3, edge + 1e-3]))
        assert above > 1.01 * below


def test_transmission_is_exponential_in_the_column():
    energy = np.array([0.5, 1.0, 5.0])
    result = transmission(energy, np.array([0.0, 10.0, 20.0]))
    assert result.shape == (3, 3)
    np.testing.assert_array_equal(result[0], 1.0)
    np.testing.assert_allclose(result[2], result[1] ** 2)
    np.testing.assert_allclose(result[1], np.exp(-1e21 * cross_section(energy)))


@pytest.mark.parametrize("energy", [0.01, 10.5])
def test_refuses_energies_without_a_published_value(energy):
    with pytest.raises(ValueError, match=r"0\.03 to 10 keV"):
        cross_section(np.array([1.0, energy]))
