"""Hardness ratios of a dataset's photons beside those of its catalogue: do photons and columns belong together?

    python eval/hardness.py outputs/data/mine --output outputs/results/mine/hardness

Counts in the bands s 0.5-1.2, m 1.2-2.0 and h 2.0-7.0 keV become photon fluxes by an area at each band's effective
energy, as CSC does it (`catalog.hardness`). The area is the built-in one of ACIS at the row's off-axis angle and date,
a model; it is taken for ACIS-S and for ACIS-I, since photon lists seldom tell. No background is taken off. Lists that
were thinned evenly keep their hardness. Writes metrics.json and hardness.md, with every row.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from chandraclip.program import run_program


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="folder or Hub id of a dataset with photon energies")
    parser.add_argument("--output", type=Path, required=True, help="folder for metrics.json and hardness.md")
    parser.add_argument("--num_shown", type=int, default=20, help="rows on stdout (default: %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    import numpy as np

    from chandraclip.catalog.bands import EFFECTIVE_ENERGY
    from chandraclip.data.loading import load_splits
    from chandraclip.evaluation.photon_hardness import BAND_NAMES, RATIOS, differences, hardness_of, photon_counts
    from chandraclip.evaluation.results import markdown_table, number
    from chandraclip.files import write_json, write_text
    from chandraclip.simulate.instrument.area import ENERGY, LAUNCH_MJD, effective_area

    columns = photon_counts(options.dataset, load_splits(options.dataset, "pairs"))
    theta, date = np.nan_to_num(columns["theta"]), np.nan_to_num(columns["mjd_obs"], nan=LAUNCH_MJD)
    bins = [int(np.abs(ENERGY - EFFECTIVE_ENERGY[band]).argmin()) for band in BAND_NAMES]
    measured = {
        detector: hardness_of(columns["counts"], effective_area(np.full(len(theta), index), theta, date)[:, bins])
        for index, detector in enumerate(("ACIS-I", "ACIS-S"))
    }
    rows = [
        {"source": name, "obsid": f"{obsid:.0f}", "s": f"{s:.0f}", "m": f"{m:.0f}", "h": f"{h:.0f}"}
        | {
            f"{ratio[5:]} {what}": "-" if np.isnan(values[row]) else f"{values[row]:.3f}"
            for ratio in RATIOS
            for what, values in (
                *((detector[-1], found[ratio]) for detector, found in measured.items()),
                ("CSC", columns[ratio]),
            )
        }
        for row, (name, obsid, (s, m, h)) in enumerate(zip(columns["name"], columns["obsid"], columns["counts"]))
    ]
    found = {detector: differences(ratios, columns) for detector, ratios in measured.items()}
    summary = [
        {"ratio": ratio, "area of": detector, "rows": one["num_rows"], "median": number(one["median"]),
         "scatter": number(one["scatter"]), "largest": number(one["largest"])}
        for detector, ratios in found.items() for ratio, one in ratios.items()
    ]  # fmt: skip
    told = "photons less catalogue; scatter is 1.4826 x the median distance from the median"
    write_json(options.output / "metrics.json", {"dataset": options.dataset, "differences": _finite(found)})
    text = f"{markdown_table(rows)}\n\n{told}\n\n{markdown_table(summary)}\n"
    write_text(options.output / "hardness.md", text)
    print(f"{markdown_table(rows[: options.num_shown])}\n\n{told}\n\n{markdown_table(summary)}")
    print(f"\nwrote {options.output / 'hardness.md'}")


def _finite(value: object) -> object:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    return None if value != value else value


if __name__ == "__main__":
    run_program(main)
