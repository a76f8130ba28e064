#!/usr/bin/env python
"""Reads every spectrum under a folder and fits an absorbed power law through its response.

    python scripts/check_spectra.py DATA_DIR

Prints counts, scaled background and the best Cash statistic in 0.5-7 keV. Where DATA_DIR or the folder above has a
spectra_check.json (an independent reading and fit), each line also says whether counts and background are exactly those
and the statistic no more than 1 % above; the exit status is 1 if any is not.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from chandraclip.program import now_try, run_program

os.environ.setdefault("OMP_NUM_THREADS", "1")

TOLERANCE = 0.01  # of the statistic
COLUMNS = "{:<66} {:>7} {:>10} {:>8} {:>10} {}"
HEADER = COLUMNS.format("file", "counts", "background", "scale", "exposure", " gamma  NH22       C  bins")


def load_expected(folder: Path) -> dict[str, Any]:
    """spectra_check.json of the folder or the one above; {} where there is none."""
    for place in (folder, folder.parent):
        path = place / "spectra_check.json"
        if path.is_file():
            return json.loads(path.read_text())
    return {}


def differences(entry: dict[str, Any], spectrum: Any, statistic: float | None) -> list[str]:
    """What differs from the expected entry."""
    found = []
    background = None if spectrum.background_counts is None else float(spectrum.background_counts.sum())
    for name, expected, value in (
        ("counts", entry["counts"], int(spectrum.counts.sum())),
        ("background", entry["bkg_counts"], background),
    ):
        if expected != value:
            found.append(f"{name} {value}, expected {expected}")
    if abs(spectrum.exposure - entry["exposure_s"]) > 0.06:  # written to 0.1 s
        found.append(f"exposure {spectrum.exposure}, expected {entry['exposure_s']}")
    scale = entry["bkg_scale"]
    if scale is not None and background is not None and abs(spectrum.background_scale / scale - 1) > 1e-3:
        found.append(f"scale {spectrum.background_scale}, expected {scale}")
    target = entry.get("cstat")
    if target is not None and (statistic is None or statistic > target * (1 + TOLERANCE)):
        found.append(f"C {statistic}, expected {target}")
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path, metavar="DATA_DIR")
    folder = parser.parse_args(arguments).data_dir

    import numpy as np

    from chandraclip.data.files import find_detections
    from chandraclip.errors import InputFileError
    from chandraclip.observation import FitResult, fit_spectrum
    from chandraclip.ogip.spectrum import Spectrum, read_spectrum

    def fit_power_law(spectrum: Spectrum) -> FitResult | None:
        """As spectra_check.json was made: every channel, whatever its QUALITY, and background windows of 15."""
        if spectrum.response is None:
            return None
        spectrum = dataclasses.replace(spectrum, quality=None)
        return fit_spectrum(spectrum, "powerlaw", "wabs", statistic="cash", background_window=15)

    if not folder.is_dir():
        raise InputFileError(folder, "not a folder")
    expected = load_expected(folder)
    compared, wrong, refused = 0, 0, []
    print(HEADER)
    for item in find_detections(folder):
        if item.spectrum is None:
            continue
        try:
            if item.problem is not None:
                raise InputFileError(item.spectrum, item.problem)
            spectrum = read_spectrum(
                item.spectrum, item.arf, item.rmf, spec_num=item.spec_num, extension=item.extension
            )
        except InputFileError as error:
            refused.append(f"{item.label}: {error.reason}")
            continue
        try:
            fit, problem = fit_power_law(spectrum), spectrum.response_problem
        except ValueError as error:  # no counts to fit
            fit, problem = None, str(error)
        background = "-" if spectrum.background_counts is None else f"{spectrum.background_counts.sum():.10g}"
        scale = "-" if spectrum.background_counts is None else f"{np.mean(spectrum.background_scale):.5f}"
        fitted = f"no fit: {problem}"
        if fit is not None:
            gamma, column = (fit.parameters[name].value for name in ("PhoIndex", "nH"))
            fitted = f"{gamma:6.2f} {column:6.3f} {fit.statistic:7.1f} {fit.num_bins:5d}"
        line = COLUMNS.format(item.label, spectrum.counts.sum(), background, scale, f"{spectrum.exposure:.1f}", fitted)
        entry = next((value for key, value in expected.items() if f"/{item.label}".endswith(f"/{key}")), None)
        if entry is not None:
            compared += 1
            found = differences(entry, spectrum, None if fit is None else fit.statistic)
            wrong += bool(found)
            target = entry.get("cstat")
            line += (
                f"  ok (C {target})"
                if not found and target
                else "  ok"
                if not found
                else "  WRONG: " + "; ".join(found)
            )
        print(line)
    for line in refused:
        print(f"refused: {line}")
    if expected:
        print(f"{compared - wrong} of {compared} spectra as expected ({len(expected)} in spectra_check.json)")
    now_try(["scripts/build_dataset.py", "files", folder, Path("outputs/data") / folder.resolve().name])
    return 1 if wrong else 0


if __name__ == "__main__":
    run_program(main)
