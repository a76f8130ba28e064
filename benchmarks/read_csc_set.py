#!/usr/bin/env python
"""Reading whole CSC sets (pha3, arf3, rmf3, regevt3, reg3): ours, and Sherpa, which reads spectrum and responses only.

    python benchmarks/read_csc_set.py [DATA_DIR]

The spectra and responses are the real CSC sets under DATA_DIR. CSC event lists are not among them, so each set gets one
with the columns of a genuine regevt3: as many photons in the source ellipse as the spectrum has, channel by channel,
and as many again around it. Counts, background, area, folding and the photons of the list must agree. `row`: up to a
row of the dataset, which takes the sum (SHA-256) of the matrix.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import os
import shutil
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from astropy.io import fits

from chandraclip.data.files import find_detections, read_detection
from chandraclip.ogip import EventList, Spectrum, read_events, read_spectrum
from chandraclip.ogip.region_reader import read_region
from read_spectra import Files, default_data_dir, same, sherpa_read, timed

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "read_csc_set.json"
CENTRE, RADII, PIXEL = 4096.5, (8.0, 5.0), 0.492 / 3600


@dataclass(frozen=True)
class CscSet:
    """The files of one set, and the channels of the photons that its event list has in the source ellipse."""

    files: Files
    events: Path
    region: Path


def sky(x: np.ndarray, y: np.ndarray, form: str) -> list[fits.Column]:
    """X and Y in ACIS sky pixels."""
    world = {"coord_ref_point": CENTRE, "unit": "pixel"}
    return [
        fits.Column("X", form, array=x, coord_type="RA---TAN", coord_ref_value=10.0, coord_inc=-PIXEL, **world),
        fits.Column("Y", form, array=y, coord_type="DEC--TAN", coord_ref_value=41.0, coord_inc=PIXEL, **world),
    ]


def write_events(path: Path, spectrum: Spectrum, rng: np.random.Generator) -> None:
    """A regevt3 whose ellipse holds the photons of a spectrum, and as many others outside."""
    channel = np.repeat(spectrum.channel, spectrum.counts)
    number = channel.size
    angle, radius = 2 * np.pi * rng.random(2 * number), np.sqrt(rng.random(2 * number))
    radius[number:] = 2.0 + 3.0 * radius[number:]
    order = rng.permutation(2 * number)
    x, y = CENTRE + RADII[0] * radius * np.cos(angle), CENTRE + RADII[1] * radius * np.sin(angle)
    pi = np.concatenate([channel, rng.integers(30, 700, number)])
    start = 1e8
    columns = [
        fits.Column("TIME", "D", unit="s", array=start + np.sort(rng.random(2 * number)) * spectrum.exposure),
        fits.Column("CCD_ID", "I", array=np.full(2 * number, 7)),
        *(fits.Column(name, "I", array=rng.integers(1, 1024, 2 * number)) for name in ("NODE_ID", "CHIPX", "CHIPY")),
        fits.Column("EXPNO", "J", array=rng.integers(1, 9999, 2 * number)),
        *(fits.Column(name, "E", array=rng.random(2 * number)) for name in ("DETX", "DETY")),
        *sky(x[order], y[order], "E"),
        fits.Column("PHA", "J", array=pi[order]),
        fits.Column("ENERGY", "E", unit="eV", array=14.6 * (pi[order] - 0.5)),
        fits.Column("PI", "J", unit="chan", array=pi[order]),
        *(fits.Column(name, "I", array=rng.integers(0, 7, 2 * number)) for name in ("FLTGRADE", "GRADE")),
        fits.Column("STATUS", "32X", array=np.zeros((2 * number, 32), dtype=bool)),
    ]
    events = fits.BinTableHDU.from_columns(columns, name="EVENTS")
    header = spectrum.header
    events.header.update(
        {"HDUCLASS": "OGIP", "HDUCLAS1": "EVENTS", "TELESCOP": "CHANDRA", "INSTRUME": "ACIS", "OBS_ID": header.obs_id}
    )
    events.header.update({"MJDREF": 50814.0, "TIMEZERO": 0.0, "TSTART": start, "TSTOP": start + spectrum.exposure})
    events.header.update({"EXPOSURE": spectrum.exposure, "TIMEDEL": 3.24})
    intervals = [fits.Column(name, "D", unit="s", array=[value]) for name, value in (
        ("START", start), ("STOP", start + spectrum.exposure))]  # fmt: skip
    gti = fits.BinTableHDU.from_columns(intervals, name="GTI7")
    gti.header.update({"HDUCLASS": "OGIP", "HDUCLAS1": "GTI"})
    write_gzipped(path, events, gti)


def write_region(path: Path) -> None:
    columns = [
        fits.Column("SHAPE", "16A", array=["Ellipse"]),
        *sky(np.array([CENTRE]), np.array([CENTRE]), "D"),
        fits.Column("R", "2D", unit="pixel", array=[RADII]),
        fits.Column("ROTANG", "D", unit="deg", array=[0.0]),
        fits.Column("COMPONENT", "I", array=[1]),
    ]
    region = fits.BinTableHDU.from_columns(columns, name="SRCREG")
    region.header.update({"HDUCLASS": "ASC", "HDUCLAS1": "REGION", "HDUCLAS2": "STANDARD"})
    write_gzipped(path, region)


def write_gzipped(path: Path, *tables: fits.BinTableHDU) -> None:
    plain = path.with_suffix("")
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(plain, checksum=True)
    path.write_bytes(gzip.compress(plain.read_bytes(), 6))
    plain.unlink()


def make_sets(source: Path, folder: Path) -> list[CscSet]:
    """The real CSC sets under `source`, copied, each with an event list and a region."""
    rng = np.random.default_rng(0)
    sets = []
    for pha in sorted(source.rglob("acisf*_pha3.fits*")):
        shutil.copytree(pha.parent, folder / pha.parent.name)
        copy = folder / pha.parent.name / pha.name
        spectrum = read_spectrum(copy)
        companions = spectrum.companions
        files = Files(copy, companions["arf"], companions["rmf"], companions.get("background"))
        stem = copy.name.split("_pha3")[0]
        events, region = copy.with_name(f"{stem}_regevt3.fits.gz"), copy.with_name(f"{stem}_reg3.fits.gz")
        write_events(events, spectrum, rng)
        write_region(region)
        sets.append(CscSet(files, events, region))
    return sets


def our_read(item: CscSet) -> tuple[Spectrum, EventList]:
    return read_spectrum(item.files.pha), read_events(item.events, read_region(item.region))


def agree(item: CscSet) -> bool:
    """Spectrum and responses with Sherpa's, the list's photons with the spectrum's, energy by energy."""
    spectrum, events = our_read(item)
    energy = np.repeat(14.6e-3 * (spectrum.channel - 0.5), spectrum.counts)
    photons = np.allclose(np.sort(events.energy), energy, rtol=1e-5) if events.energy.size == energy.size else False
    return photons and same(item.files, spectrum, sherpa_read(item.files))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", nargs="?", type=Path, default=default_data_dir())
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    try:
        import sherpa.astro.io  # noqa: F401
    except ImportError:
        print("Sherpa is not installed (the extra `sherpa`): nothing to compare with", file=sys.stderr)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        sets = make_sets(options.data_dir, Path(folder))
        if not sets:
            print(f"no CSC set under {options.data_dir}: nothing to measure", file=sys.stderr)
            return 0
        equal = all(agree(item) for item in sets)
        detections = [item for item in find_detections(folder) if item.problem is None]
        readers: dict[str, tuple[Any, list[Any]]] = {
            "chandraclip": (our_read, sets),
            "sherpa": (sherpa_read, [item.files for item in sets]),
            "spectrum_only": (read_spectrum, [item.files.pha for item in sets]),
            "row": (read_detection, detections),
        }
        seconds = dict.fromkeys(readers, np.inf)
        for _ in range(options.repeats):  # in turn, so that the machine's mood is shared
            for name, (reader, items) in readers.items():
                seconds[name] = min(seconds[name], timed(reader, items, 1))
    ms = {f"{name}_ms_a_set": 1000 * value / len(sets) for name, value in seconds.items()}
    result = {
        "against": "Sherpa, which reads neither events nor region",
        "ratio": seconds["sherpa"] / seconds["chandraclip"],
        "equal": bool(equal),
        "num_sets": len(sets),
        "ratio_spectrum_only": seconds["sherpa"] / seconds["spectrum_only"],
        **ms,
    }
    print(f"{len(sets)} CSC sets, best of {options.repeats}, equal: {equal}, ratio {result['ratio']:.1f}")
    for name, value in ms.items():
        print(f"{name:>24} {value:8.2f}")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
