#!/usr/bin/env python
"""Draws README's first picture: a real observation, its nearest neighbours in a model's space, and the nearest texts.

    python scripts/draw_overview.py CORPUS MODEL EMBEDDINGS DATASET --obsid 10964 --output docs/images/overview.png

CORPUS is a file of Axia's rows (`corpus.jsonl.gz`: JSON lines of CSC 2.1 detections with their photons), MODEL an
aligned model, EMBEDDINGS what scripts/embed.py made with it of DATASET, whose detections and texts are looked up.
"""

from __future__ import annotations

import argparse
import gzip
import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chandraclip.program import run_program

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.axes import Axes

    from chandraclip.observation import Observation
    from chandraclip.ogip import EventList

ENERGY_EDGES = np.geomspace(0.5, 8.0, 33)  # keV, of the drawn spectra
NUM_TIMES = 24  # bins of the drawn light curves
REAL, FOUND = "#1f3b5c", "#b5532a"
KEY = ("obsid", "obi", "region_id")
EVENTS = ("event_time", "event_energy", "gti_start", "gti_stop", "livetime")
COLUMNS = (*KEY, "name", "true_class", "true_variability", *EVENTS, "summary")


def read_axia(path: Path, obsid: int) -> tuple[Observation, str]:
    """A detection of an Axia corpus as an observation, and what it is in words.

    Raises:
        InputFileError: no row of that ObsID.
    """
    from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH, ACIS_NUM_CHANNELS
    from chandraclip.errors import InputFileError
    from chandraclip.observation import Observation
    from chandraclip.ogip import EventList, Spectrum
    from chandraclip.ogip.header import ObservationHeader

    with gzip.open(path, "rt") as file:
        row = next((row for row in map(json.loads, file) if row["obsid"] == obsid), None)
    if row is None:
        raise InputFileError(path, f"no row of ObsID {obsid}")
    photons = np.array(row["original_event_list"], np.float64)
    time, energy = photons[np.argsort(photons[:, 0], kind="stable")].T * [[1.0], [1e-3]]
    header = ObservationHeader("CHANDRA", "ACIS", "", str(obsid), row["obi"], row["source_name"], row["gti_mjd_obs"])
    span = float(np.ptp(time))
    energy = energy.astype(np.float32)
    events = EventList(time - time[0], energy, np.array([[0.0, span]]), span, float(time[0]), header, path)
    channel = np.minimum(energy.astype(float) / ACIS_CHANNEL_WIDTH, ACIS_NUM_CHANNELS - 1).astype(int)
    counts = np.bincount(channel, minlength=ACIS_NUM_CHANNELS)
    numbers = np.arange(1, ACIS_NUM_CHANNELS + 1)
    why = "the corpus has none"
    spectrum = Spectrum(counts, numbers, span, None, 1.0, 1.0, None, why, None, None, header, path)
    total = row.get("_event_list_original_size") or len(photons)
    return Observation(spectrum, events), f"Chandra ObsID {obsid}, {len(photons)} of {total:,} photons"


