"""The population: what sources there are and how they were observed.

Class medians and scatters stand in `tables/classes.csv` and `tables/spectra.csv`. They were chosen so that simulated
counts, hardness, fitted slopes and columns, and variability come near those of the labelled sources of CSC 2 (MUWCLASS
training set, Yang et al. 2022, ApJ 941, 104). log_* are decimal; flux 0.5-7 keV as observed, erg/s/cm2; NH 1e20 cm-2;
kT keV; exposure and period s; latitude degrees from the Galactic plane (median; scatter in dex).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from scipy.special import ndtr, ndtri

from chandraclip.data.schema import BANDS, SOURCE_CLASSES

from .absorption import transmission
from .emission import SPECTRAL_MODELS, energy_flux, incident_spectrum
from .response import ENERGY, ENERGY_HI, ENERGY_LO
from .variability import CONSTANT, DIP, FLARE, PERIODIC

MAX_OBSERVATIONS = 20
MJD_RANGE = (51500.0, 59580.0)  # end of 1999 to end of 2021, the data of CSC 2.1
MIN_BEST_COUNTS = 5.0
MAX_COUNTS = 2.0e4

# ICRS of the Galactic pole, and the Galactic longitude of the celestial pole, degrees (Hipparcos, ESA SP-1200, 1.5.3).
POLE_RA, POLE_DEC, CELESTIAL_POLE_L = 192.85948, 27.12825, 122.93192


@cache
def read_table(name: str) -> dict[str, np.ndarray]:
    """A table of the package as columns; numbers as float64, empty as NaN."""
    with resources.files("chandraclip.simulate").joinpath(f"tables/{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = {}
    for column in rows[0]:
        values = [row[column] for row in rows]
        try:
            columns[column] = np.array([float(value) if value else np.nan for value in values])
        except ValueError:
            columns[column] = np.array(values)
    return columns


@dataclass(frozen=True)
class Sources:
    """S sources; (S,) arrays unless said otherwise. A quantity that a source does not have is NaN.

    Attributes:
        source_class: int, index into `SOURCE_CLASSES`.
        ra, dec: degrees, ICRS. latitude: degrees from the Galactic plane.
        nh_gal, nh: 1e20 cm-2; the Galactic column, and the column in front of the main component.
        model, second_model: int, index into `SPECTRAL_MODELS`; -1 for no second component.
        gamma, kt, second_kt: of the components.
        second_share: the second component's share of the incident energy.
        second_nh: 1e20 cm-2.
        kind: int, index into `VARIABILITY_KINDS`. period: s. activity: share of observations in which it varies.
        strength: see `variability.draw_shapes`.
        num_observations: int.
    """

    source_class: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    latitude: np.ndarray
    nh_gal: np.ndarray
    nh: np.ndarray
    model: np.ndarray
    gamma: np.ndarray
    kt: np.ndarray
    second_model: np.ndarray
    second_gamma: np.ndarray
    second_kt: np.ndarray
    second_share: np.ndarray
    second_nh: np.ndarray
    kind: np.ndarray
    period: np.ndarray
    activity: np.ndarray
    strength: np.ndarray
    num_observations: np.ndarray

    def spectra(self) -> np.ndarray:
        """Absorbed photon spectra (S, 450), photons/cm2/s/bin, scaled to an observed 0.5-7 keV flux of 1 erg/cm2/s."""
        flux = incident_spectrum(ENERGY_LO, ENERGY_HI, self.model, self.gamma, self.kt)
        flux *= transmission(ENERGY, self.nh) * (1.0 - self.second_share)[:, None]
        rows = np.flatnonzero(self.second_model >= 0)
        second = incident_spectrum(
            ENERGY_LO, ENERGY_HI, self.second_model[rows], self.second_gamma[rows], self.second_kt[rows]
        )
        flux[rows] += second * transmission(ENERGY, self.second_nh[rows]) * self.second_share[rows, None]
        return flux / energy_flux(flux, ENERGY_LO, ENERGY_HI, BANDS["b"])[:, None]


def class_probabilities(exponent: float) -> np.ndarray:
    """(8,) probability of each class: real numbers of labelled sources to a power (1: as they are, 0: all alike)."""
    weight = read_table("classes")["number"] ** exponent
    return weight / weight.sum()


def draw_sources(rng: np.random.Generator, num_detections: int, class_exponent: float = 0.5) -> Sources:
    """Sources whose observations number exactly `num_detections` (the last source loses what is too many)."""
    classes, spectra = read_table("classes"), read_table("spectra")
    if tuple(classes["source_class"]) != SOURCE_CLASSES:
        raise ValueError("tables/classes.csv must list the classes of the schema, in order")
    source_class = rng.choice(len(SOURCE_CLASSES), num_detections, p=class_probabilities(class_exponent))
    observed = rng.geometric(1.0 / classes["observations"][source_class])
    total = np.cumsum(np.minimum(observed, MAX_OBSERVATIONS))
    num_sources = int(np.searchsorted(total, num_detections)) + 1
    source_class, total = source_class[:num_sources], np.minimum(total[:num_sources], num_detections)
    num_observations = np.diff(total, prepend=0)

    def normal(mean: np.ndarray | float, scatter: np.ndarray | float) -> np.ndarray:
        return mean + np.nan_to_num(scatter) * np.clip(rng.standard_normal(num_sources), -3.0, 3.0)

    position = {name: column[source_class] for name, column in classes.items()}
    latitude = np.minimum(
        position["latitude"] * 10.0 ** normal(np.zeros(num_sources), position["latitude_scatter"]), 89
    )
    ra, dec = galactic_to_icrs(360.0 * rng.random(num_sources), latitude * rng.choice([-1.0, 1.0], num_sources))
    # A plane-parallel disc, with scatter: 2.2e20 cm-2 at the pole, 1.8e22 in the plane.
    nh_gal = 2.2 / np.maximum(np.sin(np.radians(latitude)), 0.012)
    nh_gal *= 10.0 ** normal(np.zeros(num_sources), np.full(num_sources, 0.15))

    # Which of its class's spectra: by the cumulative share, on one axis for all classes.
    home = np.array([SOURCE_CLASSES.index(name) for name in spectra["source_class"]])
    upper = home + np.concatenate(
        [np.cumsum(spectra["share"][home == number]) for number in range(len(SOURCE_CLASSES))]
    )
    chosen = np.searchsorted(upper - 1e-9, source_class + rng.random(num_sources), side="right")
    spectrum = {name: column[np.minimum(chosen, len(home) - 1)] for name, column in spectra.items()}
    number_of = {name: number for number, name in enumerate(SPECTRAL_MODELS)} | {"": -1}
    nh = 10.0 ** normal(spectrum["log_nh"], spectrum["log_nh_scatter"])
    # The column of an AGN is its host's and ours; that in front of a Galactic source is part of the table's.
    nh = np.minimum(nh + np.where(source_class == SOURCE_CLASSES.index("AGN"), nh_gal, 0.0), 1e4)

    chance = rng.random(num_sources)
    below = np.cumsum([position[name] for name in ("flare", "dip", "periodic")], axis=0)
    kind = np.select([chance < below[0], chance < below[1], chance < below[2]], [FLARE, DIP, PERIODIC], CONSTANT)
    period = 10.0 ** normal(position["log_period"], position["log_period_scatter"])
    orbital = (kind == DIP) & (rng.random(num_sources) < 0.5)  # the other dips do not recur
    period = np.where(kind == PERIODIC, period, np.where(orbital, 3600.0 * 2.0 ** normal(1.5, 1.0), np.nan))
    return Sources(
        source_class=source_class,
        ra=ra,
        dec=dec,
        latitude=latitude,
        nh_gal=nh_gal,
        nh=nh,
        model=np.array([number_of[name] for name in spectrum["model"]]),
        gamma=normal(spectrum["gamma"], spectrum["gamma_scatter"]),
        kt=10.0 ** normal(spectrum["log_kt"], spectrum["log_kt_scatter"]),
        second_model=np.array([number_of[name] for name in spectrum["second_model"]]),
        second_gamma=spectrum["second_gamma"],
        second_kt=10.0 ** normal(spectrum["second_log_kt"], spectrum["second_log_kt_scatter"]),
        second_share=np.nan_to_num(spectrum["second_share"]),
        second_nh=nh * spectrum["second_nh_share"],
        kind=kind,
        period=period,
        activity=position["activity"],
        strength=position["strength"],
        num_observations=num_observations,
    )


@dataclass(frozen=True)
class Observations:
    """D observations, (D,) each: source (row of `Sources`), theta (arcmin), exposure (s), mjd (d), instrument (int)."""

    source: np.ndarray
    theta: np.ndarray
    exposure: np.ndarray
    mjd: np.ndarray
    instrument: np.ndarray


def draw_observations(rng: np.random.Generator, sources: Sources) -> Observations:
    """How each source was observed, in order of source and date.

    A target lies within 0.7' of the axis and mostly on ACIS-S; a serendipitous source anywhere in the field of view.
    """
    source = np.repeat(np.arange(len(sources.ra)), sources.num_observations)
    table = {name: column[sources.source_class[source]] for name, column in read_table("classes").items()}
    num_rows = len(source)
    pointed = (rng.random(len(sources.ra)) < read_table("classes")["pointed"][sources.source_class])[source]
    theta = np.where(pointed, 0.2 + 0.5 * rng.random(num_rows), np.minimum(rng.rayleigh(4.6, num_rows), 15.0))
    exposure = 10.0 ** (table["log_exposure"] + table["log_exposure_scatter"] * rng.standard_normal(num_rows))
    mjd = rng.uniform(*MJD_RANGE, num_rows)
    return Observations(
        source=source,
        theta=theta,
        exposure=np.clip(exposure, 1.0e3, 1.8e5),
        mjd=mjd[np.lexsort([mjd, source])],
        instrument=(rng.random(num_rows) < np.where(pointed, 0.75, 0.35)).astype(np.int64),
    )


def draw_fluxes(
    rng: np.random.Generator, sources: Sources, observations: Observations, counts_per_flux: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Observed 0.5-7 keV fluxes: mean of each source (S,) and in each observation (D,), erg/s/cm2.

    A log-normal a class, cut where the best observation would expect fewer than 5 counts (no catalogue would have it),
    and a log-normal scatter from epoch to epoch. No detection expects more than 2e4 counts.

    Args:
        counts_per_flux: (D,) expected 0.5-7 keV counts for 1 erg/s/cm2.
    """
    table = {name: column[sources.source_class] for name, column in read_table("classes").items()}
    first = np.cumsum(sources.num_observations) - sources.num_observations
    faintest = np.log10(MIN_BEST_COUNTS / np.maximum.reduceat(counts_per_flux, first))
    lowest = np.minimum(ndtr((faintest - table["log_flux"]) / table["log_flux_scatter"]), 0.999)
    quantile = lowest + (1.0 - lowest) * rng.random(len(lowest))
    mean = 10.0 ** (table["log_flux"] + table["log_flux_scatter"] * ndtri(quantile))
    scatter = table["epoch_scatter"][observations.source] * rng.standard_normal(len(observations.source))
    return mean, np.minimum(mean[observations.source] * 10.0**scatter, MAX_COUNTS / counts_per_flux)


def galactic_to_icrs(longitude: np.ndarray, latitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Galactic (l, b) to ICRS (ra, dec); degrees, (N,) each."""
    b, pole = np.radians(latitude), np.radians(POLE_DEC)
    angle = np.radians(CELESTIAL_POLE_L - longitude)
    dec = np.arcsin(np.clip(np.sin(pole) * np.sin(b) + np.cos(pole) * np.cos(b) * np.cos(angle), -1.0, 1.0))
    ra = np.arctan2(np.cos(b) * np.sin(angle), np.cos(pole) * np.sin(b) - np.sin(pole) * np.cos(b) * np.cos(angle))
    return (np.degrees(ra) + POLE_RA) % 360.0, np.degrees(dec)
