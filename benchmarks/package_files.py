#!/usr/bin/env python
"""From CSC's files to a dataset: ours against the loop of the Multimodal Universe, on the same files.

    python benchmarks/package_files.py [DATA_DIR]

The loop is what that project's public builder does with each spectrum: Sherpa reads it with its responses, ignores what
lies outside 0.5-8 keV, subtracts the background, groups to 5 counts, and the plotted rates are kept; then they are
joined with a table of keys and written as HDF5. Ours keeps raw counts, background, ARF and RMF, measures the
catalogue's quantities, and writes Parquet, card and manifest with a sum of every shard. The files are the real CSC sets
under DATA_DIR, each as many times as it takes under other observation numbers, so that none is a copy. The rates of the
HDF5 file must follow from our counts.

Measured twice. As run: detections a second by the clock, ours of --many_detections in --num_processes (their start
counts), the loop, which has but one, of --num_detections; wants free cores. And one process against one, warm, by CPU
seconds, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table, join

from chandraclip.data.build_from_files import build_from_files
from read_spectra import default_data_dir
from result_files import write_result

ACIS_CHANNEL_WIDTH = 0.0146  # keV
LISTS = ("spectrum_ene", "spectrum_ene_lo", "spectrum_ene_hi", "spectrum_flux", "spectrum_flux_err")


def write_sets(spectra: Path, folder: Path, num_detections: int) -> int:
    """So many detections of the real sets, each with files and an observation of its own; how many sets there are."""
    sets = sorted(spectra.glob("csc_*"))
    first: dict[Path, Path] = {}  # of each file, the copy that later detections are links to
    for number in range(num_detections):
        source = sets[number % len(sets)]
        (pha,) = source.glob("*pha3*")
        stem = pha.name.split("_pha3")[0]
        new = f"acisf{number + 1:05d}{stem[10:]}"
        target = folder / new
        target.mkdir(parents=True)
        for path in source.iterdir():
            place = target / path.name.replace(stem, new)
            if path in first:
                os.link(first[path], place)
            else:
                shutil.copy(path, place)
                if path != pha:  # which is written anew, below
                    first[path] = place
        with fits.open(target / pha.name.replace(stem, new)) as hdus:
            for hdu in hdus:
                if "OBS_ID" in hdu.header:
                    hdu.header["OBS_ID"] = str(int(new[5:10]))
                for name in ("BACKFILE", "ANCRFILE", "RESPFILE"):
                    if name in hdu.header:
                        hdu.header[name] = hdu.header[name].replace(stem, new)
                for name in ("CHECKSUM", "DATASUM"):
                    hdu.header.remove(name, ignore_missing=True)
            content = [hdu.copy() for hdu in hdus]
        changed = target / f"{new}_pha3.fits"
        fits.HDUList(content).writeto(changed, overwrite=True)
        if pha.suffix == ".gz":
            (target / pha.name.replace(stem, new)).unlink()
    return len(sets)


def universe_loop(folder: Path, output: Path) -> None:
    """Read, ignore, subtract, group, join, HDF5: a loop over files."""
    import h5py
    from sherpa.astro import ui

    found: dict[str, list[Any]] = {name: [] for name in ("obsid", "obi", "region_id", *LISTS)}
    for path in sorted(folder.glob("*/*pha*")):
        ui.load_pha(str(path))
        ui.ignore("0.:0.5,8.0:")
        ui.subtract()
        ui.group_counts(5)
        plot = ui.get_data_plot()
        stem = path.name.split("_pha3")[0]
        for name, value in zip(LISTS, (plot.x, plot.xlo, plot.xhi, plot.y, plot.yerr)):
            found[name].append(value)
        found["obsid"].append(int(stem[5:10]))
        found["obi"].append(int(stem[11:14]))
        found["region_id"].append(int(stem[-4:]))
    keys = ("obsid", "obi", "region_id")
    catalog = Table({name: found[name] for name in keys})
    spectra = Table({name: found[name] if name in keys else _objects(found[name]) for name in found})
    table = join(catalog, spectra, keys=list(keys))
    with h5py.File(output, "w") as file:
        for name in table.colnames:
            if table[name].dtype == "O":
                column = file.create_dataset(name, (len(table),), dtype=h5py.special_dtype(vlen=np.dtype("f8")))
                for row, values in enumerate(table[name]):
                    column[row] = values
            else:
                file.create_dataset(name, data=table[name])


def _objects(lists: list[np.ndarray]) -> np.ndarray:
    result = np.empty(len(lists), dtype=object)
    result[:] = lists
    return result


def same_rates(dataset: Path, rates: Path) -> bool:
    """Whether counts less scaled background between the edges of a group, over exposure and width, are its rate."""
    import h5py

    rows = {(row["obsid"], row["obi"], row["region_id"]): row for row in pq.read_table(dataset / "data").to_pylist()}
    with h5py.File(rates) as file:
        keys = zip(*(file[name][:].tolist() for name in ("obsid", "obi", "region_id")))
        groups = zip(*(file[name][:] for name in ("spectrum_ene_lo", "spectrum_ene_hi", "spectrum_flux")))
        for key, (low, high, rate) in zip(keys, groups):
            row = rows.pop(key)
            net = np.asarray(row["spectrum_counts"]) - row["background_scale"] * np.asarray(row["spectrum_background"])
            total = np.concatenate([[0.0], np.cumsum(net)])
            first, last = (np.rint(edge / ACIS_CHANNEL_WIDTH).astype(int) for edge in (low, high))
            expected = (total[last] - total[first]) / row["exposure"] / (high - low)
            if not np.allclose(expected, rate, rtol=1e-4, atol=1e-9):
                return False
    return not rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", nargs="?", type=Path, default=default_data_dir())
    parser.add_argument("--num_detections", type=int, default=100)
    parser.add_argument("--many_detections", type=int, default=4000)
    parser.add_argument("--num_processes", type=int, default=os.cpu_count(), help="default: the CPUs, %(default)s")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    try:
        import h5py  # noqa: F401
        import sherpa.astro.ui  # noqa: F401
    except ImportError as error:
        print(f"{error.name} is missing (the extras `sherpa`, `hdf5`): nothing to compare with", file=sys.stderr)
        return 0
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    ours, loop, loop_clock = np.inf, np.inf, np.inf
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        num_sets = write_sets(options.data_dir / "spectra", folder / "files", options.num_detections)
        for _ in range(options.repeats):
            shutil.rmtree(folder / "dataset", ignore_errors=True)
            begin = process_time()
            built = build_from_files(folder / "files", folder / "dataset", progress=False)
            ours = min(ours, process_time() - begin)
            begin, begin_clock = process_time(), perf_counter()
            universe_loop(folder / "files", folder / "rates.hdf5")
            loop, loop_clock = min(loop, process_time() - begin), min(loop_clock, perf_counter() - begin_clock)
        number = sum(built.manifest["num_rows"].values())
        equal = number == options.num_detections and same_rates(folder / "dataset", folder / "rates.hdf5")
        shutil.rmtree(folder / "files")
        write_sets(options.data_dir / "spectra", folder / "many", options.many_detections)
        begin = perf_counter()
        many = build_from_files(folder / "many", folder / "many_dataset", options.num_processes, progress=False)
        ours_rate = options.many_detections / (perf_counter() - begin)
        equal = equal and sum(many.manifest["num_rows"].values()) == options.many_detections
    loop_rate = options.num_detections / loop_clock
    result = {
        "ratio": ours_rate / loop_rate,
        "ratio_of_cpu_time": loop / ours,
        "equal": equal,
        "against": "a Multimodal Universe-style loop: Sherpa reads, subtracts and groups, h5py writes",
        "num_sets": num_sets,
        "num_processes": options.num_processes,
        "ours_detections_per_s": ours_rate,
        "peer_detections_per_s": loop_rate,
        "ours_detections_per_cpu_s": options.num_detections / ours,
        "peer_detections_per_cpu_s": options.num_detections / loop,
    }
    write_result(__file__, result, "the rates do not follow from our counts", lines=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
