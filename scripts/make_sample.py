#!/usr/bin/env python
"""Makes the sample that ships with the package, `chandraclip.sample()`: a simulated star that flares, as OGIP files.

    python scripts/make_sample.py [--output DIR]

One detection of the simulator, with the spectrum of its background, its ARF and RMF, and the photons of the box around
it, of which the region holds the star's. The same files each time; tests/observation/test_sample.py holds it to that.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chandraclip.program import now_try, run_program

if TYPE_CHECKING:
    from chandraclip.ogip.events import EventList
    from chandraclip.ogip.regions import Region
    from chandraclip.ogip.spectrum import Spectrum

DEFAULT = Path("src/chandraclip/observation/sample")
SEEDS, NUM_ROWS = range(31, 200), 400  # looked through in order, for the first detection that `is_wanted`
COUNTS = (1000, 2000)
SEMI_AXES, ANGLE = (12.0, 9.0), 35.0  # of the source region, sky pixels and degrees
POINT_SPREAD = 3.5  # sky pixels: the standard deviation of the photons' places
BOX = 120.0  # sky pixels, the side of the box that the list covers
PIXEL = 0.492 / 3600  # deg
TIME_STEP = 2.0**-20  # s: what float64 resolves of any mission elapsed time until 2230


def make_detection() -> tuple[Spectrum, EventList, Region]:
    """The spectrum, the photons of the box, and the region of the source's."""
    from chandraclip.data.row_objects import events_of_row, spectrum_of_row
    from chandraclip.simulate.instrument.response import builtin_response

    row = find_row()
    response = builtin_response(row["instrument"])
    response = replace(response, matrix=response.matrix.astype(np.float32))  # as a dataset keeps it
    spectrum, events = spectrum_of_row(row, {response.response_id: response}), events_of_row(row)
    assert spectrum is not None
    assert events is not None
    assert spectrum.response is not None
    sky, region = place(row)
    header = replace(spectrum.header, ra_pointing=sky.wcs.wcs.crval[0], dec_pointing=sky.wcs.wcs.crval[1])
    rng = np.random.default_rng(row["obsid"])
    source = _source_places(rng, len(events), region)
    field = _field(rng, spectrum, events, region)
    time = np.concatenate([events.time, field[0]])
    order = np.argsort(time, kind="stable")
    x, y = (np.round(np.append(mine, other), 2)[order].astype(np.float32) for mine, other in zip(source, field[2:]))
    box = replace(
        events,
        time=_on_steps(time[order]),
        energy=np.append(events.energy, field[1])[order].astype(np.float32),
        gti=_on_steps(events.gti),
        tstart=float(_on_steps(np.asarray(events.tstart))),
        header=header,
        sky=sky,
        x=x,
        y=y,
    )
    return replace(spectrum, header=header), box, region


def find_row() -> dict:
    """The simulator's first detection of a star that flares, with enough counts, background and good-time intervals."""
    from chandraclip.simulate.detections import simulate_chunk

    for seed in SEEDS:
        table = simulate_chunk(seed, 0, NUM_ROWS, rare_share=0.0, fits=False)
        flares = [place for place, kind in enumerate(table["true_variability"].to_pylist()) if kind == "flare"]
        for row in table.take(flares).to_pylist():
            if is_wanted(row):
                return row
    raise ValueError(f"no such detection in {len(SEEDS)} x {NUM_ROWS}: the simulator has changed a lot")


def is_wanted(row: dict) -> bool:
    """A flare of three times the median rate, in the middle of it all."""
    if row["event_time"] is None or not COUNTS[0] <= sum(row["spectrum_counts"]) <= COUNTS[1]:
        return False
    rate = np.histogram(row["event_time"], 40, (0, row["gti_stop"][-1]))[0]
    peak = int(rate.argmax())
    return (
        len(row["gti_start"]) >= 3
        and sum(row["spectrum_background"]) >= 100
        and row["var_index_b"] >= 9
        and rate[peak] >= 3 * np.median(rate)
        and 8 <= peak < 36
        and row["theta"] < 6
    )


