"""Simulated detections as rows of the dataset: the one place where population, detector and texts meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from chandraclip.catalog.measure import measure_catalog
from chandraclip.catalog.ragged import Ragged
from chandraclip.data.names import healpix_cell, iau_name
from chandraclip.data.schema import SOURCE_CLASSES, build_table
from chandraclip.data.splits import assign_splits
from chandraclip.simulate.emission.incident import SPECTRAL_MODELS
from chandraclip.simulate.fits import fit_spectra
from chandraclip.simulate.instrument.detector import (
    MJD_REFERENCE,
    background_shape,
    draw_background,
    draw_bad_columns,
    draw_good_time,
)
from chandraclip.simulate.instrument.exposures import record
from chandraclip.simulate.instrument.response import Instrument, builtin_instrument
from chandraclip.simulate.literature.source_texts import write_texts
from chandraclip.simulate.observe import Planting, Sight, look
from chandraclip.simulate.population.observations import Observations, draw_fluxes, draw_numbers, draw_observations
from chandraclip.simulate.population.selection import SELECTIONS
from chandraclip.simulate.population.sources import (
    CLASSES,
    Population,
    Sources,
    class_probabilities,
    default_population,
    draw_sources,
)
from chandraclip.simulate.variability.epochs import Epochs, draw_epochs
from chandraclip.simulate.variability.kinds import PERIODIC_KINDS, VARIABILITY_KINDS
from chandraclip.simulate.variability.matching import Observed

FIRST_OBSID = 100_000  # above Chandra's own
MAX_CHUNK_SIZE = 16_384
MAX_CHUNK = (2**31 - 1 - FIRST_OBSID) // MAX_CHUNK_SIZE - 1
MAX_ROUNDS = 200  # of a chunk, until enough rows pass a selection
MISSING_EVENTS_SHARE = 0.04
# CSC takes the limits of a source's counts from draws by MCMC, and significances scatter by that: among detections
# within 3' of the axis (50 to 1000 counts) by 3 %, with wider wings than a normal.
SIGNIFICANCE_SCATTER, SIGNIFICANCE_FREEDOM = 0.025, 4.0
RARE_SHARE = 0.01  # of sources
YOUNG_CLASSES = [CLASSES.index(name) for name in ("YSO", "HM-STAR")]  # found in star-forming regions

# (expected photons/s per erg/s/cm2 of each observation) -> typical flux a source (S,), flux an observation (D,)
FluxDraw = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
VariabilityOf = Callable[[np.ndarray], Observed]  # of expected background counts in each aperture (D,)


def simulate_chunk(
    seed: int,
    chunk: int,
    num_detections: int,
    class_exponent: float = 0.5,
    rare_share: float = RARE_SHARE,
    selection: str = "all",
    instrument: Instrument | None = None,
    pileup: bool = True,
    fits: bool = True,
    population: Population | None = None,
) -> pa.Table:
    """One chunk of simulated detections; a pure function of its arguments, the same bytes in whatever process.

    Args:
        seed: of the dataset, not negative.
        chunk: number of the chunk, from 0. Chunks share neither sources nor observations.
        num_detections: rows, 1 to 16,384.
        class_exponent: classes are drawn by their number of labelled CSC sources to this power: 1 as they are
            (45 % AGN, 1.2 % HMXB), 0 all alike.
        rare_share: of sources that are a ULX, a TDE or a fast X-ray transient.
        selection: one of `selection.SELECTIONS`; sources are simulated until enough detections pass.
        instrument: the built-in ACIS by default.
        pileup: photons of one frame and cell are read as one event.
        fits: fit spectra of 150 net counts and more; else their columns are null.
        population: the package's own tables by default.

    Returns:
        A table of `schema.TABLE_SCHEMA`. Every spectrum is the histogram of its event list; catalogue columns are
        measured from them. 4 % of rows have no events, 5 % of sources no text, rare sources no `source_class`.

    Raises:
        ValueError: an argument out of range, or a selection that hardly anything passes.
    """
    if not 1 <= num_detections <= MAX_CHUNK_SIZE:
        raise ValueError(f"num_detections of a chunk must be 1 to {MAX_CHUNK_SIZE}, not {num_detections}")
    if not 0 <= chunk <= MAX_CHUNK:
        raise ValueError(f"chunk must be 0 to {MAX_CHUNK}, not {chunk}")
    if selection not in SELECTIONS:
        raise ValueError(f"selection must be one of {', '.join(SELECTIONS)}, not {selection!r}")
    population = population or default_population()
    probabilities = class_probabilities(population, class_exponent, rare_share)
    parts: list[pa.Table] = []
    for number in range(MAX_ROUNDS):
        rng, text_rng = (np.random.default_rng(part) for part in np.random.SeedSequence([seed, chunk, number]).spawn(2))
        source_class, num_observations = draw_numbers(rng, population, num_detections, probabilities)
        sources = draw_sources(rng, population, source_class)
        observations = draw_observations(rng, population, source_class, num_observations)
        epochs = draw_epochs(
            rng,
            observations.source,
            observations.mjd,
            sources.long_term[observations.source],
            sources.long_term_amplitude[observations.source],
        )
        active = rng.random(num_detections) < sources.activity[observations.source]

        def draw_flux(
            counts_per_flux: np.ndarray,
            rng: np.random.Generator = rng,
            sources: Sources = sources,
            observations: Observations = observations,
            epochs: Epochs = epochs,
        ) -> tuple[np.ndarray, np.ndarray]:
            sensitivity = counts_per_flux * observations.exposure
            return draw_fluxes(rng, population, sources, observations, epochs.log_flux, sensitivity)

        columns = observe_sources(
            rng, text_rng, sources, observations, epochs, active, draw_flux, instrument, pileup, fits
        )
        names = [iau_name(*place, prefix="SIM") for place in zip(sources.ra.tolist(), sources.dec.tolist())]
        rows = [names[number] for number in observations.source]
        keys = {
            "name": rows,
            "obsid": np.zeros(num_detections, np.int64),
            "obi": np.zeros(num_detections, np.int16),
            "region_id": rng.integers(1, 300, num_detections),
            "split": assign_splits(rows),
            "mjd_obs": observations.mjd,
            "tstart": 86400.0 * (observations.mjd - MJD_REFERENCE),
            "ra": sources.ra[observations.source],
            "dec": sources.dec[observations.source],
        }
        columns |= keys
        part = finish_table(rng, columns)  # takes some event lists away, before the selection counts events
        parts.append(part.filter(pa.array(SELECTIONS[selection].passes(columns))))
        if sum(part.num_rows for part in parts) >= num_detections:
            break
    table = pa.concat_tables(parts).slice(0, num_detections)
    if table.num_rows < num_detections:
        raise ValueError(
            f"only {table.num_rows} of {MAX_ROUNDS * num_detections} simulated detections pass {selection!r}"
        )
    obsid = FIRST_OBSID + chunk * MAX_CHUNK_SIZE + np.arange(num_detections)
    index = table.schema.get_field_index("obsid")
    return table.set_column(index, table.schema.field(index), pa.array(obsid, pa.int32())).combine_chunks()


def observe_sources(
    rng: np.random.Generator,
    text_rng: np.random.Generator,
    sources: Sources,
    observations: Observations,
    epochs: Epochs,
    active: np.ndarray,
    draw_flux: FluxDraw,
    instrument: Instrument | None = None,
    pileup: bool = True,
    fits: bool = True,
    observed: VariabilityOf | None = None,
    planting: Planting | None = None,
) -> dict[str, Any]:
    """Columns of D detections but their keys: what is recorded, what the catalogue measures, the truth, the text.

    Args:
        active: (D,) bool, whether each varies within its observation, if it is of a kind that does.
        draw_flux: see `FluxDraw`.
        instrument, pileup, fits: see `simulate_chunk`.
        observed: how each is known to have varied, for mocks of real ones; see `VariabilityOf`.
        planting: see `observe.look`.
    """
    instrument = instrument or builtin_instrument()
    num_rows = len(observations.source)
    good_time = draw_good_time(rng, observations.exposure, observations.subarray, observations.instrument)
    livetime = good_time.livetime
    bad_columns = draw_bad_columns(rng, observations.theta)
    young = np.isin(sources.source_class, YOUNG_CLASSES)[observations.source]
    background, background_scale = draw_background(
        rng, observations.instrument, observations.theta, observations.mjd, livetime, young
    )
    how = None if observed is None else observed(background)
    sight = look(rng, sources, observations, epochs, instrument, good_time, bad_columns, active, how, planting)
    typical_flux, flux = draw_flux(sight.counts_per_flux)
    recorded = record(
        rng,
        sight.rates(flux, background / livetime),
        instrument,
        observations.instrument,
        good_time,
        observations.theta,
        bad_columns,
        pileup,
    )
    shape = background_shape(instrument.response.channel_energy_edges)
    background_counts = rng.poisson((background / background_scale)[:, None] * shape)

    gti_start, gti_stop = good_time.ragged()
    response_ids = [response.response_id for response in instrument.responses]
    columns: dict[str, Any] = {
        "spectrum_counts": _rows(recorded.counts),
        "spectrum_background": _rows(background_counts),
        "background_scale": background_scale.astype(np.float32),
        "exposure": livetime.astype(np.float32),
        "arf": _rows(sight.area.astype(np.float32)),
        "psf_frac_aper_b": np.full(num_rows, instrument.psf_share, dtype=np.float32),
        "response_id": [response_ids[number] for number in observations.instrument],
        "event_time": recorded.time,
        "event_energy": recorded.energy,
        "gti_start": gti_start,
        "gti_stop": gti_stop,
    }
    if not instrument.is_acis_grid:
        edges = np.tile(instrument.response.channel_energy_edges.astype(np.float32), (num_rows, 1))
        columns["channel_energy_edges"] = _rows(edges)
    columns |= measure_catalog(columns, dict(zip(response_ids, instrument.responses)))
    noise = SIGNIFICANCE_SCATTER * rng.standard_t(SIGNIFICANCE_FREEDOM, num_rows)
    columns["flux_significance_b"] = columns["flux_significance_b"] * np.exp(np.clip(noise, -0.4, 0.4))
    if fits:
        columns |= _fit(
            instrument, observations.instrument, recorded.counts, background_counts, background_scale, sight.area
        )
    columns |= _truth(sources, observations, sight, flux, recorded.pileup_fraction)
    columns |= write_texts(text_rng, sources, observations, typical_flux)
    return columns | {
        "theta": observations.theta,
        "livetime": livetime,
        "instrument": [instrument.names[number] for number in observations.instrument],
        "nh_gal": sources.nh_gal[observations.source],
    }


def _fit(
    instrument: Instrument,
    number: np.ndarray,
    counts: np.ndarray,
    background: np.ndarray,
    background_scale: np.ndarray,
    area: np.ndarray,
) -> dict[str, np.ndarray]:
    """`fit_spectra` of each detection through the matrix of its instrument."""
    result: dict[str, np.ndarray] = {}
    for index, response in enumerate(instrument.responses):
        rows = np.flatnonzero(number == index)
        fits = fit_spectra(
            counts[rows], background[rows], background_scale[rows], area[rows], response, instrument.psf_share
        )
        for name, values in fits.items():
            result.setdefault(name, np.full(len(number), np.nan))[rows] = values
    return result


def finish_table(rng: np.random.Generator, columns: dict[str, Any]) -> pa.Table:
    """The table of finished columns, and in `columns` some rows without events, as an archive has them."""
    present = rng.random(len(columns["name"])) >= MISSING_EVENTS_SHARE
    for name in ("event_time", "event_energy", "gti_start", "gti_stop"):
        columns[name] = _where(columns[name], present)
    columns["tstart"] = np.where(present, columns["tstart"], np.nan)
    columns["healpix"] = healpix_cell(columns["ra"], columns["dec"])
    return build_table(columns)


def simulate_detections(
    num_detections: int, seed: int = 0, chunk_size: int = 2000, **options: Any
) -> Iterator[pa.Table]:
    """`num_detections` rows in tables of `chunk_size` (the last may be shorter); memory does not grow with the number.

    Args:
        options: of `simulate_chunk`.

    Raises:
        ValueError: as `simulate_chunk`, or num_detections is negative.
    """
    if num_detections < 0:
        raise ValueError(f"num_detections must not be negative, got {num_detections}")
    for chunk, begin in enumerate(range(0, num_detections, chunk_size)):
        yield simulate_chunk(seed, chunk, min(chunk_size, num_detections - begin), **options)


def _rows(matrix: np.ndarray) -> Ragged:
    """A matrix as a list column."""
    return Ragged(matrix.ravel(), matrix.shape[1] * np.arange(len(matrix) + 1))


def _where(lists: Ragged, present: np.ndarray) -> Ragged:
    """The lists, null and empty where not `present`."""
    lengths = np.diff(lists.offsets)
    offsets = np.concatenate([[0], np.cumsum(np.where(present, lengths, 0))])
    return Ragged(lists.values[np.repeat(present, lengths)], offsets, present)


def _truth(
    sources: Sources, observations: Observations, sight: Sight, flux: np.ndarray, pileup_fraction: np.ndarray
) -> dict[str, Any]:
    """source_class and the true_* columns; of two components of a kind (two temperatures), the main one counts."""
    source, spectrum = observations.source, sight.spectrum
    powerlaw = SPECTRAL_MODELS.index("powerlaw")
    main_is_powerlaw, second_is_powerlaw = spectrum.model == powerlaw, spectrum.second_model == powerlaw
    has_second_kt = (spectrum.second_model >= 0) & ~second_is_powerlaw
    labels = np.array(
        [[first, *(f"{first}+{second}" for second in SPECTRAL_MODELS)] for first in SPECTRAL_MODELS], dtype=object
    )
    source_class = sources.source_class[source]
    known = source_class < len(SOURCE_CLASSES)
    periodic = np.isin(sight.kind, PERIODIC_KINDS)
    variable = sight.variable
    period, event_time, event_duration = (np.full(len(source), np.nan) for _ in range(3))
    if variable.event_time is None:
        period = np.where(periodic, sources.period[source], np.nan)
    else:
        event_time[variable.row], event_duration[variable.row] = variable.event_time, variable.event_duration
        period[variable.row] = np.where(np.isfinite(variable.second.period), variable.second.period, np.nan)
    return {
        "source_class": np.where(known, source_class, np.nan),
        "true_class": np.array(CLASSES, dtype=object)[source_class].tolist(),
        "true_nh": spectrum.nh,
        "true_gamma": np.where(
            main_is_powerlaw, spectrum.gamma, np.where(second_is_powerlaw, spectrum.second_gamma, np.nan)
        ),
        "true_kt": np.where(main_is_powerlaw, np.where(has_second_kt, spectrum.second_kt, np.nan), spectrum.kt),
        "true_flux_b": flux,
        "true_period": period,
        "true_pileup_fraction": pileup_fraction,
        "true_spectrum": labels[spectrum.model, spectrum.second_model + 1].tolist(),
        "true_variability": np.array(VARIABILITY_KINDS, dtype=object)[sight.kind].tolist(),
        "true_event_time": event_time,
        "true_event_duration": event_duration,
    }
