"""Absorbed spectra of sources: one or two additive components, an iron line, a redshift, gas in front of each."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from chandraclip.catalog.bands import BANDS
from chandraclip.simulate.emission.absorption import partial_covering, transmission
from chandraclip.simulate.emission.incident import energy_flux, gaussian_line, incident_spectrum
from chandraclip.simulate.variability.kinds import DIP, ECLIPSE, ERUPTION, FLARE, PULSATION, RED_NOISE, TRANSIENT

ABUNDANCE = 0.4  # solar: coronae of active and young stars have 0.2 to 0.5 (Guedel 2004, A&ARv 12, 71)
IRON_LINE_ENERGY, IRON_LINE_SIGMA = 6.4, 0.05  # keV; neutral Fe K alpha, as broad as the outer disc makes it
MAX_COLUMN = 1.0e4  # 1e20 cm-2
KT_RANGE = (0.035, 80.0)  # keV; the plasma has no tables beyond


@dataclass(frozen=True)
class SpectrumParameters:
    """N spectra; (N,) arrays. What a model does not have is not read (NaN).

    Attributes:
        model, second_model: int, index into `emission.SPECTRAL_MODELS`; -1 for no second component.
        gamma, second_gamma: photon indices. kt, second_kt: keV.
        second_share: the second component's share of the incident energy.
        nh: 1e20 cm-2 in front of the main component. second_nh: in front of the second.
        covering: covered share of the main component's source, 0 to 1 (1: a plain absorber).
        iron_width: keV, equivalent width of Fe K alpha against the main component, in the source's frame.
        redshift: of both components and the line; absorbers are at rest.
    """

    model: np.ndarray
    gamma: np.ndarray
    kt: np.ndarray
    second_model: np.ndarray
    second_gamma: np.ndarray
    second_kt: np.ndarray
    second_share: np.ndarray
    nh: np.ndarray
    second_nh: np.ndarray
    covering: np.ndarray
    iron_width: np.ndarray
    redshift: np.ndarray

    def __len__(self) -> int:
        return len(self.model)

    def take(self, rows: np.ndarray) -> SpectrumParameters:
        """Some of the spectra."""
        return SpectrumParameters(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})

    def shifted(self, gamma_shift: np.ndarray, kt_factor: np.ndarray) -> SpectrumParameters:
        """The same sources harder or softer, hotter or cooler: both components alike."""
        return replace(
            self,
            gamma=self.gamma + gamma_shift,
            second_gamma=self.second_gamma + gamma_shift,
            kt=np.clip(self.kt * kt_factor, *KT_RANGE),
            second_kt=np.clip(self.second_kt * kt_factor, *KT_RANGE),
        )


def photon_spectra(parameters: SpectrumParameters, energy_lo: np.ndarray, energy_hi: np.ndarray) -> np.ndarray:
    """Absorbed spectra of sources that emit 1 erg/cm2/s over the grid before absorption.

    Args:
        parameters: N spectra.
        energy_lo, energy_hi: (E,) keV.

    Returns:
        (N, E) photons/cm2/s/bin.
    """
    energy = 0.5 * (energy_lo + energy_hi)
    flux = incident_spectrum(
        energy_lo, energy_hi, parameters.model, parameters.gamma, parameters.kt, _abundance(parameters), _z(parameters)
    )
    with_line = np.flatnonzero(parameters.iron_width > 0)
    if with_line.size:
        flux[with_line] += _iron_line(parameters.take(with_line), flux[with_line], energy_lo, energy_hi)
    flux *= partial_covering(energy, parameters.nh, parameters.covering) * (1.0 - parameters.second_share)[:, None]
    rows = np.flatnonzero((parameters.second_model >= 0) & (parameters.second_share > 0))
    if rows.size:
        part = parameters.take(rows)
        second = incident_spectrum(
            energy_lo, energy_hi, part.second_model, part.second_gamma, part.second_kt, _abundance(part), _z(part)
        )
        flux[rows] += second * transmission(energy, part.second_nh) * part.second_share[:, None]
    return flux


def _abundance(parameters: SpectrumParameters) -> np.ndarray:
    return np.full(len(parameters), ABUNDANCE)


def _z(parameters: SpectrumParameters) -> np.ndarray | None:
    return parameters.redshift if (parameters.redshift > 0).any() else None


def _iron_line(
    parameters: SpectrumParameters, continuum: np.ndarray, energy_lo: np.ndarray, energy_hi: np.ndarray
) -> np.ndarray:
    """(N, E) photons of the line: equivalent width times the continuum at the line."""
    centre = IRON_LINE_ENERGY / (1.0 + parameters.redshift)
    line = gaussian_line(energy_lo, energy_hi, centre, IRON_LINE_SIGMA / (1.0 + parameters.redshift))
    at = np.clip(np.searchsorted(energy_hi, centre), 0, len(energy_hi) - 1)
    density = continuum[np.arange(len(centre)), at] / (energy_hi - energy_lo)[at]
    return line * (density * parameters.iron_width / (1.0 + parameters.redshift))[:, None]


def unit_spectra(spectra: np.ndarray, energy_lo: np.ndarray, energy_hi: np.ndarray) -> np.ndarray:
    """The spectra scaled to an observed 0.5-7 keV flux of 1 erg/cm2/s; (N, E)."""
    return spectra / energy_flux(spectra, energy_lo, energy_hi, BANDS["b"])[:, None]


def varying_spectra(
    rng: np.random.Generator,
    parameters: SpectrumParameters,
    kind: np.ndarray,
    energy_lo: np.ndarray,
    energy_hi: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The two spectra of V varying detections, see `variability`: (V, E) photons/cm2/s/bin each.

    The first has an observed 0.5-7 keV flux of 1 erg/cm2/s. So has the second, but in a dip: the same source behind
    more gas is fainter.

    Args:
        parameters: the V spectra, as they are on average.
        kind: (V,) int, index into `variability.VARIABILITY_KINDS`.
    """
    num_rows = len(kind)
    uniform = rng.random(num_rows)
    gamma_shift = np.select([kind == RED_NOISE, kind == PULSATION, kind == FLARE], [-0.5, -0.3, -0.2], 0.0)
    gamma_shift = gamma_shift + np.where(kind == TRANSIENT, 0.6 + 0.8 * uniform, 0.0)
    # Flares of two to four times the coronal temperature (Getman et al. 2008); eruptions of twice the disc's.
    kt_factor = np.select(
        [kind == FLARE, kind == ERUPTION, kind == TRANSIENT, kind == PULSATION, kind == RED_NOISE],
        [2.0 + 2.0 * uniform, 1.6 + 0.6 * uniform, 0.35 + 0.25 * uniform, 1.15, 1.2],
        1.0,
    )
    first = photon_spectra(parameters, energy_lo, energy_hi)
    changed = parameters.shifted(gamma_shift, kt_factor)
    dips = kind == DIP
    more_gas = np.where(dips, 10.0 ** (2.0 + 1.3 * uniform), 0.0)
    changed = replace(
        changed, nh=np.minimum(changed.nh + more_gas, MAX_COLUMN), second_nh=changed.second_nh + 0.1 * more_gas
    )
    second = photon_spectra(changed, energy_lo, energy_hi)
    total = energy_flux(first, energy_lo, energy_hi, BANDS["b"])[:, None]
    second_total = np.where(dips[:, None], total, energy_flux(second, energy_lo, energy_hi, BANDS["b"])[:, None])
    second = np.where((kind == ECLIPSE)[:, None], first / total, second / second_total)
    return first / total, second