def look_up(
    observation: Observation, model: Path, embeddings: Path, dataset: Path, num_neighbours: int, num_texts: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The nearest rows of the dataset by spectrum and photons, and those of the nearest texts, with `similarity`."""
    import pyarrow.dataset as parquet

    from chandraclip.evaluation.embeddings import EmbeddingTable
    from chandraclip.evaluation.neighbours import nearest
    from chandraclip.evaluation.retrieval_tasks import text_groups

    own = observation.embeddings(model)
    table = EmbeddingTable.load(embeddings)
    rows = parquet.dataset(dataset / "data", format="parquet").to_table(columns=list(COLUMNS))
    vectors, mask = table.joint(("spectrum_embedding", "event_embedding"))
    pool = np.flatnonzero(mask)
    query = np.concatenate([own["spectrum"], own["events"]])[None]
    found, similarity = nearest(query, vectors[pool], num_neighbours)
    texts = np.flatnonzero(table.masks["text_embedding"])
    texts = texts[np.unique(text_groups(table)[texts], return_index=True)[1]]
    mean = (own["spectrum"] + own["events"])[None]
    best, text_similarity = nearest(mean, table.arrays["text_embedding"][texts], num_texts)
    return (
        _rows(rows, table, pool[found[0]], similarity[0]),
        _rows(rows, table, texts[best[0]], text_similarity[0]),
    )


def _rows(rows: pa.Table, table: Any, wanted: np.ndarray, similarity: np.ndarray) -> list[dict[str, Any]]:
    """Rows of the dataset by the keys of an embedding table's."""
    keys = {key: index for index, key in enumerate(zip(*(rows[name].to_pylist() for name in KEY)))}
    places = [keys[tuple(int(table.keys[name][row]) for name in KEY)] for row in wanted]
    found = [rows.slice(place, 1).to_pylist()[0] for place in places]
    return [row | {"similarity": float(value)} for row, value in zip(found, similarity)]


def draw(
    title: str, facts: str, observation: Observation, neighbours: list[dict[str, Any]], texts: list[dict[str, Any]]
) -> Any:
    """The picture, a matplotlib Figure: the observation on the left, neighbours in the middle, texts on the right."""
    from matplotlib.figure import Figure

    from chandraclip.data.row_objects import events_of_row

    figure = Figure(figsize=(12.5, 6.2), layout="constrained")
    parts: Any = figure.subfigures(1, 3, width_ratios=(1.15, 1.25, 1.2), wspace=0.03)
    left, middle, right = parts
    left.suptitle(f"A real source: {title}", weight="bold", fontsize=11)
    above, below = left.subplots(2, 1)
    events = observation.events
    assert events is not None
    _draw_spectrum(above, events.energy, REAL)
    above.set(xlabel="energy (keV)", ylabel="photons keV$^{-1}$")
    above.text(0.03, 0.94, facts, transform=above.transAxes, va="top", fontsize=8)
    _draw_light_curve(below, events, REAL)
    below.set(xlabel="time (ks)", ylabel="photons ks$^{-1}$")
    middle.suptitle("Its nearest neighbours, simulated", weight="bold", fontsize=11)
    axes = middle.subplots(len(neighbours), 2, squeeze=False)
    for (spectrum, curve), row in zip(axes, neighbours):
        photons = events_of_row(row)
        assert photons is not None
        _draw_spectrum(spectrum, photons.energy, FOUND)
        _draw_light_curve(curve, photons, FOUND)
        words = f"{row['true_class']}, {row['true_variability'].replace('_', ' ')}"
        spectrum.set_title(words, fontsize=9, loc="left")
        curve.set_title(f"similarity {row['similarity']:.3f}", fontsize=8, loc="right", color="0.35")
        for part in (spectrum, curve):
            part.tick_params(labelsize=7)
    axes[-1, 0].set_xlabel("energy (keV)", fontsize=8)
    axes[-1, 1].set_xlabel("time (ks)", fontsize=8)
    right.suptitle("The nearest texts", weight="bold", fontsize=11)
    place = 0.9
    for row in texts:
        words = row["summary"].partition("B) Hypotheses")[0].replace("A) X-ray properties:", "").strip()
        lines = textwrap.wrap(textwrap.shorten(words, 330, placeholder=" ..."), 52)
        heading = f"{row['true_class']}, similarity {row['similarity']:.2f}"
        right.text(0.03, place, heading, color=FOUND, fontsize=9, va="top")
        right.text(0.03, place - 0.038, "\n".join(lines), fontsize=9, va="top", linespacing=1.35)
        place -= 0.075 + 0.0345 * len(lines)
    return figure


def _draw_spectrum(axes: Axes, energy: np.ndarray, color: str) -> None:
    counts = np.histogram(energy, ENERGY_EDGES)[0]
    density = counts / np.diff(ENERGY_EDGES)
    middle = np.sqrt(ENERGY_EDGES[1:] * ENERGY_EDGES[:-1])
    error = np.sqrt(counts) / np.diff(ENERGY_EDGES)
    axes.stairs(density, ENERGY_EDGES, color=color, linewidth=1.2)
    axes.errorbar(middle, density, error, fmt="none", color=color, linewidth=0.8, alpha=0.6)
    axes.set(xscale="log", xlim=(0.5, 8.0), ylim=(0, 1.15 * (density + error).max()))
    axes.set_xticks([0.5, 1, 2, 4, 8], ["0.5", "1", "2", "4", "8"])
    axes.minorticks_off()


def _draw_light_curve(axes: Axes, events: EventList, color: str) -> None:
    """Rates of live time; a bin with less than a tenth of it is left out."""
    from chandraclip.observation.light_curve import light_curve

    curve = light_curve(events, bin=float(events.gti.max()) / NUM_TIMES)
    seen = curve.exposure > 0.1 * curve.exposure.max()
    rate, low, high = (np.where(seen, 1e3 * rate, np.nan) for rate in (curve.rate, curve.rate_low, curve.rate_high))
    edges = np.append(curve.start, curve.stop[-1]) / 1e3
    axes.stairs(rate, edges, color=color, linewidth=1.2, baseline=None)
    middle, errors = 0.5 * (edges[1:] + edges[:-1]), (rate - low, high - rate)
    axes.errorbar(middle, rate, errors, fmt="none", color=color, linewidth=0.8, alpha=0.6)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, 1.1 * np.nanmax(high)))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("corpus", "model", "embeddings", "dataset"):
        parser.add_argument(name, metavar=name.upper(), type=Path)
    parser.add_argument("--obsid", type=int, required=True, help="of the detection to draw")
    parser.add_argument("--title", help="of the source (default: its name in the corpus)")
    parser.add_argument("--output", type=Path, required=True, help="the PNG file")
    options = parser.parse_args(arguments)
    from chandraclip.files import atomic_path

    observation, facts = read_axia(options.corpus, options.obsid)
    neighbours, texts = look_up(observation, options.model, options.embeddings, options.dataset, 4, 3)
    title = options.title or observation.header.object_name or options.corpus.name
    with atomic_path(options.output) as temporary:
        draw(title, facts, observation, neighbours, texts).savefig(temporary, format="png", dpi=110)
    print(f"wrote {options.output} ({options.output.stat().st_size / 1e3:.0f} kB)")


if __name__ == "__main__":
    run_program(main)
