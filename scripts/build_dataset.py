#!/usr/bin/env python
"""Builds a dataset folder: sharded Parquet, a card, a manifest. Goes on where a killed build stopped.

    python scripts/build_dataset.py files INPUT_DIR OUTPUT_DIR
    python scripts/build_dataset.py simulate --num_detections 20000 --seed 0 OUTPUT_DIR

Then: datasets.load_dataset(OUTPUT_DIR, "pairs").
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    files = commands.add_parser("files", help="package mission files (PHA, ARF, RMF, event lists)")
    files.add_argument("input_dir", metavar="INPUT_DIR", type=Path, help="searched with all its subfolders")
    files.add_argument("--texts", type=Path, help='JSON lines: {"name" or "obsid": ..., "summary": ...}')
    files.add_argument("--license", default="unknown", help="identifier of the Hub, for the card (default: unknown)")
    simulate = commands.add_parser("simulate", help="simulate detections")
    simulate.add_argument("--num_detections", type=int, required=True)
    simulate.add_argument("--seed", type=int, default=0, help="(default: 0)")
    for command in (files, simulate):
        command.add_argument("output_dir", metavar="OUTPUT_DIR", type=Path, help="the dataset's folder")
        command.add_argument("--num_processes", type=int, default=1, help="the bytes do not depend on it (default: 1)")
        command.add_argument("--overwrite", action="store_true", help="replace a build with other parameters")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    from chandraclip.data.packaging import build_from_files, build_from_simulation  # slow to import: --help is not
    from chandraclip.errors import InputFileError

    try:
        if options.command == "simulate":
            result = build_from_simulation(
                options.output_dir, options.num_detections, options.seed, options.num_processes, options.overwrite
            )
        else:
            result = build_from_files(
                options.input_dir,
                options.output_dir,
                options.num_processes,
                options.overwrite,
                texts=options.texts,
                license_id=options.license,
            )
    except (InputFileError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1

    manifest = result.manifest
    print(f"{result.output}: {'already built' if result.already_built else 'written'}")
    for split, num_rows in manifest["num_rows"].items():
        shards = [entry for entry in manifest["shards"] if entry["split"] == split]
        size = sum(entry["file_size"] for entry in shards)
        print(f"  {split:<12}{num_rows:>10,} detections  {len(shards)} file(s)  {size / 1e6:.1f} MB")
    print(f"  {'responses':<12}{sum(entry['num_rows'] for entry in manifest['responses']):>10,} matrices")
    if manifest["skipped"]:
        print(f"  skipped {len(manifest['skipped'])} file(s):")
        for entry in manifest["skipped"]:
            place = f"[{entry['extension']}]" if "extension" in entry else ""
            print(f"    {entry['file']}{place}: {entry['reason']}")
        for reason, count in Counter(entry["reason"] for entry in manifest["skipped"]).most_common(5):
            if count > 1:
                print(f"    {count} x {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
