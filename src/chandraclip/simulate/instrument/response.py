"""What a simulation looks through: the built-in ACIS-I and ACIS-S, or the ARF and RMF of files.

Real work on real data takes the mission's own ARF and RMF (`chandraclip.data.read_response`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from chandraclip.catalog.photometry import CSC_PSF_SHARE
from chandraclip.ogip.response import Response
from chandraclip.simulate.instrument.area import ENERGY_HI, ENERGY_LO, INSTRUMENTS, LAUNCH_MJD, effective_area
from chandraclip.simulate.instrument.redistribution import CHANNEL_EDGES, redistribution_matrix


@cache
def builtin_response(instrument: str = "ACIS-S", theta: float = 0.0, mjd: float = LAUNCH_MJD) -> Response:
    """The built-in ARF and RMF; simulated detections of an instrument share the RMF and have their own ARF.

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
        matrix=redistribution_matrix(instrument),
        channel_energy_lo=CHANNEL_EDGES[:-1],
        channel_energy_hi=CHANNEL_EDGES[1:],
        first_channel=1,
    )


@dataclass(frozen=True, eq=False)
class Instrument:
    """What a simulation looks through: a redistribution matrix for each of its names, and the area of each detection.

    Attributes:
        responses: energy grid, matrix and channels, one a name; they differ in the matrix alone. Their ARFs are of unit
            area, since every detection has its own.
        area: (instrument (D,) int, theta (D,) arcmin, mjd (D,) d) -> (D, E) cm2.
        names: what the instrument numbers mean.
        psf_share: of the PSF in the source aperture, where the area does not hold it.
    """

    responses: tuple[Response, ...]
    area: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    names: tuple[str, ...]
    psf_share: float = 1.0

    @property
    def response(self) -> Response:
        """The first: for the energy grid and the channels, which are common to all."""
        return self.responses[0]

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
    responses = tuple(_unit_area(builtin_response(name)) for name in INSTRUMENTS)
    return Instrument(responses, effective_area, INSTRUMENTS, CSC_PSF_SHARE)


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
    responses = (_unit_area(response),) * 2
    return Instrument(responses, lambda instrument, theta, mjd: np.tile(area, (len(theta), 1)), (name,) * 2)


def _unit_area(response: Response) -> Response:
    return replace(response, arf=np.ones_like(response.arf))
