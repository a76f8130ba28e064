"""Simulated detections as rows of the dataset: the one place where population, detector and texts meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from chandraclip.data.healpix import healpix_nested
from chandraclip.data.measure import measure_catalog
from chandraclip.data.names import iau_name
from chandraclip.data.response import Response
from chandraclip.data.schema import BANDS, Ragged, build_table
from chandraclip.data.splits import assign_splits

from .detector import (
    FIRST_CHANNEL,
    LAST_CHANNEL,
    MJD_REFERENCE,
    background_shape,
    draw_background,
    draw_good_time,
    record_events,
)
from .emission import SPECTRAL_MODELS, energy_flux
from .fits import fit_spectra
from .population import Sources, draw_fluxes, draw_observations, draw_sources
from .response import CHANNEL_EDGES, ENERGY_HI, ENERGY_LO, INSTRUMENTS, builtin_response, effective_area
from .texts import write_summaries
from .variability import CONSTANT, VARIABILITY_KINDS, draw_shapes

FIRST_OBSID = 100_000  # above Chandra's own
MAX_CHUNK_SIZE = 16_384
MAX_CHUNK = (2**31 - 1 - FIRST_OBSID) // MAX_CHUNK_SIZE - 1
MISSING_EVENTS_SHARE = 0.04
MISSING_TEXT_SHARE = 0.05  # of sources: nobody wrote about them


def simulate_chunk(seed: int, chunk: int, num_detections: int, class_exponent: float = 0.5) -> pa.Table:
    """One chunk of simulated detections; a pure function of its arguments, the same bytes in whatever process.

    Args:
        seed: of the dataset, not negative.
        chunk: number of the chunk, from 0. Chunks share neither sources nor observations.
        num_detections: rows, 1 to 16,384.
        class_exponent: classes are drawn by their number of labelled CSC sources to this power: 1 as they are
            (45 % AGN, 1.2 % HMXB), 0 all alike.

    Returns:
        A table of `schema.TABLE_SCHEMA`. Every spectrum is the histogram of its event list; catalogue columns are
        measured from them. Spectral fits are null below 150 net counts and apec_* always; 4 % of rows have no events,
        5 % of sources no text.

    Raises:
        ValueError: an argument out of range.
    """
    if not 1 <= num_detections <= MAX_CHUNK_SIZE:
        raise ValueError(f"num_detections of a chunk must be 1 to {MAX_CHUNK_SIZE}, not {num_detections}")
    if not 0 <= chunk <= MAX_CHUNK:
        raise ValueError(f"chunk must be 0 to {MAX_CHUNK}, not {chunk}")
    rng, text_rng = (np.random.default_rng(part) for part in np.random.SeedSequence([seed, chunk]).spawn(2))
    sources = draw_sources(rng, num_detections, class_exponent)
    observations = draw_observations(rng, sources)
    source = observations.source

    area = effective_area(observations.instrument, observations.theta, observations.mjd)
    good_time = draw_good_time(rng, observations.exposure)
    spectra = sources.spectra()
    counts_per_flux = _fold(spectra[source] * area) * good_time.livetime[:, None]
    in_band = _in_band()
    mean_flux, flux = draw_fluxes(rng, sources, observations, counts_per_flux[:, in_band].sum(axis=1))

    background_counts, background_scale = draw_background(
        rng, observations.instrument, observations.theta, good_time.livetime
    )
    expected_background = background_counts[:, None] * background_shape()
    expected = counts_per_flux * flux[:, None] + expected_background
    counts = rng.poisson(expected)
    background = rng.poisson(expected_background / background_scale[:, None])

    active = rng.random(num_detections) < sources.activity[source]
    kind = np.where(active, sources.kind[source], CONSTANT)
    shape = draw_shapes(rng, kind, sources.period[source], good_time.stop[:, -1], sources.strength[source])
    background_share = np.divide(expected_background, expected, out=np.zeros_like(expected), where=expected > 0)
    event_time, event_energy = record_events(rng, counts, shape, background_share, good_time)
    gti_start, gti_stop = good_time.ragged()
    has_events = rng.random(num_detections) >= MISSING_EVENTS_SHARE

    columns: dict[str, Any] = {
        "spectrum_counts": _rows(counts),
        "spectrum_background": _rows(background),
        "background_scale": background_scale.astype(np.float32),
        "exposure": good_time.livetime.astype(np.float32),
        "arf": _rows(area.astype(np.float32)),
        "response_id": [_redistribution().response_id] * num_detections,
        "event_time": _where(event_time, has_events),
        "event_energy": _where(event_energy, has_events),
        "gti_start": _where(gti_start, has_events),
        "gti_stop": _where(gti_stop, has_events),
    }
    columns |= measure_catalog(columns, {_redistribution().response_id: builtin_response()})
    columns |= fit_spectra(counts, background, background_scale, area)
    columns |= _truth(sources, source, kind, flux)

    name = [iau_name(*position, prefix="SIM") for position in zip(sources.ra.tolist(), sources.dec.tolist())]
    names = [name[row] for row in source]
    hard_share = energy_flux(spectra, ENERGY_LO, ENERGY_HI, BANDS["h"])
    summary = write_summaries(text_rng, sources, mean_flux, hard_share)
    has_text = text_rng.random(len(name)) >= MISSING_TEXT_SHARE
    texts = [summary[row] if has_text[row] else None for row in source]
    written = np.array([text is not None for text in texts])
    tstart = 86400.0 * (observations.mjd - MJD_REFERENCE)
    return build_table(
        columns
        | {
            "name": names,
            "obsid": FIRST_OBSID + chunk * MAX_CHUNK_SIZE + np.arange(num_detections),
            "obi": np.zeros(num_detections, np.int16),
            "region_id": rng.integers(1, 300, num_detections),
            "split": assign_splits(names),
            "healpix": healpix_nested(sources.ra, sources.dec)[source],
            "ra": sources.ra[source],
            "dec": sources.dec[source],
            "theta": observations.theta,
            "mjd_obs": observations.mjd,
            "livetime": good_time.livetime,
            "instrument": [INSTRUMENTS[number] for number in observations.instrument],
            "nh_gal": sources.nh_gal[source],
            "source_class": sources.source_class[source],
            "tstart": np.where(has_events, tstart, np.nan),
            "summary": texts,
            "bibcodes": Ragged(np.array([], dtype=str), np.zeros(num_detections + 1, np.int64), written),
            "summary_model": [None if text is None else "simulated" for text in texts],
            "prompt_version": [None if text is None else "simulated-1" for text in texts],
        }
    )


def simulate_detections(
    num_detections: int, seed: int = 0, chunk_size: int = 2000, class_exponent: float = 0.5
) -> Iterator[pa.Table]:
    """`num_detections` rows in tables of `chunk_size` (the last may be shorter); memory does not grow with the number.

    Raises:
        ValueError: as `simulate_chunk`, or num_detections is negative.
    """
    if num_detections < 0:
        raise ValueError(f"num_detections must not be negative, got {num_detections}")
    for chunk, begin in enumerate(range(0, num_detections, chunk_size)):
        yield simulate_chunk(seed, chunk, min(chunk_size, num_detections - begin), class_exponent)


@cache
def _redistribution() -> Response:
    """The RMF alone: unit area, since every detection has its own ARF."""
    response = builtin_response()
    return replace(response, arf=np.ones_like(response.arf))


def _fold(detected: np.ndarray) -> np.ndarray:
    """(D, 450) photons/s/bin to (D, 1024) counts/s/channel, kept in the detector's channels."""
    counts = _redistribution().fold(detected)
    counts[:, : FIRST_CHANNEL - 1] = 0.0
    counts[:, LAST_CHANNEL:] = 0.0
    return counts


