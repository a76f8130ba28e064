#!/usr/bin/env python
"""Fits every complete spectrum under a folder with `fit_spectrum` and with Sherpa, and prints both as a table.

    python benchmarks/fits_against_sherpa.py DATA_DIR [--model powerlaw] [--statistic wstat]

Needs Sherpa (`pip install -e .[sherpa]`). Its own power law and blackbody are used; absorption and the other models,
which it has not without XSPEC, are ours, loaded into it. Sherpa reads ARF and RMF itself. cash is without background in
both, since Sherpa's cstat has none.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from chandraclip.data.files import find_detections
from chandraclip.observation import FitResult, fit_spectrum
from chandraclip.observation.spectral_models import AbsorbedModel, optical_depth
from chandraclip.ogip.spectrum import Spectrum, read_spectrum

ENERGY = (0.5, 7.0)


class SherpaFit(NamedTuple):
    """Values and limits (None: open) of shape, nH and norm, in that order, and the statistic."""

    values: tuple[float, ...]
    limits: tuple[tuple[float | None, float | None], ...]
    statistic: float
    seconds: float


def sherpa_spectrum(spectrum: Spectrum) -> Any:
    """The spectrum as Sherpa's DataPHA, with responses that Sherpa has read, and the channels of ENERGY."""
    from sherpa.astro.data import DataPHA
    from sherpa.astro.io import read_arf, read_rmf

    assert spectrum.response is not None
    channel = np.arange(spectrum.counts.size) + spectrum.response.first_channel
    data = DataPHA("source", channel, spectrum.counts, exposure=spectrum.exposure)
    data.areascal = spectrum.area_scale
    data.set_rmf(read_rmf(str(spectrum.companions["rmf"])))
    if "arf" in spectrum.companions:
        data.set_arf(read_arf(str(spectrum.companions["arf"])))
    if spectrum.background_counts is not None:
        # Sherpa's ratio is backscal x exposure of the source over that of the background.
        background = DataPHA("background", channel, spectrum.background_counts, exposure=spectrum.exposure)
        data.backscal, background.backscal = 1.0, 1.0 / np.asarray(spectrum.background_scale)
        background.areascal = spectrum.area_scale
        data.set_background(background)
    data.units = "energy"
    centre = 0.5 * (spectrum.response.channel_energy_lo + spectrum.response.channel_energy_hi)
    data.mask = (centre >= ENERGY[0]) & (centre <= ENERGY[1])
    return data


def absorber() -> Any:
    """Our tbabs as a Sherpa model with the parameter nH, 1e22 cm-2."""
    from sherpa.models.model import ArithmeticModel
    from sherpa.models.parameter import Parameter

    class Absorber(ArithmeticModel):
        def __init__(self) -> None:
            self.nH = Parameter("tbabs", "nH", 0.1, 0, 100, 0, 100)
            self.depth: dict[bytes, np.ndarray] = {}
            super().__init__("tbabs", (self.nH,))

        def calc(self, p: Any, x: np.ndarray, xhi: np.ndarray | None = None, **_: Any) -> np.ndarray:
            key = np.asarray(x).tobytes()
            if key not in self.depth:
                assert xhi is not None
                self.depth[key] = optical_depth(0.5 * (np.maximum(x, 1e-3) + np.maximum(xhi, 1e-3)), "tbabs")
            return np.exp(-p[0] * self.depth[key])

    return Absorber()


def emission(model: str) -> tuple[Any, Any, Any]:
    """Sherpa's own model, its shape parameter and its norm; ours as a Sherpa model where it has none."""
    from sherpa.astro.models import BBody
    from sherpa.models.basic import PowLaw1D
    from sherpa.models.model import ArithmeticModel
    from sherpa.models.parameter import Parameter

    if model == "powerlaw":
        power = PowLaw1D("powerlaw")
        power.gamma.set(1.7, min=-3, max=10)
        power.ampl.set(1e-4, min=0, max=1e10)
        return power, power.gamma, power.ampl
    if model == "blackbody":
        body = BBody("bbody")
        body.kT.set(0.7, min=0.01, max=20)
        body.ampl.set(1e-3, min=1e-20, max=1e10)
        return body, body.kT, body.ampl

    ours = AbsorbedModel(model, None)

    class Emission(ArithmeticModel):
        def __init__(self) -> None:
            self.kT = Parameter(model, "kT", 1.0, ours.emission.low, ours.emission.high)
            self.norm = Parameter(model, "norm", 1e-4, 0, 1e10)
            super().__init__(model, (self.kT, self.norm))

        def calc(self, p: Any, x: np.ndarray, xhi: np.ndarray | None = None, **_: Any) -> np.ndarray:
            assert xhi is not None
            shape = np.clip(p[:1], ours.emission.low, ours.emission.high)  # `conf` goes beyond the range
            return p[1] * ours.photon_flux(x, xhi, shape, np.zeros(1))[0]

    built = Emission()
    return built, built.kT, built.norm


