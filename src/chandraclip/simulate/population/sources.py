"""The population: what sources there are.

Class medians and scatters stand in `tables/*.csv`: classes (numbers, fluxes, exposures, off-axis angles, latitudes,
redshifts; pointed_*: of those that were the target, a share `pointed`, flux in dex against the others; acis_s: share of
the others on ACIS-S), spectra
(the kinds of spectra of a class and how often), variability (within an observation) and epochs (from one to the next).
What a row of `spectra` and `variability` sets together is the joint prior of column, slope or temperature, flux and
variability. `scripts/calibrate_population.py` chose most of the numbers from labelled CSC sources of the train split,
within what nature allows (`tables/bounds.csv`, with references); docs/simulator.md compares. log_* are decimal; flux
0.5-7 keV as observed, erg/s/cm2; NH 1e20 cm-2; kT and line widths keV; exposure and period s; latitude degrees from the
Galactic plane (median; scatter in dex).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from chandraclip.data.schema import RARE_CLASSES, SOURCE_CLASSES
from chandraclip.simulate.emission.incident import SPECTRAL_MODELS
from chandraclip.simulate.emission.spectra import KT_RANGE, MAX_COLUMN, SpectrumParameters
from chandraclip.simulate.variability.epochs import LONG_TERM_KINDS
from chandraclip.simulate.variability.kinds import VARIABILITY_KINDS

CLASSES = SOURCE_CLASSES + RARE_CLASSES
EXTRAGALACTIC = ("AGN", "ULX", "TDE", "FXT")  # behind all of our Galaxy's gas
MAX_OBSERVATIONS = 20
# ICRS of the Galactic pole, and the Galactic longitude of the celestial pole, degrees (Hipparcos, ESA SP-1200, 1.5.3).
POLE_RA, POLE_DEC, CELESTIAL_POLE_L = 192.85948, 27.12825, 122.93192


@cache
def read_table(name: str) -> dict[str, np.ndarray]:
    """A table of the package as columns; numbers as float64, empty as NaN."""
    with resources.files("chandraclip.simulate.population").joinpath(f"tables/{name}.csv").open() as file:
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
class Population:
    """The tables that sources are drawn from; column -> values, as `read_table` gives them."""

    classes: dict[str, np.ndarray]
    spectra: dict[str, np.ndarray]
    variability: dict[str, np.ndarray]
    epochs: dict[str, np.ndarray]


@cache
def default_population() -> Population:
    """The package's own tables.

    Raises:
        ValueError: tables/classes.csv does not list the classes in order.
    """
    population = Population(*(read_table(name) for name in ("classes", "spectra", "variability", "epochs")))
    if tuple(population.classes["source_class"]) != CLASSES:
        raise ValueError("tables/classes.csv must list the classes of the schema, the rare ones last, in order")
    return population


@dataclass(frozen=True)
class Sources:
    """S sources; (S,) arrays. A quantity that a source does not have is NaN.

    Attributes:
        source_class: int, index into `CLASSES`.
        ra, dec: degrees, ICRS. latitude: degrees from the Galactic plane.
        nh_gal: 1e20 cm-2, the Galactic column.
        spectrum: `SpectrumParameters`, typical of the source over its epochs.
        log_flux_shift: dex, of this kind of spectrum against the class.
        kind: int, index into `VARIABILITY_KINDS`. period: s. strength: see `variability.draw_variability`.
        activity: share of observations in which it varies.
        long_term: int, index into `LONG_TERM_KINDS`. long_term_amplitude: dex.
    """

    source_class: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    latitude: np.ndarray
    nh_gal: np.ndarray
    spectrum: SpectrumParameters
    log_flux_shift: np.ndarray
    kind: np.ndarray
    period: np.ndarray
    strength: np.ndarray
    activity: np.ndarray
    long_term: np.ndarray
    long_term_amplitude: np.ndarray

    def __len__(self) -> int:
        return len(self.source_class)


def class_probabilities(population: Population, exponent: float, rare_share: float) -> np.ndarray:
    """(11,) probability of each class: real numbers of labelled sources to a power (1: as they are, 0: all alike).

    Args:
        rare_share: of sources that are one of `RARE_CLASSES`, all alike.
    """
    weight = population.classes["number"][: len(SOURCE_CLASSES)] ** exponent
    rare = np.full(len(RARE_CLASSES), rare_share / len(RARE_CLASSES))
    return np.concatenate([(1.0 - rare_share) * weight / weight.sum(), rare])


def draw_sources(rng: np.random.Generator, population: Population, source_class: np.ndarray) -> Sources:
    """A source of each given class.

    Args:
        population: the tables to draw from.
        source_class: (S,) int, index into `CLASSES`.
    """
    num_sources = len(source_class)
    classes = {name: column[source_class] for name, column in population.classes.items()}
    latitude, ra, dec = _positions(rng, classes)
    # A plane-parallel disc, with scatter: 2.2e20 cm-2 at the pole, 1.8e22 in the plane.
    nh_gal = 2.2 / np.maximum(np.sin(np.radians(latitude)), 0.012)
    nh_gal *= 10.0 ** (0.15 * _normal(rng, num_sources))
    spectrum, log_flux_shift = _spectra(rng, source_class, classes, nh_gal, population.spectra)
    kind = _pick(rng, source_class, population.variability)
    kinds = _rows(population.variability, kind)
    long_term = _pick(rng, source_class, population.epochs)
    epochs = _rows(population.epochs, long_term)
    return Sources(
        source_class=source_class,
        ra=ra,
        dec=dec,
        latitude=latitude,
        nh_gal=nh_gal,
        spectrum=spectrum,
        log_flux_shift=log_flux_shift,
        kind=_index(kinds["kind"], VARIABILITY_KINDS),
        period=10.0 ** (kinds["log_period"] + kinds["log_period_scatter"] * _normal(rng, num_sources)),
        strength=kinds["strength"] * 10.0 ** (kinds["strength_scatter"] * _normal(rng, num_sources)),
        activity=np.nan_to_num(kinds["activity"]),
        long_term=_index(epochs["kind"], LONG_TERM_KINDS),
        long_term_amplitude=np.nan_to_num(
            epochs["amplitude"] * 10.0 ** (epochs["amplitude_scatter"] * _normal(rng, num_sources))
        ),
    )


def _normal(rng: np.random.Generator, num_rows: int) -> np.ndarray:
    """Standard normal, cut at 3 sigma: one wild draw of a slope or a column is no source."""
    return np.clip(rng.standard_normal(num_rows), -3.0, 3.0)


def _pick(rng: np.random.Generator, source_class: np.ndarray, table: dict[str, np.ndarray]) -> np.ndarray:
    """(S,) row of a table for each source, by the shares of its class; -1 for what the shares leave to 1."""
    home = np.array([CLASSES.index(name) for name in table["source_class"]])
    upper = np.concatenate(
        [home[home == number] + np.cumsum(table["share"][home == number]) for number in range(len(CLASSES))]
    )
    order = np.argsort(home, kind="stable")
    value = source_class + rng.random(len(source_class)) * (1.0 - 1e-9)
    found = np.minimum(np.searchsorted(upper, value, side="right"), len(home) - 1)
    row = order[found]
    return np.where((home[row] == source_class) & (value < upper[found]), row, -1)


def _rows(table: dict[str, np.ndarray], row: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of the table at those rows; NaN or an empty text where the row is -1."""
    missing = row < 0
    result = {}
    for name, column in table.items():
        values = column[np.maximum(row, 0)].copy()
        values[missing] = "" if values.dtype.kind == "U" else np.nan
        result[name] = values
    return result


