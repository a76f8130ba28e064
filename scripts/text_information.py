#!/usr/bin/env python
"""What the texts of a simulated dataset give away: the class, and the column, slope, temperature and flux.

    python scripts/build_dataset.py simulate --num_detections 12000 outputs/data/texts
    python scripts/text_information.py outputs/data/texts

A linear model on TF-IDF, cross-validated by source; one text a source. The temperature is that of sources whose main
component is thermal, the slope that of power laws.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from chandraclip.program import run_program

os.environ.setdefault("OMP_NUM_THREADS", "1")
COLUMNS = ("name", "summary", "source_class", "true_class", "true_spectrum", "true_nh", "true_gamma", "true_kt",
           "true_flux_b")  # fmt: skip


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", metavar="DATASET", type=Path, help="folder built by build_dataset.py simulate")
    parser.add_argument("--max_sources", type=int, default=6000, help="texts to read (default: %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    import numpy as np
    import pandas as pd
    import pyarrow.parquet as pq

    from chandraclip.errors import InputFileError
    from chandraclip.realism.text_information import text_information

    files = sorted((options.dataset / "data").glob("*.parquet"))
    if not files:
        raise InputFileError(
            options.dataset, "no data/*.parquet here, so no dataset that scripts/build_dataset.py built"
        )
    frame = pd.concat([pq.read_table(file, columns=list(COLUMNS)).to_pandas() for file in files])
    frame = frame.dropna(subset="summary").drop_duplicates("name").iloc[: options.max_sources]
    powerlaw = frame["true_spectrum"].str.startswith("powerlaw").to_numpy(bool)
    result = text_information(
        frame["summary"].tolist(),
        frame["true_class"].where(frame["source_class"].notna(), "").to_numpy(str),
        {
            "log N_H": np.log10(frame["true_nh"].to_numpy(float)),
            "photon index": np.where(powerlaw, frame["true_gamma"], np.nan),
            "log kT": np.where(powerlaw, np.nan, np.log10(frame["true_kt"].to_numpy(float))),
            "log flux": np.log10(frame["true_flux_b"].to_numpy(float)),
        },
    )
    print(f"{len(frame)} texts, median {result.num_words:.0f} words, {result.num_word_types} different ones")
    print(f"balanced accuracy of the class: {result.balanced_accuracy:.3f}")
    for name, value in result.r2.items():
        print(f"R2 of {name}: {value:.3f}")


if __name__ == "__main__":
    run_program(main)
