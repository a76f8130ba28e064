"""Sources observed several times within two years that change in a stated way, and twins of equal counts that do not.

What tells change from noise is measured on these; the population's own datasets hold all kinds of sources together.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from chandraclip.data.names import healpix_cell, iau_name
from chandraclip.data.schema import build_table
from chandraclip.data.splits import assign_splits
from chandraclip.simulate.detections import observe_sources
from chandraclip.simulate.instrument.detector import MJD_REFERENCE
from chandraclip.simulate.population.observations import MJD_RANGE, draw_observations
from chandraclip.simulate.population.sources import CLASSES, default_population, draw_sources
from chandraclip.simulate.variability.epochs import (
    CALIBRATION_SCATTER,
    LONG_TERM_KINDS,
    draw_epochs,
    epochs_of_flux,
)

CAMPAIGN = 730.0  # d, from the first to the last observation at most
# kind of change -> classes that change so
KINDS = {"decay": ("TDE",), "states": ("LMXB", "HMXB"), "flares": ("YSO", "LM-STAR"), "red_noise": ("AGN",)}
TWINS = ("total", "each")
MIN_CHANGE = 0.3  # dex between the extremes: of two states or flares, a source may show one in all observations
EXPOSURES = (1.0e3, 2.0e5)  # s
FIRST_OBSID = 1_000_000
_ATTEMPTS = 40


def simulate_campaigns(
    seed: int,
    kind: str,
    num_sources: int,
    num_observations: int = 5,
    counts: tuple[float, float] = (50.0, 5000.0),
    twin: str | None = None,
    pileup: bool = False,
) -> pa.Table:
    """Sources of one kind of change, or their twins.

    Args:
        seed: equal seeds give the same sources; they and their twins differ in nothing but what `twin` says.
        kind: of `KINDS`; every source of it changes by `MIN_CHANGE` at least.
        num_sources: S.
        num_observations: of each, at different off-axis angles and exposures, 2 at least.
        counts: expected source counts of all observations of a source together, drawn evenly in the log between these.
        twin: None: the sources that change. ``"total"``: they have the same observations and expected counts in all,
            and one flux. ``"each"``: one flux, and exposures that give them the expected counts of each observation
            (within `EXPOSURES`).
        pileup: as `simulate_chunk`.

    Returns:
        A table of `schema.TABLE_SCHEMA`, S x num_observations rows, without variability within an observation, fits and
        missing photon lists.

    Raises:
        ValueError: an argument out of range.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    if twin is not None and twin not in TWINS:
        raise ValueError(f"twin must be one of {', '.join(TWINS)} or None, not {twin!r}")
    if num_sources < 1 or num_observations < 2 or not 0 < counts[0] <= counts[1]:
        raise ValueError(
            f"{num_sources} sources, {num_observations} observations, {counts} counts: at least 1, 2 and more than 0"
        )
    rng, photon_rng, text_rng = (np.random.default_rng(part) for part in np.random.SeedSequence([seed]).spawn(3))
    population = default_population()
    source_class = rng.choice([CLASSES.index(name) for name in KINDS[kind]], num_sources)
    sources = draw_sources(rng, population, source_class)
    long_term = np.full(num_sources, LONG_TERM_KINDS.index(kind))
    amplitude = np.where(sources.long_term == long_term, sources.long_term_amplitude, np.median(_amplitudes(kind)))
    observations = draw_observations(rng, population, source_class, np.full(num_sources, num_observations))
    source, num_rows = observations.source, len(observations.source)
    start = rng.uniform(MJD_RANGE[0], MJD_RANGE[1] - CAMPAIGN, num_sources)[source]
    mjd = start + CAMPAIGN * np.sort(rng.random((num_sources, num_observations)), axis=1).ravel()
    log_flux = np.zeros((num_sources, num_observations))
    missing = np.arange(num_sources)
    for _ in range(_ATTEMPTS):
        drawn = draw_epochs(rng, source, mjd, long_term[source], amplitude[source]).log_flux.reshape(log_flux.shape)
        log_flux[missing] = drawn[missing]
        missing = np.flatnonzero(np.ptp(log_flux, axis=1) < MIN_CHANGE)
        if missing.size == 0:
            break
    log_flux[missing, -1] += MIN_CHANGE  # a quiet source's last observation
    total = np.exp(rng.uniform(np.log(counts[0]), np.log(counts[1]), num_sources))
    steady = CALIBRATION_SCATTER * rng.standard_normal(num_rows)

    exposure = observations.exposure
    shape = log_flux.ravel()
    if twin == "each":
        mean = np.log10((10.0**log_flux * exposure.reshape(log_flux.shape)).sum(axis=1))
        mean -= np.log10(exposure.reshape(log_flux.shape).sum(axis=1))
        exposure = np.clip(exposure * 10.0 ** (shape - mean[source]), *EXPOSURES)
    epochs = epochs_of_flux(shape, long_term[source])
    if twin is not None:
        epochs = epochs_of_flux(steady, np.full(num_rows, LONG_TERM_KINDS.index("steady")))
    observations = replace(observations, mjd=mjd, exposure=exposure)

    def draw_flux(counts_per_flux: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        expected = counts_per_flux * observations.exposure * 10.0**epochs.log_flux
        typical = total / np.bincount(source, expected)
        return typical, typical[source] * 10.0**epochs.log_flux

    columns = observe_sources(
        photon_rng,
        text_rng,
        sources,
        observations,
        epochs,
        np.zeros(num_rows, bool),
        draw_flux,
        pileup=pileup,
        fits=False,
    )
    names = [iau_name(*place, prefix="SIM") for place in zip(sources.ra.tolist(), sources.dec.tolist())]
    rows = [names[number] for number in source]
    columns |= {
        "name": rows,
        "obsid": FIRST_OBSID + np.arange(num_rows),
        "obi": np.zeros(num_rows, np.int16),
        "region_id": np.ones(num_rows, np.int32),
        "split": assign_splits(rows),
        "mjd_obs": mjd,
        "tstart": 86400.0 * (mjd - MJD_REFERENCE),
        "ra": sources.ra[source],
        "dec": sources.dec[source],
    }
    columns["healpix"] = healpix_cell(columns["ra"], columns["dec"])
    return build_table(columns)


def _amplitudes(kind: str) -> np.ndarray:
    table = default_population().epochs
    return table["amplitude"][table["kind"] == kind]
