"""The nine points of the audit of 2026-11-26: what it found, what it found it should be, and what is measured now.

Numbers of "before" are the audit's own, of texts and areas those of docs/log.md. Everything else is measured: of the
real tables and files, of a dataset and of a mock of the real rows, or of the simulator's parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.time import Time

from chandraclip.catalog.ragged import Ragged
from chandraclip.catalog.variability import gregory_loredo
from chandraclip.realism.catalog_tables import KEY
from chandraclip.realism.text_information import TextInformation
from chandraclip.simulate.instrument.area import ENERGY, LAUNCH_MJD, effective_area
from chandraclip.simulate.instrument.detector import APERTURE_FACTOR, draw_background, draw_good_time, psf_area
from chandraclip.simulate.population.sources import default_population
from chandraclip.simulate.variability.kinds import RED_NOISE, draw_variability

VARIABLE = 0.9
REAL_BACKGROUND = {"front-illuminated": (5.8, 6.8, 7.8, 10.0), "S3": (20.0, 28.0, 36.0, 42.0)}  # 1e-7 /s/arcsec2
SIGNIFICANCE_CELLS = (  # theta from, to (arcmin), net counts from, to, before
    (0.0, 3.0, 20.0, 50.0, 0.999),
    (0.0, 3.0, 300.0, 1000.0, 1.000),
    (6.0, 9.0, 20.0, 50.0, 0.971),
    (9.0, 13.0, 50.0, 100.0, 0.951),
)
# Folder and file of ../shared/data/spectra, instrument, theta, whether the contaminant is in the file; keV -> before.
HELD_OUT_AREAS = (
    ("gcs25_obs2278", "arf2278.fits", 0, 5.10, False, {0.5: 1.61, 0.7: 1.27, 1.0: 1.02, 1.5: 0.94, 4.5: 0.83}),
    ("gcs28_obs2286", "arf2286.fits", 0, 6.71, False, {0.5: 1.60, 0.7: 1.26, 1.0: 1.03, 1.5: 0.96, 4.5: 0.84}),
    ("csc_acisf01575_001N001_r0085", "*arf3*", 1, 3.38, True, {0.5: 1.10, 0.7: 1.07, 1.0: 1.00, 1.5: 0.98, 4.5: 0.95}),
)


@dataclass(frozen=True)
class Row:
    """One number of a point; NaN where there is none."""

    label: str
    real: float
    before: float
    after: float


@dataclass(frozen=True)
class Point:
    """One finding: its number in the audit, what it is of, and its numbers in one unit."""

    number: int
    title: str
    rows: list[Row]


def points(
    real: pd.DataFrame,
    simulated: pd.DataFrame,
    mock: pd.DataFrame | None,
    texts: TextInformation | None,
    hardness: Mapping[str, float],
    data: Path,
) -> list[Point]:
    """All nine, in order.

    Args:
        real, simulated, mock: frames of `catalog_tables.catalog_frame`; the mock has the real rows' keys.
        texts: of the dataset's texts.
        hardness: hm, hs, ms of CSC's spectrum of ObsID 4938, region 43, as measured now; empty if it is not at hand.
        data: folder with the real spectra/.
    """
    return [
        Point(1, "significance / net counts^(1/2)", _significance(real, simulated)),
        Point(2, "background, 1e-7 counts/s/arcsec2", _background()),
        Point(3, "hardness of 4938 r0043", _hardness(hardness)),
        Point(4, "what texts tell", _texts(texts)),
        Point(5, "parameters of variability", _parameters()),
        Point(6, "share of short bursts found", _bursts()),
        Point(7, "area, ours / held-out mission file", _areas(data)),
        Point(8, "variable rows and their mocks", _mocks(real, mock)),
        Point(9, "frame of 1/8 sub-arrays, s", _frames()),
    ]


def _significance(real: pd.DataFrame, simulated: pd.DataFrame) -> list[Row]:
    rows = []
    for low, high, fewest, most, before in SIGNIFICANCE_CELLS:
        medians = []
        for frame in (real, simulated):
            counts = frame["src_cnts_aper_b"]
            chosen = frame["theta"].between(low, high) & counts.between(fewest, most)
            medians.append(float((frame["flux_significance_b"] / np.sqrt(counts.where(counts > 0)))[chosen].median()))
        rows.append(Row(f"{low:g}-{high:g}', {fewest:g}-{most:g} counts", medians[0], before, medians[1]))
    return rows


def _background(num_rows: int = 20_000) -> list[Row]:
    rng, zero = np.random.default_rng(0), np.zeros(num_rows)
    mjd = rng.uniform(51900.0, 53700.0, num_rows)  # of the real files: 2001 to 2005
    factor = np.diff(APERTURE_FACTOR)[0] / np.diff(np.log(APERTURE_FACTOR))[0]  # mean of the aperture over the PSF
    rows = []
    for (label, real), before, instrument in zip(REAL_BACKGROUND.items(), (3.0, 6.0), (0, 1)):
        counts, _ = draw_background(rng, np.full(num_rows, instrument), zero, mjd, zero + 1e4)
        level = float(counts.mean() / (psf_area(np.array(0.0)) * factor * 1e4 * 1e-7))
        rows.append(Row(label, float(np.median(real)), before, level))
    return rows


def _hardness(found: Mapping[str, float]) -> list[Row]:
    catalog, before = {"hm": -0.071, "hs": -0.369, "ms": -0.305}, {"hm": 0.120, "hs": -0.309, "ms": -0.413}
    return [Row(name, catalog[name], before[name], found.get(name, np.nan)) for name in catalog]


def _texts(found: TextInformation | None) -> list[Row]:
    rows = [Row("class, balanced accuracy (wanted: .6-.8)", np.nan, 0.96, found.balanced_accuracy if found else np.nan)]
    # Before: docs/log.md, 2026-11-27, of the texts that the audit read.
    for name, before in {"log N_H": 0.665, "photon index": 0.550, "log kT": 0.633, "log flux": 0.677}.items():
        rows.append(Row(f"R2 of {name}", np.nan, before, found.r2.get(name, np.nan) if found else np.nan))
    return rows


def _parameters(num_rows: int = 2_000) -> list[Row]:
    table = default_population().variability

    def of(source_class: str, kind: str, column: str) -> float:
        row = (table["source_class"] == source_class) & (table["kind"] == kind)
        return float(table[column][row][0])

    variable = draw_variability(
        np.random.default_rng(0), np.full(num_rows, RED_NOISE), np.full(num_rows, 0.25), *np.full((2, num_rows), 4e4)
    )
    rate = variable.first.rate + variable.second.rate
    rms = float(np.sqrt(((rate / rate.mean(axis=1, keepdims=True) - 1.0) ** 2).mean()))
    return [
        Row("pulsed fraction of HMXBs (at most .8)", np.nan, 0.98, of("HMXB", "pulsation", "strength")),
        Row("share of HMXBs with pulses (.1-.5)", np.nan, 0.37, of("HMXB", "pulsation", "share")),
        Row("share of AGN with eruptions (at most 1e-4)", np.nan, 0.026, of("AGN", "eruption", "share")),
        Row("rms of red noise of .25", 0.25, 0.145, rms),
    ]


def _bursts(num_lists: int = 24, num_photons: int = 360) -> list[Row]:
    """A tenth of the photons in a burst of a small share of the observation; the audit lost 7 of 47 such lists."""
    rng, duration = np.random.default_rng(0), 6.0e4
    rows = []
    for part in (40, 100, 300):
        lists = []
        for begin in rng.uniform(0.1, 0.9, num_lists) * duration:
            steady = rng.uniform(0.0, duration, num_photons - num_photons // 10)
            lists.append(np.append(steady, begin + rng.uniform(0.0, duration / part, num_photons // 10)))
        start, stop = (Ragged.from_rows([np.array([edge])] * num_lists) for edge in (0.0, duration))
        found = gregory_loredo(Ragged.from_rows([np.sort(times) for times in lists]), start, stop)
        rows.append(Row(f"1/{part} of 60 ks", 1.0, np.nan, float((found.var_prob > VARIABLE).mean())))
    rows.append(Row("audit's lists kept (40 of 47)", 1.0, 40 / 47, np.nan))
    return rows


def _areas(data: Path) -> list[Row]:
    rows = []
    for folder, name, instrument, theta, contaminated, before in HELD_OUT_AREAS:
        path = next((data / "spectra" / folder).glob(name), None)
        if path is None:
            continue
        table, header = fits.getdata(path, "SPECRESP", header=True)
        mjd = Time(header["DATE-OBS"]).mjd if contaminated else LAUNCH_MJD
        ours = effective_area(np.array([instrument]), np.array([theta]), np.array([mjd]))[0]
        middle = 0.5 * (table["ENERG_LO"] + table["ENERG_HI"])
        for energy, value in before.items():
            ratio = np.interp(energy, ENERGY, ours) / np.interp(energy, middle, table["SPECRESP"])
            chip = "ACIS-I" if instrument == 0 else "ACIS-S"
            rows.append(
                Row(f"{folder.split('_')[1][-5:].lstrip('s')} {chip}, {energy:g} keV", 1.0, value, float(ratio))
            )
    return rows


def _mocks(real: pd.DataFrame, mock: pd.DataFrame | None) -> list[Row]:
    if mock is None:
        return []
    both = mock.merge(real, on=list(KEY), suffixes=("", "_real")).dropna(subset=["var_prob_b", "var_prob_b_real"])
    varied = both[both["var_prob_b_real"] > VARIABLE]
    rows = [Row("share above .9 of those above .9", 1.0, 0.41, float((varied["var_prob_b"] > VARIABLE).mean()))]
    young = both[both["source_class"] == "YSO"]
    rows.append(
        Row("median of YSO", float(young["var_prob_b_real"].median()), 0.35, float(young["var_prob_b"].median()))
    )
    counts = (both["src_cnts_aper_b"] > 0) & (both["flux_significance_b_real"] > 0) & (both["flux_significance_b"] > 0)
    ratio = np.log10(both["flux_significance_b"][counts] / both["flux_significance_b_real"][counts])
    rows.append(Row("significance of mocks, dex", 0.0, 0.104, float(ratio.median())))
    return rows


def _frames() -> list[Row]:
    good_time = draw_good_time(np.random.default_rng(0), np.full(2, 1e4), np.full(2, True), np.array([0, 1]))
    return [
        Row(name, real, 0.364, float(found))
        for name, real, found in zip(("ACIS-I", "ACIS-S"), (0.5, 0.4), good_time.frame_time)
    ]
