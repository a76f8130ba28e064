import numpy as np

from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH, ACIS_NUM_CHANNELS
from chandraclip.simulate import builtin_response


def test_grid_is_that_of_acis():
    response = builtin_response()
    assert response.matrix.shape == (450, ACIS_NUM_CHANNELS)
    assert response.first_channel == 1
    np.testing.assert_allclose(response.channel_energy_edges[[0, 1, -1]], [0.0, ACIS_CHANNEL_WIDTH, 14.9504])
    np.testing.assert_allclose([response.energy_lo[0], response.energy_hi[-1]], [0.3, 9.3])
    np.testing.assert_allclose(response.energy_hi[:-1], response.energy_lo[1:])
