#!/usr/bin/env python
"""Names around sources (SIMBAD) and the papers about them (NASA ADS), as a table. Goes on where it stopped.

    ADS_API_TOKEN=... python scripts/literature.py DATASET_OR_TABLE outputs/literature.parquet

The input is a dataset's folder, or a table (Parquet, CSV) with name, ra and dec. Then: scripts/summarize.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from chandraclip.program import now_try, run_program

SIMBAD = "https://simbad.cds.unistra.fr/simbad/sim-tap"
ADS = "https://api.adsabs.harvard.edu/v1"
TOKEN = "ADS_API_TOKEN"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", metavar="DATASET_OR_TABLE", type=Path)
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="Parquet file; beside it OUTPUT's cache")
    parser.add_argument(
        "--radius", type=float, default=3.0, help="arcsec, where no position error is known (default: %(default)s)"
    )
    parser.add_argument(
        "--min_radius", type=float, default=1.0, help="arcsec, for smaller position errors (default: %(default)s)"
    )
    parser.add_argument(
        "--max_radius", type=float, default=10.0, help="arcsec, for larger position errors (default: %(default)s)"
    )
    parser.add_argument("--max_papers", type=int, default=20, help="of a source (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="the first so many sources, by name")
    parser.add_argument("--names_only", action="store_true", help="names and bibcodes; ADS is not asked")
    parser.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="what was asked for (default: OUTPUT's name.cache)"
    )
    parser.add_argument("--simbad_url", default=SIMBAD, help="TAP service of SIMBAD or a mirror (default: %(default)s)")
    parser.add_argument("--ads_url", default=ADS, help="the API of ADS (default: %(default)s)")
    parser.add_argument(
        "--requests_per_second", type=float, default=1.0, help="of each service, at most (default: %(default)s)"
    )
    parser.add_argument("--attempts", type=int, default=6, help="times that a request is made (default: %(default)s)")
    parser.add_argument("--read_timeout", type=float, default=300.0, help="s without a byte (default: %(default)s)")
    parser.add_argument("--dry_run", action="store_true", help="say what would be asked, and ask nothing")
    options = parser.parse_args(arguments)
    if options.output.suffix != ".parquet":
        parser.error(f"OUTPUT must end with .parquet, got {options.output}")
    if options.limit is not None and options.limit < 1:
        parser.error(f"--limit must be at least 1, got {options.limit}")
    if options.requests_per_second <= 0 or options.attempts < 1 or options.read_timeout <= 0:
        parser.error("--requests_per_second and --read_timeout must be positive, and --attempts at least 1")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    # slow to import: --help is not
    from chandraclip.acquire.http import Manners
    from chandraclip.acquire.literature import (
        LiteratureOptions,
        Radii,
        collect_literature,
        read_sources,
        requests_to_make,
    )
    from chandraclip.acquire.secrets import private_url, token_of
    from chandraclip.errors import OptionError

    token = None if options.names_only else token_of(TOKEN)
    if token is None and not options.names_only:
        where = "https://ui.adsabs.harvard.edu/user/settings/token"
        raise OptionError(f"{TOKEN} is not set: ADS gives a token at {where} (or --names_only, without abstracts)")
    private_url(options.ads_url, has_token=token is not None)
    how = LiteratureOptions(
        token,
        options.max_papers,
        options.simbad_url,
        options.ads_url,
        Manners(
            seconds_between=1.0 / options.requests_per_second,
            attempts=options.attempts,
            read_timeout=options.read_timeout,
        ),
    )
    sources = read_sources(options.sources, Radii(options.radius, options.min_radius, options.max_radius))
    sources = sources[: options.limit]
    left = requests_to_make(sources, options.output, how, options.cache)
    print(
        f"{len(sources):,} sources; to ask: SIMBAD about {left['new positions']:,} positions in {left['SIMBAD']:,} "
        f"requests, ADS about {left['new papers']:,} papers in {left['ADS']:,}, and those of positions to come",
        flush=True,
    )
    if options.dry_run:
        return 0
    done = collect_literature(sources, options.output, how, options.cache)
    print(
        f"{options.output}: {done.num_sources:,} sources, {done.num_named:,} with a name, "
        f"{done.num_with_papers:,} with papers, {done.num_with_abstracts:,} with abstracts"
    )
    summaries = options.output.with_name("summaries.parquet")
    now_try(["scripts/summarize.py", options.output, summaries, "--model", "FOLDER_OR_HUB_ID", "--dry_run"])
    return 0


if __name__ == "__main__":
    run_program(main)