def _index(names: np.ndarray, options: tuple[str, ...]) -> np.ndarray:
    """Number of each name among the options; 0, which is the quiet one, for an empty name."""
    number = {name: index for index, name in enumerate(options)} | {"": 0}
    return np.array([number[name] for name in names.tolist()], dtype=np.int64)


def _spectra(
    rng: np.random.Generator,
    source_class: np.ndarray,
    classes: dict[str, np.ndarray],
    nh_gal: np.ndarray,
    table: dict[str, np.ndarray],
) -> tuple[SpectrumParameters, np.ndarray]:
    """Spectral parameters, and the flux that goes with that kind of spectrum (dex against the class)."""
    num_sources = len(source_class)
    chosen = _pick(rng, source_class, table)
    if (chosen < 0).any():
        raise ValueError("the shares of each class in tables/spectra.csv must sum to 1")
    rows = _rows(table, chosen)
    number_of = {name: number for number, name in enumerate(SPECTRAL_MODELS)} | {"": -1}

    def scattered(name: str) -> np.ndarray:
        return rows[name] + np.nan_to_num(rows[f"{name}_scatter"]) * _normal(rng, num_sources)

    nh = 10.0 ** scattered("log_nh")
    # The column of an extragalactic source is its host's and ours; that before a Galactic one is part of the table's.
    outside = np.isin(source_class, [CLASSES.index(name) for name in EXTRAGALACTIC])
    nh = np.minimum(nh + np.where(outside, nh_gal, 0.0), MAX_COLUMN)
    redshift = 10.0 ** (classes["log_redshift"] + classes["log_redshift_scatter"] * _normal(rng, num_sources))
    return SpectrumParameters(
        model=np.array([number_of[name] for name in rows["model"].tolist()]),
        gamma=scattered("gamma"),
        kt=np.clip(10.0 ** scattered("log_kt"), *KT_RANGE),
        second_model=np.array([number_of[name] for name in rows["second_model"].tolist()]),
        second_gamma=rows["second_gamma"],
        second_kt=np.clip(10.0 ** scattered("second_log_kt"), *KT_RANGE),
        second_share=np.nan_to_num(rows["second_share"]),
        nh=nh,
        second_nh=np.nan_to_num(nh * rows["second_nh_share"]),
        covering=np.nan_to_num(rows["covering"], nan=1.0),
        iron_width=np.nan_to_num(rows["iron_width"]),
        redshift=np.nan_to_num(redshift),
    ), np.nan_to_num(rows["log_flux_shift"])


