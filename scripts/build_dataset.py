#!/usr/bin/env python
"""Builds a dataset folder: sharded Parquet, a card, a manifest. Goes on where a killed build stopped.

    python scripts/build_dataset.py files INPUT_DIR OUTPUT_DIR
    python scripts/build_dataset.py lists PHOTON_LISTS.parquet OUTPUT_DIR
    python scripts/build_dataset.py hub FOLDER_OR_HUB_ID OUTPUT_DIR [--mapping columns.yaml]
    python scripts/build_dataset.py csc --preset multimodal_universe OUTPUT_DIR
    python scripts/build_dataset.py texts DATASET SUMMARIES OUTPUT_DIR
    python scripts/build_dataset.py simulate --num_detections 20000 --seed 0 OUTPUT_DIR
    python scripts/build_dataset.py simulate --planted 20000 --seed 0 OUTPUT_DIR
    python scripts/build_dataset.py simulate --from_catalog DETECTIONS [--sources MASTER] --seed 0 OUTPUT_DIR

Then: datasets.load_dataset(OUTPUT_DIR, "pairs").
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from chandraclip.program import now_try, run_program
from chandraclip.ranks import add_rank_options, share_of
from chandraclip.simulate.population.selection import SELECTIONS
from chandraclip.simulate.shares import COUNTS, SHARES, checked_shares

if TYPE_CHECKING:
    from chandraclip.data.packaging import BuildResult

PRESETS = ("agn_like", "fitted_spectra", "multimodal_universe")  # `acquire.tables` is slow to import
ROW_PRODUCTS = "spectrum,arf,rmf,regevt3,srcreg"
ARCHIVE = "https://cda.cfa.harvard.edu"
MODEL = Path("outputs/align")  # what training/align.py makes by default
ENOUGH_TO_TRAIN = 128  # rows: its default batch


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    files = commands.add_parser("files", help="package mission files (PHA, ARF, RMF, event lists)")
    files.add_argument("input_dir", metavar="INPUT_DIR", type=Path, help="searched with all its subfolders")
    files.add_argument(
        "--texts", type=Path, help='JSON lines: {"name" or "obsid": ..., "summary": ...}, or summaries.parquet'
    )
    csc = commands.add_parser("csc", help="fetch detections of the Chandra Source Catalog 2.1 from its archive")
    selected = csc.add_mutually_exclusive_group(required=True)
    selected.add_argument("--adql", type=Path, metavar="FILE", help="a query that gives name, obsid, obi and region_id")
    selected.add_argument("--preset", metavar="NAME", help=f"a query that comes along: {', '.join(PRESETS)}")
    csc.add_argument("--products", default=ROW_PRODUCTS, metavar="TYPES", help="with commas (default: %(default)s)")
    csc.add_argument("--limit", type=int, help="the first so many detections, by name")
    csc.add_argument("--base_url", default=ARCHIVE, help="of the archive or a mirror (default: %(default)s)")
    csc.add_argument(
        "--table_service",
        default="tap",
        choices=["tap", "properties"],
        help="what answers the query: TAP by pyvo, or getProperties (default: tap)",
    )
    csc.add_argument(
        "--requests_per_second", type=float, default=2.0, help="of all processes together (default: %(default)s)"
    )
    csc.add_argument("--attempts", type=int, default=6, help="times that a request is made (default: %(default)s)")
    csc.add_argument("--read_timeout", type=float, default=60.0, help="s without a byte (default: %(default)s)")
    csc.add_argument(
        "--keep_files", type=Path, metavar="FOLDER", help="keep the FITS files there, and use those that are"
    )
    lists = commands.add_parser(
        "lists", help="package a table of photon lists: name, event_time, gti_start, gti_stop (docs/your_data.md)"
    )
    lists.add_argument("table", metavar="PHOTON_LISTS", type=Path, help="Parquet, a row a source in an observation")
    texts = commands.add_parser("texts", help="a dataset again, with the texts that scripts/summarize.py wrote")
    texts.add_argument("dataset", metavar="DATASET", type=Path, help="folder that this program wrote")
    texts.add_argument("summaries", metavar="SUMMARIES", type=Path, help="Parquet, or JSON lines as for files --texts")
    hub = commands.add_parser("hub", help="package a data set of the Hub, or a local copy of one (docs/public_data.md)")
    hub.add_argument("dataset", metavar="FOLDER_OR_HUB_ID", help="Parquet, HATS, JSON lines or HDF5; a file will do")
    hub.add_argument("--mapping", type=Path, metavar="FILE", help="YAML: which column is what, in which unit")
    hub.add_argument("--revision", help="of the Hub (default: the newest)")
    hub.add_argument("--dataset_config", help="of the data set's card (default: its only or default one)")
    hub.add_argument("--texts", type=Path, help='JSON lines: {"name" or "obsid": ..., "summary": ...}')
    hub.add_argument("--limit", type=int, help="the first so many rows")
    hub.add_argument("--license", help="identifier of the Hub, for the card (default: what its card says)")
    for command in (files, csc, lists):
        command.add_argument(
            "--license", default="unknown", help="identifier of the Hub, for the card (default: unknown)"
        )
    simulate = commands.add_parser("simulate", help="simulate detections")
    what = simulate.add_mutually_exclusive_group(required=True)
    what.add_argument("--num_detections", type=int, help="so many, drawn from the population")
    what.add_argument(
        "--from_catalog", type=Path, metavar="DETECTIONS", help="CSV of CSC detections; a mock of each row"
    )
    what.add_argument(
        "--planted", type=int, metavar="NUM_DETECTIONS", help="so many, with planted flares, dips, pulsations and so on"
    )
    simulate.add_argument(
        "--shares",
        nargs="+",
        metavar="KIND=SHARE",
        help="with --planted: of the detections; the others are constant (default: "
        + " ".join(f"{kind}={share:g}" for kind, share in SHARES.items())
        + ")",
    )
    simulate.add_argument(
        "--counts",
        nargs=2,
        type=float,
        metavar=("LEAST", "MOST"),
        help=f"with --planted: expected of each source, evenly in the log (default: {COUNTS[0]:g} {COUNTS[1]:g})",
    )
    simulate.add_argument(
        "--sources", type=Path, metavar="MASTER", help="with --from_catalog: CSV of CSC sources and fits"
    )
    simulate.add_argument("--selection", default="all", choices=SELECTIONS, help="the cuts of a sample (default: all)")
    simulate.add_argument("--arf", type=Path, help="observe with this ARF (with --rmf; default: built-in ACIS)")
    simulate.add_argument("--rmf", type=Path, help="observe with this RMF")
    simulate.add_argument("--no_pileup", action="store_true", help="an ideal detector reads every photon by itself")
    simulate.add_argument("--seed", type=int, default=0, help="(default: 0)")
    for command in (files, hub, csc, lists, texts, simulate):
        command.add_argument("output_dir", metavar="OUTPUT_DIR", type=Path, help="the dataset's folder")
        command.add_argument("--num_processes", type=int, default=1, help="the bytes do not depend on it (default: 1)")
        command.add_argument("--overwrite", action="store_true", help="replace a build of other inputs or parameters")
        if command is not hub:  # a table of the Hub is read from front to end first, once
            add_rank_options(command)
    options = parser.parse_args(arguments)
    if options.command != "hub":
        options.share = share_of(parser, options)
    if options.command == "simulate":
        from_population = {"--selection": options.selection != "all", "--arf": options.arf, "--rmf": options.rmf}
        if options.from_catalog and (given := [name for name, value in from_population.items() if value]):
            parser.error(f"{', '.join(given)} cannot be used with --from_catalog")
        if options.sources and not options.from_catalog:
            parser.error("--sources goes with --from_catalog")
        if bool(options.arf) != bool(options.rmf):
            parser.error("--arf and --rmf go together")
        if not options.planted and (options.shares or options.counts):
            parser.error("--shares and --counts go with --planted")
        if options.planted and any(from_population.values()):
            names = [name for name, value in from_population.items() if value]
            parser.error(f"{', '.join(names)} cannot be used with --planted")
        try:
            options.shares = options.shares and checked_shares(dict(part.split("=", 1) for part in options.shares))
        except ValueError as error:
            parser.error(f"--shares: {error}")
        if options.seed < 0:
            parser.error(f"--seed must not be negative, got {options.seed}")
    return options


def build_csc(options: argparse.Namespace) -> BuildResult:
    from chandraclip.acquire import tables
    from chandraclip.acquire.build import ArchiveOptions, build_from_archive
    from chandraclip.acquire.http import Manners

    return build_from_archive(
        options.output_dir,
        tables.preset_query(options.preset) if options.preset else tables.read_query(options.adql),
        options.products.replace(",", " ").split(),
        ArchiveOptions(
            options.base_url,
            options.table_service,
            options.requests_per_second,
            options.keep_files,
            Manners(attempts=options.attempts, read_timeout=options.read_timeout),
        ),
        options.num_processes,
        options.overwrite,
        options.limit,
        options.license,
        share=options.share,
    )


def build_hub(options: argparse.Namespace) -> BuildResult:
    from chandraclip.acquire.hub import build_from_hub

    tell_progress()
    return build_from_hub(
        options.dataset,
        options.output_dir,
        options.mapping,
        revision=options.revision,
        config=options.dataset_config,
        num_processes=options.num_processes,
        overwrite=options.overwrite,
        texts=options.texts,
        limit=options.limit,
        license_id=options.license,
    )


def tell_progress() -> None:
    """What the package logs goes to the terminal."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("chandraclip").setLevel(logging.INFO)


