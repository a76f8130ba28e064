"""The models a spectrum can be fitted with: an emission of one shape parameter and a norm, behind a cold absorber.

Names and norms of parameters are those of XSPEC (Arnaud, Dorman & Gordon, XSPEC manual, "XSPEC models"):

| model | XSPEC | parameters | norm 1 |
|---|---|---|---|
| powerlaw | powerlaw | PhoIndex | 1 photon/keV/cm2/s at 1 keV |
| blackbody | bbody | kT (keV) | 1e39 erg/s at 10 kpc |
| diskbb | diskbb | Tin (keV) | (inner radius / 1 km)^2 / (distance / 10 kpc)^2 cos(inclination) = 1 |
| bremsstrahlung | bremss | kT (keV) | 3.02e-15 / (4 pi D^2) int n_e n_I dV = 1 cm-5 |
| apec | apec | kT (keV) | 1e-14 / (4 pi (D_A (1 + z))^2) int n_e n_H dV = 1 cm-5 |

A source at redshift z is taken as XSPEC's z-models are: the spectrum at E (1 + z), divided by 1 + z; kT is in the
source's frame. The absorber is in front of it at redshift 0, with nH in 1e22 hydrogen atoms/cm2: `wabs` (Morrison &
McCammon 1983) or `tbabs` (Wilms, Allen & McCray 2000, abundances "wilm"), see `simulate.emission.absorption`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chandraclip.simulate.emission.absorption import ENERGY_RANGE, cross_section
from chandraclip.simulate.emission.bremsstrahlung import bremsstrahlung
from chandraclip.simulate.emission.incident import KEV_TO_ERG, blackbody, disk_blackbody, powerlaw
from chandraclip.simulate.emission.plasma import plasma

ABSORPTIONS = tuple(ENERGY_RANGE)
COLUMN_UNIT = 1e22  # cm-2, of nH
COLUMN_RANGE = (0.0, 100.0)  # 1e22 cm-2
LOWEST_ENERGY = 1e-3  # keV; some grids begin at 0, where a power law diverges
NUM_FLUX_BINS = 2000  # of a band's flux, logarithmic: Gamma 10 over 0.1-10 keV errs by 1e-4


@dataclass(frozen=True)
class Emission:
    """An emission of one shape parameter.

    Attributes:
        parameter: XSPEC's name of the shape parameter.
        unit: of it; "" for a pure number.
        norm_unit: of the norm, in XSPEC's words.
        low, high: its range.
        starts: values at which fits begin.
        spectrum: edges (E,), (E,) keV and values (S,) -> photons/cm2/s in each bin (S, E), norm 1.
    """

    parameter: str
    unit: str
    norm_unit: str
    low: float
    high: float
    starts: np.ndarray
    spectrum: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

    @property
    def is_temperature(self) -> bool:
        return self.unit == "keV"


def _temperature(
    parameter: str, norm_unit: str, low: float, high: float, spectrum: Callable[..., np.ndarray]
) -> Emission:
    return Emission(parameter, "keV", norm_unit, low, high, np.geomspace(1.2 * low, high / 1.2, 20), spectrum)


EMISSIONS = {
    "powerlaw": Emission(
        "PhoIndex", "", "photons/keV/cm2/s at 1 keV", -3.0, 10.0, np.linspace(-1.0, 7.0, 17), powerlaw
    ),
    "blackbody": _temperature("kT", "1e39 erg/s at 10 kpc", 0.01, 20.0, blackbody),
    "diskbb": _temperature("Tin", "(km at 10 kpc)^2 cos(inclination)", 0.01, 30.0, disk_blackbody),
    "bremsstrahlung": _temperature("kT", "3.31e14 cm-5", 0.03, 200.0, bremsstrahlung),
    "apec": _temperature("kT", "1e14 cm-5", 0.035, 90.0, plasma),
}
XSPEC_NAMES = {"bbody": "blackbody", "bremss": "bremsstrahlung"}
COLUMN_STARTS = np.array([0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0])


def optical_depth(energy: np.ndarray, absorption: str | None) -> np.ndarray:
    """Optical depth of a column of 1e22 hydrogen atoms/cm2: nH 1 in a fit.

    Args:
        energy: (...) keV. Beyond the published fits (wabs 0.03 to 10 keV, tbabs 0.1 to 50) it goes on as E^-3.
        absorption: "tbabs", "wabs", or None for no absorber.

    Returns:
        (...), a pure number; zeros for None.

    Raises:
        ValueError: an unknown absorption.
    """
    energy = np.asarray(energy, dtype=np.float64)
    if absorption is None:
        return np.zeros(energy.shape)
    if absorption not in ABSORPTIONS:
        raise ValueError(f"unknown absorption {absorption!r}: {', '.join(ABSORPTIONS)}, or None")
    inside = np.clip(energy, *ENERGY_RANGE[absorption])
    return COLUMN_UNIT * cross_section(inside, absorption) * (inside / energy) ** 3


class AbsorbedModel:
    """An absorbed emission on any grid of photon energies.

    Args:
        model: a key of `EMISSIONS`, or XSPEC's name of it.
        absorption: "tbabs", "wabs" or None.
        redshift: of the emission.
        abundance: of apec's metals, solar (Anders & Grevesse 1989) = 1.

    Raises:
        ValueError: an unknown model or absorption; a redshift <= -1 or an abundance < 0.
    """

    def __init__(self, model: str, absorption: str | None, redshift: float = 0.0, abundance: float = 1.0):
        model = XSPEC_NAMES.get(model, model)
        if model not in EMISSIONS:
            raise ValueError(f"unknown model {model!r}: {', '.join(EMISSIONS)}")
        if absorption is not None and not (isinstance(absorption, str) and absorption in ABSORPTIONS):
            raise ValueError(f"unknown absorption {absorption!r}: {', '.join(ABSORPTIONS)}, or None")
        for name, value in (("redshift", redshift), ("abundance", abundance)):
            if not isinstance(value, (int, float, np.integer, np.floating)):
                raise ValueError(f"{name} {value!r}: must be a number")
        if not (np.isfinite(redshift) and redshift > -1):
            raise ValueError(f"redshift {redshift}: must be a number above -1")
        if not (np.isfinite(abundance) and abundance >= 0):
            raise ValueError(f"abundance {abundance}: must be a number of 0 or more")
        self.model, self.absorption = model, absorption
        self.emission, self.redshift, self.abundance = EMISSIONS[model], float(redshift), float(abundance)
        self._last_depth: tuple[np.ndarray, np.ndarray] = (np.zeros(0), np.zeros(0))

    def photon_flux(
        self, energy_lo: np.ndarray, energy_hi: np.ndarray, shape: np.ndarray, column: np.ndarray
    ) -> np.ndarray:
        """Absorbed spectra of norm 1.

        Args:
            energy_lo, energy_hi: (E,) keV, increasing; gaps between bins and bins of zero width (flux 0) are allowed.
            shape: (S,) values of the shape parameter.
            column: (S,) nH, 1e22 cm-2.

        Returns:
            (S, E) photons/cm2/s in each bin.
        """
        low, high = np.maximum(energy_lo, LOWEST_ENERGY), np.maximum(energy_hi, LOWEST_ENERGY)
        wide = np.flatnonzero(high > low)
        low, high = low[wide], high[wide]
        flux = np.zeros((len(shape), len(energy_lo)))
        if np.abs(low[1:] - high[:-1]).max(initial=0.0) <= 1e-3 * (high - low).min(initial=np.inf):
            emitted = self._emitted(low, high, shape)
        else:  # the emissions take bins that touch: every other one here is a gap
            edges = np.maximum.accumulate(np.stack([low, high], axis=1).ravel())
            full = np.flatnonzero(np.diff(edges) > 0)
            cells = np.zeros((len(shape), len(edges) - 1))
            cells[:, full] = self._emitted(edges[full], edges[full + 1], shape)
            emitted = cells[:, ::2]
        flux[:, wide] = emitted * np.exp(-np.asarray(column)[:, None] * self._depth(0.5 * (low + high)))
        return flux

    def _depth(self, energy: np.ndarray) -> np.ndarray:
        """`optical_depth`, kept for the last energies: a fit asks for the same some thousand times."""
        known, depth = self._last_depth
        if not np.array_equal(known, energy):
            depth = optical_depth(energy, self.absorption)
            self._last_depth = (energy, depth)
        return depth

    def _emitted(self, low: np.ndarray, high: np.ndarray, shape: np.ndarray) -> np.ndarray:
        stretch = 1.0 + self.redshift
        extra = (self.abundance,) if self.model == "apec" else ()
        return self.emission.spectrum(low * stretch, high * stretch, np.asarray(shape), *extra) / stretch

    def energy_flux(
        self, band: tuple[float, float], shape: np.ndarray, column: np.ndarray, absorbed: bool = True
    ) -> np.ndarray:
        """Energy flux (S,) of norm 1 in a band (keV, as observed), erg/cm2/s, with or without the absorber."""
        edges = np.geomspace(*band, NUM_FLUX_BINS + 1)
        column = np.asarray(column) if absorbed else np.zeros(len(shape))
        photons = self.photon_flux(edges[:-1], edges[1:], shape, column)
        return photons @ (0.5 * KEV_TO_ERG * (edges[:-1] + edges[1:]))
