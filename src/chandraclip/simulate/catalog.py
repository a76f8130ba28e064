"""A mock of real CSC detections: to each row of the catalogue, a simulated one of that source, seen that way.

Taken from a row: class, exposure, date, off-axis angle, flux, and whether it varied, how much and how deep; from all
rows of a source and its fit: the spectrum. Spectra are drawn from the class's population given the band fluxes and the
fitted slope and column: of many candidates one is kept, by its likelihood. So a faint source gets what its class has, a
bright one what was measured.

One per cent of the rows are planted: a rare source (ULX, TDE, FXT) takes the place of the real one, under a name of its
own.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import logit

from chandraclip.catalog.bands import BANDS
from chandraclip.catalog.photometry import CSC_PSF_SHARE
from chandraclip.data.schema import RARE_CLASSES, SOURCE_CLASSES
from chandraclip.data.splits import assign_splits
from chandraclip.simulate.catalog_rows import CatalogRows, read_catalog_rows
from chandraclip.simulate.detections import finish_table, observe_sources
from chandraclip.simulate.emission.absorption import transmission
from chandraclip.simulate.emission.incident import energy_flux, powerlaw
from chandraclip.simulate.emission.spectra import MAX_COLUMN, photon_spectra, unit_spectra
from chandraclip.simulate.instrument.area import ENERGY, effective_area
from chandraclip.simulate.instrument.detector import MJD_REFERENCE
from chandraclip.simulate.population.observations import Observations, draw_fluxes
from chandraclip.simulate.population.sources import (
    CLASSES,
    EXTRAGALACTIC,
    Sources,
    default_population,
    draw_sources,
    icrs_to_galactic,
)
from chandraclip.simulate.variability.epochs import draw_epochs, epochs_of_flux
from chandraclip.simulate.variability.kinds import CONSTANT
from chandraclip.simulate.variability.matching import Observed, information_of_odds, information_of_scatter

ROWS_PER_CHUNK = 500
NUM_CANDIDATES = 96
PLANTED_SHARE = 0.01  # of rows
MOST_PLANTED_ROWS, FEWEST_TDE_ROWS = 12, 3
FLUX_FLOOR = 0.05  # of the total flux: what calibration and the flux conversion add to a band's error
MOST_FIT_COUNTS = 400.0  # a simple power law describes no real spectrum better than so many counts can tell
VARIABLE_PROBABILITY = 0.9
RARELY = 0.02  # share of observations in which a source of a steady kind varies after all
LOG10_ODDS_OF_INDEX = np.array([3.0, 7.0, 18.0, 45.0])  # typical of var_index 7 to 10; var_prob is rounded to 1 there
GOOD_SHARE = 0.98  # of the time from the first to the last good-time interval
COARSE_EDGES = np.geomspace(0.3, 9.3, 81)  # keV


def simulate_catalog_chunk(
    detections: Path, sources: Path | None, seed: int, first: int, last: int, pileup: bool = True
) -> pa.Table:
    """Mock detections of sources `first` to `last` - 1 of the catalogue, by name; a pure function of its arguments.

    Args:
        detections, sources: tables, see `catalog_rows.read_catalog_rows`.
        seed: of the dataset.
        pileup: see `detections.simulate_chunk`.

    Returns:
        A table of `schema.TABLE_SCHEMA` with the catalogue's own name, obsid, obi and region_id. Planted sources are
        named `SIM J...`, have no source_class, and their true_class is one of `RARE_CLASSES`.

    Raises:
        InputFileError: a table cannot be used.
    """
    catalog = read_catalog_rows(detections, sources)
    planted = plant(catalog, seed)[first:last]
    part = catalog.chunk(first, last)
    rng, text_rng = (np.random.default_rng(seeds) for seeds in np.random.SeedSequence([seed, first, last]).spawn(2))
    rows = part.detections
    source = rows["source"].to_numpy()
    drawn = _planted(rng, _draw_given_catalog(rng, part), planted)
    rare = planted >= 0

    # Fluxes: what the catalogue has, drawn towards the source's mean where the error is large.
    typical, log_flux = _catalog_fluxes(rng, part)
    evolving = draw_epochs(
        rng, source, rows["mjd"].to_numpy(), drawn.long_term[source], drawn.long_term_amplitude[source]
    )
    epochs = epochs_of_flux(
        np.where(rare[source], evolving.log_flux, log_flux - np.log10(typical)[source]), drawn.long_term[source]
    )
    observations = Observations(
        source=source,
        theta=rows["theta"].to_numpy(),
        exposure=np.maximum(GOOD_SHARE * rows["exposure"].to_numpy(), 300.0),
        mjd=rows["mjd"].to_numpy(),
        instrument=instrument_of(rows["obsid"].to_numpy()),
        subarray=np.zeros(len(rows), dtype=bool),
        pointed=np.zeros(len(rows), dtype=bool),
    )

    def draw_flux(counts_per_flux: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sensitivity = counts_per_flux * observations.exposure
        own = draw_fluxes(rng, default_population(), drawn, observations, epochs.log_flux, sensitivity)
        return np.where(rare, own[0], typical), np.where(rare[source], own[1], 10.0**log_flux)

    probability = rows["var_prob_b"].to_numpy()
    chance = np.where(np.isnan(probability) | rare[source], drawn.activity[source], probability > VARIABLE_PROBABILITY)
    active = rng.random(len(rows)) < chance
    usual = np.clip(np.where(drawn.kind == CONSTANT, 0.0, drawn.activity), RARELY, 1.0 - RARELY)
    columns = observe_sources(
        rng,
        text_rng,
        drawn,
        observations,
        epochs,
        active,
        draw_flux,
        pileup=pileup,
        observed=lambda background: _observed_variability(rng, rows, rare[source], usual[source], background),
    )
    own_names = part.sources["name"].to_numpy(dtype=object)
    names = np.where(rare, "SIM" + pd.Series(own_names).str.replace(r"^\S+", "", regex=True), own_names)[
        source
    ].tolist()
    unlabelled = (part.sources["source_class"].to_numpy() < 0)[source]
    return finish_table(
        rng,
        columns
        | {
            "name": names,
            "obsid": rows["obsid"].to_numpy(),
            "obi": rows["obi"].to_numpy(),
            "region_id": rows["region_id"].to_numpy(),
            "split": assign_splits(names),
            "mjd_obs": observations.mjd,
            "tstart": 86400.0 * (observations.mjd - MJD_REFERENCE),
            "ra": drawn.ra[source],
            "dec": drawn.dec[source],
            "source_class": np.where(unlabelled, np.nan, columns["source_class"]),
        },
    )


def _observed_variability(
    rng: np.random.Generator, rows: pd.DataFrame, rare: np.ndarray, usual: np.ndarray, background: np.ndarray
) -> Observed:
    """How each row varied: what probability and index tell of the odds, and the scatter and extremes where given.

    Odds of 1 to 9 may be chance: such a row has varied if that is likely, given how often its source does. The highest
    index has no upper end, so that there the scatter, too, says how much.

    Args:
        usual: (D,) share of observations in which the source of each row varies.
        background: (D,) expected counts in the aperture.
    """
    probability, index = rows["var_prob_b"].to_numpy(), rows["var_index_b"].to_numpy()
    chance = usual * probability / (usual * probability + (1.0 - usual) * (1.0 - probability))
    perhaps = (probability > 0.5) & (rng.random(len(rows)) < chance)
    varied = (probability > VARIABLE_PROBABILITY) | perhaps
    log_odds = logit(np.clip(probability, 0.01, 0.995))
    strong = np.isfinite(index) & (index > 6)
    log_odds[strong] = LOG10_ODDS_OF_INDEX[np.clip(index[strong], 7, 10).astype(np.int64) - 7] * np.log(10.0)
    source = CSC_PSF_SHARE * np.maximum(rows["counts"].to_numpy(), 1.0)
    information = information_of_odds(log_odds, source + background)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = [
            rows[name].to_numpy() / rows["var_mean_b"].to_numpy() for name in ("var_sigma_b", "var_max_b", "var_min_b")
        ]
    scatter, peak, trough = (np.where(ratio > 0, ratio, np.nan) for ratio in ratios)
    information = np.where(index == 10, np.fmax(information, information_of_scatter(scatter)), information)
    known = varied & ~rare & np.isfinite(information)
    share = source / (source + background)
    return Observed(np.where(known, information, np.nan), share, scatter, peak, trough)


def plant(catalog: CatalogRows, seed: int) -> np.ndarray:
    """(S,) index into `CLASSES` of the rare source that takes a catalogue source's place; -1: none does.

    Sources come in the order of a hash of name and seed until one per cent of the rows is planted: TDEs where there are
    three observations or more, ULXs and fast transients elsewhere.
    """
    number = np.bincount(catalog.detections["source"], minlength=len(catalog.sources))
    keys = [hashlib.sha256(f"{seed} {name}".encode()).hexdigest() for name in catalog.sources["name"]]
    order = np.argsort(np.array(keys), kind="stable")
    order = order[number[order] <= MOST_PLANTED_ROWS]
    total = np.cumsum(number[order])
    chosen = order[: int(np.searchsorted(total, PLANTED_SHARE * len(catalog.detections))) + 1]
    rare = {name: CLASSES.index(name) for name in RARE_CLASSES}
    result = np.full(len(number), -1)
    turn = np.arange(len(chosen)) % 2
    other = np.where(turn == 0, rare["ULX"], rare["FXT"])
    result[chosen] = np.where((number[chosen] >= FEWEST_TDE_ROWS) & (turn == 0), rare["TDE"], other)
    return result


def instrument_of(obsid: np.ndarray) -> np.ndarray:
    """0 ACIS-I or 1 ACIS-S, half and half: the table does not tell; a hash of the obsid, so that a field has one."""
    return (np.asarray(obsid, dtype=np.uint64) * np.uint64(2654435761) >> np.uint64(13)).astype(np.int64) % 2


def _draw_given_catalog(rng: np.random.Generator, part: CatalogRows) -> Sources:
    """One source of the population for each of the catalogue's, drawn by its likelihood given the catalogue."""
    table = part.sources
    num_sources = len(table)
    labelled = table["source_class"].to_numpy()
    shares = np.bincount(labelled[labelled >= 0], minlength=len(SOURCE_CLASSES)) + 1.0
    guess = rng.choice(len(SOURCE_CLASSES), (num_sources, NUM_CANDIDATES), p=shares / shares.sum())
    source_class = np.where(labelled[:, None] >= 0, labelled[:, None], guess).ravel()
    candidates = draw_sources(rng, default_population(), source_class)
    _, latitude = icrs_to_galactic(table["ra"].to_numpy(), table["dec"].to_numpy())
    latitude = np.abs(latitude)
    disc = 2.2 / np.maximum(np.sin(np.radians(latitude)), 0.012)
    nh_gal = np.repeat(np.where(table["nh_gal"] > 0, table["nh_gal"], disc), NUM_CANDIDATES)
    outside = np.isin(source_class, [CLASSES.index(name) for name in EXTRAGALACTIC])
    column = np.where(outside, candidates.spectrum.nh - candidates.nh_gal + nh_gal, candidates.spectrum.nh)
    column = np.clip(column, 0.01, MAX_COLUMN)
    spectrum = replace(
        candidates.spectrum, nh=column, second_nh=candidates.spectrum.second_nh * column / candidates.spectrum.nh
    )
    log_likelihood = _spectral_likelihood(part, replace(candidates, spectrum=spectrum))
    log_likelihood += _variability_likelihood(part, candidates)
    noise = rng.gumbel(size=log_likelihood.shape)  # the largest of ln p + Gumbel noise is a draw from p
    best = np.arange(num_sources) * NUM_CANDIDATES + (log_likelihood + noise).argmax(axis=1)
    chosen = {name: getattr(candidates, name)[best] for name in Sources.__dataclass_fields__ if name != "spectrum"}
    place = {"ra": table["ra"].to_numpy(), "dec": table["dec"].to_numpy(), "latitude": latitude}
    return Sources(**(chosen | place | {"nh_gal": nh_gal[best], "spectrum": spectrum.take(best)}))