def build_here(options: argparse.Namespace) -> BuildResult:
    """What needs no archive."""
    # slow to import: --help is not
    from chandraclip.data.build_from_files import build_from_files
    from chandraclip.data.build_from_lists import build_from_lists
    from chandraclip.simulate.dataset import build_from_catalog, build_from_simulation, build_planted

    if options.command == "texts":
        from chandraclip.data.build_from_texts import build_from_texts

        return build_from_texts(
            options.dataset,
            options.summaries,
            options.output_dir,
            options.num_processes,
            options.overwrite,
            share=options.share,
        )
    if options.command == "simulate" and options.from_catalog:
        return build_from_catalog(
            options.output_dir,
            options.from_catalog,
            options.sources,
            options.seed,
            options.num_processes,
            options.overwrite,
            pileup=not options.no_pileup,
            share=options.share,
        )
    if options.command == "simulate" and options.planted is not None:
        return build_planted(
            options.output_dir,
            options.planted,
            options.shares,
            tuple(options.counts or COUNTS),
            options.seed,
            options.num_processes,
            options.overwrite,
            share=options.share,
        )
    if options.command == "simulate":
        return build_from_simulation(
            options.output_dir,
            options.num_detections,
            options.seed,
            options.num_processes,
            options.overwrite,
            selection=options.selection,
            arf=options.arf,
            rmf=options.rmf,
            pileup=not options.no_pileup,
            share=options.share,
        )
    if options.command == "lists":
        tell_progress()
        return build_from_lists(
            options.table,
            options.output_dir,
            options.num_processes,
            options.overwrite,
            license_id=options.license,
            share=options.share,
        )
    return build_from_files(
        options.input_dir,
        options.output_dir,
        options.num_processes,
        options.overwrite,
        texts=options.texts,
        license_id=options.license,
        share=options.share,
    )


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    result = {"csc": build_csc, "hub": build_hub}.get(options.command, build_here)(options)
    if result.num_staged is not None:
        done, all_own = result.num_staged
        share = options.share
        print(f"{result.output}: rank {share.rank} of {share.num_ranks}: {done} of its {all_own} chunks are done")
        return 0 if done == all_own else 1  # what an archive did not give may be had by another try
    manifest = result.manifest
    print(f"{result.output}: {'already built' if result.already_built else 'written'}")
    for split, num_rows in manifest["num_rows"].items():
        shards = [entry for entry in manifest["shards"] if entry["split"] == split]
        size = sum(entry["file_size"] for entry in shards)
        print(f"  {split:<12}{num_rows:>10,} detections  {len(shards)} file(s)  {size / 1e6:.1f} MB")
    print(f"  {'responses':<12}{sum(entry['num_rows'] for entry in manifest['responses']):>10,} matrices")
    if manifest["skipped"]:
        print(f"  skipped {len(manifest['skipped'])} {'row' if options.command in ('hub', 'lists') else 'file'}(s):")
        for entry in manifest["skipped"]:
            place = f"[{entry['extension']}]" if "extension" in entry else ""
            print(f"    {entry['file']}{place}: {entry['reason']}")
        for reason, count in Counter(entry["reason"] for entry in manifest["skipped"]).most_common(5):
            if count > 1:
                print(f"    {count} x {reason}")
    if manifest.get("notes"):
        most = (
            "" if options.command == "hub" else ", most of them of photon lists that are not their spectrum's photons"
        )
        print(f"  {len(manifest['notes'])} note(s){most}:")
        for entry in manifest["notes"]:
            print(f"    {entry['file']}: {entry['note']}")
    if manifest.get("failed"):
        again = "the same command without --merge tries" if options.share.only_merge else "the same command tries"
        print(f"  {len(manifest['failed'])} detection(s) could not be fetched; {again} them again:")
        for entry in manifest["failed"]:
            print(f"    {entry['file']}: {entry['reason']}")
        return 1
    commands: list[list[str | Path]] = []
    if manifest["num_rows"].get("train", 0) >= ENOUGH_TO_TRAIN and "validation" in manifest["num_rows"]:
        align = Path("outputs") / f"{result.output.name}_align"
        commands.append(["training/align.py", "--dataset", result.output, "--output_dir", align])
    if (MODEL / "config.json").exists():
        embeddings = Path("outputs/embeddings") / MODEL.name / result.output.name
        commands.append(["scripts/embed.py", MODEL, result.output, embeddings])
    now_try(*(commands or [["training/align.py"]]))
    return 0


if __name__ == "__main__":
    run_program(main)
