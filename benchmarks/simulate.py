#!/usr/bin/env python
"""Simulated detections a second: spectra, events and photon-based catalogue columns; spectral fits apart.

Ours against the obvious implementation, one detection after another, of the part that has one: photons drawn from the
folded spectrum of each detection and binned into its counts. Both see the same detected spectra; they must agree on the
counts in 0.5-7 keV within Poisson errors. The rate of the whole simulator, with catalogue columns and texts, stands
beside, for one process and for two, and the bytes of both must be the same: of the population as it is, and of one made
brighter, so that its median detection has 100 net counts. Last, the peak memory of `scripts/build_dataset.py simulate`
for two numbers of detections, which must not grow with the number.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one thread a process

import numpy as np
import pyarrow as pa

from chandraclip.catalog.ragged import Ragged
from chandraclip.files import write_json
from chandraclip.simulate.detections import simulate_chunk
from chandraclip.simulate.fits import fit_spectra
from chandraclip.simulate.instrument.area import ENERGY_HI, ENERGY_LO
from chandraclip.simulate.instrument.photons import draw_channels, draw_energies
from chandraclip.simulate.instrument.response import builtin_instrument
from chandraclip.simulate.population.sources import Population, default_population

CHUNK = 500
BRIGHTER = 0.4  # dex of flux, which takes the median detection to 100 net counts
MEMORY_SIZES = (24_000, 72_000)  # both fill a shard, whose size is the peak
SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "build_dataset.py"


def population(brighter: float) -> Population:
    """The default one, its classes brighter by so many dex."""
    classes = default_population().classes
    return replace(default_population(), classes={**classes, "log_flux": classes["log_flux"] + brighter})


def make_chunk(seed: int, brighter: float, number: int) -> tuple[str, int, float]:
    """Digest of a chunk, its photons, and the median of its net counts."""
    table = simulate_chunk(seed, number, CHUNK, selection="all", fits=False, population=population(brighter))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    counts = Ragged.from_arrow(table["spectrum_counts"]).values
    median = float(np.median(table["src_cnts_aper_b"].to_numpy()))
    return hashlib.sha256(sink.getvalue()).hexdigest(), int(counts.sum()), median


def rate_of(
    num_processes: int, seed: int, num_chunks: int, brighter: float = 0.0
) -> tuple[float, list[tuple[str, int, float]]]:
    """Detections a second, the start of the processes left out, and what each chunk gave."""
    tasks = partial(make_chunk, seed, brighter)
    if num_processes == 1:
        tasks(num_chunks)  # tables and caches
        begin = perf_counter()
        results = [tasks(number) for number in range(num_chunks)]
        return num_chunks * CHUNK / (perf_counter() - begin), results
    with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn")) as pool:
        list(pool.map(tasks, [num_chunks] * (2 * num_processes)))
        begin = perf_counter()
        results = list(pool.map(tasks, range(num_chunks)))
        return num_chunks * CHUNK / (perf_counter() - begin), results


def peak_memory(num_detections: int, seed: int) -> float:
    """MiB of the process that builds a dataset of so many detections."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--num_detections", str(num_detections), "--seed", str(seed), f"{folder}/data"]
        command = [sys.executable, str(SCRIPT), "simulate", *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)  # of this process alone, which `subprocess` does not tell
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with status {process.returncode}")
    return usage.ru_maxrss / 1024