def _spectral_likelihood(part: CatalogRows, candidates: Sources) -> np.ndarray:
    """(S, NUM_CANDIDATES) ln likelihood of each candidate's spectrum: band fluxes and, where there is one, the fit."""
    lo, hi = COARSE_EDGES[:-1], COARSE_EDGES[1:]
    table = part.sources
    shape = (len(table), NUM_CANDIDATES)
    spectra = unit_spectra(photon_spectra(candidates.spectrum, lo, hi), lo, hi)
    measured = table[["flux_h", "flux_m", "flux_s"]].to_numpy()
    total = np.nansum(measured, axis=1, keepdims=True)
    error = np.hypot(table[["flux_error_h", "flux_error_m", "flux_error_s"]].to_numpy(), FLUX_FLOOR * total)
    usable = np.isfinite(measured) & (error > 0) & (total > 0)
    predicted = np.stack([energy_flux(spectra, lo, hi, BANDS[band]) for band in "hms"], axis=-1).reshape(*shape, 3)
    deviation = np.where(usable, (measured / np.maximum(total, 1e-30)), 0.0)[:, None, :] - predicted
    width = np.where(usable, error / np.maximum(total, 1e-30), np.inf)[:, None, :]
    result = -0.5 * ((deviation / width) ** 2).sum(axis=-1)

    fitted = np.flatnonzero(np.isfinite(table["powlaw_gamma"].to_numpy()) & np.isfinite(table["powlaw_nh"].to_numpy()))
    if fitted.size:
        rows = table.iloc[fitted]
        middle = 0.5 * (lo + hi)
        area = np.interp(middle, *_typical_area())
        fit = powerlaw(lo, hi, rows["powlaw_gamma"].to_numpy()) * transmission(middle, rows["powlaw_nh"].to_numpy())
        counts = np.minimum(np.nan_to_num(rows["counts"].to_numpy()), MOST_FIT_COUNTS)
        expected = _shares(fit * area)[:, None, :]
        found = _shares((spectra * area).reshape(*shape, len(lo))[fitted].reshape(-1, len(lo)))
        found = found.reshape(len(fitted), NUM_CANDIDATES, -1)
        result[fitted] -= 0.5 * counts[:, None] * ((found - expected) ** 2 / np.maximum(expected, 1e-3)).sum(axis=-1)
    return result


