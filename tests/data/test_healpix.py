import numpy as np
import pytest

from chandraclip.data.healpix import healpix_nested


def test_base_pixels():
    ra = [45, 135, 225, 315, 0, 90, 180, 270, 45, 135, 225, 315]
    dec = [60] * 4 + [0] * 4 + [-60] * 4
    np.testing.assert_array_equal(healpix_nested(ra, dec, order=0), np.arange(12))


def test_known_pixels():
    """Values of the reference implementation (`ang2pix(nside, ra, dec, nest=True, lonlat=True)`)."""
    ra, dec = [83.63, 10.68, 266.42, 0.0, 123.4], [22.01, 41.27, -29.01, 90.0, -89.9]
    np.testing.assert_array_equal(healpix_nested(ra, dec), [1511, 169, 1801, 255, 2304])
    np.testing.assert_array_equal(healpix_nested(ra, dec, 10), [6191509, 693522, 7380516, 1048575, 9437186])


def random_positions(num):
    rng = np.random.default_rng(0)
    return 360.0 * rng.random(num), np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, num)))


def test_pixels_have_equal_areas():
    num_pixels = 12 * 4**2
    counts = np.bincount(healpix_nested(*random_positions(200_000), order=2), minlength=num_pixels)
    expected = 200_000 / num_pixels
    chi2 = ((counts - expected) ** 2 / expected).sum() / (num_pixels - 1)
    assert counts.size == num_pixels
    assert 0.7 < chi2 < 1.35


def test_a_pixel_lies_in_its_parent():
    ra, dec = random_positions(10_000)
    np.testing.assert_array_equal(healpix_nested(ra, dec, 7) >> 2, healpix_nested(ra, dec, 6))


def test_longitude_is_periodic():
    ra, dec = random_positions(1000)
    # Multiples of 1/8 degree are exact in binary, whatever is added.
    ra = np.round(8.0 * ra) / 8.0
    np.testing.assert_array_equal(healpix_nested(ra + 360.0, dec), healpix_nested(ra, dec))
    np.testing.assert_array_equal(healpix_nested(ra - 720.0, dec), healpix_nested(ra, dec))


@pytest.mark.parametrize("position", [(np.nan, 0.0), (0.0, np.nan), (np.inf, 0.0), (0.0, 90.1)])
def test_refuses_what_is_no_position(position):
    with pytest.raises(ValueError, match="finite"):
        healpix_nested(*position)


def test_refuses_an_order_beyond_its_bits():
    with pytest.raises(ValueError, match="order"):
        healpix_nested(0.0, 0.0, 25)