def one_after_another(rng: np.random.Generator, detected: np.ndarray, number: np.ndarray) -> np.ndarray:
    """(N, C) counts: for each detection, energies by `rng.choice`, each channel by its row of the matrix."""
    response = builtin_instrument().response
    dense = response.matrix.toarray()
    dense /= dense.sum(axis=1, keepdims=True)
    counts = np.zeros((len(detected), response.num_channels), dtype=np.int64)
    for row, (spectrum, photons) in enumerate(zip(detected, number)):
        bins = rng.choice(len(spectrum), int(photons), p=spectrum / spectrum.sum())
        channels = [rng.choice(response.num_channels, p=dense[index]) for index in bins]
        counts[row] = np.bincount(channels, minlength=response.num_channels)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num_chunks", type=int, default=48, help="of 500 detections (default: 48)")
    parser.add_argument("--num_direct", type=int, default=60, help="detections one after another (default: 60)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    alone, first = rate_of(1, options.seed, options.num_chunks)
    both, second = rate_of(2, options.seed, options.num_chunks)
    same_bytes = [digest for digest, _, _ in first] == [digest for digest, _, _ in second]

    bright, third = rate_of(1, options.seed, options.num_chunks, BRIGHTER)
    bright_both, fourth = rate_of(2, options.seed, options.num_chunks, BRIGHTER)
    same_bytes &= [digest for digest, _, _ in third] == [digest for digest, _, _ in fourth]

    table = simulate_chunk(options.seed, 0, CHUNK, fits=False)
    columns = [Ragged.from_arrow(table[name]).values for name in ("spectrum_counts", "spectrum_background", "arf")]
    counts, background, area = (values.reshape(CHUNK, -1) for values in columns)
    scale = table["background_scale"].to_numpy()
    begin = perf_counter()
    fitted = np.isfinite(fit_spectra(counts, background, scale, area.astype(np.float64))["powlaw_gamma"]).sum()
    fits = float(fitted) / (perf_counter() - begin)

    rng = np.random.default_rng(options.seed)
    detected = area[: options.num_direct] * (0.5 * (ENERGY_LO + ENERGY_HI)) ** -1.8
    number = rng.poisson(100, options.num_direct)
    begin = perf_counter()
    direct = one_after_another(rng, detected, number)
    direct_s = perf_counter() - begin
    begin = perf_counter()
    energy = draw_energies(rng, detected, number, ENERGY_LO, ENERGY_HI)
    channel = draw_channels(rng, builtin_instrument().response, energy)
    ours_s = perf_counter() - begin
    ours = np.bincount(channel[channel >= 0], minlength=direct.shape[1])
    groups = np.arange(34, 480, 30)
    pair = [np.add.reduceat(values[:480], groups).astype(float) for values in (ours, direct.sum(axis=0))]
    chi2 = float(((pair[0] - pair[1]) ** 2 / np.maximum(pair[0] + pair[1], 1.0)).sum())

    photons, bright_photons = (
        sum(entry[1] for entry in chunks) / (options.num_chunks * CHUNK) for chunks in (first, third)
    )
    median, bright_median = (float(np.median([entry[2] for entry in chunks])) for chunks in (first, third))
    memory = [peak_memory(number, options.seed) for number in MEMORY_SIZES]
    result = {
        "ratio": direct_s / ours_s,
        "equal": bool(same_bytes and chi2 < 3.0 * len(groups) and memory[1] < 1.25 * memory[0]),
        "against": "photons drawn one detection after another",
        "detections_per_second_1_process": alone,
        "detections_per_second_2_processes": both,
        "fits_per_second": fits,
        "mean_photons": photons,
        "median_net_counts": median,
        "bright_detections_per_second_1_process": bright,
        "bright_detections_per_second_2_processes": bright_both,
        "bright_mean_photons": bright_photons,
        "bright_median_net_counts": bright_median,
        **{f"peak_mib_{number}_detections": value for number, value in zip(MEMORY_SIZES, memory)},
        "chi2_of_counts": chi2,
        "num_bins": len(groups),
        "same_bytes": same_bytes,
    }
    for rates, middle, mean in (
        ((alone, both), median, photons),
        ((bright, bright_both), bright_median, bright_photons),
    ):
        print(
            f"{options.num_chunks * CHUNK} detections of median {middle:.0f} net counts, {mean:.0f} photons on average"
        )
        print(f"  one process   {rates[0]:>8,.0f} detections/s with catalogue columns and texts, without fits")
        print(f"  two processes {rates[1]:>8,.0f} detections/s")
    print(f"same bytes from one and two processes: {same_bytes}")
    for number, value in zip(MEMORY_SIZES, memory):
        print(f"peak memory of building {number:>6,} detections: {value:,.0f} MiB")
    print(f"fits          {fits:>8,.0f} spectra/s (four models each)")
    print(
        f"photons to channels: ratio {result['ratio']:.0f}, chi2 {chi2:.1f} over {len(groups)} bins, {result['equal']}"
    )
    output = Path(__file__).resolve().parent / "results" / "simulate.json"
    write_json(output, result)
    print(json.dumps({"wrote": str(output.relative_to(output.parents[2]))}))


if __name__ == "__main__":
    main()
