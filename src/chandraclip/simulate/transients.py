"""Planted flares, dips, eclipses, pulsations and fast transients among constant detections, alike in all else.

Sources, spectra, counts, exposures and backgrounds are drawn before the kinds, so neither counts nor colours tell them;
time-averaged spectra are alike too (`variability.planted`). The detector is ideal: piled-up photons would give bursts
away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa

from chandraclip.data.names import healpix_cell, iau_name
from chandraclip.data.schema import build_table
from chandraclip.data.splits import assign_splits
from chandraclip.simulate.detections import FIRST_OBSID, MAX_CHUNK, MAX_CHUNK_SIZE, RARE_SHARE, observe_sources
from chandraclip.simulate.instrument.detector import MJD_REFERENCE, GoodTime
from chandraclip.simulate.population.observations import draw_observations
from chandraclip.simulate.population.sources import CLASSES, class_probabilities, default_population, draw_sources
from chandraclip.simulate.shares import COUNTS, checked_shares
from chandraclip.simulate.variability.epochs import LONG_TERM_KINDS, epochs_of_flux
from chandraclip.simulate.variability.kinds import CONSTANT, VARIABILITY_KINDS, Variable
from chandraclip.simulate.variability.planted import plant

EXPOSURE, EXPOSURE_SCATTER = 3.0e4, 0.15  # s, dex
EXPOSURES = (1.0e4, 1.0e5)  # s


def simulate_transients(
    seed: int,
    chunk: int,
    num_detections: int,
    shares: Mapping[str, float] | None = None,
    counts: tuple[float, float] = COUNTS,
) -> pa.Table:
    """One chunk of detections, of a source each; a pure function of its arguments.

    Args:
        seed: of the dataset, not negative. chunk: number of the chunk, from 0.
        num_detections: rows, 1 to 16,384.
        shares: kind -> share of the detections that have it planted; the rest is constant. None: `shares.SHARES`.
        counts: of the source, expected in the good time, drawn evenly in the log between these.

    Returns:
        A table of `schema.TABLE_SCHEMA`; `true_variability`, `true_event_time`, `true_event_duration` and `true_period`
        are what was planted.

    Raises:
        ValueError: an argument out of range.
    """
    wanted = checked_shares(shares)
    if not 1 <= num_detections <= MAX_CHUNK_SIZE or not 0 <= chunk <= MAX_CHUNK:
        raise ValueError(f"{num_detections} detections of chunk {chunk}: 1 to {MAX_CHUNK_SIZE}, and 0 to {MAX_CHUNK}")
    if not 0 < counts[0] <= counts[1]:
        raise ValueError(f"counts {counts}: two numbers above 0 in order")
    streams = np.random.SeedSequence([seed, chunk]).spawn(3)
    rng, photon_rng, text_rng = (np.random.default_rng(part) for part in streams)
    population = default_population()
    probabilities = class_probabilities(population, 0.5, RARE_SHARE)
    source_class = rng.choice(len(CLASSES), num_detections, p=probabilities / probabilities.sum())
    sources = draw_sources(rng, population, source_class)
    observations = draw_observations(rng, population, source_class, np.ones(num_detections, np.int64))
    exposure = np.clip(EXPOSURE * 10.0 ** (EXPOSURE_SCATTER * rng.standard_normal(num_detections)), *EXPOSURES)
    observations = replace(observations, exposure=exposure, subarray=np.zeros(num_detections, bool))
    expected = np.exp(rng.uniform(np.log(counts[0]), np.log(counts[1]), num_detections))
    numbers = np.array([CONSTANT, *(VARIABILITY_KINDS.index(kind) for kind in wanted)])
    kind = rng.choice(numbers, num_detections, p=[max(1.0 - sum(wanted.values()), 0.0), *wanted.values()])
    steady = np.full(num_detections, LONG_TERM_KINDS.index("steady"))

    def draw_flux(counts_per_flux: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        flux = expected / (counts_per_flux * observations.exposure)
        return flux, flux

    def planting(rng: np.random.Generator, good_time: GoodTime) -> Variable:
        return plant(rng, kind, expected, good_time)

    columns = observe_sources(
        photon_rng,
        text_rng,
        sources,
        observations,
        epochs_of_flux(np.zeros(num_detections), steady),
        np.zeros(num_detections, bool),
        draw_flux,
        pileup=False,
        fits=False,
        planting=planting,
    )
    names = [iau_name(*place, prefix="SIM") for place in zip(sources.ra.tolist(), sources.dec.tolist())]
    columns |= {
        "name": names,
        "obsid": FIRST_OBSID + chunk * MAX_CHUNK_SIZE + np.arange(num_detections),
        "obi": np.zeros(num_detections, np.int16),
        "region_id": np.ones(num_detections, np.int32),
        "split": assign_splits(names),
        "mjd_obs": observations.mjd,
        "tstart": 86400.0 * (observations.mjd - MJD_REFERENCE),
        "ra": sources.ra,
        "dec": sources.dec,
    }
    columns["healpix"] = healpix_cell(columns["ra"], columns["dec"])
    return build_table(columns)
