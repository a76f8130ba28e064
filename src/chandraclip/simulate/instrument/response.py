"""An ACIS-like response: effective area with its edges, contamination and vignetting, and a redistribution matrix.

The shape is ACIS's; the numbers are rounded. Real work on real data takes the mission's own ARF and RMF
(`chandraclip.data.read_response`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import scipy.sparse as sparse
from scipy.special import ndtr

from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH, ACIS_NUM_CHANNELS
from chandraclip.catalog.photometry import CSC_PSF_SHARE
from chandraclip.ogip.response import Response

INSTRUMENTS = ("ACIS-I", "ACIS-S")

ENERGY_EDGES = np.round(np.linspace(0.30, 9.30, 451), 2)
ENERGY_LO, ENERGY_HI = ENERGY_EDGES[:-1], ENERGY_EDGES[1:]
ENERGY = 0.5 * (ENERGY_LO + ENERGY_HI)
CHANNEL_EDGES = ACIS_CHANNEL_WIDTH * np.arange(ACIS_NUM_CHANNELS + 1)

# Read off two mission ARFs (ACIS-I ObsID 2278, ACIS-S ObsID 3098), divided by the contamination below and rounded.
# On-axis area at launch, before any contamination: keV, then cm2 of the front-illuminated ACIS-I chips and of the
# back-illuminated S3. Pairs of close energies are edges: O K of the filter (0.53), Al K of the filter (1.56), Si K of
# the gates (1.84; front side only), Ir M-V and M-IV of the mirror (2.04, 2.12).
AREA_ANCHORS = np.array(
    [
        [0.30, 10, 200],
        [0.40, 66, 300],
        [0.50, 178, 450],
        [0.53, 180, 470],
        [0.545, 120, 420],
        [0.60, 144, 454],
        [0.70, 249, 525],
        [0.80, 323, 594],
        [1.00, 460, 666],
        [1.30, 585, 734],
        [1.50, 633, 755],
        [1.555, 635, 750],
        [1.57, 575, 695],
        [1.70, 565, 678],
        [1.835, 580, 684],
        [1.845, 400, 690],
        [1.90, 397, 695],
        [2.00, 413, 673],
        [2.04, 380, 625],
        [2.06, 320, 520],
        [2.10, 229, 390],
        [2.20, 217, 358],
        [2.50, 286, 426],
        [3.00, 325, 435],
        [4.00, 364, 430],
        [5.00, 314, 341],
        [6.00, 208, 207],
        [7.00, 104, 103],
        [8.00, 44, 39],
        [9.00, 21, 21],
        [9.30, 16, 16],
    ]
)
# Optical depth of the contaminant (mostly carbon; O and F edges at 0.54 and 0.69 keV) relative to that at 0.67 keV,
# and the depth at 0.67 keV by year. Approximate: the shape from ratios of ACIS-S ARFs of 2002 and 2011, the
# history from memory of the growth in Plucinsky et al. 2018 (Proc. SPIE 10699), not fitted; unchecked after 2011.
CONTAMINATION_ENERGY = np.array([0.3, 0.4, 0.5, 0.54, 0.55, 0.6, 0.67, 0.685, 0.695, 0.8, 1.0, 1.3, 2.0, 3.0, 9.3])
CONTAMINATION_SHAPE = np.array([5.5, 2.9, 1.85, 1.5, 1.65, 1.3, 1.0, 0.95, 1.05, 0.66, 0.31, 0.13, 0.035, 0.01, 0.0])
CONTAMINATION_MJD = 51544.0 + 365.25 * np.array([-0.4, 0, 1, 2, 3, 5, 7, 9, 11, 13, 15, 17, 19, 22])
CONTAMINATION_DEPTH = np.array([0.0, 0.08, 0.25, 0.37, 0.45, 0.56, 0.64, 0.72, 0.85, 1.2, 1.75, 2.3, 2.8, 3.5])
LAUNCH_MJD = float(CONTAMINATION_MJD[0])

# Silicon: Fano factor, keV per electron-hole pair, and the electronic noise with charge-transfer losses as a FWHM.
FANO_FACTOR, PAIR_ENERGY, NOISE_FWHM = 0.115, 0.00368, 0.090
SILICON_K_EDGE, SILICON_K_ALPHA, ESCAPE_SHARE = 1.839, 1.740, 0.006
SIGMA_TO_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))


def effective_area(instrument: np.ndarray, theta: np.ndarray, mjd: np.ndarray) -> np.ndarray:
    """Effective area of each detection on the built-in energy grid.

    Vignetting is ``exp(-k(E) theta)`` with ``k = 0.014 + 0.0008 E^2`` per arcmin: 0.85, 0.74 and 0.63 of the axis at
    10' and 1.5, 4.5 and 6.4 keV. A rough form of the Proposers' Observatory Guide's curves, not fitted to them.

    Args:
        instrument: (D,) int, index into `INSTRUMENTS`.
        theta: (D,) off-axis angle, arcmin.
        mjd: (D,) date, d; before launch no contamination, after the table its last depth.

    Returns:
        (D, 450) cm2.
    """
    launch = np.stack([np.interp(ENERGY, AREA_ANCHORS[:, 0], AREA_ANCHORS[:, column]) for column in (1, 2)])
    shape = np.interp(ENERGY, CONTAMINATION_ENERGY, CONTAMINATION_SHAPE)
    depth = np.interp(mjd, CONTAMINATION_MJD, CONTAMINATION_DEPTH)
    vignetting = 0.014 + 0.0008 * ENERGY**2
    return launch[np.asarray(instrument)] * np.exp(-np.outer(depth, shape) - np.outer(theta, vignetting))


def fwhm(energy: np.ndarray) -> np.ndarray:
    """Energy resolution, keV: 0.10 at 1 keV, 0.15 at 6 keV."""
    return np.sqrt(NOISE_FWHM**2 + SIGMA_TO_FWHM**2 * FANO_FACTOR * PAIR_ENERGY * np.asarray(energy))


@cache
def redistribution_matrix() -> sparse.csr_array:
    """RMF (450, 1024): a Gaussian of `fwhm` and, above the Si K edge, its escape peak 1.74 keV below. Rows sum to 1."""

    def gaussian(centre: np.ndarray) -> np.ndarray:
        sigma = (fwhm(np.maximum(centre, 0.0)) / SIGMA_TO_FWHM)[:, None]
        distance = (CHANNEL_EDGES - centre[:, None]) / sigma
        return np.where(np.abs(distance[:, 1:]) < 5.0, np.diff(ndtr(distance), axis=1), 0.0)

    main = gaussian(ENERGY)
    escape = gaussian(ENERGY - SILICON_K_ALPHA)
    share = np.where(ENERGY > SILICON_K_EDGE, ESCAPE_SHARE, 0.0)[:, None]
    matrix = (1.0 - share) * main + share * escape
    return sparse.csr_array(matrix / matrix.sum(axis=1, keepdims=True))


@cache
def builtin_response(instrument: str = "ACIS-S", theta: float = 0.0, mjd: float = LAUNCH_MJD) -> Response:
    """The built-in ARF and RMF; every simulated detection shares the RMF and has its own ARF.

    Args:
        instrument: one of `INSTRUMENTS`.
        theta: off-axis angle, arcmin.
        mjd: date, d, for the contamination; the launch by default.
    """
    number = np.array([INSTRUMENTS.index(instrument)])
    return Response(
        energy_lo=ENERGY_LO,
        energy_hi=ENERGY_HI,
        arf=effective_area(number, np.array([theta]), np.array([mjd]))[0],
        matrix=redistribution_matrix(),
        channel_energy_lo=CHANNEL_EDGES[:-1],
        channel_energy_hi=CHANNEL_EDGES[1:],
        first_channel=1,
    )


@dataclass(frozen=True, eq=False)
class Instrument:
    """What a simulation looks through: a redistribution matrix that all detections share, and the area of each.

    Attributes:
        response: energy grid, matrix and channels; its ARF is of unit area, since every detection has its own.
        area: (instrument (D,) int, theta (D,) arcmin, mjd (D,) d) -> (D, E) cm2.
        names: what the instrument numbers mean.
        psf_share: of the PSF in the source aperture, where the area does not hold it.
    """

    response: Response
    area: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    names: tuple[str, ...]
    psf_share: float = 1.0

    @property
    def channel_energy(self) -> np.ndarray:
        """(C,) keV, the middle of each channel."""
        return 0.5 * (self.response.channel_energy_lo + self.response.channel_energy_hi)

    @property
    def is_acis_grid(self) -> bool:
        """Whether the channels are ACIS's, which a dataset row need not spell out; files differ in the first edge."""
        edges = self.response.channel_energy_edges
        return edges.shape == CHANNEL_EDGES.shape and bool(np.allclose(edges[1:], CHANNEL_EDGES[1:], atol=1e-4))