def sherpa_fit(spectrum: Spectrum, model: str, statistic: str) -> SherpaFit:
    """Sherpa's fit of tbabs times a model, from three starts, and its `conf` intervals."""
    from sherpa.astro.instrument import Response1D
    from sherpa.estmethods import Confidence
    from sherpa.fit import Fit
    from sherpa.optmethods import NelderMead
    from sherpa.stats import CStat, WStat

    assert spectrum.response is not None
    begin = time.perf_counter()
    logging.getLogger("sherpa").setLevel(logging.ERROR)
    data = sherpa_spectrum(spectrum)
    gas, (source, shape, norm) = absorber(), emission(model)
    folded = Response1D(data)(gas * source)
    intervals = Confidence()
    intervals.parallel = False
    fit = Fit(data, folded, {"cash": CStat, "wstat": WStat}[statistic](), NelderMead(), intervals)
    counts = spectrum.counts[data.mask].sum()
    best = None
    for first, column in ((shape.val, 0.1), (2.0 * shape.val, 0.01), (0.5 * shape.val, 1.0)):
        shape.val, gas.nH.val, norm.val = first, column, 1.0
        norm.val = counts / folded([])[data.mask].sum()
        result = fit.fit()
        if best is None or result.statval < best[0]:
            best = (result.statval, shape.val, gas.nH.val, norm.val)
    assert best is not None
    _, shape.val, gas.nH.val, norm.val = best
    found = fit.est_errors()
    order = [found.parnames.index(f"{parameter.modelname}.{parameter.name}") for parameter in (shape, gas.nH, norm)]
    values = [found.parvals[i] for i in order]
    limits = [
        tuple(None if error is None else found.parvals[i] + error for error in (found.parmins[i], found.parmaxes[i]))
        for i in order
    ]
    return SherpaFit(tuple(values), tuple(limits), fit.calc_stat(), time.perf_counter() - begin)  # type: ignore[arg-type]


def our_fit(spectrum: Spectrum, model: str, statistic: str) -> FitResult:
    return fit_spectrum(spectrum, model, "tbabs", energy=ENERGY, statistic=statistic)


def complete_spectra(folder: Path, statistic: str) -> list[tuple[str, Spectrum]]:
    """Spectra with responses (and, for wstat, a background); for cash without it. QUALITY is set aside in both."""
    found = []
    for item in find_detections(folder):
        if item.spectrum is None or item.problem is not None:
            continue
        try:
            spectrum = read_spectrum(
                item.spectrum, item.arf, item.rmf, False if statistic == "cash" else None, spec_num=item.spec_num
            )
        except ValueError:
            continue
        if spectrum.response is not None and (statistic == "cash" or spectrum.background_counts is not None):
            found.append((item.label, dataclasses.replace(spectrum, quality=None)))
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path, metavar="DATA_DIR")
    parser.add_argument("--model", default="powerlaw", help="powerlaw, blackbody, bremsstrahlung, apec or diskbb")
    parser.add_argument("--statistic", default="wstat", choices=("cash", "wstat"))
    options = parser.parse_args(arguments)

    def cell(value: float, limits: tuple[float | None, float | None]) -> str:
        low, high = ("" if limit is None else f"{limit:.3g}" for limit in limits)
        return f"{value:.3g} ({low}, {high})"

    print(f"| set | {options.model} | Sherpa | nH | Sherpa | {options.statistic} | Sherpa | s | Sherpa |")
    print("|---|---|---|---|---|---|---|---|---|")
    for label, spectrum in complete_spectra(options.data_dir, options.statistic):
        begin = time.perf_counter()
        ours = our_fit(spectrum, options.model, options.statistic)
        seconds = time.perf_counter() - begin
        other = sherpa_fit(spectrum, options.model, options.statistic)
        cells = [label.split("/")[0].removesuffix("_000N001")]
        for index, parameter in enumerate(list(ours.parameters.values())[:2]):
            cells.append(cell(parameter.value, (parameter.low, parameter.high)))
            cells.append(cell(other.values[index], other.limits[index]))
        cells += [f"{ours.statistic:.2f}", f"{other.statistic:.2f}", f"{seconds:.2f}", f"{other.seconds:.1f}"]
        print("| " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
