"""The redistribution of ACIS: one matrix for front-illuminated chips, one for back-illuminated ones.

The widths and shares are read off RMFs of CSC and CIAO (`mkacisrmf`) and rounded: ObsIDs 4737 and 4938 and the merger
of CDF-S for ACIS-I, 7867 and 12845 for S3. In truth the width of a front-illuminated chip grows with the row, by losses
in charge transfer: 139 to 201 eV at 5.9 keV in these files, 264 in one of 2000 without their correction; this matrix
is that of the middle of a chip.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy.sparse as sparse
from scipy.special import ndtr

from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH, ACIS_NUM_CHANNELS
from chandraclip.simulate.instrument.area import ENERGY, INSTRUMENTS

CHANNEL_EDGES = ACIS_CHANNEL_WIDTH * np.arange(ACIS_NUM_CHANNELS + 1)
SIGMA_TO_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
SILICON_K_ALPHA = 1.740

# Of ACIS-I (front side) and ACIS-S (back side). FWHM^2 is a sum: electronic noise; Fano's, of silicon (keV a pair of
# charges); and what is lost in transfer, in proportion to the energy. keV and, the last, keV a keV.
NOISE_FWHM = (0.060, 0.087)
FANO_FACTOR, PAIR_ENERGY = 0.115, 0.00368
TRANSFER_FWHM = (0.0165, 0.0075)

# Shares by energy (keV): escape peak, 1.74 keV below; fluorescence of silicon, at 1.74 keV (both only above its K
# edge); an exponential tail below the line; a flat shelf from it down to nothing.
SHARES = {
    "ACIS-I": np.array(
        [
            [0.30, 0.000, 0.000, 0.030, 0.006],
            [1.00, 0.000, 0.000, 0.030, 0.011],
            [1.83, 0.000, 0.000, 0.030, 0.006],
            [1.85, 0.029, 0.000, 0.031, 0.009],
            [2.20, 0.017, 0.010, 0.032, 0.009],
            [2.50, 0.015, 0.007, 0.030, 0.006],
            [3.00, 0.0135, 0.004, 0.027, 0.003],
            [4.00, 0.0105, 0.002, 0.027, 0.002],
            [5.90, 0.0070, 0.001, 0.026, 0.001],
            [9.30, 0.0065, 0.001, 0.026, 0.001],
        ]
    ),
    "ACIS-S": np.array(
        [
            [0.30, 0.000, 0.000, 0.005, 0.002],
            [1.83, 0.000, 0.000, 0.006, 0.002],
            [1.85, 0.0185, 0.000, 0.040, 0.012],
            [2.20, 0.0180, 0.005, 0.034, 0.009],
            [2.50, 0.0160, 0.0035, 0.028, 0.010],
            [3.00, 0.0145, 0.002, 0.020, 0.010],
            [4.00, 0.0115, 0.001, 0.008, 0.008],
            [5.90, 0.0095, 0.0005, 0.004, 0.006],
            [9.30, 0.0095, 0.0005, 0.004, 0.006],
        ]
    ),
}
RESOLUTION = 2.0**-22
TAIL_SCALE, TAIL_SLOPE = 0.05, 0.06  # of the exponential tail: keV, and keV a keV


def fwhm(energy: np.ndarray, instrument: str = "ACIS-S") -> np.ndarray:
    """Energy resolution, keV: of ACIS-I 0.08 at 1 keV and 0.164 at 5.9 keV, of ACIS-S 0.10 and 0.153."""
    number = INSTRUMENTS.index(instrument)
    energy = np.asarray(energy, dtype=np.float64)
    fano = SIGMA_TO_FWHM**2 * FANO_FACTOR * PAIR_ENERGY * energy
    return np.sqrt(NOISE_FWHM[number] ** 2 + fano + (TRANSFER_FWHM[number] * energy) ** 2)


@cache
def redistribution_matrix(instrument: str = "ACIS-S") -> sparse.csr_array:
    """RMF (450, 1024) of `INSTRUMENTS`: a Gaussian of `fwhm` and, below it, what `SHARES` says. Rows sum to 1.

    The tail is an exponential, seen with the line's width.
    """

    def gaussian(centre: np.ndarray) -> np.ndarray:
        sigma = (fwhm(np.maximum(centre, 0.0), instrument) / SIGMA_TO_FWHM)[:, None]
        return _normalised(ndtr(np.clip((CHANNEL_EDGES - centre[:, None]) / sigma, -5.0, 5.0)))

    sigma = (fwhm(ENERGY, instrument) / SIGMA_TO_FWHM)[:, None]
    distance = np.minimum((CHANNEL_EDGES - ENERGY[:, None]) / sigma, 5.0)
    slope = sigma / (TAIL_SCALE + TAIL_SLOPE * ENERGY)[:, None]
    tail = _normalised(ndtr(distance) + np.exp(distance * slope + 0.5 * slope**2) * ndtr(-distance - slope))
    flat = _normalised(np.minimum(CHANNEL_EDGES, ENERGY[:, None]))
    table = SHARES[instrument]
    escape, fluorescence, tailed, shelved = (
        np.interp(ENERGY, table[:, 0], table[:, column])[:, None] for column in range(1, 5)
    )
    parts = (
        (escape, gaussian(ENERGY - SILICON_K_ALPHA)),
        (fluorescence, gaussian(np.full_like(ENERGY, SILICON_K_ALPHA))),
        (tailed, tail),
        (shelved, flat),
    )
    matrix = (1.0 - escape - fluorescence - tailed - shelved) * gaussian(ENERGY)
    matrix += sum(share * part for share, part in parts)
    # In steps exact in float32: files of it pack into a quarter. What rounding leaves goes to the line itself.
    matrix = np.round(matrix / RESOLUTION) * RESOLUTION
    line = matrix.argmax(axis=1)
    matrix[np.arange(len(matrix)), line] += 1.0 - matrix.sum(axis=1)
    return sparse.csr_array(matrix)


def _normalised(cumulative: np.ndarray) -> np.ndarray:
    """(E, C) shares of the channels from (E, C + 1) at their edges; a row off the channels is of zeros."""
    share = np.diff(cumulative, axis=1)
    return share / np.maximum(share.sum(axis=1, keepdims=True), 1e-300)
