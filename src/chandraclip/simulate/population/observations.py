"""How sources are observed: which, when, for how long, how far off axis, and how bright they are then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from chandraclip.simulate.population.sources import CLASSES, MAX_OBSERVATIONS, Population, Sources

MJD_RANGE = (51500.0, 59580.0)  # end of 1999 to end of 2021, the data of CSC 2.1
MIN_STACK_COUNTS = 5.0  # CSC 2 detects sources in stacks of observations
MAX_COUNTS = 1.0e5
MAX_THETA = 15.0  # arcmin
SUBARRAY_SHARE = 0.12  # of targets: bright ones, read out faster


@dataclass(frozen=True)
class Observations:
    """D observations, (D,) each, by source and date.

    Attributes:
        source: int, row of `Sources`. theta: arcmin off axis. exposure: s of good time. mjd: d.
        instrument: int, 0 ACIS-I, 1 ACIS-S. subarray: bool, read out with an eighth of the rows.
        pointed: bool, whether the source was the target.
    """

    source: np.ndarray
    theta: np.ndarray
    exposure: np.ndarray
    mjd: np.ndarray
    instrument: np.ndarray
    subarray: np.ndarray
    pointed: np.ndarray


def draw_numbers(
    rng: np.random.Generator, population: Population, num_detections: int, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Classes of sources and how often each is observed: exactly `num_detections` in all.

    The last source loses what is too many.

    Args:
        probabilities: (11,) of the classes.

    Returns:
        (S,) index into `CLASSES` and (S,) number of observations, 1 to 20.
    """
    source_class = rng.choice(len(CLASSES), num_detections, p=probabilities)
    observed = rng.geometric(1.0 / population.classes["observations"][source_class])
    total = np.cumsum(np.minimum(observed, MAX_OBSERVATIONS))
    num_sources = int(np.searchsorted(total, num_detections)) + 1
    total = np.minimum(total[:num_sources], num_detections)
    return source_class[:num_sources], np.diff(total, prepend=0)


def draw_observations(
    rng: np.random.Generator, population: Population, source_class: np.ndarray, num_observations: np.ndarray
) -> Observations:
    """How each source was observed.

    A target lies within 0.65' of the axis and mostly on ACIS-S, and is looked at for as long as it takes; a
    serendipitous source lies anywhere in the field of view of whatever else was looked at; young stars and their
    clusters in the mosaics of ACIS-I.

    Args:
        source_class: (S,) int. num_observations: (S,) int.
    """
    source = np.repeat(np.arange(len(source_class)), num_observations)
    table = population.classes
    of_class = source_class[source]
    num_rows = len(source)
    pointed = (rng.random(len(source_class)) < table["pointed"][source_class])[source]
    off_axis = np.minimum(table["theta"][of_class] * rng.rayleigh(1.0, num_rows), MAX_THETA)
    theta = np.where(pointed, 0.12 + 0.53 * rng.random(num_rows), off_axis)
    log_exposure = np.where(pointed, table["pointed_log_exposure"][of_class], table["log_exposure"][of_class])
    log_exposure = log_exposure + table["log_exposure_scatter"][of_class] * rng.standard_normal(num_rows)
    mjd = rng.uniform(*MJD_RANGE, num_rows)
    return Observations(
        source=source,
        theta=theta,
        exposure=np.clip(10.0**log_exposure, 1.0e3, 1.8e5),
        mjd=mjd[np.lexsort([mjd, source])],
        instrument=(rng.random(num_rows) < np.where(pointed, 0.75, table["acis_s"][of_class])).astype(np.int64),
        subarray=pointed & (rng.random(num_rows) < SUBARRAY_SHARE),
        pointed=pointed,
    )


def draw_fluxes(
    rng: np.random.Generator,
    population: Population,
    sources: Sources,
    observations: Observations,
    log_epoch_flux: np.ndarray,
    counts_per_flux: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Observed 0.5-7 keV fluxes: typical of each source (S,) and in each observation (D,), erg/s/cm2.

    A log-normal a class, targets brighter (or fainter) than what lies around them, cut where all observations together
    would expect fewer than 5 photons (no catalogue would have it).
    No detection expects more than 1e5 photons.

    Args:
        log_epoch_flux: (D,) dex, of each observation against its source, `epochs.Epochs.log_flux`.
        counts_per_flux: (D,) photons for 1 erg/s/cm2 in the whole energy grid (0.3-9.3 keV of the built-in ACIS).
    """
    table = {name: population.classes[name][sources.source_class] for name in ("log_flux", "log_flux_scatter")}
    centre = table["log_flux"] + sources.log_flux_shift
    target = np.zeros(len(sources), dtype=bool)
    target[observations.source] = observations.pointed
    centre = centre + np.where(target, population.classes["pointed_log_flux"][sources.source_class], 0.0)
    sensitivity = counts_per_flux * 10.0**log_epoch_flux
    stack = np.bincount(observations.source, sensitivity, len(sources))
    lowest = np.minimum(ndtr((np.log10(MIN_STACK_COUNTS / stack) - centre) / table["log_flux_scatter"]), 0.999)
    quantile = lowest + (1.0 - lowest) * rng.random(len(lowest))
    typical = 10.0 ** (centre + table["log_flux_scatter"] * ndtri(quantile))
    flux = typical[observations.source] * 10.0**log_epoch_flux
    return typical, np.minimum(flux, MAX_COUNTS / counts_per_flux)