def _shares(detected: np.ndarray) -> np.ndarray:
    """(N, 8) shares of the photons in eight bands of 0.5 to 7 keV."""
    middle = np.sqrt(COARSE_EDGES[1:] * COARSE_EDGES[:-1])
    band = np.digitize(middle, np.geomspace(0.5, 7.0, 9)) - 1
    sums = np.stack([detected[:, band == number].sum(axis=1) for number in range(8)], axis=1)
    return sums / np.maximum(sums.sum(axis=1, keepdims=True), 1e-300)


def _typical_area() -> tuple[np.ndarray, np.ndarray]:
    """Energies (keV) and area of ACIS-I on axis in 2006."""
    return ENERGY, effective_area(np.array([0]), np.array([3.0]), np.array([53800.0]))[0]


def _variability_likelihood(part: CatalogRows, candidates: Sources) -> np.ndarray:
    """(S, NUM_CANDIDATES) ln likelihood of the kind of variability: what varied is variable, what did not seldom is."""
    probability = part.detections["var_prob_b"].to_numpy()
    source = part.detections["source"].to_numpy()
    num_sources = len(part.sources)
    varied = np.bincount(source, probability > VARIABLE_PROBABILITY, num_sources) > 0
    quiet = np.bincount(source, probability <= VARIABLE_PROBABILITY, num_sources)
    activity = np.where(candidates.kind == CONSTANT, 0.0, candidates.activity).reshape(num_sources, NUM_CANDIDATES)
    log_likelihood = np.minimum(quiet, 5.0)[:, None] * np.log(1.0 - 0.7 * activity)
    return log_likelihood + np.where(varied[:, None], np.log(np.maximum(activity, 1e-3)), 0.0)


