#!/usr/bin/env python
"""Writes a dataset as a HATS collection, which lsdb opens and joins by the sky (extra `hats`).

    python scripts/export_hats.py outputs/data/default outputs/hats/default

Rows without a position are left out, and counted; all columns are kept, lists too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from chandraclip.program import run_program


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", metavar="DATASET", type=Path, help="folder of a dataset")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="the collection's folder, to be made")
    parser.add_argument("--rows_per_file", type=int, default=20_000, help="more are cut in four (default: %(default)s)")
    parser.add_argument("--highest_order", type=int, default=10, help="of the HEALPix cells (default: %(default)s)")
    parser.add_argument("--margin", type=float, default=10.0, help="arcsec; 0: none (default: %(default)s)")
    parser.add_argument("--num_processes", type=int, default=1, help="(default: %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    # slow to import: --help is not
    from chandraclip.data.hats_export import HatsOptions, export_hats

    wanted = HatsOptions(options.rows_per_file, options.highest_order, options.margin, options.num_processes)
    done = export_hats(options.dataset, options.output, wanted)
    left_out = f", {done['without_position']:,} without a position are left out" if done["without_position"] else ""
    print(f"{options.output}: {done['rows']:,} detections in {done['files']} files{left_out}")
    print(f'open it: lsdb.open_catalog("{options.output}")')


if __name__ == "__main__":
    run_program(main)
