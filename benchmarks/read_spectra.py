#!/usr/bin/env python
"""Reading PHA + background + ARF + RMF: ours, the obvious astropy loop, and Sherpa where it is installed.

    python benchmarks/read_spectra.py [DATA_DIR]

Every complete set under DATA_DIR is read from disk by each side, responses uncached; counts, background, area and
every element of the matrix must agree. Ours also finds the companion files; the loop is told their names.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from astropy.io import fits

from chandraclip.data.files import find_detections
from chandraclip.errors import InputFileError
from chandraclip.ogip import Spectrum, read_spectrum

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "read_spectra.json"


@dataclass(frozen=True)
class Files:
    """The files of one set, as plain paths."""

    pha: Path
    arf: Path
    rmf: Path
    background: Path | None


def loop_read(files: Files) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray]:
    """Counts, background counts, area and dense matrix, with astropy and a loop over rows and groups."""
    counts, background = _loop_counts(files.pha, background=False), None
    if files.background is not None:
        background = _loop_counts(files.background, background=files.background == files.pha)
    with fits.open(files.arf) as hdus:
        table = next(hdu for hdu in hdus if hdu.header.get("HDUCLAS2") == "SPECRESP")
        area = np.array(table.data["SPECRESP"], dtype=float)
    with fits.open(files.rmf) as hdus:
        table = next(hdu for hdu in hdus if hdu.header.get("HDUCLAS2") == "RSP_MATRIX")
        bounds = next(hdu for hdu in hdus if str(hdu.header.get("HDUCLAS2")).endswith("EBOUNDS"))
        first = table.header.get(f"TLMIN{table.columns.names.index('F_CHAN') + 1}", 1)
        matrix = np.zeros((len(table.data), len(bounds.data)))
        for row, record in enumerate(table.data):
            starts, sizes = np.atleast_1d(record["F_CHAN"]), np.atleast_1d(record["N_CHAN"])
            used = 0
            for group in range(record["N_GRP"]):
                start, size = int(starts[group]) - first, int(sizes[group])
                matrix[row, start : start + size] += record["MATRIX"][used : used + size]
                used += size
    return counts, background, area, matrix


def _loop_counts(path: Path, background: bool) -> np.ndarray:
    with fits.open(path) as hdus:
        tables = [hdu for hdu in hdus if hdu.header.get("HDUCLAS1") == "SPECTRUM"]
        if len(tables) > 1:
            tables = [hdu for hdu in tables if (hdu.header.get("HDUCLAS2") == "BKG") == background]
        data = tables[0].data
        counts = np.zeros(tables[0].header["DETCHANS"], dtype=int)
        lowest = int(data["CHANNEL"].min())
        for channel, number in zip(data["CHANNEL"], data["COUNTS"]):
            counts[int(channel) - lowest] = number
    return counts


def sherpa_read(files: Files) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, Any]:
    """The same through Sherpa: its reader and its folding object."""
    from sherpa.astro.io import read_arf, read_pha, read_rmf

    pha, arf, rmf = read_pha(str(files.pha)), read_arf(str(files.arf)), read_rmf(str(files.rmf))
    background = None
    if files.background is not None:
        source = pha.get_background(1) or read_pha(str(files.background))
        background = np.asarray(source.counts, dtype=int)
    return np.asarray(pha.counts, dtype=int), background, np.asarray(arf.specresp), rmf


def complete_sets(folder: Path) -> list[tuple[Files, Spectrum]]:
    """Every set under a folder that has a response, with the files that our reader found for it."""
    found = []
    for item in find_detections(folder):
        if item.spectrum is None or item.problem or item.spec_num is not None:
            continue
        try:
            spectrum = read_spectrum(item.spectrum, item.arf, item.rmf)
        except InputFileError:
            continue
        if spectrum.response is None or len(spectrum.companions) < 2:
            continue
        companions = spectrum.companions
        found.append(
            (Files(item.spectrum, companions["arf"], companions["rmf"], companions.get("background")), spectrum)
        )
    return found


def timed(function: Any, sets: list[Files], repeats: int) -> float:
    """s for all sets, the best of some repeats."""
    best = np.inf
    for _ in range(repeats):
        start = perf_counter()
        for files in sets:
            function(files)
        best = min(best, perf_counter() - start)
    return float(best)


def same(files: Files, ours: Spectrum, theirs: tuple[Any, ...]) -> bool:
    counts, background, area, matrix = theirs
    response = ours.response
    assert response is not None
    equal = np.array_equal(ours.counts, counts) and np.array_equal(response.arf, area)
    if background is None or ours.background_counts is None:
        equal &= background is ours.background_counts
    else:
        equal &= np.array_equal(ours.background_counts, background)
    if isinstance(matrix, np.ndarray):
        return bool(equal and np.array_equal(response.matrix.toarray(), matrix))
    # Sherpa shows no matrix: fold a few spectra instead.
    probe = np.random.default_rng(0).random((3, area.size))
    return bool(
        equal and all(np.allclose(p @ response.matrix, matrix.apply_rmf(p), rtol=1e-6, atol=1e-9) for p in probe)
    )


def default_data_dir() -> Path:
    """$CHANDRACLIP_DATA, else ../shared/data beside the repository."""
    return Path(os.environ.get("CHANDRACLIP_DATA") or HERE.parent.parent / "shared" / "data")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", nargs="?", type=Path, default=default_data_dir())
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    folder = options.data_dir / "spectra" if (options.data_dir / "spectra").is_dir() else options.data_dir
    pairs = complete_sets(folder) if folder.is_dir() else []
    if not pairs:
        print(f"no complete spectrum under {folder}: nothing to measure", file=sys.stderr)
        return 0
    sets = [files for files, _ in pairs]
    readers: dict[str, Any] = {"astropy loop": loop_read}
    try:
        import sherpa.astro.io  # noqa: F401

        readers["sherpa"] = sherpa_read
    except ImportError:
        print("Sherpa is not installed: left out")
    seconds = {"chandraclip": timed(lambda files: read_spectrum(files.pha), sets, options.repeats)}
    equal = True
    for name, reader in readers.items():
        equal &= all(same(files, ours, reader(files)) for files, ours in pairs)
        seconds[name] = timed(reader, sets, options.repeats)
    print(f"{len(sets)} sets of PHA + ARF + RMF (+ background), best of {options.repeats}, equal: {equal}")
    for name, value in seconds.items():
        print(f"{name:>14} {value:8.3f} s {1000 * value / len(sets):9.1f} ms a set")
    result = {
        "against": "the obvious astropy loop over rows and groups",
        "ratio": seconds["astropy loop"] / seconds["chandraclip"],
        "equal": bool(equal),
        "num_sets": len(sets),
        **{f"{name.replace(' ', '_')}_ms_a_set": 1000 * value / len(sets) for name, value in seconds.items()},
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
