#!/usr/bin/env python
"""Reads every file under a folder as what it is and lists what came out, beside an earlier list.

    python scripts/list_readings.py DATA_DIR --output readings.json
    python scripts/list_readings.py DATA_DIR --before readings.json

Spectra, event lists, responses and regions are told by their content. One line each: counts, background, scale,
exposure, good time, photons, the size and the sums of a response, or why it was refused. With --before, what differs is
shown as it was and as it is; the exit status is 0 in any case: whether a change is right is for a person to say. Files
that are not FITS are passed over.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from chandraclip.program import now_try, run_program

os.environ.setdefault("OMP_NUM_THREADS", "1")


def spectrum_facts(path: Path, spec_num: int | None) -> str:
    """Counts, exposure, background with its mean scale, and channels x energies of the response."""
    import numpy as np

    from chandraclip.ogip import read_spectrum

    spectrum = read_spectrum(path, spec_num=spec_num, require_response=False)
    facts = [f"{spectrum.counts.sum()} counts", f"{spectrum.exposure:.8g} s"]
    if spectrum.background_counts is not None:
        scale = float(np.mean(spectrum.background_scale))
        facts.append(f"background {spectrum.background_counts.sum():.8g} x {scale:.6g}")
    if spectrum.response is None:
        facts.append(f"no response ({spectrum.response_problem})")
    else:
        energies, channels = spectrum.response.matrix.shape
        facts.append(f"response {energies} x {channels}")
        facts.append(f"fold {spectrum.expected_counts(np.full(energies, 1e-6)).sum():.8g}")
    return ", ".join(facts)


def event_facts(path: Path) -> str:
    """Photons, good time and exposure, and how many were left out."""
    import numpy as np

    from chandraclip.ogip import read_events

    events = read_events(path)
    good = float(np.diff(events.gti, axis=1).sum())
    median = float(np.median(events.energy)) if len(events) else float("nan")
    return (
        f"{len(events)} photons, {len(events.gti)} intervals of {good:.8g} s, exposure {events.exposure:.8g} s, median "
        f"{median:.5g} keV, left out: {events.num_outside_gti} by time, {events.num_without_energy} without energy"
    )


def arf_facts(path: Path) -> str:
    from chandraclip.ogip.response_reader import read_arf

    area = read_arf(path)
    span = f"{area.energy_lo[0]:.5g} to {area.energy_hi[-1]:.5g} keV"
    return f"{area.area.size} energies from {span}, sum {area.area.sum():.8g} cm2"


def rmf_facts(path: Path) -> str:
    from chandraclip.ogip.response_reader import read_rmf

    matrix = read_rmf(path)
    size = f"{matrix.matrix.shape[0]} x {matrix.matrix.shape[1]}"
    return f"{size} from channel {matrix.first_channel}, sum {matrix.matrix.sum():.8g}"


def region_facts(path: Path) -> str:
    from chandraclip.ogip.region_reader import read_region

    region = read_region(path)
    shapes = sum(len(shapes) for shapes in region.components)
    return f"{len(region.components)} components, {shapes} shapes, centre {region.centre}"


def outcome(facts: Callable[..., str], *arguments: object) -> str:
    from chandraclip.errors import InputFileError

    try:
        return facts(*arguments)
    except InputFileError as error:
        return f"refused: {error.reason}"


def read_all(folder: Path) -> dict[str, str]:
    """Label -> what was read, for each thing in the folder's files."""
    from tqdm.auto import tqdm

    from chandraclip.errors import InputFileError
    from chandraclip.ogip.companions import file_facts
    from chandraclip.ogip.fits import FitsFile, looks_like_fits
    from chandraclip.ogip.pha import spec_numbers, spectrum_tables

    found: dict[str, str] = {}
    simple = {"events": event_facts, "arf": arf_facts, "rmf": rmf_facts, "region": region_facts}
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    for path in tqdm(paths, desc="reading", unit="file"):
        if not looks_like_fits(path):
            continue
        label = path.relative_to(folder).as_posix()
        facts = file_facts(path)
        if "pha" in facts.kinds:
            numbers: Sequence[int | None]
            try:
                numbers = spec_numbers(spectrum_tables(FitsFile(path))[0][0]) or [None]
            except (InputFileError, IndexError):
                numbers = [None]
            for number in numbers:
                name = f"{label} spectrum" + ("" if number is None else f" {number}")
                found[name] = outcome(spectrum_facts, path, number)
        for kind in sorted(set(facts.kinds) & set(simple)):
            found[f"{label} {kind}"] = outcome(simple[kind], path)
        if facts.problem is not None:
            found[label] = f"refused: {facts.problem}"
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path, metavar="DATA_DIR")
    parser.add_argument("--before", type=Path, help="a list that --output wrote earlier")
    parser.add_argument("--output", type=Path, help="JSON file for this list")
    options = parser.parse_args(arguments)
    from chandraclip.errors import InputFileError
    from chandraclip.files import write_json

    if not options.data_dir.is_dir():
        raise InputFileError(options.data_dir, "no such folder")
    readings = read_all(options.data_dir)
    before = {} if options.before is None else json.loads(options.before.read_text())
    changed = 0
    for label in sorted(readings.keys() | before.keys()):
        now, then = readings.get(label, "not found"), before.get(label, "not found")
        differs = options.before is not None and now != then
        changed += differs
        print(f"{label}: {now}" if not differs else f"{label}:\n  before {then}\n  now    {now}")
    if options.before is not None:
        print(f"{changed} of {len(readings.keys() | before.keys())} differ from {options.before}")
    if options.output is not None:
        write_json(options.output, readings)
        now_try(["scripts/list_readings.py", options.data_dir, "--before", options.output])
    return 0


if __name__ == "__main__":
    run_program(main)
