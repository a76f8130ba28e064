"""A small made-up response, another instrument's, and what is seen of a spectrum through each."""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy.sparse as sparse
from scipy.special import ndtr

from chandraclip.ogip.response import Response


@cache
def made_up_response(num_channels: int = 1024, channel_width: float = 0.0146, resolution: float = 0.05) -> Response:
    """A Gaussian line of constant width (keV) on 180 energies of 0.25-10.3 keV, and an area with an edge at 2 keV."""
    edges = np.geomspace(0.25, 10.3, 181)
    middle = np.sqrt(edges[:-1] * edges[1:])
    bounds = channel_width * np.arange(num_channels + 1)
    matrix = np.diff(ndtr((bounds - middle[:, None]) / resolution), axis=1)
    matrix[matrix < 1e-7] = 0.0
    area = 400.0 * np.exp(-((np.log(middle / 1.5)) ** 2)) * np.where(middle > 2.0, 0.7, 1.0)
    return Response(edges[:-1], edges[1:], area, sparse.csr_array(matrix), bounds[:-1], bounds[1:])


def power_law(response: Response, gamma: float, norm: float = 1e-3) -> np.ndarray:
    """(E,) photons/cm2/s in each energy bin of norm E^-gamma photons/cm2/s/keV."""
    edges = np.append(response.energy_lo, response.energy_hi[-1])
    return norm * -np.diff(edges ** (1.0 - gamma)) / (gamma - 1.0)