def _positions(rng: np.random.Generator, classes: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Degrees from the Galactic plane, and ICRS positions."""
    num_sources = len(classes["latitude"])
    spread = classes["latitude_scatter"] * _normal(rng, num_sources)
    latitude = np.minimum(classes["latitude"] * 10.0**spread, 89.0)
    longitude = 360.0 * rng.random(num_sources)
    return latitude, *galactic_to_icrs(longitude, latitude * rng.choice([-1.0, 1.0], num_sources))


def galactic_to_icrs(longitude: np.ndarray, latitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Galactic (l, b) to ICRS (ra, dec); degrees, (N,) each."""
    b, pole = np.radians(latitude), np.radians(POLE_DEC)
    angle = np.radians(CELESTIAL_POLE_L - longitude)
    dec = np.arcsin(np.clip(np.sin(pole) * np.sin(b) + np.cos(pole) * np.cos(b) * np.cos(angle), -1.0, 1.0))
    ra = np.arctan2(np.cos(b) * np.sin(angle), np.cos(pole) * np.sin(b) - np.sin(pole) * np.cos(b) * np.cos(angle))
    return (np.degrees(ra) + POLE_RA) % 360.0, np.degrees(dec)


def icrs_to_galactic(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ICRS (ra, dec) to Galactic (l, b); degrees, (N,) each."""
    delta, pole = np.radians(dec), np.radians(POLE_DEC)
    angle = np.radians(ra - POLE_RA)
    b = np.arcsin(np.clip(np.sin(pole) * np.sin(delta) + np.cos(pole) * np.cos(delta) * np.cos(angle), -1.0, 1.0))
    longitude = np.arctan2(
        np.cos(delta) * np.sin(angle), np.cos(pole) * np.sin(delta) - np.sin(pole) * np.cos(delta) * np.cos(angle)
    )
    return (CELESTIAL_POLE_L - np.degrees(longitude)) % 360.0, np.degrees(b)
