#!/usr/bin/env python
"""Simulated against real sources: distributions a class, and whether a classifier carries over.

    python scripts/build_dataset.py simulate --num_detections 40000 outputs/data/default
    python scripts/validate_simulator.py outputs/data/default --output docs/simulator.md

Rewrites the generated parts of the page, the pictures beside it (images/simulator_*.png) and the numbers (.json).
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from chandraclip.program import now_try, run_program

os.environ.setdefault("OMP_NUM_THREADS", "1")
MAX_TEXTS = 2500  # read for what they give away: a quarter of a minute


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", metavar="DATASET", type=Path, help="folder built by build_dataset.py simulate")
    default = os.environ.get("CHANDRACLIP_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(default),
        help="folder with the real catalog/ (default: $CHANDRACLIP_DATA, here %(default)s)",
    )
    parser.add_argument(
        "--mock", type=Path, help="folder with a simulated detection for each real one, of the same obsid and region"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("docs/simulator.md"), help="the page (default: %(default)s)"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    from chandraclip.files import write_json
    from chandraclip.realism import report as report
    from chandraclip.realism.catalog_tables import (
        photon_hardness,
        read_dataset,
        read_published_sources,
        read_real_detections,
    )
    from chandraclip.realism.figures import (
        plot_apart,
        plot_confusion,
        plot_distances,
        plot_distributions,
        plot_points,
    )
    from chandraclip.realism.points import points
    from chandraclip.realism.text_information import information_of_dataset

    real, published = read_real_detections(options.data), read_published_sources(options.data)
    simulated = read_dataset(options.dataset)
    frames = {"CSC 2": real, "simulated": simulated}
    parts = {"row_by_row": "Not measured: the report was made without `--mock`."}
    validation = report.validate(real, published, simulated)
    apart = {"population": validation.apart}
    mock = None
    content = {"parameters": _parameters(options.dataset), **report.summary(validation)}
    if options.mock is not None:
        frames["one for each of CSC 2"] = mock = read_dataset(options.mock)
        twins = report.validate(real, published, mock, same_rows=True)
        apart["mock of the same rows"] = twins.apart
        content["mock"] = {"parameters": _parameters(options.mock), **report.summary(twins)}
        parts["row_by_row"] = "\n\n".join(
            [
                report.row_table(twins.rows),
                report.distance_tables(twins.distances),
                report.transfer_tables(twins.scores),
            ]
        )
    command = f"python scripts/validate_simulator.py DATASET{' --mock MOCK' if options.mock else ''}"
    published_counts = published.assign(source_class=published["Class"])
    frames["published table"] = published_counts
    parts["inputs"] = f"`{command}`, DATASET: {_describe(options.dataset)}. Sources (detections):\n\n"
    parts["inputs"] += report.class_counts(frames)
    parts["distributions"] = report.distance_tables(validation.distances)
    parts["held_out"] = report.held_out_table(**validation.quantities)
    parts["photon_hardness"] = report.photon_hardness_table(simulated, photon_hardness(options.data))
    parts["transfer"] = report.transfer_tables(validation.scores)
    parts["apart"] = report.apart_table(apart)
    texts = information_of_dataset(options.dataset, MAX_TEXTS)
    audit = points(
        real, simulated, mock, texts[1] if texts else None, _hardness_of_a_spectrum(options.data), options.data
    )
    parts["points"] = report.point_table(audit)
    content["points"] = report.point_summary(audit)
    parts["differences"] = report.difference_list(validation.distances)
    report.write_parts(options.output, parts)
    images = options.output.parent / "images"
    plot_distributions(**validation.quantities, path=images / "simulator_distributions.png")
    plot_apart(apart, images / "simulator_apart.png")
    plot_points(audit, images / "simulator_points.png")
    plot_distances(validation.distances, images / "simulator_distances.png")
    main_titles = [f"{training} -> {test}" for training, test in report.MAIN_TRAININGS]
    plot_confusion(
        {title: validation.scores["8 classes"][title] for title in main_titles}, images / "simulator_confusion.png"
    )
    write_json(options.output.with_suffix(".json"), content)
    print(parts["apart"], parts["transfer"], parts["differences"], sep="\n\n")
    print(f"wrote {options.output}, {options.output.with_suffix('.json')} and {images}/simulator_*.png")
    align = Path("outputs") / f"{options.dataset.name}_align"
    now_try(["training/align.py", "--dataset", options.dataset, "--output_dir", align])


def _hardness_of_a_spectrum(data: Path) -> dict[str, float]:
    """Hardness of the one spectrum of CSC 2 whose ratios are known: hm, hs, ms; empty where it is not at hand."""
    import chandraclip.observation as observation

    path = next((data / "spectra" / "csc_acisf04938_000N002_r0043").glob("*pha3*"), None)
    if path is None:
        return {}
    found = observation.open(path).hardness()
    return {name: float(getattr(found, name).value) for name in ("hm", "hs", "ms")}


def _parameters(dataset: Path) -> dict[str, object]:
    """How the dataset was built; empty where it does not say."""
    try:
        return json.loads((dataset / "manifest.json").read_text())["parameters"]
    except (OSError, ValueError, KeyError):
        return {}


def _describe(dataset: Path) -> str:
    parameters = _parameters(dataset)
    return ", ".join(f"{name} {parameters[name]}" for name in ("num_detections", "seed") if name in parameters) or "?"


if __name__ == "__main__":
    run_program(main)
