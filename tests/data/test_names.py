import numpy as np
import pytest

from chandraclip.data.names import healpix_cell, iau_name, position_of_name


def test_iau_names_are_cut_off_not_rounded():
    assert iau_name(10.684708, 41.268749) == "CXO J004244.3+411607"
    assert iau_name(359.99999999, -0.99999999, "2CXO") == "2CXO J235959.9-005959"
    assert iau_name(15 * (1 + 2 / 60 + 3.3 / 3600), 5.5) == "CXO J010203.3+053000"
    with pytest.raises(ValueError, match="no such position"):
        iau_name(np.nan, 0.0)


def test_positions_come_back_from_names():
    rng = np.random.default_rng(1)
    for ra, dec in zip(rng.uniform(0, 360, 50), rng.uniform(-90, 90, 50)):
        found = position_of_name(iau_name(ra, dec))
        assert 0 <= ra - found[0] < 0.1 / 240.0 + 1e-6
        assert 0 <= abs(dec) - abs(found[1]) < 1.0 / 3600.0 + 1e-6
        assert np.sign(dec) == np.sign(found[1]) or abs(found[1]) < 1e-9
    with pytest.raises(ValueError, match="no position"):
        position_of_name("Crab")


def test_known_cells():
    """Values of the reference implementation (`ang2pix(16, ra, dec, nest=True, lonlat=True)`): datasets are sorted
    by this column, so another library version must not move a source."""
    ra, dec = [83.63, 10.68, 266.42, 0.0, 123.4], [22.01, 41.27, -29.01, 90.0, -89.9]
    np.testing.assert_array_equal(healpix_cell(ra, dec), [1511, 169, 1801, 255, 2304])


def test_base_pixels_in_the_nested_order():
    ra = [45, 135, 225, 315, 0, 90, 180, 270, 45, 135, 225, 315]
    dec = [60.1] * 4 + [0.1] * 4 + [-60.1] * 4  # of order 0; a cell of order 4 is one of 256 in it
    np.testing.assert_array_equal(healpix_cell(ra, dec) // 256, np.arange(12))


def test_cells_have_equal_areas():
    rng = np.random.default_rng(0)
    ra, dec = 360.0 * rng.random(400_000), np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, 400_000)))
    counts = np.bincount(healpix_cell(ra, dec), minlength=3072)
    expected = 400_000 / 3072
    assert counts.size == 3072
    assert 0.9 < ((counts - expected) ** 2 / expected).sum() / 3071 < 1.1
    np.testing.assert_array_equal(healpix_cell(ra - 720.0, dec), healpix_cell(ra, dec))


@pytest.mark.parametrize("position", [(np.nan, 0.0), (0.0, np.nan), (np.inf, 0.0), (0.0, 90.1)])
def test_refuses_what_is_no_position(position):
    with pytest.raises(ValueError, match="finite"):
        healpix_cell(*position)