def place(row: dict) -> tuple:
    """The projection of a pointing as far north as the row's off-axis angle, and the region on the source."""
    from astropy.wcs import WCS

    from chandraclip.ogip.regions import Region, Shape
    from chandraclip.ogip.sky import SkyCoordinates

    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cunit = ["RA---TAN", "DEC--TAN"], ["deg", "deg"]
    wcs.wcs.crpix, wcs.wcs.cdelt = [4096.5, 4096.5], [-PIXEL, PIXEL]
    wcs.wcs.crval = [round(row["ra"], 6), round(row["dec"] + row["theta"] / 60, 6)]
    wcs.wcs.set()
    sky = SkyCoordinates(wcs)
    x, y = (round(float(value), 2) for value in sky.to_pixels(row["ra"], row["dec"]))
    return sky, Region(((Shape("ellipse", (x, y, *SEMI_AXES, ANGLE)),),))


def _ellipse(region: Region) -> tuple[float, ...]:
    from chandraclip.ogip.regions import Shape

    shape = region.components[0][0]
    assert isinstance(shape, Shape)
    return shape.numbers


def _source_places(rng: np.random.Generator, number: int, region: Region) -> tuple[np.ndarray, np.ndarray]:
    """Sky pixels of a Gaussian image, cut to the ellipse (a little inside it, since they are rounded)."""
    centre_x, centre_y, long, short, angle = _ellipse(region)
    turn = rng.uniform(0, 2 * np.pi, number)
    edge = 0.99 / np.hypot(np.cos(turn) / long, np.sin(turn) / short) / POINT_SPREAD
    radius = POINT_SPREAD * np.sqrt(-2 * np.log1p(-rng.random(number) * -np.expm1(-(edge**2) / 2)))
    turn += np.radians(angle)
    return centre_x + radius * np.cos(turn), centre_y + radius * np.sin(turn)


def _field(rng: np.random.Generator, spectrum: Spectrum, events: EventList, region: Region) -> tuple[np.ndarray, ...]:
    """Time, energy, x and y of the background's photons in the box, outside the region."""
    assert spectrum.background_counts is not None
    assert spectrum.response is not None
    centre_x, centre_y, long, short, _ = _ellipse(region)
    density = float(np.sum(spectrum.expected_background)) / (np.pi * long * short)
    number = rng.poisson(density * BOX**2)
    x, y = (centre + rng.uniform(-BOX / 2, BOX / 2, number) for centre in (centre_x, centre_y))
    length = np.diff(events.gti, axis=1)[:, 0]
    good = rng.uniform(0, length.sum(), number)
    interval = np.searchsorted(np.cumsum(length), good, side="right")
    time = events.gti[interval, 0] + good - (np.cumsum(length) - length)[interval]
    edges = spectrum.response.channel_energy_edges
    channel = rng.choice(spectrum.channel.size, number, p=spectrum.background_counts / spectrum.background_counts.sum())
    energy = edges[channel] + rng.random(number) * np.diff(edges)[channel]
    outside = ~region.contains(np.round(x, 2), np.round(y, 2))
    return time[outside], energy[outside], x[outside], y[outside]


def _on_steps(time: np.ndarray) -> np.ndarray:
    return np.round(time / TIME_STEP) * TIME_STEP


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=DEFAULT, help=f"folder (default: {DEFAULT})")
    options = parser.parse_args(arguments)
    from chandraclip.ogip.writer import to_ogip

    spectrum, events, region = make_detection()
    written = to_ogip(options.output, spectrum, events, region, name="flare", compress=True, overwrite=True)
    for path in written.values():
        print(f"{path}: {path.stat().st_size / 1e3:.1f} kB")
    now_try(["scripts/inspect.py", written["spectrum"]])


if __name__ == "__main__":
    run_program(main)
