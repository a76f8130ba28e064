"""Spectra to the 400 points of the published autoencoders: all rows at once, and one row after another.

The feature extractor on a table of the dataset, against what the published script does with each spectrum (Sherpa:
notice, subtract, group_counts, the points of a plot; MultimodalUniverse scripts/chandra), where Sherpa is installed,
and against loops over rows in numpy: one that groups channel by channel, one that searches the end of each group in the
running sum. All must agree. Files are not read on either side.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable
from importlib.util import find_spec
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa

from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH
from chandraclip.catalog.ragged import Ragged
from chandraclip.models import SpectrumFeatureExtractor
from result_files import write_result

NUM_CHANNELS = 1024
ENERGIES = np.geomspace(0.5, 8.0, 400)
GROUP_COUNTS = 5


def simulate(num_spectra: int, seed: int) -> pa.Table:
    """Spectra of the dataset's columns: absorbed power laws of log-normal counts (median 60) on ACIS channels."""
    rng = np.random.default_rng(seed)
    energy = ACIS_CHANNEL_WIDTH * (np.arange(NUM_CHANNELS) + 0.5)
    gamma = rng.uniform(0.5, 3.0, (num_spectra, 1))
    shape = energy**-gamma * np.exp(-((0.9 / energy) ** 3)) * np.exp(-((energy / 7.0) ** 2))
    shape /= shape.sum(axis=1, keepdims=True)
    counts = rng.poisson(shape * rng.lognormal(np.log(60.0), 1.5, (num_spectra, 1)))
    background = rng.poisson(0.08, counts.shape)
    offsets = np.arange(num_spectra + 1) * NUM_CHANNELS
    return pa.table(
        {
            "spectrum_counts": Ragged(counts.ravel(), offsets).to_arrow(pa.list_(pa.int32())),
            "spectrum_background": Ragged(background.ravel(), offsets).to_arrow(pa.list_(pa.float64())),
            "background_scale": pa.array(rng.uniform(0.02, 0.1, num_spectra), pa.float32()),
            "exposure": pa.array(rng.uniform(1e4, 1e5, num_spectra), pa.float32()),
        }
    )


def obvious_groups(counts: np.ndarray) -> list[int]:
    """First channel of each group, channel by channel."""
    starts, total = [0], 0
    for channel, number in enumerate(counts):
        total += number
        if total >= GROUP_COUNTS and channel + 1 < len(counts):
            starts.append(channel + 1)
            total = 0
    return starts


def quick_groups(counts: np.ndarray) -> list[int]:
    """The same by a search in the running sum, a step a group."""
    running, starts, before = np.cumsum(counts), [0], 0
    while True:
        end = int(np.searchsorted(running, before + GROUP_COUNTS)) + 1
        if end >= len(counts):
            return starts
        starts.append(end)
        before = running[end - 1]


def one_after_another(table: pa.Table, groups: Callable[[np.ndarray], list[int]]) -> np.ndarray:
    """(rows, 400) min-max scaled net counts/s/keV, by a loop over rows."""
    counts, background = (table[name].to_pylist() for name in ("spectrum_counts", "spectrum_background"))
    scale, exposure = table["background_scale"].to_numpy(), table["exposure"].to_numpy()
    edges = ACIS_CHANNEL_WIDTH * np.arange(NUM_CHANNELS + 1)
    middle = 0.5 * (edges[1:] + edges[:-1])
    used = np.flatnonzero((middle >= ENERGIES[0]) & (middle <= ENERGIES[-1]))
    result = np.zeros((len(counts), len(ENERGIES)))
    for row in range(len(counts)):
        own = np.array(counts[row])[used]
        net = own - float(scale[row]) * np.array(background[row])[used]
        starts = np.array(groups(own))
        low = edges[used[starts]]
        high = edges[used[np.append(starts[1:], len(used)) - 1] + 1]
        rate = np.add.reduceat(net, starts) / (float(exposure[row]) * (high - low))
        values = np.interp(ENERGIES, 0.5 * (low + high), rate)
        span = values.max() - values.min()
        result[row] = (values - values.min()) / span if span > 0 else 0.0
    return result


