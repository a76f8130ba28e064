"""Simulated datasets: the population, or a mock of the catalogue, cut into chunks and handed to the packaging."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from chandraclip.data.packaging import BuildResult, build_dataset
from chandraclip.data.shards import Chunk
from chandraclip.files import sha256_of
from chandraclip.ranks import WHOLE, Share
from chandraclip.simulate.shares import COUNTS, checked_shares

SIMULATED_ROWS_PER_CHUNK = 500  # so few that many processes end together, and that a chunk stays in the cache


def build_from_simulation(
    output: str | Path,
    num_detections: int,
    seed: int = 0,
    num_processes: int = 1,
    overwrite: bool = False,
    progress: bool = True,
    selection: str = "all",
    arf: str | Path | None = None,
    rmf: str | Path | None = None,
    pileup: bool = True,
    share: Share = WHOLE,
) -> BuildResult:
    """Simulates detections and writes them as a dataset.

    Args:
        output: the dataset's folder. Goes on where a killed build of the same parameters stopped.
        num_detections: rows in all.
        seed: of the simulator; with `num_detections` it sets every byte of the rows.
        num_processes: chunks are made and shards written by as many; the bytes do not depend on it.
        overwrite: replace what another build left in `output`.
        progress: show a progress bar.
        selection: the cuts of a published sample, one of `simulate.selection.SELECTIONS`.
        arf, rmf: a real response to observe with; the built-in ACIS without them.
        pileup: photons of one readout frame and cell are read as one event.
        share: see `data.packaging.build_dataset`.

    Raises:
        ValueError: num_detections < 1, only one of arf and rmf is given, or there is no such selection.
        InputFileError: `output` holds a build with other parameters, or files of another origin.
    """
    if num_detections < 1:
        raise ValueError(f"num_detections must be at least 1, not {num_detections}")
    if (arf is None) != (rmf is None):
        raise ValueError("a real response takes both an ARF and an RMF")
    parameters: dict[str, Any] = {
        "source": "simulation",
        "num_detections": num_detections,
        "seed": seed,
        "chunk_size": SIMULATED_ROWS_PER_CHUNK,
        "selection": selection,
        "arf_sha256": None if arf is None else sha256_of(Path(arf)),
        "rmf_sha256": None if rmf is None else sha256_of(Path(rmf)),
        "pileup": pileup,
    }
    sizes = [SIMULATED_ROWS_PER_CHUNK] * (num_detections // SIMULATED_ROWS_PER_CHUNK)
    if num_detections % SIMULATED_ROWS_PER_CHUNK:
        sizes.append(num_detections % SIMULATED_ROWS_PER_CHUNK)
    tasks = [partial(_simulate, seed, index, size, selection, arf, rmf, pileup) for index, size in enumerate(sizes)]
    return build_dataset(
        output, parameters, tasks, "cc-by-4.0", num_processes, overwrite, progress, work="simulate", share=share
    )


def build_planted(
    output: str | Path,
    num_detections: int,
    shares: Mapping[str, float] | None = None,
    counts: tuple[float, float] = COUNTS,
    seed: int = 0,
    num_processes: int = 1,
    overwrite: bool = False,
    progress: bool = True,
    share: Share = WHOLE,
) -> BuildResult:
    """Simulates detections with planted events (`simulate.transients`) and writes them as a dataset.

    Args:
        shares: kind -> share of the detections; None: `transients.SHARES`.
        counts: see `transients.simulate_transients`.
        output, num_detections, seed, num_processes, overwrite, progress, share: see `build_from_simulation`.

    Raises:
        ValueError: num_detections < 1, or shares or counts that are none.
        InputFileError: `output` holds another build.
    """
    if num_detections < 1:
        raise ValueError(f"num_detections must be at least 1, not {num_detections}")
    wanted = checked_shares(shares)
    parameters: dict[str, Any] = {
        "source": "planted",
        "num_detections": num_detections,
        "shares": wanted,
        "counts": list(counts),
        "seed": seed,
        "chunk_size": SIMULATED_ROWS_PER_CHUNK,
    }
    sizes = [SIMULATED_ROWS_PER_CHUNK] * (num_detections // SIMULATED_ROWS_PER_CHUNK)
    if num_detections % SIMULATED_ROWS_PER_CHUNK:
        sizes.append(num_detections % SIMULATED_ROWS_PER_CHUNK)
    tasks = [partial(_simulate_planted, seed, index, size, wanted, counts) for index, size in enumerate(sizes)]
    return build_dataset(
        output, parameters, tasks, "cc-by-4.0", num_processes, overwrite, progress, work="simulate", share=share
    )


def build_from_catalog(
    output: str | Path,
    detections: str | Path,
    sources: str | Path | None = None,
    seed: int = 0,
    num_processes: int = 1,
    overwrite: bool = False,
    progress: bool = True,
    pileup: bool = True,
    share: Share = WHOLE,
) -> BuildResult:
    """Simulates a mock of a catalogue, one detection for each of its rows, and writes it as a dataset.

    Args:
        detections, sources: tables of CSC, see `simulate.catalog_rows.read_catalog_rows`.
        output, seed, num_processes, overwrite, progress, pileup, share: see `build_from_simulation`.

    Raises:
        InputFileError: a table cannot be used, or `output` holds another build.
    """
    from chandraclip.simulate.catalog import ROWS_PER_CHUNK
    from chandraclip.simulate.catalog_rows import read_catalog_rows

    detections, sources = Path(detections), None if sources is None else Path(sources)
    catalog = read_catalog_rows(detections, sources)
    parameters = {
        "source": "catalog",
        "detections": detections.name,
        "sources": None if sources is None else sources.name,
        "num_detections": len(catalog.detections),
        "seed": seed,
        "chunk_size": ROWS_PER_CHUNK,
        "detections_sha256": sha256_of(detections),
        "sources_sha256": None if sources is None else sha256_of(sources),
        "pileup": pileup,
    }
    bounds = catalog.chunk_bounds(ROWS_PER_CHUNK)
    tasks = [partial(_simulate_catalog, detections, sources, seed, first, last, pileup) for first, last in bounds]
    return build_dataset(
        output, parameters, tasks, "cc-by-4.0", num_processes, overwrite, progress, work="simulate", share=share
    )


def _simulate(
    seed: int,
    index: int,
    num_detections: int,
    selection: str,
    arf: str | Path | None,
    rmf: str | Path | None,
    pileup: bool,
) -> Chunk:
    from chandraclip.simulate import simulate_chunk
    from chandraclip.simulate.instrument.response import builtin_instrument, instrument_from_files

    instrument = builtin_instrument() if arf is None or rmf is None else instrument_from_files(arf, rmf)
    table = simulate_chunk(seed, index, num_detections, selection=selection, instrument=instrument, pileup=pileup)
    return Chunk(table, list(dict.fromkeys(instrument.responses)))


def _simulate_planted(
    seed: int, index: int, num_detections: int, shares: Mapping[str, float], counts: tuple[float, float]
) -> Chunk:
    from chandraclip.simulate.instrument.response import builtin_instrument
    from chandraclip.simulate.transients import simulate_transients

    table = simulate_transients(seed, index, num_detections, shares, counts)
    return Chunk(table, list(builtin_instrument().responses))


def _simulate_catalog(detections: Path, sources: Path | None, seed: int, first: int, last: int, pileup: bool) -> Chunk:
    from chandraclip.simulate.catalog import simulate_catalog_chunk
    from chandraclip.simulate.instrument.response import builtin_instrument

    table = simulate_catalog_chunk(detections, sources, seed, first, last, pileup)
    return Chunk(table, list(builtin_instrument().responses))
