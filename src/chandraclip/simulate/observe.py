"""Looking at sources: their spectra and light curves behind the telescope, in each of their observations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chandraclip.catalog.bands import BANDS
from chandraclip.simulate.emission.incident import energy_flux
from chandraclip.simulate.emission.spectra import SpectrumParameters, photon_spectra, unit_spectra, varying_spectra
from chandraclip.simulate.instrument.detector import BadColumns, GoodTime
from chandraclip.simulate.instrument.exposures import Rates
from chandraclip.simulate.instrument.response import Instrument
from chandraclip.simulate.population.observations import Observations
from chandraclip.simulate.population.sources import Sources
from chandraclip.simulate.variability.epochs import Epochs
from chandraclip.simulate.variability.kinds import CONSTANT, Variable, draw_variability
from chandraclip.simulate.variability.matching import Observed, draw_matching_variability
from chandraclip.simulate.variability.planted import planted_spectra

Planting = Callable[[np.random.Generator, GoodTime], Variable]


@dataclass(frozen=True)
class Sight:
    """D observations of sources of 1 erg/s/cm2 (observed, 0.5-7 keV, mean over the good time).

    Attributes:
        area: (D, E) cm2, with what bad columns take off; the aperture's share of the PSF is not in it, but is in the
            rates below.
        spectrum: parameters of the D spectra, at their epochs.
        kind: (D,) int, index into `VARIABILITY_KINDS`, in this observation.
        steady: (D, E) photons/s/bin, before bad columns, whose photons `exposures.record` loses one by one.
        variable, first, second: see `exposures.Rates`; before bad columns, too.
        counts_per_flux: (D,) photons/s in the whole energy grid, mean over the good time, less those on bad columns.
    """

    area: np.ndarray
    spectrum: SpectrumParameters
    kind: np.ndarray
    steady: np.ndarray
    variable: Variable
    first: np.ndarray
    second: np.ndarray
    counts_per_flux: np.ndarray

    def rates(self, flux: np.ndarray, background: np.ndarray) -> Rates:
        """What arrives for these fluxes (D,) erg/s/cm2 and backgrounds (D,) counts/s in 0.5-7 keV."""
        bright = flux[self.variable.row, None]
        return Rates(self.steady * flux[:, None], self.variable, self.first * bright, self.second * bright, background)


def look(
    rng: np.random.Generator,
    sources: Sources,
    observations: Observations,
    epochs: Epochs,
    instrument: Instrument,
    good_time: GoodTime,
    bad_columns: BadColumns,
    active: np.ndarray,
    observed: Observed | None = None,
    planting: Planting | None = None,
) -> Sight:
    """What each observation of each source would see, per unit of flux.

    Args:
        active: (D,) bool, whether the source varies in this observation, if it is of a kind that does.
        observed: how it is known to have varied, whatever `active` says.
        planting: draws the events that are planted, instead of what sources do by themselves.
    """
    lo, hi = instrument.response.energy_lo, instrument.response.energy_hi
    source = observations.source
    area = instrument.area(observations.instrument, observations.theta, observations.mjd)
    exposed = bad_columns.exposed_share()
    seen = instrument.psf_share * area
    spectrum = sources.spectrum.take(source).shifted(epochs.gamma_shift, epochs.kt_factor)
    steady = unit_spectra(photon_spectra(spectrum, lo, hi), lo, hi) * seen

    kind = np.where(active, sources.kind[source], CONSTANT)
    how = sources.strength[source], sources.period[source], good_time.duration
    if planting is not None:
        variable = planting(rng, good_time)
        kind = np.full(len(source), CONSTANT)
        kind[variable.row] = variable.kind
    elif observed is None:
        variable = draw_variability(rng, kind, *how)
    else:
        known = np.isfinite(observed.information)
        kind, variable = draw_matching_variability(rng, np.where(known, sources.kind[source], kind), *how, observed)
    row = variable.row
    # The mean over the good time of both together is 1 erg/s/cm2.
    start, stop = good_time.start[row], good_time.stop[row]
    means = [curves.mean_rate(start, stop) for curves in (variable.first, variable.second)]
    if planting is not None:
        both = means[0] + means[1]
        first, second = planted_spectra(steady[row], variable.kind, means[1] / both, 0.5 * (lo + hi))
        first, second = first / both[:, None], second / both[:, None]
    else:
        first, second = varying_spectra(rng, spectrum.take(row), variable.kind, lo, hi)
        flux = means[0] + means[1] * energy_flux(second, lo, hi, BANDS["b"])
        first, second = first * seen[row] / flux[:, None], second * seen[row] / flux[:, None]
    counts_per_flux = steady.sum(axis=1)
    counts_per_flux[row] = means[0] * first.sum(axis=1) + means[1] * second.sum(axis=1)
    counts_per_flux *= exposed
    return Sight(area * exposed[:, None], spectrum, kind, steady, variable, first, second, counts_per_flux)
