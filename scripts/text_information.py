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


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", metavar="DATASET", type=Path, help="folder built by build_dataset.py simulate")
    parser.add_argument("--max_sources", type=int, default=6000, help="texts to read (default: %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    from chandraclip.errors import InputFileError
    from chandraclip.realism.text_information import information_of_dataset

    found = information_of_dataset(options.dataset, options.max_sources)
    if found is None:
        raise InputFileError(options.dataset, "no simulated texts in it")
    number, result = found
    print(f"{number} texts, median {result.num_words:.0f} words, {result.num_word_types} different ones")
    print(f"balanced accuracy of the class: {result.balanced_accuracy:.3f}")
    for name, value in result.r2.items():
        print(f"R2 of {name}: {value:.3f}")


if __name__ == "__main__":
    run_program(main)