def _in_band() -> np.ndarray:
    """(1024,) bool, channels whose middle is in 0.5-7 keV."""
    middle = 0.5 * (CHANNEL_EDGES[1:] + CHANNEL_EDGES[:-1])
    low, high = BANDS["b"]
    return (middle >= low) & (middle < high)


def _rows(matrix: np.ndarray) -> Ragged:
    """A matrix as a list column."""
    return Ragged(matrix.ravel(), matrix.shape[1] * np.arange(len(matrix) + 1))


def _where(lists: Ragged, present: np.ndarray) -> Ragged:
    """The lists, null and empty where not `present`."""
    lengths = np.diff(lists.offsets)
    offsets = np.concatenate([[0], np.cumsum(np.where(present, lengths, 0))])
    return Ragged(lists.values[np.repeat(present, lengths)], offsets, present)


def _truth(sources: Sources, source: np.ndarray, kind: np.ndarray, flux: np.ndarray) -> dict[str, Any]:
    """The true_* columns; of two components of a kind (two temperatures), the main one counts."""
    powerlaw = SPECTRAL_MODELS.index("powerlaw")
    main_is_powerlaw, second_is_powerlaw = sources.model == powerlaw, sources.second_model == powerlaw
    gamma = np.where(main_is_powerlaw, sources.gamma, np.where(second_is_powerlaw, sources.second_gamma, np.nan))
    has_second_kt = (sources.second_model >= 0) & ~second_is_powerlaw
    kt = np.where(main_is_powerlaw, np.where(has_second_kt, sources.second_kt, np.nan), sources.kt)
    labels = np.array(
        [[first, *(f"{first}+{second}" for second in SPECTRAL_MODELS)] for first in SPECTRAL_MODELS], dtype=object
    )
    return {
        "true_nh": sources.nh[source],
        "true_gamma": gamma[source],
        "true_kt": kt[source],
        "true_flux_b": flux,
        "true_period": np.where(kind == CONSTANT, np.nan, sources.period[source]),
        "true_spectrum": labels[sources.model, sources.second_model + 1][source].tolist(),
        "true_variability": np.array(VARIABILITY_KINDS, dtype=object)[kind].tolist(),
    }