def by_sherpa(table: pa.Table) -> np.ndarray:
    """The same by Sherpa's objects, one spectrum after another."""
    logging.getLogger("sherpa").setLevel(logging.ERROR)
    from sherpa.astro.data import DataPHA
    from sherpa.astro.instrument import create_delta_rmf
    from sherpa.astro.plot import DataPHAPlot

    counts, background = (table[name].to_pylist() for name in ("spectrum_counts", "spectrum_background"))
    scale, exposure = table["background_scale"].to_numpy(), table["exposure"].to_numpy()
    edges = ACIS_CHANNEL_WIDTH * np.arange(NUM_CHANNELS + 1)
    edges[0] = 1e-6  # a response has no energy of 0
    response = create_delta_rmf(edges[:-1], edges[1:], e_min=edges[:-1], e_max=edges[1:])
    channel, result = np.arange(1, NUM_CHANNELS + 1), np.zeros((len(counts), len(ENERGIES)))
    for row in range(len(counts)):
        options = {"exposure": float(exposure[row])}
        source = DataPHA("source", channel, np.array(counts[row]), backscal=float(scale[row]), **options)
        source.set_background(DataPHA("background", channel, np.array(background[row]), backscal=1.0, **options))
        source.set_rmf(response)
        source.set_analysis("energy")
        source.notice(ENERGIES[0], ENERGIES[-1])
        source.subtract()
        source.group_counts(GROUP_COUNTS)
        plot = DataPHAPlot()
        plot.prepare(source)
        values = np.interp(ENERGIES, 0.5 * (plot.xlo + plot.xhi), plot.y)
        span = values.max() - values.min()
        result[row] = (values - values.min()) / span if span > 0 else 0.0
    return result


def all_at_once(table: pa.Table, batch_size: int) -> np.ndarray:
    """The same by the feature extractor, in batches."""
    extractor = SpectrumFeatureExtractor()
    parts = [extractor(table.slice(at, batch_size), "np") for at in range(0, table.num_rows, batch_size)]
    return np.concatenate([part["spectrum_values"] for part in parts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_spectra", type=int, default=10_000)
    parser.add_argument("--batch_size", type=int, default=1_000, help="rows a call (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table = simulate(options.num_spectra, options.seed)

    seconds, found = {}, {}
    ways: dict[str, tuple[int, Callable[[], np.ndarray]]] = {
        "all at once": (3, lambda: all_at_once(table, options.batch_size)),
        "row after row, quick": (1, lambda: one_after_another(table, quick_groups)),
        "row after row": (1, lambda: one_after_another(table, obvious_groups)),
    }
    peer, against = "row after row", "a loop over rows, numpy within a row and channel by channel to group"
    if find_spec("sherpa") is None:
        print("Sherpa is not installed: left out")
    else:
        peer, against = "Sherpa", "Sherpa's notice, subtract, group_counts and plot, one spectrum after another"
        ways["Sherpa"] = (1, lambda: by_sherpa(table))
    for name, (repeats, way) in ways.items():
        seconds[name] = np.inf
        for _ in range(repeats):
            begin = perf_counter()
            found[name] = way()
            seconds[name] = min(seconds[name], perf_counter() - begin)
    difference = max(float(np.abs(values - found["all at once"]).max()) for values in found.values())
    result = {
        "ratio": seconds[peer] / seconds["all at once"],
        "equal": bool(difference < 1e-5),
        "against": against,
        "ratio_to_quickest_numpy_loop": min(value for name, value in seconds.items() if name.startswith("row"))
        / seconds["all at once"],
        "ours_s": seconds["all at once"],
        "peer_s": seconds[peer],
        "largest_difference": difference,
        "num_spectra": options.num_spectra,
        "batch_size": options.batch_size,
    }
    print(f"{options.num_spectra} spectra of {NUM_CHANNELS} channels to {len(ENERGIES)} points")
    print(f"{'':<24}{'seconds':>10}{'spectra/s':>12}")
    for name, value in seconds.items():
        print(f"{name:<24}{value:>10.2f}{options.num_spectra / value:>12,.0f}")
    print(f"ratio {result['ratio']:.0f}; {result['ratio_to_quickest_numpy_loop']:.1f} to the quickest loop in numpy")
    print(f"largest difference {difference:.1e}, equal: {result['equal']}")
    write_result(__file__, result, "the sides differ")


if __name__ == "__main__":
    main()