def _planted(rng: np.random.Generator, sources: Sources, planted: np.ndarray) -> Sources:
    """The sources with the planted ones in their places (position and Galactic column stay)."""
    rows = np.flatnonzero(planted >= 0)
    if not rows.size:
        return sources
    rare = draw_sources(rng, default_population(), planted[rows])
    kept = ("ra", "dec", "latitude", "nh_gal")
    values = {}
    for name in Sources.__dataclass_fields__:
        if name != "spectrum":
            values[name] = getattr(sources, name).copy()
            if name not in kept:
                values[name][rows] = getattr(rare, name)
    spectrum = {}
    for name in sources.spectrum.__dataclass_fields__:
        spectrum[name] = getattr(sources.spectrum, name).copy()
        spectrum[name][rows] = getattr(rare.spectrum, name)
    return Sources(**values, spectrum=replace(sources.spectrum, **spectrum))


def _catalog_fluxes(rng: np.random.Generator, part: CatalogRows) -> tuple[np.ndarray, np.ndarray]:
    """Typical flux (S,) and log10 flux (D,) of the 0.5-7 keV band, erg/s/cm2.

    A measured flux holds its own noise, and the mock will add its own: it is drawn from between the measurement and the
    source's mean by their errors, with a scatter of 0.2 dex between epochs. An upper limit or a missing flux leaves the
    mean of the source, or, if it has none, that of the faintest tenth.
    """
    rows, num_sources = part.detections, len(part.sources)
    source = rows["source"].to_numpy()
    flux, error = rows["flux_b"].to_numpy(), rows["flux_error_b"].to_numpy()
    measured = (flux > 0) & (error > 0)
    weight = np.where(np.isfinite(flux) & (error > 0), rows["exposure"].to_numpy(), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(source, weight * np.nan_to_num(flux), num_sources) / np.bincount(source, weight, num_sources)
    faint = np.quantile(flux[measured], 0.1) if measured.any() else 1e-15
    typical = np.where(mean > 0, mean, faint)
    scatter = (10.0**0.2 - 1.0) * typical[source]
    share = np.where(measured, scatter**2 / (scatter**2 + np.nan_to_num(error, nan=np.inf) ** 2), 0.0)
    centre = share * np.where(measured, flux, 0.0) + (1.0 - share) * typical[source]
    spread = np.sqrt(1.0 - share) * scatter  # of the posterior
    drawn = centre + spread * rng.standard_normal(len(flux))
    return typical, np.log10(np.maximum(drawn, 0.1 * centre))