@cache
def builtin_instrument() -> Instrument:
    """The built-in ACIS-I and ACIS-S."""
    return Instrument(_unit_area(builtin_response()), effective_area, INSTRUMENTS, CSC_PSF_SHARE)


@cache
def instrument_from_files(arf: str | Path, rmf: str | Path, name: str | None = None) -> Instrument:
    """A real ARF and RMF; every detection has this very area, whatever its off-axis angle and date.

    The area is taken to hold the aperture's share of the PSF, as EPIC's and eROSITA's do.

    Args:
        arf, rmf: paths.
        name: of the instrument; by default the ARF's INSTRUME.

    Raises:
        InputFileError: a file cannot be read, or they do not fit each other.
    """
    from chandraclip.ogip import read_response
    from chandraclip.ogip.fits import FitsFile
    from chandraclip.ogip.header import observation_header

    response = read_response(arf, rmf)
    if name is None:
        headers = (observation_header(table) for table in FitsFile(Path(arf)).tables)
        name = next((header.instrument for header in headers if header.instrument), "unknown")
    area = np.asarray(response.arf, dtype=np.float64)
    return Instrument(_unit_area(response), lambda instrument, theta, mjd: np.tile(area, (len(theta), 1)), (name,) * 2)


def _unit_area(response: Response) -> Response:
    return replace(response, arf=np.ones_like(response.arf))
